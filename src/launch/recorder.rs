//! Follows a running command, and records it next to its events.
//!
//! Owns: which directories belong to the command, and when they are written. Must not know: the command line, signals.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::record::Record;
use super::{environment, learn, processes};
use crate::launched::Source;
use crate::logdir::{DiskLogdir, Kind, Logdir};

/// A started command.
#[derive(Debug)]
pub struct Started {
    /// One argument per entry.
    pub argv: Vec<String>,
    /// The absolute working directory.
    pub cwd: String,
    /// The environment, as far as it is text.
    pub variables: BTreeMap<String, String>,
    /// Where it logs, if the user specified it.
    pub logdir: Option<PathBuf>,
    /// When it was started.
    pub at: Timestamp,
    /// Its process.
    pub process: u32,
}

/// Maximum number of directories to record; a search over hundreds of runs in one process is not a single run.
const MOST_FOLDERS: usize = 64;

/// Minimum interval between two checks of a log directory.
const LOOK: Duration = Duration::from_secs(2);

/// How long the end waits for git.
const LAST_WORD: Duration = Duration::from_secs(15);

/// Follows the command until `ended` returns its exit code, and returns the directories in which it was recorded.
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

/// Event files are opened soon after the start, or minutes later when the data have been loaded.
fn pause(elapsed: Duration) -> Duration {
    match elapsed.as_secs() {
        0..10 => Duration::from_millis(50),
        10..120 => Duration::from_millis(500),
        _ => Duration::from_secs(2),
    }
}

/// The analysis of the command, done in parallel because git may be slow.
fn learn_apart(started: &Started) -> Receiver<Record> {
    let (send, receive) = std::sync::mpsc::channel();
    let (argv, cwd, variables) = (started.argv.clone(), started.cwd.clone(), started.variables.clone());
    let at = started.at.to_string();
    std::thread::spawn(move || {
        let mut launched = learn(Source::Run, &argv, &cwd, &variables);
        launched.environment = environment::folder(&variables).and_then(|folder| {
            let kept = environment::keep(&folder, &variables);
            kept.inspect_err(|error| tracing::warn!(%error, "could not store the environment of the command")).ok()
        });
        let env = variables.keys().cloned().collect();
        let suggestion_id = variables.get("NEXTRUN_SUGGESTION_ID").filter(|id| !id.is_empty()).cloned();
        // If the command has ended and git was too slow, nobody waits for it.
        let _ = send.send(Record { launched, env, started: at, ended: None, exit_code: None, suggestion_id });
    });
    receive
}

struct Recorder {
    started: Started,
    record: Option<Record>,
    /// All processes of the command observed so far.
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

    /// Event files written since the start by a process of the command, according to their names. Files whose names do
    /// not identify their writer count if they were created since, provided that `ours` states that nothing else logs
    /// there.
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

    /// For a run that ended before its processes were observed: the directories that its command names, and default
    /// directories.
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
        .inspect_err(|error| tracing::warn!(%error, folder = %folder.display(), "could not record the command in this directory"))
        .is_ok()
}

/// Every event file below a directory with its modification time in nanoseconds.
fn event_files_below(folder: &Path) -> Vec<(PathBuf, i128)> {
    let found = DiskLogdir::new(folder).discover(Path::new(""));
    let events = found.entries.into_iter().filter(|entry| entry.kind == Kind::Events);
    events.map(|entry| (folder.join(entry.path), entry.stat.modified)).collect()
}

/// Whether a file was created after a moment, according to the time in its name or, without one, the file system.
fn made_since(path: &Path, moment: Timestamp) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stamp = name.split_once("tfevents.").and_then(|(_, rest)| rest.split('.').next()?.parse::<i64>().ok());
    let made = || {
        let created = std::fs::metadata(path).and_then(|about| about.created()).ok()?;
        Timestamp::try_from(created).ok().map(Timestamp::as_second)
    };
    stamp.filter(|seconds| *seconds > 1_000_000_000).or_else(made).is_none_or(|made| made >= moment.as_second())
}
