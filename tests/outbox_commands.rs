//! The outbox commands on a database written by the first release.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

use nextrun::store::{Sqlite, Store};
use serde_json::Value;

struct State(tempfile::TempDir);

impl State {
    /// A state directory of the first release: one closed case, three destinations.
    fn of_the_first_release() -> State {
        let state = State(tempfile::tempdir().unwrap());
        let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stores/schema1.db");
        std::fs::copy(released, state.database()).unwrap();
        Sqlite::open(&state.database()).unwrap();
        state
    }

    fn database(&self) -> std::path::PathBuf {
        self.0.path().join("nextrun.db")
    }

    /// Exit code, standard output, standard error.
    fn outbox(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nextrun"));
        let output = command.arg("outbox").args(arguments).arg("--state").arg(self.0.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        let (code, out, err) = self.outbox(&[arguments, &["--format", "json"]].concat());
        assert_eq!(code, 0, "{err}");
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn listings_tell_what_is_owed_and_what_was_tried() {
    let state = State::of_the_first_release();
    assert_eq!(state.rows(&["list"]).len(), 23);
    let dead = state.rows(&["list", "--only", "dead"]);
    assert_eq!(dead.len(), 9);
    assert!(dead.iter().all(|row| row["answer"].as_str().unwrap().contains("answered 400")), "{dead:?}");
    let history = state.rows(&["history", "--case", "599e"]);
    assert!(history.iter().any(|row| row["outcome"] == "delivered" && row["destination"] == "cluster"), "{history:?}");
    assert!(history.windows(2).all(|two| two[0]["begun"].as_f64() >= two[1]["begun"].as_f64()), "the newest first");
    let (_, text, _) = state.outbox(&["list", "--only", "pending"]);
    assert!(text.contains("nextrun.case.opened to audit: team/bad (case 599e32c3a7aa, 2 attempts)"), "{text}");
}

#[test]
fn a_row_that_cannot_be_read_is_shown_and_hides_no_other() {
    let state = State::of_the_first_release();
    let database = rusqlite::Connection::open(state.database()).unwrap();
    database
        .execute("UPDATE messages SET data = '{' WHERE id = (SELECT message_id FROM deliveries WHERE id = 4)", [])
        .unwrap();
    let rows = state.rows(&["list"]);
    assert_eq!(rows.len(), 23);
    let broken: Vec<&Value> = rows.iter().filter(|row| row["state"] == "unreadable").collect();
    assert_eq!(broken.iter().map(|row| row["id"].as_i64().unwrap()).collect::<Vec<_>>(), [4, 3]);
    let (code, out, err) = state.outbox(&["list"]);
    assert!(code == 0 && out.contains("    4  unreadable: its message cannot be read"), "{out}{err}");
    let (code, out, err) = state.outbox(&["explain", "599e32c3a7aa"]);
    assert!(code == 0 && out.contains("unreadable") && out.contains("waits for delivery 1"), "{out}{err}");
    let (code, _, err) = state.outbox(&["resend", "4"]);
    assert!(code == 2 && err.contains("delivery 4") && err.contains("cannot be read"), "{err}");
}

#[test]
fn what_cannot_be_asked_is_refused_whole_with_a_reason() {
    let state = State::of_the_first_release();
    for (arguments, words) in [
        (vec!["resend", "5"], "delivery 5 is delivered"),
        (vec!["resend", "2", "7"], "delivery 7 suggests a run that its case no longer waits for; add --stale"),
        (vec!["resend", "99"], "there is no delivery 99"),
        (vec!["drop", "1", "2", "--why", "x"], "delivery 2 is already dead"),
        (vec!["explain", "nobody"], "there is no case nobody"),
    ] {
        let (code, _, err) = state.outbox(&arguments);
        assert!(code == 2 && err.contains(words), "{arguments:?}: {err}");
    }
    let (code, _, err) = state.outbox(&["drop", "w7", "--why", "x"]);
    assert!(code == 2 && err.contains("there is no waiting message w7"), "{err}");
    let asked = || Sqlite::open(&state.database()).unwrap().requests().unwrap();
    assert_eq!(asked(), [], "either all or none");
    let (code, out, err) = state.outbox(&["resend", "2", "7", "--stale"]);
    assert!(code == 0 && out.contains("delivery 7 to archive"), "{out}{err}");
    assert_eq!(asked().len(), 2);
}

#[test]
fn only_the_daemon_makes_a_database_or_brings_it_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let silence = |state: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nextrun"));
        command.args(["silence", "add", "a/**", "--for", "1h", "--why", "x", "--state"]).arg(state);
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let nowhere = folder.path().join("mistyped");
    let (code, err) = silence(&nowhere);
    assert!(code == 2 && err.contains("there is no database at"), "{err}");
    assert!(!nowhere.exists());
    let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stores/schema1.db");
    std::fs::copy(&released, folder.path().join("nextrun.db")).unwrap();
    let (code, err) = silence(folder.path());
    assert!(code == 2 && err.contains("start `nextrun watch` on it once"), "{err}");
    assert_eq!(std::fs::read(folder.path().join("nextrun.db")).unwrap(), std::fs::read(released).unwrap());
}

#[test]
fn what_is_no_database_of_ours_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nextrun.db");
    let refused = || {
        let errors = [Sqlite::open(&path).unwrap_err(), Sqlite::open_existing(&path).unwrap_err()];
        assert!(errors.iter().all(|error| error.to_string().contains("is not a nextrun database")), "{errors:?}");
    };
    // With a version that could be ours, and with none.
    for version in [0, 2] {
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch(&format!("CREATE TABLE cases (photo TEXT); PRAGMA user_version = {version}")).unwrap();
        drop(other);
        let before = std::fs::read(&path).unwrap();
        refused();
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::remove_file(&path).unwrap();
    }
    std::fs::write(&path, "a text that is long enough to be looked at as a header of a database, and is none").unwrap();
    refused();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    refused();
}

#[test]
fn a_database_of_an_older_release_can_be_backed_up_before_it_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("nextrun.db"), folder.path().join("copy.db"));
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stores/schema1.db"), &path).unwrap();
    Sqlite::back_up(&path, &copy).unwrap();
    let version = |path: &Path| -> i64 {
        let database = rusqlite::Connection::open(path).unwrap();
        database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    };
    assert_eq!((version(&path), version(&copy)), (1, 1));
    assert_eq!(Sqlite::open(&copy).unwrap().history(nextrun::store::Which::default()).unwrap().len(), 23);
}

#[test]
fn a_name_with_line_ends_begins_no_line_of_a_listing() {
    let state = State::of_the_first_release();
    let database = rusqlite::Connection::open(state.database()).unwrap();
    database.execute("UPDATE messages SET subject = 'a\n   99  delivered \u{1b}[31m'", []).unwrap();
    let (_, out, _) = state.outbox(&["list"]);
    assert!(out.contains(": a    99  delivered \u{fffd}[31m (case"), "{out}");
    assert!(!out.lines().any(|line| line.starts_with("   99")), "{out}");
}
