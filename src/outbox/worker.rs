//! The worker of one destination.
//!
//! Owns: its loop: lease, send, record, wait. Must not know: other destinations.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::pace::Moment;
use super::{Report, Sending};
use crate::destinations::{Destination, Earlier, Last, OnUnknown, Outcome};
use crate::fault;
use crate::store::{Answer, Attempt, Delivery, DeliveryState, StoreError, Tried, Which};

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
        Worker { destination, sending, failures: 0 }
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
            Ok(earlier) => {
                fault::point();
                let outcome = self.destination.deliver_after(&earlier, &delivery.message, now).await;
                fault::point();
                outcome
            }
            Err(StoreError::Gone) => return Err(StoreError::Gone),
            // Nothing was sent, but what was in doubt before still is.
            Err(error) if delivery.state == DeliveryState::Unknown => Outcome::Unknown { why: error.to_string() },
            Err(error) => Outcome::Later { after: None, why: error.to_string() },
        };
        let moment = Moment { now: (self.sending.clock)(), chance: fastrand::f64() };
        let tried = self.sending.pace.judge(&delivery, &outcome, on_unknown, moment);
        let labels = [self.destination.name.as_str(), tried.state.as_str()];
        self.sending.metrics.attempts.with_label_values(&labels).inc();
        self.record(delivery, tried, moment.now).await?;
        Ok(self.after(&outcome, moment.chance))
    }

    /// A destination that can be asked is asked first; whether a message is held depends on what it says.
    fn on_unknown(&self) -> OnUnknown {
        if self.destination.can_be_asked() { OnUnknown::Resend } else { self.destination.on_unknown }
    }

    async fn earlier(&self, delivery: &Delivery) -> Result<Earlier, StoreError> {
        let last = self.last(delivery).await?;
        if !self.destination.threads() {
            return Ok(Earlier { thread: None, last });
        }
        let (case, name) = (delivery.message.case.clone(), self.destination.name.clone());
        let delivered = Some(DeliveryState::Delivered);
        let delivered = self.sending.store.with(move |store| store.deliveries(Some(&case), delivered)).await?;
        let here = delivered.iter().rev().filter(|row| row.destination == name);
        let thread = here.filter_map(Report::of).find_map(|report| match report {
            Report::Delivered { reference, .. } => reference,
            Report::Refused { .. } | Report::Dead { .. } => None,
        });
        Ok(Earlier { thread, last })
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

    async fn hold(&self, delivery: &Delivery, now: f64) -> Result<(), StoreError> {
        let before = delivery.answer.as_ref().map_or_else(|| "it may have arrived".to_owned(), Answer::to_string);
        let answer = Answer::Said(format!("{before}: not sent again, but held for a person to decide"));
        let tried = Tried { delivery: delivery.id, state: DeliveryState::Held, due: 0.0, answer };
        self.record(delivery.clone(), tried, now).await
    }

    /// Records what a try came to, and tells it after that. A store that fails for a while is asked until it answers:
    /// the destination may have the message, and only the record keeps it from getting it twice.
    async fn record(&self, delivery: Delivery, tried: Tried, now: f64) -> Result<(), StoreError> {
        for failures in 1.. {
            let row = tried.clone();
            match self.sending.store.with(move |store| store.tried(&row, now)).await {
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
        self.log(&delivery, &tried);
        let ended = Delivery { state: tried.state, due: tried.due, answer: Some(tried.answer), ..delivery };
        if let Some(report) = Report::of(&ended) {
            // Nobody listens any more when the daemon stops; the store has it.
            drop(self.sending.reports.send(report));
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
            Outcome::Delivered { .. } | Outcome::Refused { .. } | Outcome::Held { .. } | Outcome::Permanent { .. } => {
                self.failures = 0;
                Then::GoOn
            }
            Outcome::Later { after, .. } => {
                self.failures = self.failures.saturating_add(1);
                let asked = after.map_or(0.0, |after| after.as_secs_f64());
                Then::Pause(self.pause(chance).max(asked.min(LONGEST_ASKED_PAUSE)))
            }
            Outcome::Unknown { .. } => {
                self.failures = self.failures.saturating_add(1);
                Then::Pause(self.pause(chance))
            }
        }
    }

    fn pause(&self, chance: f64) -> f64 {
        self.sending.pace.wait(self.failures, chance).min(LONGEST_PAUSE)
    }
}
