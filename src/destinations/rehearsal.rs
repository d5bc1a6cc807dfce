//! Runs the tests in presets: the request for a message, and the interpretation of a response.
//!
//! Owns: their execution; sends nothing. Must not know: which presets exist.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::engine::Record;
use super::exchange::{Exchange, Known};
use super::http::{Http, Outgoing, Reply, Timeouts};
use super::preset::{PresetTest, TestAnswer, TestAsk, TestCancel, TestFate, TestThen};
use super::{Channel, Destination, Outcome, Preset, Secret, Setup, Surroundings};

impl Preset {
    /// Runs the tests in the preset, and returns one text per failed test.
    pub fn failures(self: &Arc<Self>) -> Vec<String> {
        self.tests
            .iter()
            .filter_map(|test| run(self, test).err().map(|why| format!("{}: {}: {why}", self.name, test.name)))
            .collect()
    }

    /// What each test in the preset sends: its name, the address, and the body.
    ///
    /// # Errors
    /// Why a test sends nothing.
    pub fn rehearsed(self: &Arc<Self>) -> Result<Vec<(String, String, Value)>, String> {
        let sent = self.tests.iter().filter(|test| test.cancel.is_none()).map(|test| {
            let told = |why: String| format!("{}: {}: {why}", self.name, test.name);
            let (destination, message) = (destination(self, test).map_err(told)?, test.message().map_err(told)?);
            let scope = destination.scope(&message, test.thread.as_deref()).map_err(told)?;
            let body = destination.body(&message, &scope).map_err(told)?;
            Ok((test.name.clone(), destination.target(), body))
        });
        sent.collect()
    }

    /// The number of tests in the preset.
    pub fn test_count(&self) -> usize {
        self.tests.len()
    }
}

fn run(preset: &Arc<Preset>, test: &PresetTest) -> Result<(), String> {
    let (destination, message) = (destination(preset, test)?, test.message()?);
    let scope = destination.scope(&message, test.thread.as_deref())?;
    let current = destination.current(&message)?;
    if let (Some(want), Channel::Http(http)) = (&test.cancel, &destination.channel) {
        let (destination, message, scope, current) = (&destination, &message, &scope, &current);
        return stopped(&Exchange { destination, http, message, scope, current, now: message.time }, want);
    }
    let body = destination.body(&message, &scope)?;
    compare("the body", &body, test.body.as_ref(), &test.parts)?;
    let Channel::Http(http) = &destination.channel else { return Ok(()) };
    let (now, current) = (message.time, &current);
    let exchange = Exchange { destination: &destination, http, message: &message, scope: &scope, current, now };
    let request = http.carrying(&message.id, &body, current, now);
    if let Some(url) = &test.url {
        same("the address", request.url.as_str(), url)?;
    }
    for (name, want) in &test.headers {
        let got = request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("(absent)");
        same(&format!("the header {name}"), got, want)?;
    }
    let mut reference = None;
    if let Some(want) = &test.answer {
        let reply = Reply { status: want.status, retry_after: None, body: want.body.clone() };
        let outcome = exchange.understand(&reply).map_texts(|text| current.hidden(text));
        reference.clone_from(&want.reference);
        check(outcome, want)?;
    }
    test.ask.as_ref().map_or(Ok(()), |want| asked(&exchange, want))?;
    test.fates.iter().try_for_each(|want| became(&exchange, want))?;
    test.then.as_ref().map_or(Ok(()), |want| followed(&exchange, reference.as_deref(), want))
}

fn asked(exchange: &Exchange<'_>, want: &TestAsk) -> Result<(), String> {
    let mut ask = exchange.destination.preset.ask.as_ref().ok_or("the preset has no `ask`")?;
    for _ in 1..want.place {
        ask = ask.otherwise.as_deref().ok_or("the preset has fewer locations to query")?;
    }
    let request = exchange.asking(ask)?;
    if let Some(url) = &want.url {
        same("the address of the query", request.url.as_str(), url)?;
    }
    let reply = Reply { status: want.status, retry_after: None, body: want.body.clone() };
    let (says, reference, all) = match exchange.known(ask, &reply) {
        Known::There { reference, all } => ("there", reference, all),
        Known::Absent => ("absent", None, Vec::new()),
        Known::NotNow(_) => ("not_now", None, Vec::new()),
        Known::Site(_) => ("site", None, Vec::new()),
        Known::Cannot(_) => ("cannot", None, Vec::new()),
    };
    same("the response to the query", says, &want.says)?;
    if let Some(want) = &want.all {
        same("the references of all copies", &all.join(", "), &want.join(", "))?;
    }
    same("the reference", &format!("{reference:?}"), &format!("{:?}", want.reference))
}

/// The interpretation of a response about a run.
fn became(exchange: &Exchange<'_>, want: &TestFate) -> Result<(), String> {
    let mut status = exchange.destination.preset.status.as_ref().ok_or("the preset has no `status`")?;
    for _ in 1..want.place {
        status = status.otherwise.as_deref().ok_or("the preset has fewer locations to query")?;
    }
    let scope = exchange.after(want.reference.as_deref());
    let request = exchange.asking_status(status, &scope)?;
    if let Some(url) = &want.url {
        same("the address of the status query", request.url.as_str(), url)?;
    }
    let reply = Reply { status: want.status, retry_after: None, body: want.body.clone() };
    let record = match exchange.told(status, &scope, &reply) {
        Ok(mut scope) => {
            for also in &status.also {
                let Some(request) = exchange.asking_also(also, &scope)? else { continue };
                let given = want.also.get(&also.name);
                if let Some(url) = given.and_then(|given| given.url.as_ref()) {
                    same(&format!("the address of {}", also.name), request.url.as_str(), url)?;
                }
                let body = given.map_or_else(String::new, |given| given.body.clone());
                let status = if given.is_some() { 200 } else { 404 };
                also.insert(&mut scope, &Reply { status, retry_after: None, body });
            }
            exchange.recorded(status, scope)
        }
        Err(record) => record,
    };
    let fate = match record {
        Record::Fate(fate) => fate,
        Record::None => return same("the status", "none", &want.says),
        Record::NotNow(_) => return same("the status", "not_now", &want.says),
        Record::Cannot(why) => {
            return same("the status", "cannot", &want.says).map_err(|no| format!("{no}: {why}"));
        }
    };
    same("the status", fate.state.word(), &want.says)?;
    same("the reason", &format!("{:?}", fate.reason), &format!("{:?}", want.reason))?;
    let numbers = (fate.exit_code, fate.signal, fate.attempt);
    let wanted = (want.exit_code, want.signal, want.attempt);
    same("exit code, signal and attempt", &format!("{numbers:?}"), &format!("{wanted:?}"))
}

fn stopped(exchange: &Exchange<'_>, want: &TestCancel) -> Result<(), String> {
    let cancel = exchange.destination.preset.cancel.as_ref().ok_or("the preset has no `cancel`")?;
    let scope = exchange.after(want.reference.as_deref());
    let request = exchange.cancelling(cancel, &scope)?;
    if let Some(url) = &want.url {
        let method = format!("{:?}", request.method).to_uppercase();
        same("the request that stops it", &format!("{method} {}", request.url), url)?;
    }
    let reply = Reply { status: want.status, retry_after: None, body: want.body.clone() };
    same("the outcome", name_of(&exchange.cancelled(cancel, &scope, &reply)), &want.outcome)
}

fn name_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered { .. } => "delivered",
        Outcome::Refused { .. } => "refused",
        Outcome::Later { .. } => "later",
        Outcome::Unknown { .. } => "unknown",
        Outcome::Held { .. } => "held",
        Outcome::Site { .. } => "site",
        Outcome::Settling { .. } => "settling",
        Outcome::Dropped { .. } => "dropped",
        Outcome::Permanent { .. } => "permanent",
    }
}

fn followed(exchange: &Exchange<'_>, reference: Option<&str>, want: &[TestThen]) -> Result<(), String> {
    let scope = exchange.after(reference);
    let all = exchange.destination.preset.then.iter().filter_map(|then| exchange.following(then, &scope));
    let requests: Vec<Outgoing> = all.collect::<Result<_, _>>()?;
    same("the number of follow-up requests", &requests.len().to_string(), &want.len().to_string())?;
    for (request, want) in requests.iter().zip(want) {
        same("the address of the follow-up request", request.url.as_str(), &want.url)?;
        let sent = request.body.as_deref().unwrap_or(b"null");
        let body: Value = serde_json::from_slice(sent).map_err(|error| error.to_string())?;
        compare("the body of the follow-up request", &body, want.body.as_ref(), &want.parts)?;
    }
    Ok(())
}

fn compare(what: &str, got: &Value, whole: Option<&Value>, parts: &BTreeMap<String, Value>) -> Result<(), String> {
    // The order of an object's fields is not significant.
    if let Some(want) = whole.filter(|want| *want != got) {
        same(what, &format!("{got:#}"), &format!("{want:#}"))?;
    }
    for (pointer, want) in parts {
        let got = got.pointer(pointer).ok_or_else(|| format!("{what} has no {pointer}:\n{got:#}"))?;
        same(&format!("{pointer} of {what}"), &format!("{got:#}"), &format!("{want:#}"))?;
    }
    Ok(())
}

fn destination(preset: &Arc<Preset>, test: &PresetTest) -> Result<Destination, String> {
    let surroundings = Surroundings {
        host: "login1".to_owned(),
        http: Http::new(Timeouts::default()),
        terminal: Arc::new(Mutex::new(std::io::sink())),
    };
    let fields = test.fields.iter().map(|(name, value)| (name.clone(), Secret::new(value))).collect();
    let setup = Setup { name: preset.name.clone(), fields, ..Setup::default() };
    Destination::new(Arc::clone(preset), setup, &surroundings).map_err(|error| error.to_string())
}

fn check(outcome: Outcome, want: &TestAnswer) -> Result<(), String> {
    let name = name_of(&outcome);
    let why = match outcome {
        Outcome::Delivered { reference } => {
            same("the reference", &format!("{reference:?}"), &format!("{:?}", want.reference))?;
            String::new()
        }
        Outcome::Refused { unknown_knobs, why } => {
            let wanted = want.unknown_knobs.clone().unwrap_or_default();
            same("the unknown knobs", &unknown_knobs.join(", "), &wanted.join(", "))?;
            why
        }
        Outcome::Later { why, .. }
        | Outcome::Unknown { why }
        | Outcome::Held { why }
        | Outcome::Site { why, .. }
        | Outcome::Settling { why, .. }
        | Outcome::Dropped { why }
        | Outcome::Permanent { why } => why,
    };
    same("the outcome", name, &want.outcome)?;
    match want.why.as_deref().filter(|part| !why.contains(*part)) {
        Some(part) => Err(format!("the reason {why:?} does not contain {part:?}")),
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
            ("why: train.py", "why: test.py", "does not contain"),
        ] {
            assert!(yaml.contains(right), "{right}");
            let failures = Arc::new(Preset::parse("queue", &yaml.replace(right, wrong)).unwrap()).failures();
            assert!(failures.len() == 1 && failures[0].contains(told), "{failures:?}");
        }
    }
}
