//! How likely each outcome of each probe is: data, measured on random programs.
//!
//! Owns: the form of the table. Must not know: how it was measured.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::{Likelihood, Outcome};

/// How likely each outcome of a probe is.
pub type Likelihoods = BTreeMap<Outcome, Likelihood>;

/// How likely each outcome of each probe is, by how long it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Probes of one length each, the shortest first.
    pub rows: Vec<Row>,
}

/// How likely each outcome of each probe of one length is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Where the numbers come from.
    pub source: String,
    /// The steps of the probes, as a fraction of the steps of their jobs.
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

    /// The likelihoods of a test's outcomes for probes with this fraction of the job's steps; `None` if they were not
    /// measured. The row with the nearest length applies.
    pub fn of(&self, test: &str, share: f64) -> Option<&Likelihoods> {
        let far = |row: &&Row| (row.share / share).ln().abs();
        self.rows.iter().min_by(|a, b| far(a).total_cmp(&far(b)))?.tests.get(test)
    }
}
