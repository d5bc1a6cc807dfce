//! All runs of a log directory, kept up to date.
//!
//! Owns: which files are known, sharing the reading among threads. Must not know: when it is time to look.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::run::{Reading, RunFiles};
use super::source::FileStatus;
use crate::logdir::{Discovery, Entry, Kind, Logdir, Stat, run_of};
use crate::series::{RunData, RunName, Runs};

/// How to read.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads that share the reading when there is much to read.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { threads: std::thread::available_parallelism().map_or(1, usize::from).min(8) }
    }
}

/// What was different at a poll.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Runs that were not there before.
    pub appeared: Vec<RunName>,
    /// Runs that were there and have new data.
    pub changed: Vec<RunName>,
    /// Runs whose files are gone.
    pub vanished: Vec<RunName>,
    /// Bytes of event files that were read.
    pub bytes: u64,
    /// What could not be read, for people.
    pub problems: Vec<String>,
}

/// Below so many new bytes, starting threads costs more than it saves.
const WORTH_THREADS: u64 = 2 << 20;

/// Keeps the data of all runs of a log directory up to date. It has no thread and no clock of its own.
pub struct Watcher {
    logdir: Box<dyn Logdir>,
    options: Options,
    runs: Runs,
    /// The files of each run; has the same keys as `runs`.
    files: BTreeMap<RunName, RunFiles>,
    /// Runs that were released, with their files as they were then.
    released: BTreeMap<RunName, Vec<(PathBuf, Stat)>>,
    scratch: Vec<Vec<u8>>,
    now: f64,
}

/// A run to be read, with its data.
type Job<'a> = (&'a RunName, &'a mut RunFiles, &'a mut RunData);

impl Watcher {
    /// Watches a log directory, of which nothing is read yet.
    pub fn new(logdir: Box<dyn Logdir>, options: Options) -> Watcher {
        Watcher {
            logdir,
            options,
            runs: Runs::new(),
            files: BTreeMap::new(),
            released: BTreeMap::new(),
            scratch: Vec::new(),
            now: 0.0,
        }
    }

    /// Looks for files everywhere and reads everything new. `now`: seconds since the Unix epoch.
    pub fn poll(&mut self, now: f64) -> Changes {
        let found = self.logdir.discover(Path::new(""));
        let mut changes = Changes::default();
        self.reconcile(Path::new(""), found, &mut changes);
        self.read(now, changes)
    }

    /// Looks only at some paths (of files or directories, relative to the log directory) and reads what is new there.
    pub fn poll_paths<'a>(&mut self, now: f64, paths: impl IntoIterator<Item = &'a Path>) -> Changes {
        let mut changes = Changes::default();
        for path in paths {
            let found = self.find(path);
            self.reconcile(path, found, &mut changes);
        }
        self.read(now, changes)
    }

    /// The data of all runs.
    pub fn runs(&self) -> &Runs {
        &self.runs
    }

    /// The data of all runs, when nothing more is to be read.
    pub fn into_runs(self) -> Runs {
        self.runs
    }

    /// How each event file stands.
    pub fn files(&self) -> impl Iterator<Item = FileStatus> {
        let status = |(run, files): (&RunName, &RunFiles)| {
            files.files.iter().map(|file| file.source.status(run, self.now)).collect::<Vec<_>>()
        };
        self.files.iter().flat_map(status)
    }

    /// Directories of the log directory that hold runs.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.files.values().filter_map(|files| files.files.first()?.source.path.parent())
    }

    /// Gives the memory of a run back. It is forgotten until one of its files changes, and then read from the start.
    pub fn release(&mut self, run: &RunName) {
        self.runs.remove(run);
        if let Some(files) = self.files.remove(run) {
            let states = files.paths().filter_map(|(path, stat)| Some((path.clone(), stat?))).collect();
            self.released.insert(run.clone(), states);
        }
    }

    fn find(&self, path: &Path) -> Discovery {
        let Some(kind) = Kind::of(path) else { return self.logdir.discover(path) };
        match self.logdir.stat(path) {
            Ok(stat) => {
                let entry = Entry { path: path.to_owned(), run: run_of(path), kind, stat };
                Discovery { entries: vec![entry], problems: Vec::new() }
            }
            Err(_) => self.logdir.discover(path),
        }
    }

    /// Brings the list of files under `scope` in line with what was found there.
    fn reconcile(&mut self, scope: &Path, found: Discovery, changes: &mut Changes) {
        changes.problems.extend(found.problems);
        let mut by_run: BTreeMap<RunName, Vec<Entry>> = BTreeMap::new();
        for entry in found.entries {
            by_run.entry(entry.run.clone()).or_default().push(entry);
        }
        self.remove_missing(scope, &by_run, changes);
        for (run, entries) in by_run {
            if !self.is_still_released(&run, &entries) {
                self.add(run, entries, changes);
            }
        }
    }

    fn remove_missing(&mut self, scope: &Path, found: &BTreeMap<RunName, Vec<Entry>>, changes: &mut Changes) {
        let is_missing = |run: &RunName, path: &Path| {
            path.starts_with(scope) && !found.get(run).is_some_and(|entries| entries.iter().any(|e| e.path == *path))
        };
        self.files.retain(|run, files| {
            let missing: Vec<PathBuf> =
                files.paths().map(|(path, _)| path).filter(|path| is_missing(run, path)).cloned().collect();
            missing.iter().for_each(|path| files.vanished(path));
            if files.files.is_empty() {
                self.runs.remove(run);
                changes.vanished.push(run.clone());
            }
            !files.files.is_empty()
        });
        self.released.retain(|run, states| !states.iter().all(|(path, _)| is_missing(run, path)));
    }

    fn is_still_released(&mut self, run: &RunName, entries: &[Entry]) -> bool {
        let Some(states) = self.released.get(run) else { return false };
        let same =
            entries.iter().all(|entry| states.iter().any(|(path, stat)| *path == entry.path && *stat == entry.stat));
        if !same {
            self.released.remove(run);
        }
        same
    }

    fn add(&mut self, run: RunName, entries: Vec<Entry>, changes: &mut Changes) {
        let known = self.files.contains_key(&run);
        if !known && entries.iter().all(|entry| entry.kind != Kind::Events) {
            return;
        }
        let data = self.runs.entry(run.clone()).or_default();
        let files = self.files.entry(run.clone()).or_default();
        for entry in entries {
            files.found(entry.path, entry.kind, entry.stat, data);
        }
        if !known {
            changes.appeared.push(run);
        }
    }

    fn read(&mut self, now: f64, mut changes: Changes) -> Changes {
        self.now = now;
        let jobs = self.files.iter_mut().zip(self.runs.values_mut());
        let mut jobs: Vec<Job<'_>> =
            jobs.map(|((run, files), data)| (run, files, data)).filter(|job| job.1.is_due(now)).collect();
        let pending: u64 = jobs.iter().map(|job| job.1.pending()).sum();
        let threads = if pending < WORTH_THREADS { 1 } else { self.options.threads.clamp(1, jobs.len().max(1)) };
        jobs.sort_by_key(|job| job.1.pending());
        self.scratch.resize_with(threads.max(self.scratch.len()), Vec::new);
        let (jobs, from) = (Mutex::new(jobs), &*self.logdir);
        let done = Mutex::new(&mut changes);
        if let [scratch] = &mut self.scratch[..threads] {
            work(&jobs, &done, Reading { from, scratch: std::mem::take(scratch), now }, scratch);
        } else {
            std::thread::scope(|scope| {
                for scratch in &mut self.scratch[..threads] {
                    let reading = Reading { from, scratch: std::mem::take(scratch), now };
                    let (jobs, done) = (&jobs, &done);
                    scope.spawn(move || work(jobs, done, reading, scratch));
                }
            });
        }
        let appeared = &changes.appeared;
        changes.changed.retain(|run| !appeared.contains(run));
        changes.changed.sort_unstable();
        changes
    }
}

/// Takes runs off the list until it is empty, the longest first.
fn work(jobs: &Mutex<Vec<Job<'_>>>, done: &Mutex<&mut Changes>, mut reading: Reading<'_>, scratch: &mut Vec<u8>) {
    loop {
        let next = jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let Some((run, files, data)) = next else { break };
        let outcome = files.read(data, &mut reading);
        if outcome.changed {
            let mut changes = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            changes.bytes += outcome.bytes;
            changes.changed.push(run.clone());
        }
    }
    *scratch = reading.scratch;
}
