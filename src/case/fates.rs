//! What a case notes of what became of its jobs.

use serde_json::{Value, json};

use super::{Case, Trace};
use crate::fate::{Fate, FateState};
use crate::launched::Launched;

impl Case {
    /// What became of the job of an experiment. The same again is no news.
    /// `runs` are those that the job was seen to write, relative to the log directory.
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

    /// How the baseline was started became known. What it logged is stronger.
    pub fn was_launched(&mut self, launched: &Launched) {
        for (knob, value) in &launched.settings {
            self.settings.entry(knob.clone()).or_insert_with(|| value.clone());
            self.baseline_facts.knobs.entry(knob.clone()).or_insert_with(|| value.clone());
        }
        self.launched = Some(launched.clone());
    }

    /// What became of the baseline.
    pub fn baseline_came_to(&mut self, fate: &Fate, now: f64) -> Trace {
        let mut trace = Trace::default();
        self.fate = Some(fate.clone());
        trace.note(now, "fate", detail("baseline", &self.baseline, fate));
        trace
    }
}

fn detail(of: &str, id: &str, fate: &Fate) -> Value {
    let mut detail = json!({ of: id });
    // A fate is an object of texts and numbers, which is always JSON.
    if let (Some(detail), Ok(Value::Object(fate))) = (detail.as_object_mut(), serde_json::to_value(fate)) {
        detail.extend(fate);
    }
    detail
}
