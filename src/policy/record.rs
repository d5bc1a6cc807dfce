//! What a step of a policy leaves in the facts of its case.
//!
//! Owns: how [`CaseFacts`] follow from what happened; the case that keeps a journal and a rehearsal share it. Must not
//! know: journals.

use crate::facts::{Facts, Knobs};

use super::{Advance, CaseFacts, Passed, Tried};

impl CaseFacts {
    /// Takes in a step.
    pub fn record(&mut self, advance: &Advance) {
        *self = advance.case.clone();
    }

    /// Takes in the hours that an experiment ran.
    pub fn record_hours(&mut self, hours: f64) {
        self.hours += hours.max(0.0);
    }

    /// An experiment is suggested.
    pub(super) fn suggest(&mut self, test: &str, attempt: u32, changes: &Knobs) {
        self.experiments += 1;
        self.enter(test, attempt);
        self.tried.push(Tried { test: test.to_owned(), changes: changes.clone(), facts: None });
    }

    /// A test was stopped at.
    pub(super) fn enter(&mut self, test: &str, attempt: u32) {
        let entered = self.entered.entry(test.to_owned()).or_default();
        *entered = attempt.max(*entered);
    }

    /// What the newest experiment of a test showed.
    pub(super) fn show(&mut self, test: &str, facts: &Facts) {
        if let Some(tried) = self.tried.iter_mut().rev().find(|tried| tried.test == test) {
            tried.facts = Some(facts.clone());
        }
    }

    /// These changes and what they showed stand for a test from now on.
    pub(super) fn keep_best(&mut self, test: &str, changes: &Knobs, facts: &Facts) {
        self.changes.insert(test.to_owned(), changes.clone());
        self.shown.insert(test.to_owned(), facts.clone());
    }

    pub(super) fn pass(&mut self, passed: &Passed) {
        self.outcomes.insert(passed.state.clone(), passed.outcome.clone());
    }
}
