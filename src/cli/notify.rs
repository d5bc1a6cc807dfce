//! `nextrun notify`: test a destination.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{Exit, plain, settings};
use crate::case::{Body, CaseId, Message, MessageKind};
use crate::config::Overrides;
use crate::daemon::{destination_of, now};
use crate::destinations::{Earlier, Outcome, SameId};

/// Test a destination.
#[derive(Debug, Subcommand)]
pub(super) enum Notify {
    /// Send a test message exactly as the daemon would: with the same template, signature and interpretation of the
    /// response. Nothing is stored.
    #[command(
        after_help = "Exit codes: 0 delivered, 1 rejected or no response, 2 could not send.\n\nExamples:\n  nextrun \
            notify test team --config /etc/nextrun/nextrun.yaml\n  nextrun notify test cluster --config nextrun.yaml \
            --kind run_suggested"
    )]
    Test {
        /// The name of the destination in the configuration.
        destination: String,
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The kind of message: case_opened, run_suggested, stop_suggested, question_asked or case_closed. A job queue
        /// may start the run of a run_suggested test; its command does nothing.
        #[arg(long, default_value = "case_opened", value_parser = kind)]
        kind: MessageKind,
    },
}

fn kind(name: &str) -> Result<MessageKind, String> {
    // A digest consists of other messages.
    let kind = serde_json::from_value(Value::String(name.to_owned())).ok().filter(|kind| *kind != MessageKind::Digest);
    kind.ok_or_else(|| "must be case_opened, run_suggested, stop_suggested, question_asked or case_closed".to_owned())
}

pub(super) fn run(command: &Notify) -> anyhow::Result<Exit> {
    let Notify::Test { destination: name, config, kind } = command;
    let settings = settings(Some(config), &Overrides::default())?;
    let wanted = settings.destinations.iter().find(|known| known.name == *name).with_context(|| {
        let known: Vec<&str> = settings.destinations.iter().map(|known| known.name.as_str()).collect();
        format!("the configuration has no destination {}; it has {}", plain(name), known.join(", "))
    })?;
    let destination = destination_of(&settings, wanted)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = io::stdout().lock();
    writeln!(out, "to      {}", plain(&destination.target()))?;
    // A destination that prints to the terminal needs the lock itself.
    drop(out);
    let (status, outcome) =
        runtime.block_on(destination.send(&Earlier::default(), &test_message(*kind, now())?, now()));
    let mut out = io::stdout().lock();
    match status {
        Some(status) => writeln!(out, "response  {status}")?,
        None => writeln!(out, "response  none")?,
    }
    let again = match destination.preset().same_id {
        SameId::Recognised => "the daemon sends it again",
        SameId::Repeated if destination.can_be_asked() => "the daemon asks the destination before it sends it again",
        SameId::Repeated => "the daemon sends it again or holds it, depending on `on_unknown`",
    };
    let (meaning, exit) = match &outcome {
        Outcome::Delivered { reference: None } => ("delivered".to_owned(), Exit::Healthy),
        Outcome::Delivered { reference: Some(name) } => {
            (format!("delivered; the receiver's id is {name}"), Exit::Healthy)
        }
        Outcome::Refused { why, .. } => (format!("permanently rejected: {why}"), Exit::Failing),
        Outcome::Later { why, .. } => (format!("the daemon would retry later: {why}"), Exit::Failing),
        Outcome::Unknown { why } => (format!("may have arrived; {again}: {why}"), Exit::Failing),
        Outcome::Held { why } => {
            (format!("may have arrived; the daemon holds it for a person to decide: {why}"), Exit::Failing)
        }
        Outcome::Site { why, .. } => (
            format!(
                "not accepted until an administrator fixes the problem; a suggested run would wait for this: {why}"
            ),
            Exit::Failing,
        ),
        Outcome::Settling { why, .. } | Outcome::Dropped { why } => (format!("not sent: {why}"), Exit::Failing),
        Outcome::Permanent { why } => (format!("the daemon would give up: {why}"), Exit::Failing),
    };
    writeln!(out, "means   {}", plain(&meaning))?;
    if !destination.wants.contains(kind) {
        writeln!(out, "note    the daemon does not send {} to this destination; see `wants`", kind.event_type())?;
    }
    Ok(exit)
}

/// A test message of the given kind, with all fields of that kind.
fn test_message(kind: MessageKind, now: f64) -> anyhow::Result<Message> {
    let said = "this is a test message from nextrun; no action is needed";
    let id = format!("test-{:x}", (now * 1000.0) as u64);
    let evidence = json!([{ "symptom": "non_finite", "severity": "info", "tag": "test", "first_step": 0, "last_step": 1,
        "summary": said, "numbers": {} }]);
    let data = json!({
        "test": true, "case_id": "test", "baseline_run": "nextrun-test", "policy": "test", "symptoms": ["non_finite"],
        "evidence": evidence, "loss_curve": [1.0, 0.5, 0.25], "advice": [said], "suggestion_id": id,
        "run_name": "nextrun-test", "state": "test", "attempt": 1, "command": "true",
        "env": { "NEXTRUN_SUGGESTION_ID": id }, "step": "test", "why": said, "hypothesis": "the destination works",
        "expect": "an answer", "checklist": [said], "verdict": "healthy", "confidence": 1.0, "summary": said,
    });
    let body = Body::read(kind, data).context("could not create a test message")?;
    Ok(Message { id, case: CaseId("test".to_owned()), subject: "nextrun-test".to_owned(), time: now, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DestinationSettings, FieldValue, Settings};
    use crate::destinations::{Field, FieldKind, Need, Preset};

    /// A valid setting. No server listens there, so a message that cannot be sent was at least rendered.
    fn setting(name: &str, field: &Field) -> FieldValue {
        let text = match (field.kind, name) {
            (FieldKind::Url, _) => "http://127.0.0.1:9/",
            (_, "server") => "127.0.0.1:9",
            (_, "socket") => "/nowhere/runner.sock",
            (_, "from" | "to") => "nextrun@example.org",
            _ => "x",
        };
        FieldValue::Plain(text.to_owned())
    }

    #[test]
    fn every_preset_can_say_a_test_message_of_every_kind() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for preset in Preset::names().filter(|preset| !["terminal", "tensorboard"].contains(preset)) {
            let mut wanted = DestinationSettings::new("it", preset);
            for (name, field) in &Preset::shipped(preset).unwrap().fields {
                if field.need == Need::Required {
                    wanted.fields.insert(name.clone(), setting(name, field));
                } else if name == "logdir" {
                    // One that is not there is waited for.
                    wanted.fields.insert(name.clone(), FieldValue::Plain("/does/not/exist".to_owned()));
                }
            }
            let destination = destination_of(&Settings::default(), &wanted).unwrap();
            for kind in destination.wants.iter().copied().filter(|kind| *kind != MessageKind::Digest) {
                let message = test_message(kind, 1.7e9).unwrap();
                let outcome = runtime.block_on(destination.deliver(&message, 1.7e9));
                assert!(matches!(outcome, Outcome::Later { .. }), "{preset} {kind:?}: {outcome:?}");
            }
        }
    }

    #[test]
    fn a_kind_that_there_is_not_is_told() {
        assert!(kind("case_closde").unwrap_err().contains("case_closed"));
    }
}
