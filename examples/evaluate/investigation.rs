//! What became of one baseline run: whether a case was opened, what was tried, what was said in the end.
//!
//! Owns: the record, as scripts read it. Must not know: how it came about.

use serde::Serialize;
use serde_json::{Value, json};

use crate::cases::{Case, Fault};
use crate::classes::{Grade, grade};
use crate::record::Summary;

/// One baseline run and what was made of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Investigation {
    /// The case.
    pub(crate) case: String,
    /// Which repetition; 0 has the case's own seed.
    pub(crate) repetition: u64,
    /// Whether there is nothing to find.
    pub(crate) healthy: bool,
    /// Whether nothing may be tuned on it.
    pub(crate) held_back: bool,
    /// Verdicts that may be given, the expert's first.
    pub(crate) expected: Vec<String>,
    /// Steps of the baseline run.
    pub(crate) baseline_steps: usize,
    /// The first step at which the fault can be seen: 0 for what is wrong from the start.
    pub(crate) decidable_step: usize,
    /// The case that was opened.
    pub(crate) opened: Option<Opened>,
    /// Symptoms of the whole baseline run, so far as they are known.
    pub(crate) symptoms: Vec<String>,
    /// Sets of symptoms that an expert would see.
    pub(crate) expected_symptoms: Vec<Vec<String>>,
    /// Whether it said of the whole run that it cannot judge it.
    pub(crate) cannot_judge: bool,
    /// Experiments, in their order.
    pub(crate) experiments: Vec<Tried>,
    /// What was said in the end.
    pub(crate) verdict: Option<String>,
}

/// The opening of a case.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Opened {
    /// Step of the baseline run; none where nobody looked closely enough.
    pub(crate) step: Option<usize>,
    /// Symptoms at that moment.
    pub(crate) symptoms: Vec<String>,
}

/// An experiment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Tried {
    /// The state of the policy, or the name of the step.
    pub(crate) state: String,
    /// Optimizer steps.
    pub(crate) steps: usize,
}

impl Investigation {
    /// A baseline run that nobody has looked at yet.
    pub(crate) fn new(case: &Case, repetition: u64, run: &Summary) -> Investigation {
        Investigation {
            case: case.id.clone(),
            repetition,
            healthy: case.healthy,
            held_back: case.held_back,
            expected: case.verdicts.clone(),
            baseline_steps: run.losses.len(),
            decidable_step: decidable(case, run),
            opened: None,
            symptoms: Vec::new(),
            expected_symptoms: case.symptoms.clone(),
            cannot_judge: false,
            experiments: Vec::new(),
            verdict: None,
        }
    }

    /// How good the verdict is; of a healthy run, whether it was left alone.
    pub(crate) fn grade(&self) -> Grade {
        match (self.healthy, &self.opened) {
            (true, None) => Grade::Expert,
            (true, Some(_)) => Grade::Wrong,
            (false, _) => grade(self.verdict.as_deref(), &self.expected),
        }
    }

    /// Whether one of the expert's sets of symptoms was seen.
    pub(crate) fn symptoms_right(&self) -> bool {
        let all_seen = |set: &Vec<String>| set.iter().all(|symptom| self.symptoms.contains(symptom));
        self.expected_symptoms.iter().any(all_seen)
    }

    /// Optimizer steps of all experiments.
    pub(crate) fn steps_spent(&self) -> usize {
        self.experiments.iter().map(|tried| tried.steps).sum()
    }

    /// As one line for scripts.
    pub(crate) fn line(&self) -> Value {
        let mut line = json!(self);
        line["grade"] = json!(self.grade());
        line["steps_spent"] = json!(self.steps_spent());
        line
    }
}

/// The first step at which a person could know: where NaN begins, where validation is at its best before it rises, where
/// the log breaks off. What is wrong from the start could be known at once by one who knows the data.
fn decidable(case: &Case, run: &Summary) -> usize {
    let says = |verdict: &str| case.verdicts.first().is_some_and(|expected| expected == verdict);
    if let Some(step) = run.losses.iter().position(|loss| !loss.is_finite()) {
        return step;
    }
    match case.fault {
        Fault::Killed { at } | Fault::Hang { at } => at,
        _ if says("overfitting") => {
            let best = run.validation.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
            best.map_or(0, |(place, _)| run.losses.len() * (place + 1) / run.validation.len())
        }
        _ => 0,
    }
}
