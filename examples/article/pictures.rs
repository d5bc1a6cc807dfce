//! The article's task: from a picture whose values span eight orders of magnitude, tell one number.
//!
//! Owns: the pictures, the network that reads them, and the settings that it was first tried with. Must not know: what
//! is wrong with those settings.

use fastrand::Rng;

use crate::trainer::knobs::{Initializer, Knobs, OptimizerKind};
use crate::trainer::layers::Shape;
use crate::trainer::matrix::Matrix;
use crate::trainer::network::{Builder, Network};
use crate::trainer::training::{Examples, Task};

/// Pixels from top to bottom and from left to right.
const SIDE: usize = 12;
/// Number of pictures.
const PICTURES: usize = 64;
/// Largest value of a pixel.
const BRIGHTEST: f32 = 1.4e8;
/// Seed of the pictures, which stay the same whatever the seed of a run.
const SEED: u64 = 20180;

/// Filters and stride of each convolution.
const CONVOLUTIONS: [(usize, usize); 3] = [(8, 1), (16, 2), (16, 2)];
/// Units of each hidden dense layer. They have no batch norm: it is the only thing that holds the convolutions' values
/// together, and what comes after it shows how wild the weights are.
const HIDDEN: [usize; 3] = [64, 64, 64];

/// Pictures of a slope with waves across it; the number depends on both.
pub(crate) struct Pictures;

/// The settings of the run that does not learn.
pub(crate) fn baseline() -> Knobs {
    Knobs {
        learning_rate: 1e-3,
        lr_decay: 0.998,
        batch_size: 16,
        batch_norm: true,
        initializer: Initializer::Normal,
        optimizer: OptimizerKind::Sgd,
        gradient_clip: Some(0.002),
        normalize_inputs: false,
        max_steps: 1500,
        seed: 1,
        ..Knobs::default()
    }
}

impl Task for Pictures {
    fn examples(&self) -> Examples {
        let mut rng = Rng::with_seed(SEED);
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for _ in 0..PICTURES {
            let [down, across, height, phase] = std::array::from_fn(|_| rng.f32());
            let at = |place: usize| place as f32 / (SIDE - 1) as f32;
            for (row, column) in (0..SIDE).flat_map(|row| (0..SIDE).map(move |column| (row, column))) {
                let waves = (6.0 * at(row) + 6.0 * phase).sin().powi(2);
                let level = (down * at(row) + across * at(column) + 0.5 * height * waves) / 2.5 + 0.01 * rng.f32();
                x.push(BRIGHTEST * level.min(1.0).powi(3));
            }
            y.push(11.5 + 2.0 * down - 3.0 * across + 2.0 * height);
        }
        Examples { x: Matrix::from_values(SIDE * SIDE, x), y: Matrix::from_values(1, y) }
    }

    fn network(&mut self, knobs: &Knobs, rng: &mut Rng) -> Network {
        let mut builder = Builder::new(knobs, rng);
        let mut shape = Shape { side: SIDE, channels: 1 };
        for (filters, stride) in CONVOLUTIONS {
            builder = builder.convolution(shape, filters, stride);
            shape = Shape { side: shape.side.div_ceil(stride), channels: filters };
        }
        let mut values = shape.side * shape.side * shape.channels;
        for units in HIDDEN {
            builder = builder.dense(values, units).activation(knobs.activation);
            values = units;
        }
        builder.dense(values, 1).activation(knobs.output_activation).build()
    }
}
