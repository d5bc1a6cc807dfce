//! Old runs that are read after all, and directories that are watched although no run in them is read.
//!
//! Owns: the selection of these. Must not know: how they are found and read.

use std::collections::BTreeSet;

use super::engine::Engine;
use super::now;
use crate::jobs::{directory_of, may_belong, topmost_job};
use crate::series::RunName;
use crate::watch::Changes;

/// Events that a job wrote up to this many seconds before the first event of one of its runs also belong to it.
const BEFORE_ITS_START: f64 = 3600.0;

/// Number of directories that can always be watched: half of the smallest default limit of a kernel.
const FEW_WATCHES: usize = 4096;

impl Engine {
    /// Reads the old runs that belong to jobs with a newly read run: a job may write its hyperparameters to a separate
    /// directory on its first day and its loss to another one for weeks.
    pub(super) fn recall_parts(&mut self, appeared: &[RunName]) -> Option<Changes> {
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

    /// Reads the runs of open cases and their experiments, regardless of age. The run of an experiment can be old when
    /// it is found, long after it was suggested, if the clock was set forward or the files were copied with their
    /// times.
    pub(super) fn recall_needed(&mut self) {
        let needed = self.diagnosis.needed();
        let is_run = |name: &str| self.watcher.has(name);
        let mut names = Vec::new();
        for (job, everything) in
            needed.iter().filter(|(_, everything)| *everything).chain(needed.difference(&self.needed))
        {
            for job in BTreeSet::from([job.as_str(), directory_of(job)]) {
                let old = self.watcher.old_runs_under(job);
                names.extend(old.filter(|run| *everything || may_belong(run, job, is_run)));
            }
        }
        self.needed = needed;
        if !names.is_empty() {
            let read = self.watcher.recall(now(), &names, f64::NEG_INFINITY);
            self.take_in(&read);
        }
    }

    /// Requests kernel notifications for directories with read runs and for directories where new runs may appear,
    /// unless there are too many.
    pub(super) fn watch_directories(&mut self) {
        self.notifier.watch(self.watcher.directories());
        let fresh = self.watcher.take_fresh();
        let room = FEW_WATCHES.saturating_sub(self.notifier.watches().0);
        self.notifier.watch(fresh.iter().take(room).map(|path| path.as_path()));
    }

    /// Removes watches if there are many: runs that ended are checked in rotation.
    pub(super) fn unwatch_old(&mut self) {
        if self.notifier.watches().0 > FEW_WATCHES {
            self.notifier.unwatch(|directory| self.watcher.is_old(directory));
        }
    }
}
