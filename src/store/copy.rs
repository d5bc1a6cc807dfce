//! Moves everything from one database to another.
//!
//! Owns: the order of the tables, comparing. Must not know: queries.

use rusqlite::types::Value;

use super::sql::{Database, Row, Sql, ToSql};
use super::{CommitId, Postgres, Server, Sqlite, StateLock, StoreError, StorePlace, Tenure};

/// Rows that are held in memory at a time.
const ROWS: usize = 500;

/// A table.
struct Table {
    name: &'static str,
    /// Its columns; the first one orders its rows.
    columns: &'static str,
    key: Key,
}

/// The first column of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    /// A number that the database gives to new rows.
    Number,
    Text,
}

/// All tables; one that is referred to stands before those that refer to it.
const TABLES: [Table; 11] = [
    Table { name: "cases", key: Key::Text, columns: "id, baseline, closed, verdict, updated, state" },
    Table { name: "journal", key: Key::Number, columns: "id, case_id, time, kind, detail, term" },
    Table { name: "requests", key: Key::Number, columns: "id, case_id, wish" },
    Table { name: "messages", key: Key::Text, columns: "id, case_id, kind, subject, time, data" },
    Table {
        name: "deliveries",
        key: Key::Number,
        columns: "id, message_id, case_id, destination, state, attempts, due, changed, answer, reference",
    },
    Table { name: "attempts", key: Key::Number, columns: "id, delivery_id, number, begun, ended, outcome, answer" },
    Table { name: "waiting", key: Key::Number, columns: "id, message_id, destination, until, why, sent_as" },
    Table { name: "silences", key: Key::Text, columns: "id, jobs, until, author, why, made" },
    Table { name: "fates", key: Key::Number, columns: "rowid, job, fate, told" },
    Table {
        name: "asks",
        key: Key::Number,
        columns: "rowid, id, case_id, job, kind, shown, fingerprint, answers, asked, expires, answer, provider, \"user\", \
                  name, decided, why, withdrawn",
    },
    Table { name: "directories", key: Key::Text, columns: "place, name, watched" },
];

/// A database that nobody else uses meanwhile.
enum Ours {
    File(Sqlite, #[expect(dead_code, reason = "held until the end")] StateLock),
    Server(Box<Postgres>, Tenure),
}

/// Copies everything from one store to another, empty one, and compares it before it counts. No daemon may use either.
/// Returns the number of rows of each table.
///
/// # Errors
/// A daemon uses one of them, the target is not empty, or one of them failed. The target is then unchanged.
pub fn copy(from: &StorePlace, to: &StorePlace) -> Result<Vec<(&'static str, usize)>, StoreError> {
    // A store that is not there must not be made.
    from.open_read_only()?;
    let (mut from, mut to) = (ours(from)?, ours(to)?);
    let copied = match (&mut from, &mut to) {
        (Ours::File(from, _), Ours::File(to, _)) => copy_all(from, to),
        (Ours::File(from, _), Ours::Server(to, _)) => copy_all(from, to.as_mut()),
        (Ours::Server(from, _), Ours::File(to, _)) => copy_all(from.as_mut(), to),
        (Ours::Server(from, _), Ours::Server(to, _)) => copy_all(from.as_mut(), to.as_mut()),
    };
    for ours in [from, to] {
        if let Ours::Server(_, tenure) = ours {
            tenure.release();
        }
    }
    copied
}

fn ours(place: &StorePlace) -> Result<Ours, StoreError> {
    match place {
        StorePlace::File(path) => {
            let lock = StateLock::acquire(&path.with_file_name(StateLock::FILE))?;
            Ok(Ours::File(Sqlite::open(path)?, lock))
        }
        StorePlace::Server(server) => claimed(server),
    }
}

fn claimed(server: &Server) -> Result<Ours, StoreError> {
    let identity = super::random_identity();
    let mut claim = super::Claim::new(server, "nextrun store copy", &identity);
    match claim.make()? {
        Ok((store, tenure)) => Ok(Ours::Server(Box::new(store), tenure)),
        Err(owner) => Err(StoreError::Refused {
            place: server.to_string(),
            reason: format!("{} owns the cases of {}", owner.owner, owner.name),
            advice: "stop the daemons that use it, and wait 15 s after one that was killed",
        }),
    }
}

fn copy_all<T: Database>(from: &mut impl Database, to: &mut T) -> Result<Vec<(&'static str, usize)>, StoreError> {
    let place = to.place().to_string();
    let copied = to.write(&CommitId::default(), |target| {
        for table in &TABLES {
            if !rows(target, table, None)?.is_empty() {
                let (place, reason) = (place.clone(), format!("it already contains {}", table.name));
                let advice = "choose an empty database, another name, or a file that does not exist yet";
                return Err(StoreError::Refused { place, reason, advice });
            }
        }
        TABLES.iter().map(|table| Ok((table.name, copy_table::<T>(from, target, table, &place)?))).collect()
    })?;
    Ok(copied.unwrap_or_default())
}

/// Copies a table, and reads back what was written.
fn copy_table<T: Database>(
    from: &mut impl Database,
    target: &mut dyn Sql,
    table: &Table,
    place: &str,
) -> Result<usize, StoreError> {
    let (mut copied, mut last) = (0, None);
    loop {
        let some = from.read(|source| rows(source, table, last.as_ref()))?;
        for row in &some {
            insert(target, table, row)?;
        }
        if rows(target, table, last.as_ref())? != some {
            return Err(StoreError::Corrupt {
                path: place.to_owned(),
                what: format!("copy of {}", table.name),
                reason: format!("the rows after {copied} differ from those that were written"),
            });
        }
        copied += some.len();
        match some.into_iter().next_back() {
            Some(mut row) => last = Some(row.swap_remove(0)),
            None => break,
        }
    }
    if table.key == Key::Number
        && let Some(number) = T::DIALECT.number_on
    {
        let key = table.columns.split(',').next().unwrap_or_default();
        target.query(&number.replace("{table}", table.name).replace("{key}", key), &[])?;
    }
    Ok(copied)
}

/// The next rows of a table, in the order of its first column.
fn rows(sql: &mut dyn Sql, table: &Table, after: Option<&Value>) -> Result<Vec<Vec<Value>>, StoreError> {
    let Table { name, columns, .. } = table;
    let key = columns.split(',').next().unwrap_or_default();
    let found = match after {
        None => sql.query(&format!("SELECT {columns} FROM {name} ORDER BY {key} LIMIT {ROWS}"), &[])?,
        Some(after) => {
            let text = format!("SELECT {columns} FROM {name} WHERE {key} > ?1 ORDER BY {key} LIMIT {ROWS}");
            sql.query(&text, &[after])?
        }
    };
    Ok(found.into_iter().map(Row::into_values).collect())
}

fn insert(sql: &mut dyn Sql, table: &Table, row: &[Value]) -> Result<(), StoreError> {
    let places: Vec<String> = (1..=row.len()).map(|number| format!("?{number}")).collect();
    let text = format!("INSERT INTO {} ({}) VALUES ({})", table.name, table.columns, places.join(", "));
    let values: Vec<&dyn ToSql> = row.iter().map(|value| value as &dyn ToSql).collect();
    sql.execute(&text, &values)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::CaseId;
    use crate::store::{Commit, Store, StoredCase, Which, conformance};

    #[test]
    fn everything_is_copied_and_work_goes_on_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let released = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stores/schema1.db");
        let place = |name: &str| StorePlace::File(folder.path().join(name).join("nextrun.db"));
        let path = folder.path().join("old/nextrun.db");
        std::fs::create_dir(folder.path().join("old")).unwrap();
        std::fs::copy(released, &path).unwrap();
        drop(Sqlite::open(&path).unwrap());
        let copied = copy(&place("old"), &place("new")).unwrap();
        assert_eq!(copied.iter().find(|(table, _)| *table == "deliveries"), Some(&("deliveries", 23)));
        let all = |name: &str| {
            let mut store = place(name).open_read_only().unwrap();
            (store.cases(false).unwrap(), store.history(Which::default()).unwrap())
        };
        assert_eq!(all("old"), all("new"));
        let again = copy(&place("old"), &place("new")).unwrap_err().to_string();
        assert!(again.contains("already contains cases") && again.contains("choose"), "{again}");
        let missing = copy(&place("none"), &place("new")).unwrap_err();
        assert!(matches!(missing, StoreError::Missing { .. }) && !folder.path().join("none").exists());
        let _daemon = StateLock::acquire(&folder.path().join("old").join(StateLock::FILE)).unwrap();
        assert!(matches!(copy(&place("old"), &place("third")), Err(StoreError::Taken { .. })));
    }

    #[test]
    fn more_rows_than_are_held_at_a_time_are_copied() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).join("nextrun.db");
        let mut store = Sqlite::open(&path("a")).unwrap();
        let case = |number: usize| StoredCase {
            id: CaseId(format!("c{number}")),
            baseline: "runs/1".into(),
            closed: false,
            verdict: None,
            updated: 1.0,
            state: serde_json::json!({}),
        };
        let messages = (0..ROWS).map(|id| (conformance::message(&format!("m{id}"), "c1"), vec!["queue".into()]));
        let (cases, messages) = ((0..2 * ROWS + 1).map(case).collect(), messages.collect());
        store.commit(&Commit { cases, messages, ..Commit::default() }).unwrap();
        drop(store);
        let copied = copy(&StorePlace::File(path("a")), &StorePlace::File(path("b"))).unwrap();
        let filled: Vec<_> = copied.into_iter().filter(|(_, rows)| *rows > 0).collect();
        assert_eq!(filled, [("cases", 2 * ROWS + 1), ("messages", ROWS), ("deliveries", ROWS)]);
    }
}
