//! A simulated training script: its loss falls if, and only if, its learning rate is at most 0.01.
//!
//! Owns: the curve, and how a run is logged. Must not know: the daemon.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nextrun::tfevents::encode::{self, Message};
use serde_json::{Value, json};

pub(crate) type Knobs = BTreeMap<String, Value>;

/// The knobs of a baseline that is plain but for its learning rate.
pub(crate) fn knobs(learning_rate: f64) -> Knobs {
    let knobs = json!({
        "learning_rate": learning_rate, "optimizer": "sgd", "batch_size": 32, "batch_norm": false,
        "initializer": "variance_scaling", "activation": "relu", "loss": "l2", "max_steps": 400,
    });
    serde_json::from_value(knobs).unwrap()
}

/// A baseline's knobs with the overrides of a suggestion.
pub(crate) fn with(baseline: &Knobs, overrides: &Value) -> Knobs {
    let mut knobs = baseline.clone();
    knobs.extend(overrides.as_object().unwrap().clone());
    knobs
}

/// Seconds since the Unix epoch.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// The number of steps that a run with these knobs takes.
pub(crate) fn steps(knobs: &Knobs) -> i64 {
    knobs["max_steps"].as_i64().unwrap()
}

/// A run that is being logged.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    folder: PathBuf,
    knobs: Knobs,
    begun: f64,
    /// Seconds that a step takes.
    pace: f64,
    curve: Curve,
}

/// What its loss does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Curve {
    /// It falls if, and only if, the learning rate is at most 0.01.
    ByRate,
    /// It stays at its floor for all settings.
    Stands,
    /// It falls like the loss of one example, for all settings.
    Fits,
}

impl Run {
    /// A run that began just now.
    pub(crate) fn new(logdir: &Path, name: &str, knobs: &Knobs) -> Run {
        Run { folder: logdir.join(name), knobs: knobs.clone(), begun: now(), pace: 1e-4, curve: Curve::ByRate }
    }

    /// A run that began so many seconds ago.
    pub(crate) fn ago(self, seconds: f64) -> Run {
        Run { begun: self.begun - seconds, ..self }
    }

    /// A run whose steps take so many seconds.
    pub(crate) fn pace(self, seconds: f64) -> Run {
        Run { pace: seconds, ..self }
    }

    /// A run whose loss does this.
    pub(crate) fn curve(self, curve: Curve) -> Run {
        Run { curve, ..self }
    }

    /// Writes a file beside the event file.
    pub(crate) fn beside(&self, name: &str, text: &str) -> &Run {
        fs::create_dir_all(&self.folder).unwrap();
        fs::write(self.folder.join(name), text).unwrap();
        self
    }

    /// Writes its knobs beside the event file, as Lightning does.
    pub(crate) fn with_knobs(&self) -> &Run {
        let lines: Vec<String> = self.knobs.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        self.beside("hparams.yaml", &lines.concat())
    }

    /// Appends the losses of some steps.
    pub(crate) fn log(&self, steps: Range<i64>) -> &Run {
        let time = |step: i64| self.begun + step as f64 * self.pace;
        let scalar = |step| encode::scalar(time(step), step, "train/loss", self.loss(step));
        self.append(&steps.flat_map(scalar).collect::<Vec<u8>>())
    }

    /// Appends a text, as `add_text` logs it.
    pub(crate) fn text(&self, tag: &str, text: &str) -> &Run {
        self.append(&encode::text(self.begun, 0, &format!("{tag}/text_summary"), text))
    }

    /// Appends a hyperparameter, as `add_hparams` logs it.
    pub(crate) fn hyperparameter(&self, name: &str, value: &str) -> &Run {
        let entry = Message::new().bytes(1, name).bytes(2, Message::new().bytes(3, value));
        let content = Message::new().bytes(3, Message::new().bytes(1, entry));
        let plugin = Message::new().bytes(1, "hparams").bytes(2, content);
        let value = Message::new().bytes(9, Message::new().bytes(1, plugin));
        self.append(&encode::tagged(self.begun, 0, "_hparams_/session_start_info", &value))
    }

    /// Writes the whole run: its knobs, then every step.
    pub(crate) fn train(&self) {
        self.with_knobs().log(0..steps(&self.knobs) + 1);
    }

    /// The loss at a step.
    fn loss(&self, step: i64) -> f32 {
        // Bits of a multiplication that are as good as noise, between -0.5 and 0.5.
        let noise = ((step as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / f64::from(1 << 24) - 0.5;
        let falls = self.knobs["learning_rate"].as_f64().unwrap() <= 0.01;
        let level = match self.curve {
            Curve::Fits => (-step as f64 / 5.0).exp(),
            Curve::ByRate if falls => (-step as f64 / 40.0).exp(),
            Curve::ByRate | Curve::Stands => 1.0,
        };
        (2.3 * level * (1.0 + 0.05 * noise)) as f32
    }

    fn append(&self, records: &[u8]) -> &Run {
        fs::create_dir_all(&self.folder).unwrap();
        let path = self.folder.join(format!("events.out.tfevents.{:.0}.node1", self.begun));
        let known = path.exists();
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        if !known {
            file.write_all(&encode::file_version(self.begun)).unwrap();
        }
        file.write_all(records).unwrap();
        self
    }
}
