//! `nextrun cases`: open and closed cases.

mod answer;
mod believed;
mod object;

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use object::Around;

use super::{Exit, plain, settings};
use crate::case::{Case, RUN, SKIP};
use crate::command::masked_line;
use crate::config::{Overrides, Settings};
use crate::daemon::store_of;
use crate::store::{Answer, Commit, Store, StorePlace, StoredCase, UnreadableCase, Wish};

/// List, show, link, answer or close cases.
#[derive(Debug, Subcommand)]
pub(super) enum Cases {
    /// List cases, newest first.
    #[command(
        after_help = "Examples:\n  nextrun cases list\n  nextrun cases list --all --state /var/lib/nextrun\n  nextrun cases list --format json"
    )]
    List {
        /// Include closed cases, and jobs that were examined by quiet probes.
        #[arg(long)]
        all: bool,
        /// Output format: text, or one JSON object per line.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        at: At,
    },
    /// Show a case with its complete journal.
    #[command(after_help = "Examples:\n  nextrun cases show 3f2a\n  nextrun cases show 3f2a --format json")]
    Show {
        /// The id of the case, or a unique prefix.
        case: String,
        /// Output format: text, or one JSON object.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        at: At,
    },
    /// Name the job that runs the open experiment of a case. The daemon applies this within a second.
    #[command(after_help = "Example:\n  nextrun cases link 3f2a runs/my-own-try")]
    Link {
        /// The id of the case, or a unique prefix.
        case: String,
        /// The job, relative to the log directory.
        job: String,
        #[command(flatten)]
        at: At,
    },
    /// Approve the experiment that a case is waiting to run; `cases show` displays its command and cost.
    #[command(after_help = "Example:\n  nextrun cases approve 3f2a")]
    Approve {
        /// The id of the case, or a unique prefix.
        case: String,
        /// The reason, for the journal.
        #[arg(long, default_value = "")]
        why: String,
        #[command(flatten)]
        at: At,
    },
    /// Decline the experiment that a case is waiting to run; the case continues without it.
    #[command(after_help = "Example:\n  nextrun cases decline 3f2a --why 'the data is being replaced'")]
    Decline {
        /// The id of the case, or a unique prefix.
        case: String,
        /// The reason, for the journal.
        #[arg(long, default_value = "")]
        why: String,
        #[command(flatten)]
        at: At,
    },
    /// Answer the question of a case; `cases show` lists the possible answers.
    #[command(after_help = "Example:\n  nextrun cases answer 3f2a found")]
    Answer {
        /// The id of the case, or a unique prefix.
        case: String,
        /// The name of the answer.
        answer: String,
        /// The reason, for the journal.
        #[arg(long, default_value = "")]
        why: String,
        #[command(flatten)]
        at: At,
    },
    /// Resume a paused case after you have fixed its problem; `cases show` displays the reason for the pause.
    #[command(after_help = "Example:\n  nextrun cases resume 3f2a")]
    Resume {
        /// The id of the case, or a unique prefix.
        case: String,
        #[command(flatten)]
        at: At,
    },
    /// Close a case manually. The daemon applies this within a second.
    #[command(
        after_help = "Example:\n  nextrun cases close 3f2a --verdict data_pipeline --why 'labels were shifted by one'"
    )]
    Close {
        /// The id of the case, or a unique prefix.
        case: String,
        /// The verdict.
        #[arg(long, default_value = "inconclusive", value_parser = clap::builder::PossibleValuesParser::new(crate::policy::VERDICTS))]
        verdict: String,
        /// The reason.
        #[arg(long, default_value = "closed manually")]
        why: String,
        #[command(flatten)]
        at: At,
    },
}

/// Output format of cases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    #[default]
    Text,
    Json,
}

/// Location of the daemon's state.
#[derive(Debug, Args)]
pub(super) struct At {
    /// The daemon's state directory.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The daemon's configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl At {
    pub(super) fn settings(&self) -> anyhow::Result<Settings> {
        let overrides = Overrides { state: self.state.clone(), ..Overrides::default() };
        settings(self.config.as_deref(), &overrides)
    }

    /// Whether the arguments identify the daemon's configuration.
    pub(super) fn names_configuration(&self) -> bool {
        self.config.is_some()
    }

    pub(super) fn store(&self) -> anyhow::Result<StorePlace> {
        Ok(store_of(&self.settings()?))
    }
}

pub(super) fn run(command: &Cases) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    match command {
        Cases::List { all, format, at } => {
            let mut store = at.store()?.open_read_only()?;
            list(&mut out, store.as_mut(), *all, *format)?;
        }
        Cases::Show { case, format, at } => {
            let mut store = at.store()?.open_read_only()?;
            let case = find(store.as_mut(), case)?;
            match format {
                Format::Text => show(&mut out, store.as_mut(), &case)?,
                Format::Json => show_object(&mut out, store.as_mut(), &case)?,
            }
        }
        Cases::Link { case, job, at } => {
            let mut store = at.store()?.open_existing()?;
            let case = find(store.as_mut(), case)?;
            ask(store.as_mut(), &case, Wish::Link(job.clone()))?;
            writeln!(out, "the daemon will link {} to case {}", plain(job), case.id)?;
        }
        Cases::Approve { case, why, at } => answer::give(&mut out, case, RUN, why, at)?,
        Cases::Decline { case, why, at } => answer::give(&mut out, case, SKIP, why, at)?,
        Cases::Answer { case, answer, why, at } => answer::give(&mut out, case, answer, why, at)?,
        Cases::Resume { case, at } => {
            let mut store = at.store()?.open_existing()?;
            let case = find(store.as_mut(), case)?;
            let paused = Case::read(case.state.clone()).ok().and_then(|case| case.paused);
            if paused.is_none() {
                bail!("case {} is not paused; see `nextrun cases show {}`", case.id, case.id);
            }
            ask(store.as_mut(), &case, Wish::Resume)?;
            writeln!(out, "the daemon will resume case {}", case.id)?;
        }
        Cases::Close { case, verdict, why, at } => {
            let mut store = at.store()?.open_existing()?;
            let case = find(store.as_mut(), case)?;
            if case.closed {
                bail!("case {} is already closed with {}", case.id, case.verdict.unwrap_or_default());
            }
            ask(store.as_mut(), &case, Wish::Close { verdict: verdict.clone(), why: why.clone() })?;
            writeln!(out, "the daemon will close case {} with {verdict}", case.id)?;
        }
    }
    Ok(Exit::Healthy)
}

pub(super) fn find(store: &mut dyn Store, id: &str) -> anyhow::Result<StoredCase> {
    store.case(id)?.with_context(|| format!("there is no case {}; see `nextrun cases list --all`", plain(id)))
}

/// The daemon owns its cases: the command stores a request, and the daemon carries it out in its next pass or at its
/// next start.
fn ask(store: &mut dyn Store, case: &StoredCase, wish: Wish) -> anyhow::Result<()> {
    Ok(store.commit(&Commit { requests: vec![(Some(case.id.clone()), wish)], ..Commit::default() })?)
}

pub(super) fn time(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds of a time")]
    jiff::Timestamp::from_second(seconds as i64).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}

/// Whether people have not been notified about a case because its job is only probed.
fn is_quiet(case: &StoredCase) -> bool {
    case.state.pointer("/quiet/untold").and_then(Value::as_bool).unwrap_or(false)
}

fn print_line(out: &mut impl Write, case: &StoredCase) -> io::Result<()> {
    let state = case.state.pointer("/position/state").and_then(Value::as_str).unwrap_or("?");
    let paused = if case.state.get("paused").is_some_and(Value::is_object) { "paused " } else { "" };
    let where_it_stands = case.verdict.clone().unwrap_or_else(|| format!("{paused}at {state}"));
    let where_it_stands = match (is_quiet(case), case.closed) {
        (true, true) => format!("probed: {where_it_stands}"),
        (true, false) => "probed, no messages sent".to_owned(),
        (false, _) => where_it_stands,
    };
    let tried = case.state.get("experiments").and_then(Value::as_array).map_or(0, Vec::len);
    writeln!(
        out,
        "{}  {}  {:44} {tried} experiments  {}",
        case.id,
        time(case.updated),
        where_it_stands,
        plain(&case.baseline)
    )
}

fn list(out: &mut impl Write, store: &mut dyn Store, all: bool, format: Format) -> anyhow::Result<()> {
    for row in store.cases(!all)? {
        // Nobody hears of probes who does not ask for everything.
        if !all && row.as_ref().is_ok_and(is_quiet) {
            continue;
        }
        match (row, format) {
            (Ok(case), Format::Text) => print_line(out, &case)?,
            (Err(unreadable), Format::Text) => print_unreadable(out, &unreadable)?,
            (Ok(stored), Format::Json) => {
                let journal = store.journal(&stored.id)?;
                let object = match Case::read(stored.state.clone()) {
                    Ok(case) => object::listed(&case, &Around { stored: &stored, journal: &journal }),
                    Err(error) => object::unreadable(&stored.id.0, &stored.baseline, &error.to_string()),
                };
                writeln!(out, "{object}")?;
            }
            (Err(unreadable), Format::Json) => writeln!(out, "{}", Value::from(&unreadable))?,
        }
    }
    Ok(())
}

fn show_object(out: &mut impl Write, store: &mut dyn Store, stored: &StoredCase) -> anyhow::Result<()> {
    let case = Case::read(stored.state.clone()).context("the stored case cannot be read")?;
    let journal = store.journal(&stored.id)?;
    let mut deliveries = store.deliveries(Some(&stored.id), None)?;
    deliveries.reverse();
    let around = Around { stored, journal: &journal };
    writeln!(out, "{}", object::shown(&case, &around, &deliveries))?;
    Ok(())
}

fn print_unreadable(out: &mut impl Write, case: &UnreadableCase) -> io::Result<()> {
    writeln!(out, "{}  unreadable: {}  {}", case.id, plain(&case.reason), plain(&case.baseline))
}

fn show(out: &mut impl Write, store: &mut dyn Store, stored: &StoredCase) -> anyhow::Result<()> {
    print_line(out, stored)?;
    let case = Case::read(stored.state.clone()).context("the stored case cannot be read")?;
    for finding in &case.findings {
        writeln!(out, "\n  {} ({}): {}", finding.symptom, plain(&finding.tag), plain(&finding.summary))?;
    }
    answer::show(out, store, &stored.id)?;
    for text in [believed::failing(&case), believed::probes(&case), believed::table(&case)]
        .iter()
        .filter(|text| !text.is_empty())
    {
        writeln!(out)?;
        text.lines().try_for_each(|line| writeln!(out, "  {}", plain(line)))?;
    }
    for entry in store.journal(&stored.id)? {
        writeln!(out, "\n  {}  {}", time(entry.time), entry.kind)?;
        for (key, value) in entry.detail.as_object().into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            writeln!(out, "      {}: {}", plain(key), plain(&masked_line(&text)))?;
        }
    }
    for delivery in store.deliveries(Some(&stored.id), None)?.iter().rev() {
        let answer = delivery.answer.as_ref().map_or_else(|| "no answer yet".to_owned(), Answer::to_string);
        let state = serde_json::to_value(delivery.state)?;
        writeln!(
            out,
            "\n  {} to {}: {} after {} attempts ({})",
            delivery.message.kind().event_type(),
            delivery.destination,
            state.as_str().unwrap_or("?"),
            delivery.attempts,
            plain(&answer)
        )?;
    }
    Ok(())
}
