//! Units of series: accuracies are fractions, whatever they were logged as.

use crate::series::Sketch;
use crate::signals::is_error_rate;

/// The unit of a series, determined once: fractions are between 0 and 1, and higher is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    factor: f64,
    offset: f64,
}

impl Unit {
    /// The value as logged.
    pub const AS_LOGGED: Unit = Unit { factor: 1.0, offset: 0.0 };

    /// The unit of an accuracy: percentages become fractions, and error rates become accuracies.
    pub(super) fn of_accuracy(tag: &str, sketch: &Sketch) -> Unit {
        let wrong = is_error_rate(tag);
        let highest = sketch.highest().map_or(0.0, |highest| highest.value);
        // An error rate can slightly exceed 1 if more is inserted than there was to be said.
        let per_cent = if wrong { highest >= 5.0 } else { highest > 1.5 };
        let share = if per_cent { 0.01 } else { 1.0 };
        if wrong { Unit { factor: -share, offset: 1.0 } } else { Unit { factor: share, offset: 0.0 } }
    }

    pub(super) fn of(self, value: f64) -> f64 {
        self.offset + self.factor * value
    }

    /// The rest of a fraction to 1.
    pub(super) fn turned(self) -> Unit {
        Unit { factor: -self.factor, offset: 1.0 - self.offset }
    }

    pub(super) fn flips(self) -> bool {
        self.factor < 0.0
    }

    pub(super) fn size(self) -> f64 {
        self.factor.abs()
    }
}
