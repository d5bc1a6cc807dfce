//! SQLite.
/// SQLite.
pub struct Sqlite;
