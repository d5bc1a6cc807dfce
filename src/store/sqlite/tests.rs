//! The embedded store on real files: stored data, rejected files, and error messages.

use std::fs;

use super::*;
use crate::case::{Body, CaseId, StopSuggested};
use crate::fate::{Fate, FateState, JobFate};
use crate::store::keeping::ELIGIBLE;
use crate::store::{
    Answer, Commit, Decision, DeliveryState, Forget, Owed, Store, StoredCase, Which, Wish, conformance,
};

fn fresh() -> impl Fn() -> Box<dyn Store> {
    let directory = tempfile::tempdir().unwrap();
    move || Box::new(Sqlite::open(&directory.path().join("state/nextrun.db")).unwrap())
}

#[test]
fn it_is_a_store() {
    conformance::suite(fresh);
}

#[test]
fn nothing_is_lost_doubled_or_overtaken() {
    conformance::nothing_is_lost_doubled_or_overtaken(fresh);
}

#[test]
fn commits_are_on_the_disk_and_readers_do_not_wait() {
    let directory = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&directory.path().join("db")).unwrap();
    let pragma = |name: &str| -> String {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
        match store.connection.query_row(&format!("PRAGMA {name}"), [], read).unwrap() {
            rusqlite::types::Value::Text(text) => text,
            rusqlite::types::Value::Integer(number) => number.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((pragma("journal_mode").as_str(), pragma("synchronous").as_str()), ("wal", "2"));
}

#[test]
fn a_failing_commit_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Sqlite::open(&directory.path().join("db")).unwrap();
    store
        .connection
        .execute_batch("CREATE TRIGGER no BEFORE INSERT ON requests BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    let commit = Commit {
        messages: vec![(conformance::message("m1", "c1"), vec!["queue".into()])],
        requests: vec![(Some(CaseId("c1".into())), Wish::Resend(1))],
        ..Commit::default()
    };
    assert!(matches!(store.commit(&commit), Err(StoreError::Database { .. })));
    assert_eq!(store.deliveries(None, None).unwrap(), []);
}

#[test]
fn a_listing_reads_beside_the_daemon_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let mut daemon = Sqlite::open(&path).unwrap();
    let mut listing = Sqlite::open_read_only(&path).unwrap();
    let owed = vec![(conformance::message("m1", "c1"), vec!["queue".into()])];
    daemon.commit(&Commit { messages: owed, ..Commit::default() }).unwrap();
    assert_eq!(listing.deliveries(None, None).unwrap().len(), 1);
    assert!(matches!(listing.recover(0.0), Err(StoreError::ReadOnly { .. })));
    drop((daemon, listing));
    assert_eq!(Sqlite::open_read_only(&path).unwrap().deliveries(None, None).unwrap().len(), 1);
}

#[test]
fn each_way_of_not_opening_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(
        path("text"),
        "these are notes, not a database, and long enough to have a header of their own\n".repeat(9),
    )
    .unwrap();
    Connection::open(path("newer")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    fs::write(path("file"), "").unwrap();
    fs::write(path("empty"), "").unwrap();
    let told = |result: Result<Sqlite, StoreError>| result.unwrap_err().to_string();
    for (message, words) in [
        (told(Sqlite::open(&path("text"))), ["text is not a nextrun database", "move the file away"]),
        (told(Sqlite::open(&path("newer"))), ["has schema 99", "run the newer version"]),
        (told(Sqlite::open(&path("file/db"))), ["could not create the state directory", "file"]),
        (told(Sqlite::open_read_only(&path("none"))), ["there is no database at", "none"]),
        (told(Sqlite::open_read_only(&path("empty"))), ["empty is not a nextrun database", "move"]),
        (told(Sqlite::open_read_only(&path("newer"))), ["has schema 99", "newer"]),
    ] {
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
        assert!(message.contains(&directory.path().display().to_string()), "{message}");
    }
}

#[test]
fn looking_for_work_does_not_read_the_history() {
    let directory = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&directory.path().join("db")).unwrap();
    let sql = format!(
        "EXPLAIN QUERY PLAN SELECT d.id, m.id FROM deliveries d {} LEFT JOIN messages m ON m.id = d.message_id
         WHERE {ELIGIBLE} ORDER BY d.id LIMIT 1",
        Sqlite::DIALECT.by_next
    );
    let mut query = store.connection.prepare(&sql).unwrap();
    let steps = query.query_map(["queue"], |row| row.get::<_, String>(3)).unwrap();
    let plan = steps.map(Result::unwrap).collect::<Vec<_>>().join("; ");
    assert!(plan.contains("INDEX deliveries_next") && plan.contains("INDEX deliveries_open"), "{plan}");
    assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{plan}");
}

#[test]
fn a_row_that_does_not_read_back_is_named_and_holds_up_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Sqlite::open(&directory.path().join("db")).unwrap();
    for id in ["m1", "m2"] {
        let owed = vec![(conformance::message(id, "c1"), vec!["queue".into()])];
        store.commit(&Commit { messages: owed, ..Commit::default() }).unwrap();
    }
    store.connection.execute("UPDATE messages SET data = '{' WHERE id = 'm1'", []).unwrap();
    assert_eq!(store.lease("queue", 0.0, 1).unwrap(), []);
    assert_eq!(store.lease("queue", 0.0, 1).unwrap()[0].message.id, "m2");
    let listed = store.history(Which::default()).unwrap();
    assert_eq!(listed[0].as_ref().unwrap().delivery.message.id, "m2");
    let unreadable = listed[1].as_ref().unwrap_err();
    assert_eq!((unreadable.id, unreadable.what.as_str()), (1, "message"));
}

/// A database written by the first release: a closed case with deliveries in three states.
fn of_the_first_release(directory: &Path) -> PathBuf {
    let path = directory.join("nextrun.db");
    let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stores/schema1.db");
    fs::copy(released, &path).unwrap();
    path
}

#[test]
fn an_older_database_goes_on_with_all_that_is_in_it() {
    for version in 1..schema::KNOWN {
        let directory = tempfile::tempdir().unwrap();
        let path = of_the_first_release(directory.path());
        let connection = Connection::open(&path).unwrap();
        for step in &schema::MIGRATIONS[1..usize::try_from(version).unwrap()] {
            connection.execute_batch(step).unwrap();
        }
        connection.pragma_update(None, "user_version", version).unwrap();
        drop(connection);
        goes_on(&path, version);
    }
}

/// Requests and responses from before they were typed.
const OLD_WORDS: &str = "
    INSERT INTO messages VALUES ('s1', 'c1', 'run_suggested', 'r', 1.0, '{}'), ('s2', 'c1', 'run_suggested', 'r', 1.0, '{}'),
        ('s3', 'c2', 'case_opened', 'r', 1.0, '{}'), ('s4', 'c3', 'case_opened', 'r', 1.0, '{}');
    INSERT INTO deliveries (message_id, case_id, destination, state, attempts, due, changed, answer) VALUES
        ('s1', 'c1', 'q', 'delivered', 1, 0, 1, '{\"reference\":\"17\"}'), ('s1', 'c1', 'r', 'delivered', 1, 0, 1, '{}'),
        ('s2', 'c1', 'q', 'refused', 1, 0, 1, '{\"unknown_knobs\":[\"loss\"],\"why\":\"no --loss\"}'),
        ('s3', 'c2', 'q', 'unknown', 1, 1.7976931348623157e308, 1, 'timed out \"oddly\"'),
        ('s4', 'c3', 'q', 'dead', 3, 0, 1, '404'), ('s4', 'c3', 'r', 'pending', 0, 5, 1, NULL);
    INSERT INTO requests (case_id, wish) VALUES ('c1', '{\"link\":\"a\"}'), ('c1', '{\"drop\":7,\"why\":\"w\"}'),
        ('c1', '{\"unhold\":3,\"message\":\"m\",\"destination\":\"d\",\"why\":\"w\"}'), ('c1', '{\"resend\":5}'),
        ('c1', '{\"close\":{\"verdict\":\"healthy\",\"why\":\"w\"}}'), ('c1', 'no json'), ('c1', '{\"dance\":1}');";

#[test]
fn what_was_said_in_older_words_is_understood() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nextrun.db");
    let connection = Connection::open(&path).unwrap();
    for step in &schema::MIGRATIONS[..3] {
        connection.execute_batch(step).unwrap();
    }
    connection.execute_batch(OLD_WORDS).unwrap();
    connection.pragma_update(None, "user_version", 3).unwrap();
    drop(connection);
    let mut store = Sqlite::open(&path).unwrap();
    let rows: Vec<Owed> = store.history(Which::default()).unwrap().into_iter().map(Result::unwrap).collect();
    let refused = Answer::Refused { unknown_knobs: vec!["loss".into()], why: "no --loss".into() };
    let accepted = |reference: Option<&str>| Some(Answer::Accepted { reference: reference.map(str::to_owned) });
    let found: Vec<(DeliveryState, Option<Answer>)> =
        rows.into_iter().rev().map(|owed| (owed.delivery.state, owed.delivery.answer)).collect();
    assert_eq!(
        found,
        [
            (DeliveryState::Delivered, accepted(Some("17"))),
            (DeliveryState::Delivered, accepted(None)),
            (DeliveryState::Refused, Some(refused)),
            (DeliveryState::Held, Some("timed out \"oddly\"".into())),
            (DeliveryState::Dead, Some("404".into())),
            (DeliveryState::Pending, None),
        ]
    );
    let asked = store.requests().unwrap();
    let wishes: Vec<Wish> = asked.iter().flatten().map(|request| request.wish.clone()).collect();
    let withdraw = Wish::Withdraw { row: 3, message: "m".into(), destination: "d".into(), why: "w".into() };
    let close = Wish::Close { verdict: "healthy".into(), why: "w".into() };
    let drop = Wish::Drop { delivery: 7, why: "w".into() };
    assert_eq!(wishes, [Wish::Link("a".into()), drop, withdraw, Wish::Resend(5), close]);
    let unread: Vec<i64> = asked.iter().filter_map(|row| row.as_ref().err()).map(|row| row.id).collect();
    assert_eq!(unread, [6, 7], "what is no request is told of, and left");
}

#[test]
fn rows_that_cannot_be_read_keep_nothing_else_from_being_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Sqlite::open(&directory.path().join("db")).unwrap();
    let case = |id: &str| StoredCase {
        id: CaseId(id.into()),
        baseline: format!("runs/{id}"),
        closed: false,
        verdict: None,
        updated: 1.0,
        state: serde_json::json!({}),
    };
    let waiting = vec![conformance::wait("m1", "c1", "team"), conformance::wait("m2", "c2", "team")];
    let fates = ["a", "b"].map(|job| JobFate { job: job.into(), fate: Fate::new(FateState::Lost), told: 1.0 }).to_vec();
    store.commit(&Commit { cases: vec![case("c1"), case("c2")], waiting, fates, ..Commit::default() }).unwrap();
    let damage = "UPDATE cases SET state = '{' WHERE id = 'c1'; UPDATE messages SET data = '3' WHERE id = 'm1';
                  UPDATE fates SET fate = '{\"state\": \"dancing\"}' WHERE job = 'a'";
    store.connection.execute_batch(damage).unwrap();
    let cases = store.cases(false).unwrap();
    assert_eq!(cases[1], Ok(case("c2")));
    let unreadable = cases[0].as_ref().unwrap_err();
    assert_eq!((unreadable.id.0.as_str(), unreadable.baseline.as_str(), unreadable.closed), ("c1", "runs/c1", false));
    assert!(matches!(store.case("c1"), Err(StoreError::Corrupt { .. })));
    assert_eq!(store.case("c2").unwrap(), Some(case("c2")));
    let quieted = store.quieted().unwrap();
    assert_eq!((quieted.waiting.len(), quieted.unreadable[0].what.as_str()), (1, "message"));
    let fates = store.fates().unwrap();
    assert_eq!((fates[0].as_ref().unwrap_err().what.as_str(), fates[1].as_ref().unwrap().job.as_str()), ("fate", "b"));
}

fn goes_on(path: &Path, version: i64) {
    assert!(matches!(Sqlite::open_read_only(path), Err(StoreError::Older { found, .. }) if found == version));
    let mut store = Sqlite::open(path).unwrap();
    assert_eq!(schema::version(&store.connection).unwrap(), schema::KNOWN);
    assert_eq!(store.cases(false).unwrap()[0].as_ref().unwrap().verdict.as_deref(), Some("inconclusive"));
    let rows: Vec<Owed> = store.history(Which::default()).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 23);
    for owed in &rows {
        let tries: Vec<u32> = owed.tries.iter().map(|attempt| attempt.number).collect();
        let known = if owed.delivery.attempts == 0 { vec![] } else { vec![owed.delivery.attempts] };
        assert_eq!(tries, known, "of the tries before, the newest is known");
    }
    let retried = store.lease("audit", f64::MAX / 2.0, 9).unwrap();
    assert_eq!((retried[0].id, retried[0].attempts), (1, 3), "what was owed is sent");
    let wait = conformance::wait("m1", "c1", "team");
    store.commit(&Commit { waiting: vec![wait.clone()], ..Commit::default() }).unwrap();
    drop(store);
    let mut again = Sqlite::open(path).unwrap();
    assert_eq!(again.history(Which::default()).unwrap().len(), 23, "and opens again");
    assert_eq!(again.quieted().unwrap().waiting[0].wait, wait);
}

#[test]
fn what_is_forgotten_leaves_room_for_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = of_the_first_release(directory.path());
    let mut store = Sqlite::open(&path).unwrap();
    let pages =
        |store: &Sqlite| -> i64 { store.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap() };
    let before = pages(&store);
    for owed in store.history(Which::default()).unwrap().into_iter().flatten() {
        let decisions = vec![(owed.delivery.id, Decision::Drop { why: "old".into(), at: 1.0 })];
        store.commit(&Commit { decisions, ..Commit::default() }).unwrap();
    }
    let cases = store.cases(false).unwrap().into_iter().map(|case| case.unwrap().id).collect();
    store.commit(&Commit { forget: Some(Forget { before: 9e9, cases }), ..Commit::default() }).unwrap();
    assert_eq!(store.cases(false).unwrap(), []);
    assert!(pages(&store) < before, "{} of {before} pages", pages(&store));
}

#[test]
fn a_back_up_is_whole_and_takes_no_others_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nextrun.db");
    let mut daemon = Sqlite::open(&path).unwrap();
    let owed = vec![(conformance::message("m1", "c1"), vec!["queue".into()])];
    daemon.commit(&Commit { messages: owed, ..Commit::default() }).unwrap();
    let copy = directory.path().join("copy.db");
    Sqlite::back_up(&path, &copy).unwrap();
    daemon.lease("queue", 1.0, 1).unwrap();
    let mut restored = Sqlite::open(&copy).unwrap();
    assert_eq!(restored.deliveries(None, None).unwrap()[0].state, DeliveryState::Pending, "as it was then");
    let refusal = Sqlite::back_up(&path, &copy).unwrap_err().to_string();
    assert!(refusal.contains("copy.db") && refusal.contains("exists"), "{refusal}");
}

#[test]
fn a_database_that_cannot_grow_keeps_nothing_by_halves_and_works_again_when_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Sqlite::open(&directory.path().join("db")).unwrap();
    let limit = |store: &Sqlite, pages: i64| {
        store.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    let owed = |id: &str, size: usize| {
        let mut message = conformance::message(id, "c1");
        message.body = Body::StopSuggested(StopSuggested { why: "x".repeat(size), ..StopSuggested::default() });
        Commit { messages: vec![(message, vec!["queue".into()])], ..Commit::default() }
    };
    store.commit(&owed("m1", 10)).unwrap();
    limit(&store, 1);
    let refusal = store.commit(&owed("m2", 500_000)).unwrap_err();
    assert!(matches!(refusal, StoreError::Full { .. }) && refusal.may_pass(), "{refusal}");
    assert_eq!(store.deliveries(None, None).unwrap().len(), 1);
    limit(&store, 1_000_000);
    store.commit(&owed("m2", 500_000)).unwrap();
    assert_eq!(store.deliveries(None, None).unwrap().len(), 2);
}

#[test]
fn a_damaged_database_is_told_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = of_the_first_release(directory.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[8192..40960].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let message = Sqlite::open(&path).unwrap_err().to_string();
    assert!(message.contains("is damaged") && message.contains(".recover"), "{message}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}
