//! `nextrun config`: look at the configuration without running it.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;

use super::{Exit, settings};
use crate::config::{Overrides, show};
use crate::daemon::site_of;

/// Check or show the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check the file, and the policies that it names, without running anything.
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

pub(super) fn run(command: &ConfigCommand) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    match command {
        ConfigCommand::Check { file } => {
            site_of(&settings(Some(file), &Overrides::default())?)?;
            writeln!(out, "{}: no problems", file.display())?;
        }
        ConfigCommand::Show { file } => {
            write!(out, "{}", show(&settings(file.as_deref(), &Overrides::default())?))?;
        }
    }
    Ok(Exit::Healthy)
}
