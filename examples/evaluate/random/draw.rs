//! Draws programs. Settings are drawn from what people set, not from what is good.
//!
//! Owns: every distribution. Must not know: what comes of a program.

use fastrand::Rng;

use super::data::SIDE;
use super::program::{Bug, Family, Norm, Program, Schedule, Settings, Task};
use super::style;
use crate::trainer::knobs::{Activation, Initializer, LossKind, OptimizerKind};

/// Multiplications that one run of a program may cost; longer or wider ones are drawn anew.
const MOST_WORK: f64 = 1.2e8;
/// Multiplications below which a step costs no less, for the bookkeeping.
const LEAST_WORK: f64 = 2e4;
/// A run has at least and at most so many steps.
const STEPS: (usize, usize) = (180, 5000);

/// One that was cut short has at least so many.
const SHORTEST: usize = 24;

/// Draws the program of a seed.
pub(crate) fn program(seed: u64) -> Program {
    let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (task, settings) = loop {
        let task = task(&mut rng);
        let settings = settings(&task, &mut rng);
        if work(&task, &settings) <= MOST_WORK {
            break (task, settings);
        }
    };
    let bugs = bugs(&task, &settings, &mut rng);
    let style = style::draw(&task, &settings, &mut rng);
    Program { seed, task, settings, bugs, style }
}

/// What people set: a recipe, with some values of their own in place of its.
fn settings(task: &Task, rng: &mut Rng) -> Settings {
    let mut settings = ordinary(task, None, rng);
    let own = anything(task, None, rng);
    let own_rate = rate(task, settings.optimizer, rng);
    let share = pick(rng, &[(0.0, 3.0), (0.08, 4.0), (0.2, 3.0), (0.6, 1.5)]);
    let mut changed = |weight: f64| chance(rng, (weight * share).min(0.8));
    if changed(1.0) {
        (settings.optimizer, settings.learning_rate) = (own.optimizer, own.learning_rate);
    } else if changed(2.5) {
        settings.learning_rate = own_rate;
    }
    if changed(1.2) {
        // Cut short: to try it out, or for want of time.
        let in_epoch = settings.epochs.map_or(1, |epochs| settings.steps / epochs);
        settings.epochs = settings.epochs.map(|epochs| epochs.div_ceil(6));
        settings.steps = settings.epochs.map_or(settings.steps / 6, |epochs| epochs * in_epoch).max(SHORTEST);
    }
    if changed(1.5) {
        settings.schedule = own.schedule;
    }
    if changed(1.0) {
        settings.gradient_clip = own.gradient_clip;
    }
    if changed(1.0) {
        (settings.weight_decay, settings.dropout) = (own.weight_decay, own.dropout);
    }
    if changed(1.0) {
        settings.activation = own.activation;
    }
    if changed(1.5) {
        settings.initializer = own.initializer;
    }
    if changed(1.0) {
        settings.norm = own.norm;
    }
    if changed(1.0) {
        (settings.depth, settings.width, settings.residual) = (own.depth, own.width, own.residual);
    }
    if changed(1.0) {
        settings.loss = own.loss;
    }
    // Of the faults that developers report, missing preprocessing is among the most frequent (Humbatova et al., ICSE 2020).
    if changed(3.0) {
        settings.normalize_inputs = own.normalize_inputs;
    }
    if changed(2.0) {
        settings.normalize_targets = own.normalize_targets;
    }
    settings
}

/// One of several values, by their weights.
pub(super) fn pick<T: Copy>(rng: &mut Rng, choices: &[(T, f64)]) -> T {
    let mut place = rng.f64() * choices.iter().map(|(_, weight)| weight).sum::<f64>();
    let chosen = choices.iter().find(|(_, weight)| {
        place -= weight;
        place <= 0.0
    });
    chosen.unwrap_or(&choices[choices.len() - 1]).0
}

/// A number between two, evenly by its logarithm.
fn log_uniform(rng: &mut Rng, low: f64, high: f64) -> f64 {
    low * (high / low).powf(rng.f64())
}

pub(super) fn chance(rng: &mut Rng, share: f64) -> bool {
    rng.f64() < share
}

fn task(rng: &mut Rng) -> Task {
    let family = pick(rng, &Family::ALL);
    let (inputs, outputs, length) = sizes(family, rng);
    let one_hot = matches!(family, Family::Symbols | Family::Recurrent | Family::Corridor);
    let plain = one_hot || matches!(family, Family::Table | Family::Autoencoder);
    // Already standardised, fractions, pixels, counts, amounts of money, small units.
    let scales = [
        ((1.0, 0.0), 40.0),
        ((0.3, 0.5), 14.0),
        ((64.0, 128.0), 20.0),
        ((300.0, 1000.0), 10.0),
        ((3e4, 1e5), 6.0),
        ((0.01, 0.0), 5.0),
    ];
    let input_scale = if plain { (1.0, 0.0) } else { pick(rng, &scales) };
    let targets =
        [((1.0, 0.0), 55.0), ((10.0, 20.0), 15.0), ((300.0, 1000.0), 15.0), ((3e4, 1e5), 6.0), ((0.02, 0.1), 5.0)];
    let target_scale = pick(rng, &targets);
    let noise = pick(rng, &[(0.0, 2.0), (0.05, 2.0), (0.2, 3.0), (0.5, 2.0), (1.0, 1.0)]);
    let label_noise = pick(rng, &[(0.0, 4.0), (0.05, 2.0), (0.15, 2.0), (0.3, 1.0)]);
    Task {
        family,
        inputs,
        outputs,
        length,
        complexity: rng.f64() * rng.f64(),
        noise,
        label_noise: if family.classes() { label_noise } else { 0.0 },
        imbalance: if family.classes() { pick(rng, &[(0.0, 7.0), (0.5, 2.0), (1.2, 1.0)]) } else { 0.0 },
        signal: !chance(rng, 0.04) || family.rewards() || family == Family::Autoencoder,
        examples: log_uniform(rng, 100.0, 3000.0) as usize,
        input_scale,
        target_scale: if family.classes() || family.rewards() { (1.0, 0.0) } else { target_scale },
        trained_before: (!family.rewards() && chance(rng, 0.12)).then(|| {
            let steps = log_uniform(rng, 40.0, 600.0) as usize;
            (steps, chance(rng, 0.6))
        }),
    }
}

/// Inputs (a position), outputs, and positions.
fn sizes(family: Family, rng: &mut Rng) -> (usize, usize, usize) {
    let classes = pick(rng, &[(2, 4.0), (3, 3.0), (4, 2.0), (6, 2.0), (10, 2.0)]);
    match family {
        Family::Teacher => (rng.usize(2..=16), pick(rng, &[(1, 3.0), (2, 1.0)]), 1),
        Family::Wave => (rng.usize(1..=3), 1, 1),
        Family::Table => (rng.usize(4..=12), 1, 1),
        Family::Forecast => (rng.usize(6..=16), 1, 1),
        Family::Clouds => (rng.usize(2..=16), classes, 1),
        Family::TeacherClasses => (rng.usize(2..=12), classes, 1),
        Family::Spirals => (2, rng.usize(2..=4), 1),
        Family::Pictures => (SIDE * SIDE, classes, 1),
        Family::Symbols => {
            let kinds = rng.usize(4..=10);
            (kinds, kinds, rng.usize(2..=4))
        }
        Family::Recurrent => (rng.usize(2..=4), 2, rng.usize(4..=10)),
        Family::Autoencoder => {
            let width = rng.usize(6..=16);
            (width, width, 1)
        }
        Family::Bandit => (rng.usize(2..=8), rng.usize(2..=5), 1),
        Family::Corridor => (rng.usize(4..=10), 2, 1),
    }
}

/// Learning rates as people set them: for rules that scale by the gradient's size, and for those that do not.
const SCALED_RATES: [(f64, f64); 13] = [
    (1e-3, 20.0),
    (3e-4, 8.0),
    (5e-4, 5.0),
    (2e-3, 6.0),
    (5e-3, 6.0),
    (1e-2, 12.0),
    (0.05, 4.0),
    (1e-4, 10.0),
    (0.1, 7.0),
    (1.0, 3.0),
    (5e-5, 3.0),
    (2e-5, 3.0),
    (1e-5, 4.0),
];
const PLAIN_RATES: [(f64, f64); 11] = [
    (0.1, 14.0),
    (0.01, 14.0),
    (0.05, 8.0),
    (0.02, 5.0),
    (0.001, 13.0),
    (0.005, 4.0),
    (0.5, 8.0),
    (1.0, 7.0),
    (1e-4, 7.0),
    (1e-5, 5.0),
    (10.0, 2.0),
];
/// Learning rates of those who go on from trained weights.
const TUNING_RATES: [(f64, f64); 7] =
    [(1e-3, 10.0), (1e-4, 10.0), (5e-5, 6.0), (2e-5, 6.0), (3e-4, 5.0), (1e-2, 3.0), (0.1, 1.0)];

const ACTIVATIONS: [(Activation, f64); 5] = [
    (Activation::Relu, 40.0),
    (Activation::Tanh, 20.0),
    (Activation::Sigmoid, 25.0),
    (Activation::LeakyRelu, 9.0),
    (Activation::None, 2.0),
];
const INITIALIZERS: [(Initializer, f64); 6] = [
    (Initializer::Default, 30.0),
    (Initializer::VarianceScaling, 20.0),
    (Initializer::Xavier, 20.0),
    (Initializer::Normal, 14.0),
    (Initializer::SmallNormal, 12.0),
    (Initializer::Zeros, 4.0),
];

/// A learning rate for an update rule.
fn rate(task: &Task, optimizer: OptimizerKind, rng: &mut Rng) -> f64 {
    let plain = matches!(optimizer, OptimizerKind::Sgd | OptimizerKind::Momentum);
    if task.trained_before.is_some() && !plain && chance(rng, 0.6) {
        return pick(rng, &TUNING_RATES);
    }
    pick(rng, if plain { &PLAIN_RATES[..] } else { &SCALED_RATES })
}

/// Anything that anybody sets for a task; of the given length, where that is given.
fn anything(task: &Task, length: Option<(usize, Option<usize>)>, rng: &mut Rng) -> Settings {
    let batches: &[(usize, f64)] = &[(4, 1.5), (8, 3.0), (16, 5.0), (32, 6.0), (64, 2.0), (128, 1.0), (1, 0.3)];
    let batch_size = pick(rng, batches).min(task.examples);
    let drawn = steps(task, batch_size, rng);
    let (steps, epochs) = length.unwrap_or(drawn);
    let optimizer = pick(
        rng,
        &[
            (OptimizerKind::Adam, 30.0),
            (OptimizerKind::AdamW, 12.0),
            (OptimizerKind::Sgd, 26.0),
            (OptimizerKind::Momentum, 20.0),
            (OptimizerKind::RmsProp, 12.0),
        ],
    );
    let learning_rate = rate(task, optimizer, rng);
    let hidden = [(0, 3.0), (1, 22.0), (2, 40.0), (3, 18.0), (4, 9.0), (6, 4.0), (9, 3.0)];
    Settings {
        steps,
        epochs,
        batch_size,
        optimizer,
        learning_rate,
        schedule: schedule(steps, rng),
        gradient_clip: chance(rng, 0.25)
            .then(|| pick(rng, &[(1.0, 5.0), (0.5, 1.0), (5.0, 2.0), (0.1, 1.0), (0.01, 0.4)])),
        weight_decay: pick(rng, &[(0.0, 8.0), (1e-5, 1.0), (1e-4, 2.0), (1e-3, 1.0), (1e-2, 0.5)]),
        dropout: pick(rng, &[(0.0, 15.0), (0.1, 2.0), (0.2, 2.0), (0.5, 2.0)]),
        activation: pick(rng, &ACTIVATIONS),
        initializer: pick(rng, &INITIALIZERS),
        norm: pick(rng, &[(Norm::None, 70.0), (Norm::Batch, 18.0), (Norm::Layer, 12.0)]),
        depth: pick(rng, &hidden),
        width: pick(rng, &[(4, 1.0), (8, 2.0), (12, 2.0), (16, 5.0), (24, 3.0), (32, 6.0), (48, 2.0), (64, 2.0)]),
        residual: chance(rng, 0.1),
        loss: loss(task, rng),
        normalize_inputs: chance(rng, 0.4),
        normalize_targets: chance(rng, 0.4),
    }
}

/// Draws settings as tutorials have them: nothing that is rare.
pub(super) fn ordinary(task: &Task, length: Option<(usize, Option<usize>)>, rng: &mut Rng) -> Settings {
    let wild = anything(task, length, rng);
    let scaled = [(1e-3, 5.0), (3e-4, 1.0), (3e-3, 2.0), (1e-2, 2.0)];
    let plain = [(0.01, 2.0), (0.05, 1.0), (0.1, 2.0)];
    let optimizer =
        pick(rng, &[(OptimizerKind::Adam, 6.0), (OptimizerKind::AdamW, 1.0), (OptimizerKind::Momentum, 3.0)]);
    let rates: &[(f64, f64)] = if optimizer == OptimizerKind::Momentum { &plain } else { &scaled };
    let steps = Schedule::Steps(0.5, 0.1);
    Settings {
        optimizer,
        learning_rate: pick(rng, rates),
        schedule: pick(
            rng,
            &[(Schedule::Constant, 5.0), (Schedule::Cosine, 3.0), (steps, 1.0), (Schedule::Warmup(0.1), 1.0)],
        ),
        gradient_clip: chance(rng, 0.3).then_some(1.0),
        weight_decay: pick(rng, &[(0.0, 3.0), (1e-4, 1.0)]),
        dropout: pick(rng, &[(0.0, 4.0), (0.1, 1.0)]),
        activation: pick(rng, &[(Activation::Relu, 4.0), (Activation::Tanh, 1.0)]),
        initializer: pick(
            rng,
            &[(Initializer::Default, 2.0), (Initializer::VarianceScaling, 1.0), (Initializer::Xavier, 1.0)],
        ),
        norm: pick(rng, &[(Norm::None, 4.0), (Norm::Batch, 1.0), (Norm::Layer, 1.0)]),
        depth: pick(rng, &[(1, 1.0), (2, 2.0), (3, 1.0)]),
        width: pick(rng, &[(16, 2.0), (32, 2.0), (48, 1.0)]),
        residual: false,
        loss: if task.family.classes() { LossKind::CrossEntropy } else { LossKind::L2 },
        normalize_inputs: true,
        normalize_targets: true,
        // The number of steps goes with the batch that it was drawn with.
        ..wild
    }
}

fn loss(task: &Task, rng: &mut Rng) -> LossKind {
    if task.family.classes() {
        return pick(rng, &[(LossKind::CrossEntropy, 50.0), (LossKind::L2, 40.0), (LossKind::L1, 10.0)]);
    }
    pick(rng, &[(LossKind::L2, 35.0), (LossKind::L1, 35.0), (LossKind::Huber, 30.0)])
}

/// How long people train: some passes over the data, or a number of steps.
fn steps(task: &Task, batch_size: usize, rng: &mut Rng) -> (usize, Option<usize>) {
    if chance(rng, 0.55) && !task.family.rewards() {
        let in_epoch = (task.examples / batch_size).max(1);
        let common = [
            (3, 3.0),
            (5, 4.0),
            (8, 1.0),
            (10, 6.0),
            (15, 2.0),
            (20, 5.0),
            (30, 3.0),
            (50, 4.0),
            (100, 4.0),
            (200, 1.0),
        ];
        let epochs = pick(rng, &common);
        let epochs = epochs.clamp(STEPS.0.div_ceil(in_epoch), (STEPS.1 / in_epoch).max(1));
        return (epochs * in_epoch, Some(epochs));
    }
    let steps = log_uniform(rng, 250.0, STEPS.1 as f64);
    let digits = 10f64.powf(steps.log10().floor());
    (((steps / digits * 2.0).round() / 2.0 * digits) as usize, None)
}

fn schedule(steps: usize, rng: &mut Rng) -> Schedule {
    match rng.u8(0..100) {
        0..35 => Schedule::Constant,
        35..47 => Schedule::Cosine,
        47..57 => Schedule::Linear,
        57..72 => Schedule::Warmup(pick(rng, &[(0.03, 3.0), (0.1, 4.0), (0.3, 2.0), (4.0, 2.0)])),
        72..84 => {
            Schedule::Steps(pick(rng, &[(0.33, 3.0), (0.5, 2.0), (0.1, 1.0)]), pick(rng, &[(0.1, 3.0), (0.5, 2.0)]))
        }
        // Some decay as their authors meant, some a hundred times too fast.
        _ => {
            let left = pick(rng, &[(0.1, 2.0), (0.01, 2.0), (1e-6, 2.0), (1e-30, 2.0)]);
            Schedule::Exponential(f64::powf(left, 1.0 / steps as f64))
        }
    }
}

/// Mistakes, each with how often it is made; those that a program cannot have are passed over.
fn bugs(task: &Task, settings: &Settings, rng: &mut Rng) -> Vec<Bug> {
    let count = pick(rng, &[(0, 66.0), (1, 29.0), (2, 5.0)]);
    let mut bugs: Vec<Bug> = Vec::new();
    while bugs.len() < count {
        let bug = bug(rng);
        if possible(&bug, task, settings) && bugs.iter().all(|other| other.name() != bug.name()) {
            bugs.push(bug);
        }
    }
    bugs
}

fn bug(rng: &mut Rng) -> Bug {
    match rng.u8(0..100) {
        0..8 => Bug::Broadcast,
        8..17 => Bug::ShuffledLabels,
        17..22 => Bug::ShiftedLabels,
        22..29 => Bug::FrozenPart(pick(rng, &[(0.5, 2.0), (0.8, 2.0), (1.0, 1.0)])),
        29..34 => Bug::WrongSign(rng.bool()),
        34..40 => Bug::NoUpdate,
        40..46 => Bug::DoubleSoftmax,
        46..54 => Bug::FewExamples(pick(rng, &[(2, 1.0), (4, 1.0), (8, 2.0), (16, 2.0), (32, 1.0)])),
        54..59 => Bug::AccumulatedGradients,
        59..64 => Bug::ZeroInputs,
        64..69 => {
            let functions = [(Activation::Relu, 2.0), (Activation::Sigmoid, 2.0), (Activation::Tanh, 1.0)];
            Bug::ClippedOutput(pick(rng, &functions))
        }
        69..74 => Bug::SumLoss,
        74..79 => Bug::SortedData,
        79..83 => Bug::DeadUnits,
        83..86 => Bug::NanExample,
        86..90 => Bug::ValidationMismatch,
        90..93 => Bug::HeavyDropout(pick(rng, &[(0.7, 1.0), (0.9, 1.0)])),
        93..96 => Bug::HeavyDecay(pick(rng, &[(0.1, 1.0), (1.0, 1.0)])),
        _ => Bug::LargeWeights(pick(rng, &[(5.0, 1.0), (20.0, 1.0), (100.0, 0.5)])),
    }
}

fn possible(bug: &Bug, task: &Task, settings: &Settings) -> bool {
    let (classes, rewards) = (task.family.classes(), task.family.rewards());
    match bug {
        Bug::Broadcast => !classes && !rewards && task.outputs == 1 && (2..=32).contains(&settings.batch_size),
        Bug::DoubleSoftmax => classes && settings.loss == crate::trainer::knobs::LossKind::CrossEntropy,
        Bug::ShuffledLabels | Bug::WrongSign(_) | Bug::NoUpdate | Bug::AccumulatedGradients | Bug::ZeroInputs => true,
        Bug::FrozenPart(_) | Bug::LargeWeights(_) | Bug::DeadUnits => settings.depth > 0,
        Bug::HeavyDropout(_) => settings.depth > 0 && !rewards,
        Bug::ClippedOutput(_) => !rewards,
        Bug::ShiftedLabels
        | Bug::FewExamples(_)
        | Bug::SumLoss
        | Bug::SortedData
        | Bug::NanExample
        | Bug::ValidationMismatch
        | Bug::HeavyDecay(_) => !rewards,
    }
}

/// Multiplications of one run, roughly: forward and backward through every weight.
pub(super) fn work(task: &Task, settings: &Settings) -> f64 {
    let (inputs, width) = ((task.inputs * task.length) as f64, settings.width as f64);
    let places = match task.family {
        Family::Recurrent => task.length as f64 * width * (task.inputs as f64 + width),
        Family::Pictures => (SIDE * SIDE / 4) as f64 * 9.0 * width.min(6.0) * 3.0,
        _ => 0.0,
    };
    let first = if settings.depth == 0 { 0.0 } else { inputs * width };
    let weights = first + width * width * settings.depth.saturating_sub(1) as f64 + width * task.outputs as f64;
    let rows = if task.family == Family::Corridor { task.inputs } else { settings.batch_size };
    let step = (3.0 * rows as f64 * (weights + places)).max(LEAST_WORK * (1.0 + settings.depth as f64));
    (settings.steps + task.trained_before.map_or(0, |(steps, _)| steps)) as f64 * step
}
