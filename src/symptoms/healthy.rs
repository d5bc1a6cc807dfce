//! Synthetic healthy runs that resemble failures: none of them may show a problem.
//!
//! Each symptom has its own tests for similar healthy curves; here every shape is tested against every symptom.

use std::f64::consts::PI;

use super::test_jobs::*;
use super::{Severity, examine};
use crate::evidence::{Evidence, JobView};
use crate::signals::Learning;

const STEPS: usize = 2000;

/// A decrease from one level to another, with proportional noise.
fn fall(i: usize, (from, to): (f64, f64), pace: f64) -> f64 {
    (to + (from - to) * (-(i as f64) / pace).exp()) * (1.0 + 0.1 * noise(i))
}

fn over(loss: impl Fn(usize) -> f64) -> JobView {
    with_loss((0..STEPS).map(loss))
}

#[track_caller]
fn no_problem(job: &JobView) {
    let problems: Vec<_> =
        examine(&Evidence::of(job)).into_iter().filter(|finding| finding.severity == Severity::Problem).collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn warm_up_that_is_flat_for_long() {
    let mut job = over(|i| if i < 800 { 10.8 + 0.05 * noise(i) } else { fall(i - 800, (10.8, 3.8), 300.0) });
    job.learning_rate = observed((0..STEPS).map(|i| 3e-4 * (i as f64 / 1000.0).min(1.0)));
    no_problem(&job);
}

#[test]
fn cosine_decay_to_nothing_over_a_floor_of_noise() {
    let mut job = over(|i| fall(i, (4.6, 1.2), 150.0));
    job.learning_rate = observed((0..STEPS).map(|i| 0.05 * (1.0 + (PI * i as f64 / STEPS as f64).cos())));
    no_problem(&job);
}

#[test]
fn step_decay() {
    let level = |i: usize| if i < 1000 { fall(i, (2.3, 0.8), 80.0) } else { fall(i - 1000, (0.8, 0.3), 10.0) };
    let mut job = over(level);
    job.learning_rate = observed((0..STEPS).map(|i| if i < 1000 { 0.1 } else { 0.01 }));
    no_problem(&job);
}

#[test]
fn a_long_plateau_and_a_late_drop() {
    no_problem(&over(|i| if i < 1500 { 0.69 + 0.02 * noise(i) } else { fall(i - 1500, (0.69, 0.01), 60.0) }));
}

#[test]
fn noisy_small_batches() {
    no_problem(&over(|i| (0.15 + 2.0 * (-(i as f64) / 400.0).exp()) * (2.4 * noise(i)).exp()));
}

#[test]
fn negative_losses() {
    no_problem(&over(|i| 1.2 - 3.5 * (1.0 - (-(i as f64) / 300.0).exp()) + 0.8 * noise(i)));
}

#[test]
fn opponents_that_hover() {
    let mut job = over(|i| 1.2 + 0.8 * noise(i));
    job.learning = Learning::Adversarial;
    no_problem(&job);
}

#[test]
fn rewards_that_rise_over_losses_that_do_not_fall() {
    let mut job = over(|i| 5.0 + 6.0 * noise(i));
    job.learning = Learning::Reinforcement;
    job.reward = observed((0..200).map(|i| 200.0 * (1.0 - (-(i as f64) / 60.0).exp()) + 30.0 * noise(i)));
    no_problem(&job);
}

#[test]
fn fine_tuning_that_starts_at_its_floor() {
    let mut job = over(|i| 0.42 + 0.15 * noise(i));
    job.learning_rate = observed((0..STEPS).map(|i| 2e-5 * (1.0 - i as f64 / STEPS as f64)));
    no_problem(&job);
}

#[test]
fn language_models_tuned_by_a_few_per_cent() {
    let mut job = over(|i| 1.85 + 0.15 * (-(i as f64) / 300.0).exp() + 0.25 * noise(i));
    job.learning_rate = observed((0..STEPS).map(|i| 5e-5 * (1.0 - i as f64 / STEPS as f64)));
    no_problem(&job);
}

#[test]
fn thirty_points_logged_every_hundred_steps() {
    no_problem(&with_loss((0..30).map(|i| fall(i, (2.3, 0.3), 5.0))));
}

#[test]
fn double_descent_in_validation() {
    let mut job = over(|i| fall(i, (2.3, 0.05), 400.0));
    let validation = |i: usize| match i {
        0..20 => 2.3 - 0.065 * i as f64,
        20..35 => 1.0 + 0.027 * (i - 20) as f64,
        _ => 1.4 - 0.014 * (i - 35) as f64,
    };
    job.validation_loss = observed((0..100).map(|i| validation(i) + 0.05 * noise(i)));
    no_problem(&job);
}

#[test]
fn grokking() {
    let mut job = over(|i| fall(i, (4.5, 0.001), 150.0));
    let late = |i: usize| if i < 70 { 0.0 } else { 1.0 - (-((i - 70) as f64) / 5.0).exp() };
    job.validation_loss = observed((0..100).map(|i| (4.5 + 1.5 * (i as f64 / 20.0).min(1.0)) * (1.0 - late(i)) + 0.01));
    job.validation_accuracy = observed((0..100).map(|i| 0.05 + 0.94 * late(i)));
    no_problem(&job);
}

#[test]
fn a_curriculum_whose_tasks_get_harder() {
    no_problem(&over(|i| match i {
        0..500 => fall(i, (1.7, 0.2), 100.0),
        500..1000 => fall(i - 500, (2.0, 0.3), 100.0),
        _ => fall(i - 1000, (2.2, 0.3), 150.0),
    }));
}

#[test]
fn warm_restarts_of_the_learning_rate() {
    let again = |i: usize| 1.0 + 0.4 * (-((i % 500) as f64) / 20.0).exp();
    let mut job = over(|i| fall(i, (2.3, 0.2), 500.0) * again(i));
    job.learning_rate = observed((0..STEPS).map(|i| 0.05 * (1.0 + (PI * (i % 500) as f64 / 500.0).cos()) + 1e-4));
    no_problem(&job);
}

#[test]
fn a_slow_fall_from_a_checkpoint() {
    let mut job = over(|i| 2.9 - 0.15 * i as f64 / STEPS as f64 + 0.1 * noise(i));
    job.knobs.insert("checkpoint".into(), "runs/base/last.pt".into());
    no_problem(&job);
}

#[test]
fn label_smoothing_over_many_classes() {
    let mut job = over(|i| fall(i, (6.9, 1.9), 300.0));
    job.accuracy = observed((0..STEPS).map(|i| 0.78 * (1.0 - (-(i as f64) / 300.0).exp())));
    job.knobs.insert("loss".into(), "cross_entropy".into());
    no_problem(&job);
}

#[test]
fn gradient_norms_that_are_only_placeholders() {
    let mut job = over(|i| fall(i, (2.3, 0.1), 300.0));
    job.gradient_norm = observed((0..STEPS).map(|_| 0.0));
    no_problem(&job);
}
