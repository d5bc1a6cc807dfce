//! The training loop.
//!
//! Owns: the order of a step, and what is logged when. Must not know: any particular task.

use fastrand::Rng;

use super::TrainingError;
use super::knobs::{InputScaling, Knobs};
use super::layers::Phase;
use super::log::RunLog;
use super::losses::{self, LossAndGradient};
use super::matrix::Matrix;
use super::network::Network;
use super::optimizer::{self, Optimizer};

/// Inputs and what should come out, row by row.
#[derive(Debug, Clone)]
pub(crate) struct Examples {
    /// Inputs.
    pub(crate) x: Matrix,
    /// Targets.
    pub(crate) y: Matrix,
}

/// What is learned, and with what kind of network.
pub(crate) trait Task {
    /// The training examples, as they come: neither scaled nor chosen from.
    fn examples(&self) -> Examples;

    /// A network with fresh weights.
    fn network(&self, knobs: &Knobs, rng: &mut Rng) -> Network;

    /// The learning rate at a step.
    fn learning_rate(&self, knobs: &Knobs, step: usize) -> f64 {
        knobs.learning_rate * knobs.lr_decay.powf(step as f64)
    }

    /// The loss of a batch.
    fn loss(&self, knobs: &Knobs, prediction: &Matrix, target: &Matrix) -> LossAndGradient {
        losses::loss(knobs.loss, prediction, target)
    }
}

/// Every so many steps the learning rate and the gradient norm are logged; the loss is at every step.
const DETAIL_EVERY: usize = 10;

/// Trains, and gives the loss at every step.
///
/// # Errors
/// When the log cannot be written or the network cannot take a batch; what was logged until then remains.
pub(crate) fn train(task: &impl Task, knobs: &Knobs, log: &mut RunLog) -> Result<Vec<f32>, TrainingError> {
    let mut rng = Rng::with_seed(knobs.seed);
    let Examples { x, y } = task.examples();
    let scaling = Scaling::of(&x, knobs);
    let used: Vec<usize> = (0..x.rows.min(knobs.train_examples.unwrap_or(usize::MAX))).collect();
    let mut order = Order::new(used, knobs.batch_size, rng.fork());
    let mut network = task.network(knobs, &mut rng);
    let mut optimizer = Optimizer::new(knobs.optimizer);
    let mut curve = Vec::with_capacity(knobs.max_steps);
    for step in 0..knobs.max_steps {
        let batch = order.next_batch();
        let prediction = network.forward(scaling.apply(x.pick(&batch)), Phase::Training)?;
        let (loss, gradient) = task.loss(knobs, &prediction, &y.pick(&batch));
        network.backward(gradient);
        let mut parameters = network.parameters();
        let norm = optimizer::gradient_norm(&parameters);
        if let Some(bound) = knobs.gradient_clip {
            optimizer::clip(&mut parameters, norm, bound as f32);
        }
        let learning_rate = task.learning_rate(knobs, step) as f32;
        optimizer.step(&mut parameters, learning_rate);
        log.scalar("train/loss", step, loss);
        if step % DETAIL_EVERY == 0 || step + 1 == knobs.max_steps {
            log.scalar("train/learning_rate", step, learning_rate);
            log.scalar("train/grad_norm", step, norm);
        }
        curve.push(loss);
    }
    Ok(curve)
}

/// How inputs are brought into a range that suits a network.
struct Scaling {
    mean: f64,
    deviation: f64,
    tanh: bool,
}

impl Scaling {
    /// Measures what the knobs ask for over all training examples.
    fn of(x: &Matrix, knobs: &Knobs) -> Scaling {
        let tanh = knobs.input_scaling == InputScaling::Tanh;
        if !knobs.normalize_inputs && !tanh {
            return Scaling { mean: 0.0, deviation: 1.0, tanh };
        }
        let count = x.values.len() as f64;
        let mean = x.values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = x.values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
        Scaling { mean, deviation: variance.sqrt().max(f64::MIN_POSITIVE), tanh }
    }

    fn apply(&self, mut x: Matrix) -> Matrix {
        for value in &mut x.values {
            let standard = ((f64::from(*value) - self.mean) / self.deviation) as f32;
            *value = if self.tanh { standard.tanh() } else { standard };
        }
        x
    }
}

/// Batches of examples, in a new order each time that all have been used.
struct Order {
    rows: Vec<usize>,
    size: usize,
    next: usize,
    rng: Rng,
}

impl Order {
    fn new(mut rows: Vec<usize>, size: usize, mut rng: Rng) -> Order {
        rng.shuffle(&mut rows);
        Order { size: size.min(rows.len()), rows, next: 0, rng }
    }

    fn next_batch(&mut self) -> Vec<usize> {
        if self.next + self.size > self.rows.len() {
            self.rng.shuffle(&mut self.rows);
            self.next = 0;
        }
        let batch = self.rows[self.next..self.next + self.size].to_vec();
        self.next += self.size;
        batch
    }
}
