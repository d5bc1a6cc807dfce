//! Keeps cases, their journals, and the messages that are owed.
//!
//! Owns: transactions, migrations, leases. Must not know: what a state means, when to try again.

mod answer;
mod asks;
#[cfg(test)]
mod conformance;
mod fates;
mod forget;
mod history;
mod lock;
mod rows;
mod schema;
mod shared;
mod sqlite;
mod waiting;
mod wish;

use serde::{Deserialize, Serialize};

use crate::case::{CaseId, Message, Reply};
use crate::fate::JobFate;

pub use crate::case::JournalEntry;

pub use answer::Answer;
pub use asks::{Ask, AskKind, AskState, Replied};
pub use fates::OfCase;
pub use lock::StateLock;
pub use shared::SharedStore;
pub use sqlite::Sqlite;
pub use waiting::{Quieted, Silence, Wait, WaitingMessage};
pub use wish::{Request, Wish};

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

/// A case that does not read back: it is listed, and keeps nothing else from being listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableCase {
    /// Its id.
    pub id: CaseId,
    /// The baseline job.
    pub baseline: String,
    /// Whether it is closed.
    pub closed: bool,
    /// Why it cannot be read.
    pub reason: String,
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
    /// What the daemon is asked to do, with the case that it is about, where it is about one.
    pub requests: Vec<(Option<CaseId>, Wish)>,
    /// Requests that were carried out, by their row ids.
    pub handled: Vec<i64>,
    /// Messages that wait for a better moment.
    pub waiting: Vec<Wait>,
    /// Messages that waited and go out, by their row ids, each with the message that they go out as or in.
    pub released: Vec<(i64, String)>,
    /// Messages that waited and never go out, by their row ids.
    pub withdrawn: Vec<i64>,
    /// Silences that begin.
    pub silences: Vec<Silence>,
    /// Silences that end before their time, by their ids.
    pub unsilenced: Vec<String>,
    /// What people are asked. What is known by its id already is left as it is.
    pub asks: Vec<Ask>,
    /// What cases ask now, each the id and until when it can be answered, in seconds since the Unix epoch: everything else
    /// that they asked before can no longer be answered.
    pub standing: Vec<(CaseId, Option<(String, f64)>)>,
    /// What a person decided about deliveries, by their row ids.
    pub decisions: Vec<(i64, Decision)>,
    /// What became of jobs that no suggestion asked for.
    pub fates: Vec<JobFate>,
    /// What is no longer kept.
    pub forget: Option<Forget>,
}

/// What a person decides about a delivery. One that is being sent, was delivered or refused is left as it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It is due at once: given up, held, or waiting for its next try.
    Resend,
    /// It is given up: waiting or held.
    Drop {
        /// Why.
        why: String,
        /// When, in seconds since the Unix epoch.
        at: f64,
    },
}

/// What is no longer kept, for its age.
#[derive(Debug, Clone, PartialEq)]
pub struct Forget {
    /// Seconds since the Unix epoch: deliveries of closed cases that came to their end earlier go, with their tries and
    /// the messages that nothing else needs. So do digests, silences that ended earlier, and fates of jobs that were
    /// told earlier.
    pub before: f64,
    /// Closed cases that go whole, with their journals; one with a delivery that is still owed, or with a message that
    /// waits, stays.
    pub cases: Vec<CaseId>,
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
    /// It may have arrived, and would be shown twice: a person decides. It is not tried again by itself, and does not keep
    /// later messages of its case waiting.
    Held,
    /// Given up; shown to the operator.
    Dead,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [DeliveryState; 7] = [
        DeliveryState::Pending,
        DeliveryState::Sending,
        DeliveryState::Delivered,
        DeliveryState::Refused,
        DeliveryState::Unknown,
        DeliveryState::Held,
        DeliveryState::Dead,
    ];

    /// Its name, as in the database and in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Pending => "pending",
            DeliveryState::Sending => "sending",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Refused => "refused",
            DeliveryState::Unknown => "unknown",
            DeliveryState::Held => "held",
            DeliveryState::Dead => "dead",
        }
    }
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
    /// The newest answer or error.
    pub answer: Option<Answer>,
}

/// One try of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Which try it was, from 1.
    pub number: u32,
    /// When it began, in seconds since the Unix epoch.
    pub begun: f64,
    /// When its answer was recorded; `None` while it is under way.
    pub ended: Option<f64>,
    /// The state that it led to.
    pub outcome: Option<DeliveryState>,
    /// The answer or error.
    pub answer: Option<Answer>,
}

/// A delivery with all that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Owed {
    /// The delivery.
    pub delivery: Delivery,
    /// When it came to its state, in seconds since the Unix epoch.
    pub changed: f64,
    /// Its tries, oldest first.
    pub tries: Vec<Attempt>,
}

/// A row that does not read back: it is listed, and keeps nothing else from being listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Row id.
    pub id: i64,
    /// What of it cannot be read.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// Which deliveries are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Which<'a> {
    /// This one.
    pub delivery: Option<i64>,
    /// Those of this message, and those of the digests that it went out in.
    pub message: Option<&'a str>,
    /// Those of this case.
    pub case: Option<&'a CaseId>,
    /// Those in this state.
    pub state: Option<DeliveryState>,
}

/// How many deliveries there are, by destination and state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Destination, state, number of deliveries.
    pub counts: Vec<(String, DeliveryState, u64)>,
    /// Destination and number of messages that wait for a better moment.
    pub waiting: Vec<(String, u64)>,
    /// When the oldest message was decided that is still to be sent and not held, in seconds since the Unix epoch.
    pub oldest: Option<f64>,
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
    pub answer: Answer,
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
    /// An older nextrun wrote the database, and it was opened for reading only.
    #[error(
        "the database {path} has schema {found}, older than {known}: start `nextrun watch` on it once to update it"
    )]
    Older {
        /// Its path.
        path: String,
        /// The schema found.
        found: i64,
        /// The schema needed.
        known: i64,
    },
    /// There is no file to read.
    #[error(
        "there is no database at {path}: name the state directory that `nextrun watch` was started with (`--state DIR`)"
    )]
    Missing {
        /// Its path.
        path: String,
    },
    /// The file is something else.
    #[error("{path} is not a nextrun database: move the file away, or name another state directory")]
    NotADatabase {
        /// Its path.
        path: String,
    },
    /// The file, its directory or its file system cannot be written.
    #[error("the database {path} cannot be written: give this user write access to it and to its directory")]
    ReadOnly {
        /// Its path.
        path: String,
    },
    /// There is no room left where it is.
    #[error("the database {path} cannot grow: make room on its file system; nothing is lost meanwhile")]
    Full {
        /// Its path.
        path: String,
    },
    /// Its pages are damaged.
    #[error(
        "the database {path} is damaged ({reason}): keep the file, and go on with a back-up in its place, or with what \
         `sqlite3 {path} .recover` saves of it"
    )]
    Damaged {
        /// Its path.
        path: String,
        /// What SQLite found.
        reason: String,
    },
    /// Another process held the database for longer than the busy time-out.
    #[error("the database {path} is locked by another process: stop that process and try again")]
    Busy {
        /// Its path.
        path: String,
    },
    /// Another daemon has the same state.
    #[error("another nextrun works with {path}: stop it first, or name another state directory")]
    Taken {
        /// Path of the lock file.
        path: String,
    },
    /// The file system said no.
    #[error("could not {action} {path}: {source}")]
    Files {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The thread that works on the store is gone.
    #[error("the store's thread ended before it answered: the process is stopping, or a store operation panicked")]
    Gone,
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

impl StoreError {
    /// Whether the same work may succeed later without anybody touching the database itself: there is no room, no right
    /// to write, another process at work, or a disk that fails.
    pub fn may_pass(&self) -> bool {
        match self {
            StoreError::Full { .. } | StoreError::ReadOnly { .. } | StoreError::Busy { .. } => true,
            StoreError::Database { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(rusqlite::ErrorCode::SystemIoFailure | rusqlite::ErrorCode::CannotOpen)
            ),
            StoreError::Newer { .. }
            | StoreError::Older { .. }
            | StoreError::Missing { .. }
            | StoreError::NotADatabase { .. }
            | StoreError::Damaged { .. }
            | StoreError::Taken { .. }
            | StoreError::Files { .. }
            | StoreError::Gone
            | StoreError::Corrupt { .. } => false,
        }
    }
}

/// Where cases and deliveries are kept. Every query that depends on time takes it as an argument.
pub trait Store: Send {
    /// Commits one step of the diagnosis in one transaction.
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError>;
    /// All cases, newest first; `open_only` leaves out closed ones.
    fn cases(&mut self, open_only: bool) -> Result<Vec<Result<StoredCase, UnreadableCase>>, StoreError>;
    /// One case by id or by an unambiguous beginning of it.
    fn case(&mut self, id: &str) -> Result<Option<StoredCase>, StoreError>;
    /// The journal of a case, oldest first.
    fn journal(&mut self, case: &CaseId) -> Result<Vec<JournalEntry>, StoreError>;
    /// Requests that were not carried out yet, oldest first.
    fn requests(&mut self) -> Result<Vec<Result<Request, Unreadable>>, StoreError>;
    /// What people were asked, oldest first: about one case or all; only what waits for an answer, or all of it.
    fn asks(&mut self, case: Option<&CaseId>, open_only: bool) -> Result<Vec<Result<Ask, Unreadable>>, StoreError>;
    /// What was asked under an id.
    fn ask(&mut self, id: &str) -> Result<Option<Ask>, StoreError>;
    /// Keeps the answer to what was asked under an id, and asks the daemon to take it, in one transaction: only where it
    /// is the first answer, in time by its own `at`, one of those that there are, and `fingerprint`, where it is given, is
    /// that of what was asked.
    fn reply(&mut self, ask: &str, fingerprint: Option<&str>, reply: &Reply) -> Result<Replied, StoreError>;
    /// What became of jobs that no suggestion asked for, the newest of each.
    fn fates(&mut self) -> Result<Vec<Result<JobFate, Unreadable>>, StoreError>;
    /// The case that made a suggestion, if one was made with this id and is still known.
    fn suggested(&mut self, id: &str) -> Result<Option<OfCase>, StoreError>;
    /// The newest case about a job: the open one, else the one that closed last.
    fn newest_case_of(&mut self, job: &str) -> Result<Option<OfCase>, StoreError>;
    /// Takes up to `limit` due deliveries of one destination and marks them `Sending`, in order per case: a delivery
    /// waits while an earlier one of its case and destination is neither delivered nor given up. A delivery that was
    /// `Unknown` is due like one that was `Pending`; the state in what is returned is the one before the lease. One whose last change lies after `now` is due too: the clock was set back since. The try is
    /// counted and committed before this returns.
    fn lease(&mut self, destination: &str, now: f64, limit: u32) -> Result<Vec<Delivery>, StoreError>;
    /// Records what a try came to. A delivery that is recorded as delivered stays so.
    fn tried(&mut self, tried: &Tried, now: f64) -> Result<(), StoreError>;
    /// Keeps what a destination calls a message while more is owed for it.
    fn accepted(&mut self, delivery: i64, reference: &str) -> Result<(), StoreError>;
    /// What was kept so.
    fn reference(&mut self, delivery: i64) -> Result<Option<String>, StoreError>;
    /// Deliveries with their tries, newest first.
    fn history(&mut self, which: Which<'_>) -> Result<Vec<Result<Owed, Unreadable>>, StoreError>;
    /// Deliveries that read back, newest first; `case` and `state` narrow it down.
    fn deliveries(&mut self, case: Option<&CaseId>, state: Option<DeliveryState>) -> Result<Vec<Delivery>, StoreError> {
        let listed = self.history(Which { case, state, ..Which::default() })?;
        Ok(listed.into_iter().flatten().map(|owed| owed.delivery).collect())
    }
    /// How many deliveries there are.
    fn tally(&mut self) -> Result<Tally, StoreError>;
    /// Silences, and messages that wait and have not gone out, oldest first.
    fn quieted(&mut self) -> Result<Quieted, StoreError>;
    /// After a start: every delivery that is still `Sending` becomes `Unknown`. Returns how many.
    fn recover(&mut self, now: f64) -> Result<u32, StoreError>;
    /// When [`Store::lease`] has something next for a destination, if ever: what waits for an earlier one of its case
    /// does not count.
    fn next_due(&mut self, destination: &str) -> Result<Option<f64>, StoreError>;
}
