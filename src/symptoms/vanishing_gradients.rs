//! Gradients are (nearly) zero, or shrink by orders of magnitude towards the input, while the loss is bad: its rules
//! over the evidence.

use super::*;

symptom! {
    vanishing_gradients:
        "gradients are (nearly) zero, or shrink by orders of magnitude towards the input, while the loss is bad";
    Problem by_depth when [MATURE, Below(Q::GradientByDepth, VANISHES), Below(Q::Progress, FIFTH)] unless [ACCURATE]
        says "the gradients change by {gradient_by_depth} orders of magnitude from the output to the input";
    Problem norm when [MATURE, Below(Q::GradientToLoss, TINY_NORM), Below(Q::Progress, FIFTH)] unless [ACCURATE]
        says "the gradient norm is {gradient_level} while the loss is {loss_end}";
    Problem discriminator_wins when [MATURE, Below(Q::DiscriminatorLeft, VANISHES)]
        says "{tag:discriminator_left} fell by {discriminator_left} orders of magnitude, while the generator's loss rises: a \
            discriminator that is always right gives its generator no gradient";
}

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
    use super::*;
    use crate::evidence::Layer;
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
        assert!(SYMPTOM.examine(&job).is_some());
    }

    #[test]
    fn even_gradients_do_not() {
        let mut job = stuck();
        job.gradients = layers(0.9);
        assert!(SYMPTOM.examine(&job).is_none());
    }

    #[test]
    fn zero_norm_and_a_loss_that_repeats_itself_vanish() {
        let mut job = with_loss((0..500).map(|_| 1.5));
        job.gradient_norm = observed((0..100).map(|_| 0.0));
        assert!(SYMPTOM.examine(&job).is_some());
    }

    #[test]
    fn a_norm_that_is_always_zero_while_the_loss_falls_is_a_placeholder() {
        let of = |mut job: JobView| {
            job.gradient_norm = observed((0..100).map(|_| 0.0));
            SYMPTOM.examine(&job).is_some()
        };
        assert!(of(stuck()) && !of(with_loss((0..500).map(|i| 2.3 - 0.002 * i as f64 + 0.05 * noise(i)))));
    }
}
