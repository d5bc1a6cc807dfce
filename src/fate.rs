//! The status of a job, as reported by whoever runs it.
//!
//! Owns: the one vocabulary for job status, in payloads, journal, metrics and commands alike. Must not know: engines,
//! policies, and the consequences of a status.

use serde::{Deserialize, Serialize};

/// Maximum size of the log tail in bytes; longer ones are shortened.
pub const LONGEST_TAIL: usize = 4096;

/// The current or final state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FateState {
    /// Waiting for resources.
    Queued,
    /// Waiting for a person.
    Held,
    /// Running.
    Running,
    /// Exited with code 0.
    Ended,
    /// Exited with another code, or by its own signal.
    Failed,
    /// Cancelled by a person.
    Cancelled,
    /// Stopped by nextrun.
    Stopped,
    /// Killed because it was out of memory on the host or the device.
    OutOfMemory,
    /// Killed at its time limit.
    OutOfTime,
    /// Its node failed, or it was evicted or preempted.
    Lost,
    /// The engine has no record of it.
    Gone,
}

impl FateState {
    /// Every state, in the order of a job's life.
    pub const ALL: [FateState; 11] = [
        FateState::Queued,
        FateState::Held,
        FateState::Running,
        FateState::Ended,
        FateState::Failed,
        FateState::Cancelled,
        FateState::Stopped,
        FateState::OutOfMemory,
        FateState::OutOfTime,
        FateState::Lost,
        FateState::Gone,
    ];

    /// The word in payloads.
    pub fn word(self) -> &'static str {
        match self {
            FateState::Queued => "queued",
            FateState::Held => "held",
            FateState::Running => "running",
            FateState::Ended => "ended",
            FateState::Failed => "failed",
            FateState::Cancelled => "cancelled",
            FateState::Stopped => "stopped",
            FateState::OutOfMemory => "out_of_memory",
            FateState::OutOfTime => "out_of_time",
            FateState::Lost => "lost",
            FateState::Gone => "gone",
        }
    }

    /// Whether the job broke down: it ended early without anyone requesting it.
    pub fn is_breakdown(self) -> bool {
        matches!(self, FateState::Failed | FateState::OutOfMemory | FateState::OutOfTime | FateState::Lost)
    }

    /// Whether the job has ended in this attempt.
    pub fn is_final(self) -> bool {
        !matches!(self, FateState::Queued | FateState::Held | FateState::Running)
    }
}

/// The status of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fate {
    /// The current or final state.
    pub state: FateState,
    /// The reason, as stated by the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The exit code of the process, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the process, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The number of the attempt, from 1; engines requeue jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The last lines of its log, at most [`LONGEST_TAIL`] bytes. Untrusted: escape them wherever they are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<String>,
    /// Absolute paths of the event files that the job was observed to write, if its runner supports this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_files: Vec<String>,
}

impl Fate {
    /// A status with only a state.
    pub fn new(state: FateState) -> Fate {
        let none = (None, None, None, None, None);
        let (reason, exit_code, signal, attempt, tail) = none;
        Fate { state, reason, exit_code, signal, attempt, tail, event_files: Vec::new() }
    }

    /// The status for people: `it failed with exit code 2 (NonZeroExitCode)`.
    pub fn in_words(&self) -> String {
        let what = match self.state {
            FateState::Queued => "it is waiting for resources",
            FateState::Held => "it is waiting for a person",
            FateState::Running => "it is running",
            FateState::Ended => "it ended without an error",
            FateState::Failed => "it failed",
            FateState::Cancelled => "a person cancelled it",
            FateState::Stopped => "nextrun stopped it",
            FateState::OutOfMemory => "it ran out of memory",
            FateState::OutOfTime => "it ran out of time",
            FateState::Lost => "it was lost because its node failed, or it was evicted or preempted",
            FateState::Gone => "its engine has no record of it",
        };
        let how = match (self.exit_code.filter(|code| *code != 0), self.signal) {
            (_, Some(signal)) => format!(" by signal {signal}"),
            (Some(code), None) => format!(" with exit code {code}"),
            (None, None) => String::new(),
        };
        let reason = self.reason.as_ref().filter(|reason| !reason.is_empty());
        what.to_owned() + &how + &reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
    }

    /// Shortens the tail to its last [`LONGEST_TAIL`] bytes, at a character boundary.
    #[must_use]
    pub fn bounded(mut self) -> Fate {
        if let Some(tail) = self.tail.as_mut().filter(|tail| tail.len() > LONGEST_TAIL) {
            let from = tail.len() - LONGEST_TAIL;
            let from = (from..tail.len()).find(|at| tail.is_char_boundary(*at)).unwrap_or(tail.len());
            tail.drain(..from);
        }
        self
    }
}

/// The status of a job without a suggestion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobFate {
    /// The job, relative to the log directory.
    pub job: String,
    /// Its status.
    pub fate: Fate,
    /// Time of the report, in seconds since the Unix epoch.
    pub told: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_reads_back_by_its_word() {
        for state in FateState::ALL {
            let json = format!("\"{}\"", state.word());
            assert_eq!(serde_json::from_str::<FateState>(&json).unwrap(), state);
            assert_eq!(serde_json::to_string(&state).unwrap(), json);
        }
    }

    #[test]
    fn a_fate_reads_like_a_sentence() {
        let failed =
            Fate { exit_code: Some(2), reason: Some("NonZeroExitCode".into()), ..Fate::new(FateState::Failed) };
        assert_eq!(failed.in_words(), "it failed with exit code 2 (NonZeroExitCode)");
        assert_eq!(Fate::new(FateState::OutOfMemory).in_words(), "it ran out of memory");
        let ended = Fate { exit_code: Some(0), ..Fate::new(FateState::Ended) };
        assert_eq!(ended.in_words(), "it ended without an error");
    }

    #[test]
    fn a_long_tail_keeps_its_newest_bytes() {
        let tail = "ä".repeat(3000) + "end";
        let fate = Fate { tail: Some(tail), ..Fate::new(FateState::Failed) }.bounded();
        let kept = fate.tail.unwrap();
        assert!(kept.len() <= LONGEST_TAIL && kept.ends_with("äend"), "{}", kept.len());
    }
}
