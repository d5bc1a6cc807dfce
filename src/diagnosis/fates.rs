//! What became of jobs, as those who run them tell.
//!
//! Fates are inputs like events: the same fates in the same order lead to the same case.

use super::{Changes, Diagnosis};
use crate::fate::{Fate, JobFate};

impl Diagnosis {
    /// Goes on with the fates of jobs that were kept.
    pub fn remember_fates(&mut self, fates: impl IntoIterator<Item = JobFate>) {
        self.fates.extend(fates.into_iter().map(|fate| (fate.job.clone(), fate)));
    }

    /// The newest fate of a job that no suggestion asked for.
    pub fn known_fate(&self, job: &str) -> Option<&Fate> {
        self.fates.get(job).map(|known| &known.fate)
    }

    /// Takes in what became of the job that carries out a suggestion. One that no open case made is left alone, and the
    /// same again is no news.
    pub fn fate_of_experiment(&mut self, suggestion: &str, fate: &Fate, now: f64) -> Changes {
        let (mut changes, fate) = (Changes::default(), fate.clone().bounded());
        let mut open = self.cases.values_mut().filter(|case| case.closed.is_none());
        if let Some(case) = open.find(|case| case.experiments.iter().any(|e| e.suggestion == suggestion)) {
            let trace = case.experiment_came_to(suggestion, &fate, now);
            changes.add(&case.clone(), trace);
        }
        changes
    }

    /// Takes in what became of a job that no suggestion asked for, whether or not there is a case about it. The same again
    /// is no news.
    pub fn fate_of_job(&mut self, job: &str, fate: &Fate, now: f64) -> Changes {
        let (mut changes, fate) = (Changes::default(), fate.clone().bounded());
        if self.known_fate(job) == Some(&fate) {
            return changes;
        }
        if let Some(case) = self.cases.values_mut().find(|case| case.closed.is_none() && case.baseline == job) {
            let trace = case.baseline_came_to(&fate, now);
            changes.add(&case.clone(), trace);
        }
        let told = JobFate { job: job.to_owned(), fate, told: now };
        self.fates.insert(job.to_owned(), told.clone());
        changes.fates.push(told);
        changes
    }

    /// Forgets the fates that were told before a time, in seconds since the Unix epoch, of jobs that are not there any
    /// more.
    pub fn forget_fates(&mut self, before: f64) {
        let Diagnosis { fates, memory, .. } = self;
        fates.retain(|job, known| known.told >= before || memory.contains_key(job));
    }
}
