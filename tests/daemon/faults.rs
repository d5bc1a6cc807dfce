//! Faults of a machine: a full disk, a read-only disk, clock changes, a log directory and files that disappear and
//! return, no certificates.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::Command;

use nextrun::case::{CaseId, Person, Reply};
use nextrun::store::{Commit, Sqlite, Store, Wish};

use super::kills::{UNDISTURBED, asked};
use super::operate::{address, get, metric};
use super::stage::{Stage, verdict};
use super::training::{Run, knobs};
use super::web::{Event, Receiver};
use super::whole::trainer;

fn ids(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.text("/id").to_owned()).collect()
}

/// A configuration with a status page, by which a test sees how the daemon is.
fn with_a_page(stage: &Stage) -> String {
    let file = stage.write("nextrun.yaml", "status: { listen: \"127.0.0.1:0\" }\n");
    file.to_str().unwrap().to_owned()
}

/// No file that a process writes may be longer than so many bytes from here on, as on a disk that is full.
pub(super) fn longest_file(process: &str, size: &str) {
    let set = Command::new("prlimit").args(["--pid", process, &format!("--fsize={size}:")]).status().unwrap();
    assert!(set.success(), "{size}");
}

#[test]
fn without_room_it_waits_and_then_goes_on_as_if_nothing_had_been() {
    let stage = Stage::new();
    let queue = Receiver::start(trainer(&stage.logdir(), knobs(10.0)));
    let webhook = Receiver::of_everything();
    let configuration = with_a_page(&stage);
    let mut daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", &configuration]);
    let page = address(&stage);
    stage.until("it is ready", || get(&page, "/ready", "").starts_with("HTTP/1.1 200"));
    longest_file(&daemon.id(), "4096");
    Run::new(&stage.logdir(), "sick", &knobs(10.0)).train();
    stage.until("it says that it waits", || get(&page, "/ready", "").starts_with("HTTP/1.1 503"));
    assert!(get(&page, "/ready", "").contains("nextrun.db") && get(&page, "/health", "").contains("alive"));
    assert_eq!(stage.kept().len(), 0, "nothing is kept, and nothing is said");
    assert_eq!((queue.events().len(), webhook.events().len()), (0, 0));
    longest_file(&daemon.id(), "unlimited");
    let case = stage.until_closed("sick");
    assert_eq!(verdict(&case), "learning_rate_too_high");
    stage.until("the closing is delivered", || webhook.data_of("nextrun.case.closed").len() == 1);
    for events in [queue.events(), webhook.events()] {
        let sent = ids(&events);
        assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), sent.len(), "each once: {sent:?}");
    }
    assert!(daemon.ended().is_none(), "it never ended");
}

/// A closed loop to which something is done before each experiment: it comes to what it would have come to. `disturb` is
/// given the address of the status page, and the number of the experiment.
fn comes_to_the_same(stage: &Stage, environment: &[(&str, &str)], mut disturb: impl FnMut(&str, usize)) {
    let (queue, webhook) = (Receiver::of_everything(), Receiver::of_everything());
    let (configuration, places) = (with_a_page(stage), [queue.url(), webhook.url()]);
    let arguments =
        ["--queue", &places[0], "--webhook", &places[1], "--quiet-after", "600s", "--config", &configuration];
    let mut daemon = stage.start(&arguments, environment);
    let page = address(stage);
    Run::new(&stage.logdir(), "sick", &knobs(10.0)).train();
    let train = trainer(&stage.logdir(), knobs(10.0));
    let mut trained = 0;
    stage.until("the case is closed", || {
        if let Some(event) = queue.events().get(trained) {
            disturb(&page, trained);
            train(event);
            trained += 1;
        }
        stage.case_of("sick").is_some_and(|case| case.closed.is_some())
    });
    stage.until("the closing is delivered", || !webhook.data_of("nextrun.case.closed").is_empty());
    let (expected, experiments) = &*UNDISTURBED;
    assert_eq!(verdict(&stage.case_of("sick").unwrap()), expected, "{}", stage.log());
    assert_eq!(asked(&queue.events()), *experiments, "the same experiments");
    for events in [queue.events(), webhook.events()] {
        let sent = ids(&events);
        assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), sent.len(), "each once: {sent:?}");
    }
    let told = webhook.events();
    let kinds: Vec<&str> = told.iter().map(|event| event.text("/type")).collect();
    assert_eq!(kinds, ["nextrun.case.opened", "nextrun.case.closed"]);
    assert_eq!(stage.kept().len(), 1, "no run was taken for another");
    assert!(daemon.ended().is_none(), "it never ended");
}

#[test]
fn a_log_directory_that_goes_and_comes_back_changes_nothing() {
    let stage = Stage::new();
    let (logdir, away) = (stage.logdir(), stage.logdir().with_file_name("away"));
    comes_to_the_same(&stage, &[], |page, _| {
        fs::rename(&logdir, &away).unwrap();
        stage.until("it is missed", || metric(page, "nextrun_runs") == Some(0.0));
        fs::rename(&away, &logdir).unwrap();
    });
}

#[test]
fn a_clock_that_is_set_changes_nothing() {
    const DAY: f64 = 86_400.0;
    let stage = Stage::new();
    let clock = stage.write("clock", "0");
    let settings = [3.0 * DAY, -10.0 * DAY, 0.5 * DAY, 400.0 * DAY, 0.0];
    comes_to_the_same(&stage, &[("NEXTRUN_TEST_CLOCK", clock.to_str().unwrap())], |_, number| {
        let noticed = || stage.log().matches("clock jump detected").count();
        let before = noticed();
        // Replaced as a whole, so that half a number is never read.
        let next = stage.write("next", &settings[number % settings.len()].to_string());
        fs::rename(next, &clock).unwrap();
        stage.until("it is noticed", || noticed() > before);
    });
}

#[test]
fn a_state_directory_that_cannot_be_written_for_a_while_changes_nothing() {
    let stage = Stage::new();
    let switch = stage.logdir().with_file_name("read-only");
    comes_to_the_same(&stage, &[("NEXTRUN_TEST_READ_ONLY", switch.to_str().unwrap())], |page, number| {
        fs::write(&switch, "").unwrap();
        // What nobody asks of the database does not fail: a person asks something.
        let case = stage.case_of("sick").unwrap().id.0;
        let reply = Reply { answer: "found".into(), by: Person::default(), at: 0.0, why: String::new() };
        let wish = Wish::Reply { ask: format!("no-question-{number}"), reply };
        let requests = vec![(Some(CaseId(case)), wish)];
        let mut store = Sqlite::open_existing(&stage.state().join("nextrun.db")).unwrap();
        store.commit(&Commit { requests, ..Commit::default() }).unwrap();
        stage.until("it says that it waits", || get(page, "/ready", "").contains("cannot be written"));
        fs::remove_file(&switch).unwrap();
        stage.until("it is ready", || get(page, "/ready", "").starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn event_files_that_are_cut_replaced_or_torn_change_nothing() {
    let stage = Stage::new();
    let file = || {
        let mut files = fs::read_dir(stage.logdir().join("sick")).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.to_string_lossy().contains("tfevents")).unwrap()
    };
    comes_to_the_same(&stage, &[], |page, number| {
        let (path, read) = (file(), || metric(page, "nextrun_read_bytes_total").unwrap());
        let (bytes, before) = (fs::read(&path).unwrap(), read());
        let mut open = OpenOptions::new().append(true).open(&path).unwrap();
        match number % 3 {
            0 => {
                open.set_len(bytes.len() as u64 / 2).unwrap();
                stage.until("what is left is read", || read() > before);
                open.write_all(&bytes[bytes.len() / 2..]).unwrap();
            }
            1 => {
                let put = |bytes: &[u8]| {
                    let other = stage.write("other", "");
                    fs::write(&other, bytes).unwrap();
                    fs::rename(other, &path).unwrap();
                };
                put(&bytes[..bytes.len() / 3]);
                stage.until("the other file is read", || read() > before);
                put(&bytes);
            }
            _ => {
                let unfinished = || metric(page, "nextrun_files{state=\"unfinished\"}");
                open.write_all(&bytes[..30]).unwrap();
                stage.until("it is waited for", || unfinished() == Some(1.0));
                open.set_len(bytes.len() as u64).unwrap();
                stage.until("it is whole", || unfinished() == Some(0.0));
            }
        }
    });
}

/// As on a machine without the package ca-certificates.
const NO_CERTIFICATES: [(&str, &str); 2] = [("SSL_CERT_FILE", "/nowhere"), ("SSL_CERT_DIR", "/nowhere")];

#[test]
fn certificates_are_needed_only_where_a_message_goes_by_https() {
    let stage = Stage::new();
    let queue = Receiver::start(trainer(&stage.logdir(), knobs(10.0)));
    let webhook = Receiver::of_everything();
    let plain = ["--queue", &queue.url(), "--webhook", &webhook.url(), "--quiet-after", "600s"];
    let _daemon = stage.start(&plain, &NO_CERTIFICATES);
    Run::new(&stage.logdir(), "sick", &knobs(10.0)).train();
    assert_eq!(verdict(&stage.until_closed("sick")), "learning_rate_too_high");

    let other = Stage::new();
    let _terminal = other.start(&[], &NO_CERTIFICATES);
    other.until("a daemon with a terminal only watches", || other.log().contains("watching"));

    let third = Stage::new();
    let mut secure = third.start(&["--webhook", "https://127.0.0.1:1/"], &NO_CERTIFICATES);
    third.until("it ends", || secure.ended().is_some());
    assert_eq!(secure.ended().and_then(|status| status.code()), Some(2));
    let log = third.log();
    assert!(log.contains("the destination webhook: ") && log.contains("package ca-certificates"), "{log}");
}

#[test]
fn a_case_that_cannot_be_read_is_told_and_left_and_its_job_is_left_alone() {
    let stage = Stage::new();
    let (queue, webhook) = (Receiver::of_everything(), Receiver::of_everything());
    let mut daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s"]);
    Run::new(&stage.logdir(), "newer", &knobs(10.0)).train();
    stage.until("a run is suggested", || !queue.events().is_empty());
    daemon.kill();

    let database = rusqlite::Connection::open(stage.state().join("nextrun.db")).unwrap();
    let state = || -> String { database.query_row("SELECT state FROM cases", [], |row| row.get(0)).unwrap() };
    database.execute("UPDATE cases SET state = json_set(state, '$.version', 99)", []).unwrap();
    let (before, event) = (state(), queue.events()[0].clone());
    let _daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s"]);
    stage.until("it is told", || stage.log().contains("a stored case cannot be read"));
    assert!(stage.log().contains("version 99"), "{}", stage.log());
    // Its experiment is nobody's baseline; another job is investigated as ever.
    Run::new(&stage.logdir(), event.text("/data/run_name"), &knobs(10.0)).train();
    Run::new(&stage.logdir(), "other", &knobs(10.0)).train();
    stage.until("the other job has its case", || queue.events().iter().any(|event| event.text("/subject") == "other"));
    let sql = "SELECT state FROM cases WHERE baseline = 'newer'";
    assert_eq!(database.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap(), before);
    // The kill may have come before the answer was recorded: then the same message came twice.
    let distinct: BTreeSet<String> = ids(&queue.events()).into_iter().collect();
    assert_eq!(distinct.len(), 2, "one run is suggested for each of the two jobs");
    let listed = stage.cases(&["list"]);
    assert!(listed.contains("newer") && listed.contains("other"), "{listed}");
}
