//! Detects clock changes.
//!
//! Owns: the comparison of the wall clock with a monotonic clock. Must not know: what time is used for.

use std::time::Instant;

/// Smaller differences are caused by time synchronisation and by scheduling between two clock readings.
const NOTICEABLE: f64 = 2.0;

/// Both clocks at the last check.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    /// Seconds since the Unix epoch.
    wall: f64,
    steady: Instant,
}

impl Clocks {
    pub(super) fn new(wall: f64, steady: Instant) -> Clocks {
        Clocks { wall, steady }
    }

    /// The seconds by which the wall clock jumped since the last check, if it did: positive (also after a suspend) or
    /// negative.
    pub(super) fn set_by(&mut self, wall: f64, steady: Instant) -> Option<f64> {
        let passed = steady.saturating_duration_since(self.steady).as_secs_f64();
        let by = (wall - self.wall) - passed;
        *self = Clocks { wall, steady };
        (by.abs() > NOTICEABLE).then_some(by)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_that_passes_is_no_setting_and_a_setting_is_told_once() {
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let mut clocks = Clocks::new(1000.0, begun);
        assert_eq!(clocks.set_by(1060.0, at(60)), None);
        assert_eq!(clocks.set_by(1061.5, at(60)), None, "slewed");
        assert_eq!(clocks.set_by(4661.5, at(60)), Some(3600.0));
        assert_eq!(clocks.set_by(4662.5, at(61)), None);
        assert_eq!(clocks.set_by(1062.5, at(61)), Some(-3600.0));
    }
}
