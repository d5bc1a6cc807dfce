//! Asks a destination what became of the runs that it has.
//!
//! Owns: which runs are asked about, and how often. Must not know: what follows from a fate.

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

/// A request that was thought to be lost arrives within this many seconds after the one that took its place, or never.
const LATE: f64 = 30.0;

/// The runs of one destination.
pub(super) struct Poller {
    destination: Arc<Destination>,
    sending: Sending,
    /// By suggestion, what was told last.
    told: BTreeMap<String, Fate>,
    /// Suggestions that a person was told of, for the destination cannot say what became of them.
    untold: BTreeSet<String>,
    /// Suggestions of which it is known that the destination has them once.
    tidied: BTreeSet<String>,
}

impl Poller {
    pub(super) fn new(destination: Arc<Destination>, sending: Sending) -> Poller {
        let (told, untold, tidied) = Default::default();
        Poller { destination, sending, told, untold, tidied }
    }

    /// Asks until it is told to stop.
    pub(super) async fn run(mut self, mut open: watch::Receiver<OpenRuns>, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            let runs = open.borrow_and_update().clone();
            self.told.retain(|suggestion, _| runs.contains_key(suggestion));
            self.untold.retain(|suggestion| runs.contains_key(suggestion));
            self.tidied.retain(|suggestion| runs.contains_key(suggestion));
            let round = self.round(&runs);
            // What is being asked changes nothing, and may be broken off.
            tokio::select! {
                asked = round => if let Err(error) = asked {
                    if matches!(error, StoreError::Gone) {
                        return;
                    }
                    tracing::error!(destination = self.destination.name, %error, "fates could not be kept");
                    self.sending.metrics.store_errors.inc();
                },
                changed = stopped.changed() => if changed.is_err() { return },
            }
            let pause = async {
                if runs.is_empty() {
                    // An error says that the outbox was dropped, which the other branch notices.
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

    /// One look at each run. One that is not answered ends it: the destination is down, and each would wait as long.
    async fn round(&mut self, runs: &BTreeMap<String, CaseId>) -> Result<(), StoreError> {
        for (suggestion, case) in runs {
            if !self.look(suggestion, case).await? {
                break;
            }
        }
        Ok(())
    }

    /// Whether the destination answers.
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
                    "what became of a run is not told"
                );
                return Ok(false);
            }
            Some(Told::Cannot(why)) if self.untold.insert(suggestion.to_owned()) => {
                tracing::warn!(
                    destination = self.destination.name,
                    suggestion,
                    why,
                    "what became of a run is not told"
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

    /// Hands a fate over, where it is news.
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

/// A destination is left alone at least so long between two looks.
const SHORTEST: Duration = Duration::from_millis(100);
