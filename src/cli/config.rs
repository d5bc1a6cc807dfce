//! `nextrun config`: inspect the configuration without running it.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;

use super::{Exit, plain, settings};
use crate::config::{Overrides, Settings, TokenSources, show};
use crate::daemon::{check_overlaps, destination_of, names_that_change, preset_of, site_of, variables};
use crate::logdir::Place;

/// Check or show the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check the configuration file, its policies, and its destinations as far as their secrets are readable.
    #[command(after_help = "Example:\n  nextrun config check /etc/nextrun/nextrun.yaml")]
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// Print the effective settings, without secrets.
    #[command(after_help = "Examples:\n  nextrun config show\n  nextrun config show /etc/nextrun/nextrun.yaml")]
    Show {
        /// The configuration file; if omitted, prints the defaults.
        file: Option<PathBuf>,
    },
}

/// Returns the secrets that cannot be read; the user who checks may lack the daemon's credentials. Sets up each
/// destination whose secrets are readable.
fn secrets_missing(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let mut missing = Vec::new();
    for destination in &settings.destinations {
        let read = destination.read_fields(&variables()).and_then(|_| destination.read_accounts(&variables()));
        match read {
            Err((field, error)) => missing.push(format!("the destination {}: `{field}`: {error}", destination.name)),
            Ok(_) => drop(destination_of(settings, destination)?),
        }
    }
    let tokens = settings.status.iter().flat_map(|status| {
        let TokenSources { read, report, act, forward } = &status.tokens;
        let tokens = [("read", read), ("report", report), ("act", act)];
        let tokens = tokens.into_iter().filter_map(|(name, token)| Some((name.to_owned(), token.as_ref()?)));
        tokens.chain(forward.iter().map(|(sender, token)| (format!("forward.{sender}"), token)))
    });
    for (name, token) in tokens {
        if let Err(error) = token.read(&variables()) {
            missing.push(format!("`status.tokens.{name}`: {error}"));
        }
    }
    Ok(missing)
}

/// Returns missing prerequisites: directories that do not exist, and commands for destinations that need one.
fn not_there(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let mut told = Vec::new();
    for directory in settings.watch.iter() {
        if let Some(Place::Disk(folder)) = &directory.logdir
            && !folder.is_dir()
        {
            told.push(format!("the log directory {} does not exist; the daemon will wait for it", folder.display()));
        }
    }
    let forwarded = settings.watch.iter().any(|directory| matches!(directory.logdir, Some(Place::Forwarded(_))));
    let no_sender = settings.status.as_ref().is_none_or(|status| status.tokens.forward.is_empty());
    if forwarded && no_sender {
        told.push("nobody may send to the forwarded log directory: set `status.tokens.forward`".to_owned());
    }
    let no_command = settings.launches.iter().all(|launch| launch.command().is_none());
    for destination in settings.destinations.iter().filter(|_| no_command) {
        if preset_of(&destination.preset)?.needs_command() {
            told.push(format!(
                "the destination {} needs a command to start runs, but `launch.command` is not set: it can only start \
                 runs whose command is known from another source, such as `nextrun run`",
                destination.name
            ));
        }
    }
    for launch in &settings.launches {
        let Some(command) = launch.command() else { continue };
        let named = command.split_whitespace().filter(|word| word.starts_with('/') && !word.contains('{'));
        for path in named.filter(|path| !std::path::Path::new(path).exists()) {
            told.push(format!("`launch.command` names {path}, which does not exist on this machine"));
        }
    }
    Ok(told)
}

pub(super) fn run(command: &ConfigCommand) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    match command {
        ConfigCommand::Check { file } => {
            let settings = settings(Some(file), &Overrides::default())?;
            site_of(&settings)?;
            check_overlaps(&settings)?;
            let secrets = secrets_missing(&settings)?;
            writeln!(out, "{}: no problems", file.display())?;
            for missing in secrets {
                writeln!(out, "cannot be read by this user: {}", plain(&missing))?;
            }
            for missing in not_there(&settings)? {
                writeln!(out, "note: {}", plain(&missing))?;
            }
            match names_that_change(&settings) {
                Ok(changes) => {
                    for change in changes {
                        writeln!(out, "note: {}", plain(&change))?;
                    }
                }
                Err(error) => writeln!(out, "note: stored cases were not compared: {}", plain(&error.to_string()))?,
            }
        }
        ConfigCommand::Show { file } => {
            write!(out, "{}", show(&settings(file.as_deref(), &Overrides::default())?))?;
        }
    }
    Ok(Exit::Healthy)
}
