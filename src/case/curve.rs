//! The curves of a case: what its baseline and its experiments have logged, as it is shown beside what was concluded.
//!
//! Owns: which curves are kept, and how many. Must not know: how they are drawn.

use serde::{Deserialize, Serialize};

use super::{Body, Case, Message};
use crate::series::Outline;

/// One series of the baseline or of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The suggestion that its job carries out; `None` for the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// What it is: `loss`, `validation_loss`, `reward`, `accuracy` or `gradient_norm`.
    pub signal: String,
    /// Its tag, with its sub-run folder.
    pub tag: String,
    /// Its points.
    pub outline: Outline,
}

/// So many curves are kept of one case: four of a baseline and of nine experiments.
const MOST: usize = 40;

impl Case {
    /// Takes what the baseline (`None`) or an experiment has logged so far, in the place of what was known of it.
    pub fn drew(&mut self, suggestion: Option<&str>, curves: Vec<Curve>) {
        if curves.is_empty() {
            // Its files are gone, or not there yet: what is known stays.
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

    /// The curves that say it: the loss (or reward) of the baseline, and those of the experiment that cured it, or of the
    /// newest one that was judged.
    pub fn telling_curves(&self) -> Vec<Curve> {
        let judged = |curve: &&Curve| ["loss", "reward"].contains(&curve.signal.as_str());
        let ran = || self.experiments.iter().filter(|experiment| experiment.facts.is_some());
        let cured = ran().filter(|e| e.facts.as_ref().is_some_and(|facts| facts.cured)).last();
        let shown = cured.or(ran().last()).map(|experiment| experiment.suggestion.as_str());
        let told = self.curves.iter().filter(judged);
        told.filter(|c| c.suggestion.is_none() || c.suggestion.as_deref() == shown).cloned().collect()
    }
}

impl Message {
    /// Gives a message that a picture helps the curves of its case: one that opens or closes it.
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
