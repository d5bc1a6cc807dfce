//! Gradient norms grow by orders of magnitude, or are far too large for the weights: its rules over the evidence.

use super::*;

symptom! {
    exploding_gradients: "gradient norms grow by orders of magnitude, or are far too large for the weights";
    Problem starts_exploded when [Above(Q::LossStart, EXPLODED), Above(Q::OverChance, -AT_CHANCE)] unless [ACCURATE]
        says "a cross-entropy of {loss_start} at the start is far above any uniform guess: the activations explode";
    Problem grows_by_depth when [MATURE, Above(Q::GradientByDepth, BY_DEPTH)]
        unless [Above(Q::Progress, HALF), ACCURATE]
        says "the gradients grow by {gradient_by_depth} orders of magnitude from the output to the input, and the loss \
            is bad";
    Problem grows when [Above(Q::GradientGrowth, HUNDREDFOLD), Above(Q::GradientToLoss, 0.0)]
        unless [Above(Q::Progress, HALF), ACCURATE]
        says "the gradient norm grew by {gradient_growth} orders of magnitude, to {gradient_level}";
    Problem huge when [Above(Q::GradientLevel, LARGE_NORM), Above(Q::GradientToLoss, 1.0)]
        unless [Above(Q::Progress, 1.0 - FITS_SHARE), ACCURATE]
        says "the gradient norm is {gradient_level}, larger than the loss ({loss_end}) by {gradient_to_loss} orders of \
            magnitude";
}

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
    use super::*;
    use crate::evidence::Layer;
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
        assert!(SYMPTOM.examine(&job).is_some());
        job.training_loss = observed((0..500).map(|i| 2.3 * (-f64::from(i) / 100.0).exp()));
        assert!(SYMPTOM.examine(&job).is_none());
    }

    #[test]
    fn gradients_huge_against_the_loss_explode() {
        let mut job = with_loss((0..500).map(|i| 30.0 + 2000.0 * (-f64::from(i) / 20.0).exp()));
        job.gradient_norm = observed((0..500).map(|i| 400.0 + 3000.0 * (-f64::from(i) / 20.0).exp()));
        assert!(SYMPTOM.examine(&job).is_some());
    }

    #[test]
    fn a_loss_in_large_units_has_large_gradients() {
        let mut job = with_loss((0..500).map(|i| 8e4 + 8e5 * (-f64::from(i) / 20.0).exp()));
        job.gradient_norm = observed((0..500).map(|_| 2e4));
        assert!(SYMPTOM.examine(&job).is_none());
    }

    #[test]
    fn a_cross_entropy_of_thousands_has_exploded() {
        let mut job = with_loss((0..500).map(|i| 14_000.0 - 8.0 * f64::from(i)));
        job.accuracy = observed((0..500).map(|_| 0.1));
        assert!(SYMPTOM.examine(&job).is_some());
    }

    #[test]
    fn likelihoods_get_steeper_as_they_sharpen() {
        let mut job = with_loss((0..500).map(|i| 0.3 - 0.005 * f64::from(i)));
        job.gradient_norm = observed((0..500).map(|i| 0.4 + 0.05 * f64::from(i)));
        assert!(SYMPTOM.examine(&job).is_none());
    }
}
