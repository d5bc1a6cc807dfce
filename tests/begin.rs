//! The first commands of a new user: the output of `diagnose` for a log directory, and of `init` for a script.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nextrun::tfevents::encode;
use serde_json::Value;

/// Exit code, standard output, standard error.
fn nextrun(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nextrun"));
    let command = command.args(arguments).current_dir(folder).env("XDG_STATE_HOME", folder.join("state"));
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn events(steps: i64, loss: impl Fn(i64) -> f32) -> Vec<u8> {
    (0..steps).flat_map(|step| encode::scalar(1.7e9 + step as f64, step, "train/loss", loss(step))).collect()
}

fn write_run(folder: &Path, hparams: &str, loss: impl Fn(i64) -> f32) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("hparams.yaml"), hparams).unwrap();
    fs::write(folder.join("events.out.tfevents.1.node1"), events(301, loss)).unwrap();
}

const ALL: &str = "learning_rate: 0.001\noptimizer: adam\nbatch_size: 8\nmax_steps: 300\n";

fn falling(step: i64) -> f32 {
    2.0 * (-step as f32 / 60.0).exp()
}

fn exploding(step: i64) -> f32 {
    if step < 5 { 2.0 } else { f32::NAN }
}

#[test]
fn failing_jobs_stand_first_and_a_summary_last() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    write_run(&runs.join("a"), ALL, falling);
    write_run(&runs.join("b"), "optimizer: adam\n", exploding);
    for (job, tag) in [("c", "x"), ("d", "x")] {
        fs::create_dir_all(runs.join(job)).unwrap();
        fs::write(runs.join(job).join("events.out.tfevents.1.node1"), encode::scalar(1.7e9, 0, tag, 1.0)).unwrap();
    }
    write_run(&runs.join("nextrun/b-0123ab/01-overfit"), ALL, exploding);
    let (code, out, err) = nextrun(folder.path(), &["diagnose", "runs"]);
    assert_eq!((code, err.as_str()), (1, ""));
    let lines: Vec<&str> = out.lines().collect();
    let place = |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap();
    assert!(place("failing  b") < place("unknown  c, d") && place("unknown  c, d") < place("healthy  a"), "{out}");
    assert!(place("experiments of nextrun") > place("healthy  a"), "{out}");
    assert!(
        out.contains("not logged: learning rate, batch size, number of steps by b. To log them with a SummaryWriter"),
        "{out}"
    );
    assert_eq!(lines.last(), Some(&"4 jobs: 1 failing, 2 unknown, 1 healthy; 1 experiment of nextrun"));
    let (_, out, _) = nextrun(folder.path(), &["diagnose", "runs", "--format", "json"]);
    let job = |name: &str| {
        let found = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        found.into_iter().find(|job| job["run"] == name).unwrap()
    };
    let experiment = job("nextrun/b-0123ab/01-overfit");
    assert_eq!((&experiment["status"], &experiment["experiment"]), (&"unknown".into(), &true.into()));
    assert_eq!(job("b")["not_logged"], serde_json::json!(["learning_rate", "batch_size", "max_steps"]));
}

#[test]
fn a_place_that_is_no_log_directory_is_answered_with_one() {
    let folder = tempfile::tempdir().unwrap();
    write_run(&folder.path().join("vision/runs/a"), ALL, falling);
    write_run(&folder.path().join("nlp/logs/b"), ALL, falling);
    fs::create_dir(folder.path().join("empty")).unwrap();
    let (code, out, err) = nextrun(folder.path(), &["diagnose", "empty"]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.contains("no event files in empty") && err.contains("vision/runs"), "{err}");
    let (code, _, err) = nextrun(folder.path(), &["diagnose", "vision/run"]);
    assert!(code == 2 && err.contains("does not exist; found event files in vision/runs"), "{err}");
    let (code, _, err) = nextrun(folder.path(), &["diagnose", "vision/runs/a/hparams.yaml"]);
    assert!(code == 2 && err.contains("is a file"), "{err}");
    let file = "vision/runs/a/events.out.tfevents.1.node1";
    let (code, out, err) = nextrun(folder.path(), &["diagnose", file]);
    assert!(code == 0 && out.starts_with("healthy  vision/runs/a") && err.contains("is an event file"), "{out}{err}");
    let (_, out, _) = nextrun(folder.path(), &["diagnose", "."]);
    let last = out.lines().last().unwrap_or_default();
    assert!(last.contains("2 log directories: nlp/logs (1 job), vision/runs (1 job)"), "{out}");
}

const SCRIPT: &str = "import argparse\nopen('ran', 'w')\np = argparse.ArgumentParser()\np.add_argument('--lr', type=float, default=0.1)\n\
                      p.add_argument('--steps', type=int, default=100)\np.add_argument('--logdir', default='runs/a')\n";

#[test]
fn a_configuration_is_written_that_is_valid_and_nothing_is_run() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("train.py"), SCRIPT).unwrap();
    let init = |more: &[&str]| {
        let words = ["init", "runs"].iter().chain(more).chain(&["--", "python", "train.py", "--lr", "5"]);
        nextrun(folder.path(), &words.copied().collect::<Vec<_>>())
    };
    let (code, out, err) = init(&[]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("certain     learning_rate: `--lr` by its name") && out.contains("--lr 0.5"), "{out}");
    assert!(!folder.path().join("ran").exists());
    assert_eq!(nextrun(folder.path(), &["config", "check", "nextrun.yaml"]).0, 0);
    let written = fs::read_to_string(folder.path().join("nextrun.yaml")).unwrap();
    assert!(written.contains("runs/{run_name} {settings}"), "{written}");
    let (code, _, err) = init(&[]);
    assert!(code == 2 && err.contains("nextrun.yaml exists") && err.contains("--force"), "{err}");
    assert_eq!(init(&["--force"]).0, 0);
    let (code, _, err) = nextrun(folder.path(), &["init", "runs", "-o", "other.yaml"]);
    assert!(code == 2 && err.contains("does not exist"), "{err}");
}

#[test]
fn a_sweep_file_says_the_command() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("train.py"), SCRIPT).unwrap();
    let sweep = "program: train.py\nmethod: grid\nparameters:\n  lr: {values: [2.0, 0.2]}\n";
    fs::write(folder.path().join("sweep.yaml"), sweep).unwrap();
    let (code, out, _) = nextrun(folder.path(), &["init", "runs", "--sweep", "sweep.yaml"]);
    assert!(code == 0 && out.starts_with("command     python train.py --lr=2.0  (from sweep.yaml)"), "{out}");
}

/// A program that logs its learning rate and two steps, whatever it is told.
const PROGRAM: &str = "#!/bin/sh\nwhile [ $# -gt 0 ]; do case $1 in --lr) lr=$2;; --logdir) dir=$2;; esac; shift; done\n\
                       mkdir -p $dir\necho \"learning_rate: $lr\" > $dir/hparams.yaml\n\
                       cp two $dir/events.out.tfevents.$(date +%s).h.$$.0\n";

#[test]
fn two_steps_show_whether_the_settings_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("train.sh");
    let install = |text: &str| {
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    };
    fs::write(folder.path().join("two"), events(2, falling)).unwrap();
    let init = || {
        let words = "init runs --try --force -- ./train.sh --lr 0.5 --steps 100 --logdir runs/a";
        nextrun(folder.path(), &words.split(' ').collect::<Vec<_>>())
    };
    install(PROGRAM);
    let (code, out, _) = init();
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("right    `--lr` took effect: the run logged learning_rate = 0.25"), "{out}");
    assert!(out.contains("right    `--steps` took effect: the latest step is 1"), "{out}");
    assert!(!folder.path().join("runs").exists(), "the log directory is left alone");
    // The option is taken for another one.
    install(&PROGRAM.replace("lr=$2", "lr=7"));
    let (code, out, _) = init();
    assert!(code == 1 && out.contains("wrong    `--lr` was 0.25, but the run logged learning_rate = 7"), "{out}");
    install("#!/bin/sh\necho broken\nexit 3\n");
    let (code, out, _) = init();
    assert!(code == 1 && out.contains("exit code 3") && out.contains("    broken"), "{out}");
}
