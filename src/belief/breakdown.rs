//! The stored and displayed form of a belief.
//!
//! Owns: the names of its fields in payloads. Must not know: how weights are read.

use serde::{Deserialize, Serialize};

use super::{Belief, Contribution};

/// The probability that a job fails, with what speaks for it and against it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Breakdown {
    /// The probability.
    pub probability: f64,
    /// The probability before any evidence.
    pub prior: f64,
    /// What speaks for it, the strongest first.
    pub speaks_for: Vec<Reason>,
    /// What speaks against it, the strongest first.
    pub speaks_against: Vec<Reason>,
}

/// The contribution of one quantity to the log-odds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reason {
    /// The quantity.
    pub quantity: String,
    /// Its value; `None` if it is not finite.
    pub value: Option<f64>,
    /// Its standard error; likewise.
    pub error: Option<f64>,
    /// What it adds.
    pub log_odds: f64,
}

impl From<&Contribution> for Reason {
    fn from(term: &Contribution) -> Reason {
        let finite = |number: f64| Some(number).filter(|number| number.is_finite());
        Reason {
            quantity: term.quantity.to_owned(),
            value: finite(term.value),
            error: finite(term.error),
            log_odds: term.log_odds,
        }
    }
}

impl From<&Belief> for Breakdown {
    fn from(belief: &Belief) -> Breakdown {
        Breakdown {
            probability: belief.probability,
            prior: belief.prior,
            speaks_for: belief.speaks_for().map(Into::into).collect(),
            speaks_against: belief.speaks_against().map(Into::into).collect(),
        }
    }
}
