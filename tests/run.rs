//! `nextrun run` with real processes: the command is unaffected, and is recorded next to its events.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// `nextrun run` in a folder of its own, with a state folder there.
fn nextrun(dir: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nextrun"));
    command
        .arg("run")
        .current_dir(dir.path())
        .env("XDG_STATE_HOME", dir.path().join("state"))
        .env_remove("NEXTRUN_SUGGESTION_ID");
    command
}

fn dir() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn run(dir: &TempDir, words: &[&str]) -> Output {
    nextrun(dir).arg("--").args(words).output().expect("it runs")
}

/// Starts a command and waits until it has said that it is ready.
fn started(dir: &TempDir, script: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = nextrun(dir).args(["--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    output.read_line(&mut line).expect("it says something");
    assert_eq!(line.trim(), "ready");
    (child, output)
}

fn kill(signal: &str, process: u32) {
    let sent = Command::new("kill").args(["-s", signal, &process.to_string()]).status().expect("kill is there");
    assert!(sent.success(), "{signal} to {process}");
}

/// Waits for something that another process does; the deadline only ends a test that fails.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn record(folder: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(folder.join("nextrun.json")).ok()?).ok()
}

#[test]
fn the_exit_code_is_that_of_the_command() {
    let dir = dir();
    for code in [0, 1, 2, 42, 255] {
        let output = run(&dir, &["sh", "-c", &format!("exit {code}")]);
        assert_eq!(output.status.code(), Some(code));
    }
    assert_eq!(run(&dir, &["/nowhere/at-all"]).status.code(), Some(127));
    fs::write(dir.path().join("plain"), "text").expect("a file");
    assert_eq!(run(&dir, &["./plain"]).status.code(), Some(126));
}

#[test]
fn the_end_by_a_signal_is_that_of_the_command() {
    let dir = dir();
    for (name, number) in [("TERM", 15), ("KILL", 9), ("INT", 2), ("SEGV", 11)] {
        let output = run(&dir, &["sh", "-c", &format!("kill -s {name} $$")]);
        let status = output.status;
        let same = status.signal() == Some(number) || status.code() == Some(128 + number);
        assert!(same, "{name}: {status:?}");
    }
    assert_eq!(run(&dir, &["sh", "-c", "kill -s TERM $$"]).status.signal(), Some(15));
}

#[test]
fn words_input_output_and_environment_pass_through() {
    let dir = dir();
    let words = [
        "sh",
        "-c",
        "cat; printf '%s|' \"$@\"; printf %s \"$LR\"; printf err >&2",
        "sh",
        "a b",
        "$(x)",
        "--lr",
        "",
        "--",
    ];
    let mut child = nextrun(&dir)
        .arg("--")
        .args(words)
        .env("LR", "0.1 $x")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("a pipe").write_all(b"in\0put").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "in\0puta b|$(x)|--lr||--|0.1 $x");
    assert!(String::from_utf8_lossy(&output.stderr).contains("err"));
}

#[test]
fn a_signal_to_it_reaches_the_command_once() {
    let dir = dir();
    let script = "trap 'echo usr1' USR1; trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let (mut child, mut output) = started(&dir, script);
    kill("USR1", child.id());
    let mut line = String::new();
    output.read_line(&mut line).expect("it says something");
    assert_eq!(line.trim(), "usr1");
    kill("TERM", child.id());
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("it ends");
    assert_eq!(rest.trim(), "term", "once");
    assert_eq!(child.wait().expect("it ends").code(), Some(3));
}

#[test]
fn what_was_ignored_at_the_start_stays_ignored() {
    let dir = dir();
    let script =
        format!("trap '' HUP; exec {} run -- sh -c 'kill -s HUP $$; echo alive'", env!("CARGO_BIN_EXE_nextrun"));
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(dir.path())
        .env("XDG_STATE_HOME", dir.path())
        .output()
        .expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "alive");
}

#[test]
fn a_command_that_is_stopped_stops_it_too_and_both_go_on() {
    let dir = dir();
    let (mut child, mut output) = started(&dir, "echo ready; kill -s STOP $$; echo on");
    let stopped = || {
        let status = fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
        status.rsplit_once(')').filter(|(_, rest)| rest.trim_start().starts_with('T')).map(drop)
    };
    until("the stop", stopped);
    kill("CONT", child.id());
    let mut line = String::new();
    output.read_line(&mut line).expect("it goes on");
    assert_eq!((line.trim(), child.wait().expect("it ends").code()), ("on", Some(0)));
}

#[test]
fn the_terminal_is_the_commands() {
    let dir = dir();
    let script = format!(
        "{} run -- sh -c 'test -t 0 && test -t 1 && ps -o tpgid=,pgid= -p $$ | {{ read a b; test $a = $b; }} && echo foreground'",
        env!("CARGO_BIN_EXE_nextrun")
    );
    let output = Command::new("script")
        .args(["-qec", &script, "/dev/null"])
        .current_dir(dir.path())
        .output()
        .expect("util-linux is there");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("foreground"), "{text}");
}

#[test]
fn a_run_is_recorded_beside_its_events_at_the_start_and_at_the_end() {
    let dir = dir();
    let runs = dir.path().join("runs/a");
    fs::create_dir_all(&runs).expect("a folder");
    fs::write(
        dir.path().join("train.py"),
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', type=float, default=0.1)\n",
    )
    .expect("a file");
    // A stand-in for python: what matters is that the command names the script and a child of its holds the file open.
    let python = dir.path().join("python");
    let script = "#!/bin/sh\nexec 3> runs/a/events.out.tfevents.1.h.$$.0\n(echo ready; read line <&0; exit 5)\n";
    fs::write(&python, script).expect("a file");
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).expect("it can be run");
    let mut child = nextrun(&dir)
        .args(["--", "./python", "train.py", "--lr", "3", "--token=abcdefgh"])
        .env("NEXTRUN_SUGGESTION_ID", "s1")
        .env("LR", "1")
        .env("MY_API_KEY", "hidden-value")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let first = until("the record", || record(&runs));
    assert_eq!(first["argv"][1], "train.py");
    assert_eq!((&first["ended"], &first["exit_code"]), (&Value::Null, &Value::Null));
    assert_eq!(first["suggestion_id"], "s1");
    assert_eq!(first["settings"]["learning_rate"], 3);
    assert_eq!(first["flags"][0]["name"], "--lr");
    let names: Vec<&str> = first["env"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
    assert!(names.contains(&"LR") && names.contains(&"MY_API_KEY"), "{names:?}");
    assert!(!first.to_string().contains("hidden-value"));
    let kept = dir
        .path()
        .join("state/nextrun/environments")
        .join(format!("{}.json", first["environment"].as_str().expect("an id")));
    let text = fs::read_to_string(&kept).expect("the environment");
    assert!(text.contains("\"LR\":\"1\"") && !text.contains("MY_API_KEY"), "{text}");
    assert_eq!(fs::metadata(&kept).expect("it is there").permissions().mode() & 0o777, 0o600);
    drop(child.stdin.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(5));
    let last = record(&runs).expect("the record");
    assert_eq!(last["exit_code"], 5);
    assert!(last["ended"].is_string() && last["started"] == first["started"]);
    assert_eq!(fs::metadata(runs.join("nextrun.json")).expect("it is there").permissions().mode() & 0o777, 0o644);
}

#[test]
fn a_run_that_is_over_at_once_is_found_by_the_folder_that_is_named() {
    let dir = dir();
    for words in [
        &["--logdir", "out", "--", "sh", "-c", "mkdir -p out/b; : > out/b/x.tfevents"][..],
        &["--", "sh", "-c", "mkdir -p runs/b; : > runs/b/events.out.tfevents.1.h.$$.0"],
    ] {
        let output = nextrun(&dir).args(words).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    assert_eq!(record(&dir.path().join("out/b")).expect("a record")["exit_code"], 0);
}

#[test]
fn what_cannot_be_recorded_runs_all_the_same() {
    let dir = dir();
    let output = nextrun(&dir)
        .args(["--", "sh", "-c", "echo x; exit 4"])
        .env("XDG_STATE_HOME", "/proc/none")
        .output()
        .expect("it runs");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout).trim()), (Some(4), "x"));
    let logdir = dir.path().join("locked");
    fs::create_dir(&logdir).expect("a folder");
    let output = nextrun(&dir).args(["--logdir", "/nowhere", "--", "true"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
}
