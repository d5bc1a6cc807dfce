//! All that is said to a destination about one message: the question whether it has it already, the message, and what
//! follows it.
//!
//! Owns: the order of the requests, and what their outcomes come to together. Must not know: when to try again.

use minijinja::Value as Jinja;

use super::answer::{Meaning, Reading, with_answer};
use super::channel::HttpChannel;
use super::http::{MOST_LIST, Outgoing, Reply, Unanswered, site};
use super::preset::{Ask, Then};
use super::template::Scope;
use super::{Destination, Last, Need, OnUnknown, Outcome};
use crate::case::{Body, Message};

/// One try.
pub(super) struct Exchange<'a> {
    pub(super) destination: &'a Destination,
    pub(super) http: &'a HttpChannel,
    pub(super) message: &'a Message,
    pub(super) scope: &'a Scope,
    /// Seconds since the Unix epoch.
    pub(super) now: f64,
}

/// What the destination says of a message that may have arrived.
#[derive(Debug, PartialEq)]
pub(super) enum Known {
    /// It has it.
    There {
        /// What it calls it.
        reference: Option<String>,
    },
    /// It does not have it.
    Absent,
    /// It did not say now.
    NotNow(String),
    /// It will never say.
    Cannot(String),
}

impl Exchange<'_> {
    /// The outcome, with the status of the answer to the message where it was sent and answered.
    pub(super) async fn run(&self, last: Last) -> (Option<u16>, Outcome) {
        let held = last == Last::InDoubt && self.destination.on_unknown == OnUnknown::Hold;
        if let (Last::InDoubt | Last::InDoubtButWanted, Some(ask)) = (last, &self.destination.preset.ask) {
            match self.ask(ask).await {
                Known::There { reference } => return (None, self.follow(reference).await),
                Known::Absent => {}
                Known::NotNow(why) => return (None, Outcome::Unknown { why }),
                Known::Cannot(why) if held => return (None, Outcome::Held { why }),
                Known::Cannot(why) => self.warn(why, "it cannot say whether it has the message, which is sent again"),
            }
        }
        match self.send().await {
            (status, Outcome::Delivered { reference }) => (status, self.follow(reference).await),
            other => other,
        }
    }

    async fn send(&self) -> (Option<u16>, Outcome) {
        let body = match self.destination.body(self.message, self.scope) {
            Ok(body) => body,
            Err(why) => return (None, Outcome::Permanent { why }),
        };
        match self.http.client.send(self.http.carrying(&self.message.id, &body, self.now)).await {
            Ok(reply) => (Some(reply.status), self.understand(&reply)),
            Err(Unanswered::NotSent(why)) => (None, Outcome::Later { after: None, why }),
            Err(Unanswered::NoAnswer(why)) => (None, Outcome::Unknown { why }),
        }
    }

    pub(super) fn understand(&self, reply: &Reply) -> Outcome {
        // Only a suggested run can be refused for a knob that its script lacks.
        let overrides = match &self.message.body {
            Body::RunSuggested(run) => Some(&run.overrides),
            Body::CaseOpened(_)
            | Body::RunCancelled(_)
            | Body::StopSuggested(_)
            | Body::QuestionAsked(_)
            | Body::Notice(_)
            | Body::CaseClosed(_)
            | Body::Digest(_) => None,
        };
        let site = site(&self.http.url);
        let reading = Reading { site: &site, scope: self.scope, overrides, now: self.now };
        self.destination.preset.answers.read(reply, reading)
    }

    async fn ask(&self, ask: &Ask) -> Known {
        let request = match self.asking(ask) {
            Ok(request) => request,
            Err(why) => return Known::Cannot(why),
        };
        match self.http.client.send(request).await {
            Ok(reply) => self.known(ask, &reply),
            Err(Unanswered::NotSent(why) | Unanswered::NoAnswer(why)) => Known::NotNow(why),
        }
    }

    pub(super) fn asking(&self, ask: &Ask) -> Result<Outgoing, String> {
        let (preset, fields) = (&self.destination.preset, &self.destination.fields);
        let request = self.http.besides(&ask.request, preset, self.scope, fields)?;
        Ok(Outgoing { most_answer: MOST_LIST, ..request })
    }

    pub(super) fn known(&self, ask: &Ask, reply: &Reply) -> Known {
        let site = site(&self.http.url);
        let reading = Reading { site: &site, scope: self.scope, overrides: None, now: self.now };
        match ask.answers.meaning(reply, reading) {
            (Meaning::Delivered, _) => {}
            (Meaning::Absent, _) => return Known::Absent,
            (Meaning::Later | Meaning::Unknown, why) => return Known::NotNow(why),
            (Meaning::Permanent | Meaning::Refused, why) => return Known::Cannot(why),
        }
        let mut scope = with_answer(self.scope, reply);
        if scope.get("answer").is_none_or(Jinja::is_none) {
            return Known::Cannot(format!("{site} answered what is no JSON, or more than {MOST_LIST} bytes"));
        }
        let unsure = ask.unsure.as_ref().map_or(Ok(None), |unsure| ask.answers.part(unsure, &scope));
        match (ask.answers.part(&ask.found, &scope), unsure) {
            (Ok(Some(found)), _) => {
                scope.insert("found".to_owned(), found);
                Known::There { reference: ask.answers.reference_in(&scope) }
            }
            (Ok(None), Ok(None)) => Known::Absent,
            (Ok(None), Ok(Some(_))) => Known::Cannot(format!("{site} lists too much, or too little, to tell")),
            (Err(why), _) | (_, Err(why)) => Known::Cannot(format!("{site} answered in another form: {why}")),
        }
    }

    /// What follows the message once the destination has it. Where a request that must succeed did not, the next try
    /// asks for the message, finds it, and goes on from there.
    async fn follow(&self, reference: Option<String>) -> Outcome {
        let scope = self.after(reference.as_deref());
        for then in &self.destination.preset.then {
            let failed = match self.follow_one(then, &scope).await {
                None => continue,
                Some(failed) => failed,
            };
            if then.need == Need::Required {
                return failed;
            }
            if let Outcome::Permanent { why } | Outcome::Unknown { why } = failed {
                self.warn(why, "what should have followed a message failed");
            }
        }
        Outcome::Delivered { reference }
    }

    fn warn(&self, why: String, what: &str) {
        let (destination, id) = (&self.destination.name, &self.message.id);
        tracing::warn!(destination, id, why = self.destination.hidden(why), "{what}");
    }

    /// What templates of the requests that follow see.
    pub(super) fn after(&self, reference: Option<&str>) -> Scope {
        let mut scope = self.scope.clone();
        scope.insert("reference".to_owned(), reference.map_or(Jinja::from(()), Jinja::from));
        scope
    }

    /// The request, where its condition holds.
    pub(super) fn following(&self, then: &Then, scope: &Scope) -> Option<Result<Outgoing, String>> {
        let preset = &self.destination.preset;
        let holds = then.condition.as_ref().map(|condition| preset.holds(condition, scope, &then.name));
        match holds {
            Some(Ok(false)) => None,
            Some(Err(error)) => Some(Err(error.to_string())),
            Some(Ok(true)) | None => Some(self.http.besides(&then.request, preset, scope, &self.destination.fields)),
        }
    }

    async fn follow_one(&self, then: &Then, scope: &Scope) -> Option<Outcome> {
        let why = |why: String| format!("it has the message, but `{}` failed: {why}", then.name);
        let request = match self.following(then, scope)? {
            Ok(request) => request,
            Err(reason) => return Some(Outcome::Permanent { why: why(reason) }),
        };
        let reply = match self.http.client.send(request).await {
            Ok(reply) => reply,
            Err(Unanswered::NotSent(reason) | Unanswered::NoAnswer(reason)) => {
                return Some(Outcome::Unknown { why: why(reason) });
            }
        };
        let site = site(&self.http.url);
        let reading = Reading { site: &site, scope, overrides: None, now: self.now };
        match then.answers.meaning(&reply, reading) {
            (Meaning::Delivered, _) => None,
            (Meaning::Later | Meaning::Unknown, reason) => Some(Outcome::Unknown { why: why(reason) }),
            (_, reason) => Some(Outcome::Permanent { why: why(reason) }),
        }
    }
}
