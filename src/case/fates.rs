//! Records the reported status of jobs in their case.

use serde_json::{Value, json};

use super::{Case, Trace};
use crate::fate::{Fate, FateState};
use crate::launched::Launched;

impl Case {
    /// Records the status of an experiment's job. Repetitions have no effect. `runs` are those that the job was
    /// observed to write, relative to the log directory.
    pub fn experiment_came_to(&mut self, suggestion: &str, fate: &Fate, runs: Vec<String>, now: f64) -> Trace {
        let mut trace = Trace::default();
        let Some(experiment) = self.experiments.iter_mut().find(|e| e.suggestion == suggestion) else { return trace };
        if experiment.fate.as_ref() != Some(fate) {
            let waits = |state| matches!(state, FateState::Queued | FateState::Held);
            if waits(fate.state) || experiment.fate.as_ref().is_some_and(|before| waits(before.state)) {
                experiment.waits_since = Some(now);
            }
            experiment.fate = Some(fate.clone());
            experiment.fate_told = Some(now);
            if !runs.is_empty() {
                experiment.runs = runs;
            }
            trace.note(now, "fate", detail("suggestion_id", suggestion, fate));
        }
        trace
    }

    /// Records how the baseline was started. Logged settings take precedence.
    pub(super) fn was_launched(&mut self, launched: &Launched) {
        for (knob, value) in &launched.settings {
            self.settings.entry(knob.clone()).or_insert_with(|| value.clone());
            self.baseline_facts.knobs.entry(knob.clone()).or_insert_with(|| value.clone());
        }
        self.launched = Some(launched.clone());
    }

    /// Records the status of the baseline.
    pub fn baseline_came_to(&mut self, fate: &Fate, now: f64) -> Trace {
        let mut trace = Trace::default();
        self.fate = Some(fate.clone());
        trace.note(now, "fate", detail("baseline", &self.baseline, fate));
        trace
    }
}

fn detail(of: &str, id: &str, fate: &Fate) -> Value {
    let mut detail = json!({ of: id });
    // A status consists of texts and numbers, which can always be JSON.
    if let (Some(detail), Ok(Value::Object(fate))) = (detail.as_object_mut(), serde_json::to_value(fate)) {
        detail.extend(fate);
    }
    detail
}
