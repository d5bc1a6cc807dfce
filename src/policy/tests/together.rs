//! Changes of several tests that one experiment makes at once.

use serde_json::json;

use super::walks::{Walker, baseline, knobs};
use super::{read, show, vocabulary};
use crate::facts::{Facts, Quantity};
use crate::policy::{CaseFacts, Environment, parse};

const POLICY: &str = "
policy: small
judge: { cured: experiment.cured }
tests:
  normalize_inputs: { change: { normalize_inputs: true }, cause: input_scaling }
  relu: { change: { activation: relu }, cause: vanishing_gradients }
  new_start: { change: { initializer: he }, skip: { when: 'baseline.initializer == \"he\"', why: it has it }, cause: bad_initialization }
  all: { together: [normalize_inputs, relu, new_start], cause: { verdict: inconclusive, summary: all together } }
  labels: { when: case.promising == 0, cause: data_pipeline, prior: 0.01 }
conclusions:
  end: { verdict: inconclusive, summary: end }
states:
  all_first: { try: [all, normalize_inputs, relu, new_start, labels], empty: end }
";

fn walker(case: CaseFacts) -> Walker {
    Walker::start(read(POLICY), baseline(), case)
}

fn without(missing: &[&str]) -> CaseFacts {
    CaseFacts { missing_knobs: missing.iter().map(|knob| (*knob).to_owned()).collect(), ..CaseFacts::default() }
}

fn helps(gain: f64) -> Facts {
    Facts { cured: true, better: true, learned: true, gain, ..Facts::default() }.with([(Quantity::Progress, gain)])
}

fn nothing() -> Facts {
    Facts { started: true, finite: true, gain: 0.0, ..Facts::default() }
}

#[test]
fn what_harms_together_says_nothing_of_the_single_changes() {
    let harms = [
        Facts { started: false, ..nothing() },
        Facts { crashed: true, ..nothing() },
        Facts { finite: false, ..nothing() },
        Facts { worse: true, ..nothing() },
    ];
    for harm in harms {
        let mut walker = walker(CaseFacts::default());
        walker.shows(&harm);
        assert_eq!(walker.passed(), [("all", "unavailable")], "{harm:?}");
        assert_eq!(walker.at().state, "normalize_inputs");
    }
}

#[test]
fn only_what_was_part_of_it_becomes_less_probable() {
    let believed = |case: CaseFacts| {
        let mut walker = walker(case);
        walker.shows(&nothing());
        let environment = Environment { baseline: &baseline(), experiment: None, case: &walker.case, attempt: 1 };
        crate::policy::causes(&read(POLICY), &environment)
    };
    let (all, some) = (believed(CaseFacts::default()), believed(without(&["activation"])));
    assert!(some["vanishing_gradients"] > 3.0 * some["input_scaling"], "{some:?}");
    assert!((all["vanishing_gradients"] - all["input_scaling"]).abs() < 1e-12, "{all:?}");
}

#[test]
fn what_does_not_help_together_is_not_tried_alone() {
    let mut walker = walker(without(&["activation"]));
    assert_eq!(walker.proposal().changes, knobs(json!({"normalize_inputs": true, "initializer": "he"})));
    walker.shows(&nothing());
    let ruled_out = [("all", "no_cure"), ("normalize_inputs", "no_cure"), ("new_start", "no_cure")];
    assert_eq!(walker.passed()[..3], ruled_out);
    assert!(walker.passed().contains(&("relu", "unavailable")), "it was no part of it: {:?}", walker.passed());
}

#[test]
fn what_helps_together_leaves_open_which_change_is_needed() {
    let mut walker = walker(CaseFacts::default());
    walker.shows(&helps(0.99));
    assert_eq!(walker.at().state, "normalize_inputs");
    walker.shows(&nothing()).shows(&helps(0.95));
    assert_eq!(walker.conclusion().verdict, "vanishing_gradients");
}

#[test]
fn changes_that_only_help_together_are_recommended_together() {
    let mut walker = walker(CaseFacts::default());
    walker.shows(&helps(0.99));
    for _ in 0..3 {
        walker.shows(&nothing());
    }
    let end = walker.conclusion();
    let all = knobs(json!({"normalize_inputs": true, "activation": "relu", "initializer": "he"}));
    assert_eq!((end.verdict.as_str(), &end.recommended), ("inconclusive", &all));
    assert!(end.confidence.abs() < 1e-12, "no cause is named, so there is nothing to be sure of");
}

#[test]
fn several_changes_are_no_cause_of_their_own() {
    let walker = walker(CaseFacts::default());
    let environment = Environment { baseline: &baseline(), experiment: None, case: &walker.case, attempt: 1 };
    let causes = crate::policy::causes(&read(POLICY), &environment);
    assert!(causes.contains_key("input_scaling") && !causes.contains_key("inconclusive"), "{causes:?}");
}

#[test]
fn one_change_alone_is_no_test_of_several() {
    let walker = walker(without(&["activation", "initializer"]));
    assert_eq!(walker.at().state, "normalize_inputs");
    assert!(walker.passed().contains(&("all", "skipped")));
}

#[test]
fn what_it_cannot_be_combined_with_is_a_problem() {
    let problem = |from: &str, to: &str, message: &str| {
        let found = parse(&POLICY.replace(from, to), "sample.yaml", &vocabulary()).err().unwrap_or_default();
        assert!(found.iter().any(|problem| problem.message.contains(message)), "{to}:\n{}", show(&found));
    };
    problem(", cause: { verdict: inconclusive, summary: all together }", "", "so it needs a `cause`");
    problem(
        "relu, new_start], cause",
        "relu, new_start], from: relu, cause",
        "`together` and `from` exclude each other",
    );
    problem("together: [normalize_inputs", "together: [normalise", "there is no test `normalise`");
    problem("together: [normalize_inputs, relu", "together: [labels, relu", "`labels` cannot be part of `all`");
}
