//! Experiments under way: which job carries out which suggestion, and when it can be judged.

use std::collections::BTreeSet;

use super::exam::{Exam, exam_with};
use super::{Changes, Diagnosis};
use crate::case::{Candidate, Case, CaseId, Experiment, Known, Link, Waiting, Wanted, link};
use crate::facts::{Facts, Knobs, measure};
use crate::jobs::Job;
use crate::policy::Happened;

/// What came back from a job queue about a suggestion.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// It refused it for good: the script does not have these knobs.
    Refused {
        /// The suggestion.
        suggestion: String,
        /// The knobs; empty where it did not say which.
        unknown_knobs: BTreeSet<String>,
    },
    /// It could not be reached for so long that the suggestion was given up.
    Undeliverable {
        /// The suggestion.
        suggestion: String,
    },
}

/// An experiment over so few examples has nothing left to show once it fits them.
const FEW_EXAMPLES: u64 = 16;

/// After so many points a loss that is not finite will not come back in an experiment.
const HOPELESS_POINTS: u64 = 3;

impl Diagnosis {
    /// Takes a report of a job queue.
    pub fn report(&mut self, report: &Report, now: f64) -> Changes {
        let mut changes = Changes::default();
        let (suggestion, happened) = match report {
            Report::Refused { suggestion, unknown_knobs } => (suggestion, Happened::Refused(unknown_knobs.clone())),
            Report::Undeliverable { suggestion } => (suggestion, Happened::NeverStarted),
        };
        let open = |case: &&Case| case.open_experiment().is_some_and(|e| e.suggestion == *suggestion);
        let Some(id) = self.cases.values().find(open).map(|case| case.id.clone()) else { return changes };
        self.judge(&id, happened, now, &mut changes);
        changes
    }

    /// Every open case goes on as far as it can.
    pub(super) fn go_on(&mut self, jobs: &[Job<'_>], now: f64, changes: &mut Changes) {
        let open: Vec<CaseId> =
            self.cases.values().filter(|case| case.closed.is_none()).map(|c| c.id.clone()).collect();
        for id in open {
            let Some(case) = self.cases.get(&id) else { continue };
            match &case.waiting {
                Waiting::Experiment => self.look_at_experiment(&id, jobs, now, changes),
                Waiting::Room(_) | Waiting::Answer { .. } => self.let_time_pass(&id, now, changes),
                Waiting::Nothing => {}
            }
        }
    }

    fn let_time_pass(&mut self, id: &CaseId, now: f64, changes: &mut Changes) {
        let Some(policy) = self.cases.get(id).and_then(|case| self.policy_of(case)) else { return };
        let terms = self.terms(&policy, now);
        let Some(case) = self.cases.get_mut(id) else { return };
        let trace = case.wait(&terms);
        changes.add(&case.clone(), trace);
    }

    fn look_at_experiment(&mut self, id: &CaseId, jobs: &[Job<'_>], now: f64, changes: &mut Changes) {
        self.find_job(id, jobs, now, changes);
        let Some(case) = self.cases.get(id) else { return };
        let Some(experiment) = case.open_experiment() else { return };
        let job = experiment.job.as_ref().and_then(|name| jobs.iter().find(|job| job.name == *name));
        let Some(job) = job else {
            // A run that was there and whose files are gone is waited for like one that has yet to start.
            if experiment.age(now) > self.site.start_within {
                self.judge(id, Happened::NeverStarted, now, changes);
            }
            return;
        };
        let baseline = jobs.iter().find(|job| job.name == case.baseline);
        let Some(facts) = self.facts_of_experiment(case, job, baseline, now) else { return };
        if self.is_disputed(id, jobs, now, changes) {
            return;
        }
        self.judge(id, Happened::Ran(&facts), now, changes);
    }

    /// Links the open experiment to the job that carries it out, once there is one.
    fn find_job(&mut self, id: &CaseId, jobs: &[Job<'_>], now: f64, changes: &mut Changes) {
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

    /// Whether what is known of the job of an open experiment has come to point elsewhere since it was linked.
    fn is_disputed(&mut self, id: &CaseId, jobs: &[Job<'_>], now: f64, changes: &mut Changes) -> bool {
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

    /// The job that carries out the open experiment of a case, and by what that is known; or why none is taken.
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

    /// What an experiment showed, once that is certain: it ended, it fits the few points that it was given, or its loss is
    /// beyond help. What happens late in a run over the whole set shows only at its end.
    fn facts_of_experiment(&self, case: &Case, job: &Job<'_>, baseline: Option<&Job<'_>>, now: f64) -> Option<Facts> {
        let memory = self.memory.get(&job.name)?;
        let experiment = case.open_experiment()?;
        let mut knobs = case.knobs_with(&experiment.proposal.changes);
        knobs.extend(self.site.logged_knobs(job));
        let exam = exam_with(job, &self.site, memory, knobs, now);
        let points = exam.view.loss().map_or(0, |loss| loss.sketch.count());
        let beyond_help = !exam.facts.finite && points >= HOPELESS_POINTS;
        let examples = experiment.proposal.changes.get("train_examples").and_then(serde_json::Value::as_u64);
        let fits_few = exam.facts.fits && examples.is_some_and(|n| n <= FEW_EXAMPLES);
        if !(exam.facts.ended || fits_few || beyond_help) {
            return None;
        }
        let compared = baseline.map(|job| self.exam_of_baseline(case, job, now));
        Some(measure(exam.looked(), compared.as_ref().map(Exam::looked)))
    }

    fn exam_of_baseline(&self, case: &Case, job: &Job<'_>, now: f64) -> Exam {
        let memory = self.memory.get(&job.name).cloned().unwrap_or_else(|| super::Memory::first_seen(true));
        exam_with(job, &self.site, &memory, case.baseline_facts.knobs.clone(), now)
    }

    pub(super) fn judge(&mut self, id: &CaseId, happened: Happened<'_>, now: f64, changes: &mut Changes) {
        let Some(policy) = self.cases.get(id).and_then(|case| self.policy_of(case)) else { return };
        // The experiment that is judged leaves its room to the next one.
        let mut terms = self.terms(&policy, now);
        terms.room = true;
        let Some(case) = self.cases.get_mut(id) else { return };
        let trace = case.judge(happened, &terms);
        changes.add(&case.clone(), trace);
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
