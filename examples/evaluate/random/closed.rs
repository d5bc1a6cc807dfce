//! The closed loop on a random program: suggested runs are trained until there is a verdict.
//!
//! Owns: what a suggested change means for a program, and when a verdict is right. Must not know: policies.

use std::collections::BTreeSet;

use nextrun::case::Tried;
use nextrun::diagnosis::Site;
use nextrun::facts::Knobs;
use serde_json::{Map, Value};

use super::desk::Desk;
use super::labels::{Label, finite};
use super::program::{Bug, Norm, Program, Schedule};
use super::record::Record;
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
    /// The cause that the policy found, and what it believed of it before that was weighed.
    pub(crate) weighed: Option<(String, f64)>,
    /// The tests that ran, each with its outcome and what was seen.
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

/// Runs the loop on a program.
pub(crate) fn investigate(record: &Record, site: &Site) -> Outcome {
    let mut desk = Desk::new(record, site);
    desk.watch(|_| true);
    for _ in 0..ROUNDS {
        if !desk.told || desk.closed.is_some() {
            break;
        }
        match desk.owed.pop() {
            Some(message) => desk.carry_out(&message),
            None => desk.wait(),
        }
    }
    let (opened, weighed, experiments, cost) = (desk.told, desk.weighed.take(), desk.trained, desk.cost);
    let mut outcome = Outcome { opened, weighed, experiments, cost, ..Outcome::default() };
    let Some(end) = desk.closed.take() else { return outcome };
    let test = |made: &Tried| {
        let (outcome, seen) = (made.outcome.as_deref().unwrap_or("-"), made.seen.as_deref().unwrap_or("nothing"));
        format!("{} {outcome} ({seen})", made.state)
    };
    outcome.tests = end.experiments.iter().map(test).collect();
    (outcome.verdict, outcome.confidence) = (Some(end.verdict), end.confidence);
    outcome.recommended = end.recommended.and_then(|recommended| reached(&desk, record, &recommended.overrides));
    outcome
}

/// The excess of a program with recommended settings; none without any, or where there is nothing to learn.
fn reached(desk: &Desk<'_>, record: &Record, recommended: &Knobs) -> Option<f64> {
    record.label.excess?;
    let overrides: Map<String, Value> = recommended.clone().into_iter().collect();
    let (program, seed) = changed(&record.program, &overrides).ok().filter(|_| !overrides.is_empty())?;
    Some(record.reached.excess(finite(desk.train(&program, seed).end())))
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
    ("input_scaling", &["normalize_inputs=true", "normalize_targets=true"]),
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
        ],
    ),
];

/// The verdicts that name a cause of the failure.
pub(super) fn meant(label: &Label) -> impl Iterator<Item = &'static str> {
    let cures = |(_, changes): &&(&str, &[&str])| changes.iter().any(|change| label.is_due_to(change));
    MEANT.iter().filter(cures).map(|(verdict, _)| *verdict)
}

/// Whether a verdict names what cures a failing program.
pub(crate) fn right(outcome: &Outcome, label: &Label) -> bool {
    let Some(verdict) = outcome.verdict.as_deref() else { return false };
    let cures = |change: &str| label.is_due_to(change);
    match verdict {
        "overfitting" => label.overfitting || cures("weight_decay=0.01") || cures("max_steps/4"),
        "too_few_steps" => cures("max_steps*3"),
        "inconclusive" => label.cures.is_empty(),
        "cannot_fit_one_point" => {
            let meant = ["undo:zero_inputs", "undo:dead_units", "undo:frozen_part", "undo:clipped_output", "width*2"];
            meant.map(cures).contains(&true)
        }
        _ => meant(label).any(|name| name == verdict),
    }
}
