//! No new events for much longer than the job's usual interval, before its end: its rules over the evidence.

use super::*;

symptom! {
    silent: "no new events for much longer than the job's usual interval, before its end";
    Warning perhaps_stopped_early
        when [AtLeast(Q::Silence, 1.0), Below(Q::Done, NOT_DONE), Below(Q::ValidationBestAfter, GUESS),
            Below(Q::CutOff, HALF)]
        says "no event for {silence} times the longest expected pause since step {steps}, at {done%} of its steps, \
            perhaps because of early stopping";
    Problem before_its_end when [AtLeast(Q::Silence, 1.0), Below(Q::Done, NOT_DONE)] unless [Above(Q::NonFinite, 0.0)]
        says "no event for {silence} times the longest expected pause since step {steps}, at {done%} of its steps";
    Warning cut_off when [AtLeast(Q::Silence, 1.0), Above(Q::CutOff, HALF)] unless [AtLeast(Q::Done, NOT_DONE)]
        says "no event for {silence} times the longest expected pause since step {steps}, in the middle of a record";
}

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
