//! The consequences of a job's reported end.
//!
//! Owns: when a status is a problem. Must not know: policies, and the reactions of a case.

use crate::case::BROKE_DOWN;
use crate::evidence::JobView;
use crate::fate::{Fate, FateState};
use crate::symptoms::{Finding, Severity};

/// The problem that a job's fate is: it broke down, or it runs and is silent.
pub(super) fn finding(fate: &Fate, view: &JobView) -> Option<Finding> {
    let observed = view.judged();
    let last = observed.and_then(|observed| observed.sketch.last()).map_or(0, |point| point.step);
    let first = observed.and_then(|observed| observed.sketch.first()).map_or(0, |point| point.step);
    let hangs = fate.state == FateState::Running && !view.life.finished && view.life.silent_for >= view.life.patience;
    let summary = match () {
        () if fate.state.is_breakdown() => format!("{} at step {last}", fate.in_words()),
        () if hangs => {
            format!("it is running, but has logged nothing for {:.0} s since step {last}", view.life.silent_for)
        }
        () => return None,
    };
    Some(Finding {
        symptom: BROKE_DOWN.to_owned(),
        rule: "told".to_owned(),
        severity: Severity::Problem,
        tag: observed.map(|observed| observed.tag.clone()).unwrap_or_default(),
        first_step: first,
        last_step: last,
        summary,
        numbers: serde_json::Map::new(),
    })
}
