//! Notices: things about a case that a person has to know or fix before it can continue.
//!
//! Owns: the body of such a message. Must not know: when one is sent.

use serde::{Deserialize, Serialize};

use super::About;
use crate::fate::Fate;

/// Something about a case that a person has to know or fix.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notice {
    /// The case.
    #[serde(flatten)]
    pub about: About,
    /// Its kind: `not_as_asked` (a run differs from the request), a status (`failed`, `out_of_memory`, …: a run ended
    /// without a result), `refused` (a destination accepts no runs), `disputed` (several runs claim to be one),
    /// `budget`.
    pub what: String,
    /// What happened, and what to do, in words.
    pub why: String,
    /// The suggestion, if it is about one.
    pub suggestion_id: Option<String>,
    /// The folder of its run, relative to the log directory.
    pub run_name: Option<String>,
    /// The status of its job, with the last lines of its log. Untrusted: escape them wherever they are shown.
    pub fate: Option<Fate>,
}

impl Notice {
    /// A notice about a suggestion; empty if it is about none.
    pub fn of(suggestion: &str, what: &str, why: &str, fate: Option<&Fate>) -> Notice {
        Notice {
            what: what.to_owned(),
            why: why.to_owned(),
            suggestion_id: Some(suggestion.to_owned()).filter(|id| !id.is_empty()),
            fate: fate.cloned(),
            ..Notice::default()
        }
    }
}
