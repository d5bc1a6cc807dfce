//! `nextrun store`: where cases are kept, and who owns them.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::bail;
use clap::Subcommand;

use super::cases::{At, time};
use super::{Exit, plain};
use crate::daemon::{DATABASE, with_variable};
use crate::store::{Postgres, Server, StorePlace, copy};

/// Move cases between databases, and list who owns them.
#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Copy everything from one database to another, empty one, and compare it. Stop the daemon first. The password of a
    /// server is read from PGPASSWORD.
    #[command(
        after_help = "Examples:\n  nextrun store copy /var/lib/nextrun 'postgres://nextrun@db/nextrun?name=/data/runs'\n  nextrun store copy 'postgres://nextrun@db/nextrun?name=/data/runs' /var/lib/nextrun"
    )]
    Copy {
        /// A state directory, a SQLite file, or postgres://USER@HOST/DATABASE?name=LOGDIR.
        from: String,
        /// The same; a file must not exist, and a name must have no cases.
        to: String,
    },
    /// List the log directories in the PostgreSQL database of the configuration, each with the daemon that owns it.
    #[command(after_help = "Example:\n  nextrun store show --config /etc/nextrun/nextrun.yaml")]
    Show {
        #[command(flatten)]
        at: At,
    },
}

pub(super) fn run(command: &StoreCommand) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    match command {
        StoreCommand::Copy { from, to } => {
            for (table, rows) in copy(&place(from)?, &place(to)?)? {
                writeln!(out, "{rows:8} {table}")?;
            }
            writeln!(out, "copied and compared; set `store` or `state` in the configuration, and start the daemon")?;
        }
        StoreCommand::Show { at } => show(&mut out, &at.store()?)?,
    }
    Ok(Exit::Healthy)
}

/// An address, a file, or the database in a state directory.
fn place(text: &str) -> anyhow::Result<StorePlace> {
    if !Server::is_address(text) {
        let path = PathBuf::from(text);
        let is_file = path.is_file() || path.extension().is_some();
        return Ok(StorePlace::File(if is_file { path } else { path.join(DATABASE) }));
    }
    let server = with_variable(Server::parse(text)?);
    if !server.has_name() {
        bail!("whose cases in {server}? add `name=LOGDIR`, the absolute path of the log directory, to the address");
    }
    Ok(StorePlace::Server(Box::new(server)))
}

fn show(out: &mut impl Write, place: &StorePlace) -> anyhow::Result<()> {
    let StorePlace::Server(server) = place else {
        bail!(
            "the cases are in a file, which one daemon uses; `store: postgres://…` in the configuration names a server"
        )
    };
    for owner in Postgres::owners(server)? {
        let name = plain(&owner.name);
        let since = owner.since.map_or_else(|| "never".to_owned(), time);
        match owner.left {
            Some(left) if left > 0.0 => {
                writeln!(out, "{name}  term {}  {}  since {since}", owner.term, plain(&owner.owner))?;
            }
            _ => writeln!(out, "{name}  term {}  nobody; the last was {}", owner.term, plain(&owner.owner))?,
        }
    }
    Ok(())
}
