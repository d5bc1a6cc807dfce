//! Layers in a row, and how networks are put together from knobs.
//!
//! Owns: the order of layers, and the initial weights. Must not know: data, losses, optimizers.

use fastrand::Rng;

use super::TrainingError;
use super::knobs::{Activation, Initializer, Knobs};
use super::layers::{BatchNorm, Convolution, Dense, Elementwise, Layer, Parameter, Phase, Shape};
use super::matrix::Matrix;

/// Layers in a row.
#[derive(Default)]
pub(crate) struct Network {
    layers: Vec<Box<dyn Layer>>,
}

impl Network {
    /// Puts a batch through all layers.
    ///
    /// # Errors
    /// When a layer cannot take the batch.
    pub(crate) fn forward(&mut self, input: Matrix, phase: Phase) -> Result<Matrix, TrainingError> {
        self.layers.iter_mut().try_fold(input, |values, layer| layer.forward(values, phase))
    }

    /// Takes d loss / d output, sets all gradients, gives d loss / d input.
    pub(crate) fn backward(&mut self, gradient: Matrix) -> Matrix {
        self.layers.iter_mut().rev().fold(gradient, |gradient, layer| layer.backward(gradient))
    }

    /// All parameters, from the input to the output.
    pub(crate) fn parameters(&mut self) -> Vec<&mut Parameter> {
        self.layers.iter_mut().flat_map(|layer| layer.parameters()).collect()
    }
}

/// Puts a network together, layer by layer.
pub(crate) struct Builder<'a> {
    knobs: &'a Knobs,
    rng: &'a mut Rng,
    network: Network,
}

impl<'a> Builder<'a> {
    /// Starts with no layer.
    pub(crate) fn new(knobs: &'a Knobs, rng: &'a mut Rng) -> Builder<'a> {
        Builder { knobs, rng, network: Network::default() }
    }

    /// A convolution with what the knobs put behind it.
    pub(crate) fn convolution(mut self, shape: Shape, filters: usize, stride: usize) -> Self {
        let (name, activation) = (self.name("convolution"), self.knobs.activation);
        let kernel = self.weights(Convolution::fan_in(shape), filters);
        self.network.layers.push(Box::new(Convolution::new(&name, shape, stride, kernel)));
        self.batch_norm(filters).activation(activation)
    }

    /// A dense layer, and nothing else.
    pub(crate) fn dense(mut self, inputs: usize, outputs: usize) -> Self {
        let name = self.name("dense");
        let weight = self.weights(inputs, outputs);
        self.network.layers.push(Box::new(Dense::new(&name, weight)));
        self
    }

    /// Batch norm of so many channels, if the knobs ask for it.
    pub(crate) fn batch_norm(mut self, channels: usize) -> Self {
        if self.knobs.batch_norm {
            let name = self.name("batch_norm");
            self.network.layers.push(Box::new(BatchNorm::new(&name, channels)));
        }
        self
    }

    /// A function of each value.
    pub(crate) fn activation(mut self, activation: Activation) -> Self {
        let layer = match activation {
            Activation::None => return self,
            // NaN must pass, which `max` would not let it do.
            Activation::Relu => Elementwise::new(|x| if x <= 0.0 { 0.0 } else { x }, |y| f32::from(y > 0.0)),
            Activation::LeakyRelu => {
                Elementwise::new(|x| if x < 0.0 { 0.01 * x } else { x }, |y| if y < 0.0 { 0.01 } else { 1.0 })
            }
            Activation::Sigmoid => Elementwise::new(|x| 1.0 / (1.0 + (-x).exp()), |y| y * (1.0 - y)),
            Activation::Tanh => Elementwise::new(f32::tanh, |y| 1.0 - y * y),
        };
        self.network.layers.push(Box::new(layer));
        self
    }

    /// The network.
    pub(crate) fn build(self) -> Network {
        self.network
    }

    fn name(&self, kind: &str) -> String {
        format!("{kind}_{}", self.network.layers.len())
    }

    fn weights(&mut self, fan_in: usize, fan_out: usize) -> Matrix {
        let (inputs, outputs) = (fan_in as f32, fan_out as f32);
        let gain = if self.knobs.activation == Activation::Relu { 2.0 } else { 1.0 };
        let rng = &mut *self.rng;
        let mut draw: Box<dyn FnMut() -> f32 + '_> = match self.knobs.initializer {
            Initializer::Default => Box::new(move || (2.0 * rng.f32() - 1.0) / inputs.sqrt()),
            Initializer::Zeros => Box::new(|| 0.0),
            Initializer::Normal => Box::new(move || normal(rng)),
            Initializer::SmallNormal => Box::new(move || 0.01 * normal(rng)),
            Initializer::VarianceScaling => Box::new(move || (gain / inputs).sqrt() * normal(rng)),
            Initializer::Xavier => Box::new(move || (2.0 / (inputs + outputs)).sqrt() * normal(rng)),
        };
        Matrix::from_values(fan_out, (0..fan_in * fan_out).map(|_| draw()).collect())
    }
}

/// A standard normal number (Box and Muller, 1958).
pub(crate) fn normal(rng: &mut Rng) -> f32 {
    // 1 - u lies in (0, 1], so that its logarithm is finite.
    (-2.0 * (1.0 - rng.f32()).ln()).sqrt() * (std::f32::consts::TAU * rng.f32()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::knobs::LossKind;
    use crate::trainer::losses::loss;

    /// The loss of a network at a given state, in training.
    fn loss_of(network: &mut Network, x: &Matrix, y: &Matrix) -> f32 {
        loss(LossKind::L2, &network.forward(x.clone(), Phase::Training).unwrap(), y).0
    }

    #[test]
    fn gradients_of_every_layer_agree_with_finite_differences() {
        for activation in [Activation::Tanh, Activation::Sigmoid] {
            let knobs = Knobs { batch_norm: true, activation, ..Knobs::default() };
            let mut rng = Rng::with_seed(7);
            let shape = Shape { side: 5, channels: 2 };
            let builder = Builder::new(&knobs, &mut rng).convolution(shape, 3, 2).dense(27, 4);
            let mut network = builder.activation(activation).dense(4, 1).build();
            let x = Matrix::from_values(50, (0..200).map(|_| normal(&mut rng)).collect());
            let y = Matrix::from_values(1, (0..4).map(|_| normal(&mut rng)).collect());
            let prediction = network.forward(x.clone(), Phase::Training).unwrap();
            network.backward(loss(LossKind::L2, &prediction, &y).1);
            let gradients: Vec<Vec<f32>> = network.parameters().iter().map(|p| p.gradient.clone()).collect();
            for (index, gradient) in gradients.iter().enumerate() {
                for (place, slope) in gradient.iter().enumerate() {
                    let value = network.parameters()[index].values[place];
                    let mut at = |value: f32| {
                        network.parameters()[index].values[place] = value;
                        f64::from(loss_of(&mut network, &x, &y))
                    };
                    let measured = (at(value + 5e-3) - at(value - 5e-3)) / 1e-2;
                    at(value);
                    let error = (measured - f64::from(*slope)).abs();
                    assert!(error < 5e-3 + 0.05 * measured.abs(), "{activation:?} {index} {place}: {measured} {slope}");
                }
            }
        }
    }

    #[test]
    fn slopes_of_activations_agree_with_finite_differences() {
        use Activation::{LeakyRelu, None, Relu, Sigmoid, Tanh};
        for activation in [None, Relu, LeakyRelu, Sigmoid, Tanh] {
            let knobs = Knobs::default();
            let mut network = Builder::new(&knobs, &mut Rng::with_seed(1)).activation(activation).build();
            // Not at zero, where rectifiers have a kink.
            for x in [-3.0f32, -0.7, 0.2, 1.5] {
                let mut at = |x: f32| network.forward(Matrix::from_values(1, vec![x]), Phase::Training).unwrap();
                let measured = (at(x + 1e-2).values[0] - at(x - 1e-2).values[0]) / 2e-2;
                at(x);
                let slope = network.backward(Matrix::from_values(1, vec![1.0])).values[0];
                assert!((measured - slope).abs() < 1e-3, "{activation:?} at {x}: {measured} {slope}");
            }
        }
    }

    #[test]
    fn batch_norm_cannot_normalise_a_single_value() {
        let knobs = Knobs { batch_norm: true, ..Knobs::default() };
        let mut network = Builder::new(&knobs, &mut Rng::with_seed(1)).dense(3, 4).batch_norm(4).build();
        assert!(network.forward(Matrix::zeros(2, 3), Phase::Training).is_ok());
        assert!(network.forward(Matrix::zeros(1, 3), Phase::Evaluation).is_ok());
        let error = network.forward(Matrix::zeros(1, 3), Phase::Training).unwrap_err();
        assert!(matches!(error, TrainingError::OneValueAChannel { .. }));
    }

    #[test]
    fn relu_lets_nan_pass() {
        let knobs = Knobs::default();
        let mut network = Builder::new(&knobs, &mut Rng::with_seed(1)).activation(Activation::Relu).build();
        let out = network.forward(Matrix::from_values(3, vec![f32::NAN, -1.0, 2.0]), Phase::Training).unwrap();
        assert!(out.values[0].is_nan());
        assert_eq!(out.values[1..], [0.0, 2.0]);
    }
}
