//! What an expert would say of each quantity: the weights that data may move, how, and which quantities come together.
//!
//! Owns: the form of `expert.json`. Must not know: data.

use anyhow::Context;
use nextrun::belief::{About, Term};
use serde::Deserialize;

/// How log-odds change with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Shape {
    /// They never fall where the value is larger.
    Rising,
    /// They never rise where it is larger.
    Falling,
    /// Anything.
    Free,
}

/// What a program must log for a quantity to be known. It is masked with all others of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Group {
    /// A validation loss, or an accuracy on validation data.
    Validation,
    /// An accuracy.
    Accuracy,
    /// The learning rate, or settings.
    Settings,
    /// The gradient norm, or histograms.
    Gradients,
}

impl Group {
    /// Every group.
    pub(super) const ALL: [Group; 4] = [Group::Validation, Group::Accuracy, Group::Settings, Group::Gradients];
}

/// One quantity or symptom.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Expert {
    /// Its name.
    pub(super) quantity: String,
    /// Its usual spread among jobs.
    pub(super) spread: f64,
    /// Whether it grows with training.
    #[serde(default)]
    pub(super) grows: bool,
    /// Values, ascending.
    pub(super) knots: Vec<f64>,
    /// Log-odds of failing at these values.
    pub(super) expert: Vec<f64>,
    /// What log-odds of failing may do between them.
    pub(super) shape: Shape,
    /// What it is masked with.
    #[serde(default)]
    pub(super) group: Option<Group>,
}

impl Expert {
    /// Whether a knot says nothing, as if the quantity were unknown: a breakdown is to name what is unusual.
    pub(super) fn is_neutral(&self, knot: usize) -> bool {
        let least = self.expert.iter().map(|log_odds| log_odds.abs()).fold(NEUTRAL, f64::min);
        self.expert[knot].abs() <= least
    }

    /// As a term with some log-odds.
    pub(super) fn term(&self, log_odds: Vec<f64>) -> anyhow::Result<Term> {
        let about =
            About::named(&self.quantity).with_context(|| format!("expert.json: what is `{}`?", self.quantity))?;
        let Expert { quantity, spread, grows, knots, .. } = self.clone();
        Ok(Term { quantity, about, spread, grows, knots, log_odds })
    }
}

/// So little says nothing.
const NEUTRAL: f64 = 0.35;

/// All of them.
pub(super) fn all() -> anyhow::Result<Vec<Expert>> {
    serde_json::from_str(include_str!("expert.json")).context("expert.json")
}
