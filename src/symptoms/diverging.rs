//! The loss has left its level and keeps growing, or ended far above its start: its rules over the evidence.

use super::*;

/// It fell, and has been rising since, far above its best level.
const RISES: Test = All(&[
    MATURE,
    Above(Q::Rise, RISES_AGAIN),
    Above(Q::LostAgain, EARLY),
    Above(Q::RiseErrors, SIGNIFICANT),
    Below(Q::BestAfter, GUESS),
    Above(Q::LateTrend, TREND),
]);

symptom! {
    diverging: "the loss has left its level and keeps growing, or ended far above its start";
    Problem below_its_bound when [Above(Q::BelowBound, LEARNED)]
        says "the loss is {loss_end}, and this kind of loss cannot be negative: check its sign";
    Problem runs_away when [Above(Q::Runaway, HUNDREDFOLD)]
        says "the loss falls below zero without limit, from {loss_start} to {loss_end}";
    Problem broken when [Above(Q::BreakErrors, BROKEN), Above(Q::BreakSize, BLOWN_UP)]
        says "the latest losses left their level by {break_errors} of its standard errors; keep a checkpoint from \
            before the break";
    Problem thrown_out
        when [Above(Q::EarlyPeak, SIGNIFICANT), Below(Q::Progress, -1.0), Below(Q::DropErrors, -SIGNIFICANT)]
        unless [Above(Q::AccuracyGain, FIFTH), All(&[Below(Q::Maturity, 1.0), Above(Q::LateFall, FIFTH)])]
        says "the loss jumped above its start ({loss_start}) and is now {loss_end}";
    Problem risen when [Below(Q::Progress, -HALF), Below(Q::DropErrors, -SIGNIFICANT), AtLeast(Q::StaysAbove, COLLAPSE)]
        unless [Above(Q::AccuracyGain, FIFTH), All(&[Above(Q::LateFall, FIFTH), Below(Q::LateTrend, -TREND)])]
        says "the loss has risen from {loss_start} to {loss_end}";
    Problem rises_with_its_gradients when [RISES, Above(Q::GradientGrowth, SMALL)]
        says "the loss fell to {loss_best} and has risen since, to {loss_end}, together with the gradient norm";
    Problem never_came_back
        when [MATURE, Above(Q::LostAgain, 1.0), Above(Q::Rise, RISES_AGAIN), Above(Q::RiseErrors, SIGNIFICANT),
            Below(Q::BestAfter, COLLAPSE)]
        says "the loss fell to {loss_best}, then rose above its start ({loss_start}), to {loss_end}, and stays there";
    Problem reward_collapsed when [Above(Q::RewardLost, COLLAPSE)]
        says "the reward has lost {reward_lost%} of its gain";
    Problem accuracy_collapsed when [Above(Q::AccuracyLost, HALF), Sure(Q::AccuracyLost, ACCURACY_GAIN)]
        says "an accuracy has lost {accuracy_lost%} of its best level";
    Problem validation_collapsed
        when [Above(Q::ValidationRise, SIGNIFICANT), Above(Q::ValidationRiseErrors, SIGNIFICANT),
            Below(Q::TrainingFallSince, LEARNED)]
        says "the validation loss rose to {validation_rise} times above its best level, and training does not improve";
    Warning rises_again when [RISES]
        says "the loss fell to {loss_best} and has risen since, to {loss_end}";
}

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
    use super::*;
    use crate::series::{Point, Sketch};

    fn found(values: impl IntoIterator<Item = f64>) -> bool {
        SYMPTOM.examine(&with_loss(values)).is_some()
    }

    #[test]
    fn a_growing_loss_diverges() {
        assert!(found((0..500).map(|i| 2.3 * (f64::from(i) / 100.0).exp())));
    }

    #[test]
    fn a_trained_network_that_is_destroyed_at_once_diverges() {
        let thrown = |end: f64| move |i: usize| if i == 0 { 0.25 } else { end + 90.0 * (-(i as f64) / 60.0).exp() };
        assert!(found((0..700).map(thrown(1.4)).map(|v| v * 1.01)));
        assert!(!found((0..700).map(thrown(0.3))), "it came back");
        let mut early = with_loss((0..150).map(thrown(0.3)));
        assert!(SYMPTOM.examine(&early).is_some());
        early.life.ended = false;
        assert!(SYMPTOM.examine(&early).is_none(), "it is on its way back");
        assert!(!found((0..700).map(|i| if i == 0 { 0.1 } else { 1.0 + 1.6 * noise(i) })), "a lucky first batch");
    }

    #[test]
    fn settling_far_above_the_start_diverges() {
        assert!(found((0..500).map(|i| if i < 10 { 2.0 } else { 9.0 + noise(i as usize) })));
    }

    #[test]
    fn a_loss_that_was_thrown_above_its_start_and_stays_there_diverges() {
        let thrown = |after: usize| move |i: usize| if i < after { 8.0 - 0.02 * i as f64 } else { 11.5 + 0.1 * noise(i) };
        assert!(found((0..500).map(thrown(100))));
        assert!(!found((0..500).map(|i| if i == 100 { 11.5 } else { thrown(500)(i) })), "it came back");
    }

    #[test]
    fn what_adversaries_reconstruct_must_not_be_lost_again() {
        let found = |tag: &str, end: f64| {
            let mut job = with_loss([]);
            job.learning = Learning::Adversarial;
            let course = move |i: usize| if i < 200 { 2.5 * (-(i as f64) / 80.0).exp() + 0.5 } else { end } + 0.1 * noise(i);
            job.parts = observed((0..300).map(course)).into_iter().collect();
            job.parts[0].tag = tag.to_owned();
            SYMPTOM.examine(&job).is_some()
        };
        assert!(found("loss/cycle_A", 8.0));
        assert!(!found("loss/cycle_A", 0.6) && !found("loss/G_A", 8.0));
    }

    #[test]
    fn a_break_that_fills_more_than_the_newest_values_is_seen_although_its_steps_are_few() {
        let mut job = with_loss([]);
        let levels = (0..400).map(|i| (2000 * i, 22.0 + noise(i as usize)));
        let broken = (0..60).map(|i| (800_000 + 100 * i, 30.0 * (f64::from(i as i32) / 10.0).exp() + 4.0 * noise(i as usize)));
        let mut sketch = Sketch::default();
        for (step, value) in levels.chain(broken) {
            sketch.push(Point { step, wall_time: step as f64, value });
        }
        job.training_loss = Some(Observed::new("loss", &sketch));
        assert_eq!(SYMPTOM.examine(&job).map(|found| found.rule), Some("broken".to_owned()));
    }

    #[test]
    fn a_flipped_sign_runs_away() {
        assert!(found((0..500).map(|i| -0.25 - f64::from(i).powi(4))));
    }

    #[test]
    fn a_flipped_cross_entropy_runs_away_from_its_first_steps_on() {
        assert!(found((0..800).map(|i| -1.7 - 240.0 * (f64::from(i) / 800.0).powi(2) + 0.1 * noise(i as usize))));
        let late = |i: i32| -0.5 - 40.0 / (1.0 + (-f64::from(i - 500) / 40.0).exp());
        assert!(!found((0..800).map(late)), "a late drop onto a bound");
    }

    #[test]
    fn a_negative_log_likelihood_is_left_alone() {
        assert!(!found((0..500).map(|i| 0.3 - 2.5 * (1.0 - (-f64::from(i) / 100.0).exp()))));
    }

    #[test]
    fn a_flipped_sign_runs_away_in_any_unit() {
        assert!(found((0..500).map(|i| 1e-4 * (-0.25 - f64::from(i).powi(4)))));
        assert!(!found((0..500).map(|i| -0.01 - 3.0 * (1.0 - (-f64::from(i) / 100.0).exp()))), "a likelihood");
    }

    #[test]
    fn what_is_named_for_an_error_is_not_negative() {
        let below = |tag: &str, end: f64| {
            let mut job = with_loss((0..400).map(|i| -1.0 + (end + 1.0) * (1.0 - (-f64::from(i) / 40.0).exp())));
            job.training_loss.as_mut().and_then(|loss| loss.curve.as_mut()).expect("a shape").tag = tag.to_owned();
            SYMPTOM.examine(&job).is_some()
        };
        assert!(below("train/mse", -3.0) && below("loss/contrastive", -4.0));
        assert!(!below("train/loss", -3.0), "a likelihood");
        assert!(!below("loss/contrastive", -0.99), "of cosines");
        assert!(!below("train/neg_mse", -3.0) && !below("train/log_mse", -3.0));
    }

    #[test]
    fn a_loss_that_rises_again_with_its_gradients_diverges() {
        let course = |i: usize| 0.07 + 0.1 * (-(i as f64) / 30.0).exp() + 6e-5 * i as f64 + 0.002 * noise(i);
        let severity = |norm: Option<fn(usize) -> f64>| {
            let mut job = with_loss((0..900).map(course));
            job.gradient_norm = norm.and_then(|norm| observed((0..900).map(norm)));
            SYMPTOM.examine(&job).map(|finding| finding.severity)
        };
        assert_eq!(severity(Some(|i| 1.9 + 0.0005 * i as f64)), Some(Severity::Problem));
        assert_eq!(severity(Some(|i| 1.9 + 0.1 * noise(i))), Some(Severity::Warning));
        assert_eq!(severity(None), Some(Severity::Warning), "a schedule may make the task harder");
    }

    fn rewards(value: impl Fn(usize) -> f64) -> bool {
        let mut job = with_loss([]);
        job.learning = Learning::Reinforcement;
        job.reward = observed((0..200).map(value));
        SYMPTOM.examine(&job).is_some()
    }

    #[test]
    fn a_policy_that_fails_at_once_has_many_episodes_in_few_steps() {
        let mut sketch = crate::series::Sketch::default();
        let mut step = 0;
        for i in 0..260 {
            let reward = if i < 160 {
                (8.0 + 1.2 * f64::from(i)).min(180.0) + 40.0 * noise(i as usize)
            } else {
                9.0 + noise(i as usize)
            };
            step += reward.max(1.0) as i64;
            sketch.push(crate::series::Point { step, wall_time: f64::from(i), value: reward });
        }
        let mut job = with_loss([]);
        job.learning = Learning::Reinforcement;
        job.reward = Some(Observed::new("charts/episodic_return", &sketch));
        assert!(SYMPTOM.examine(&job).is_some());
    }

    #[test]
    fn a_reward_that_rose_and_is_lost_again_has_collapsed() {
        let rise = |i: usize| 200.0 * (1.0 - (-(i as f64) / 20.0).exp()) + 10.0 * noise(i);
        assert!(rewards(|i| if i < 80 { rise(i) } else { rise(i) * (-((i - 80) as f64) / 15.0).exp() }));
        assert!(!rewards(rise));
        assert!(!rewards(|i| if (90..110).contains(&i) { 20.0 } else { rise(i) }), "a dip that comes back");
        assert!(!rewards(|i| 50.0 * noise(i)), "rewards that hover");
    }

    #[test]
    fn a_spike_that_comes_back_is_no_divergence() {
        assert!(!found((0..500).map(|i| if (300..305).contains(&i) { 50.0 } else { 1.0 / (1.0 + f64::from(i)) })));
    }

    #[test]
    fn noise_about_a_level_is_no_divergence() {
        assert!(!found((0..500).map(|i| 2.3 + noise(i))));
    }
}
