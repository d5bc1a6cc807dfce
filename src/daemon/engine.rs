//! The loop: wait for a change, read it, diagnose, commit, tell the outbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use super::launch::dress;
use super::now;
use crate::case::MessageKind;
use crate::config::Settings;
use crate::diagnosis::{Changes, Diagnosis};
use crate::outbox::{self, Outbox};
use crate::store::{Commit, SharedStore, StoredCase};
use crate::watch::Watcher;
use crate::watch::notify::{Notifier, Woken};

/// Jobs are looked at no more often than this, however fast they write.
const TICK: Duration = Duration::from_millis(500);

/// How often the memory of jobs that ended is given back.
const TIDY: Duration = Duration::from_secs(60);

pub(super) struct Engine<'a> {
    pub(super) diagnosis: Diagnosis,
    pub(super) store: SharedStore,
    pub(super) incoming: UnboundedReceiver<outbox::Report>,
    /// The kinds of message that each destination gets.
    pub(super) wants: Vec<(String, Vec<MessageKind>)>,
    pub(super) settings: &'a Settings,
    pub(super) watcher: Watcher,
    pub(super) notifier: Notifier,
    pub(super) outbox: &'a Outbox,
}

impl Engine<'_> {
    /// Runs until `stop`. `told` are reports that an earlier process recorded and may not have acted upon.
    pub(super) fn run(mut self, told: Vec<outbox::Report>, stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
        let read = self.watcher.poll(now());
        self.say(&read.problems);
        self.notifier.watch(self.watcher.directories());
        for report in told {
            self.take(&report)?;
        }
        self.tick()?;
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let mut next_tidy = Instant::now() + TIDY;
        let (mut next_tick, mut next_sweep) = (Instant::now() + TICK, Instant::now() + self.notifier.sweep_interval());
        while !stop.load(Ordering::SeqCst) {
            let wait = next_tick.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            match self.notifier.wait(wait) {
                Woken::Paths(paths) => {
                    let read = self.watcher.poll_paths(now(), paths.iter().map(|path| path.as_path()));
                    self.say(&read.problems);
                }
                Woken::Sweep => next_sweep = Instant::now(),
                Woken::Timeout => {}
            }
            if Instant::now() >= next_sweep {
                let read = self.watcher.poll(now());
                self.say(&read.problems);
                next_sweep = Instant::now() + self.notifier.sweep_interval();
            }
            self.notifier.watch(self.watcher.directories());
            let problems = self.notifier.take_problems();
            self.say(&problems);
            if Instant::now() >= next_tick {
                self.take_reports()?;
                self.take_requests()?;
                self.tick()?;
                next_tick = Instant::now() + TICK;
            }
            if Instant::now() >= next_tidy {
                self.tidy();
                next_tidy = Instant::now() + TIDY;
            }
        }
        Ok(())
    }

    /// A job that ended costs nothing but rows.
    fn tidy(&mut self) {
        for run in self.diagnosis.settled(self.watcher.runs(), now()) {
            tracing::debug!(%run, "its numbers are forgotten until it grows again");
            self.watcher.release(&run);
        }
    }

    fn say(&self, problems: &[String]) {
        for problem in problems {
            tracing::warn!("{problem}");
        }
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        let changes = self.diagnosis.tick(self.watcher.runs(), now());
        self.commit(changes, Vec::new())?;
        // The watchdog is fed by a turn of the whole loop, never by a timer that would go on while the loop hangs.
        let open = self.diagnosis.cases().filter(|case| case.closed.is_none()).count();
        let status = format!("{} runs, {open} cases open", self.watcher.runs().len());
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog, sd_notify::NotifyState::Status(&status)]);
        Ok(())
    }

    /// Keeps what was decided and what is owed for it in one transaction.
    pub(super) fn commit(&mut self, changes: Changes, handled: Vec<i64>) -> anyhow::Result<()> {
        if changes.is_empty() && handled.is_empty() {
            return Ok(());
        }
        for (case, entry) in &changes.journal {
            tracing::info!(case = %case, kind = entry.kind, detail = %entry.detail, "case");
        }
        let updated = now();
        let stored = |case: &crate::case::Case| {
            anyhow::Ok(StoredCase {
                id: case.id.clone(),
                baseline: case.baseline.clone(),
                closed: case.closed.is_some(),
                verdict: case.closed.as_ref().map(|end| end.verdict.clone()),
                updated,
                state: serde_json::to_value(case)?,
            })
        };
        let messages = changes.messages.into_iter().map(|mut message| {
            dress(&mut message, self.settings);
            let to = self.wants.iter().filter(|(_, kinds)| kinds.contains(&message.kind));
            let to = to.map(|(name, _)| name.clone()).collect();
            (message, to)
        });
        let commit = Commit {
            messages: messages.collect(),
            cases: changes.cases.iter().map(stored).collect::<anyhow::Result<_>>()?,
            journal: changes.journal,
            handled,
            ..Commit::default()
        };
        self.keep(&commit)?;
        self.outbox.wake();
        Ok(())
    }

    pub(super) fn keep(&mut self, commit: &Commit) -> anyhow::Result<()> {
        Ok(self.store.blocking(|store| store.commit(commit))?)
    }
}
