//! What became of a job, as whoever runs it tells.
//!
//! Owns: the one vocabulary of fates, in payloads, journal, metrics and commands alike. Must not know: engines, policies,
//! and what follows from a fate.

use serde::{Deserialize, Serialize};

/// The log tail that a fate carries is cut to this many bytes.
pub const LONGEST_TAIL: usize = 4096;

/// Where a job is, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FateState {
    /// Waits for resources.
    Queued,
    /// Waits for a person.
    Held,
    /// Runs.
    Running,
    /// Exited with code 0.
    Ended,
    /// Exited with another code, or by a signal of its own making.
    Failed,
    /// Cancelled by somebody.
    Cancelled,
    /// Stopped by nextrun.
    Stopped,
    /// Killed for memory, of the host or of the device.
    OutOfMemory,
    /// Killed for its time limit.
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

    /// Whether a job broke down: it came to its end before its time, and nobody wanted that.
    pub fn is_breakdown(self) -> bool {
        matches!(self, FateState::Failed | FateState::OutOfMemory | FateState::OutOfTime | FateState::Lost)
    }

    /// Whether the job will not run any more in this attempt.
    pub fn is_final(self) -> bool {
        !matches!(self, FateState::Queued | FateState::Held | FateState::Running)
    }
}

/// What became of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fate {
    /// Where it is, or how it ended.
    pub state: FateState,
    /// Why, in the engine's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The exit code of the process, where it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the process, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Which attempt this is about, from 1; engines requeue jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The last lines of its log, at most [`LONGEST_TAIL`] bytes. They come from strangers: escape them wherever they are
    /// shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<String>,
    /// Absolute paths of the event files that the job was seen to write, where its runner can see that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_files: Vec<String>,
}

impl Fate {
    /// A fate of which only the state is known.
    pub fn new(state: FateState) -> Fate {
        let none = (None, None, None, None, None);
        let (reason, exit_code, signal, attempt, tail) = none;
        Fate { state, reason, exit_code, signal, attempt, tail, event_files: Vec::new() }
    }

    /// What became of it, for people: `it failed with exit code 2 (NonZeroExitCode)`.
    pub fn in_words(&self) -> String {
        let what = match self.state {
            FateState::Queued => "it waits for resources",
            FateState::Held => "it waits for a person",
            FateState::Running => "it runs",
            FateState::Ended => "it ended without an error",
            FateState::Failed => "it failed",
            FateState::Cancelled => "somebody cancelled it",
            FateState::Stopped => "nextrun stopped it",
            FateState::OutOfMemory => "it ran out of memory",
            FateState::OutOfTime => "it ran out of time",
            FateState::Lost => "it was lost with its node, evicted or preempted",
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

    /// Cuts the tail to its newest [`LONGEST_TAIL`] bytes, at a character.
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

/// What became of a job that no suggestion asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobFate {
    /// The job, relative to the log directory.
    pub job: String,
    /// What became of it.
    pub fate: Fate,
    /// When that was told, in seconds since the Unix epoch.
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
