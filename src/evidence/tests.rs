//! Jobs made up for tests, and what is measured in them.

use super::*;
use crate::jobs::Knobs;
use crate::series::{Point, Sketch};
use crate::signals::Learning;

/// Noise that is the same in every run of the tests, between -0.5 and 0.5.
pub(crate) fn noise(i: usize) -> f64 {
    let x = (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D;
    ((x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 11) as f64 / (1u64 << 53) as f64 - 0.5
}

pub(crate) fn sketch(values: impl IntoIterator<Item = f64>) -> Sketch {
    let mut sketch = Sketch::default();
    for (step, value) in values.into_iter().enumerate() {
        sketch.push(Point { step: step as i64, wall_time: step as f64, value });
    }
    sketch
}

/// A job that has ended, with nothing but a training loss.
pub(crate) fn with_loss(values: impl IntoIterator<Item = f64>) -> JobView {
    let loss = sketch(values);
    let updates = Some(loss.count() as f64);
    JobView {
        learning: Learning::Supervised,
        training_loss: Some(Observed::new("train/loss", &loss)),
        loss_is_derived: false,
        validation_loss: None,
        accuracy: None,
        validation_accuracy: None,
        learning_rate: None,
        gradient_norm: None,
        reward: None,
        scores: Vec::new(),
        epoch: None,
        parts: Vec::new(),
        gradients: Vec::new(),
        weights: Vec::new(),
        knobs: Knobs::new(),
        life: Life {
            ended: true,
            finished: true,
            silent_for: 0.0,
            patience: 600.0,
            done: None,
            updates,
            cut_off: false,
        },
    }
}

pub(crate) fn observed(values: impl IntoIterator<Item = f64>) -> Option<Observed> {
    Some(Observed::new("tag", &sketch(values)))
}

fn get(job: &JobView, quantity: Quantity) -> f64 {
    Evidence::of(job).get(quantity).unwrap_or(f64::NAN)
}

#[test]
fn a_fall_onto_the_loss_of_a_guess_is_no_measure_of_what_was_learned() {
    let error = |from: f64, to: f64| {
        let mut job = with_loss((0..300).map(|i| to + (from - to) * (-(i as f64) / 10.0).exp() + 0.002 * noise(i)));
        job.accuracy = observed((0..300).map(|i| 0.333 + 0.02 * noise(i)));
        job.knobs.insert("classes".into(), 3.into());
        let evidence = Evidence::of(&job);
        let progress = evidence.measured(Quantity::Progress).expect("it fell");
        (progress.error, progress.value)
    };
    let (uncertain, fell) = error(30.0, 3f64.ln());
    assert!(fell > 0.9 && uncertain > 0.9, "{uncertain}");
    assert!(error(30.0, 0.3).0 < 0.1, "it went on");
    assert!(error(3f64.ln(), 3f64.ln()).0 < 0.1, "a loss that stands is certain");
}

#[test]
fn one_outlier_moves_no_level_whatever_the_sign_of_the_loss() {
    for sign in [1.0, -1.0] {
        for outlier in [3, 40, 99] {
            let value = |i: usize| 2.0 * (-(i as f64) / 30.0).exp() + 0.5 + 0.02 * noise(i);
            let plain = with_loss((0..100).map(|i| sign * value(i)));
            let hit = with_loss((0..100).map(|i| sign * value(i) * if i == outlier { 1e9 } else { 1.0 }));
            for quantity in [Quantity::LossStart, Quantity::LossEnd, Quantity::Progress, Quantity::LateFall] {
                let (a, b) = (get(&plain, quantity), get(&hit, quantity));
                assert!((a - b).abs() < 0.2 * a.abs().max(0.1), "{}: {a} {b} at {outlier}", quantity.id());
            }
            let change = hit.falling_loss().and_then(|curve| curve.last_change(1.0));
            assert!(sign < 0.0 || change.is_none_or(|change| change.errors < 20.0), "{sign} {outlier} {change:?}");
        }
    }
}

#[test]
fn a_break_within_the_newest_hundredth_is_seen() {
    let job = with_loss((0..1338).map(|i| if i < 1335 { 0.05 + 0.01 * noise(i) } else { 1.7e10 }));
    assert!(get(&job, Quantity::BreakErrors) > 20.0 && get(&job, Quantity::BreakSize) > 1e6);
}

#[test]
fn per_cent_and_error_rates_are_accuracies() {
    let job = |tag: &str, values: [f64; 4]| {
        let mut job = with_loss((0..100).map(|i| 2.0 + 0.1 * noise(i)));
        job.accuracy = Some(Observed::accuracy(tag, &sketch(values)));
        job
    };
    assert!((get(&job("acc", [55.0, 56.0, 57.0, 58.0]), Quantity::Accuracy) - 0.58).abs() < 1e-9);
    assert!((get(&job("val/wer", [0.9, 0.5, 0.3, 0.2]), Quantity::Accuracy) - 0.8).abs() < 1e-9);
    assert!((get(&job("val/wer", [90.0, 50.0, 30.0, 20.0]), Quantity::Accuracy) - 0.8).abs() < 1e-9);
    let percent = job("acc", [0.5, 0.9, 1.0, 55.0]);
    let early = percent.at(percent.training_loss.as_ref().map_or(0, |loss| loss.steps().1 / 2));
    assert!(early.accuracy.expect("an accuracy").newest().is_none_or(|newest| newest < 0.02), "its unit stays");
}

#[test]
fn a_job_at_an_earlier_step_is_what_it_was_then() {
    let value = |i: usize| 2.0 * (-(i as f64) / 300.0).exp() + 0.1 + 0.02 * noise(i);
    let whole = with_loss((0..2048).map(value));
    let (early, fresh) = (whole.at(1023), with_loss((0..1024).map(value)));
    for quantity in [Quantity::LossStart, Quantity::LossEnd, Quantity::Progress] {
        let (a, b) = (get(&early, quantity), get(&fresh, quantity));
        assert!((a - b).abs() < 0.02 * b.abs(), "{}: {a} {b}", quantity.id());
    }
}

#[test]
fn three_points_have_wide_errors_and_ten_narrow_ones() {
    let error = |points: usize| {
        let job = with_loss((0..points).map(|i| 2.0 * 0.8f64.powi(i as i32) + 0.05 * noise(i)));
        Evidence::of(&job).measured(Quantity::Progress).expect("three points suffice").error
    };
    assert!(error(3) > error(10) && error(3) > 0.05, "{} {}", error(3), error(10));
}

#[test]
fn what_is_not_logged_is_not_known() {
    let evidence = Evidence::of(&with_loss((0..100).map(|i| 2.0 + 0.1 * noise(i))));
    assert_eq!(evidence.get(Quantity::Accuracy), None);
    assert_eq!(evidence.get(Quantity::GradientLevel), None);
    assert_eq!(evidence.tag(Quantity::Progress), "train/loss");
}

#[test]
fn names_of_quantities_are_unique() {
    let ids: std::collections::BTreeSet<&str> = QUANTITIES.iter().map(|quantity| quantity.id()).collect();
    assert_eq!(ids.len(), QUANTITIES.len());
}

#[test]
fn validation_above_the_start_of_training_counts_evaluations_however_much_they_scatter() {
    let share = |values: &[f64]| {
        let mut job = with_loss((0..200).map(|i| 0.8 * (-(i as f64) / 20.0).exp()));
        job.validation_loss = observed(values.iter().copied());
        get(&job, Quantity::ValidationAboveStart)
    };
    assert_eq!(share(&[1.0, 1.8, 4.0, 1.3, 3.5]), 1.0);
    assert_eq!(share(&[0.7, 0.5, 0.4, 0.45, 0.4]), 0.0);
}

#[test]
fn rewards_that_stay_at_their_height_are_no_repeats_and_those_that_never_rose_are() {
    let repeats = |rewards: &[f64]| {
        let mut job = with_loss([0.1, 0.0, 0.0]);
        job.learning = Learning::Reinforcement;
        job.reward = observed(rewards.iter().copied());
        job.parts = observed([0.1].into_iter().chain(std::iter::repeat_n(0.0, 9))).into_iter().collect();
        job.parts[0].tag = "train/policy_gradient_loss".into();
        (get(&job, Quantity::RewardRepeats), Evidence::of(&job).get(Quantity::PolicySilent))
    };
    let (solved, silent) = repeats(&[0.84, 0.88, 0.88, 0.88, 0.88, 0.88, 0.88, 0.88, 0.88, 0.88]);
    assert_eq!((solved, silent), (0.0, None));
    let (stuck, silent) = repeats(&[0.0; 10]);
    assert!(stuck > 0.8 && silent.is_some_and(|share| share > 0.8), "{stuck} {silent:?}");
    let (lost, _) = repeats(&[0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]);
    assert!(lost > 0.8, "{lost}");
}

#[test]
fn a_loss_far_below_zero_ran_away_although_it_stands_there_now() {
    let runaway = |depth: f64| {
        let job = with_loss((0..9).map(|i| -depth * (1.0 - 0.98 * (-(i as f64)).exp())));
        get(&job, Quantity::Runaway)
    };
    assert!(runaway(7e5) > 1.0, "{}", runaway(7e5));
    assert_eq!(runaway(7.0), 0.0);
}

#[test]
fn a_squared_error_of_a_guess_is_at_chance_as_a_cross_entropy_is() {
    let over = |loss: f64, accuracy: f64, named: Option<&str>| {
        let mut job = with_loss((0..100).map(|i| loss * (1.0 + 0.001 * noise(i))));
        job.accuracy = observed((0..100).map(|i| accuracy + 0.01 * noise(i)));
        job.knobs.extend(named.map(|name| ("loss".to_owned(), name.into())));
        get(&job, Quantity::OverChance)
    };
    for (loss, accuracy, named) in [(0.25, 0.5, None), (0.25, 0.5, Some("l2")), (0.09, 0.1, None), (0.693, 0.5, None)] {
        assert!(over(loss, accuracy, named).abs() < 0.01, "{loss} {accuracy} {named:?}");
    }
    assert!(over(0.2, 0.5, Some("l2")).is_nan() && over(30.0, 0.01, Some("l2")).is_nan(), "a regression");
    assert!(over(0.25, 0.5, Some("cross_entropy")) < -0.5, "no cross-entropy of a guess");
}

#[test]
fn an_accuracy_that_never_moves_is_that_of_one_answer_and_no_sign_of_earlier_training() {
    let job = |loss: f64, accuracy: fn(usize) -> f64| {
        let mut job = with_loss((0..30).map(|i| loss * (1.0 + 0.001 * noise(i))));
        job.validation_accuracy = observed((0..30).map(accuracy));
        job
    };
    let majority = job(0.45, |_| 0.84);
    assert!(get(&majority, Quantity::OneAnswer) > 0.97 && get(&majority, Quantity::TrainedBefore) == 0.0);
    assert_eq!(get(&job(0.45, |i| 0.84 + 0.02 * noise(i)), Quantity::TrainedBefore), 1.0);
    let error = |job: &JobView| Evidence::of(job).measured(Quantity::ValidationAccuracy).expect("known").error;
    assert!(error(&majority) > 0.8 && error(&job(0.1, |_| 0.84)) < 0.1, "it is that of its class");
}

#[test]
fn a_loss_that_falls_as_fast_as_ever_has_more_to_gain() {
    let trained_before = |loss: fn(usize) -> f64| {
        let mut job = with_loss((0..30).map(loss));
        job.validation_accuracy = observed((0..30).map(|i| 0.78 + 0.002 * i as f64));
        get(&job, Quantity::TrainedBefore)
    };
    assert_eq!(trained_before(|i| 0.58 - 0.0013 * i as f64), 0.0);
    assert_eq!(trained_before(|i| 0.55 + 0.01 * noise(i)), 1.0);
}

#[test]
fn what_a_job_gained_before_its_log_began_is_not_known() {
    let error = |checkpoint: bool, fall: f64| {
        let mut job = with_loss((0..200).map(|i| 1.0 - fall * (1.0 - (-f64::from(i) / 20.0).exp()) + 1e-4));
        job.knobs.extend(checkpoint.then(|| ("checkpoint".to_owned(), true.into())));
        Evidence::of(&job).measured(Quantity::Progress).expect("known").error
    };
    assert!(error(false, 0.0) < 0.01 && error(true, 0.0) > 0.4, "{}", error(true, 0.0));
    assert!(error(true, 0.9) < 0.1, "a large fall is one, whatever came before");
}

#[test]
fn validation_that_scatters_is_measured_against_its_level() {
    let scatter = |size: f64| {
        let mut job = with_loss((0..200).map(|i| 0.2 + (-f64::from(i) / 20.0).exp()));
        job.validation_loss = observed((0..50).map(|i| 0.3 * (1.0 + size * noise(i)) + (-(i as f64) / 5.0).exp()));
        get(&job, Quantity::ValidationNoise)
    };
    assert!(scatter(0.01) < 0.02 && scatter(1.5) > 0.2, "{} {}", scatter(0.01), scatter(1.5));
}

#[test]
fn an_accuracy_of_a_guess_that_scatters_has_lost_nothing() {
    let lost = |accuracy: fn(usize) -> f64| {
        let mut job = with_loss((0..100).map(|i| 2.3 + 0.01 * noise(i)));
        job.accuracy = observed((0..100).map(accuracy));
        get(&job, Quantity::AccuracyLost)
    };
    assert_eq!(lost(|i| if i < 50 { 0.12 } else { 0.05 }), 0.0);
    assert!(lost(|i| if i < 50 { 0.6 } else { 0.1 }) > 0.8);
}

#[test]
fn a_reward_that_rises_shows_that_its_rate_is_not_too_low() {
    let position = |gain: f64| {
        let mut job = with_loss([]);
        (job.learning, job.life.updates) = (Learning::Reinforcement, Some(400.0));
        job.reward = observed((0..400).map(|i| gain * i as f64 / 400.0 + 0.2 * noise(i)));
        job.learning_rate = observed((0..400).map(|_| 1e-6));
        (get(&job, Quantity::RatePosition), get(&job, Quantity::Reach).is_nan())
    };
    assert_eq!((position(0.0), position(1.0)), ((-3.0, false), (0.0, true)));
}

#[test]
fn a_run_of_unknown_length_matures_by_its_updates_however_often_it_logs() {
    let maturity = |points: usize, updates: f64| {
        let mut job = with_loss((0..points).map(|i| 2.3 + 0.1 * noise(i)));
        (job.life.ended, job.life.done, job.life.updates) = (false, None, Some(updates));
        get(&job, Quantity::Maturity)
    };
    assert_eq!([maturity(300, 3000.0), maturity(3000, 3000.0), maturity(300, 300.0)], [1.0, 1.0, 0.1]);
    assert_eq!(maturity(3, 3000.0), 0.1, "three points say little, whatever their steps count");
    let mut job = with_loss([]);
    (job.life.ended, job.life.done, job.life.updates) = (false, None, Some(3e5));
    (job.learning, job.reward) = (Learning::Reinforcement, observed((0..300).map(noise)));
    assert_eq!(get(&job, Quantity::Maturity), 0.1, "these are steps of an environment");
}

#[test]
fn a_score_that_never_changes_or_is_lost_again_says_so_and_more_surely_at_the_end() {
    let with = |tag: &str, values: [f64; 8], ended: bool| {
        let mut job = with_loss((0..300).map(|i| 2.3 * (-(i as f64) / 60.0).exp()));
        (job.life.ended, job.life.done) = (ended, None);
        job.scores = observed(values).into_iter().collect();
        job.scores[0].tag = tag.to_owned();
        Evidence::of(&job)
    };
    let unscored = |tag, values| with(tag, values, true).get(Quantity::Unscored);
    assert_eq!(unscored("win_rate", [0.0; 8]), Some(1.0));
    assert_eq!(unscored("eval/mcc", [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.3]), None);
    assert_eq!(unscored("val/auc", [0.49, 0.51, 0.5, 0.48, 0.5, 0.51, 0.49, 0.5]), Some(1.0));
    assert_eq!(unscored("val/iou", [0.97; 8]), None, "it is as good as it can be");
    let error = |ended| with("win_rate", [0.0; 8], ended).measured(Quantity::Unscored).map(|measured| measured.error);
    assert!(error(true) == Some(0.0) && error(false) > Some(0.5), "the first success may come late");
    let lost = with("pgd_acc", [0.2, 0.3, 0.35, 0.37, 0.0, 0.0, 0.0, 0.0], true);
    assert!(lost.above(Quantity::AccuracyLost, 0.9));
}

#[test]
fn where_a_loss_rises_and_answers_become_correct_the_answers_count() {
    let decay = |i: usize, tau: f64| (-(i as f64) / tau).exp();
    let judged = |loss: &dyn Fn(usize) -> f64, right: &dyn Fn(usize) -> f64| {
        let mut job = with_loss((0..300).map(loss));
        job.accuracy = observed((0..300).map(right));
        Evidence::of(&job).tag(Quantity::Progress).to_owned()
    };
    let learns = |i: usize| 0.8 * (1.0 - decay(i, 60.0));
    let queue = |i: usize| if i == 0 { 3.0 } else { 6.9 + 2.0 * decay(i, 60.0) };
    assert_eq!(judged(&queue, &learns), "1 - tag", "a queue is filled");
    let rises = |i: usize| 0.2 + 1.3 * decay(i, 5.0) + i as f64 / 1000.0;
    assert_eq!(judged(&rises, &learns), "1 - tag", "it lost its meaning");
    assert_eq!(judged(&rises, &|i| 0.1 + 0.02 * noise(i)), "train/loss", "nothing was learned");
    assert_eq!(judged(&|i| 1.46 + 0.84 * decay(i, 60.0), &learns), "train/loss", "squashed scores fall");
    assert_eq!(
        judged(&|i| if i == 200 { f64::NAN } else { queue(i) }, &learns),
        "train/loss",
        "NaN is not passed over"
    );
}

#[test]
fn a_rate_that_still_rises_is_not_yet_what_it_will_be() {
    let position = |rate: fn(usize) -> f64| {
        let mut job = with_loss((0..300).map(|i| 6.9 - 0.001 * i as f64 + 0.01 * noise(i)));
        job.learning_rate = observed((0..300).map(rate));
        (get(&job, Quantity::RatePosition), get(&job, Quantity::Reach).is_nan())
    };
    assert_eq!((position(|i| 1e-7 * i as f64), position(|_| 1e-5)), ((0.0, true), (-2.0, false)));
}

#[test]
fn a_correlation_of_exactly_zero_needs_two_evaluations() {
    let unscored = |tag: &str, values: &[f64]| {
        let mut job = with_loss((0..300).map(|i| 0.62 + 0.01 * noise(i)));
        job.scores = vec![Observed::new(tag, &sketch(values.iter().copied()))];
        Evidence::of(&job).get(Quantity::Unscored)
    };
    assert_eq!(unscored("eval/matthews_correlation", &[0.0; 3]), Some(1.0));
    assert_eq!(unscored("eval/bleu", &[0.0; 3]), None, "the first words may come late");
    assert_eq!(unscored("eval/mcc", &[0.0]), None);
}

#[test]
fn a_score_that_rises_stands_in_for_an_accuracy() {
    let gain = |score: fn(usize) -> f64| {
        let mut job = with_loss((0..300).map(|i| 5e4 - 50.0 * i as f64));
        job.scores = observed((0..30).map(score)).into_iter().collect();
        (get(&job, Quantity::AccuracyGain), get(&job, Quantity::ValidationAccuracyLateGain))
    };
    let (whole, late) = gain(|i| 0.3 + 0.01 * i as f64);
    assert!(whole > 0.2 && late > 0.1, "{whole} {late}");
    assert!(gain(|i| 0.3 + 0.01 * noise(i)).0.is_nan(), "its level means nothing");
}

#[test]
fn a_discriminator_that_is_always_right_leaves_its_generator_without_gradient() {
    let left = |generator: f64, discriminator: f64| {
        let mut job = with_loss([]);
        job.learning = Learning::Adversarial;
        let falls = |i: usize| 0.7 * 10f64.powf(-discriminator * i as f64 / 200.0);
        let part = |tag: &str, values: Vec<f64>| Observed::new(tag, &sketch(values));
        job.parts = vec![
            part("loss/errG", (0..300).map(|i| 2.0 + generator * i as f64 / 300.0).collect()),
            part("loss/errD", (0..300).map(falls).collect()),
        ];
        get(&job, Quantity::DiscriminatorLeft)
    };
    assert!(left(30.0, 4.0) < -3.0);
    assert!(left(30.0, 0.2) > -1.0, "they keep up with each other");
    assert!(left(-1.0, 4.0).is_nan(), "the generator is not beaten");
}
