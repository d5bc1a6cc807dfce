//! Swings larger than the progress, without net progress: its rules over the evidence.

use super::*;

symptom! {
    oscillating: "swings larger than the progress, without net progress";
    Problem wild_values when [MATURE, Above(Q::Noise, HALF), Below(Q::Progress, LEARNED), Below(Q::LateFall, LEARNED)]
        unless NOT_STUCK
        says "single losses scatter by {noise%} around a level that does not fall ({loss_start} to {loss_end})";
    Problem swinging_levels
        when [MATURE, Above(Q::Swing, LEARNED), Below(Q::Progress, LEARNED), Below(Q::LateFall, LEARNED)]
        unless NOT_STUCK
        says "the level of the loss swings by {swing%}, more than the noise within it explains, and does not fall";
}

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
    use super::*;

    #[test]
    fn wild_values_without_progress_oscillate() {
        let job = with_loss((0..1500).map(|i| 9.0 + 18.0 * noise(i)));
        assert!(SYMPTOM.examine(&job).is_some());
    }

    #[test]
    fn a_noisy_run_that_falls_is_left_alone() {
        let job = with_loss((0..1500).map(|i| (2.3 * (-(i as f64) / 500.0).exp()) * (1.0 + 1.5 * noise(i))));
        assert!(SYMPTOM.examine(&job).is_none());
    }

    #[test]
    fn noise_of_few_points_is_no_swing_of_levels() {
        let job = with_loss((0..80).map(|i| 0.37 + 0.3 * noise(i)));
        assert!(SYMPTOM.examine(&job).is_none());
    }

    #[test]
    fn ordinary_noise_about_chance_does_not_oscillate() {
        let job = with_loss((0..1500).map(|i| 2.3 + 0.2 * noise(i)));
        assert!(SYMPTOM.examine(&job).is_none());
    }
}
