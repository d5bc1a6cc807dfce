//! Which job carries out a suggestion.

use super::{Case, Experiment};
use crate::facts::Knobs;

/// A job that no suggestion has claimed yet.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its name.
    pub job: &'a str,
    /// The suggestion that it says it carries out.
    pub suggestion: Option<&'a str>,
    /// Its knobs.
    pub knobs: &'a Knobs,
    /// Seconds since the Unix epoch of its first event.
    pub started: Option<f64>,
}

/// Fewer equal knobs than this would be chance.
const EQUAL_KNOBS: usize = 3;

/// The job that carries out an experiment without having its name: by the id that it states, or, for people who run it by
/// hand, by equal hyperparameters after the suggestion.
pub fn link<'a>(case: &Case, experiment: &Experiment, candidates: &[Candidate<'a>]) -> Option<(&'a str, &'static str)> {
    let stated = || {
        let found = candidates.iter().find(|c| c.suggestion == Some(experiment.suggestion.as_str()));
        found.map(|c| (c.job, "the suggestion id that it states"))
    };
    let wanted = case.knobs_with(&experiment.proposal.changes);
    let equal = || {
        let found = candidates.iter().find(|c| c.suggestion.is_none() && by_hand(c, experiment, &wanted));
        found.map(|c| (c.job, "equal hyperparameters after the suggestion"))
    };
    stated().or_else(equal)
}

fn by_hand(candidate: &Candidate<'_>, experiment: &Experiment, wanted: &Knobs) -> bool {
    let after = candidate.started.is_some_and(|started| started >= experiment.suggested);
    let same = |name: &String| match (candidate.knobs.get(name), wanted.get(name)) {
        (Some(a), Some(b)) => {
            a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| (a - b).abs() <= 1e-9 * b.abs())
        }
        _ => false,
    };
    let changed = experiment.proposal.changes.keys();
    // Everything that was to be changed is; everything else that both know is as it was, but for the seed.
    let shared = candidate.knobs.keys().filter(|name| wanted.contains_key(*name) && *name != "seed");
    after
        && changed.clone().all(same)
        && changed.count() > 0
        && shared.clone().all(same)
        && shared.count() >= EQUAL_KNOBS
}
