use super::{Detector, Finding, JobView, Severity, SymptomDoc, declare_symptom};
use crate::series::Sketch;

declare_symptom! {
    /// **What it shows.** Weights do not change, or the loss repeats itself exactly.
    ///
    /// **How it is decided.** All histograms of weights have exactly the moments of the one before, three times in a row;
    /// or the newest third of the losses, at least ten of them, are the same to the last digit. Or they are exactly 0 after
    /// a level of a tenth of the first value or more: a NaN that a program or its half precision turned into 0. Or
    /// the validation loss is the same to the last digit at five evaluations in a row or more, three fifths of all, while a
    /// fifth of the learning rate is spent: what moves is nothing that the outputs depend on.
    ///
    /// **False alarms.** Some frozen layers are fine-tuning: only all of them count. A loss that stands still at a
    /// thousandth of its height has converged, and so has one that lost two fifths of its first value, was never above that, and
    /// came to its last digit by and by: a method of second order on the whole set at once. Margins are met at last, and
    /// leave exactly 0 behind, but from nearby.
    WeightsFrozen, "weights_frozen", "weights do not change, or the loss repeats itself exactly"
}

/// Histograms in a row without any change.
const UNCHANGED: u32 = 2;
/// Evaluations in a row with the same loss, and their share of all.
const EVALUATIONS: u32 = 5;
const EVALUATED_SHARE: f64 = 0.6;
/// With less than this share of the learning rate to spend, a loss may stay the same.
const RATE_SPENT: f64 = 0.2;
/// A loss that stands at so small a share of its height has converged to the last digit.
const CONVERGED: f64 = 1e-3;
/// ... as has one at so small a share of its first value that came there by and by: from a level this close to it.
const DESCENDED: f64 = 0.6;
const NEARBY: f64 = 0.01;
/// A loss cannot be 0 right after a level of this share of its first value.
const SUDDEN: f64 = 0.1;
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
        if let Some(finding) = validation_repeats(self, job) {
            return Some(finding);
        }
        let repeats = loss.sketch.trailing_repeats();
        let share = f64::from(repeats) / loss.sketch.count() as f64;
        if repeats < REPEATS || share < REPEATED_SHARE || has_converged(&loss.sketch) || !last.value.is_finite() {
            return None;
        }
        let summary = format!("the newest {repeats} losses are all exactly {}", last.value);
        let finding = Finding::at(self, Severity::Problem, &loss.tag, (first, last.step), summary);
        Some(finding.with("identical_losses", f64::from(repeats)))
    }
}

/// Validation sees the same examples each time: a loss that repeats itself there to the last digit says that no weight changes
/// on which the outputs depend.
fn validation_repeats(detector: &WeightsFrozen, job: &JobView) -> Option<Finding> {
    let observed = job.validation_loss.as_ref()?;
    let (first, last) = (observed.sketch.first()?, observed.sketch.last()?);
    let repeats = observed.sketch.trailing_repeats();
    let share = f64::from(repeats) / observed.sketch.count() as f64;
    let few = repeats < EVALUATIONS || share < EVALUATED_SHARE || job.rate_spent_after(1.0 - share) < RATE_SPENT;
    if few || has_converged(&observed.sketch) || !last.value.is_finite() || !job.well_begun() || job.accurate() {
        return None;
    }
    let summary = format!("the validation loss was exactly {} at the newest {repeats} evaluations", last.value);
    let finding = Finding::at(detector, Severity::Problem, &observed.tag, (first.step, last.step), summary);
    Some(finding.with("identical_losses", f64::from(repeats)))
}

/// Whether a loss that repeats itself has nothing left to lose.
fn has_converged(sketch: &Sketch) -> bool {
    let (Some(first), Some(last), Some(highest)) = (sketch.first(), sketch.last(), sketch.highest()) else {
        return true;
    };
    let (first, last, highest) = (first.value.abs(), last.value, highest.value.abs());
    let mut before =
        sketch.buckets().rev().skip_while(|(_, bucket)| bucket.min == last && bucket.max == last).peekable();
    // The bucket in which the repeats begin may hold some of them.
    before.next_if(|(_, bucket)| bucket.count > 1);
    let before = before.next().map(|(_, bucket)| bucket.mean);
    if last == 0.0 && before.is_some_and(|level| level.abs() > SUDDEN * first) {
        return false;
    }
    let came_nearer = before.is_none_or(|level| (level - last).abs() < NEARBY * first) && highest <= first;
    last.abs() <= CONVERGED * highest || last.abs() <= DESCENDED * first && came_nearer
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::Layer;
    use super::super::view::tests::{observed, with_loss};
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
        let descends = |floor: f64| {
            let value = move |i: i32| floor + (1.2 - floor) * (-f64::from(i)).exp();
            with_loss((0..60).map(move |i| if i < 20 { value(i) } else { floor }))
        };
        assert!(WeightsFrozen.examine(&descends(0.0387)).is_none() && WeightsFrozen.examine(&descends(0.46)).is_none());
        assert!(WeightsFrozen.examine(&descends(0.8)).is_some());
        let thrown = (0..60).map(|i| if i < 20 { 1.2 + f64::from(i % 7) } else { 0.46 });
        assert!(WeightsFrozen.examine(&with_loss(thrown)).is_some());
    }

    #[test]
    fn validation_that_repeats_itself_says_that_nothing_reaches_the_outputs() {
        let mut job = with_loss((0..600).map(|i| 3.66 + 0.5 * noise(i)));
        job.validation_loss = observed([3.4842; 12]);
        assert!(WeightsFrozen.examine(&job).is_some());
        job.learning_rate = observed((0..600).map(|i| if i < 30 { 0.01 } else { 1e-7 }));
        job.validation_loss = observed((0..12).map(|i| if i < 2 { 3.6 } else { 3.4842 }));
        assert!(WeightsFrozen.examine(&job).is_none(), "the rate has gone");
        job.learning_rate = None;
        job.validation_loss = observed((0..12).map(|i| 3.4842 + 1e-6 * noise(i)));
        assert!(WeightsFrozen.examine(&job).is_none());
    }

    #[test]
    fn a_loss_of_zero_all_at_once_has_not_converged() {
        let zero_after = |level: fn(i32) -> f64| with_loss((0..80).map(move |i| if i < 30 { level(i) } else { 0.0 }));
        assert!(WeightsFrozen.examine(&zero_after(|i| 3.8 - 0.04 * f64::from(i))).is_some());
        assert!(WeightsFrozen.examine(&zero_after(|i| (-f64::from(i) / 4.0).exp())).is_none(), "all margins are met");
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
