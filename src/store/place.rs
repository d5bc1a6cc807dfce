//! Where cases are kept: a file, or a database server.

use std::path::PathBuf;

use super::{Postgres, Server, Sqlite, Store, StoreError};

/// Where the cases of a log directory are kept.
#[derive(Debug, Clone, PartialEq)]
pub enum StorePlace {
    /// A SQLite database, for one daemon.
    File(PathBuf),
    /// A PostgreSQL database, which several daemons can share.
    Server(Box<Server>),
}

impl StorePlace {
    /// Opens the store for listing, also while a daemon uses it; never writes.
    ///
    /// # Errors
    /// It does not exist, cannot be read, or was used by another version of nextrun.
    pub fn open_read_only(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(match self {
            StorePlace::File(path) => Box::new(Sqlite::open_read_only(path)?),
            StorePlace::Server(server) => Box::new(Postgres::open_read_only(server)?),
        })
    }

    /// Opens the store to send requests to the daemon that owns the cases.
    ///
    /// # Errors
    /// As [`StorePlace::open_read_only`]; also if it cannot be written.
    pub fn open_existing(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(match self {
            StorePlace::File(path) => Box::new(Sqlite::open_existing(path)?),
            StorePlace::Server(server) => Box::new(Postgres::open_existing(server)?),
        })
    }
}
