//! Requests about an existing run: query its status, and stop it.
//!
//! Owns: conversion of a response to a status. Must not know: when to ask, the consequences of a status.

use minijinja::Value as Jinja;

use super::Outcome;
use super::answer::{Answers, Reading, with_answer};
use super::exchange::{Exchange, Known};
use super::http::{Outgoing, Reply, Unanswered, site};
use super::meaning::Meaning;
use super::preset::{Also, Cancel, Status, Tail};
use super::template::Scope;
use crate::fate::{Fate, FateState};

/// The destination's response about a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// The status of the run.
    Fate(Fate),
    /// The destination cannot tell now, with the reason.
    NotNow(String),
    /// The destination cannot tell, with the reason; a person must look into it.
    Cannot(String),
}

/// The response of one queried location.
#[derive(Debug, PartialEq)]
pub(super) enum Record {
    Fate(Fate),
    /// It has no record of the run.
    None,
    NotNow(String),
    Cannot(String),
}

impl Exchange<'_> {
    /// Queries the status of the run with this reference. If no location has a record of it, the run is gone.
    pub(super) async fn fate(&self, status: &Status, reference: Option<&str>) -> Told {
        let scope = self.after(reference);
        let mut asked = Some(status);
        while let Some(status) = asked {
            asked = status.otherwise.as_deref();
            match self.record(status, &scope).await {
                Record::Fate(fate) => return Told::Fate(self.with_tail(status, &scope, fate).await.bounded()),
                Record::NotNow(why) => return Told::NotNow(why),
                Record::Cannot(why) => return Told::Cannot(why),
                Record::None => {}
            }
        }
        Told::Fate(Fate::new(FateState::Gone))
    }

    async fn record(&self, status: &Status, scope: &Scope) -> Record {
        let preset = &self.destination.preset;
        match status.condition.as_ref().map(|condition| preset.holds(condition, scope, "status.if")) {
            Some(Ok(false)) => return Record::None,
            Some(Err(error)) => return Record::Cannot(error.to_string()),
            Some(Ok(true)) | None => {}
        }
        let request = match self.asking_status(status, scope) {
            Ok(request) => request,
            Err(why) => return Record::Cannot(why),
        };
        let mut scope = match self.http.client.send(request).await.map(|reply| self.told(status, scope, &reply)) {
            Ok(Ok(scope)) => scope,
            Ok(Err(record)) => return record,
            Err(Unanswered::NotSent(why) | Unanswered::NoAnswer(why)) => return Record::NotNow(why),
        };
        for also in &status.also {
            let request = match self.asking_also(also, &scope) {
                Ok(Some(request)) => request,
                Ok(None) => continue,
                Err(why) => return Record::Cannot(why),
            };
            match self.http.client.send(request).await {
                // A missing permission, or a component that this site does not have, makes the status less precise.
                Ok(reply) if matches!(reply.status, 200 | 403 | 404) => also.insert(&mut scope, &reply),
                Ok(reply) => return Record::NotNow(format!("{}: HTTP {}", also.name, reply.status)),
                Err(Unanswered::NotSent(why) | Unanswered::NoAnswer(why)) => return Record::NotNow(why),
            }
        }
        self.recorded(status, scope)
    }

    /// An additional request for the status; skipped if its condition is false.
    pub(super) fn asking_also(&self, also: &Also, scope: &Scope) -> Result<Option<Outgoing>, String> {
        let preset = &self.destination.preset;
        if let Some(condition) = &also.condition
            && !preset.holds(condition, scope, "also.if").map_err(|error| error.to_string())?
        {
            return Ok(None);
        }
        self.http.besides(&also.request, preset, scope, self.current).map(Some)
    }

    pub(super) fn asking_status(&self, status: &Status, scope: &Scope) -> Result<Outgoing, String> {
        self.http.besides(&status.request, &self.destination.preset, scope, self.current)
    }

    /// The values available to expressions after the destination has responded.
    ///
    /// # Errors
    /// The destination has not responded.
    pub(super) fn told(&self, status: &Status, scope: &Scope, reply: &Reply) -> Result<Scope, Record> {
        let site = site(&self.http.url);
        let reading = Reading { site: &site, scope, overrides: None, now: self.now };
        match status.answers.meaning(reply, reading) {
            (Meaning::Delivered, _) => {}
            (Meaning::Absent, _) => return Err(Record::None),
            (Meaning::Later | Meaning::Unknown, why) => return Err(Record::NotNow(why)),
            (Meaning::Site | Meaning::Permanent | Meaning::Refused | Meaning::ByCode, why) => {
                return Err(Record::Cannot(why));
            }
        }
        let scope = with_answer(scope, reply);
        if scope.get("answer").is_none_or(Jinja::is_none) {
            return Err(Record::NotNow(format!("{site} returned invalid JSON, or more data than the limit")));
        }
        Ok(scope)
    }

    /// The status of the run according to all responses.
    pub(super) fn recorded(&self, status: &Status, scope: Scope) -> Record {
        let site = site(&self.http.url);
        read(status, scope).unwrap_or_else(|why| Record::Cannot(format!("{site} returned an unexpected format: {why}")))
    }

    /// The last lines of the log, if the run has ended and the destination has them. They are useful, but the status
    /// does not wait for them.
    async fn with_tail(&self, status: &Status, scope: &Scope, fate: Fate) -> Fate {
        let Some(tail) = status.tail.as_ref().filter(|_| fate.state.is_final()) else { return fate };
        let request = self.http.besides(&tail.request, &self.destination.preset, scope, self.current);
        let reply = match request {
            Ok(request) => self.http.client.send(request).await.ok().filter(|reply| reply.status == 200),
            Err(why) => {
                self.warn(why, "the log of a run cannot be requested");
                None
            }
        };
        let text = reply.and_then(|reply| tail_in(tail, &status.answers, &with_answer(scope, &reply)));
        Fate { tail: text.or(fate.tail), ..fate }
    }

    /// Stops the run with this reference, or reports that the destination no longer has it.
    pub(super) async fn cancel(&self, cancel: &Cancel, reference: Option<&str>) -> Outcome {
        let scope = self.after(reference);
        let request = match self.cancelling(cancel, &scope) {
            Ok(request) => request,
            Err(why) => return Outcome::Permanent { why },
        };
        match self.http.client.send(request).await {
            Ok(reply) => self.cancelled(cancel, &scope, &reply),
            // Stopping twice has the same effect as stopping once.
            Err(Unanswered::NotSent(why) | Unanswered::NoAnswer(why)) => Outcome::Later { after: None, why },
        }
    }

    pub(super) fn cancelling(&self, cancel: &Cancel, scope: &Scope) -> Result<Outgoing, String> {
        self.http.besides(&cancel.request, &self.destination.preset, scope, self.current)
    }

    pub(super) fn cancelled(&self, cancel: &Cancel, scope: &Scope, reply: &Reply) -> Outcome {
        let site = site(&self.http.url);
        let reading = Reading { site: &site, scope, overrides: None, now: self.now };
        match cancel.answers.meaning(reply, reading) {
            (Meaning::Delivered | Meaning::Absent, _) => Outcome::Delivered { reference: None },
            (Meaning::Later | Meaning::Unknown, why) => Outcome::Later { after: reply.wait(self.now), why },
            (Meaning::Site, why) => Outcome::Site { in_doubt: false, why },
            (Meaning::Permanent | Meaning::Refused | Meaning::ByCode, why) => Outcome::Permanent { why },
        }
    }

    /// Cancels duplicates at the destination.
    pub(super) async fn cancel_all_but(&self, kept: Option<&str>, all: &[String]) {
        let Some((cancel, kept)) = self.destination.preset.cancel.as_ref().zip(kept) else { return };
        for reference in all.iter().filter(|reference| *reference != kept) {
            tracing::warn!(
                destination = self.destination.name,
                id = self.message.id,
                reference,
                "the destination has the same run twice; all but one will be cancelled"
            );
            if let Outcome::Later { why, .. } | Outcome::Permanent { why } | Outcome::Site { why, .. } =
                self.cancel(cancel, Some(reference)).await
            {
                self.warn(why, "could not cancel a duplicate run");
            }
        }
    }

    /// Cancels the remains of a message that may have arrived twice: a request that was presumed lost may arrive after
    /// its replacement.
    pub(super) async fn tidy(&self, kept: &str) {
        let Some(ask) = self.destination.preset.ask.as_ref().filter(|ask| ask.all.is_some()) else { return };
        if let Known::There { all, .. } = self.ask(ask).await {
            self.cancel_all_but(Some(kept), &all).await;
        }
    }
}

impl Also {
    /// Makes the response available to expressions by its name; empty if it is not JSON.
    pub(super) fn insert(&self, scope: &mut Scope, reply: &Reply) {
        let answer = with_answer(&Scope::new(), reply).remove("answer").unwrap_or_default();
        scope.insert(self.name.clone(), answer);
    }
}

fn tail_in(tail: &Tail, answers: &Answers, scope: &Scope) -> Option<String> {
    let part = answers.part(&tail.text, scope).ok()??;
    part.as_str().map(str::to_owned)
}

/// The status in a response. An error means that the response has a different format than the preset expects.
fn read(status: &Status, mut scope: Scope) -> Result<Record, String> {
    let answers = &status.answers;
    let Some(job) = answers.part(&status.job, &scope)? else { return Ok(Record::None) };
    scope.insert("job".to_owned(), job);
    for (name, expression) in &status.with {
        let value = answers.value(expression, &scope)?;
        scope.insert(name.clone(), value);
    }
    let text = |expression: &Option<String>| -> Result<Option<String>, String> {
        let Some(expression) = expression else { return Ok(None) };
        let part = answers.part(expression, &scope)?;
        Ok(part.map(|part| part.to_string()))
    };
    let number = |expression: &Option<String>| -> Result<Option<i64>, String> {
        let Some(expression) = expression else { return Ok(None) };
        let value = answers.value(expression, &scope)?;
        Ok(if value.is_undefined() || value.is_none() { None } else { i64::try_from(value).ok() })
    };
    for rule in &status.fates {
        let applies = match &rule.when {
            Some(when) => answers.part(when, &scope)?.is_some(),
            None => true,
        };
        if applies {
            return Ok(Record::Fate(Fate {
                reason: text(&status.reason)?,
                exit_code: number(&status.exit_code)?.and_then(|code| i32::try_from(code).ok()),
                signal: number(&status.signal)?.and_then(|signal| i32::try_from(signal).ok()),
                attempt: number(&status.attempt)?.and_then(|attempt| u32::try_from(attempt).ok()),
                ..Fate::new(rule.fate)
            }));
        }
    }
    Err("no rule of the preset's `fates` applies".to_owned())
}
