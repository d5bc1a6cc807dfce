use super::{Curve, Detector, Finding, JobView, Severity, SymptomDoc, declare_symptom};

declare_symptom! {
    /// **What it shows.** Gradient norms or gradient histograms grow by orders of magnitude, or are huge where weights
    /// are not; or the loss of a classifier starts so far above chance that its activations must have exploded.
    ///
    /// **How it is decided.** The gradient norm ends more than a hundred times above its start while the loss is no
    /// better; or it is above 100 and ten times the loss at the end of a run that did not converge; or a cross-entropy
    /// starts above thirty times log 1000, which no network with scaled weights does, and is still above log 1000 (or the
    /// accuracy at chance); or, with histograms of gradients by
    /// layer, those of the first layers are seventy times those of the last while the loss has not halved.
    ///
    /// **False alarms.** A single spike of the norm is none. A loss in large units has large gradients, which is why the
    /// norm is compared with the loss.
    ///
    /// **Sources.** Glorot and Bengio 2010; He et al. 2015 (variance of activations by depth). The ratio of layers is
    /// AutoTrainer's (ICSE 2021).
    ExplodingGradients, "exploding_gradients",
    "gradient norms grow by orders of magnitude, or are huge where weights are not"
}

/// Growth of the norm over the run.
const GROWTH: f64 = 100.0;
/// The norm against the loss, and at least `LARGE`.
const STEEP: f64 = 10.0;
const LARGE: f64 = 100.0;
/// Gradients of the first layers against those of the last.
const BY_DEPTH: f64 = 70.0;
/// Cross-entropy at the start, against that of a uniform guess among 1000 classes.
const INITIAL_LOSS: f64 = 30.0;
/// A run that lost so much of its start has converged, whatever its gradients.
const CONVERGED: f64 = 0.999;

impl Detector for ExplodingGradients {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let loss = job.falling_loss();
        if let Some(curve) = loss.filter(|curve| starts_exploded(job, curve)) {
            let summary = format!(
                "a cross-entropy of {:.1} at the start is far above any uniform guess: the activations explode",
                curve.start
            );
            return Some(Finding::in_curve(self, Severity::Problem, curve, summary).with("start", curve.start));
        }
        let loss = loss?;
        if let Some(finding) = grows_with_depth(self, job, loss) {
            return Some(finding);
        }
        let norm = job.gradient_norm.as_ref()?.curve.as_ref()?;
        let (growth, steepness) = (norm.end / norm.start, norm.end / loss.end.abs());
        let grows = growth > GROWTH && norm.end > 1.0 && !loss.lost(0.5);
        let huge =
            norm.end > LARGE && steepness > STEEP && loss.relative_drop() < CONVERGED && loss.lowest.value >= 0.0;
        if job.accurate() || !(grows || huge) {
            return None;
        }
        let summary = format!(
            "the gradient norm went from {:.3e} to {:.3e} and is {steepness:.1} times the loss ({:.4})",
            norm.start, norm.end, loss.end
        );
        Some(
            Finding::in_curve(self, Severity::Problem, norm, summary)
                .with("growth", growth)
                .with("norm_to_loss", steepness),
        )
    }
}

fn starts_exploded(job: &JobView, curve: &Curve) -> bool {
    let guess = 1000f64.ln();
    let bad = job.accuracy_at_chance() == Some(true) || curve.end > guess;
    job.classifies() && curve.start > INITIAL_LOSS * guess && bad
}

fn grows_with_depth(detector: &ExplodingGradients, job: &JobView, loss: &Curve) -> Option<Finding> {
    let ratio = job.gradients_by_depth().filter(|ratio| *ratio > BY_DEPTH)?;
    if !job.mature() || job.accurate() || loss.lost(0.5) {
        return None;
    }
    let layers = job.gradients.len();
    let summary = format!(
        "over {layers} layers the gradients grow {ratio:.0} times from the output to the input, and the loss is bad"
    );
    let steps = (loss.first.step, loss.last.step);
    let finding = Finding::at(detector, Severity::Problem, &job.gradients[0].tag, steps, summary);
    Some(finding.with("first_to_last_layer", ratio))
}

#[cfg(test)]
mod tests {
    use super::super::view::Layer;
    use super::super::view::tests::{observed, with_loss};
    use super::*;
    use crate::series::{HistogramSketch, Moments};

    #[test]
    fn gradients_that_grow_towards_the_input_explode_where_the_loss_is_bad() {
        let layer = |i: i32| {
            let size = 3f64.powi(9 - i);
            let mut histogram = HistogramSketch::default();
            histogram.push(0, 0.0, Moments { min: -size, max: size, num: 1.0, sum: 0.0, sum_squares: size * size });
            Layer { tag: format!("gradients/{i}"), histogram }
        };
        let mut job = with_loss((0..500).map(|i| 2.3 + 0.001 * f64::from(i % 7)));
        job.gradients = (0..10).map(layer).collect();
        assert!(ExplodingGradients.examine(&job).is_some());
        job.loss = observed((0..500).map(|i| 2.3 * (-f64::from(i) / 100.0).exp()));
        assert!(ExplodingGradients.examine(&job).is_none());
    }

    #[test]
    fn gradients_huge_against_the_loss_explode() {
        let mut job = with_loss((0..500).map(|i| 30.0 + 2000.0 * (-f64::from(i) / 20.0).exp()));
        job.gradient_norm = observed((0..500).map(|i| 400.0 + 3000.0 * (-f64::from(i) / 20.0).exp()));
        assert!(ExplodingGradients.examine(&job).is_some());
    }

    #[test]
    fn a_loss_in_large_units_has_large_gradients() {
        let mut job = with_loss((0..500).map(|i| 8e4 + 8e5 * (-f64::from(i) / 20.0).exp()));
        job.gradient_norm = observed((0..500).map(|_| 2e4));
        assert!(ExplodingGradients.examine(&job).is_none());
    }

    #[test]
    fn a_cross_entropy_of_thousands_has_exploded() {
        let mut job = with_loss((0..500).map(|i| 14_000.0 - 8.0 * f64::from(i)));
        job.accuracy = observed((0..500).map(|_| 0.1));
        assert!(ExplodingGradients.examine(&job).is_some());
    }

    #[test]
    fn likelihoods_get_steeper_as_they_sharpen() {
        let mut job = with_loss((0..500).map(|i| 0.3 - 0.005 * f64::from(i)));
        job.gradient_norm = observed((0..500).map(|i| 0.4 + 0.05 * f64::from(i)));
        assert!(ExplodingGradients.examine(&job).is_none());
    }
}
