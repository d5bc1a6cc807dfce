//! What a destination said to a message.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a destination answered, or why it did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It has the message.
    Accepted {
        /// What it calls the message, such as a job id.
        #[serde(default)]
        reference: Option<String>,
    },
    /// It refused the suggestion for good: the script lacks these knobs.
    Refused {
        /// By canonical name.
        #[serde(default)]
        unknown_knobs: Vec<String>,
        /// What the destination said.
        #[serde(default)]
        why: String,
    },
    /// Anything else, in words.
    Said(String),
}

impl Answer {
    /// What the destination calls the message, where it said so.
    pub fn reference(&self) -> Option<&str> {
        match self {
            Answer::Accepted { reference } => reference.as_deref(),
            Answer::Refused { .. } | Answer::Said(_) => None,
        }
    }
}

impl From<&str> for Answer {
    fn from(words: &str) -> Self {
        Answer::Said(words.to_owned())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Accepted { reference: Some(reference) } => write!(f, "accepted as {reference}"),
            Answer::Accepted { reference: None } => f.write_str("accepted"),
            Answer::Refused { unknown_knobs, why } if unknown_knobs.is_empty() => f.write_str(why),
            Answer::Refused { unknown_knobs, why } => {
                write!(f, "{why} (unknown knobs: {})", unknown_knobs.join(", "))
            }
            Answer::Said(words) => f.write_str(words),
        }
    }
}
