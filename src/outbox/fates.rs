//! Queries destinations for the status of their runs.
//!
//! Owns: which runs are queried, and how often. Must not know: the consequences of a status.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Report, Sending};
use crate::case::CaseId;
use crate::destinations::{Destination, Told};
use crate::fate::Fate;
use crate::store::{DeliveryState, Owed, StoreError, Which};

/// The suggestions that cases wait for, each with its case.
pub type OpenRuns = Arc<BTreeMap<String, CaseId>>;

/// A request that was presumed lost arrives within this many seconds after its replacement, or never.
const LATE: f64 = 30.0;

/// The runs of one destination.
pub(super) struct Poller {
    destination: Arc<Destination>,
    sending: Sending,
    /// The last reported status by suggestion.
    told: BTreeMap<String, Fate>,
    /// Suggestions for which a person was notified because the destination cannot report their status.
    untold: BTreeSet<String>,
    /// Suggestions that the destination is known to have exactly once.
    tidied: BTreeSet<String>,
}

impl Poller {
    pub(super) fn new(destination: Arc<Destination>, sending: Sending) -> Poller {
        let (told, untold, tidied) = Default::default();
        Poller { destination, sending, told, untold, tidied }
    }

    /// Queries until it is stopped.
    pub(super) async fn run(mut self, mut open: watch::Receiver<OpenRuns>, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            let runs = open.borrow_and_update().clone();
            self.told.retain(|suggestion, _| runs.contains_key(suggestion));
            self.untold.retain(|suggestion| runs.contains_key(suggestion));
            self.tidied.retain(|suggestion| runs.contains_key(suggestion));
            let round = self.round(&runs);
            // A query changes nothing and can be interrupted.
            tokio::select! {
                asked = round => if let Err(error) = asked {
                    if error.is_final() {
                        return;
                    }
                    tracing::error!(destination = self.destination.name, %error, "could not store the status of jobs");
                    self.sending.metrics.store_errors.inc();
                },
                changed = stopped.changed() => if changed.is_err() { return },
            }
            let pause = async {
                if runs.is_empty() {
                    // An error means that the outbox was dropped; the other branch handles this.
                    drop(open.changed().await);
                } else {
                    tokio::time::sleep(self.destination.status_every.max(SHORTEST)).await;
                }
            };
            tokio::select! {
                () = pause => {}
                changed = stopped.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Queries each run once. Stops at the first query without a response, because the destination is down and each
    /// further query would wait as long.
    async fn round(&mut self, runs: &BTreeMap<String, CaseId>) -> Result<(), StoreError> {
        for (suggestion, case) in runs {
            if !self.look(suggestion, case).await? {
                break;
            }
        }
        Ok(())
    }

    /// Whether the destination responds.
    async fn look(&mut self, suggestion: &str, case: &CaseId) -> Result<bool, StoreError> {
        let Some(owed) = self.delivered(suggestion).await? else { return Ok(true) };
        let reference = match Report::of(&owed.delivery) {
            Some(Report::Delivered { reference, .. }) => reference,
            _ => None,
        };
        let now = (self.sending.clock)();
        self.tidy(&owed, reference.as_deref(), now).await;
        match self.destination.fate(&owed.delivery.message, reference.as_deref(), now).await {
            Some(Told::Fate(fate)) => self.tell(suggestion, case, fate).await?,
            Some(Told::NotNow(why)) => {
                tracing::debug!(
                    destination = self.destination.name,
                    suggestion,
                    why,
                    "could not report the status of a run"
                );
                return Ok(false);
            }
            Some(Told::Cannot(why)) if self.untold.insert(suggestion.to_owned()) => {
                tracing::warn!(
                    destination = self.destination.name,
                    suggestion,
                    why,
                    "could not report the status of a run"
                );
            }
            Some(Told::Cannot(_)) | None => {}
        }
        Ok(true)
    }

    async fn delivered(&self, suggestion: &str) -> Result<Option<Owed>, StoreError> {
        let (id, name) = (suggestion.to_owned(), self.destination.name.clone());
        let rows = self.sending.store.with(move |store| {
            store.history(Which { message: Some(&id), state: Some(DeliveryState::Delivered), ..Which::default() })
        });
        let here = |owed: &Owed| owed.delivery.destination == name && owed.delivery.message.id == suggestion;
        Ok(rows.await?.into_iter().flatten().find(here))
    }

    async fn tidy(&mut self, owed: &Owed, reference: Option<&str>, now: f64) {
        let doubtful = owed.tries.iter().any(|tried| tried.outcome == Some(DeliveryState::Unknown));
        let message = &owed.delivery.message;
        let Some(kept) = reference.filter(|_| doubtful && now - owed.changed >= LATE) else { return };
        if self.tidied.insert(message.id.clone()) {
            self.destination.tidy(message, kept, now).await;
        }
    }

    /// Reports a status if it is new.
    async fn tell(&mut self, suggestion: &str, case: &CaseId, fate: Fate) -> Result<(), StoreError> {
        self.untold.remove(suggestion);
        if self.told.get(suggestion) == Some(&fate) {
            return Ok(());
        }
        let commit = super::fate_of(case, suggestion, &fate);
        self.sending.store.with(move |store| store.commit(&commit)).await?;
        self.told.insert(suggestion.to_owned(), fate);
        Ok(())
    }
}

/// Minimum pause between two rounds of queries.
const SHORTEST: Duration = Duration::from_millis(100);
