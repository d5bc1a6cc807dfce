//! A value computed for a script: `ceil(value / batch_size)`.
//!
//! Owns: the names available to formulas. Must not know: how the value is used.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use crate::facts::{Facts, Knobs};

use super::guard::{Evaluator, Expression, Names, When};
use super::{CaseFacts, Environment, Vocabulary};

/// The name of the value that is to be written.
const VALUE: &str = "value";

/// Settings that are not knobs of policies but are known for many jobs.
const KNOWN: [&str; 1] = ["epochs"];

/// An expression over the settings of a run, checked when it is read.
#[derive(Debug, Clone)]
pub struct Formula(Expression);

/// A problem in a formula, with its byte range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormulaFault {
    /// Where.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// A suggestion.
    pub help: Option<String>,
}

impl Formula {
    /// Reads and checks a formula. It can use `value`, the standard knobs, `epochs`, and the site's `own` knobs.
    ///
    /// # Errors
    ///
    /// All problems of the formula.
    pub fn compile<'k>(source: &str, own: impl IntoIterator<Item = &'k str>) -> Result<Formula, Vec<FormulaFault>> {
        let vocabulary = Vocabulary::new([]).with_knobs(own.into_iter().chain(KNOWN).chain([VALUE]));
        let (constants, conditions, tests) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let vocabulary = &vocabulary;
        let names =
            Names { vocabulary, constants: &constants, conditions: &conditions, tests: &tests, when: When::Writing };
        let told =
            |fault: super::guard::Fault| FormulaFault { span: fault.span, message: fault.message, help: fault.help };
        Expression::compile(source, &names).map(Formula).map_err(|faults| faults.into_iter().map(told).collect())
    }

    /// Its value for a value of its knob, given all known settings of the run.
    ///
    /// # Errors
    ///
    /// Why there is no value, for people: a setting is unknown, or the result is not finite.
    pub fn value(&self, value: &Value, settings: &Knobs) -> Result<Value, String> {
        let mut knobs = settings.clone();
        knobs.insert(VALUE.to_owned(), value.clone());
        let (facts, case) = (Facts { knobs, ..Facts::default() }, CaseFacts::default());
        let mut evaluator = Evaluator::new(Environment { baseline: &facts, experiment: None, case: &case, attempt: 1 });
        let result = evaluator.value(&self.0).to_json();
        result.filter(|_| !evaluator.faulty()).ok_or_else(|| {
            let why = evaluator.remarks();
            if why.is_empty() { "its value is not finite".to_owned() } else { why }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(formula: &str, value: Value, settings: Value) -> Result<Value, String> {
        let formula = Formula::compile(formula, ["width"]).expect("it is right");
        formula.value(&value, &settings.as_object().expect("an object").clone().into_iter().collect())
    }

    #[test]
    fn values_are_computed_from_all_settings() {
        assert_eq!(value("ceil(value / batch_size)", json!(100), json!({"batch_size": 32})), Ok(json!(4)));
        assert_eq!(value("ceil(value / batch_size)", json!(0.3), json!({"batch_size": 0.1})), Ok(json!(3)));
        assert_eq!(value("floor(value / width) * epochs", json!(7), json!({"width": 2, "epochs": 5})), Ok(json!(15)));
        assert_eq!(value("value == null ? 0 : value", json!(null), json!({})), Ok(json!(0)));
    }

    #[test]
    fn what_is_not_known_is_said() {
        assert_eq!(value("value / batch_size", json!(1), json!({})).unwrap_err(), "unknown: `batch_size`");
        assert_eq!(
            value("value / batch_size", json!(1), json!({"batch_size": 0})).unwrap_err(),
            "its value is not finite"
        );
        assert!(value("value * 2", json!("adam"), json!({})).unwrap_err().contains("not a number"));
    }

    #[test]
    fn names_are_checked_with_their_place() {
        let faults = Formula::compile("ceil(value / batchsize)", []).unwrap_err();
        assert_eq!((faults[0].span.clone(), faults[0].message.as_str()), (13..22, "there is no knob `batchsize`"));
        assert_eq!(faults[0].help.as_deref(), Some("did you mean `batch_size`?"));
        for wrong in ["baseline.steps", "attempt", "", "value +", "round(value)"] {
            assert!(Formula::compile(wrong, []).is_err(), "{wrong}");
        }
    }
}
