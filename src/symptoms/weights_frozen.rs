use super::{Detector, Finding, JobView, Severity, SymptomDoc, declare_symptom};
use crate::series::Point;

declare_symptom! {
    /// **What it shows.** Weights do not change, or the loss repeats itself exactly.
    ///
    /// **How it is decided.** All histograms of weights have exactly the moments of the one before, three times in a row;
    /// or the newest third of the losses, at least ten of them, are the same to the last digit.
    ///
    /// **False alarms.** Some frozen layers are fine-tuning: only all of them count. A loss that stands still at a
    /// thousandth of its height has converged, and so has one that lost nine tenths of its first value: a method of second
    /// order on the whole set at once ends at the last digit that its numbers have.
    WeightsFrozen, "weights_frozen", "weights do not change, or the loss repeats itself exactly"
}

/// Histograms in a row without any change.
const UNCHANGED: u32 = 2;
/// A loss that stands at so small a share of its height has converged to the last digit.
const CONVERGED: f64 = 1e-3;
/// ... as has one at so small a share of its first value.
const DESCENDED: f64 = 0.1;
/// Identical losses in a row, and their share of all.
const REPEATS: u32 = 10;
const REPEATED_SHARE: f64 = 1.0 / 3.0;

impl Detector for WeightsFrozen {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let loss = job.loss.as_ref()?;
        let (first, last) = (loss.sketch.first()?.step, loss.sketch.last()?);
        if !job.weights.is_empty() && job.weights.iter().all(|layer| layer.histogram.unchanged >= UNCHANGED) {
            let times = job.weights.iter().map(|layer| layer.histogram.unchanged).min().unwrap_or(0);
            let summary = format!(
                "the histograms of all {} weight tensors are identical {times} times in a row, up to step {}",
                job.weights.len(),
                last.step
            );
            let finding = Finding::at(self, Severity::Problem, &job.weights[0].tag, (first, last.step), summary);
            return Some(finding.with("identical_histograms", f64::from(times)));
        }
        let repeats = loss.sketch.trailing_repeats();
        let share = f64::from(repeats) / loss.sketch.count() as f64;
        let within = |share: f64, of: Option<Point>| of.is_none_or(|of| last.value.abs() <= share * of.value.abs());
        let converged = within(CONVERGED, loss.sketch.highest()) || within(DESCENDED, loss.sketch.first());
        if repeats < REPEATS || share < REPEATED_SHARE || converged || !last.value.is_finite() {
            return None;
        }
        let summary = format!("the newest {repeats} losses are all exactly {}", last.value);
        let finding = Finding::at(self, Severity::Problem, &loss.tag, (first, last.step), summary);
        Some(finding.with("identical_losses", f64::from(repeats)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::Layer;
    use super::super::view::tests::with_loss;
    use super::*;
    use crate::series::{HistogramSketch, Moments};

    #[test]
    fn a_loss_that_repeats_itself_is_frozen() {
        assert!(WeightsFrozen.examine(&with_loss((0..100).map(|_| 2.302))).is_some());
    }

    #[test]
    fn a_loss_of_zero_has_converged() {
        assert!(WeightsFrozen.examine(&with_loss((0..100).map(|i| if i < 20 { 1.0 } else { 1.4e-14 }))).is_none());
    }

    #[test]
    fn a_method_of_second_order_ends_at_its_last_digit() {
        let descends =
            |floor: f64| with_loss((0..40).map(move |i| if i < 15 { 1.2 - 0.08 * f64::from(i) } else { floor }));
        assert!(WeightsFrozen.examine(&descends(0.0387)).is_none());
        assert!(WeightsFrozen.examine(&descends(0.69)).is_some());
    }

    #[test]
    fn weights_that_never_change_are_frozen_and_some_that_do_are_fine_tuning() {
        let mut job = with_loss((0..100).map(|i| 2.3 + 0.1 * noise(i)));
        let layer = |moves: f64| {
            let mut histogram = HistogramSketch::default();
            for i in 0..4 {
                let sum = 1.0 + moves * f64::from(i);
                histogram.push(i64::from(i), 0.0, Moments { min: -1.0, max: 1.0, num: 9.0, sum, sum_squares: 3.0 });
            }
            Layer { tag: "weights/a".into(), histogram }
        };
        job.weights = vec![layer(0.0), layer(0.0)];
        assert!(WeightsFrozen.examine(&job).is_some());
        job.weights.push(layer(0.1));
        assert!(WeightsFrozen.examine(&job).is_none());
    }
}
