use super::curve::Level;
use super::{Curve, Detector, Finding, JobView, SIGNIFICANT, Severity, SymptomDoc, declare_symptom};

declare_symptom! {
    /// **What it shows.** Swings that are large against the progress made, without net progress.
    ///
    /// **How it is decided.** The run is mature, its end is no better than its start (within four standard errors), and
    /// either single values scatter by half of the level they scatter about, or the levels themselves swing: their
    /// scatter is three times what the noise within them explains, and a tenth of their height.
    ///
    /// **False alarms.** Small batches scatter too, but their levels fall. A cyclic learning rate makes levels swing
    /// while they fall.
    Oscillating, "oscillating", "swings that are large against the progress made, without net progress"
}

/// Scatter of single values against the level they scatter about.
const WILD: f64 = 0.5;
/// Scatter of levels against what the noise within them explains.
const SWINGS: f64 = 3.0;
/// ... and against their own height.
const SWING_HEIGHT: f64 = 0.1;

impl Detector for Oscillating {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let curve = job.falling_loss()?;
        let settled = curve.mean_between(0.2, 1.0);
        let (early, late) = (curve.mean_between(0.2, 0.4), curve.mean_between(0.8, 1.0));
        if !job.mature() || curve.levels.len() < 10 || job.accurate() || settled <= 0.0 {
            return None;
        }
        let (wild, swing) = (curve.noise / settled, level_swing(curve));
        let gained = curve.drop() > SIGNIFICANT * curve.drop_error() && curve.relative_drop() > 0.1;
        let gained = gained || curve.may_have_dropped() && curve.noise < 2.0 * curve.drop();
        let net = early - late > 0.1 * settled;
        if gained || net || job.learns_by_validation() || !(wild > WILD || swing > SWING_HEIGHT) {
            return None;
        }
        let summary = format!(
            "single losses scatter by {:.0} % about a level that does not fall (from {early:.4} after its first values to {late:.4})",
            100.0 * wild,
        );
        Some(
            Finding::in_curve(self, Severity::Problem, curve, summary)
                .with("scatter_of_values", wild)
                .with("swing_of_levels", swing),
        )
    }
}

/// Scatter of the levels against their height, where the noise within them does not explain it; else 0.
fn level_swing(curve: &Curve) -> f64 {
    let levels = &curve.levels[curve.levels.len() / 5..];
    let means: Vec<f64> = levels.iter().map(|l| l.mean).collect();
    let explained = crate::series::stats::median(
        &levels.iter().map(|l| scatter_within(l, curve) / f64::from(l.count).sqrt()).collect::<Vec<_>>(),
    );
    let scatter = crate::series::stats::scatter(&means);
    if scatter > SWINGS * explained { scatter / crate::series::stats::median(&means).abs() } else { 0.0 }
}

/// What single values of a level scatter by; one value alone shows none, and is as noisy as its neighbours.
fn scatter_within(level: &Level, curve: &Curve) -> f64 {
    if level.count > 1 { level.deviation } else { curve.noise }
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::tests::with_loss;
    use super::*;

    #[test]
    fn wild_values_without_progress_oscillate() {
        let job = with_loss((0..1500).map(|i| 9.0 + 18.0 * noise(i)));
        assert!(Oscillating.examine(&job).is_some());
    }

    #[test]
    fn a_noisy_run_that_falls_is_left_alone() {
        let job = with_loss((0..1500).map(|i| (2.3 * (-(i as f64) / 500.0).exp()) * (1.0 + 1.5 * noise(i))));
        assert!(Oscillating.examine(&job).is_none());
    }

    #[test]
    fn a_wilder_start_is_no_progress_where_all_that_follows_is_wild() {
        let height = |i: usize| if i < 300 { 45.0 } else { 30.0 };
        let job = with_loss((0..3000).map(|i| if i % 17 == 3 { height(i) } else { 0.3 }));
        assert!(Oscillating.examine(&job).is_some());
    }

    #[test]
    fn noise_of_few_points_is_no_swing_of_levels() {
        let job = with_loss((0..80).map(|i| 0.37 + 0.3 * noise(i)));
        assert!(Oscillating.examine(&job).is_none());
    }

    #[test]
    fn ordinary_noise_about_chance_does_not_oscillate() {
        let job = with_loss((0..1500).map(|i| 2.3 + 0.2 * noise(i)));
        assert!(Oscillating.examine(&job).is_none());
    }
}
