//! Trains every case and checks the claims that make its expectations true.
//!
//! Owns: the order of the checks and their report. Must not know: the daemon.

use std::path::Path;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::cases::{Case, Claim};
use crate::parallel;
use crate::runs;
use crate::truth::{Condition, shown};

/// What lies between the seeds of two repetitions.
const SEED_STEP: u64 = 1000;

/// Checks all claims, those on the baselines with so many seeds; returns how many do not hold.
///
/// # Errors
/// When a condition cannot be read.
pub(crate) fn verify(cases: &[Case], scratch: &Path, seeds: u64) -> anyhow::Result<usize> {
    let mut checks = Vec::new();
    for (case, claim) in cases.iter().flat_map(|case| case.truth.iter().map(move |claim| (case, claim))) {
        let conditions = claim.holds.iter().map(|text| Condition::parse(text)).collect::<anyhow::Result<Vec<_>>>()?;
        let repetitions = if claim.with.is_empty() { seeds } else { 1 };
        checks.extend((0..repetitions).map(|repetition| (case, claim, conditions.clone(), repetition)));
    }
    let held = parallel::map(&checks, |(case, claim, conditions, repetition)| {
        check(case, claim, conditions, (*repetition, scratch))
    });
    let failures = held.iter().filter(|held| !**held).count();
    println!("{} claims hold, {failures} do not", checks.len() - failures);
    Ok(failures)
}

fn check(case: &Case, claim: &Claim, conditions: &[Condition], (repetition, scratch): (u64, &Path)) -> bool {
    let started = Instant::now();
    let overrides = with_seed(case, &claim.with, repetition);
    let name = format!("{}-{repetition}-{}", case.id, overrides.len());
    let (holds, shown) = match runs::train(case, &overrides, &scratch.join(name)) {
        Ok(run) => (conditions.iter().all(|condition| condition.holds(&run)), shown(&run)),
        Err(error) => (false, error.to_string()),
    };
    let what = if claim.with.is_empty() { "baseline".to_owned() } else { Value::from(claim.with.clone()).to_string() };
    println!(
        "{} {:28} {what}: {} ({})\n          {shown}  {:.1} s",
        if holds { "ok  " } else { "FAIL" },
        case.id,
        claim.holds.join(", "),
        claim.because,
        started.elapsed().as_secs_f32(),
    );
    holds
}

/// Overrides for a repetition of a run: the first has the case's own seed.
pub(crate) fn with_seed(case: &Case, overrides: &Map<String, Value>, repetition: u64) -> Map<String, Value> {
    let mut overrides = overrides.clone();
    if repetition > 0 {
        let seed = case.baseline.get("seed").and_then(Value::as_u64).unwrap_or_default();
        overrides.insert("seed".to_owned(), json!(seed + SEED_STEP * repetition));
    }
    overrides
}
