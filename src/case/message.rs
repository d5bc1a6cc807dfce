//! What a case has to say: the `data` of each message, as in the contract, with what a person is shown besides.

use serde_json::{Map, Value, json};

use super::{Case, Experiment, Message, MessageKind};
use crate::policy::{Conclusion, Question};
use crate::symptoms::Finding;

/// The evidence of a finding, as messages carry it.
fn evidence(finding: &Finding) -> Value {
    json!({
        "symptom": finding.symptom, "severity": finding.severity, "tag": finding.tag,
        "first_step": finding.first_step, "last_step": finding.last_step,
        "summary": finding.summary, "numbers": finding.numbers,
    })
}

impl Case {
    fn message(&self, kind: MessageKind, id: String, time: f64, detail: Value) -> Message {
        let symptoms: Vec<&str> = self.findings.iter().map(|f| f.symptom.as_str()).collect();
        let mut data = Map::new();
        data.insert("case_id".into(), json!(self.id));
        data.insert("baseline_run".into(), json!(self.baseline));
        data.insert("policy".into(), json!(self.policy));
        data.insert("symptoms".into(), json!(symptoms));
        data.insert("evidence".into(), self.findings.iter().map(evidence).collect());
        data.insert("loss_curve".into(), json!(self.loss_curve));
        if let Value::Object(detail) = detail {
            data.extend(detail);
        }
        Message { id, case: self.id.clone(), kind, subject: self.baseline.clone(), time, data: Value::Object(data) }
    }

    pub(super) fn opened_message(&self, advice: &[String]) -> Message {
        let detail = json!({
            "hyperparameters": self.baseline_facts.knobs, "advice": advice,
        });
        self.message(MessageKind::CaseOpened, format!("{}-opened", self.id), self.opened, detail)
    }

    /// The baseline burns time for nothing: a loss that is not finite does not come back by itself.
    pub(super) fn stop_message(&self, time: f64) -> Message {
        let why = self.findings.first().map_or_else(String::new, |f| f.summary.clone());
        self.message(MessageKind::StopSuggested, format!("{}-stop", self.id), time, json!({ "why": why }))
    }

    pub(super) fn suggested_message(&self, experiment: &Experiment) -> Message {
        let proposal = &experiment.proposal;
        let detail = json!({
            "suggestion_id": experiment.suggestion, "run_name": experiment.run_name,
            "state": proposal.at.state, "attempt": proposal.at.attempt, "overrides": proposal.changes,
            "env": { "NEXTRUN_SUGGESTION_ID": experiment.suggestion },
            "step": proposal.step, "why": proposal.why, "hypothesis": proposal.hypothesis, "expect": proposal.expect,
        });
        self.message(MessageKind::RunSuggested, experiment.suggestion.clone(), experiment.suggested, detail)
    }

    pub(super) fn asked_message(&self, question: &Question, time: f64) -> Message {
        let id = format!("{}-asked-{}-{}", self.id, question.at.state, question.at.attempt);
        let detail = json!({
            "state": question.at.state, "why": question.why, "checklist": question.checklist, "answers": question.answers,
        });
        self.message(MessageKind::QuestionAsked, id, time, detail)
    }

    pub(super) fn closed_message(&self, conclusion: &Conclusion, time: f64) -> Message {
        let experiments: Vec<Value> = self.experiments.iter().map(tried).collect();
        let recommended = if conclusion.recommended.is_empty() {
            Value::Null
        } else {
            json!({ "overrides": conclusion.recommended })
        };
        let detail = json!({
            "verdict": conclusion.verdict, "confidence": conclusion.confidence, "summary": conclusion.summary,
            "experiments": experiments, "not_tried": self.not_tried.iter().map(|n| format!("{}: {}", n.state, n.why)).collect::<Vec<_>>(),
            "recommended": recommended,
        });
        self.message(MessageKind::CaseClosed, format!("{}-closed", self.id), time, detail)
    }
}

/// An experiment, as the closing message lists it. A finding has the id of its suggestion and its symptom.
fn tried(experiment: &Experiment) -> Value {
    let symptoms = experiment.facts.iter().flat_map(|facts| &facts.symptoms);
    let finding_ids: Vec<String> = symptoms.map(|symptom| format!("{}/{symptom}", experiment.suggestion)).collect();
    json!({
        "suggestion_id": experiment.suggestion, "state": experiment.proposal.at.state,
        "step": experiment.proposal.step, "run_name": experiment.run_name,
        "overrides": experiment.proposal.changes, "outcome": experiment.outcome, "finding_ids": finding_ids,
        "seen": experiment.facts.as_ref().map(|facts| facts.in_words()),
    })
}
