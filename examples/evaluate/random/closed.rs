//! The closed loop on a random program: its log grows under the core, suggested runs are trained and logged, until there
//! is a verdict. No daemon, no files.
//!
//! Owns: what a suggested change means for a program, and when a verdict is right. Must not know: policies.

use std::collections::BTreeSet;

use nextrun::case::{Body, Message};
use nextrun::diagnosis::{Changes, Diagnosis, Report, Site};
use nextrun::series::Runs;
use serde_json::{Map, Value};

use super::data::TaskData;
use super::fit::{Measure, Setup, train};
use super::labels::{Label, finite};
use super::looks::LOOKS;
use super::program::{Bug, Norm, Program, Schedule};
use super::record::{Log, Record};
use super::style;
use crate::lab::PATIENCE;
use crate::trainer::knobs::{Activation, LossKind};

/// A case that is not closed after so many rounds will never be.
const ROUNDS: usize = 60;

/// What became of one program.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Outcome {
    /// Whether a case was opened.
    pub(crate) opened: bool,
    /// The verdict.
    pub(crate) verdict: Option<String>,
    /// How sure it is.
    pub(crate) confidence: f64,
    /// What the policy believed of the cause that it names, before it was weighed.
    pub(crate) believed: f64,
    /// The tests that ran, each with its outcome.
    pub(crate) tests: Vec<String>,
    /// Experiments that were trained.
    pub(crate) experiments: usize,
    /// Their optimizer steps, as multiples of the program's own.
    pub(crate) cost: f64,
    /// The excess with the settings that were recommended; none where none were, or where there is nothing to learn.
    pub(crate) recommended: Option<f64>,
}

/// A program whose settings were changed; what has no such knob is named.
pub(super) fn changed(program: &Program, overrides: &Map<String, Value>) -> Result<(Program, u64), BTreeSet<String>> {
    let mut program = program.clone();
    let (mut unknown, mut seed) = (BTreeSet::new(), 0);
    let mut steps = None;
    for (knob, value) in overrides {
        let known = match knob.as_str() {
            "max_steps" => value.as_f64().map(|wanted| steps = Some((wanted as usize).max(1))),
            "seed" => value.as_u64().map(|wanted| seed = wanted),
            "train_examples" => {
                program.bugs.retain(|bug| !matches!(bug, Bug::FewExamples(_)));
                program.bugs.extend(value.as_f64().map(|count| Bug::FewExamples((count as usize).max(1))));
                Some(())
            }
            _ => set(&mut program, knob, value),
        };
        if known.is_none() {
            unknown.insert(knob.clone());
        }
    }
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let examples = program.bugs.iter().find_map(|bug| match bug {
        Bug::FewExamples(count) => Some(*count),
        _ => None,
    });
    let examples = examples.unwrap_or(program.task.examples).min(program.task.examples);
    let settings = &mut program.settings;
    settings.steps = steps.unwrap_or(settings.steps);
    if settings.epochs.is_some() {
        settings.epochs = Some((settings.steps / (examples / settings.batch_size).max(1)).max(1));
    }
    Ok((program, seed))
}

/// Sets one knob; none if the program has no such knob, or the knob no such value.
fn set(program: &mut Program, knob: &str, value: &Value) -> Option<()> {
    let settings = &mut program.settings;
    match knob {
        "learning_rate" => settings.learning_rate = value.as_f64()?,
        "lr_decay" => {
            let factor = value.as_f64()?;
            settings.schedule = if factor == 1.0 { Schedule::Constant } else { Schedule::Exponential(factor) };
        }
        "batch_size" => settings.batch_size = (value.as_f64()? as usize).clamp(1, program.task.examples),
        "batch_norm" => settings.norm = if value.as_bool()? { Norm::Batch } else { Norm::None },
        "initializer" => settings.initializer = serde_json::from_value(value.clone()).ok()?,
        "optimizer" => settings.optimizer = serde_json::from_value(value.clone()).ok()?,
        "activation" => settings.activation = serde_json::from_value(value.clone()).ok()?,
        "output_activation" => {
            let wanted: Activation = serde_json::from_value(value.clone()).ok()?;
            program.bugs.retain(|bug| !matches!(bug, Bug::ClippedOutput(_)));
            if wanted != Activation::None {
                program.bugs.push(Bug::ClippedOutput(wanted));
            }
        }
        "loss" => {
            let wanted: LossKind = serde_json::from_value(value.clone()).ok()?;
            let rewards = program.task.family.rewards();
            // A class has no distance, a number no class.
            let fits = program.task.family.classes() || wanted != LossKind::CrossEntropy;
            settings.loss = Some(wanted).filter(|wanted| fits && !rewards && *wanted != LossKind::Custom)?;
        }
        "gradient_clip" => settings.gradient_clip = value.as_f64(),
        "normalize_inputs" => settings.normalize_inputs = value.as_bool()?,
        _ => return None,
    }
    Some(())
}

/// Everything that watches one program, and its clock.
struct Desk<'a> {
    record: &'a Record,
    data: TaskData,
    runs: Runs,
    diagnosis: Diagnosis,
    now: f64,
    outcome: Outcome,
    suggested: Vec<Message>,
    recommended: Option<Map<String, Value>>,
}

fn train_on(data: &TaskData, program: &Program, seed: u64) -> super::fit::Trace {
    let (settings, bugs) = (program.settings.clone(), program.bugs.clone());
    let setup = Setup { task: &program.task, data, settings, bugs };
    train(&setup, Measure { seed, validations: program.style.measured(), steps: true })
}

/// Trains a changed program at the seed of its record.
pub(super) fn train_changed(record: &Record, program: &Program) -> super::fit::Trace {
    train_on(&TaskData::new(&record.program.task, record.program.seed), program, record.program.seed)
}

/// Runs the loop on a program.
pub(crate) fn investigate(record: &Record, site: &Site) -> Outcome {
    let mut desk = Desk {
        record,
        data: TaskData::new(&record.program.task, record.program.seed),
        runs: Runs::new(),
        diagnosis: Diagnosis::new(site.clone(), []),
        now: 0.0,
        outcome: Outcome::default(),
        suggested: Vec::new(),
        recommended: None,
    };
    let (log, mut from) = (record.log(), 0.0);
    for look in 1..=LOOKS {
        let share = look as f64 / LOOKS as f64;
        log.grow(&mut desk.runs, &mut from, share);
        desk.now = log.time_at(share);
        desk.look();
    }
    desk.wait();
    for _ in 0..ROUNDS {
        if !desk.outcome.opened || desk.outcome.verdict.is_some() {
            break;
        }
        match desk.suggested.pop() {
            Some(message) => desk.carry_out(&message),
            None => desk.wait(),
        }
    }
    desk.judge_recommendation();
    desk.outcome
}

impl Desk<'_> {
    fn look(&mut self) {
        let changes = self.diagnosis.tick(&self.runs, self.now);
        self.take(changes);
    }

    /// Lets so much time pass that whatever is silent has ended.
    fn wait(&mut self) {
        self.now += PATIENCE + 1.0;
        self.look();
    }

    fn take(&mut self, changes: Changes) {
        let weighed = changes.journal.iter().filter(|(_, entry)| entry.kind == "weighed");
        for believed in weighed.filter_map(|(_, entry)| entry.detail["believed"].as_f64()) {
            self.outcome.believed = believed;
        }
        for message in changes.messages {
            match &message.body {
                Body::CaseOpened(_) => self.outcome.opened = true,
                Body::RunSuggested(_) => self.suggested.push(message),
                Body::CaseClosed(closed) if self.outcome.verdict.is_none() => {
                    self.outcome.verdict = Some(closed.verdict.clone());
                    self.outcome.confidence = closed.confidence;
                    let test = |made: &nextrun::case::Tried| {
                        format!("{} {}", made.state, made.outcome.as_deref().unwrap_or("-"))
                    };
                    self.outcome.tests = closed.experiments.iter().map(test).collect();
                    let recommended = closed.recommended.as_ref();
                    self.recommended =
                        recommended.map(|recommended| recommended.overrides.clone().into_iter().collect());
                }
                _ => {}
            }
        }
    }

    fn train(&self, program: &Program, seed: u64) -> super::fit::Trace {
        train_on(&self.data, program, self.record.program.seed + seed)
    }

    /// Trains a suggested run into its place and looks at it.
    fn carry_out(&mut self, message: &Message) {
        let Body::RunSuggested(wanted) = &message.body else { return };
        let overrides: Map<String, Value> = wanted.overrides.clone().into_iter().collect();
        let own = &self.record.program;
        let (program, seed) = match changed(own, &overrides) {
            Ok(changed) => changed,
            Err(unknown_knobs) => {
                let report = Report::Refused { suggestion: message.id.clone(), unknown_knobs };
                let changes = self.diagnosis.report(&report, self.now);
                return self.take(changes);
            }
        };
        let trace = self.train(&program, seed);
        self.outcome.experiments += 1;
        self.outcome.cost += program.settings.steps as f64 / own.settings.steps as f64;
        let log = Log {
            name: wanted.run_name.clone(),
            begin: self.now,
            steps: program.settings.steps,
            seconds: program.style.seconds,
            runs: style::logged(&program, &trace).into(),
        };
        log.grow(&mut self.runs, &mut 0.0, 1.0);
        self.now = log.time_at(1.0);
        self.look();
        self.wait();
    }

    /// Trains what was recommended.
    fn judge_recommendation(&mut self) {
        let Some(overrides) = self.recommended.take().filter(|overrides| !overrides.is_empty()) else { return };
        if self.record.label.excess.is_none() {
            return;
        }
        if let Ok((program, seed)) = changed(&self.record.program, &overrides) {
            let end = self.train(&program, seed).end();
            self.outcome.recommended = Some(self.record.reached.excess(finite(end)));
        }
    }
}

/// Changes that a verdict stands for: if one of them cures, it is right. Adam at its usual rate changes the size of steps, as
/// clipping does; a bound on the output is a fault of the architecture.
const MEANT: [(&str, &[&str]); 12] = [
    ("learning_rate_too_high", &["learning_rate/10", "learning_rate/100", "optimizer=adam"]),
    ("learning_rate_too_low", &["learning_rate*10", "learning_rate*100", "optimizer=adam", "gradient_clip=null"]),
    ("learning_rate_decays_too_fast", &["lr_decay=1"]),
    ("batch_norm_hides_exploding_gradients", &["batch_norm=false", "initializer=variance_scaling"]),
    ("bad_initialization", &["initializer=variance_scaling", "undo:large_weights", "undo:dead_units"]),
    ("vanishing_gradients", &["activation=relu", "batch_norm=true", "initializer=variance_scaling", "undo:dead_units"]),
    ("batch_too_small", &["batch_size*4"]),
    ("batch_too_large", &["batch_size/4"]),
    ("weights_do_not_change", &["undo:no_update", "undo:frozen_part"]),
    (
        "loss_function",
        &[
            "loss=l1",
            "loss=l2",
            "loss=cross_entropy",
            "undo:double_softmax",
            "undo:wrong_sign",
            "undo:sum_loss",
            "undo:broadcast",
            "undo:clipped_output",
        ],
    ),
    ("input_scaling", &["normalize_inputs=true"]),
    (
        "data_pipeline",
        &[
            "undo:shuffled_labels",
            "undo:shifted_labels",
            "undo:zero_inputs",
            "undo:nan_example",
            "undo:few_examples",
            "undo:sorted_data",
            "undo:validation_mismatch",
            "undo:broadcast",
            "normalize_targets=true",
        ],
    ),
];

/// Whether a verdict names what cures a failing program.
pub(crate) fn right(outcome: &Outcome, label: &Label) -> bool {
    let Some(verdict) = outcome.verdict.as_deref() else { return false };
    let cures = |name: &str| label.cures.iter().any(|cure| cure.iter().any(|change| change == name));
    match verdict {
        "overfitting" => label.overfitting || cures("weight_decay=0.01") || cures("max_steps/4"),
        "too_few_steps" => cures("max_steps*3"),
        "inconclusive" => label.cures.is_empty(),
        "cannot_fit_one_point" => {
            let meant = ["undo:zero_inputs", "undo:dead_units", "undo:frozen_part", "undo:clipped_output", "width*2"];
            meant.map(cures).contains(&true)
        }
        _ => MEANT.iter().any(|(name, changes)| *name == verdict && changes.iter().any(|change| cures(change))),
    }
}
