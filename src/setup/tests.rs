//! One script a framework: what is found, and the configuration that follows.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::command::{Printed, Seen, Survey, survey};
use crate::jobs::Knobs;
use crate::launched::Source;

macro_rules! scripts {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../tests/fixtures/scripts/", $name)))),*]
    };
}

/// The scripts, by their paths below the working directory.
const SCRIPTS: &[(&str, &str)] = scripts![
    "argparse/train.py",
    "hydra/train.py",
    "hydra/conf/config.yaml",
    "hydra/conf/optim/adam.yaml",
    "key_value/train.py",
    "lightning_cli/main.py",
    "trainer/finetune.py",
    "keras/fit.py",
    "factory/sft.yaml",
    "environment/train.py",
];

fn look(folder: &str, command: &str, printed: &[Printed]) -> Survey {
    let argv: Vec<String> = command.split(' ').map(str::to_owned).collect();
    let (cwd, env) = (format!("/w/{folder}"), BTreeMap::new());
    let seen = Seen { argv: &argv, cwd: &cwd, env: &env, source: Source::Run };
    survey(
        seen,
        &|path| SCRIPTS.iter().find(|(name, _)| path == format!("/w/{name}")).map(|(_, text)| (*text).to_owned()),
        printed,
    )
}

fn logged(job: &str, names: &Value, steps: f64, same_command: bool) -> Logged {
    let names: Vec<(String, Value)> = names.as_object().cloned().unwrap_or_default().into_iter().collect();
    let knob = |(name, value): &(String, Value)| {
        let knob = crate::jobs::canonical_name(name)?;
        Some((knob.to_owned(), crate::jobs::canonical_value(knob, value)?))
    };
    let knobs: Knobs = names.iter().filter_map(knob).collect();
    Logged { job: job.to_owned(), names, knobs, steps: Some(steps), same_command }
}

/// The configuration for a command in its folder, as it is written, checked by the reader of configurations.
fn written(folder: &str, command: &str, logged: &[Logged]) -> String {
    let plan = plan(look(folder, command, &[]), logged, &format!("/w/{folder}/runs"));
    configuration(&plan).text
}

#[test]
fn a_script_with_argparse() {
    let job = logged("a", &json!({}), 399.0, true);
    let job = Logged { knobs: Knobs::from([("learning_rate".to_owned(), json!(0.37))]), ..job };
    insta::assert_snapshot!(written(
        "argparse",
        "torchrun --standalone train.py --alpha 0.37 --init zero --out runs/a",
        &[job]
    ));
}

#[test]
fn a_script_with_hydra() {
    insta::assert_snapshot!(written("hydra", "uv run train.py optim.lr=5.0 logdir=runs/a", &[]));
}

#[test]
fn a_script_with_key_and_value() {
    let job = logged("a", &json!({"lr": 0.5}), 399.0, true);
    insta::assert_snapshot!(written("key_value", "srun -n 1 python train.py lr=0.05 run_dir=runs/a", &[job]));
}

#[test]
fn a_script_with_lightning_cli() {
    let job = logged("lightning_logs/version_0", &json!({"lr": 1.5, "optimizer": "Adam"}), 159.0, true);
    let command = "accelerate launch main.py fit --model.lr 1.5 --trainer.max_epochs 10";
    insta::assert_snapshot!(written("lightning_cli", command, &[job]));
}

#[test]
fn a_script_of_the_transformers_trainer() {
    let command = "python finetune.py --output_dir runs/a --learning_rate 5 --report_to tensorboard --logging_steps 1";
    insta::assert_snapshot!(written("trainer", command, &[]));
}

#[test]
fn a_keras_script() {
    insta::assert_snapshot!(written("keras", "python fit.py --learning-rate 2.5 --logdir runs/a", &[]));
}

#[test]
fn a_configuration_file_of_a_program() {
    insta::assert_snapshot!(written("factory", "llamafactory-cli train sft.yaml", &[]));
}

#[test]
fn a_script_with_environment_variables() {
    insta::assert_snapshot!(written("environment", "env LR=0.5 python train.py", &[]));
}

#[test]
fn what_a_script_prints_is_added_to_what_its_source_shows() {
    let help = "options:\n  --lr LR  step size (default: 0.1)\n  --hidden N\n".to_owned();
    let survey = look("nowhere", "python other.py --hidden 3", &[Printed::Help(help)]);
    let plan = plan(survey, &[], "/w/nowhere/runs");
    let found: Vec<(&str, Grade)> = plan.mappings.iter().map(|m| (m.flag.name.as_str(), m.grade)).collect();
    assert_eq!(found, [("--lr", Grade::Certain)]);
    assert_eq!(plan.settings["learning_rate"], 0.1);
}

#[test]
fn an_option_that_only_its_value_shows_is_a_guess() {
    let survey = look("nowhere", "python other.py --zeta 0.0371 --out runs/a", &[]);
    let job = logged("a", &json!({"learning_rate": 0.0371}), 10.0, true);
    let found = plan(survey.clone(), std::slice::from_ref(&job), "/w/nowhere/runs").mappings;
    assert_eq!((found[0].flag.name.as_str(), found[0].grade), ("--zeta", Grade::Guessed), "{found:?}");
    // Of another job the same value says nothing, and a usual value never does.
    let other = Logged { same_command: false, ..job };
    assert!(plan(survey, &[other], "/w/nowhere/runs").mappings.is_empty());
    let usual = look("nowhere", "python other.py --depth 1 --out runs/a", &[]);
    let job = logged("a", &json!({"learning_rate": 1}), 10.0, true);
    assert!(plan(usual, &[job], "/w/nowhere/runs").mappings.is_empty());
}

#[test]
fn two_steps_show_what_arrived() {
    let survey = look("argparse", "python train.py --alpha 0.5 --out runs/a", &[]);
    let plan = plan(survey, &[], "/w/argparse/runs");
    let trial = trial(&plan, "../x/run").expect("it has both");
    assert_eq!(trial.command.argv.join(" "), "python train.py --alpha 0.25 --out /w/argparse/x/run --iters=2");
    let shown = |logged: Option<&Logged>, code| {
        proofs(&trial, logged, code).into_iter().map(|proof| proof.good).collect::<Vec<_>>()
    };
    let run = |rate: f64, steps| logged("run", &json!({"lr": rate}), steps, true);
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(shown(Some(&run(0.25, 1.0)), Some(0)), [yes, yes, yes]);
    assert_eq!(shown(Some(&run(0.5, 399.0)), Some(0)), [yes, no, no]);
    assert_eq!(shown(Some(&logged("run", &json!({}), 1.0, true)), None), [None, yes, None, yes]);
    assert_eq!(shown(None, Some(1)), [no, no]);
}
