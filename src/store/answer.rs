//! The response of a destination to a message.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The response of a destination, or the reason why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The destination has received the message.
    Accepted {
        /// The destination's id for the message, such as a job id.
        #[serde(default)]
        reference: Option<String>,
    },
    /// The destination permanently refused the suggestion: the script does not support these knobs.
    Refused {
        /// By canonical name.
        #[serde(default)]
        unknown_knobs: Vec<String>,
        /// The text of the response.
        #[serde(default)]
        why: String,
    },
    /// Anything else, in words.
    Said(String),
}

impl Answer {
    /// The destination's id for the message, if any.
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
