//! Explains in words why a message was sent, is pending, or was given up.
//!
//! Owns: the reasons. Must not know: the store, how they are displayed.

use jiff::Timestamp;
use serde_json::Value;

use crate::store::{Answer, Delivery, DeliveryState, JournalEntry, Owed, Wait};

/// What is known about the destination of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The configuration contains it.
    Configured,
    /// The configuration was read and does not contain it.
    Gone,
    /// No configuration was given.
    NotLooked,
}

/// Explains the state of a delivery. `others` are the deliveries of its case, possibly including itself; `now` is in
/// seconds since the Unix epoch.
pub fn explain(owed: &Owed, others: &[Owed], presence: Presence, now: f64) -> String {
    let delivery = &owed.delivery;
    let answer = delivery.answer.as_ref().map_or_else(|| "no response yet".to_owned(), Answer::to_string);
    let since = time(owed.changed);
    let tries = tries(delivery.attempts);
    match delivery.state {
        DeliveryState::Delivered => format!("sent: delivered at {since} after {tries}; {answer}"),
        DeliveryState::Refused => {
            format!("permanently refused at {since}: {answer}; its case skipped the step")
        }
        DeliveryState::Dead => format!(
            "given up at {since} after {tries}: {answer}; `nextrun outbox resend {}` sends it again",
            delivery.id
        ),
        DeliveryState::Sending => format!("being sent since {since}: {tries}"),
        DeliveryState::Held => format!(
            "held since {since}: it may have arrived ({answer}) and would be shown twice; `nextrun outbox resend \
             {id}` sends it again, `nextrun outbox drop {id}` discards it",
            id = delivery.id
        ),
        DeliveryState::Pending | DeliveryState::Unknown => waiting(owed, others, presence, now),
    }
}

/// Explains why a message has no delivery yet. `now` is in seconds since the Unix epoch.
pub fn explain_wait(wait: &Wait, presence: Presence, now: f64) -> String {
    let Wait { destination, until, why, .. } = wait;
    match presence {
        Presence::Gone => format!("not sent: the configuration has no destination {destination}; add it again"),
        _ if *until > now => format!("not sent yet: delayed until {}: {why}", time(*until)),
        _ => format!("delayed: {why}; the running daemon will send it, alone or in a digest, once nothing blocks it"),
    }
}

/// Journal entry of a case about a message without its own delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsent {
    /// It was sent with others in this message.
    Digested(String),
    /// It is never sent; the reason in words.
    Silenced(String),
    /// A person withdrew it while it was delayed; the reason in words.
    Dropped(String),
}

impl Unsent {
    /// Reads a journal entry; most entries are about something else.
    pub fn of(entry: &JournalEntry) -> Option<Unsent> {
        let text = |key: &str| entry.detail.get(key).and_then(Value::as_str).unwrap_or("?");
        match entry.kind.as_str() {
            "digested" => Some(Unsent::Digested(text("digest").to_owned())),
            "silenced" => Some(Unsent::Silenced(format!(
                "not sent: suppressed by silence {} of {}: {}",
                text("silence"),
                text("by"),
                text("why")
            ))),
            "dropped" => Some(Unsent::Dropped(format!("not sent: dropped manually: {}", text("why")))),
            _ => None,
        }
    }
}

fn waiting(owed: &Owed, others: &[Owed], presence: Presence, now: f64) -> String {
    let delivery = &owed.delivery;
    let failed = match &delivery.answer {
        Some(answer) => format!("{} failed, the last at {}: {answer}", tries(delivery.attempts), time(owed.changed)),
        None => "not attempted yet".to_owned(),
    };
    if presence == Presence::Gone {
        return format!(
            "not sent: the configuration has no destination {}; add it again, or run `nextrun outbox drop {}`",
            delivery.destination, delivery.id
        );
    }
    if let Some(earlier) =
        others.iter().map(|owed| &owed.delivery).filter(|other| blocks(other, delivery)).min_by_key(|d| d.id)
    {
        return format!(
            "not sent yet: waits for delivery {} ({}) of the same case, so that messages arrive in order",
            earlier.id,
            earlier.message.kind().event_type()
        );
    }
    if delivery.due > now {
        return format!("not sent yet: {failed}; next attempt at {}", time(delivery.due));
    }
    format!("due now: {failed}; the running daemon will send it after the destination's back-off")
}

fn blocks(other: &Delivery, delivery: &Delivery) -> bool {
    let open = match other.state {
        DeliveryState::Pending | DeliveryState::Sending | DeliveryState::Unknown => true,
        DeliveryState::Held | DeliveryState::Delivered | DeliveryState::Refused | DeliveryState::Dead => false,
    };
    open && other.id < delivery.id
        && other.destination == delivery.destination
        && other.message.case == delivery.message.case
}

fn tries(count: u32) -> String {
    if count == 1 { "1 attempt".to_owned() } else { format!("{count} attempts") }
}

fn time(seconds: f64) -> String {
    // `as` saturates, and jiff rejects values out of its range.
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds of a time")]
    let time = Timestamp::from_second(seconds as i64);
    time.map_or_else(|_| "an unknown time".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::case::{Body, CaseId, CaseOpened, Message};

    fn owed(id: i64, state: DeliveryState, due: f64, answer: Option<&str>) -> Owed {
        let (case, body) = (CaseId("c1".into()), Body::CaseOpened(CaseOpened::default()));
        let message = Message { id: format!("m{id}"), case, subject: "r".into(), time: 0.0, body };
        let answer = answer.map(Answer::from);
        let attempts = u32::from(answer.is_some());
        let delivery = Delivery { id, message, destination: "team".into(), state, attempts, due, answer };
        Owed { delivery, changed: 60.0, tries: Vec::new() }
    }

    #[test]
    fn each_standing_has_its_reason_and_its_remedy() {
        use DeliveryState::{Dead, Delivered, Held, Pending, Refused, Sending, Unknown};
        let busy = Some("http://h answered 503");
        let earlier = owed(1, Pending, 500.0, busy);
        for (owed, place, words) in [
            (
                owed(2, Delivered, 0.0, Some("{}")),
                Presence::Configured,
                ["delivered at 1970-01-01T00:01:00Z", "1 attempt"],
            ),
            (owed(2, Refused, 0.0, Some("no --bn")), Presence::Configured, ["permanently refused", "no --bn"]),
            (owed(2, Dead, 0.0, busy), Presence::Configured, ["given up", "outbox resend 2"]),
            (owed(2, Sending, 0.0, busy), Presence::Configured, ["being sent since", "00:01:00"]),
            (owed(2, Held, 0.0, busy), Presence::Configured, ["may have arrived", "outbox drop 2"]),
            (owed(2, Pending, 0.0, None), Presence::Gone, ["no destination team", "outbox drop 2"]),
            (owed(2, Pending, 0.0, None), Presence::NotLooked, ["waits for delivery 1", "case.opened"]),
            (
                owed(1, Pending, 120.0, busy),
                Presence::Configured,
                ["answered 503", "next attempt at 1970-01-01T00:02:00Z"],
            ),
            (owed(1, Unknown, 0.0, busy), Presence::Configured, ["due now", "answered 503"]),
        ] {
            let told = explain(&owed, std::slice::from_ref(&earlier), place, 100.0);
            assert!(words.iter().all(|word| told.contains(word)), "{told}");
        }
    }

    #[test]
    fn a_message_without_a_delivery_has_its_reason_too() {
        let message = owed(1, DeliveryState::Pending, 0.0, None).delivery.message;
        let wait = Wait { message, destination: "team".into(), until: 120.0, why: "quiet period, nights".into() };
        for (place, now, words) in [
            (Presence::Configured, 100.0, ["delayed until 1970-01-01T00:02:00Z", "quiet period, nights"]),
            (Presence::NotLooked, 130.0, ["in a digest", "quiet period, nights"]),
            (Presence::Gone, 100.0, ["no destination team", "add it again"]),
        ] {
            let told = explain_wait(&wait, place, now);
            assert!(words.iter().all(|word| told.contains(word)), "{told}");
        }
        let detail = json!({ "message": "m1", "destination": "team", "silence": "3f2a", "by": "ada", "why": "known" });
        let entry = |kind: &str| JournalEntry { time: 0.0, kind: kind.to_owned(), detail: detail.clone() };
        let told = "not sent: suppressed by silence 3f2a of ada: known".to_owned();
        assert_eq!(Unsent::of(&entry("silenced")), Some(Unsent::Silenced(told)));
        assert_eq!(Unsent::of(&entry("opened")), None);
    }

    #[test]
    fn what_is_held_or_goes_elsewhere_keeps_nothing_waiting() {
        let waiting = owed(2, DeliveryState::Pending, 0.0, None);
        let held = owed(1, DeliveryState::Held, 0.0, Some("time-out"));
        let mut elsewhere = owed(1, DeliveryState::Pending, 0.0, None);
        elsewhere.delivery.destination = "cluster".into();
        let mut other_case = owed(1, DeliveryState::Pending, 0.0, None);
        other_case.delivery.message.case = CaseId("c2".into());
        let told = explain(&waiting, &[held, elsewhere, other_case, waiting.clone()], Presence::Configured, 1.0);
        assert!(told.starts_with("due now: not attempted yet"), "{told}");
    }
}
