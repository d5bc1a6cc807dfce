//! Layers of a network, each with its forward and its backward pass.
//!
//! Owns: the arithmetic of one layer and its parameters. Must not know: what the network is for, optimizers, knobs.

use super::TrainingError;
use super::matrix::Matrix;

/// Values that an optimizer may change, and the gradient of the loss with respect to them.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    /// What it is called in histograms.
    pub(crate) name: String,
    /// The values.
    pub(crate) values: Vec<f32>,
    /// d loss / d value, of the last backward pass.
    pub(crate) gradient: Vec<f32>,
}

impl Parameter {
    fn new(name: String, values: Vec<f32>) -> Parameter {
        Parameter { name, gradient: vec![0.0; values.len()], values }
    }
}

/// What a pass through the network is for. Batch norm behaves differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Statistics of the batch; a backward pass follows.
    Training,
    /// Running statistics; no backward pass.
    Evaluation,
}

/// One layer.
pub(crate) trait Layer {
    /// Puts a batch through and keeps what the backward pass needs.
    fn forward(&mut self, input: Matrix, phase: Phase) -> Result<Matrix, TrainingError>;

    /// Takes d loss / d output, sets the parameters' gradients, gives d loss / d input.
    fn backward(&mut self, gradient: Matrix) -> Matrix;

    /// The parameters, always in the same order.
    fn parameters(&mut self) -> Vec<&mut Parameter>;
}

/// y = x W + b
pub(crate) struct Dense {
    inputs: usize,
    weight: Parameter,
    bias: Parameter,
    seen: Matrix,
}

impl Dense {
    /// `weight` holds one row an input.
    pub(crate) fn new(name: &str, weight: Matrix) -> Dense {
        Dense {
            inputs: weight.rows,
            bias: Parameter::new(format!("{name}/bias"), vec![0.0; weight.width]),
            weight: Parameter::new(format!("{name}/weight"), weight.values),
            seen: Matrix::default(),
        }
    }

    fn weights(&self) -> Matrix {
        Matrix::from_values(self.weight.values.len() / self.inputs, self.weight.values.clone())
    }
}

impl Layer for Dense {
    fn forward(&mut self, input: Matrix, _: Phase) -> Result<Matrix, TrainingError> {
        let mut out = input.times(&self.weights());
        for row in out.iter_mut() {
            row.iter_mut().zip(&self.bias.values).for_each(|(value, bias)| *value += bias);
        }
        self.seen = input;
        Ok(out)
    }

    fn backward(&mut self, gradient: Matrix) -> Matrix {
        self.weight.gradient = self.seen.transposed().times(&gradient).values;
        self.bias.gradient.fill(0.0);
        for row in gradient.iter() {
            self.bias.gradient.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        gradient.times(&self.weights().transposed())
    }

    fn parameters(&mut self) -> Vec<&mut Parameter> {
        vec![&mut self.weight, &mut self.bias]
    }
}

/// Height, width and channels of a picture, whose values lie channel by channel within a position, row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Pixels from top to bottom, and from left to right: pictures are square.
    pub(crate) side: usize,
    /// Values at a position.
    pub(crate) channels: usize,
}

/// A 3x3 convolution with a border of zeros: a dense layer over the neighbourhood of each position.
pub(crate) struct Convolution {
    shape: Shape,
    stride: usize,
    kernel: Dense,
}

const KERNEL: usize = 3;

impl Convolution {
    /// `kernel` holds one row a (dy, dx, channel) of the neighbourhood.
    pub(crate) fn new(name: &str, shape: Shape, stride: usize, kernel: Matrix) -> Convolution {
        Convolution { shape, stride, kernel: Dense::new(name, kernel) }
    }

    /// Values of a neighbourhood: rows of the kernel.
    pub(crate) fn fan_in(shape: Shape) -> usize {
        KERNEL * KERNEL * shape.channels
    }

    /// Side of the picture that comes out.
    pub(crate) fn side_out(shape: Shape, stride: usize) -> usize {
        shape.side.div_ceil(stride)
    }

    /// Calls back with (place in a picture, place in its neighbourhoods) for each run of `channels` values that match.
    fn for_each_tap(&self, mut tap: impl FnMut(usize, usize)) {
        let Shape { side, channels } = self.shape;
        let out = Convolution::side_out(self.shape, self.stride);
        for (place, (y, x)) in (0..out).flat_map(|y| (0..out).map(move |x| (y, x))).enumerate() {
            for (offset, (dy, dx)) in (0..KERNEL).flat_map(|dy| (0..KERNEL).map(move |dx| (dy, dx))).enumerate() {
                let (y, x) = (y * self.stride + dy, x * self.stride + dx);
                // The border of zeros is one wide: a tap outside of the picture adds nothing.
                if (1..=side).contains(&y) && (1..=side).contains(&x) {
                    let at = ((y - 1) * side + x - 1) * channels;
                    tap(at, (place * KERNEL * KERNEL + offset) * channels);
                }
            }
        }
    }
}

impl Layer for Convolution {
    fn forward(&mut self, input: Matrix, phase: Phase) -> Result<Matrix, TrainingError> {
        let (rows, channels) = (input.rows, self.shape.channels);
        let places = Convolution::side_out(self.shape, self.stride).pow(2);
        let mut patches = Matrix::zeros(rows, places * Convolution::fan_in(self.shape));
        for (picture, patch) in input.iter().zip(patches.iter_mut()) {
            self.for_each_tap(|from, to| patch[to..to + channels].copy_from_slice(&picture[from..from + channels]));
        }
        let out = self.kernel.forward(patches.reshaped(Convolution::fan_in(self.shape)), phase)?;
        let width = out.values.len() / rows;
        Ok(out.reshaped(width))
    }

    fn backward(&mut self, gradient: Matrix) -> Matrix {
        let (rows, channels) = (gradient.rows, self.shape.channels);
        let filters = self.kernel.bias.values.len();
        let patches = self.kernel.backward(gradient.reshaped(filters));
        let patches = Matrix::from_values(patches.values.len() / rows, patches.values);
        let mut out = Matrix::zeros(rows, self.shape.side.pow(2) * channels);
        for (picture, patch) in out.iter_mut().zip(patches.iter()) {
            self.for_each_tap(|to, from| {
                let sums = &mut picture[to..to + channels];
                sums.iter_mut().zip(&patch[from..from + channels]).for_each(|(sum, value)| *sum += value);
            });
        }
        out
    }

    fn parameters(&mut self) -> Vec<&mut Parameter> {
        self.kernel.parameters()
    }
}

/// Batch normalisation of each channel over the batch and all positions (Ioffe and Szegedy, 2015).
pub(crate) struct BatchNorm {
    scale: Parameter,
    shift: Parameter,
    running_mean: Vec<f32>,
    running_variance: Vec<f32>,
    normalized: Matrix,
    inverse_deviation: Vec<f32>,
}

/// Added to the variance, so that a constant channel does not divide by zero.
const BATCH_NORM_EPSILON: f32 = 1e-5;
/// Share of the newest batch in the running statistics.
const BATCH_NORM_MOMENTUM: f32 = 0.1;

impl BatchNorm {
    /// A layer that passes normalised values through unchanged.
    pub(crate) fn new(name: &str, channels: usize) -> BatchNorm {
        BatchNorm {
            scale: Parameter::new(format!("{name}/scale"), vec![1.0; channels]),
            shift: Parameter::new(format!("{name}/shift"), vec![0.0; channels]),
            running_mean: vec![0.0; channels],
            running_variance: vec![1.0; channels],
            normalized: Matrix::default(),
            inverse_deviation: vec![1.0; channels],
        }
    }

    fn statistics(&mut self, input: &Matrix, phase: Phase) -> Result<(Vec<f32>, Vec<f32>), TrainingError> {
        if phase == Phase::Evaluation {
            return Ok((self.running_mean.clone(), self.running_variance.clone()));
        }
        if input.rows < 2 {
            return Err(TrainingError::OneValueAChannel { layer: self.scale.name.clone() });
        }
        let (mean, variance) = moments(input);
        for (running, batch) in [(&mut self.running_mean, &mean), (&mut self.running_variance, &variance)] {
            for (running, batch) in running.iter_mut().zip(batch) {
                *running += BATCH_NORM_MOMENTUM * (batch - *running);
            }
        }
        Ok((mean, variance))
    }
}

/// Mean and (biased) variance of each column.
fn moments(input: &Matrix) -> (Vec<f32>, Vec<f32>) {
    let share = 1.0 / input.rows as f32;
    let mut mean = vec![0.0; input.width];
    for row in input.iter() {
        mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += share * value);
    }
    let mut variance = vec![0.0; input.width];
    for row in input.iter() {
        for ((variance, value), mean) in variance.iter_mut().zip(row).zip(&mean) {
            *variance += share * (value - mean) * (value - mean);
        }
    }
    (mean, variance)
}

impl Layer for BatchNorm {
    fn forward(&mut self, input: Matrix, phase: Phase) -> Result<Matrix, TrainingError> {
        let width = input.width;
        let mut values = input.reshaped(self.scale.values.len());
        let (mean, variance) = self.statistics(&values, phase)?;
        self.inverse_deviation = variance.iter().map(|v| 1.0 / (v + BATCH_NORM_EPSILON).sqrt()).collect();
        for row in values.iter_mut() {
            for ((value, mean), inverse) in row.iter_mut().zip(&mean).zip(&self.inverse_deviation) {
                *value = (*value - mean) * inverse;
            }
        }
        self.normalized = values.clone();
        for row in values.iter_mut() {
            for ((value, scale), shift) in row.iter_mut().zip(&self.scale.values).zip(&self.shift.values) {
                *value = *value * scale + shift;
            }
        }
        Ok(values.reshaped(width))
    }

    fn backward(&mut self, gradient: Matrix) -> Matrix {
        let width = gradient.width;
        let mut gradient = gradient.reshaped(self.scale.values.len());
        self.scale.gradient.fill(0.0);
        self.shift.gradient.fill(0.0);
        for (row, normalized) in gradient.iter().zip(self.normalized.iter()) {
            for (channel, (value, normalized)) in row.iter().zip(normalized).enumerate() {
                self.scale.gradient[channel] += value * normalized;
                self.shift.gradient[channel] += value;
            }
        }
        let share = 1.0 / gradient.rows as f32;
        for (row, normalized) in gradient.iter_mut().zip(self.normalized.iter()) {
            for (channel, (value, normalized)) in row.iter_mut().zip(normalized).enumerate() {
                // The gradient less its mean and less its part along the normalised values: both cannot change them.
                let along = self.shift.gradient[channel] + normalized * self.scale.gradient[channel];
                *value = (*value - share * along) * self.scale.values[channel] * self.inverse_deviation[channel];
            }
        }
        gradient.reshaped(width)
    }

    fn parameters(&mut self) -> Vec<&mut Parameter> {
        vec![&mut self.scale, &mut self.shift]
    }
}

/// A function of each value, given with its derivative in terms of what it puts out.
pub(crate) struct Elementwise {
    function: fn(f32) -> f32,
    derivative_by_output: fn(f32) -> f32,
    out: Matrix,
}

impl Elementwise {
    /// Takes the function and its derivative, the latter as a function of the former's value.
    pub(crate) fn new(function: fn(f32) -> f32, derivative_by_output: fn(f32) -> f32) -> Elementwise {
        Elementwise { function, derivative_by_output, out: Matrix::default() }
    }
}

impl Layer for Elementwise {
    fn forward(&mut self, mut input: Matrix, _: Phase) -> Result<Matrix, TrainingError> {
        input.values.iter_mut().for_each(|value| *value = (self.function)(*value));
        self.out = input.clone();
        Ok(input)
    }

    fn backward(&mut self, mut gradient: Matrix) -> Matrix {
        for (value, out) in gradient.values.iter_mut().zip(&self.out.values) {
            *value *= (self.derivative_by_output)(*out);
        }
        gradient
    }

    fn parameters(&mut self) -> Vec<&mut Parameter> {
        Vec::new()
    }
}
