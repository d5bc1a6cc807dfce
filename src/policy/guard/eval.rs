//! The value of a checked expression.
//!
//! Owns: values, and the propagation of unknown ones. Must not know: text and types.
//!
//! Two rules make evaluation total. Unknown values propagate through arithmetic, comparisons and `!`; `&&` and `||`
//! follow Kleene logic, in which one known side can decide. A value of the wrong type (only a knob can have one) is a
//! fault, and a guard with a fault is false.

use std::collections::BTreeSet;

use serde_json::{Number, Value};

use crate::facts::{FactValue, Facts};
use crate::policy::Environment;

use super::{Arithmetic, Expression, Function, Job, Node, Order, Read};

/// The value of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::policy) enum Datum {
    /// Unknown: a fact that is NaN, or a knob that was not logged.
    Unknown,
    Null,
    Bool(bool),
    /// Finite or infinite, never NaN.
    Number(f64),
    Text(String),
    List(Vec<Datum>),
}

impl Datum {
    fn of_number(number: f64) -> Datum {
        if number.is_nan() { Datum::Unknown } else { Datum::Number(number) }
    }

    fn of_truth(truth: Option<bool>) -> Datum {
        truth.map_or(Datum::Unknown, Datum::Bool)
    }

    fn of_json(value: Option<&Value>) -> Datum {
        match value {
            Some(Value::Null) => Datum::Null,
            Some(Value::Bool(value)) => Datum::Bool(*value),
            Some(Value::Number(number)) => number.as_f64().map_or(Datum::Unknown, Datum::of_number),
            Some(Value::String(text)) => Datum::Text(text.clone()),
            _ => Datum::Unknown,
        }
    }

    fn of_fact(value: FactValue<'_>) -> Datum {
        match value {
            FactValue::Unknown => Datum::Unknown,
            FactValue::Bool(value) => Datum::Bool(value),
            FactValue::Number(number) => Datum::of_number(number),
            FactValue::Strings(list) => Datum::List(list.iter().map(|s| Datum::Text(s.clone())).collect()),
        }
    }

    /// The value in the form of a knob's value; none if it is unknown or not valid for a knob. Numbers are rounded to
    /// twelve digits, so that a tenth of 0.0003 is 0.00003.
    pub(in crate::policy) fn to_json(&self) -> Option<Value> {
        match self {
            Datum::Null => Some(Value::Null),
            Datum::Bool(value) => Some(Value::Bool(*value)),
            Datum::Text(text) => Some(Value::from(text.as_str())),
            Datum::Number(number) if number.is_finite() => {
                let rounded = format!("{number:.11e}").parse().unwrap_or(*number);
                match whole(rounded) {
                    Some(integer) => Some(Value::from(integer)),
                    None => Number::from_f64(rounded).map(Value::Number),
                }
            }
            Datum::Number(_) | Datum::Unknown | Datum::List(_) => None,
        }
    }

    /// The value in words.
    pub(in crate::policy) fn show(&self) -> String {
        match self {
            Datum::Unknown => "unknown".to_owned(),
            Datum::Null => "null".to_owned(),
            Datum::Bool(value) => value.to_string(),
            Datum::Number(number) => show_number(*number),
            Datum::Text(text) => text.clone(),
            Datum::List(items) if items.is_empty() => "none".to_owned(),
            Datum::List(items) => items.iter().map(Datum::show).collect::<Vec<_>>().join(", "),
        }
    }
}

/// An integer that a double represents exactly.
fn whole(number: f64) -> Option<i64> {
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
    (number.fract() == 0.0 && number.abs() <= LARGEST).then_some(number as i64)
}

/// The integer part; 0.3 / 0.1 gives 3, although it is slightly less in doubles.
fn truncate(number: f64) -> f64 {
    nearly(number).unwrap_or_else(|| number.trunc())
}

/// The integer that a number equals apart from rounding.
fn nearly(number: f64) -> Option<f64> {
    let nearest = number.round();
    ((number - nearest).abs() <= 1e-9 * number.abs().max(1.0)).then_some(nearest)
}

/// A number for people: six digits, with an exponent only if that is shorter.
pub(in crate::policy) fn show_number(number: f64) -> String {
    if let Some(integer) = whole(number) {
        return integer.to_string();
    }
    let rounded: f64 = format!("{number:.5e}").parse().unwrap_or(number);
    if (1e-5..1e9).contains(&rounded.abs()) { rounded.to_string() } else { format!("{rounded:e}") }
}

/// Evaluates expressions in one environment and records problems.
#[derive(Debug)]
pub(in crate::policy) struct Evaluator<'e> {
    environment: Environment<'e>,
    /// Tests that can still be made: their outcomes are unknown, where those of other tests are empty.
    open: Option<&'e BTreeSet<String>>,
    /// Whether something of such a test was read.
    awaits: bool,
    unknown: BTreeSet<String>,
    faults: Vec<String>,
}

impl<'e> Evaluator<'e> {
    pub(in crate::policy) fn new(environment: Environment<'e>) -> Self {
        Evaluator { environment, open: None, awaits: false, unknown: BTreeSet::new(), faults: Vec::new() }
    }

    /// Whether a guard is true. A guard with a fault is false.
    pub(in crate::policy) fn holds(&mut self, guard: &Expression) -> bool {
        let before = self.faults.len();
        let value = self.eval(&guard.node);
        value == Datum::Bool(true) && self.faults.len() == before
    }

    /// Whether a guard is true, or depends on the outcome of a test that can still be made.
    pub(in crate::policy) fn may_hold(
        environment: Environment<'e>,
        open: &'e BTreeSet<String>,
        guard: &Expression,
    ) -> bool {
        let mut evaluator = Evaluator { open: Some(open), ..Evaluator::new(environment) };
        match evaluator.eval(&guard.node) {
            Datum::Bool(truth) => truth && evaluator.faults.is_empty(),
            value => value == Datum::Unknown && evaluator.awaits,
        }
    }

    pub(in crate::policy) fn value(&mut self, expression: &Expression) -> Datum {
        self.eval(&expression.node)
    }

    /// Whether a value had the wrong type.
    pub(in crate::policy) fn faulty(&self) -> bool {
        !self.faults.is_empty()
    }

    /// The unknown values and faults so far, in words; empty if there are none.
    pub(in crate::policy) fn remarks(&self) -> String {
        let mut remarks = Vec::new();
        if !self.unknown.is_empty() {
            let names: Vec<String> = self.unknown.iter().map(|name| format!("`{name}`")).collect();
            remarks.push(format!("unknown: {}", names.join(", ")));
        }
        remarks.extend(self.faults.iter().cloned());
        remarks.join("; ")
    }

    fn eval(&mut self, node: &Node) -> Datum {
        match node {
            Node::Constant(datum) => datum.clone(),
            Node::Read(read, source) => {
                let value = self.read(read);
                if value == Datum::Unknown {
                    self.unknown.insert(source.clone());
                    self.awaits |= read.of_test().is_some_and(|test| self.open.is_some_and(|open| open.contains(test)));
                }
                value
            }
            Node::Not(inner) => Datum::of_truth(self.truth(inner).map(|truth| !truth)),
            Node::And(a, b) => self.settled_by(false, a, b),
            Node::Or(a, b) => self.settled_by(true, a, b),
            Node::Negate(inner) => self.number(inner).map_or(Datum::Unknown, |n| Datum::Number(-n)),
            Node::Order(order, a, b) => Datum::of_truth(self.order(*order, a, b)),
            Node::Equal(a, b) => Datum::of_truth(self.equal(a, b)),
            Node::Differs(a, b) => Datum::of_truth(self.equal(a, b).map(|equal| !equal)),
            Node::Compute(op, a, b) => self.compute(*op, a, b),
            Node::In(item, list) => match (self.eval(item), self.eval(list)) {
                (Datum::Unknown, _) | (_, Datum::Unknown) => Datum::Unknown,
                (item, Datum::List(items)) => Datum::Bool(items.contains(&item)),
                _ => Datum::Bool(false),
            },
            Node::If(condition, a, b) => match self.truth(condition) {
                Some(true) => self.eval(a),
                Some(false) => self.eval(b),
                None => Datum::Unknown,
            },
            Node::Call(function, args) => self.call(*function, args),
        }
    }

    fn read(&self, read: &Read) -> Datum {
        let case = self.environment.case;
        match read {
            Read::Fact(job, field) => self.job(job).map_or(Datum::Unknown, |facts| Datum::of_fact(field.of(facts))),
            Read::Knob(job, knob) => Datum::of_json(self.job(job).and_then(|facts| facts.knobs.get(knob))),
            Read::Changed(state, knob) => Datum::of_json(case.changes.get(state).and_then(|c| c.get(knob))),
            Read::Outcome(test) => match case.outcomes.get(test) {
                None if self.open.is_some_and(|open| open.contains(test)) => Datum::Unknown,
                outcome => Datum::Text(outcome.cloned().unwrap_or_default()),
            },
            Read::Entered(state) => Datum::Number(case.entered.get(state).copied().unwrap_or(0).into()),
            Read::Experiments => Datum::Number(case.experiments.into()),
            Read::Hours => Datum::of_number(case.hours),
            Read::Promising => Datum::Number(case.compared() as f64),
            Read::Attempt => Datum::Number(self.environment.attempt.into()),
        }
    }

    fn job(&self, job: &Job) -> Option<&'e Facts> {
        match job {
            Job::Baseline => Some(self.environment.baseline),
            Job::Experiment => self.environment.experiment,
            Job::Shown(state) => self.environment.case.shown.get(state),
        }
    }

    /// None if it is unknown.
    fn truth(&mut self, node: &Node) -> Option<bool> {
        if let Datum::Bool(truth) = self.eval(node) { Some(truth) } else { None }
    }

    /// `&&` and `||`: a side with the value `settles` decides, regardless of the other side.
    fn settled_by(&mut self, settles: bool, a: &Node, b: &Node) -> Datum {
        let first = self.truth(a);
        if first == Some(settles) {
            return Datum::Bool(settles);
        }
        let second = self.truth(b);
        if second == Some(settles) {
            return Datum::Bool(settles);
        }
        Datum::of_truth(first.and(second))
    }

    fn number(&mut self, node: &Node) -> Option<f64> {
        match self.eval(node) {
            Datum::Number(number) => Some(number),
            Datum::Unknown => None,
            other => {
                let name = if let Node::Read(_, source) = node { source } else { "a value" };
                self.faults.push(format!("`{name}` is {}, not a number", other.show()));
                None
            }
        }
    }

    /// None if a side is unknown.
    fn order(&mut self, order: Order, a: &Node, b: &Node) -> Option<bool> {
        let (Some(a), Some(b)) = (self.number(a), self.number(b)) else { return None };
        Some(match order {
            Order::Less => a < b,
            Order::LessOrEqual => a <= b,
            Order::Greater => a > b,
            Order::GreaterOrEqual => a >= b,
        })
    }

    /// None if a side is unknown.
    fn equal(&mut self, a: &Node, b: &Node) -> Option<bool> {
        let (a, b) = (self.eval(a), self.eval(b));
        if a == Datum::Unknown || b == Datum::Unknown { None } else { Some(a == b) }
    }

    fn compute(&mut self, op: Arithmetic, a: &Node, b: &Node) -> Datum {
        let (Some(a), Some(b)) = (self.number(a), self.number(b)) else { return Datum::Unknown };
        Datum::of_number(match op {
            Arithmetic::Add => a + b,
            Arithmetic::Subtract => a - b,
            Arithmetic::Multiply => a * b,
            Arithmetic::Divide => a / b,
        })
    }

    fn call(&mut self, function: Function, args: &[Node]) -> Datum {
        if let (Function::Known | Function::IsNan, [arg]) = (function, args) {
            // Testing whether something is known is not a problem.
            let known = Evaluator::new(self.environment).eval(arg) != Datum::Unknown;
            return Datum::Bool(known == (function == Function::Known));
        }
        if let (Function::Holds, [arg]) = (function, args) {
            return Datum::Bool(self.truth(arg) == Some(true));
        }
        if let (Function::Size, [arg]) = (function, args) {
            #[expect(clippy::cast_precision_loss, reason = "a list of symptoms is short")]
            return match self.eval(arg) {
                Datum::List(items) => Datum::Number(items.len() as f64),
                _ => Datum::Unknown,
            };
        }
        let numbers: Option<Vec<f64>> = args.iter().map(|arg| self.number(arg)).collect();
        let Some(numbers) = numbers else { return Datum::Unknown };
        Datum::of_number(match (function, numbers.as_slice()) {
            (Function::Min, all) => all.iter().copied().fold(f64::INFINITY, f64::min),
            (Function::Max, all) => all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            (Function::Log10, [x]) => x.log10(),
            (Function::Pow, [x, y]) => x.powf(*y),
            (Function::Abs, [x]) => x.abs(),
            (Function::Int, [x]) => truncate(*x),
            (Function::Ceil, [x]) => nearly(*x).unwrap_or_else(|| x.ceil()),
            (Function::Floor, [x]) => nearly(*x).unwrap_or_else(|| x.floor()),
            _ => f64::NAN,
        })
    }
}
