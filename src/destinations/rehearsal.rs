//! The tests that stand in presets: what becomes of a message, and what an answer to it means.
//!
//! Owns: their form, and running them; nothing is sent. Must not know: which presets there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde_json::Value;

use super::http::{Http, Reply, Timeouts};
use super::{Channel, Destination, Outcome, Preset, Secret, Setup, Surroundings};
use crate::case::{CaseId, Message, MessageKind};

/// A test that stands in a preset: what becomes of a message, and what an answer to it means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PresetTest {
    pub(super) name: String,
    /// The destination's settings.
    #[serde(default)]
    pub(super) fields: BTreeMap<String, String>,
    pub(super) message: TestMessage,
    /// Headers that the request must have.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// The body that must come out, whole.
    #[serde(default)]
    pub(super) body: Option<Value>,
    #[serde(default)]
    pub(super) answer: Option<TestAnswer>,
}

/// A message of a test; what is left out has a fixed value.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestMessage {
    pub(super) kind: MessageKind,
    pub(super) data: Value,
}

/// An answer, and the outcome that must follow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestAnswer {
    pub(super) status: u16,
    #[serde(default)]
    pub(super) body: String,
    /// `delivered`, `refused`, `later` or `permanent`.
    pub(super) outcome: String,
    #[serde(default)]
    pub(super) reference: Option<String>,
    #[serde(default)]
    pub(super) unknown_knobs: Option<Vec<String>>,
    /// A text that the reason must hold.
    #[serde(default)]
    pub(super) why: Option<String>,
}

impl Preset {
    /// Runs the tests that stand in the preset, and returns what did not go as they say, one text a test.
    pub fn failures(self: &Arc<Self>) -> Vec<String> {
        self.tests
            .iter()
            .filter_map(|test| run(self, test).err().map(|why| format!("{}: {}: {why}", self.name, test.name)))
            .collect()
    }
}

fn run(preset: &Arc<Preset>, test: &PresetTest) -> Result<(), String> {
    let destination = destination(preset, test)?;
    let message = Message {
        id: "m1".to_owned(),
        case: CaseId("c1".to_owned()),
        kind: test.message.kind,
        subject: "resnet/7".to_owned(),
        time: 1_763_841_600.25,
        data: test.message.data.clone(),
    };
    let body = destination.body(&message)?;
    if let Some(want) = &test.body {
        same("the body", &format!("{body:#}"), &format!("{want:#}"))?;
    }
    let Channel::Http(channel) = &destination.channel else { return Ok(()) };
    let (headers, _) = channel.request(&message, &body, message.time);
    for (name, want) in &test.headers {
        let got = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("(absent)");
        same(&format!("the header {name}"), got, want)?;
    }
    let Some(want) = &test.answer else { return Ok(()) };
    let reply = Reply { status: want.status, retry_after: None, body: want.body.clone() };
    check(destination.understand(&message, &channel.url, &reply, message.time), want)
}

fn destination(preset: &Arc<Preset>, test: &PresetTest) -> Result<Destination, String> {
    let surroundings = Surroundings {
        host: "login1".to_owned(),
        http: Http::new(Timeouts::default()).map_err(|error| error.to_string())?,
        terminal: Arc::new(Mutex::new(std::io::sink())),
    };
    let fields = test.fields.iter().map(|(name, value)| (name.clone(), Secret::new(value))).collect();
    let setup = Setup { name: preset.name.clone(), fields, ..Setup::default() };
    Destination::new(Arc::clone(preset), setup, &surroundings).map_err(|error| error.to_string())
}

fn check(outcome: Outcome, want: &TestAnswer) -> Result<(), String> {
    let (name, why) = match outcome {
        Outcome::Delivered { reference } => {
            same("the reference", &format!("{reference:?}"), &format!("{:?}", want.reference))?;
            ("delivered", String::new())
        }
        Outcome::Refused { unknown_knobs, why } => {
            let wanted = want.unknown_knobs.clone().unwrap_or_default();
            same("the unknown knobs", &unknown_knobs.join(", "), &wanted.join(", "))?;
            ("refused", why)
        }
        Outcome::Later { why, .. } => ("later", why),
        Outcome::Unknown { why } => ("unknown", why),
        Outcome::Permanent { why } => ("permanent", why),
    };
    same("the outcome", name, &want.outcome)?;
    match want.why.as_deref().filter(|part| !why.contains(*part)) {
        Some(part) => Err(format!("the reason {why:?} does not hold {part:?}")),
        None => Ok(()),
    }
}

fn same(what: &str, got: &str, want: &str) -> Result<(), String> {
    if got == want { Ok(()) } else { Err(format!("{what} is\n{got}\ninstead of\n{want}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_preset_passes_its_own_tests() {
        for name in Preset::names() {
            let failures = Arc::new(Preset::shipped(name).unwrap()).failures();
            assert!(failures.is_empty(), "{}", failures.join("\n"));
        }
    }

    #[test]
    fn a_test_that_does_not_hold_is_told() {
        let yaml = include_str!("presets/queue.yaml");
        for (right, wrong, told) in [
            ("job_id\": 4711", "job_id\": 4712", "the reference"),
            ("authorization: Bearer t0k3n", "authorization: Bearer t", "the header authorization"),
            ("id: m1\n      source", "id: m2\n      source", "the body"),
            ("outcome: permanent", "outcome: later", "the outcome"),
            ("unknown_knobs: [batch_norm]", "unknown_knobs: [loss]", "the unknown knobs"),
            ("why: train.py", "why: test.py", "does not hold"),
        ] {
            assert!(yaml.contains(right), "{right}");
            let failures = Arc::new(Preset::parse("queue", &yaml.replace(right, wrong)).unwrap()).failures();
            assert!(failures.len() == 1 && failures[0].contains(told), "{failures:?}");
        }
    }
}
