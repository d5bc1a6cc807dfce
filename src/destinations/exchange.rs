//! All requests for one message: the query whether the destination already has it, the message itself, and follow-up
//! requests.
//!
//! Owns: the order of the requests, and their combined outcome. Must not know: when to retry.

use minijinja::Value as Jinja;
use serde_json::Value;

use super::answer::{Reading, with_answer};
use super::channel::HttpChannel;
use super::current::Current;
use super::http::{Outgoing, Reply, Unanswered, site};
use super::meaning::Meaning;
use super::picture;
use super::preset::{Ask, PictureBy, Then};
use super::slack::{Upload, with_block};
use super::template::Scope;
use super::{Destination, Earlier, Last, Need, OnUnknown, Outcome, Step};
use crate::case::{Body, Message};

/// One attempt.
pub(super) struct Exchange<'a> {
    pub(super) destination: &'a Destination,
    pub(super) http: &'a HttpChannel,
    pub(super) message: &'a Message,
    pub(super) scope: &'a Scope,
    /// The current settings.
    pub(super) current: &'a Current,
    /// Seconds since the Unix epoch.
    pub(super) now: f64,
}

/// The destination's response about a message that may have arrived.
#[derive(Debug, PartialEq)]
pub(super) enum Known {
    /// It has the message.
    There {
        /// Its reference.
        reference: Option<String>,
        /// The references of all copies of this message, if the preset lists them.
        all: Vec<String>,
    },
    /// It does not have the message.
    Absent,
    /// It could not tell now.
    NotNow(String),
    /// It can tell once an administrator has fixed a problem.
    Site(String),
    /// It will never be able to tell.
    Cannot(String),
}

impl Exchange<'_> {
    /// The first half of an attempt: everything until the destination has the message. Also returns the status of the
    /// response to the message, if there was one.
    pub(super) async fn submit(&self, earlier: &Earlier) -> (Option<u16>, Step) {
        let done = |outcome| (None, Step::Done(outcome));
        if let Some(reference) = &earlier.reference {
            return (None, self.accepted(Some(reference.clone()), earlier));
        }
        if let (Last::InDoubt | Last::InDoubtButWanted, Some(ask)) = (earlier.last, &self.destination.preset.ask) {
            let held = earlier.last == Last::InDoubt && self.destination.on_unknown == OnUnknown::Hold;
            match self.ask(ask).await {
                Known::There { reference, all } => {
                    self.cancel_all_but(reference.as_deref(), &all).await;
                    return (None, self.accepted(reference, earlier));
                }
                Known::Absent if !ask.grace.is_zero() && !self.is_settled(ask, earlier) => {
                    let site = site(&self.http.url);
                    let why =
                        format!("{site} does not have it; nextrun will ask once more because it may still arrive");
                    return done(Outcome::Settling { after: ask.grace, why });
                }
                Known::Absent => {}
                Known::NotNow(why) => return done(Outcome::Unknown { why }),
                Known::Site(why) => return done(Outcome::Site { in_doubt: true, why }),
                Known::Cannot(why) if held => return done(Outcome::Held { why }),
                Known::Cannot(why) => {
                    self.warn(why, "it cannot tell whether it has the message, so the message is sent again")
                }
            }
        }
        if earlier.unwanted {
            return done(Outcome::Dropped { why: "it was cancelled before it was sent".to_owned() });
        }
        match self.send().await {
            (status, Outcome::Delivered { reference }) => (status, self.accepted(reference, earlier)),
            (status, other) => (status, Step::Done(other)),
        }
    }

    /// Whether it has been absent for long enough.
    fn is_settled(&self, ask: &Ask, earlier: &Earlier) -> bool {
        earlier.absent_since.is_some_and(|since| self.now - since >= ask.grace.as_secs_f64())
    }

    /// The destination has the message: follow-up requests are due, unless it is no longer needed.
    fn accepted(&self, reference: Option<String>, earlier: &Earlier) -> Step {
        if earlier.unwanted || self.destination.preset.then.is_empty() {
            Step::Done(Outcome::Delivered { reference })
        } else {
            Step::Accepted { reference }
        }
    }

    async fn send(&self) -> (Option<u16>, Outcome) {
        let body = match self.destination.body(self.message, self.scope) {
            Ok(body) => body,
            Err(why) => return (None, Outcome::Permanent { why }),
        };
        if let Some(block) = self.picture().await {
            match self.post(&with_block(body.clone(), block)).await {
                // Slack may not have the picture ready, whatever it says of it. Nothing was posted then.
                Ok(reply) if reply.body.contains("invalid_blocks") => {}
                posted => return self.come_to(posted),
            }
        }
        let posted = self.post(&body).await;
        self.come_to(posted)
    }

    async fn post(&self, body: &Value) -> Result<Reply, Unanswered> {
        self.http.client.send(self.http.carrying(&self.message.id, body, self.current, self.now)).await
    }

    fn come_to(&self, posted: Result<Reply, Unanswered>) -> (Option<u16>, Outcome) {
        match posted {
            Ok(reply) => (Some(reply.status), self.understand(&reply)),
            Err(Unanswered::NotSent(why)) => (None, Outcome::Later { after: None, why }),
            Err(Unanswered::NoAnswer(why)) => (None, Outcome::Unknown { why }),
        }
    }

    /// The block that shows the curves of the message, where the preset has pictures and this one can be shown.
    async fn picture(&self) -> Option<Value> {
        let PictureBy::Slack = self.destination.preset.picture?;
        let picture = picture::of(self.message).await?;
        let allowed_hosts = self.http.allowed_hosts.as_deref();
        match (Upload { http: self.http, current: self.current, allowed_hosts }).block(&picture).await {
            Ok(block) => Some(block),
            Err(why) => {
                let (destination, id) = (&self.destination.name, &self.message.id);
                tracing::info!(destination, id, why = self.current.hidden(why), "a message goes without its picture");
                None
            }
        }
    }

    pub(super) fn understand(&self, reply: &Reply) -> Outcome {
        // Only a suggested run can be refused because the script does not support a knob.
        let overrides = match &self.message.body {
            Body::RunSuggested(run) => Some(&run.overrides),
            Body::CaseOpened(_)
            | Body::ApprovalAsked(_)
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

    /// Queries the destination, and a further location if the message is absent.
    pub(super) async fn ask(&self, ask: &Ask) -> Known {
        let mut asked = Some(ask);
        while let Some(ask) = asked {
            asked = ask.otherwise.as_deref();
            match ask.condition.as_ref().map(|condition| self.holds(condition)) {
                Some(Ok(false)) => continue,
                Some(Err(why)) => return Known::Cannot(why),
                Some(Ok(true)) | None => {}
            }
            match self.ask_one(ask).await {
                Known::Absent => {}
                known => return known,
            }
        }
        Known::Absent
    }

    fn holds(&self, condition: &str) -> Result<bool, String> {
        self.destination.preset.holds(condition, self.scope, "if").map_err(|error| error.to_string())
    }

    async fn ask_one(&self, ask: &Ask) -> Known {
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
        self.http.besides(&ask.request, &self.destination.preset, self.scope, self.current)
    }

    pub(super) fn known(&self, ask: &Ask, reply: &Reply) -> Known {
        let site = site(&self.http.url);
        let reading = Reading { site: &site, scope: self.scope, overrides: None, now: self.now };
        match ask.answers.meaning(reply, reading) {
            (Meaning::Delivered, _) => {}
            (Meaning::Absent, _) => return Known::Absent,
            (Meaning::Later | Meaning::Unknown, why) => return Known::NotNow(why),
            (Meaning::Site, why) => return Known::Site(why),
            (Meaning::Permanent | Meaning::Refused | Meaning::ByCode, why) => return Known::Cannot(why),
        }
        let mut scope = with_answer(self.scope, reply);
        if scope.get("answer").is_none_or(Jinja::is_none) {
            return Known::Cannot(format!("{site} returned invalid JSON, or more data than the limit"));
        }
        let unsure = ask.unsure.as_ref().map_or(Ok(None), |unsure| ask.answers.part(unsure, &scope));
        match (ask.answers.part(&ask.found, &scope), unsure) {
            (Ok(Some(found)), _) => {
                scope.insert("found".to_owned(), found);
                let all = ask.all.as_ref().map_or(Ok(None), |all| ask.answers.part(all, &scope));
                let all = all.ok().flatten().and_then(|list| list.try_iter().ok());
                let all = all.into_iter().flatten().map(|one| one.to_string()).collect();
                Known::There { reference: ask.answers.reference_in(&scope), all }
            }
            (Ok(None), Ok(None)) => Known::Absent,
            (Ok(None), Ok(Some(_))) => Known::Cannot(format!("{site} lists too much, or too little, to tell")),
            (Err(why), _) | (_, Err(why)) => Known::Cannot(format!("{site} returned an unexpected format: {why}")),
        }
    }

    /// The second half of an attempt: follow-up requests once the destination has the message. If a required request
    /// fails, the next attempt continues here.
    pub(super) async fn follow(&self, reference: Option<String>) -> Outcome {
        let scope = self.after(reference.as_deref());
        for then in &self.destination.preset.then {
            let failed = match self.follow_one(then, &scope).await {
                None => continue,
                Some(failed) => failed,
            };
            if then.need == Need::Required {
                return failed;
            }
            if let Outcome::Permanent { why } | Outcome::Unknown { why } | Outcome::Site { why, .. } = failed {
                self.warn(why, "a follow-up request of a message failed");
            }
        }
        Outcome::Delivered { reference }
    }

    pub(super) fn warn(&self, why: String, what: &str) {
        let (destination, id) = (&self.destination.name, &self.message.id);
        tracing::warn!(destination, id, why = self.current.hidden(why), "{what}");
    }

    /// The values available to templates of follow-up requests.
    pub(super) fn after(&self, reference: Option<&str>) -> Scope {
        let mut scope = self.scope.clone();
        scope.insert("reference".to_owned(), reference.map_or(Jinja::from(()), Jinja::from));
        scope
    }

    /// The request, if its condition is true.
    pub(super) fn following(&self, then: &Then, scope: &Scope) -> Option<Result<Outgoing, String>> {
        let preset = &self.destination.preset;
        let holds = then.condition.as_ref().map(|condition| preset.holds(condition, scope, &then.name));
        match holds {
            Some(Ok(false)) => None,
            Some(Err(error)) => Some(Err(error.to_string())),
            Some(Ok(true)) | None => Some(self.http.besides(&then.request, preset, scope, self.current)),
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
            (Meaning::Site, reason) => Some(Outcome::Site { in_doubt: true, why: why(reason) }),
            (Meaning::Permanent | Meaning::Refused | Meaning::Absent | Meaning::ByCode, reason) => {
                Some(Outcome::Permanent { why: why(reason) })
            }
        }
    }
}
