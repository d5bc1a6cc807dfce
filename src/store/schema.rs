//! The tables of the database, and how an older database becomes a current one.
//!
//! Owns: SQL that changes the schema. Must not know: what is asked of the tables later.

use rusqlite::{Connection, TransactionBehavior};

/// One step from a schema version to the next; the version is the number of steps taken (`user_version`). A step that
/// has been released is never edited: append another.
pub(super) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE cases (
        id TEXT PRIMARY KEY,
        baseline TEXT NOT NULL,
        closed INTEGER NOT NULL CHECK (closed IN (0, 1)),
        verdict TEXT,
        updated REAL NOT NULL,
        state TEXT NOT NULL
    ) STRICT;
    CREATE INDEX cases_by_update ON cases (closed, updated);

    CREATE TABLE journal (
        id INTEGER PRIMARY KEY,
        case_id TEXT NOT NULL,
        time REAL NOT NULL,
        kind TEXT NOT NULL,
        detail TEXT NOT NULL
    ) STRICT;
    CREATE INDEX journal_by_case ON journal (case_id, id);

    CREATE TABLE requests (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        case_id TEXT NOT NULL,
        wish TEXT NOT NULL
    ) STRICT;

    CREATE TABLE messages (
        id TEXT PRIMARY KEY,
        case_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        time REAL NOT NULL,
        data TEXT NOT NULL
    ) STRICT;

    CREATE TABLE deliveries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        message_id TEXT NOT NULL REFERENCES messages (id),
        case_id TEXT NOT NULL,
        destination TEXT NOT NULL,
        state TEXT NOT NULL
            CHECK (state IN ('pending', 'sending', 'delivered', 'refused', 'unknown', 'dead')),
        attempts INTEGER NOT NULL,
        due REAL NOT NULL,
        changed REAL NOT NULL,
        answer TEXT,
        UNIQUE (message_id, destination)
    ) STRICT;
    CREATE INDEX deliveries_open ON deliveries (destination, case_id, id)
        WHERE state IN ('pending', 'sending', 'unknown');
    CREATE INDEX deliveries_next ON deliveries (destination, id)
        WHERE state IN ('pending', 'sending', 'unknown');
    CREATE INDEX deliveries_by_case ON deliveries (case_id, id);
    ",
    "
    CREATE TABLE attempts (
        id INTEGER PRIMARY KEY,
        delivery_id INTEGER NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        begun REAL NOT NULL,
        ended REAL,
        outcome TEXT,
        answer TEXT
    ) STRICT;
    CREATE INDEX attempts_by_delivery ON attempts (delivery_id, id);
    CREATE INDEX deliveries_by_message ON deliveries (message_id);
    CREATE INDEX messages_by_case ON messages (case_id);
    -- Of the tries before this, the newest alone is known.
    INSERT INTO attempts (delivery_id, number, begun, ended, outcome, answer)
        SELECT id, attempts, changed,
            CASE state WHEN 'sending' THEN NULL ELSE changed END,
            CASE state WHEN 'sending' THEN NULL ELSE state END, answer
        FROM deliveries WHERE attempts > 0;
    ",
    super::held::TABLES,
];

/// The newest schema that this program knows.
pub(super) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// The schema version of a database; 0 for an empty one.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Whether what is there may be used: nothing at all, or the tables of the first schema, which every later one has.
pub(super) fn is_ours(connection: &Connection) -> rusqlite::Result<bool> {
    let tables =
        "SELECT count(*), count(*) FILTER (WHERE name IN ('cases', 'journal', 'requests', 'messages', 'deliveries'))
                  FROM sqlite_master";
    let (all, ours): (i64, i64) = connection.query_row(tables, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(if version(connection)? == 0 { all == 0 } else { ours == 5 })
}

/// Takes the steps that are missing, in one transaction. A newer database is left as it is.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        transaction.execute_batch(step)?;
    }
    if found < KNOWN {
        transaction.pragma_update(None, "user_version", KNOWN)?;
    }
    transaction.commit()
}
