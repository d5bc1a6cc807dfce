//! A daemon that is killed repeatedly without warning during delivery: nothing is lost, and nothing is sent after a
//! recorded success.
//!
//! The test starts itself as the process that is killed, so it has its own `main`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "this test needs a receiver that behaves")]
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nextrun::case::{Body, CaseId, Message};
use nextrun::destinations::{Destination, Http, Preset, Secret, Setup, Surroundings, Timeouts};
use nextrun::outbox::{Outbox, Pace, Sending};
use nextrun::store::{Commit, DeliveryState, SharedStore, Sqlite, StateLock, Store};
use support::{Act, Server, until};

const CHILD: &str = "NEXTRUN_TEST_CHILD";
const URL: &str = "NEXTRUN_TEST_URL";
const MESSAGES: usize = 40;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match std::env::var_os(CHILD) {
        Some(state) => runtime.block_on(deliver_until_killed(&PathBuf::from(state), &std::env::var(URL).unwrap())),
        None => {
            runtime.block_on(killed_anywhere_nothing_is_lost_or_sent_after_a_recorded_success());
            println!("test killed_anywhere_nothing_is_lost_or_sent_after_a_recorded_success ... ok");
            runtime.block_on(ended_at_every_commit_and_send_each_case_is_told_in_order());
            println!("test ended_at_every_commit_and_send_each_case_is_told_in_order ... ok");
        }
    }
}

/// What the daemon does at its start, and nothing else.
async fn deliver_until_killed(state: &Path, url: &str) {
    let _lock = StateLock::acquire(&state.join("lock")).unwrap();
    let store = SharedStore::new(Box::new(Sqlite::open(&state.join("nextrun.db")).unwrap()));
    store.with(|store| store.recover(0.0)).await.unwrap();
    let surroundings = Surroundings {
        host: "login1".into(),
        http: Http::new(Timeouts::default()),
        terminal: Arc::new(Mutex::new(std::io::sink())),
    };
    let fields = [("url".to_owned(), Secret::new(url))].into();
    let setup = Setup { name: "queue".into(), fields, ..Setup::default() };
    let queue = Destination::new(Arc::new(Preset::shipped("queue").unwrap()), setup, &surroundings).unwrap();
    let pace = Pace { first: Duration::from_millis(1), ..Pace::default() };
    let (reports, _nobody) = tokio::sync::mpsc::unbounded_channel();
    let _outbox =
        Outbox::start(vec![queue], &Sending { store, pace, clock: Arc::new(|| 1.0), reports, metrics: Arc::default() });
    std::future::pending().await
}

fn spawn(state: &Path, url: &str) -> Child {
    child(state, url).spawn().unwrap()
}

fn child(state: &Path, url: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CHILD, state).env(URL, url);
    command
}

fn message(id: &str, case: &str) -> Message {
    Message {
        id: id.into(),
        case: CaseId(case.into()),
        subject: "resnet/7".into(),
        time: 1.0,
        body: Body::RunSuggested(Box::default()),
    }
}

/// Of two cases, so that what waits for an earlier message is among what a crash may lose, double or turn round.
const OWED: [(&str, &str); 4] = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a")];

async fn ended_at_every_commit_and_send_each_case_is_told_in_order() {
    let mut ends = 0;
    for point in 1.. {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("nextrun.db");
        let server = Server::start(vec![], Act::status(200)).await;
        let messages = OWED.iter().map(|(id, case)| (message(id, case), vec!["queue".to_owned()])).collect();
        Sqlite::open(&database).unwrap().commit(&Commit { messages, ..Commit::default() }).unwrap();
        let mut first =
            child(directory.path(), &server.url()).env("NEXTRUN_TEST_END_AT", point.to_string()).spawn().unwrap();
        let mut ended = false;
        until("it ends or delivers", || {
            ended = first.try_wait().unwrap().is_some();
            ended || delivered(&database).len() == OWED.len()
        })
        .await;
        ends += usize::from(ended);
        let recorded = delivered(&database);
        let before = server.ids().len();
        // Killed where it did not end by itself: it is idle then.
        drop(first.kill());
        first.wait().unwrap();
        let mut second = spawn(directory.path(), &server.url());
        until("all is delivered", || delivered(&database).len() == OWED.len()).await;
        second.kill().unwrap();
        second.wait().unwrap();
        let sent = server.ids();
        assert!(sent[before..].iter().all(|id| !recorded.contains(id)), "point {point}: {sent:?} after {recorded:?}");
        assert!(sent.len() <= OWED.len() + 1, "point {point}: no more than one in doubt: {sent:?}");
        let first_of = |id: &str| sent.iter().position(|other| other == id).unwrap();
        assert!(first_of("a1") < first_of("a2") && first_of("a2") < first_of("a3"), "point {point}: {sent:?}");
        assert!(sent.contains(&"b1".to_owned()), "point {point}: {sent:?}");
        if !ended {
            break;
        }
    }
    // Two of the start; then of each message two of its lease, two of its send, two of its record. At the very last all
    // is delivered already.
    assert!(ends > 6 * OWED.len(), "only {ends} points");
}

fn delivered(database: &Path) -> BTreeSet<String> {
    let rows = Sqlite::open_read_only(database).unwrap().deliveries(None, Some(DeliveryState::Delivered)).unwrap();
    rows.into_iter().map(|row| row.message.id).collect()
}

async fn killed_anywhere_nothing_is_lost_or_sent_after_a_recorded_success() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("nextrun.db");
    let server = Server::start(vec![], Act::status(200)).await;
    let ids: Vec<String> = (0..MESSAGES).map(|index| format!("m{index}")).collect();
    let messages = ids.iter().map(|id| (message(id, &format!("case of {id}")), vec!["queue".to_owned()])).collect();
    Sqlite::open(&database).unwrap().commit(&Commit { messages, ..Commit::default() }).unwrap();

    let mut kills = 0;
    let mut recorded = BTreeSet::new();
    while recorded.len() < MESSAGES {
        let (before, further) = (server.ids().len(), 1 + kills % 4);
        let mut child = spawn(directory.path(), &server.url());
        let enough = || server.ids().len() >= before + further || delivered(&database).len() == MESSAGES;
        until("the daemon delivers", enough).await;
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        let sent: Vec<String> = server.ids()[before..].to_vec();
        assert!(sent.iter().all(|id| !recorded.contains(id)), "{sent:?} after {recorded:?} were recorded");
        recorded = delivered(&database);
    }
    let sent = server.ids();
    assert!(ids.iter().all(|id| sent.contains(id)), "each arrived");
    assert!(sent.len() <= MESSAGES + kills, "a kill leaves no more than one message in doubt: {sent:?}");
}
