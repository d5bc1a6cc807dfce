//! The latest state of the engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::case::Curve;
use crate::config::Approvers;
use crate::page::{CaseLine, JobLine, Month, Need};
use crate::store::{Owner, SharedStore};
use crate::telemetry::Metrics;

/// A loop without progress for this long hangs: the longest legitimate pass reads what a whole cluster wrote meanwhile.
const HANGS: Duration = Duration::from_secs(60);

/// The displayed state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shown {
    /// Followed runs.
    pub runs: usize,
    /// Open cases, and the newest closed ones.
    pub cases: Vec<CaseLine>,
    /// Every job by name.
    pub jobs: BTreeMap<String, JobLine>,
    /// Items besides cases that need a person.
    pub needs: Vec<Need>,
}

/// Displayed data that are expensive to collect.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stock {
    /// Cost and savings of the current month.
    pub month: Month,
    /// The curves of each open case, by its id.
    pub curves: BTreeMap<String, Vec<Curve>>,
}

#[derive(Debug, Default)]
struct State {
    shown: Arc<Shown>,
    stock: Arc<Stock>,
    /// When the loop last made a pass; `None` until the first scan is complete.
    turned: Option<Instant>,
    /// Why the daemon cannot work although it runs.
    trouble: Option<String>,
    /// Who owns the cases, if several daemons could.
    owner: Option<String>,
    /// Why the files of other machines cannot be stored.
    forwarding: Option<String>,
}

/// Shared state between the engine and the pages.
#[derive(Debug, Default)]
pub struct Board {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// The store for reports, while this daemon owns it.
    store: Mutex<Option<SharedStore>>,
    /// Number of visible changes.
    changes: watch::Sender<u64>,
    /// Who may answer.
    approvers: Mutex<Arc<Approvers>>,
}

impl Board {
    /// Sets the store for reports.
    pub fn keep_in(&self, store: SharedStore) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = Some(store);
    }

    /// Sets who may answer.
    pub fn let_approve(&self, approvers: Approvers) {
        *self.approvers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(approvers);
    }

    /// Who may answer.
    pub fn approvers(&self) -> Arc<Approvers> {
        self.approvers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This daemon owns the cases that several daemons share.
    pub fn own(&self, owner: &Owner) {
        let mut state = self.state();
        (state.trouble, state.turned) = (None, None);
        state.owner = Some(format!("owned by {}, term {}", owner.owner, owner.term));
        self.metrics.owner.set(1);
        self.metrics.term.set(owner.term);
    }

    /// This daemon waits until it owns the cases. Nothing is shown meanwhile: it may have changed.
    pub fn stand_by(&self, why: &str) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.metrics.owner.set(0);
        {
            let mut state = self.state();
            state.trouble = Some(why.to_owned());
            state.turned = Some(Instant::now());
            state.owner = None;
        }
        self.show(Shown::default());
    }

    /// The daemon that owns the cases, if several could.
    pub fn owner(&self) -> Option<String> {
        self.state().owner.clone()
    }

    pub(super) fn store(&self) -> Option<SharedStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When a job was last seen to be active; `None` if it is unknown.
    pub(super) fn job_last_seen(&self, job: &str) -> Option<f64> {
        self.shown().jobs.get(job).map(|job| job.last_seen)
    }

    /// Whether the first look is done.
    pub fn has_looked(&self) -> bool {
        self.state().turned.is_some()
    }

    /// The loop has made a pass.
    pub fn turned(&self) {
        self.state().turned = Some(Instant::now());
    }

    /// Sets the displayed state.
    pub fn show(&self, shown: Shown) {
        let before = std::mem::replace(&mut self.state().shown, Arc::new(shown));
        if !looks_alike(&before, &self.shown()) {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Sets the expensive part of the displayed state.
    pub fn show_stock(&self, stock: Stock) {
        let stock = Arc::new(stock);
        let before = std::mem::replace(&mut self.state().stock, stock.clone());
        if *before != *stock {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Subscribes to changes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The daemon cannot work, or can again. Returns whether this is a change.
    pub fn trouble(&self, why: Option<String>) -> bool {
        let mut state = self.state();
        let news = state.trouble.is_some() != why.is_some();
        state.trouble = why;
        news
    }

    /// The files of other machines cannot be stored, or can again. Returns whether this is a change.
    pub(super) fn forwarding_fails(&self, why: Option<String>) -> bool {
        let news = std::mem::replace(&mut self.state().forwarding, why.clone()).is_some() != why.is_some();
        if news {
            self.changes.send_modify(|changes| *changes += 1);
        }
        news
    }

    /// Why the files of other machines cannot be stored, if they cannot.
    pub(super) fn forwarding_trouble(&self) -> Option<String> {
        self.state().forwarding.clone()
    }

    /// What is shown now.
    pub fn shown(&self) -> Arc<Shown> {
        self.state().shown.clone()
    }

    pub(super) fn stock(&self) -> Arc<Stock> {
        self.state().stock.clone()
    }

    /// Whether the loop is alive; otherwise the reason why it seems not to be.
    pub(super) fn health(&self) -> Result<&'static str, String> {
        match self.state().turned.map(|turned| turned.elapsed()) {
            None => Ok("starting"),
            Some(elapsed) if elapsed < HANGS => Ok("alive"),
            Some(elapsed) => Err(format!("the main loop has made no progress for {} s", elapsed.as_secs())),
        }
    }

    /// Whether it works; otherwise why not.
    pub(super) fn readiness(&self) -> Result<&'static str, String> {
        let state = self.state();
        match (&state.trouble, state.turned) {
            (Some(why), _) => Err(why.clone()),
            (None, None) => Err("the first scan of the log directory is in progress".to_owned()),
            (None, Some(_)) => Ok("ready"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment, so that a panic elsewhere leaves no partial change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a page would look the same; new data of a running job are not a change.
fn looks_alike(before: &Shown, now: &Shown) -> bool {
    let jobs = |shown: &Shown| {
        shown.jobs.iter().map(|(name, job)| (name.clone(), job.status, job.symptoms.clone())).collect::<Vec<_>>()
    };
    (before.runs, &before.cases, &before.needs) == (now.runs, &now.cases, &now.needs) && jobs(before) == jobs(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_people_would_see_is_a_change() {
        let board = Board::default();
        let mut told = board.changes();
        let job = |last_seen: f64, status| JobLine {
            status: Some(status),
            probability: Some(0.1),
            symptoms: vec![],
            last_seen,
        };
        let shown =
            |last_seen, status| Shown { jobs: [("a".to_owned(), job(last_seen, status))].into(), ..Shown::default() };
        board.show(shown(1.0, "healthy"));
        assert!(told.has_changed().unwrap());
        told.mark_unchanged();
        board.show(shown(2.0, "healthy"));
        assert!(!told.has_changed().unwrap());
        assert_eq!(board.job_last_seen("a"), Some(2.0));
        board.show(shown(2.0, "failing"));
        assert!(told.has_changed().unwrap());
    }

    #[test]
    fn it_is_alive_before_it_is_ready_and_not_ready_while_it_is_in_trouble() {
        let board = Board::default();
        assert_eq!((board.health(), board.readiness().is_err()), (Ok("starting"), true));
        board.turned();
        assert_eq!((board.health(), board.readiness()), (Ok("alive"), Ok("ready")));
        assert!(board.trouble(Some("the disk is full".into())) && !board.trouble(Some("the disk is full".into())));
        assert_eq!((board.health(), board.readiness()), (Ok("alive"), Err("the disk is full".into())));
        assert!(board.trouble(None));
        assert_eq!(board.readiness(), Ok("ready"));
    }

    #[test]
    fn a_loop_that_does_not_turn_is_not_alive() {
        let board = Board::default();
        board.state().turned = Instant::now().checked_sub(2 * HANGS);
        assert_eq!(board.health(), Err("the main loop has made no progress for 120 s".into()));
    }
}
