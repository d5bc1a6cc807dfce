//! The weights of the model as stored in a file.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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
    /// P(failing).
    pub failing: Model,
    /// P(this change cures), by change.
    pub cures: Vec<(String, Model)>,
    /// How often verdicts of each standing were right in the evaluation.
    pub verdicts: Verdicts,
}

/// How often a verdict is correct, by its evidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Verdicts {
    /// An experiment with this change alone cured the job.
    pub cured: f64,
    /// It did by so little that another seed could turn it.
    pub close: f64,
    /// Experiments excluded the other causes, and none confirmed this one.
    pub excluded: f64,
    /// No experiment was made.
    pub seen: f64,
}

/// One additive model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The prior probability, unless the site sets it.
    pub prior: f64,
    /// How far to trust the sum, by the number of points of a job; the first row that is large enough counts.
    pub calibration: Vec<Calibration>,
    /// What each quantity adds.
    pub terms: Vec<Term>,
}

/// Calibration of the sum of all terms for jobs with at most this many points.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Largest number of points that it is for.
    pub points: f64,
    /// Each term is multiplied by this.
    pub slope: f64,
    /// Added to the sum.
    pub offset: f64,
}

/// The contribution of one quantity to the log-odds, as a function of its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// Its name.
    pub quantity: String,
    /// Its usual spread among jobs; an error of this size halves its contribution.
    pub spread: f64,
    /// Values, ascending.
    pub knots: Vec<f64>,
    /// Log-odds at these values.
    pub log_odds: Vec<f64>,
}

static SHIPPED: LazyLock<Weights> =
    LazyLock::new(|| Weights::parse(include_str!("weights.json")).expect("the unit tests read the same embedded file"));

impl Weights {
    /// The weights that are built in.
    pub fn shipped() -> &'static Weights {
        &SHIPPED
    }

    /// Reads weights; the error gives the position of a problem.
    pub fn parse(json: &str) -> Result<Weights, serde_json::Error> {
        let mut weights: Weights = serde_json::from_str(json)?;
        let hash = Sha256::digest(json.as_bytes());
        let hash: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        weights.id = format!("{}-{hash}", weights.version);
        Ok(weights)
    }
}

impl Model {
    pub(super) fn calibration_for(&self, points: f64) -> Calibration {
        let fits = self.calibration.iter().find(|row| points <= row.points).or(self.calibration.last());
        fits.copied().unwrap_or(Calibration { points, slope: 1.0, offset: 0.0 })
    }
}
