//! Labels by training the alternatives: does a program fail, and which single change would cure it?
//!
//! Owns: the alternatives, and what follows from them. Must not know: what was logged.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::data::TaskData;
use super::draw;
use super::fit::{Measure, Setup, Trace, train};
use super::program::{Bug, Norm, Program, Schedule, Settings};
use super::rewards;
use crate::trainer::knobs::{Activation, Initializer, LossKind, OptimizerKind};
use crate::trainer::matrix::Matrix;

/// What a program is, by what its alternatives reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    /// It gets less than half of what can be got and is worse than ordinary settings, or loses what it had, or is not finite.
    Failing,
    /// It gets at least four fifths of what can be got.
    Healthy,
    /// Between: not as good as it could be, but no worse than others.
    Grey,
    /// There is nothing to be learned from these data.
    NoSignal,
}

impl Class {
    /// Its name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Class::Failing => "failing",
            Class::Healthy => "healthy",
            Class::Grey => "grey",
            Class::NoSignal => "without signal",
        }
    }
}

/// The label of a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Label {
    /// What it is.
    pub(crate) class: Class,
    /// (validation loss at the end - best reachable) / (best constant - best reachable), at most [`MOST_EXCESS`]; none
    /// where there is no signal.
    pub(crate) excess: Option<f64>,
    /// What the best constant gets, or a random policy: a squared error of standardised targets, a cross entropy, or minus a
    /// reward.
    pub(crate) constant: f64,
    /// The best that any run reached, in the same unit.
    pub(crate) best: f64,
    /// The share of its own best gain that validation has lost by the end, where it had gained anything.
    pub(crate) lost: f64,
    /// Whether the loss that counts is finite at the end.
    pub(crate) finite: bool,
    /// Whether it failed by losing what it had gained.
    pub(crate) overfitting: bool,
    /// The share of ordinary settings for this task that are better; none where that was not asked.
    pub(crate) ordinary_better: Option<f64>,
    /// Single changes that cure, or pairs where no single one does.
    pub(crate) cures: Vec<Vec<String>>,
    /// Whether only more steps cure.
    pub(crate) too_few_steps: bool,
    /// The excess with each single change, at the program's own seed.
    pub(crate) tried: BTreeMap<String, f64>,
    /// Optimizer steps that were trained for this label.
    pub(crate) steps_trained: usize,
}

/// An excess is cut off here.
const MOST_EXCESS: f64 = 3.0;
/// Below this excess a program is healthy, and a change cures.
pub(super) const HEALTHY: f64 = 0.2;
/// Above this excess it may be failing.
const FAILING: f64 = 0.5;
/// Half the width of what counts as near a boundary, where three seeds decide.
const NEAR: f64 = 0.08;
/// A change whose excess is above this at the first seed is not tried with others.
const HOPEFUL: f64 = 0.35;
/// Where the best that is reached gains less than this share of the best constant's loss, there is no signal.
const LEAST_GAIN: f64 = 0.04;
/// Share of the own best gain that may be lost.
const LOST: f64 = 0.5;
/// Ordinary settings that a program is compared with, and how many of them may be worse than one that is failing.
const ORDINARY: usize = 8;
const WORSE: usize = 1;
/// Validations of an alternative.
const VALIDATIONS: usize = 8;
/// Pairs are made of the best so many single changes.
const PAIRED: usize = 4;
/// More steps are so many times as many.
const MORE: usize = 3;

/// A change to a program, by its name.
struct Change {
    name: String,
    settings: Settings,
    bugs: Vec<Bug>,
}

/// Finds out what a program is. `trace` is its own run at its own seed.
pub(super) fn label(program: &Program, data: &TaskData, trace: &Trace) -> Label {
    let mut judge = Judge::new(program, data, trace);
    judge.label(trace)
}

struct Judge<'a> {
    program: &'a Program,
    data: &'a TaskData,
    /// What the best constant gets, or a random policy.
    constant: f64,
    /// The best that any run reached.
    best: f64,
    steps: usize,
}

impl<'a> Judge<'a> {
    fn new(program: &'a Program, data: &'a TaskData, trace: &Trace) -> Judge<'a> {
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
        Judge { program, data, constant, best: trace.best().min(constant), steps: 0 }
    }

    fn run(&mut self, settings: Settings, bugs: Vec<Bug>, seed: u64) -> Trace {
        self.steps += settings.steps;
        let setup = Setup { task: &self.program.task, data: self.data, settings, bugs };
        let trace = train(&setup, Measure { seed: self.program.seed + seed, validations: VALIDATIONS, steps: false });
        self.best = self.best.min(trace.best());
        trace
    }

    fn excess(&self, truth: f64) -> f64 {
        let gain = (self.constant - self.best).max(1e-12);
        ((truth - self.best) / gain).min(MOST_EXCESS)
    }

    fn label(&mut self, trace: &Trace) -> Label {
        self.reach();
        let finite = trace.end().is_finite();
        let mut label = Label {
            class: Class::NoSignal,
            excess: None,
            constant: self.constant,
            best: self.best,
            lost: 0.0,
            finite,
            overfitting: false,
            ordinary_better: None,
            cures: Vec::new(),
            too_few_steps: false,
            tried: BTreeMap::new(),
            steps_trained: 0,
        };
        let scale = if self.program.task.family.rewards() { 1.0 } else { self.constant };
        if !self.program.task.signal || self.constant - self.best < LEAST_GAIN * scale {
            label.class = if finite { Class::NoSignal } else { Class::Failing };
            (label.steps_trained, label.best) = (self.steps, self.best);
            return label;
        }
        let ends = self.ends(trace);
        let mut excess = median(ends.iter().map(|end| self.excess(*end)).collect());
        if excess >= HEALTHY || !finite {
            let (changes, tried) = self.singles();
            // What is reachable may have become better: everything is measured against the best of all.
            let ordinary = self.ordinary();
            excess = median(ends.iter().map(|end| self.excess(*end)).collect());
            let worse = ordinary.iter().filter(|other| **other > median(ends.clone())).count();
            label.ordinary_better = Some(1.0 - worse as f64 / ordinary.len() as f64);
            label.lost = self.lost(trace);
            label.overfitting = finite && label.lost > LOST && excess > HEALTHY;
            let bad = excess > FAILING && worse <= WORSE;
            label.class = match excess {
                _ if !finite || bad || label.overfitting => Class::Failing,
                e if e < HEALTHY => Class::Healthy,
                _ => Class::Grey,
            };
            label.tried = changes.iter().zip(&tried).map(|(c, end)| (c.name.clone(), self.excess(*end))).collect();
            label.cures = self.cures(&changes, &tried);
            label.too_few_steps = label.cures.len() == 1 && label.cures[0] == [format!("max_steps*{MORE}")];
        } else {
            label.class = Class::Healthy;
        }
        label.excess = Some(excess);
        (label.steps_trained, label.best) = (self.steps, self.best);
        label
    }

    /// The program's own ends: with three seeds where that may decide.
    fn ends(&mut self, trace: &Trace) -> Vec<f64> {
        let first = self.excess(trace.end());
        let near = |bound: f64| (first - bound).abs() < NEAR;
        let mut ends = vec![trace.end()];
        if near(HEALTHY) || near(FAILING) {
            for seed in 1..3 {
                ends.push(self.run(self.program.settings.clone(), self.program.bugs.clone(), seed).end());
            }
        }
        ends
    }

    /// The share of the own best gain that is lost by the end.
    fn lost(&self, trace: &Trace) -> f64 {
        let start = trace.validations.first().map_or(f64::INFINITY, |first| first.truth).min(self.constant);
        let gained = self.constant - trace.best().min(start);
        // A gain that is small against what can be got is chance.
        if gained < 0.3 * (self.constant - self.best) {
            0.0
        } else {
            ((trace.end() - trace.best()) / gained).min(MOST_EXCESS)
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
    fn ordinary(&mut self) -> Vec<f64> {
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
        drawn.into_iter().map(|settings| self.run(settings, Vec::new(), 0).end()).collect()
    }

    /// Every single change, and what counts at its end.
    fn singles(&mut self) -> (Vec<Change>, Vec<f64>) {
        let changes = changes(self.program);
        let ends =
            changes.iter().map(|change| self.run(change.settings.clone(), change.bugs.clone(), 0).end()).collect();
        (changes, ends)
    }

    /// The changes that cure at two of three seeds; pairs where no single one does.
    fn cures(&mut self, changes: &[Change], tried: &[f64]) -> Vec<Vec<String>> {
        let mut cures = Vec::new();
        for (change, end) in changes.iter().zip(tried) {
            if self.cured(change, *end) {
                cures.push(vec![change.name.clone()]);
            }
        }
        if !cures.is_empty() {
            return cures;
        }
        let mut order: Vec<usize> = (0..changes.len()).collect();
        order.sort_by(|a, b| tried[*a].total_cmp(&tried[*b]));
        order.truncate(PAIRED);
        for (at, first) in order.iter().enumerate() {
            for second in &order[at + 1..] {
                let Some(pair) = both(self.program, &changes[*first], &changes[*second]) else { continue };
                let end = self.run(pair.settings.clone(), pair.bugs.clone(), 0).end();
                if self.cured(&pair, end) {
                    cures.push(vec![changes[*first].name.clone(), changes[*second].name.clone()]);
                }
            }
        }
        cures
    }

    fn cured(&mut self, change: &Change, end: f64) -> bool {
        if self.excess(end) > HOPEFUL {
            return false;
        }
        let mut cured = usize::from(self.excess(end) < HEALTHY);
        for seed in 1..3 {
            let undecided = cured == seed as usize - 1 || cured == 1;
            if cured < 2 && undecided {
                let end = self.run(change.settings.clone(), change.bugs.clone(), seed).end();
                cured += usize::from(self.excess(end) < HEALTHY);
            }
        }
        cured >= 2
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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
