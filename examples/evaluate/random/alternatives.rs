//! Trains the alternatives of a program: other settings, bugs undone, more steps, ordinary settings, settings that are good.
//!
//! Owns: which alternatives there are, and which of them are worth a run. Must not know: what a program is called by what
//! they reach.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::data::TaskData;
use super::draw;
use super::fit::{Measure, Setup, Trace, Validation, train};
use super::labels::{HEALTHY, MORE, Reached, WATCHED, finite};
use super::program::{Bug, Norm, Program, Schedule, Settings};
use super::rewards;
use crate::trainer::knobs::{Activation, Initializer, LossKind, OptimizerKind};
use crate::trainer::matrix::Matrix;

/// The changes, each with those of the labels that it stands for. A colon stands before a direction, an equals sign before a
/// value; `fault:` is what no setting can change.
pub(crate) const CHANGES: [(&str, &[&str]); 24] = [
    ("learning_rate:lower", &["learning_rate/10", "learning_rate/100"]),
    ("learning_rate:higher", &["learning_rate*10", "learning_rate*100"]),
    ("lr_decay=1", &["lr_decay=1"]),
    ("batch_size:higher", &["batch_size*4"]),
    ("batch_size:lower", &["batch_size/4"]),
    ("batch_norm=false", &["batch_norm=false"]),
    ("batch_norm=true", &["batch_norm=true"]),
    ("initializer=variance_scaling", &["initializer=variance_scaling"]),
    ("activation=relu", &["activation=relu"]),
    ("optimizer=adam", &["optimizer=adam"]),
    ("gradient_clip=1", &["gradient_clip=1"]),
    ("gradient_clip=null", &["gradient_clip=null"]),
    ("dropout=0", &["dropout=0"]),
    ("weight_decay=0", &["weight_decay=0"]),
    ("weight_decay:higher", &["weight_decay=0.01"]),
    ("max_steps:higher", &["max_steps*3"]),
    ("max_steps:lower", &["max_steps/4"]),
    ("loss=l2", &["loss=l2"]),
    ("loss=l1", &["loss=l1"]),
    ("loss=cross_entropy", &["loss=cross_entropy"]),
    ("normalize_inputs=true", &["normalize_inputs=true"]),
    (
        "fault:data",
        &[
            "undo:shuffled_labels",
            "undo:zero_inputs",
            "undo:few_examples",
            "undo:validation_mismatch",
            "normalize_targets=true",
        ],
    ),
    ("fault:updates", &["undo:no_update", "undo:frozen_part", "undo:dead_units", "undo:large_weights"]),
    ("fault:loss", &["undo:double_softmax", "undo:wrong_sign", "undo:sum_loss", "undo:broadcast"]),
];

/// The labels that a change stands for.
pub(crate) fn labels_of(change: &str) -> &'static [&'static str] {
    CHANGES.iter().find(|(name, _)| *name == change).map_or(&[], |(_, labels)| *labels)
}

/// Half the width of what counts as near a boundary, where three seeds decide.
const NEAR: f64 = 0.08;
/// A change whose excess is above this at the first seed is not tried with others.
const HOPEFUL: f64 = 0.35;
/// Ordinary settings that a program is compared with.
const ORDINARY: usize = 8;
/// Validations of an alternative.
const VALIDATIONS: usize = 8;
/// Pairs are made of the best so many single changes.
const PAIRED: usize = 4;
/// Seeds that decide.
const SEEDS: u64 = 3;

/// A change to a program, by its name.
struct Change {
    name: String,
    settings: Settings,
    bugs: Vec<Bug>,
}

/// Finds out what can be reached. `trace` is the program's own run at its own seed.
pub(super) fn reached(program: &Program, data: &TaskData, trace: &Trace) -> Reached {
    let mut trials = Trials::new(program, data, trace);
    trials.train(trace);
    trials.reached
}

struct Trials<'a> {
    program: &'a Program,
    data: &'a TaskData,
    reached: Reached,
}

impl<'a> Trials<'a> {
    fn new(program: &'a Program, data: &'a TaskData, trace: &Trace) -> Trials<'a> {
        let constant = if program.task.family.rewards() {
            let setup = Setup { task: &program.task, data, settings: program.settings.clone(), bugs: Vec::new() };
            let (rows, width) = match program.task.family {
                super::program::Family::Corridor => (program.task.inputs, program.task.outputs),
                _ => (data.validation.x.rows, program.task.outputs),
            };
            -rewards::expected(&setup, &Matrix::from_values(width, vec![1.0 / width as f32; rows * width]))
        } else {
            data.constant(program.task.family.classes())
        };
        let own = |of: fn(&Validation) -> f64| trace.validations.iter().map(|v| finite(of(v))).collect();
        let reached = Reached {
            signal: program.task.signal,
            scale: if program.task.family.rewards() { 1.0 } else { constant },
            constant,
            best: trace.best().min(constant),
            validations: own(|validation| validation.truth),
            losses: own(|validation| f64::from(validation.loss)),
            ends: vec![finite(trace.end())],
            ordinary: Vec::new(),
            changes: BTreeMap::new(),
            pairs: Vec::new(),
            steps_trained: 0,
        };
        Trials { program, data, reached }
    }

    fn run(&mut self, settings: Settings, bugs: Vec<Bug>, seed: u64) -> Trace {
        self.reached.steps_trained += settings.steps;
        let setup = Setup { task: &self.program.task, data: self.data, settings, bugs };
        let trace = train(&setup, Measure { seed: self.program.seed + seed, validations: VALIDATIONS, steps: false });
        self.reached.best = self.reached.best.min(trace.best());
        trace
    }

    fn excess(&self, end: f64) -> f64 {
        self.reached.excess(finite(end))
    }

    fn train(&mut self, trace: &Trace) {
        self.reach();
        if !self.reached.has_signal() {
            return;
        }
        self.own(trace);
        if self.reached.own_excess() >= HEALTHY {
            let changes = changes(self.program);
            let tried = self.singles(&changes);
            self.ordinary();
            self.cures(&changes, &tried);
        }
    }

    /// The program's own ends: with three seeds where that may decide.
    fn own(&mut self, trace: &Trace) {
        let first = self.excess(trace.end());
        if WATCHED.iter().any(|bound| (first - bound).abs() < NEAR) {
            for seed in 1..SEEDS {
                let end = self.run(self.program.settings.clone(), self.program.bugs.clone(), seed).end();
                self.reached.ends.push(finite(end));
            }
        }
    }

    /// Trains good settings, so that it is known what can be reached: some that suit most tasks, the best of them with
    /// more steps too.
    fn reach(&mut self) {
        let own = &self.program.settings;
        let good = |learning_rate: f64, batch_size: usize| Settings {
            batch_size: batch_size.min(self.program.task.examples),
            optimizer: OptimizerKind::Adam,
            learning_rate,
            schedule: Schedule::Cosine,
            gradient_clip: Some(1.0),
            weight_decay: 0.0,
            dropout: 0.0,
            activation: Activation::Relu,
            initializer: Initializer::VarianceScaling,
            norm: Norm::None,
            depth: 2,
            width: 16,
            residual: false,
            loss: if self.program.task.family.classes() { LossKind::CrossEntropy } else { LossKind::L2 },
            normalize_inputs: true,
            normalize_targets: true,
            ..own.clone()
        };
        let mut all = vec![good(3e-3, 32), good(2e-2, 32), Settings { weight_decay: 3e-3, ..good(1e-2, 16) }];
        if own.depth > 0 {
            // The program's own network, trained well.
            let (activation, depth, width) = (own.activation, own.depth.min(3), own.width);
            all.push(Settings { activation, depth, width, norm: own.norm, ..good(5e-3, 32) });
        }
        let ends: Vec<(f64, Settings)> =
            all.into_iter().map(|settings| (self.run(settings.clone(), Vec::new(), 0).best(), settings)).collect();
        if let Some((_, best)) = ends.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)) {
            self.run(Settings { steps: MORE * best.steps, ..best }, Vec::new(), 0);
        }
    }

    /// What ordinary settings get on this task in as many steps.
    fn ordinary(&mut self) {
        let mut rng = Rng::with_seed(self.program.seed ^ 0x0bd1_a2e5);
        let own = &self.program.settings;
        let length = Some((own.steps, own.epochs));
        let drawn: Vec<Settings> = (0..ORDINARY)
            .map(|_| {
                let mut settings = draw::ordinary(&self.program.task, length, &mut rng);
                let most = 3.0 * draw::work(&self.program.task, own);
                // As costly as the program, or cheaper: it is the settings that are compared.
                while draw::work(&self.program.task, &settings) > most && settings.width > 8 {
                    settings.width /= 2;
                }
                settings
            })
            .collect();
        for settings in drawn {
            let end = self.run(settings, Vec::new(), 0).end();
            self.reached.ordinary.push(finite(end));
        }
    }

    /// Every single change, and what counts at its end.
    fn singles(&mut self, changes: &[Change]) -> Vec<f64> {
        changes.iter().map(|change| self.run(change.settings.clone(), change.bugs.clone(), 0).end()).collect()
    }

    /// The ends of single changes, with more seeds where they are hopeful; pairs where no single one cures.
    fn cures(&mut self, changes: &[Change], tried: &[f64]) {
        for (change, end) in changes.iter().zip(tried) {
            let ends = self.more_seeds(change, *end);
            self.reached.changes.insert(change.name.clone(), ends);
        }
        if self.reached.changes.values().any(|ends| self.reached.cured(ends)) {
            return;
        }
        let mut order: Vec<usize> = (0..changes.len()).collect();
        order.sort_by(|a, b| tried[*a].total_cmp(&tried[*b]));
        order.truncate(PAIRED);
        for (at, first) in order.iter().enumerate() {
            for second in &order[at + 1..] {
                let Some(pair) = both(self.program, &changes[*first], &changes[*second]) else { continue };
                let end = self.run(pair.settings.clone(), pair.bugs.clone(), 0).end();
                let ends = self.more_seeds(&pair, end);
                self.reached.pairs.push(([changes[*first].name.clone(), changes[*second].name.clone()], ends));
            }
        }
    }

    /// The ends of a change at as many seeds as it takes to tell whether it cures.
    fn more_seeds(&mut self, change: &Change, end: f64) -> Vec<Option<f64>> {
        let mut ends = vec![finite(end)];
        if self.excess(end) > HOPEFUL {
            return ends;
        }
        for seed in 1..SEEDS {
            let cured = ends.iter().filter(|end| self.reached.excess(**end) < HEALTHY).count() as u64;
            let undecided = cured == seed || cured == 1;
            if cured < 2 && undecided {
                let end = self.run(change.settings.clone(), change.bugs.clone(), seed).end();
                ends.push(finite(end));
            }
        }
        ends
    }
}

/// Every knob that a policy may change, changed; and every bug undone.
fn changes(program: &Program) -> Vec<Change> {
    let (own, bugs, rewards) = (&program.settings, &program.bugs, program.task.family.rewards());
    let mut changes = Vec::new();
    let mut add = |name: &str, settings: Settings| {
        if settings != *own {
            changes.push(Change { name: name.to_owned(), settings, bugs: bugs.clone() });
        }
    };
    for (name, factor) in [("/10", 0.1), ("/100", 0.01), ("*10", 10.0), ("*100", 100.0)] {
        let learning_rate = own.learning_rate * factor;
        add(&format!("learning_rate{name}"), Settings { learning_rate, ..own.clone() });
    }
    add("lr_decay=1", Settings { schedule: Schedule::Constant, ..own.clone() });
    let most = program.task.examples;
    add(
        "batch_size*4",
        Settings { batch_size: (4 * own.batch_size).min(most).min(128.max(own.batch_size)), ..own.clone() },
    );
    add("batch_size/4", Settings { batch_size: (own.batch_size / 4).max(1), ..own.clone() });
    let norm = if own.norm == Norm::Batch { Norm::None } else { Norm::Batch };
    let value = own.norm != Norm::Batch;
    add(
        &format!("batch_norm={value}"),
        Settings { norm, batch_size: if value { own.batch_size.max(2) } else { own.batch_size }, ..own.clone() },
    );
    add("initializer=variance_scaling", Settings { initializer: Initializer::VarianceScaling, ..own.clone() });
    add("activation=relu", Settings { activation: Activation::Relu, ..own.clone() });
    add("optimizer=adam", Settings { optimizer: OptimizerKind::Adam, learning_rate: 1e-3, ..own.clone() });
    add("gradient_clip=1", Settings { gradient_clip: Some(1.0), ..own.clone() });
    add("gradient_clip=null", Settings { gradient_clip: None, ..own.clone() });
    add("dropout=0", Settings { dropout: 0.0, ..own.clone() });
    add("weight_decay=0", Settings { weight_decay: 0.0, ..own.clone() });
    add("weight_decay=0.01", Settings { weight_decay: 0.01, ..own.clone() });
    add("width*2", Settings { width: (2 * own.width).min(64), ..own.clone() });
    add(&format!("max_steps*{MORE}"), Settings { steps: MORE * own.steps, ..own.clone() });
    add("max_steps/4", Settings { steps: (own.steps / 4).max(8), ..own.clone() });
    if !rewards {
        let loss = if program.task.family.classes() { LossKind::CrossEntropy } else { LossKind::L2 };
        add(
            if program.task.family.classes() { "loss=cross_entropy" } else { "loss=l2" },
            Settings { loss, ..own.clone() },
        );
        if !program.task.family.classes() {
            add("loss=l1", Settings { loss: LossKind::L1, ..own.clone() });
            if program.task.target_scale != (1.0, 0.0) {
                add("normalize_targets=true", Settings { normalize_targets: true, ..own.clone() });
            }
        }
        add("normalize_inputs=true", Settings { normalize_inputs: true, ..own.clone() });
    }
    for bug in bugs {
        let left = bugs.iter().filter(|other| *other != bug).copied().collect();
        changes.push(Change { name: format!("undo:{}", bug.name()), settings: own.clone(), bugs: left });
    }
    changes
}

/// Two changes at once; none where both change the same thing.
fn both(program: &Program, first: &Change, second: &Change) -> Option<Change> {
    let as_map = |settings: &Settings| match serde_json::to_value(settings) {
        Ok(serde_json::Value::Object(map)) => map,
        other => unreachable!("a struct of plain fields is an object: {other:?}"),
    };
    let (own, mut map, other) = (as_map(&program.settings), as_map(&first.settings), as_map(&second.settings));
    for (key, value) in other {
        if value == own[&key] {
            continue;
        }
        if map[&key] != own[&key] {
            return None;
        }
        map.insert(key, value);
    }
    let bugs = first.bugs.iter().filter(|bug| second.bugs.contains(bug)).copied().collect();
    let settings = serde_json::from_value(map.into()).ok()?;
    Some(Change { name: format!("{}, {}", first.name, second.name), settings, bugs })
}
