//! Deliveries and their attempts, as text and JSON.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Format, Standing};
use crate::cli::cases::time;
use crate::cli::plain;
use crate::store::{Answer, Attempt, Owed, Unreadable, WaitingMessage};

/// One delivery.
pub(super) fn line(out: &mut impl Write, row: &Result<Owed, Unreadable>, format: Format) -> io::Result<()> {
    match (row, format) {
        (Ok(owed), Format::Text) => {
            title(out, owed)?;
            if let Some(answer) = said(owed.delivery.answer.as_ref()) {
                writeln!(out, "    {}", plain(&answer))?;
            }
            Ok(())
        }
        (Ok(owed), Format::Json) => writeln!(out, "{}", object(owed)),
        (Err(row), Format::Text) => unreadable(out, row),
        (Err(row), Format::Json) => writeln!(out, "{}", broken(row)),
    }
}

/// The first line of a delivery.
pub(super) fn title(out: &mut impl Write, owed: &Owed) -> io::Result<()> {
    let delivery = &owed.delivery;
    let kind = delivery.message.kind().event_type();
    writeln!(
        out,
        "{:>5}  {}  {:9}  {kind} to {}: {} (case {}, {} attempts)",
        delivery.id,
        time(owed.changed),
        Standing::of(owed).name(),
        plain(&delivery.destination),
        plain(&delivery.message.subject),
        delivery.message.case,
        delivery.attempts,
    )
}

/// A waiting message.
pub(super) fn waiting(out: &mut impl Write, row: &WaitingMessage, format: Format) -> io::Result<()> {
    let (wait, message) = (&row.wait, &row.wait.message);
    if format == Format::Text {
        waiting_title(out, row)?;
        return writeln!(out, "    {}", plain(&wait.why));
    }
    let object = json!({
        "id": format!("w{}", row.id), "destination": wait.destination, "state": Standing::Waiting.name(),
        "attempts": 0, "due": wait.until, "changed": message.time, "answer": null, "why": wait.why,
        "message_id": message.id, "case_id": message.case, "type": message.kind().event_type(),
        "subject": message.subject, "time": message.time,
    });
    writeln!(out, "{object}")
}

/// The first line of a waiting message.
pub(super) fn waiting_title(out: &mut impl Write, row: &WaitingMessage) -> io::Result<()> {
    let (wait, message) = (&row.wait, &row.wait.message);
    writeln!(
        out,
        "{:>5}  {}  {:9}  {} to {}: {} (case {})",
        format!("w{}", row.id),
        time(message.time),
        Standing::Waiting.name(),
        message.kind().event_type(),
        plain(&wait.destination),
        plain(&message.subject),
        message.case,
    )
}

/// The first line of a message without a delivery.
pub(super) fn title_without(out: &mut impl Write, standing: &str, what: &str, destination: &str) -> io::Result<()> {
    writeln!(out, "{:>5}  {:20}  {standing:9}  {} to {}", "-", "", plain(what), plain(destination))
}

/// A delivery that cannot be decoded.
pub(super) fn unreadable(out: &mut impl Write, row: &Unreadable) -> io::Result<()> {
    writeln!(out, "{:>5}  unreadable: its {} cannot be read: {}", row.id, plain(&row.what), plain(&row.reason))
}

/// All attempts, newest first.
pub(super) fn history(out: &mut impl Write, rows: &[Result<Owed, Unreadable>], format: Format) -> io::Result<()> {
    let mut tries: Vec<(&Owed, &Attempt)> =
        rows.iter().flatten().flat_map(|owed| owed.tries.iter().map(move |attempt| (owed, attempt))).collect();
    tries.sort_by(|(_, a), (_, b)| b.begun.total_cmp(&a.begun));
    for (owed, attempt) in tries {
        match format {
            Format::Text => one_try(out, owed, attempt)?,
            Format::Json => writeln!(out, "{}", try_object(owed, attempt))?,
        }
    }
    for row in rows.iter().filter_map(|row| row.as_ref().err()) {
        match format {
            Format::Text => unreadable(out, row)?,
            Format::Json => writeln!(out, "{}", broken(row))?,
        }
    }
    Ok(())
}

fn one_try(out: &mut impl Write, owed: &Owed, attempt: &Attempt) -> io::Result<()> {
    let delivery = &owed.delivery;
    let outcome = attempt.outcome.map_or("in progress", |outcome| outcome.as_str());
    writeln!(
        out,
        "{}  attempt {} of delivery {}: {} to {}: {} ({outcome})",
        time(attempt.begun),
        attempt.number,
        delivery.id,
        delivery.message.kind().event_type(),
        plain(&delivery.destination),
        plain(&delivery.message.subject),
    )?;
    if let Some(why) = delivery.message.body.why() {
        writeln!(out, "    why: {}", plain(why))?;
    }
    match said(attempt.answer.as_ref()) {
        Some(answer) => writeln!(out, "    answer: {}", plain(&answer)),
        None => Ok(()),
    }
}

/// The response of a destination, unless it only confirms the delivery.
fn said(answer: Option<&Answer>) -> Option<String> {
    answer.filter(|answer| **answer != Answer::Accepted { reference: None }).map(Answer::to_string)
}

fn object(owed: &Owed) -> Value {
    let (delivery, message) = (&owed.delivery, &owed.delivery.message);
    let standing = Standing::of(owed);
    let due = matches!(standing, Standing::Pending | Standing::Unknown).then_some(delivery.due);
    json!({
        "id": delivery.id, "destination": delivery.destination, "state": standing.name(),
        "attempts": delivery.attempts, "due": due, "changed": owed.changed, "answer": delivery.answer.as_ref().map(Answer::to_string),
        "reference": delivery.answer.as_ref().and_then(Answer::reference),
        "message_id": message.id, "case_id": message.case, "type": message.kind().event_type(),
        "subject": message.subject, "time": message.time,
    })
}

fn try_object(owed: &Owed, attempt: &Attempt) -> Value {
    let (delivery, message) = (&owed.delivery, &owed.delivery.message);
    json!({
        "delivery": delivery.id, "number": attempt.number, "begun": attempt.begun, "ended": attempt.ended,
        "outcome": attempt.outcome, "answer": attempt.answer.as_ref().map(Answer::to_string),
        "destination": delivery.destination,
        "message_id": message.id, "case_id": message.case, "type": message.kind().event_type(),
        "subject": message.subject, "why": message.body.why(),
    })
}

fn broken(row: &Unreadable) -> Value {
    json!({ "id": row.id, "state": "unreadable", "what": row.what, "reason": row.reason })
}
