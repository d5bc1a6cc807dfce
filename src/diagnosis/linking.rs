//! Links jobs to suggestions.
//!
//! Owns: all evidence about the identity of a job, combined for [`link`]. Must not know: when an experiment is judged.

use std::collections::BTreeSet;

use super::{Changes, Diagnosis};
use crate::case::{Candidate, Case, CaseId, Experiment, Known, Link, Wanted, link};
use crate::facts::Knobs;
use crate::jobs::Job;

impl Diagnosis {
    /// Links the open experiment to the job that carries it out, once there is one.
    pub(super) fn find_job(&mut self, id: &CaseId, jobs: &[Job<'_>], now: f64, changes: &mut Changes) {
        let open = self.cases.get(id).and_then(Case::open_experiment);
        if open.is_none_or(|experiment| experiment.job.is_some()) {
            return;
        }
        let Some(found) = self.who_runs(id, jobs) else { return };
        let Some(case) = self.cases.get_mut(id) else { return };
        let trace = match found {
            Ok((job, by)) => case.link_to(&job, by, now),
            Err(why) => case.dispute(&why, now),
        };
        changes.add(&case.clone(), trace);
    }

    /// Whether the evidence about the job of an open experiment has changed since it was linked.
    pub(super) fn is_disputed(&mut self, id: &CaseId, jobs: &[Job<'_>], now: f64, changes: &mut Changes) -> bool {
        let by_hand = |case: &Case| case.open_experiment().is_some_and(|e| e.linked_by_hand);
        if self.cases.get(id).is_some_and(by_hand) {
            return false;
        }
        let Some(Err(why)) = self.who_runs(id, jobs) else { return false };
        let Some(case) = self.cases.get_mut(id) else { return true };
        let trace = case.dispute(&why, now);
        changes.add(&case.clone(), trace);
        true
    }

    /// The job that runs the open experiment of a case, and the evidence; or why none is accepted.
    fn who_runs(&mut self, id: &CaseId, jobs: &[Job<'_>]) -> Option<Result<(String, &'static str), String>> {
        for job in jobs {
            if let Some(memory) = self.memory.get_mut(&job.name) {
                memory.describe(job, &self.site);
            }
        }
        let open = |case: &Case| {
            let experiment = case.open_experiment()?;
            Some((case.id.clone(), experiment.clone(), case.knobs_with(&experiment.proposal.changes)))
        };
        let all: Vec<_> = self.cases.values().filter(|case| case.closed.is_none()).filter_map(open).collect();
        fn wanted((_, experiment, knobs): &(CaseId, Experiment, Knobs)) -> Wanted<'_> {
            Wanted { experiment, knobs }
        }
        let mine = all.iter().find(|(case, _, _)| case == id)?;
        let others: Vec<Wanted<'_>> = all.iter().filter(|(case, _, _)| case != id).map(wanted).collect();
        let mine = wanted(mine);
        let case = &self.cases[id];
        let (asked, baselines) = self.known_otherwise(&mine.experiment.suggestion);
        let candidates: Vec<Candidate<'_>> = jobs
            .iter()
            .filter(|job| job.name != case.baseline)
            .filter_map(|job| {
                let described = self.memory.get(&job.name)?.described()?;
                let known = match () {
                    () if asked.contains(job.name.as_str()) => Known::AnotherSuggestion,
                    () if baselines.contains(job.name.as_str()) => Known::Baseline,
                    () => Known::Free,
                };
                let opened = mine.experiment.runs.iter().any(|run| holds(job, run));
                let started = job.first_wall_time();
                let (suggestion, knobs) = (described.suggestion.as_deref(), &described.knobs);
                Some(Candidate { job: &job.name, suggestion, opened, knobs, started, known })
            })
            .collect();
        match link(mine, &others, &candidates) {
            Link::None => None,
            Link::To { job, by } => Some(Ok((job.to_owned(), by))),
            Link::Disputed { why } => Some(Err(why)),
        }
    }

    /// Jobs that another suggestion than this asked for, and baselines.
    fn known_otherwise(&self, suggestion: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let others = self.cases.values().flat_map(|case| &case.experiments).filter(|e| e.suggestion != suggestion);
        let asked = others.flat_map(|e| std::iter::once(e.run_name.as_str()).chain(e.job.as_deref()));
        (asked.collect(), self.cases.values().map(|case| case.baseline.as_str()).collect())
    }
}

/// Whether a run, by its name relative to the log directory, is part of a job.
fn holds(job: &Job<'_>, run: &str) -> bool {
    job.runs.iter().any(|(below, _)| match (below.as_str(), job.name.as_str()) {
        ("", name) => run == name,
        (below, ".") => run == below,
        (below, name) => run.strip_prefix(name).and_then(|rest| rest.strip_prefix('/')) == Some(below),
    })
}
