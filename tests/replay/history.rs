//! The logs of jobs, and their times.
//!
//! Owns: the bytes of their files in the order of time. Must not know: when anybody looks.

use std::collections::BTreeMap;

use nextrun::fate::{Fate, FateState};
use nextrun::tfevents::encode;
use serde_json::{Value, json};

/// Seconds between two ticks.
pub(crate) const TICK: f64 = 60.0;
/// The time of the first tick, seconds since the Unix epoch.
const BEGIN: f64 = 1_700_000_000.0;

pub(crate) fn time_of(tick: usize) -> f64 {
    BEGIN + TICK * tick as f64
}

/// How a job spreads over files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    OneFile,
    /// The program was started again half way.
    TwoFiles,
    /// As Keras logs.
    TrainAndValidation,
}

/// A job: its loss falls if, and only if, its learning rate is at most 0.01.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) layout: Layout,
    pub(crate) learning_rate: f64,
    pub(crate) steps: i64,
    /// The tick before which it starts.
    pub(crate) starts: usize,
    /// Over how many ticks it logs.
    pub(crate) lasts: usize,
    /// The share of its steps after which it falls silent.
    pub(crate) dies: Option<f64>,
    /// Whoever runs it and its experiments tells what became of them.
    pub(crate) told: bool,
}

/// What became of a job.
#[derive(Debug, Clone)]
pub(crate) struct End {
    /// The tick before which it is told.
    pub(crate) tick: usize,
    /// The job, or the suggestion.
    pub(crate) of: Of,
    pub(crate) fate: Fate,
}

#[derive(Debug, Clone)]
pub(crate) enum Of {
    Job(String),
    Suggestion(String),
}

/// The files of all jobs.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) scripts: Vec<Script>,
}

/// A file: its records, each with the time at which it is written.
pub(crate) type Files = BTreeMap<String, Vec<(f64, Vec<u8>)>>;

impl History {
    pub(crate) fn new(scripts: Vec<Script>) -> History {
        History { scripts }
    }

    /// The same with jobs that log everything between two ticks.
    pub(crate) fn each_within_a_tick(mut self) -> History {
        self.scripts.iter_mut().for_each(|script| script.lasts = 1);
        self
    }

    /// The same with jobs that log to their end.
    pub(crate) fn without_silence(mut self) -> History {
        self.scripts.iter_mut().for_each(|script| script.dies = None);
        self
    }

    /// The files of the baselines.
    pub(crate) fn files(&self) -> Files {
        let mut files = Files::new();
        for (index, script) in self.scripts.iter().enumerate() {
            files.extend(script.files(&format!("job{index}"), time_of(script.starts)));
        }
        files
    }

    /// What became of the baselines.
    pub(crate) fn ends(&self) -> Vec<End> {
        let told = self.scripts.iter().enumerate().filter(|(_, script)| script.told);
        let end = |(index, script): (usize, &Script)| End {
            tick: script.starts + script.lasts + 1,
            of: Of::Job(format!("job{index}")),
            fate: match script.dies {
                Some(_) => Fate { exit_code: Some(1), ..Fate::new(FateState::Failed) },
                None => Fate::new(FateState::Ended),
            },
        };
        told.map(end).collect()
    }

    /// What becomes of an experiment that was suggested before `tick`. Every third that is asked for is lost.
    pub(crate) fn end_of(&self, suggestion: &Value, tick: usize) -> Option<End> {
        let script = &self.scripts[baseline_of(suggestion)];
        let lost = suggestion["run_name"].as_str().unwrap().contains("/03-");
        let state = if lost { FateState::Lost } else { FateState::Ended };
        let of = Of::Suggestion(suggestion["suggestion_id"].as_str().unwrap().to_owned());
        script.told.then(|| End { tick: tick + script.lasts + 1, of, fate: Fate::new(state) })
    }

    /// The files of an experiment that was suggested at `time`.
    pub(crate) fn experiment(&self, suggestion: &Value, time: f64) -> Files {
        let mut script = Script { dies: None, ..self.scripts[baseline_of(suggestion)].clone() };
        let overrides = &suggestion["overrides"];
        script.learning_rate = overrides["learning_rate"].as_f64().unwrap_or(script.learning_rate);
        script.steps = overrides["max_steps"].as_i64().unwrap_or(script.steps);
        script.files(suggestion["run_name"].as_str().unwrap(), time)
    }
}

fn baseline_of(suggestion: &Value) -> usize {
    suggestion["baseline_run"].as_str().unwrap().trim_start_matches("job").parse().unwrap()
}

impl Script {
    fn knobs(&self) -> String {
        let knobs = json!({
            "learning_rate": self.learning_rate, "optimizer": "sgd", "batch_size": 32, "batch_norm": false,
            "initializer": "variance_scaling", "activation": "relu", "loss": "l2", "max_steps": self.steps,
        });
        knobs.as_object().unwrap().iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
    }

    fn loss(&self, step: i64) -> f32 {
        let noise = ((step as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / f64::from(1 << 24) - 0.5;
        let fallen = (-10.0 * step as f64 / self.steps as f64).exp();
        let level = if self.learning_rate <= 0.01 { fallen } else { 1.0 };
        (2.3 * level * (1.0 + 0.05 * noise)) as f32
    }

    /// The files of a job of this name that begins just after `begin`.
    fn files(&self, name: &str, begin: f64) -> Files {
        let mut files = Files::new();
        let time = |step: i64| begin + 1.0 + step as f64 / self.steps as f64 * (TICK * self.lasts as f64 - 2.0);
        let file = |folder: &str, begun: f64| format!("{name}{folder}/events.out.tfevents.{begun:.0}.node1");
        let last = (self.dies.unwrap_or(1.0) * self.steps as f64) as i64;
        let mut put = |file: String, time: f64, record: Vec<u8>| {
            files.entry(file).or_insert_with(|| vec![(time, encode::file_version(time))]).push((time, record));
        };
        for step in 0..last + 1 {
            let (at, loss) = (time(step), self.loss(step));
            let half = self.steps / 2;
            let path = match self.layout {
                Layout::OneFile => file("", time(0)),
                Layout::TwoFiles => file("", time(if step < half { 0 } else { half })),
                Layout::TrainAndValidation => file("/train", time(0)),
            };
            put(path, at, encode::scalar(at, step, "loss", loss));
            if self.layout == Layout::TrainAndValidation && step % 10 == 9 {
                put(file("/validation", time(0)), at, encode::scalar(at, step, "loss", 1.02 * loss));
            }
        }
        let folder = if self.layout == Layout::TrainAndValidation { "/train" } else { "" };
        files.insert(format!("{name}{folder}/hparams.yaml"), vec![(time(0), self.knobs().into_bytes())]);
        files
    }
}
