//! The tests that may be probes.
//!
//! Owns: the changes of each. Must not know: the interpretation of a result.

use serde_json::{Value, json};

use super::Ground;
use crate::facts::Knobs;
use crate::numbers::ADAPTIVE_RATE;

/// A test that may be a probe.
pub struct Test {
    /// Its name.
    pub name: &'static str,
    /// Why it is made.
    pub why: &'static str,
    /// What is tested.
    pub hypothesis: &'static str,
    /// Its changes except the length; `None` if it is not possible.
    pub(super) changes: fn(&Ground<'_>) -> Option<Knobs>,
    /// Maximum number of steps, however large the budget.
    pub(super) most_steps: Option<f64>,
    /// It has to fit few examples; other tests have to get below the current loss of the job.
    pub(super) fits_few: bool,
}

impl std::fmt::Debug for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Test {
    fn eq(&self, other: &Test) -> bool {
        self.name == other.name
    }
}

/// Adam at the reference rate fits one example within this many updates, if it is possible at all.
const FITS_WITHIN: f64 = 1000.0;

/// Every test.
pub const TESTS: &[Test] = &[
    Test {
        name: "lower_rate",
        why: "a loss may be constant because the steps are too large",
        hypothesis: "the learning rate is far too high",
        changes: |ground| rate(ground, |rate| rate / 10.0),
        most_steps: None,
        fits_few: false,
    },
    Test {
        name: "raise_rate",
        why: "a loss may be constant because the steps are too small",
        hypothesis: "the learning rate is far too low",
        changes: |ground| rate(ground, |rate| rate * 10.0),
        most_steps: None,
        fits_few: false,
    },
    Test {
        name: "ordinary_settings",
        why: "a job at its lowest loss does not improve with ordinary settings; a job with faulty settings does",
        hypothesis: "the settings keep the loss from falling",
        changes: |ground| ordinary(ground, ADAPTIVE_RATE),
        most_steps: None,
        fits_few: false,
    },
    Test {
        name: "fast_settings",
        why: "a higher rate of the same optimizer shows in a short time whether the loss can fall",
        hypothesis: "the settings keep the loss from falling",
        changes: |ground| ordinary(ground, 10.0 * ADAPTIVE_RATE),
        most_steps: None,
        fits_few: false,
    },
    Test {
        name: "fit_one_example",
        why: "a job that cannot fit one example cannot learn from many",
        hypothesis: "the model, loss and optimizer cannot learn at all",
        changes: one_example,
        most_steps: Some(FITS_WITHIN),
        fits_few: true,
    },
];

fn rate(ground: &Ground<'_>, change: fn(f64) -> f64) -> Option<Knobs> {
    let rate = ground.job.knobs.get("learning_rate").and_then(Value::as_f64).filter(|rate| *rate > 0.0)?;
    let changes = Knobs::from([("learning_rate".to_owned(), json!(change(rate)))]);
    ground.has("learning_rate").then_some(changes)
}

/// A common starting point: Adam at a rate, scaled inputs and weights. Settings that the job already has are not changed.
fn ordinary(ground: &Ground<'_>, rate: f64) -> Option<Knobs> {
    let usual = [
        ("optimizer", json!("adam")),
        ("learning_rate", json!(rate)),
        ("lr_decay", json!(1.0)),
        ("initializer", json!("variance_scaling")),
        ("normalize_inputs", json!(true)),
    ];
    // A rate without its optimizer is not an ordinary one.
    if !ground.has("learning_rate") || !ground.has("optimizer") {
        return None;
    }
    let other =
        |knob: &str, value: &Value| ground.job.knobs.get(knob).is_none_or(|own| !crate::facts::same_value(own, value));
    let changes: Knobs = usual
        .into_iter()
        .filter(|(knob, value)| ground.has(knob) && other(knob, value))
        .map(|(knob, value)| (knob.to_owned(), value))
        .collect();
    (!changes.is_empty()).then_some(changes)
}

fn one_example(ground: &Ground<'_>) -> Option<Knobs> {
    let mut changes = Knobs::from([("train_examples".to_owned(), json!(1))]);
    if ground.has("batch_size") {
        changes.insert("batch_size".to_owned(), json!(1));
    }
    ground.has("train_examples").then_some(changes)
}
