//! Networks of random programs.
//!
//! Owns: which layers a program's settings mean, and what its bugs do to fresh weights. Must not know: training.

use fastrand::Rng;

use super::data::SIDE;
use super::layers::{Block, Dropout, LayerNorm, Part, Recurrent};
use super::program::{Bug, Family, Norm, Settings, Task};
use crate::trainer::knobs::{Activation, Initializer, Knobs};
use crate::trainer::layers::{Layer, Shape};
use crate::trainer::matrix::Matrix;
use crate::trainer::network::{Builder, normal};

/// Bias of units that no standardised input wakes.
const DEAD: f32 = -8.0;
/// Units of the narrowest layer of an autoencoder.
const BOTTLENECK: usize = 4;

/// The trainer's knobs that layers are built by.
pub(super) fn knobs(settings: &Settings) -> Knobs {
    Knobs {
        activation: settings.activation,
        initializer: settings.initializer,
        batch_norm: settings.norm == Norm::Batch,
        normalize_inputs: settings.normalize_inputs,
        ..Knobs::default()
    }
}

/// A network with fresh weights.
pub(super) fn network(task: &Task, settings: &Settings, bugs: &[Bug], rng: &mut Rng) -> Block {
    let knobs = knobs(settings);
    let dropout = bugs.iter().fold(settings.dropout, |share, bug| match bug {
        Bug::HeavyDropout(heavy) => *heavy,
        _ => share,
    });
    let mut building = Building { knobs: &knobs, settings, dropout, layers: Vec::new(), rng };
    let mut inputs = building.reader(task);
    for layer in 0..settings.depth {
        let narrow = task.family == Family::Autoencoder && layer == settings.depth / 2;
        let units = if narrow { BOTTLENECK } else { settings.width };
        building.hidden(inputs, units);
        inputs = units;
    }
    let hidden = building.layers.iter_mut().map(|layer| layer.parameters().len()).sum();
    building.output(inputs, task.outputs, bugs);
    let mut network = Block { inner: building.layers, residual: false };
    spoil(&mut network, hidden, bugs);
    network
}

struct Building<'a> {
    knobs: &'a Knobs,
    settings: &'a Settings,
    dropout: f64,
    layers: Vec<Box<dyn Layer>>,
    rng: &'a mut Rng,
}

impl Building<'_> {
    /// The layers that read what is no plain row; gives the number of values that come out.
    fn reader(&mut self, task: &Task) -> usize {
        match task.family {
            Family::Pictures => {
                let filters = self.settings.width.clamp(3, 6);
                let shape = Shape { side: SIDE, channels: 1 };
                let part = Builder::new(self.knobs, self.rng).convolution(shape, filters, 2).build();
                self.layers.push(Box::new(Part(part)));
                (SIDE / 2) * (SIDE / 2) * filters
            }
            Family::Recurrent => {
                let weight = self.recurrent_weights(task.inputs, self.settings.width);
                self.layers.push(Box::new(Recurrent::new(task.length, weight)));
                self.settings.width
            }
            _ => task.inputs * task.length,
        }
    }

    /// Weights of a recurrent layer by the initializer that was set.
    fn recurrent_weights(&mut self, inputs: usize, units: usize) -> Matrix {
        let fan_in = (inputs + units) as f32;
        let scale = match self.knobs.initializer {
            Initializer::Default => 0.6 / (units as f32).sqrt(),
            Initializer::Normal => 1.0,
            Initializer::SmallNormal => 0.01,
            Initializer::Zeros => 0.0,
            Initializer::VarianceScaling => 1.0 / fan_in.sqrt(),
            Initializer::Xavier => (2.0 / (fan_in + units as f32)).sqrt(),
        };
        let values = (0..(inputs + units) * units).map(|_| scale * normal(self.rng)).collect();
        Matrix::from_values(units, values)
    }

    fn hidden(&mut self, inputs: usize, units: usize) {
        let builder = Builder::new(self.knobs, self.rng).dense(inputs, units).batch_norm(units);
        let mut inner: Vec<Box<dyn Layer>> = vec![Box::new(Part(builder.build()))];
        if self.settings.norm == Norm::Layer {
            inner.push(Box::new(LayerNorm::default()));
        }
        let activation = Builder::new(self.knobs, self.rng).activation(self.settings.activation).build();
        inner.push(Box::new(Part(activation)));
        if self.dropout > 0.0 {
            inner.push(Box::new(Dropout::new(self.dropout, self.rng.fork())));
        }
        self.layers.push(Box::new(Block { inner, residual: self.settings.residual && inputs == units }));
    }

    fn output(&mut self, inputs: usize, outputs: usize, bugs: &[Bug]) {
        let clipped = bugs.iter().find_map(|bug| match bug {
            Bug::ClippedOutput(activation) => Some(*activation),
            _ => None,
        });
        let builder = Builder::new(self.knobs, self.rng).dense(inputs, outputs);
        self.layers.push(Box::new(Part(builder.activation(clipped.unwrap_or(Activation::None)).build())));
    }
}

/// What bugs do to fresh weights. The first `hidden` parameters are not the last layer's.
fn spoil(network: &mut Block, hidden: usize, bugs: &[Bug]) {
    for bug in bugs {
        for (place, parameter) in network.parameters().into_iter().enumerate() {
            match bug {
                Bug::DeadUnits if place < hidden && parameter.name.ends_with("bias") => parameter.values.fill(DEAD),
                Bug::LargeWeights(factor) if parameter.name.ends_with("weight") => {
                    parameter.values.iter_mut().for_each(|value| *value *= *factor as f32);
                }
                _ => {}
            }
        }
    }
}
