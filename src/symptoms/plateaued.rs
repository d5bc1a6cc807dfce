use super::{Curve, Detector, Finding, JobView, Severity, SymptomDoc, declare_symptom};

declare_symptom! {
    /// **What it shows.** The job learned, then stopped while it is still bad by the task's own measure. Not: converged.
    ///
    /// **How it is decided.** Nine tenths of the drop are done within the first quarter of the run, the rest of it brings
    /// less than a tenth of the drop, and less than 97 % of the start is gone. The learning rate must not have fallen: what
    /// counts is progress for the rate that was spent, and at least a fifth of it was spent on the plateau. From the curve alone that may be a floor of
    /// noise, so it is a `warning`, and a `problem` only with a second witness: a training accuracy that is still low, a
    /// gradient norm that is huge against the loss, or a setting that is known to be risky (a learning rate far outside
    /// what works for the optimizer, a plain Gaussian initialisation; an activation on the output of a regression that lost
    /// less than three fifths of its start, which is where targets out of reach leave it).
    ///
    /// **False alarms.** Regression on noisy targets reaches its floor early and stays there; without a second witness
    /// nobody can tell it from a plateau by looking at the loss.
    Plateaued, "plateaued", "learned, then stopped while still bad by the task's own measure"
}

/// Nine tenths of the drop are done by then.
const EARLY: f64 = 0.3;
/// Outputs that saturate on their way to a target out of reach lose their gradient, and creep.
const CREEPING: f64 = 0.5;
/// A loss that lost so much has converged, unless a witness says otherwise.
const CONVERGED: f64 = 0.97;
/// A training accuracy below this is bad by the task's own measure.
const LOW_ACCURACY: f64 = 0.6;
/// A gradient norm so many times larger than the loss, and at least `HUGE`, belongs to no floor: with weights of order
/// one, a step along it would change the loss by more than all of it.
const STEEP: f64 = 5.0;
const HUGE: f64 = 50.0;
/// With less than this share of the whole learning rate to spend, a loss cannot move much, and standing still is no news.
const RATE_SPENT: f64 = 0.2;
/// Images and probabilities lie within the reach of a sigmoid, and regressions onto them lose most of their start.
const OUT_OF_REACH: f64 = 0.6;

impl Detector for Plateaued {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let curve = job.falling_loss()?;
        if !job.mature() || job.accurate() || curve.levels.len() < 10 || curve.lowest.value < 0.0 || !curve.dropped() {
            return None;
        }
        let done = curve.done_after(0.9);
        let rest = curve.mean_between(0.4, 0.6) - curve.mean_between(0.9, 1.0);
        let early = if squashed_regression(job).is_some() { CREEPING } else { EARLY };
        if done > early || rest > 0.1 * curve.drop() || rate_spent_after(job, done) < RATE_SPENT {
            return None;
        }
        let witness = witness(job, curve);
        if witness.is_none() && curve.relative_drop() > CONVERGED {
            return None;
        }
        let severity = if witness.is_some() { Severity::Problem } else { Severity::Warning };
        let mut summary = format!(
            "nine tenths of the drop were done after {:.0} % of the run; the loss has stood at {:.4} since (start {:.4})",
            100.0 * done,
            curve.end,
            curve.start
        );
        if let Some(witness) = &witness {
            summary.push_str(&format!("; {witness}"));
        }
        Some(
            Finding::in_curve(self, severity, curve, summary)
                .with("done_after_share", done)
                .with("relative_drop", curve.relative_drop()),
        )
    }
}

/// What besides the loss says that this is no floor.
fn witness(job: &JobView, curve: &Curve) -> Option<String> {
    if let Some(accuracy) = job.accuracy.as_ref().and_then(|o| o.curve.as_ref()).filter(|a| a.end < LOW_ACCURACY) {
        return Some(format!("the training accuracy is only {:.3}", accuracy.end));
    }
    if let Some(norm) = job.gradient_norm.as_ref().and_then(|o| o.curve.as_ref()) {
        let scale = curve.end.abs();
        if norm.end > HUGE && norm.end > STEEP * scale {
            return Some(format!("the gradient norm of {:.3e} is huge against the loss", norm.end));
        }
    }
    if let Some(activation) = squashed_regression(job).filter(|_| curve.relative_drop() < OUT_OF_REACH) {
        return Some(format!("the output layer has a {activation}, which may keep it from its targets"));
    }
    job.risky_setting().map(|setting| format!("the job runs with {setting}"))
}

/// The activation on the output of a job that regresses.
fn squashed_regression(job: &JobView) -> Option<&str> {
    let regresses = matches!(job.text("loss"), Some("l2" | "l1" | "huber" | "smooth_l1"));
    job.text("output_activation").filter(|name| regresses && ["sigmoid", "tanh", "relu", "softmax"].contains(name))
}

/// Share of the whole learning rate, summed over the steps, that was spent after a share of the run; all that is left of
/// the run where no rate is logged.
fn rate_spent_after(job: &JobView, share: f64) -> f64 {
    let logged = job.learning_rate.as_ref().filter(|observed| observed.sketch.count() >= 4);
    let Some(observed) = logged else { return 1.0 - share };
    let rates: Vec<f64> = observed.sketch.buckets().map(|(_, bucket)| bucket.mean).collect();
    let whole: f64 = rates.iter().sum();
    let after: f64 = rates[((share * rates.len() as f64) as usize).min(rates.len())..].iter().sum();
    if whole > 0.0 { after / whole } else { 1.0 - share }
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::tests::{observed, with_loss};
    use super::*;

    fn early_plateau() -> JobView {
        with_loss((0..1000).map(|i| 0.5 + 0.5 * (-(i as f64) / 20.0).exp() + 0.02 * noise(i)))
    }

    fn severity(job: &JobView) -> Option<Severity> {
        Plateaued.examine(job).map(|f| f.severity)
    }

    #[test]
    fn a_floor_of_noise_is_at_most_a_warning() {
        assert_eq!(severity(&early_plateau()), Some(Severity::Warning));
    }

    #[test]
    fn low_accuracy_makes_it_a_problem() {
        let mut job = early_plateau();
        job.accuracy = observed((0..1000).map(|_| 0.4));
        assert_eq!(severity(&job), Some(Severity::Problem));
    }

    #[test]
    fn a_risky_setting_makes_it_a_problem() {
        let mut job = early_plateau();
        job.knobs.insert("optimizer".into(), "adam".into());
        job.knobs.insert("learning_rate".into(), 0.08.into());
        assert_eq!(severity(&job), Some(Severity::Problem));
    }

    #[test]
    fn targets_out_of_the_reach_of_the_output_are_a_problem_and_images_are_not() {
        let sigmoid = |floor: f64| {
            let falls = move |i: usize| floor + (1.0 - floor) * (-(i as f64) / 20.0).exp() + 0.01 * noise(i);
            let mut job = with_loss((0..1000).map(falls));
            job.knobs.insert("loss".into(), "l2".into());
            job.knobs.insert("output_activation".into(), "sigmoid".into());
            severity(&job)
        };
        assert_eq!((sigmoid(0.7), sigmoid(0.06)), (Some(Severity::Problem), Some(Severity::Warning)));
    }

    #[test]
    fn saturating_outputs_creep_to_their_plateau() {
        let creeps = |i: usize| 0.52 + 0.73 * (-(i as f64) / 150.0).exp() + 0.01 * noise(i);
        let mut job = with_loss((0..1000).map(creeps));
        job.knobs.insert("loss".into(), "l2".into());
        assert_eq!(severity(&job), None);
        job.knobs.insert("output_activation".into(), "sigmoid".into());
        assert_eq!(severity(&job), Some(Severity::Problem));
    }

    #[test]
    fn a_rate_that_has_fallen_leaves_nothing_to_expect() {
        let mut job = early_plateau();
        job.accuracy = observed((0..1000).map(|_| 0.4));
        job.learning_rate = observed((0..1000).map(|i| if i < 50 { 0.1 } else { 0.001 }));
        assert_eq!(severity(&job), None);
        job.learning_rate =
            observed((0..1000).map(|i| 0.05 * (1.0 + (std::f64::consts::PI * f64::from(i) / 1000.0).cos())));
        assert_eq!(severity(&job), Some(Severity::Problem));
    }

    #[test]
    fn a_converged_run_is_left_alone() {
        assert_eq!(severity(&with_loss((0..1000).map(|i| 0.001 + (-(i as f64) / 20.0).exp()))), None);
    }

    #[test]
    fn a_run_that_still_falls_is_left_alone() {
        assert_eq!(severity(&with_loss((0..1000).map(|i| 1.0 / (1.0 + 0.01 * i as f64)))), None);
    }
}
