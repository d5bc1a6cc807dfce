//! Links jobs to suggestions.
//!
//! Owns: all evidence about the identity of a job, combined for [`link`]. Must not know: when an experiment is judged.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::exam::Described;
use super::{Changes, Diagnosis};
use crate::case::{Candidate, Case, CaseId, Experiment, Known, Link, Wanted, link};
use crate::facts::Knobs;
use crate::jobs::Job;

/// The jobs of one tick with their statements, looked up once for all cases: a site can have thousands of jobs and
/// hundreds of open experiments.
#[derive(Default)]
pub(super) struct Roster<'t> {
    jobs: &'t [Job<'t>],
    by_name: HashMap<&'t str, usize>,
    /// The statements of each job; `None` if it is unknown.
    described: Vec<Option<Arc<Described>>>,
    /// The jobs that state a suggestion.
    stating: HashMap<String, Vec<usize>>,
}

impl<'t> Roster<'t> {
    /// The job with this name.
    pub(super) fn job(&self, name: &str) -> Option<&'t Job<'t>> {
        self.by_name.get(name).map(|at| &self.jobs[*at])
    }

    /// The jobs that [`link`] could accept for an experiment, in the order of the jobs.
    fn related(&self, experiment: &Experiment) -> BTreeSet<usize> {
        let named = self.by_name.get(experiment.run_name.as_str()).copied();
        let stating = self.stating.get(&experiment.suggestion).into_iter().flatten().copied();
        let writes = |job: &Job<'_>| experiment.runs.iter().any(|run| holds(job, run));
        let after = |job: &Job<'_>| job.first_wall_time().is_some_and(|started| started >= experiment.suggested);
        let by_hand = experiment.machines.is_empty();
        // Where neither runs nor settings count, no other job has to be looked at.
        let all = if by_hand || !experiment.runs.is_empty() { self.jobs } else { &[] };
        let others = all.iter().enumerate().filter(|(_, job)| writes(job) || by_hand && after(job)).map(|(at, _)| at);
        named.into_iter().chain(stating).chain(others).collect()
    }
}

impl Diagnosis {
    /// The jobs of this tick with their statements.
    pub(super) fn roster<'t>(&mut self, jobs: &'t [Job<'t>]) -> Roster<'t> {
        let mut stating: HashMap<String, Vec<usize>> = HashMap::new();
        let mut described = Vec::with_capacity(jobs.len());
        for (at, job) in jobs.iter().enumerate() {
            let known = self.memory.get_mut(&job.name).map(|memory| memory.describe(job, &self.site));
            if let Some(suggestion) = known.as_ref().and_then(|described| described.suggestion.clone()) {
                stating.entry(suggestion).or_default().push(at);
            }
            described.push(known);
        }
        let by_name = jobs.iter().enumerate().map(|(at, job)| (job.name.as_str(), at)).collect();
        Roster { jobs, by_name, described, stating }
    }

    /// Links the open experiment to the job that carries it out, once there is one.
    pub(super) fn find_job(&mut self, id: &CaseId, roster: &Roster<'_>, now: f64, changes: &mut Changes) {
        let open = self.cases.get(id).and_then(Case::open_experiment);
        if open.is_none_or(|experiment| experiment.job.is_some()) {
            return;
        }
        let Some(found) = self.who_runs(id, roster) else { return };
        let Some(case) = self.cases.get_mut(id) else { return };
        let trace = match found {
            Ok((job, by)) => case.link_to(&job, by, now),
            Err(why) => case.dispute(&why, now),
        };
        changes.add(case, trace);
    }

    /// Whether the evidence about the job of an open experiment has changed since it was linked.
    pub(super) fn is_disputed(&mut self, id: &CaseId, roster: &Roster<'_>, now: f64, changes: &mut Changes) -> bool {
        let by_hand = |case: &Case| case.open_experiment().is_some_and(|e| e.linked_by_hand);
        if self.cases.get(id).is_some_and(by_hand) {
            return false;
        }
        let Some(Err(why)) = self.who_runs(id, roster) else { return false };
        let Some(case) = self.cases.get_mut(id) else { return true };
        let trace = case.dispute(&why, now);
        changes.add(case, trace);
        true
    }

    /// The job that runs the open experiment of a case, and the evidence; or why none is accepted.
    fn who_runs(&self, id: &CaseId, roster: &Roster<'_>) -> Option<Result<(String, &'static str), String>> {
        let case = self.cases.get(id)?;
        let related = roster.related(case.open_experiment()?);
        if related.is_empty() {
            return None;
        }
        fn wanted<'c>((experiment, knobs): &'c (&'c Experiment, Knobs)) -> Wanted<'c> {
            Wanted { experiment, knobs }
        }
        let mine = with_knobs(case)?;
        let mine = wanted(&mine);
        let roles = self.cases.roles();
        let candidates: Vec<Candidate<'_>> = related
            .iter()
            .map(|at| (&roster.jobs[*at], &roster.described[*at]))
            .filter(|(job, _)| job.name != case.baseline)
            .filter_map(|(job, described)| {
                let described = described.as_ref()?;
                let known = match () {
                    () if roles.is_of_another(&job.name, &mine.experiment.suggestion) => Known::AnotherSuggestion,
                    () if roles.is_baseline(&job.name) => Known::Baseline,
                    () => Known::Free,
                };
                let opened = mine.experiment.runs.iter().any(|run| holds(job, run));
                let started = job.first_wall_time();
                let (suggestion, knobs) = (described.suggestion.as_deref(), &described.knobs);
                Some(Candidate { job: &job.name, suggestion, opened, knobs, started, known })
            })
            .collect();
        let mut found = link(mine, &[], &candidates);
        // Only a match by settings depends on the other suggestions, and few of them can be the rival of one.
        if mine.experiment.machines.is_empty() && matches!(found, Link::To { .. }) {
            let others: Vec<_> = self.cases.open().filter(|other| other.id != *id).filter_map(with_knobs).collect();
            found = link(mine, &others.iter().map(wanted).collect::<Vec<_>>(), &candidates);
        }
        match found {
            Link::None => None,
            Link::To { job, by } => Some(Ok((job.to_owned(), by))),
            Link::Disputed { why } => Some(Err(why)),
        }
    }
}

/// The open experiment of a case, and its settings.
fn with_knobs(case: &Case) -> Option<(&Experiment, Knobs)> {
    let experiment = case.open_experiment()?;
    Some((experiment, case.knobs_with(&experiment.proposal.changes)))
}

/// Whether a run, by its name relative to the log directory, is part of a job.
fn holds(job: &Job<'_>, run: &str) -> bool {
    job.runs.iter().any(|(below, _)| match (below.as_str(), job.name.as_str()) {
        ("", name) => run == name,
        (below, ".") => run == below,
        (below, name) => run.strip_prefix(name).and_then(|rest| rest.strip_prefix('/')) == Some(below),
    })
}
