//! What a case notes of what became of its jobs.

use serde_json::{Value, json};

use super::{Case, Trace};
use crate::fate::Fate;

impl Case {
    /// What became of the job of an experiment. The same again is no news.
    pub fn experiment_came_to(&mut self, suggestion: &str, fate: &Fate, now: f64) -> Trace {
        let mut trace = Trace::default();
        let Some(experiment) = self.experiments.iter_mut().find(|e| e.suggestion == suggestion) else { return trace };
        if experiment.fate.as_ref() != Some(fate) {
            experiment.fate = Some(fate.clone());
            trace.note(now, "fate", detail("suggestion_id", suggestion, fate));
        }
        trace
    }

    /// What became of the baseline.
    pub fn baseline_came_to(&mut self, fate: &Fate, now: f64) -> Trace {
        let mut trace = Trace::default();
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
