//! A message for destinations: the content, not the form.
//!
//! Owns: the bodies of all kinds of message and their names in payloads (`data` of the CloudEvent). Must not know: why
//! a case sends it, who receives it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ApprovalAsked, Believed, CaseId, Cure, Curve, Digest, Notice};
use crate::belief::Contribution;
use crate::facts::Knobs;
use crate::launched::CommandFrom;
use crate::symptoms::{Finding, Severity};

/// A message for all destinations that want its kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// Event id: the same in every attempt and for every destination (for a suggested run, the suggestion id).
    pub id: String,
    /// The case.
    pub case: CaseId,
    /// The baseline job (`subject` of the CloudEvent).
    pub subject: String,
    /// Creation time in seconds since the Unix epoch.
    pub time: f64,
    /// The content.
    #[serde(flatten)]
    pub body: Body,
}

impl Message {
    /// Its kind.
    pub fn kind(&self) -> MessageKind {
        self.body.kind()
    }

    /// Whether it is about a quiet probe, which people do not see.
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
    /// `nextrun.approval.asked`: an experiment that needs approval
    ApprovalAsked,
    /// `nextrun.run.cancelled`: a suggested run that is no longer needed
    RunCancelled,
    /// `nextrun.run.stop_suggested`
    StopSuggested,
    /// `nextrun.question.asked`: a checklist for a person
    QuestionAsked,
    /// `nextrun.case.notice`: something about a case that a person has to know or fix
    Notice,
    /// `nextrun.case.closed`
    CaseClosed,
    /// `nextrun.digest`: several messages about one or more cases, for people
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

/// The content of a message. The field names of each body are those of the payload; fields missing in an older stored
/// message have defaults.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum Body {
    /// A job does not learn; a case was opened.
    CaseOpened(CaseOpened),
    /// An experiment to run.
    RunSuggested(Box<RunSuggested>),
    /// An experiment that needs approval.
    ApprovalAsked(Box<ApprovalAsked>),
    /// A suggested run that is no longer needed, because it was judged or its case has closed.
    RunCancelled(RunCancelled),
    /// The baseline no longer makes progress.
    StopSuggested(StopSuggested),
    /// A checklist for a person.
    QuestionAsked(QuestionAsked),
    /// Something about a case that a person has to know or fix.
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

    /// Reads the `data` of a message of the given kind.
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
        // Only maps with keys that are not texts cannot be JSON, and no body contains one.
        data.unwrap_or_default()
    }

    /// The case data; a digest has none because it is about several cases.
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

    /// As [`Body::about`], mutable.
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

    /// The reason, if the message has one.
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

/// The case data in every message of a case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// The case; `None` for a probe, which belongs to no case.
    pub case_id: Option<CaseId>,
    /// The name of the log directory; `None` if there is only one.
    pub logdir: Option<String>,
    /// The baseline job, relative to the log directory.
    pub baseline_run: String,
    /// The policy of the case.
    pub policy: Option<String>,
    /// Ids of the symptoms for which it was opened.
    pub symptoms: Vec<String>,
    /// The findings in the baseline.
    pub evidence: Vec<Evidence>,
    /// Up to sixty levels of the baseline's loss; null where it was not finite.
    pub loss_curve: Vec<Option<f64>>,
    /// The same curve with steps, and that of the most informative experiment, in opening and closing messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub curves: Vec<Curve>,
    /// The probability that the baseline fails, at the time the case was opened, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// The evidence for this, strongest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub speaks_for: Vec<Contribution>,
    /// The evidence against this, strongest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub speaks_against: Vec<Contribution>,
    /// The owners of the job: `slack:ID`, `discord:ID`, or names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
    /// Whether the message is a test of a destination.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
}

/// A finding in a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// Id of the symptom.
    pub symptom: String,
    /// Its severity.
    pub severity: Severity,
    /// Its tag.
    pub tag: String,
    /// First step of the evidence.
    pub first_step: Option<i64>,
    /// Last step of the evidence.
    pub last_step: Option<i64>,
    /// The observation, in words with numbers.
    pub summary: String,
    /// The numbers behind the finding.
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

/// A job does not learn; a case was opened.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CaseOpened {
    /// The case.
    #[serde(flatten)]
    pub about: About,
    /// The baseline's known settings.
    pub hyperparameters: Knobs,
    /// Advice based only on the settings.
    pub advice: Vec<String>,
    /// Why the run should be stopped, if it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
}

/// An experiment to run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunSuggested {
    /// The case.
    #[serde(flatten)]
    pub about: About,
    /// The id of the suggestion and of the message.
    pub suggestion_id: String,
    /// The directory for the new run, relative to the log directory.
    pub run_name: String,
    /// The name of the test; `control` for a control, `probe` for a probe.
    pub state: String,
    /// 1 for the first experiment of a test.
    pub attempt: u32,
    /// The changes to the baseline's settings.
    pub overrides: Knobs,
    /// All known settings of the baseline; together with the overrides, they define the whole run.
    pub settings: Knobs,
    /// The changes as command-line arguments, unquoted.
    pub arguments: Vec<String>,
    /// The command line for a POSIX shell; `None` if no command is known.
    pub command: Option<String>,
    /// The source and owner of the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_from: Option<CommandFrom>,
    /// Environment variables of the command.
    pub env: BTreeMap<String, String>,
    /// The user who owns the baseline, if known; engines run it under that account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The absolute working directory of the command, if known.
    pub cwd: Option<String>,
    /// Id of the stored environment of the command, for the runner of the same user.
    pub environment: Option<String>,
    /// The step of the published sequence; empty if there is none.
    pub step: String,
    /// The reason for the suggestion.
    pub why: String,
    /// The hypothesis.
    pub hypothesis: String,
    /// The result that would confirm it.
    pub expect: String,
    /// Its expected cost, if known.
    pub cost: Option<Cost>,
    /// The probability of each possible test to fix the job, before the experiment.
    pub beliefs: Vec<Belief>,
    /// The probability of each cause: as changed by the previous experiment, or before the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub believed: Vec<Believed>,
    /// Whether it repeats its baseline unchanged.
    pub control: bool,
    /// Whether it is a quiet probe.
    pub probe: bool,
}

/// The cost of an experiment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// Optimizer steps.
    pub steps: Option<u64>,
    /// Seconds of wall time.
    pub seconds: Option<f64>,
    /// GPU hours.
    pub gpu_hours: Option<f64>,
}

/// The probability that a test fixes the job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Belief {
    /// The name of the test.
    pub test: String,
    /// Its changes to the baseline's settings.
    pub overrides: Knobs,
    /// 0 to 1.
    pub probability: f64,
    /// The expected cost of its experiment, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// A suggested run that is no longer needed. Sent to the destinations of the suggestion.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunCancelled {
    /// The case.
    #[serde(flatten)]
    pub about: About,
    /// The suggestion's id.
    pub suggestion_id: String,
    /// The folder of the run, relative to the log directory.
    pub run_name: String,
    /// The reason.
    pub why: String,
    /// The user who owns the baseline, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whether it belongs to a quiet probe.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub probe: bool,
}

impl RunCancelled {
    /// The id of the message that cancels a suggestion; there is at most one.
    pub fn id_for(suggestion: &str) -> String {
        format!("{suggestion}-cancelled")
    }
}

/// The baseline no longer makes progress.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StopSuggested {
    /// The case.
    #[serde(flatten)]
    pub about: About,
    /// The reason for stopping it.
    pub why: String,
}

/// A checklist for a person.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuestionAsked {
    /// The case.
    #[serde(flatten)]
    pub about: About,
    /// The state of the policy.
    pub state: String,
    /// The step of the published sequence; empty if there is none.
    pub step: String,
    /// The reason for the question.
    pub why: String,
    /// What exactly to check.
    pub checklist: Vec<String>,
    /// The possible answers, besides silence.
    pub answers: Vec<String>,
    /// Deadline in seconds since the Unix epoch; `None` if the case does not wait for an answer.
    pub expires: Option<f64>,
    /// Fingerprint of what is shown here.
    pub fingerprint: String,
}

/// The end of a case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CaseClosed {
    /// The case.
    #[serde(flatten)]
    pub about: About,
    /// The root cause, by its id.
    pub verdict: String,
    /// 0 to 1.
    pub confidence: f64,
    /// The result and the reasoning, in words.
    pub summary: String,
    /// The experiments, in their order.
    pub experiments: Vec<Tried>,
    /// Due steps that could not be tried, each with the reason.
    pub not_tried: Vec<String>,
    /// What fixes the job, if known.
    pub recommended: Option<Recommended>,
    /// The experiment that shows this, with both values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<Cure>,
}

/// An experiment in the closing message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tried {
    /// The suggestion's id.
    pub suggestion_id: String,
    /// The name of the test.
    pub state: String,
    /// The step of the published sequence; empty if there is none.
    pub step: String,
    /// The folder of the run, relative to the log directory.
    pub run_name: String,
    /// The changes to the baseline's settings.
    pub overrides: Knobs,
    /// Its outcome; `None` if it was not judged.
    pub outcome: Option<String>,
    /// Each consists of the suggestion's id and a symptom.
    pub finding_ids: Vec<String>,
    /// The result, in words.
    pub seen: Option<String>,
    /// Its cost.
    pub cost: Option<Cost>,
    /// How it changed the probability of each cause.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub believed: Vec<Believed>,
}

/// The settings that fix a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recommended {
    /// The changes to the baseline's settings.
    pub overrides: Knobs,
    /// The changes as command-line arguments, unquoted.
    pub arguments: Vec<String>,
    /// The command line for a POSIX shell; `None` if no command is known.
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
