//! The embedded store: one SQLite file.
//!
//! Owns: SQL, transactions, pragmas. Must not know: the meaning of a state, when to retry. The file must be on a local
//! disk: WAL needs shared memory, which network file systems do not support.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Params, TransactionBehavior, params};

use super::rows::{self, CASE, DELIVERY, Read};
use super::{
    Answer, Ask, Commit, Delivery, JournalEntry, OfCase, Owed, Quieted, Replied, Request, Store, StoreError,
    StoredCase, Tally, Tried, Unreadable, UnreadableCase, Which, asks, fates, forget, history, schema, waiting,
};
use crate::case::{CaseId, Message, Reply};
use crate::fate::JobFate;
use crate::fault;

/// How long a statement waits for another process. The daemon's transactions take milliseconds; a backup can lock the
/// file for seconds.
const BUSY: Duration = Duration::from_secs(10);

/// Leases follow the order of this index, so that the search ends at the first eligible delivery. By default, SQLite
/// uses the index by case and sorts all pending deliveries for each lease.
const OWED: &str = "deliveries d INDEXED BY deliveries_next";

/// Deliveries that can be leased: due or unknown, without an earlier open delivery of the same case and destination.
///
/// The first condition on the state repeats the condition of the index word for word; otherwise, SQLite does not use a
/// partial index.
const ELIGIBLE: &str = "d.destination = ?1 AND d.state IN ('pending', 'sending', 'unknown') AND d.state <> 'sending'
    AND NOT EXISTS (
    SELECT 1 FROM deliveries e
    WHERE e.destination = d.destination AND e.case_id = d.case_id AND e.id < d.id
      AND e.state IN ('pending', 'sending', 'unknown'))";

/// A store in one SQLite file: write-ahead log, and every commit is on disk before it returns.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
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
        let mut store = Sqlite { connection, path: path.to_owned() };
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
        Ok(Sqlite { connection, path: path.to_owned() })
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
        Sqlite { connection, path: path.to_owned() }.of_this_version()
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

    /// Runs `work` in one transaction that takes the write lock at the start, so that it cannot fail halfway because
    /// another process holds the lock.
    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let run = |connection: &mut Connection| {
            if fault::is_read_only() {
                return Err(rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY),
                    None,
                ));
            }
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&transaction)?;
            fault::point();
            transaction.commit()?;
            fault::point();
            Ok(result)
        };
        run(&mut self.connection).map_err(|error| failure(&self.path, error))
    }

    /// All rows of a query, each read by `read`.
    fn list<T, P: Params>(
        &self,
        sql: &str,
        params: P,
        read: fn(&rusqlite::Row<'_>) -> Read<T>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.rows(sql, params, read)?;
        rows.into_iter().map(|row| row.map_err(|unreadable| self.corrupt(unreadable))).collect()
    }

    /// All rows of a query, converted by `read`.
    fn rows<T, P: Params>(
        &self,
        sql: &str,
        params: P,
        read: fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let rows =
            || -> rusqlite::Result<Vec<T>> { self.connection.prepare_cached(sql)?.query_map(params, read)?.collect() };
        rows().map_err(|error| failure(&self.path, error))
    }

    fn corrupt(&self, unreadable: rows::Unreadable) -> StoreError {
        StoreError::Corrupt {
            path: self.path.display().to_string(),
            what: unreadable.what.to_owned(),
            reason: unreadable.reason,
        }
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

fn insert_case(transaction: &Connection, case: &StoredCase) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO cases (id, baseline, closed, verdict, updated, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET baseline = excluded.baseline, closed = excluded.closed,
                 verdict = excluded.verdict, updated = excluded.updated, state = excluded.state",
        )?
        .execute(params![case.id.0, case.baseline, case.closed, case.verdict, case.updated, case.state.to_string()])?;
    Ok(())
}

fn insert_entry(transaction: &Connection, case: &CaseId, entry: &JournalEntry) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO journal (case_id, time, kind, detail) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![case.0, entry.time, entry.kind, entry.detail.to_string()])?;
    Ok(())
}

fn insert_message(transaction: &Connection, message: &Message, destinations: &[String]) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO messages (id, case_id, kind, subject, time, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            message.id,
            message.case.0,
            rows::name(message.kind()),
            message.subject,
            message.time,
            message.body.data().to_string()
        ])?;
    for destination in destinations {
        // Due immediately, regardless of later clock changes: a time here would delay it if the clock is set back.
        transaction
            .prepare_cached(
                "INSERT INTO deliveries (message_id, case_id, destination, state, attempts, due, changed)
                 VALUES (?1, ?2, ?3, 'pending', 0, 0, ?4) ON CONFLICT (message_id, destination) DO NOTHING",
            )?
            .execute(params![message.id, message.case.0, destination, message.time])?;
    }
    Ok(())
}

fn mark_sending(transaction: &Connection, delivery: &Delivery, now: f64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE deliveries SET state = 'sending', attempts = ?2, changed = ?3 WHERE id = ?1")?
        .execute(params![delivery.id, delivery.attempts, now])?;
    history::begin(transaction, delivery, now)
}

/// A message that cannot be decoded can never be sent; it must not delay the messages after it.
fn give_up(transaction: &Connection, id: i64, why: &rows::Unreadable, now: f64) -> rusqlite::Result<()> {
    let answer = rows::stored(&Answer::Said(format!("the stored {} cannot be read: {}", why.what, why.reason)));
    transaction
        .prepare_cached("UPDATE deliveries SET state = 'dead', answer = ?2, changed = ?3 WHERE id = ?1")?
        .execute(params![id, answer, now])?;
    Ok(())
}

impl Store for Sqlite {
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            for case in &commit.cases {
                insert_case(transaction, case)?;
            }
            for (case, entry) in &commit.journal {
                insert_entry(transaction, case, entry)?;
            }
            for (message, destinations) in &commit.messages {
                insert_message(transaction, message, destinations)?;
            }
            for (case, wish) in &commit.requests {
                let wish = serde_json::to_string(wish)
                    .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
                transaction
                    .prepare_cached("INSERT INTO requests (case_id, wish) VALUES (?1, ?2)")?
                    .execute(params![case.as_ref().map(|case| &case.0), wish])?;
            }
            for request in &commit.handled {
                transaction.prepare_cached("DELETE FROM requests WHERE id = ?1")?.execute([request])?;
            }
            asks::write(transaction, &commit.asks)?;
            for (case, asks) in &commit.standing {
                asks::stands(transaction, case, asks.as_ref())?;
            }
            for (delivery, decision) in &commit.decisions {
                history::decide(transaction, *delivery, decision)?;
            }
            for wait in &commit.waiting {
                insert_message(transaction, &wait.message, &[])?;
            }
            waiting::write(transaction, commit)?;
            fates::write(transaction, &commit.fates)?;
            commit.forget.as_ref().map_or(Ok(()), |forget| forget::forget(transaction, forget))
        })?;
        if commit.forget.is_some() {
            forget::shrink(&self.connection).map_err(|error| failure(&self.path, error))?;
        }
        Ok(())
    }

    fn cases(&mut self, open_only: bool) -> Result<Vec<Result<StoredCase, UnreadableCase>>, StoreError> {
        let only = if open_only { "WHERE closed = 0" } else { "" };
        self.rows(&format!("SELECT {CASE} FROM cases {only} ORDER BY updated DESC, id"), [], rows::case)
    }

    fn case(&mut self, id: &str) -> Result<Option<StoredCase>, StoreError> {
        if id.is_empty() {
            return Ok(None);
        }
        let sql = format!("SELECT {CASE} FROM cases WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id LIMIT 2");
        let mut found = self.rows(&sql, [id], rows::case)?;
        // The exact id sorts before all longer ids.
        let is_exact = |row: &Result<StoredCase, UnreadableCase>| {
            row.as_ref().map_or_else(|unreadable| &unreadable.id, |case| &case.id).0 == id
        };
        if found.len() != 1 && !found.first().is_some_and(is_exact) {
            return Ok(None);
        }
        found
            .swap_remove(0)
            .map(Some)
            .map_err(|unreadable| self.corrupt(rows::Unreadable { what: "case", reason: unreadable.reason }))
    }

    fn journal(&mut self, case: &CaseId) -> Result<Vec<JournalEntry>, StoreError> {
        self.list("SELECT time, kind, detail FROM journal WHERE case_id = ?1 ORDER BY id", [&case.0], rows::entry)
    }

    fn requests(&mut self) -> Result<Vec<Result<Request, Unreadable>>, StoreError> {
        self.rows("SELECT id, case_id, wish FROM requests ORDER BY id", [], |row| {
            let id = row.get(0)?;
            Ok(rows::request(row)?.map_err(|why| why.of_row(id)))
        })
    }

    fn asks(&mut self, case: Option<&CaseId>, open_only: bool) -> Result<Vec<Result<Ask, Unreadable>>, StoreError> {
        asks::list(&self.connection, case, open_only).map_err(|error| failure(&self.path, error))
    }

    fn ask(&mut self, id: &str) -> Result<Option<Ask>, StoreError> {
        let found = asks::one(&self.connection, id).map_err(|error| failure(&self.path, error))?;
        found.transpose().map_err(|unreadable| self.corrupt(unreadable))
    }

    fn reply(&mut self, ask: &str, fingerprint: Option<&str>, reply: &Reply) -> Result<Replied, StoreError> {
        let replied = self.transaction(|transaction| asks::reply(transaction, ask, fingerprint, reply))?;
        replied.map_err(|unreadable| self.corrupt(unreadable))
    }

    fn fates(&mut self) -> Result<Vec<Result<JobFate, Unreadable>>, StoreError> {
        self.rows(fates::ALL, [], fates::row)
    }

    fn suggested(&mut self, id: &str) -> Result<Option<OfCase>, StoreError> {
        fates::suggested(&self.connection, id).map_err(|error| failure(&self.path, error))
    }

    fn newest_case_of(&mut self, job: &str) -> Result<Option<OfCase>, StoreError> {
        fates::newest_case_of(&self.connection, job).map_err(|error| failure(&self.path, error))
    }

    fn lease(&mut self, destination: &str, now: f64, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        let select = |which: &str| {
            format!(
                "SELECT {DELIVERY} FROM {OWED} CROSS JOIN messages m ON m.id = d.message_id
                 WHERE {ELIGIBLE} AND (d.due <= ?2 OR d.changed > ?2) AND {which} LIMIT ?3"
            )
        };
        // A message that is refused again and again must not keep those of other cases waiting.
        let (fresh, again) = (select("d.attempts = 0 ORDER BY d.id"), select("d.attempts > 0 ORDER BY d.due, d.id"));
        self.transaction(|transaction| {
            let mut rows: Vec<(i64, Result<Delivery, rows::Unreadable>)> = Vec::new();
            for select in [fresh, again] {
                let left = i64::from(limit) - i64::try_from(rows.len()).unwrap_or(i64::MAX);
                let found: Vec<_> = transaction
                    .prepare_cached(&select)?
                    .query_map(params![destination, now, left], |row| Ok((row.get(0)?, rows::delivery(row)?)))?
                    .collect::<rusqlite::Result<_>>()?;
                rows.extend(found);
            }
            let mut leased = Vec::with_capacity(rows.len());
            for (id, row) in rows {
                match row {
                    Ok(mut delivery) => {
                        delivery.attempts = delivery.attempts.saturating_add(1);
                        mark_sending(transaction, &delivery, now)?;
                        leased.push(delivery);
                    }
                    Err(unreadable) => give_up(transaction, id, &unreadable, now)?,
                }
            }
            Ok(leased)
        })
    }

    fn tried(&mut self, tried: &Tried, now: f64) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            transaction
                .prepare_cached(
                    "UPDATE deliveries SET state = ?2, due = ?3, answer = ?4, changed = ?5
                     WHERE id = ?1 AND state <> 'delivered'",
                )?
                .execute(params![
                    tried.delivery,
                    rows::name(tried.state),
                    tried.due,
                    rows::stored(&tried.answer),
                    now
                ])?;
            history::end(transaction, tried, now)
        })
    }

    fn accepted(&mut self, delivery: i64, reference: &str) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            transaction
                .prepare_cached("UPDATE deliveries SET reference = ?2 WHERE id = ?1")?
                .execute(params![delivery, reference])?;
            Ok(())
        })
    }

    fn reference(&mut self, delivery: i64) -> Result<Option<String>, StoreError> {
        let read = || -> rusqlite::Result<Option<String>> {
            let mut query = self.connection.prepare_cached("SELECT reference FROM deliveries WHERE id = ?1")?;
            Ok(query.query_row([delivery], |row| row.get(0)).optional()?.flatten())
        };
        read().map_err(|error| failure(&self.path, error))
    }

    fn history(&mut self, which: Which<'_>) -> Result<Vec<Result<Owed, Unreadable>>, StoreError> {
        history::list(&self.connection, which).map_err(|error| failure(&self.path, error))
    }

    fn tally(&mut self) -> Result<Tally, StoreError> {
        history::tally(&self.connection).map_err(|error| failure(&self.path, error))
    }

    fn quieted(&mut self) -> Result<Quieted, StoreError> {
        let silences = self.list(waiting::SILENCES, [], waiting::silence)?;
        let mut quieted = Quieted { silences, ..Quieted::default() };
        for row in self.rows(waiting::OPEN, [], waiting::row)? {
            match row {
                Ok(waiting) => quieted.waiting.push(waiting),
                Err(unreadable) => quieted.unreadable.push(unreadable),
            }
        }
        Ok(quieted)
    }

    fn recover(&mut self, now: f64) -> Result<u32, StoreError> {
        let answer = rows::stored(&Answer::from("nextrun ended while sending this"));
        let changed = self.transaction(|transaction| {
            transaction.execute(
                "UPDATE attempts SET ended = ?2, outcome = 'unknown', answer = ?1 WHERE ended IS NULL",
                params![answer, now],
            )?;
            transaction.execute(
                "UPDATE deliveries SET state = 'unknown', due = 0, answer = ?1, changed = ?2 WHERE state = 'sending'",
                params![answer, now],
            )
        })?;
        Ok(u32::try_from(changed).unwrap_or(u32::MAX))
    }

    fn next_due(&mut self, destination: &str) -> Result<Option<f64>, StoreError> {
        let sql = format!("SELECT min(d.due) FROM {OWED} WHERE {ELIGIBLE}");
        let due = || -> rusqlite::Result<Option<f64>> {
            let mut query = self.connection.prepare_cached(&sql)?;
            Ok(query.query_row([destination], |row| row.get(0)).optional()?.flatten())
        };
        due().map_err(|error| failure(&self.path, error))
    }
}
