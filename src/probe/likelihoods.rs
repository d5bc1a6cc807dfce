//! How likely each outcome of each probe is: data, measured on random programs.
//!
//! Owns: the form of the table. Must not know: how it was measured.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::{Likelihood, Outcome};

/// How likely each outcome of a probe is.
pub type Likelihoods = BTreeMap<Outcome, Likelihood>;

/// How likely each outcome of each probe is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Where the numbers come from.
    pub source: String,
    /// The share of a job's time that its probes took when this was measured.
    pub share: f64,
    /// By test.
    pub tests: BTreeMap<String, Likelihoods>,
}

static SHIPPED: LazyLock<Table> = LazyLock::new(|| {
    serde_json::from_str(include_str!("likelihoods.json")).expect("the unit tests read the same embedded file")
});

impl Table {
    /// The table that is built in.
    pub fn shipped() -> &'static Table {
        &SHIPPED
    }

    /// How likely the outcomes of a test are; `None` where that was not measured.
    pub fn of(&self, test: &str) -> Option<&Likelihoods> {
        self.tests.get(test)
    }
}
