//! A message as it is owed to destinations: what is said, not how.
//!
//! Owns: the bodies of all kinds of message and their names in payloads (`data` of the CloudEvent). Must not know: how a
//! case comes to say it, who is told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ApprovalAsked, Believed, CaseId, Cure, Curve, Digest, Notice};
use crate::belief::Reason;
use crate::facts::Knobs;
use crate::launched::CommandFrom;
use crate::symptoms::{Finding, Severity};

/// A message as it is owed to every destination that wants its kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// Event id: the same on every try and every destination (for a suggested run, the suggestion's id).
    pub id: String,
    /// The case that it belongs to.
    pub case: CaseId,
    /// The baseline job (`subject` of the CloudEvent).
    pub subject: String,
    /// Seconds since the Unix epoch at which it was decided.
    pub time: f64,
    /// What is said.
    #[serde(flatten)]
    pub body: Body,
}

impl Message {
    /// Its kind.
    pub fn kind(&self) -> MessageKind {
        self.body.kind()
    }

    /// Whether it is about a quiet probe, of which nobody hears.
    pub fn is_quiet(&self) -> bool {
        match &self.body {
            Body::RunSuggested(run) => run.probe,
            Body::RunCancelled(run) => run.probe,
            _ => false,
        }
    }
}

/// The kind of a message, by its CloudEvents type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// `nextrun.case.opened`
    CaseOpened,
    /// `nextrun.run.suggested`
    RunSuggested,
    /// `nextrun.approval.asked`: an experiment that waits for a person's consent
    ApprovalAsked,
    /// `nextrun.run.cancelled`: a suggested run that nobody waits for any more
    RunCancelled,
    /// `nextrun.run.stop_suggested`
    StopSuggested,
    /// `nextrun.question.asked`: a checklist for a person
    QuestionAsked,
    /// `nextrun.case.notice`: something about a case that a person has to know, or to mend
    Notice,
    /// `nextrun.case.closed`
    CaseClosed,
    /// `nextrun.digest`: several messages of one or more cases in one, for people
    Digest,
}

impl MessageKind {
    /// All kinds.
    pub const ALL: [MessageKind; 9] = [
        MessageKind::CaseOpened,
        MessageKind::RunSuggested,
        MessageKind::ApprovalAsked,
        MessageKind::RunCancelled,
        MessageKind::StopSuggested,
        MessageKind::QuestionAsked,
        MessageKind::Notice,
        MessageKind::CaseClosed,
        MessageKind::Digest,
    ];

    /// The CloudEvents type.
    pub fn event_type(self) -> &'static str {
        match self {
            MessageKind::CaseOpened => "nextrun.case.opened",
            MessageKind::RunSuggested => "nextrun.run.suggested",
            MessageKind::ApprovalAsked => "nextrun.approval.asked",
            MessageKind::RunCancelled => "nextrun.run.cancelled",
            MessageKind::StopSuggested => "nextrun.run.stop_suggested",
            MessageKind::QuestionAsked => "nextrun.question.asked",
            MessageKind::Notice => "nextrun.case.notice",
            MessageKind::CaseClosed => "nextrun.case.closed",
            MessageKind::Digest => "nextrun.digest",
        }
    }
}

/// What a message says. The fields of each body have their names in payloads; what a stored message of an older form
/// lacks has its default.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum Body {
    /// A job does not learn, and is investigated.
    CaseOpened(CaseOpened),
    /// An experiment that somebody should run.
    RunSuggested(Box<RunSuggested>),
    /// An experiment that waits for a person's consent.
    ApprovalAsked(Box<ApprovalAsked>),
    /// A suggested run that nobody waits for any more: it was judged, or its case has closed.
    RunCancelled(RunCancelled),
    /// The baseline makes no progress any more.
    StopSuggested(StopSuggested),
    /// A checklist for a person.
    QuestionAsked(QuestionAsked),
    /// Something about a case that a person has to know, or to mend.
    Notice(Box<Notice>),
    /// The end of a case.
    CaseClosed(Box<CaseClosed>),
    /// Several messages in one.
    Digest(Digest),
}

impl Body {
    /// Its kind.
    pub fn kind(&self) -> MessageKind {
        match self {
            Body::CaseOpened(_) => MessageKind::CaseOpened,
            Body::RunSuggested(_) => MessageKind::RunSuggested,
            Body::ApprovalAsked(_) => MessageKind::ApprovalAsked,
            Body::RunCancelled(_) => MessageKind::RunCancelled,
            Body::StopSuggested(_) => MessageKind::StopSuggested,
            Body::QuestionAsked(_) => MessageKind::QuestionAsked,
            Body::Notice(_) => MessageKind::Notice,
            Body::CaseClosed(_) => MessageKind::CaseClosed,
            Body::Digest(_) => MessageKind::Digest,
        }
    }

    /// Reads the `data` of a message of a kind.
    ///
    /// # Errors
    /// A field has another type than messages of this kind have.
    pub fn read(kind: MessageKind, data: Value) -> Result<Body, serde_json::Error> {
        Ok(match kind {
            MessageKind::CaseOpened => Body::CaseOpened(serde_json::from_value(data)?),
            MessageKind::RunSuggested => Body::RunSuggested(serde_json::from_value(data)?),
            MessageKind::ApprovalAsked => Body::ApprovalAsked(serde_json::from_value(data)?),
            MessageKind::RunCancelled => Body::RunCancelled(serde_json::from_value(data)?),
            MessageKind::StopSuggested => Body::StopSuggested(serde_json::from_value(data)?),
            MessageKind::QuestionAsked => Body::QuestionAsked(serde_json::from_value(data)?),
            MessageKind::Notice => Body::Notice(serde_json::from_value(data)?),
            MessageKind::CaseClosed => Body::CaseClosed(serde_json::from_value(data)?),
            MessageKind::Digest => Body::Digest(serde_json::from_value(data)?),
        })
    }

    /// The `data` of the CloudEvent.
    pub fn data(&self) -> Value {
        let data = match self {
            Body::CaseOpened(body) => serde_json::to_value(body),
            Body::RunSuggested(body) => serde_json::to_value(body),
            Body::ApprovalAsked(body) => serde_json::to_value(body),
            Body::RunCancelled(body) => serde_json::to_value(body),
            Body::StopSuggested(body) => serde_json::to_value(body),
            Body::QuestionAsked(body) => serde_json::to_value(body),
            Body::Notice(body) => serde_json::to_value(body),
            Body::CaseClosed(body) => serde_json::to_value(body),
            Body::Digest(body) => serde_json::to_value(body),
        };
        // Maps with other keys than texts are all that cannot be JSON, and no body has one.
        data.unwrap_or_default()
    }

    /// What it is about; a digest is about several cases.
    pub fn about(&self) -> Option<&About> {
        match self {
            Body::CaseOpened(body) => Some(&body.about),
            Body::RunSuggested(body) => Some(&body.about),
            Body::ApprovalAsked(body) => Some(&body.run.about),
            Body::RunCancelled(body) => Some(&body.about),
            Body::StopSuggested(body) => Some(&body.about),
            Body::QuestionAsked(body) => Some(&body.about),
            Body::Notice(body) => Some(&body.about),
            Body::CaseClosed(body) => Some(&body.about),
            Body::Digest(_) => None,
        }
    }

    /// As [`Body::about`], to be changed.
    pub fn about_mut(&mut self) -> Option<&mut About> {
        match self {
            Body::CaseOpened(body) => Some(&mut body.about),
            Body::RunSuggested(body) => Some(&mut body.about),
            Body::ApprovalAsked(body) => Some(&mut body.run.about),
            Body::RunCancelled(body) => Some(&mut body.about),
            Body::StopSuggested(body) => Some(&mut body.about),
            Body::QuestionAsked(body) => Some(&mut body.about),
            Body::Notice(body) => Some(&mut body.about),
            Body::CaseClosed(body) => Some(&mut body.about),
            Body::Digest(_) => None,
        }
    }

    /// Why it is said, where it says so.
    pub fn why(&self) -> Option<&str> {
        match self {
            Body::RunSuggested(body) => Some(&body.why),
            Body::ApprovalAsked(body) => Some(&body.run.why),
            Body::RunCancelled(body) => Some(&body.why),
            Body::StopSuggested(body) => Some(&body.why),
            Body::QuestionAsked(body) => Some(&body.why),
            Body::Notice(body) => Some(&body.why),
            Body::Digest(body) => Some(&body.why),
            Body::CaseOpened(_) | Body::CaseClosed(_) => None,
        }
    }

    /// The verdict of a case that closed.
    pub fn verdict(&self) -> Option<&str> {
        match self {
            Body::CaseClosed(body) => Some(&body.verdict),
            Body::CaseOpened(_)
            | Body::RunSuggested(_)
            | Body::ApprovalAsked(_)
            | Body::RunCancelled(_)
            | Body::StopSuggested(_)
            | Body::QuestionAsked(_)
            | Body::Notice(_)
            | Body::Digest(_) => None,
        }
    }
}

/// What every message of a case says of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// The case; `None` for a probe, which belongs to no case.
    pub case_id: Option<CaseId>,
    /// The baseline job, relative to the log directory.
    pub baseline_run: String,
    /// The policy that the case runs.
    pub policy: Option<String>,
    /// Ids of the symptoms that it was opened for.
    pub symptoms: Vec<String>,
    /// What was found in the baseline.
    pub evidence: Vec<Evidence>,
    /// Up to sixty levels of the baseline's loss; null where it was not finite.
    pub loss_curve: Vec<Option<f64>>,
    /// The same, and that of the experiment that tells most, with their steps: where a case opens or closes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub curves: Vec<Curve>,
    /// How probable it was that the baseline fails when the case was opened, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// What spoke for that, the strongest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub speaks_for: Vec<Reason>,
    /// What spoke against it, the strongest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub speaks_against: Vec<Reason>,
    /// Whose job it is: `slack:ID`, `discord:ID`, or names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
    /// Whether the message is a test of a destination, and about nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
}

/// A finding, as messages carry it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// Id of the symptom.
    pub symptom: String,
    /// How bad it is.
    pub severity: Severity,
    /// The tag that it was seen in.
    pub tag: String,
    /// First step of what was looked at.
    pub first_step: Option<i64>,
    /// Last step of what was looked at.
    pub last_step: Option<i64>,
    /// What was seen, in words with numbers.
    pub summary: String,
    /// The numbers that decided.
    pub numbers: serde_json::Map<String, Value>,
}

impl Default for Evidence {
    fn default() -> Self {
        Evidence {
            symptom: String::new(),
            severity: Severity::Problem,
            tag: String::new(),
            first_step: None,
            last_step: None,
            summary: String::new(),
            numbers: serde_json::Map::new(),
        }
    }
}

impl From<&Finding> for Evidence {
    fn from(finding: &Finding) -> Self {
        Evidence {
            symptom: finding.symptom.clone(),
            severity: finding.severity,
            tag: finding.tag.clone(),
            first_step: Some(finding.first_step),
            last_step: Some(finding.last_step),
            summary: finding.summary.clone(),
            numbers: finding.numbers.clone(),
        }
    }
}

/// A job does not learn, and is investigated.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CaseOpened {
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
    /// The baseline's settings that are known.
    pub hyperparameters: Knobs,
    /// What these alone suggest.
    pub advice: Vec<String>,
    /// Why the run should be stopped, where it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
}

/// An experiment that somebody should run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunSuggested {
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
    /// The suggestion's id, which is the message's too.
    pub suggestion_id: String,
    /// The name of the log directory; `None` where there is one only.
    pub logdir: Option<String>,
    /// The folder for the new run, relative to the log directory.
    pub run_name: String,
    /// The name of the test; `control` for a control, `probe` for a probe.
    pub state: String,
    /// 1 for the first experiment of a test.
    pub attempt: u32,
    /// The changes to the baseline's settings.
    pub overrides: Knobs,
    /// All settings of the baseline that are known: with the overrides they are the whole run.
    pub settings: Knobs,
    /// The changes as words of the command line, not quoted.
    pub arguments: Vec<String>,
    /// The command line for a POSIX shell; `None` where no command is known.
    pub command: Option<String>,
    /// Where the command is from, and whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_from: Option<CommandFrom>,
    /// Environment variables of the command.
    pub env: BTreeMap<String, String>,
    /// The user who owns the baseline, where that is known: engines run it under that account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The absolute working directory of the command, where it is known.
    pub cwd: Option<String>,
    /// Which stored environment the command runs with, for the runner of the same user.
    pub environment: Option<String>,
    /// Which step of the published sequence it is; empty where it is none.
    pub step: String,
    /// Why it is suggested.
    pub why: String,
    /// What is believed and tested.
    pub hypothesis: String,
    /// What would confirm it.
    pub expect: String,
    /// What it is expected to cost, where that is known.
    pub cost: Option<Cost>,
    /// How likely each test that could be run is to cure, before the experiment.
    pub beliefs: Vec<Belief>,
    /// What is believed of each cause: as the experiment before this one moved it, or as it is before the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub believed: Vec<Believed>,
    /// Whether it repeats its baseline unchanged.
    pub control: bool,
    /// Whether it is a quiet probe.
    pub probe: bool,
}

/// What an experiment costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// Optimizer steps.
    pub steps: Option<u64>,
    /// Seconds of wall time.
    pub seconds: Option<f64>,
    /// Hours of wall time times GPUs.
    pub gpu_hours: Option<f64>,
}

/// How likely a test is to cure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Belief {
    /// The name of the test.
    pub test: String,
    /// Its changes to the baseline's settings.
    pub overrides: Knobs,
    /// 0 to 1.
    pub probability: f64,
    /// What its experiment is expected to cost, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// A suggested run that nobody waits for any more. It goes to the destinations that the suggestion went to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunCancelled {
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
    /// The suggestion's id.
    pub suggestion_id: String,
    /// The folder of the run, relative to the log directory.
    pub run_name: String,
    /// Why it is not needed.
    pub why: String,
    /// The user who owns the baseline, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whether it is of a quiet probe.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub probe: bool,
}

impl RunCancelled {
    /// The id of the message that cancels a suggestion: there is one at most, however often it is decided.
    pub fn id_for(suggestion: &str) -> String {
        format!("{suggestion}-cancelled")
    }
}

/// The baseline makes no progress any more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StopSuggested {
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
    /// Why it should be stopped.
    pub why: String,
}

/// A checklist for a person.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuestionAsked {
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
    /// The state of the policy that asks.
    pub state: String,
    /// Which step of the published sequence it is; empty where it is none.
    pub step: String,
    /// Why it is asked.
    pub why: String,
    /// Exactly what to look at.
    pub checklist: Vec<String>,
    /// The answers that lead on, besides silence.
    pub answers: Vec<String>,
    /// Seconds since the Unix epoch until which it can be answered; `None` where the case does not wait for an answer.
    pub expires: Option<f64>,
    /// Of what is shown here.
    pub fingerprint: String,
}

/// The end of a case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CaseClosed {
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
    /// The root cause, by its id.
    pub verdict: String,
    /// 0 to 1.
    pub confidence: f64,
    /// What was found and why it follows, in words.
    pub summary: String,
    /// The experiments, in their order.
    pub experiments: Vec<Tried>,
    /// Steps that were due and could not be tried, each with the reason.
    pub not_tried: Vec<String>,
    /// What cures it, where that is known.
    pub recommended: Option<Recommended>,
    /// The experiment that shows it, with both figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<Cure>,
}

/// An experiment, as the closing message lists it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tried {
    /// The suggestion's id.
    pub suggestion_id: String,
    /// The name of the test.
    pub state: String,
    /// Which step of the published sequence it was; empty where it was none.
    pub step: String,
    /// The folder of the run, relative to the log directory.
    pub run_name: String,
    /// The changes to the baseline's settings.
    pub overrides: Knobs,
    /// What came of it; `None` where it was not judged.
    pub outcome: Option<String>,
    /// Each the suggestion's id and a symptom.
    pub finding_ids: Vec<String>,
    /// What it showed, in words.
    pub seen: Option<String>,
    /// What it cost.
    pub cost: Option<Cost>,
    /// How it moved what is believed of each cause.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub believed: Vec<Believed>,
}

/// The settings that cure a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recommended {
    /// The changes to the baseline's settings.
    pub overrides: Knobs,
    /// The changes as words of the command line, not quoted.
    pub arguments: Vec<String>,
    /// The command line for a POSIX shell; `None` where no command is known.
    pub command: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_of_every_kind_reads_back_and_needs_no_field() {
        for kind in MessageKind::ALL {
            let body = Body::read(kind, json!({})).unwrap();
            assert_eq!(body.kind(), kind);
            assert_eq!(Body::read(kind, body.data()).unwrap(), body);
        }
    }

    #[test]
    fn the_fields_of_a_suggested_run_are_those_of_the_contract() {
        let body = Body::read(MessageKind::RunSuggested, json!({})).unwrap();
        let data = body.data();
        for field in [
            "suggestion_id",
            "case_id",
            "logdir",
            "baseline_run",
            "run_name",
            "policy",
            "state",
            "attempt",
            "overrides",
            "arguments",
            "command",
            "env",
            "why",
            "evidence",
            "settings",
            "cost",
            "beliefs",
            "control",
            "probe",
        ] {
            assert!(data.get(field).is_some(), "{field}");
        }
        assert_eq!((&data["command"], &data["logdir"], &data["probe"]), (&Value::Null, &Value::Null, &json!(false)));
    }

    #[test]
    fn a_field_of_another_type_is_refused() {
        for data in [json!(null), json!({"overrides": []}), json!({"attempt": -1}), json!({"evidence": [3]})] {
            assert!(Body::read(MessageKind::RunSuggested, data.clone()).is_err(), "{data}");
        }
    }
}
