//! Experiments under way: which job carries out which suggestion, and when it can be judged.

use std::collections::BTreeSet;

use super::exam::{Exam, exam_with};
use super::{Changes, Diagnosis};
use crate::case::{Candidate, Case, CaseId, Experiment, Waiting, link};
use crate::facts::{Facts, measure};
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
        self.judge(id, Happened::Ran(&facts), now, changes);
    }

    /// Links the open experiment to the job that carries it out, once there is one.
    fn find_job(&mut self, id: &CaseId, jobs: &[Job<'_>], now: f64, changes: &mut Changes) {
        let Some(case) = self.cases.get(id) else { return };
        let Some(experiment) = case.open_experiment().filter(|e| e.job.is_none()) else { return };
        // The name settles it for all but people who run it by hand; only then is every job described.
        let found = match jobs.iter().find(|job| job.name == experiment.run_name) {
            Some(job) => Some((job.name.clone(), "its name")),
            None => {
                let described = jobs.iter().filter(|job| job.name != case.baseline);
                for job in described {
                    if let Some(memory) = self.memory.get_mut(&job.name) {
                        memory.describe(job, &self.site);
                    }
                }
                self.find_by_description(case, experiment, jobs)
            }
        };
        let Some((job, how)) = found else { return };
        if let Some(case) = self.cases.get_mut(id) {
            let trace = case.link_by_hand(&job, how, now);
            changes.add(&case.clone(), trace);
        }
    }

    fn find_by_description(
        &self,
        case: &Case,
        experiment: &Experiment,
        jobs: &[Job<'_>],
    ) -> Option<(String, &'static str)> {
        let taken: BTreeSet<&str> =
            self.cases.values().flat_map(|c| &c.experiments).filter_map(|e| e.job.as_deref()).collect();
        let free = jobs.iter().filter(|job| !taken.contains(job.name.as_str()) && job.name != case.baseline);
        let candidates: Vec<Candidate<'_>> = free
            .filter_map(|job| {
                let described = self.memory.get(&job.name)?.described()?;
                Some(Candidate {
                    job: &job.name,
                    suggestion: described.suggestion.as_deref(),
                    knobs: &described.knobs,
                    started: job.first_wall_time(),
                })
            })
            .collect();
        link(case, experiment, &candidates).map(|(job, how)| (job.to_owned(), how))
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
