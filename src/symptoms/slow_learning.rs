use super::{Detector, Finding, JobView, Severity, SymptomDoc, TREND, declare_symptom};

declare_symptom! {
    /// **What it shows.** The loss improves steadily, but so slowly that it will not get anywhere in a reasonable budget.
    ///
    /// **How it is decided.** The whole drop is below 15 % of the start, the second half falls at least two fifths as
    /// fast as the first (no flattening), and at that pace it would take five more runs of this length to halve the
    /// loss. Or the drop is significant and below 3 %: `not_learning` says so too.
    ///
    /// **False alarms.** Fine-tuning of a language model ends a few per cent below its start by design; its curve
    /// flattens, which is why the pace of the second half is asked for.
    SlowLearning, "slow_learning", "improves steadily, but too slowly to get anywhere in a reasonable budget"
}

/// Larger drops are progress.
const LARGEST_DROP: f64 = 0.15;
/// The second half must fall at least at this share of the first half's pace.
const STEADY: f64 = 0.4;
/// Runs of this length that it would take to halve the loss.
const BUDGETS: f64 = 5.0;

impl Detector for SlowLearning {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let curve = job.falling_loss()?;
        let drop = curve.relative_drop();
        if !job.mature() || job.accurate() || curve.levels.len() < 10 || curve.lowest.value < 0.0 {
            return None;
        }
        let falls = curve.trend_from(0.0) < -TREND && curve.trend_from(0.4) < -TREND / 1.5;
        if drop > LARGEST_DROP || !falls {
            return None;
        }
        let early = curve.mean_between(0.0, 0.15) - curve.mean_between(0.4, 0.6);
        let late = curve.mean_between(0.4, 0.6) - curve.mean_between(0.85, 1.0);
        let pace = -curve.slope_from(0.4) * curve.length();
        if late < STEADY * early || pace <= 0.0 || 0.5 * curve.end / pace < BUDGETS {
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

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::tests::with_loss;
    use super::*;

    #[test]
    fn a_straight_slow_line_is_slow() {
        let job = with_loss((0..1000).map(|i| 2.3 - 0.0001 * i as f64 + 0.01 * noise(i)));
        assert!(SlowLearning.examine(&job).is_some());
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
