//! Answers of people: the one path from a click, a command or a request to the store.
//!
//! Owns: who may answer, and the reply to the person. Must not know: the origin of an answer, and its consequences.

use crate::case::{CaseId, Person, RUN, Reply, SKIP, SNOOZE};
use crate::config::Approvers;
use crate::store::{Ask, AskKind, AskState, Replied, Store, StoreError};

/// An answer to submit.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// The id of the message with the question.
    pub ask: String,
    /// Fingerprint of what that person was shown; `None` if the person has just looked it up.
    pub fingerprint: Option<String>,
    /// The answer, and who gives it.
    pub reply: Reply,
}

/// The outcome.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// It counts.
    Taken(Ask, Reply),
    /// Another answer was first, or the same person clicked twice.
    Already(Ask, Reply),
    /// It came too late.
    Expired(Ask),
    /// The case now asks something else, or nothing.
    Withdrawn(Ask),
    /// The question has changed since it was shown.
    Changed(Ask),
    /// This person may not answer for this job.
    NotAllowed(Ask),
    /// There is no such answer.
    NoSuchAnswer(Ask),
    /// There is no question with this id.
    NoSuchAsk,
}

/// Submits an answer. The permission is checked now, even if the person could see the question.
///
/// # Errors
/// The store failed; nothing changed.
pub fn give(store: &mut dyn Store, approvers: &Approvers, submission: &Submission) -> Result<Said, StoreError> {
    let Some(ask) = store.ask(&submission.ask)? else { return Ok(Said::NoSuchAsk) };
    if !approvers.may(&ask.job, &submission.reply.by) {
        return Ok(Said::NotAllowed(ask));
    }
    let said = match store.reply(&submission.ask, submission.fingerprint.as_deref(), &submission.reply)? {
        Replied::Kept(ask) => Said::Taken(ask, submission.reply.clone()),
        Replied::Refused(ask) => why_not(ask, submission),
        Replied::Unknown => Said::NoSuchAsk,
    };
    Ok(said)
}

fn why_not(ask: Ask, submission: &Submission) -> Said {
    match &ask.state {
        AskState::Answered(first) => {
            let first = first.clone();
            Said::Already(ask, first)
        }
        _ if submission.reply.at >= ask.expires => Said::Expired(ask),
        AskState::Withdrawn => Said::Withdrawn(ask),
        AskState::Open if !ask.answers.contains(&submission.reply.answer) => Said::NoSuchAnswer(ask),
        AskState::Open => Said::Changed(ask),
    }
}

/// The current question of a case.
///
/// # Errors
/// The store failed.
pub fn open_ask(store: &mut dyn Store, case: &CaseId) -> Result<Option<Ask>, StoreError> {
    Ok(store.asks(Some(case), true)?.into_iter().flatten().last())
}

/// The effect of an answer, in a few words.
fn deed(ask: &Ask, answer: &str) -> String {
    match (ask.kind, answer) {
        (AskKind::Approval, RUN) => "approved".to_owned(),
        (AskKind::Approval, SKIP) => "declined".to_owned(),
        (AskKind::Approval, SNOOZE) => "snoozed for 4 h".to_owned(),
        _ => format!("answered `{answer}`"),
    }
}

impl Said {
    /// Whether the answer counts.
    pub fn is_taken(&self) -> bool {
        matches!(self, Said::Taken(..))
    }

    /// The question, if known.
    pub fn ask(&self) -> Option<&Ask> {
        match self {
            Said::Taken(ask, _)
            | Said::Already(ask, _)
            | Said::Expired(ask)
            | Said::Withdrawn(ask)
            | Said::Changed(ask)
            | Said::NotAllowed(ask)
            | Said::NoSuchAnswer(ask) => Some(ask),
            Said::NoSuchAsk => None,
        }
    }

    /// The new state as one line below the question. `person` and `time` format these values. `None` if the question is
    /// still open.
    pub fn outcome(&self, person: impl Fn(&Person) -> String, time: impl Fn(f64) -> String) -> Option<String> {
        match self {
            Said::Taken(ask, reply) | Said::Already(ask, reply) => {
                let deed = deed(ask, &reply.answer);
                let why = if reply.why.is_empty() { String::new() } else { format!(": {}", reply.why) };
                Some(format!("{deed} by {} at {}{why}", person(&reply.by), time(reply.at)))
            }
            Said::Expired(ask) if ask.kind == AskKind::Approval => {
                Some(format!("expired at {} without an answer: not run", time(ask.expires)))
            }
            Said::Expired(ask) => Some(format!("expired at {} without an answer", time(ask.expires))),
            Said::Withdrawn(_) => Some("no longer needed: the case continued without an answer".to_owned()),
            Said::Changed(_) | Said::NotAllowed(_) | Said::NoSuchAnswer(_) | Said::NoSuchAsk => None,
        }
    }

    /// The reply to the person who answered.
    pub fn words(&self, person: impl Fn(&Person) -> String, time: impl Fn(f64) -> String) -> String {
        match self {
            Said::Taken(..) => self.outcome(person, time).unwrap_or_default(),
            Said::Already(..) => format!("already {}", self.outcome(person, time).unwrap_or_default()),
            Said::Expired(_) | Said::Withdrawn(_) => self.outcome(person, time).unwrap_or_default(),
            Said::Changed(_) => "this question is out of date; see the newest message of the case".to_owned(),
            Said::NotAllowed(ask) => {
                format!("you may not answer for {}; `approvers` in nextrun's configuration lists who may", ask.job)
            }
            Said::NoSuchAnswer(ask) => format!("the possible answers are {}", ask.answers.join(", ")),
            Said::NoSuchAsk => "nextrun does not know this question; its case may have been deleted".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Glob;
    use crate::store::{Commit, Sqlite};

    fn person(provider: &str, user: &str) -> Person {
        Person { provider: provider.into(), user: user.into(), name: None }
    }

    fn submission(answer: &str, by: Person, at: f64) -> Submission {
        let reply = Reply { answer: answer.into(), by, at, why: String::new() };
        Submission { ask: "a1".into(), fingerprint: Some("f".into()), reply }
    }

    fn store(folder: &std::path::Path) -> Sqlite {
        let mut store = Sqlite::open(&folder.join("db")).unwrap();
        let ask = Ask {
            id: "a1".into(),
            case: CaseId("c1".into()),
            job: "vision/1".into(),
            kind: AskKind::Approval,
            shown: json!({}),
            fingerprint: "f".into(),
            answers: vec!["run".into(), "skip".into()],
            asked: 0.0,
            expires: 100.0,
            state: AskState::Open,
        };
        store.commit(&Commit { asks: vec![ask], ..Commit::default() }).unwrap();
        store
    }

    fn words(said: &Said) -> String {
        said.words(|person| person.user.clone(), |time| format!("{time} s"))
    }

    #[test]
    fn everybody_is_told_what_came_of_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path());
        let glob = Glob::new("vision/**").unwrap();
        let approvers = Approvers::new(vec![(glob, vec!["slack:U1".into(), "slack:U2".into()])]);
        let mut try_it = |submission: &Submission| words(&give(&mut store, &approvers, submission).unwrap());
        let stranger = submission("run", person("slack", "U9"), 1.0);
        assert!(try_it(&stranger).starts_with("you may not answer for vision/1"));
        let elsewhere = submission("run", person("local", "U1"), 1.0);
        assert!(try_it(&elsewhere).starts_with("you may not"), "a user of the same name elsewhere is another one");
        assert_eq!(try_it(&submission("maybe", person("slack", "U1"), 1.0)), "the possible answers are run, skip");
        let old = Submission { fingerprint: Some("old".into()), ..submission("run", person("slack", "U1"), 1.0) };
        assert!(try_it(&old).contains("out of date"));
        assert_eq!(try_it(&submission("run", person("slack", "U1"), 2.0)), "approved by U1 at 2 s");
        assert_eq!(try_it(&submission("skip", person("slack", "U2"), 3.0)), "already approved by U1 at 2 s");
        assert_eq!(try_it(&submission("run", person("slack", "U1"), 300.0)), "already approved by U1 at 2 s");
        let unknown = Submission { ask: "a9".into(), ..submission("run", person("slack", "U1"), 2.0) };
        assert!(try_it(&unknown).contains("does not know this question"));
    }

    #[test]
    fn no_answer_in_time_is_no() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path());
        let late = submission("run", person("slack", "U1"), 100.0);
        let said = give(&mut store, &Approvers::default(), &late).unwrap();
        assert_eq!(words(&said), "expired at 100 s without an answer: not run");
        store.commit(&Commit { standing: vec![(CaseId("c1".into()), None)], ..Commit::default() }).unwrap();
        let said = give(&mut store, &Approvers::default(), &submission("run", person("slack", "U1"), 50.0)).unwrap();
        assert!(words(&said).starts_with("no longer needed"));
    }
}
