//! What is believed of causes whose tests cannot be made yet, and what outcomes say of them.

use super::read;
use super::walks::{Walker, baseline};
use crate::facts::Facts;
use crate::policy::CaseFacts;

/// Labels are read from a point that is fitted, a wrong sign is tested only if none is.
const POLICY: &str = r#"
policy: small
judge: { cured: experiment.cured, helped: experiment.better }
tests:
  one_point:
    change: { train_examples: 1 }
    outcomes: { fits: experiment.fits, fails: otherwise }
    rates: { fits: 0.75 }
    believe: { fits: { relu: 2 } }
    then: { fails: wrong_sign }
  wrong_sign: { change: { learning_rate: /1000 }, cause: loss_function }
  relu: { change: { activation: relu }, cause: vanishing_gradients }
  normalize_inputs: { change: { normalize_inputs: true }, cause: input_scaling }
  labels: { when: 'case.outcomes.one_point == "fits"', cause: data_pipeline, prior: 0.002 }
conclusions:
  end: { verdict: inconclusive, summary: end }
states:
  all: { try: [one_point, relu, normalize_inputs, labels], order: information, empty: end }
"#;

fn after(fits: bool) -> Walker {
    let mut walker = Walker::start(read(POLICY), baseline(), CaseFacts::default());
    assert_eq!(walker.at().state, "one_point", "it decides whether two other causes remain");
    walker.shows(&Facts { fits, ..Facts::default() });
    walker
}

#[test]
fn a_cause_counts_before_its_test_can_be_made_until_an_outcome_rules_it_out() {
    let walker = Walker::start(read(POLICY), baseline(), CaseFacts::default());
    let before = &walker.proposal().beliefs;
    assert!(before["labels"] > 0.0 && before["wrong_sign"] > 0.0, "{before:?}");
    assert!(!after(true).proposal().beliefs.contains_key("wrong_sign"));
    let failed = after(false);
    assert_eq!(failed.at().state, "wrong_sign");
    assert!(!failed.proposal().beliefs.contains_key("labels"));
}

#[test]
fn what_outcomes_say_of_a_cause_cancels_out_before_any_of_them_is_seen() {
    let odds = |fits| after(fits).case.odds["relu"];
    assert!(odds(true) > 1.0 && odds(false) < 1.0);
    assert!((0.75 * odds(true) + 0.25 * odds(false) - 1.0).abs() < 1e-12);
}

#[test]
fn what_is_known_already_is_compared_with_others_while_its_cause_is_improbable() {
    let walker = after(true);
    assert_eq!(walker.at().state, "relu");
    assert!(walker.case.promising.contains_key("labels"), "{:?}", walker.case.outcomes);
}
