//! Runner and supervisors that are killed without warning, a reboot, a full disk: no job runs twice, is lost, or is
//! left over.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use super::stage::{Stage, read, signal};

#[test]
fn a_job_outlives_its_runner() {
    let stage = Stage::new();
    let mut runner = stage.runner(&[], &[]);
    stage.post("a", "echo start >> marks; while [ ! -e go ]; do sleep 0.05; done; echo end >> marks; exit 5");
    stage.until("it runs", || read(&stage.logs().join("marks")) == "start\n");
    runner.kill();
    std::fs::write(stage.logs().join("go"), "").unwrap();
    stage.until("it ends", || read(&stage.logs().join("marks")) == "start\nend\n");
    let runner = stage.runner(&[], &[]);
    assert_eq!(stage.until_state("a", "failed")["exit_code"], 5);
    stage.until("no process is left", || stage.processes_of_jobs(&runner).is_empty());
}

#[test]
fn a_job_whose_supervisor_is_killed_is_lost_and_nothing_of_it_is_left() {
    let stage = Stage::new();
    let runner = stage.runner(&["--slots", "2"], &[]);
    // A child in the session, and one that has a session and an environment of its own but for the job's name.
    stage.post("a", "sleep 1000 & setsid sleep 1001 & echo ready; wait");
    stage.until("it runs", || stage.fate("a").is_some_and(|fate| fate["tail"] == "ready"));
    signal(stage.supervisor("a").unwrap(), "KILL");
    let fate = stage.until_state("a", "lost");
    assert_eq!(fate["reason"], "its supervisor was killed");
    stage.until("no process is left", || stage.processes_of_jobs(&runner).is_empty());
    stage.post("b", "true");
    stage.until_state("b", "ended");
}

#[test]
fn a_job_of_another_boot_is_lost() {
    let stage = Stage::new();
    let mut runner = stage.runner(&[], &[]);
    stage.post("a", "sleep 1000");
    stage.until_state("a", "running");
    stage.post("b", "echo b >> marks");
    runner.kill();
    let supervisor = stage.supervisor("a").unwrap();
    let _runner = stage.runner(&[], &[("NEXTRUN_TEST_BOOT_ID", "another")]);
    assert_eq!(stage.until_state("a", "lost")["reason"], "the machine was rebooted");
    stage.until_state("b", "ended");
    assert_eq!(read(&stage.logs().join("marks")), "b\n");
    let alive = std::path::Path::new(&format!("/proc/{supervisor}")).exists();
    assert!(alive, "a number of another boot is somebody else's: it is not killed");
}

#[test]
fn a_shutdown_is_no_failure() {
    let stage = Stage::new();
    let _runner = stage.runner(&[], &[]);
    stage.post("a", "sleep 1000");
    stage.until_state("a", "running");
    signal(stage.supervisor("a").unwrap(), "TERM");
    stage.until_state("a", "lost");
}

#[test]
fn a_full_disk_loses_nothing() {
    let stage = Stage::new();
    let disk = stage.state();
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&disk).output().unwrap();
    if !mounted.status.success() {
        // Only root can have a disk of one's own; the gate runs as root.
        return;
    }
    let unmount = Unmount(disk.clone());
    let runner = stage.runner(&[], &[]);
    assert_eq!(stage.post("before", "while [ ! -e go ]; do sleep 0.05; done; exit 4"), Some(202));
    stage.until_state("before", "running");
    let filler = disk.join("filler");
    fill(&filler);
    assert_eq!(stage.post("during", "echo during >> marks"), Some(503));
    assert!(stage.fate("during").is_none());
    // The job that runs ends while its end cannot be written.
    std::fs::write(stage.logs().join("go"), "").unwrap();
    stage.until("its supervisor alone is left", || stage.processes_of_jobs(&runner).len() == 1);
    assert_eq!(stage.fate("before").unwrap()["state"], "running");
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(stage.until_state("before", "failed")["exit_code"], 4);
    assert_eq!(stage.post("during", "echo during >> marks"), Some(202));
    stage.until_state("during", "ended");
    assert_eq!(read(&stage.logs().join("marks")), "during\n");
    drop(runner);
    drop(unmount);
}

/// Takes a mount away again.
struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// Writes until nothing more fits.
fn fill(path: &std::path::Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    for size in [65_536, 4096, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
}

#[test]
fn a_hundred_jobs_on_two_slots_while_the_runner_and_supervisors_are_killed() {
    let stage = Stage::new();
    let mut random = fastrand::Rng::with_seed(11);
    let ids: Vec<String> = (0..100).map(|n| format!("job-{n:03}")).collect();
    let mut runner = stage.runner(&["--slots", "2"], &[]);
    let mut killed = 0;
    for id in &ids {
        // Whoever is asked while it dies does not answer: then the same is posted again, as the outbox does.
        let command =
            format!("echo {id} >> marks; echo + >> running-{id}; sleep 0.05; rm running-{id}; echo {id} >> ended");
        stage.until("it is taken", || matches!(stage.post(id, &command), Some(202 | 409)));
        match random.u8(0..12) {
            0 => {
                runner.kill();
                killed += 1;
                runner = stage.runner(&["--slots", "2"], &[]);
            }
            1 => {
                let running = ids.iter().filter(|id| stage.home().join("jobs").join(id).exists());
                let supervisors: Vec<i32> = running.filter_map(|id| stage.supervisor(id)).collect();
                let alive: Vec<i32> = stage.processes().into_iter().filter(|pid| supervisors.contains(pid)).collect();
                if let Some(pid) = random.choice(alive) {
                    signal(pid, "KILL");
                    killed += 1;
                }
            }
            _ => std::thread::sleep(Duration::from_millis(random.u64(0..60))),
        }
    }
    assert!(killed >= 8, "only {killed} were killed");
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for id in &ids {
        stage.until(&format!("{id} is over"), || {
            stage.fate(id).is_some_and(|fate| fate["state"] == "ended" || fate["state"] == "lost")
        });
        *states.entry(stage.fate(id).unwrap()["state"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let marks = stage.marks();
    assert!(marks.values().all(|times| *times == 1), "none ran twice: {marks:?}");
    let ended = read(&stage.logs().join("ended"));
    for id in ids.iter().filter(|id| stage.fate(id).unwrap()["state"] == "ended") {
        assert!(marks.contains_key(id) && ended.lines().any(|line| line == id), "{id} did not run to its end");
    }
    assert!(states["ended"] >= 60, "{states:?}");
    stage.until("no process is left", || stage.processes_of_jobs(&runner).is_empty());
}
