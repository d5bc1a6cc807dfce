//! The loop on one machine without further setup: the daemon starts the runner, which executes suggestions.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::probes::suspicious;
use super::stage::{Daemon, Stage, verdict};
use super::training::{Knobs, Run, knobs};
use serde_json::json;

/// Has this program train when it is started as a training script: its settings are in the environment.
#[test]
#[ignore = "a training script, which only other tests start"]
fn a_training_script() {
    let Ok(logdir) = std::env::var("TRAIN_LOGDIR") else { return };
    let mut knobs: Knobs = knobs(10.0);
    for (variable, knob) in VARIABLES {
        if let Ok(value) = std::env::var(variable) {
            knobs.insert(knob.to_owned(), serde_json::from_str(&value).unwrap_or_else(|_| json!(value)));
        }
    }
    let name = std::env::var("NEXTRUN_RUN_NAME").unwrap();
    use std::io::Write;
    let marks = Path::new(&logdir).with_file_name("marks");
    let mut marks = fs::File::options().create(true).append(true).open(marks).unwrap();
    writeln!(marks, "{}", std::env::var("NEXTRUN_SUGGESTION_ID").unwrap()).unwrap();
    Run::new(Path::new(&logdir), &name, &knobs).train();
}

const VARIABLES: [(&str, &str); 5] = [
    ("LR", "learning_rate"),
    ("STEPS", "max_steps"),
    ("BATCH", "batch_size"),
    ("EXAMPLES", "train_examples"),
    ("OPTIMIZER", "optimizer"),
];

struct Box {
    stage: Stage,
    configuration: PathBuf,
}

impl Box {
    fn new() -> Box {
        Box::with(Stage::new(), json!({}))
    }

    /// With more in its configuration.
    fn with(stage: Stage, more: serde_json::Value) -> Box {
        let script = std::env::current_exe().unwrap();
        let command = format!(
            "env TRAIN_LOGDIR={} {} --exact runner::a_training_script --ignored --nocapture {{arguments}}",
            stage.logdir().display(),
            script.display()
        );
        let knobs: BTreeMap<&str, _> =
            VARIABLES.iter().map(|(variable, knob)| (*knob, json!({"env": format!("{variable}={{value}}")}))).collect();
        let mut text = json!({"launch": {"command": command, "knobs": knobs}});
        text.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let configuration = stage.write("nextrun.yaml", &text.to_string());
        Box { stage, configuration }
    }

    fn watch(&self) -> Daemon {
        self.watch_patiently("600s")
    }

    /// Watches; jobs that are silent for so long have ended.
    fn watch_patiently(&self, quiet_after: &str) -> Daemon {
        let configuration = self.configuration.to_str().unwrap();
        self.stage.start(&["--runner", "--allow-root", "--quiet-after", quiet_after, "--config", configuration], &[])
    }

    fn home(&self) -> Option<PathBuf> {
        fs::read_dir(self.stage.state().join("runner")).ok()?.flatten().next().map(|machine| machine.path())
    }

    /// The runner, while it runs.
    fn runner(&self) -> Option<u32> {
        let pid: u32 = fs::read_to_string(self.home()?.join("lock")).ok()?.trim().parse().ok()?;
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        arguments.windows(6).any(|part| part == b"runner").then_some(pid)
    }

    fn kill_runner(&self) {
        if let Some(pid) = self.runner() {
            drop(Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status());
        }
    }

    /// How often each suggestion was run.
    fn marks(&self) -> BTreeMap<String, usize> {
        let marks = fs::read_to_string(self.stage.logdir().with_file_name("marks")).unwrap_or_default();
        let mut counted = BTreeMap::new();
        marks.lines().for_each(|line| *counted.entry(line.to_owned()).or_default() += 1);
        counted
    }
}

impl Drop for Box {
    fn drop(&mut self) {
        self.kill_runner();
    }
}

#[test]
fn one_machine_needs_nothing_else() {
    let here = Box::new();
    Run::new(&here.stage.logdir(), "sick", &knobs(10.0)).train();
    let mut daemon = here.watch();
    let case = here.stage.until_closed("sick");
    assert_eq!(verdict(&case), "learning_rate_too_high");
    let marks = here.marks();
    assert_eq!(marks.len(), case.experiments.len());
    assert!(marks.values().all(|times| *times == 1), "{marks:?}");
    daemon.signal("TERM");
    here.stage.until("the daemon has stopped", || daemon.ended().is_some());
    assert!(here.runner().is_some(), "the runner outlives the daemon");
}

#[test]
fn killed_daemons_and_runners_come_to_the_same_verdict_by_the_same_experiments() {
    let here = Box::new();
    Run::new(&here.stage.logdir(), "sick", &knobs(10.0)).train();
    let mut random = fastrand::Rng::with_seed(5);
    let mut kills = 0;
    while here.stage.case_of("sick").is_none_or(|case| case.closed.is_none()) {
        assert!(kills < 200, "it does not come to an end");
        let before = here.stage.log().matches("INFO watching ").count();
        let mut daemon = here.watch();
        here.stage.until("it watches", || here.stage.log().matches("INFO watching ").count() > before);
        if random.bool() {
            here.stage.until("a runner is there", || here.runner().is_some());
        }
        // Where it dies is left to chance.
        std::thread::sleep(Duration::from_millis(random.u64(0..9000)));
        if random.bool() {
            here.kill_runner();
        }
        daemon.kill();
        kills += 1;
    }
    assert!(kills >= 2, "nothing was killed");
    let case = here.stage.case_of("sick").unwrap();
    assert_eq!(verdict(&case), "learning_rate_too_high");
    let marks = here.marks();
    assert!(marks.values().all(|times| *times == 1), "none ran twice: {marks:?}");
    assert_eq!(marks.len(), case.experiments.len(), "{marks:?}");
}

#[test]
fn a_machine_that_runs_everything_twice_is_refused() {
    let here = Box::new();
    let text = json!({"destinations": {"queue": {"preset": "queue", "url": "http://127.0.0.1:1/"}}}).to_string();
    let configuration = here.stage.write("queue.yaml", &text);
    let mut daemon = here.stage.start(&["--runner", "--allow-root", "--config", configuration.to_str().unwrap()], &[]);
    here.stage.until("it gives up", || daemon.ended().is_some());
    let log = here.stage.log();
    assert!(log.contains("both `--runner` and the destination queue would run the suggestions"), "{log}");
}

#[test]
fn a_suspicious_job_is_probed_on_this_machine_before_people_are_told() {
    let stage = Stage::new();
    suspicious(&stage);
    let more = super::probes::configuration(&stage);
    let here = Box::with(stage, more);
    let _daemon = here.watch();
    let case = here.stage.until_closed("slow");
    assert_eq!(verdict(&case), "learning_rate_too_high");
    assert!(case.experiments[0].probe && case.experiments[0].outcome.is_some(), "{:?}", case.experiments);
    let marks = here.marks();
    assert!(marks.len() == case.experiments.len() && marks.values().all(|times| *times == 1), "{marks:?}");
}

/// A real training, by a script as people write them: its rate is far too low, but its curve, which falls a little in much
/// noise, says hardly more than that of a healthy job.
#[test]
fn a_training_that_is_stuck_is_settled_by_a_probe_that_this_machine_trains() {
    if Command::new("python3").arg("--version").output().is_err() {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/daemon/training.py");
    let stage = Stage::new();
    let train = format!("python3 {} --out {}", script.display(), stage.logdir().display());
    let options = [
        ("learning_rate", "lr"),
        ("optimizer", "optimizer"),
        ("max_steps", "steps"),
        ("batch_size", "batch-size"),
        ("train_examples", "examples"),
    ];
    let knobs: BTreeMap<&str, _> =
        options.map(|(knob, option)| (knob, json!({"argument": format!("--{option}={{value}}")}))).into();
    let configuration = json!({
        "launch": {"command": format!("{train}/{{run_name}} {{settings}}"), "knobs": knobs},
        "probes": {"jobs": ["stuck"], "share": 0.3},
        "prior": 0.03,
    });
    let configuration = stage.write("nextrun.yaml", &configuration.to_string());
    let trained = Command::new("sh").args(["-c", &format!("{train}/stuck")]).status().unwrap();
    assert!(trained.success());
    let here = Box { stage, configuration };
    let _daemon = here.watch_patiently("5s");
    let settled = || here.stage.case_of("stuck").filter(|case| !case.is_quiet() || case.closed.is_some());
    here.stage.until("it is settled", || settled().is_some());
    let case = settled().unwrap();
    let made = &case.quiet.as_ref().expect("it was probed first").tests[0];
    assert_eq!(made.outcome, Some(nextrun::probe::Outcome::Reached), "{made:?}");
    assert!(
        case.experiments[0].probe && case.closed.is_none(),
        "people are told, and its cause is looked for: {case:?}"
    );
}
