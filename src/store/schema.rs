//! The tables of the database, and migrations from older versions.
//!
//! Owns: SQL that changes the schema. Must not know: later queries.

use rusqlite::{Connection, TransactionBehavior};

/// Migrations, one per schema version; the version is the number of applied migrations (`user_version`). Never edit a
/// released migration; append a new one.
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
    super::waiting::TABLES,
    TYPED,
    super::fates::TABLE,
    "
    -- What a destination calls a message, kept before what follows the message is sent.
    ALTER TABLE deliveries ADD COLUMN reference TEXT;
    ",
    super::asks::TABLE,
    "
    -- Under which ownership it was written; 0 where a database has one owner only.
    ALTER TABLE journal ADD COLUMN term INTEGER NOT NULL DEFAULT 0;
    ",
    super::directories::TABLE,
];

/// Held deliveries get their own state, responses are typed, a request can be about no case, and delayed messages are
/// renamed. The tables are recreated because column constraints cannot be changed. JSON functions are applied only to
/// valid JSON: an error here would prevent the database from opening.
const TYPED: &str = "
    CREATE TABLE requests_new (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        case_id TEXT,
        wish TEXT NOT NULL
    ) STRICT;
    INSERT INTO requests_new SELECT id, case_id, CASE
        WHEN NOT json_valid(wish) THEN wish
        WHEN json_type(wish, '$.drop') = 'integer' THEN json_object('drop', json_object(
            'delivery', json_extract(wish, '$.drop'), 'why', coalesce(json_extract(wish, '$.why'), '')))
        WHEN json_type(wish, '$.unhold') = 'integer' THEN json_object('withdraw', json_object(
            'row', json_extract(wish, '$.unhold'), 'message', coalesce(json_extract(wish, '$.message'), ''),
            'destination', coalesce(json_extract(wish, '$.destination'), ''),
            'why', coalesce(json_extract(wish, '$.why'), '')))
        ELSE wish END FROM requests;
    DELETE FROM sqlite_sequence WHERE name = 'requests_new';
    INSERT INTO sqlite_sequence SELECT 'requests_new', seq FROM sqlite_sequence WHERE name = 'requests';
    DROP TABLE requests;
    ALTER TABLE requests_new RENAME TO requests;

    CREATE TABLE deliveries_new (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        message_id TEXT NOT NULL REFERENCES messages (id),
        case_id TEXT NOT NULL,
        destination TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        due REAL NOT NULL,
        changed REAL NOT NULL,
        answer TEXT,
        UNIQUE (message_id, destination)
    ) STRICT;
    INSERT INTO deliveries_new SELECT id, message_id, case_id, destination,
        CASE WHEN state = 'unknown' AND due > 1e300 THEN 'held' ELSE state END, attempts,
        CASE WHEN due > 1e300 THEN 0 ELSE due END, changed,
        CASE
            WHEN answer IS NULL THEN NULL
            WHEN state = 'delivered' AND json_valid(answer) THEN json_object('accepted', json(answer))
            WHEN state = 'delivered' THEN json_object('accepted', json('{}'))
            WHEN state = 'refused' AND json_valid(answer) THEN json_object('refused', json(answer))
            WHEN state = 'refused' THEN json_object('refused', json_object('why', answer))
            ELSE json_object('said', answer)
        END FROM deliveries;
    CREATE TABLE attempts_new (
        id INTEGER PRIMARY KEY,
        delivery_id INTEGER NOT NULL REFERENCES deliveries_new (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        begun REAL NOT NULL,
        ended REAL,
        outcome TEXT,
        answer TEXT
    ) STRICT;
    INSERT INTO attempts_new SELECT id, delivery_id, number, begun, ended, outcome,
        CASE
            WHEN answer IS NULL THEN NULL
            WHEN outcome = 'delivered' AND json_valid(answer) THEN json_object('accepted', json(answer))
            WHEN outcome = 'delivered' THEN json_object('accepted', json('{}'))
            WHEN outcome = 'refused' AND json_valid(answer) THEN json_object('refused', json(answer))
            WHEN outcome = 'refused' THEN json_object('refused', json_object('why', answer))
            ELSE json_object('said', answer)
        END FROM attempts WHERE delivery_id IN (SELECT id FROM deliveries);
    DELETE FROM sqlite_sequence WHERE name = 'deliveries_new';
    INSERT INTO sqlite_sequence SELECT 'deliveries_new', seq FROM sqlite_sequence WHERE name = 'deliveries';
    DROP TABLE attempts;
    DROP TABLE deliveries;
    ALTER TABLE deliveries_new RENAME TO deliveries;
    ALTER TABLE attempts_new RENAME TO attempts;
    CREATE INDEX deliveries_open ON deliveries (destination, case_id, id)
        WHERE state IN ('pending', 'sending', 'unknown');
    CREATE INDEX deliveries_next ON deliveries (destination, id)
        WHERE state IN ('pending', 'sending', 'unknown');
    CREATE INDEX deliveries_by_case ON deliveries (case_id, id);
    CREATE INDEX deliveries_by_message ON deliveries (message_id);
    CREATE INDEX attempts_by_delivery ON attempts (delivery_id, id);

    ALTER TABLE held RENAME TO waiting;
    DROP INDEX held_open;
    CREATE INDEX waiting_open ON waiting (id) WHERE sent_as IS NULL;
    ";

/// The newest schema that this program supports.
pub(super) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// The schema version of a database; 0 for an empty one.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Whether the database can be used: it is empty, or has the tables of the first schema, which all later versions
/// contain.
pub(super) fn is_ours(connection: &Connection) -> rusqlite::Result<bool> {
    let tables =
        "SELECT count(*), count(*) FILTER (WHERE name IN ('cases', 'journal', 'requests', 'messages', 'deliveries'))
                  FROM sqlite_master";
    let (all, ours): (i64, i64) = connection.query_row(tables, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(if version(connection)? == 0 { all == 0 } else { ours == 5 })
}

/// Applies the missing migrations in one transaction. A newer database stays unchanged.
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
