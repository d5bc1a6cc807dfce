//! Requests to the daemon from people and from systems that run jobs.

use serde::{Deserialize, Serialize};

use crate::case::{CaseId, Reply};
use crate::fate::Fate;

/// A request of another process to the daemon, stored until the daemon has carried it out.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Row id.
    pub id: i64,
    /// The case that it is about, if any.
    pub case: Option<CaseId>,
    /// The request.
    pub wish: Wish,
}

/// The kinds of requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// This job is the open experiment of the case.
    Link(String),
    /// Close the case manually.
    Close {
        /// The verdict.
        verdict: String,
        /// The reason.
        why: String,
    },
    /// A person's answer to the question in this message.
    Reply {
        /// The id of the message.
        ask: String,
        /// The answer.
        reply: Reply,
    },
    /// The problem for which the case was paused is fixed; resume it.
    Resume,
    /// Send this delivery again.
    Resend(i64),
    /// Give up this delivery.
    Drop {
        /// Its row id.
        delivery: i64,
        /// The reason.
        why: String,
    },
    /// Never send this delayed message.
    Withdraw {
        /// The row id of the delayed message.
        row: i64,
        /// The message.
        message: String,
        /// Its destination.
        destination: String,
        /// The reason.
        why: String,
    },
    /// Status of the job that runs a suggestion.
    FateOfExperiment {
        /// The suggestion.
        suggestion: String,
        /// Its status.
        fate: Fate,
    },
    /// Status of a job without a suggestion.
    FateOfJob {
        /// The job, relative to the log directory.
        job: String,
        /// Its status.
        fate: Fate,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::case::Person;

    #[test]
    fn wishes_keep_their_form() {
        for (wish, text) in [
            (Wish::Link("runs/1".into()), json!({"link": "runs/1"})),
            (
                Wish::Reply {
                    ask: "c1-asked-look-1".into(),
                    reply: Reply { answer: "found".into(), by: Person::default(), at: 1.0, why: String::new() },
                },
                json!({"reply": {"ask": "c1-asked-look-1", "reply": {
                    "answer": "found", "by": {"provider": "", "user": ""}, "at": 1.0, "why": ""}}}),
            ),
            (Wish::Resend(7), json!({"resend": 7})),
            (Wish::Drop { delivery: 7, why: "x".into() }, json!({"drop": {"delivery": 7, "why": "x"}})),
        ] {
            assert_eq!(serde_json::to_value(&wish).unwrap(), text);
            assert_eq!(serde_json::from_value::<Wish>(text).unwrap(), wish);
        }
    }
}
