//! What experiments cost, so that budgets outlive a restart.
//!
//! Owns: its table and rows. Must not know: budgets.

use rusqlite::{Connection, Row, params};

use super::rows::Read;
use crate::case::CaseId;

/// The step of the schema that makes the table.
pub(super) const TABLE: &str = "
    CREATE TABLE spending (
        suggestion TEXT PRIMARY KEY,
        case_id TEXT,
        team TEXT NOT NULL,
        day TEXT NOT NULL,
        time REAL NOT NULL,
        hours REAL NOT NULL,
        gpu_hours REAL NOT NULL
    ) STRICT;
    CREATE INDEX spending_by_day ON spending (day);
    ";

pub(super) const SINCE: &str = "SELECT suggestion, case_id, team, day, time, hours, gpu_hours FROM spending
    WHERE day >= ?1 ORDER BY time, suggestion";

/// What one experiment cost, or is expected to cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Spending {
    /// The suggestion. A later amount for the same one takes the place of the earlier one.
    pub suggestion: String,
    /// The case; `None` for a probe, which belongs to no case.
    pub case: Option<CaseId>,
    /// The team that pays; empty where the site has no teams.
    pub team: String,
    /// The day that it counts for, as `2026-11-29`.
    pub day: String,
    /// When it was suggested, in seconds since the Unix epoch.
    pub time: f64,
    /// Hours of wall time.
    pub hours: f64,
    /// Hours of wall time times GPUs.
    pub gpu_hours: f64,
}

/// Keeps amounts.
pub(super) fn write(transaction: &Connection, spent: &[Spending]) -> rusqlite::Result<()> {
    for one in spent {
        let case = one.case.as_ref().map(|case| &case.0);
        transaction
            .prepare_cached("INSERT OR REPLACE INTO spending VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
            .execute(params![one.suggestion, case, one.team, one.day, one.time, one.hours, one.gpu_hours])?;
    }
    Ok(())
}

/// Deletes amounts that are older than a time, in seconds since the Unix epoch, and belong to no case that is kept.
pub(super) fn forget(transaction: &Connection, before: f64) -> rusqlite::Result<()> {
    let sql = "DELETE FROM spending WHERE time < ?1
        AND NOT EXISTS (SELECT 1 FROM cases WHERE cases.id = spending.case_id)";
    transaction.execute(sql, [before])?;
    Ok(())
}

/// A row of [`SINCE`].
pub(super) fn row(row: &Row<'_>) -> Read<Spending> {
    Ok(Ok(Spending {
        suggestion: row.get(0)?,
        case: row.get::<_, Option<String>>(1)?.map(CaseId),
        team: row.get(2)?,
        day: row.get(3)?,
        time: row.get(4)?,
        hours: row.get(5)?,
        gpu_hours: row.get(6)?,
    }))
}
