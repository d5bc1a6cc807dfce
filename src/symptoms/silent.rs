use super::{Detector, Finding, JobView, Severity, SymptomDoc, declare_symptom};

declare_symptom! {
    /// **What it shows.** No new events for far longer than this job's own rhythm, before its end.
    ///
    /// **How it is decided.** The job has been silent for longer than its patience (which the daemon sets from the job's
    /// own rhythm), has not said that it ended, and is short of 95 % of its `max_steps`. Where a validation loss has not
    /// improved for its newest third, early stopping is as likely, and it is a `warning`; so it is where `max_steps` is
    /// not known but a file ends inside a record, as a killed process leaves it.
    ///
    /// **False alarms.** Early stopping with a large `max_steps` and no validation loss.
    Silent, "silent", "no new events for far longer than this job's own rhythm, before its end"
}

/// Closer than this to `max_steps` a job counts as done: the last step need not be logged.
const DONE: f64 = 0.95;

impl Detector for Silent {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let life = job.life;
        let observed = job.loss.as_ref().or(job.reward.as_ref())?;
        if life.finished || life.silent_for < life.patience || observed.sketch.non_finite() > 0 {
            return None;
        }
        let steps = (observed.sketch.first()?.step, observed.sketch.last()?.step);
        let (severity, how) = match life.done {
            Some(done) if done < DONE && !stopped_early(job) => {
                (Severity::Problem, format!("at {:.0} % of its steps", 100.0 * done))
            }
            Some(done) if done < DONE => {
                (Severity::Warning, format!("at {:.0} % of its steps, perhaps by early stopping", 100.0 * done))
            }
            None if life.cut_off => (Severity::Warning, "in the middle of a record".to_owned()),
            Some(_) | None => return None,
        };
        let summary = format!("no event for {} since step {}, {how}", duration(life.silent_for), steps.1);
        let finding = Finding::at(self, severity, &observed.tag, steps, summary);
        Some(finding.with("silent_seconds", life.silent_for).with("patience_seconds", life.patience))
    }
}

fn stopped_early(job: &JobView) -> bool {
    let Some(curve) = job.validation_loss.as_ref().and_then(|o| o.curve.as_ref()) else { return false };
    !job.life.cut_off && curve.mean_between(0.67, 1.0) >= curve.mean_between(0.34, 0.67)
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 48.0 * 3600.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.0} days", s / 86400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{observed, with_loss};
    use super::*;

    fn silent_at(done: Option<f64>) -> JobView {
        let mut job = with_loss((0..400).map(|i| 2.0 / (1.0 + f64::from(i))));
        job.life = super::super::Life {
            ended: true,
            finished: false,
            silent_for: 900.0,
            patience: 600.0,
            done,
            cut_off: false,
        };
        job
    }

    fn severity(job: &JobView) -> Option<Severity> {
        Silent.examine(job).map(|f| f.severity)
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
