//! Update rules, and clipping.
//!
//! Owns: what happens between gradients and weights. Must not know: where gradients come from.

use super::knobs::OptimizerKind;
use super::layers::Parameter;

/// An update rule with its memory of the steps so far.
pub(crate) struct Optimizer {
    kind: OptimizerKind,
    steps: i32,
    /// Running means of the gradient and of its square, for each parameter in order.
    moments: Vec<(Vec<f32>, Vec<f32>)>,
}

const MOMENTUM: f32 = 0.9;
const ADAM_BETA_1: f32 = 0.9;
const ADAM_BETA_2: f32 = 0.999;
const ADAM_EPSILON: f32 = 1e-8;
const RMS_DECAY: f32 = 0.99;
const WEIGHT_DECAY: f32 = 0.01;

impl Optimizer {
    /// A rule without memory.
    pub(crate) fn new(kind: OptimizerKind) -> Optimizer {
        Optimizer { kind, steps: 0, moments: Vec::new() }
    }

    /// Changes the parameters by their gradients; they come in the same order each time.
    pub(crate) fn step(&mut self, parameters: &mut [&mut Parameter], learning_rate: f32) {
        self.steps += 1;
        self.moments.resize_with(parameters.len(), Default::default);
        for (parameter, (first, second)) in parameters.iter_mut().zip(&mut self.moments) {
            first.resize(parameter.values.len(), 0.0);
            second.resize(parameter.values.len(), 0.0);
            let values = parameter.values.iter_mut().zip(&parameter.gradient);
            match self.kind {
                OptimizerKind::Sgd => values.for_each(|(value, slope)| *value -= learning_rate * slope),
                OptimizerKind::Momentum => {
                    for ((value, slope), velocity) in values.zip(first) {
                        *velocity = MOMENTUM * *velocity + slope;
                        *value -= learning_rate * *velocity;
                    }
                }
                OptimizerKind::RmsProp => {
                    for ((value, slope), square) in values.zip(second) {
                        *square += (1.0 - RMS_DECAY) * (slope * slope - *square);
                        *value -= learning_rate * slope / (square.sqrt() + ADAM_EPSILON);
                    }
                }
                OptimizerKind::Adam | OptimizerKind::AdamW => {
                    let decay = if self.kind == OptimizerKind::AdamW { learning_rate * WEIGHT_DECAY } else { 0.0 };
                    let (warm_1, warm_2) = (1.0 - ADAM_BETA_1.powi(self.steps), 1.0 - ADAM_BETA_2.powi(self.steps));
                    for (((value, slope), mean), square) in values.zip(first).zip(second) {
                        *mean += (1.0 - ADAM_BETA_1) * (slope - *mean);
                        *square += (1.0 - ADAM_BETA_2) * (slope * slope - *square);
                        let deviation = (*square / warm_2).sqrt() + ADAM_EPSILON;
                        *value -= decay * *value + learning_rate * (*mean / warm_1) / deviation;
                    }
                }
            }
        }
    }
}

/// The global norm of all gradients. It overflows to infinity where single precision does, as it does in training.
pub(crate) fn gradient_norm(parameters: &[&mut Parameter]) -> f32 {
    parameters.iter().flat_map(|p| &p.gradient).map(|slope| slope * slope).sum::<f32>().sqrt()
}

/// Scales all gradients so that their global norm is at most `bound`. A norm that is not finite has no scale: gradients
/// become NaN, which is how TensorFlow's `clip_by_global_norm` signals it.
pub(crate) fn clip(parameters: &mut [&mut Parameter], norm: f32, bound: f32) {
    if norm <= bound {
        return;
    }
    let scale = if norm.is_finite() { bound / norm } else { f32::NAN };
    for parameter in parameters {
        parameter.gradient.iter_mut().for_each(|slope| *slope *= scale);
    }
}
