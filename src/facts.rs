//! What one job shows, as the typed numbers that policies read.
//!
//! Owns: the list of names that a guard may use of a job, with types and meaning. Must not know: policies, cases.

mod measure;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::jobs::{Knobs, same_value};
pub use measure::{Looked, measure};

use crate::evidence::Kind;

/// What one job shows. Numbers that are not known are NaN, and every comparison with NaN is false.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// It logged at least one value of its loss (or of its reward, where it has no loss).
    pub started: bool,
    /// It will log no more: it reached its last step, said so, or has been silent for long.
    pub ended: bool,
    /// It ended before its time without saying so: far short of `max_steps`, or without a single loss.
    pub crashed: bool,
    /// It is judged by a training loss of its own; by its validation loss, where it logged too little of one.
    pub training_loss: bool,
    /// Newest step of the training loss.
    #[serde(with = "nan")]
    pub steps: f64,
    /// Where the training loss started: median of its first values.
    #[serde(with = "nan")]
    pub loss_start: f64,
    /// Where the training loss stands: robust level of its last part.
    #[serde(with = "nan")]
    pub loss_end: f64,
    /// The best level that it held.
    #[serde(with = "nan")]
    pub loss_best: f64,
    /// Share of the starting loss that is gone: 0 = none, 1 = all; negative where the loss grew.
    #[serde(with = "nan")]
    pub progress: f64,
    /// Level of the training accuracy at the end, in [0, 1].
    #[serde(with = "nan")]
    pub accuracy: f64,
    /// Every logged loss was finite.
    pub finite: bool,
    /// Step of the first NaN or infinity.
    #[serde(with = "nan")]
    pub non_finite_step: f64,
    /// How many finite losses were logged before the first NaN or infinity.
    #[serde(with = "nan")]
    pub finite_points: f64,
    /// It fits what it was given: accuracy of at least 0.9999, or the loss fell by three orders of magnitude.
    pub fits: bool,
    /// Its loss is significantly and substantially below its start.
    pub learned: bool,
    /// Its validation loss was once significantly and substantially below where training started, or validation is right
    /// well beyond chance at the end.
    pub generalised: bool,
    /// The best level of the validation loss.
    #[serde(with = "nan")]
    pub validation_best: f64,
    /// A case was opened for a problem that it does not show any more: it has learned since, though little.
    pub recovered: bool,
    /// Its loss was still falling at the end.
    pub improving: bool,
    /// Its learning rate was still on its way up at the end: the warm-up is not over.
    pub warming_up: bool,
    /// The highest learning rate that it logged.
    #[serde(with = "nan")]
    pub peak_rate: f64,
    /// Against its baseline at equal steps: significantly and substantially lower loss (or higher accuracy or reward). A
    /// baseline that overfits is compared by its validation loss.
    pub better: bool,
    /// Against its baseline at equal steps: significantly and substantially higher loss.
    pub worse: bool,
    /// Against its baseline at equal steps: the share of its loss that is gone, at most 1; of the wrong answers, or of the
    /// swing of the reward, where losses have other units.
    #[serde(with = "nan")]
    pub gain: f64,
    /// Against its baseline: the difference is about as large as one that counts, so that another seed could turn it.
    pub close: bool,
    /// It learned, is better than its baseline, and shows no problem.
    pub cured: bool,
    /// Ids of all its symptoms.
    pub symptoms: Vec<String>,
    /// Ids of its symptoms of severity `problem`.
    pub problems: Vec<String>,
    /// What kind of training it is.
    pub kind: Kind,
    /// Every quantity of its evidence that is known, by its name.
    pub evidence: BTreeMap<String, f64>,
    /// Its knobs, so far as they are known. A guard reads them beside the facts: `baseline.learning_rate`.
    pub knobs: Knobs,
}

impl Default for Facts {
    fn default() -> Self {
        Facts {
            started: false,
            ended: false,
            crashed: false,
            training_loss: true,
            steps: f64::NAN,
            loss_start: f64::NAN,
            loss_end: f64::NAN,
            loss_best: f64::NAN,
            progress: f64::NAN,
            accuracy: f64::NAN,
            finite: true,
            non_finite_step: f64::NAN,
            finite_points: f64::NAN,
            fits: false,
            learned: false,
            generalised: false,
            validation_best: f64::NAN,
            recovered: false,
            improving: false,
            warming_up: false,
            peak_rate: f64::NAN,
            better: false,
            worse: false,
            gain: f64::NAN,
            close: false,
            cured: false,
            symptoms: Vec::new(),
            problems: Vec::new(),
            kind: Kind::default(),
            evidence: BTreeMap::new(),
            knobs: Knobs::new(),
        }
    }
}

impl Facts {
    /// What was seen, in one line for the journal.
    pub fn in_words(&self) -> String {
        if !self.started {
            return if self.crashed { "it crashed before its first loss" } else { "it logged no loss" }.to_owned();
        }
        let mut words = format!("loss {:.4} → {:.4} in {:.0} steps", self.loss_start, self.loss_end, self.steps);
        if !self.finite {
            words =
                format!("not finite after {:.0} finite losses (step {:.0})", self.finite_points, self.non_finite_step);
        }
        let mut say = |holds: bool, what: &str| {
            if holds {
                words.push_str(", ");
                words.push_str(what);
            }
        };
        say(self.accuracy.is_finite(), &format!("accuracy {:.3}", self.accuracy));
        say(self.fits, "fits what it was given");
        say(self.cured, "cured");
        say(self.better && !self.cured, "better than the baseline");
        say(self.worse, "worse than the baseline");
        let compared = !self.gain.is_nan();
        say(compared && !self.better && !self.worse && !self.fits && self.finite, "no clear difference");
        say(self.crashed, "ended before its time");
        say(!self.problems.is_empty(), &self.problems.join(" and "));
        words
    }
}

/// The type of a fact, as guards see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactType {
    /// true or false
    Bool,
    /// a double
    Number,
    /// a list of strings
    Strings,
}

/// The value of a fact.
#[derive(Debug, Clone, PartialEq)]
pub enum FactValue<'a> {
    /// true or false
    Bool(bool),
    /// a double
    Number(f64),
    /// a list of strings
    Strings(&'a [String]),
}

/// One name that a guard may use of a job.
pub struct Field {
    /// The name, as in `experiment.fits`.
    pub name: &'static str,
    /// Its type.
    pub kind: FactType,
    /// What it means, in one line.
    pub summary: &'static str,
    /// Reads it.
    pub get: for<'a> fn(&'a Facts) -> FactValue<'a>,
}

macro_rules! fields {
    ($($name:ident $kind:ident $summary:literal;)*) => {
        /// Every fact that a guard may read of `baseline` and `experiment`, besides their knobs.
        pub const FIELDS: &[Field] = &[$(Field {
            name: stringify!($name),
            kind: FactType::$kind,
            summary: $summary,
            get: |facts| FactValue::$kind(fields!(@$kind facts.$name)),
        }),*];
    };
    (@Strings $value:expr) => { &$value };
    (@$other:ident $value:expr) => { $value };
}

fields! {
    started Bool "it logged at least one loss";
    ended Bool "it will log no more";
    crashed Bool "it ended before its time without saying so";
    training_loss Bool "it is judged by its training loss; where it logged too little of one, by its validation loss";
    steps Number "newest step of the training loss";
    loss_start Number "where the loss started";
    loss_end Number "where the loss stands at the end";
    loss_best Number "the best level of the loss";
    progress Number "share of the starting loss that is gone, 0 to 1; negative where it grew";
    accuracy Number "training accuracy at the end, 0 to 1";
    finite Bool "every loss was finite";
    non_finite_step Number "step of the first NaN or infinity";
    finite_points Number "finite losses before the first NaN or infinity";
    fits Bool "accuracy of at least 0.9999, or the loss fell by three orders of magnitude";
    learned Bool "the loss is significantly and substantially below its start";
    generalised Bool "the validation loss was once significantly and substantially below where training started, or validation is right well beyond chance";
    validation_best Number "the best level of the validation loss";
    recovered Bool "a case was opened for a problem that it does not show any more: it has learned since, though little";
    improving Bool "the loss was still falling at the end";
    warming_up Bool "the learning rate was still on its way up at the end";
    peak_rate Number "the highest learning rate that it logged";
    better Bool "significantly and substantially better than the baseline at equal steps; than one that overfits, in its validation loss";
    worse Bool "significantly and substantially worse than the baseline at equal steps";
    gain Number "share of the baseline's loss that is gone at equal steps, 1 at most; negative where it is higher";
    close Bool "better or not by so little that another seed could turn it";
    cured Bool "it learned, is better than the baseline, and shows no problem";
    symptoms Strings "ids of all its symptoms";
    problems Strings "ids of its symptoms of severity problem";
}

/// JSON has no NaN: an unknown number is null there.
mod nan {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { to.serialize_f64(*value) } else { to.serialize_none() }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
    }
}
