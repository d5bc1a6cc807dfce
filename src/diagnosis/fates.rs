//! The reported status of jobs.
//!
//! Status reports are inputs like events: the same reports in the same order lead to the same case.

use std::collections::{BTreeMap, BTreeSet};

use super::{Changes, Diagnosis};
use crate::case::{Case, CaseId};
use crate::command::masked_line;
use crate::fate::{Fate, JobFate};
use crate::jobs::Job;
use crate::launched::Launched;

/// Maximum clock difference between two machines, and maximum delay of log writes, in seconds.
const CLOCKS_DIFFER: f64 = 60.0;

/// The stored form of a status: its texts are untrusted, limited in length, and stored without secrets.
fn presentable(fate: &Fate) -> Fate {
    let mask = |text: &String| text.lines().map(masked_line).collect::<Vec<_>>().join("\n");
    let (reason, tail) = (fate.reason.as_ref().map(mask), fate.tail.as_ref().map(mask));
    Fate { reason, tail, ..fate.clone() }.bounded()
}

impl Diagnosis {
    /// Goes on with the fates of jobs that were kept.
    pub fn remember_fates(&mut self, fates: impl IntoIterator<Item = JobFate>) {
        self.fates.extend(fates.into_iter().map(|fate| (fate.job.clone(), fate)));
    }

    /// The newest fate of a job that no suggestion asked for.
    pub fn known_fate(&self, job: &str) -> Option<&Fate> {
        self.fates.get(job).map(|known| &known.fate)
    }

    /// Records the status of the job that runs a suggestion. Suggestions of no open case are ignored, and repetitions
    /// have no effect.
    pub fn fate_of_experiment(&mut self, suggestion: &str, fate: &Fate, now: f64) -> Changes {
        let (mut changes, fate) = (Changes::default(), presentable(fate));
        let asked = |case: &Case| case.experiments.iter().any(|e| e.suggestion == suggestion);
        if let Some(case) = self.cases.open_mut(asked) {
            let runs = fate.event_files.iter().filter_map(|path| self.site.run_of(path)).collect::<BTreeSet<_>>();
            let trace = case.experiment_came_to(suggestion, &fate, runs.into_iter().collect(), now);
            let job = case.experiments.iter().find(|e| e.suggestion == suggestion);
            let job = job.map(|e| e.job.as_deref().unwrap_or(&e.run_name)).unwrap_or_default();
            if let Some(memory) = self.memory.get(job).filter(|_| !trace.is_empty()) {
                self.endings.told((&case.logdir, suggestion), memory.events());
            }
            changes.add(case, trace);
        }
        changes
    }

    /// Records the status of a job without a suggestion, whether or not there is a case about it. Repetitions have no
    /// effect.
    pub fn fate_of_job(&mut self, job: &str, fate: &Fate, now: f64) -> Changes {
        let (mut changes, fate) = (Changes::default(), presentable(fate));
        if self.known_fate(job) == Some(&fate) {
            return changes;
        }
        if let Some(case) = self.cases.open_mut(|case| case.baseline == job) {
            let trace = case.baseline_came_to(&fate, now);
            changes.add(case, trace);
        }
        let scanned = self.site.directory_name_of(job);
        if let Some(memory) = self.memory.get(job) {
            self.endings.told((&scanned, job), memory.events());
        }
        let told = JobFate { job: job.to_owned(), fate, told: now };
        self.fates.insert(job.to_owned(), told.clone());
        changes.fates.push(told);
        changes
    }

    /// Everything that there is to read in a directory was looked at, beginning at `now` (seconds since the Unix epoch).
    pub fn looked(&mut self, directory: Option<&str>, now: f64) {
        self.endings.looked(directory, now);
    }

    /// Applies to each job its status, once no new data are expected, and how it was started.
    pub(super) fn note_ends(&mut self, jobs: &[Job<'_>]) {
        let Diagnosis { fates, memory, endings, launched, site, .. } = self;
        for job in jobs {
            let Some(memory) = memory.get_mut(&job.name) else { continue };
            memory.was_launched(launched.get(&job.name));
            let Some(known) = fates.get(&job.name) else { continue };
            // A job that logs after its end was started again.
            let goes_on = job.last_wall_time().is_some_and(|last| last > known.told + CLOCKS_DIFFER);
            let scanned = site.directory_name_of(&job.name);
            let last =
                !known.fate.state.is_final() || endings.nothing_new((&scanned, &job.name), job.events(), known.told);
            memory.came_to(Some(&known.fate).filter(|_| last && !goes_on));
        }
    }

    /// Records how a job was started, until the next tick. The job's own logs take precedence, and better sources
    /// replace others.
    pub fn launched(&mut self, job: &str, launched: &Launched) {
        if self.launched.get(job).is_none_or(|known| known.source >= launched.source) {
            self.launched.insert(job.to_owned(), launched.clone());
        }
    }

    /// Tells open cases how their baselines were started, which may become known after they were opened.
    pub(super) fn note_commands(&mut self, jobs: &[Job<'_>], now: f64, changes: &mut Changes) {
        // A job has one open case; of several in an old store, the first counts.
        let open = self.cases.open().rev();
        let open: BTreeMap<String, CaseId> = open.map(|case| (case.baseline.clone(), case.id.clone())).collect();
        for job in jobs {
            let Some(id) = open.get(&job.name) else { continue };
            let Some(launched) = job.launched().or_else(|| self.launched.get(&job.name)) else { continue };
            let case = &self.cases[id];
            if case.launched.as_ref().is_some_and(|known| known.source < launched.source || known == launched) {
                continue;
            }
            let launched = launched.clone();
            let knobs = self.site.knobs_taken(&job.name, Some(&launched), &case.baseline_facts);
            self.step(id, now, changes, |case, terms| {
                case.facts.knobs = knobs;
                case.command_became_known(&launched, terms)
            });
            self.cases.get(id).into_iter().for_each(|case| changes.keep(case));
        }
    }

    /// Forgets the fates that were told before a time, in seconds since the Unix epoch, of jobs that are not there any
    /// more.
    pub fn forget_fates(&mut self, before: f64) {
        let Diagnosis { fates, memory, .. } = self;
        fates.retain(|job, known| known.told >= before || memory.contains_key(job));
    }
}
