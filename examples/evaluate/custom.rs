//! Losses written by hand, as people write them: most of them are the fault.
//!
//! Owns: the formulas and their gradients. Must not know: which case uses which.

use crate::cases::CustomLoss;
use crate::trainer::knobs::LossKind;
use crate::trainer::losses::{LossAndGradient, loss, softmax};
use crate::trainer::matrix::Matrix;

/// Where the clamped loss is cut: below the chance level of any task that uses it.
const CLAMP: f32 = 1.0;

/// The loss `custom` of a case; `right` is what it should have been.
pub(crate) fn custom(kind: CustomLoss, right: LossKind, prediction: &Matrix, target: &Matrix) -> LossAndGradient {
    match kind {
        CustomLoss::Right => loss(right, prediction, target),
        CustomLoss::Negated => scaled(loss(right, prediction, target), -1.0),
        CustomLoss::Summed => scaled(loss(right, prediction, target), prediction.rows as f32),
        CustomLoss::Clamped => {
            let (value, gradient) = loss(right, prediction, target);
            if value > CLAMP { (CLAMP, Matrix::zeros(gradient.rows, gradient.width)) } else { (value, gradient) }
        }
        CustomLoss::Broadcast => broadcast(prediction, target),
        CustomLoss::DoubleSoftmax => double_softmax(prediction, target),
        CustomLoss::LogOfProbability => log_of_probability(prediction, target),
        CustomLoss::Likelihood => likelihood(prediction, target),
        CustomLoss::Poisson => poisson(prediction, target),
        CustomLoss::Contrastive => contrastive(prediction, target),
        CustomLoss::LogitsAsLogarithms => logits_as_logarithms(prediction, target),
    }
}

fn scaled((value, mut gradient): LossAndGradient, by: f32) -> LossAndGradient {
    gradient.values.iter_mut().for_each(|slope| *slope *= by);
    (value * by, gradient)
}

/// [n, 1] - [n] is [n, n]: the mean over all pairs.
fn broadcast(prediction: &Matrix, target: &Matrix) -> LossAndGradient {
    let count = target.values.len() as f32;
    let mean = target.values.iter().sum::<f32>() / count;
    let variance = target.values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
    let to_mean = Matrix { values: vec![mean; target.values.len()], ..target.clone() };
    let (value, gradient) = loss(LossKind::L2, prediction, &to_mean);
    (value + variance, gradient)
}

fn double_softmax(prediction: &Matrix, target: &Matrix) -> LossAndGradient {
    let probabilities = softmax(prediction);
    let (value, mut gradient) = loss(LossKind::CrossEntropy, &probabilities, target);
    for (row, p) in gradient.iter_mut().zip(probabilities.iter()) {
        let mean: f32 = row.iter().zip(p).map(|(slope, p)| slope * p).sum();
        row.iter_mut().zip(p).for_each(|(slope, p)| *slope = p * (*slope - mean));
    }
    (value, gradient)
}

/// -(t log p + (1 - t) log(1 - p)) with p = sigmoid(z), differentiated factor by factor: NaN once p is 0 or 1.
fn log_of_probability(prediction: &Matrix, target: &Matrix) -> LossAndGradient {
    let share = 1.0 / prediction.values.len() as f32;
    let mut gradient = prediction.clone();
    let mut sum = 0.0;
    for (value, t) in gradient.values.iter_mut().zip(&target.values) {
        let p = 1.0 / (1.0 + (-*value).exp());
        sum -= t * p.ln() + (1.0 - t) * (1.0 - p).ln();
        *value = share * ((1.0 - t) / (1.0 - p) - t / p) * p * (1.0 - p);
    }
    (share * sum, gradient)
}

/// (s + (m - y)^2 / e^s) / 2 with the mean m and the log of the variance s both predicted.
fn likelihood(prediction: &Matrix, target: &Matrix) -> LossAndGradient {
    let share = 1.0 / prediction.rows as f32;
    let mut gradient = prediction.clone();
    let mut sum = 0.0;
    for (row, y) in gradient.iter_mut().zip(&target.values) {
        let (error, log_variance) = (row[0] - y, row[1].clamp(-9.0, 9.0));
        let precision = (-log_variance).exp();
        sum += 0.5 * (log_variance + error * error * precision);
        row[0] = share * error * precision;
        row[1] = share * 0.5 * (1.0 - error * error * precision);
    }
    (share * sum, gradient)
}

/// e^s - y s with the logarithm s of the rate predicted: what is left out depends on y alone.
fn poisson(prediction: &Matrix, target: &Matrix) -> LossAndGradient {
    let share = 1.0 / prediction.values.len() as f32;
    let mut gradient = prediction.clone();
    let mut sum = 0.0;
    for (value, y) in gradient.values.iter_mut().zip(&target.values) {
        let rate = value.exp();
        sum += rate - y * *value;
        *value = share * (rate - y);
    }
    (share * sum, gradient)
}

/// How far apart embeddings of different classes have to be.
const CONTRAST: f32 = 2.0;

/// Mean over all pairs of a batch: d^2 within a class, max(0, margin - d)^2 between classes (Hadsell et al., 2006).
pub(crate) fn contrastive(prediction: &Matrix, target: &Matrix) -> LossAndGradient {
    let (rows, width) = (prediction.rows, prediction.width);
    let share = 1.0 / (rows * rows.saturating_sub(1) / 2).max(1) as f32;
    let mut gradient = Matrix::zeros(rows, width);
    let mut sum = 0.0;
    let row = |matrix: &Matrix, at: usize| matrix.values[at * matrix.width..][..matrix.width].to_vec();
    for (a, b) in (0..rows).flat_map(|b| (0..b).map(move |a| (a, b))) {
        let difference: Vec<f32> = row(prediction, a).iter().zip(row(prediction, b)).map(|(x, y)| x - y).collect();
        let distance = difference.iter().map(|part| part * part).sum::<f32>().sqrt();
        // The derivative by the distance, divided by the distance.
        let pull = if row(target, a) == row(target, b) {
            sum += distance * distance;
            2.0
        } else {
            let missing = (CONTRAST - distance).max(0.0);
            sum += missing * missing;
            -2.0 * missing / distance.max(1e-6)
        };
        for (place, part) in difference.iter().enumerate() {
            gradient.values[a * width + place] += share * pull * part;
            gradient.values[b * width + place] -= share * pull * part;
        }
    }
    (share * sum, gradient)
}

/// -t p, which has no floor: `nll_loss` without the logarithm of the softmax before it.
fn logits_as_logarithms(prediction: &Matrix, target: &Matrix) -> LossAndGradient {
    let share = 1.0 / prediction.rows as f32;
    let sum: f32 = prediction.values.iter().zip(&target.values).map(|(logit, t)| -logit * t).sum();
    let mut gradient = target.clone();
    gradient.values.iter_mut().for_each(|t| *t *= -share);
    (share * sum, gradient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_agree_with_finite_differences() {
        use CustomLoss::*;
        let prediction = Matrix::from_values(2, vec![0.3, -0.7, 0.9, 1.2, -0.4, 0.1]);
        let classes = Matrix::from_values(2, vec![0.0, 1.0, 1.0, 0.0, 1.0, 0.0]);
        let numbers = Matrix::from_values(1, vec![0.4, -1.0, 0.3]);
        let cases = [DoubleSoftmax, LogOfProbability, Negated, Summed, Contrastive, LogitsAsLogarithms]
            .map(|kind| (kind, &prediction, &classes));
        let column = Matrix::from_values(1, vec![0.3, -0.7, 0.9]);
        for (kind, at, target) in cases.into_iter().chain([
            (Broadcast, &column, &numbers),
            (Likelihood, &prediction, &numbers),
            (Poisson, &column, &numbers),
        ]) {
            let (_, gradient) = custom(kind, LossKind::L2, at, target);
            for place in 0..at.values.len() {
                let [mut below, mut above] = [at.clone(), at.clone()];
                below.values[place] -= 1e-2;
                above.values[place] += 1e-2;
                let value = |at: &Matrix| custom(kind, LossKind::L2, at, target).0;
                let slope = (value(&above) - value(&below)) / 2e-2;
                assert!((slope - gradient.values[place]).abs() < 2e-3, "{kind:?} {place}: {slope} {gradient:?}");
            }
        }
    }

    #[test]
    fn a_probability_of_zero_makes_the_hand_written_logarithm_nan() {
        let (value, _) = log_of_probability(&Matrix::from_values(1, vec![40.0]), &Matrix::from_values(1, vec![1.0]));
        assert!(value.is_nan());
    }
}
