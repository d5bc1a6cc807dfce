//! Units or layers whose outputs or gradients are all zero: its rules over the evidence.

use super::*;

symptom! {
    dead_units: "units or layers whose outputs or gradients are all zero";
    Problem layers_without_gradient when [Above(Q::DeadLayers, 0.0)] unless [Above(Q::Progress, FIFTH), ACCURATE]
        says "{dead_layers%} of the layers receive only zero gradients";
}

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
    use super::*;
    use crate::evidence::Layer;
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
        assert!(SYMPTOM.examine(&job).is_some());
        job.gradients = vec![layer(0.2), layer(0.1)];
        assert!(SYMPTOM.examine(&job).is_none());
    }
}
