//! One point of a series.
//!
//! Owns: what is logged at a step. Must not know: how points are kept.

/// One scalar as logged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Global step: optimizer steps, epochs or examples, depending on the program.
    pub step: i64,
    /// Seconds since the Unix epoch; NaN if the event had no usable time.
    pub wall_time: f64,
    /// The value; NaN and infinities are data.
    pub value: f64,
}
