//! The effect of a policy step on the facts of its case.
//!
//! Owns: how [`CaseFacts`] follow from events; shared by real cases and rehearsals. Must not know: journals.

use crate::facts::{Facts, Knobs};

use super::{Advance, CaseFacts, Passed, Tried};

impl CaseFacts {
    /// Records a step.
    pub fn record(&mut self, advance: &Advance) {
        *self = advance.case.clone();
    }

    /// The number of changes that were read as a cure and are compared with others.
    pub(super) fn compared(&self) -> usize {
        self.promising.values().filter(|gain| **gain > 0.0).count()
    }

    /// Records the run time of an experiment in hours.
    pub fn record_hours(&mut self, hours: f64) {
        self.hours += hours.max(0.0);
    }

    /// Records a suggested experiment.
    pub(super) fn suggest(&mut self, test: &str, attempt: u32, changes: &Knobs) {
        self.experiments += 1;
        self.enter(test, attempt);
        self.tried.push(Tried { test: test.to_owned(), changes: changes.clone(), facts: None });
    }

    /// Records a stop at a test.
    pub(super) fn enter(&mut self, test: &str, attempt: u32) {
        let entered = self.entered.entry(test.to_owned()).or_default();
        *entered = attempt.max(*entered);
    }

    /// Records the facts of a test's latest experiment.
    pub(super) fn show(&mut self, test: &str, facts: &Facts) {
        if let Some(tried) = self.tried.iter_mut().rev().find(|tried| tried.test == test) {
            tried.facts = Some(facts.clone());
        }
    }

    /// From now on, these changes and facts represent the test.
    pub(super) fn keep_best(&mut self, test: &str, changes: &Knobs, facts: &Facts) {
        self.changes.insert(test.to_owned(), changes.clone());
        self.shown.insert(test.to_owned(), facts.clone());
    }

    pub(super) fn pass(&mut self, passed: &Passed) {
        self.outcomes.insert(passed.state.clone(), passed.outcome.clone());
    }
}
