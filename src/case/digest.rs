//! Several messages in one, for people.
//!
//! Owns: the body of a digest, and what it contains of each message. Must not know: when messages are combined.

use serde::{Deserialize, Serialize};

use super::{Body, CaseId, Message, MessageKind};
use crate::facts::Knobs;

/// Several messages in one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Digest {
    /// The cases that it is about.
    pub items: Vec<DigestItem>,
    /// Number of messages that it replaces.
    pub messages: usize,
    /// When the oldest of them was decided, in seconds since the Unix epoch.
    pub since: f64,
    /// Why they waited.
    pub why: String,
}

/// A case in a digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DigestItem {
    /// The case.
    pub case: CaseId,
    /// Its baseline job.
    pub run: String,
    /// The content of the message.
    pub messages: Vec<DigestLine>,
}

/// A message in a digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DigestLine {
    /// Its id.
    #[serde(default)]
    pub id: String,
    /// Its kind.
    pub kind: MessageKind,
    /// When it was decided, in seconds since the Unix epoch.
    #[serde(default)]
    pub time: f64,
    /// Ids of the symptoms that its case was opened for.
    #[serde(default)]
    pub symptoms: Vec<String>,
    /// Which step of the sequence it is about.
    #[serde(default)]
    pub step: Option<String>,
    /// The changes that a suggested run makes.
    #[serde(default)]
    pub overrides: Option<Knobs>,
    /// The verdict of a case that closed.
    #[serde(default)]
    pub verdict: Option<String>,
}

impl From<&Message> for DigestLine {
    fn from(message: &Message) -> Self {
        let (step, overrides) = match &message.body {
            Body::RunSuggested(run) => (Some(run.step.clone()), Some(run.overrides.clone())),
            Body::ApprovalAsked(asked) => (Some(asked.run.step.clone()), Some(asked.run.overrides.clone())),
            Body::QuestionAsked(question) => (Some(question.step.clone()), None),
            Body::CaseOpened(_)
            | Body::RunCancelled(_)
            | Body::StopSuggested(_)
            | Body::Notice(_)
            | Body::CaseClosed(_)
            | Body::Digest(_) => (None, None),
        };
        DigestLine {
            id: message.id.clone(),
            kind: message.kind(),
            time: message.time,
            symptoms: message.body.about().map(|about| about.symptoms.clone()).unwrap_or_default(),
            step: step.filter(|step| !step.is_empty()),
            overrides,
            verdict: message.body.verdict().map(str::to_owned),
        }
    }
}
