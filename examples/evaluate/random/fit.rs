//! Trains a random program, or one of its alternatives.
//!
//! Owns: the order of a step, what bugs do in it, what is measured. Must not know: why a run is wanted, how it is logged.

use fastrand::Rng;

use super::data::{TaskData, largest};
use super::layers::Block;
use super::model::{knobs, network};
use super::program::{Bug, Schedule, Settings, Task};
use super::rewards;
use crate::trainer::knobs::{Initializer, LossKind, OptimizerKind};
use crate::trainer::layers::{Layer, Phase};
use crate::trainer::losses::{self, LossAndGradient, softmax};
use crate::trainer::matrix::Matrix;
use crate::trainer::optimizer::{self, Optimizer};
use crate::trainer::training::{Examples, Scaling};

/// What is trained: a program, or an alternative to it.
#[derive(Clone)]
pub(super) struct Setup<'a> {
    /// What is learned.
    pub(super) task: &'a Task,
    /// From what.
    pub(super) data: &'a TaskData,
    /// How.
    pub(super) settings: Settings,
    /// What is wrong.
    pub(super) bugs: Vec<Bug>,
}

/// What a run is to be measured by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure {
    /// Seed of weights, order and dropout.
    pub(super) seed: u64,
    /// Validations, the one at the end included.
    pub(super) validations: usize,
    /// Whether the numbers of every step are kept.
    pub(super) steps: bool,
}

/// The numbers of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Trace {
    /// The training loss of each step, as the program computes it.
    pub(super) losses: Vec<f32>,
    /// The training accuracy of each step, as the program would compute one.
    pub(super) accuracies: Vec<f32>,
    /// The global norm of the gradients of each step, before clipping.
    pub(super) norms: Vec<f32>,
    /// The learning rate of each step.
    pub(super) rates: Vec<f32>,
    /// The mean reward of each step, where there are rewards.
    pub(super) rewards: Vec<f32>,
    /// The validations in their order, the first before any step.
    pub(super) validations: Vec<Validation>,
}

/// One validation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Validation {
    /// Steps before it.
    pub(super) step: usize,
    /// The loss as the program computes it.
    pub(super) loss: f32,
    /// The accuracy as the program computes it.
    pub(super) accuracy: f32,
    /// What counts: the squared error of standardised targets without noise, the cross entropy, or minus the reward. A
    /// program that minimises another loss over classes has no say in how sure its scores sound: it has the cross entropy at
    /// the best temperature.
    pub(super) truth: f64,
}

impl Trace {
    /// What counts, at the end; infinite where it is not finite.
    pub(super) fn end(&self) -> f64 {
        self.validations.last().map_or(f64::INFINITY, |validation| finite(validation.truth))
    }

    /// The best that counts, at any validation.
    pub(super) fn best(&self) -> f64 {
        self.validations.iter().map(|validation| finite(validation.truth)).fold(f64::INFINITY, f64::min)
    }
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::INFINITY }
}

impl Schedule {
    /// The factor on the learning rate at a step of a run.
    pub(super) fn factor(self, step: usize, steps: usize) -> f64 {
        let done = step as f64 / steps as f64;
        match self {
            Schedule::Constant => 1.0,
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            Schedule::Linear => 1.0 - done,
            Schedule::Warmup(share) if done < share => (step + 1) as f64 / (share * steps as f64).max(1.0),
            Schedule::Warmup(share) => (1.0 - done) / (1.0 - share).max(1e-9),
            Schedule::Steps(share, factor) => factor.powf((done / share).floor()),
            Schedule::Exponential(factor) => factor.powf(step as f64),
        }
    }
}

/// The settings that weights were trained with before a run begins: good ones, on the same network.
fn before(settings: &Settings, steps: usize) -> Settings {
    Settings {
        steps,
        batch_size: 32,
        optimizer: OptimizerKind::Adam,
        learning_rate: 3e-3,
        schedule: Schedule::Cosine,
        gradient_clip: Some(1.0),
        weight_decay: 0.0,
        initializer: Initializer::VarianceScaling,
        normalize_inputs: true,
        normalize_targets: true,
        ..settings.clone()
    }
}

/// Trains and measures.
pub(super) fn train(setup: &Setup<'_>, measure: Measure) -> Trace {
    let mut rng = Rng::with_seed(measure.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x005e_ed00);
    let mut network = network(setup.task, &setup.settings, &setup.bugs, &mut rng);
    if setup.task.family.rewards() {
        return rewards::train(setup, &mut network, (measure, rng));
    }
    if let Some((steps, related)) = setup.task.trained_before {
        let settings = before(&setup.settings, steps);
        let earlier = Setup { settings, bugs: Vec::new(), ..setup.clone() };
        let mut training = Training::new(&earlier, measure, &mut rng);
        if related {
            training.change_targets();
        }
        training.run(&mut network);
    }
    let mut training = Training::new(setup, measure, &mut rng);
    training.run(&mut network);
    training.trace
}

/// A training under way.
struct Training<'a> {
    setup: &'a Setup<'a>,
    measure: Measure,
    trace: Trace,
    x: Matrix,
    y: Matrix,
    validation: Examples,
    optimizer: Optimizer,
    order: Vec<usize>,
    next: usize,
    rng: Rng,
    /// Gradients that were not zeroed.
    kept: Vec<Vec<f32>>,
}

impl<'a> Training<'a> {
    fn new(setup: &'a Setup<'a>, measure: Measure, rng: &mut Rng) -> Training<'a> {
        let Setup { task, data, settings, bugs } = setup;
        let scaling = Scaling::of(&data.train.x, &knobs(settings));
        let (mut x, mut y) = (scaling.apply(data.train.x.clone()), setup.raw_targets(&data.train.y));
        let mut validation_x = scaling.apply(data.validation.x.clone());
        let mut rng = rng.fork();
        let mut used: Vec<usize> = (0..x.rows).collect();
        for bug in bugs {
            match bug {
                Bug::ShuffledLabels => {
                    let mut order = used.clone();
                    rng.shuffle(&mut order);
                    y = y.pick(&order);
                }
                Bug::ShiftedLabels => {
                    let order: Vec<usize> = (0..x.rows).map(|row| (row + x.rows - 1) % x.rows).collect();
                    y = y.pick(&order);
                }
                Bug::FewExamples(count) => used.truncate(*count),
                Bug::ZeroInputs => [&mut x, &mut validation_x].iter_mut().for_each(|x| x.values.fill(0.0)),
                Bug::NanExample => x.values[0] = f32::NAN,
                Bug::ValidationMismatch => {
                    validation_x.values.iter_mut().for_each(|value| *value = 0.2 * *value + 1.5);
                }
                Bug::SortedData => used.sort_by(|a, b| key(&y, *a).total_cmp(&key(&y, *b))),
                _ => {}
            }
        }
        let validation = Examples { x: validation_x, y: setup.raw_targets(&data.validation.y) };
        let optimizer = Optimizer::new(settings.optimizer);
        let (trace, kept) = (Trace::default(), Vec::new());
        debug_assert!(!task.family.rewards(), "rewards are not learned from examples");
        let mut training =
            Training { setup, measure, trace, x, y, validation, optimizer, order: used, next: 0, rng, kept };
        training.begin_epoch();
        training
    }

    /// Targets of a task that is related to the real one.
    fn change_targets(&mut self) {
        let classes = self.setup.task.family.classes();
        let first: Vec<f32> = self.x.iter().map(|row| row[0]).collect();
        for (row, first) in self.y.iter_mut().zip(first) {
            if classes {
                row.swap(0, 1);
            } else {
                row.iter_mut().for_each(|value| *value += 0.7 * first);
            }
        }
    }

    fn begin_epoch(&mut self) {
        self.next = 0;
        if !self.setup.bugs.contains(&Bug::SortedData) {
            self.rng.shuffle(&mut self.order);
        }
    }

    fn batch(&mut self) -> Examples {
        let size = self.setup.settings.batch_size.min(self.order.len());
        if self.next + size > self.order.len() {
            self.begin_epoch();
        }
        let rows = &self.order[self.next..self.next + size];
        self.next += size;
        Examples { x: self.x.pick(rows), y: self.y.pick(rows) }
    }

    fn run(&mut self, network: &mut Block) {
        let steps = self.setup.settings.steps;
        self.validate(network, 0);
        let mut validated = 0;
        let mut lost = false;
        for step in 0..steps {
            lost = lost || self.step(network, step).is_none();
            if lost && self.measure.steps {
                self.note([f32::NAN; 3], step);
            }
            let due = (step + 1) * self.measure.validations / steps;
            if due > validated {
                validated = due;
                self.validate(network, step + 1);
            }
        }
    }

    /// One step; none if the weights are not finite any more, or the network cannot take the batch.
    fn step(&mut self, network: &mut Block, step: usize) -> Option<()> {
        let batch = self.batch();
        let setup = self.setup;
        let prediction = network.forward(batch.x, Phase::Training).ok()?;
        let (loss, gradient) = setup.loss(&prediction, &batch.y);
        network.backward(gradient);
        let mut parameters = network.parameters();
        if setup.bugs.contains(&Bug::AccumulatedGradients) {
            self.kept.resize_with(parameters.len(), Vec::new);
            for (kept, parameter) in self.kept.iter_mut().zip(&mut parameters) {
                kept.resize(parameter.gradient.len(), 0.0);
                kept.iter_mut().zip(&mut parameter.gradient).for_each(|(kept, slope)| {
                    *kept += *slope;
                    *slope = *kept;
                });
            }
        }
        let norm = optimizer::gradient_norm(&parameters);
        let rate = setup.settings.learning_rate * setup.settings.schedule.factor(step, setup.settings.steps);
        if self.measure.steps {
            let shown = if setup.bugs.contains(&Bug::WrongSign(true)) { -loss } else { loss };
            self.note([shown, setup.accuracy(&prediction, &batch.y), norm], step);
        }
        setup.update(&mut self.optimizer, &mut parameters, (norm, rate as f32));
        (loss.is_finite() || parameters.iter().all(|p| p.values.first().is_some_and(|v| v.is_finite()))).then_some(())
    }

    fn note(&mut self, [loss, accuracy, norm]: [f32; 3], step: usize) {
        if self.trace.losses.len() > step {
            return;
        }
        let settings = &self.setup.settings;
        self.trace.losses.push(loss);
        self.trace.accuracies.push(accuracy);
        self.trace.norms.push(norm);
        self.trace.rates.push((settings.learning_rate * settings.schedule.factor(step, settings.steps)) as f32);
    }

    fn validate(&mut self, network: &mut Block, step: usize) {
        let Ok(prediction) = network.forward(self.validation.x.clone(), Phase::Evaluation) else { return };
        let (mut loss, _) = self.setup.loss(&prediction, &self.validation.y);
        if self.setup.bugs.contains(&Bug::WrongSign(true)) {
            loss = -loss;
        }
        if self.setup.bugs.contains(&Bug::SumLoss) {
            // It is logged a batch, as training is.
            loss *= self.setup.settings.batch_size as f32 / self.validation.x.rows as f32;
        }
        let accuracy = self.setup.accuracy(&prediction, &self.validation.y);
        let truth = self.setup.truth(&prediction);
        self.trace.validations.push(Validation { step, loss, accuracy, truth });
    }
}

/// What examples are sorted by.
fn key(y: &Matrix, row: usize) -> f32 {
    let values = &y.values[row * y.width..][..y.width];
    if y.width > 1 { largest(values) as f32 } else { values[0] }
}

impl Setup<'_> {
    /// Targets as the program sees them.
    fn raw_targets(&self, y: &Matrix) -> Matrix {
        let mut y = y.clone();
        if !self.settings.normalize_targets && !self.task.family.classes() {
            let (scale, offset) = self.task.target_scale;
            y.values.iter_mut().for_each(|value| *value = *value * scale as f32 + offset as f32);
        }
        y
    }

    /// What counts of a prediction for the validation examples.
    fn truth(&self, prediction: &Matrix) -> f64 {
        if self.task.family.classes() {
            let sure = self.settings.loss == LossKind::CrossEntropy && !self.bugs.contains(&Bug::DoubleSoftmax);
            return if sure { entropy(prediction, &self.data.clean) } else { self.at_best_temperature(prediction) };
        }
        let raw = !self.settings.normalize_targets;
        let (scale, offset) = if raw { self.task.target_scale } else { (1.0, 0.0) };
        let errors = prediction.values.iter().zip(&self.data.clean.values);
        let squares = errors.map(|(value, clean)| ((f64::from(*value) - offset) / scale - f64::from(*clean)).powi(2));
        squares.sum::<f64>() / prediction.values.len() as f64
    }

    /// The cross entropy of scores that are scaled as suits them best: between those that are given and the frequencies of the
    /// classes (Guo et al. 2017, section 4.2).
    fn at_best_temperature(&self, prediction: &Matrix) -> f64 {
        let clean = &self.data.clean;
        let mut frequencies = vec![1e-3_f32; clean.width];
        clean.iter().for_each(|row| frequencies[largest(row)] += 1.0);
        let all = TEMPERATURES.iter().map(|temperature| {
            let mut scaled = prediction.clone();
            for row in scaled.iter_mut() {
                let both = row.iter_mut().zip(&frequencies);
                both.for_each(|(score, f)| {
                    *score = *score / temperature + (1.0 - 1.0 / temperature).max(0.0) * f32::ln(*f)
                });
            }
            entropy(&scaled, clean)
        });
        all.fold(f64::INFINITY, f64::min)
    }

    /// The accuracy that a program of this kind computes. Asked of a regression, it is what Keras makes of it: the share
    /// of targets that are exactly 0 or 1 on the right side of one half, or of rows whose largest output is the right one.
    fn accuracy(&self, prediction: &Matrix, y: &Matrix) -> f32 {
        if !self.task.family.classes() && y.width == 1 {
            let hits = prediction.values.iter().zip(&y.values);
            return hits.filter(|(value, y)| **y == f32::from(u8::from(**value > 0.5))).count() as f32 / y.rows as f32;
        }
        let hits = prediction.iter().zip(y.iter()).filter(|(row, target)| largest(row) == largest(target)).count();
        hits as f32 / y.rows as f32
    }

    /// The loss that the program minimises, and its gradient.
    fn loss(&self, prediction: &Matrix, y: &Matrix) -> LossAndGradient {
        let classes = self.task.family.classes();
        let (mut loss, mut gradient) = if self.bugs.contains(&Bug::Broadcast) && y.width == 1 {
            broadcast(self.settings.loss, prediction, y)
        } else if self.bugs.contains(&Bug::DoubleSoftmax) && classes {
            let probabilities = softmax(prediction);
            let (loss, slopes) = losses::loss(LossKind::CrossEntropy, &probabilities, y);
            (loss, through_softmax(&probabilities, slopes))
        } else if classes && self.settings.loss != LossKind::CrossEntropy {
            let probabilities = softmax(prediction);
            let (loss, slopes) = losses::loss(self.settings.loss, &probabilities, y);
            (loss, through_softmax(&probabilities, slopes))
        } else {
            losses::loss(self.settings.loss, prediction, y)
        };
        if self.bugs.contains(&Bug::SumLoss) {
            loss *= y.rows as f32;
            gradient.values.iter_mut().for_each(|slope| *slope *= y.rows as f32);
        }
        (loss, gradient)
    }

    /// Everything between gradients and weights.
    pub(super) fn update(
        &self,
        optimizer: &mut Optimizer,
        parameters: &mut Vec<&mut crate::trainer::layers::Parameter>,
        (norm, rate): (f32, f32),
    ) {
        if let Some(bound) = self.settings.gradient_clip {
            optimizer::clip(parameters, norm, bound as f32);
        }
        let mut decay = self.settings.weight_decay as f32;
        let mut frozen = 0;
        for bug in &self.bugs {
            match bug {
                Bug::NoUpdate => return,
                Bug::WrongSign(_) => {
                    let slopes = parameters.iter_mut().flat_map(|parameter| &mut parameter.gradient);
                    slopes.for_each(|slope| *slope = -*slope);
                }
                Bug::HeavyDecay(heavy) => decay = *heavy as f32,
                Bug::FrozenPart(share) => frozen = (share * parameters.len() as f64).round() as usize,
                _ => {}
            }
        }
        if decay > 0.0 {
            for parameter in parameters.iter_mut() {
                let slopes = parameter.gradient.iter_mut().zip(&parameter.values);
                slopes.for_each(|(slope, value)| *slope += decay * value);
            }
        }
        optimizer.step(&mut parameters[frozen..], rate);
    }
}

fn entropy(scores: &Matrix, y: &Matrix) -> f64 {
    f64::from(losses::loss(LossKind::CrossEntropy, scores, y).0)
}

/// By which scores are divided.
const TEMPERATURES: [f32; 8] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 32.0, 1e6];

/// Every prediction against every target.
fn broadcast(kind: LossKind, prediction: &Matrix, y: &Matrix) -> LossAndGradient {
    let rows = prediction.rows;
    let repeated = |values: &[f32], outer: bool| {
        let pairs = (0..rows).flat_map(|i| (0..rows).map(move |j| if outer { i } else { j }));
        Matrix::from_values(1, pairs.map(|place| values[place]).collect())
    };
    let (loss, slopes) = losses::loss(kind, &repeated(&prediction.values, true), &repeated(&y.values, false));
    let sums = slopes.values.chunks_exact(rows).map(|chunk| chunk.iter().sum()).collect();
    (loss, Matrix::from_values(1, sums))
}

/// d loss / d logits from d loss / d probabilities.
fn through_softmax(probabilities: &Matrix, mut slopes: Matrix) -> Matrix {
    for (slopes, row) in slopes.iter_mut().zip(probabilities.iter()) {
        let along: f32 = slopes.iter().zip(row).map(|(slope, p)| slope * p).sum();
        slopes.iter_mut().zip(row).for_each(|(slope, p)| *slope = p * (*slope - along));
    }
    slopes
}
