//! Says it elsewhere: Slack, a job queue, any webhook, the terminal.
//!
//! Owns: presets as data, requests, what an answer means. Must not know: the store, policies, when to try again.

mod answer;
mod block_kit;
mod http;
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
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

pub use crate::config::{OnUnknown, Secret};
pub use answer::Outcome;
pub use http::{Http, HttpError, Timeouts};
pub use preset::{Field, FieldKind, Need, Preset, PresetError, SameId};
pub use sparkline::sparkline;
pub use template::TemplateError;

use crate::case::{Message, MessageKind};
use http::{Reply, Unanswered, site};
use preset::Send;
use signature::Keys;
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
}

/// What destinations need of the process that they are in.
#[derive(Clone)]
pub struct Surroundings {
    /// Name of this host, for the `source` of events.
    pub host: String,
    /// The client for those that speak HTTP.
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
    Terminal(Arc<Mutex<dyn Write + std::marker::Send>>),
}

struct HttpChannel {
    client: Http,
    url: Url,
    headers: HeaderMap,
    keys: Option<Keys>,
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
            Send::Http { .. } => open_http(&preset, &setup, surroundings)?,
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

    /// Sends a message once and says what came of it. `now` is in seconds since the Unix epoch; it is the time stamp of
    /// the signature.
    pub async fn deliver(&self, message: &Message, now: f64) -> Outcome {
        self.send(message, now).await.1
    }

    /// As [`Destination::deliver`], with the status of the answer where there was one.
    pub async fn send(&self, message: &Message, now: f64) -> (Option<u16>, Outcome) {
        let body = match self.body(message) {
            Ok(body) => body,
            Err(why) => return (None, Outcome::Permanent { why }),
        };
        match &self.channel {
            Channel::Terminal(writer) => (None, print(writer, &body)),
            Channel::Http(http) => {
                let (headers, body) = http.request(message, &body, now);
                match http.client.post(&http.url, headers, body).await {
                    Ok(reply) => (Some(reply.status), self.understand(message, &http.url, &reply, now)),
                    Err(Unanswered::NotSent(why)) => (None, Outcome::Later { after: None, why }),
                    Err(Unanswered::NoAnswer(why)) => (None, Outcome::Unknown { why }),
                }
            }
        }
    }

    /// Where it sends to, for people: of an address no more than scheme, host and port, and whether requests are signed.
    pub fn target(&self) -> String {
        match &self.channel {
            Channel::Terminal(_) => "the terminal".to_owned(),
            Channel::Http(http) => {
                let signed = if http.keys.is_some() { "signed" } else { "not signed" };
                format!("POST {}/***, {signed}", site(&http.url))
            }
        }
    }

    /// Whether it has the same name, and would send the same to the same place in the same way.
    pub fn is_like(&self, other: &Destination) -> bool {
        let timeouts = |destination: &Destination| match &destination.channel {
            Channel::Http(http) => Some(http.client.timeouts()),
            Channel::Terminal(_) => None,
        };
        (&self.name, &self.preset.name) == (&other.name, &other.preset.name)
            && self.fields == other.fields
            && (self.on_unknown, self.give_up_after) == (other.on_unknown, other.give_up_after)
            && timeouts(self) == timeouts(other)
    }

    /// The preset that it follows.
    pub fn preset(&self) -> &Preset {
        &self.preset
    }

    fn understand(&self, message: &Message, url: &Url, reply: &Reply, now: f64) -> Outcome {
        // Only a suggested run can be refused for a knob that its script lacks.
        let suggested = message.kind == MessageKind::RunSuggested;
        let overrides = message.data.get("overrides").and_then(Value::as_object).filter(|_| suggested);
        self.redacted(self.preset.answers.read(reply, &site(url), overrides, now))
    }

    fn body(&self, message: &Message) -> Result<Value, String> {
        let failed = |reason: String| {
            format!("the message {} could not be rendered by the preset {}: {reason}", message.id, self.preset.name)
        };
        let time = rfc3339(message.time).ok_or_else(|| failed("its time is out of range".to_owned()))?;
        let mut scope = preset::scope(message, &self.source, &time);
        let fields = |kind| self.preset.fields.get(kind).is_some_and(|field: &Field| field.kind == FieldKind::Text);
        let text = self.fields.iter().filter(|(name, _)| fields(name.as_str()));
        scope.insert("fields".to_owned(), values(text));
        let (node, place) = match &self.preset.send {
            Send::Http { body, .. } => (body, "body"),
            Send::Terminal { text } => (text, "text"),
        };
        self.preset.render(node, &scope, place).map_err(|error| failed(error.to_string()))
    }

    /// A receiver may quote what it was sent: its own secrets are not shown in what it says.
    fn redacted(&self, outcome: Outcome) -> Outcome {
        let hide = |why: String| {
            let secret = |name: &str| self.preset.fields.get(name).is_some_and(|field| field.kind != FieldKind::Text);
            let values = self.fields.iter().filter(|(name, _)| secret(name)).flat_map(|(_, value)| secrets_in(value));
            values.fold(why, |why, value| why.replace(&value, "***"))
        };
        match outcome {
            Outcome::Delivered { reference } => Outcome::Delivered { reference: reference.map(hide) },
            Outcome::Refused { unknown_knobs, why } => Outcome::Refused { unknown_knobs, why: hide(why) },
            Outcome::Later { after, why } => Outcome::Later { after, why: hide(why) },
            Outcome::Unknown { why } => Outcome::Unknown { why: hide(why) },
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

fn open_http(preset: &Preset, setup: &Setup, surroundings: &Surroundings) -> Result<Channel, SetupError> {
    let unusable = |field: &str, reason: String| SetupError::Unusable {
        destination: setup.name.clone(),
        field: field.to_owned(),
        reason,
    };
    let Send::Http { url, headers, signed_with, .. } = &preset.send else {
        return Ok(Channel::Terminal(Arc::clone(&surroundings.terminal)));
    };
    let scope = Scope::from([("fields".to_owned(), values(setup.fields.iter()))]);
    let address = preset.render(url, &scope, "url").map_err(|error| unusable("url", error.to_string()))?;
    let parsed = address.as_str().and_then(|text| Url::parse(text).ok());
    let usable = parsed.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = usable.ok_or_else(|| unusable("url", "it must be an address such as https://host/path".to_owned()))?;
    let rendered = preset.render(headers, &scope, "headers").map_err(|error| unusable("headers", error.to_string()))?;
    let mut headers = HeaderMap::new();
    for (name, value) in rendered.as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let header = HeaderName::try_from(name.as_str()).ok().zip(HeaderValue::try_from(text).ok());
        let (name, mut value) =
            header.ok_or_else(|| unusable("headers", format!("the header {name} holds what no header may")))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let secret = signed_with.as_ref().and_then(|field| Some((field, setup.fields.get(field)?)));
    let secret = secret.filter(|(_, secret)| !secret.expose().is_empty());
    let keys = secret
        .map(|(field, secret)| {
            let reason = "it must be `whsec_` and base64; `echo whsec_$(openssl rand -base64 32)` makes one";
            Keys::parse(secret).ok_or_else(|| unusable(field, reason.to_owned()))
        })
        .transpose()?;
    Ok(Channel::Http(Box::new(HttpChannel { client: surroundings.http.clone(), url, headers, keys })))
}

impl HttpChannel {
    /// The request's headers and body: besides the preset's headers, the id of the event, so that a receiver knows it
    /// again, and its signature.
    fn request(&self, message: &Message, body: &Value, now: f64) -> (HeaderMap, Vec<u8>) {
        let body = body.to_string().into_bytes();
        let timestamp = now as i64;
        let mut headers = self.headers.clone();
        let mut insert = |name: &'static str, text: &str| {
            // An id that no header may hold stays in the body alone.
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        };
        insert("idempotency-key", &message.id);
        if let Some(keys) = &self.keys {
            insert("webhook-id", &message.id);
            insert("webhook-timestamp", &timestamp.to_string());
            insert("webhook-signature", &keys.sign(&message.id, timestamp, &body));
        }
        (headers, body)
    }
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
