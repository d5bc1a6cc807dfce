//! Decisions of a person about messages, and failures of a single destination.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::stage::{Stage, verdict};
use super::training::{Run, knobs};
use super::web::Receiver;
use super::whole::trainer;
use serde_json::Value;

fn rows(stage: &Stage, arguments: &[&str]) -> Vec<Value> {
    let listed = stage.command("outbox", &[arguments, &["--format", "json"]].concat());
    listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A destination that takes nothing, beside the queue.
fn with_archive(stage: &Stage, archive: &Receiver) -> String {
    let text = format!("destinations:\n  archive: {{ preset: webhook, url: \"{}\" }}\n", archive.url());
    stage.write("nextrun.yaml", &text).to_str().unwrap().to_owned()
}

#[test]
fn an_experiment_starts_although_another_destination_gave_its_message_up() {
    let stage = Stage::new();
    let archive = Receiver::start(|_| (400, "unknown type".to_owned()));
    let configuration = with_archive(&stage, &archive);
    let queue = Receiver::start(trainer(&stage.logdir(), knobs(10.0)));
    let webhook = Receiver::of_everything();
    let _daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", &configuration]);
    Run::new(&stage.logdir(), "sick", &knobs(10.0)).train();
    let case = stage.until_closed("sick");
    assert_eq!(verdict(&case), "learning_rate_too_high");
    let dead = rows(&stage, &["list", "--only", "dead"]);
    assert!(dead.iter().any(|row| row["type"] == "nextrun.run.suggested"), "{dead:?}");
    assert!(dead.iter().all(|row| row["destination"] == "archive"), "{dead:?}");
}

#[test]
fn what_was_given_up_is_sent_again_on_request_and_what_waits_is_dropped_on_request() {
    let stage = Stage::new();
    let well = Arc::new(AtomicBool::new(false));
    let mended = well.clone();
    let archive =
        Receiver::start(
            move |_| if mended.load(Ordering::SeqCst) { (200, String::new()) } else { (404, String::new()) },
        );
    let configuration = with_archive(&stage, &archive);
    let queue = Receiver::start(|_| (503, "the scheduler is down".to_owned()));
    let webhook = Receiver::of_everything();
    let _daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", &configuration]);
    Run::new(&stage.logdir(), "sick", &knobs(10.0)).train();
    let of = |place: &str, kind: &str| {
        rows(&stage, &["list"]).into_iter().find(|row| row["destination"] == place && row["type"] == kind)
    };
    stage.until("the case is open", || stage.case_of("sick").is_some());
    stage.until("the archive gave up", || of("archive", "nextrun.run.suggested").is_some_and(|r| r["state"] == "dead"));
    stage.until("the queue was asked", || of("queue", "nextrun.run.suggested").is_some_and(|r| r["attempts"] != 0));

    let dead = of("archive", "nextrun.case.opened").unwrap()["id"].to_string();
    let told = stage.command("outbox", &["explain", &dead]);
    assert!(told.contains("given up") && told.contains("404") && told.contains("outbox resend"), "{told}");
    well.store(true, Ordering::SeqCst);
    let said = stage.command("outbox", &["resend", &dead]);
    assert!(said.contains("twice"), "{said}");
    stage.until("it is delivered", || of("archive", "nextrun.case.opened").is_some_and(|r| r["state"] == "delivered"));

    // Nobody else has the suggestion once both are given up: then its case goes on without it.
    let waiting = of("queue", "nextrun.run.suggested").unwrap();
    let told = stage.command("outbox", &["explain", &waiting["id"].to_string()]);
    assert!(told.contains("503") && told.contains("next attempt at"), "{told}");
    let why = ["--why", "the queue is gone for good"];
    stage.command("outbox", &[&["drop", &waiting["id"].to_string()], &why[..]].concat());
    stage.until("the case goes on", || stage.case_of("sick").is_some_and(|case| case.experiments.len() > 1));
    let history = rows(&stage, &["history"]);
    assert!(history.iter().any(|row| row["answer"].as_str().is_some_and(|a| a.contains("the scheduler is down"))));
    assert!(history.iter().any(|row| row["delivery"].as_i64() == dead.parse().ok() && row["outcome"] == "delivered"));
    let reason = rows(&stage, &["list", "--only", "dead"]);
    assert!(reason.iter().any(|row| row["answer"] == "dropped manually: the queue is gone for good"), "{reason:?}");
}
