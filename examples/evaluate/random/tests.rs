//! Labels of programs that are known, seeds, and what is kept of a program.

//! Tests of the random programs: the same by their seed, and labels that anyone would give.

use super::frameworks::Framework;
use super::labels::Class;
use super::program::{Bug, Family, Norm, Program, Schedule, Settings, Task};
use super::style::{Rhythm, Style};
use super::{draw, label, record};
use crate::trainer::knobs::{Activation, Initializer, LossKind, OptimizerKind};

/// A small regression that learns well, with bugs.
fn program(bugs: &[Bug]) -> Program {
    let task = Task {
        family: Family::Teacher,
        inputs: 3,
        outputs: 1,
        length: 1,
        complexity: 0.1,
        noise: 0.1,
        label_noise: 0.0,
        imbalance: 0.0,
        signal: true,
        examples: 160,
        input_scale: (1.0, 0.0),
        target_scale: (1.0, 0.0),
        trained_before: None,
    };
    let settings = Settings {
        steps: 200,
        epochs: Some(20),
        batch_size: 16,
        optimizer: OptimizerKind::Adam,
        learning_rate: 1e-2,
        schedule: Schedule::Cosine,
        gradient_clip: None,
        weight_decay: 0.0,
        dropout: 0.0,
        activation: Activation::Tanh,
        initializer: Initializer::Xavier,
        norm: Norm::None,
        depth: 1,
        width: 12,
        residual: false,
        loss: LossKind::L2,
        normalize_inputs: true,
        normalize_targets: true,
    };
    let style = Style {
        framework: Framework::Keras,
        rhythm: Rhythm::Epochs,
        smoothing: 0.0,
        validations: 20,
        accuracy: true,
        rate: false,
        norm: false,
        settings: true,
        all_settings: true,
        by_epochs: true,
        first: 0,
        seconds: 0.1,
    };
    Program { seed: 7, task, settings, bugs: bugs.to_vec(), style }
}

#[test]
fn what_learns_well_is_healthy() {
    let label = label(program(&[])).label;
    assert_eq!(label.class, Class::Healthy, "{label:?}");
}

#[test]
fn what_does_not_learn_is_failing_and_cured_by_undoing_its_bug() {
    for bug in [Bug::NoUpdate, Bug::WrongSign(false), Bug::ZeroInputs] {
        let label = label(program(&[bug])).label;
        assert_eq!(label.class, Class::Failing, "{bug:?}: {label:?}");
        assert!(label.cures.contains(&vec![format!("undo:{}", bug.name())]), "{bug:?}: {label:?}");
    }
}

#[test]
fn targets_that_do_not_depend_on_inputs_are_a_class_of_their_own() {
    let mut program = program(&[]);
    program.task.signal = false;
    assert_eq!(label(program).label.class, Class::NoSignal);
}

#[test]
fn a_rate_that_is_too_low_is_cured_by_a_higher_one() {
    let mut program = program(&[]);
    program.settings.learning_rate = 1e-5;
    let label = label(program).label;
    assert_eq!(label.class, Class::Failing, "{label:?}");
    assert!(label.cures.contains(&vec!["learning_rate*100".to_owned()]), "{label:?}");
}

#[test]
fn a_seed_gives_the_same_program_and_the_same_record() {
    assert_eq!(draw::program(11), draw::program(11));
    assert_ne!(draw::program(11), draw::program(12));
    let (mut one, mut other) = (label(program(&[Bug::Broadcast])), label(program(&[Bug::Broadcast])));
    (one.seconds, other.seconds) = (0.0, 0.0);
    assert_eq!(one, other);
}

#[test]
fn a_record_is_read_back_as_it_was_written_and_a_line_that_was_cut_off_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("programs.jsonl");
    let mut written = label(program(&[Bug::NanExample]));
    written.runs[0].series[0].values.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40, 0.1]);
    record::append(&path, &written).unwrap();
    let mut whole = std::fs::read(&path).unwrap();
    let half = whole.len() / 2;
    whole.extend_from_within(..half);
    std::fs::write(&path, whole).unwrap();
    let read = record::read(&path).unwrap().remove(&7).unwrap();
    // NaN is not equal to itself; its text is.
    assert_eq!(format!("{read:?}"), format!("{written:?}"));
}

#[test]
fn runs_grow_as_the_log_did() {
    let record = label(program(&[]));
    let grown = |shares: &[f64]| {
        let (mut runs, mut from) = (nextrun::series::Runs::new(), 0.0);
        shares.iter().for_each(|share| record.log().grow(&mut runs, &mut from, *share));
        runs
    };
    let half = grown(&[0.5]);
    assert_eq!(half, grown(&[0.1, 0.33, 0.5]));
    let names: Vec<&str> = half.keys().map(nextrun::series::RunName::as_str).collect();
    assert_eq!(names, ["p000007/train", "p000007/validation"]);
    let loss = half.values().next().and_then(|run| run.get("epoch_loss")).unwrap();
    assert_eq!(loss.sketch.count(), 10, "ten of twenty epochs");
}
