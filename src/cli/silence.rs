//! `nextrun silence`: temporarily suppresses messages to people about some jobs.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::bail;
use clap::Subcommand;
use sha2::{Digest, Sha256};

use super::cases::{At, time};
use super::{Exit, plain};
use crate::config::{Glob, parse_duration};
use crate::daemon::{now, variables};
use crate::store::{Commit, Silence};

/// Add, list or remove silences, which temporarily suppress messages to people about some jobs.
#[derive(Debug, Subcommand)]
pub(super) enum SilenceCommand {
    /// Suppress messages to people about some jobs; job queues and webhooks still receive everything. Silenced messages
    /// are never sent; `cases show` lists them with the reason.
    #[command(
        after_help = "Example:\n  nextrun silence add 'vision/**' --for 8h --why 'known bad data, fixed tomorrow'"
    )]
    Add {
        /// The job pattern: * matches any characters, ** any directories; a directory matches everything in it.
        jobs: String,
        /// The duration, such as 30m, 8h or 2d.
        #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
        lasts: Duration,
        /// The reason.
        #[arg(long)]
        why: String,
        /// Name to record as author (default: the current user).
        #[arg(long)]
        author: Option<String>,
        #[command(flatten)]
        at: At,
    },
    /// List silences.
    #[command(after_help = "Examples:\n  nextrun silence list\n  nextrun silence list --all")]
    List {
        /// Include expired silences.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        at: At,
    },
    /// End a silence early.
    #[command(after_help = "Example:\n  nextrun silence remove 3f2a9c01")]
    Remove {
        /// The id of the silence, as shown by `silence list`.
        id: String,
        #[command(flatten)]
        at: At,
    },
}

pub(super) fn run(command: &SilenceCommand) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    match command {
        SilenceCommand::Add { jobs, lasts, why, author, at } => {
            if Glob::new(jobs).is_none() {
                bail!("`{}` is not a job pattern: use a job or directory relative to the log directory", plain(jobs));
            }
            let silence = silence(jobs, *lasts, why, author.as_ref());
            let commit = Commit { silences: vec![silence.clone()], ..Commit::default() };
            at.store()?.open_existing()?.commit(&commit)?;
            print(&mut out, &silence)?;
        }
        SilenceCommand::List { all, at } => {
            let silences = at.store()?.open_read_only()?.quieted()?.silences;
            for silence in silences.iter().filter(|silence| *all || now() < silence.until) {
                print(&mut out, silence)?;
            }
        }
        SilenceCommand::Remove { id, at } => {
            let mut store = at.store()?.open_existing()?;
            if !store.quieted()?.silences.iter().any(|silence| silence.id == *id) {
                bail!("there is no silence {}; see `nextrun silence list --all`", plain(id));
            }
            store.commit(&Commit { unsilenced: vec![id.clone()], ..Commit::default() })?;
            writeln!(out, "silence {id} removed")?;
        }
    }
    Ok(Exit::Healthy)
}

fn silence(jobs: &str, lasts: Duration, why: &str, author: Option<&String>) -> Silence {
    let made = now();
    let user = || variables().get("USER").cloned().unwrap_or_else(|| "unknown".to_owned());
    let author = author.cloned().unwrap_or_else(user);
    let hash = Sha256::digest(format!("{jobs}\n{author}\n{made}"));
    let id: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let until = made + lasts.as_secs_f64();
    Silence { id, jobs: jobs.to_owned(), until, author, why: why.to_owned(), made }
}

fn print(out: &mut impl Write, silence: &Silence) -> io::Result<()> {
    let Silence { id, jobs, until, author, why, .. } = silence;
    writeln!(out, "{id}  until {}  {}  {}: {}", time(*until), plain(jobs), plain(author), plain(why))
}
