use super::{Curve, Detector, Finding, JobView, Severity, SymptomDoc, declare_symptom};
use crate::series::stats::{median, scatter};

declare_symptom! {
    /// **What it shows.** The loss swings in waves that last longer than a batch and shorter than the run, again and
    /// again: the data come in an order, sorted by class or by file, and are not shuffled.
    ///
    /// **How it is decided.** Batches that are drawn at random differ from their neighbours as much as from those
    /// further away. Here neighbours differ by less than two thirds of what values scatter by over longer stretches
    /// (von Neumann's ratio), and that scatter is a fifth of the level or more. A `problem` where the waves are as long
    /// as an epoch: the length of an epoch is known (an `epoch` series, `train_examples` by `batch_size`, or
    /// `max_steps` by `epochs`), at least four epochs were run, and chance would bring so much of the swing into sine
    /// waves of that length and of its half to its fifth once in a hundred thousand times. Else a `warning`: waves of a
    /// length that nobody expects may have other reasons, and waves shorter than what the summary of a long run
    /// resolves cannot be measured.
    ///
    /// **False alarms.** A learning rate that goes up and down makes such waves too, and is left alone where it is
    /// logged. Smoothed losses (a running mean, an exponential average) have neighbours alike, but swing by little. The
    /// same batches in the same random order repeat each epoch, and differ from their neighbours as much as from any.
    ///
    /// **Sources.** von Neumann 1941 (mean square successive difference); Schuster 1898 (periodogram), with the F test
    /// of a sine wave of known length.
    Sawtooth, "sawtooth", "swings in waves from batch to batch, as unshuffled data make them"
}

/// Scatter over longer stretches against that of neighbours.
const WAVES: f64 = 1.5;
/// Height of the waves against the level.
const HEIGHT: f64 = 0.2;
/// Levels of fewer values do not show what is inside them.
const VALUES_IN_LEVEL: f64 = 4.0;
/// Epochs that have to be seen, and levels that an epoch has to span.
const EPOCHS: f64 = 4.0;
const RESOLVED: f64 = 2.5;
/// Chance of so large a sine wave in noise.
const CHANCE: f64 = 1e-5;
/// Overtones of the epoch that are looked for: classes one after the other make waves of a part of it.
const OVERTONES: usize = 5;
/// A rate that came down to this share of its peak and went up again by as much goes in cycles.
const CYCLE: f64 = 0.8;

impl Detector for Sawtooth {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let curve = job.falling_loss()?;
        let (height, ratio) = waves(curve)?;
        if height < HEIGHT || ratio < WAVES || curve.lowest.value < 0.0 || rate_cycles(job) {
            return None;
        }
        let epoch = job.steps_per_epoch();
        let repeats =
            epoch.is_some_and(|epoch| chance_of_repeating(curve, epoch).is_some_and(|chance| chance < CHANCE));
        let severity = if repeats { Severity::Problem } else { Severity::Warning };
        let how = match epoch {
            Some(epoch) if repeats => {
                format!("once in each epoch of {epoch:.0} steps: the data come in the same order")
            }
            _ => "as they would if the data came in an order".to_owned(),
        };
        let summary = format!(
            "the loss swings by {:.0} % of its level in waves that last longer than a batch, {how}",
            100.0 * height
        );
        let finding = Finding::in_curve(self, severity, curve, summary).with("height", height).with("ratio", ratio);
        Some(epoch.into_iter().fold(finding, |finding, epoch| finding.with("steps_per_epoch", epoch)))
    }
}

/// Height of the waves against the level, and their scatter against that of neighbours, after the first fifth.
fn waves(curve: &Curve) -> Option<(f64, f64)> {
    let levels = &curve.levels[curve.levels.len() / 5..];
    let of = |what: fn(&super::curve::Level) -> f64| median(&levels.iter().map(what).collect::<Vec<_>>());
    if levels.len() < 10 || of(|level| f64::from(level.count)) < VALUES_IN_LEVEL || curve.noise <= 0.0 {
        return None;
    }
    let means: Vec<f64> = levels.iter().map(|level| level.mean).collect();
    let swing = of(|level| level.deviation).hypot(scatter(&means));
    Some((swing / of(|level| level.mean).abs(), swing / curve.noise))
}

/// The chance that noise repeats itself so well after a length in steps; `None` where too few epochs were run, or the levels
/// are too few. Waves that the levels do not resolve show as slower ones, whose length follows from where the levels lie.
fn chance_of_repeating(curve: &Curve, period: f64) -> Option<f64> {
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
    // The tail of a beta distribution whose first parameter is a whole number.
    let (mut term, mut sum) = (1.0, 1.0);
    for j in 1..overtones {
        term *= share * (free + j as f64 - 1.0) / j as f64;
        sum += term;
    }
    Some((1.0 - share).powf(free) * sum)
}

/// The sum of squares that sine waves of a length in steps, and of its half, third and so on, explain together
/// (least squares by Gram and Schmidt).
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

/// Levels against the mean of the period about each, so that what the curve does in the long run is out of the way.
fn without_course(levels: &[(f64, f64)], period: usize) -> Vec<(f64, f64)> {
    let about = |window: &[(f64, f64)]| {
        let (step, level) = window[window.len() / 2];
        (step, level - window.iter().map(|(_, level)| level).sum::<f64>() / window.len() as f64)
    };
    levels.windows(period.max(3)).map(about).collect()
}

/// Whether the learning rate came down and went up again, from level to level or within them.
fn rate_cycles(job: &JobView) -> bool {
    let Some(rate) = &job.learning_rate else { return false };
    let (mut peak, mut trough, mut cycles) = (0.0_f64, f64::INFINITY, 0);
    for (_, bucket) in rate.sketch.buckets() {
        if bucket.min < CYCLE * peak {
            trough = trough.min(bucket.min);
        }
        if CYCLE * bucket.max > trough {
            (peak, trough, cycles) = (bucket.max, f64::INFINITY, cycles + 1);
        }
        peak = peak.max(bucket.max);
    }
    cycles > 0
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::tests::{observed, with_loss};
    use super::*;

    fn severity(job: &JobView) -> Option<Severity> {
        Sawtooth.examine(job).map(|finding| finding.severity)
    }

    /// Classes of 20 steps: the first batches of each are new, the last ones known by heart.
    fn sorted_by_class(i: usize) -> f64 {
        let class = (i / 20) % 5;
        0.4 + (0.6 + 0.3 * class as f64) * (-((i % 20) as f64) / 6.0).exp() + 0.1 * noise(i)
    }

    #[test]
    fn sorted_data_make_waves_of_an_epoch() {
        let mut job = with_loss((0..1500).map(sorted_by_class));
        assert_eq!(severity(&job), Some(Severity::Warning), "the length of an epoch is not known");
        job.knobs.insert("train_examples".into(), 3000.into());
        job.knobs.insert("batch_size".into(), 30.into());
        assert_eq!(severity(&job), Some(Severity::Problem));
        job.knobs.insert("batch_size".into(), 23.into());
        assert_eq!(severity(&job), Some(Severity::Warning), "the waves are of another length");
    }

    #[test]
    fn random_batches_in_the_same_order_each_epoch_make_none() {
        let mut job = with_loss((0..1500).map(|i| 1.0 + 0.6 * noise(i % 100)));
        job.epoch = observed((0..1500).map(|i| f64::from(i / 100)));
        assert_eq!(severity(&job), None);
    }

    #[test]
    fn smoothed_losses_swing_by_little() {
        let mut smooth = 2.0;
        let job = with_loss((0..1500).map(|i| {
            smooth = 0.98 * smooth + 0.02 * (1.0 + 0.5 * noise(i));
            smooth
        }));
        assert_eq!(severity(&job), None);
    }

    #[test]
    fn warm_restarts_make_waves_and_are_seen_in_the_rate() {
        let wave = |i: usize| 0.4 + 0.8 * (-((i % 100) as f64) / 30.0).exp() + 0.05 * noise(i);
        let mut job = with_loss((0..1500).map(wave));
        assert!(severity(&job).is_some());
        job.learning_rate = observed((0..1500).map(|i| 0.1 - 0.0009 * f64::from(i % 100)));
        assert_eq!(severity(&job), None);
    }
}
