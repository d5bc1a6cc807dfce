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
use crate::store::{Answer, Attempt, Delivery, DeliveryState, Store, StoreError, Tried, Which};

/// The longest sleep while something is due later: a clock that is set forward is noticed by then.
const LONGEST_SLEEP: f64 = 60.0;

/// The longest that a destination as a whole is left alone for its own failures: one message after the other may fail
/// for its own reason, and those behind it must get their try.
const LONGEST_PAUSE: f64 = 60.0;

/// The longest that a `Retry-After` keeps a destination from getting anything.
const LONGEST_ASKED_PAUSE: f64 = 3600.0;

pub(super) struct Worker {
    destination: Arc<Destination>,
    sending: Sending,
    /// Failures in a row, over all messages.
    failures: u32,
    /// By delivery, since when the destination says that it does not have it, in seconds since the Unix epoch. A process
    /// that starts anew asks anew.
    absent: BTreeMap<i64, f64>,
    /// Deliveries that wait for the site to mend something.
    blocked: BTreeSet<i64>,
}

/// What the worker does after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    /// Look for the next delivery at once.
    GoOn,
    /// Wait for this many seconds whatever comes in: the destination is down or asked for it.
    Pause(f64),
    /// Wait until something comes in, or for this many seconds.
    Sleep(Option<f64>),
}

impl Worker {
    /// A worker keeps the common pace, but for the age at which its destination's messages are given up.
    pub(super) fn new(destination: Arc<Destination>, mut sending: Sending) -> Worker {
        sending.pace.give_up = destination.give_up_after.unwrap_or(sending.pace.give_up);
        Worker { destination, sending, failures: 0, absent: BTreeMap::new(), blocked: BTreeSet::new() }
    }

    /// Works until it is told to stop; what is being sent then is finished and recorded.
    pub(super) async fn run(mut self, mut woken: watch::Receiver<u64>, mut stopped: watch::Receiver<bool>) {
        loop {
            woken.mark_unchanged();
            if *stopped.borrow() {
                return;
            }
            let then = match self.step().await {
                Ok(then) => then,
                Err(error @ StoreError::Gone) => {
                    tracing::error!(destination = self.destination.name, %error, "the outbox ends for a destination");
                    return;
                }
                Err(error) => {
                    tracing::error!(destination = self.destination.name, %error, "the outbox could not use the store");
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
            // An error says that the outbox was dropped, which is a stop as well.
            tokio::select! {
                () = sleep => {}
                changed = woken.changed(), if wakes => if changed.is_err() { return },
                changed = stopped.changed() => if changed.is_err() { return },
            }
        }
    }

    /// One delivery: leased alone, so that a crash leaves no more than this one in doubt.
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
            Err(StoreError::Gone) => return Err(StoreError::Gone),
            // Nothing was sent, but what was in doubt before still is.
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

    /// One try. What the destination calls the message is kept before anything follows it: a process that ends in between
    /// goes on from there, and asks nobody.
    async fn deliver(&self, delivery: &Delivery, earlier: &Earlier, now: f64) -> Result<Outcome, StoreError> {
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

    /// Remembers since when the destination says that it does not have a message.
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

    /// The operator is told once of what must be mended, at each try the daemon.
    fn blocked(&mut self, delivery: &Delivery, why: &str) {
        if self.blocked.insert(delivery.id) {
            let (destination, id) = (&self.destination.name, &delivery.message.id);
            tracing::error!(destination, id, why, "it is not taken until the site has mended something");
        }
        let (message_id, destination) = (delivery.message.id.clone(), self.destination.name.clone());
        drop(self.sending.reports.send(Report::Blocked { message_id, destination, why: why.to_owned() }));
    }

    /// A destination that can be asked is asked first; whether a message is held depends on what it says.
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
                let delivered = rows.iter().find(|row| row.state == DeliveryState::Delivered);
                reference = delivered.and_then(reference_of);
                // What it never got needs no cancelling.
                unwanted = delivered.is_none();
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
    async fn here(&self, message: String) -> Result<Vec<Delivery>, StoreError> {
        let rows = self.sending.store.with({
            let message = message.clone();
            move |store| store.history(Which { message: Some(&message), ..Which::default() })
        });
        let here = |row: &Delivery| row.destination == self.destination.name && row.message.id == message;
        Ok(rows.await?.into_iter().flatten().map(|owed| owed.delivery).filter(here).collect())
    }

    /// Whether it may have arrived before. A person may have had a delivery sent again that was in doubt, and it waits
    /// then like any other: its tries tell.
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
        let doubtful = tries.iter().any(|tried| tried.outcome == Some(DeliveryState::Unknown));
        Ok(if doubtful { Last::InDoubtButWanted } else { Last::NotThere })
    }

    async fn hold(&mut self, delivery: &Delivery, now: f64) -> Result<(), StoreError> {
        let before = delivery.answer.as_ref().map_or_else(|| "it may have arrived".to_owned(), Answer::to_string);
        let answer = Answer::Said(format!("{before}: not sent again, but held for a person to decide"));
        let tried = Tried { delivery: delivery.id, state: DeliveryState::Held, due: 0.0, answer };
        self.record(delivery.clone(), tried, now, false).await
    }

    /// Records what a try came to, and tells it after that.
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
            // Nobody listens any more when the daemon stops; the store has it.
            drop(self.sending.reports.send(report));
        }
        Ok(())
    }

    /// Keeps something. A store that fails for a while is asked until it answers: the destination may have the message, and
    /// only what is kept keeps it from getting it twice.
    async fn until_kept<F>(&self, keep: F) -> Result<(), StoreError>
    where
        F: Fn(&mut dyn Store) -> Result<(), StoreError> + Clone + Send + 'static,
    {
        for failures in 1.. {
            let keep = keep.clone();
            match self.sending.store.with(move |store| keep(store)).await {
                Ok(()) => break,
                Err(StoreError::Gone) => return Err(StoreError::Gone),
                Err(error) => {
                    tracing::error!(destination = self.destination.name, %error, "the outbox could not record a try");
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
                tracing::warn!(destination, id, attempts, answer, "not delivered yet, will be tried again");
            }
        }
    }

    /// A destination that is down is asked once in a while, not once a message; one that asked to be left alone is.
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

/// What the destination calls a message that it has.
fn reference_of(delivery: &Delivery) -> Option<String> {
    match Report::of(delivery)? {
        Report::Delivered { reference, .. } => reference,
        Report::Refused { .. } | Report::Blocked { .. } | Report::Dead { .. } => None,
    }
}
