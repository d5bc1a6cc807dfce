//! Waves with a regular period, typical of unshuffled data: its rules over the evidence.

use super::*;

symptom! {
    sawtooth: "waves with a regular period, typical of unshuffled data";
    Problem in_step_with_epochs when [Above(Q::Waves, WAVES), Above(Q::EpochWaves, WAVE_CHANCE)]
        says "the loss oscillates with the period of an epoch: the data are in the same order in every epoch";
    Warning waves when [Above(Q::Waves, WAVES)]
        says "the loss oscillates in waves longer than a batch, which suggests that the data are sorted";
}

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
    use super::*;

    fn severity(job: &JobView) -> Option<Severity> {
        SYMPTOM.examine(job).map(|finding| finding.severity)
    }

    /// Classes of 20 steps: the first batches of each are new, the last ones already memorised.
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
