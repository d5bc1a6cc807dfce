use super::{Curve, Detector, Finding, JobView, Severity, SymptomDoc, declare_symptom, shown};
use crate::series::stats::median;

declare_symptom! {
    /// **What it shows.** Single jumps of the loss far above its recent level.
    ///
    /// **How it is decided.** A value lies above the level around it by ten standard deviations of the values there and
    /// by twice that level, and above where the loss started or three times the level. A `warning`, for spikes that
    /// come back are common in healthy runs, and one that does not come back is `diverging`; a `problem` where there are
    /// three or more and a setting is known to be risky, such as a learning rate far outside what works.
    ///
    /// **False alarms.** A new data phase; a loss that is summed, when the batch size varies.
    LossSpikes, "loss_spikes", "single jumps far above the recent level"
}

/// Standard deviations above the level.
const DEVIATIONS: f64 = 10.0;
/// So many stretches with spikes are no accident of one batch.
const MANY: usize = 3;
/// Times the level.
const TIMES: f64 = 3.0;

impl Detector for LossSpikes {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let curve = job.falling_loss()?;
        if curve.lowest.value < 0.0 || curve.levels.len() < 10 {
            return None;
        }
        let spikes: Vec<(f64, f64, f64)> = (2..curve.levels.len()).filter_map(|i| spike(curve, i)).collect();
        let (step, value, level) = spikes.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let mut summary = format!(
            "the loss jumped to {} near step {step:.0}, {:.0} times its level; {} such stretches",
            shown(value),
            value / level,
            spikes.len()
        );
        let mut severity = Severity::Warning;
        if let Some(setting) = job.risky_setting().filter(|_| spikes.len() >= MANY) {
            severity = Severity::Problem;
            summary.push_str(&format!("; the job runs with {setting}"));
        }
        Some(
            Finding::in_curve(self, severity, curve, summary)
                .with("largest", value)
                .with("level", level)
                .with("stretches", spikes.len() as f64),
        )
    }
}

/// The largest value of a level and the level before it, where it is a spike.
fn spike(curve: &Curve, i: usize) -> Option<(f64, f64, f64)> {
    let before = &curve.levels[i.saturating_sub(5)..i];
    let level = median(&before.iter().map(|l| l.mean).collect::<Vec<_>>());
    let deviation = median(&before.iter().map(|l| l.deviation).collect::<Vec<_>>());
    let here = &curve.levels[i];
    let high = here.max > level + DEVIATIONS * deviation && here.max > TIMES * level;
    (high && level > 0.0).then_some((here.step, here.max, level))
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::tests::with_loss;
    use super::*;

    #[test]
    fn a_jump_is_a_spike_and_only_a_warning() {
        let job = with_loss((0..1000).map(|i| if i == 700 { 30.0 } else { 1.0 + 0.2 * noise(i) }));
        assert_eq!(LossSpikes.examine(&job).map(|f| f.severity), Some(Severity::Warning));
    }

    #[test]
    fn spike_after_spike_at_a_rate_far_outside_what_works_is_a_problem() {
        let mut job = with_loss((0..1000).map(|i| if i % 200 == 150 { 30.0 } else { 1.0 + 0.2 * noise(i) }));
        job.knobs.insert("optimizer".into(), "rmsprop".into());
        job.knobs.insert("learning_rate".into(), 0.001.into());
        assert_eq!(LossSpikes.examine(&job).map(|f| f.severity), Some(Severity::Warning));
        job.knobs.insert("learning_rate".into(), 0.3.into());
        assert_eq!(LossSpikes.examine(&job).map(|f| f.severity), Some(Severity::Problem));
    }

    #[test]
    fn noise_has_no_spikes() {
        assert!(LossSpikes.examine(&with_loss((0..1000).map(|i| 1.0 + noise(i)))).is_none());
    }
}
