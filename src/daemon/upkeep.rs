//! Periodic maintenance: releases memory, deletes old data, updates counts.

use std::collections::BTreeSet;

use super::engine::Engine;
use super::now;
use crate::config::Keep;
use crate::jobs::directory_of;
use crate::store::{Commit, Forget};

impl Engine {
    /// A job that ended uses only database rows.
    pub(super) fn tidy(&mut self) {
        for run in self.diagnosis.settled(self.watcher.runs(), now()) {
            tracing::debug!(%run, "its sketches are dropped until it grows again");
            self.watcher.release(&run);
            self.events.remove(&run);
        }
        self.unwatch_old();
    }

    /// Counts files and deliveries.
    pub(super) fn take_stock(&self) -> anyhow::Result<()> {
        match self.store.blocking(|store| store.tally()) {
            Ok(tally) => self.publish_stock(&tally),
            Err(error) if error.may_pass() => self.store_failed(&error),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Deletes old closed cases. A case stays while its jobs are in the log directory, because it prevents a new
    /// investigation of them.
    pub(super) fn forget(&mut self) -> anyhow::Result<()> {
        let Keep::For(time) = self.settings.keep else { return Ok(()) };
        let before = now() - time.as_secs_f64();
        let cases =
            self.diagnosis.forgettable(|name| self.watcher.follows(name) || self.watcher.follows(directory_of(name)));
        self.diagnosis.forget_fates(before);
        let some = !cases.is_empty();
        self.keep(&Commit { forget: Some(Forget { before, cases }), ..Commit::default() })?;
        if some {
            let kept = self.store.blocking(|store| store.cases(false))?;
            let kept: BTreeSet<_> = kept.into_iter().flatten().map(|case| case.id).collect();
            self.diagnosis.retain(&kept);
        }
        Ok(())
    }
}
