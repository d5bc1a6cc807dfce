//! The curves of a case: the logs of its baseline and experiments, shown next to the conclusion.
//!
//! Owns: which curves are stored, and how many. Must not know: how they are drawn.

use serde::{Deserialize, Serialize};

use super::{Body, Case, Message};
use crate::series::Outline;

/// One series of the baseline or of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The suggestion that its job carries out; `None` for the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// Its kind: `loss`, `validation_loss`, `reward`, `accuracy` or `gradient_norm`.
    pub signal: String,
    /// Its tag, with its sub-run folder.
    pub tag: String,
    /// Its points.
    pub outline: Outline,
}

/// Maximum number of curves per case: four each for a baseline and nine experiments.
const MOST: usize = 40;

impl Case {
    /// Stores the current curves of the baseline (`None`) or an experiment, replacing older ones.
    pub fn drew(&mut self, suggestion: Option<&str>, curves: Vec<Curve>) {
        if curves.is_empty() {
            // Its files do not exist; the stored curves stay.
            return;
        }
        self.curves.retain(|curve| curve.suggestion.as_deref() != suggestion);
        self.curves.extend(curves);
        let place = |curve: &Curve| {
            let of = |suggestion: &String| self.experiments.iter().position(|e| e.suggestion == *suggestion);
            curve.suggestion.as_ref().map(|suggestion| of(suggestion).unwrap_or(usize::MAX))
        };
        let mut placed: Vec<(Option<usize>, Curve)> = self.curves.iter().map(|c| (place(c), c.clone())).collect();
        placed.sort_by_key(|(place, _)| *place);
        placed.truncate(MOST);
        self.curves = placed.into_iter().map(|(_, curve)| curve).collect();
    }

    /// The most informative curves: the loss (or reward) of the baseline, and those of the experiment that fixed it, or
    /// of the last judged one.
    pub fn telling_curves(&self) -> Vec<Curve> {
        let judged = |curve: &&Curve| ["loss", "reward"].contains(&curve.signal.as_str());
        let ran = || self.experiments.iter().filter(|experiment| experiment.facts.is_some());
        let cured = ran().rfind(|e| e.facts.as_ref().is_some_and(|facts| facts.cured));
        let shown = cured.or(ran().next_back()).map(|experiment| experiment.suggestion.as_str());
        let told = self.curves.iter().filter(judged);
        told.filter(|c| c.suggestion.is_none() || c.suggestion.as_deref() == shown).cloned().collect()
    }
}

impl Message {
    /// Adds curves to messages that benefit from a picture: opening and closing messages.
    pub fn illustrate(&mut self, case: &Case) {
        match &mut self.body {
            Body::CaseOpened(body) => body.about.curves = case.telling_curves(),
            Body::CaseClosed(body) => body.about.curves = case.telling_curves(),
            Body::RunSuggested(_)
            | Body::RunCancelled(_)
            | Body::StopSuggested(_)
            | Body::QuestionAsked(_)
            | Body::ApprovalAsked(_)
            | Body::Notice(_)
            | Body::Digest(_) => {}
        }
    }
}
