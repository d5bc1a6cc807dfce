//! Runs that differ from the request, and jobs that end without a result.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::hand::POLICY;
use super::stage::{Stage, verdict};
use super::training::{Run, knobs, with};
use super::web::Receiver;
use serde_json::json;

/// A queue whose script has no flag for the learning rate, until somebody mends that.
#[test]
fn a_queue_that_ignores_what_is_asked_for_is_told_of_and_its_case_waits_until_it_is_mended() {
    let stage = Stage::new();
    // Two states that both change the learning rate: one more than it takes to stop the case.
    let further = "  lower_further:\n    step: \"2 lower it further\"\n    why: it may be far too high\n    hypothesis: it is \
                   far too high\n    expect: the loss falls\n    change: { learning_rate: /1000 }\n    cause: { verdict: \
                   learning_rate_too_high, summary: cured }\n  look_at_data:";
    let two = POLICY.replace("  look_at_data:", further);
    let two = two.replace("[lower_learning_rate, look_at_data]", "[lower_learning_rate, lower_further, look_at_data]");
    stage.write("short.yaml", &two);
    let configuration = stage.write("nextrun.yaml", "policy: ./short.yaml\ncontrol: when_unsure\n");
    let logdir = stage.logdir();
    let mended = Arc::new(AtomicBool::new(false));
    let (takes, to) = (mended.clone(), logdir.clone());
    let queue = Receiver::start(move |event| {
        let asked = if takes.load(Ordering::SeqCst) { event.body["data"]["overrides"].clone() } else { json!({}) };
        Run::new(&to, event.text("/data/run_name"), &with(&knobs(1.0), &asked)).train();
        (201, "{}".to_owned())
    });
    let webhook = Receiver::of_everything();
    let _daemon =
        stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", configuration.to_str().unwrap()]);
    Run::new(&logdir, "sick", &knobs(1.0)).train();

    let paused = || stage.case_of("sick").is_some_and(|case| case.paused.is_some());
    stage.until("the case waits for a person", paused);
    let case = stage.case_of("sick").unwrap();
    let outcomes: Vec<_> = case.experiments.iter().map(|e| e.outcome.clone().unwrap_or_default()).collect();
    assert_eq!(outcomes, ["reproduced", "not_as_asked", "not_as_asked"]);
    stage.until("it is told", || webhook.data_of("nextrun.case.notice").len() == 2);
    let why = webhook.data_of("nextrun.case.notice")[0]["why"].as_str().unwrap().to_owned();
    assert!(why.contains("learning_rate is 1, but 0.01 was requested"), "{why}");
    assert!(stage.cases(&["list"]).contains("paused at"), "{}", stage.cases(&["list"]));

    mended.store(true, Ordering::SeqCst);
    stage.cases(&["resume", &case.id.0]);
    let closed = stage.until_closed("sick");
    assert_eq!(verdict(&closed), "learning_rate_too_high");
    let control = &queue.events()[0].body["data"];
    assert_eq!((&control["control"], &control["overrides"]), (&json!(true), &json!({})));
    assert_eq!(control["settings"]["learning_rate"], 1.0);
    stage.until("its end is told", || webhook.data_of("nextrun.case.closed").len() == 1);
    let not_tried = webhook.data_of("nextrun.case.closed")[0]["not_tried"].to_string();
    assert!(not_tried.contains("lower_learning_rate"), "{not_tried}");
}
