//! What a response can mean, in the words of presets.
//!
//! Owns: the words. Must not know: which response means what.

use serde::{Deserialize, Serialize};

/// The interpretation of a response according to a rule of a preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Meaning {
    Delivered,
    Refused,
    Later,
    Unknown,
    Permanent,
    /// An administrator must fix a problem.
    Site,
    /// The interpretation of the first code in the response that the table contains; if there is none, the rule does
    /// not apply.
    ByCode,
    /// For a query: the destination does not have the message.
    Absent,
}
