//! Losses and their gradients.
//!
//! Owns: the formulas. Must not know: networks, optimizers.

use super::knobs::LossKind;
use super::matrix::Matrix;

/// The value of a loss and d loss / d prediction.
pub(crate) type LossAndGradient = (f32, Matrix);

/// A loss between predictions and targets of the same shape; for cross entropy, predictions are logits and targets are
/// probabilities. `Custom` is the task's own and falls back to L2 here.
pub(crate) fn loss(kind: LossKind, prediction: &Matrix, target: &Matrix) -> LossAndGradient {
    match kind {
        LossKind::L2 | LossKind::Custom => mean_of(prediction, target, |error| (error * error, 2.0 * error)),
        LossKind::L1 => mean_of(prediction, target, |error| (error.abs(), sign(error))),
        LossKind::Huber => mean_of(prediction, target, |error| match error.abs() {
            size if size < 1.0 => (0.5 * error * error, error),
            size => (size - 0.5, sign(error)),
        }),
        LossKind::CrossEntropy => cross_entropy(prediction, target),
    }
}

fn sign(value: f32) -> f32 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

/// Mean over all values of a function of the error, given with its derivative.
fn mean_of(prediction: &Matrix, target: &Matrix, of_error: impl Fn(f32) -> (f32, f32)) -> LossAndGradient {
    let share = 1.0 / prediction.values.len() as f32;
    let mut gradient = prediction.clone();
    let mut sum = 0.0;
    for (value, target) in gradient.values.iter_mut().zip(&target.values) {
        let (loss, slope) = of_error(*value - target);
        sum += loss;
        *value = share * slope;
    }
    (share * sum, gradient)
}

/// Mean over the rows of -sum(target x log softmax(prediction)).
fn cross_entropy(prediction: &Matrix, target: &Matrix) -> LossAndGradient {
    let share = 1.0 / prediction.rows as f32;
    let mut gradient = softmax(prediction);
    let mut sum = 0.0;
    for ((logits, target), row) in prediction.iter().zip(target.iter()).zip(gradient.iter_mut()) {
        let log_of_sum = log_sum_exp(logits);
        for ((value, logit), target) in row.iter_mut().zip(logits).zip(target) {
            if *target != 0.0 {
                sum += target * (log_of_sum - logit);
            }
            *value = share * (*value - target);
        }
    }
    (share * sum, gradient)
}

fn log_sum_exp(row: &[f32]) -> f32 {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    largest + row.iter().map(|value| (value - largest).exp()).sum::<f32>().ln()
}

/// exp(x) / sum(exp(x)) of each row.
pub(crate) fn softmax(logits: &Matrix) -> Matrix {
    let mut out = logits.clone();
    for row in out.iter_mut() {
        let log_of_sum = log_sum_exp(row);
        row.iter_mut().for_each(|value| *value = (*value - log_of_sum).exp());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{LossKind, loss, softmax};
    use crate::trainer::matrix::Matrix;

    #[test]
    fn gradients_agree_with_finite_differences() {
        let prediction = Matrix::from_values(3, vec![0.3, -1.7, 0.9, 2.0, 0.1, -0.4]);
        let target = Matrix::from_values(3, vec![0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        for kind in [LossKind::L2, LossKind::L1, LossKind::Huber, LossKind::CrossEntropy] {
            let (_, gradient) = loss(kind, &prediction, &target);
            for place in 0..6 {
                let mut at = [prediction.clone(), prediction.clone()];
                at[0].values[place] -= 1e-2;
                at[1].values[place] += 1e-2;
                let slope = (loss(kind, &at[1], &target).0 - loss(kind, &at[0], &target).0) / 2e-2;
                assert!((slope - gradient.values[place]).abs() < 1e-3, "{kind:?} at {place}: {slope} {gradient:?}");
            }
        }
    }

    #[test]
    fn cross_entropy_of_equal_logits_is_the_log_of_the_number_of_classes() {
        let target = Matrix::from_values(4, vec![0.0, 1.0, 0.0, 0.0]);
        assert!((loss(LossKind::CrossEntropy, &Matrix::zeros(1, 4), &target).0 - 4f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn softmax_survives_large_logits() {
        let row = softmax(&Matrix::from_values(2, vec![1e4, 0.0]));
        assert_eq!(row.values, vec![1.0, 0.0]);
    }
}
