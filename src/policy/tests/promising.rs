//! Changes that help, where others may help more.

use serde_json::json;

use super::read;
use super::walks::{Walker, baseline, knobs};
use crate::facts::{Facts, Quantity};
use crate::policy::CaseFacts;

const POLICY: &str = "
policy: small
judge: { cured: experiment.cured, helped: experiment.better }
tests:
  lower_learning_rate: { ladder: { learning_rate: [/10, /100], unknown: [0.001] }, cause: learning_rate_too_high }
  normalize_inputs: { change: { normalize_inputs: true }, cause: input_scaling }
  relu: { change: { activation: relu }, cause: vanishing_gradients }
  read_apart: { change: { loss: l1 }, found: experiment.learned, cause: loss_function }
conclusions:
  end: { verdict: inconclusive, summary: end }
states:
  all: { try: [lower_learning_rate, normalize_inputs, relu, read_apart], empty: end }
";

fn walker() -> Walker {
    Walker::start(read(POLICY), baseline(), CaseFacts::default())
}

fn helps(gain: f64) -> Facts {
    Facts { cured: true, better: true, learned: true, gain, ..Facts::default() }.with([(Quantity::Progress, gain)])
}

fn nothing() -> Facts {
    Facts { gain: 0.0, ..Facts::default() }
}

#[test]
fn a_change_that_takes_most_of_the_loss_away_needs_no_comparison() {
    let mut walker = walker();
    walker.shows(&helps(0.9));
    assert_eq!(walker.conclusion().verdict, "learning_rate_too_high");
    let mut walker = self::walker();
    walker.shows(&helps(f64::NAN));
    assert_eq!(walker.conclusion().verdict, "learning_rate_too_high", "what is not known is not held against it");
}

#[test]
fn of_several_changes_that_help_the_one_that_helps_most_is_the_cause() {
    let mut walker = walker();
    walker.shows(&nothing()).shows(&helps(0.35));
    assert_eq!(walker.passed(), [("normalize_inputs", "promising")]);
    walker.shows(&helps(0.45)).shows(&nothing());
    assert_eq!(walker.passed(), [("read_apart", "no_cure"), ("relu", "found")]);
    assert_eq!(walker.conclusion().recommended, knobs(json!({"activation": "relu"})));
}

#[test]
fn a_cause_that_is_more_probable_than_all_others_together_ends_the_search() {
    let mut walker = walker();
    walker.shows(&nothing()).shows(&helps(0.6));
    assert_eq!(walker.conclusion().verdict, "input_scaling");
}

#[test]
fn a_promising_cause_ends_the_search_once_others_are_improbable() {
    let policy = POLICY.replace("cause: vanishing_gradients", "cause: vanishing_gradients, prior: 0.4");
    let mut walker = Walker::start(read(&policy), baseline(), CaseFacts::default());
    walker.shows(&nothing()).shows(&helps(0.6));
    assert_eq!(walker.passed(), [("normalize_inputs", "promising")]);
    walker.shows(&nothing());
    assert_eq!(walker.conclusion().verdict, "input_scaling");
}

#[test]
fn a_change_that_helps_is_the_cause_where_no_other_does() {
    let mut walker = walker();
    walker.shows(&nothing()).shows(&nothing()).shows(&helps(0.4)).shows(&nothing());
    assert_eq!(walker.conclusion().verdict, "vanishing_gradients");
}

#[test]
fn a_ladder_whose_next_value_helps_less_stands_for_its_best() {
    let mut walker = walker();
    walker.shows(&helps(0.4));
    assert_eq!(walker.at().attempt, 2, "a lower rate may help more");
    walker.shows(&helps(0.3));
    assert_eq!(walker.passed(), [("lower_learning_rate", "promising")]);
    assert_eq!(walker.case.changes["lower_learning_rate"], knobs(json!({"learning_rate": 0.0001})));
    assert!((walker.case.promising["lower_learning_rate"] - 0.4).abs() < 1e-12);
}

#[test]
fn a_cause_that_is_improbable_is_compared_with_others_however_clear_its_test() {
    let policy = POLICY.replace("cause: loss_function", "cause: loss_function, prior: 0.002");
    let policy = policy.replace(
        "[lower_learning_rate, normalize_inputs, relu, read_apart]",
        "[read_apart, relu, normalize_inputs, lower_learning_rate]",
    );
    let mut walker = Walker::start(read(&policy), baseline(), CaseFacts::default());
    walker.shows(&Facts { learned: true, gain: 0.1, ..Facts::default() });
    assert_eq!(walker.passed(), [("read_apart", "promising")]);
    walker.shows(&helps(0.9));
    assert_eq!(walker.conclusion().verdict, "vanishing_gradients");
}

#[test]
fn a_reading_of_its_own_is_compared_with_nothing() {
    let mut walker = walker();
    walker.shows(&nothing()).shows(&nothing()).shows(&nothing());
    walker.shows(&Facts { learned: true, gain: 0.1, ..Facts::default() });
    assert_eq!(walker.conclusion().verdict, "loss_function");
}

/// A rate that is raised makes up for one that decays, but not the other way round.
const ALIKE: &str = "
policy: small
judge: { cured: experiment.cured }
tests:
  constant_rate: { change: { lr_decay: 1 }, cause: learning_rate_decays_too_fast }
  raise_learning_rate: { change: { learning_rate: x10 }, cause: learning_rate_too_low, also_cures: { constant_rate: 0.9 } }
  relu: { change: { activation: relu }, cause: vanishing_gradients }
conclusions:
  end: { verdict: inconclusive, summary: end }
states:
  all: { try: [constant_rate, raise_learning_rate, relu], empty: end }
";

#[test]
fn a_change_that_helps_speaks_for_every_cause_that_it_usually_makes_up_for() {
    let believed_after = |first: Facts, second: Facts, policy: &str| {
        let mut walker = Walker::start(read(policy), baseline(), CaseFacts::default());
        walker.shows(&first).shows(&second);
        walker
    };
    let alone = ALIKE.replace(", also_cures: { constant_rate: 0.9 }", "");
    let walker = believed_after(helps(0.45), helps(0.6), &alone);
    assert_eq!(walker.conclusion().verdict, "learning_rate_too_low", "it helps more");
    let walker = believed_after(helps(0.45), helps(0.6), ALIKE);
    assert_eq!(walker.conclusion().verdict, "learning_rate_decays_too_fast", "it explains both");
    let beliefs = |policy: &str| believed_after(nothing(), nothing(), policy).proposal().beliefs.clone();
    assert!(beliefs(ALIKE)["constant_rate"] < 0.5 * beliefs(&alone)["constant_rate"], "neither helps");
}

#[test]
fn what_a_change_that_helps_contradicts_is_no_longer_concluded() {
    let policy = "
policy: small
judge: { cured: experiment.cured }
tests:
  normalize_inputs: { change: { normalize_inputs: true }, cause: input_scaling }
  nothing_is_learned: { when: case.promising == 0, cause: { verdict: data_pipeline, summary: shuffled } }
conclusions:
  end: { verdict: inconclusive, summary: end }
states:
  all: { try: [normalize_inputs, nothing_is_learned], empty: end }
";
    let mut walker = Walker::start(read(policy), baseline(), CaseFacts::default());
    walker.shows(&nothing());
    assert_eq!(walker.conclusion().verdict, "data_pipeline");
    let mut walker = Walker::start(read(policy), baseline(), CaseFacts::default());
    walker.shows(&helps(0.4));
    assert_eq!(walker.conclusion().verdict, "input_scaling");
}

/// Two tests on a few examples, of which the second builds on the first.
const FEW: &str = "
policy: small
judge: { cured: experiment.cured }
tests:
  memorise: { change: { train_examples: 16 }, outcomes: { memorised: experiment.fits, not: otherwise }, then: { not: revive } }
  revive: { from: memorise, change: { initializer: he, batch_norm: true }, optional: [initializer, batch_norm], found: experiment.fits, cause: bad_initialization }
conclusions:
  end: { verdict: inconclusive, summary: end }
states:
  all: { try: [memorise], empty: end }
";

#[test]
fn a_test_that_lost_all_that_is_its_own_would_repeat_what_it_builds_on() {
    let revived = |missing: &[&str], known: serde_json::Value| {
        let missing_knobs = missing.iter().map(|knob| (*knob).to_owned()).collect();
        let start = Facts { knobs: knobs(known), ..baseline() };
        let mut walker = Walker::start(read(FEW), start, CaseFacts { missing_knobs, ..CaseFacts::default() });
        walker.shows(&nothing());
        walker
    };
    let changes = revived(&["initializer"], json!({})).proposal().changes.clone();
    assert_eq!(changes, knobs(json!({"train_examples": 16, "batch_norm": true})));
    let walker = revived(&["initializer", "batch_norm"], json!({}));
    assert!(walker.passed().contains(&("revive", "unavailable")), "{:?}", walker.passed());
    let walker = revived(&[], json!({"initializer": "he", "batch_norm": true}));
    assert!(walker.passed().contains(&("revive", "skipped")), "{:?}", walker.passed());
}

#[test]
fn what_a_few_examples_need_is_recommended_to_nobody() {
    let mut walker = Walker::start(read(FEW), baseline(), CaseFacts::default());
    walker.shows(&nothing()).shows(&Facts { fits: true, ..nothing() });
    assert_eq!(
        (walker.conclusion().verdict.as_str(), walker.conclusion().recommended.len()),
        ("bad_initialization", 0)
    );
}
