//! Waves with the period of an epoch: the probability that noise repeats this well.

use super::curve::Curve;

/// Minimum number of epochs, and of levels per epoch.
const EPOCHS: f64 = 4.0;
const RESOLVED: f64 = 2.5;
/// Overtones of the epoch to test: classes in sequence cause waves with a fraction of its length.
const OVERTONES: usize = 5;

/// The probability that noise repeats this well with a period in steps; `None` if there are too few epochs or levels.
/// The F test for sine waves of known length, after Schuster 1898.
pub(super) fn chance_of_repeating(curve: &Curve, period: f64) -> Option<f64> {
    let levels = curve.from(0.2);
    let width = curve.length() / curve.levels.len() as f64;
    if period < RESOLVED * width || curve.length() < EPOCHS * period {
        return None;
    }
    let swings = without_course(&levels, (period / width).round() as usize);
    let overtones = OVERTONES.min(swings.len() / 6);
    let free = 0.5 * (swings.len() as f64 - 1.0) - overtones as f64;
    let all: f64 = swings.iter().map(|(_, swing)| swing * swing).sum();
    if overtones == 0 || all <= 0.0 {
        return None;
    }
    let share = (explained(&swings, period, overtones) / all).clamp(0.0, 1.0);
    // The tail of a beta distribution whose first parameter is an integer.
    let (mut term, mut sum) = (1.0, 1.0);
    for j in 1..overtones {
        term *= share * (free + j as f64 - 1.0) / j as f64;
        sum += term;
    }
    Some((1.0 - share).powf(free) * sum)
}

/// The sum of squares explained by sine waves of a length in steps and its half, third and so on (least squares with
/// Gram-Schmidt).
fn explained(swings: &[(f64, f64)], period: f64, overtones: usize) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let values: Vec<f64> = swings.iter().map(|(_, swing)| *swing).collect();
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(2 * overtones);
    for wave in 0..2 * overtones {
        let turns = std::f64::consts::TAU * (wave / 2 + 1) as f64 / period;
        let of = |step: &f64| if wave % 2 == 0 { (turns * step).sin() } else { (turns * step).cos() };
        let mut vector: Vec<f64> = swings.iter().map(|(step, _)| of(step)).collect();
        for other in &basis {
            let along = dot(&vector, other);
            vector.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
        }
        let length = dot(&vector, &vector).sqrt();
        if length > 1e-6 {
            vector.iter_mut().for_each(|value| *value /= length);
            basis.push(vector);
        }
    }
    basis.iter().map(|vector| dot(&values, vector).powi(2)).sum()
}

/// Levels relative to the mean of the period around each, which removes the long-term trend.
fn without_course(levels: &[(f64, f64)], period: usize) -> Vec<(f64, f64)> {
    let about = |window: &[(f64, f64)]| {
        let (step, level) = window[window.len() / 2];
        (step, level - window.iter().map(|(_, level)| level).sum::<f64>() / window.len() as f64)
    };
    levels.windows(period.max(3)).map(about).collect()
}
