//! `nextrun backup`: a copy of the daemon's state.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::Exit;
use super::cases::At;
use crate::store::Sqlite;

/// Copy the daemon's database to a file, also while the daemon runs.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  nextrun backup /srv/backup/nextrun.db --state /var/lib/nextrun")]
pub(super) struct Backup {
    /// The new file; it must not exist yet.
    file: PathBuf,
    #[command(flatten)]
    at: At,
}

pub(super) fn run(command: &Backup) -> anyhow::Result<Exit> {
    Sqlite::back_up(&command.at.database()?, &command.file)?;
    writeln!(io::stdout().lock(), "backup written to {}", command.file.display())?;
    Ok(Exit::Healthy)
}
