//! The embedded store: one SQLite file.
//!
//! Owns: SQL, transactions, pragmas. Must not know: the meaning of a state, when to retry. The file must be on a local
//! disk: WAL needs shared memory, which network file systems do not support.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::sql::{Database, Dialect, Row, Sql, ToSql, Unanswered};
use super::{CommitId, StoreError, forget, schema};
use crate::fault;

/// How long a statement waits for another process. The daemon's transactions take milliseconds; a backup can lock the
/// file for seconds.
const BUSY: Duration = Duration::from_secs(10);

/// A store in one SQLite file: write-ahead log, and every commit is on disk before it returns.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
    /// Always empty: a commit is always answered.
    unanswered: Unanswered,
}

impl Sqlite {
    /// Opens the database for the daemon: creates it and its directory if necessary, and migrates its schema.
    ///
    /// # Errors
    /// All errors name the path: the file is not a database, is not writable, was written by a newer nextrun,
    /// or failed otherwise.
    pub fn open(path: &Path) -> Result<Sqlite, StoreError> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|source| StoreError::Files {
                action: "create the state directory",
                path: directory.display().to_string(),
                source,
            })?;
        }
        let connection = Connection::open(path).map_err(|error| failure(path, error))?;
        let mut store = Sqlite::of(connection, path);
        store.check()?;
        let found = schema::version(&store.connection).map_err(|error| failure(path, error))?;
        store.refuse_newer(found)?;
        store.refuse_foreign()?;
        store.prepare().map_err(|error| failure(path, error))?;
        Ok(store)
    }

    /// Writes a consistent copy of the database to the new file `copy`, also while a daemon uses it.
    ///
    /// # Errors
    /// `copy` already exists or is not writable, or there is no nextrun database.
    pub fn back_up(path: &Path, copy: &Path) -> Result<(), StoreError> {
        let store = Sqlite::to_read(path)?;
        store.refuse_foreign()?;
        let failed =
            |source| StoreError::Files { action: "write the backup", path: copy.display().to_string(), source };
        // SQLite also writes to an empty file, so this one is reserved for us.
        std::fs::File::create_new(copy).map_err(failed)?;
        store.connection.execute("VACUUM INTO ?1", [copy.to_string_lossy()]).map_err(|error| failure(copy, error))?;
        std::fs::File::open(copy).and_then(|file| file.sync_all()).map_err(failed)
    }

    fn of(connection: Connection, path: &Path) -> Sqlite {
        Sqlite { connection, path: path.to_owned(), unanswered: Unanswered::new() }
    }

    /// Rejects a database with damaged pages before writing anything to it.
    fn check(&self) -> Result<(), StoreError> {
        let found: String = self
            .connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| failure(&self.path, error))?;
        if found == "ok" {
            return Ok(());
        }
        Err(StoreError::Damaged { path: self.path.display().to_string(), reason: found })
    }

    /// Opens the database for listing, also while a daemon uses it; never writes.
    ///
    /// # Errors
    /// As [`Sqlite::open`]; also if the file does not exist or its schema is older.
    pub fn open_read_only(path: &Path) -> Result<Sqlite, StoreError> {
        Sqlite::to_read(path)?.of_this_version()
    }

    fn to_read(path: &Path) -> Result<Sqlite, StoreError> {
        must_exist(path)?;
        let connection = read_only(path).map_err(|error| failure(path, error))?;
        Ok(Sqlite::of(connection, path))
    }

    /// Opens the database to send requests to the daemon that owns it. Only the daemon creates or migrates it.
    ///
    /// # Errors
    /// As [`Sqlite::open_read_only`]; also if the database is not writable.
    pub fn open_existing(path: &Path) -> Result<Sqlite, StoreError> {
        must_exist(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).and_then(|connection| {
            connection.busy_timeout(BUSY)?;
            set_up_writing(&connection)?;
            Ok(connection)
        });
        let connection = connection.map_err(|error| failure(path, error))?;
        Sqlite::of(connection, path).of_this_version()
    }

    fn of_this_version(self) -> Result<Sqlite, StoreError> {
        let found = schema::version(&self.connection).map_err(|error| failure(&self.path, error))?;
        self.refuse_newer(found)?;
        self.refuse_foreign()?;
        let path = || self.path.display().to_string();
        match found {
            0 => Err(StoreError::NotADatabase { path: path() }),
            schema::KNOWN => Ok(self),
            _ => Err(StoreError::Older { path: path(), found, known: schema::KNOWN }),
        }
    }

    fn prepare(&mut self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(BUSY)?;
        // Must precede the first page; an older database gets this setting at its next `VACUUM`.
        self.connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        self.connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        set_up_writing(&self.connection)?;
        schema::migrate(&mut self.connection)?;
        forget::make_shrinkable(&self.connection)
    }

    /// A database of another program stays unchanged.
    fn refuse_foreign(&self) -> Result<(), StoreError> {
        match schema::is_ours(&self.connection).map_err(|error| failure(&self.path, error))? {
            true => Ok(()),
            false => Err(StoreError::NotADatabase { path: self.path.display().to_string() }),
        }
    }

    fn refuse_newer(&self, found: i64) -> Result<(), StoreError> {
        if found <= schema::KNOWN {
            return Ok(());
        }
        Err(StoreError::Newer { path: self.path.display().to_string(), found, known: schema::KNOWN })
    }
}

/// Parts of queries: leases follow the order of this index, so that the search ends at the first eligible delivery. By
/// default, SQLite uses the index by case and sorts all pending deliveries for each lease. A transaction holds the write
/// lock, so rows need no lock of their own.
impl Database for Sqlite {
    const DIALECT: Dialect = Dialect { by_next: "INDEXED BY deliveries_next", to_lease: "", number_on: None };

    fn place(&self) -> Arc<str> {
        self.path.display().to_string().into()
    }

    fn read<T>(&mut self, mut work: impl FnMut(&mut dyn Sql) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let path = self.path.clone();
        let transaction = self.connection.transaction().map_err(|error| failure(&path, error))?;
        work(&mut Within { transaction: &transaction, path: &path, place: path.display().to_string().into() })
    }

    /// The transaction takes the write lock at the start, so that it cannot fail halfway because another process holds
    /// the lock. A commit is always answered.
    fn write<T>(
        &mut self,
        _: &CommitId,
        mut work: impl FnMut(&mut dyn Sql) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let path = self.path.clone();
        if fault::is_read_only() {
            return Err(StoreError::ReadOnly { path: path.display().to_string() });
        }
        let failed = |error| failure(&path, error);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let result =
            work(&mut Within { transaction: &transaction, path: &path, place: path.display().to_string().into() })?;
        fault::point();
        transaction.commit().map_err(failed)?;
        fault::point();
        Ok(Some(result))
    }

    fn unanswered(&mut self) -> &mut Unanswered {
        &mut self.unanswered
    }

    fn term(&self) -> i64 {
        0
    }

    fn shrink(&mut self) -> Result<(), StoreError> {
        forget::shrink(&self.connection).map_err(|error| failure(&self.path, error))
    }
}

/// A transaction in progress.
struct Within<'t> {
    transaction: &'t Connection,
    path: &'t Path,
    place: Arc<str>,
}

impl Sql for Within<'_> {
    fn execute(&mut self, sql: &str, values: &[&dyn ToSql]) -> Result<usize, StoreError> {
        let run = || self.transaction.prepare_cached(sql)?.execute(values);
        run().map_err(|error| failure(self.path, error))
    }

    fn query(&mut self, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<Row>, StoreError> {
        let run = || {
            let mut statement = self.transaction.prepare_cached(sql)?;
            let columns = statement.column_count();
            let read = |row: &rusqlite::Row<'_>| {
                let values = (0..columns).map(|column| row.get(column)).collect::<rusqlite::Result<_>>()?;
                Ok(Row::new(&self.place, values))
            };
            statement.query_map(values, read)?.collect::<rusqlite::Result<_>>()
        };
        run().map_err(|error| failure(self.path, error))
    }
}

fn must_exist(path: &Path) -> Result<(), StoreError> {
    if path.exists() { Ok(()) } else { Err(StoreError::Missing { path: path.display().to_string() }) }
}

/// Settings that a connection needs before it writes.
fn set_up_writing(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// A read-only connection. Without the daemon's shared memory, a database in a read-only directory can be opened only
/// as immutable, which is safe if there is no write-ahead log to read.
fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    let open = |connection: Connection| {
        connection.busy_timeout(BUSY)?;
        schema::version(&connection)?;
        Ok(connection)
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let first = Connection::open_with_flags(path, flags).and_then(open);
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match first {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) && !Path::new(&log).exists() => {
            let uri = format!("file:{}?immutable=1", percent_encoded(path));
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI).and_then(open)
        }
        other => other,
    }
}

/// A path in SQLite's URI syntax.
fn percent_encoded(path: &Path) -> String {
    let mut encoded = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => encoded.push(char::from(*byte)),
            _ => encoded.push_str(&format!("%{byte:02x}")),
        }
    }
    encoded
}

fn failure(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.display().to_string();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::NotADatabase { path },
        Some(ErrorCode::CannotOpen) if Path::new(&path).is_dir() => StoreError::NotADatabase { path },
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged { path, reason: source.to_string() },
        Some(ErrorCode::DiskFull) => StoreError::Full { path },
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly { path },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { path },
        _ => StoreError::Database { path, source },
    }
}
