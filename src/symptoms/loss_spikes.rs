//! Single jumps far above the recent level: its rules over the evidence.

use super::*;

symptom! {
    loss_spikes: "single jumps far above the recent level";
    Problem at_a_high_rate when [AtLeast(Q::Spikes, SPIKE), Above(Q::RatePosition, FAR_OFF)]
        says "{spikes} stretches of the loss jump far above their level, up to {largest_spike} times, at a learning \
            rate of {peak_rate}";
    Warning spikes when [Above(Q::Spikes, 0.0)]
        says "the loss jumped to {largest_spike} times its level, in {spikes} stretches";
}

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
