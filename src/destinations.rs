//! Says it elsewhere: Slack, a job queue, any webhook, the terminal.
//!
//! Owns: presets as data, requests, what an answer means. Must not know: the store, policies, when to try again.

mod answer;
mod block_kit;
mod channel;
mod exchange;
mod filters;
mod fitting;
mod http;
mod mail;
mod markup;
mod preset;
mod rehearsal;
mod signature;
mod sparkline;
mod template;
mod view;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use minijinja::Value as Jinja;
use reqwest::Url;
use serde_json::Value;

pub use crate::config::{OnUnknown, Secret};
pub use answer::Outcome;
pub use http::{Http, HttpError, Timeouts};
pub use preset::{Field, FieldKind, Need, Patience, Preset, PresetError, SameId};
pub use sparkline::sparkline;
pub use template::TemplateError;

use crate::case::{Message, MessageKind};
use channel::{HttpChannel, check_host};
use mail::MailChannel;
use preset::Send;
use template::Scope;

/// A site's own settings of a destination.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Its name in the configuration, in listings and messages.
    pub name: String,
    /// The settings that its preset asks for.
    pub fields: BTreeMap<String, Secret>,
    /// The kinds of message that it gets; what its preset says where this is `None`.
    pub wants: Option<Vec<MessageKind>>,
    /// What becomes of a message that may have arrived.
    pub on_unknown: OnUnknown,
    /// The age from which a message is given up; the outbox's own where this is `None`.
    pub give_up_after: Option<Duration>,
    /// The hosts that messages may go to; any where this is `None`.
    pub allowed_hosts: Option<Vec<String>>,
}

/// What came before a try.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Earlier {
    /// The reference of the first message of the case that the destination has.
    pub thread: Option<String>,
    /// What became of the try before.
    pub last: Last,
}

/// What became of the try before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Last {
    /// There was none, or it certainly did not arrive.
    #[default]
    NotThere,
    /// It may have arrived.
    InDoubt,
    /// It may have arrived, and a person wants it sent again: only a destination that says that it has it is not sent it.
    InDoubtButWanted,
}

/// What destinations need of the process that they are in.
#[derive(Clone)]
pub struct Surroundings {
    /// Name of this host, for the `source` of events.
    pub host: String,
    /// For those that speak HTTP.
    pub http: Http,
    /// Where the terminal's messages go.
    pub terminal: Arc<Mutex<dyn Write + std::marker::Send>>,
}

/// Why a destination cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A setting is missing.
    #[error("the destination {destination} lacks `{field}`: {help}")]
    Missing {
        /// Its name.
        destination: String,
        /// The setting.
        field: String,
        /// What it is.
        help: String,
    },
    /// A setting is not one of the preset's.
    #[error("the destination {destination} has `{field}`, which the preset {preset} does not know: it has {known}")]
    Unknown {
        /// Its name.
        destination: String,
        /// The setting.
        field: String,
        /// The preset.
        preset: String,
        /// The settings that there are.
        known: String,
    },
    /// A setting is not what it should be; its value is not shown.
    #[error("the destination {destination} has a `{field}` that cannot be used: {reason}")]
    Unusable {
        /// Its name.
        destination: String,
        /// The setting.
        field: String,
        /// What it should be.
        reason: String,
    },
    /// It needs TLS, which could not be set up.
    #[error("the destination {destination}: {reason}")]
    NoHttp {
        /// Its name.
        destination: String,
        /// Why, and what to do.
        reason: HttpError,
    },
}

/// A place where messages go, ready to send.
pub struct Destination {
    /// Its name in the configuration.
    pub name: String,
    /// The kinds of message that it gets.
    pub wants: Vec<MessageKind>,
    /// What becomes of a message that may have arrived; a destination that recognises ids is always sent it again.
    pub on_unknown: OnUnknown,
    /// The age from which a message is given up; the outbox's own where this is `None`.
    pub give_up_after: Option<Duration>,
    preset: Arc<Preset>,
    source: String,
    fields: BTreeMap<String, Secret>,
    channel: Channel,
}

enum Channel {
    Http(Box<HttpChannel>),
    Mail(Box<MailChannel>),
    Terminal(Arc<Mutex<dyn Write + std::marker::Send>>),
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("name", &self.name)
            .field("preset", &self.preset.name)
            .finish_non_exhaustive()
    }
}

impl Destination {
    /// Sets a destination up; nothing is sent.
    ///
    /// # Errors
    /// Settings that are missing, unknown, or not what they should be.
    pub fn new(preset: Arc<Preset>, setup: Setup, surroundings: &Surroundings) -> Result<Destination, SetupError> {
        check_fields(&preset, &setup)?;
        let channel = match &preset.send {
            Send::Terminal { .. } => Channel::Terminal(Arc::clone(&surroundings.terminal)),
            Send::Mail { settings, .. } => Channel::Mail(Box::new(open_mail(&preset, settings, &setup, surroundings)?)),
            Send::Http { .. } => Channel::Http(Box::new(HttpChannel::open(&preset, &setup, &surroundings.http)?)),
        };
        let on_unknown = match preset.same_id {
            SameId::Recognised => OnUnknown::Resend,
            SameId::Repeated => setup.on_unknown,
        };
        Ok(Destination {
            wants: setup.wants.unwrap_or_else(|| preset.wants.clone()),
            name: setup.name,
            on_unknown,
            give_up_after: setup.give_up_after,
            source: format!("nextrun://{}", surroundings.host),
            fields: setup.fields,
            preset,
            channel,
        })
    }

    /// Whether messages may be kept back for a better moment, as its preset says.
    pub fn patience(&self) -> Patience {
        self.preset.patience
    }

    /// Whether it runs what is suggested by itself, as a job queue or an engine does: it gets suggested runs, and nothing
    /// that is said to people.
    pub fn runs_suggestions(&self) -> bool {
        let wants = |kind| self.wants.contains(&kind);
        let for_people = self.preset.patience == Patience::MayWait || matches!(self.channel, Channel::Terminal(_));
        wants(MessageKind::RunSuggested) && !wants(MessageKind::QuestionAsked) && !for_people
    }

    /// Whether it can be asked for a message that may have arrived.
    pub fn can_be_asked(&self) -> bool {
        self.preset.can_be_asked()
    }

    /// Whether later messages of a case refer to its first one: [`Earlier::thread`] is read then.
    pub fn threads(&self) -> bool {
        self.preset.threads
    }

    /// Sends a message once and says what came of it, where nothing came before. `now` is in seconds since the Unix
    /// epoch; it is the time stamp of the signature.
    pub async fn deliver(&self, message: &Message, now: f64) -> Outcome {
        self.deliver_after(&Earlier::default(), message, now).await
    }

    /// As [`Destination::deliver`], after what came before: a destination that can be asked is asked for a message that
    /// may have arrived, and sent it only where it does not have it.
    pub async fn deliver_after(&self, earlier: &Earlier, message: &Message, now: f64) -> Outcome {
        self.send(earlier, message, now).await.1
    }

    /// As [`Destination::deliver_after`], with the status of the answer to the message where there was one.
    pub async fn send(&self, earlier: &Earlier, message: &Message, now: f64) -> (Option<u16>, Outcome) {
        let scope = match self.scope(message, earlier.thread.as_deref()) {
            Ok(scope) => scope,
            Err(why) => return (None, Outcome::Permanent { why }),
        };
        let (status, outcome) = match &self.channel {
            Channel::Terminal(writer) => match self.body(message, &scope) {
                Ok(text) => (None, print(writer, &text)),
                Err(why) => (None, Outcome::Permanent { why }),
            },
            Channel::Mail(mail) => match self.body(message, &scope) {
                Ok(body) => mail.send(message, &body).await,
                Err(why) => (None, Outcome::Permanent { why }),
            },
            Channel::Http(http) => {
                let exchange = exchange::Exchange { destination: self, http, message, scope: &scope, now };
                exchange.run(earlier.last).await
            }
        };
        (status, self.redacted(outcome))
    }

    /// What it is sent for a message: the body of the request or of the email, or the text. `thread` is the reference of the
    /// first message of the case.
    ///
    /// # Errors
    /// The preset cannot say it, for people.
    pub fn payload(&self, message: &Message, thread: Option<&str>) -> Result<Value, String> {
        self.body(message, &self.scope(message, thread)?)
    }

    /// Where it sends to, for people: of an address no more than scheme, host and port, and whether requests are signed.
    pub fn target(&self) -> String {
        match &self.channel {
            Channel::Terminal(_) => "the terminal".to_owned(),
            Channel::Mail(mail) => mail.target(),
            Channel::Http(http) => http.target(),
        }
    }

    /// Whether it has the same name, and would send the same to the same place in the same way.
    pub fn is_like(&self, other: &Destination) -> bool {
        let timeouts = |destination: &Destination| match &destination.channel {
            Channel::Http(http) => Some(http.client.timeouts()),
            Channel::Mail(mail) => Some(mail.timeouts()),
            Channel::Terminal(_) => None,
        };
        self.name == other.name
            && self.preset.is_like(&other.preset)
            && self.fields == other.fields
            && (self.on_unknown, self.give_up_after) == (other.on_unknown, other.give_up_after)
            && timeouts(self) == timeouts(other)
    }

    /// The preset that it follows.
    pub fn preset(&self) -> &Preset {
        &self.preset
    }

    /// What templates of bodies see: of the settings, only what is no secret.
    fn scope(&self, message: &Message, thread: Option<&str>) -> Result<Scope, String> {
        let time = rfc3339(message.time).ok_or_else(|| self.unrendered(message, "its time is out of range"))?;
        let mut scope = preset::scope(message, thread, &self.source, &time);
        let text = |name: &str| self.preset.fields.get(name).is_some_and(|field| field.kind == FieldKind::Text);
        let shown = self.fields.iter().filter(|(name, _)| text(name));
        scope.insert("fields".to_owned(), values(shown));
        Ok(scope)
    }

    fn body(&self, message: &Message, scope: &Scope) -> Result<Value, String> {
        let (node, place) = match &self.preset.send {
            Send::Http { body, .. } | Send::Mail { body, .. } => (body, "body"),
            Send::Terminal { text } => (text, "text"),
        };
        let body = self.preset.render_body(node, scope, place);
        body.map_err(|error| self.unrendered(message, &error.to_string()))
    }

    fn unrendered(&self, message: &Message, reason: &str) -> String {
        format!("the message {} could not be rendered by the preset {}: {reason}", message.id, self.preset.name)
    }

    /// A receiver may quote what it was sent: its own secrets are not shown in what it says.
    fn hidden(&self, why: String) -> String {
        let secret = |name: &str| self.preset.fields.get(name).is_some_and(|field| field.kind != FieldKind::Text);
        let values = self.fields.iter().filter(|(name, _)| secret(name)).flat_map(|(_, value)| secrets_in(value));
        values.fold(why, |why, value| why.replace(&value, "***"))
    }

    fn redacted(&self, outcome: Outcome) -> Outcome {
        let hide = |why| self.hidden(why);
        match outcome {
            Outcome::Delivered { reference } => Outcome::Delivered { reference: reference.map(hide) },
            Outcome::Refused { unknown_knobs, why } => Outcome::Refused { unknown_knobs, why: hide(why) },
            Outcome::Later { after, why } => Outcome::Later { after, why: hide(why) },
            Outcome::Unknown { why } => Outcome::Unknown { why: hide(why) },
            Outcome::Held { why } => Outcome::Held { why: hide(why) },
            Outcome::Permanent { why } => Outcome::Permanent { why: hide(why) },
        }
    }
}

fn check_fields(preset: &Preset, setup: &Setup) -> Result<(), SetupError> {
    let destination = || setup.name.clone();
    if let Some(field) = setup.fields.keys().find(|field| !preset.fields.contains_key(*field)) {
        let known: Vec<&str> = preset.fields.keys().map(String::as_str).collect();
        return Err(SetupError::Unknown {
            destination: destination(),
            field: field.clone(),
            preset: preset.name.clone(),
            known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
        });
    }
    let given = |name: &String| setup.fields.get(name).is_some_and(|value| !value.expose().is_empty());
    match preset.fields.iter().find(|(name, field)| field.need == Need::Required && !given(name)) {
        Some((name, field)) => {
            Err(SetupError::Missing { destination: destination(), field: name.clone(), help: field.help.clone() })
        }
        None => Ok(()),
    }
}

fn open_mail(
    preset: &Preset,
    settings: &template::Node,
    setup: &Setup,
    surroundings: &Surroundings,
) -> Result<MailChannel, SetupError> {
    let unusable =
        |field: String, reason: String| SetupError::Unusable { destination: setup.name.clone(), field, reason };
    let scope = Scope::from([("fields".to_owned(), values(setup.fields.iter()))]);
    let rendered = preset.render(settings, &scope, "mail");
    let rendered = rendered.map_err(|error| unusable("mail".to_owned(), error.to_string()))?;
    let mail = MailChannel::open(&rendered, &surroundings.host, surroundings.http.timeouts());
    let mail = mail.map_err(|(field, reason)| unusable(field, reason))?;
    check_host(setup, "server", mail.host())?;
    Ok(mail)
}

fn print(writer: &Mutex<dyn Write + std::marker::Send>, body: &Value) -> Outcome {
    // A name in a message must not move the cursor or change colours.
    let text: String = body.as_str().unwrap_or_default().chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
    match writeln!(writer, "{}", text.trim_end()).and_then(|()| writer.flush()) {
        Ok(()) => Outcome::Delivered { reference: None },
        Err(error) => Outcome::Later { after: None, why: format!("could not write to the terminal: {error}") },
    }
}

fn values<'a>(fields: impl Iterator<Item = (&'a String, &'a Secret)>) -> Jinja {
    Jinja::from_pairs(fields.map(|(name, value)| (name.clone(), Jinja::from(value.expose()))))
}

/// A secret and, of an address, what a receiver may quote of it alone: its path and its query. Short ones are words of
/// their own, not secrets.
fn secrets_in(secret: &Secret) -> Vec<String> {
    let value = secret.expose();
    let url = Url::parse(value).ok();
    let parts = url.iter().flat_map(|url| [Some(url.path()), url.query()]).flatten().filter(|part| part.len() > 8);
    std::iter::once(value).chain(parts).filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

fn rfc3339(seconds: f64) -> Option<String> {
    let milliseconds = (seconds * 1000.0).round();
    // `as` saturates, and jiff refuses what is out of its range.
    jiff::Timestamp::from_millisecond(milliseconds as i64).ok().map(|time| time.to_string())
}
