//! The probability of each open cause at one moment, and the cost of the remaining tests.
//!
//! Owns: which tests remain. Must not know: the computation of beliefs, journals.

use std::collections::BTreeMap;

use super::file::{Action, Policy};
use super::guard::Evaluator;
use super::{Environment, INCONCLUSIVE, gain, settings};
use crate::facts::Knobs;

/// A test that can be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Prospect {
    /// Its name.
    pub test: String,
    /// The probability that its change fixes the job; `None` if it names no cause.
    pub probability: Option<f64>,
    /// The changes of its next experiment.
    pub changes: Knobs,
}

/// The tests that can still be run, in the order of the policy.
pub fn outlook(policy: &Policy, environment: &Environment<'_>) -> Vec<Prospect> {
    let beliefs = gain::beliefs(policy, *environment);
    let case = environment.case;
    let open = policy.used().into_iter().filter(|test| {
        let made = case.outcomes.contains_key(test.name()) || case.excluded.contains_key(test.name());
        !made && test.when.as_ref().is_none_or(|when| Evaluator::new(*environment).holds(when))
    });
    let prospect = |test: &super::file::Test| {
        let Action::Run(run) = &test.action else { return None };
        let changes = settings::of_experiment(policy, run, *environment).ok()?;
        let fixed = beliefs.iter().filter(|(cause, _)| *cause == test.name() || test.contains(cause));
        let probability = test.verdict().map(|_| fixed.map(|(_, probability)| probability).sum());
        Some(Prospect { test: test.name().to_owned(), probability, changes })
    };
    open.filter_map(prospect).collect()
}

/// The probability of each open cause, by verdict; the remainder belongs to causes that no test names.
pub fn causes(policy: &Policy, environment: &Environment<'_>) -> BTreeMap<String, f64> {
    let mut causes = BTreeMap::new();
    for (test, probability) in gain::beliefs(policy, *environment) {
        if let Some(verdict) =
            policy.test(&test).and_then(|test| test.verdict()).filter(|verdict| *verdict != INCONCLUSIVE)
        {
            *causes.entry(verdict.to_owned()).or_insert(0.0) += probability;
        }
    }
    causes
}
