//! Improves steadily, but too slowly to reach a useful level in a reasonable budget: its rules over the evidence.

use super::*;

symptom! {
    slow_learning: "improves steadily, but too slowly to reach a useful level in a reasonable budget";
    Problem weights_hardly_move
        when [MATURE, Below(Q::WeightMovement, HARDLY_MOVES), Above(Q::WeightMovement, 0.0),
            Below(Q::Progress, LEARNED)]
        unless [Above(Q::TrainedBefore, HALF), ACCURATE]
        says "the weights changed by {weight_movement} of their size, and the loss from {loss_start} to {loss_end}";
    Problem steady_and_slow
        when [MATURE, Support(Q::Steadiness, FEW_POINTS), Below(Q::Progress, OVERFIT_RISE), Above(Q::Progress, 0.0),
            Above(Q::Steadiness, RISES_AGAIN), Below(Q::LateFall, 1.0 / (SIGNIFICANT * BUDGETS)),
            Below(Q::LateTrend, -TREND)]
        unless [Above(Q::TrainedBefore, HALF), Above(Q::AccuracyGain, ACCURACY_GAIN), Above(Q::WarmingUp, HALF),
            STOPPED, ACCURATE]
        says "the loss falls steadily but slowly, from {loss_start} to {loss_end}: by {late_fall%} in the second half";
}

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
    use super::*;
    use crate::series::{HistogramSketch, Moments};

    #[test]
    fn an_accuracy_that_has_come_to_its_end_says_that_there_was_little_to_lose() {
        let falls = |i: usize| 2.24 - 0.05 * (i as f64 / 24.0) - 0.04 * (1.0 - (-(i as f64) / 3.0).exp());
        let mut job = with_loss((0..24).map(falls));
        assert!(SYMPTOM.examine(&job).is_some());
        job.accuracy = observed((0..24).map(|i| 0.275 - 0.15 * (-f64::from(i) / 3.0).exp()));
        assert!(SYMPTOM.examine(&job).is_none());
        job.accuracy = observed((0..24).map(|i| 0.1 + 0.004 * f64::from(i)));
        assert!(SYMPTOM.examine(&job).is_some());
        job.validation_accuracy = observed((0..24).map(|i| 0.73 + 0.01 * noise(i)));
        assert!(SYMPTOM.examine(&job).is_none(), "it was trained before");
    }

    #[test]
    fn weights_that_hardly_move_under_a_loss_that_stands_are_slow() {
        let with_weights = |moves: f64| {
            let mut job = with_loss((0..500).map(|i| 2.3 + 0.1 * noise(i)));
            let mut histogram = HistogramSketch::default();
            for i in 0..5 {
                let high = 0.5 + moves * f64::from(i);
                histogram.push(
                    i64::from(i),
                    0.0,
                    Moments { min: -0.5, max: high, num: 9.0, sum: 0.0, sum_squares: 0.4 },
                );
            }
            job.weights = vec![Layer { tag: "weights/a".into(), histogram }];
            SYMPTOM.examine(&job).is_some()
        };
        assert!(with_weights(1e-5) && !with_weights(0.1) && !with_weights(0.0));
    }

    #[test]
    fn a_straight_slow_line_from_a_checkpoint_is_left_alone() {
        let mut job = with_loss((0..1000).map(|i| 2.3 - 0.0001 * i as f64 + 0.01 * noise(i)));
        job.knobs.insert("checkpoint".into(), "runs/a/last.pt".into());
        assert!(SYMPTOM.examine(&job).is_none());
    }

    #[test]
    fn a_straight_slow_line_is_slow() {
        let job = with_loss((0..1000).map(|i| 2.3 - 0.0001 * i as f64 + 0.01 * noise(i)));
        assert!(SYMPTOM.examine(&job).is_some());
    }

    #[test]
    fn fine_tuning_that_flattens_is_left_alone() {
        let job = with_loss((0..1000).map(|i| 1.8 + 0.2 * (-(i as f64) / 150.0).exp() + 0.01 * noise(i)));
        assert!(SYMPTOM.examine(&job).is_none());
    }

    #[test]
    fn a_fast_fall_is_left_alone() {
        let job = with_loss((0..1000).map(|i| 2.3 - 0.002 * i as f64 + 0.01 * noise(i)));
        assert!(SYMPTOM.examine(&job).is_none());
    }
}
