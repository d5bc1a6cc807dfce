//! What the engine last said of itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::case::Curve;
use crate::config::Approvers;
use crate::page::{CaseLine, JobLine, Month, Need};
use crate::store::SharedStore;
use crate::telemetry::Metrics;

/// A loop that has not turned for so long hangs: its longest honest turn reads what a whole cluster wrote meanwhile.
const HANGS: Duration = Duration::from_secs(60);

/// What is shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shown {
    /// Runs that are followed.
    pub runs: usize,
    /// Open cases, and the newest closed ones.
    pub cases: Vec<CaseLine>,
    /// Every job by name.
    pub jobs: BTreeMap<String, JobLine>,
    /// What needs a person besides cases.
    pub needs: Vec<Need>,
}

/// What is shown and takes longer to put together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stock {
    /// What this month has cost and saved.
    pub month: Month,
    /// The curves of each open case, by its id.
    pub curves: BTreeMap<String, Vec<Curve>>,
}

#[derive(Debug, Default)]
struct State {
    shown: Arc<Shown>,
    stock: Arc<Stock>,
    /// When the loop turned last; `None` until the first look is done.
    turned: Option<Instant>,
    /// Why the daemon cannot do its work although it runs.
    trouble: Option<String>,
}

/// Where the engine puts what is shown, and the pages find it.
#[derive(Debug, Default)]
pub struct Board {
    /// What is counted and measured.
    pub metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// Where reports are kept, once it is open.
    store: OnceLock<SharedStore>,
    /// How often something changed that people look at.
    changes: watch::Sender<u64>,
    /// Who may answer.
    approvers: Mutex<Arc<Approvers>>,
}

impl Board {
    /// Reports are kept here from now on.
    pub fn keep_in(&self, store: SharedStore) {
        self.store.get_or_init(|| store);
    }

    /// These people may answer from now on.
    pub fn let_approve(&self, approvers: Approvers) {
        *self.approvers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(approvers);
    }

    /// Who may answer.
    pub fn approvers(&self) -> Arc<Approvers> {
        self.approvers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn store(&self) -> Option<&SharedStore> {
        self.store.get()
    }

    /// When something new of a job was last seen; `None` for one that is not known.
    pub(super) fn job_last_seen(&self, job: &str) -> Option<f64> {
        self.shown().jobs.get(job).map(|job| job.last_seen)
    }

    /// The loop has turned.
    pub fn turned(&self) {
        self.state().turned = Some(Instant::now());
    }

    /// Shows this from now on.
    pub fn show(&self, shown: Shown) {
        let before = std::mem::replace(&mut self.state().shown, Arc::new(shown));
        if !looks_alike(&before, &self.shown()) {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Shows this from now on, too.
    pub fn show_stock(&self, stock: Stock) {
        let stock = Arc::new(stock);
        let before = std::mem::replace(&mut self.state().stock, stock.clone());
        if *before != *stock {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Tells of each change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The daemon cannot do its work, or can again. Says whether that is news.
    pub fn trouble(&self, why: Option<String>) -> bool {
        let mut state = self.state();
        let news = state.trouble.is_some() != why.is_some();
        state.trouble = why;
        news
    }

    pub(super) fn shown(&self) -> Arc<Shown> {
        self.state().shown.clone()
    }

    pub(super) fn stock(&self) -> Arc<Stock> {
        self.state().stock.clone()
    }

    /// Whether the loop is alive; else why it seems not to be.
    pub(super) fn health(&self) -> Result<&'static str, String> {
        match self.state().turned.map(|turned| turned.elapsed()) {
            None => Ok("starting"),
            Some(elapsed) if elapsed < HANGS => Ok("alive"),
            Some(elapsed) => Err(format!("the loop has not turned for {} s", elapsed.as_secs())),
        }
    }

    /// Whether it does its work; else why not.
    pub(super) fn readiness(&self) -> Result<&'static str, String> {
        let state = self.state();
        match (&state.trouble, state.turned) {
            (Some(why), _) => Err(why.clone()),
            (None, None) => Err("the first look at the log directory is under way".to_owned()),
            (None, Some(_)) => Ok("ready"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment, so that a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a page would look the same: that a job goes on writing is no news.
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
        assert_eq!(board.health(), Err("the loop has not turned for 120 s".into()));
    }
}
