//! How experiments on random programs are read: is a change that cures taken for a cure, and one that does not for none?
//!
//! Owns: the experiments, and the shares. Must not know: policies.

use std::collections::{BTreeMap, BTreeSet};

use nextrun::diagnosis::{Exam, Memory, Site, exam};
use nextrun::facts::{Facts, measure};
use nextrun::jobs::group;
use nextrun::series::Runs;
use serde_json::{Map, Value, json};

use super::closed::changed;
use super::desk::train_changed;
use super::labels::{Class, HEALTHY};
use super::measure::{Figure, Figures, SETS};
use super::orders::Walks;
use super::record::{Log, Record};
use super::style;
use crate::lab::PATIENCE;
use crate::parallel;

/// One experiment on a failing program.
struct Reading {
    /// The program, and the change.
    name: String,
    held_back: bool,
    /// Whether it cures, by what it reaches on data that the program does not see.
    cures: bool,
    /// What nextrun sees in it.
    facts: Facts,
}

impl Reading {
    /// Whether it is better than its baseline, has learned, and does not overfit, whatever else it shows.
    fn is_cure(&self) -> bool {
        let overfits = self.facts.problems.iter().any(|problem| problem == "overfitting");
        (self.facts.cured || self.facts.better && self.facts.learned) && !overfits
    }
}

/// Shares of the baseline's loss that an experiment takes away at least, and less than which.
const GAINS: [(f64, f64); 4] = [(0.8, f64::INFINITY), (0.5, 0.8), (0.3, 0.5), (f64::NEG_INFINITY, 0.3)];

/// How experiments that cure are read, and those that do not. With walks, what was seen of those that cure is printed.
pub(super) fn figures(records: &BTreeMap<u64, Record>, site: &Site, walks: Walks) -> Vec<Figure> {
    let all = readings(records, site);
    if walks == Walks::Printed {
        for reading in all.iter().filter(|reading| reading.cures) {
            let read = if reading.is_cure() { "a cure" } else { "no cure" };
            println!("{}: {read}, {}; gain {:.2}", reading.name, reading.facts.in_words(), reading.facts.gain);
        }
    }
    let mut figures = Figures::default();
    for (held_back, set) in SETS {
        for (least, less) in GAINS {
            let row = match (least.is_finite(), less.is_finite()) {
                (true, true) => format!("{least} to {less} of the loss is gone"),
                (true, false) => format!("{least} or more of the loss is gone"),
                _ => format!("less than {less} of the loss is gone"),
            };
            for (cures, column) in [(true, "changes that cure: read as a cure"), (false, "others: read as a cure")] {
                let of: Vec<&Reading> =
                    all.iter().filter(|reading| reading.held_back == held_back && reading.cures == cures).collect();
                let within = |reading: &&&Reading| (least..less).contains(&reading.facts.gain);
                let read = of.iter().filter(|reading| reading.is_cure()).filter(within).count();
                figures.number(("reading", set), (&row, column), read as f64 / of.len() as f64, of.len());
            }
        }
    }
    figures.shown()
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
fn readings(records: &BTreeMap<u64, Record>, site: &Site) -> Vec<Reading> {
    let failing: Vec<&Record> = records.values().filter(|record| record.label.class == Class::Failing).collect();
    parallel::map(&failing, |record| of_program(record, site)).into_iter().flatten().collect()
}

fn of_program(record: &Record, site: &Site) -> Vec<Reading> {
    let Some(mut base) = looked_at(&record.log(), site) else { return Vec::new() };
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
        let name = format!("{} {change}, the baseline: {}", record.name(), base.facts.in_words());
        Some(Reading { name, held_back: record.held_back.any(), cures, facts })
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
