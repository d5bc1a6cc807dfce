//! The probability of each cause, and the expected information of a test per cost.
//!
//! Owns: the arithmetic of beliefs. Must not know: the order of states.
//!
//! Causes are mutually exclusive: either one of them is present, or none of those listed. A test whose change fixes the
//! job is found with probability [`SENSITIVITY`] if its cause is present, and with probability [`CROSS`] if another
//! cause is, because many changes help a little against many faults. The larger the fraction of the loss that a change
//! removes, the stronger the evidence ([`LIKELIHOODS`]). A test without a cause contributes what its `believe` defines.

use std::collections::BTreeMap;

use super::file::{Action, FOUND, PROMISING, Policy, SKIPPED, Test, TestKind, UNAVAILABLE};
use super::guard::Evaluator;
use super::settings;
use super::{CaseFacts, Environment};
use crate::facts::Facts;

/// How often an experiment with the right change is judged to fix the job (docs/EVALUATION.md, how experiments are
/// read).
const SENSITIVITY: f64 = 0.75;
/// How often an experiment with another change is (same source).
const CROSS: f64 = 0.1;
/// Likelihood ratios for removing at least this fraction of the baseline's loss if the change fixes the job: fractions
/// and ratios (same source).
const LIKELIHOODS: [(f64, f64); 3] = [(0.8, 16.0), (0.5, 8.0), (0.0, 2.0)];
/// A change that removes this fraction of the loss needs no comparison with others.
const BEYOND_DOUBT: f64 = 0.8;
/// Nor does a cause that is more probable than all others together.
pub(super) const PROBABLE: f64 = 0.5;
/// A cause that is less probable is compared with others, however clear its test: something else is more likely.
pub(super) const PLAUSIBLE: f64 = 0.2;
/// Factor for causes that the baseline's curves show directly (a hang, a validation loss that turned).
const SHOWN: f64 = 100.0;
/// Factor for causes suggested by the settings.
const SUSPECTED: f64 = 6.0;
/// Probability of causes that no test names.
const NONE: f64 = 0.1;
/// The fixed cost of an experiment, in runs of the baseline: queueing, loading, and a person's attention.
const OVERHEAD: f64 = 0.05;

/// The probability of each open cause, by test; the remainder belongs to causes that no test names.
pub(super) fn beliefs(policy: &Policy, environment: Environment<'_>) -> BTreeMap<String, f64> {
    let mut weights: BTreeMap<String, f64> = BTreeMap::new();
    for test in policy.used().into_iter().filter(|test| test.verdict().is_some()) {
        let weight = weight(policy, test, environment);
        if weight > 0.0 {
            weights.insert(test.name().to_owned(), weight);
        }
    }
    let sum = weights.values().sum::<f64>() + NONE;
    weights.values_mut().for_each(|weight| *weight /= sum);
    weights
}

fn weight(policy: &Policy, test: &Test, environment: Environment<'_>) -> f64 {
    let case: &CaseFacts = environment.case;
    if case.excluded.contains_key(test.name()) {
        return 0.0;
    }
    let prior = case.priors.get(test.name()).copied().unwrap_or(test.prior);
    let suspected = || test.suspect.as_ref().is_some_and(|reason| Evaluator::new(environment).holds(&reason.when));
    let called_for = test.when.as_ref().is_none_or(|when| Evaluator::new(environment).holds(when));
    let outcome = match case.outcomes.get(test.name()).map(String::as_str) {
        Some(FOUND) if test.kind() == TestKind::Read => SHOWN,
        Some(FOUND | PROMISING) => {
            let once = likelihood(case, test);
            let confirmed =
                case.found.as_deref() == Some(test.name()) && case.entered.keys().any(|at| policy.state(at).is_some());
            if confirmed { once * once } else { once }
        }
        // It may still be the cause: a script without the knob, or a change that could not be made.
        Some(UNAVAILABLE) | None => 1.0,
        // A policy passes over what the settings speak against, and what the baseline has already.
        Some(SKIPPED) => CROSS,
        Some(_) => (1.0 - SENSITIVITY) / (1.0 - CROSS),
    };
    let odds = case.odds.get(test.name()).copied().unwrap_or(1.0);
    let suspected = if suspected() { SUSPECTED } else { 1.0 };
    if called_for { prior * suspected * odds * outcome } else { 0.0 }
}

/// What an experiment that was read as a cure says for its cause. What a test of another kind found is found.
fn likelihood(case: &CaseFacts, test: &Test) -> f64 {
    let gain = case.shown.get(test.name()).map_or(f64::NAN, |facts| facts.gain);
    let row = LIKELIHOODS.iter().find(|(share, _)| gain >= *share);
    row.map_or(SENSITIVITY / CROSS, |(_, ratio)| *ratio)
}

/// Whether so much of the loss is gone that no other change need be compared. Where that is not known, the reading of the
/// test itself decides.
pub(super) fn is_most(facts: &Facts) -> bool {
    facts.gain.is_nan() || facts.gain >= BEYOND_DOUBT
}

/// The probability of the cause of a test.
pub(super) fn believed(policy: &Policy, test: &Test, environment: Environment<'_>) -> f64 {
    beliefs(policy, environment).get(test.name()).copied().unwrap_or_default()
}

/// The bits that a test is expected to give for its cost in runs of the baseline, by what is believed of each cause.
pub(super) fn gain_per_cost(
    policy: &Policy,
    test: &Test,
    beliefs: &BTreeMap<String, f64>,
    environment: Environment<'_>,
) -> f64 {
    gain(test, beliefs) / cost(policy, test, environment)
}

fn gain(test: &Test, beliefs: &BTreeMap<String, f64>) -> f64 {
    if test.verdict().is_none() && test.outcomes.is_empty() {
        // The answer of a person cannot be predicted, so questions come last.
        return 0.0;
    }
    let rest = 1.0 - beliefs.values().sum::<f64>();
    let causes: Vec<(&str, f64)> = beliefs.iter().map(|(name, p)| (name.as_str(), *p)).chain([("", rest)]).collect();
    let likelihoods = likelihoods(test, &causes);
    let entropy = |weights: &[f64]| {
        let sum: f64 = weights.iter().sum();
        weights.iter().filter(|w| **w > 0.0).map(|w| -(w / sum) * (w / sum).log2()).sum::<f64>()
    };
    let before: Vec<f64> = causes.iter().map(|(_, p)| *p).collect();
    let after = likelihoods.iter().map(|likelihood| {
        let joint: Vec<f64> = before.iter().zip(likelihood).map(|(p, l)| p * l).collect();
        joint.iter().sum::<f64>() * entropy(&joint)
    });
    (entropy(&before) - after.sum::<f64>()).max(0.0)
}

/// For each outcome of a test, its probability under each cause.
fn likelihoods(test: &Test, causes: &[(&str, f64)]) -> Vec<Vec<f64>> {
    if test.verdict().is_some() {
        let found: Vec<f64> =
            causes.iter().map(|(name, _)| if *name == test.name() { SENSITIVITY } else { CROSS }).collect();
        let not = found.iter().map(|p| 1.0 - p).collect();
        return vec![found, not];
    }
    let factors: Vec<Vec<f64>> = test
        .outcomes
        .iter()
        .map(|outcome| {
            let believe = test.believe.get(&outcome.name);
            let factor = |name: &str| believe.and_then(|believe| believe.get(name)).copied().unwrap_or(1.0);
            causes.iter().map(|(name, _)| factor(name)).collect()
        })
        .collect();
    // Given a cause, its outcomes share its probability by their factors.
    let sums: Vec<f64> = (0..causes.len()).map(|cause| factors.iter().map(|f| f[cause]).sum()).collect();
    let share = |f: &Vec<f64>| f.iter().zip(&sums).map(|(f, sum)| if *sum > 0.0 { f / sum } else { 0.0 }).collect();
    factors.iter().map(share).collect()
}

/// The cost of a test in runs of the baseline. A question costs a person's time, more than any short run; evaluating
/// the baseline costs almost nothing.
fn cost(policy: &Policy, test: &Test, environment: Environment<'_>) -> f64 {
    let run = match &test.action {
        Action::Run(run) => run,
        Action::Read => return OVERHEAD / 10.0,
        Action::Ask(_) => return 1.0,
    };
    let Ok(changes) = settings::of_experiment(run, environment, policy.vocabulary()) else { return 1.0 };
    let whole = environment.baseline.knobs.get("max_steps").and_then(serde_json::Value::as_f64);
    let whole = whole.unwrap_or(environment.baseline.steps());
    let steps = changes.get("max_steps").and_then(serde_json::Value::as_f64).unwrap_or(whole);
    let share = if whole > 0.0 && steps.is_finite() { (steps / whole).min(1.0) } else { 1.0 };
    OVERHEAD + share
}

/// Applies the effect of an outcome to the odds of other tests.
pub(super) fn believe(case: &mut CaseFacts, test: &Test, outcome: &str) {
    for (other, factor) in test.believe.get(outcome).into_iter().flatten() {
        if *factor > 0.0 {
            *case.odds.entry(other.clone()).or_insert(1.0) *= factor;
        } else {
            case.excluded.insert(other.clone(), format!("`{}` came out as {outcome}", test.name()));
        }
    }
}
