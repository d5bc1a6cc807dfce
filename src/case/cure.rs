//! The experiment that fixed a job, with the evidence.
//!
//! Owns: which experiment that is, and which numbers are compared. Must not know: how it is presented.

use serde::{Deserialize, Serialize};

use super::{Case, Experiment};
use crate::facts::{Facts, Knobs, Quantity};
use crate::policy::Conclusion;

/// An experiment that was better than its baseline, with the comparison.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cure {
    /// The suggestion's id.
    pub suggestion_id: String,
    /// The folder of the run, relative to the log directory.
    pub run_name: String,
    /// The changes to the baseline's settings.
    pub overrides: Knobs,
    /// The compared quantity: `loss` or `validation loss`.
    pub of: String,
    /// The value of the baseline; null if it was not finite.
    pub baseline: Option<f64>,
    /// The value of the experiment.
    pub experiment: Option<f64>,
}

impl Case {
    /// The newest experiment that was better than the baseline and has the changes that the conclusion recommends.
    pub(super) fn cure(&self, conclusion: &Conclusion) -> Option<Cure> {
        if conclusion.recommended.is_empty() {
            return None;
        }
        let changes =
            |one: &Experiment| conclusion.recommended.keys().all(|knob| one.proposal.changes.contains_key(knob));
        let better = |one: &&Experiment| one.facts.as_ref().is_some_and(|facts| facts.cured || facts.better);
        let found = self.experiments.iter().rev().filter(better).find(|one| changes(one))?;
        let facts = found.facts.as_ref()?;
        let by_validation = conclusion.verdict == "overfitting";
        let figure =
            |facts: &Facts| facts.number(if by_validation { Quantity::ValidationBest } else { Quantity::LossEnd });
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        Some(Cure {
            suggestion_id: found.suggestion.clone(),
            run_name: self.relative(&found.run_name),
            overrides: found.proposal.changes.clone(),
            of: if by_validation { "validation loss" } else { "loss" }.to_owned(),
            baseline: finite(figure(&self.baseline_facts)).filter(|_| self.baseline_facts.finite),
            experiment: finite(figure(facts)),
        })
    }
}
