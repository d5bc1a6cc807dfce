//! The tests in a preset, as written in its file.
//!
//! Owns: the form of a test. Must not know: how a test is run.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::case::{Body, CaseId, Message, MessageKind};

/// A test in a preset: the request for a message, and the interpretation of a response.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::destinations) struct PresetTest {
    pub(in crate::destinations) name: String,
    /// The destination's settings.
    #[serde(default)]
    pub(in crate::destinations) fields: BTreeMap<String, String>,
    pub(in crate::destinations) message: TestMessage,
    /// The reference of the first message of the case.
    #[serde(default)]
    pub(in crate::destinations) thread: Option<String>,
    /// The expected address of the request.
    #[serde(default)]
    pub(in crate::destinations) url: Option<String>,
    /// The expected headers of the request.
    #[serde(default)]
    pub(in crate::destinations) headers: BTreeMap<String, String>,
    /// The complete expected body.
    #[serde(default)]
    pub(in crate::destinations) body: Option<Value>,
    /// Expected parts of the body, by JSON pointer.
    #[serde(default)]
    pub(in crate::destinations) parts: BTreeMap<String, Value>,
    #[serde(default)]
    pub(in crate::destinations) answer: Option<TestAnswer>,
    /// The query whether the destination has the message.
    #[serde(default)]
    pub(in crate::destinations) ask: Option<TestAsk>,
    /// Status queries about the run.
    #[serde(default)]
    pub(in crate::destinations) fates: Vec<TestFate>,
    /// The request that stops the run.
    #[serde(default)]
    pub(in crate::destinations) cancel: Option<TestCancel>,
    /// The complete list of expected follow-up requests once it has the message.
    #[serde(default)]
    pub(in crate::destinations) then: Option<Vec<TestThen>>,
}

impl PresetTest {
    /// The message of the test.
    ///
    /// # Errors
    /// Its data are not those of a message of its kind.
    pub(in crate::destinations) fn message(&self) -> Result<Message, String> {
        Ok(Message {
            id: "m1".to_owned(),
            case: CaseId("c1".to_owned()),
            subject: "resnet/7".to_owned(),
            time: 1_763_841_600.25,
            body: self.message.body()?,
        })
    }
}

/// A message of a test; omitted fields have fixed values.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::destinations) struct TestMessage {
    pub(in crate::destinations) kind: MessageKind,
    pub(in crate::destinations) data: Value,
}

impl TestMessage {
    /// Its data; a field that messages of its kind do not have is a mistake.
    fn body(&self) -> Result<Body, String> {
        let body =
            Body::read(self.kind, self.data.clone()).map_err(|error| format!("the data of the message: {error}"))?;
        let (known, given) = (body.data(), self.data.as_object());
        match given.into_iter().flatten().find(|(field, _)| known.get(field).is_none()) {
            Some((field, _)) => Err(format!("the data of a {} message has no field `{field}`", self.kind.event_type())),
            None => Ok(body),
        }
    }
}

/// A response and the expected outcome.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::destinations) struct TestAnswer {
    pub(in crate::destinations) status: u16,
    #[serde(default)]
    pub(in crate::destinations) body: String,
    /// `delivered`, `refused`, `later`, `unknown`, `site` or `permanent`.
    pub(in crate::destinations) outcome: String,
    #[serde(default)]
    pub(in crate::destinations) reference: Option<String>,
    #[serde(default)]
    pub(in crate::destinations) unknown_knobs: Option<Vec<String>>,
    /// A text that the reason must contain.
    #[serde(default)]
    pub(in crate::destinations) why: Option<String>,
}

/// An expected query, a response to it, and the expected interpretation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::destinations) struct TestAsk {
    /// The number of the queried location, from 1.
    #[serde(default = "first")]
    pub(in crate::destinations) place: usize,
    #[serde(default)]
    pub(in crate::destinations) url: Option<String>,
    pub(in crate::destinations) status: u16,
    #[serde(default)]
    pub(in crate::destinations) body: String,
    /// `there`, `absent`, `not_now`, `site` or `cannot`.
    pub(in crate::destinations) says: String,
    #[serde(default)]
    pub(in crate::destinations) reference: Option<String>,
    /// The references of all copies.
    #[serde(default)]
    pub(in crate::destinations) all: Option<Vec<String>>,
}

fn first() -> usize {
    1
}

/// A status query, a response to it, and the expected status.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::destinations) struct TestFate {
    /// The destination's reference for the run.
    #[serde(default)]
    pub(in crate::destinations) reference: Option<String>,
    /// The number of the queried location, from 1.
    #[serde(default = "first")]
    pub(in crate::destinations) place: usize,
    #[serde(default)]
    pub(in crate::destinations) url: Option<String>,
    pub(in crate::destinations) status: u16,
    #[serde(default)]
    pub(in crate::destinations) body: String,
    /// Responses to additional requests by their names; omitted ones respond with 404.
    #[serde(default)]
    pub(in crate::destinations) also: BTreeMap<String, TestAlso>,
    /// A status, or `none` if there is no record, `not_now`, `cannot`.
    pub(in crate::destinations) says: String,
    #[serde(default)]
    pub(in crate::destinations) reason: Option<String>,
    #[serde(default)]
    pub(in crate::destinations) exit_code: Option<i32>,
    #[serde(default)]
    pub(in crate::destinations) signal: Option<i32>,
    #[serde(default)]
    pub(in crate::destinations) attempt: Option<u32>,
}

/// A response to an additional request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::destinations) struct TestAlso {
    #[serde(default)]
    pub(in crate::destinations) url: Option<String>,
    pub(in crate::destinations) body: String,
}

/// A request that stops a run, a response to it, and the expected outcome.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::destinations) struct TestCancel {
    /// The destination's reference for the run.
    #[serde(default)]
    pub(in crate::destinations) reference: Option<String>,
    #[serde(default)]
    pub(in crate::destinations) url: Option<String>,
    pub(in crate::destinations) status: u16,
    #[serde(default)]
    pub(in crate::destinations) body: String,
    /// `delivered`, `later`, `site` or `permanent`.
    pub(in crate::destinations) outcome: String,
}

/// An expected follow-up request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::destinations) struct TestThen {
    pub(in crate::destinations) url: String,
    #[serde(default)]
    pub(in crate::destinations) body: Option<Value>,
    #[serde(default)]
    pub(in crate::destinations) parts: BTreeMap<String, Value>,
}
