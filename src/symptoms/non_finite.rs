use std::cmp::Reverse;

use super::{Detector, Finding, JobView, Observed, Severity, SymptomDoc, TREND, declare_symptom, shown};
use crate::series::Sketch;

declare_symptom! {
    /// **What it shows.** A loss, a metric or a gradient norm is NaN or infinite.
    ///
    /// **How it is decided.** The training loss decides (of opponents and with rewards: any loss): non-finite at the
    /// end, it is a `problem` at once. A loss that is finite again for the newest fifth of its points skipped a bad
    /// step, which is a `warning`; so is a gradient norm or a metric that is not finite while the loss is. A gradient
    /// norm that has not been finite for sixteen values and the newest fifth of all, while the loss does not fall, is
    /// a `problem`: no step is taken any more.
    ///
    /// **False alarms.** Mixed-precision training with loss scaling logs infinite gradient norms in its first steps
    /// and skips those updates; that is why gradient norms alone are no problem for as long as they become finite.
    ///
    /// **Story.** NaN from the first steps on points to data, loss or initialisation; a climb before it to the learning
    /// rate; NaN out of a calm curve to one batch or one operation.
    NonFinite, "non_finite", "NaN or infinity in a loss, metric, gradient norm or histogram"
}

/// A loss that has been finite for the newest fifth of its points has recovered.
const RECOVERED_SHARE: f64 = 0.2;

/// Loss scaling finds its scale within fewer steps than this: a factor of 2 for each from 65536 down to 1.
const SKIPPED: u64 = 16;

impl Detector for NonFinite {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let others = [&job.validation_loss, &job.gradient_norm, &job.accuracy, &job.validation_accuracy, &job.reward];
        let loss = job.loss.iter().filter(|o| o.sketch.non_finite() > 0).map(|o| (o, severity_of(o)));
        let rest = others.into_iter().flatten().filter(|o| o.sketch.non_finite() > 0).map(|o| (o, Severity::Warning));
        let rest =
            rest.map(|(o, severity)| if no_step_is_taken(job, o) { (o, Severity::Problem) } else { (o, severity) });
        let bad_parts = job.parts.iter().filter(|o| o.sketch.non_finite() > 0).map(|o| (o, severity_of_part(job, o)));
        let (observed, severity) = loss.chain(rest).chain(bad_parts).min_by_key(|(_, severity)| Reverse(*severity))?;
        let sketch = &observed.sketch;
        let (first, bad) = (sketch.first()?, sketch.first_non_finite()?);
        let before = sketch.head().iter().take_while(|v| v.is_finite()).count();
        let story = match sketch.last_finite() {
            None => "from its first value on".to_owned(),
            Some(_) if before < sketch.head().len() => format!("after {before} finite values"),
            Some(last) => format!("first at step {}; the newest finite value was {}", bad.step, shown(last.value)),
        };
        let summary = format!("{} is {} {story}", observed.tag, bad.value);
        let steps = (first.step, sketch.last()?.step);
        Some(
            Finding::at(self, severity, &observed.tag, steps, summary)
                .with("first_non_finite_step", bad.step as f64)
                .with("non_finite", sketch.non_finite() as f64)
                .with("points", sketch.count() as f64),
        )
    }
}

/// Whether the gradient norm has not been finite for the newest fifth of its values, and the loss does not fall: every step is
/// skipped, and a loss scale that goes down each time never ends that.
fn no_step_is_taken(job: &JobView, observed: &Observed) -> bool {
    let is_norm = job.gradient_norm.as_ref().is_some_and(|norm| norm.tag == observed.tag);
    let Some(loss) = job.falling_loss().filter(|_| is_norm) else { return false };
    let sketch = &observed.sketch;
    let ended = sketch.last_finite().is_none_or(|finite| finite.step < newest_from(sketch));
    let long = ended && sketch.non_finite() >= SKIPPED;
    long && loss.trend_from(1.0 - RECOVERED_SHARE) > -TREND / 2.0
}

/// Where no loss is there to decide (opponents, rewards), each of theirs does.
fn severity_of_part(job: &JobView, part: &Observed) -> Severity {
    if job.loss.is_none() { severity_of(part) } else { Severity::Warning }
}

fn severity_of(loss: &Observed) -> Severity {
    let sketch = &loss.sketch;
    let Some(last) = sketch.last() else { return Severity::Warning };
    let before = sketch.until(newest_from(sketch)).non_finite();
    let finite_since = before == sketch.non_finite() && last.value.is_finite();
    if finite_since && sketch.count() > 4 * sketch.non_finite() { Severity::Warning } else { Severity::Problem }
}

/// The step from which on the newest fifth lies.
fn newest_from(sketch: &Sketch) -> i64 {
    let (Some(first), Some(last)) = (sketch.first(), sketch.last()) else { return i64::MIN };
    last.step - ((last.step - first.step) as f64 * RECOVERED_SHARE) as i64
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::tests::{observed, with_loss};
    use super::*;

    fn severity(values: impl IntoIterator<Item = f64>) -> Option<Severity> {
        NonFinite.examine(&with_loss(values)).map(|f| f.severity)
    }

    #[test]
    fn a_loss_scale_that_only_goes_down_takes_no_step() {
        let course = |i: usize, until: usize| 0.77 + (-(i.min(until) as f64) / 60.0).exp() + 1e-3 * noise(i);
        let severity = |until: usize, bad: std::ops::Range<usize>| {
            let mut job = with_loss((0..400).map(|i| course(i, until)));
            job.gradient_norm = observed((0..400).map(|i| if bad.contains(&i) { f64::INFINITY } else { 1.3 }));
            NonFinite.examine(&job).map(|f| f.severity)
        };
        assert_eq!(severity(120, 120..400), Some(Severity::Problem));
        assert_eq!(severity(400, 0..8), Some(Severity::Warning), "it finds its scale");
        assert_eq!(severity(400, 395..400), Some(Severity::Warning), "and again");
        assert_eq!(severity(400, 0..400), Some(Severity::Warning), "the loss falls: the norm is no use");
    }

    #[test]
    fn one_nan_at_the_start_is_enough() {
        assert_eq!(severity([f64::NAN]), Some(Severity::Problem));
    }

    #[test]
    fn nan_late_in_a_calm_run_is_a_problem() {
        let job = with_loss((0..1000).map(|i| if i < 900 { 0.1 } else { f64::NAN }));
        let finding = NonFinite.examine(&job).expect("found");
        assert_eq!(finding.severity, Severity::Problem);
        assert_eq!(finding.numbers["first_non_finite_step"], 900.0);
    }

    #[test]
    fn a_skipped_step_is_a_warning() {
        assert_eq!(severity((0..1000).map(|i| if i == 300 { f64::NAN } else { 1.0 })), Some(Severity::Warning));
    }

    #[test]
    fn infinite_gradient_norms_of_loss_scaling_are_a_warning() {
        let mut job = with_loss((0..200).map(|_| 1.0));
        job.gradient_norm = observed((0..200).map(|i| if i < 3 { f64::INFINITY } else { 1.0 }));
        assert_eq!(NonFinite.examine(&job).map(|f| f.severity), Some(Severity::Warning));
    }

    #[test]
    fn losses_of_opponents_decide_where_there_is_no_other() {
        let mut job = with_loss((0..200).map(|_| 1.0));
        job.parts = observed((0..200).map(|i| if i < 150 { 1.0 } else { f64::NAN })).into_iter().collect();
        assert_eq!(NonFinite.examine(&job).map(|f| f.severity), Some(Severity::Warning));
        job.loss = None;
        assert_eq!(NonFinite.examine(&job).map(|f| f.severity), Some(Severity::Problem));
    }

    #[test]
    fn finite_runs_are_left_alone() {
        assert_eq!(severity((0..100).map(f64::from)), None);
    }
}
