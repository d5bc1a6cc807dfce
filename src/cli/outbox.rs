//! `nextrun outbox`: messages sent and pending, with reasons, and decisions about them.

mod decide;
mod print;

use std::io::{self, Write};
use std::str::FromStr;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::cases::{At, find};
use super::{Exit, plain};
use crate::case::{CaseId, MessageKind};
use crate::config::Settings;
use crate::daemon::{now, preset_of};
use crate::outbox::{Presence, Unsent, explain, explain_wait};
use crate::store::{DeliveryState, Owed, Store, Unreadable, WaitingMessage, Which};

/// Inspect sent and pending messages; resend or drop them.
#[derive(Debug, Subcommand)]
pub(super) enum OutboxCommand {
    /// List sent and pending messages, newest first, with one line per message and destination.
    #[command(
        after_help = "Examples:\n  nextrun outbox list --only dead\n  nextrun outbox list --case 3f2a --format json"
    )]
    List {
        /// Show only deliveries in this state.
        #[arg(long, value_name = "STANDING")]
        only: Option<Standing>,
        #[command(flatten)]
        listing: Listing,
    },
    /// List all delivery attempts, newest first: time, message, reason, destination and response.
    #[command(after_help = "Example:\n  nextrun outbox history --case 3f2a")]
    History {
        #[command(flatten)]
        listing: Listing,
    },
    /// Explain why a delivery, or every delivery of a case, was sent, is pending, or was given up.
    #[command(
        after_help = "Examples:\n  nextrun outbox explain 17\n  nextrun outbox explain 3f2a --config /etc/nextrun/nextrun.yaml"
    )]
    Explain {
        /// The number of a delivery or of a waiting message, or the id of a case (a unique prefix is enough).
        what: String,
        #[command(flatten)]
        at: At,
    },
    /// Send deliveries again that were given up or are held, or retry pending deliveries immediately.
    #[command(after_help = "A destination that does not recognise ids, such as Slack, may then show a message \
            twice.\n\nExample:\n  nextrun outbox resend 17 18")]
    Resend {
        /// The numbers of the deliveries.
        #[arg(required = true)]
        deliveries: Vec<i64>,
        /// Include suggestions whose case has continued without them.
        #[arg(long)]
        stale: bool,
        #[command(flatten)]
        at: At,
    },
    /// Give up on pending or held messages. If no other destination receives a suggestion, its case continues without
    /// it.
    #[command(
        after_help = "Examples:\n  nextrun outbox drop 17 --why 'told them by phone'\n  nextrun outbox drop w3 --why \
            'not relevant in the morning'"
    )]
    Drop {
        /// The numbers of deliveries, or of waiting messages (such as w3).
        #[arg(required = true)]
        numbers: Vec<Number>,
        /// The reason, stored with the delivery.
        #[arg(long)]
        why: String,
        #[command(flatten)]
        at: At,
    },
}

/// The number of a delivery or waiting message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Delivery(i64),
    /// A waiting message has no delivery yet; its number begins with `w`.
    Waiting(i64),
}

impl FromStr for Number {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, digits): (fn(i64) -> Number, &str) = match text.strip_prefix('w') {
            Some(digits) => (Number::Waiting, digits),
            None => (Number::Delivery, text),
        };
        digits.parse().map(kind).map_err(|_| "must be a number such as 17 or w3; see `nextrun outbox list`".to_owned())
    }
}

/// Filter and format of a listing.
#[derive(Debug, Args)]
pub(super) struct Listing {
    /// Show only this case: its id or a unique prefix.
    #[arg(long)]
    case: Option<String>,
    /// Output format: text, or one JSON object per line.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    at: At,
}

/// Output format of a listing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

/// The state of a delivery. A message without a delivery is waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Standing {
    Pending,
    Sending,
    Delivered,
    Refused,
    Unknown,
    Held,
    Dead,
    Waiting,
}

impl Standing {
    fn of(owed: &Owed) -> Standing {
        match owed.delivery.state {
            DeliveryState::Pending => Standing::Pending,
            DeliveryState::Sending => Standing::Sending,
            DeliveryState::Delivered => Standing::Delivered,
            DeliveryState::Refused => Standing::Refused,
            DeliveryState::Held => Standing::Held,
            DeliveryState::Unknown => Standing::Unknown,
            DeliveryState::Dead => Standing::Dead,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Standing::Pending => "pending",
            Standing::Sending => "sending",
            Standing::Delivered => "delivered",
            Standing::Refused => "refused",
            Standing::Unknown => "unknown",
            Standing::Held => "held",
            Standing::Dead => "dead",
            Standing::Waiting => "waiting",
        }
    }
}

pub(super) fn run(command: &OutboxCommand) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    match command {
        OutboxCommand::List { only, listing } => {
            let stands = |row: &Result<Owed, Unreadable>| match (only, row) {
                (Some(only), Ok(owed)) => Standing::of(owed) == *only,
                // Its content is unknown, so it may match.
                (Some(_), Err(_)) | (None, _) => true,
            };
            if only.is_none_or(|only| only == Standing::Waiting) {
                for row in listing.waiting()?.iter().rev() {
                    print::waiting(&mut out, row, listing.format)?;
                }
            }
            for row in listing.rows()?.iter().filter(|row| stands(row)) {
                print::line(&mut out, row, listing.format)?;
            }
        }
        OutboxCommand::History { listing } => print::history(&mut out, &listing.rows()?, listing.format)?,
        OutboxCommand::Explain { what, at } => explain_what(&mut out, what, at)?,
        OutboxCommand::Resend { deliveries, stale, at } => decide::resend(&mut out, deliveries, *stale, at)?,
        OutboxCommand::Drop { numbers, why, at } => decide::give_up(&mut out, numbers, why, at)?,
    }
    Ok(Exit::Healthy)
}

impl Listing {
    fn rows(&self) -> anyhow::Result<Vec<Result<Owed, Unreadable>>> {
        let mut store = self.at.store()?.open_read_only()?;
        let case = self.case.as_deref().map(|case| find(store.as_mut(), case)).transpose()?;
        match case {
            Some(case) => of_case(store.as_mut(), &case.id),
            None => Ok(store.history(Which::default())?),
        }
    }

    /// Messages delayed by quiet hours or a digest.
    fn waiting(&self) -> anyhow::Result<Vec<WaitingMessage>> {
        let mut store = self.at.store()?.open_read_only()?;
        let case = self.case.as_deref().map(|case| find(store.as_mut(), case)).transpose()?;
        let waiting = store.quieted()?.waiting;
        let of_case = |row: &WaitingMessage| case.as_ref().is_none_or(|case| case.id == row.wait.message.case);
        Ok(waiting.into_iter().filter(of_case).collect())
    }
}

fn explain_what(out: &mut impl Write, what: &str, at: &At) -> anyhow::Result<()> {
    let settings = at.settings()?;
    let mut store = at.store()?.open_read_only()?;
    let presence = |name: &str| match at.names_configuration() {
        true if settings.destinations.iter().any(|destination| destination.name == name) => Presence::Configured,
        true => Presence::Gone,
        false => Presence::NotLooked,
    };
    if let Ok(Number::Waiting(id)) = what.parse() {
        return explain_waiting(out, &waiting(store.as_mut(), id)?, presence);
    }
    // Short numbers are deliveries; case ids have twelve characters, which may all be digits.
    let delivery = what.parse().ok().filter(|_| what.len() < 12);
    let (rows, others) = match delivery {
        Some(id) => {
            let row = one(store.as_mut(), id)?;
            let others = match &row {
                Ok(owed) => of_case(store.as_mut(), &owed.delivery.message.case)?,
                Err(_) => Vec::new(),
            };
            (vec![row], others)
        }
        None => {
            let case = find(store.as_mut(), what)?.id;
            let rows = of_case(store.as_mut(), &case)?;
            (rows.clone(), rows)
        }
    };
    let others: Vec<Owed> = others.into_iter().flatten().collect();
    for row in rows.iter().rev() {
        match row {
            Ok(owed) => {
                let told = explain(owed, &others, presence(&owed.delivery.destination), now());
                print::title(out, owed)?;
                writeln!(out, "    {}", plain(&told))?;
            }
            Err(unreadable) => print::unreadable(out, unreadable)?,
        }
    }
    if delivery.is_none() {
        let case = find(store.as_mut(), what)?.id;
        explain_others(out, store.as_mut(), &case, presence)?;
    }
    if at.names_configuration() {
        print_wants(out, &settings)?;
    }
    Ok(())
}

/// The messages of a case without their own delivery: silenced, sent in a digest, or waiting.
fn explain_others(
    out: &mut impl Write,
    store: &mut dyn Store,
    case: &CaseId,
    presence: impl Fn(&str) -> Presence,
) -> anyhow::Result<()> {
    for entry in store.journal(case)? {
        let text = |key: &str| entry.detail.get(key).and_then(Value::as_str).unwrap_or("?");
        let (message, destination) = (text("message"), text("destination"));
        match Unsent::of(&entry) {
            Some(Unsent::Silenced(told)) => {
                print::title_without(out, "silenced", message, destination)?;
                writeln!(out, "    {}", plain(&told))?;
            }
            Some(Unsent::Dropped(told)) => {
                print::title_without(out, "dropped", message, destination)?;
                writeln!(out, "    {}", plain(&told))?;
            }
            Some(Unsent::Digested(digest)) => {
                print::title_without(out, "digested", message, destination)?;
                for owed in store.history(Which { message: Some(&digest), ..Which::default() })?.into_iter().flatten() {
                    let told = explain(&owed, &[], presence(destination), now());
                    writeln!(out, "    sent in delivery {}: {}", owed.delivery.id, plain(&told))?;
                }
            }
            None => {}
        }
    }
    for row in store.quieted()?.waiting.iter().filter(|row| row.wait.message.case == *case) {
        explain_waiting(out, row, &presence)?;
    }
    Ok(())
}

fn explain_waiting(
    out: &mut impl Write,
    row: &WaitingMessage,
    presence: impl Fn(&str) -> Presence,
) -> anyhow::Result<()> {
    print::waiting_title(out, row)?;
    writeln!(out, "    {}", plain(&explain_wait(&row.wait, presence(&row.wait.destination), now())))?;
    Ok(())
}

fn of_case(store: &mut dyn Store, case: &CaseId) -> anyhow::Result<Vec<Result<Owed, Unreadable>>> {
    Ok(store.history(Which { case: Some(case), ..Which::default() })?)
}

/// Lists the kinds of message that each destination receives, which explains why a message is absent.
fn print_wants(out: &mut impl Write, settings: &Settings) -> anyhow::Result<()> {
    for destination in &settings.destinations {
        let wants = match &destination.wants {
            Some(wants) => wants.clone(),
            None => preset_of(&destination.preset)?.wants,
        };
        let kinds: Vec<&str> = wants.into_iter().map(MessageKind::event_type).collect();
        writeln!(out, "{} gets {}", destination.name, kinds.join(", "))?;
    }
    Ok(())
}

/// Returns a delivery, or an error if it does not exist.
fn one(store: &mut dyn Store, id: i64) -> anyhow::Result<Result<Owed, Unreadable>> {
    match store.history(Which { delivery: Some(id), ..Which::default() })?.pop() {
        Some(row) => Ok(row),
        None => bail!("there is no delivery {id}; see `nextrun outbox list`"),
    }
}

/// Returns a waiting message, or an error if it does not exist.
fn waiting(store: &mut dyn Store, id: i64) -> anyhow::Result<WaitingMessage> {
    match store.quieted()?.waiting.into_iter().find(|row| row.id == id) {
        Some(row) => Ok(row),
        None => bail!("there is no waiting message w{id}; see `nextrun outbox list --only waiting`"),
    }
}
