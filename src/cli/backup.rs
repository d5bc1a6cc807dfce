//! `nextrun backup`: a copy of the daemon's state.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use super::Exit;
use super::cases::At;
use crate::store::{Sqlite, StorePlace};

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
    match command.at.store()? {
        StorePlace::File(path) => Sqlite::back_up(&path, &command.file)?,
        StorePlace::Server(server) => bail!(
            "the cases are in {server}: back it up with `pg_dump`, or stop the daemon and run `nextrun store copy`"
        ),
    }
    writeln!(io::stdout().lock(), "backup written to {}", command.file.display())?;
    Ok(Exit::Healthy)
}
