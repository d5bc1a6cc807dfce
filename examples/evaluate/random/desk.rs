//! Everything that watches one random program: its log grows under the core, and the runs that the core suggests are
//! trained and logged. No daemon, no files.
//!
//! Owns: the clock, and what became of the suggestions. Must not know: which of them are worth a figure.

use std::collections::BTreeSet;

use nextrun::case::{Body, CaseClosed, Message, RunSuggested};
use nextrun::diagnosis::{Changes, Diagnosis, Report, Site};
use nextrun::fate::{Fate, FateState};
use nextrun::series::Runs;

use super::closed::changed;
use super::data::TaskData;
use super::fit::{Measure, Setup, Trace, train};
use super::looks::places;
use super::program::Program;
use super::record::{Log, Record};
use super::style;
use crate::lab::PATIENCE;

/// Looks after the end of a run until everything that follows from it has been done: its end is told, seen and judged.
const AFTER_A_RUN: usize = 3;

/// What watches one program.
pub(super) struct Desk<'a> {
    record: &'a Record,
    data: TaskData,
    runs: Runs,
    pub(super) diagnosis: Diagnosis,
    now: f64,
    /// Suggested runs that were not trained yet.
    pub(super) owed: Vec<Message>,
    /// People were told of the program.
    pub(super) told: bool,
    /// The cause that the policy found, and what it believed of it before that was weighed.
    pub(super) weighed: Option<(String, f64)>,
    /// How its case ended.
    pub(super) closed: Option<CaseClosed>,
    /// Suggested runs that were trained.
    pub(super) trained: usize,
    /// Their steps, as multiples of the program's own.
    pub(super) cost: f64,
}

impl<'a> Desk<'a> {
    pub(super) fn new(record: &'a Record, site: &Site) -> Desk<'a> {
        Desk {
            record,
            data: TaskData::new(&record.program.task, record.program.seed),
            runs: Runs::new(),
            diagnosis: Diagnosis::new(site.clone(), []),
            now: 0.0,
            owed: Vec::new(),
            told: false,
            weighed: None,
            closed: None,
            trained: 0,
            cost: 0.0,
        }
    }

    /// Lets the log of the program grow to its end, with a look after each part and after its end. `after` comes after
    /// each look, and says whether to go on.
    pub(super) fn watch(&mut self, mut after: impl FnMut(&mut Desk<'a>) -> bool) {
        let (log, mut from) = (self.record.log(), 0.0);
        for (share, ended) in places() {
            log.grow(&mut self.runs, &mut from, share);
            self.now = self.now.max(log.time_at(share));
            if ended {
                self.wait()
            } else {
                self.look()
            }
            if !after(self) {
                return;
            }
        }
    }

    /// Lets so much time pass that whatever is silent has ended.
    pub(super) fn wait(&mut self) {
        self.now += PATIENCE + 1.0;
        self.look();
    }

    fn look(&mut self) {
        self.diagnosis.looked(None, self.now);
        let changes = self.diagnosis.tick(&self.runs, self.now);
        self.take(changes);
    }

    fn take(&mut self, changes: Changes) {
        for (_, entry) in changes.journal.iter().filter(|(_, entry)| entry.kind == "weighed") {
            let (cause, believed) = (entry.detail["verdict"].as_str(), entry.detail["believed"].as_f64());
            self.weighed = cause.map(str::to_owned).zip(believed);
        }
        for message in changes.messages {
            match &message.body {
                Body::CaseOpened(_) => self.told = true,
                Body::RunSuggested(_) => self.owed.push(message),
                Body::CaseClosed(end) if self.closed.is_none() => self.closed = Some((**end).clone()),
                _ => {}
            }
        }
    }

    /// Trains a suggested run to its end, or refuses it if the program has no such knob.
    pub(super) fn carry_out(&mut self, message: &Message) {
        let Body::RunSuggested(wanted) = &message.body else { return };
        match trained(self.record, &self.data, wanted, self.now) {
            Ok(log) => {
                self.trained += 1;
                self.cost += log.steps as f64 / self.record.program.settings.steps as f64;
                log.grow(&mut self.runs, &mut 0.0, 1.0);
                self.now = log.time_at(1.0);
                let fate = Fate::new(FateState::Ended);
                let changes = self.diagnosis.fate_of_experiment(&message.id, &fate, self.now);
                self.take(changes);
                (0..AFTER_A_RUN).for_each(|_| self.look());
            }
            Err(unknown_knobs) => {
                let report = Report::Refused { suggestion: message.id.clone(), unknown_knobs };
                let changes = self.diagnosis.report(&report, self.now);
                self.take(changes);
                self.look();
            }
        }
    }

    /// Trains a changed program.
    pub(super) fn train(&self, program: &Program, seed: u64) -> Trace {
        train_on(&self.data, program, self.record.program.seed + seed)
    }
}

fn train_on(data: &TaskData, program: &Program, seed: u64) -> Trace {
    let (settings, bugs) = (program.settings.clone(), program.bugs.clone());
    let setup = Setup { task: &program.task, data, settings, bugs };
    train(&setup, Measure { seed, validations: program.style.measured(), steps: true })
}

/// Trains a changed program at the seed of its record.
pub(super) fn train_changed(record: &Record, program: &Program) -> Trace {
    train_on(&TaskData::new(&record.program.task, record.program.seed), program, record.program.seed)
}

/// A suggested run, trained and logged; the knobs that the program does not have, if any.
pub(super) fn trained<'a>(
    record: &Record,
    data: &TaskData,
    wanted: &RunSuggested,
    begin: f64,
) -> Result<Log<'a>, BTreeSet<String>> {
    let overrides = wanted.overrides.clone().into_iter().collect();
    let (program, seed) = changed(&record.program, &overrides)?;
    let trace = train_on(data, &program, record.program.seed + seed);
    Ok(Log {
        name: wanted.run_name.clone(),
        begin,
        steps: program.settings.steps,
        seconds: program.style.seconds,
        runs: style::logged(&program, &trace).into(),
    })
}
