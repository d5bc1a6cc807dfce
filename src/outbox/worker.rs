//! The worker of one destination.
//!
//! Owns: its loop: lease, send, record, wait. Must not know: other destinations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::pace::Moment;
use super::{Report, Sending};
use crate::case::{Body, RunCancelled};
use crate::destinations::{Destination, Earlier, Last, OnUnknown, Outcome, Step};
use crate::fault;
use crate::store::{Answer, Attempt, Delivery, DeliveryState, Owed, Store, StoreError, Tried, Which};

/// The maximum sleep while a delivery is due later, so that a clock change is detected by then.
const LONGEST_SLEEP: f64 = 60.0;

/// The maximum pause of a destination after consecutive failures: messages may fail for their own reasons, and those
/// behind them must be attempted.
const LONGEST_PAUSE: f64 = 60.0;

/// The maximum time for which `Retry-After` can pause a destination.
const LONGEST_ASKED_PAUSE: f64 = 3600.0;

pub(super) struct Worker {
    destination: Arc<Destination>,
    sending: Sending,
    /// Consecutive failures over all messages.
    failures: u32,
    /// By delivery: since when the destination has reported that it does not have the message, in seconds since the
    /// Unix epoch. Not persisted.
    absent: BTreeMap<i64, f64>,
    /// Deliveries that wait for the site to fix a problem.
    blocked: BTreeSet<i64>,
}

/// What the worker does next.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    /// Looks for the next delivery immediately.
    GoOn,
    /// Pauses for this many seconds regardless of new messages: the destination is down or asked for a pause.
    Pause(f64),
    /// Waits for new messages, or for this many seconds.
    Sleep(Option<f64>),
}

impl Worker {
    /// Workers share one schedule, except for the age at which their messages are given up.
    pub(super) fn new(destination: Arc<Destination>, mut sending: Sending) -> Worker {
        sending.pace.give_up = destination.give_up_after.unwrap_or(sending.pace.give_up);
        Worker { destination, sending, failures: 0, absent: BTreeMap::new(), blocked: BTreeSet::new() }
    }

    /// Works until it is stopped; the current request is finished and recorded.
    pub(super) async fn run(mut self, mut woken: watch::Receiver<u64>, mut stopped: watch::Receiver<bool>) {
        loop {
            woken.mark_unchanged();
            if *stopped.borrow() {
                return;
            }
            let then = match self.step().await {
                Ok(then) => then,
                Err(error) if error.is_final() => {
                    tracing::debug!(destination = self.destination.name, %error, "the outbox worker of a destination ended");
                    return;
                }
                Err(error) => {
                    tracing::error!(destination = self.destination.name, %error, "the outbox could not access the store");
                    self.sending.metrics.store_errors.inc();
                    self.failures = self.failures.saturating_add(1);
                    Then::Pause(self.pause(fastrand::f64()))
                }
            };
            let (seconds, wakes) = match then {
                Then::GoOn => continue,
                Then::Pause(seconds) => (Some(seconds), false),
                Then::Sleep(seconds) => (seconds, true),
            };
            let sleep = async {
                match seconds {
                    Some(seconds) => tokio::time::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default()).await,
                    None => std::future::pending().await,
                }
            };
            // An error means that the outbox was dropped, which is also a stop.
            tokio::select! {
                () = sleep => {}
                changed = woken.changed(), if wakes => if changed.is_err() { return },
                changed = stopped.changed() => if changed.is_err() { return },
            }
        }
    }

    /// One delivery, leased alone, so that a crash leaves at most this one in doubt.
    async fn step(&mut self) -> Result<Then, StoreError> {
        let now = (self.sending.clock)();
        let name = self.destination.name.clone();
        let leased = self.sending.store.with(move |store| store.lease(&name, now, 1)).await?;
        let Some(delivery) = leased.into_iter().next() else {
            let name = self.destination.name.clone();
            let due = self.sending.store.with(move |store| store.next_due(&name)).await?;
            return Ok(Then::Sleep(due.map(|due| (due - now).clamp(0.001, LONGEST_SLEEP))));
        };
        let on_unknown = self.on_unknown();
        if delivery.state == DeliveryState::Unknown && on_unknown == OnUnknown::Hold {
            self.hold(&delivery, now).await?;
            return Ok(Then::GoOn);
        }
        let outcome = match self.earlier(&delivery).await {
            Ok(earlier) => self.deliver(&delivery, &earlier, now).await?,
            Err(error) if error.is_final() => return Err(error),
            // Nothing was sent, but the earlier attempts are still in doubt.
            Err(error) if delivery.state == DeliveryState::Unknown => Outcome::Unknown { why: error.to_string() },
            Err(error) => Outcome::Later { after: None, why: error.to_string() },
        };
        let moment = Moment { now: (self.sending.clock)(), chance: fastrand::f64() };
        self.settle(&delivery, &outcome, moment.now);
        let tried = self.sending.pace.judge(&delivery, &outcome, on_unknown, moment);
        let labels = [self.destination.name.as_str(), tried.state.as_str()];
        self.sending.metrics.attempts.with_label_values(&labels).inc();
        if let Outcome::Site { why, .. } = &outcome {
            self.blocked(&delivery, why);
        }
        let dropped = matches!(outcome, Outcome::Dropped { .. });
        self.record(delivery, tried, moment.now, dropped).await?;
        Ok(self.after(&outcome, moment.chance))
    }

    /// One attempt. The destination's id for the message is stored before follow-up requests, so that a process that
    /// ends in between can continue without asking anyone.
    async fn deliver(&self, delivery: &Delivery, earlier: &Earlier, now: f64) -> Result<Outcome, StoreError> {
        self.sending.store.owned().await?;
        fault::point();
        let (_, step) = self.destination.submit(earlier, &delivery.message, now).await;
        fault::point();
        match step {
            Step::Done(outcome) => Ok(outcome),
            Step::Accepted { reference } => {
                if let Some(reference) = reference.clone().filter(|_| earlier.reference.is_none()) {
                    let id = delivery.id;
                    self.until_kept(move |store| store.accepted(id, &reference)).await?;
                }
                fault::point();
                let outcome = self.destination.follow(earlier, &delivery.message, reference.as_deref(), now).await;
                fault::point();
                Ok(outcome)
            }
        }
    }

    /// Remembers since when the destination has reported that it does not have a message.
    fn settle(&mut self, delivery: &Delivery, outcome: &Outcome, now: f64) {
        match outcome {
            Outcome::Settling { .. } => {
                self.absent.entry(delivery.id).or_insert(now);
            }
            Outcome::Unknown { .. } | Outcome::Site { .. } => {}
            _ => {
                self.absent.remove(&delivery.id);
            }
        }
    }

    /// Notifies the operator once about a problem to fix, and the daemon after each attempt.
    fn blocked(&mut self, delivery: &Delivery, why: &str) {
        if self.blocked.insert(delivery.id) {
            let (destination, id) = (&self.destination.name, &delivery.message.id);
            tracing::error!(
                destination,
                id,
                why,
                "the destination will not accept it until an administrator fixes the problem"
            );
        }
        let (message_id, destination) = (delivery.message.id.clone(), self.destination.name.clone());
        drop(self.sending.reports.send(Report::Blocked { message_id, destination, why: why.to_owned() }));
    }

    /// A destination that can be queried is queried first; the response decides whether a message is held.
    fn on_unknown(&self) -> OnUnknown {
        if self.destination.can_be_asked() { OnUnknown::Resend } else { self.destination.on_unknown }
    }

    async fn earlier(&self, delivery: &Delivery) -> Result<Earlier, StoreError> {
        let last = self.last(delivery).await?;
        let id = delivery.id;
        let mut reference = self.sending.store.with(move |store| store.reference(id)).await?;
        let mut unwanted = false;
        match &delivery.message.body {
            Body::RunSuggested(_) => {
                let cancelled = RunCancelled::id_for(&delivery.message.id);
                unwanted = !self.here(cancelled).await?.is_empty();
            }
            Body::RunCancelled(cancelled) => {
                let rows = self.here(cancelled.suggestion_id.clone()).await?;
                let delivered = rows.iter().find(|row| row.delivery.state == DeliveryState::Delivered);
                reference = delivered.and_then(|row| reference_of(&row.delivery));
                // A message that never arrived needs no cancellation. Without an answer, it may have arrived, unless the
                // destination said that it had not.
                let in_doubt = rows.iter().flat_map(|row| &row.tries).any(is_in_doubt);
                unwanted = delivered.is_none() && (self.destination.can_be_asked() || !in_doubt);
            }
            Body::CaseOpened(_)
            | Body::StopSuggested(_)
            | Body::ApprovalAsked(_)
            | Body::QuestionAsked(_)
            | Body::Notice(_)
            | Body::CaseClosed(_)
            | Body::Digest(_) => {}
        }
        let absent_since = self.absent.get(&delivery.id).copied();
        let earlier = Earlier { thread: None, last, reference, absent_since, unwanted };
        if !self.destination.threads() {
            return Ok(earlier);
        }
        let (case, name) = (delivery.message.case.clone(), self.destination.name.clone());
        let delivered = Some(DeliveryState::Delivered);
        let delivered = self.sending.store.with(move |store| store.deliveries(Some(&case), delivered)).await?;
        let here = delivered.iter().rev().filter(|row| row.destination == name);
        Ok(Earlier { thread: here.filter_map(reference_of).next(), ..earlier })
    }

    /// The deliveries of a message to this destination.
    async fn here(&self, message: String) -> Result<Vec<Owed>, StoreError> {
        let rows = self.sending.store.with({
            let message = message.clone();
            move |store| store.history(Which { message: Some(&message), ..Which::default() })
        });
        let here = |Owed { delivery, .. }: &Owed| {
            delivery.destination == self.destination.name && delivery.message.id == message
        };
        Ok(rows.await?.into_iter().flatten().filter(here).collect())
    }

    /// Whether it may have arrived before. After a person resends a delivery in doubt, it waits like any other; its
    /// attempts show this.
    async fn last(&self, delivery: &Delivery) -> Result<Last, StoreError> {
        if delivery.state == DeliveryState::Unknown {
            return Ok(Last::InDoubt);
        }
        if !self.destination.can_be_asked() || delivery.attempts <= 1 {
            return Ok(Last::NotThere);
        }
        let id = delivery.id;
        let rows =
            self.sending.store.with(move |store| store.history(Which { delivery: Some(id), ..Which::default() }));
        let tries: Vec<Attempt> = rows.await?.into_iter().flatten().flat_map(|owed| owed.tries).collect();
        let doubtful = tries.iter().any(is_in_doubt);
        Ok(if doubtful { Last::InDoubtButWanted } else { Last::NotThere })
    }

    async fn hold(&mut self, delivery: &Delivery, now: f64) -> Result<(), StoreError> {
        let before = delivery.answer.as_ref().map_or_else(|| "it may have arrived".to_owned(), Answer::to_string);
        let answer = Answer::Said(format!("{before}: not sent again; held for a person to decide"));
        let tried = Tried { delivery: delivery.id, state: DeliveryState::Held, due: 0.0, answer };
        self.record(delivery.clone(), tried, now, false).await
    }

    /// Records the result of an attempt, then reports it.
    async fn record(&mut self, delivery: Delivery, tried: Tried, now: f64, dropped: bool) -> Result<(), StoreError> {
        let row = tried.clone();
        self.until_kept(move |store| store.tried(&row, now)).await?;
        if matches!(tried.state, DeliveryState::Delivered | DeliveryState::Refused | DeliveryState::Dead) {
            self.blocked.remove(&delivery.id);
        }
        if dropped {
            tracing::info!(destination = self.destination.name, id = delivery.message.id, "not sent: it was cancelled");
        } else {
            self.log(&delivery, &tried);
        }
        let ended = Delivery { state: tried.state, due: tried.due, answer: Some(tried.answer), ..delivery };
        if let Some(report) = Report::of(&ended) {
            // When the daemon stops, nobody listens any more; the store has the result.
            drop(self.sending.reports.send(report));
        }
        Ok(())
    }

    /// Stores a value, retrying while the store fails: the destination may have the message, and only the record
    /// prevents a duplicate.
    async fn until_kept<F>(&self, keep: F) -> Result<(), StoreError>
    where
        F: Fn(&mut dyn Store) -> Result<(), StoreError> + Clone + Send + 'static,
    {
        for failures in 1.. {
            let keep = keep.clone();
            match self.sending.store.with(move |store| keep(store)).await {
                Ok(()) => break,
                Err(error) if error.is_final() => return Err(error),
                Err(error) => {
                    tracing::error!(destination = self.destination.name, %error, "the outbox could not record an attempt");
                    self.sending.metrics.store_errors.inc();
                    let wait = self.sending.pace.wait(failures, fastrand::f64()).min(LONGEST_PAUSE);
                    tokio::time::sleep(Duration::from_secs_f64(wait)).await;
                }
            }
        }
        Ok(())
    }

    fn log(&self, delivery: &Delivery, tried: &Tried) {
        let (destination, id) = (&self.destination.name, &delivery.message.id);
        let (attempts, answer) = (delivery.attempts, tried.answer.to_string());
        match tried.state {
            DeliveryState::Delivered => tracing::info!(destination, id, attempts, "delivered"),
            DeliveryState::Refused => tracing::warn!(destination, id, answer, "refused"),
            DeliveryState::Dead => tracing::error!(destination, id, attempts, answer, "given up"),
            DeliveryState::Held => {
                tracing::warn!(destination, id, answer, "may have arrived; held for a person to decide");
            }
            DeliveryState::Unknown | DeliveryState::Pending | DeliveryState::Sending => {
                tracing::warn!(destination, id, attempts, answer, "not delivered yet; will retry");
            }
        }
    }

    /// A destination that is down gets one request from time to time, not one per message. A requested pause is
    /// honoured.
    fn after(&mut self, outcome: &Outcome, chance: f64) -> Then {
        match outcome {
            Outcome::Delivered { .. }
            | Outcome::Refused { .. }
            | Outcome::Held { .. }
            | Outcome::Settling { .. }
            | Outcome::Dropped { .. }
            | Outcome::Permanent { .. } => {
                self.failures = 0;
                Then::GoOn
            }
            Outcome::Later { after, .. } => {
                self.failures = self.failures.saturating_add(1);
                let asked = after.map_or(0.0, |after| after.as_secs_f64());
                Then::Pause(self.pause(chance).max(asked.min(LONGEST_ASKED_PAUSE)))
            }
            Outcome::Unknown { .. } | Outcome::Site { .. } => {
                self.failures = self.failures.saturating_add(1);
                Then::Pause(self.pause(chance))
            }
        }
    }

    fn pause(&self, chance: f64) -> f64 {
        self.sending.pace.wait(self.failures, chance).min(LONGEST_PAUSE)
    }
}

/// Whether the outcome of an attempt is unknown.
fn is_in_doubt(attempt: &Attempt) -> bool {
    attempt.outcome == Some(DeliveryState::Unknown)
}

/// The destination's id for a message that it has received.
fn reference_of(delivery: &Delivery) -> Option<String> {
    match Report::of(delivery)? {
        Report::Delivered { reference, .. } => reference,
        Report::Refused { .. } | Report::Blocked { .. } | Report::Dead { .. } => None,
    }
}
