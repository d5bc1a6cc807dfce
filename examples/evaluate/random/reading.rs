//! How experiments on random programs are read: is a change that cures taken for a cure, and one that does not for none?
//!
//! Owns: the experiments, and the shares. Must not know: which experiment a policy chooses.

use std::collections::{BTreeMap, BTreeSet};

use nextrun::diagnosis::{Exam, Memory, Site, exam};
use nextrun::facts::{Facts, measure};
use nextrun::jobs::group;
use nextrun::series::Runs;
use serde_json::{Map, Value, json};

use super::closed::{changed, train_changed};
use super::labels::{Class, HEALTHY};
use super::record::{Log, Record};
use super::style;
use crate::lab::PATIENCE;
use crate::parallel;

/// One experiment on a failing program.
pub(super) struct Reading {
    /// The change, by its name in labels.
    pub(super) change: &'static str,
    /// Whether it cures, by what it reaches on data that the program does not see.
    pub(super) cures: bool,
    /// What nextrun sees in it.
    pub(super) facts: Facts,
    /// What nextrun sees in the program itself.
    pub(super) baseline: Facts,
}

/// The changes, by their names in labels, as a policy asks for them.
fn experiments(record: &Record) -> Vec<(&'static str, Map<String, Value>)> {
    let own = &record.program.settings;
    let rate = own.learning_rate;
    let all = [
        ("learning_rate/10", json!({ "learning_rate": rate / 10.0 })),
        ("learning_rate/100", json!({ "learning_rate": rate / 100.0 })),
        ("learning_rate*10", json!({ "learning_rate": rate * 10.0 })),
        ("learning_rate*100", json!({ "learning_rate": rate * 100.0 })),
        ("optimizer=adam", json!({ "optimizer": "adam", "learning_rate": 0.001 })),
        ("lr_decay=1", json!({ "lr_decay": 1.0 })),
        ("batch_size*4", json!({ "batch_size": (4 * own.batch_size).min(128.max(own.batch_size)) })),
        ("batch_size/4", json!({ "batch_size": (own.batch_size / 4).max(1) })),
        ("batch_norm=false", json!({ "batch_norm": false })),
        ("batch_norm=true", json!({ "batch_norm": true })),
        ("initializer=variance_scaling", json!({ "initializer": "variance_scaling" })),
        ("activation=relu", json!({ "activation": "relu" })),
        ("gradient_clip=1", json!({ "gradient_clip": 1.0 })),
        ("gradient_clip=null", json!({ "gradient_clip": null })),
        ("normalize_inputs=true", json!({ "normalize_inputs": true })),
        ("loss=l1", json!({ "loss": "l1" })),
        ("loss=l2", json!({ "loss": "l2" })),
        ("max_steps*3", json!({ "max_steps": 3 * own.steps })),
        ("undo:clipped_output", json!({ "output_activation": "none" })),
    ];
    // What a program has already was not tried for its label.
    let all = all.into_iter().filter(|(name, _)| record.label.tried.contains_key(*name));
    all.map(|(name, changes)| (name, changes.as_object().cloned().unwrap_or_default())).collect()
}

/// Every experiment on every failing program.
pub(super) fn readings(records: &BTreeMap<u64, Record>, site: &Site) -> Vec<Reading> {
    let failing: Vec<&Record> = records.values().filter(|record| record.label.class == Class::Failing).collect();
    parallel::map(&failing, |record| of_program(record, site)).into_iter().flatten().collect()
}

fn of_program(record: &Record, site: &Site) -> Vec<Reading> {
    let Some(mut base) = looked_at(&record.log(), site) else { eprintln!("no base"); return Vec::new() };
    eprintln!("{} experiments", experiments(record).len());
    let own = settings_of(record);
    base.view.knobs.extend(own.clone());
    let read = |(change, overrides): (&'static str, Map<String, Value>)| {
        let (program, _) = changed(&record.program, &overrides).ok()?;
        let trace = train_changed(record, &program);
        let log = Log {
            name: "experiment".to_owned(),
            begin: record.log().begin,
            steps: program.settings.steps,
            seconds: program.style.seconds,
            runs: style::logged(&program, &trace).into(),
        };
        let mut exam = looked_at(&log, site)?;
        exam.view.knobs.extend(own.clone());
        exam.view.knobs.extend(overrides);
        let facts = measure(exam.looked(), Some(base.looked()));
        let cures = record.label.tried.get(change).is_some_and(|excess| *excess < HEALTHY);
        Some(Reading { change, cures, facts, baseline: base.facts.clone() })
    };
    experiments(record).into_iter().filter_map(read).collect()
}

/// The knobs that tell what is compared with what.
fn settings_of(record: &Record) -> Map<String, Value> {
    let own = &record.program.settings;
    let knobs = json!({ "loss": own.loss, "learning_rate": own.learning_rate, "max_steps": own.steps });
    knobs.as_object().cloned().unwrap_or_default()
}

/// A job that is over, as nextrun sees it.
fn looked_at(log: &Log<'_>, site: &Site) -> Option<Exam> {
    let mut runs = Runs::new();
    log.grow(&mut runs, &mut 0.0, 1.0);
    let jobs = group(&runs, &BTreeSet::new());
    let job = jobs.iter().find(|job| job.name == log.name)?;
    let mut memory = Memory::first_seen(false);
    let now = log.time_at(1.0) + PATIENCE + 1.0;
    memory.saw(job, job.events(), now);
    Some(exam(job, site, &memory, now))
}
