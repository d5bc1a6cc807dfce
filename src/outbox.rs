//! Sends pending messages: one worker per destination leases, sends, records and retries.
//!
//! Owns: when to retry, when to give up, what to report. Must not know: the reason for a suggestion, SQL, HTTP.
//!
//! Guarantees: a committed message is never lost; it keeps its id in every attempt; it is not sent again after a
//! recorded success; a slow or unavailable destination does not delay others. A message that may have arrived is sent
//! again to destinations that recognise its id; for others, the site decides.

mod explain;
mod fates;
mod pace;
mod worker;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use explain::{Presence, Unsent, explain, explain_wait};
pub use fates::OpenRuns;
pub use pace::Pace;

use crate::case::CaseId;
use crate::destinations::{Destination, Outcome};
use crate::fate::Fate;
use crate::store::{Answer, Commit, Delivery, DeliveryState, SharedStore, StoreError, Wish};
use crate::telemetry::Metrics;
use fates::Poller;
use worker::Worker;

/// Clock in seconds since the Unix epoch, replaceable in tests.
pub type Clock = Arc<dyn Fn() -> f64 + Send + Sync>;

/// A report to the daemon about a delivery that has ended. The store records it first.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// The destination has received it.
    Delivered {
        /// The message (for a suggested run, the suggestion).
        message_id: String,
        /// The destination.
        destination: String,
        /// The destination's id for it, such as a job id.
        reference: Option<String>,
    },
    /// The script does not support these knobs.
    Refused {
        /// The message (for a suggested run, the suggestion).
        message_id: String,
        /// The destination.
        destination: String,
        /// By canonical name.
        unknown_knobs: Vec<String>,
        /// The text of the response.
        why: String,
    },
    /// An administrator must fix a problem before the destination accepts it; it is retried until then. Reported after
    /// each attempt.
    Blocked {
        /// The message (for a suggested run, the suggestion).
        message_id: String,
        /// The destination.
        destination: String,
        /// The response, and what to do.
        why: String,
    },
    /// It was given up.
    Dead {
        /// The message (for a suggested run, the suggestion).
        message_id: String,
        /// The destination.
        destination: String,
        /// The last response or error.
        why: String,
    },
}

impl Report {
    /// The report for a stored delivery that has ended; `None` for any other delivery. A report recorded before a crash
    /// may not have been processed.
    pub fn of(delivery: &Delivery) -> Option<Report> {
        let (message_id, destination) = (delivery.message.id.clone(), delivery.destination.clone());
        let words = || delivery.answer.as_ref().map(Answer::to_string).unwrap_or_default();
        match delivery.state {
            DeliveryState::Delivered => {
                let reference = delivery.answer.as_ref().and_then(Answer::reference).map(str::to_owned);
                Some(Report::Delivered { message_id, destination, reference })
            }
            DeliveryState::Refused => {
                let (unknown_knobs, why) = match &delivery.answer {
                    Some(Answer::Refused { unknown_knobs, why }) => (unknown_knobs.clone(), why.clone()),
                    Some(Answer::Accepted { .. } | Answer::Said(_)) | None => (Vec::new(), words()),
                };
                Some(Report::Refused { message_id, destination, unknown_knobs, why })
            }
            DeliveryState::Dead => Some(Report::Dead { message_id, destination, why: words() }),
            DeliveryState::Pending | DeliveryState::Sending | DeliveryState::Unknown | DeliveryState::Held => None,
        }
    }
}

/// The function that passes a job status to the daemon.
fn fate_of(case: &CaseId, suggestion: &str, fate: &Fate) -> Commit {
    let wish = Wish::FateOfExperiment { suggestion: suggestion.to_owned(), fate: fate.clone() };
    Commit { requests: vec![(Some(case.clone()), wish)], ..Commit::default() }
}

/// The result as stored; [`Report::of`] reads it back.
fn answer_of(outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::Delivered { reference } => Answer::Accepted { reference: reference.clone() },
        Outcome::Refused { unknown_knobs, why } => {
            Answer::Refused { unknown_knobs: unknown_knobs.clone(), why: why.clone() }
        }
        Outcome::Later { why, .. }
        | Outcome::Unknown { why }
        | Outcome::Held { why }
        | Outcome::Site { why, .. }
        | Outcome::Settling { why, .. }
        | Outcome::Dropped { why }
        | Outcome::Permanent { why } => Answer::Said(why.clone()),
    }
}

/// All refusals and dead letters in the store, oldest first. Read at the start, so that none is lost between recording
/// and processing.
///
/// # Errors
/// The store failed.
pub async fn bad_ends(store: &SharedStore) -> Result<Vec<Report>, StoreError> {
    let mut ended = store.with(|store| store.deliveries(None, Some(DeliveryState::Refused))).await?;
    ended.extend(store.with(|store| store.deliveries(None, Some(DeliveryState::Dead))).await?);
    ended.sort_by_key(|delivery| delivery.id);
    Ok(ended.iter().filter_map(Report::of).collect())
}

/// The workers of all destinations.
#[derive(Debug)]
pub struct Outbox {
    sending: Sending,
    wake: watch::Sender<u64>,
    open: watch::Sender<OpenRuns>,
    running: BTreeMap<String, Running>,
    workers: JoinSet<()>,
    runtime: Handle,
}

/// A running worker.
#[derive(Debug)]
struct Running {
    destination: Arc<Destination>,
    stop: watch::Sender<bool>,
}

/// Data shared by all workers.
#[derive(Clone)]
pub struct Sending {
    /// The store for deliveries.
    pub store: SharedStore,
    /// When to retry.
    pub pace: Pace,
    /// The clock.
    pub clock: Clock,
    /// Channel for reports.
    pub reports: mpsc::UnboundedSender<Report>,
    /// Counter of attempts.
    pub metrics: Arc<Metrics>,
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("pace", &self.pace).finish_non_exhaustive()
    }
}

impl Outbox {
    /// Starts one worker per destination on the current runtime. First call [`crate::store::Store::recover`] to mark
    /// the deliveries that an earlier process left unfinished.
    pub fn start(destinations: Vec<Destination>, sending: &Sending) -> Outbox {
        let ((wake, _), (open, _)) = (watch::channel(0), watch::channel(OpenRuns::default()));
        let (sending, runtime) = (sending.clone(), Handle::current());
        let mut outbox = Outbox { sending, wake, open, running: BTreeMap::new(), workers: JoinSet::new(), runtime };
        outbox.replace(destinations);
        outbox
    }

    /// Uses these destinations from now on. Unchanged destinations are not interrupted. A removed or changed
    /// destination finishes and records its current request and starts no others. Its remaining deliveries wait for a
    /// destination of that name; a changed destination continues with them at once, because only one worker can hold a
    /// lease.
    pub fn replace(&mut self, destinations: Vec<Destination>) {
        let mut before = std::mem::take(&mut self.running);
        let like = |running: &Running| destinations.iter().any(|destination| running.destination.is_like(destination));
        for ended in before.extract_if(.., |_, running| !like(running)).map(|(_, running)| running) {
            ended.stop.send_replace(true);
        }
        for destination in destinations {
            let name = destination.name.clone();
            let running = before.remove(&name).unwrap_or_else(|| self.begin(destination));
            self.running.insert(name, running);
        }
        while self.workers.try_join_next().is_some() {}
    }

    fn begin(&mut self, destination: Destination) -> Running {
        let (stop, stopped) = watch::channel(false);
        let destination = Arc::new(destination);
        let worker = Worker::new(destination.clone(), self.sending.clone());
        if destination.tells_fates() {
            let poller = Poller::new(destination.clone(), self.sending.clone());
            self.workers.spawn_on(poller.run(self.open.subscribe(), stopped.clone()), &self.runtime);
        }
        self.workers.spawn_on(worker.run(self.wake.subscribe(), stopped), &self.runtime);
        Running { destination, stop }
    }

    /// Notifies the workers about new messages.
    pub fn wake(&self) {
        self.wake.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Sets the suggestions that cases wait for; destinations that can report their status are queried.
    pub fn wait_for(&self, runs: &OpenRuns) {
        self.open.send_if_modified(|open| {
            let changed = open != runs;
            if changed {
                open.clone_from(runs);
            }
            changed
        });
    }

    /// Stops: finishes and records current requests and starts no new ones. This takes at most the client's timeout. A
    /// caller that cannot wait may drop this instead; requests in progress are then `Unknown` at the next start.
    pub async fn stop(mut self) {
        for running in self.running.values() {
            running.stop.send_replace(true);
        }
        while self.workers.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Body, CaseId, Message};

    #[test]
    fn an_end_reads_back_as_it_was_told() {
        let (message_id, destination) = ("m1".to_owned(), "queue".to_owned());
        let knobs = vec!["batch_norm".to_owned()];
        let why = || "train.py has no --batch-norm".to_owned();
        for (outcome, state, report) in [
            (
                Outcome::Delivered { reference: Some("17".into()) },
                DeliveryState::Delivered,
                Some(Report::Delivered {
                    message_id: message_id.clone(),
                    destination: destination.clone(),
                    reference: Some("17".into()),
                }),
            ),
            (
                Outcome::Refused { unknown_knobs: knobs.clone(), why: why() },
                DeliveryState::Refused,
                Some(Report::Refused {
                    message_id: message_id.clone(),
                    destination: destination.clone(),
                    unknown_knobs: knobs,
                    why: why(),
                }),
            ),
            (
                Outcome::Permanent { why: why() },
                DeliveryState::Dead,
                Some(Report::Dead { message_id: message_id.clone(), destination: destination.clone(), why: why() }),
            ),
            (Outcome::Later { after: None, why: why() }, DeliveryState::Pending, None),
        ] {
            let (case, body) = (CaseId("c1".into()), Body::RunSuggested(Box::default()));
            let message = Message { id: message_id.clone(), case, subject: "r".into(), time: 0.0, body };
            let answer = Some(answer_of(&outcome));
            let destination = destination.clone();
            let delivery = Delivery { id: 1, message, destination, state, attempts: 1, due: 0.0, answer };
            assert_eq!(Report::of(&delivery), report);
        }
    }
}
