//! A daemon that is killed without warning, again and again, while it leads a run to its cause.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::stage::{Stage, verdict};
use super::training::{Run, knobs, steps, with};
use super::web::{Event, Receiver};
use super::whole::trainer;
use serde_json::{Value, json};

/// Nothing that happens in a loop may hang on silence, which is real time.
const NEVER_QUIET: [&str; 2] = ["--quiet-after", "600s"];

/// A run that is logged in parts, so that the daemon dies at every part of it.
struct Parts {
    run: Run,
    logged: i64,
    steps: i64,
}

const PARTS: i64 = 3;

impl Parts {
    /// Logs the next part.
    fn go_on(&mut self) {
        let end = (self.logged + self.steps / PARTS + 1).min(self.steps + 1);
        self.run.log(self.logged..end);
        self.logged = end;
    }
}

/// What was asked for, in order, each once.
fn asked(events: &[Event]) -> Vec<(Value, Value)> {
    let mut seen = BTreeSet::new();
    let news = events.iter().filter(|event| seen.insert(event.text("/id").to_owned()));
    news.map(|event| (event.body["data"]["state"].clone(), event.body["data"]["overrides"].clone())).collect()
}

/// The verdict and the experiments of a daemon that nobody disturbs.
fn undisturbed() -> (String, Vec<(Value, Value)>) {
    let stage = Stage::new();
    let queue = Receiver::start(trainer(&stage.logdir(), knobs(10.0)));
    let webhook = Receiver::of_everything();
    let _daemon = stage.watch(&queue, &webhook, &NEVER_QUIET);
    Run::new(&stage.logdir(), "sick", &knobs(10.0)).train();
    let case = stage.until_closed("sick");
    (verdict(&case).to_owned(), asked(&queue.events()))
}

#[test]
fn killed_anywhere_it_comes_to_the_same_verdict_by_the_same_experiments() {
    let (expected_verdict, expected) = undisturbed();
    let stage = Stage::new();
    let logdir = stage.logdir();
    let runs: Arc<Mutex<BTreeMap<String, Parts>>> = Arc::default();
    let (jobs, directory) = (runs.clone(), logdir.clone());
    let queue = Receiver::start(move |event| {
        let name = event.text("/data/run_name").to_owned();
        jobs.lock().unwrap().entry(name.clone()).or_insert_with(|| {
            let knobs = with(&knobs(10.0), &event.body["data"]["overrides"]);
            let run = Run::new(&directory, &name, &knobs);
            run.with_knobs();
            Parts { run, logged: 0, steps: steps(&knobs) }
        });
        (201, json!({ "job_id": name }).to_string())
    });
    let webhook = Receiver::of_everything();
    Run::new(&logdir, "sick", &knobs(10.0)).train();

    let mut random = fastrand::Rng::with_seed(7);
    let mut kills = 0;
    while stage.case_of("sick").is_none_or(|case| case.closed.is_none()) {
        assert!(kills < 100, "it does not come to an end");
        let mut daemon = stage.watch(&queue, &webhook, &NEVER_QUIET);
        // Where it dies is left to chance: while it starts, reads, decides, sends, or waits.
        std::thread::sleep(Duration::from_millis(random.u64(0..900)));
        daemon.kill();
        kills += 1;
        runs.lock().unwrap().values_mut().for_each(Parts::go_on);
    }
    assert!(kills >= 8, "only {kills} kills");
    let case = stage.case_of("sick").unwrap();
    let _daemon = stage.watch(&queue, &webhook, &NEVER_QUIET);
    stage.until("the closing is delivered", || !webhook.data_of("nextrun.case.closed").is_empty());

    assert_eq!(verdict(&case), expected_verdict);
    assert_eq!(stage.kept().len(), 1);
    let events = queue.events();
    assert_eq!(asked(&events), expected, "the same experiments, none of them twice");
    assert_eq!(runs.lock().unwrap().len(), expected.len(), "each has a folder of its own");
    for event in &events {
        let first = events.iter().find(|other| other.text("/id") == event.text("/id")).unwrap();
        assert_eq!(first.body, event.body, "one id is one suggestion");
    }
    for event in webhook.events() {
        let twins = webhook.events().into_iter().filter(|other| other.text("/id") == event.text("/id"));
        assert!(twins.into_iter().all(|twin| twin.body == event.body), "one id is one message: {}", event.body);
    }
}
