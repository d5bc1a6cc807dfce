//! Delayed messages and silences.
//!
//! Owns: their tables and rows. Must not know: why a message is delayed, which jobs a silence covers.

use super::rows;
use super::sql::{Row, Sql};
use super::{Commit, StoreError, Unreadable};
use crate::case::Message;

/// The migration that creates the tables. A row of `held`, later renamed `waiting`, remains after its message was sent
/// and names the message in which it was sent.
pub(super) const TABLES: &str = "
    CREATE TABLE held (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        message_id TEXT NOT NULL REFERENCES messages (id),
        destination TEXT NOT NULL,
        until REAL NOT NULL,
        why TEXT NOT NULL,
        sent_as TEXT,
        UNIQUE (message_id, destination)
    ) STRICT;
    CREATE INDEX held_open ON held (id) WHERE sent_as IS NULL;

    CREATE TABLE silences (
        id TEXT PRIMARY KEY,
        jobs TEXT NOT NULL,
        until REAL NOT NULL,
        author TEXT NOT NULL,
        why TEXT NOT NULL,
        made REAL NOT NULL
    ) STRICT;
    ";

pub(super) const SILENCES: &str = "SELECT id, jobs, until, author, why, made FROM silences ORDER BY made, id";

pub(super) const OPEN: &str = "SELECT w.id, w.destination, w.until, w.why,
        m.id, m.case_id, m.kind, m.subject, m.time, m.data
    FROM waiting w JOIN messages m ON m.id = w.message_id WHERE w.sent_as IS NULL ORDER BY w.id";

/// A message to delay.
#[derive(Debug, Clone, PartialEq)]
pub struct Wait {
    /// The message.
    pub message: Message,
    /// Its destination.
    pub destination: String,
    /// When the delay ends, in seconds since the Unix epoch.
    pub until: f64,
    /// The reason for the delay.
    pub why: String,
}

/// A delayed message.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitingMessage {
    /// Row id; also the order of arrival.
    pub id: i64,
    /// The message, its destination and the reason.
    pub wait: Wait,
}

/// A suppression of messages to people about some jobs for a limited time.
#[derive(Debug, Clone, PartialEq)]
pub struct Silence {
    /// Its id.
    pub id: String,
    /// The job pattern.
    pub jobs: String,
    /// When it ends, in seconds since the Unix epoch.
    pub until: f64,
    /// Its author.
    pub author: String,
    /// The reason.
    pub why: String,
    /// When it was created, in seconds since the Unix epoch.
    pub made: f64,
}

/// Everything that delays or suppresses messages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quieted {
    /// Silences, including expired ones.
    pub silences: Vec<Silence>,
    /// Delayed messages.
    pub waiting: Vec<WaitingMessage>,
    /// Delayed messages that cannot be decoded.
    pub unreadable: Vec<Unreadable>,
}

/// The changes of a commit to these tables.
pub(super) fn write(sql: &mut dyn Sql, commit: &Commit) -> Result<(), StoreError> {
    for wait in &commit.waiting {
        sql.execute(
            "INSERT INTO waiting (message_id, destination, until, why) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (message_id, destination) DO NOTHING",
            &[&wait.message.id, &wait.destination, &wait.until, &wait.why],
        )?;
    }
    for (id, sent_as) in &commit.released {
        sql.execute("UPDATE waiting SET sent_as = ?2 WHERE id = ?1", &[id, sent_as])?;
    }
    for id in &commit.withdrawn {
        sql.execute("DELETE FROM waiting WHERE id = ?1 AND sent_as IS NULL", &[id])?;
    }
    for silence in &commit.silences {
        let Silence { id, jobs, until, author, why, made } = silence;
        sql.execute(
            "INSERT INTO silences (id, jobs, until, author, why, made) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET jobs = excluded.jobs, until = excluded.until, author = excluded.author,
                 why = excluded.why, made = excluded.made",
            &[id, jobs, until, author, why, made],
        )?;
    }
    for id in &commit.unsilenced {
        sql.execute("DELETE FROM silences WHERE id = ?1", &[id])?;
    }
    Ok(())
}

/// Deletes sent messages of cases closed before a time, and silences that ended before it, in seconds since the Unix
/// epoch.
pub(super) fn forget(sql: &mut dyn Sql, before: f64) -> Result<(), StoreError> {
    sql.execute(
        "DELETE FROM waiting WHERE sent_as IS NOT NULL AND message_id IN (
           SELECT m.id FROM messages m JOIN cases c ON c.id = m.case_id WHERE c.closed = 1 AND c.updated < ?1)",
        &[&before],
    )?;
    sql.execute("DELETE FROM silences WHERE until < ?1", &[&before])?;
    Ok(())
}

/// The number of delayed messages by destination.
pub(super) fn tally(sql: &mut dyn Sql) -> Result<Vec<(String, u64)>, StoreError> {
    let text =
        "SELECT destination, count(*) FROM waiting WHERE sent_as IS NULL GROUP BY destination ORDER BY destination";
    let count = |row: &Row| Ok((row.get(0)?, row.get::<i64>(1)?.unsigned_abs()));
    sql.query(text, &[])?.iter().map(count).collect()
}

/// A row of [`SILENCES`].
pub(super) fn silence(row: &Row) -> Result<Silence, StoreError> {
    Ok(Silence {
        id: row.get(0)?,
        jobs: row.get(1)?,
        until: row.get(2)?,
        author: row.get(3)?,
        why: row.get(4)?,
        made: row.get(5)?,
    })
}

/// A row of [`OPEN`].
pub(super) fn row(row: &Row) -> Result<Result<WaitingMessage, Unreadable>, StoreError> {
    let (id, destination, until, why) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    let wait = |message| WaitingMessage { id, wait: Wait { message, destination, until, why } };
    Ok(rows::message(row, 4)?.map(wait).map_err(|unreadable| unreadable.of_row(id)))
}
