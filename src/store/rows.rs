//! Conversion of table rows to the types of the store.
//!
//! Owns: the spelling of states and kinds in the database. Must not know: which rows are requested.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::sql::Row;
use super::{Answer, Delivery, DeliveryState, JournalEntry, Request, StoreError, StoredCase, UnreadableCase, Wish};
use crate::case::{Body, CaseId, Message};

/// Why a row cannot be decoded: its kind and the reason. The caller knows the path.
pub(super) struct Unreadable {
    /// The kind of row.
    pub(super) what: &'static str,
    /// The reason.
    pub(super) reason: String,
}

impl Unreadable {
    /// For lists.
    pub(super) fn of_row(self, id: i64) -> super::Unreadable {
        super::Unreadable { id, what: self.what.to_owned(), reason: self.reason }
    }
}

/// A row that the database could read but whose content may be invalid.
pub(super) type Read<T> = Result<Result<T, Unreadable>, StoreError>;

/// The columns that [`delivery`] reads, of `deliveries d JOIN messages m`.
pub(super) const DELIVERY: &str = "d.id, d.destination, d.state, d.attempts, d.due, d.answer, \
    m.id, m.case_id, m.kind, m.subject, m.time, m.data";

/// The columns that [`case`] reads.
pub(super) const CASE: &str = "id, baseline, closed, verdict, updated, state";

/// A unit variant as its serde name, which is the spelling in the database.
pub(super) fn name<T: Serialize>(variant: T) -> String {
    match serde_json::to_value(variant) {
        Ok(Value::String(name)) => name,
        // Unit variants do not reach this; a CHECK of the table rejects other values.
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

pub(super) fn named<T: DeserializeOwned>(what: &'static str, name: String) -> Result<T, Unreadable> {
    serde_json::from_value(Value::String(name)).map_err(|error| Unreadable { what, reason: error.to_string() })
}

/// The state of a delivery, if this program knows it.
pub(super) fn state(name: String) -> Option<DeliveryState> {
    named("delivery", name).ok()
}

pub(super) fn json(what: &'static str, text: &str) -> Result<Value, Unreadable> {
    serde_json::from_str(text).map_err(|error| Unreadable { what, reason: error.to_string() })
}

/// A case.
pub(super) fn case(row: &Row) -> Result<Result<StoredCase, UnreadableCase>, StoreError> {
    let state: String = row.get(5)?;
    let (id, baseline) = (CaseId(row.get(0)?), row.get(1)?);
    let (closed, verdict, updated) = (row.get(2)?, row.get(3)?, row.get(4)?);
    Ok(match serde_json::from_str(&state) {
        Ok(state) => Ok(StoredCase { id, baseline, closed, verdict, updated, state }),
        Err(error) => Err(UnreadableCase { id, baseline, closed, reason: error.to_string() }),
    })
}

/// A journal entry from the columns time, kind, detail.
pub(super) fn entry(row: &Row) -> Read<JournalEntry> {
    let (time, kind, detail): (f64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok(json("journal entry", &detail).map(|detail| JournalEntry { time, kind, detail }))
}

/// A request from the columns id, case_id, wish.
pub(super) fn request(row: &Row) -> Read<Request> {
    let (id, case, wish): (i64, Option<String>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let wish = serde_json::from_str(&wish).map_err(|error| Unreadable { what: "request", reason: error.to_string() });
    Ok(wish.map(|wish| Request { id, case: case.map(CaseId), wish }))
}

/// A request as stored in the database.
pub(super) fn wish(wish: &Wish) -> String {
    // A request consists of named fields, which can always be JSON.
    serde_json::to_string(wish).unwrap_or_default()
}

/// A response as stored in the database.
pub(super) fn stored(answer: &Answer) -> String {
    // A response is an object of texts, which can always be JSON.
    serde_json::to_string(answer).unwrap_or_default()
}

/// A response from the database; an unknown format is shown as text.
pub(super) fn answer(stored: String) -> Answer {
    serde_json::from_str(&stored).unwrap_or(Answer::Said(stored))
}

/// A message from the columns id, case_id, kind, subject, time, data, starting at `first`.
pub(super) fn message(row: &Row, first: usize) -> Read<Message> {
    let (kind, data): (String, String) = (row.get(first + 2)?, row.get(first + 5)?);
    let body = match body(kind, &data) {
        Ok(body) => body,
        Err(unreadable) => return Ok(Err(unreadable)),
    };
    let (id, case) = (row.get(first)?, CaseId(row.get(first + 1)?));
    Ok(Ok(Message { id, case, subject: row.get(first + 3)?, time: row.get(first + 4)?, body }))
}

fn body(kind: String, data: &str) -> Result<Body, Unreadable> {
    let (kind, data) = (named("message", kind)?, json("message", data)?);
    Body::read(kind, data).map_err(|error| Unreadable { what: "message", reason: error.to_string() })
}

/// A delivery with its message.
pub(super) fn delivery(row: &Row) -> Read<Delivery> {
    let state: String = row.get(2)?;
    let (state, message) = match (named("delivery", state), message(row, 6)?) {
        (Ok(state), Ok(message)) => (state, message),
        (Err(unreadable), _) | (_, Err(unreadable)) => return Ok(Err(unreadable)),
    };
    Ok(Ok(Delivery {
        id: row.get(0)?,
        message,
        destination: row.get(1)?,
        state,
        attempts: row.get(3)?,
        due: row.get(4)?,
        answer: row.get::<Option<String>>(5)?.map(answer),
    }))
}
