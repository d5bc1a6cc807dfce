//! All runs of a log directory, kept up to date.
//!
//! Owns: which files are known, sharing the reading among threads. Must not know: when it is time to look.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::run::{Outcome, Reading, RunFiles};
use super::source::FileStatus;
use crate::logdir::{Discovery, Entry, Kind, Logdir, SideFile, Stat, run_of};
use crate::series::{RunData, RunName, Runs};

/// How to read.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads that share the reading when there is much to read.
    pub threads: usize,
}

/// Threads that wait for answers at once where files are read over a network.
const WAITING_THREADS: usize = 16;

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
    /// Runs to be read: found to have changed, or with a tail to look at again some time.
    due: BTreeSet<RunName>,
    scratch: Vec<Vec<u8>>,
    now: f64,
}

/// A run that is taken out to be read, and what came of it.
struct Job {
    run: RunName,
    files: RunFiles,
    data: RunData,
    outcome: Outcome,
}

impl Watcher {
    /// Watches a log directory, of which nothing is read yet.
    pub fn new(logdir: Box<dyn Logdir>, options: Options) -> Watcher {
        Watcher {
            logdir,
            options,
            runs: Runs::new(),
            files: BTreeMap::new(),
            released: BTreeMap::new(),
            due: BTreeSet::new(),
            scratch: Vec::new(),
            now: 0.0,
        }
    }

    /// Watches a log directory as suits it: with threads that compute for a disk, and with threads that wait for an
    /// object store.
    pub fn of(logdir: Box<dyn Logdir>) -> Watcher {
        let on_disk = logdir.local_root().is_some();
        let options = if on_disk { Options::default() } else { Options { threads: WAITING_THREADS } };
        Watcher::new(logdir, options)
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

    /// Looks at the files that are known, but for no others, and reads what is new in them: much cheaper than
    /// [`Watcher::poll`] where the kernel gives no notices.
    pub fn poll_known(&mut self, now: f64) -> Changes {
        let known = self.files.values().flat_map(RunFiles::paths).map(|(path, _)| path);
        let released = self.released.values().flatten().map(|(path, _)| path);
        let entries = known.chain(released).flat_map(|path| self.find_file(path)).collect();
        let mut changes = Changes::default();
        self.reconcile(Path::new(""), Discovery { entries, ..Discovery::default() }, &mut changes);
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

    /// Whether a run of this name, or one below it, has files, released or not.
    pub fn follows(&self, name: &str) -> bool {
        let scope = Path::new(name);
        !runs_under(&self.files, scope).is_empty() || !runs_under(&self.released, scope).is_empty()
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
        match self.find_file(path) {
            // What was beside the first event file before it was there had its notice, and was no run's then.
            Some(entry) if entry.kind == Kind::Events && !self.files.contains_key(&entry.run) => {
                let beside = SideFile::ALL.iter().filter_map(|side| self.find_file(&path.with_file_name(side.name())));
                Discovery { entries: beside.chain([entry]).collect(), ..Discovery::default() }
            }
            Some(entry) => Discovery { entries: vec![entry], ..Discovery::default() },
            None => self.logdir.discover(path),
        }
    }

    fn find_file(&self, path: &Path) -> Option<Entry> {
        let (kind, stat) = (Kind::of(path)?, self.logdir.stat(path).ok()?);
        Some(Entry { path: path.to_owned(), run: run_of(path), kind, stat })
    }

    /// Brings the list of files under `scope` in line with what was found there.
    fn reconcile(&mut self, scope: &Path, found: Discovery, changes: &mut Changes) {
        changes.problems.extend(found.problems);
        let mut by_run: BTreeMap<RunName, Vec<Entry>> = BTreeMap::new();
        for entry in found.entries {
            by_run.entry(entry.run.clone()).or_default().push(entry);
        }
        self.remove_missing(scope, &by_run, &found.unseen, changes);
        for (run, entries) in by_run {
            if !self.is_still_released(&run, &entries) {
                self.add(run, entries, changes);
            }
        }
    }

    fn remove_missing(
        &mut self,
        scope: &Path,
        found: &BTreeMap<RunName, Vec<Entry>>,
        unseen: &[PathBuf],
        changes: &mut Changes,
    ) {
        let is_missing = |run: &RunName, path: &Path| {
            path.starts_with(scope)
                && !unseen.iter().any(|directory| path.starts_with(directory))
                && !found.get(run).is_some_and(|entries| entries.iter().any(|e| e.path == *path))
        };
        for run in runs_under(&self.files, scope) {
            let Some(files) = self.files.get_mut(&run) else { continue };
            let missing = files.paths().map(|(path, _)| path).filter(|path| is_missing(&run, path));
            let missing: Vec<PathBuf> = missing.cloned().collect();
            missing.iter().for_each(|path| files.vanished(path));
            if files.files.is_empty() {
                self.runs.remove(&run);
                self.files.remove(&run);
                changes.vanished.push(run);
            } else if !missing.is_empty() {
                self.due.insert(run);
            }
        }
        for run in runs_under(&self.released, scope) {
            let is_gone = |states: &Vec<(PathBuf, Stat)>| states.iter().all(|(path, _)| is_missing(&run, path));
            if self.released.get(&run).is_some_and(is_gone) {
                self.released.remove(&run);
            }
        }
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
        if files.is_due(self.now) {
            self.due.insert(run.clone());
        }
        if !known {
            changes.appeared.push(run);
        }
    }

    fn read(&mut self, now: f64, mut changes: Changes) -> Changes {
        self.now = now;
        let mut jobs = self.take_due(now);
        let pending: u64 = jobs.iter().map(|job| job.files.pending()).sum();
        // Over a network it is waiting that takes time, not the bytes.
        let worth = if self.logdir.local_root().is_some() { WORTH_THREADS } else { 1 };
        let threads = if pending < worth { 1 } else { self.options.threads.clamp(1, jobs.len().max(1)) };
        jobs.sort_by_cached_key(|job| job.files.pending());
        self.scratch.resize_with(threads.max(self.scratch.len()), Vec::new);
        let done = share(jobs, &*self.logdir, &mut self.scratch[..threads], now);
        for Job { run, files, data, outcome } in done {
            changes.bytes += outcome.bytes;
            if outcome.changed {
                changes.changed.push(run.clone());
            }
            if files.is_waiting() {
                self.due.insert(run.clone());
            }
            self.runs.insert(run.clone(), data);
            self.files.insert(run, files);
        }
        changes.appeared.sort_unstable();
        changes.changed.retain(|run| changes.appeared.binary_search(run).is_err());
        changes.changed.sort_unstable();
        changes
    }

    fn take_due(&mut self, now: f64) -> Vec<Job> {
        let mut jobs = Vec::new();
        for run in std::mem::take(&mut self.due) {
            let Some(files) = self.files.get(&run) else { continue };
            if !files.is_due(now) {
                self.due.insert(run);
                continue;
            }
            if let (Some(files), Some(data)) = (self.files.remove(&run), self.runs.remove(&run)) {
                jobs.push(Job { run, files, data, outcome: Outcome::default() });
            }
        }
        jobs
    }
}

/// The runs that may have files at or under `scope`, which may be a run, lie above runs, or be a file of one.
fn runs_under<V>(map: &BTreeMap<RunName, V>, scope: &Path) -> Vec<RunName> {
    if scope.as_os_str().is_empty() {
        return map.keys().cloned().collect();
    }
    let (parent, itself) = (run_of(scope), run_of(&scope.join("file")));
    // `0` is the character after `/`: up to it come all names that start with `itself/`, and few others.
    let behind = RunName::new(&format!("{itself}0"));
    let is_inside = |run: &&RunName| {
        let rest = run.as_str().strip_prefix(itself.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let inside = map.range(itself.clone()..behind).map(|(run, _)| run).filter(is_inside);
    let own = map.get_key_value(&parent).map(|(run, _)| run).filter(|_| parent != itself);
    own.into_iter().chain(inside).cloned().collect()
}

/// Reads the runs, on as many threads as there are buffers, and gives them back.
fn share(jobs: Vec<Job>, from: &dyn Logdir, scratch: &mut [Vec<u8>], now: f64) -> Vec<Job> {
    if let [only] = scratch {
        let mut reading = Reading { from, scratch: std::mem::take(only), now };
        let mut jobs = jobs;
        jobs.iter_mut().for_each(|job| job.outcome = job.files.read(&mut job.data, &mut reading));
        *only = reading.scratch;
        return jobs;
    }
    let (jobs, done) = (Mutex::new(jobs), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for buffer in scratch {
            let mut reading = Reading { from, scratch: std::mem::take(buffer), now };
            let (jobs, done) = (&jobs, &done);
            scope.spawn(move || {
                // The longest is last in the list and first to be read. A function, so that the lock is given back
                // before the reading: inside `while let`, it would be held to the end of the loop's body.
                let next = || lock(jobs).pop();
                while let Some(mut job) = next() {
                    job.outcome = job.files.read(&mut job.data, &mut reading);
                    lock(done).push(job);
                }
                *buffer = reading.scratch;
            });
        }
    });
    done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The lists behind the locks are whole at any time, so that a panic elsewhere does not make them unusable.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
