//! The observations of one job as typed numbers, for use in policies.
//!
//! Owns: the names that a guard may use for a job, with types and meaning. Must not know: policies, cases.

mod measure;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::evidence::Quantity;
pub use crate::jobs::{Knobs, same_value};
pub use measure::{Looked, measure};

use crate::evidence::{Kind, QUANTITIES, Quantity as Q, unknown};
use crate::numbers::HALF;

macro_rules! facts {
    ($($(#[$attribute:meta])* $name:ident: $type:ty = $default:expr, $kind:ident $summary:literal;)*) => {
        /// The observations of one job: every known quantity of the evidence, and what follows from several of them or from
        /// the comparison with a baseline. Unknown numbers are NaN, and every comparison with NaN is false.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Facts {
            $(#[doc = $summary] $(#[$attribute])* pub $name: $type,)*
            /// The kind of training.
            pub kind: Kind,
            /// Every known quantity of the evidence, by name.
            pub evidence: BTreeMap<String, f64>,
            /// The known knobs. Guards use them like facts: `baseline.learning_rate`.
            pub knobs: Knobs,
        }

        impl Default for Facts {
            fn default() -> Self {
                let (kind, evidence, knobs) = (Kind::default(), BTreeMap::new(), Knobs::new());
                Facts { $($name: $default,)* kind, evidence, knobs }
            }
        }

        const FIELDS: &[Field] = &[$(Field {
            name: stringify!($name),
            kind: FactType::$kind,
            summary: $summary,
            get: Some(|facts| FactValue::$kind(facts!(@$kind facts.$name))),
        }),*];
    };
    (@Strings $value:expr) => { &$value };
    (@$other:ident $value:expr) => { $value };
}

facts! {
    started: bool = false, Bool "the job logged at least one loss";
    ended: bool = false, Bool "the job has ended and will not log anything more";
    crashed: bool = false, Bool "the job ended early without reporting its end";
    training_loss: bool = true, Bool "the job is judged by its training loss; false if it logged too little of it and is judged by its validation loss";
    finite: bool = true, Bool "every loss was finite";
    fits: bool = false, Bool "accuracy of at least 0.9999, or the loss fell by three orders of magnitude";
    learned: bool = false, Bool "the loss is significantly and substantially lower than at the start";
    generalised: bool = false, Bool "the validation loss was at some point significantly and substantially lower than at the start, or validation accuracy is well above chance";
    recovered: bool = false, Bool "the problem for which the case was opened is gone: the job has learned since, even if only a little";
    improving: bool = false, Bool "the loss was still falling at the end";
    better: bool = false, Bool "significantly and substantially better than the baseline at equal steps; for a baseline that overfits, in validation loss";
    worse: bool = false, Bool "significantly and substantially worse than the baseline at equal steps";
    #[serde(with = "unknown")]
    gain: f64 = f64::NAN, Number "relative reduction of the baseline's loss at equal steps, at most 1; negative if the loss is higher";
    close: bool = false, Bool "the difference is so small that another seed could reverse the result";
    cured: bool = false, Bool "the job learned, is better than the baseline, and shows no problem";
    symptoms: Vec<String> = Vec::new(), Strings "ids of all symptoms";
    problems: Vec<String> = Vec::new(), Strings "ids of symptoms with severity `problem`";
}

impl Facts {
    /// A quantity; NaN if it is unknown.
    pub fn number(&self, quantity: Quantity) -> f64 {
        self.evidence.get(quantity.id()).copied().unwrap_or(f64::NAN)
    }

    /// The latest step of the judged series.
    pub fn steps(&self) -> f64 {
        self.number(Quantity::Steps)
    }

    /// The same facts with other quantities.
    #[must_use]
    pub fn with(mut self, quantities: impl IntoIterator<Item = (Quantity, f64)>) -> Facts {
        self.evidence.extend(quantities.into_iter().map(|(quantity, value)| (quantity.id().to_owned(), value)));
        self
    }

    /// One line for the journal.
    pub fn in_words(&self) -> String {
        if !self.started {
            return if self.crashed { "it crashed before its first loss" } else { "it logged no loss" }.to_owned();
        }
        let [start, end, accuracy] = [Q::LossStart, Q::LossEnd, Q::Accuracy].map(|quantity| self.number(quantity));
        let [finite, step] = [Q::FinitePoints, Q::NonFiniteStep].map(|quantity| self.number(quantity));
        let mut words = if self.finite {
            format!("loss {start:.4} → {end:.4} in {:.0} steps", self.steps())
        } else {
            format!("not finite after {finite:.0} finite losses (step {step:.0})")
        };
        let mut say = |holds: bool, what: &str| {
            if holds {
                words.push_str(", ");
                words.push_str(what);
            }
        };
        say(accuracy.is_finite(), &format!("accuracy {accuracy:.3}"));
        say(self.fits, "fits its training data");
        say(self.cured, "cured");
        say(self.better && !self.cured, "better than the baseline");
        say(self.worse, "worse than the baseline");
        let compared = !self.gain.is_nan();
        say(compared && !self.better && !self.worse && !self.fits && self.finite, "no clear difference");
        say(self.crashed, "ended early");
        say(!self.problems.is_empty(), &self.problems.join(" and "));
        words
    }
}

/// The type of a fact in guards.
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
    /// not known
    Unknown,
    /// true or false
    Bool(bool),
    /// a double
    Number(f64),
    /// a list of strings
    Strings(&'a [String]),
}

/// A name that a guard may use for a job.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The name, as in `experiment.fits`.
    pub name: &'static str,
    /// Its type.
    pub kind: FactType,
    /// Its meaning, in one line.
    pub summary: &'static str,
    /// How it is read, unless it is a quantity.
    get: Option<for<'a> fn(&'a Facts) -> FactValue<'a>>,
}

impl Field {
    /// Every name: facts, then the quantities of the evidence.
    pub fn all() -> impl Iterator<Item = Field> {
        FIELDS.iter().copied().chain(QUANTITIES.iter().copied().map(Field::of_quantity))
    }

    /// The field with a name.
    pub fn named(name: &str) -> Option<Field> {
        Field::all().find(|field| field.name == name)
    }

    /// Whether it is a quantity of the evidence, documented in its table.
    pub fn is_quantity(&self) -> bool {
        self.get.is_none()
    }

    fn of_quantity(quantity: Quantity) -> Field {
        let kind = if quantity.unit() == "yes or no" { FactType::Bool } else { FactType::Number };
        Field { name: quantity.id(), kind, summary: quantity.meaning(), get: None }
    }

    /// Reads it.
    pub fn of<'a>(&self, facts: &'a Facts) -> FactValue<'a> {
        let known = facts.evidence.get(self.name).filter(|value| !value.is_nan());
        match (self.get, known) {
            (Some(get), _) => get(facts),
            (None, None) => FactValue::Unknown,
            (None, Some(value)) if self.kind == FactType::Bool => FactValue::Bool(*value > HALF),
            (None, Some(value)) => FactValue::Number(*value),
        }
    }
}
