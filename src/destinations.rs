//! Says it elsewhere: Slack, a job queue, any webhook, the terminal.
//!
//! Owns: presets as data, requests, what an answer means. Must not know: the store, policies, when to try again.

mod answer;
mod block_kit;
mod channel;
mod codes;
mod current;
mod engine;
mod exchange;
mod filters;
mod fitting;
mod http;
mod listing;
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
use serde_json::Value;

pub use crate::config::{OnUnknown, Secret};
pub use answer::Outcome;
pub use current::{Fresh, Reread};
pub use engine::Told;
pub use http::{Http, HttpError, Timeouts};
pub use preset::{Field, FieldKind, Need, Patience, Preset, PresetError, SameId};
pub use sparkline::sparkline;
pub use template::TemplateError;

use crate::case::{Body, Message, MessageKind};
use crate::fate::Fate;
use channel::{HttpChannel, check_host, headers_of};
use current::Current;
use exchange::Exchange;
use mail::MailChannel;
use preset::Send;
use template::Scope;

/// A site's own settings of a destination.
#[derive(Clone, Default)]
pub struct Setup {
    /// Its name in the configuration, in listings and messages.
    pub name: String,
    /// The settings that its preset asks for.
    pub fields: BTreeMap<String, Secret>,
    /// Reads them again, before each request: tokens are renewed while nextrun runs.
    pub reread: Option<Reread>,
    /// By owner of a job, the token that runs are sent under in its name; `None` where all go under one account.
    pub accounts: Option<BTreeMap<String, Secret>>,
    /// The kinds of message that it gets; what its preset says where this is `None`.
    pub wants: Option<Vec<MessageKind>>,
    /// What becomes of a message that may have arrived.
    pub on_unknown: OnUnknown,
    /// The age from which a message is given up; the outbox's own where this is `None`.
    pub give_up_after: Option<Duration>,
    /// How often it is asked what became of the runs that it has; the default where this is `None`.
    pub status_every: Option<Duration>,
    /// The hosts that messages may go to; any where this is `None`.
    pub allowed_hosts: Option<Vec<String>>,
}

/// What came before a try.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Earlier {
    /// The reference of the first message of the case that the destination has.
    pub thread: Option<String>,
    /// What became of the try before.
    pub last: Last,
    /// What the destination calls it, where it has it already and only what follows is left to do; of a cancellation, what
    /// it calls the run.
    pub reference: Option<String>,
    /// Seconds since the Unix epoch since when the destination says that it does not have it.
    pub absent_since: Option<f64>,
    /// Whether nobody wants it any more: it is not sent, and what is there of it is not started. Of a cancellation, whether
    /// the destination never had the run.
    pub unwanted: bool,
}

/// What the first half of a try came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The try is over.
    Done(Outcome),
    /// The destination has the message: keep the reference, then go on with [`Destination::follow`].
    Accepted {
        /// What the destination calls it.
        reference: Option<String>,
    },
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

/// A run is asked about so often if nothing else is said: a failure shows soon, and a controller is not kept busy.
pub const STATUS_EVERY: Duration = Duration::from_secs(15);

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
    /// How often it is asked what became of the runs that it has, where it can be.
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

    /// Whether people are told through it, where they are and at any time: by chat or mail.
    pub fn reaches_people(&self) -> bool {
        self.preset.patience == Patience::MayWait && self.wants.contains(&MessageKind::QuestionAsked)
    }

    /// Whether it can be asked for a message that may have arrived.
    pub fn can_be_asked(&self) -> bool {
        self.preset.can_be_asked()
    }

    /// Whether later messages of a case refer to its first one: [`Earlier::thread`] is read then.
    pub fn threads(&self) -> bool {
        self.preset.threads
    }

    /// Whether it can be asked what became of a run.
    pub fn tells_fates(&self) -> bool {
        self.preset.status.is_some()
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
        match self.submit(earlier, message, now).await {
            (status, Step::Done(outcome)) => (status, outcome),
            (status, Step::Accepted { reference }) => {
                (status, self.follow(earlier, message, reference.as_deref(), now).await)
            }
        }
    }

    /// The first half of [`Destination::send`]: until the destination has the message. What it calls it is to be kept
    /// before anything follows, so that a process that ends in between goes on from there.
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
            Channel::Mail(mail) => match self.body(message, &scope) {
                Ok(body) => {
                    let (status, outcome) = mail.send(message, &body).await;
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

    /// The second half of [`Destination::send`]: what follows a message that the destination has.
    pub async fn follow(&self, earlier: &Earlier, message: &Message, reference: Option<&str>, now: f64) -> Outcome {
        let followed = self.with_exchange(earlier.thread.as_deref(), message, now, async |exchange| {
            let outcome = exchange.follow(reference.map(str::to_owned)).await;
            outcome.map_texts(|text| exchange.current.hidden(text))
        });
        // What cannot be set up now was set up when the message was sent.
        followed.await.unwrap_or_else(|why| Outcome::Site { in_doubt: true, why })
    }

    /// Asks what became of the run that this message suggested, and that the destination calls so. `None` where it cannot
    /// be asked.
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

    /// Cancels what it may have of a message besides the run of this reference: a request that was thought to be lost may
    /// have arrived after all.
    pub async fn tidy(&self, message: &Message, kept: &str, now: f64) {
        let tidied = self.with_exchange(None, message, now, async |exchange| exchange.tidy(kept).await);
        if let Err(why) = tidied.await {
            tracing::warn!(destination = self.name, id = message.id, why, "it cannot be asked for what it has twice");
        }
    }

    async fn with_exchange<T>(
        &self,
        thread: Option<&str>,
        message: &Message,
        now: f64,
        work: impl AsyncFnOnce(&Exchange<'_>) -> T,
    ) -> Result<T, String> {
        let Channel::Http(http) = &self.channel else { return Err("it does not speak HTTP".to_owned()) };
        let current = self.current(message)?;
        let scope = with_account(self.scope(message, thread)?, &current, &self.preset);
        Ok(work(&Exchange { destination: self, http, message, scope: &scope, current: &current, now }).await)
    }

    /// The settings as they are now, for a message.
    fn current(&self, message: &Message) -> Result<Current, String> {
        let Fresh { mut fields, accounts } = match &self.reread {
            Some(reread) => reread()?,
            None => Fresh { fields: self.fields.clone(), accounts: self.accounts.clone() },
        };
        if let Some(accounts) = &accounts {
            let owner = owner_of(message).ok_or("nobody is known to own the job, and `users` is set")?;
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
            && self.accounts == other.accounts
            && (self.on_unknown, self.give_up_after, self.status_every)
                == (other.on_unknown, other.give_up_after, other.status_every)
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
        let values =
            self.fields.iter().filter(|(name, _)| secret(name)).flat_map(|(_, value)| current::secrets_in(value));
        values.fold(why, |why, value| why.replace(&value, "***"))
    }
}

/// Whoever gets suggested runs and can stop them is told which are not needed any more.
fn wanted(chosen: Option<Vec<MessageKind>>, preset: &Preset) -> Vec<MessageKind> {
    let mut wants = chosen.unwrap_or_else(|| preset.wants.clone());
    if preset.cancel.is_some() && wants.contains(&MessageKind::RunSuggested) {
        wants.push(MessageKind::RunCancelled);
    }
    wants
}

/// The user who owns the job that a message is about.
fn owner_of(message: &Message) -> Option<&str> {
    match &message.body {
        Body::RunSuggested(run) => run.owner.as_deref(),
        Body::RunCancelled(run) => run.owner.as_deref(),
        _ => None,
    }
}

/// Templates of bodies see the account that a run goes under.
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

fn rfc3339(seconds: f64) -> Option<String> {
    let milliseconds = (seconds * 1000.0).round();
    // `as` saturates, and jiff refuses what is out of its range.
    jiff::Timestamp::from_millisecond(milliseconds as i64).ok().map(|time| time.to_string())
}
