//! Stores cases, their journals, and messages with their deliveries.
//!
//! Owns: transactions, migrations, leases. Must not know: the meaning of a state, when to retry.

mod answer;
mod asks;
#[cfg(test)]
mod conformance;
mod copy;
mod directories;
mod fates;
mod forget;
mod history;
mod keeping;
mod lock;
mod place;
mod postgres;
mod rows;
mod schema;
mod shared;
mod sql;
mod sqlite;
mod waiting;
mod wish;

use serde::{Deserialize, Serialize};

use crate::case::{Case, CaseId, Message, Renamed, Reply};
use crate::fate::JobFate;

pub use crate::case::JournalEntry;

pub use answer::Answer;
pub use asks::{Ask, AskKind, AskState, Replied};
pub use copy::copy;
pub use directories::KnownDirectory;
pub use fates::OfCase;
pub use lock::StateLock;
pub use place::StorePlace;
pub use postgres::{AddressError, Claim, Held, Owner, Password, Postgres, Server, Tenure};
pub use shared::SharedStore;
pub use sqlite::Sqlite;
pub use waiting::{Quieted, Silence, Wait, WaitingMessage};
pub use wish::{Request, Wish};

/// A stored case; the store does not interpret its state.
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
    /// Time of the latest change, in seconds since the Unix epoch.
    pub updated: f64,
    /// The whole case as JSON.
    pub state: serde_json::Value,
}

impl StoredCase {
    /// The stored form of a case that changed at `updated`, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// The case cannot be written as JSON.
    pub fn of(case: &Case, updated: f64) -> Result<StoredCase, serde_json::Error> {
        Ok(StoredCase {
            id: case.id.clone(),
            baseline: case.baseline.clone(),
            closed: case.closed.is_some(),
            verdict: case.closed.as_ref().map(|end| end.verdict.clone()),
            updated,
            state: serde_json::to_value(case)?,
        })
    }
}

/// A case that cannot be decoded. It appears in lists and does not affect other cases.
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

/// The identity of a commit: a new one each time it is made, the same one in copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitId(String);

impl Default for CommitId {
    fn default() -> Self {
        CommitId(random_identity())
    }
}

/// A random identity: 128 bits as 32 hexadecimal digits.
pub(crate) fn random_identity() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// All changes of one step of the diagnosis; committed atomically.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commit {
    /// What makes a repetition of this commit, after its answer was lost, one and the same commit.
    pub id: CommitId,
    /// Cases to insert or replace.
    pub cases: Vec<StoredCase>,
    /// Journal entries to append, each with its case.
    pub journal: Vec<(CaseId, JournalEntry)>,
    /// Messages to send; each named destination gets a delivery. If a destination already has a delivery with this
    /// message id, it stays unchanged.
    pub messages: Vec<(Message, Vec<String>)>,
    /// Requests to the daemon, each with its case if there is one.
    pub requests: Vec<(Option<CaseId>, Wish)>,
    /// Row ids of requests that were carried out.
    pub handled: Vec<i64>,
    /// Messages to delay.
    pub waiting: Vec<Wait>,
    /// Row ids of delayed messages that are now sent, each with the message in which they are sent.
    pub released: Vec<(i64, String)>,
    /// Row ids of delayed messages that are never sent.
    pub withdrawn: Vec<i64>,
    /// New silences.
    pub silences: Vec<Silence>,
    /// Ids of silences that end early.
    pub unsilenced: Vec<String>,
    /// Questions to people. Existing ids stay unchanged.
    pub asks: Vec<Ask>,
    /// The current questions of cases, each with its id and its deadline in seconds since the Unix epoch. All other
    /// questions of these cases are withdrawn.
    pub standing: Vec<(CaseId, Option<(String, f64)>)>,
    /// Decisions of a person about deliveries, by row id.
    pub decisions: Vec<(i64, Decision)>,
    /// Status reports about jobs without a suggestion.
    pub fates: Vec<JobFate>,
    /// The log directories that are watched from now on.
    pub directories: Option<Vec<KnownDirectory>>,
    /// Renamed directories: the jobs of status reports and questions get their new names.
    pub renamed: Vec<Renamed>,
    /// Data to delete.
    pub forget: Option<Forget>,
}

/// A decision of a person about a delivery. Deliveries that are being sent, delivered or refused stay unchanged.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Send it now; valid for deliveries that were given up, are held, or wait for their next attempt.
    Resend,
    /// Give it up; valid for waiting and held deliveries.
    Drop {
        /// The reason.
        why: String,
        /// The time in seconds since the Unix epoch.
        at: f64,
    },
}

/// Data to delete because of their age.
#[derive(Debug, Clone, PartialEq)]
pub struct Forget {
    /// Time in seconds since the Unix epoch. Deliveries of closed cases that ended earlier are deleted, with their
    /// attempts and unneeded messages, as are digests, expired silences, and status reports from before this time.
    pub before: f64,
    /// Closed cases to delete with their journals. A case with a pending delivery or a delayed message stays.
    pub cases: Vec<CaseId>,
}

/// The state of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Waits until it is due.
    Pending,
    /// Committed before the first byte is sent; a delivery in this state after a crash is `Unknown`.
    Sending,
    /// The destination has received it.
    Delivered,
    /// The destination permanently refused the suggestion because the script does not support its knobs (422).
    Refused,
    /// The outcome is unknown.
    Unknown,
    /// It may have arrived and would appear twice, so a person decides. It is not retried automatically, and does not
    /// delay later messages of its case.
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

    /// Its name in the database and in lists.
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

/// One message for one destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Row id; also the order within a case and destination.
    pub id: i64,
    /// The message.
    pub message: Message,
    /// Name of the destination in the configuration.
    pub destination: String,
    /// Its state.
    pub state: DeliveryState,
    /// Number of attempts so far.
    pub attempts: u32,
    /// Earliest time of the next attempt, in seconds since the Unix epoch.
    pub due: f64,
    /// The latest response or error.
    pub answer: Option<Answer>,
}

/// One attempt of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Number of the attempt, from 1.
    pub number: u32,
    /// Start time in seconds since the Unix epoch.
    pub begun: f64,
    /// Time of the response; `None` while the attempt is in progress.
    pub ended: Option<f64>,
    /// The resulting state.
    pub outcome: Option<DeliveryState>,
    /// The response or error.
    pub answer: Option<Answer>,
}

/// A delivery with all its data.
#[derive(Debug, Clone, PartialEq)]
pub struct Owed {
    /// The delivery.
    pub delivery: Delivery,
    /// When it reached its state, in seconds since the Unix epoch.
    pub changed: f64,
    /// Its attempts, oldest first.
    pub tries: Vec<Attempt>,
}

/// A row that cannot be decoded. It appears in lists and does not affect other rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Row id.
    pub id: i64,
    /// The part that cannot be decoded.
    pub what: String,
    /// The reason.
    pub reason: String,
}

/// A filter for deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Which<'a> {
    /// This delivery.
    pub delivery: Option<i64>,
    /// Deliveries of this message, and of the digests that contain it.
    pub message: Option<&'a str>,
    /// Deliveries of this case.
    pub case: Option<&'a CaseId>,
    /// Deliveries in this state.
    pub state: Option<DeliveryState>,
}

/// Number of deliveries by destination and state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Destination, state, number of deliveries.
    pub counts: Vec<(String, DeliveryState, u64)>,
    /// Destination and number of delayed messages.
    pub waiting: Vec<(String, u64)>,
    /// Creation time of the oldest message that is still to be sent and not held, in seconds since the Unix epoch.
    pub oldest: Option<f64>,
}

/// The result of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// The delivery.
    pub delivery: i64,
    /// Its new state.
    pub state: DeliveryState,
    /// The time of the next attempt, for `Pending`.
    pub due: f64,
    /// The response or error.
    pub answer: Answer,
}

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database returned an error.
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
        "the database {path} has schema {found}, this nextrun knows {known}: run the newer version, or move the file \
         away"
    )]
    Newer {
        /// Its path.
        path: String,
        /// The schema found.
        found: i64,
        /// The newest schema known.
        known: i64,
    },
    /// An older nextrun wrote the database, and it was opened read-only.
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
    /// The file does not exist.
    #[error("there is no database at {path}: pass the state directory of `nextrun watch` (`--state DIR`)")]
    Missing {
        /// Its path.
        path: String,
    },
    /// The file is not a database of nextrun.
    #[error("{path} is not a nextrun database: move the file away, or choose another state directory")]
    NotADatabase {
        /// Its path.
        path: String,
    },
    /// The file, its directory or its file system is not writable.
    #[error("the database {path} cannot be written: give this user write access to it and to its directory")]
    ReadOnly {
        /// Its path.
        path: String,
    },
    /// The disk is full.
    #[error("the database {path} cannot grow: free space on its file system; no data are lost meanwhile")]
    Full {
        /// Its path.
        path: String,
    },
    /// Its pages are damaged.
    #[error(
        "the database {path} is damaged ({reason}): keep the file; restore a backup, or recover what you can with \
         `sqlite3 {path} .recover`"
    )]
    Damaged {
        /// Its path.
        path: String,
        /// The problem that SQLite found.
        reason: String,
    },
    /// Another process locked the database for longer than the busy timeout.
    #[error("the database {path} is locked by another process: stop that process and try again")]
    Busy {
        /// Its path.
        path: String,
    },
    /// The database server cannot be used at this moment.
    #[error("the database {place} is unavailable ({reason}): {advice}; no data are lost meanwhile")]
    Unavailable {
        /// Its address.
        place: String,
        /// The problem.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// The database server refused an operation; a person must change something.
    #[error("the database {place} refused nextrun ({reason}): {advice}")]
    Refused {
        /// Its address.
        place: String,
        /// The problem.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// The database server returned an error that nextrun does not expect.
    #[error("the database {place} failed ({reason}): report this as a bug, with the server's log")]
    Unexpected {
        /// Its address.
        place: String,
        /// The error.
        reason: String,
    },
    /// Another daemon has taken over the log directory.
    #[error("another daemon has taken over this log directory in the database {place}: this one waits until it ends")]
    Superseded {
        /// Its address.
        place: String,
    },
    /// Another daemon uses the same state directory.
    #[error("another nextrun works with {path}: stop it first, or choose another state directory")]
    Taken {
        /// Path of the lock file.
        path: String,
    },
    /// A file system operation failed.
    #[error("could not {action} {path}: {source}")]
    Files {
        /// The operation.
        action: &'static str,
        /// The file or directory.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The store's thread has ended.
    #[error("the store's thread ended before it answered: the process is stopping, or a store operation panicked")]
    Gone,
    /// A stored value cannot be decoded.
    #[error("the database {path} contains a {what} that cannot be read: {reason}")]
    Corrupt {
        /// Its path.
        path: String,
        /// The kind of value.
        what: String,
        /// The reason.
        reason: String,
    },
}

impl StoreError {
    /// Whether this store will never work again, because its thread or its ownership has ended.
    pub fn is_final(&self) -> bool {
        matches!(self, StoreError::Gone | StoreError::Superseded { .. })
    }

    /// Whether the operation may succeed later without changes to the database itself: the disk is full, read-only or
    /// failing, another process holds the lock, the server cannot be reached, or it refuses what a person can permit.
    pub fn may_pass(&self) -> bool {
        match self {
            StoreError::Full { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::Busy { .. }
            | StoreError::Unavailable { .. }
            | StoreError::Refused { .. } => true,
            StoreError::Database { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(rusqlite::ErrorCode::SystemIoFailure | rusqlite::ErrorCode::CannotOpen)
            ),
            StoreError::Newer { .. }
            | StoreError::Older { .. }
            | StoreError::Missing { .. }
            | StoreError::NotADatabase { .. }
            | StoreError::Damaged { .. }
            | StoreError::Superseded { .. }
            | StoreError::Unexpected { .. }
            | StoreError::Taken { .. }
            | StoreError::Files { .. }
            | StoreError::Gone
            | StoreError::Corrupt { .. } => false,
        }
    }
}

/// Storage for cases and deliveries. All time-dependent queries take the time as an argument.
pub trait Store: Send {
    /// Commits one step of the diagnosis in one transaction.
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError>;
    /// All cases, newest first; `open_only` excludes closed cases.
    fn cases(&mut self, open_only: bool) -> Result<Vec<Result<StoredCase, UnreadableCase>>, StoreError>;
    /// One case by its id or a unique prefix.
    fn case(&mut self, id: &str) -> Result<Option<StoredCase>, StoreError>;
    /// The journal of a case, oldest first.
    fn journal(&mut self, case: &CaseId) -> Result<Vec<JournalEntry>, StoreError>;
    /// Requests that have not been carried out yet, oldest first.
    fn requests(&mut self) -> Result<Vec<Result<Request, Unreadable>>, StoreError>;
    /// Questions to people, oldest first: of one case or all cases; only open questions, or all.
    fn asks(&mut self, case: Option<&CaseId>, open_only: bool) -> Result<Vec<Result<Ask, Unreadable>>, StoreError>;
    /// The question with the given id.
    fn ask(&mut self, id: &str) -> Result<Option<Ask>, StoreError>;
    /// Stores the answer to a question and a request to the daemon in one transaction. The answer is accepted only if
    /// it is the first, arrives before the deadline (according to its `at`), is one of the possible answers, and, if
    /// `fingerprint` is given, refers to what was shown.
    fn reply(&mut self, ask: &str, fingerprint: Option<&str>, reply: &Reply) -> Result<Replied, StoreError>;
    /// The log directories that were watched when this was last committed, and earlier ones.
    fn directories(&mut self) -> Result<Vec<KnownDirectory>, StoreError>;
    /// The latest status report of each job without a suggestion.
    fn fates(&mut self) -> Result<Vec<Result<JobFate, Unreadable>>, StoreError>;
    /// The case that made a suggestion, if the id is known.
    fn suggested(&mut self, id: &str) -> Result<Option<OfCase>, StoreError>;
    /// The newest case about a job: the open one, otherwise the one closed last.
    fn newest_case_of(&mut self, job: &str) -> Result<Option<OfCase>, StoreError>;
    /// Leases up to `limit` due deliveries of one destination and marks them `Sending`, in order within each case: a
    /// delivery waits while an earlier one of its case and destination is neither delivered nor given up. `Unknown`
    /// deliveries are due like `Pending` ones; the returned state is the one before the lease. A delivery whose last
    /// change is later than `now` is also due, because the clock was set back. The attempt is counted and committed
    /// before this returns.
    fn lease(&mut self, destination: &str, now: f64, limit: u32) -> Result<Vec<Delivery>, StoreError>;
    /// Records the result of an attempt. A delivery recorded as delivered stays delivered.
    fn tried(&mut self, tried: &Tried, now: f64) -> Result<(), StoreError>;
    /// Stores the destination's id for a message before follow-up requests are sent.
    fn accepted(&mut self, delivery: i64, reference: &str) -> Result<(), StoreError>;
    /// The id stored in this way.
    fn reference(&mut self, delivery: i64) -> Result<Option<String>, StoreError>;
    /// Deliveries with their attempts, newest first.
    fn history(&mut self, which: Which<'_>) -> Result<Vec<Result<Owed, Unreadable>>, StoreError>;
    /// Decodable deliveries, newest first; `case` and `state` are filters.
    fn deliveries(&mut self, case: Option<&CaseId>, state: Option<DeliveryState>) -> Result<Vec<Delivery>, StoreError> {
        let listed = self.history(Which { case, state, ..Which::default() })?;
        Ok(listed.into_iter().flatten().map(|owed| owed.delivery).collect())
    }
    /// The number of deliveries.
    fn tally(&mut self) -> Result<Tally, StoreError>;
    /// Silences, and delayed messages that have not been sent, oldest first.
    fn quieted(&mut self) -> Result<Quieted, StoreError>;
    /// Called after a start: every `Sending` delivery becomes `Unknown`. Returns the number.
    fn recover(&mut self, now: f64) -> Result<u32, StoreError>;
    /// The next time at which [`Store::lease`] can return a delivery for a destination, if any; deliveries that wait
    /// for an earlier one of their case do not count.
    fn next_due(&mut self, destination: &str) -> Result<Option<f64>, StoreError>;
}
