//! The functions of expressions.
//!
//! Owns: the available functions and their arguments. Must not know: operators.

use std::ops::Range;

use cel_core::{Expr, SpannedExpr};

use crate::yaml::suggest;

use super::lower::{Lowering, Typed, path};
use super::{Datum, Function, Node, Type};

/// The functions of the language with the number of their arguments.
const FUNCTIONS: [(&str, Function, Range<usize>); 12] = [
    ("min", Function::Min, 2..9),
    ("max", Function::Max, 2..9),
    ("log10", Function::Log10, 1..2),
    ("pow", Function::Pow, 2..3),
    ("abs", Function::Abs, 1..2),
    ("int", Function::Int, 1..2),
    ("ceil", Function::Ceil, 1..2),
    ("floor", Function::Floor, 1..2),
    ("known", Function::Known, 1..2),
    ("holds", Function::Holds, 1..2),
    ("is_nan", Function::IsNan, 1..2),
    ("size", Function::Size, 1..2),
];

impl Lowering<'_> {
    pub(super) fn call(&mut self, callee: &SpannedExpr, args: &[SpannedExpr], expr: &SpannedExpr) -> Typed {
        let Expr::Ident(name) = &callee.node else {
            return self.fault(&expr.span, "only functions can be called, as in `known(baseline.learning_rate)`", None);
        };
        if name == "has_symptom" {
            return self.has_symptom(args, expr);
        }
        let Some((_, function, arity)) = FUNCTIONS.iter().find(|(known, ..)| known == name) else {
            let known = FUNCTIONS.iter().map(|(known, ..)| *known).chain(["has_symptom"]);
            return self.fault(&callee.span, format!("there is no function `{name}`"), suggest(name, known));
        };
        if !arity.contains(&args.len()) {
            let most = arity.end - 1;
            let wanted = if arity.start == most { most.to_string() } else { format!("{} to {most}", arity.start) };
            let message = format!("`{name}` takes {wanted} values, not {}", args.len());
            return self.fault(&expr.span, message, None);
        }
        let mut nodes = Vec::new();
        for arg in args {
            let node = match function {
                Function::Known => self.lower(arg).map(|(node, _)| node),
                Function::Holds => self.truth(arg),
                Function::Size => self.sized(arg),
                _ => self.number(arg, name),
            };
            nodes.push(node?);
        }
        let kind = match function {
            Function::Known | Function::Holds | Function::IsNan => Type::Bool,
            _ => Type::Number,
        };
        Some((Node::Call(*function, nodes), kind))
    }

    fn sized(&mut self, arg: &SpannedExpr) -> Option<Node> {
        match self.lower(arg)? {
            (node, Type::Texts | Type::Numbers) => Some(node),
            (_, kind) => self.fault(&arg.span, format!("`size` counts a list, but this is {}", kind.describe()), None),
        }
    }

    fn has_symptom(&mut self, args: &[SpannedExpr], expr: &SpannedExpr) -> Typed {
        let [job, id] = args else {
            return self.fault(&expr.span, "write has_symptom(baseline, \"SYMPTOM\")", None);
        };
        let path = path(job).unwrap_or_default();
        match self.names.job(&path) {
            Some(Ok(_)) => {}
            Some(Err(wrong)) => return self.wrong(&job.span, wrong),
            None => {
                let message = "this is not a job; use `baseline`, `experiment` or `case.shown.TEST`";
                return self.fault(&job.span, message, None);
            }
        }
        let Expr::String(symptom) = &id.node else {
            return self.fault(&id.span, "the symptom must be a text in quotes", None);
        };
        if let Err(wrong) = self.names.symptom(symptom) {
            return self.wrong(&id.span, wrong);
        }
        let list: Vec<&str> = path.iter().copied().chain(["symptoms"]).collect();
        match self.names.resolve(&list, &list.join(".")) {
            Ok((list, _)) => {
                let item = Node::Constant(Datum::Text(symptom.clone()));
                Some((Node::In(Box::new(item), Box::new(list)), Type::Bool))
            }
            Err(wrong) => self.wrong(&job.span, wrong),
        }
    }
}
