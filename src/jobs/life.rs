//! Determines when a job is over: it reported its end, reached its last step, or has logged nothing for too long.

/// How long a job may log nothing before it counts as ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum QuietLimit {
    /// Twenty times its usual interval, at least this many seconds.
    Adaptive {
        /// Seconds; ten minutes by default.
        floor: f64,
    },
    /// A fixed number of seconds.
    Fixed(f64),
}

/// A pause of this many mean intervals between events is longer than usual; an evaluation or a checkpoint takes only a
/// few.
const GAPS: f64 = 20.0;

/// A job that has not logged its first loss loads data, compiles, or waits for its peers, so it gets this many times
/// the patience.
const BEFORE_FIRST_LOSS: f64 = 6.0;

impl QuietLimit {
    /// Seconds of silence that end a job whose events came `gap` seconds apart on average.
    pub fn seconds(self, gap: Option<f64>) -> f64 {
        match self {
            QuietLimit::Fixed(seconds) => seconds,
            QuietLimit::Adaptive { floor } => floor.max(GAPS * gap.unwrap_or(0.0)),
        }
    }
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Course {
    /// Latest optimizer step (or epoch) as a fraction of the planned ones, if both are known.
    pub done: Option<f64>,
    /// Optimizer updates so far; `None` if the log counts epochs, and nothing shows how many updates these take.
    pub updates: Option<f64>,
}

/// The known times of a job, in seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pulse {
    /// When something new of it was last seen: the newer of the newest event's own time and of the tick that found it.
    pub last_seen: f64,
    /// Mean seconds between its events, if it has several.
    pub gap: Option<f64>,
    /// It has logged a loss (or a reward).
    pub started: bool,
    /// It said that its session ended, after its last point.
    pub said_ended: bool,
    /// Latest optimizer step (or epoch) as a fraction of the planned ones, if both are known.
    pub done: Option<f64>,
}

/// The stage of a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// It has ended.
    pub ended: bool,
    /// It reported its end itself, or reached its last step.
    pub finished: bool,
    /// Seconds without an event.
    pub silent_for: f64,
    /// Seconds without an event after which it counts as ended.
    pub patience: f64,
}

/// The stage of a job at `now`.
pub fn stage(pulse: Pulse, patience: QuietLimit, now: f64) -> Stage {
    let silent_for = (now - pulse.last_seen).max(0.0);
    let patience = patience.seconds(pulse.gap) * if pulse.started { 1.0 } else { BEFORE_FIRST_LOSS };
    let finished = pulse.said_ended || pulse.done.is_some_and(|done| done >= 1.0);
    Stage { ended: finished || silent_for >= patience, finished, silent_for, patience }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PULSE: Pulse =
        Pulse { last_seen: 1000.0, gap: Some(60.0), started: true, said_ended: false, done: Some(0.5) };

    #[test]
    fn patience_follows_the_rhythm_of_the_job() {
        let adaptive = QuietLimit::Adaptive { floor: 600.0 };
        assert!(!stage(PULSE, adaptive, 2100.0).ended);
        assert!(stage(PULSE, adaptive, 2300.0).ended);
        assert!(stage(PULSE, QuietLimit::Fixed(5.0), 1006.0).ended);
    }

    #[test]
    fn a_job_without_a_loss_is_still_starting() {
        let starting = Pulse { started: false, done: None, ..PULSE };
        assert!(!stage(starting, QuietLimit::Fixed(5.0), 1029.0).ended);
        assert!(stage(starting, QuietLimit::Fixed(5.0), 1031.0).ended);
    }

    #[test]
    fn the_last_step_ends_a_job_at_once() {
        let stage = stage(Pulse { done: Some(1.0), ..PULSE }, QuietLimit::Fixed(60.0), 1001.0);
        assert!(stage.ended && stage.finished);
    }
}
