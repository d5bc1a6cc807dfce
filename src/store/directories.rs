//! The log directories that a daemon watches, so that the next one notices when one of them has another name.
//!
//! Owns: SQL for `directories`, and for the names of jobs outside of cases. Must not know: what a name is made of.

use super::StoreError;
use super::sql::{Row, Sql};
use crate::case::Renamed;

/// The migration that creates the table.
pub(super) const TABLE: &str = "
    CREATE TABLE directories (
        place TEXT PRIMARY KEY,
        name TEXT,
        watched INTEGER NOT NULL CHECK (watched IN (0, 1))
    ) STRICT;
    ";

/// A log directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownDirectory {
    /// Where it is: an absolute path, or an address.
    pub place: String,
    /// The name with which the names of its jobs begin; `None` if it was the only one.
    pub name: Option<String>,
    /// Whether the newest daemon watches it.
    pub watched: bool,
}

/// All directories that were ever watched, unless another one has taken their name.
pub(super) const ALL: &str = "SELECT place, name, watched FROM directories ORDER BY place";

/// A row of [`ALL`].
pub(super) fn row(row: &Row) -> Result<KnownDirectory, StoreError> {
    Ok(KnownDirectory { place: row.get(0)?, name: row.get(1)?, watched: row.get(2)? })
}

/// Stores the directories that are watched from now on. Names follow their directories to another place.
pub(super) fn write(sql: &mut dyn Sql, watched: &[KnownDirectory]) -> Result<(), StoreError> {
    sql.execute("UPDATE directories SET watched = 0", &[])?;
    for KnownDirectory { place, name, watched } in watched {
        sql.execute("DELETE FROM directories WHERE place = ?1", &[place])?;
        sql.execute("DELETE FROM directories WHERE watched = 0 AND coalesce(name, '') = coalesce(?1, '')", &[name])?;
        sql.execute("INSERT INTO directories (place, name, watched) VALUES (?1, ?2, ?3)", &[place, name, watched])?;
    }
    Ok(())
}

/// Gives the jobs of status reports and questions their new names.
pub(super) fn rename(sql: &mut dyn Sql, renamed: &[Renamed]) -> Result<(), StoreError> {
    if renamed.is_empty() {
        return Ok(());
    }
    let mut moved = Vec::new();
    for row in sql.query("SELECT job, fate, told FROM fates", &[])? {
        let (job, fate, told): (String, String, f64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if let Some(name) = Renamed::name_of(renamed, &job) {
            sql.execute("DELETE FROM fates WHERE job = ?1", &[&job])?;
            moved.push((name, fate, told));
        }
    }
    // Two directories may exchange their names.
    for (name, fate, told) in moved {
        sql.execute(
            "INSERT INTO fates (job, fate, told) VALUES (?1, ?2, ?3) ON CONFLICT (job) DO NOTHING",
            &[&name, &fate, &told],
        )?;
    }
    for row in sql.query("SELECT id, job FROM asks", &[])? {
        let (id, job): (String, String) = (row.get(0)?, row.get(1)?);
        if let Some(name) = Renamed::name_of(renamed, &job) {
            sql.execute("UPDATE asks SET job = ?2 WHERE id = ?1", &[&id, &name])?;
        }
    }
    Ok(())
}
