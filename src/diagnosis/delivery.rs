//! The results of suggestions at destinations: who has them, and problems that the site must fix first.
//!
//! Owns: which case that concerns. Must not know: how a message is sent, and when to try again.

use super::{Changes, Diagnosis};
use crate::case::{Case, CaseId, PauseEnds};

impl Diagnosis {
    /// These destinations have a suggestion or may receive it, and run it automatically.
    pub fn handed_to(&mut self, suggestion: &str, machines: &[String], changes: &mut Changes) {
        let open = |case: &Case| case.open_experiment().is_some_and(|e| e.suggestion == suggestion);
        let Some(case) = self.cases.open_mut(open) else { return };
        let Some(experiment) = case.experiments.last_mut() else { return };
        let before = experiment.machines.len();
        experiment.machines.extend(machines.iter().cloned());
        experiment.machines.sort();
        experiment.machines.dedup();
        if experiment.machines.len() != before {
            changes.keep(case);
        }
    }

    /// A destination does not run a suggestion after all.
    pub fn not_run_by(&mut self, suggestion: &str, machine: &str, changes: &mut Changes) {
        let open = |case: &Case| case.open_experiment().is_some_and(|e| e.suggestion == suggestion);
        let Some(case) = self.cases.open_mut(open) else { return };
        let Some(experiment) = case.experiments.last_mut() else { return };
        let before = experiment.machines.len();
        experiment.machines.retain(|known| known != machine);
        if experiment.machines.len() != before {
            changes.keep(case);
        }
    }

    /// A destination refuses a suggestion for a reason that the site must fix.
    pub fn refused_by_site(&mut self, suggestion: &str, destination: &str, why: &str, now: f64) -> Changes {
        let mut changes = Changes::default();
        if let Some(id) = self.case_waiting_for(suggestion) {
            self.step(&id, now, &mut changes, |case, terms| case.refused_by_site(suggestion, destination, why, terms));
        }
        changes
    }

    /// A destination has accepted a suggestion: a case that waited for this continues.
    pub fn taken(&mut self, suggestion: &str, now: f64) -> Changes {
        let mut changes = Changes::default();
        if let Some(case) = self.case_waiting_for(suggestion).and_then(|id| self.cases.get_mut(&id)) {
            let trace = case.resume(PauseEnds::Delivery, now);
            changes.add(case, trace);
        }
        changes
    }

    /// A person resumes a paused case.
    pub fn resume(&mut self, id: &CaseId, now: f64) -> Changes {
        let mut changes = Changes::default();
        if let Some(case) = self.cases.get_mut(id).filter(|case| case.closed.is_none()) {
            let mut trace = case.resume(PauseEnds::Person, now);
            trace.journal.extend(case.resume(PauseEnds::Delivery, now).journal);
            changes.add(case, trace);
        }
        changes
    }

    /// The operator has changed the configuration, which may have fixed the problem of paused cases.
    pub fn resume_all(&mut self, now: f64) -> Changes {
        let paused = self.cases.all().filter(|case| case.paused.as_ref().is_some_and(|p| p.ends == PauseEnds::Person));
        let mut changes = Changes::default();
        for id in paused.map(|case| case.id.clone()).collect::<Vec<_>>() {
            let Some(case) = self.cases.get_mut(&id) else { continue };
            let trace = case.resume(PauseEnds::Person, now);
            changes.add(case, trace);
        }
        changes
    }
}
