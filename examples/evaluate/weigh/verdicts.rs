//! How often verdicts are right, by what the policy believed of their causes.
//!
//! Owns: the fit of that. Must not know: policies.

use std::collections::BTreeMap;

use nextrun::belief::{Verdicts, Weights, log_odds};

use super::rows::{Row, rounded};
use super::solve::Problem;
use crate::parallel;
use crate::random::closed::{investigate, right};
use crate::random::labels::Class;
use crate::random::record::Record;

/// How strongly the slope is pulled to 1, and the offset to 0: as a few verdicts would.
const PULL: f64 = 2.0;
/// A belief beyond these says no more.
const BELIEVED: (f64, f64) = (0.001, 0.999);

/// Carries out the experiments of every failing program that may be fitted on.
///
/// # Errors
/// When the fit has no solution.
pub(super) fn fit(records: &BTreeMap<u64, Record>) -> anyhow::Result<Verdicts> {
    let site = crate::lab::site()?;
    let chosen: Vec<&Record> =
        records.values().filter(|r| !r.held_back.any() && r.label.class == Class::Failing).collect();
    let outcomes = parallel::map(&chosen, |record| investigate(record, &site));
    let shipped = Weights::shipped().verdicts;
    let named = chosen.iter().zip(&outcomes).filter(|(_, outcome)| outcome.confidence > 0.0);
    let rows: Vec<Row> = named
        .map(|(record, outcome)| {
            // What was believed, before it was shrunk by the weights that are built in.
            let shown = log_odds(outcome.confidence.clamp(BELIEVED.0, BELIEVED.1));
            let believed = (shown - shipped.offset) / shipped.slope;
            Row { features: vec![(0, believed)], holds: right(outcome, &record.label), weight: 1.0 }
        })
        .collect();
    let problem = Problem { width: 1, pulled: vec![(1.0, PULL)], order: Vec::new(), bends: Vec::new(), intercept: 0.0 };
    let weights = problem.solve(&rows)?;
    let (slope, offset) = (rounded(weights[0].clamp(0.1, 1.5)), rounded(weights[1]));
    println!(
        "verdicts: {} of {} right; slope {slope}, offset {offset}",
        rows.iter().filter(|r| r.holds).count(),
        rows.len()
    );
    Ok(Verdicts { slope, offset })
}
