//! Permissions to execute commands.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use serde_json::json;

use super::stage::{Stage, read};

/// Whoever runs the tests.
fn me() -> u32 {
    fs::metadata("/proc/self").unwrap().uid()
}

#[test]
fn only_commands_of_the_runners_user_are_run() {
    let stage = Stage::new();
    let _runner = stage.runner(&[], &[]);
    let post = |id: &str, from: serde_json::Value| {
        let mut event = stage.event(id, &format!("echo {id} >> marks"));
        event["data"]["command_from"] = from;
        stage.request("POST", "/v1/runs", Some(&event)).unwrap()
    };
    let (status, body) = post("a", json!({"source": "run", "owner": me() + 1}));
    assert_eq!(status, 403);
    assert!(body["error"].as_str().unwrap().contains(&format!("belongs to user {}", me() + 1)), "{body}");
    assert_eq!(post("b", json!({"source": "process"})).0, 403);
    assert_eq!(post("c", json!(null)).0, 403);
    assert_eq!(post("d", json!({"source": "process", "owner": me()})).0, 202);
    stage.until_state("d", "ended");
    assert_eq!(read(&stage.logs().join("marks")), "d\n");
}

#[test]
fn names_and_values_are_data() {
    let stage = Stage::new();
    let _runner = stage.runner(&[], &[]);
    let long = "x".repeat(4096);
    for id in ["../../x", "a/b", "", ".hidden", "a b", "$(id)", "a\nb", long.as_str()] {
        let (status, _) = stage.request("POST", "/v1/runs", Some(&stage.event(id, "true"))).unwrap();
        assert_eq!(status, 400, "{id:?}");
    }
    let mut event = stage.event("fine", "printf '%s\\n' \"$NEXTRUN_RUN_NAME\"");
    let name = format!("'; touch pwned; $(touch pwned) `touch pwned`\n--flag {long}");
    (event["data"]["run_name"], event["data"]["env"]["NEXTRUN_RUN_NAME"]) = (json!(name), json!(name));
    assert_eq!(stage.request("POST", "/v1/runs", Some(&event)).unwrap().0, 202);
    stage.until_state("fine", "ended");
    assert_eq!(stage.command(&["logs", "fine"]), format!("{name}\n"));
    assert!(!stage.logs().join("pwned").exists());
    let listed = stage.command(&["list"]);
    assert_eq!(listed.lines().count(), 1, "a name does not begin a line of its own: {listed}");
}

#[test]
fn nobody_else_reaches_the_socket_or_the_files() {
    let stage = Stage::new();
    let _runner = stage.runner(&[], &[]);
    stage.post("a", "true");
    stage.until_state("a", "ended");
    let mode = |path: &std::path::Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    let home = stage.home();
    assert_eq!((mode(&home), mode(&home.join("socket"))), (0o700, 0o600));
    let job = home.join("jobs/a");
    assert_eq!(mode(&job), 0o700);
    for file in ["job.json", "started.json", "exit.json", "log"] {
        assert_eq!(mode(&job.join(file)), 0o600, "{file}");
    }
}

#[test]
fn root_is_refused_unless_it_is_allowed() {
    if me() != 0 {
        return;
    }
    let stage = Stage::new();
    let output =
        Command::new(env!("CARGO_BIN_EXE_nextrun")).args(["runner", "--state"]).arg(stage.state()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("--allow-root"), "{told}");
    assert!(!stage.state().exists(), "nothing was made");
}

#[test]
fn there_is_one_runner_a_directory() {
    let stage = Stage::new();
    let runner = stage.runner(&[], &[]);
    let mut second = stage.start(&[], &[]);
    assert_eq!(second.0.wait().unwrap().code(), Some(2));
    assert!(
        stage.log().contains(&format!("a runner is already running for {}", stage.home().display())),
        "{}",
        stage.log()
    );
    assert!(stage.log().contains(&format!("(process {})", runner.0.id())));
    assert!(stage.fate("none").is_none() && stage.request("GET", "/v1/jobs", None).is_some(), "the first one goes on");
}
