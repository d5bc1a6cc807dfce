//! Questions of a case to people: approval of experiments, and questions that only a person can answer.
//!
//! Owns: when approval is needed, what was asked, and the consequences of the answer. Must not know: who may answer,
//! and how the answer arrives.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::control::{CONTROL, question_id};
use super::{Case, Cost, Experiment, NotTried, RunSuggested, Terms, Trace, Waiting, run_name, suggestion_id};
use crate::policy::{Happened, Position, Proposal};
use crate::series::joined;

/// The answer that approves an experiment.
pub const RUN: &str = "run";
/// The answer that continues without it.
pub const SKIP: &str = "skip";
/// The answer that postpones the question.
pub const SNOOZE: &str = "snooze";

/// Seconds until a snoozed approval request is repeated.
const SNOOZED_FOR: f64 = 4.0 * 3600.0;

/// Seconds that a case waits beyond the deadline. Answers are accepted until the deadline, and the daemon processes
/// them within a second, so that an accepted answer always counts.
const GRACE: f64 = 10.0;

/// Which experiments need approval before they run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Approval {
    /// None: configuring a destination that runs them counts as consent.
    #[default]
    Automatic,
    /// All.
    Ask,
    /// Those that are expected to take at least this many seconds, and those with unknown cost.
    AutomaticBelow(f64),
}

impl Approval {
    fn needed(self, cost: Option<Cost>) -> bool {
        match self {
            Approval::Automatic => false,
            Approval::Ask => true,
            Approval::AutomaticBelow(seconds) => {
                cost.and_then(|cost| cost.seconds).is_none_or(|expected| expected >= seconds)
            }
        }
    }
}

/// Who answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The provider that authenticates the user: `slack`, `local` (the command line), `http` (the status address).
    pub provider: String,
    /// The user's id at the provider, which, unlike a name, never changes.
    pub user: String,
    /// The displayed name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) if *name != self.user => write!(f, "{name} ({}:{})", self.provider, self.user),
            _ => write!(f, "{}:{}", self.provider, self.user),
        }
    }
}

/// An answer, with its author and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The name of the answer.
    pub answer: String,
    /// Who gave it.
    pub by: Person,
    /// When, in seconds since the Unix epoch.
    pub at: f64,
    /// The reason in the person's words; may be empty.
    #[serde(default)]
    pub why: String,
}

/// The approval that a case waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Awaited {
    /// The experiment.
    pub proposal: Proposal,
    /// Its suggestion.
    pub suggestion: String,
    /// Deadline in seconds since the Unix epoch; without an answer, the experiment is skipped.
    pub until: f64,
    /// How often approval was requested.
    pub asked: u32,
    /// If snoozed: when the question is repeated, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<f64>,
}

impl Awaited {
    /// The id of the message with the question.
    pub fn id(&self) -> String {
        approval_id(&self.suggestion, self.asked)
    }
}

/// An experiment that a person approved and that is waiting for room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approved {
    /// The position of its case.
    pub at: Position,
    /// The message with the question.
    pub ask: String,
}

/// An experiment that needs approval, with exactly what would run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApprovalAsked {
    /// The run as it would be suggested.
    #[serde(flatten)]
    pub run: RunSuggested,
    /// The possible answers.
    pub answers: Vec<String>,
    /// Deadline in seconds since the Unix epoch; without an answer, the experiment is skipped.
    pub expires: f64,
    /// Fingerprint of command, overrides and cost as shown here.
    pub fingerprint: String,
}

impl ApprovalAsked {
    /// Sets the fingerprint of what is shown.
    pub fn seal(&mut self) {
        let run = &self.run;
        self.fingerprint = fingerprint(&json!({
            "command": run.command, "arguments": run.arguments, "env": run.env, "cwd": run.cwd,
            "overrides": run.overrides, "cost": run.cost,
        }));
    }
}

/// A value that is equal if two people were shown the same.
pub fn fingerprint(shown: &Value) -> String {
    let hash = Sha256::digest(shown.to_string().as_bytes());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn approval_id(suggestion: &str, asked: u32) -> String {
    if asked <= 1 { format!("{suggestion}-approval") } else { format!("{suggestion}-approval-{asked}") }
}

impl Case {
    /// The current question to a person: the id of the message, and the deadline in seconds since the Unix epoch.
    pub fn asks(&self) -> Option<(String, f64)> {
        match &self.waiting {
            Waiting::Answer { question, until } => Some((question_id(&self.id, &question.at), *until)),
            Waiting::Approval(awaited) if awaited.again.is_none() => Some((awaited.id(), awaited.until)),
            Waiting::Approval(_) | Waiting::Room(_) | Waiting::Experiment | Waiting::Probe | Waiting::Nothing => None,
        }
    }

    /// The suggestion that is waiting for approval.
    pub fn unapproved(&self) -> Option<&str> {
        match &self.waiting {
            Waiting::Approval(awaited) => Some(&awaited.suggestion),
            _ => None,
        }
    }

    /// Whether an experiment needs approval. If only people run experiments, they decide anyway.
    pub(super) fn needs_approval(&self, proposal: &Proposal, cost: Option<Cost>, terms: &Terms<'_>) -> bool {
        let approved = self.approved.as_ref().is_some_and(|approved| approved.at == proposal.at);
        !approved && !terms.by_hand && terms.approval.needed(cost)
    }

    /// Requests approval of an experiment.
    pub(super) fn ask_approval(&mut self, proposal: Proposal, asked: u32, terms: &Terms<'_>, trace: &mut Trace) {
        let experiment = self.experiment_of(proposal.clone(), terms);
        let until = terms.now + terms.approve_within;
        let suggestion = experiment.suggestion.clone();
        let at = &proposal.at;
        let detail = json!({
            "state": at.state, "attempt": at.attempt, "suggestion_id": suggestion, "overrides": proposal.changes,
            "why": proposal.why, "cost": experiment.cost, "until": until,
        });
        trace.note(terms.now, "approval_asked", detail);
        let awaited = Awaited { proposal, suggestion, until, asked, again: None };
        trace.messages.push(self.approval_message(&experiment, &awaited, terms));
        self.waiting = Waiting::Approval(awaited);
    }

    /// The experiment that a proposal would become now.
    pub(super) fn experiment_of(&self, proposal: Proposal, terms: &Terms<'_>) -> Experiment {
        let n = self.experiments.len() + 1;
        let at = &proposal.at;
        let suggestion = suggestion_id(&self.id, at, n);
        let below = run_name(&self.id, &self.relative(&self.baseline), at, n);
        let run_name = joined(self.logdir.as_deref(), &below).into_owned();
        let (control, probe) = (at.state == CONTROL, self.is_quiet());
        let cost = self.expected_cost(&proposal.changes, control);
        let believed = if probe { Vec::new() } else { self.believed_before(terms.policy) };
        let (without_command, new) =
            (self.launched.is_none(), Experiment::new(suggestion, proposal, run_name, terms.now));
        Experiment { control, probe, cost, believed, without_command, ..new }
    }

    /// A person answers the question in the message with this id. Has no effect if the case now asks something else.
    pub fn reply(&mut self, ask: &str, reply: &Reply, terms: &Terms<'_>) -> Trace {
        if self.asks().is_none_or(|(id, _)| id != ask) {
            return Trace::default();
        }
        let mut trace = Trace::default();
        let state = match &self.waiting {
            Waiting::Answer { question, .. } => question.at.state.clone(),
            Waiting::Approval(awaited) => awaited.proposal.at.state.clone(),
            Waiting::Room(_) | Waiting::Experiment | Waiting::Probe | Waiting::Nothing => return trace,
        };
        trace.note(
            terms.now,
            "answered",
            json!({ "state": state, "answer": reply.answer, "by": reply.by, "at": reply.at, "why": reply.why }),
        );
        let Waiting::Approval(awaited) = self.waiting.clone() else {
            trace.append(self.judge(Happened::Answered(reply.answer.clone()), terms));
            return trace;
        };
        match reply.answer.as_str() {
            RUN => {
                self.approved = Some(Approved { at: awaited.proposal.at.clone(), ask: ask.to_owned() });
                self.start(awaited.proposal, terms, &mut trace);
            }
            SNOOZE => {
                self.waiting = Waiting::Approval(Awaited { again: Some(terms.now + SNOOZED_FOR), ..awaited });
            }
            _ => {
                let because = if reply.why.is_empty() { String::new() } else { format!(": {}", reply.why) };
                trace.append(self.not_approved(awaited, &format!("{} declined it{because}", reply.by), terms));
            }
        }
        trace
    }

    /// Time has passed while waiting for approval.
    pub(super) fn wait_for_approval(&mut self, awaited: Awaited, terms: &Terms<'_>) -> Trace {
        let mut trace = Trace::default();
        match awaited.again {
            Some(again) if terms.now >= again => {
                self.ask_approval(awaited.proposal, awaited.asked + 1, terms, &mut trace);
            }
            None if overdue(awaited.until, terms.now) => {
                let why = "nobody approved it in time";
                trace.note(terms.now, "unanswered", json!({ "state": awaited.proposal.at.state, "why": why }));
                trace.append(self.not_approved(awaited, why, terms));
            }
            _ => {}
        }
        trace
    }

    fn not_approved(&mut self, awaited: Awaited, why: &str, terms: &Terms<'_>) -> Trace {
        if awaited.proposal.at.state == CONTROL {
            return self.control_declined(why, terms);
        }
        let known = self.not_tried.len();
        let trace = self.judge(Happened::NoTest(why.to_owned()), terms);
        // Recorded once as not tried, under any name that the policy uses.
        let state = &awaited.proposal.at.state;
        if !self.not_tried.iter().skip(known).any(|left_out| left_out.state == *state) {
            self.not_tried.insert(known, NotTried { state: state.clone(), why: why.to_owned() });
        }
        trace
    }
}

/// Whether the question has expired, and no accepted answer can be pending.
pub(super) fn overdue(until: f64, now: f64) -> bool {
    now >= until + GRACE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_is_needed_for_what_is_dear_or_unknown() {
        let cost = |seconds| Some(Cost { seconds, ..Cost::default() });
        for (approval, cost, needed) in [
            (Approval::Automatic, None, false),
            (Approval::Ask, cost(Some(1.0)), true),
            (Approval::AutomaticBelow(1800.0), cost(Some(600.0)), false),
            (Approval::AutomaticBelow(1800.0), cost(Some(1800.0)), true),
            (Approval::AutomaticBelow(1800.0), cost(None), true),
            (Approval::AutomaticBelow(1800.0), None, true),
        ] {
            assert_eq!(approval.needed(cost), needed, "{approval:?} {cost:?}");
        }
    }

    #[test]
    fn a_fingerprint_tells_whether_what_would_run_is_the_same() {
        let sealed = |command: &str, seconds| {
            let run = RunSuggested {
                command: Some(command.to_owned()),
                cost: Some(Cost { seconds: Some(seconds), ..Cost::default() }),
                ..RunSuggested::default()
            };
            let mut asked = ApprovalAsked { run, ..ApprovalAsked::default() };
            asked.seal();
            asked.fingerprint
        };
        assert_eq!(sealed("python a.py", 1.0), sealed("python a.py", 1.0));
        assert_ne!(sealed("python a.py", 1.0), sealed("python b.py", 1.0));
        assert_ne!(sealed("python a.py", 1.0), sealed("python a.py", 2.0));
    }
}
