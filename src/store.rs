//! Keeps cases, their journals, and the messages that are owed.
//!
//! Owns: transactions, migrations, leases. Must not know: what a state means, when to try again.

mod sqlite;

use serde::{Deserialize, Serialize};

use crate::case::{CaseId, Message};

pub use crate::case::JournalEntry;

pub use sqlite::Sqlite;

/// A case as it is kept: its state is opaque here.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredCase {
    /// Its id.
    pub id: CaseId,
    /// The baseline job, for listing.
    pub baseline: String,
    /// Whether it is closed.
    pub closed: bool,
    /// The verdict, once closed.
    pub verdict: Option<String>,
    /// Seconds since the Unix epoch of the newest change.
    pub updated: f64,
    /// The whole case as JSON.
    pub state: serde_json::Value,
}

/// Everything that one step of the diagnosis changes; it is kept whole or not at all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commit {
    /// Cases to insert or replace.
    pub cases: Vec<StoredCase>,
    /// Journal entries to append, with the case that each belongs to.
    pub journal: Vec<(CaseId, JournalEntry)>,
    /// Messages owed: one delivery is made for each destination named. A message id that is known already for a
    /// destination is left as it is.
    pub messages: Vec<(Message, Vec<String>)>,
    /// Jobs that need no further look until they restart: (job, why), e.g. `healthy`, `historical`, `closed`.
    pub settled: Vec<(String, String)>,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Waits for its time.
    Pending,
    /// Committed before the first byte goes out; found so after a crash it is `Unknown`.
    Sending,
    /// The destination has it.
    Delivered,
    /// The destination refused the suggestion for good because the script lacks the knobs (422).
    Refused,
    /// It may or may not have arrived.
    Unknown,
    /// Given up; shown to the operator.
    Dead,
}

/// One message owed to one destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Row id, also the order within a case and destination.
    pub id: i64,
    /// The message.
    pub message: Message,
    /// Name of the destination in the configuration.
    pub destination: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// Tries so far.
    pub attempts: u32,
    /// Seconds since the Unix epoch before which it is not tried.
    pub due: f64,
    /// The newest answer or error, for the operator.
    pub answer: Option<String>,
}

/// What a try came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// The delivery.
    pub delivery: i64,
    /// Its new state.
    pub state: DeliveryState,
    /// When it is due again, for `Pending`.
    pub due: f64,
    /// The answer or error.
    pub answer: String,
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database answered with an error.
    #[error("the database {path} failed: {source}")]
    Database {
        /// Its path.
        path: String,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
    /// A newer nextrun wrote the database.
    #[error(
        "the database {path} has schema {found}, this nextrun knows {known}: run the newer version, or move the file away"
    )]
    Newer {
        /// Its path.
        path: String,
        /// The schema found.
        found: i64,
        /// The newest schema known.
        known: i64,
    },
    /// What is stored does not read back.
    #[error("the database {path} holds a {what} that cannot be read: {reason}")]
    Corrupt {
        /// Its path.
        path: String,
        /// What was read.
        what: String,
        /// Why it failed.
        reason: String,
    },
}

/// Where cases and deliveries are kept. Every query that depends on time takes it as an argument.
pub trait Store: Send {
    /// Commits one step of the diagnosis in one transaction.
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError>;
    /// All cases, newest first; `open_only` leaves out closed ones.
    fn cases(&mut self, open_only: bool) -> Result<Vec<StoredCase>, StoreError>;
    /// One case by id or by an unambiguous beginning of it.
    fn case(&mut self, id: &str) -> Result<Option<StoredCase>, StoreError>;
    /// The journal of a case, oldest first.
    fn journal(&mut self, case: &CaseId) -> Result<Vec<JournalEntry>, StoreError>;
    /// Jobs that were settled, with the reason.
    fn settled(&mut self) -> Result<Vec<(String, String)>, StoreError>;
    /// Takes up to `limit` due deliveries of one destination and marks them `Sending`, in order per case: a delivery
    /// waits while an earlier one of its case and destination is neither delivered nor given up.
    fn lease(&mut self, destination: &str, now: f64, limit: u32) -> Result<Vec<Delivery>, StoreError>;
    /// Records what a try came to.
    fn tried(&mut self, tried: &Tried, now: f64) -> Result<(), StoreError>;
    /// Deliveries, newest first, for the operator; `case` and `state` narrow it down.
    fn deliveries(&mut self, case: Option<&CaseId>, state: Option<DeliveryState>) -> Result<Vec<Delivery>, StoreError>;
    /// After a start: every delivery that is still `Sending` becomes `Unknown`. Returns how many.
    fn recover(&mut self, now: f64) -> Result<u32, StoreError>;
    /// When the next delivery of a destination is due, if any is pending.
    fn next_due(&mut self, destination: &str) -> Result<Option<f64>, StoreError>;
}
