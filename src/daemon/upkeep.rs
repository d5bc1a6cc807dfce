//! What is done once in a while: memory given back, old things forgotten, stock taken.

use std::collections::BTreeSet;

use super::engine::Engine;
use super::now;
use crate::config::Keep;
use crate::jobs::directory_of;
use crate::store::{Commit, Forget};

impl Engine {
    /// A job that ended costs nothing but rows.
    pub(super) fn tidy(&mut self) {
        for run in self.diagnosis.settled(self.watcher.runs(), now()) {
            tracing::debug!(%run, "its numbers are forgotten until it grows again");
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

    /// Forgets what closed long ago. A case whose jobs are still in the log directory stays: it is what keeps them from
    /// being investigated again.
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
