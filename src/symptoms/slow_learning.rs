use super::{Curve, Detector, Finding, JobView, Layer, Severity, SymptomDoc, declare_symptom};

declare_symptom! {
    /// **What it shows.** The loss improves steadily, but so slowly that it will not get anywhere in a reasonable budget.
    ///
    /// **How it is decided.** The whole drop is below 15 % of the start, the second half falls at least two fifths as
    /// fast as the first (no flattening), and at that pace it would take five more runs of this length to halve the
    /// loss. Where the noise of batches hides that, the validation loss shows it, if its second half falls nearly as fast as
    /// its first. Or the histograms of all weights move by less than a hundredth of their size over the whole run, and the loss
    /// has not lost a tenth: steps too small to get anywhere. (Weights that do not move at all are `weights_frozen`.)
    ///
    /// **False alarms.** A job that goes on from earlier training has made its fast progress before, and is left alone where
    /// a checkpoint is named or its steps begin late. Fine-tuning of a language model ends a few per cent below its start by design; its curve
    /// flattens, which is why the pace of the second half is asked for. Labels that are mostly noise leave little to lose:
    /// an accuracy that gained what it could in the first half says so. One that was above 0.6 from the first is that of a
    /// trained network, or of a frequent class.
    SlowLearning, "slow_learning", "improves steadily, but too slowly to get anywhere in a reasonable budget"
}

/// Larger drops are progress.
const LARGEST_DROP: f64 = 0.15;
/// The second half must fall at least at this share of the first half's pace.
const STEADY: f64 = 0.4;
/// An accuracy that gained so much in its first half, and in its second less than this share of that, has come to its end.
const GAINED: f64 = 0.05;
const LATE: f64 = 0.2;
/// Movement of the weights over the whole run against their size. A healthy step moves them by about a thousandth
/// (update-to-weight ratio, Karpathy), so ten such steps are more than this.
const HARDLY_MOVES: f64 = 0.01;
/// A loss that lost so much of its start learns in spite of it.
const LEARNS: f64 = 0.1;
/// Runs of this length that it would take to halve the loss.
const BUDGETS: f64 = 5.0;

impl Detector for SlowLearning {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let curve = job.falling_loss()?;
        let drop = curve.relative_drop();
        let left_alone = job.goes_on_from().is_some() || job.stopped_on_its_way();
        if !job.mature() || job.accurate() || left_alone || curve.levels.len() < 10 || curve.lowest.value < 0.0 {
            return None;
        }
        if let Some(finding) = weights_hardly_move(self, job, curve) {
            return Some(finding);
        }
        if drop > LARGEST_DROP || accuracy_is_through(job) {
            return None;
        }
        // Validation is on the same examples each time: it shows a fall that the noise of batches hides.
        let curve = match curve.falls_straight(STEADY) {
            true => curve,
            false => job.validation_falls_straight()?,
        };
        let drop = curve.relative_drop();
        let pace = -curve.slope_from(0.4) * curve.length();
        if drop > LARGEST_DROP || pace <= 0.0 || 0.5 * curve.end / pace < BUDGETS {
            return None;
        }
        let budgets = 0.5 * curve.end / pace;
        let summary = format!(
            "the loss falls steadily but slowly, from {:.4} to {:.4}: at this pace it halves after {budgets:.0} more runs of this length",
            curve.start, curve.end
        );
        Some(
            Finding::in_curve(self, Severity::Problem, curve, summary)
                .with("relative_drop", drop)
                .with("runs_to_halve", budgets),
        )
    }
}

/// Whether the accuracy gained what it gained within the first half, or had it from the first: the job has learned what
/// there was for it.
fn accuracy_is_through(job: &JobView) -> bool {
    if job.right_from_the_first().is_some() {
        return true;
    }
    let Some(curve) = job.own_accuracy().and_then(|o| o.curve.as_ref()) else { return false };
    let middle = curve.mean_between(0.4, 0.6);
    let (early, late) = (middle - curve.start, curve.mean_between(0.85, 1.0) - middle);
    early > GAINED && late < LATE * early
}

fn weights_hardly_move(detector: &SlowLearning, job: &JobView, curve: &Curve) -> Option<Finding> {
    let moves = movement(&job.weights).filter(|moves| *moves > 0.0 && *moves < HARDLY_MOVES)?;
    if curve.lost(LEARNS) || job.maybe_trained_before().is_some() {
        return None;
    }
    let summary = format!(
        "over {:.0} steps the weights moved by {moves:.1e} of their size, and the loss from {:.4} to {:.4}",
        curve.length(),
        curve.start,
        curve.end
    );
    let steps = (curve.first.step, curve.last.step);
    let finding = Finding::at(detector, Severity::Problem, &job.weights[0].tag, steps, summary);
    Some(finding.with("weights_moved", moves).with("relative_drop", curve.relative_drop()))
}

/// The largest change of extremes or root mean square of any layer, against the size of the largest layer. `None` with
/// fewer than three histograms of each.
fn movement(layers: &[Layer]) -> Option<f64> {
    let mut size = 0.0_f64;
    let mut moved = 0.0_f64;
    for layer in layers {
        let (first, last) = (layer.histogram.first?, layer.histogram.last?);
        if layer.histogram.rms.count() < 3 {
            return None;
        }
        size = size.max(first.rms());
        let changes = [last.min - first.min, last.max - first.max, last.rms() - first.rms()];
        moved = changes.iter().fold(moved, |most, change| most.max(change.abs()));
    }
    (size > 0.0).then(|| moved / size)
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::tests::{observed, with_loss};
    use super::*;
    use crate::series::{HistogramSketch, Moments};

    #[test]
    fn an_accuracy_that_has_come_to_its_end_says_that_there_was_little_to_lose() {
        let falls = |i: usize| 2.24 - 0.05 * (i as f64 / 24.0) - 0.04 * (1.0 - (-(i as f64) / 3.0).exp());
        let mut job = with_loss((0..24).map(falls));
        assert!(SlowLearning.examine(&job).is_some());
        job.accuracy = observed((0..24).map(|i| 0.275 - 0.1 * (-f64::from(i) / 3.0).exp()));
        assert!(SlowLearning.examine(&job).is_none());
        job.accuracy = observed((0..24).map(|i| 0.1 + 0.004 * f64::from(i)));
        assert!(SlowLearning.examine(&job).is_some());
        job.validation_accuracy = observed((0..24).map(|_| 0.73));
        assert!(SlowLearning.examine(&job).is_none(), "it was trained before");
    }

    #[test]
    fn weights_that_hardly_move_under_a_loss_that_stands_are_slow() {
        let with_weights = |moves: f64| {
            let mut job = with_loss((0..500).map(|i| 2.3 + 0.1 * noise(i)));
            let mut histogram = HistogramSketch::default();
            for i in 0..5 {
                let high = 0.5 + moves * f64::from(i);
                histogram.push(
                    i64::from(i),
                    0.0,
                    Moments { min: -0.5, max: high, num: 9.0, sum: 0.0, sum_squares: 0.4 },
                );
            }
            job.weights = vec![Layer { tag: "weights/a".into(), histogram }];
            SlowLearning.examine(&job).is_some()
        };
        assert!(with_weights(1e-5) && !with_weights(0.1) && !with_weights(0.0));
    }

    #[test]
    fn a_straight_slow_line_from_a_checkpoint_is_left_alone() {
        let mut job = with_loss((0..1000).map(|i| 2.3 - 0.0001 * i as f64 + 0.01 * noise(i)));
        job.knobs.insert("checkpoint".into(), "runs/a/last.pt".into());
        assert!(SlowLearning.examine(&job).is_none());
    }

    #[test]
    fn a_straight_slow_line_is_slow() {
        let job = with_loss((0..1000).map(|i| 2.3 - 0.0001 * i as f64 + 0.01 * noise(i)));
        assert!(SlowLearning.examine(&job).is_some());
    }

    #[test]
    fn a_straight_slow_line_under_noise_shows_in_validation() {
        let mut job = with_loss((0..1000).map(|i| 1.0 - 0.00003 * i as f64 + 0.8 * noise(i)));
        job.knobs.insert("learning_rate".into(), 3e-5.into());
        let mut with_validation = |level: &dyn Fn(f64) -> f64| {
            job.validation_loss = observed((0..20).map(|i| level(f64::from(i) / 20.0)));
            SlowLearning.examine(&job).is_some()
        };
        assert!(with_validation(&|share| 1.0 - 0.03 * share));
        assert!(!with_validation(&|share| 0.97 + 0.03 * (-4.0 * share).exp()), "it flattens: fine-tuning");
        assert!(!with_validation(&|_| 1.0));
    }

    #[test]
    fn fine_tuning_that_flattens_is_left_alone() {
        let job = with_loss((0..1000).map(|i| 1.8 + 0.2 * (-(i as f64) / 150.0).exp() + 0.01 * noise(i)));
        assert!(SlowLearning.examine(&job).is_none());
    }

    #[test]
    fn a_fast_fall_is_left_alone() {
        let job = with_loss((0..1000).map(|i| 2.3 - 0.002 * i as f64 + 0.01 * noise(i)));
        assert!(SlowLearning.examine(&job).is_none());
    }
}
