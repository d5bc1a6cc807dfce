//! Deletes old data and frees their space.
//!
//! Owns: SQL for deletion by age, and shrinking the file. Must not know: how long data are kept.

use rusqlite::Connection;

use super::sql::Sql;
use super::{Forget, StoreError, asks, fates, waiting};

/// Deletes the given data. Pending deliveries and the data they need are never deleted.
pub(super) fn forget(sql: &mut dyn Sql, forget: &Forget) -> Result<(), StoreError> {
    // A digest belongs to no case.
    sql.execute(
        "DELETE FROM deliveries WHERE changed < ?1 AND state IN ('delivered', 'refused', 'dead')
           AND NOT EXISTS (SELECT 1 FROM cases WHERE id = deliveries.case_id AND (closed = 0 OR updated >= ?1))",
        &[&forget.before],
    )?;
    waiting::forget(sql, forget.before)?;
    fates::forget(sql, forget.before)?;
    for case in &forget.cases {
        sql.execute(
            "DELETE FROM cases WHERE id = ?1 AND closed = 1 AND updated < ?2
               AND NOT EXISTS (SELECT 1 FROM deliveries WHERE case_id = ?1)
               AND NOT EXISTS (SELECT 1 FROM waiting w JOIN messages m ON m.id = w.message_id WHERE m.case_id = ?1)",
            &[&case.0, &forget.before],
        )?;
    }
    asks::forget(sql, forget.before)?;
    // A closed case creates no new messages, so the ids of messages without deliveries are no longer needed.
    sql.execute(
        "DELETE FROM messages WHERE time < ?1 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message_id = messages.id)
           AND NOT EXISTS (SELECT 1 FROM waiting WHERE message_id = messages.id)
           AND NOT EXISTS (SELECT 1 FROM cases WHERE id = messages.case_id AND (closed = 0 OR updated >= ?1))",
        &[&forget.before],
    )?;
    sql.execute(
        "DELETE FROM journal WHERE time < ?1 AND NOT EXISTS (SELECT 1 FROM cases WHERE id = journal.case_id)",
        &[&forget.before],
    )?;
    Ok(())
}

/// Returns empty pages to the file system.
pub(super) fn shrink(connection: &Connection) -> rusqlite::Result<()> {
    // Each row is one unit of work, so all must be fetched.
    let mut steps = connection.prepare("PRAGMA incremental_vacuum")?;
    let mut rows = steps.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Enables shrinking for a database created by an older version, once, by rewriting it.
pub(super) fn make_shrinkable(connection: &Connection) -> rusqlite::Result<()> {
    let mode: i64 = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    if mode == INCREMENTAL {
        return Ok(());
    }
    connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM")
}

/// SQLite's number for this mode.
const INCREMENTAL: i64 = 2;
