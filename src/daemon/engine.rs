//! The main loop: let the log directories be read, diagnose, commit, notify the outbox.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::sync::mpsc::UnboundedReceiver;

use super::asks::ask_of;
use super::clicks::Clicks;
use super::clock::Clocks;
use super::desk::Desk;
use super::directories::Directories;
use super::directory::Found;
use super::owner::{tell_owner, tell_people};
use super::{Load, Wishes, now};
use crate::case::Message;
use crate::config::Settings;
use crate::diagnosis::{Changes, Diagnosis};
use crate::noise::Plan;
use crate::outbox::{self, OpenRuns, Outbox};
use crate::runner::{News, Trainer};
use crate::status::Board;
use crate::store::{Commit, SharedStore, StoreError, StoredCase};

/// Minimum interval between two checks of the jobs, regardless of how fast they write.
const TICK: Duration = Duration::from_millis(500);

/// Interval for counting all files and the whole outbox.
const STOCK: Duration = Duration::from_secs(5);

/// Interval for releasing the memory of ended jobs.
const TIDY: Duration = Duration::from_secs(60);

/// Interval for deleting old closed cases.
const FORGET: Duration = Duration::from_secs(3600);

/// Interval for retrying a failing store.
const ASK_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Engine {
    pub(super) diagnosis: Diagnosis,
    pub(super) store: SharedStore,
    pub(super) incoming: UnboundedReceiver<outbox::Report>,
    pub(super) from_runner: UnboundedReceiver<News>,
    /// Training processes by event files that have not been read yet.
    pub(super) trainers: BTreeMap<PathBuf, Trainer>,
    pub(super) desk: Desk,
    pub(super) settings: Settings,
    pub(super) directories: Directories,
    pub(super) outbox: Outbox,
    pub(super) clicks: Clicks,
    pub(super) board: Arc<Board>,
    pub(super) wishes: Wishes,
    /// Why the newest settings are not in force.
    pub(super) refused: Option<String>,
    /// Log directories that other daemons watch, too.
    pub(super) overlaps: Vec<String>,
    pub(super) clocks: Clocks,
    /// Row ids of requests that cannot be decoded; each is reported once.
    pub(super) unreadable_requests: BTreeSet<i64>,
}

/// The time of the next scheduled action.
struct Due {
    tick: Instant,
    stock: Instant,
    tidy: Instant,
    forget: Instant,
}

impl Engine {
    pub(super) fn into_outbox(self) -> Outbox {
        self.outbox
    }

    /// Runs until stopped. `told` are reports that an earlier process recorded and may not have processed.
    pub(super) fn run(&mut self, told: Vec<outbox::Report>, load: &Load<'_>) -> anyhow::Result<()> {
        self.warn_of_stranded();
        self.follow(Instant::now())?;
        if self.stops() {
            tracing::info!("stopped before all files were read; no decisions were made");
            return Ok(());
        }
        let (read, old) = self.directories.counts();
        tracing::info!(read, old, "all files were read");
        for report in told {
            self.take(&report)?;
        }
        self.tick()?;
        self.in_force();
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        let now = Instant::now();
        let mut due = Due { tick: now + TICK, stock: now, tidy: now + TIDY, forget: now };
        while !self.stops() {
            self.turn(&mut due)?;
            if self.wishes.reload.swap(false, Ordering::SeqCst) {
                self.reload(load);
            }
        }
        Ok(())
    }

    fn stops(&self) -> bool {
        self.wishes.stop.load(Ordering::SeqCst)
    }

    fn turn(&mut self, due: &mut Due) -> anyhow::Result<()> {
        self.follow(due.tick)?;
        let begun = Instant::now();
        if let Some(by) = self.clocks.set_by(now(), begun) {
            tracing::warn!(
                seconds = by,
                "clock jump detected (clock change or suspend); timeouts were extended to compensate"
            );
            let changes = self.diagnosis.clock_was_set(by);
            self.commit(changes, Vec::new())?;
            self.desk.clock_was_set();
            // Events written in the meantime must be read before any judgement.
            self.directories.look_again();
            self.follow(begun)?;
        }
        if self.stops() {
            // The last read may have been interrupted.
            return Ok(());
        }
        if begun >= due.tick {
            self.take_reports()?;
            self.take_requests()?;
            self.take_from_runner()?;
            self.tick()?;
            due.tick = Instant::now() + TICK;
            self.board.metrics.turns.observe(begun.elapsed().as_secs_f64());
        }
        self.upkeep(due)
    }

    /// Lets the log directories be followed until a time, and takes what was found.
    fn follow(&mut self, until: Instant) -> anyhow::Result<()> {
        let all = self.directories.turn(until)?;
        self.take_in(all);
        Ok(())
    }

    fn take_in(&mut self, all: Vec<Found>) {
        for Found { directory, bytes, events, problems, looked } in all {
            problems.iter().for_each(|problem| tracing::warn!("{problem}"));
            self.board.metrics.read_bytes.inc_by(bytes);
            self.board.metrics.read_events.inc_by(events);
            if let Some(time) = looked.filter(|_| !self.stops()) {
                self.diagnosis.looked(directory.as_deref(), time);
            }
        }
    }

    fn upkeep(&mut self, due: &mut Due) -> anyhow::Result<()> {
        let now = Instant::now();
        if now >= due.stock {
            self.take_stock()?;
            due.stock = now + STOCK;
        }
        if now >= due.tidy {
            self.tidy();
            due.tidy = now + TIDY;
        }
        if now >= due.forget {
            self.forget()?;
            due.forget = now + FORGET;
        }
        Ok(())
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        // The old runs that open cases need are read before anything is judged.
        let recalled = self.directories.recall(&self.diagnosis.needed())?;
        self.take_in(recalled);
        let changes = self.diagnosis.tick(self.directories.seen(), now());
        self.commit(changes, Vec::new())?;
        self.release()?;
        self.outbox.wait_for(&self.open_runs());
        self.publish();
        // The watchdog is fed by a pass of the whole loop, never by a timer that would continue while the loop hangs.
        let _ = sd_notify::notify(&[NotifyState::Watchdog, NotifyState::Status(&self.in_one_line())]);
        Ok(())
    }

    /// The suggestions that cases wait for.
    fn open_runs(&self) -> OpenRuns {
        let open = self.diagnosis.cases().filter(|case| case.closed.is_none());
        let runs = open.filter_map(|case| Some((case.open_experiment()?.suggestion.clone(), case.id.clone())));
        OpenRuns::new(runs.collect())
    }

    /// Stores decisions and the resulting messages in one transaction.
    pub(super) fn commit(&mut self, mut changes: Changes, handled: Vec<i64>) -> anyhow::Result<()> {
        if changes.is_empty() && handled.is_empty() {
            return Ok(());
        }
        let updated = now();
        for message in &mut changes.messages {
            let case = self.diagnosis.cases().find(|case| case.id == message.case);
            tell_people(message, &self.settings, case.and_then(|case| case.launched.as_ref()));
            tell_owner(message, &self.settings);
        }
        self.dress_all(&mut changes, updated)?;
        let asks = changes.messages.iter().filter_map(|message| ask_of(message, &changes.cases)).collect();
        let standing = changes.cases.iter().map(|case| (case.id.clone(), case.asks())).collect();
        let plan = self.share(std::mem::take(&mut changes.messages), updated)?;
        for (suggestion, machines) in self.desk.machines_of(&plan) {
            self.diagnosis.handed_to(&suggestion, &machines, &mut changes);
        }
        let commit = Commit {
            cases: changes.cases.iter().map(|case| StoredCase::of(case, updated)).collect::<Result<_, _>>()?,
            journal: changes.journal,
            fates: changes.fates,
            asks,
            standing,
            handled,
            ..Commit::default()
        };
        self.keep_with(commit, plan)
    }

    /// Determines the receivers of messages.
    fn share(&mut self, messages: Vec<Message>, now: f64) -> anyhow::Result<Plan> {
        if messages.is_empty() {
            return Ok(Plan::default());
        }
        let around = self.waited_for(|engine| engine.desk.look(&engine.store))?;
        let cases: Vec<_> = self.diagnosis.cases().collect();
        Ok(self.desk.share(&around, messages, &cases, now))
    }

    /// Sends delayed messages that are due. If the store is temporarily unavailable, the next pass retries.
    fn release(&mut self) -> anyhow::Result<()> {
        let plans = match self.desk.release(&self.store, now()) {
            Err(error) if error.may_pass() => {
                self.store_failed(&error);
                return Ok(());
            }
            plans => plans?,
        };
        for plan in plans {
            let silenced = plan.silenced.clone();
            self.keep_with(Commit::default(), plan)?;
            for message in silenced {
                self.may_never_start(&message)?;
            }
        }
        Ok(())
    }

    /// Stores a step together with the receivers of its messages.
    fn keep_with(&mut self, mut commit: Commit, plan: Plan) -> anyhow::Result<()> {
        commit.journal.extend(plan.journal);
        (commit.messages, commit.waiting) = (plan.owed, plan.waiting);
        (commit.released, commit.withdrawn) = (plan.released, plan.withdrawn);
        for (case, entry) in &commit.journal {
            tracing::info!(case = %case, kind = entry.kind, detail = %entry.detail, "case");
        }
        self.keep(&commit)?;
        self.outbox.wake();
        Ok(())
    }

    /// Commits. If this fails temporarily, for example on a full disk, retries until it succeeds. Nothing else is
    /// decided until then, and nothing is lost, because a new process would make the same decisions again.
    pub(super) fn keep(&mut self, commit: &Commit) -> anyhow::Result<()> {
        self.waited_for(|engine| engine.store.blocking(|store| store.commit(commit)))
    }

    /// An operation of the store that must succeed before anything else happens: retried until it succeeds or a stop is
    /// requested.
    pub(super) fn waited_for<T>(
        &mut self,
        mut work: impl FnMut(&mut Engine) -> Result<T, StoreError>,
    ) -> anyhow::Result<T> {
        loop {
            match work(self) {
                Ok(done) => {
                    self.store_works();
                    return Ok(done);
                }
                Err(error) if error.may_pass() && !self.stops() => {
                    self.store_failed(&error);
                    std::thread::sleep(ASK_AGAIN);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The store is temporarily unavailable: logs this, and tells the watchdog that this is not a hang.
    pub(super) fn store_failed(&self, error: &StoreError) {
        self.board.metrics.store_errors.inc();
        if self.board.trouble(Some(error.to_string())) {
            tracing::error!(%error, "database unavailable; retrying");
        }
        self.board.turned();
        let status = format!("waiting: {error}");
        let _ = sd_notify::notify(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
    }

    /// The store is available.
    pub(super) fn store_works(&self) {
        if self.board.trouble(None) {
            tracing::info!("database available again");
        }
    }
}
