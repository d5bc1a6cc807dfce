//! The consequences of a job's reported end.
//!
//! Owns: when a status is a problem. Must not know: policies, and the reactions of a case.

use crate::case::BROKE_DOWN;
use crate::evidence::JobView;
use crate::fate::{Fate, FateState};
use crate::symptoms::{Finding, Severity};

/// Seconds that a process may take after its last event to write a checkpoint and end, however short the silence that a
/// site allows.
const LAST_WORK: f64 = 60.0;

/// The problem that a job's fate is: it broke down, or it runs and is silent.
pub(super) fn finding(fate: &Fate, view: &JobView) -> Option<Finding> {
    let observed = view.judged();
    let last = observed.and_then(|observed| observed.sketch.last()).map_or(0, |point| point.step);
    let first = observed.and_then(|observed| observed.sketch.first()).map_or(0, |point| point.step);
    let patience = view.life.patience.max(LAST_WORK);
    let hangs = fate.state == FateState::Running && !view.life.finished && view.life.silent_for >= patience;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::tests::with_loss;

    #[test]
    fn a_process_may_end_in_peace_before_its_silence_is_a_hang() {
        let hangs = |silent_for: f64, patience: f64, state: FateState| {
            let mut job = with_loss((0..100).map(|i| 1.0 / f64::from(i + 1)));
            (job.life.finished, job.life.silent_for, job.life.patience) = (false, silent_for, patience);
            finding(&Fate::new(state), &job).is_some()
        };
        assert!(!hangs(6.0, 5.0, FateState::Running) && hangs(61.0, 5.0, FateState::Running));
        assert!(!hangs(61.0, 600.0, FateState::Running) && !hangs(61.0, 5.0, FateState::Ended));
    }
}
