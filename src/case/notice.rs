//! What a person has to know of a case, or to mend, before it can go on.
//!
//! Owns: the body of such a message. Must not know: when one is due.

use serde::{Deserialize, Serialize};

use super::About;
use crate::fate::Fate;

/// Something about a case that a person has to know, or to mend.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notice {
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
    /// What it is: `not_as_asked` (a run is not what was asked for), a fate (`failed`, `out_of_memory`, … : a run came to
    /// nothing), `refused` (a destination takes no runs), `disputed` (several runs claim to be one), `budget`.
    pub what: String,
    /// What happened, and what to do, in words.
    pub why: String,
    /// The suggestion that it is about, where it is about one.
    pub suggestion_id: Option<String>,
    /// The folder of its run, relative to the log directory.
    pub run_name: Option<String>,
    /// What became of its job, with the last lines of its log. They come from strangers: escape them where they are shown.
    pub fate: Option<Fate>,
}

impl Notice {
    /// A notice about a suggestion; empty: about none.
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
