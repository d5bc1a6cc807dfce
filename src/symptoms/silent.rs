//! No new events for much longer than the job's usual interval, before its end: its rules over the evidence.

use super::Severity::{Problem, Warning};
use super::Test::{Above, AtLeast, Below};
use super::{Symptom, rule};
use crate::evidence::Quantity as Q;
use crate::numbers::{GUESS, HALF, NOT_DONE};

/// See `docs/SYMPTOMS.md`.
pub(super) const SYMPTOM: Symptom = Symptom {
    id: "silent",
    summary: "no new events for much longer than the job's usual interval, before its end",
    rules: &[
        rule(
            Warning,
            "perhaps_stopped_early",
            "no event for {silence} times the longest expected pause since step \
            {steps}, at {done%} of its steps, perhaps because of early stopping",
        )
        .when(&[
            AtLeast(Q::Silence, 1.0),
            Below(Q::Done, NOT_DONE),
            Below(Q::ValidationBestAfter, GUESS),
            Below(Q::CutOff, HALF),
        ]),
        rule(
            Problem,
            "before_its_end",
            "no event for {silence} times the longest expected pause since step {steps}, at {done%} of its steps",
        )
        .when(&[AtLeast(Q::Silence, 1.0), Below(Q::Done, NOT_DONE)])
        .unless(&[Above(Q::NonFinite, 0.0)]),
        rule(
            Warning,
            "cut_off",
            "no event for {silence} times the longest expected pause since step {steps}, in the middle of a record",
        )
        .when(&[AtLeast(Q::Silence, 1.0), Above(Q::CutOff, HALF)])
        .unless(&[AtLeast(Q::Done, NOT_DONE)]),
    ],
};

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
    use super::*;

    fn silent_at(done: Option<f64>) -> JobView {
        let mut job = with_loss((0..400).map(|i| 2.0 / (1.0 + f64::from(i))));
        job.life = Life { finished: false, silent_for: 900.0, done, ..job.life };
        job
    }

    fn severity(job: &JobView) -> Option<Severity> {
        SYMPTOM.examine(job).map(|f| f.severity)
    }

    #[test]
    fn silence_half_way_is_a_problem() {
        assert_eq!(severity(&silent_at(Some(0.4))), Some(Severity::Problem));
    }

    #[test]
    fn silence_after_the_last_step_is_an_end() {
        assert_eq!(severity(&silent_at(Some(0.99))), None);
        assert_eq!(severity(&silent_at(None)), None);
    }

    #[test]
    fn early_stopping_is_only_a_warning() {
        let mut job = silent_at(Some(0.4));
        job.validation_loss = observed((0..30).map(|i| if i < 15 { 2.0 - 0.1 * f64::from(i) } else { 0.6 }));
        assert_eq!(severity(&job), Some(Severity::Warning));
    }
}
