//! What the queries need of a database.
//!
//! Owns: rows, values, the differences between the databases. Must not know: tables, connections.
//!
//! The queries are written once, in SQL that SQLite and PostgreSQL share. Parameters are `?1`, `?2`, …; the values of
//! SQLite (text, integer, real, null) are all that a table contains.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::types::{FromSql, Value, ValueRef};

pub(super) use rusqlite::types::ToSql;

use super::{CommitId, Delivery, StoreError};

/// Leases by destination whose commit was not answered: they may be in force, and only this store knows of them.
pub(super) type Unanswered = BTreeMap<String, (CommitId, Vec<Delivery>)>;

/// A row of a result.
#[derive(Debug)]
pub(super) struct Row {
    place: Arc<str>,
    values: Vec<Value>,
}

impl Row {
    pub(super) fn new(place: &Arc<str>, values: Vec<Value>) -> Row {
        Row { place: place.clone(), values }
    }

    /// All values. A text has no null characters, which PostgreSQL cannot store.
    pub(super) fn into_values(self) -> Vec<Value> {
        let plain = |value| match value {
            Value::Text(text) if text.contains('\0') => Value::Text(text.replace('\0', "\u{fffd}")),
            other => other,
        };
        self.values.into_iter().map(plain).collect()
    }

    /// The value of a column.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: there is no such column, or it has another type.
    pub(super) fn get<T: FromSql>(&self, column: usize) -> Result<T, StoreError> {
        let value = self.values.get(column).map_or(ValueRef::Null, ValueRef::from);
        T::column_result(value).map_err(|error| StoreError::Corrupt {
            path: self.place.to_string(),
            what: "column".to_owned(),
            reason: format!("column {column}: {error}"),
        })
    }
}

/// A database within a transaction.
pub(super) trait Sql {
    /// Runs a statement; the number of changed rows.
    fn execute(&mut self, sql: &str, values: &[&dyn ToSql]) -> Result<usize, StoreError>;
    /// All rows of a query.
    fn query(&mut self, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<Row>, StoreError>;
    /// The first row of a query, if any.
    fn first(&mut self, sql: &str, values: &[&dyn ToSql]) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, values)?.into_iter().next())
    }
}

/// The parts of queries that differ.
#[derive(Debug)]
pub(super) struct Dialect {
    /// Follows `deliveries d` where they are leased.
    pub(super) by_next: &'static str,
    /// Ends a query whose rows are about to be leased.
    pub(super) to_lease: &'static str,
    /// Makes the numbers of new rows follow those of copied rows: a query with `{table}` and `{key}`.
    pub(super) number_on: Option<&'static str>,
}

/// A database; [`super::Store`] is implemented for all of them at once.
pub(super) trait Database: Send {
    /// The parts of queries that differ.
    const DIALECT: Dialect;

    /// The place of the database in messages.
    fn place(&self) -> Arc<str>;

    /// Reads in one transaction.
    fn read<T>(&mut self, work: impl FnMut(&mut dyn Sql) -> Result<T, StoreError>) -> Result<T, StoreError>;

    /// Changes the database in one transaction. `None`: this commit was already carried out, and its answer was lost.
    /// `work` runs again if the database asks for it.
    fn write<T>(
        &mut self,
        commit: &CommitId,
        work: impl FnMut(&mut dyn Sql) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError>;

    /// Leases whose commit was not answered.
    fn unanswered(&mut self) -> &mut Unanswered;

    /// The number of the ownership under which this store writes; 0 without any.
    fn term(&self) -> i64;

    /// Frees what was deleted.
    fn shrink(&mut self) -> Result<(), StoreError>;
}
