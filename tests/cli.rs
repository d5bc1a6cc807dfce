//! The interface of commands for other programs: exit codes, and one JSON object per line.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use nextrun::tfevents::encode;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::RowAccessor as _;
use serde_json::Value;

/// Exit code, standard output, standard error.
fn nextrun(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_nextrun")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A run of 300 steps, each with its loss.
fn write_run(logdir: &Path, name: &str, loss: impl Fn(i64) -> f32) {
    let folder = logdir.join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("hparams.yaml"), "learning_rate: 0.001\noptimizer: adam\nmax_steps: 300\n").unwrap();
    let scalar = |step: i64| encode::scalar(1.7e9 + step as f64, step, "train/loss", loss(step));
    let records: Vec<u8> = (0..=300).flat_map(scalar).collect();
    fs::write(folder.join("events.out.tfevents.1.node1"), records).unwrap();
}

fn falling(step: i64) -> f32 {
    2.0 * (-step as f32 / 60.0).exp()
}

fn exploding(step: i64) -> f32 {
    if step < 5 { 2.0 } else { f32::NAN }
}

#[test]
fn a_log_directory_of_healthy_jobs_is_exit_code_0() {
    let logdir = tempfile::tempdir().unwrap();
    write_run(logdir.path(), "a", falling);
    let (code, out, err) = nextrun(&["diagnose", logdir.path().to_str().unwrap(), "--format", "json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let job = &lines(&out)[0];
    assert_eq!((&job["run"], &job["status"], &job["next"]), (&"a".into(), &"healthy".into(), &Value::Null));
    assert_eq!(job["signals"]["train_loss"], "train/loss");
    assert_eq!(job["hyperparameters"]["learning_rate"], 0.001);
}

#[test]
fn a_failing_job_is_exit_code_1_and_is_told_with_its_evidence() {
    let logdir = tempfile::tempdir().unwrap();
    write_run(logdir.path(), "good", falling);
    write_run(logdir.path(), "team/bad", exploding);
    let (code, out, _) = nextrun(&["diagnose", logdir.path().to_str().unwrap(), "--format", "json"]);
    assert_eq!(code, 1);
    let jobs = lines(&out);
    assert_eq!(jobs.len(), 2, "one object a line, one a job");
    let bad = jobs.iter().find(|job| job["run"] == "team/bad").unwrap();
    for key in ["run", "status", "symptoms", "signals", "hyperparameters", "next", "reason"] {
        assert!(bad.get(key).is_some(), "{key} of {bad}");
    }
    assert_eq!(bad["status"], "failing");
    let symptom = bad["symptoms"].as_array().unwrap().iter().find(|s| s["id"] == "non_finite").unwrap();
    assert_eq!(symptom["severity"], "problem");
    assert!(symptom["first_detected_step"].is_number() && symptom["evidence"]["tag"] == "train/loss", "{symptom}");
    assert!(!symptom["summary"].as_str().unwrap().is_empty());
    for key in ["state", "overrides", "why"] {
        assert!(bad["next"].get(key).is_some(), "{key} of {}", bad["next"]);
    }
}

#[test]
fn what_cannot_be_read_or_is_no_command_is_exit_code_2_with_a_word_on_it() {
    let (code, out, err) = nextrun(&["diagnose", "/no/such/folder"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("/no/such/folder"), "{err}");
    assert_eq!(nextrun(&["diagnoze"]).0, 2);
    let state = tempfile::tempdir().unwrap();
    let (code, _, err) = nextrun(&["cases", "list", "--state", state.path().to_str().unwrap()]);
    assert_eq!(code, 2, "a daemon that never ran has no cases to list");
    assert!(err.contains("nextrun.db") && err.contains("--state DIR"), "{err}");
    let (_, _, err) = nextrun(&["config", "check", "/no/such/file"]);
    assert_eq!(err.matches("No such file").count(), 1, "a cause is said once: {err}");
    let (code, _, err) = nextrun(&["config", "check", "/dev/zero"]);
    assert!(code == 2 && err.contains("longer than 4 MiB"), "{code}: {err}");
}

#[test]
fn a_configuration_is_checked_as_far_as_its_secrets_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nextrun.yaml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        nextrun(&["config", "check", file.to_str().unwrap()])
    };
    let team = "destinations: { team: { preset: slack, url: { file: url } } }\n";
    let (code, out, _) = check(team);
    assert_eq!(code, 0, "the daemon's user may be able to read it");
    assert!(out.contains("no problems") && out.contains("the destination team: `url`"), "{out}");
    fs::write(folder.path().join("url"), "https://hooks.example/s3cret").unwrap();
    assert_eq!(check(team).1.lines().count(), 1);
    let (code, out, err) = check(&format!("{team}allowed_hosts: [hooks.slack.com]\n"));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("hooks.example is not in `allowed_hosts`") && !err.contains("s3cret"), "{err}");
}

#[test]
fn every_scalar_is_printed_as_it_was_read() {
    let logdir = tempfile::tempdir().unwrap();
    write_run(logdir.path(), "a", falling);
    let (code, out, _) = nextrun(&["scalars", logdir.path().to_str().unwrap(), "--format", "jsonl"]);
    let points = lines(&out);
    assert_eq!((code, points.len()), (0, 301));
    let point = &points[7];
    assert_eq!((&point["run"], &point["tag"], &point["step"]), (&"a".into(), &"train/loss".into(), &7.into()));
    assert_eq!(point["wall_time"].as_f64(), Some(1.7e9 + 7.0));
    assert_eq!(point["value"].as_f64().unwrap() as f32, falling(7));
}

#[test]
fn a_parquet_file_holds_what_the_lines_say() {
    let logdir = tempfile::tempdir().unwrap();
    write_run(logdir.path(), "a", falling);
    write_run(logdir.path(), "team/b", exploding);
    let place = logdir.path().to_str().unwrap();
    let (file, text) = (logdir.path().join("points.parquet"), logdir.path().join("points.jsonl"));
    for (format, path) in [("parquet", &file), ("jsonl", &text)] {
        let (code, out, err) = nextrun(&["scalars", place, "--format", format, "--output", path.to_str().unwrap()]);
        assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
    }
    let reader = SerializedFileReader::new(fs::File::open(&file).unwrap()).unwrap();
    let row = |row: parquet::record::Row| {
        let nan = |value: f64| if value.is_nan() { "NaN".into() } else { Value::from(value) };
        serde_json::json!({
            "run": row.get_string(0).unwrap(), "tag": row.get_string(1).unwrap(), "step": row.get_long(2).unwrap(),
            "wall_time": row.get_double(3).unwrap(), "value": nan(row.get_double(4).unwrap()),
        })
    };
    let rows: Vec<Value> = reader.get_row_iter(None).unwrap().map(|read| row(read.unwrap())).collect();
    assert_eq!(rows.len(), 602);
    assert_eq!(rows, lines(&fs::read_to_string(&text).unwrap()));
}

#[test]
fn a_file_is_replaced_by_a_whole_one_or_left_alone() {
    let logdir = tempfile::tempdir().unwrap();
    let kept = logdir.path().join("points.csv");
    fs::write(&kept, "mine").unwrap();
    let scalars = |place: &Path| {
        let arguments = ["scalars", place.to_str().unwrap(), "--format", "csv", "--output", kept.to_str().unwrap()];
        nextrun(&arguments)
    };
    assert_eq!(scalars(&logdir.path().join("nothing")).0, 2);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "mine");
    write_run(&logdir.path().join("runs"), "a", falling);
    assert_eq!(scalars(&logdir.path().join("runs")).0, 0);
    assert_eq!(fs::read_to_string(&kept).unwrap().lines().count(), 302);
    let left: Vec<_> = fs::read_dir(logdir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let device = ["scalars", logdir.path().to_str().unwrap(), "--output", "/dev/null"];
    assert_eq!(nextrun(&device), (0, String::new(), String::new()));
}

#[test]
fn a_policy_is_tested_drawn_and_explained_by_its_name() {
    let (code, out, err) = nextrun(&["policy", "test", "quick"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, _) = nextrun(&["policy", "graph", "article", "--page", "sequence"]);
    assert!(code == 0 && out.starts_with("flowchart TD") && out.contains("lower_learning_rate"), "{out}");
    assert_eq!(nextrun(&["policy", "graph", "article", "--page", "nowhere"]).0, 2);
    let (code, out, _) = nextrun(&["policy", "explain", "article", "--story", "the case study"]);
    assert!(code == 0 && out.contains("Verdict: batch_norm_hides_exploding_gradients"), "{out}");
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().to_str().unwrap();
    assert_eq!(nextrun(&["policy", "graph", "boosting", "--format", "svg", "--output", pictures]).0, 0);
    assert!(fs::read_to_string(folder.path().join("boosting-overview.svg")).unwrap().starts_with("<svg"));
}

#[test]
fn a_policy_with_a_mistake_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.yaml");
    fs::write(&path, "policy: mine\nkinds: [nothing]\nstates: {}\n").unwrap();
    let (code, out, err) = nextrun(&["policy", "check", path.to_str().unwrap()]);
    assert_ne!(code, 0);
    assert!(format!("{out}{err}").contains("mine.yaml:2"), "{out}{err}");
}

#[test]
fn a_destination_of_ones_own_is_one_file_with_its_tests() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (code, webhook, _) = nextrun(&["preset", "show", "webhook"]);
    assert_eq!(code, 0);
    let pager =
        webhook.replace("name: webhook", "name: pager").replace("message.subject }}", "message.subject | upper }}");
    fs::write(path("pager.yaml"), &pager).unwrap();
    let (code, out, _) = nextrun(&["preset", "test", &path("pager.yaml")]);
    assert!(code == 1 && out.contains("RESNET/7") && out.contains("2 tests, 1 failed"), "{out}");
    fs::write(path("pager.yaml"), pager.replace("subject: resnet/7", "subject: RESNET/7")).unwrap();
    let (code, out, _) = nextrun(&["preset", "test", &path("pager.yaml")]);
    assert!(code == 0 && out.contains("2 tests, 0 failed"), "{out}");

    let config = |fields: &str| {
        let text = format!("destinations:\n  night: {{ preset: ./pager.yaml, {fields} }}\n");
        fs::write(path("nextrun.yaml"), text).unwrap();
        nextrun(&["config", "check", &path("nextrun.yaml")])
    };
    assert_eq!(config("url: 'https://pager.example/x'").0, 0);
    let (code, _, err) = config("address: 'https://pager.example/x'");
    assert!(code == 2 && err.contains("`address`") && err.contains("needs `url`"), "{err}");
    fs::write(path("pager.yaml"), webhook.replace("same_id:", "same:")).unwrap();
    let (code, _, err) = config("url: 'https://pager.example/x'");
    assert!(code == 2 && err.contains("nextrun.yaml:2") && err.contains("pager.yaml") && err.contains("same"), "{err}");
}
