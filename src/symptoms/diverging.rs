use super::{Curve, Detector, Finding, JobView, Severity, SymptomDoc, TREND, declare_symptom};

declare_symptom! {
    /// **What it shows.** The training loss has left where it was: it keeps growing, or settled far above its start; or
    /// it runs away to minus infinity, which no loss of a learning network does.
    ///
    /// **How it is decided.** The end is above the start by half the start and by six standard errors of the noise, and
    /// four of five of the newest fifth of the levels lie above everything the first tenth held. Or: the loss is
    /// negative, its size grew more than a hundredfold, and it is still growing (a flipped sign).
    ///
    /// **False alarms.** A jump that comes back is `loss_spikes`. Negative log-likelihoods get more negative by a few
    /// units, not by orders of magnitude. Opponents (GAN) are not judged.
    Diverging, "diverging", "the loss has left where it was and keeps growing, or settled far above its start"
}

/// The end must lie above the start by this share of it.
const RISE: f64 = 0.5;
/// ... and by this many standard errors.
const RISE_ERRORS: f64 = 6.0;
/// A loss that became so many times larger below zero has no floor.
const RUNAWAY: f64 = 100.0;

impl Detector for Diverging {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let curve = job.falling_loss()?;
        let (what, factor) = if runs_away(curve) {
            ("runs away below zero", curve.end.abs() / curve.start.abs().max(curve.noise))
        } else if has_risen(curve) {
            ("has risen", curve.end / curve.start)
        } else {
            return None;
        };
        let summary = format!("the loss {what}: from {:.4} to {:.4}", curve.start, curve.end);
        Some(
            Finding::in_curve(self, Severity::Problem, curve, summary)
                .with("start", curve.start)
                .with("end", curve.end)
                .with("factor", factor),
        )
    }
}

fn has_risen(curve: &Curve) -> bool {
    let rise = -curve.drop();
    if rise < RISE * curve.start.abs() || rise < RISE_ERRORS * curve.drop_error() {
        return false;
    }
    let begin = curve.levels.len() / 10 + 1;
    let early = curve.levels[..begin].iter().map(|l| l.mean).fold(curve.start, f64::max);
    let late = curve.from(0.8);
    let above = late.iter().filter(|(_, mean)| *mean > early.min(curve.start + rise / 2.0)).count();
    above * 5 >= late.len() * 4
}

fn runs_away(curve: &Curve) -> bool {
    let scale = curve.start.abs().max(curve.noise.min(1.0)).max(f64::MIN_POSITIVE);
    curve.end < 0.0 && curve.end.abs() > RUNAWAY * scale && curve.end < -1e3 && curve.trend_from(0.5) < -TREND
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::tests::with_loss;
    use super::*;

    fn found(values: impl IntoIterator<Item = f64>) -> bool {
        Diverging.examine(&with_loss(values)).is_some()
    }

    #[test]
    fn a_growing_loss_diverges() {
        assert!(found((0..500).map(|i| 2.3 * (f64::from(i) / 100.0).exp())));
    }

    #[test]
    fn settling_far_above_the_start_diverges() {
        assert!(found((0..500).map(|i| if i < 10 { 2.0 } else { 9.0 + noise(i as usize) })));
    }

    #[test]
    fn a_flipped_sign_runs_away() {
        assert!(found((0..500).map(|i| -0.25 - f64::from(i).powi(4))));
    }

    #[test]
    fn a_negative_log_likelihood_is_left_alone() {
        assert!(!found((0..500).map(|i| 0.3 - 2.5 * (1.0 - (-f64::from(i) / 100.0).exp()))));
    }

    #[test]
    fn a_spike_that_comes_back_is_no_divergence() {
        assert!(!found((0..500).map(|i| if (300..305).contains(&i) { 50.0 } else { 1.0 / (1.0 + f64::from(i)) })));
    }

    #[test]
    fn noise_about_a_level_is_no_divergence() {
        assert!(!found((0..500).map(|i| 2.3 + noise(i))));
    }
}
