//! The weights of the model as stored in a file.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::evidence::{QUANTITIES, Quantity};
use crate::symptoms::ids;

/// All weights, with their identification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    /// Version and hash of the file: `2-1f3a9c0e`.
    #[serde(skip)]
    pub id: String,
    /// The version of the format and of the data that it was fitted on.
    pub version: String,
    /// From this probability of failing on a job is `failing`, and people hear of it.
    pub alarm: f64,
    /// From this one on it is `suspect`.
    pub suspect: f64,
    /// From this one on, a probe may be worth its cost: one healthy job in four ends above it.
    pub doubt: f64,
    /// P(failing).
    pub failing: Model,
    /// P(this change cures), by change.
    pub cures: Vec<(String, Model)>,
    /// How often verdicts were right in the evaluation.
    pub verdicts: Verdicts,
}

/// How much to trust a policy's belief in the cause that it names. The log-odds of that belief, times `slope`, plus
/// `offset` and what the cause adds, are the log-odds that the verdict is correct.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdicts {
    /// The log-odds are multiplied by this.
    pub slope: f64,
    /// Added to them.
    pub offset: f64,
    /// Added for verdicts that were right more or less often than others.
    pub causes: BTreeMap<String, f64>,
    /// No verdict carries more: the evaluation bears out no higher confidence.
    pub most: f64,
}

/// One additive model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The prior probability, unless the site sets it.
    pub prior: f64,
    /// What each quantity adds, and [`CALIBRATION`].
    pub terms: Vec<Term>,
}

/// The term that corrects the sum of all others by how often programs with such a sum failed.
pub const CALIBRATION: &str = "calibration";

/// The contribution of one quantity to the log-odds, as a function of its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// Its name: a quantity; a symptom, which is 1 as a warning and 2 as a problem; or [`CALIBRATION`].
    pub quantity: String,
    /// What that names.
    #[serde(skip)]
    pub about: About,
    /// Its usual spread among jobs; an error of this size halves its contribution.
    pub spread: f64,
    /// Whether it grows with training, so that its value early in a run is an uncertain forecast of that at the end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub grows: bool,
    /// Values, ascending.
    pub knots: Vec<f64>,
    /// Log-odds at these values.
    pub log_odds: Vec<f64>,
}

/// What a term is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum About {
    /// Nothing: no term is left so when weights were read.
    #[default]
    Nothing,
    /// A quantity.
    Quantity(Quantity),
    /// A symptom, by its id. A rule joins quantities that say little alone.
    Symptom(&'static str),
    /// The sum of all other terms.
    Sum,
}

impl About {
    /// What a name stands for.
    pub fn named(name: &str) -> Option<About> {
        let quantity = QUANTITIES.iter().find(|quantity| quantity.id() == name);
        let symptom = || ids().find(|id| *id == name).map(About::Symptom);
        let sum = || (name == CALIBRATION).then_some(About::Sum);
        quantity.map(|quantity| About::Quantity(*quantity)).or_else(symptom).or_else(sum)
    }
}

static SHIPPED: OnceLock<Weights> = OnceLock::new();

impl Weights {
    /// The weights that are built in.
    pub fn shipped() -> &'static Weights {
        SHIPPED.get_or_init(|| {
            Weights::parse(include_str!("weights.json")).expect("the unit tests read the same embedded file")
        })
    }

    /// Puts other weights in place of those that are built in, to measure them before they are.
    ///
    /// # Errors
    /// Weights have been used already; returns those that were given.
    pub fn instead(self) -> Result<(), Box<Weights>> {
        SHIPPED.set(self).map_err(Box::new)
    }

    /// Reads weights; the error gives the position of a problem.
    pub fn parse(json: &str) -> Result<Weights, serde_json::Error> {
        let mut weights: Weights = serde_json::from_str(json)?;
        let models = std::iter::once(&mut weights.failing).chain(weights.cures.iter_mut().map(|(_, model)| model));
        for term in models.flat_map(|model| &mut model.terms) {
            let unknown = || serde_json::Error::custom(format!("no quantity and no symptom `{}`", term.quantity));
            term.about = About::named(&term.quantity).ok_or_else(unknown)?;
            let pairs = term.knots.len() == term.log_odds.len() && !term.knots.is_empty();
            if !pairs || !term.knots.is_sorted_by(|a, b| a < b) {
                let wrong =
                    format!("`{}` needs as many log-odds as knots, and knots in ascending order", term.quantity);
                return Err(serde_json::Error::custom(wrong));
            }
        }
        let hash = Sha256::digest(json.as_bytes());
        let hash: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        weights.id = format!("{}-{hash}", weights.version);
        Ok(weights)
    }
}
