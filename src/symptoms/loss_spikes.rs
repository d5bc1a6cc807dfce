//! Single jumps far above the recent level: its rules over the evidence.

use super::Severity::{Problem, Warning};
use super::picture::jitter;
use super::{Symptom, above, at_least, rule};
use crate::evidence::Quantity as Q;
use crate::numbers::{FAR_OFF, SPIKE};

/// See `docs/SYMPTOMS.md`, which is rendered from this.
pub(super) const SYMPTOM: Symptom = Symptom {
    id: "loss_spikes",
    summary: "single jumps far above the recent level",
    meaning: "\
The loss jumps far above its level and comes back. A few spikes are common in healthy runs. Many spikes at a high learning rate
indicate that training is close to diverging.",
    remedy: "\
Lower the learning rate or clip gradients. Look at the batches that cause the spikes. Rare and short spikes need no action.",
    picture: &[("training loss", |x| 0.3 + 2.0 * (-5.0 * x).exp() + 0.02 * jitter(x) + if [0.3, 0.5, 0.62, 0.8].iter().any(|at| (x - at).abs() < 0.004) { 6.0 } else { 0.0 })],
    text: "\
A jump that does not come back is `diverging`.

**False alarms.** A new data phase; a loss that is summed over batches of different sizes. Spikes that come back are common
in healthy runs.",
    rules: &[
        rule(Problem, "at_a_high_rate", "{spikes} stretches of the loss jump far above their level, up to \
            {largest_spike} times, at a learning rate of {peak_rate}")
            .when(&[at_least(Q::Spikes, SPIKE), above(Q::RatePosition, FAR_OFF)]),
        rule(Warning, "spikes", "the loss jumped to {largest_spike} times its level, in {spikes} stretches")
            .when(&[above(Q::Spikes, 0.0)]),
    ],
};

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
    use super::*;

    #[test]
    fn a_jump_is_a_spike_and_only_a_warning() {
        let job = with_loss((0..1000).map(|i| if i == 700 { 30.0 } else { 1.0 + 0.2 * noise(i) }));
        assert_eq!(SYMPTOM.examine(&job).map(|f| f.severity), Some(Severity::Warning));
    }

    #[test]
    fn spike_after_spike_at_a_rate_far_outside_what_works_is_a_problem() {
        let mut job = with_loss((0..1000).map(|i| if i % 200 == 150 { 30.0 } else { 1.0 + 0.2 * noise(i) }));
        job.knobs.insert("optimizer".into(), "rmsprop".into());
        job.knobs.insert("learning_rate".into(), 0.001.into());
        assert_eq!(SYMPTOM.examine(&job).map(|f| f.severity), Some(Severity::Warning));
        job.knobs.insert("learning_rate".into(), 0.3.into());
        assert_eq!(SYMPTOM.examine(&job).map(|f| f.severity), Some(Severity::Problem));
    }

    #[test]
    fn noise_has_no_spikes() {
        assert!(SYMPTOM.examine(&with_loss((0..1000).map(|i| 1.0 + noise(i)))).is_none());
    }
}
