//! Experiments that need approval: nothing runs before, and exactly what was shown runs after.

use std::process::Command;

use serde_json::{Value, json};

use super::hand::POLICY;
use super::operate::address;
use super::reports::{ACT, post};
use super::stage::{Stage, verdict};
use super::training::{Run, knobs};
use super::web::Receiver;
use super::whole::trainer;

const CONFIGURATION: &str = "policy: ./short.yaml\ncontrol: never\napproval: ask\nstatus:\n  listen: 127.0.0.1:0\n  \
    tokens: { act: { file: act } }\n";

fn stage(further: &str) -> (Stage, String) {
    let stage = Stage::new();
    stage.write("short.yaml", POLICY);
    stage.write("act", "4ct\n");
    let configuration = stage.write("nextrun.yaml", &format!("{CONFIGURATION}{further}"));
    (stage, configuration.to_str().unwrap().to_owned())
}

/// What `nextrun cases …` says, and whether it worked.
fn cases(stage: &Stage, configuration: &str, arguments: &[&str]) -> (bool, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_nextrun"));
    program.arg("cases").args(arguments).arg("--state").arg(stage.state()).args(["--config", configuration]);
    let output = program.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

fn asked(webhook: &Receiver) -> Vec<Value> {
    webhook.data_of("nextrun.approval.asked")
}

#[test]
fn what_was_approved_runs_as_it_was_shown() {
    let (stage, configuration) = stage("launch: { command: \"python train.py {settings} --to {run_name}\" }\n");
    let logdir = stage.logdir();
    let (queue, webhook) = (Receiver::start(trainer(&logdir, knobs(0.01))), Receiver::of_everything());
    let daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", &configuration]);
    Run::new(&logdir, "sick", &knobs(1.0)).train();
    stage.until("it asks", || asked(&webhook).len() == 1);
    let shown = asked(&webhook)[0].clone();
    assert!(queue.events().is_empty(), "nothing runs before");
    let case = stage.case_of("sick").unwrap().id.0;
    let (worked, said) = cases(&stage, &configuration, &["show", &case]);
    assert!(worked && said.contains("waits for approval") && said.contains("python train.py"), "{said}");

    // The configuration changes while the question is open.
    let later = format!("{CONFIGURATION}launch: {{ command: \"python other.py {{settings}} --to {{run_name}}\" }}\n");
    stage.write("nextrun.yaml", &later);
    daemon.signal("HUP");
    stage.until("it is in force", || stage.log().contains("settings reloaded"));

    let (worked, said) = cases(&stage, &configuration, &["approve", &case[..6], "--why", "it is cheap"]);
    assert!(worked && said.contains("approved by local:") && said.contains("it is cheap"), "{said}");
    let (worked, said) = cases(&stage, &configuration, &["decline", &case]);
    assert!(!worked && (said.contains("already approved") || said.contains("has no open question")), "{said}");
    stage.until("it runs", || queue.events().len() == 1);
    let run = queue.events()[0].body["data"].clone();
    for key in ["command", "overrides", "suggestion_id", "run_name", "cost"] {
        assert_eq!(run[key], shown[key], "{key}");
    }
    assert!(run["command"].as_str().unwrap().contains("train.py"), "{run}");
    let closed = stage.until_closed("sick");
    assert_eq!(verdict(&closed), "learning_rate_too_high");
    let journal = stage.journal(&closed);
    let answered = journal.iter().find(|entry| entry.kind == "answered").unwrap();
    assert_eq!((&answered.detail["answer"], &answered.detail["why"]), (&json!("run"), &json!("it is cheap")));
}

#[test]
fn only_those_who_may_answer_and_only_what_they_were_shown() {
    let (stage, configuration) = stage("approvers: { \"**\": http:act }\n");
    let logdir = stage.logdir();
    let (queue, webhook) = (Receiver::of_everything(), Receiver::of_everything());
    let _daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", &configuration]);
    Run::new(&logdir, "sick", &knobs(1.0)).train();
    stage.until("it asks", || asked(&webhook).len() == 1);
    let case = stage.case_of("sick").unwrap().id.0;
    let (worked, said) = cases(&stage, &configuration, &["approve", &case]);
    assert!(!worked && said.contains("you may not answer for sick"), "{said}");
    let (page, path) = (address(&stage), format!("/v1/cases/{case}/answer"));
    let answer = |body: Value| post(&page, &path, ACT, &body.to_string());
    let (status, said) = answer(json!({"answer": "skip", "fingerprint": "0123"}));
    assert!(status == 409 && said.contains("out of date"), "{status} {said}");
    let fingerprint = asked(&webhook)[0]["fingerprint"].clone();
    assert_eq!(answer(json!({"answer": "skip", "fingerprint": fingerprint, "name": "ada"})).0, 202);
    stage.until("it goes on without the experiment", || {
        stage.case_of("sick").unwrap().not_tried.iter().any(|left_out| left_out.state == "lower_learning_rate")
    });
    assert!(stage.case_of("sick").unwrap().not_tried[0].why.contains("ada"));
    assert!(queue.events().is_empty());
}
