//! The daemon, its directories, its commands.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nextrun::case::Case;
use nextrun::store::{JournalEntry, Owed, StorePlace, Which};
use serde_json::Value;

use super::web::Receiver;

/// A log directory and a state directory.
pub(crate) struct Stage {
    root: Arc<tempfile::TempDir>,
    /// Tells several daemons apart.
    name: String,
    /// Where cases are kept, if not in the state directory.
    store: Option<StorePlace>,
}

/// A daemon that is under way. It is killed when it is dropped.
pub(crate) struct Daemon(Child);

impl Daemon {
    /// Ends it without warning.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Daemon {
    /// Sends it a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success(), "{name}");
    }

    /// Its process id.
    pub(crate) fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let root = Arc::new(tempfile::tempdir().unwrap());
        let stage = Stage { root, name: String::new(), store: None };
        fs::create_dir(stage.logdir()).unwrap();
        stage
    }

    /// A stage for another daemon, with the same log directory and the cases in this place.
    pub(crate) fn beside(&self, name: &str, store: StorePlace) -> Stage {
        Stage { root: self.root.clone(), name: format!("-{name}"), store: Some(store) }
    }

    fn store(&self) -> StorePlace {
        self.store.clone().unwrap_or_else(|| StorePlace::File(self.state().join("nextrun.db")))
    }

    pub(crate) fn logdir(&self) -> PathBuf {
        self.root.path().join("logs")
    }

    /// What the daemon has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.root.path().join(format!("daemon{}.log", self.name))
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.path().join(format!("state{}", self.name))
    }

    /// Writes a file beside the directories.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.root.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Starts the daemon. Its log goes to `daemon.log`, which a failing test shows.
    pub(crate) fn watch(&self, queue: &Receiver, webhook: &Receiver, further: &[&str]) -> Daemon {
        let places = ["--queue", &queue.url(), "--webhook", &webhook.url()];
        self.start(&[&places, further].concat(), &[])
    }

    /// Starts the daemon with these arguments and this environment, and no destination but those of a configuration.
    pub(crate) fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Daemon {
        let logdir = self.logdir();
        self.start_as_configured(&[&[logdir.to_str().unwrap()], arguments].concat(), environment)
    }

    /// The same, but the log directories are those of a configuration.
    pub(crate) fn start_as_configured(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Daemon {
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        // A file that may grow no more is then an error of the write, as on a full disk, and not the end of the process.
        let child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" watch \"$@\"", env!("CARGO_BIN_EXE_nextrun")])
            .arg("--state")
            .arg(self.state())
            .args(arguments)
            .env_remove("RUST_LOG")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Daemon(child)
    }

    /// Starts `nextrun forward` for a directory. It logs to the same file as the daemon.
    pub(crate) fn forward(&self, logdir: &Path, to: &str, token: &str) -> Daemon {
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        self.forward_with_log(logdir, to, token, log)
    }

    /// The same with a log elsewhere.
    pub(crate) fn forward_with_log(&self, logdir: &Path, to: &str, token: &str, log: File) -> Daemon {
        // A file that may grow no more is then an error of the write, as on a full disk, and not the end of the process.
        let mut program = Command::new("sh");
        program.args(["-c", "trap '' XFSZ; exec \"$0\" forward \"$@\"", env!("CARGO_BIN_EXE_nextrun")]);
        program.arg(logdir).args(["--to", &format!("http://{to}")]);
        Daemon(program.env("NEXTRUN_FORWARD_TOKEN", token).stdin(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// Runs `nextrun cases …`, which must succeed, and gives what it printed.
    pub(crate) fn cases(&self, arguments: &[&str]) -> String {
        self.command("cases", arguments)
    }

    /// Runs a command on the daemon's state, which must succeed, and gives what it printed.
    pub(crate) fn command(&self, command: &str, arguments: &[&str]) -> String {
        let mut program = Command::new(env!("CARGO_BIN_EXE_nextrun"));
        let output = program.arg(command).args(arguments).arg("--state").arg(self.state()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Every case that the daemon has kept so far.
    pub(crate) fn kept(&self) -> Vec<Case> {
        let Ok(mut store) = self.store().open_read_only() else { return Vec::new() };
        let cases = store.cases(false).unwrap_or_default();
        cases.into_iter().map(|case| Case::read(case.unwrap().state).unwrap()).collect()
    }

    /// The case of a baseline.
    pub(crate) fn case_of(&self, baseline: &str) -> Option<Case> {
        self.kept().into_iter().find(|case| case.baseline == baseline)
    }

    /// The journal of a case.
    pub(crate) fn journal(&self, case: &Case) -> Vec<JournalEntry> {
        self.store().open_read_only().unwrap().journal(&case.id).unwrap()
    }

    /// Every delivery, with its attempts; none while the store cannot be read.
    pub(crate) fn deliveries(&self) -> Vec<Owed> {
        let Ok(mut store) = self.store().open_read_only() else { return Vec::new() };
        store.history(Which::default()).unwrap_or_default().into_iter().flatten().collect()
    }

    /// Waits until `condition` holds; fails after a time that only a fault can take.
    pub(crate) fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !condition() {
            if begun.elapsed() > Duration::from_secs(90) {
                panic!("this did not happen: {what}; the daemon said:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the case of a baseline is closed.
    pub(crate) fn until_closed(&self, baseline: &str) -> Case {
        self.until(&format!("the case of {baseline} is closed"), || {
            self.case_of(baseline).is_some_and(|case| case.closed.is_some())
        });
        self.case_of(baseline).unwrap()
    }
}

/// The verdict of a closed case.
pub(crate) fn verdict(case: &Case) -> &str {
    &case.closed.as_ref().unwrap().verdict
}

/// Whether a JSON object has all these keys.
pub(crate) fn has(object: &Value, keys: &[&str]) -> bool {
    keys.iter().all(|key| object.get(key).is_some())
}
