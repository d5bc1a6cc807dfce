//! All runs of a log directory, kept up to date.
//!
//! Owns: which files are known, distributing the reading to threads. Must not know: when to check for changes.

mod look;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::history::{History, print_of};
use super::run::{ReadResult, RunFiles};
use super::source::{FileStatus, Reading};
use crate::logdir::{Doors, Entry, Kind, Logdir, run_of};
use crate::series::{RunData, RunName, Runs, joined, relative};

pub use look::TURN;

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

/// At most this many runs are read at a time, which is five times what the largest sites have: ten tags each need 2 GiB.
const MOST_RUNS: usize = 50_000;

/// Keeps the data of all runs of a log directory up to date. It has no thread and no clock of its own.
///
/// Runs whose files have not been modified for a time (see [`Watcher::ignore_older_than`]) are history: they are not read, and
/// cost a hundred bytes each. A run that was released is history too. Any change of its files brings a run back, unless
/// the changed files are old themselves.
pub struct Watcher {
    logdir: Arc<dyn Logdir>,
    /// With which the names of all runs begin, if any.
    name: Option<String>,
    options: Options,
    runs: Runs,
    /// The files of each run; has the same keys as `runs`.
    files: BTreeMap<RunName, RunFiles>,
    /// Every directory, and the runs that are not read.
    history: History,
    /// Files that were not modified for so many seconds are not read; all are where it is infinite.
    ignored_after: f64,
    /// Files that are followed, by identity: one under two names is one.
    followed: HashMap<(u64, u64), PathBuf>,
    doors: Doors,
    /// Directories that could not be listed at the last try.
    unseen: BTreeSet<PathBuf>,
    /// Directories that became known, for a notifier.
    fresh: Vec<PathBuf>,
    /// Runs to be read: found to have changed, or with a tail to look at again some time.
    due: BTreeSet<RunName>,
    /// Whether it was told that there are too many runs.
    crowded: bool,
    scratch: Vec<Vec<u8>>,
    now: f64,
    /// When everything was looked at last.
    swept: f64,
    progress: Arc<Progress>,
}

/// How far the reading is that is under way, for those who wait.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    all: AtomicU64,
}

impl Progress {
    /// Bytes that were read, and those to be read in all; both 0 until that is known.
    pub fn bytes(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.all.load(Ordering::Relaxed))
    }

    fn begin(&self, all: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.all.store(all, Ordering::Relaxed);
    }

    fn read(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A run that is taken out to be read, and what came of it.
struct Job {
    run: RunName,
    files: RunFiles,
    data: RunData,
    /// Threads that may help with its large files.
    helpers: usize,
    outcome: ReadResult,
}

impl Job {
    fn read(&mut self, reading: &mut Reading<'_>, progress: &Progress) {
        reading.helpers = self.helpers;
        self.outcome = self.files.read(&mut self.data, reading);
        progress.read(self.outcome.bytes);
    }
}

impl Watcher {
    /// Watches a log directory, of which nothing is read yet.
    pub fn new(logdir: Box<dyn Logdir>, options: Options) -> Watcher {
        Watcher {
            logdir: logdir.into(),
            name: None,
            options,
            runs: Runs::new(),
            files: BTreeMap::new(),
            history: History::default(),
            ignored_after: f64::INFINITY,
            followed: HashMap::new(),
            doors: Doors::default(),
            unseen: BTreeSet::new(),
            fresh: Vec::new(),
            due: BTreeSet::new(),
            crowded: false,
            scratch: Vec::new(),
            now: 0.0,
            swept: f64::NEG_INFINITY,
            progress: Arc::default(),
        }
    }

    /// Watches a log directory as suits it: with threads that compute for a disk, and with threads that wait for an
    /// object store.
    pub fn of(logdir: Box<dyn Logdir>) -> Watcher {
        let on_disk = logdir.local_root().is_some();
        let options = if on_disk { Options::default() } else { Options { threads: WAITING_THREADS } };
        Watcher::new(logdir, options)
    }

    /// Lets the names of all runs begin with `name`: for one of several log directories. To be called before the first
    /// poll.
    pub fn named(mut self, name: Option<String>) -> Watcher {
        self.name = name;
        self
    }

    /// Leaves runs alone none of whose event files was modified within so many seconds, until one is. What is read
    /// already is not given up.
    pub fn ignore_older_than(&mut self, seconds: f64) {
        self.ignored_after = seconds;
    }

    /// Whether the log directory exists and can be read.
    ///
    /// # Errors
    /// Why nothing will be found, for people.
    pub fn check(&self) -> std::io::Result<()> {
        self.logdir.check()
    }

    /// Looks for new files and directories everywhere, at all files that are followed, at a share of the old ones, so
    /// that each has its turn every [`TURN`](super::TURN) seconds, and reads everything new. `now`: seconds since the
    /// Unix epoch.
    pub fn poll(&mut self, now: f64) -> Changes {
        self.now = now;
        let mut changes = Changes::default();
        self.sweep(&mut changes);
        self.read(now, changes)
    }

    /// Looks only at some paths (of files or directories, relative to the log directory) and reads what is new there.
    pub fn poll_paths<'a>(&mut self, now: f64, paths: impl IntoIterator<Item = &'a Path>) -> Changes {
        self.now = now;
        let mut changes = Changes::default();
        for path in paths {
            self.look_at(path, &mut changes);
        }
        self.read(now, changes)
    }

    /// Looks at the files that are followed, but for no others, and reads what is new in them: much cheaper than
    /// [`Watcher::poll`] where the kernel gives no notices.
    pub fn poll_known(&mut self, now: f64) -> Changes {
        self.now = now;
        let mut changes = Changes::default();
        self.look_at_followed(&mut changes);
        self.read(now, changes)
    }

    /// Reads old runs, by name, whatever their age, but for those none of whose event files was modified after `since`
    /// (seconds since the Unix epoch).
    pub fn recall(&mut self, now: f64, names: &[String], since: f64) -> Changes {
        self.now = now;
        let mut changes = Changes::default();
        let ignored_after = std::mem::replace(&mut self.ignored_after, now - since);
        for name in names {
            let Some(directory) = self.path_of(name) else { continue };
            let directory = &*directory;
            if self.history.get(directory).is_some_and(|known| known.print != 0) {
                self.history.set_print(directory, 0);
                self.look_at(directory, &mut changes);
            }
        }
        self.ignored_after = ignored_after;
        self.read(now, changes)
    }

    /// The names of the runs at or below `name` that are not read.
    pub fn old_runs_under(&self, name: &str) -> impl Iterator<Item = String> {
        let path = self.path_of(name);
        let runs = path.iter().flat_map(|path| self.history.runs_under(path)).map(|run| self.name_of(run));
        runs.map(|run| run.as_str().to_owned()).collect::<Vec<_>>().into_iter()
    }

    /// How far the reading is that is under way.
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// The data of all runs that are read.
    pub fn runs(&self) -> &Runs {
        &self.runs
    }

    /// The data of all runs, when nothing more is to be read.
    pub fn into_runs(self) -> Runs {
        self.runs
    }

    /// How many runs are not read, because they are old or were released.
    pub fn old_runs(&self) -> usize {
        self.history.runs()
    }

    /// How each event file stands that is followed.
    pub fn files(&self) -> impl Iterator<Item = FileStatus> {
        let status = |(run, files): (&RunName, &RunFiles)| {
            files.files.iter().map(|file| file.source.status(run, self.now)).collect::<Vec<_>>()
        };
        self.files.iter().flat_map(status)
    }

    /// Whether a run of this name, or one below it, has files, read or not.
    pub fn follows(&self, name: &str) -> bool {
        let Some(scope) = self.path_of(name) else { return false };
        !self.read_under(&scope).is_empty() || self.history.runs_under(&scope).next().is_some()
    }

    /// Whether there is a run of just this name, read or not.
    pub fn has(&self, name: &str) -> bool {
        let known = || self.history.get(&self.path_of(name)?);
        self.files.contains_key(&RunName::new(name)) || known().is_some_and(|known| known.print != 0)
    }

    /// Whether a directory holds a run that is not read.
    pub fn is_old(&self, directory: &Path) -> bool {
        self.history.get(directory).is_some_and(|known| known.print != 0)
    }

    /// Directories that hold runs that are read.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.files.values().filter_map(|files| files.files.first()?.source.path.parent())
    }

    /// Directories that became known since the last call and hold no old run: new runs may appear in them. Those of runs
    /// that are read are among them.
    pub fn take_fresh(&mut self) -> Vec<PathBuf> {
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.retain(|path| self.history.get(path).is_none_or(|known| known.print == 0));
        fresh
    }

    /// Gives the memory of a run back. It is not read until one of its files changes, and then from the start.
    pub fn release(&mut self, run: &RunName) {
        self.runs.remove(run);
        let Some(files) = self.files.remove(run) else { return };
        let mut by_directory: BTreeMap<&Path, Vec<_>> = BTreeMap::new();
        for (path, stat) in files.paths() {
            if let (Some(parent), Some(stat)) = (path.parent(), stat) {
                by_directory.entry(parent).or_default().push((path.as_path(), stat));
            }
        }
        for (directory, found) in by_directory {
            self.history.set_print(directory, print_of(found.into_iter()));
        }
        for (path, stat) in files.paths() {
            self.unfollow(path, stat.map(|stat| stat.identity));
        }
    }

    fn unfollow(&mut self, path: &Path, identity: Option<(u64, u64)>) {
        if let Some(identity) = identity.filter(|identity| self.followed.get(identity).is_some_and(|p| p == path)) {
            self.followed.remove(&identity);
        }
    }

    /// Notes the files of a run that is read, and that it is to be read.
    fn add(&mut self, run: RunName, entries: Vec<Entry>, changes: &mut Changes) {
        let known = self.files.contains_key(&run);
        if !known && self.files.len() >= MOST_RUNS {
            if !std::mem::replace(&mut self.crowded, true) {
                changes.problems.push(format!(
                    "more than {MOST_RUNS} runs are, or were recently, being written: the others are not read; use a \
                     smaller log directory, or lower `watch.ignore_older_than`"
                ));
            }
            return;
        }
        let data = self.runs.entry(run.clone()).or_default();
        let files = self.files.entry(run.clone()).or_default();
        for Entry { path, kind, stat, .. } in entries {
            if kind == Kind::Events && !self.followed.contains_key(&stat.identity) {
                self.followed.insert(stat.identity, path.clone());
            }
            if let Some(before) = files.found(path, kind, stat, data)
                && before.identity != stat.identity
            {
                self.followed.remove(&before.identity);
            }
        }
        if files.is_due(self.now) {
            self.due.insert(run.clone());
        }
        if !known {
            changes.appeared.push(run);
        }
    }

    fn read(&mut self, now: f64, mut changes: Changes) -> Changes {
        let mut jobs = self.take_due(now);
        let pending: u64 = jobs.iter().map(|job| job.files.pending()).sum();
        // Over a network it is waiting that takes time, not the bytes.
        let worth = if self.logdir.local_root().is_some() { WORTH_THREADS } else { 1 };
        let threads = if pending < worth { 1 } else { self.options.threads.clamp(1, jobs.len().max(1)) };
        jobs.sort_by_cached_key(|job| job.files.pending());
        if self.logdir.local_root().is_some() {
            jobs.iter_mut().for_each(|job| job.helpers = helpers(self.options.threads, job.files.pending(), pending));
        }
        self.scratch.resize_with(threads.max(self.scratch.len()), Vec::new);
        self.progress.begin(pending);
        let shared = Shared { from: &*self.logdir, progress: &self.progress };
        let done = share(jobs, shared, &mut self.scratch[..threads], now);
        for Job { run, mut files, data, outcome, .. } in done {
            changes.problems.extend(files.take_problems());
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
                jobs.push(Job { run, files, data, helpers: 0, outcome: ReadResult::default() });
            }
        }
        jobs
    }
}

/// Names of runs, and their directories.
impl Watcher {
    /// The directory of a run; `None` if it is a run of another log directory.
    fn path_of(&self, name: &str) -> Option<PathBuf> {
        let name = relative(self.name.as_deref(), name)?;
        Some(PathBuf::from(if name == "." { "" } else { &*name }))
    }

    /// The run of a directory.
    fn name_of(&self, directory: &Path) -> RunName {
        RunName::new(&joined(self.name.as_deref(), run_of(&directory.join("file")).as_str()))
    }

    /// The run of a file.
    fn run_of(&self, file: &Path) -> RunName {
        self.name_of(file.parent().unwrap_or(Path::new("")))
    }

    /// The runs that are read and may have files at or under `scope`, which may be a run, lie above runs, or be a file
    /// of one.
    fn read_under(&self, scope: &Path) -> Vec<RunName> {
        if scope.as_os_str().is_empty() {
            return self.files.keys().cloned().collect();
        }
        let (parent, itself) = (self.run_of(scope), self.name_of(scope));
        // `0` is the character after `/`: up to it come all names that start with `itself/`, and few others.
        let behind = RunName::new(&format!("{itself}0"));
        let is_inside = |run: &&RunName| {
            let rest = run.as_str().strip_prefix(itself.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let inside = self.files.range(itself.clone()..behind).map(|(run, _)| run).filter(is_inside);
        let own = self.files.get_key_value(&parent).map(|(run, _)| run).filter(|_| parent != itself);
        own.into_iter().chain(inside).cloned().collect()
    }
}

/// What all threads that read have in common.
#[derive(Clone, Copy)]
struct Shared<'a> {
    from: &'a dyn Logdir,
    progress: &'a Progress,
}

/// The number of helper threads for a run, in proportion to its part of all new bytes.
fn helpers(threads: usize, bytes: u64, all: u64) -> usize {
    let part = threads as f64 * bytes as f64 / all.max(1) as f64;
    (part.round() as usize).saturating_sub(1)
}

/// Reads the runs, on as many threads as there are buffers, and gives them back.
fn share(jobs: Vec<Job>, shared: Shared<'_>, scratch: &mut [Vec<u8>], now: f64) -> Vec<Job> {
    let Shared { from, progress } = shared;
    if let [only] = scratch {
        let mut reading = Reading { from, scratch: std::mem::take(only), now, helpers: 0 };
        let mut jobs = jobs;
        for job in &mut jobs {
            job.read(&mut reading, progress);
        }
        *only = reading.scratch;
        return jobs;
    }
    let (jobs, done) = (Mutex::new(jobs), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for buffer in scratch {
            let mut reading = Reading { from, scratch: std::mem::take(buffer), now, helpers: 0 };
            let (jobs, done) = (&jobs, &done);
            scope.spawn(move || {
                // The longest is last in the list and first to be read. A function, so that the lock is given back
                // before the reading: inside `while let`, it would be held to the end of the loop's body.
                let next = || lock(jobs).pop();
                while let Some(mut job) = next() {
                    job.read(&mut reading, progress);
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
