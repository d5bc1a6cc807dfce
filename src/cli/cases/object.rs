//! A case in JSON: `nextrun cases list|show --format json`.
//!
//! Owns: field names, which `docs/OPERATIONS.md` describes. Must not know: how a case gets its values.

use serde_json::{Map, Value, json};

use crate::case::{Case, Experiment, JournalEntry, Made, Waiting};
use crate::command::{is_secret_name, masked_line};
use crate::store::{Answer, Delivery, StoredCase, UnreadableCase};

/// The data around a case.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    /// The database row of the case.
    pub(super) stored: &'a StoredCase,
    /// The journal, oldest entry first.
    pub(super) journal: &'a [JournalEntry],
}

/// A case in a list.
pub(super) fn listed(case: &Case, around: &Around<'_>) -> Value {
    let end = case.closed.as_ref();
    let recommended = end.map(|end| &end.recommended).filter(|changes| !changes.is_empty());
    let mut object = json!({
        "case_id": case.id, "baseline_run": case.baseline, "policy": case.policy, "state": case.position.state,
        "opened": case.opened, "updated": around.stored.updated, "waiting": waiting(case, around.journal), "paused": case.paused,
        "symptoms": case.findings.iter().map(|finding| &finding.symptom).collect::<Vec<_>>(),
        "probability": case.belief.as_ref().map(|belief| belief.probability),
        "speaks_for": case.belief.as_ref().map(|belief| &belief.speaks_for),
        "speaks_against": case.belief.as_ref().map(|belief| &belief.speaks_against),
        "versions": case.versions, "goes_on_under": case.goes_on_under,
        "believed": case.believed_now(), "probes": probes(case),
        "experiments": case.experiments.iter().map(|one| experiment(case, one)).collect::<Vec<_>>(),
        "not_tried": case.not_tried,
        "verdict": end.map(|end| &end.verdict), "confidence": end.map(|end| end.confidence),
        "summary": end.map(|end| &end.summary), "recommended": recommended.map(|changes| json!({ "overrides": changes })),
    });
    mask(&mut object);
    object
}

/// A case with all its data.
pub(super) fn shown(case: &Case, around: &Around<'_>, deliveries: &[Delivery]) -> Value {
    let mut object = listed(case, around);
    let mut further = json!({
        "evidence": case.findings, "hyperparameters": case.baseline_facts.knobs,
        "journal": around.journal, "messages": deliveries.iter().map(message).collect::<Vec<_>>(),
    });
    mask(&mut further);
    if let (Some(object), Value::Object(further)) = (object.as_object_mut(), further) {
        object.extend(further);
    }
    object
}

/// A case that cannot be read.
pub(super) fn unreadable(id: &str, baseline: &str, why: &str) -> Value {
    json!({ "case_id": id, "baseline_run": baseline, "unreadable": why })
}

impl From<&UnreadableCase> for Value {
    fn from(case: &UnreadableCase) -> Value {
        unreadable(&case.id.0, &case.baseline, &case.reason)
    }
}

/// The results of the probes of a case's job; null if it was never probed.
fn probes(case: &Case) -> Value {
    let Some(quiet) = &case.quiet else { return Value::Null };
    let made = |made: &Made| json!({ "test": made.test, "below": made.target.map(|target| target.twice), "likelihoods": made.likelihoods, "outcome": made.outcome });
    json!({
        "quiet": quiet.untold, "audit": quiet.audit, "probability": quiet.probability(),
        "budget": json!({ "share": quiet.share, "seconds": quiet.share * quiet.job.seconds, "spent": case.spent_on_probes() }),
        "made": quiet.tests.iter().map(made).collect::<Vec<_>>(),
    })
}

/// What a case waits for, and since when; null if it is closed.
fn waiting(case: &Case, journal: &[JournalEntry]) -> Value {
    // A status report about a job during the wait does not change what the case waits for.
    let last = journal.iter().rev().find(|entry| entry.kind != "fate").map(|entry| entry.time);
    match &case.waiting {
        Waiting::Room(proposal) => json!({ "for": "room", "since": last, "state": proposal.at.state }),
        Waiting::Experiment => {
            let open = case.open_experiment();
            json!({
                "for": "experiment", "since": open.map(|one| one.suggested),
                "suggestion_id": open.map(|one| &one.suggestion),
            })
        }
        Waiting::Answer { question, until } => json!({
            "for": "answer", "since": last, "until": until, "checklist": question.checklist, "answers": question.answers,
        }),
        Waiting::Probe => json!({ "for": "probe", "since": last }),
        Waiting::Approval(awaited) => json!({
            "for": "approval", "since": last, "until": awaited.until, "state": awaited.proposal.at.state,
            "suggestion_id": awaited.suggestion, "overrides": awaited.proposal.changes, "snoozed_until": awaited.again,
        }),
        Waiting::Nothing => Value::Null,
    }
}

fn experiment(case: &Case, one: &Experiment) -> Value {
    json!({
        "suggestion_id": one.suggestion, "state": one.proposal.at.state, "step": one.proposal.step,
        "attempt": one.proposal.at.attempt, "run_name": one.run_name, "job": one.job,
        "overrides": one.proposal.changes, "suggested": one.suggested, "outcome": one.outcome, "fate": one.fate,
        "cost": json!({ "expected": one.cost, "real": one.spent.map(|spent| case.real_cost(spent)) }),
        "symptoms": one.facts.as_ref().map(|facts| &facts.symptoms), "believed": one.believed,
    })
}

fn message(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.message.id, "type": delivery.message.kind().event_type(), "destination": delivery.destination,
        "state": delivery.state, "attempts": delivery.attempts,
        "answer": delivery.answer.as_ref().map(Answer::to_string),
    })
}

/// Masks values that look like secrets in commands, log lines and settings.
fn mask(value: &mut Value) {
    match value {
        Value::String(text) => *text = masked_line(text),
        Value::Array(values) => values.iter_mut().for_each(mask),
        Value::Object(map) => mask_fields(map),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn mask_fields(map: &mut Map<String, Value>) {
    for (name, value) in map {
        match value {
            Value::String(text) if is_secret_name(name) => *text = "***".to_owned(),
            _ => mask(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_all_else_is_as_it_was() {
        let mut value = json!({
            "why": "the loss is NaN, as before", "tail": "python train.py --api-key=sk-123456789 --lr 0.1\nboom",
            "overrides": { "api_key": "hush", "learning_rate": 0.1 }, "n": [1, null, "x"],
        });
        mask(&mut value);
        let text = value.to_string();
        assert!(!text.contains("123456789") && !text.contains("hush"), "{text}");
        assert!(value["tail"].as_str().unwrap().ends_with(" --lr 0.1\nboom"), "{text}");
        assert_eq!(value["why"], "the loss is NaN, as before");
        assert_eq!((&value["n"], &value["overrides"]["learning_rate"]), (&json!([1, null, "x"]), &json!(0.1)));
    }
}
