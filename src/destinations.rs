//! Sends messages to other systems: Slack, a job queue, any webhook, the terminal.
//!
//! Owns: presets as data, requests, interpretation of responses. Must not know: the store, policies, when to retry.

mod answer;
mod block_kit;
mod channel;
mod codes;
mod current;
mod engine;
mod events;
mod exchange;
mod filters;
mod fitting;
mod headline;
mod http;
mod listing;
mod mail;
mod markup;
mod meaning;
mod picture;
mod preset;
mod rehearsal;
mod signature;
mod slack;
mod sparkline;
mod template;
#[cfg(test)]
mod tests;
mod view;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use minijinja::Value as Jinja;
use serde_json::Value;

pub use crate::config::{FieldKind, Need, OnUnknown, Patience, Secret};
pub use answer::Outcome;
pub use current::{Fresh, Reread};
pub use engine::Told;
pub use http::{Http, HttpError, Timeouts};
pub use preset::{Field, Preset, PresetError, SameId};
pub use slack::{Answerer, Click, ClickOutcome, SlackApp, SlackPace, date, mention};
pub use sparkline::sparkline;
pub use template::TemplateError;

use crate::case::{Body, Message, MessageKind};
use crate::fate::Fate;
use channel::{HttpChannel, check_host, headers_of};
use current::Current;
use events::EventsChannel;
use exchange::Exchange;
use mail::MailChannel;
use preset::Send;
use template::Scope;

/// The settings of a destination in the site's configuration.
#[derive(Clone, Default)]
pub struct Setup {
    /// Its name in the configuration, lists and messages.
    pub name: String,
    /// The settings of its preset.
    pub fields: BTreeMap<String, Secret>,
    /// Rereads the settings before each request, because tokens may be renewed while nextrun runs.
    pub reread: Option<Reread>,
    /// The token for each job owner, used to submit runs in the owner's name; `None` if all runs use one account.
    pub accounts: Option<BTreeMap<String, Secret>>,
    /// The kinds of message that it receives; `None`: the default of its preset.
    pub wants: Option<Vec<MessageKind>>,
    /// How to handle a message that may have arrived.
    pub on_unknown: OnUnknown,
    /// The age at which a message is given up; `None`: the default of the outbox.
    pub give_up_after: Option<Duration>,
    /// Interval for querying the status of its runs; `None`: the default.
    pub status_every: Option<Duration>,
    /// The hosts that may receive messages; `None`: any host.
    pub allowed_hosts: Option<Vec<String>>,
}

/// The state before an attempt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Earlier {
    /// The destination's reference for the first message of the case.
    pub thread: Option<String>,
    /// The result of the previous attempt.
    pub last: Last,
    /// The destination's reference, if it already has the message and only follow-up requests remain; for a
    /// cancellation, its reference for the run.
    pub reference: Option<String>,
    /// Since when the destination has reported that it does not have the message, in seconds since the Unix epoch.
    pub absent_since: Option<f64>,
    /// Whether the message is no longer needed: it is not sent, and what already arrived is not started. For a
    /// cancellation: whether the destination never had the run.
    pub unwanted: bool,
}

/// The result of the first half of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The attempt is finished.
    Done(Outcome),
    /// The destination has the message: store the reference, then continue with [`Destination::follow`].
    Accepted {
        /// The destination's reference.
        reference: Option<String>,
    },
}

/// The result of the previous attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Last {
    /// There was none, or the message certainly did not arrive.
    #[default]
    NotThere,
    /// The message may have arrived.
    InDoubt,
    /// The message may have arrived, and a person wants to resend it: it is sent unless the destination reports that it
    /// has it.
    InDoubtButWanted,
}

/// What destinations need from their process.
#[derive(Clone)]
pub struct Surroundings {
    /// Name of this host, used as the `source` of events.
    pub host: String,
    /// HTTP client for destinations that need one.
    pub http: Http,
    /// Output for messages to the terminal.
    pub terminal: Arc<Mutex<dyn Write + std::marker::Send>>,
}

/// Why a destination cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A required setting is missing.
    #[error("the destination {destination} needs `{field}`: {help}")]
    Missing {
        /// Its name.
        destination: String,
        /// The setting.
        field: String,
        /// Its description.
        help: String,
    },
    /// The preset has no such setting.
    #[error(
        "the destination {destination} has the setting `{field}`, which the preset {preset} does not support; supported: {known}"
    )]
    Unknown {
        /// Its name.
        destination: String,
        /// The setting.
        field: String,
        /// The preset.
        preset: String,
        /// The available settings.
        known: String,
    },
    /// A setting is invalid; its value is not shown.
    #[error("the destination {destination} has an invalid `{field}`: {reason}")]
    Unusable {
        /// Its name.
        destination: String,
        /// The setting.
        field: String,
        /// What it should be.
        reason: String,
    },
    /// TLS could not be set up.
    #[error("the destination {destination}: {reason}")]
    NoHttp {
        /// Its name.
        destination: String,
        /// The reason and a fix.
        reason: HttpError,
    },
}

/// Default interval for querying the status of a run: short enough to notice a failure soon without burdening a
/// controller.
pub const STATUS_EVERY: Duration = Duration::from_secs(15);

/// A destination that is ready to send.
pub struct Destination {
    /// Its name in the configuration.
    pub name: String,
    /// The kinds of message that it receives.
    pub wants: Vec<MessageKind>,
    /// How to handle a message that may have arrived. Destinations that recognise ids always receive it again.
    pub on_unknown: OnUnknown,
    /// The age at which a message is given up; `None`: the default of the outbox.
    pub give_up_after: Option<Duration>,
    /// Interval for querying the status of its runs, if it supports this.
    pub status_every: Duration,
    preset: Arc<Preset>,
    source: String,
    fields: BTreeMap<String, Secret>,
    reread: Option<Reread>,
    accounts: Option<BTreeMap<String, Secret>>,
    channel: Channel,
}

enum Channel {
    Http(Box<HttpChannel>),
    Mail(Box<MailChannel>),
    Events(EventsChannel),
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
    /// Sets up a destination; sends nothing.
    ///
    /// # Errors
    /// Settings that are missing, unknown or invalid.
    pub fn new(preset: Arc<Preset>, setup: Setup, surroundings: &Surroundings) -> Result<Destination, SetupError> {
        check_fields(&preset, &setup)?;
        let channel = match &preset.send {
            Send::Terminal { .. } => Channel::Terminal(Arc::clone(&surroundings.terminal)),
            Send::Mail { settings, .. } => Channel::Mail(Box::new(open_mail(&preset, settings, &setup, surroundings)?)),
            Send::Events { logdir, .. } => Channel::Events(EventsChannel::open(&preset, logdir, &setup)?),
            Send::Http { .. } => Channel::Http(Box::new(HttpChannel::open(&preset, &setup, &surroundings.http)?)),
        };
        let on_unknown = match preset.same_id {
            SameId::Recognised => OnUnknown::Resend,
            SameId::Repeated => setup.on_unknown,
        };
        Ok(Destination {
            wants: wanted(setup.wants, &preset),
            name: setup.name,
            on_unknown,
            give_up_after: setup.give_up_after,
            status_every: setup.status_every.unwrap_or(STATUS_EVERY),
            source: format!("nextrun://{}", surroundings.host),
            fields: setup.fields,
            reread: setup.reread,
            accounts: setup.accounts,
            preset,
            channel,
        })
    }

    /// Whether its preset permits delaying messages.
    pub fn patience(&self) -> Patience {
        self.preset.patience
    }

    /// Whether it runs suggestions automatically, like a job queue or an engine: it receives suggested runs and no
    /// messages for people.
    pub fn runs_suggestions(&self) -> bool {
        let wants = |kind| self.wants.contains(&kind);
        let shows = matches!(self.channel, Channel::Terminal(_) | Channel::Events(_));
        let for_people = self.preset.patience == Patience::MayWait || shows;
        wants(MessageKind::RunSuggested) && !wants(MessageKind::QuestionAsked) && !for_people
    }

    /// Whether it reaches people anywhere at any time, by chat or mail.
    pub fn reaches_people(&self) -> bool {
        self.preset.patience == Patience::MayWait && self.wants.contains(&MessageKind::QuestionAsked)
    }

    /// Whether it can be queried for a message that may have arrived.
    pub fn can_be_asked(&self) -> bool {
        self.preset.can_be_asked()
    }

    /// Whether later messages of a case refer to its first one; [`Earlier::thread`] is then used.
    pub fn threads(&self) -> bool {
        self.preset.threads
    }

    /// Whether it can be queried for the status of a run.
    pub fn tells_fates(&self) -> bool {
        self.preset.status.is_some()
    }

    /// Sends a message once without an earlier attempt, and returns the outcome. `now` is in seconds since the Unix
    /// epoch and is the timestamp of the signature.
    pub async fn deliver(&self, message: &Message, now: f64) -> Outcome {
        self.deliver_after(&Earlier::default(), message, now).await
    }

    /// Like [`Destination::deliver`], after earlier attempts: a destination that can be queried is first asked for a
    /// message that may have arrived, and receives it only if it does not have it.
    pub async fn deliver_after(&self, earlier: &Earlier, message: &Message, now: f64) -> Outcome {
        self.send(earlier, message, now).await.1
    }

    /// Like [`Destination::deliver_after`]; also returns the status of the response, if any.
    pub async fn send(&self, earlier: &Earlier, message: &Message, now: f64) -> (Option<u16>, Outcome) {
        match self.submit(earlier, message, now).await {
            (status, Step::Done(outcome)) => (status, outcome),
            (status, Step::Accepted { reference }) => {
                (status, self.follow(earlier, message, reference.as_deref(), now).await)
            }
        }
    }

    /// The first half of [`Destination::send`]: until the destination has the message. The caller must store its
    /// reference before any follow-up, so that a process that ends in between can continue.
    pub async fn submit(&self, earlier: &Earlier, message: &Message, now: f64) -> (Option<u16>, Step) {
        let scope = match self.scope(message, earlier.thread.as_deref()) {
            Ok(scope) => scope,
            Err(why) => return (None, Step::Done(Outcome::Permanent { why })),
        };
        let (status, step) = match &self.channel {
            Channel::Terminal(writer) => match self.body(message, &scope) {
                Ok(text) => (None, Step::Done(print(writer, &text))),
                Err(why) => (None, Step::Done(Outcome::Permanent { why })),
            },
            Channel::Events(events) => match self.body(message, &scope) {
                Ok(text) => (None, Step::Done(events.send(message, text.as_str().unwrap_or_default()))),
                Err(why) => (None, Step::Done(Outcome::Permanent { why })),
            },
            Channel::Mail(mail) => match self.body(message, &scope) {
                Ok(body) => {
                    let picture = picture::of(message).await;
                    let (status, outcome) = mail.send(message, &body, picture.as_ref()).await;
                    (status, Step::Done(outcome))
                }
                Err(why) => (None, Step::Done(Outcome::Permanent { why })),
            },
            Channel::Http(http) => {
                let current = match self.current(message) {
                    Ok(current) => current,
                    Err(why) => return (None, Step::Done(Outcome::Site { in_doubt: false, why })),
                };
                let scope = with_account(scope, &current, &self.preset);
                let (destination, scope) = (self, &scope);
                let exchange = Exchange { destination, http, message, scope, current: &current, now };
                let (status, step) = match (&message.body, &self.preset.cancel) {
                    (Body::RunCancelled(_), _) if earlier.unwanted => {
                        (None, Step::Done(Outcome::Delivered { reference: None }))
                    }
                    (Body::RunCancelled(_), Some(cancel)) => {
                        (None, Step::Done(exchange.cancel(cancel, earlier.reference.as_deref()).await))
                    }
                    _ => exchange.submit(earlier).await,
                };
                let step = match step {
                    Step::Done(outcome) => Step::Done(outcome.map_texts(|text| current.hidden(text))),
                    accepted @ Step::Accepted { .. } => accepted,
                };
                (status, step)
            }
        };
        match step {
            Step::Done(outcome) => (status, Step::Done(outcome.map_texts(|text| self.hidden(text)))),
            accepted @ Step::Accepted { .. } => (status, accepted),
        }
    }

    /// The second half of [`Destination::send`]: follow-up requests after the destination has the message.
    pub async fn follow(&self, earlier: &Earlier, message: &Message, reference: Option<&str>, now: f64) -> Outcome {
        let followed = self.with_exchange(earlier.thread.as_deref(), message, now, async |exchange| {
            let outcome = exchange.follow(reference.map(str::to_owned)).await;
            outcome.map_texts(|text| exchange.current.hidden(text))
        });
        // If the client cannot be set up now, it was set up when the message was sent.
        followed.await.unwrap_or_else(|why| Outcome::Site { in_doubt: true, why })
    }

    /// Queries the status of the run that this message suggested, under the destination's reference. `None` if it does
    /// not support this.
    pub async fn fate(&self, message: &Message, reference: Option<&str>, now: f64) -> Option<Told> {
        let status = self.preset.status.as_ref()?;
        let told = self.with_exchange(None, message, now, async |exchange| {
            let hide = |why| exchange.current.hidden(why);
            match exchange.fate(status, reference).await {
                Told::NotNow(why) => Told::NotNow(hide(why)),
                Told::Cannot(why) => Told::Cannot(hide(why)),
                Told::Fate(fate) => {
                    Told::Fate(Fate { reason: fate.reason.map(hide), tail: fate.tail.map(hide), ..fate })
                }
            }
        });
        Some(told.await.unwrap_or_else(Told::Cannot))
    }

    /// Cancels duplicates of a message other than the run of this reference: a request that was presumed lost may have
    /// arrived after all.
    pub async fn tidy(&self, message: &Message, kept: &str, now: f64) {
        let tidied = self.with_exchange(None, message, now, async |exchange| exchange.tidy(kept).await);
        if let Err(why) = tidied.await {
            tracing::warn!(destination = self.name, id = message.id, why, "it cannot be queried for duplicates");
        }
    }

    async fn with_exchange<T>(
        &self,
        thread: Option<&str>,
        message: &Message,
        now: f64,
        work: impl AsyncFnOnce(&Exchange<'_>) -> T,
    ) -> Result<T, String> {
        let Channel::Http(http) = &self.channel else { return Err("it does not use HTTP".to_owned()) };
        let current = self.current(message)?;
        let scope = with_account(self.scope(message, thread)?, &current, &self.preset);
        Ok(work(&Exchange { destination: self, http, message, scope: &scope, current: &current, now }).await)
    }

    /// The current settings for a message.
    fn current(&self, message: &Message) -> Result<Current, String> {
        let Fresh { mut fields, accounts } = match &self.reread {
            Some(reread) => reread()?,
            None => Fresh { fields: self.fields.clone(), accounts: self.accounts.clone() },
        };
        if let Some(accounts) = &accounts {
            let owner = owner_of(message).ok_or("the owner of the job is unknown, and `users` is set")?;
            let token = accounts.get(owner).ok_or_else(|| format!("`users` has no token for {owner}: add one"))?;
            fields.insert("user".to_owned(), Secret::new(owner));
            fields.insert("token".to_owned(), token.clone());
        }
        let headers = headers_of(&self.preset, &fields)?;
        let kinds = &self.preset.fields;
        let secret: Vec<Secret> = fields
            .iter()
            .filter(|(name, _)| kinds.get(*name).is_some_and(|field| field.kind != FieldKind::Text))
            .map(|(_, value)| value.clone())
            .collect();
        Ok(Current::new(fields, headers, secret.iter()))
    }

    /// The content sent for a message: the body of the request or of the email, or the text. `thread` is the reference
    /// of the first message of the case.
    ///
    /// # Errors
    /// Why the preset cannot render the message, in words for people.
    pub fn payload(&self, message: &Message, thread: Option<&str>) -> Result<Value, String> {
        self.body(message, &self.scope(message, thread)?)
    }

    /// The target, for people: scheme, host and port of an address, and whether requests are signed.
    pub fn target(&self) -> String {
        match &self.channel {
            Channel::Terminal(_) => "the terminal".to_owned(),
            Channel::Events(events) => events.target(),
            Channel::Mail(mail) => mail.target(),
            Channel::Http(http) => http.target(),
        }
    }

    /// Whether it has the same name and would send the same content to the same target in the same way.
    pub fn is_like(&self, other: &Destination) -> bool {
        let timeouts = |destination: &Destination| match &destination.channel {
            Channel::Http(http) => Some(http.client.timeouts()),
            Channel::Mail(mail) => Some(mail.timeouts()),
            Channel::Terminal(_) | Channel::Events(_) => None,
        };
        self.name == other.name
            && self.preset.is_like(&other.preset)
            && self.fields == other.fields
            && self.accounts == other.accounts
            && (self.on_unknown, self.give_up_after, self.status_every)
                == (other.on_unknown, other.give_up_after, other.status_every)
            && timeouts(self) == timeouts(other)
    }

    /// Its preset.
    pub fn preset(&self) -> &Preset {
        &self.preset
    }

    /// The values available to templates of bodies: settings that are not secret.
    fn scope(&self, message: &Message, thread: Option<&str>) -> Result<Scope, String> {
        let time = rfc3339(message.time).ok_or_else(|| self.unrendered(message, "its time is out of range"))?;
        let mut scope = preset::scope(message, thread, &self.source, &time);
        let text = |name: &str| self.preset.fields.get(name).is_some_and(|field| field.kind == FieldKind::Text);
        let shown = self.fields.iter().filter(|(name, _)| text(name));
        scope.insert("fields".to_owned(), values(shown));
        scope.insert("buttons".to_owned(), Jinja::from(self.has_buttons()));
        Ok(scope)
    }

    fn body(&self, message: &Message, scope: &Scope) -> Result<Value, String> {
        let (node, place) = match &self.preset.send {
            Send::Http { body, .. } | Send::Mail { body, .. } => (body, "body"),
            Send::Terminal { text } | Send::Events { text, .. } => (text, "text"),
        };
        let body = self.preset.render_body(node, scope, place);
        let mut body = body.map_err(|error| self.unrendered(message, &error.to_string()))?;
        if self.preset.patience == Patience::MayWait || !matches!(self.channel, Channel::Http(_)) {
            // People read it; programs get texts as they are.
            words::upright(&mut body);
        }
        Ok(body)
    }

    fn unrendered(&self, message: &Message, reason: &str) -> String {
        format!("the message {} could not be rendered by the preset {}: {reason}", message.id, self.preset.name)
    }

    /// A receiver may quote the request: removes its own secrets from its response.
    fn hidden(&self, why: String) -> String {
        let secret = |name: &str| self.preset.fields.get(name).is_some_and(|field| field.kind != FieldKind::Text);
        let values =
            self.fields.iter().filter(|(name, _)| secret(name)).flat_map(|(_, value)| current::secrets_in(value));
        values.fold(why, |why, value| why.replace(&value, "***"))
    }
}

/// Destinations that receive suggested runs and can stop them are notified about runs that are no longer needed.
fn wanted(chosen: Option<Vec<MessageKind>>, preset: &Preset) -> Vec<MessageKind> {
    let mut wants = chosen.unwrap_or_else(|| preset.wants.clone());
    if preset.cancel.is_some() && wants.contains(&MessageKind::RunSuggested) {
        wants.push(MessageKind::RunCancelled);
    }
    wants
}

/// The user who owns the job of a message.
fn owner_of(message: &Message) -> Option<&str> {
    match &message.body {
        Body::RunSuggested(run) => run.owner.as_deref(),
        Body::RunCancelled(run) => run.owner.as_deref(),
        _ => None,
    }
}

/// Templates of bodies can use the account under which a run is submitted.
fn with_account(mut scope: Scope, current: &Current, preset: &Preset) -> Scope {
    let text = |name: &str| preset.fields.get(name).is_some_and(|field| field.kind == FieldKind::Text);
    scope.insert("fields".to_owned(), values(current.fields.iter().filter(|(name, _)| text(name))));
    scope
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
    let by_account = |name: &str| setup.accounts.is_some() && ["user", "token"].contains(&name);
    let lacks = |name: &String, field: &Field| field.need == Need::Required && !given(name) && !by_account(name);
    match preset.fields.iter().find(|(name, field)| lacks(name, field)) {
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
    let mail = MailChannel::open(&rendered, &surroundings.host, surroundings.http.timeouts())
        .map_err(|(field, reason)| unusable(field, reason))?;
    check_host(setup, "server", mail.host())?;
    Ok(mail)
}

fn print(writer: &Mutex<dyn Write + std::marker::Send>, body: &Value) -> Outcome {
    // A name in a message must not move the cursor or change colours.
    let text: String = body.as_str().unwrap_or_default().chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
    // In one piece, so that nothing else is drawn within it.
    let text = format!("{}\n", text.trim_end());
    match writer.write_all(text.as_bytes()).and_then(|()| writer.flush()) {
        Ok(()) => Outcome::Delivered { reference: None },
        Err(error) => Outcome::Later { after: None, why: format!("could not write to the terminal: {error}") },
    }
}

fn values<'a>(fields: impl Iterator<Item = (&'a String, &'a Secret)>) -> Jinja {
    Jinja::from_pairs(fields.map(|(name, value)| (name.clone(), Jinja::from(value.expose()))))
}

fn rfc3339(seconds: f64) -> Option<String> {
    // `as` saturates, and jiff rejects values out of its range.
    let milliseconds = (seconds * 1000.0).round() as i64;
    jiff::Timestamp::from_millisecond(milliseconds).ok().map(|time| time.to_string())
}
