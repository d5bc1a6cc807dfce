//! The file format of presets.
//!
//! Owns: the keys of the file. Must not know: how they are used.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::test::PresetTest;
use super::{Field, Patience, SameId};
use crate::case::MessageKind;
use crate::destinations::answer::Rule;
use crate::destinations::codes::CodesFile;
use crate::destinations::http::Method;
use crate::fate::FateState;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PresetFile {
    pub(super) name: String,
    pub(super) summary: String,
    #[serde(default)]
    pub(super) fields: BTreeMap<String, Field>,
    pub(super) wants: Vec<MessageKind>,
    pub(super) same_id: SameId,
    #[serde(default)]
    pub(super) patience: Patience,
    #[serde(default)]
    pub(super) threads: Threads,
    pub(super) send: SendFile,
    #[serde(default)]
    pub(super) limits: BodyLimit,
    #[serde(default)]
    pub(super) answers: Vec<Rule>,
    #[serde(default)]
    pub(super) reference: Option<String>,
    #[serde(default)]
    pub(super) ask: Option<AskFile>,
    #[serde(default)]
    pub(super) status: Option<StatusFile>,
    #[serde(default)]
    pub(super) cancel: Option<CancelFile>,
    /// Whether it starts runs by their command.
    #[serde(default)]
    pub(super) needs_command: bool,
    #[serde(default)]
    pub(super) codes: Option<CodesFile>,
    #[serde(default)]
    pub(super) then: Vec<ThenFile>,
    #[serde(default)]
    pub(super) tests: Vec<PresetTest>,
    /// How the curves of a message reach people beside it.
    #[serde(default)]
    pub(super) picture: Option<PictureBy>,
}

/// How a picture is sent where a message itself cannot hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::destinations) enum PictureBy {
    /// It is uploaded to Slack, and a block of the message shows it.
    Slack,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SendFile {
    Http(HttpFile),
    Mail(MailFile),
    Terminal(TerminalFile),
    Events(EventsFile),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpFile {
    pub(super) url: String,
    /// The path of a Unix socket.
    #[serde(default)]
    pub(super) socket: Option<String>,
    /// The path of the CA certificates (PEM) for the receiver, in place of the system's.
    #[serde(default)]
    pub(super) certificates: Option<String>,
    #[serde(default)]
    pub(super) headers: Value,
    #[serde(default)]
    pub(super) signed_with: Option<String>,
    /// A built-in preset whose body is reused; the keys of `body` are added.
    #[serde(default)]
    pub(super) like: Option<String>,
    #[serde(default)]
    pub(super) body: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MailFile {
    pub(super) server: String,
    pub(super) security: String,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) subject: String,
    /// A built-in preset whose text is reused.
    pub(super) text_like: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TerminalFile {
    pub(super) text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsFile {
    pub(super) logdir: String,
    /// Markdown.
    pub(super) text: String,
}

/// An additional request; it has the same headers and goes to the same host.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestFile {
    #[serde(default)]
    pub(super) method: Method,
    pub(super) url: String,
    #[serde(default)]
    pub(super) body: Option<Value>,
    #[serde(default)]
    pub(super) list: Option<ListFile>,
}

/// A list in a response, of which only elements with one of these values are kept.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListFile {
    pub(super) of: String,
    pub(super) any: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskFile {
    #[serde(default, rename = "if")]
    pub(super) condition: Option<String>,
    pub(super) request: RequestFile,
    #[serde(default)]
    pub(super) answers: Vec<Rule>,
    pub(super) found: String,
    #[serde(default)]
    pub(super) unsure: Option<String>,
    #[serde(default)]
    pub(super) reference: Option<String>,
    /// The references of all copies found.
    #[serde(default)]
    pub(super) all: Option<String>,
    /// In seconds.
    #[serde(default)]
    pub(super) grace: f64,
    #[serde(default)]
    pub(super) otherwise: Option<Box<AskFile>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusFile {
    #[serde(default, rename = "if")]
    pub(super) condition: Option<String>,
    pub(super) request: RequestFile,
    #[serde(default)]
    pub(super) answers: Vec<Rule>,
    #[serde(default)]
    pub(super) also: Vec<AlsoFile>,
    pub(super) job: String,
    /// Names, each with an expression.
    #[serde(default)]
    pub(super) with: Map<String, Value>,
    pub(super) fates: Vec<FateFile>,
    #[serde(default)]
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) exit_code: Option<String>,
    #[serde(default)]
    pub(super) signal: Option<String>,
    #[serde(default)]
    pub(super) attempt: Option<String>,
    #[serde(default)]
    pub(super) tail: Option<TailFile>,
    #[serde(default)]
    pub(super) otherwise: Option<Box<StatusFile>>,
}

/// An additional request for a status.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlsoFile {
    pub(super) name: String,
    #[serde(default, rename = "if")]
    pub(super) condition: Option<String>,
    pub(super) request: RequestFile,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FateFile {
    #[serde(default)]
    pub(super) when: Option<String>,
    pub(super) fate: FateState,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TailFile {
    pub(super) request: RequestFile,
    pub(super) text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelFile {
    pub(super) request: RequestFile,
    #[serde(default)]
    pub(super) answers: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ThenFile {
    pub(super) name: String,
    #[serde(default, rename = "if")]
    pub(super) condition: Option<String>,
    pub(super) need: super::Need,
    pub(super) request: RequestFile,
    #[serde(default)]
    pub(super) answers: Vec<Rule>,
}

/// Whether later messages of a case refer to its first one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Threads {
    #[default]
    None,
    /// Templates can use the `reference` of the first message of the case at this destination as `thread`.
    ByCase,
}

/// The size limit of a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum BodyLimit {
    #[default]
    None,
    /// Slack's limits for blocks.
    Slack,
    /// A number of bytes of JSON.
    MostBytes(usize),
}
