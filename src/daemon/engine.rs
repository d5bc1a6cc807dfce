//! The loop: wait for a change, read it, diagnose, commit, tell the outbox.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use super::desk::Desk;
use super::launch::dress;
use super::now;
use crate::config::Settings;
use crate::diagnosis::{Changes, Diagnosis, Report};
use crate::noise::Plan;
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
    pub(super) desk: Desk,
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
        for plan in self.desk.release(&self.store, now())? {
            self.keep(Commit::default(), plan)?;
        }
        // The watchdog is fed by a turn of the whole loop, never by a timer that would go on while the loop hangs.
        let open = self.diagnosis.cases().filter(|case| case.closed.is_none()).count();
        let status = format!("{} runs, {open} cases open", self.watcher.runs().len());
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog, sd_notify::NotifyState::Status(&status)]);
        Ok(())
    }

    fn take_reports(&mut self) -> anyhow::Result<()> {
        while let Ok(report) = self.incoming.try_recv() {
            self.take(&report)?;
        }
        Ok(())
    }

    fn take(&mut self, report: &outbox::Report) -> anyhow::Result<()> {
        let report = match report {
            outbox::Report::Delivered { message_id, destination, .. } => {
                tracing::debug!(message_id, destination, "told of a delivery");
                return Ok(());
            }
            outbox::Report::Refused { message_id, destination, unknown_knobs, why } => {
                tracing::debug!(message_id, destination, why, "told of a refusal");
                let unknown_knobs: BTreeSet<String> = unknown_knobs.iter().cloned().collect();
                Report::Refused { suggestion: message_id.clone(), unknown_knobs }
            }
            outbox::Report::Dead { message_id, destination, why } => {
                tracing::debug!(message_id, destination, why, "told of a dead letter");
                Report::Undeliverable { suggestion: message_id.clone() }
            }
        };
        let changes = self.diagnosis.report(&report, now());
        self.commit(changes, Vec::new())
    }

    /// Carries out what operators asked for.
    fn take_requests(&mut self) -> anyhow::Result<()> {
        for request in self.store.blocking(|store| store.requests())? {
            let text = |pointer: &str| request.wish.pointer(pointer).and_then(Value::as_str);
            let changes = if let Some(job) = text("/link") {
                self.diagnosis.link(&request.case, job, now())
            } else if let Some(verdict) = text("/close/verdict") {
                self.diagnosis.close(&request.case, verdict, text("/close/why").unwrap_or_default(), now())
            } else if let Some(answer) = text("/answer") {
                self.diagnosis.answer(&request.case, answer, now())
            } else {
                tracing::warn!(wish = %request.wish, "a request that this version does not know is dropped");
                Changes::default()
            };
            self.commit(changes, vec![request.id])?;
        }
        Ok(())
    }

    /// Keeps what was decided and what is owed for it in one transaction.
    fn commit(&mut self, changes: Changes, handled: Vec<i64>) -> anyhow::Result<()> {
        if changes.is_empty() && handled.is_empty() {
            return Ok(());
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
        let dressed = |mut message| {
            dress(&mut message, self.settings);
            message
        };
        let messages = changes.messages.into_iter().map(dressed).collect();
        let cases: Vec<_> = self.diagnosis.cases().collect();
        let plan = self.desk.share(&self.store, messages, cases.iter().copied(), updated)?;
        let commit = Commit {
            cases: changes.cases.iter().map(stored).collect::<anyhow::Result<_>>()?,
            journal: changes.journal,
            handled,
            ..Commit::default()
        };
        self.keep(commit, plan)
    }

    /// Keeps a step together with who is told of it.
    fn keep(&mut self, mut commit: Commit, plan: Plan) -> anyhow::Result<()> {
        commit.journal.extend(plan.journal);
        (commit.messages, commit.held, commit.released) = (plan.owed, plan.held, plan.released);
        for (case, entry) in &commit.journal {
            tracing::info!(case = %case, kind = entry.kind, detail = %entry.detail, "case");
        }
        self.store.blocking(|store| store.commit(&commit))?;
        self.outbox.wake();
        Ok(())
    }
}
