//! After enough steps, the loss is no better than at the start: its rules over the evidence.

use super::*;

symptom! {
    not_learning: "after enough steps, the loss is no better than at the start";
    Problem one_answer when [Above(Q::Maturity, FIFTH), Above(Q::OneAnswer, CONVERGED)]
        unless [Above(Q::TrainedBefore, HALF), Above(Q::WarmingUp, HALF), Above(Q::AccuracyGap, AT_CHANCE)]
        says "the accuracy was exactly {validation_accuracy|accuracy} at all evaluations, so the model gives one \
            answer to all inputs";
    Problem same_score when [MATURE, Above(Q::Unscored, HALF)]
        says "`{tag:unscored}` has the same value at all evaluations, or that of a guess: the answers never get \
            better";
    Problem at_chance
        when [MATURE, Above(Q::OverChance, -AT_CHANCE),
            Any(&[Below(Q::AccuracyGain, ACCURACY_GAIN),
                All(&[Below(Q::AccuracyGain, FIFTH), Below(Q::AccuracyTrend, TREND)])])]
        unless [Above(Q::TrainedBefore, HALF), ON_ITS_WAY, ACCURATE]
        says "the loss went from {loss_start} to {loss_end}, the chance level of its classes, and the accuracy gained \
            {accuracy_gain}";
    Problem worse_than_a_guess when [MATURE, Above(Q::OverGuess, OVERSURE)]
        says "the loss went from {loss_start} to {loss_end}, {over_guess} times that of a guess";
    Problem contradiction when [MATURE, Above(Q::Impossible, HALF)]
        says "the accuracy is {impossible} lower than such a cross-entropy ({loss_end}) permits: one of the two is \
            measured incorrectly";
    Problem blown_up when [MATURE, Above(Q::EarlyPeak, BLOWN_UP), Below(Q::Progress, GAP)]
        unless [Above(Q::TrainedBefore, HALF)]
        says "the loss went from {loss_start} to {loss_end}, after the first steps raised it to {early_peak} times its \
            first value";
    Problem repeats when [MATURE, AtLeast(Q::Repeats, REPEATS), Above(Q::RepeatedShare, PINNED)]
        says "the latest {repeats} losses are all exactly {loss_end}";
    Problem stands_still when [MATURE, Below(Q::Progress, SMALL), Sure(Q::Progress, FIFTH)] unless NOT_STUCK
        says "the loss went from {loss_start} to {loss_end} in {points} points, a decrease of {progress%}";
    Problem within_its_scatter
        when [MATURE, Below(Q::Progress, LEARNED), Below(Q::DropErrors, MAYBE), Above(Q::Trend, -TREND),
            Sure(Q::Progress, FIFTH)]
        unless NOT_STUCK
        says "the loss went from {loss_start} to {loss_end} in {points} points, within the scatter of its values";
    Problem futile_steps when [Below(Q::Reach, FUTILE), Below(Q::Progress, SMALL), Sure(Q::Progress, FIFTH)]
        unless [ACCURATE]
        says "the loss went from {loss_start} to {loss_end}: all planned steps together cannot move any weight by more \
            than {reach}";
    Problem stands_still_at_a_risky_setting
        when [Above(Q::Maturity, FIFTH), Below(Q::Progress, SMALL), Sure(Q::Progress, FIFTH),
            Any(&[Above(Q::RatePosition, FAR_OFF), Above(Q::RiskyStart, HALF)])]
        unless NOT_STUCK
        says "the loss went from {loss_start} to {loss_end}, with a learning rate or an initialisation that is known \
            to be risky";
    Problem policy_without_gradient when [MATURE, Above(Q::PolicySilent, THIRD), Below(Q::RewardGain, REWARD_GAIN)]
        says "the policy loss is exactly 0 because the policy has become deterministic, and the reward does not rise";
    Problem policy_torn when [MATURE, Above(Q::PolicyChange, TORN), Below(Q::RewardGain, REWARD_GAIN)]
        says "each update changes the policy too much ({policy_change} nats), and the reward does not rise";
    Problem reward_never_changes when [Above(Q::RewardRepeats, PINNED), AtLeast(Q::Points, REPEATS)]
        says "{reward_repeats%} of the reward values, including the latest, are exactly the same";
    Problem reward_fell when [MATURE, Below(Q::RewardGain, -EARLY), Below(Q::RewardGainErrors, -SIGNIFICANT)]
        says "the reward fell by {reward_gain%} of its range";
    Warning reward_stands_still
        when [MATURE, AtLeast(Q::Points, ENOUGH_POINTS), Below(Q::RewardGain, REWARD_GAIN),
            Below(Q::RewardGainErrors, SIGNIFICANT)]
        says "the reward gained {reward_gain%} of its range; it may be at its best";
}

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
    use super::*;

    fn found(job: &JobView) -> bool {
        SYMPTOM.examine(job).is_some()
    }

    #[test]
    fn a_loss_that_falls_past_the_chance_level_of_fewer_classes_learns() {
        let mut job = with_loss((0..380).map(|i| 2.1 + 2.7 * (-(i as f64) / 150.0).exp() + 0.02 * noise(i)));
        job.accuracy = observed([0.2, 0.22, 0.24, 0.26, 0.27]);
        job.knobs.insert("loss".into(), "cross_entropy".into());
        assert!(!found(&job));
        let mut stuck = with_loss((0..380).map(|i| 2.3 + 2.5 * (-(i as f64) / 30.0).exp() + 0.02 * noise(i)));
        stuck.accuracy = observed([0.1, 0.12, 0.09, 0.11, 0.1]);
        stuck.knobs.insert("loss".into(), "cross_entropy".into());
        assert!(found(&stuck));
    }

    #[test]
    fn a_detector_that_never_detects_anything_is_not_learning() {
        let rule = |tag: &str, score: f64| {
            let mut job = with_loss((0..300).map(|i| 0.02 + 0.1 * (-f64::from(i) / 30.0).exp()));
            job.scores = observed([0.0, 0.0, 0.0, 0.0, 0.0, score]).into_iter().collect();
            job.scores[0].tag = tag.to_owned();
            SYMPTOM.examine(&job).map(|found| found.rule)
        };
        assert_eq!(rule("val/mAP@0.5", 0.0).as_deref(), Some("same_score"));
        assert_eq!(rule("val/mAP@0.5", 0.1), None);
    }

    #[test]
    fn an_accuracy_that_stands_after_its_first_epoch_is_that_of_one_answer() {
        let mut job = with_loss((0..10).map(|i| if i == 0 { 1.9112 } else { 1.9105 + 1e-5 * noise(i) }));
        job.accuracy = observed((0..10).map(|i| if i == 0 { 0.5325 } else { 0.5378 }));
        assert_eq!(SYMPTOM.examine(&job).map(|found| found.rule).as_deref(), Some("one_answer"));
    }

    #[test]
    fn noise_about_log_10_is_not_learning() {
        assert!(found(&with_loss((0..1000).map(|i| 10f64.ln() + 0.1 * noise(i)))));
    }

    #[test]
    fn a_fall_onto_chance_is_not_learning() {
        let mut job = with_loss((0..1000).map(|i| if i < 5 { 100.0 } else { 1.09 + 0.02 * noise(i) }));
        job.accuracy = observed((0..1000).map(|i| 0.35 + 0.1 * noise(i)));
        assert!(found(&job));
    }

    #[test]
    fn a_fall_that_few_noisy_points_cannot_prove_is_not_disproved() {
        let values = [1.95, 1.45, 1.33, 1.23, 0.84, 0.86, 0.60, 0.62, 0.65, 0.73, 0.47, 0.78, 1.11, 0.66, 0.99];
        assert!(!found(&with_loss(values)));
    }

    #[test]
    fn what_the_rest_of_a_run_would_have_brought_nobody_knows() {
        let ended_at = |done: f64, fall: f64| {
            let mut job = with_loss((0..60).map(move |i| 1.04 - fall * f64::from(i) / 60.0 + 0.01 * noise(i as usize)));
            (job.life.finished, job.life.done) = (false, Some(done));
            found(&job)
        };
        assert!(!ended_at(0.1, 0.025), "it crept down for a tenth of its plan");
        assert!(ended_at(1.0, 0.025), "it crept down to its end");
        assert!(ended_at(0.1, 0.0), "it stood still, and was stopped for that");
    }

    #[test]
    fn accuracies_of_small_batches_scatter_and_prove_no_gain() {
        let batches =
            [12, 14, 13, 15, 12, 14, 18, 10, 15, 14, 17, 16, 13, 15, 14, 12, 18, 14, 15, 13, 14, 16, 18, 13, 18];
        let shares = |of: &[i32]| observed(of.iter().map(|right| f64::from(*right) / 32.0));
        let mut job = with_loss((0..25).map(|i| if i == 0 { 0.73 } else { 0.694 + 0.01 * noise(i) }));
        job.accuracy = shares(&batches);
        assert!(found(&job), "from 0.41 to 0.56, as it was before");
        job.accuracy = shares(&std::array::from_fn::<i32, 25, _>(|i| 12 + i as i32 / 4));
        assert!(!found(&job), "from 0.38 to 0.56, step by step");
    }

    #[test]
    fn a_few_evaluations_at_chance_are_a_witness() {
        let mut job = with_loss((0..30).map(|i| 0.73 + 1.6 * (-(i as f64) / 4.0).exp() + 0.05 * noise(i)));
        job.validation_accuracy = observed([0.46, 0.54, 0.46, 0.54, 0.54, 0.46]);
        assert!(found(&job));
        job.validation_accuracy = observed([0.46, 0.54, 0.63, 0.72, 0.74, 0.76]);
        assert!(!found(&job));
    }

    #[test]
    fn among_many_classes_little_accuracy_is_much() {
        let mut job = with_loss((0..1000).map(|i| 4.5 + 2.4 * (-(i as f64) / 100.0).exp() + 0.1 * noise(i)));
        job.accuracy = observed((0..1000).map(|i| 0.09 * (1.0 - (-f64::from(i) / 200.0).exp())));
        assert!(!found(&job));
    }

    #[test]
    fn what_was_lost_since_a_peak_of_its_own_making_is_no_progress() {
        let driven = |end: f64| {
            let back = move |i: usize| end + 2.5 * (-(i as f64) / 30.0).exp() + 0.07 * noise(i);
            with_loss((0..1200).map(move |i| [2.0885, 2.96, 4.55].get(i).copied().unwrap_or_else(|| back(i))))
        };
        assert!(found(&driven(2.06)));
        assert!(!found(&driven(1.5)));
        let blown_up = |end: f64| {
            let back = move |i: usize| end + 9000.0 * (-(i as f64) / 30.0).exp() + 0.07 * noise(i);
            with_loss((0..1200).map(move |i| [14.0, 90000.0, 9000.0].get(i).copied().unwrap_or_else(|| back(i))))
        };
        assert!(found(&blown_up(11.0)));
        assert!(!found(&blown_up(5.0)));
    }

    #[test]
    fn a_steady_fall_is_learning() {
        assert!(!found(&with_loss((0..1000).map(|i| 2.3 * (-(i as f64) / 400.0).exp() + 0.1 * noise(i)))));
    }

    #[test]
    fn fine_tuning_near_its_floor_is_left_alone() {
        let mut job = with_loss((0..100).map(|i| 0.011 + 0.004 * noise(i)));
        job.validation_accuracy = observed((0..20).map(|_| 0.98));
        assert!(!found(&job));
    }

    #[test]
    fn a_plateau_early_in_a_long_run_is_given_time() {
        let mut job = with_loss((0..500).map(|i| 0.69 + 0.05 * noise(i)));
        job.life.ended = false;
        job.life.done = Some(0.2);
        assert!(!found(&job));
    }

    fn at_three_tenths(loss: impl Fn(usize) -> f64, rate: impl Fn(usize) -> f64) -> JobView {
        let mut job = with_loss((0..600).map(loss));
        job.life.ended = false;
        job.life.done = Some(0.3);
        job.learning_rate = observed((0..600).map(rate));
        job
    }

    #[test]
    fn a_risky_setting_is_a_second_witness_of_a_flat_start() {
        let mut job = at_three_tenths(|i| 1.61 + 0.1 * noise(i), |_| 0.05);
        assert!(!found(&job), "a plateau before a late drop looks alike");
        job.knobs.insert("optimizer".into(), "adam".into());
        assert!(found(&job));
        job.life.done = Some(0.1);
        assert!(!found(&job));
    }

    #[test]
    fn a_second_witness_speaks_where_nobody_knows_the_length_of_the_run() {
        let after = |points: usize| {
            let mut job = with_loss((0..points).map(|i| 1.61 + 0.1 * noise(i)));
            (job.life.ended, job.life.done) = (false, None);
            job.learning_rate = observed((0..points).map(|_| 0.05));
            job.knobs.insert("optimizer".into(), "adam".into());
            job
        };
        assert!(found(&after(700)));
        assert!(!found(&after(400)));
        let mut tame = after(700);
        tame.learning_rate = observed((0..700).map(|_| 0.001));
        assert!(!found(&tame), "a plateau before a late drop looks alike");
    }

    #[test]
    fn a_rate_that_moves_nothing_in_all_planned_steps_needs_no_waiting() {
        assert!(found(&at_three_tenths(|i| 1.61 + 0.1 * noise(i), |_| 1e-8)));
    }

    #[test]
    fn a_fall_onto_chance_shows_in_validation_where_the_accuracy_of_batches_scatters() {
        let mut job = with_loss((0..1000).map(|i| 0.68 + 9.0 * (-(i as f64) / 5.0).exp() + 0.02 * noise(i)));
        job.accuracy = observed((0..1000).map(|i| 0.61 + 0.1 * noise(i)));
        assert!(!found(&job));
        job.validation_accuracy = observed((0..20).map(|_| 0.59));
        assert!(found(&job));
    }

    #[test]
    fn validation_that_comes_after_what_was_learned_shows_no_gain_and_no_guess() {
        let mut job = with_loss((0..800).map(|i| 1.2 + 0.4 * (-(i as f64) / 60.0).exp() + 0.2 * noise(i)));
        job.accuracy = observed((0..800).map(|i| 0.61 - 0.4 * (-(i as f64) / 60.0).exp() + 0.1 * noise(i + 9)));
        job.validation_accuracy = observed((0..16).map(|i| 0.595 + 0.01 * noise(i)));
        job.knobs.insert("loss".into(), "cross_entropy".into());
        assert!(!found(&job));
    }

    #[test]
    fn a_policy_without_a_gradient_has_nothing_left_to_learn_from() {
        let mut job = with_loss([]);
        job.learning = Learning::Reinforcement;
        let mut with = |reward: fn(usize) -> f64, loss: fn(usize) -> f64| {
            job.reward = observed((0..400).map(|i| reward(i) + 2.0 * noise(i)));
            job.parts = observed((0..400).map(loss)).into_iter().collect();
            job.parts[0].tag = "loss/policy_loss".to_owned();
            SYMPTOM.examine(&job).is_some_and(|finding| finding.severity == Severity::Problem)
        };
        let stuck = |_: usize| 7.5;
        assert!(with(stuck, |i| if i == 0 { -0.4 } else { 0.0 }));
        assert!(!with(stuck, |i| 0.1 * noise(i)), "it may be at its best");
        let learns = |i: usize| 2.0 + 6.0 * (1.0 - (-(i as f64) / 100.0).exp());
        assert!(!with(learns, |i| if i < 200 { noise(i) } else { 0.0 }), "sure of what is right");
    }

    #[test]
    fn a_policy_that_each_update_replaces_gains_nothing_from_its_rewards() {
        let mut job = with_loss([]);
        job.learning = Learning::Reinforcement;
        job.reward = observed((0..80).map(|i| 30.0 - 0.01 * i as f64 + 3.0 * noise(i)));
        let mut with = |kl: f64| {
            job.parts = observed((0..80).map(|i| kl * (1.0 + noise(i)))).into_iter().collect();
            job.parts[0].curve.as_mut().expect("a shape").tag = "train/approx_kl".to_owned();
            job.parts[0].tag = "train/approx_kl".to_owned();
            SYMPTOM.examine(&job).expect("it stands still").severity
        };
        assert_eq!((with(5.0), with(0.01)), (Severity::Problem, Severity::Warning));
    }

    #[test]
    fn opponents_are_not_judged() {
        let mut job = with_loss((0..1000).map(|i| 0.7 + 0.1 * noise(i)));
        job.learning = Learning::Adversarial;
        assert!(!found(&job));
    }
}
