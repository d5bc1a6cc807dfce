//! Status of jobs without a suggestion, and the case of a suggestion id.
//!
//! Owns: SQL for `fates`. Must not know: the consequences of a status.

use super::sql::{Row, Sql};
use super::{StoreError, Unreadable};
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
pub(super) fn write(sql: &mut dyn Sql, fates: &[JobFate]) -> Result<(), StoreError> {
    for told in fates {
        // A status consists of named fields, which can always be JSON.
        let fate = serde_json::to_string(&told.fate).unwrap_or_default();
        sql.execute(
            "INSERT INTO fates (job, fate, told) VALUES (?1, ?2, ?3)
             ON CONFLICT (job) DO UPDATE SET fate = excluded.fate, told = excluded.told",
            &[&told.job, &fate, &told.told],
        )?;
    }
    Ok(())
}

/// Deletes reports from before a time, in seconds since the Unix epoch.
pub(super) fn forget(sql: &mut dyn Sql, before: f64) -> Result<(), StoreError> {
    sql.execute("DELETE FROM fates WHERE told < ?1", &[&before])?;
    Ok(())
}

/// A row of [`ALL`].
pub(super) fn row(row: &Row) -> Result<Result<JobFate, Unreadable>, StoreError> {
    let (job, fate, told, id): (String, String, f64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    let unreadable = |reason: serde_json::Error| Unreadable { id, what: "fate".to_owned(), reason: reason.to_string() };
    Ok(serde_json::from_str(&fate).map_err(unreadable).map(|fate| JobFate { job, fate, told }))
}

/// The case that made a suggestion, if the id is known.
pub(super) fn suggested(sql: &mut dyn Sql, id: &str) -> Result<Option<OfCase>, StoreError> {
    let text = "SELECT m.case_id, coalesce(c.closed, 0), coalesce(c.updated, m.time)
        FROM messages m LEFT JOIN cases c ON c.id = m.case_id WHERE m.id = ?1 AND m.kind = 'run_suggested'";
    sql.first(text, &[&id])?.as_ref().map(of_case).transpose()
}

/// The newest case about a job: the open one, otherwise the one closed last.
pub(super) fn newest_case_of(sql: &mut dyn Sql, job: &str) -> Result<Option<OfCase>, StoreError> {
    let text = "SELECT id, closed, updated FROM cases WHERE baseline = ?1 ORDER BY closed, updated DESC LIMIT 1";
    sql.first(text, &[&job])?.as_ref().map(of_case).transpose()
}

fn of_case(row: &Row) -> Result<OfCase, StoreError> {
    Ok(OfCase { case: CaseId(row.get(0)?), closed: row.get(1)?, updated: row.get(2)? })
}
