//! What the daemon is asked to do, by people and by those who run jobs.

use serde::{Deserialize, Serialize};

use crate::case::{CaseId, Reply};
use crate::fate::Fate;

/// What another process asked the daemon to do. It is kept until the daemon has done it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Row id.
    pub id: i64,
    /// The case that it is about, where it is about one.
    pub case: Option<CaseId>,
    /// What is asked.
    pub wish: Wish,
}

/// What can be asked of the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// This job carries out the open experiment of the case.
    Link(String),
    /// The case is closed by hand.
    Close {
        /// The verdict.
        verdict: String,
        /// Why.
        why: String,
    },
    /// A person answered what the case asks in this message.
    Reply {
        /// The id of the message.
        ask: String,
        /// The answer.
        reply: Reply,
    },
    /// What the case was paused for is mended: it goes on.
    Resume,
    /// This delivery is sent again.
    Resend(i64),
    /// This delivery is given up.
    Drop {
        /// Its row id.
        delivery: i64,
        /// Why.
        why: String,
    },
    /// A message that waits for a better moment never goes out.
    Withdraw {
        /// The row id of what waits.
        row: i64,
        /// The message.
        message: String,
        /// The destination that it is for.
        destination: String,
        /// Why.
        why: String,
    },
    /// What became of the job that carries out a suggestion.
    FateOfExperiment {
        /// The suggestion.
        suggestion: String,
        /// What became of it.
        fate: Fate,
    },
    /// What became of a job that no suggestion asked for.
    FateOfJob {
        /// The job, relative to the log directory.
        job: String,
        /// What became of it.
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
