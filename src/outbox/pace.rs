//! When to retry a delivery, and when to give it up.
//!
//! Owns: computation of delays and the choice of the next state; pure. Must not know: the store, properties of
//! destinations.

use std::time::Duration;

use super::answer_of;
use crate::case::MessageKind;
use crate::destinations::{OnUnknown, Outcome};
use crate::store::{Delivery, DeliveryState, Tried};

/// The retry schedule of a worker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// The delay after the first failure; doubles after each further failure.
    pub first: Duration,
    /// The maximum delay between two attempts.
    pub most: Duration,
    /// The age of a message after which a failed attempt is the last.
    pub give_up: Duration,
    /// Minimum number of attempts regardless of age, for example when nextrun itself was stopped for days.
    pub least_tries: u32,
}

impl Default for Pace {
    /// From 5 s, doubling, up to one hour; three days, which includes a weekend; the ten attempts take about 43
    /// minutes.
    fn default() -> Self {
        Pace {
            first: Duration::from_secs(5),
            most: Duration::from_secs(3600),
            give_up: Duration::from_secs(3 * 24 * 3600),
            least_tries: 10,
        }
    }
}

/// The maximum accepted `Retry-After`; larger values are probably mistakes of the receiver.
const MOST_ASKED: Duration = Duration::from_secs(24 * 3600);

/// The maximum delay for problems that the operator must fix, so that a fix takes effect soon.
const MOST_MENDED: Duration = Duration::from_secs(60);

impl Pace {
    /// The delay after `failures` consecutive failures (at least one), in seconds. `chance`, in [0, 1), spreads it over
    /// its upper half, so that messages do not return at the same moment.
    pub(super) fn wait(&self, failures: u32, chance: f64) -> f64 {
        // 2^1023 is still finite, and the cap applies.
        let doublings = i32::try_from(failures.saturating_sub(1)).unwrap_or(1023).min(1023);
        let wait = (self.first.as_secs_f64() * 2f64.powi(doublings)).min(self.most.as_secs_f64());
        wait * (0.5 + chance / 2.0)
    }

    /// The next state of a delivery after an attempt. `now` is in seconds since the Unix epoch.
    pub(super) fn judge(&self, delivery: &Delivery, outcome: &Outcome, on_unknown: OnUnknown, at: Moment) -> Tried {
        let too_old = at.now - delivery.message.time >= self.give_up.as_secs_f64();
        let last = too_old && delivery.attempts >= self.least_tries;
        let wait = self.wait(delivery.attempts, at.chance);
        let suggested = delivery.message.kind() == MessageKind::RunSuggested;
        let (state, due) = match outcome {
            Outcome::Delivered { .. } => (DeliveryState::Delivered, 0.0),
            Outcome::Refused { .. } => (DeliveryState::Refused, 0.0),
            Outcome::Permanent { .. } | Outcome::Dropped { .. } => (DeliveryState::Dead, 0.0),
            // A case that waits for the site to fix a problem waits as long as necessary.
            Outcome::Site { in_doubt, .. } if suggested || !last => {
                let state = if *in_doubt { DeliveryState::Unknown } else { DeliveryState::Pending };
                (state, at.now + wait.min(MOST_MENDED.as_secs_f64()))
            }
            Outcome::Site { .. } => (DeliveryState::Dead, 0.0),
            Outcome::Settling { after, .. } => (DeliveryState::Unknown, at.now + after.as_secs_f64()),
            Outcome::Held { .. } => (DeliveryState::Held, 0.0),
            Outcome::Unknown { .. } if on_unknown == OnUnknown::Hold => (DeliveryState::Held, 0.0),
            Outcome::Later { .. } | Outcome::Unknown { .. } if last => (DeliveryState::Dead, 0.0),
            Outcome::Unknown { .. } => (DeliveryState::Unknown, at.now + wait),
            Outcome::Later { after, .. } => (
                DeliveryState::Pending,
                at.now + wait.max(after.map_or(0.0, |after| after.min(MOST_ASKED).as_secs_f64())),
            ),
        };
        Tried { delivery: delivery.id, state, due, answer: answer_of(outcome) }
    }
}

/// External inputs of an attempt, read once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Seconds since the Unix epoch.
    pub(super) now: f64,
    /// A random number in [0, 1).
    pub(super) chance: f64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::case::{Body, CaseId, Message};

    const DAY: f64 = 86_400.0;

    fn delivery(attempts: u32) -> Delivery {
        let case = CaseId("c1".into());
        let body = Body::RunSuggested(Box::default());
        let message = Message { id: "m1".into(), case, subject: "r".into(), time: 0.0, body };
        let state = DeliveryState::Pending;
        Delivery { id: 7, message, destination: "queue".into(), state, attempts, due: 0.0, answer: None }
    }

    fn judge(attempts: u32, outcome: &Outcome, on_unknown: OnUnknown, now: f64) -> (DeliveryState, f64) {
        let tried = Pace::default().judge(&delivery(attempts), outcome, on_unknown, Moment { now, chance: 0.0 });
        (tried.state, tried.due)
    }

    fn later(seconds: Option<u64>) -> Outcome {
        Outcome::Later { after: seconds.map(Duration::from_secs), why: "busy".into() }
    }

    #[test]
    fn each_outcome_has_its_state() {
        use DeliveryState::{Dead, Delivered, Held, Pending, Refused, Unknown};
        use OnUnknown::{Hold, Resend};
        let unknown = || Outcome::Unknown { why: "time-out".into() };
        let site = |in_doubt| Outcome::Site { in_doubt, why: "401".into() };
        let permanent = || Outcome::Permanent { why: "404".into() };
        for (attempts, outcome, on_unknown, now, want) in [
            (1, Outcome::Delivered { reference: None }, Resend, 9.0 * DAY, (Delivered, 0.0)),
            (1, Outcome::Refused { unknown_knobs: vec![], why: String::new() }, Resend, 1.0, (Refused, 0.0)),
            (1, permanent(), Resend, 1.0, (Dead, 0.0)),
            (1, Outcome::Dropped { why: "cancelled".into() }, Resend, 1.0, (Dead, 0.0)),
            (1, site(false), Resend, 100.0, (Pending, 102.5)),
            (1, site(true), Resend, 100.0, (Unknown, 102.5)),
            (50, site(false), Resend, 9.0 * DAY, (Pending, 9.0 * DAY + 60.0)),
            (
                50,
                Outcome::Settling { after: Duration::from_secs(20), why: String::new() },
                Resend,
                100.0,
                (Unknown, 120.0),
            ),
            (1, later(None), Resend, 100.0, (Pending, 102.5)),
            (3, later(None), Resend, 100.0, (Pending, 110.0)),
            (1, later(Some(60)), Resend, 100.0, (Pending, 160.0)),
            (1, later(Some(1)), Resend, 100.0, (Pending, 102.5)),
            (1, later(Some(u64::MAX)), Resend, 100.0, (Pending, 100.0 + DAY)),
            (1, unknown(), Resend, 100.0, (Unknown, 102.5)),
            (1, unknown(), Hold, 100.0, (Held, 0.0)),
            (50, unknown(), Hold, 9.0 * DAY, (Held, 0.0)),
            (1, Outcome::Held { why: "it cannot say".into() }, Resend, 100.0, (Held, 0.0)),
            (10, later(None), Resend, 3.0 * DAY, (Dead, 0.0)),
            (10, unknown(), Resend, 3.0 * DAY, (Dead, 0.0)),
            (9, later(None), Resend, 3.0 * DAY, (Pending, 3.0 * DAY + 640.0)),
            (50, later(None), Resend, 3.0 * DAY - 1.0, (Pending, 3.0 * DAY - 1.0 + 1800.0)),
        ] {
            assert_eq!(judge(attempts, &outcome, on_unknown, now), want, "{attempts} {outcome:?} {on_unknown:?} {now}");
        }
    }

    proptest! {
        #[test]
        fn waits_grow_to_the_cap_and_no_further(failures in 0u32.., chance in 0.0..1.0f64) {
            let pace = Pace::default();
            let wait = pace.wait(failures, chance);
            prop_assert!((2.5..=3600.0).contains(&wait), "{}", wait);
            prop_assert!(pace.wait(failures.saturating_add(1), chance) >= wait);
        }
    }
}
