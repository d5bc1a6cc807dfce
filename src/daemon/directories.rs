//! All log directories, each read by a thread of its own.
//!
//! Owns: which directories can be seen at the moment. Must not know: how one is read.
//!
//! A directory is either here, where its jobs are judged, or with its thread, which reads it. Thus nothing is copied and
//! nothing is locked, and a directory whose storage is slow or does not respond delays only its own jobs.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::directory::{Directory, Found, Needed, Task};
use super::{Wishes, variables};
use crate::config::{Settings, WatchSettings};
use crate::diagnosis::Seen;
use crate::logdir::logdir_at;
use crate::series::RunName;
use crate::watch::Progress;

/// How much longer than its turn a directory is waited for.
const GRACE: Duration = Duration::from_millis(250);

/// A directory that has been away for this long is reported: no legitimate pass over files takes as long.
const REPORTED_AFTER: Duration = Duration::from_secs(60);

/// How often a stop request is noticed before anything has been read.
const STOP_CHECKED: Duration = Duration::from_millis(100);

pub(super) struct Directories {
    all: Vec<Slot>,
    returned: Receiver<Returned>,
    wishes: Wishes,
}

/// A directory with the results of its turn.
struct Returned {
    at: usize,
    directory: Box<Directory>,
    found: Found,
}

/// A turn for a thread.
struct Order {
    directory: Box<Directory>,
    task: Task,
    until: Instant,
}

struct Slot {
    name: Option<String>,
    label: String,
    progress: Arc<Progress>,
    orders: Sender<Order>,
    thread: JoinHandle<()>,
    /// The directory, unless its thread has it.
    home: Option<Box<Directory>>,
    /// What it must do before its jobs are judged again.
    owed: Task,
    /// Whether the current turn waits for it.
    awaited: bool,
    /// Since when its thread has it.
    away_since: Instant,
    has_looked: bool,
    reported: bool,
    /// Followed and old runs when it was last here.
    counts: (usize, usize),
}

impl Directories {
    /// The directories of the settings, none of which has been read.
    ///
    /// # Errors
    /// There is no log directory, or the environment for its storage is invalid.
    pub(super) fn new(settings: &Settings, wishes: &Wishes) -> anyhow::Result<Directories> {
        let (to_here, returned) = channel();
        let slot = |(at, watch): (usize, &WatchSettings)| Slot::new(at, watch, wishes, to_here.clone());
        let all = settings.watch.iter().enumerate().map(slot).collect::<anyhow::Result<_>>()?;
        Ok(Directories { all, returned, wishes: wishes.clone() })
    }

    /// Lets each directory that is here be followed until a time, and takes it back. A directory that takes longer stays
    /// away, and is not waited for again. Before the first one has been read, there is nothing to do but wait.
    ///
    /// # Errors
    /// A thread failed.
    pub(super) fn turn(&mut self, until: Instant) -> anyhow::Result<Vec<Found>> {
        for slot in &mut self.all {
            slot.send(until)?;
        }
        self.wait(until)
    }

    /// Reads the old runs that open cases need. Only directories that have some are away meanwhile.
    ///
    /// # Errors
    /// A thread failed.
    pub(super) fn recall(&mut self, needed: &Needed) -> anyhow::Result<Vec<Found>> {
        let (now, mut all_found) = (Instant::now(), Vec::new());
        // Once more for a directory that came back meanwhile.
        for _ in 0..self.all.len() {
            let mut some = false;
            for slot in &mut self.all {
                let recall = slot.home.as_mut().map(|directory| directory.old_runs_of(needed)).unwrap_or_default();
                if !recall.is_empty() {
                    slot.owed.recall.extend(recall);
                    slot.send(now)?;
                    some = true;
                }
            }
            if !some {
                break;
            }
            all_found.extend(self.wait(now)?);
        }
        Ok(all_found)
    }

    /// Waits for the directories that were sent out until this time, and takes back all that return.
    fn wait(&mut self, until: Instant) -> anyhow::Result<Vec<Found>> {
        let mut all_found = Vec::new();
        while !self.stops() {
            let nothing_yet = !self.all.iter().any(|slot| slot.has_looked);
            let awaited = self.all.iter().any(|slot| slot.awaited);
            let deadline = if awaited { until + GRACE } else { until };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() && !nothing_yet {
                break;
            }
            match self.returned.recv_timeout(if nothing_yet { STOP_CHECKED } else { left }) {
                Ok(Returned { at, directory, found }) => {
                    all_found.push(found);
                    self.all[at].take_back(directory, until)?;
                }
                Err(RecvTimeoutError::Timeout) => self.check_threads()?,
                Err(RecvTimeoutError::Disconnected) => bail!("all threads that read log directories have ended"),
            }
        }
        for slot in &mut self.all {
            slot.awaited = false;
            slot.report();
        }
        Ok(all_found)
    }

    fn stops(&self) -> bool {
        self.wishes.stop.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn check_threads(&self) -> anyhow::Result<()> {
        match self.all.iter().find(|slot| slot.thread.is_finished()) {
            Some(slot) => bail!("reading {} failed because of a defect: see the log", slot.label),
            None => Ok(()),
        }
    }

    /// Each directory is scanned completely before its jobs are judged again.
    pub(super) fn look_again(&mut self) {
        self.all.iter_mut().for_each(|slot| slot.owed.look = true);
    }

    /// Applies changed settings to each directory. Its place stays the same.
    pub(super) fn renew(&mut self, settings: &Settings) {
        for slot in &mut self.all {
            slot.owed.settings = settings.watch.named(slot.name.as_deref()).cloned();
        }
    }

    /// What can be seen now.
    pub(super) fn seen(&self) -> Seen<'_> {
        let away = self.all.iter().filter(|slot| slot.home.is_none());
        Seen { runs: self.here().map(Directory::runs).collect(), unseen: away.map(|slot| slot.name.clone()).collect() }
    }

    /// The directories that can be seen now.
    pub(super) fn here(&self) -> impl Iterator<Item = &Directory> {
        self.all.iter().filter_map(|slot| slot.home.as_deref())
    }

    /// Followed and old runs, including those of directories that cannot be seen now.
    pub(super) fn counts(&self) -> (usize, usize) {
        let counts = self.all.iter().map(|slot| slot.home.as_deref().map_or(slot.counts, counts_of));
        counts.fold((0, 0), |(runs, old), (more, more_old)| (runs + more, old + more_old))
    }

    /// The directories that do not respond, for people.
    pub(super) fn troubles(&self) -> Vec<String> {
        let away = self.all.iter().filter(|slot| slot.reported);
        away.map(Slot::trouble).collect()
    }

    /// Whether a run of this name, or one below it, has or may have files.
    pub(super) fn may_follow(&self, name: &str) -> bool {
        self.all.iter().any(|slot| slot.home.as_ref().is_none_or(|directory| directory.follows(name)))
    }

    /// Releases the memory of the runs that `settled` selects in each directory.
    pub(super) fn release(&mut self, settled: impl Fn(&Directory) -> Vec<RunName>) {
        for directory in self.all.iter_mut().filter_map(|slot| slot.home.as_deref_mut()) {
            for run in settled(directory) {
                directory.release(&run);
            }
        }
    }

    /// Where they are, for people.
    pub(super) fn label(&self) -> String {
        self.all.iter().map(|slot| slot.label.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// How far the reading is that is under way.
    pub(super) fn progress(&self) -> Vec<Arc<Progress>> {
        self.all.iter().map(|slot| slot.progress.clone()).collect()
    }
}

fn counts_of(directory: &Directory) -> (usize, usize) {
    (directory.runs().len(), directory.old_runs())
}

impl Slot {
    fn new(at: usize, watch: &WatchSettings, wishes: &Wishes, to_here: Sender<Returned>) -> anyhow::Result<Slot> {
        let place = watch.logdir.clone().context(
            "no log directory is given: pass one to `nextrun watch LOGDIR`, or set `watch.logdir` in the configuration",
        )?;
        let label = match &watch.name {
            Some(name) => format!("{name} ({place})"),
            None => place.to_string(),
        };
        let source = logdir_at(&place, &variables())?;
        let directory = Box::new(Directory::new(place, watch.clone(), source, wishes.stop.clone()));
        let (orders, incoming) = channel::<Order>();
        let name = format!("read {}", watch.name.as_deref().unwrap_or_default());
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            while let Ok(Order { mut directory, task, until }) = incoming.recv() {
                let found = directory.turn(task, until);
                if to_here.send(Returned { at, directory, found }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Slot {
            name: watch.name.clone(),
            label,
            progress: directory.progress(),
            orders,
            thread,
            home: Some(directory),
            owed: Task::default(),
            awaited: false,
            away_since: Instant::now(),
            has_looked: false,
            reported: false,
            counts: (0, 0),
        })
    }

    fn send(&mut self, until: Instant) -> anyhow::Result<()> {
        let Some(directory) = self.home.take() else { return Ok(()) };
        (self.counts, self.away_since, self.awaited) = (counts_of(&directory), Instant::now(), true);
        let order = Order { directory, task: std::mem::take(&mut self.owed), until };
        self.orders.send(order).ok().with_context(|| format!("reading {} failed because of a defect", self.label))
    }

    /// A directory that was given a task meanwhile does it first.
    fn take_back(&mut self, directory: Box<Directory>, until: Instant) -> anyhow::Result<()> {
        (self.has_looked, self.awaited, self.home) = (true, false, Some(directory));
        if std::mem::take(&mut self.reported) {
            tracing::info!(seconds = self.away_since.elapsed().as_secs(), "{} responds again", self.label);
        }
        if self.owed.is_empty() { Ok(()) } else { self.send(until) }
    }

    fn report(&mut self) {
        // The first look may read years of files.
        let reads = !self.has_looked && self.progress.bytes().1 > 0;
        let late = self.home.is_none() && !reads && self.away_since.elapsed() > REPORTED_AFTER;
        if late && !std::mem::replace(&mut self.reported, true) {
            tracing::warn!("{}", self.trouble());
        }
    }

    fn trouble(&self) -> String {
        let seconds = REPORTED_AFTER.as_secs();
        format!(
            "the log directory {} has not responded for more than {seconds} s: its jobs are not judged until it does; check \
             its file system or object store",
            self.label
        )
    }
}
