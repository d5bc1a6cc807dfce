//! What a machine does to a daemon: no room left, a log directory that goes and comes back, no certificates.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

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

#[test]
fn without_room_it_waits_and_then_goes_on_as_if_nothing_had_been() {
    let stage = Stage::new();
    let queue = Receiver::start(trainer(&stage.logdir(), knobs(10.0)));
    let webhook = Receiver::of_everything();
    let configuration = with_a_page(&stage);
    let mut daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", &configuration]);
    let page = address(&stage);
    stage.until("it is ready", || get(&page, "/ready", "").starts_with("HTTP/1.1 200"));
    // No file may be longer than this from here on, as on a disk that is full.
    let limit = |size: &str| {
        let set = Command::new("prlimit").args(["--pid", &daemon.id(), &format!("--fsize={size}:")]).status().unwrap();
        assert!(set.success(), "{size}");
    };
    limit("4096");
    Run::new(&stage.logdir(), "sick", &knobs(10.0)).train();
    stage.until("it says that it waits", || get(&page, "/ready", "").starts_with("HTTP/1.1 503"));
    assert!(get(&page, "/ready", "").contains("nextrun.db") && get(&page, "/health", "").contains("alive"));
    assert_eq!(stage.kept().len(), 0, "nothing is kept, and nothing is said");
    assert_eq!((queue.events().len(), webhook.events().len()), (0, 0));
    limit("unlimited");
    let case = stage.until_closed("sick");
    assert_eq!(verdict(&case), "learning_rate_too_high");
    stage.until("the closing is delivered", || webhook.data_of("nextrun.case.closed").len() == 1);
    for events in [queue.events(), webhook.events()] {
        let sent = ids(&events);
        assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), sent.len(), "each once: {sent:?}");
    }
    assert!(daemon.ended().is_none(), "it never ended");
}

#[test]
fn a_log_directory_that_goes_and_comes_back_changes_no_verdict() {
    let stage = Stage::new();
    let logdir = stage.logdir();
    let queue = Receiver::of_everything();
    let webhook = Receiver::of_everything();
    let configuration = with_a_page(&stage);
    let _daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", &configuration]);
    let page = address(&stage);
    Run::new(&logdir, "sick", &knobs(10.0)).train();
    let away = logdir.with_file_name("away");
    let train = trainer(&logdir, knobs(10.0));
    let mut answered = 0;
    stage.until("the case is closed", || {
        let events = queue.events();
        if let Some(event) = events.get(answered) {
            // It goes while an experiment is waited for, and comes back with what was trained meanwhile.
            fs::rename(&logdir, &away).unwrap();
            stage.until("it is missed", || metric(&page, "nextrun_runs") == Some(0.0));
            fs::rename(&away, &logdir).unwrap();
            train(event);
            answered += 1;
        }
        stage.case_of("sick").is_some_and(|case| case.closed.is_some())
    });
    assert_eq!(verdict(&stage.case_of("sick").unwrap()), "learning_rate_too_high");
    let sent = ids(&queue.events());
    assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), sent.len(), "each once: {sent:?}");
    assert_eq!(stage.kept().len(), 1, "no run was taken for another");
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
