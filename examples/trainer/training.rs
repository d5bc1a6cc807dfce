//! The training loop.
//!
//! Owns: the order of a step. Must not know: any particular task, what is logged.

use std::ops::ControlFlow;

use fastrand::Rng;

use super::TrainingError;
use super::knobs::{InputScaling, Knobs};
use super::layers::{Parameter, Phase};
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

/// What is learned, and with what kind of network. The hooks are where real programs go wrong.
pub(crate) trait Task {
    /// The training examples, as they come: neither scaled nor chosen from.
    fn examples(&self) -> Examples;

    /// A network with fresh weights.
    fn network(&mut self, knobs: &Knobs, rng: &mut Rng) -> Network;

    /// The learning rate at a step.
    fn learning_rate(&self, knobs: &Knobs, step: usize) -> f64 {
        knobs.learning_rate * knobs.lr_decay.powf(step as f64)
    }

    /// Whether the loader puts the examples into a new order each time that all have been used.
    fn shuffles(&self) -> bool {
        true
    }

    /// A batch as it goes into the step, its inputs scaled already.
    fn batch(&mut self, batch: Examples, _step: usize) -> Examples {
        batch
    }

    /// The loss of a batch.
    fn loss(&self, knobs: &Knobs, prediction: &Matrix, target: &Matrix) -> LossAndGradient {
        losses::loss(knobs.loss, prediction, target)
    }

    /// What happens to gradients before anything looks at them.
    fn after_backward(&mut self, _parameters: &mut [&mut Parameter]) {}

    /// What happens to gradients after they were measured and clipped, before the weights are changed by them.
    fn before_update(&mut self, _parameters: &mut [&mut Parameter]) {}
}

/// One step, after the weights were changed.
pub(crate) struct Step<'a> {
    /// Steps before this one.
    pub(crate) number: usize,
    /// The loss before the weights were changed.
    pub(crate) loss: f32,
    /// What the network gave for the batch.
    pub(crate) prediction: &'a Matrix,
    /// What it should have given.
    pub(crate) target: &'a Matrix,
    /// The learning rate of the step.
    pub(crate) learning_rate: f32,
    /// The global norm of the gradients before clipping.
    pub(crate) gradient_norm: f32,
}

/// Looks on while a network is trained.
pub(crate) trait Observer {
    /// Takes note of a step, and says whether to go on.
    ///
    /// # Errors
    /// When it can no longer look on.
    fn observe(&mut self, step: &Step<'_>, network: &mut Network) -> Result<ControlFlow<()>, TrainingError>;
}

/// Trains until the last step, or until the observer has seen enough.
///
/// # Errors
/// When the network cannot take a batch, or the observer fails.
pub(crate) fn train(task: &mut impl Task, knobs: &Knobs, observer: &mut impl Observer) -> Result<(), TrainingError> {
    let mut rng = Rng::with_seed(knobs.seed);
    let Examples { x, y } = task.examples();
    let x = Scaling::of(&x, knobs).apply(x);
    let used: Vec<usize> = (0..x.rows.min(knobs.train_examples.unwrap_or(usize::MAX))).collect();
    let loader = rng.fork();
    let mut order = Order::new(used, knobs.batch_size, task.shuffles().then_some(loader));
    let mut network = task.network(knobs, &mut rng);
    let mut optimizer = Optimizer::new(knobs.optimizer);
    for number in 0..knobs.max_steps {
        let rows = order.next_batch();
        let batch = task.batch(Examples { x: x.pick(&rows), y: y.pick(&rows) }, number);
        let prediction = network.forward(batch.x, Phase::Training)?;
        let (loss, gradient) = task.loss(knobs, &prediction, &batch.y);
        network.backward(gradient);
        let mut parameters = network.parameters();
        task.after_backward(&mut parameters);
        let gradient_norm = optimizer::gradient_norm(&parameters);
        if let Some(bound) = knobs.gradient_clip {
            optimizer::clip(&mut parameters, gradient_norm, bound as f32);
        }
        task.before_update(&mut parameters);
        let learning_rate = task.learning_rate(knobs, number) as f32;
        optimizer.step(&mut parameters, learning_rate);
        let step = Step { number, loss, prediction: &prediction, target: &batch.y, learning_rate, gradient_norm };
        if observer.observe(&step, &mut network)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// How inputs are brought into a range that suits a network.
pub(crate) struct Scaling {
    mean: Vec<f64>,
    deviation: Vec<f64>,
    tanh: bool,
}

/// Inputs with more columns than this are pictures, whose pixels share one scale; below, each column has its own.
const MOST_FEATURES: usize = 32;

impl Scaling {
    /// Measures what the knobs ask for over all training examples.
    pub(crate) fn of(x: &Matrix, knobs: &Knobs) -> Scaling {
        let tanh = knobs.input_scaling == InputScaling::Tanh;
        if !knobs.normalize_inputs && !tanh {
            return Scaling { mean: vec![0.0; x.width], deviation: vec![1.0; x.width], tanh };
        }
        let (shared, each) = if x.width > MOST_FEATURES { (x.width, 1) } else { (1, x.width) };
        let columns = x.values.chunks_exact(each).fold(vec![Vec::new(); each], |mut columns, row| {
            columns.iter_mut().zip(row).for_each(|(column, value)| column.push(f64::from(*value)));
            columns
        });
        let (mean, deviation): (Vec<f64>, Vec<f64>) = columns.iter().map(|column| moments(column)).unzip();
        Scaling { mean: mean.repeat(shared), deviation: deviation.repeat(shared), tanh }
    }

    /// Inputs as the network wants them.
    pub(crate) fn apply(&self, mut x: Matrix) -> Matrix {
        for row in x.iter_mut() {
            for ((value, mean), deviation) in row.iter_mut().zip(&self.mean).zip(&self.deviation) {
                let standard = ((f64::from(*value) - mean) / deviation) as f32;
                *value = if self.tanh { standard.tanh() } else { standard };
            }
        }
        x
    }
}

/// Mean and standard deviation; the latter is 1 for a constant.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    (mean, if deviation > 0.0 { deviation } else { 1.0 })
}

/// Batches of examples, in a new order each time that all have been used.
struct Order {
    rows: Vec<usize>,
    size: usize,
    next: usize,
    /// Where new orders come from; without it the order stays.
    rng: Option<Rng>,
}

impl Order {
    fn new(rows: Vec<usize>, size: usize, rng: Option<Rng>) -> Order {
        let mut order = Order { size: size.min(rows.len()), rows, next: 0, rng };
        order.begin();
        order
    }

    fn begin(&mut self) {
        if let Some(rng) = &mut self.rng {
            rng.shuffle(&mut self.rows);
        }
        self.next = 0;
    }

    fn next_batch(&mut self) -> Vec<usize> {
        if self.next + self.size > self.rows.len() {
            self.begin();
        }
        let batch = self.rows[self.next..self.next + self.size].to_vec();
        self.next += self.size;
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_used_once_before_any_is_used_again() {
        let mut order = Order::new((0..12).collect(), 4, Some(Rng::with_seed(3)));
        for _ in 0..5 {
            let mut seen: Vec<usize> = (0..3).flat_map(|_| order.next_batch()).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..12).collect::<Vec<_>>());
        }
    }

    #[test]
    fn normalised_inputs_have_mean_zero_and_deviation_one() {
        for width in [3, 40] {
            let mut rng = Rng::with_seed(5);
            let x = Matrix::from_values(width, (0..width * 50).map(|_| 1e6 * rng.f32() + 3e5).collect());
            let scaled = Scaling::of(&x, &Knobs::default()).apply(x);
            let values: Vec<f64> = scaled.values.iter().map(|v| f64::from(*v)).collect();
            let (mean, deviation) = moments(&values);
            assert!(mean.abs() < 1e-4 && (deviation - 1.0).abs() < 1e-4, "{mean} {deviation}");
        }
    }
}
