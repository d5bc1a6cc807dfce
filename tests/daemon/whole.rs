//! From a failing run to its cause.

use std::path::Path;

use serde_json::{Value, json};

use super::stage::{Stage, has, verdict};
use super::training::{Knobs, Run, knobs, with};
use super::web::{Answer, Event, Receiver};

/// A queue that trains whatever it is given at once; the same suggestion again is known.
pub(super) fn trainer(logdir: &Path, baseline: Knobs) -> impl Fn(&Event) -> Answer + Send + Sync + 'static {
    let logdir = logdir.to_owned();
    move |event| {
        let data = &event.body["data"];
        let name = event.text("/data/run_name");
        if logdir.join(name).exists() {
            return (409, json!({ "job_id": name }).to_string());
        }
        Run::new(&logdir, name, &with(&baseline, &data["overrides"])).train();
        (201, json!({ "job_id": name }).to_string())
    }
}

#[test]
fn a_failing_run_is_led_to_its_cause_and_a_healthy_one_is_left_alone() {
    let stage = Stage::new();
    let logdir = stage.logdir();
    let queue = Receiver::start(trainer(&logdir, knobs(0.1)));
    let webhook = Receiver::of_everything();
    Run::new(&logdir, "healthy", &knobs(0.01)).train();
    Run::new(&logdir, "history", &knobs(0.1)).ago(2.0 * 86_400.0).train();
    Run::new(&logdir, "hung", &knobs(0.01)).with_knobs().log(0..200);
    let _daemon = stage.watch(&queue, &webhook, &["--quiet-after", "1s"]);
    Run::new(&logdir, "team/sick", &knobs(0.1)).train();

    let sick = stage.until_closed("team/sick");
    assert_eq!(verdict(&sick), "learning_rate_too_high");
    assert_eq!(verdict(&stage.until_closed("hung")), "infrastructure");
    // Each experiment that failed on the way was a job like any other to look at.
    assert!(sick.experiments.len() > 1, "{:?}", sick.experiments);
    let mut baselines: Vec<String> = stage.kept().into_iter().map(|case| case.baseline).collect();
    baselines.sort();
    assert_eq!(baselines, ["hung", "team/sick"], "a case of its own for each, and for nothing else");

    stage.until("both closings are delivered", || webhook.data_of("nextrun.case.closed").len() == 2);
    let opened = webhook.data_of("nextrun.case.opened");
    assert_eq!(opened.len(), 2, "each is opened once");
    check_suggestions(&queue, sick.experiments.len());
    let closed = webhook.data_of("nextrun.case.closed");
    check_closing(closed.iter().find(|data| data["baseline_run"] == "team/sick").unwrap(), &queue);
    assert!(webhook.events().iter().all(|event| event.text("/type") != "nextrun.run.suggested"));
    check_journal(&stage, sick.experiments.len());
}

/// What the contract says of a suggested run.
fn check_suggestions(queue: &Receiver, experiments: usize) {
    let events = queue.events();
    assert_eq!(events.len(), experiments, "each experiment is asked for once");
    for event in &events {
        let keys = ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"];
        assert!(has(&event.body, &keys), "{}", event.body);
        assert_eq!(event.headers["content-type"], "application/cloudevents+json");
        assert_eq!(event.text("/specversion"), "1.0");
        assert_eq!(event.text("/type"), "nextrun.run.suggested");
        assert_eq!(event.text("/subject"), "team/sick");
        assert_eq!(event.text("/datacontenttype"), "application/json");
        assert!(event.text("/source").starts_with("nextrun://"));
        event.text("/time").parse::<jiff::Timestamp>().unwrap();
        let data = &event.body["data"];
        let keys = [
            "suggestion_id",
            "case_id",
            "baseline_run",
            "run_name",
            "policy",
            "state",
            "attempt",
            "overrides",
            "arguments",
            "command",
            "env",
            "why",
            "evidence",
        ];
        assert!(has(data, &keys), "{data}");
        assert_eq!(data["suggestion_id"], event.body["id"]);
        assert_eq!(data["env"]["NEXTRUN_SUGGESTION_ID"], event.body["id"]);
        assert_eq!(data["baseline_run"], "team/sick");
        assert_eq!(data["policy"], "article");
        assert!(!event.text("/data/why").is_empty());
        assert!(Path::new(event.text("/data/run_name")).is_relative());
        let evidence = &data["evidence"][0];
        assert!(has(evidence, &["symptom", "tag", "first_step", "last_step", "summary"]), "{evidence}");
        assert_eq!(evidence["tag"], "train/loss");
        let arguments = data["arguments"].as_array().unwrap();
        assert_eq!(arguments.len(), data["overrides"].as_object().unwrap().len(), "one for each knob: {data}");
    }
}

/// What the contract says of a closed case.
fn check_closing(data: &Value, queue: &Receiver) {
    let keys =
        ["case_id", "baseline_run", "verdict", "confidence", "summary", "experiments", "not_tried", "recommended"];
    assert!(has(data, &keys), "{data}");
    assert_eq!(data["verdict"], "learning_rate_too_high");
    assert!((0.0..=1.0).contains(&data["confidence"].as_f64().unwrap()));
    assert!(data["not_tried"].is_array());
    let experiments = data["experiments"].as_array().unwrap();
    for (experiment, event) in experiments.iter().zip(queue.events()) {
        let keys = ["suggestion_id", "state", "run_name", "overrides", "outcome", "finding_ids"];
        assert!(has(experiment, &keys), "{experiment}");
        assert_eq!(experiment["suggestion_id"], event.body["id"]);
        assert_eq!(experiment["overrides"], event.body["data"]["overrides"]);
    }
    let cure = experiments.last().unwrap();
    assert_eq!(cure["outcome"], "found");
    assert_eq!(data["recommended"]["overrides"], cure["overrides"]);
    assert!(data["recommended"]["overrides"]["learning_rate"].as_f64().unwrap() <= 0.01);
    assert!(data["recommended"].get("command").is_some());
}

/// Every step says which hypothesis was tested, what was expected and what was seen, and `cases` shows it.
fn check_journal(stage: &Stage, experiments: usize) {
    let case = stage.case_of("team/sick").unwrap();
    let journal = stage.journal(&case);
    let observed: Vec<&Value> = journal.iter().filter(|e| e.kind == "observed").map(|e| &e.detail).collect();
    assert_eq!(observed.len(), experiments);
    for detail in observed {
        for key in ["hypothesis", "expected", "seen"] {
            assert!(!detail[key].as_str().unwrap().is_empty(), "{key} of {detail}");
        }
    }
    let shown = stage.cases(&["show", &case.id.0[..6]]);
    for word in ["team/sick", "hypothesis:", "expected:", "seen:", "learning_rate_too_high", "nextrun.case.closed"] {
        assert!(shown.contains(word), "{word} is missing in:\n{shown}");
    }
    assert_eq!(stage.cases(&["list"]), "", "no case is open");
    assert_eq!(stage.cases(&["list", "--all"]).lines().count(), 2);
}

#[test]
fn a_knob_that_the_queue_refuses_is_passed_over_and_told() {
    let stage = Stage::new();
    let logdir = stage.logdir();
    let train = trainer(&logdir, knobs(1.0));
    let queue = Receiver::start(move |event| {
        if event.body["data"]["overrides"].get("train_examples").is_some() {
            let refusal = json!({ "error": "train.py has no --train-examples", "unknown_knobs": ["train_examples"] });
            return (422, refusal.to_string());
        }
        train(event)
    });
    let webhook = Receiver::of_everything();
    let _daemon = stage.watch(&queue, &webhook, &["--quiet-after", "1s"]);
    Run::new(&logdir, "sick", &knobs(1.0)).train();

    let case = stage.until_closed("sick");
    assert_eq!(verdict(&case), "learning_rate_too_high");
    let asked = queue.events();
    let refused = asked.iter().filter(|event| event.body["data"]["overrides"].get("train_examples").is_some());
    assert_eq!(refused.count(), 1, "a refusal is final, and no later suggestion has the knob");
    stage.until("the closing is delivered", || !webhook.data_of("nextrun.case.closed").is_empty());
    let closed = &webhook.data_of("nextrun.case.closed")[0];
    let not_tried = closed["not_tried"].as_array().unwrap();
    let is_told = |entry: &Value| entry.as_str().is_some_and(|text| text.starts_with("overfit_one_point: "));
    assert!(not_tried.iter().any(is_told), "{not_tried:?}");
}
