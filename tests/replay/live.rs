//! The daemon's steps without its threads: bytes arrive and are read, a tick decides, decisions are stored.

use std::collections::BTreeMap;
use std::path::Path;

use fastrand::Rng;
use nextrun::case::{Case, CaseId, MessageKind};
use nextrun::config::Settings;
use nextrun::daemon::site_of;
use nextrun::diagnosis::{Changes, Diagnosis, Site};
use nextrun::fate::JobFate;
use nextrun::jobs::QuietLimit;
use nextrun::watch::{Options, Watcher};
use serde_json::{Value, json};

use super::common::MemoryLogdir;
use super::history::{End as Told, Files, History, Of, TICK, time_of};

/// Longer than any case of these histories takes.
const TICKS: usize = 40;

/// How bytes arrive between two ticks.
pub(crate) enum Arrivals {
    /// All of them, then one look.
    AtOnce,
    /// A few of some file, then perhaps a look, and so on.
    InPieces(Rng),
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct End {
    baseline: String,
    pub(crate) verdict: Option<String>,
    pub(crate) overrides: Vec<Value>,
}

pub(crate) struct Live<'h> {
    history: &'h History,
    arrivals: Arrivals,
    files: Files,
    logdir: MemoryLogdir,
    /// Bytes of each file that have arrived.
    arrived: BTreeMap<String, usize>,
    watcher: Watcher,
    diagnosis: Diagnosis,
    /// What a store would hold.
    kept: BTreeMap<CaseId, Value>,
    fates: Vec<JobFate>,
    /// What is to be told of jobs.
    ends: Vec<Told>,
}

fn site() -> Site {
    let mut site = site_of(&Settings::default()).unwrap();
    site.directories[0].patience = QuietLimit::Fixed(2.5 * TICK);
    site
}

fn watcher(logdir: &MemoryLogdir) -> Watcher {
    Watcher::new(Box::new(logdir.clone()), Options { threads: 1 })
}

impl<'h> Live<'h> {
    pub(crate) fn new(history: &'h History, arrivals: Arrivals) -> Live<'h> {
        let logdir = MemoryLogdir::default();
        Live {
            history,
            arrivals,
            files: history.files(),
            watcher: watcher(&logdir),
            logdir,
            arrived: BTreeMap::new(),
            diagnosis: Diagnosis::new(site(), []),
            kept: BTreeMap::new(),
            fates: Vec::new(),
            ends: history.ends(),
        }
    }

    /// What is decided at each tick. The daemon starts again before the ticks that `restarts` names.
    pub(crate) fn run(mut self, restarts: impl Fn(usize) -> bool) -> Vec<Value> {
        (0..TICKS).map(|tick| self.tick(tick, restarts(tick))).collect()
    }

    /// How the cases ended.
    pub(crate) fn ends(mut self, restarts: impl Fn(usize) -> bool) -> Vec<End> {
        for tick in 0..TICKS {
            self.tick(tick, restarts(tick));
        }
        let end = |case: &Case| End {
            baseline: case.baseline.clone(),
            verdict: case.closed.as_ref().map(|end| end.verdict.clone()),
            overrides: case.experiments.iter().map(|e| json!(e.proposal.changes)).collect(),
        };
        self.diagnosis.cases().map(end).collect()
    }

    fn tick(&mut self, tick: usize, restarted: bool) -> Value {
        let now = time_of(tick);
        if restarted {
            let cases: Vec<Case> =
                self.kept.values().map(|case| serde_json::from_value(case.clone()).unwrap()).collect();
            self.watcher = watcher(&self.logdir);
            self.diagnosis = Diagnosis::new(site(), cases);
            self.diagnosis.remember_fates(self.fates.clone());
        }
        let told = self.tell(tick, now);
        self.arrive(now);
        self.watcher.poll(now);
        self.diagnosis.looked(None, now);
        let changes = self.diagnosis.tick(self.watcher.runs(), now);
        self.keep(&changes);
        for message in changes.messages.iter().filter(|message| message.kind() == MessageKind::RunSuggested) {
            self.ends.extend(self.history.end_of(&message.body.data(), tick));
            self.files.extend(self.history.experiment(&message.body.data(), now));
        }
        json!([told, log_of(tick, &changes)])
    }

    fn keep(&mut self, changes: &Changes) {
        for case in &changes.cases {
            self.kept.insert(case.id.clone(), json!(case));
        }
        self.fates.extend(changes.fates.clone());
    }

    /// Tells what became of jobs since the last tick. Requests are taken before a look.
    fn tell(&mut self, tick: usize, now: f64) -> Vec<Value> {
        let due: Vec<Told> = self.ends.iter().filter(|end| end.tick == tick).cloned().collect();
        let mut told = Vec::new();
        for end in due {
            let changes = match &end.of {
                Of::Job(job) => self.diagnosis.fate_of_job(job, &end.fate, now - 1.0),
                Of::Suggestion(suggestion) => self.diagnosis.fate_of_experiment(suggestion, &end.fate, now - 1.0),
            };
            self.keep(&changes);
            told.push(log_of(tick, &changes));
        }
        told
    }

    /// Everything that was written until `now` arrives.
    fn arrive(&mut self, now: f64) {
        let written = |records: &Vec<(f64, Vec<u8>)>| -> Vec<u8> {
            records.iter().filter(|(time, _)| *time <= now).flat_map(|(_, record)| record.clone()).collect()
        };
        let whole: Vec<(String, Vec<u8>)> =
            self.files.iter().map(|(path, records)| (path.clone(), written(records))).collect();
        if let Arrivals::InPieces(rng) = &mut self.arrivals {
            let length = |path: &String| self.arrived.get(path).copied().unwrap_or_default();
            let growing: Vec<_> = whole.iter().filter(|(path, bytes)| length(path) < bytes.len()).collect();
            for _ in 0..rng.usize(0..3 * growing.len() + 1) {
                let (path, bytes) = growing[rng.usize(0..growing.len())];
                let here = self.arrived.entry(path.clone()).or_default();
                // A side file is written whole: what its half would say is another matter.
                *here = if path.ends_with(".yaml") { bytes.len() } else { rng.usize(*here..bytes.len() + 1) };
                if *here > 0 {
                    self.logdir.write(path, &bytes[..*here]);
                }
                let at = now - TICK * rng.f64();
                match rng.u8(0..3) {
                    0 => drop(self.watcher.poll(at)),
                    1 => drop(self.watcher.poll_paths(at, [Path::new(path)])),
                    _ => {}
                }
            }
        }
        for (path, bytes) in whole.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            self.arrived.insert(path.clone(), bytes.len());
            self.logdir.write(path, bytes);
        }
    }
}

/// As JSON, in which a number that is not known equals another one.
fn log_of(tick: usize, changes: &Changes) -> Value {
    json!({ "tick": tick, "cases": changes.cases, "journal": changes.journal, "messages": changes.messages })
}
