//! A case as something to train: its network, its schedule, and its fault at the place where real programs have it.
//!
//! Owns: what each fault does. Must not know: what is logged, what is expected.

use fastrand::Rng;

use crate::cases::{Case, CustomLoss, Data, Fault, Schedule};
use crate::custom::{contrastive, custom};
use crate::data::{DataSet, SIDE, data_set};
use crate::trainer::knobs::{Initializer, Knobs, LossKind, OptimizerKind};
use crate::trainer::layers::{Parameter, Phase, Shape};
use crate::trainer::losses::{self, LossAndGradient};
use crate::trainer::matrix::Matrix;
use crate::trainer::network::{Builder, Network};
use crate::trainer::optimizer::Optimizer;
use crate::trainer::training::{Examples, Scaling, Task};

/// Bias of units that no input wakes.
const DEAD: f32 = -20.0;
/// Share of the targets that are far off, and how far.
const OUTLIERS: (f32, f32) = (0.03, 40.0);
/// Numbers that a token is embedded into.
const EMBEDDING: usize = 16;
/// Half the square of each weight counts so much beside the loss, where weights shrink.
const SHRINKING: f32 = 0.5;
/// Parameters of the last layer: weight and bias.
const HEAD: usize = 2;

/// A case that is being trained.
pub(crate) struct Subject<'a> {
    case: &'a Case,
    data: DataSet,
    schedule: Schedule,
    rng: Rng,
    /// Sums of all gradients so far, where nobody zeroes them.
    accumulated: Vec<Vec<f32>>,
}

impl<'a> Subject<'a> {
    /// Prepares a case whose learning rate goes as given.
    pub(crate) fn new(case: &'a Case, seed: u64, schedule: Schedule) -> Subject<'a> {
        let mut rng = Rng::with_seed(seed ^ 0x5eed);
        let mut data = data_set(case.task);
        break_targets(case.fault, &mut data.training.y, &mut rng);
        if case.fault == Fault::SortedByClass {
            sort_by_class(&mut data.training);
        }
        Subject { case, data, schedule, rng, accumulated: Vec::new() }
    }

    /// Validation examples as the program sees them, inputs scaled.
    pub(crate) fn validation(&self, knobs: &Knobs) -> Examples {
        let Examples { x, y } = self.data.validation.clone();
        let scaling = Scaling::of(&self.data.training.x, knobs);
        let x = if self.case.fault == Fault::ValidationInOtherUnits { x } else { scaling.apply(x) };
        Examples { x, y }
    }

    /// Whether targets are classes.
    pub(crate) fn classes(&self) -> bool {
        self.data.classes
    }

    /// The loss of the best prediction that ignores its input.
    pub(crate) fn trivial(&self, knobs: &Knobs) -> f32 {
        let y = &self.data.training.y;
        let share = 1.0 / y.rows as f32;
        let mean = y.iter().fold(vec![0.0; y.width], |mut sums: Vec<f32>, row| {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += share * value);
            sums
        });
        if knobs.loss == LossKind::Custom && self.case.custom_loss == CustomLoss::Contrastive {
            return contrastive(&Matrix::zeros(y.rows, y.width), y).0;
        }
        if knobs.loss == LossKind::Custom && self.case.custom_loss == CustomLoss::Poisson {
            return mean.iter().map(|rate| rate - rate * rate.ln()).sum();
        }
        if self.classes() && knobs.loss != LossKind::L2 {
            return mean.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
        }
        let constant = Matrix { values: mean.repeat(y.rows), ..y.clone() };
        losses::loss(knobs.loss, &constant, y).0
    }

    /// The loss that the task calls for, and that the hand-written one should have been.
    fn right_loss(&self) -> LossKind {
        if self.data.classes { LossKind::CrossEntropy } else { LossKind::L2 }
    }

    /// Steps that were made before the log begins.
    fn pretrain(&self, network: &mut Network, knobs: &Knobs) {
        let Examples { x, y } = &self.data.training;
        let x = Scaling::of(x, knobs).apply(x.clone());
        let mut optimizer = Optimizer::new(OptimizerKind::Adam);
        for _ in 0..self.case.pretrained {
            // Pre-training takes the whole set at once, which every network without batch norm accepts.
            let Ok(prediction) = network.forward(x.clone(), Phase::Training) else { return };
            network.backward(losses::loss(self.right_loss(), &prediction, y).1);
            optimizer.step(&mut network.parameters(), 3e-3);
        }
    }
}

fn break_targets(fault: Fault, y: &mut Matrix, rng: &mut Rng) {
    match fault {
        Fault::ShuffledLabels => *y = shuffled(y, rng),
        Fault::ShiftedLabels { by } => y.values.rotate_left(by * y.width),
        Fault::Outliers => {
            for value in &mut y.values {
                if rng.f32() < OUTLIERS.0 {
                    *value += if rng.bool() { OUTLIERS.1 } else { -OUTLIERS.1 };
                }
            }
        }
        _ => {}
    }
}

fn sort_by_class(examples: &mut Examples) {
    let mut rows: Vec<usize> = (0..examples.y.rows).collect();
    let class = |row: usize| examples.y.values[row * examples.y.width..].iter().position(|share| *share == 1.0);
    rows.sort_by_key(|&row| class(row));
    *examples = Examples { x: examples.x.pick(&rows), y: examples.y.pick(&rows) };
}

fn shuffled(matrix: &Matrix, rng: &mut Rng) -> Matrix {
    let mut rows: Vec<usize> = (0..matrix.rows).collect();
    rng.shuffle(&mut rows);
    matrix.pick(&rows)
}

impl Task for Subject<'_> {
    fn examples(&self) -> Examples {
        self.data.training.clone()
    }

    fn shuffles(&self) -> bool {
        self.case.fault != Fault::SortedByClass
    }

    fn network(&mut self, knobs: &Knobs, rng: &mut Rng) -> Network {
        let mut builder = Builder::new(knobs, rng);
        let mut width = self.data.training.x.width;
        if self.case.task == Data::Stripes {
            let shape = Shape { side: SIDE, channels: 1 };
            builder = builder.convolution(shape, 8, 1).convolution(Shape { channels: 8, ..shape }, 16, 2);
            width = 16 * (SIDE / 2).pow(2);
        }
        if self.case.task == Data::Markov {
            builder = builder.dense(width, EMBEDDING);
            width = EMBEDDING;
        }
        for &units in &self.case.hidden {
            builder = builder.dense(width, units).batch_norm(units).activation(knobs.activation);
            width = units;
        }
        // A mean and a variance for each target.
        let outputs = self.data.training.y.width * if self.case.task == Data::Likelihood { 2 } else { 1 };
        let mut network = builder.dense(width, outputs).activation(knobs.output_activation).build();
        if self.case.fault == Fault::DeadBias && knobs.initializer == Initializer::Default {
            let mut parameters = network.parameters();
            let body = parameters.len() - HEAD;
            for parameter in parameters[..body].iter_mut().filter(|parameter| parameter.name.ends_with("bias")) {
                parameter.values.fill(DEAD);
            }
        }
        self.pretrain(&mut network, knobs);
        network
    }

    fn learning_rate(&self, knobs: &Knobs, step: usize) -> f64 {
        let (schedule, step_of) = (&self.schedule, step as f64);
        let mut rate = knobs.learning_rate * knobs.lr_decay.powf(step_of);
        if step < schedule.warm_up {
            return rate * (step_of + 1.0) / schedule.warm_up as f64;
        }
        if schedule.cosine {
            let part = (step - schedule.warm_up) as f64 / (knobs.max_steps - schedule.warm_up).max(1) as f64;
            rate *= 0.5 * (1.0 + (std::f64::consts::PI * part).cos());
        }
        if schedule.cycle > 0 {
            let phase = (step % schedule.cycle) as f64 / schedule.cycle as f64;
            rate *= 0.02 + 0.98 * (1.0 - (2.0 * phase - 1.0).abs());
        }
        rate * schedule.factor.powf(schedule.drops.iter().filter(|at| step >= **at).count() as f64)
    }

    fn batch(&mut self, Examples { mut x, mut y }: Examples, step: usize) -> Examples {
        match self.case.fault {
            Fault::MisalignedLabels => y = shuffled(&y, &mut self.rng),
            Fault::HardBatches { every } if step > 0 && step.is_multiple_of(every) => y = shuffled(&y, &mut self.rng),
            Fault::ScrambledBatch => {
                let width = x.width;
                x = x.transposed().reshaped(width);
            }
            Fault::BlankInputs => x.values.fill(0.0),
            Fault::DestroyedInputs => x.iter_mut().for_each(|row| self.rng.shuffle(row)),
            Fault::LogOfZero { at } if step >= at && x.rows > 1 => x.values[0] = 0f32.ln(),
            _ => {}
        }
        Examples { x, y }
    }

    fn loss(&self, knobs: &Knobs, prediction: &Matrix, target: &Matrix) -> LossAndGradient {
        if knobs.loss == LossKind::Custom {
            return custom(self.case.custom_loss, self.right_loss(), prediction, target);
        }
        losses::loss(knobs.loss, prediction, target)
    }

    fn after_backward(&mut self, parameters: &mut [&mut Parameter]) {
        match self.case.fault {
            Fault::ZeroedGradients => parameters.iter_mut().for_each(|parameter| parameter.gradient.fill(0.0)),
            Fault::Shrinking => {
                for parameter in parameters {
                    let Parameter { values, gradient, .. } = &mut **parameter;
                    gradient.iter_mut().zip(values).for_each(|(slope, value)| *slope += SHRINKING * *value);
                }
            }
            Fault::AccumulatedGradients => {
                self.accumulated.resize_with(parameters.len(), Vec::new);
                for (parameter, sums) in parameters.iter_mut().zip(&mut self.accumulated) {
                    sums.resize(parameter.gradient.len(), 0.0);
                    sums.iter_mut().zip(&parameter.gradient).for_each(|(sum, slope)| *sum += slope);
                    parameter.gradient.clone_from(sums);
                }
            }
            _ => {}
        }
    }

    fn before_update(&mut self, parameters: &mut [&mut Parameter]) {
        let kept = match self.case.fault {
            Fault::StaleOptimizer => 0,
            Fault::DetachedBody => HEAD,
            _ => return,
        };
        // An optimizer that never moved a weight has no momentum: without a gradient the weight stays where it is.
        let stuck = parameters.len() - kept;
        parameters[..stuck].iter_mut().for_each(|parameter| parameter.gradient.fill(0.0));
    }
}
