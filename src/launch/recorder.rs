//! Follows a command that runs, and records it beside its events.
//!
//! Owns: which folders are those of the command, and when what is written. Must not know: the command line, signals.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::record::Record;
use super::{environment, learn, processes};
use crate::launched::Source;
use crate::logdir::{DiskLogdir, Kind, Logdir};

/// A command that was started.
#[derive(Debug)]
pub struct Started {
    /// One word an entry.
    pub argv: Vec<String>,
    /// The absolute working directory.
    pub cwd: String,
    /// The environment, as far as it is text.
    pub variables: BTreeMap<String, String>,
    /// Where it logs, where the user says so.
    pub logdir: Option<PathBuf>,
    /// When it was started.
    pub at: Timestamp,
    /// Its process.
    pub process: u32,
}

/// Folders beyond this number get no record: a search over hundreds of runs in one process is no single run.
const MOST_FOLDERS: usize = 64;

/// How long a log directory is left alone between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// How long the end waits for what git says of the code.
const LAST_WORD: Duration = Duration::from_secs(15);

/// Follows the command until `ended` gives its exit code, and returns the folders that it was recorded in.
pub fn follow(started: Started, ended: &Receiver<i32>) -> BTreeSet<PathBuf> {
    let learned = learn_apart(&started);
    let mut recorder = Recorder {
        record: None,
        processes: BTreeSet::new(),
        folders: BTreeSet::new(),
        written: BTreeSet::new(),
        started,
    };
    let begun = Instant::now();
    let mut looked = begun;
    let code = loop {
        recorder.look_at_processes();
        if looked.elapsed() > LOOK {
            recorder.look_at_logdir();
            looked = Instant::now();
        }
        if recorder.record.is_none() {
            recorder.record = learned.try_recv().ok();
        }
        recorder.write_new();
        match ended.recv_timeout(pause(begun.elapsed())) {
            Ok(code) => break Some(code),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break None,
        }
    };
    recorder.look_at_logdir();
    if recorder.folders.is_empty() {
        recorder.look_where_it_may_be();
    }
    if recorder.record.is_none() {
        recorder.record = learned.recv_timeout(LAST_WORD).ok();
    }
    recorder.finish(code)
}

/// Event files are opened soon after the start or minutes later, when the data are loaded.
fn pause(elapsed: Duration) -> Duration {
    match elapsed.as_secs() {
        0..10 => Duration::from_millis(50),
        10..120 => Duration::from_millis(500),
        _ => Duration::from_secs(2),
    }
}

/// What is known of the command, found out beside everything else: git may take its time.
fn learn_apart(started: &Started) -> Receiver<Record> {
    let (send, receive) = std::sync::mpsc::channel();
    let (argv, cwd, variables) = (started.argv.clone(), started.cwd.clone(), started.variables.clone());
    let at = started.at.to_string();
    std::thread::spawn(move || {
        let mut launched = learn(Source::Run, &argv, &cwd, &variables);
        launched.environment = environment::folder(&variables).and_then(|folder| {
            let kept = environment::keep(&folder, &variables);
            kept.inspect_err(|error| tracing::warn!(%error, "the environment of the command cannot be kept")).ok()
        });
        let env = variables.keys().cloned().collect();
        let suggestion_id = variables.get("NEXTRUN_SUGGESTION_ID").filter(|id| !id.is_empty()).cloned();
        // Nobody waits for it where the command has ended and git was too slow.
        let _ = send.send(Record { launched, env, started: at, ended: None, exit_code: None, suggestion_id });
    });
    receive
}

struct Recorder {
    started: Started,
    record: Option<Record>,
    /// Every process that the command was seen to have.
    processes: BTreeSet<u32>,
    folders: BTreeSet<PathBuf>,
    written: BTreeSet<PathBuf>,
}

impl Recorder {
    fn look_at_processes(&mut self) {
        let tree = processes::tree(self.started.process);
        for process in &tree {
            for file in processes::event_files(*process) {
                self.add(&file);
            }
        }
        self.processes.extend(tree);
    }

    fn add(&mut self, file: &Path) {
        if let Some(folder) = file.parent().filter(|_| self.folders.len() < MOST_FOLDERS) {
            self.folders.insert(folder.to_owned());
        }
    }

    fn look_at_logdir(&mut self) {
        if let Some(logdir) = self.started.logdir.clone() {
            let logdir = Path::new(&self.started.cwd).join(logdir);
            self.look_below(&logdir, true);
        }
    }

    /// Event files that were written since the start by a process of the command, as their names say; of files whose names
    /// say nothing of their writer, those that were made since, where `ours` says that nothing else logs there.
    fn look_below(&mut self, folder: &Path, ours: bool) {
        let since = i128::from(self.started.at.as_second()) * 1_000_000_000;
        for (path, modified) in event_files_below(folder) {
            let own = match processes::writer_of(&path) {
                Some(writer) => self.processes.contains(&writer),
                None => ours && made_since(&path, self.started.at),
            };
            if own && modified >= since {
                self.add(&path);
            }
        }
    }

    /// A run that was over before its processes were seen: the folders that its command names, and those that programs
    /// take by default.
    fn look_where_it_may_be(&mut self) {
        let words = self.started.argv.iter().map(|word| word.split_once('=').map_or(word.as_str(), |(_, value)| value));
        let usual = ["runs", "logs", "lightning_logs", "outputs"];
        let cwd = PathBuf::from(&self.started.cwd);
        let folders: BTreeSet<PathBuf> =
            words.chain(usual).filter(|word| !word.is_empty()).map(|word| cwd.join(word)).collect();
        for folder in folders {
            let own = folder.canonicalize().is_ok_and(|folder| !cwd.starts_with(folder));
            if own && folder.is_dir() {
                self.look_below(&folder, false);
            }
        }
    }

    fn write_new(&mut self) {
        let Some(record) = &self.record else { return };
        for folder in self.folders.difference(&self.written.clone()) {
            self.written.insert(folder.clone());
            write(record, folder, &self.started.at);
        }
    }

    fn finish(mut self, code: Option<i32>) -> BTreeSet<PathBuf> {
        let Some(mut record) = self.record.take() else { return BTreeSet::new() };
        (record.ended, record.exit_code) = (Some(Timestamp::now().to_string()), code);
        self.folders.retain(|folder| write(&record, folder, &self.started.at));
        self.folders
    }
}

fn write(record: &Record, folder: &Path, since: &Timestamp) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "seconds of this age are exact in a double")]
    let written = record.write(folder, since.as_second() as f64);
    written
        .inspect_err(|error| tracing::warn!(%error, folder = %folder.display(), "the command is not recorded there"))
        .is_ok()
}

/// Every event file below a folder with the nanosecond of its last change.
fn event_files_below(folder: &Path) -> Vec<(PathBuf, i128)> {
    let found = DiskLogdir::new(folder).discover(Path::new(""));
    let events = found.entries.into_iter().filter(|entry| entry.kind == Kind::Events);
    events.map(|entry| (folder.join(entry.path), entry.stat.modified)).collect()
}

/// Whether a file was made after a moment, by the time in its name or, without one, as the file system knows.
fn made_since(path: &Path, moment: Timestamp) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stamp = name.split_once("tfevents.").and_then(|(_, rest)| rest.split('.').next()?.parse::<i64>().ok());
    let made = || {
        let created = std::fs::metadata(path).and_then(|about| about.created()).ok()?;
        Timestamp::try_from(created).ok().map(Timestamp::as_second)
    };
    stamp.filter(|seconds| *seconds > 1_000_000_000).or_else(made).is_none_or(|made| made >= moment.as_second())
}
