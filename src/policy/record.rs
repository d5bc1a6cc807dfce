//! What a step of a policy leaves in the facts of its case.
//!
//! Owns: how [`CaseFacts`] follow from what happened; the case that keeps a journal and a rehearsal share it. Must not
//! know: journals.

use crate::facts::Facts;

use super::{Advance, CaseFacts, Next, Passed};

impl CaseFacts {
    /// Takes in a step: the states that were left, and the experiment or the question where it stopped.
    pub fn record(&mut self, advance: &Advance) {
        for passed in &advance.passed {
            self.pass(passed);
        }
        let at = match &advance.next {
            Next::Run(proposal) => {
                self.experiments += 1;
                self.changes.insert(proposal.at.state.clone(), proposal.changes.clone());
                // What this state showed before belongs to other changes.
                self.shown.remove(&proposal.at.state);
                &proposal.at
            }
            Next::Ask(question) => &question.at,
            Next::Conclude(_) => return,
        };
        let entered = self.entered.entry(at.state.clone()).or_default();
        *entered = at.attempt.max(*entered);
    }

    /// Takes in what the experiment of a state showed, and the hours that it ran.
    pub fn record_experiment(&mut self, state: &str, facts: &Facts, hours: f64) {
        self.shown.insert(state.to_owned(), facts.clone());
        self.hours += hours.max(0.0);
    }

    pub(super) fn pass(&mut self, passed: &Passed) {
        self.outcomes.insert(passed.state.clone(), passed.outcome.clone());
        if let Some(other) = &passed.answered_by {
            if let Some(shown) = self.shown.get(other).cloned() {
                self.shown.insert(passed.state.clone(), shown);
            }
            if let Some(changes) = self.changes.get(other).cloned() {
                self.changes.insert(passed.state.clone(), changes);
            }
        }
    }
}
