//! Expressions: conditions, computed changes, and expressions in braces within texts.
//!
//! Owns: the language (a subset of CEL with one number type), its types and values. Must not know: tests and states,
//! and their order.
//!
//! `cel-core` parses the grammar. Names, types and evaluation are our own: in CEL, a comparison with an unknown value
//! is an error. Here it is unknown, and so is its negation; a condition applies only if it is true.

mod call;
mod eval;
mod lower;
mod names;

pub(super) use eval::{Datum, Evaluator, show_number};
pub(super) use lower::Fault;
pub(super) use names::{Names, When};

use crate::facts::{FactType, Field};

use super::vocabulary::KnobKind;

/// The type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Number,
    Text,
    Texts,
    Numbers,
    Null,
    /// The value of a knob, which can also be null or unknown.
    Knob(KnobKind),
}

impl Type {
    pub(super) fn describe(self) -> &'static str {
        match self {
            Type::Bool => "true or false",
            Type::Number => "a number",
            Type::Text => "a text",
            Type::Texts => "a list of texts",
            Type::Numbers => "a list of numbers",
            Type::Null => "null",
            Type::Knob(KnobKind::Bool) => "a knob (true or false, or unknown)",
            Type::Knob(KnobKind::Integer | KnobKind::Number) => "a knob (a number, or unknown)",
            Type::Knob(KnobKind::Text) => "a knob (a text, or unknown)",
            Type::Knob(KnobKind::Any) => "a knob (of any type)",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Type::Number | Type::Knob(KnobKind::Integer | KnobKind::Number | KnobKind::Any))
    }

    /// The type without null and unknown; none if any type is possible.
    fn plain(self) -> Option<Type> {
        match self {
            Type::Knob(KnobKind::Any) => None,
            Type::Knob(KnobKind::Bool) => Some(Type::Bool),
            Type::Knob(KnobKind::Integer | KnobKind::Number) => Some(Type::Number),
            Type::Knob(KnobKind::Text) => Some(Type::Text),
            other => Some(other),
        }
    }

    fn is_knob(self) -> bool {
        matches!(self, Type::Knob(_))
    }

    fn of_fact(kind: FactType) -> Type {
        match kind {
            FactType::Bool => Type::Bool,
            FactType::Number => Type::Number,
            FactType::Strings => Type::Texts,
        }
    }
}

/// The job that a name refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Job {
    Baseline,
    Experiment,
    /// The best experiment of a test.
    Shown(String),
}

/// A name in an expression.
#[derive(Debug, Clone)]
pub(super) enum Read {
    Fact(Job, Field),
    Knob(Job, String),
    /// The value to which the best experiment of a test changed a knob.
    Changed(String, String),
    /// The latest outcome of a test; empty if it did not run.
    Outcome(String),
    /// The number of experiments or questions of a test.
    Entered(String),
    Experiments,
    /// The number of changes that were read as a cure and are compared with others.
    Promising,
    Hours,
    Attempt,
}

impl Read {
    /// The test whose result it is.
    fn of_test(&self) -> Option<&String> {
        match self {
            Read::Fact(Job::Shown(test), _) | Read::Knob(Job::Shown(test), _) => Some(test),
            Read::Changed(test, _) | Read::Outcome(test) => Some(test),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Min,
    Max,
    Log10,
    Pow,
    Abs,
    Int,
    Ceil,
    Floor,
    Known,
    Holds,
    IsNan,
    Size,
}

/// An expression with checked names and types.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Constant(Datum),
    /// A name as written in the text.
    Read(Read, String),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Order(Order, Box<Node>, Box<Node>),
    Equal(Box<Node>, Box<Node>),
    Differs(Box<Node>, Box<Node>),
    Compute(Arithmetic, Box<Node>, Box<Node>),
    In(Box<Node>, Box<Node>),
    If(Box<Node>, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
}

/// A checked expression with its source text.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    source: String,
    node: Node,
    kind: Type,
}

impl Expression {
    /// Reads and checks an expression.
    ///
    /// # Errors
    ///
    /// All problems, each with its position in `source`.
    pub(super) fn compile(source: &str, names: &Names<'_>) -> Result<Self, Vec<Fault>> {
        lower::compile(source, names)
    }

    /// A guard: an expression that is true or false.
    ///
    /// # Errors
    ///
    /// As [`Expression::compile`]; also if the expression has another type.
    pub(super) fn guard(source: &str, names: &Names<'_>) -> Result<Self, Vec<Fault>> {
        let guard = Expression::compile(source, names)?;
        if guard.kind == Type::Bool {
            return Ok(guard);
        }
        let help = if guard.kind.is_knob() {
            format!("a knob can be unknown, so compare it: `{source} == true`")
        } else {
            "compare it with something".to_owned()
        };
        let message = format!("a guard must be true or false, but this is {}", guard.kind.describe());
        Err(vec![Fault { span: 0..source.len(), message, help: Some(help) }])
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn kind(&self) -> Type {
        self.kind
    }
}

#[cfg(test)]
mod tests;
