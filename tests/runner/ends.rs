//! How jobs end on their own, and how they are terminated.

use std::fs;

use super::stage::{Stage, read};

/// Starts `sh -c $1` as a daemon does: with two forks, a session of its own, and no parent.
const DAEMONISED: &str = "(setsid sh -c 'echo $$ > daemon.pid; trap \"\" TERM HUP; while :; do sleep 0.1; done' </dev/null >/dev/null 2>&1 &) ; ";

#[test]
fn a_job_ends_as_its_command_does() {
    let stage = Stage::new();
    let _runner = stage.runner(&["--slots", "4"], &[]);
    assert_eq!(stage.post("well", "echo done; echo \"$NEXTRUN_SUGGESTION_ID\""), Some(202));
    assert_eq!(stage.post("badly", "echo Traceback >&2; exit 3"), Some(202));
    assert_eq!(stage.post("killed", "kill -SEGV $$"), Some(202));
    assert_eq!(stage.post("absent", "no-such-program --lr 1"), Some(202));
    let well = stage.until_state("well", "ended");
    assert_eq!((well["exit_code"].as_i64(), well["tail"].as_str()), (Some(0), Some("done\nwell")));
    let badly = stage.until_state("badly", "failed");
    assert_eq!((badly["exit_code"].as_i64(), badly["tail"].as_str()), (Some(3), Some("Traceback")));
    assert_eq!(stage.until_state("killed", "failed")["signal"], 11);
    assert_eq!(stage.until_state("absent", "failed")["exit_code"], 127);
    assert_eq!(stage.request("GET", "/v1/jobs/none", None).unwrap().0, 404);
    let listed = stage.command(&["list"]);
    assert!(listed.contains("badly  failed, exit code 3  badly  echo Traceback"), "{listed}");
    assert_eq!(stage.command(&["logs", "well"]), "done\nwell\n");
}

#[test]
fn a_command_whose_directory_is_gone_has_failed() {
    let stage = Stage::new();
    let _runner = stage.runner(&[], &[]);
    let mut event = stage.event("a", "true");
    event["data"]["cwd"] = "/no/such/directory".into();
    assert_eq!(stage.request("POST", "/v1/runs", Some(&event)).unwrap().0, 202);
    let fate = stage.until_state("a", "failed");
    assert!(fate["reason"].as_str().unwrap().contains("/no/such/directory"), "{fate}");
}

#[test]
fn a_job_that_says_that_memory_is_out_is_out_of_memory() {
    let stage = Stage::new();
    let _runner = stage.runner(&[], &[]);
    stage.post("a", "printf 'Traceback:\\ntorch.OutOfMemoryError: CUDA out of memory. Tried\\n' >&2; exit 1");
    let fate = stage.until_state("a", "out_of_memory");
    assert_eq!(fate["reason"], "torch.OutOfMemoryError: CUDA out of memory. Tried");
}

#[test]
fn an_id_is_run_once_ever() {
    let stage = Stage::new();
    let mut runner = stage.runner(&[], &[]);
    assert_eq!(stage.post("a", "echo a >> marks"), Some(202));
    assert_eq!(stage.post("a", "echo a >> marks"), Some(409));
    stage.until_state("a", "ended");
    assert_eq!(stage.post("a", "echo b >> marks"), Some(409));
    runner.kill();
    let _runner = stage.runner(&[], &[]);
    assert_eq!(stage.post("a", "echo a >> marks"), Some(409));
    assert_eq!(stage.fate("a").unwrap()["state"], "ended");
    assert_eq!(read(&stage.logs().join("marks")), "a\n");
}

#[test]
fn a_stop_ends_the_whole_tree() {
    let stage = Stage::new();
    let runner = stage.runner(&["--slots", "2"], &[]);
    // One process that ignores SIGTERM, one that daemonises, and one that does neither.
    let command = format!("{DAEMONISED} sleep 1000 & trap '' TERM; echo ready; while :; do sleep 0.1; done");
    stage.post("a", &command);
    stage.until("it runs", || stage.fate("a").is_some_and(|fate| fate["tail"] == "ready"));
    stage.until("it has daemonised", || !read(&stage.logs().join("daemon.pid")).is_empty());
    let (status, _) = stage.request("DELETE", "/v1/jobs/a", None).unwrap();
    assert_eq!(status, 200);
    let fate = stage.until_state("a", "stopped");
    assert_eq!(fate["signal"], 9, "SIGTERM was not enough: {fate}");
    stage.until("no process is left", || stage.processes_of_jobs(&runner).is_empty());
}

#[test]
fn what_a_person_stops_is_cancelled() {
    let stage = Stage::new();
    let _runner = stage.runner(&[], &[]);
    stage.post("a", "sleep 1000");
    stage.post("b", "echo b >> marks");
    stage.until_state("a", "running");
    assert_eq!(stage.fate("b").unwrap()["state"], "queued");
    assert_eq!(stage.command(&["stop", "b"]), "b has been stopped\n");
    assert_eq!(stage.command(&["stop", "a"]), "a has been stopped\n");
    assert_eq!(stage.until_state("a", "cancelled")["signal"], 15);
    assert_eq!(stage.until_state("b", "cancelled")["reason"], "stopped before it started");
    stage.post("c", "true");
    stage.until_state("c", "ended");
    assert_eq!(read(&stage.logs().join("marks")), "", "what was stopped never starts");
}

#[test]
fn what_a_command_leaves_behind_is_ended_with_it() {
    let stage = Stage::new();
    let runner = stage.runner(&[], &[]);
    stage.post("a", &format!("{DAEMONISED} exit 0"));
    stage.until_state("a", "ended");
    stage.until("no process is left", || stage.processes_of_jobs(&runner).is_empty());
    assert_ne!(read(&stage.logs().join("daemon.pid")), "");
}

#[test]
fn the_event_files_of_a_job_are_seen() {
    let stage = Stage::new();
    let _runner = stage.runner(&["--slots", "2"], &[]);
    let folder = stage.logs().join("version_7");
    fs::create_dir(&folder).unwrap();
    // One holds its file open; the other opens it for each write only, and its process is in its name.
    stage.post("open", "exec 5>version_7/events.out.tfevents.1.held; sleep 3");
    stage.post("named", "f=version_7/events.out.tfevents.2.$(uname -n).$$.0; echo x > $f; sleep 3; echo y >> $f");
    stage.until_state("open", "ended");
    stage.until_state("named", "ended");
    let files = |id: &str| stage.fate(id).unwrap()["event_files"].clone();
    assert_eq!(files("open"), serde_json::json!([folder.join("events.out.tfevents.1.held")]));
    let named = files("named");
    assert!(named[0].as_str().unwrap().contains("version_7/events.out.tfevents.2."), "{named}");
    assert_eq!(named.as_array().unwrap().len(), 1, "each has its own only");
}
