//! The probability of causes before and after each experiment, and the expected cost of the remaining tests.
//!
//! Owns: storage and presentation of beliefs. Must not know: the computation of beliefs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::control::NO_CAUSE;
use super::{Belief, Case, Terms, Trace};
use crate::policy::{self, CaseFacts, Conclusion, Environment, INCONCLUSIVE, Policy, Prospect};

/// How an experiment changed the probability of a cause.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Believed {
    /// The cause, by its verdict.
    pub cause: String,
    /// Its probability before the experiment, 0 to 1.
    pub before: f64,
    /// Its probability after it; `None` while the experiment is in progress, or if it was not evidence.
    pub after: Option<f64>,
}

/// Maximum number of remaining tests in the journal, and of causes and tests in a summary.
const NEXT: usize = 5;

/// A cause whose verdict is right less often is not named: nine in ten such verdicts would be wrong.
const LEAST_CONFIDENCE: f64 = 0.1;

/// A less probable cause is not mentioned in a summary.
const WORTH_NAMING: f64 = 0.1;

impl Case {
    /// The probability of each open cause.
    fn causes(&self, policy: &Policy, facts: &CaseFacts) -> BTreeMap<String, f64> {
        policy::causes(policy, &self.believing(facts))
    }

    fn believing<'a>(&'a self, facts: &'a CaseFacts) -> Environment<'a> {
        Environment { baseline: &self.baseline_facts, experiment: None, case: facts, attempt: 1 }
    }

    /// The beliefs before an experiment that starts now.
    pub(super) fn believed_before(&self, policy: &Policy) -> Vec<Believed> {
        let causes = self.causes(policy, &self.facts);
        let mut believed: Vec<Believed> = causes
            .into_iter()
            .map(|(cause, before)| Believed { cause, before: rounded(before), after: None })
            .collect();
        believed.sort_by(|a, b| b.before.total_cmp(&a.before));
        believed
    }

    /// The tests that name a cause and can be run, most probable first: the probability that each fixes the job, and
    /// its expected cost.
    pub(super) fn beliefs(&self, policy: &Policy) -> Vec<Belief> {
        let prospects = policy::outlook(policy, &self.believing(&self.facts)).into_iter();
        let belief = |prospect: Prospect| {
            let (probability, cost) = (rounded(prospect.probability?), self.expected_cost(&prospect.changes, false));
            Some(Belief { test: prospect.test, overrides: prospect.changes, probability, cost })
        };
        let mut beliefs: Vec<Belief> = prospects.filter_map(belief).collect();
        beliefs.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        beliefs
    }

    /// The remaining tests in the order of the policy, for the journal.
    fn next_tests(&self, policy: &Policy, facts: &CaseFacts) -> Value {
        let next = policy::outlook(policy, &self.believing(facts));
        let line = |next: &Prospect| {
            let cost = self.expected_cost(&next.changes, false);
            json!({ "test": next.test, "probability": next.probability.map(rounded), "cost": cost })
        };
        next.iter().take(NEXT).map(line).collect()
    }

    /// Records the beliefs after the newest experiment, if it was evidence. `facts` are those after it.
    pub(super) fn note_believed(&mut self, facts: &CaseFacts, terms: &Terms<'_>, trace: &mut Trace) {
        let mut after = self.causes(terms.policy, facts);
        let next = self.next_tests(terms.policy, facts);
        let Some(experiment) = self.experiments.last_mut() else { return };
        for believed in &mut experiment.believed {
            believed.after = Some(rounded(after.remove(&believed.cause).unwrap_or(0.0)));
        }
        // A cause that had been excluded.
        let new = after.into_iter().map(|(cause, p)| Believed { cause, before: 0.0, after: Some(rounded(p)) });
        experiment.believed.extend(new);
        experiment.believed.sort_by(|a, b| b.after.unwrap_or(0.0).total_cmp(&a.after.unwrap_or(0.0)));
        let detail = json!({ "suggestion_id": experiment.suggestion, "believed": experiment.believed, "next": next });
        trace.note(terms.now, "believed", detail);
    }

    /// A conclusion that may be told. A cause that is too improbable is not named; instead, the summary lists the most
    /// probable causes, and the tests that were not made.
    pub(super) fn sure_enough(&self, mut conclusion: Conclusion, terms: &Terms<'_>) -> Conclusion {
        let names_a_cause = !NO_CAUSE.contains(&conclusion.verdict.as_str());
        if names_a_cause && conclusion.confidence < LEAST_CONFIDENCE {
            let said = std::mem::take(&mut conclusion.summary);
            conclusion.summary = format!("no cause is probable enough to be named; the last test said: {said}");
            (conclusion.verdict, conclusion.confidence) = (INCONCLUSIVE.to_owned(), 0.0);
        }
        if conclusion.verdict == INCONCLUSIVE {
            conclusion.summary.push_str(&self.what_is_left(terms));
        }
        conclusion
    }

    /// The most probable causes, and the tests that were not made, for the end of a summary.
    fn what_is_left(&self, terms: &Terms<'_>) -> String {
        let mut causes: Vec<(String, f64)> = self.causes(terms.policy, &self.facts).into_iter().collect();
        causes.retain(|(cause, believed)| !NO_CAUSE.contains(&cause.as_str()) && *believed >= WORTH_NAMING);
        causes.sort_by(|a, b| b.1.total_cmp(&a.1));
        let shown = |(cause, believed): &(String, f64)| format!("{cause} ({:.0} %)", 100.0 * believed);
        let causes: Vec<String> = causes.iter().take(NEXT).map(shown).collect();
        let left = policy::outlook(terms.policy, &self.believing(&self.facts));
        let left: Vec<String> = left.into_iter().map(|prospect| prospect.test).take(NEXT).collect();
        let said = |what: &str, list: &[String]| {
            if list.is_empty() { String::new() } else { format!("; {what}: {}", list.join(", ")) }
        };
        said("most probable", &causes) + &said("not tried", &left)
    }

    /// The current beliefs: after the newest experiment that was evidence, or before the first.
    pub fn believed_now(&self) -> Vec<Believed> {
        let judged = self.experiments.iter().rev().find(|e| e.believed.iter().any(|believed| believed.after.is_some()));
        judged.or(self.experiments.last()).map(|e| e.believed.clone()).unwrap_or_default()
    }
}

/// Rounded to a thousandth; more digits would only suggest precision.
fn rounded(probability: f64) -> f64 {
    (probability * 1000.0).round() / 1000.0
}
