use super::{Detector, Finding, JobView, Severity, SymptomDoc, declare_symptom};

declare_symptom! {
    /// **What it shows.** Gradients are (nearly) zero, or fall by orders of magnitude from the output to the input layers,
    /// while the loss is bad.
    ///
    /// **How it is decided.** The loss has not fallen by a fifth. Then: the gradient norm is exactly zero at the end; or
    /// it is below a millionth of the loss; or, with histograms of gradients by layer, the median root mean square of the
    /// first layers is below a thousandth of that of the last.
    ///
    /// **False alarms.** A converged run has small gradients; a frozen backbone has zero gradients in its layers.
    ///
    /// **Sources.** Hochreiter 1991; Glorot and Bengio 2010. The ratio is AutoTrainer's (ICSE 2021, beta 1e-3).
    VanishingGradients, "vanishing_gradients",
    "gradients are (nearly) zero, or fall by orders of magnitude towards the input, while the loss is bad"
}

/// A loss that lost so much of its start is not bad.
const LEARNED: f64 = 0.2;
/// The norm against the loss.
const TINY: f64 = 1e-6;
/// First layers against last layers.
const BY_DEPTH: f64 = 1e-3;

impl Detector for VanishingGradients {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let loss = job.falling_loss()?;
        if !job.mature() || job.accurate() || loss.lost(LEARNED) {
            return None;
        }
        if let Some(ratio) = job.gradients_by_depth().filter(|ratio| *ratio < BY_DEPTH) {
            let layers = job.gradients.len();
            let summary = format!(
                "over {layers} layers the gradients fall to {ratio:.1e} of their size from the output to the input"
            );
            let tag = &job.gradients[0].tag;
            let steps = (loss.first.step, loss.last.step);
            return Some(Finding::at(self, Severity::Problem, tag, steps, summary).with("first_to_last_layer", ratio));
        }
        let norm = job.gradient_norm.as_ref()?.curve.as_ref()?;
        if norm.end > TINY * loss.end.abs() || norm.highest.value == 0.0 && never_logged(job) {
            return None;
        }
        let summary = format!("the gradient norm is {:.1e} while the loss stands at {:.4}", norm.end, loss.end);
        Some(Finding::in_curve(self, Severity::Problem, norm, summary).with("norm", norm.end).with("loss", loss.end))
    }
}

/// A norm that is 0 from the first point to the last while the loss moves was never filled in by the program.
fn never_logged(job: &JobView) -> bool {
    job.loss.as_ref().is_some_and(|loss| loss.sketch.longest_repeat() < 3)
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::Layer;
    use super::super::view::tests::{observed, with_loss};
    use super::*;
    use crate::series::{HistogramSketch, Moments};

    fn layers(decay: f64) -> Vec<Layer> {
        let layer = |i: i32| {
            let size = decay.powi(9 - i);
            let mut histogram = HistogramSketch::default();
            histogram.push(
                0,
                0.0,
                Moments { min: -size, max: size, num: 10.0, sum: 0.0, sum_squares: 10.0 * size * size },
            );
            Layer { tag: format!("gradients/{i}"), histogram }
        };
        (0..10).map(layer).collect()
    }

    fn stuck() -> JobView {
        with_loss((0..500).map(|i| 2.3 + 0.05 * noise(i)))
    }

    #[test]
    fn gradients_that_fall_with_depth_vanish() {
        let mut job = stuck();
        job.gradients = layers(0.25);
        assert!(VanishingGradients.examine(&job).is_some());
    }

    #[test]
    fn even_gradients_do_not() {
        let mut job = stuck();
        job.gradients = layers(0.9);
        assert!(VanishingGradients.examine(&job).is_none());
    }

    #[test]
    fn zero_norm_and_a_loss_that_repeats_itself_vanish() {
        let mut job = with_loss((0..500).map(|_| 1.5));
        job.gradient_norm = observed((0..100).map(|_| 0.0));
        assert!(VanishingGradients.examine(&job).is_some());
    }

    #[test]
    fn a_norm_that_is_always_zero_while_the_loss_moves_is_a_placeholder() {
        let mut job = stuck();
        job.gradient_norm = observed((0..100).map(|_| 0.0));
        assert!(VanishingGradients.examine(&job).is_none());
    }
}
