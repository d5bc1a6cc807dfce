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
        let Engine { directories, diagnosis, .. } = self;
        directories.release(|directory| diagnosis.settled(directory.runs(), now()));
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
        let may_follow = |name: &str| self.directories.may_follow(name);
        let cases = self.diagnosis.forgettable(|name| may_follow(name) || may_follow(directory_of(name)));
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
