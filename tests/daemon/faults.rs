//! What a machine does to a daemon: no room left, a log directory that goes and comes back.

use std::fs;
use std::process::Command;

use super::stage::{Stage, verdict};
use super::training::{Run, knobs};
use super::web::{Event, Receiver};
use super::whole::trainer;
use std::collections::BTreeSet;

fn ids(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.text("/id").to_owned()).collect()
}

#[test]
fn without_room_it_waits_and_then_goes_on_as_if_nothing_had_been() {
    let stage = Stage::new();
    let queue = Receiver::start(trainer(&stage.logdir(), knobs(10.0)));
    let webhook = Receiver::of_everything();
    let mut daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s"]);
    stage.until("it is there", || stage.state().join("nextrun.db-wal").exists() && stage.log().contains("watching"));
    // No file may be longer than this from here on, as on a disk that is full.
    let limit = |size: &str| {
        let set = Command::new("prlimit").args(["--pid", &daemon.id(), &format!("--fsize={size}:")]).status().unwrap();
        assert!(set.success(), "{size}");
    };
    limit("4096");
    Run::new(&stage.logdir(), "sick", &knobs(10.0)).train();
    std::thread::sleep(std::time::Duration::from_secs(3));
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
    let _daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s"]);
    Run::new(&logdir, "sick", &knobs(10.0)).train();
    let away = logdir.with_file_name("away");
    let train = trainer(&logdir, knobs(10.0));
    let mut answered = 0;
    stage.until("the case is closed", || {
        let events = queue.events();
        if let Some(event) = events.get(answered) {
            // It goes while an experiment is waited for, and comes back with what was trained meanwhile.
            fs::rename(&logdir, &away).unwrap();
            stage.until("it is missed", || !logdir.exists());
            std::thread::sleep(std::time::Duration::from_millis(700));
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
