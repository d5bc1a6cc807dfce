//! Status of jobs without a suggestion, and the case of a suggestion id.
//!
//! Owns: SQL for `fates`. Must not know: the consequences of a status.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Unreadable;
use crate::case::CaseId;
use crate::fate::JobFate;

/// The migration that creates the table.
pub(super) const TABLE: &str = "
    CREATE TABLE fates (
        job TEXT PRIMARY KEY,
        fate TEXT NOT NULL,
        told REAL NOT NULL
    ) STRICT;
    ";

pub(super) const ALL: &str = "SELECT job, fate, told, rowid FROM fates ORDER BY told, job";

/// A case, with the data needed by those who report.
#[derive(Debug, Clone, PartialEq)]
pub struct OfCase {
    /// Its id.
    pub case: CaseId,
    /// Whether it is closed.
    pub closed: bool,
    /// Time of its latest change, in seconds since the Unix epoch.
    pub updated: f64,
}

/// Stores status reports; each replaces the previous one.
pub(super) fn write(transaction: &Connection, fates: &[JobFate]) -> rusqlite::Result<()> {
    for told in fates {
        let fate =
            serde_json::to_string(&told.fate).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        transaction
            .prepare_cached("INSERT OR REPLACE INTO fates VALUES (?1, ?2, ?3)")?
            .execute(params![told.job, fate, told.told])?;
    }
    Ok(())
}

/// Deletes reports from before a time, in seconds since the Unix epoch.
pub(super) fn forget(transaction: &Connection, before: f64) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM fates WHERE told < ?1", [before])?;
    Ok(())
}

/// A row of [`ALL`].
pub(super) fn row(row: &Row<'_>) -> rusqlite::Result<Result<JobFate, Unreadable>> {
    let (job, fate, told, id): (String, String, f64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    let unreadable = |reason: serde_json::Error| Unreadable { id, what: "fate".to_owned(), reason: reason.to_string() };
    Ok(serde_json::from_str(&fate).map_err(unreadable).map(|fate| JobFate { job, fate, told }))
}

/// The case that made a suggestion, if the id is known.
pub(super) fn suggested(connection: &Connection, id: &str) -> rusqlite::Result<Option<OfCase>> {
    let sql = "SELECT m.case_id, coalesce(c.closed, 0), coalesce(c.updated, m.time)
        FROM messages m LEFT JOIN cases c ON c.id = m.case_id WHERE m.id = ?1 AND m.kind = 'run_suggested'";
    connection.prepare_cached(sql)?.query_row([id], of_case).optional()
}

/// The newest case about a job: the open one, otherwise the one closed last.
pub(super) fn newest_case_of(connection: &Connection, job: &str) -> rusqlite::Result<Option<OfCase>> {
    let sql = "SELECT id, closed, updated FROM cases WHERE baseline = ?1 ORDER BY closed, updated DESC LIMIT 1";
    connection.prepare_cached(sql)?.query_row([job], of_case).optional()
}

fn of_case(row: &Row<'_>) -> rusqlite::Result<OfCase> {
    Ok(OfCase { case: CaseId(row.get(0)?), closed: row.get(1)?, updated: row.get(2)? })
}
