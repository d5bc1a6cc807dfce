//! One log directory: what is read of it, and when.
//!
//! Owns: its files and notifications, the times of sweeps, old runs that are read after all. Must not know: other
//! directories, and what is decided about its jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::now;
use super::stopping::Stoppable;
use crate::config::{Poll, WatchSettings};
use crate::jobs::{directory_of, may_belong, topmost_job};
use crate::logdir::{Logdir, Place};
use crate::series::{RunData, RunName, Runs};
use crate::watch::notify::{Notifier, Sweep, Woken};
use crate::watch::{Changes, FileStatus, Progress, Watcher};

/// Events that a job wrote up to this many seconds before the first event of one of its runs also belong to it.
const BEFORE_ITS_START: f64 = 3600.0;

/// Number of directories that can always be watched: half of the smallest default limit of a kernel.
const FEW_WATCHES: usize = 4096;

/// The minimum interval between searches for new files is this multiple of the duration of the last search: at most 4 %
/// of a core.
const BETWEEN_SWEEPS: u32 = 24;

/// Jobs that open cases need, and whether all runs below their names belong to them.
pub(super) type Needed = BTreeSet<(String, bool)>;

/// A log directory that is followed.
pub(super) struct Directory {
    place: Place,
    settings: WatchSettings,
    watcher: Watcher,
    /// Made by the first turn: its file system may not respond.
    notifier: Option<Notifier>,
    /// Time of the next check of every followed file.
    sweep: Instant,
    /// Earliest time of the next search for new files and directories.
    everywhere: Instant,
    /// Number of events of each run when they were last counted.
    events: BTreeMap<RunName, u64>,
    has_looked: bool,
    /// The jobs of open cases whose old runs have been read.
    needed: Needed,
    stop: Arc<AtomicBool>,
}

/// What a turn must do besides following the files.
#[derive(Debug, Clone, Default)]
pub(super) struct Task {
    /// Check everything before the turn ends.
    pub(super) look: bool,
    /// Old runs to read, by name.
    pub(super) recall: Vec<String>,
    /// Apply these settings.
    pub(super) settings: Option<WatchSettings>,
}

impl Task {
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        !self.look && self.recall.is_empty() && self.settings.is_none()
    }
}

/// What a turn brought.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// The name of the directory.
    pub(super) directory: Option<String>,
    /// Bytes of event files that were read.
    pub(super) bytes: u64,
    /// New events.
    pub(super) events: u64,
    /// What people should know.
    pub(super) problems: Vec<String>,
    /// When the newest complete scan began, in seconds since the Unix epoch.
    pub(super) looked: Option<f64>,
}

impl Directory {
    pub(super) fn new(
        place: Place,
        settings: WatchSettings,
        source: Box<dyn Logdir>,
        stop: Arc<AtomicBool>,
    ) -> Directory {
        let mut watcher = Watcher::of(Box::new(Stoppable { inner: source, stop: stop.clone() }));
        watcher = watcher.named(settings.name.clone());
        let now = Instant::now();
        let (notifier, events) = (None, BTreeMap::new());
        let (has_looked, needed) = (false, Needed::new());
        Directory { place, settings, watcher, notifier, sweep: now, everywhere: now, events, has_looked, needed, stop }
    }

    /// Follows the files until a time; at least does the task.
    pub(super) fn turn(&mut self, task: Task, until: Instant) -> Found {
        let mut found = Found { directory: self.settings.name.clone(), ..Found::default() };
        self.begin(task, &mut found);
        loop {
            if Instant::now() >= self.sweep && !self.stops() {
                self.look(&mut found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stops() {
                break;
            }
            let wait = left.min(self.sweep.saturating_duration_since(Instant::now()));
            match self.notifier.as_mut().map(|notifier| notifier.wait(wait.max(Duration::from_millis(1)))) {
                Some(Woken::Paths(paths)) => {
                    let read = self.watcher.poll_paths(now(), paths.iter().map(|path| path.as_path()));
                    let appeared = !read.appeared.is_empty();
                    self.take_in(read, &mut found);
                    if appeared {
                        self.watch_directories();
                    }
                }
                Some(Woken::Sweep) => self.sweep = Instant::now(),
                Some(Woken::Timeout) | None => {}
            }
        }
        found.problems.extend(self.notifier.iter_mut().flat_map(Notifier::take_problems));
        found
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn begin(&mut self, task: Task, found: &mut Found) {
        if let Some(settings) = task.settings {
            self.settings = settings;
            self.notifier = None;
        }
        if !self.has_looked
            && let Err(error) = self.watcher.check()
        {
            found.problems.push(format!("{error}; retrying until it appears"));
        }
        let history_after = self.settings.ignore_older_than.map_or(f64::INFINITY, |time| time.as_secs_f64());
        self.watcher.ignore_older_than(history_after);
        if self.notifier.is_none() {
            self.notifier = Some(notifier(&self.settings, &self.place));
            self.watch_directories();
        }
        if task.look || !self.has_looked {
            (self.sweep, self.everywhere) = (Instant::now(), Instant::now());
        }
        if !task.recall.is_empty() {
            let read = self.watcher.recall(now(), &task.recall, f64::NEG_INFINITY);
            self.take_in(read, found);
        }
    }

    /// Checks every followed file, and searches for new files unless the last search was slow and recent.
    fn look(&mut self, found: &mut Found) {
        let (begun, time) = (Instant::now(), now());
        let everywhere = begun >= self.everywhere;
        let read = if everywhere { self.watcher.poll(time) } else { self.watcher.poll_known(time) };
        self.take_in(read, found);
        self.has_looked = true;
        found.looked = Some(time);
        self.watch_directories();
        if everywhere {
            self.everywhere = Instant::now() + begun.elapsed() * BETWEEN_SWEEPS;
        }
        let interval = self.notifier.as_ref().map_or(self.settings.sweep(), Notifier::sweep_interval);
        self.sweep = Instant::now() + interval;
    }

    fn take_in(&mut self, read: Changes, found: &mut Found) {
        let parts = self.recall_parts(&read.appeared);
        for read in [Some(read), parts].into_iter().flatten() {
            found.bytes += read.bytes;
            for run in read.appeared.iter().chain(&read.changed) {
                let all = |data: &RunData| data.events() + data.beside().map(|(_, other)| other.events()).sum::<u64>();
                let events = self.watcher.runs().get(run).map_or(0, all);
                let before = self.events.insert(run.clone(), events).unwrap_or(0);
                found.events += events.saturating_sub(before);
            }
            for run in &read.vanished {
                self.events.remove(run);
            }
            found.problems.extend(read.problems);
        }
    }

    /// Reads the old runs that belong to jobs with a newly read run: a job may write its hyperparameters to a separate
    /// directory on its first day and its loss to another one for weeks.
    fn recall_parts(&mut self, appeared: &[RunName]) -> Option<Changes> {
        if self.watcher.old_runs() == 0 {
            return None;
        }
        let is_run = |name: &str| self.watcher.has(name);
        let (mut tops, mut names, mut since) = (BTreeSet::new(), Vec::new(), f64::INFINITY);
        for run in appeared {
            let top = topmost_job(run.as_str(), is_run).to_owned();
            if !tops.insert(top.clone()) {
                continue;
            }
            let begun = self.watcher.runs().get(run).and_then(|data| data.first_wall_time());
            since = since.min(begun.unwrap_or(f64::INFINITY) - BEFORE_ITS_START);
            names.extend(self.watcher.old_runs_under(&top).filter(|old| may_belong(old, &top, is_run)));
        }
        (!names.is_empty()).then(|| self.watcher.recall(now(), &names, since))
    }

    /// The old runs of open cases and their experiments, regardless of age. The run of an experiment can be old when it
    /// is found, long after it was suggested, if the clock was set forward or the files were copied with their times.
    /// Jobs that were needed already at the last call have been read, unless more can appear below their names.
    pub(super) fn old_runs_of(&mut self, needed: &Needed) -> Vec<String> {
        let is_run = |name: &str| self.watcher.has(name);
        let mut names = Vec::new();
        let everything = needed.iter().filter(|(_, everything)| *everything);
        for (job, everything) in everything.chain(needed.difference(&self.needed)) {
            for job in BTreeSet::from([job.as_str(), directory_of(job)]) {
                let old = self.watcher.old_runs_under(job);
                names.extend(old.filter(|run| *everything || may_belong(run, job, is_run)));
            }
        }
        self.needed.clone_from(needed);
        names
    }

    /// Requests kernel notifications for directories with read runs and for directories where new runs may appear,
    /// unless there are too many.
    fn watch_directories(&mut self) {
        let Some(notifier) = &mut self.notifier else { return };
        notifier.watch(self.watcher.directories());
        let fresh = self.watcher.take_fresh();
        let room = FEW_WATCHES.saturating_sub(notifier.watches().0);
        notifier.watch(fresh.iter().take(room).map(|path| path.as_path()));
        // Runs that ended are checked in rotation if there are many.
        if notifier.watches().0 > FEW_WATCHES {
            notifier.unwatch(|directory| self.watcher.is_old(directory));
        }
    }

    /// Releases the memory of a run.
    pub(super) fn release(&mut self, run: &RunName) {
        tracing::debug!(%run, "its sketches are dropped until it grows again");
        self.watcher.release(run);
        self.events.remove(run);
    }

    /// The data of all runs that are read.
    pub(super) fn runs(&self) -> &Runs {
        self.watcher.runs()
    }

    /// How many runs are not read.
    pub(super) fn old_runs(&self) -> usize {
        self.watcher.old_runs()
    }

    /// How each event file stands that is followed.
    pub(super) fn files(&self) -> impl Iterator<Item = FileStatus> {
        self.watcher.files()
    }

    /// Whether a run of this name, or one below it, has files, read or not.
    pub(super) fn follows(&self, name: &str) -> bool {
        self.watcher.follows(name)
    }

    /// How far the reading is that is under way.
    pub(super) fn progress(&self) -> Arc<Progress> {
        self.watcher.progress()
    }
}

fn notifier(settings: &WatchSettings, place: &Place) -> Notifier {
    let interval = settings.sweep();
    let Some(root) = place.local() else { return Notifier::sweeping(interval) };
    let sweep = match settings.poll {
        Poll::Auto => Sweep { watched: interval.max(Duration::from_secs(5)), ..Sweep::default() },
        Poll::Always => Sweep { watched: interval, unwatched: interval },
    };
    Notifier::new(root, sweep)
}
