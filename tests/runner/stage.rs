//! A runner with its own state directory, and requests to its socket.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A state directory, and a folder that jobs write into. What a test leaves running is killed when it ends.
pub(crate) struct Stage {
    root: tempfile::TempDir,
}

/// A runner that is under way. It is killed when it is dropped.
pub(crate) struct Runner(pub(crate) Child);

impl Runner {
    /// Ends it without warning.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for pid in self.processes() {
            drop(Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status());
        }
    }
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let stage = Stage { root: tempfile::tempdir().unwrap() };
        fs::create_dir(stage.logs()).unwrap();
        stage
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The log directory.
    pub(crate) fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The runner's directory.
    pub(crate) fn home(&self) -> PathBuf {
        let machines = fs::read_dir(self.state().join("runner")).unwrap();
        machines.flatten().next().unwrap().path()
    }

    /// What runners have logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("runner.log")).unwrap_or_default()
    }

    /// Starts a runner and waits until it answers.
    pub(crate) fn runner(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Runner {
        let runner = self.start(arguments, environment);
        self.until("the runner answers", || self.request("GET", "/v1/jobs", None).is_some());
        runner
    }

    /// Starts a runner.
    pub(crate) fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Runner {
        let log = File::options().create(true).append(true).open(self.path("runner.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_nextrun"))
            .args(["runner", "--allow-root", "--state"])
            .arg(self.state())
            .args(arguments)
            .env_remove("RUST_LOG")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Runner(child)
    }

    /// Runs `nextrun runner …` and gives what it printed.
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let mut program = Command::new(env!("CARGO_BIN_EXE_nextrun"));
        let output = program.arg("runner").args(arguments).arg("--state").arg(self.state()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A request through the socket: status and body; `None` where nobody answers.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
        let machine = fs::read_dir(self.state().join("runner")).ok()?.flatten().next()?.path();
        let mut stream = UnixStream::connect(machine.join("socket")).ok()?;
        let text = body.map(Value::to_string).unwrap_or_default();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: runner\r\ncontent-length: {}\r\n\r\n", text.len());
        stream.write_all(format!("{head}{text}").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let body = answer.split_once("\r\n\r\n")?.1;
        Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    /// Posts a suggested run of the site's configuration.
    pub(crate) fn post(&self, id: &str, command: &str) -> Option<u16> {
        Some(self.request("POST", "/v1/runs", Some(&self.event(id, command)))?.0)
    }

    /// A suggested run of the site's configuration.
    pub(crate) fn event(&self, id: &str, command: &str) -> Value {
        json!({
            "specversion": "1.0", "id": id, "type": "nextrun.run.suggested", "source": "nextrun://here",
            "nextrunlogdir": self.logs(),
            "data": {
                "suggestion_id": id, "run_name": id, "baseline_run": "sick", "command": command,
                "command_from": {"source": "configuration"}, "cwd": self.logs(),
                "env": {"NEXTRUN_SUGGESTION_ID": id},
            },
        })
    }

    /// What the runner says of a job.
    pub(crate) fn fate(&self, id: &str) -> Option<Value> {
        let (status, body) = self.request("GET", &format!("/v1/jobs/{id}"), None)?;
        (status == 200).then_some(body)
    }

    /// Waits until a job is in a state.
    pub(crate) fn until_state(&self, id: &str, state: &str) -> Value {
        let mut last = Value::Null;
        self.until(&format!("{id} is {state}"), || {
            last = self.fate(id).unwrap_or_default();
            last["state"] == state
        });
        last
    }

    /// Waits until `condition` holds; fails after a time that only a fault can take.
    pub(crate) fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !condition() {
            if begun.elapsed() > Duration::from_secs(90) {
                let jobs: Vec<Option<Value>> = self.jobs().iter().map(|id| self.fate(id)).collect();
                panic!("this did not happen: {what}; the runner said:\n{}\njobs: {jobs:#?}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn jobs(&self) -> Vec<String> {
        let jobs = self.request("GET", "/v1/jobs", None).map(|(_, jobs)| jobs["jobs"].clone()).unwrap_or_default();
        serde_json::from_value(jobs).unwrap_or_default()
    }

    /// Every process, but of zombies, that was started with something in this stage's folder: supervisors and jobs.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let mark = self.root.path().to_str().unwrap().as_bytes().to_vec();
        let holds = |pid: &i32, file: &str| {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            bytes.windows(mark.len()).any(|part| part == mark)
        };
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let others = pids.filter(|pid| *pid != i32::try_from(std::process::id()).unwrap());
        let alive = |pid: &i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
        };
        others.filter(|pid| alive(pid) && (holds(pid, "cmdline") || holds(pid, "environ"))).collect()
    }

    /// Processes that are no runner.
    pub(crate) fn processes_of_jobs(&self, runner: &Runner) -> Vec<i32> {
        let runner = i32::try_from(runner.0.id()).unwrap();
        self.processes().into_iter().filter(|pid| *pid != runner).collect()
    }

    /// The supervisor of a job that has one.
    pub(crate) fn supervisor(&self, id: &str) -> Option<i32> {
        let text = fs::read_to_string(self.home().join("jobs").join(id).join("started.json")).ok()?;
        let started: Value = serde_json::from_str(&text).unwrap();
        i32::try_from(started["by"]["pid"].as_i64()?).ok()
    }

    /// How often each job has written its mark.
    pub(crate) fn marks(&self) -> BTreeMap<String, usize> {
        let mut marks = BTreeMap::new();
        for line in read(&self.logs().join("marks")).lines() {
            *marks.entry(line.to_owned()).or_default() += 1;
        }
        marks
    }
}

/// A file as text; empty where it is not there.
pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: i32, name: &str) {
    drop(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status());
}
