//! The data of random tasks, made up from a seed.
//!
//! Owns: what targets depend on. Must not know: networks, settings, bugs.

use fastrand::Rng;

use super::program::{Family, Task};
use crate::trainer::matrix::Matrix;
use crate::trainer::network::normal;
use crate::trainer::training::Examples;

/// Side of a picture.
pub(super) const SIDE: usize = 6;
/// Validation examples.
const VALIDATION: usize = 192;
/// Inner units of the random networks that targets come from.
const TEACHER: usize = 8;
/// Examples over which a signal is standardised.
const MEASURED: usize = 512;
/// Draws after which an example of a rare class is taken for what it is.
const PATIENCE: usize = 20;

/// What is trained on, and what is judged on.
pub(super) struct TaskData {
    /// Training examples: raw inputs; standardised targets, or classes as one-hot rows.
    pub(super) train: Examples,
    /// Validation examples with the same noise.
    pub(super) validation: Examples,
    /// The validation targets without noise; for classes, as above.
    pub(super) clean: Matrix,
}

impl TaskData {
    /// Makes up the data of a task.
    pub(super) fn new(task: &Task, seed: u64) -> TaskData {
        let mut rng = Rng::with_seed(seed ^ 0x00da_7a5e);
        let source = Source::new(task, &mut rng);
        let (x, y, _) = source.examples(task, task.examples, &mut rng);
        let (validation_x, validation_y, clean) = source.examples(task, VALIDATION, &mut rng);
        let train = Examples { x, y };
        TaskData { train, validation: Examples { x: validation_x, y: validation_y }, clean }
    }

    /// The mean loss of the best prediction that ignores its input: squared error, or cross entropy in nats.
    pub(super) fn constant(&self, classes: bool) -> f64 {
        let (rows, width) = (self.clean.rows as f64, self.clean.width);
        let mut mean = vec![0.0; width];
        for row in self.clean.iter() {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += f64::from(*value) / rows);
        }
        if classes {
            return mean.iter().filter(|share| **share > 0.0).map(|share| -share * share.ln()).sum();
        }
        let squares = self.clean.iter().flat_map(|row| row.iter().zip(&mean).map(|(v, m)| (f64::from(*v) - m).powi(2)));
        squares.sum::<f64>() / (rows * width as f64)
    }
}

/// A random network: one hidden layer of tanh.
pub(super) struct Teacher {
    first: Matrix,
    second: Matrix,
}

impl Teacher {
    /// A network whose first weights are `gain` times those that keep the variance.
    pub(super) fn new(inputs: usize, outputs: usize, gain: f32, rng: &mut Rng) -> Teacher {
        let mut draw = |rows: usize, width: usize, scale: f32| {
            Matrix::from_values(width, (0..rows * width).map(|_| scale * normal(rng)).collect())
        };
        let first = draw(inputs, TEACHER, gain / (inputs as f32).sqrt());
        Teacher { first, second: draw(TEACHER, outputs, 1.0) }
    }

    /// Its output for each row.
    pub(super) fn of(&self, x: &Matrix) -> Matrix {
        let mut hidden = x.times(&self.first);
        hidden.values.iter_mut().for_each(|value| *value = value.tanh());
        hidden.times(&self.second)
    }
}

/// Where examples come from.
enum Source {
    Teacher { teacher: Teacher, mean: Vec<f32>, deviation: Vec<f32> },
    Wave { direction: Vec<f32>, phase: f32 },
    Table { weights: Vec<f32>, pairs: Vec<(usize, usize, f32)>, columns: Vec<(f32, f32)> },
    Forecast { waves: [(f32, f32); 2] },
    Clouds { centers: Matrix },
    Spirals { turns: f32 },
    Pictures { templates: Matrix },
    Symbols { odds: Matrix },
    Recurrent,
    Autoencoder { teacher: Teacher, latent: usize, mean: Vec<f32>, deviation: Vec<f32> },
}

impl Source {
    fn new(task: &Task, rng: &mut Rng) -> Source {
        let (inputs, complexity) = (task.inputs, task.complexity as f32);
        match task.family {
            Family::Teacher | Family::TeacherClasses | Family::Bandit | Family::Corridor => {
                let teacher = Teacher::new(inputs, task.outputs, 0.5 + 2.5 * complexity, rng);
                let (mean, deviation) = measured(&teacher.of(&gaussian(MEASURED, inputs, rng)));
                Source::Teacher { teacher, mean, deviation }
            }
            Family::Autoencoder => {
                let latent = 2 + (2.0 * complexity) as usize;
                let teacher = Teacher::new(latent, inputs, 0.5 + complexity, rng);
                let (mean, deviation) = measured(&teacher.of(&gaussian(MEASURED, latent, rng)));
                Source::Autoencoder { teacher, latent, mean, deviation }
            }
            Family::Wave => {
                let direction: Vec<f32> = (0..inputs).map(|_| normal(rng)).collect();
                let size = direction.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-3);
                let frequency = std::f32::consts::TAU * (0.25 + 0.75 * complexity) / size;
                Source::Wave { direction: direction.iter().map(|v| v * frequency).collect(), phase: 6.0 * rng.f32() }
            }
            Family::Table => {
                let weights = (0..inputs).map(|_| normal(rng) / (inputs as f32).sqrt()).collect();
                let pairs = (0..2).map(|_| (rng.usize(0..inputs), rng.usize(0..inputs), complexity * normal(rng)));
                let pairs = pairs.collect();
                let columns = (0..inputs).map(|_| (10f32.powf(5.0 * rng.f32() - 2.0), 2.0 * normal(rng))).collect();
                Source::Table { weights, pairs, columns }
            }
            Family::Forecast => {
                let mut wave = || (0.1 + (0.2 + complexity) * rng.f32(), 6.0 * rng.f32());
                Source::Forecast { waves: [wave(), wave()] }
            }
            Family::Clouds => {
                let apart = 3.0 - 2.0 * complexity;
                let values = (0..task.outputs * inputs).map(|_| apart * normal(rng)).collect();
                Source::Clouds { centers: Matrix::from_values(inputs, values) }
            }
            Family::Spirals => Source::Spirals { turns: 0.25 + 0.5 * complexity },
            Family::Pictures => Source::Pictures { templates: gaussian(task.outputs, SIDE * SIDE, rng) },
            Family::Symbols => {
                // The next symbol depends on the last one, and a little on the one before.
                let odds = (0..inputs * inputs * inputs).map(|_| (1.0 + 2.5 * complexity) * normal(rng)).collect();
                Source::Symbols { odds: Matrix::from_values(inputs, odds) }
            }
            Family::Recurrent => Source::Recurrent,
        }
    }

    /// Raw inputs, targets with noise, targets without.
    fn examples(&self, task: &Task, count: usize, rng: &mut Rng) -> (Matrix, Matrix, Matrix) {
        let mut x = Matrix::zeros(count, task.inputs * task.length);
        let mut clean = Matrix::zeros(count, task.outputs);
        let rarity: Vec<f64> = (0..task.outputs).map(|class| (-task.imbalance * class as f64).exp()).collect();
        for (input, target) in x.iter_mut().zip(clean.iter_mut()) {
            for _ in 0..PATIENCE {
                self.draw(task, (&mut *input, &mut *target), rng);
                let class = largest(target);
                if !task.family.classes() || rng.f64() < rarity[class] {
                    break;
                }
            }
        }
        let mut y = clean.clone();
        spoil(task, &mut y, rng);
        if !task.signal {
            let mut order: Vec<usize> = (0..count).collect();
            rng.shuffle(&mut order);
            y = y.pick(&order);
        }
        if task.family.classes() {
            clean = y.clone();
        }
        if !matches!(task.family, Family::Table | Family::Symbols | Family::Recurrent) {
            let (scale, offset) = (task.input_scale.0 as f32, task.input_scale.1 as f32);
            x.values.iter_mut().for_each(|value| *value = *value * scale + offset);
        }
        (x, y, clean)
    }

    /// One example: standardised inputs (raw ones of a table), and the target.
    fn draw(&self, task: &Task, (x, y): (&mut [f32], &mut [f32]), rng: &mut Rng) {
        match self {
            Source::Teacher { teacher, mean, deviation } => {
                x.iter_mut().for_each(|value| *value = normal(rng));
                let out = teacher.of(&Matrix::from_values(x.len(), x.to_vec()));
                let standard = out.values.iter().zip(mean).zip(deviation).map(|((v, m), d)| (v - m) / d);
                y.iter_mut().zip(standard).for_each(|(to, from)| *to = from);
                if task.family.classes() {
                    one_hot(y, largest(y));
                }
            }
            Source::Wave { direction, phase } => {
                x.iter_mut().for_each(|value| *value = 3.4 * rng.f32() - 1.7);
                let angle: f32 = direction.iter().zip(x.iter()).map(|(d, x)| d * x / 1.7).sum();
                y[0] = std::f32::consts::SQRT_2 * (angle + phase).sin();
            }
            Source::Table { weights, pairs, columns } => {
                x.iter_mut().for_each(|value| *value = normal(rng));
                let linear: f32 = weights.iter().zip(x.iter()).map(|(weight, value)| weight * value).sum();
                y[0] = linear + pairs.iter().map(|(a, b, weight)| weight * x[*a] * x[*b]).sum::<f32>();
                x.iter_mut().zip(columns).for_each(|(value, (scale, offset))| *value = scale * (*value + offset));
            }
            Source::Forecast { waves } => {
                let begin = 200.0 * rng.f32();
                let at = |time: f32| waves.iter().map(|(speed, phase)| (speed * time + phase).sin()).sum::<f32>();
                x.iter_mut().enumerate().for_each(|(i, value)| *value = at(begin + i as f32) + 0.1 * normal(rng));
                y[0] = at(begin + x.len() as f32);
            }
            Source::Clouds { centers } => {
                let class = rng.usize(0..y.len());
                let center = &centers.values[class * x.len()..][..x.len()];
                x.iter_mut().zip(center).for_each(|(value, center)| *value = center + normal(rng));
                one_hot(y, class);
            }
            Source::Spirals { turns } => {
                let class = rng.usize(0..y.len());
                let radius = 0.2 + 1.8 * rng.f32();
                let angle = std::f32::consts::TAU * (turns * radius + class as f32 / y.len() as f32);
                x[0] = radius * angle.cos() + 0.05 * normal(rng);
                x[1] = radius * angle.sin() + 0.05 * normal(rng);
                one_hot(y, class);
            }
            Source::Pictures { templates } => {
                let class = rng.usize(0..y.len());
                let (dy, dx) = (rng.usize(0..2), rng.usize(0..2));
                let template = &templates.values[class * x.len()..][..x.len()];
                for (place, value) in x.iter_mut().enumerate() {
                    let (row, column) = ((place / SIDE + dy) % SIDE, (place % SIDE + dx) % SIDE);
                    *value = template[row * SIDE + column] + (0.5 + 2.0 * task.complexity as f32) * normal(rng);
                }
                one_hot(y, class);
            }
            Source::Symbols { odds } => symbols(odds, task, (x, y), rng),
            Source::Recurrent => recurrent(task, (x, y), rng),
            Source::Autoencoder { teacher, latent, mean, deviation } => {
                let out = teacher.of(&gaussian(1, *latent, rng));
                let standard = out.values.iter().zip(mean).zip(deviation).map(|((v, m), d)| (v - m) / d);
                x.iter_mut().zip(standard).for_each(|(to, from)| *to = from);
                y.copy_from_slice(x);
            }
        }
    }
}

/// Some symbols of a chain, and the one that follows.
fn symbols(odds: &Matrix, task: &Task, (x, y): (&mut [f32], &mut [f32]), rng: &mut Rng) {
    let kinds = task.inputs;
    let (mut before, mut last) = (rng.usize(0..kinds), rng.usize(0..kinds));
    x.fill(0.0);
    for position in 0..task.length {
        x[position * kinds + last] = 1.0;
        let weak = &odds.values[(before * kinds + last) * kinds..][..kinds];
        let strong = &odds.values[last * kinds..][..kinds];
        let weights: Vec<f32> = weak.iter().zip(strong).map(|(weak, strong)| (0.5 * weak + strong).exp()).collect();
        let mut place = rng.f32() * weights.iter().sum::<f32>();
        let next = weights.iter().position(|weight| {
            place -= weight;
            place <= 0.0
        });
        (before, last) = (last, next.unwrap_or(kinds - 1));
    }
    one_hot(y, last);
}

/// A sequence of symbols and something that one must remember of it: the first one, how often one occurs, whether the
/// first is the last.
fn recurrent(task: &Task, (x, y): (&mut [f32], &mut [f32]), rng: &mut Rng) {
    let kinds = task.inputs;
    let sequence: Vec<usize> = (0..task.length).map(|_| rng.usize(0..kinds)).collect();
    x.fill(0.0);
    sequence.iter().enumerate().for_each(|(position, symbol)| x[position * kinds + symbol] = 1.0);
    let zeros = sequence.iter().filter(|symbol| **symbol == 0).count();
    let class = match (3.0 * task.complexity) as usize {
        0 => zeros * y.len() / (task.length + 1),
        1 => sequence[0] % y.len(),
        _ => usize::from(sequence.first() == sequence.last()),
    };
    one_hot(y, class);
}

/// Adds the noise of targets.
fn spoil(task: &Task, y: &mut Matrix, rng: &mut Rng) {
    for row in y.iter_mut() {
        if task.family.classes() {
            if rng.f64() < task.label_noise {
                one_hot(row, rng.usize(0..row.len()));
            }
        } else {
            row.iter_mut().for_each(|value| *value += task.noise as f32 * normal(rng));
        }
    }
}

fn gaussian(rows: usize, width: usize, rng: &mut Rng) -> Matrix {
    Matrix::from_values(width, (0..rows * width).map(|_| normal(rng)).collect())
}

/// Mean and deviation of each column.
fn measured(values: &Matrix) -> (Vec<f32>, Vec<f32>) {
    let rows = values.rows as f32;
    let columns = (0..values.width).map(|column| {
        let mean = values.iter().map(|row| row[column]).sum::<f32>() / rows;
        let variance = values.iter().map(|row| (row[column] - mean).powi(2)).sum::<f32>() / rows;
        (mean, variance.sqrt().max(1e-6))
    });
    columns.unzip()
}

/// The place of the largest value.
pub(super) fn largest(row: &[f32]) -> usize {
    let places = row.iter().enumerate();
    places.fold((0, f32::NEG_INFINITY), |best, (i, v)| if *v > best.1 { (i, *v) } else { best }).0
}

fn one_hot(row: &mut [f32], class: usize) {
    row.fill(0.0);
    row[class] = 1.0;
}
