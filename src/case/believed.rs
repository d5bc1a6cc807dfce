//! What is believed of causes, before and after each experiment, and what the tests that are left would cost.
//!
//! Owns: how beliefs are kept and told. Must not know: the arithmetic of beliefs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Belief, Case, Terms, Trace};
use crate::policy::{self, CaseFacts, Environment, Policy, Prospect};

/// How far an experiment moved what is believed of a cause.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Believed {
    /// The cause, by its verdict.
    pub cause: String,
    /// Its probability before the experiment, 0 to 1.
    pub before: f64,
    /// Its probability after it; `None` while the experiment is under way, or where it was no evidence.
    pub after: Option<f64>,
}

/// The journal names so many of the tests that are left.
const NEXT: usize = 5;

impl Case {
    /// The probability of each cause that is still open.
    fn causes(&self, policy: &Policy, facts: &CaseFacts) -> BTreeMap<String, f64> {
        policy::causes(policy, &self.believing(facts))
    }

    fn believing<'a>(&'a self, facts: &'a CaseFacts) -> Environment<'a> {
        Environment { baseline: &self.baseline_facts, experiment: None, case: facts, attempt: 1 }
    }

    /// What is believed before an experiment that starts now.
    pub(super) fn believed_before(&self, policy: &Policy) -> Vec<Believed> {
        let causes = self.causes(policy, &self.facts);
        let mut believed: Vec<Believed> = causes
            .into_iter()
            .map(|(cause, before)| Believed { cause, before: rounded(before), after: None })
            .collect();
        believed.sort_by(|a, b| b.before.total_cmp(&a.before));
        believed
    }

    /// The tests that name a cause and could be run, the most probable first: how likely each is to cure, and what it is
    /// expected to cost.
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

    /// The tests that are left, in the order of the policy, for the journal.
    fn next_tests(&self, policy: &Policy, facts: &CaseFacts) -> Value {
        let next = policy::outlook(policy, &self.believing(facts));
        let line = |next: &Prospect| {
            let cost = self.expected_cost(&next.changes, false);
            json!({ "test": next.test, "probability": next.probability.map(rounded), "cost": cost })
        };
        next.iter().take(NEXT).map(line).collect()
    }

    /// Notes what the newest experiment, which was evidence, leaves to believe. `facts` are those after it.
    pub(super) fn note_believed(&mut self, facts: &CaseFacts, terms: &Terms<'_>, trace: &mut Trace) {
        let mut after = self.causes(terms.policy, facts);
        let next = self.next_tests(terms.policy, facts);
        let Some(experiment) = self.experiments.last_mut() else { return };
        for believed in &mut experiment.believed {
            believed.after = Some(rounded(after.remove(&believed.cause).unwrap_or(0.0)));
        }
        // A cause that was out of the question before.
        let new = after.into_iter().map(|(cause, p)| Believed { cause, before: 0.0, after: Some(rounded(p)) });
        experiment.believed.extend(new);
        experiment.believed.sort_by(|a, b| b.after.unwrap_or(0.0).total_cmp(&a.after.unwrap_or(0.0)));
        let detail = json!({ "suggestion_id": experiment.suggestion, "believed": experiment.believed, "next": next });
        trace.note(terms.now, "believed", detail);
    }

    /// What is believed now: as the newest experiment that was evidence left it, or as it was before the first.
    pub fn believed_now(&self) -> Vec<Believed> {
        let judged = self.experiments.iter().rev().find(|e| e.believed.iter().any(|believed| believed.after.is_some()));
        judged.or(self.experiments.last()).map(|e| e.believed.clone()).unwrap_or_default()
    }
}

/// To a thousandth: more digits would only look exact.
fn rounded(probability: f64) -> f64 {
    (probability * 1000.0).round() / 1000.0
}
