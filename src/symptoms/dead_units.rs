use super::{Detector, Finding, JobView, Severity, SymptomDoc, declare_symptom};

declare_symptom! {
    /// **What it shows.** Units or layers that put out or receive nothing but zeros.
    ///
    /// **How it is decided.** The newest histograms of the gradients of at least one layer hold nothing but zeros while
    /// those of another layer do not, and the loss has not fallen by a fifth.
    ///
    /// **False alarms.** Frozen layers have no gradients; a run that learns is left alone.
    DeadUnits, "dead_units", "units or layers that put out or receive nothing but zeros"
}

/// A loss that lost so much of its start learns in spite of it.
const LEARNED: f64 = 0.2;

impl Detector for DeadUnits {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let loss = job.falling_loss()?;
        if job.accurate() || loss.lost(LEARNED) {
            return None;
        }
        let zero = |layer: &&super::Layer| layer.histogram.last.is_some_and(|m| m.min == 0.0 && m.max == 0.0);
        let dead: Vec<_> = job.gradients.iter().filter(zero).collect();
        if dead.is_empty() || dead.len() == job.gradients.len() {
            return None;
        }
        let summary = format!("{} of {} layers receive nothing but zero gradients", dead.len(), job.gradients.len());
        let steps = (loss.first.step, loss.last.step);
        let finding = Finding::at(self, Severity::Problem, &dead[0].tag, steps, summary);
        Some(finding.with("dead_layers", dead.len() as f64).with("layers", job.gradients.len() as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::Layer;
    use super::super::view::tests::with_loss;
    use super::*;
    use crate::series::{HistogramSketch, Moments};

    fn layer(size: f64) -> Layer {
        let mut histogram = HistogramSketch::default();
        histogram.push(0, 0.0, Moments { min: -size, max: size, num: 9.0, sum: 0.0, sum_squares: size * size });
        Layer { tag: "gradients/a".into(), histogram }
    }

    #[test]
    fn a_layer_without_gradients_is_dead() {
        let mut job = with_loss((0..100).map(|i| 2.3 + 0.1 * noise(i)));
        job.gradients = vec![layer(0.0), layer(0.1)];
        assert!(DeadUnits.examine(&job).is_some());
        job.gradients = vec![layer(0.2), layer(0.1)];
        assert!(DeadUnits.examine(&job).is_none());
    }
}
