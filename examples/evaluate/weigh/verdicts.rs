//! How often verdicts are right, by what the policy believed of their causes.
//!
//! Owns: the fit of that, and the highest confidence that it bears out. Must not know: policies.

use std::collections::{BTreeMap, BTreeSet};

use nextrun::belief::{Verdicts, log_odds};

use super::rows::{Row, rounded};
use super::solve::Problem;
use crate::parallel;
use crate::random::closed::{Outcome, investigate, right};
use crate::random::labels::Class;
use crate::random::program::Family;
use crate::random::record::Record;

/// How strongly the slope is pulled to 1, and what a cause adds to 0: as a few verdicts would.
const PULL: f64 = 2.0;
/// A belief beyond these says no more.
const BELIEVED: (f64, f64) = (0.001, 0.9999);
/// Fewer verdicts bear out nothing.
const FEW: usize = 20;

/// A verdict on a failing program.
struct Verdict {
    cause: String,
    task: Family,
    believed: f64,
    right: bool,
}

/// Carries out the experiments of every failing program that may be fitted on.
///
/// # Errors
/// When the fit has no solution.
pub(super) fn fit(records: &BTreeMap<u64, Record>) -> anyhow::Result<Verdicts> {
    let site = crate::lab::site()?;
    let chosen: Vec<&Record> =
        records.values().filter(|r| !r.held_back.any() && r.label.class == Class::Failing).collect();
    let outcomes = parallel::map(&chosen, |record| investigate(record, &site));
    let named = |(record, outcome): (&&Record, Outcome)| {
        // The cause that was found, even if it is too improbable to be named.
        let (cause, believed) = outcome.weighed.clone().filter(|(cause, _)| cause != "inconclusive")?;
        let outcome = Outcome { verdict: Some(cause.clone()), ..outcome };
        let (task, right) = (record.program.task.family, right(&outcome, &record.label));
        let believed = believed.clamp(BELIEVED.0, BELIEVED.1);
        Some(Verdict { cause, task, believed, right })
    };
    let all: Vec<Verdict> = chosen.iter().zip(outcomes).filter_map(named).collect();
    // What is said of verdicts on a task by those on other tasks: a confidence is to hold for tasks that nobody has seen.
    let mut said: Vec<(f64, bool)> = Vec::new();
    for task in all.iter().map(|verdict| verdict.task).collect::<BTreeSet<_>>() {
        let (own, others): (Vec<&Verdict>, Vec<&Verdict>) = all.iter().partition(|verdict| verdict.task == task);
        let verdicts = weigh(&others)?;
        said.extend(own.iter().map(|v| (verdicts.confidence(&v.cause, v.believed), v.right)));
    }
    said.sort_by(|a, b| b.0.total_cmp(&a.0));
    let fitted = Verdicts { most: rounded(borne_out(&said)), ..weigh(&all.iter().collect::<Vec<_>>())? };
    println!("verdicts: {} of {} right; {fitted:?}", all.iter().filter(|v| v.right).count(), all.len());
    for (place, tenth) in said.chunks(said.len().div_ceil(5).max(1)).enumerate() {
        let mean = tenth.iter().map(|(confidence, _)| confidence.min(fitted.most)).sum::<f64>() / tenth.len() as f64;
        let hits = tenth.iter().filter(|(_, right)| *right).count();
        println!("  fifth {}: said {mean:.2}, {hits} of {} right", place + 1, tenth.len());
    }
    Ok(fitted)
}

/// Slope, offset and what causes add, of some verdicts.
fn weigh(verdicts: &[&Verdict]) -> anyhow::Result<Verdicts> {
    let causes: Vec<&String> = verdicts.iter().map(|v| &v.cause).collect::<BTreeSet<_>>().into_iter().collect();
    let row = |verdict: &&Verdict| {
        let cause = causes.iter().position(|cause| **cause == verdict.cause).map(|place| (place + 1, 1.0));
        let believed = (0, log_odds(verdict.believed));
        Row { features: std::iter::once(believed).chain(cause).collect(), holds: verdict.right, weight: 1.0 }
    };
    let rows: Vec<Row> = verdicts.iter().map(row).collect();
    let pulled = std::iter::once((1.0, PULL)).chain(causes.iter().map(|_| (0.0, PULL))).collect();
    let problem = Problem { width: causes.len() + 1, pulled, order: Vec::new(), bends: Vec::new(), intercept: 0.0 };
    let weights = problem.solve(&rows)?;
    let of_cause = |(place, cause): (usize, &&String)| ((*cause).clone(), rounded(weights[place + 1]));
    Ok(Verdicts {
        slope: rounded(weights[0].clamp(0.1, 1.5)),
        offset: rounded(weights[causes.len() + 1]),
        causes: causes.iter().enumerate().map(of_cause).collect(),
        most: 1.0,
    })
}

/// The highest share of right verdicts that some of them bear out, the surest first: one standard error below what was
/// counted (Wilson 1927).
fn borne_out(said: &[(f64, bool)]) -> f64 {
    let mut hits = 0.0;
    let shares = said.iter().enumerate().filter_map(|(place, (_, right))| {
        hits += f64::from(u8::from(*right));
        let of = (place + 1) as f64;
        let (share, half) = (hits / of, (hits * (of - hits) / of + 0.25).sqrt());
        (place + 1 >= FEW).then(|| (share * of + 0.5 - half) / (of + 1.0))
    });
    shares.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confidence_is_borne_out_by_many_verdicts_and_not_by_a_few() {
        let said = |right: usize, wrong: usize| [vec![(0.9, true); right], vec![(0.5, false); wrong]].concat();
        assert!(borne_out(&said(10, 0)) == 0.0);
        assert!((borne_out(&said(20, 20)) - 0.952).abs() < 1e-3);
        assert!(borne_out(&said(100, 50)) > 0.98);
        assert!(borne_out(&[vec![(0.9, false); 20], vec![(0.5, true); 20]].concat()) < 0.5);
    }
}
