//! Weights do not change, or the loss repeats itself exactly: its rules over the evidence.

use super::*;

symptom! {
    weights_frozen: "weights do not change, or the loss repeats itself exactly";
    Problem weights when [AtLeast(Q::FrozenWeights, MAYBE)]
        says "the histograms of all weights are identical {frozen_weights} times in a row";
    Problem never_computed when [AtLeast(Q::Zeros, REPEATS), AtLeast(Q::RepeatedShare, 1.0)]
        says "all {zeros} losses are exactly 0: no loss is computed";
    Problem zeros when [AtLeast(Q::Zeros, REPEATS)]
        says "the latest {zeros} losses are exactly 0, directly after much larger losses: a NaN was replaced by 0";
    Problem loss when [AtLeast(Q::Repeats, REPEATS), Above(Q::RepeatedShare, THIRD)] unless [Above(Q::Clamp, 0.0)]
        says "the latest {repeats} losses are all exactly {loss_end}";
    Problem validation when [Above(Q::Maturity, THIRD), Above(Q::ValidationRepeats, GUESS)]
        unless [Above(Q::Clamp, 0.0), ACCURATE]
        says "{validation_repeats%} of the validation losses, including the latest, are exactly the same";
}

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
    use super::*;
    use crate::evidence::Layer;
    use crate::series::{HistogramSketch, Moments};

    #[test]
    fn a_loss_that_repeats_itself_is_frozen() {
        assert!(SYMPTOM.examine(&with_loss((0..100).map(|_| 2.302))).is_some());
    }

    #[test]
    fn a_loss_of_zero_has_converged() {
        assert!(SYMPTOM.examine(&with_loss((0..100).map(|i| if i < 20 { 1.0 } else { 1.4e-14 }))).is_none());
    }

    #[test]
    fn a_method_of_second_order_ends_at_its_last_digit() {
        let descends = |floor: f64| {
            let value = move |i: i32| floor + (1.2 - floor) * (-f64::from(i)).exp();
            with_loss((0..60).map(move |i| if i < 20 { value(i) } else { floor }))
        };
        assert!(SYMPTOM.examine(&descends(0.0387)).is_none() && SYMPTOM.examine(&descends(0.46)).is_none());
        assert!(SYMPTOM.examine(&descends(0.8)).is_some());
        let thrown = (0..60).map(|i| if i < 20 { 1.2 + f64::from(i % 7) } else { 0.46 });
        assert!(SYMPTOM.examine(&with_loss(thrown)).is_some());
    }

    #[test]
    fn validation_that_repeats_itself_says_that_nothing_reaches_the_outputs() {
        let mut job = with_loss((0..600).map(|i| 3.66 + 0.5 * noise(i)));
        job.validation_loss = observed([3.4842; 12]);
        assert!(SYMPTOM.examine(&job).is_some());
        job.learning_rate = observed((0..600).map(|i| if i < 30 { 0.01 } else { 1e-7 }));
        job.validation_loss = observed((0..12).map(|i| if i < 2 { 3.6 } else { 3.4842 }));
        assert!(SYMPTOM.examine(&job).is_none(), "the rate has gone");
        job.learning_rate = None;
        job.validation_loss = observed((0..12).map(|i| 3.4842 + 1e-6 * noise(i)));
        assert!(SYMPTOM.examine(&job).is_none());
    }

    #[test]
    fn a_loss_of_zero_all_at_once_has_not_converged() {
        let zero_after = |level: fn(i32) -> f64| with_loss((0..80).map(move |i| if i < 30 { level(i) } else { 0.0 }));
        assert!(SYMPTOM.examine(&zero_after(|i| 3.8 - 0.04 * f64::from(i))).is_some());
        assert!(SYMPTOM.examine(&zero_after(|i| (-f64::from(i) / 4.0).exp())).is_none(), "all margins are met");
        assert_eq!(SYMPTOM.examine(&with_loss([0.0; 50])).map(|found| found.rule), Some("never_computed".to_owned()));
    }

    #[test]
    fn weights_that_never_change_are_frozen_and_some_that_do_are_fine_tuning() {
        let mut job = with_loss((0..100).map(|i| 2.3 + 0.1 * noise(i)));
        let layer = |moves: f64| {
            let mut histogram = HistogramSketch::default();
            for i in 0..4 {
                let sum = 1.0 + moves * f64::from(i);
                histogram.push(i64::from(i), 0.0, Moments { min: -1.0, max: 1.0, num: 9.0, sum, sum_squares: 3.0 });
            }
            Layer { tag: "weights/a".into(), histogram }
        };
        job.weights = vec![layer(0.0), layer(0.0)];
        assert!(SYMPTOM.examine(&job).is_some());
        job.weights.push(layer(0.1));
        assert!(SYMPTOM.examine(&job).is_none());
    }
}
