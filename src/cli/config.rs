//! `nextrun config`: look at the configuration without running it.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;

use super::{Exit, plain, settings};
use crate::config::{Overrides, Settings, TokenSources, show};
use crate::daemon::{destination_of, site_of, variables};

/// Check or show the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check the file, the policies that it names, and the destinations as far as their secrets can be read from here.
    #[command(after_help = "Example:\n  nextrun config check /etc/nextrun/nextrun.yaml")]
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// Print the settings that are in force, secrets left out.
    #[command(after_help = "Examples:\n  nextrun config show\n  nextrun config show /etc/nextrun/nextrun.yaml")]
    Show {
        /// The configuration file; the defaults without it.
        file: Option<PathBuf>,
    },
}

/// The secrets that cannot be read: who checks may be another user than the daemon's, without its credentials. With those
/// that can be, the destinations are set up.
fn secrets_missing(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let mut missing = Vec::new();
    for destination in &settings.destinations {
        match destination.read_fields(&variables()) {
            Err((field, error)) => missing.push(format!("the destination {}: `{field}`: {error}", destination.name)),
            Ok(_) => drop(destination_of(settings, destination)?),
        }
    }
    let tokens = settings.status.iter().flat_map(|status| {
        let TokenSources { read, report, act } = &status.tokens;
        [("read", read), ("report", report), ("act", act)]
    });
    for (name, token) in tokens {
        if let Some(Err(error)) = token.as_ref().map(|token| token.read(&variables())) {
            missing.push(format!("`status.tokens.{name}`: {error}"));
        }
    }
    Ok(missing)
}

pub(super) fn run(command: &ConfigCommand) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    match command {
        ConfigCommand::Check { file } => {
            let settings = settings(Some(file), &Overrides::default())?;
            site_of(&settings)?;
            let secrets = secrets_missing(&settings)?;
            writeln!(out, "{}: no problems", file.display())?;
            for missing in secrets {
                writeln!(out, "not to be read from here, though: {}", plain(&missing))?;
            }
        }
        ConfigCommand::Show { file } => {
            write!(out, "{}", show(&settings(file.as_deref(), &Overrides::default())?))?;
        }
    }
    Ok(Exit::Healthy)
}
