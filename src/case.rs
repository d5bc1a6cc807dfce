//! One investigation: a baseline job, the policy, the experiments so far, and in the end a verdict.
//!
//! Owns: the journal, the open suggestion, linking, what is owed to destinations. Must not know: SQL, HTTP.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The id of a case: a hash of the baseline and of when it was opened, so that the same case is never opened twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CaseId(pub String);

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kind of a message, by its CloudEvents type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// `nextrun.case.opened`
    CaseOpened,
    /// `nextrun.run.suggested`
    RunSuggested,
    /// `nextrun.run.stop_suggested`
    StopSuggested,
    /// `nextrun.question.asked`: a checklist for a person
    QuestionAsked,
    /// `nextrun.case.closed`
    CaseClosed,
}

impl MessageKind {
    /// The CloudEvents type.
    pub fn event_type(self) -> &'static str {
        match self {
            MessageKind::CaseOpened => "nextrun.case.opened",
            MessageKind::RunSuggested => "nextrun.run.suggested",
            MessageKind::StopSuggested => "nextrun.run.stop_suggested",
            MessageKind::QuestionAsked => "nextrun.question.asked",
            MessageKind::CaseClosed => "nextrun.case.closed",
        }
    }
}

/// A message as it is owed to every destination that wants its kind: what is said, not how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Event id: the same on every try and every destination (for a suggested run, the suggestion's id).
    pub id: String,
    /// The case that it belongs to.
    pub case: CaseId,
    /// Its kind.
    pub kind: MessageKind,
    /// The baseline job (`subject` of the CloudEvent).
    pub subject: String,
    /// Seconds since the Unix epoch at which it was decided.
    pub time: f64,
    /// The `data` of the CloudEvent, as in the contract, with what a person is shown besides (`loss_curve`, `policy_step`, …).
    pub data: Value,
}
