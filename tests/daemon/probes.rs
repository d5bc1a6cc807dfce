//! Jobs that are examined by quiet probes without messages to people.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::hand::POLICY;
use super::stage::{Stage, verdict};
use super::training::{Curve, Run, knobs, with};
use super::web::Receiver;

/// Seconds that a step of a probed job takes, so that a tenth of its time is some: probes are trained at once.
pub(super) const PACE: f64 = 10.0;

/// A job that stands still since an hour.
pub(super) fn suspicious(stage: &Stage) {
    let knobs = knobs(10.0);
    Run::new(&stage.logdir(), "slow", &knobs).ago(PACE * 400.0).pace(PACE).train();
}

/// What the configuration says for `slow` to be suspicious and no more, and to be probed.
pub(super) fn configuration(stage: &Stage) -> Value {
    let mut program = Command::new(env!("CARGO_BIN_EXE_nextrun"));
    let output = program.arg("diagnose").arg(stage.logdir()).args(["--format", "json"]).output().unwrap();
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    let odds = |p: &Value| (p.as_f64().unwrap() / (1.0 - p.as_f64().unwrap())).ln();
    let evidence = odds(&seen["probability"]) - odds(&seen["prior"]);
    // Halfway between doubt and alarm.
    let weights = nextrun::belief::Weights::shipped();
    let wanted = nextrun::belief::log_odds((weights.doubt + weights.alarm) / 2.0);
    let prior = nextrun::belief::probability(wanted - evidence);
    stage.write("short.yaml", &POLICY.replace("learning_rate: /100", "learning_rate: /1000"));
    json!({ "policy": "./short.yaml", "prior": prior, "control": "never", "probes": { "jobs": ["slow"], "share": 0.3 } })
}

/// A queue whose script learns, or stands at its floor whatever is asked of it.
fn queue(stage: &Stage, at_its_floor: bool) -> Receiver {
    let logdir = stage.logdir();
    Receiver::start(move |event| {
        let name = event.text("/data/run_name");
        if logdir.join(name).exists() {
            return (409, "{}".to_owned());
        }
        let run = Run::new(&logdir, name, &with(&knobs(10.0), &event.body["data"]["overrides"]));
        let one_example = event.body["data"]["overrides"].get("train_examples").is_some();
        let curve = match (at_its_floor, one_example) {
            (false, _) => Curve::ByRate,
            (true, false) => Curve::Stands,
            (true, true) => Curve::Fits,
        };
        run.curve(curve).train();
        (201, "{}".to_owned())
    })
}

#[test]
fn a_suspicious_job_that_fails_is_found_by_a_probe_that_only_the_queue_gets() {
    let stage = Stage::new();
    suspicious(&stage);
    let configuration = stage.write("nextrun.yaml", &configuration(&stage).to_string());
    let (queue, webhook) = (queue(&stage, false), Receiver::of_everything());
    let arguments = ["--quiet-after", "600s", "--config", configuration.to_str().unwrap()];
    let _daemon = stage.watch(&queue, &webhook, &arguments);
    stage.until("people are told", || webhook.data_of("nextrun.case.opened").len() == 1);

    let case = stage.until_closed("slow");
    assert_eq!(verdict(&case), "learning_rate_too_high");
    let probes = case.experiments.iter().filter(|experiment| experiment.probe).count();
    assert!(probes >= 1 && case.experiments[0].probe, "{:?}", case.experiments);
    let first = queue.events()[0].body.clone();
    let data = &first["data"];
    assert_eq!(
        (&first["type"], &data["probe"], &data["state"]),
        (&json!("nextrun.run.suggested"), &json!(true), &json!("probe"))
    );
    assert_eq!((&data["case_id"], &data["policy"]), (&Value::Null, &Value::Null));
    for (name, value) in [("NEXTRUN_PROBE", "1"), ("WANDB_MODE", "offline"), ("HF_HUB_OFFLINE", "1")] {
        assert_eq!(data["env"][name], value, "{data}");
    }
    let folder = data["env"]["NEXTRUN_OUTPUT_DIR"].as_str().unwrap();
    assert!(folder.ends_with(&format!("{}/output", data["run_name"].as_str().unwrap())), "{folder}");
    assert!(data["overrides"]["max_steps"].as_f64().unwrap() <= 0.3 * 400.0);
    stage.until("its end is told", || webhook.data_of("nextrun.case.closed").len() == 1);
    let told = webhook.events();
    assert!(told.iter().all(|event| event.body["data"]["probe"] != json!(true)), "people hear of no probe");
    let opened = &webhook.data_of("nextrun.case.opened")[0];
    assert!(opened["speaks_for"].to_string().contains(&case.quiet.as_ref().unwrap().tests[0].test), "{opened}");
    let shown = stage.cases(&["show", &case.id.0]);
    assert!(shown.contains("probes: ") && shown.contains("probability of each cause"), "{shown}");
    let object: Value = serde_json::from_str(&stage.cases(&["show", &case.id.0, "--format", "json"])).unwrap();
    assert_eq!(object["probes"]["quiet"], false);
    assert!(object["probes"]["made"][0]["outcome"].is_string(), "{object}");
}

#[test]
fn a_suspicious_job_that_is_healthy_is_settled_and_people_hear_nothing() {
    let stage = Stage::new();
    suspicious(&stage);
    let configuration = stage.write("nextrun.yaml", &configuration(&stage).to_string());
    let (queue, webhook) = (queue(&stage, true), Receiver::of_everything());
    let arguments = ["--quiet-after", "600s", "--config", configuration.to_str().unwrap()];
    let _daemon = stage.watch(&queue, &webhook, &arguments);
    let case = stage.until_closed("slow");
    assert!(["healthy", "inconclusive"].contains(&verdict(&case)), "{:?}", case.closed);
    assert!(case.experiments.iter().all(|experiment| experiment.probe && experiment.outcome.is_some()));
    assert!(case.spent_on_probes() <= 0.3 * PACE * 400.0);
    assert_eq!(webhook.events().len(), 0, "{:?}", webhook.events());
    assert!(!stage.cases(&["list"]).contains("slow"));
    assert!(stage.cases(&["list", "--all"]).contains("probed: "), "{}", stage.cases(&["list", "--all"]));
}

#[test]
fn a_daemon_that_is_killed_makes_no_probe_twice() {
    let stage = Stage::new();
    suspicious(&stage);
    let configuration = stage.write("nextrun.yaml", &configuration(&stage).to_string());
    let (queue, webhook) = (queue(&stage, false), Receiver::of_everything());
    let mut random = fastrand::Rng::with_seed(7);
    let mut kills = 0;
    while stage.case_of("slow").is_none_or(|case| case.closed.is_none()) {
        assert!(kills < 300, "it does not come to an end: {}", stage.log());
        let before = stage.log().matches("INFO watching ").count();
        let arguments = ["--quiet-after", "600s", "--config", configuration.to_str().unwrap()];
        let mut daemon = stage.watch(&queue, &webhook, &arguments);
        stage.until("it watches", || stage.log().matches("INFO watching ").count() > before);
        // Where it dies is left to chance.
        std::thread::sleep(Duration::from_millis(random.u64(0..600)));
        daemon.kill();
        kills += 1;
    }
    assert!(kills >= 2, "nothing was killed");
    let case = stage.case_of("slow").unwrap();
    assert_eq!(verdict(&case), "learning_rate_too_high");
    let mut asked: Vec<String> = queue.events().iter().map(|event| event.text("/id").to_owned()).collect();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), case.experiments.len(), "each is asked for under one id");
}
