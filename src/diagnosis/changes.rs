//! The changes of one tick or report.
//!
//! Owns: putting it together. Must not know: how it is kept.

use crate::case::{Case, CaseId, JournalEntry, Message, Trace};
use crate::fate::JobFate;

/// The changes of one tick, stored atomically.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Cases whose state changed.
    pub cases: Vec<Case>,
    /// Entries of their journals.
    pub journal: Vec<(CaseId, JournalEntry)>,
    /// Messages owed.
    pub messages: Vec<Message>,
    /// Status of jobs without a suggestion.
    pub fates: Vec<JobFate>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty() && self.journal.is_empty() && self.messages.is_empty() && self.fates.is_empty()
    }

    pub(super) fn add(&mut self, case: &Case, trace: Trace) {
        if trace.is_empty() {
            return;
        }
        self.journal.extend(trace.journal.into_iter().map(|entry| (case.id.clone(), entry)));
        let illustrated = |mut message: Message| {
            message.illustrate(case);
            message
        };
        self.messages.extend(trace.messages.into_iter().map(illustrated));
        self.keep(case);
    }

    /// Takes in what followed at once.
    pub fn absorb(&mut self, later: Changes) {
        self.journal.extend(later.journal);
        self.messages.extend(later.messages);
        later.cases.iter().for_each(|case| self.keep(case));
    }

    pub(super) fn keep(&mut self, case: &Case) {
        self.cases.retain(|known| known.id != case.id);
        self.cases.push(case.clone());
    }
}
