//! Layers that random programs have beyond the trainer's own: dropout, layer norm, residual blocks, recurrence.
//!
//! Owns: their arithmetic. Must not know: settings, data.

use fastrand::Rng;

use crate::trainer::TrainingError;
use crate::trainer::layers::{Layer, Parameter, Phase};
use crate::trainer::matrix::Matrix;
use crate::trainer::network::Network;

/// Zeroes a share of the values in training and scales the others, so that their mean stays (Srivastava et al., 2014).
pub(super) struct Dropout {
    share: f32,
    rng: Rng,
    kept: Vec<f32>,
}

impl Dropout {
    /// Drops this share.
    pub(super) fn new(share: f64, rng: Rng) -> Dropout {
        Dropout { share: share as f32, rng, kept: Vec::new() }
    }
}

impl Layer for Dropout {
    fn forward(&mut self, mut input: Matrix, phase: Phase) -> Result<Matrix, TrainingError> {
        if phase == Phase::Evaluation {
            return Ok(input);
        }
        let scale = 1.0 / (1.0 - self.share);
        let (share, rng) = (self.share, &mut self.rng);
        self.kept = input.values.iter().map(|_| if rng.f32() < share { 0.0 } else { scale }).collect();
        input.values.iter_mut().zip(&self.kept).for_each(|(value, kept)| *value *= kept);
        Ok(input)
    }

    fn backward(&mut self, mut gradient: Matrix) -> Matrix {
        gradient.values.iter_mut().zip(&self.kept).for_each(|(value, kept)| *value *= kept);
        gradient
    }

    fn parameters(&mut self) -> Vec<&mut Parameter> {
        Vec::new()
    }
}

/// Normalises the values of each example (Ba et al., 2016), without scale and shift: the next layer has both.
#[derive(Default)]
pub(super) struct LayerNorm {
    normalized: Matrix,
    inverse_deviation: Vec<f32>,
}

/// Added to the variance, so that a constant row does not divide by zero.
const EPSILON: f32 = 1e-5;

impl Layer for LayerNorm {
    fn forward(&mut self, mut input: Matrix, _: Phase) -> Result<Matrix, TrainingError> {
        let share = 1.0 / input.width as f32;
        self.inverse_deviation.clear();
        for row in input.iter_mut() {
            let mean = share * row.iter().sum::<f32>();
            let variance = share * row.iter().map(|value| (value - mean).powi(2)).sum::<f32>();
            let inverse = 1.0 / (variance + EPSILON).sqrt();
            row.iter_mut().for_each(|value| *value = (*value - mean) * inverse);
            self.inverse_deviation.push(inverse);
        }
        self.normalized = input.clone();
        Ok(input)
    }

    fn backward(&mut self, mut gradient: Matrix) -> Matrix {
        let share = 1.0 / gradient.width as f32;
        let rows = gradient.iter_mut().zip(self.normalized.iter()).zip(&self.inverse_deviation);
        for ((row, normalized), inverse) in rows {
            let mean = share * row.iter().sum::<f32>();
            let along = share * row.iter().zip(normalized).map(|(slope, value)| slope * value).sum::<f32>();
            row.iter_mut()
                .zip(normalized)
                .for_each(|(slope, value)| *slope = (*slope - mean - value * along) * inverse);
        }
        gradient
    }

    fn parameters(&mut self) -> Vec<&mut Parameter> {
        Vec::new()
    }
}

/// Layers that the trainer put together, as one.
pub(super) struct Part(pub(super) Network);

impl Layer for Part {
    fn forward(&mut self, input: Matrix, phase: Phase) -> Result<Matrix, TrainingError> {
        self.0.forward(input, phase)
    }

    fn backward(&mut self, gradient: Matrix) -> Matrix {
        self.0.backward(gradient)
    }

    fn parameters(&mut self) -> Vec<&mut Parameter> {
        self.0.parameters()
    }
}

/// Several layers as one, added to their input where they are a residual block (He et al., 2016).
#[derive(Default)]
pub(super) struct Block {
    /// The layers.
    pub(super) inner: Vec<Box<dyn Layer>>,
    /// Whether the input is added.
    pub(super) residual: bool,
}

impl Layer for Block {
    fn forward(&mut self, input: Matrix, phase: Phase) -> Result<Matrix, TrainingError> {
        let kept = self.residual.then(|| input.clone());
        let mut out = self.inner.iter_mut().try_fold(input, |values, layer| layer.forward(values, phase))?;
        add(&mut out, kept.as_ref());
        Ok(out)
    }

    fn backward(&mut self, gradient: Matrix) -> Matrix {
        let kept = self.residual.then(|| gradient.clone());
        let mut out = self.inner.iter_mut().rev().fold(gradient, |gradient, layer| layer.backward(gradient));
        add(&mut out, kept.as_ref());
        out
    }

    fn parameters(&mut self) -> Vec<&mut Parameter> {
        self.inner.iter_mut().flat_map(|layer| layer.parameters()).collect()
    }
}

fn add(sum: &mut Matrix, other: Option<&Matrix>) {
    if let Some(other) = other {
        sum.values.iter_mut().zip(&other.values).for_each(|(sum, value)| *sum += value);
    }
}

/// A plain recurrent layer (Elman, 1990) with tanh: rows hold `length` positions one after the other, the last state comes
/// out.
pub(super) struct Recurrent {
    length: usize,
    units: usize,
    /// One row an input of a position, then one a unit of the state.
    weight: Parameter,
    bias: Parameter,
    /// What went into each step, and what came out.
    seen: Vec<(Matrix, Matrix)>,
}

impl Recurrent {
    /// `weight` has one row an input of a position and one a unit of the state.
    pub(super) fn new(length: usize, weight: Matrix) -> Recurrent {
        let parameter = |name: &str, values: Vec<f32>| Parameter {
            name: name.to_owned(),
            gradient: vec![0.0; values.len()],
            values,
        };
        let bias = parameter("recurrent/bias", vec![0.0; weight.width]);
        let (units, weight) = (weight.width, parameter("recurrent/weight", weight.values));
        Recurrent { length, units, weight, bias, seen: Vec::new() }
    }

    fn weights(&self) -> Matrix {
        Matrix::from_values(self.units, self.weight.values.clone())
    }
}

impl Layer for Recurrent {
    fn forward(&mut self, input: Matrix, _: Phase) -> Result<Matrix, TrainingError> {
        let (rows, inputs, units) = (input.rows, input.width / self.length, self.units);
        let weights = self.weights();
        self.seen.clear();
        let mut state = Matrix::zeros(rows, units);
        for position in 0..self.length {
            let mut both = Matrix::zeros(rows, inputs + units);
            for ((out, whole), state) in both.iter_mut().zip(input.iter()).zip(state.iter()) {
                out[..inputs].copy_from_slice(&whole[position * inputs..][..inputs]);
                out[inputs..].copy_from_slice(state);
            }
            let mut next = both.times(&weights);
            for row in next.iter_mut() {
                row.iter_mut().zip(&self.bias.values).for_each(|(value, bias)| *value = (*value + bias).tanh());
            }
            self.seen.push((both, next.clone()));
            state = next;
        }
        Ok(state)
    }

    fn backward(&mut self, gradient: Matrix) -> Matrix {
        let (rows, units) = (gradient.rows, self.units);
        let transposed = self.weights().transposed();
        self.weight.gradient.fill(0.0);
        self.bias.gradient.fill(0.0);
        let mut flowing = gradient;
        let inputs = transposed.width - units;
        let mut out = Matrix::zeros(rows, inputs * self.length);
        for (position, (both, state)) in self.seen.iter().enumerate().rev() {
            let slopes = flowing.values.iter_mut().zip(&state.values);
            slopes.for_each(|(slope, value)| *slope *= 1.0 - value * value);
            let of_weight = both.transposed().times(&flowing);
            self.weight.gradient.iter_mut().zip(&of_weight.values).for_each(|(sum, slope)| *sum += slope);
            for row in flowing.iter() {
                self.bias.gradient.iter_mut().zip(row).for_each(|(sum, slope)| *sum += slope);
            }
            let back = flowing.times(&transposed);
            for ((whole, out), before) in back.iter().zip(out.iter_mut()).zip(flowing.iter_mut()) {
                out[position * inputs..][..inputs].copy_from_slice(&whole[..inputs]);
                before.copy_from_slice(&whole[inputs..]);
            }
        }
        out
    }

    fn parameters(&mut self) -> Vec<&mut Parameter> {
        vec![&mut self.weight, &mut self.bias]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::knobs::{Knobs, LossKind};
    use crate::trainer::losses::loss;
    use crate::trainer::network::{Builder, normal};

    /// Compares the gradients of a layer, of its input and of its parameters, with finite differences.
    fn check(layer: &mut dyn Layer, x: &Matrix) {
        let mut rng = Rng::with_seed(3);
        let out = layer.forward(x.clone(), Phase::Training).unwrap();
        let y = Matrix::from_values(out.width, out.values.iter().map(|_| normal(&mut rng)).collect());
        let of = |layer: &mut dyn Layer, x: &Matrix| {
            let out = layer.forward(x.clone(), Phase::Training).unwrap();
            f64::from(loss(LossKind::L2, &out, &y).0)
        };
        let slopes = layer.backward(loss(LossKind::L2, &out, &y).1);
        let gradients: Vec<Vec<f32>> = layer.parameters().iter().map(|p| p.gradient.clone()).collect();
        let near = |measured: f64, slope: f32| {
            let error = (measured - f64::from(slope)).abs();
            assert!(error < 5e-3 + 0.05 * measured.abs(), "{measured} {slope}");
        };
        for place in 0..x.values.len() {
            let mut at = [x.clone(), x.clone()];
            at[0].values[place] += 5e-3;
            at[1].values[place] -= 5e-3;
            near((of(layer, &at[0]) - of(layer, &at[1])) / 1e-2, slopes.values[place]);
        }
        for (index, gradient) in gradients.iter().enumerate() {
            for (place, slope) in gradient.iter().enumerate() {
                let value = layer.parameters()[index].values[place];
                let mut at = |value: f32| {
                    layer.parameters()[index].values[place] = value;
                    of(layer, x)
                };
                let measured = (at(value + 5e-3) - at(value - 5e-3)) / 1e-2;
                at(value);
                near(measured, *slope);
            }
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let mut rng = Rng::with_seed(5);
        let mut draw = |width: usize, rows: usize| {
            Matrix::from_values(width, (0..width * rows).map(|_| normal(&mut rng)).collect())
        };
        check(&mut LayerNorm::default(), &draw(5, 3));
        check(&mut Recurrent::new(4, draw(3, 5)), &draw(8, 3));
        let knobs = Knobs::default();
        let dense = Builder::new(&knobs, &mut Rng::with_seed(1)).dense(4, 4).build();
        check(&mut Block { inner: vec![Box::new(Part(dense))], residual: true }, &draw(4, 3));
    }

    #[test]
    fn dropout_keeps_the_mean_and_leaves_evaluation_alone() {
        let mut layer = Dropout::new(0.4, Rng::with_seed(1));
        let ones = Matrix::from_values(100, vec![1.0; 10_000]);
        let out = layer.forward(ones.clone(), Phase::Training).unwrap();
        let mean = out.values.iter().sum::<f32>() / 10_000.0;
        assert!((mean - 1.0).abs() < 0.05, "{mean}");
        assert_eq!(layer.forward(ones.clone(), Phase::Evaluation).unwrap(), ones);
    }
}
