//! Converts text to a checked expression.
//!
//! Owns: the supported subset of CEL, and the types of its operators. Must not know: the meaning of names.

use std::ops::Range;

use cel_core::parser::{ParseOptions, parse_with_options};
use cel_core::{BinaryOp, Expr, SpannedExpr, UnaryOp};

use super::names::{Names, Wrong};
use super::{Arithmetic, Datum, Expression, Node, Order, Read, Type};

/// Longer expressions are rejected: use several outcomes or constants instead.
const MAX_BYTES: usize = 600;

/// Maximum number of characters that can open a nesting level; the parser recurses for each, and a stack of 2 MiB is
/// sufficient for more than twice as many.
const MAX_LEVELS: usize = 40;

/// Maximum number of operators; an expression is as deep as its number of consecutive operators.
const MAX_MARKS: usize = 120;

/// A problem in an expression, with its byte range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct Fault {
    pub(in crate::policy) span: Range<usize>,
    pub(in crate::policy) message: String,
    pub(in crate::policy) help: Option<String>,
}

pub(super) fn compile(source: &str, names: &Names<'_>) -> Result<Expression, Vec<Fault>> {
    let whole = |message: String| vec![Fault { span: 0..source.len(), message, help: None }];
    if source.trim().is_empty() {
        return Err(whole("an expression is missing".to_owned()));
    }
    let count = |marks: &[u8]| source.bytes().filter(|b| marks.contains(b)).count();
    if source.len() > MAX_BYTES || count(b"([{!?-") > MAX_LEVELS || count(b"([{!?-+*/%<>=&|.") > MAX_MARKS {
        let message = format!(
            "this expression is too long: at most {MAX_BYTES} bytes, {MAX_MARKS} operators and {MAX_LEVELS} parentheses"
        );
        return Err(whole(message));
    }
    let parsed = parse_with_options(source, ParseOptions::without_macros());
    let tree = match (parsed.ast, parsed.errors.is_empty()) {
        (Some(tree), true) => tree,
        _ if parsed.errors.is_empty() => return Err(whole("this is not an expression".to_owned())),
        _ => {
            let fault = |e: cel_core::ParseError| Fault { span: e.span, message: lowercase(&e.message), help: None };
            return Err(parsed.errors.into_iter().map(fault).collect());
        }
    };
    let mut lowering = Lowering { source, names, faults: Vec::new() };
    match (lowering.lower(&tree), lowering.faults.is_empty()) {
        (Some((node, kind)), true) => Ok(Expression { source: source.trim().to_owned(), node, kind }),
        _ => Err(lowering.faults),
    }
}

fn lowercase(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

pub(super) type Typed = Option<(Node, Type)>;

pub(super) struct Lowering<'s> {
    source: &'s str,
    pub(super) names: &'s Names<'s>,
    faults: Vec<Fault>,
}

impl Lowering<'_> {
    pub(super) fn lower(&mut self, expr: &SpannedExpr) -> Typed {
        match &expr.node {
            Expr::Null => Some((Node::Constant(Datum::Null), Type::Null)),
            Expr::Bool(value) => Some((Node::Constant(Datum::Bool(*value)), Type::Bool)),
            #[expect(clippy::cast_precision_loss, reason = "there is one number type; no number here needs 53 bits")]
            Expr::Int(value) => Some((Node::Constant(Datum::Number(*value as f64)), Type::Number)),
            Expr::Float(value) => Some((Node::Constant(Datum::Number(*value)), Type::Number)),
            Expr::String(text) => Some((Node::Constant(Datum::Text(text.clone())), Type::Text)),
            Expr::List(_) => self.list(expr),
            Expr::Unary { op, expr: inner } => self.unary(*op, inner),
            Expr::Binary { op, left, right } => self.binary(*op, (left, right), expr),
            Expr::Ternary { cond, then_expr, else_expr } => self.choice(cond, then_expr, else_expr),
            Expr::Call { expr: callee, args } => self.call(callee, args, expr),
            Expr::Ident(_) | Expr::Member { .. } | Expr::Index { .. } => self.name(expr),
            _ => self.fault(&expr.span, "this part of CEL is not supported", None),
        }
    }

    pub(super) fn fault<T>(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Option<T> {
        self.faults.push(Fault { span: span.clone(), message: message.into(), help });
        None
    }

    pub(super) fn wrong<T>(&mut self, span: &Range<usize>, (message, help): Wrong) -> Option<T> {
        self.fault(span, message, help)
    }

    fn text(&self, span: &Range<usize>) -> String {
        self.source.get(span.clone()).unwrap_or("this").to_owned()
    }

    fn name(&mut self, expr: &SpannedExpr) -> Typed {
        let Some(path) = path(expr) else {
            return self.fault(
                &expr.span,
                "only names have parts",
                Some("index only case.outcomes[\"TEST\"] and case.entered[\"TEST\"]".to_owned()),
            );
        };
        match self.names.resolve(&path, &self.text(&expr.span)) {
            Ok(named) => Some(named),
            Err(wrong) => self.wrong(&expr.span, wrong),
        }
    }

    fn list(&mut self, expr: &SpannedExpr) -> Typed {
        let Expr::List(elements) = &expr.node else { return None };
        let mut items = Vec::new();
        let mut kind = None;
        for element in elements {
            let (node, one) = self.lower(&element.expr)?;
            let many = match (one, &node) {
                (Type::Text, Node::Constant(_)) => Type::Texts,
                (Type::Number, Node::Constant(_)) => Type::Numbers,
                _ => return self.fault(&element.expr.span, "a list may hold only texts or only numbers", None),
            };
            if *kind.get_or_insert(many) != many {
                return self.fault(&element.expr.span, "a list may hold only texts or only numbers", None);
            }
            if let Node::Constant(datum) = node {
                items.push(datum);
            }
        }
        Some((Node::Constant(Datum::List(items)), kind.unwrap_or(Type::Texts)))
    }

    fn unary(&mut self, op: UnaryOp, inner: &SpannedExpr) -> Typed {
        match op {
            UnaryOp::Not => {
                let node = self.truth(inner)?;
                Some((Node::Not(Box::new(node)), Type::Bool))
            }
            UnaryOp::Neg => {
                let node = self.number(inner, "-")?;
                Some((Node::Negate(Box::new(node)), Type::Number))
            }
        }
    }

    fn binary(&mut self, op: BinaryOp, sides: (&SpannedExpr, &SpannedExpr), expr: &SpannedExpr) -> Typed {
        let (left, right) = sides;
        let arithmetic = |op, a, b| Some((Node::Compute(op, Box::new(a), Box::new(b)), Type::Number));
        let order = |op, a, b| Some((Node::Order(op, Box::new(a), Box::new(b)), Type::Bool));
        match op {
            BinaryOp::And | BinaryOp::Or => {
                let (a, b) = (self.truth(left), self.truth(right));
                let (a, b) = (Box::new(a?), Box::new(b?));
                Some((if op == BinaryOp::And { Node::And(a, b) } else { Node::Or(a, b) }, Type::Bool))
            }
            BinaryOp::Eq | BinaryOp::Ne => self.equality(op, sides, expr),
            BinaryOp::In => self.membership(left, right),
            BinaryOp::Mod => self.fault(&expr.span, "`%` is not supported", None),
            _ => {
                let sign = sign(op);
                let (a, b) = (self.number(left, sign), self.number(right, sign));
                let (a, b) = (a?, b?);
                match op {
                    BinaryOp::Add => arithmetic(Arithmetic::Add, a, b),
                    BinaryOp::Sub => arithmetic(Arithmetic::Subtract, a, b),
                    BinaryOp::Mul => arithmetic(Arithmetic::Multiply, a, b),
                    BinaryOp::Div => arithmetic(Arithmetic::Divide, a, b),
                    BinaryOp::Lt => order(Order::Less, a, b),
                    BinaryOp::Le => order(Order::LessOrEqual, a, b),
                    BinaryOp::Gt => order(Order::Greater, a, b),
                    _ => order(Order::GreaterOrEqual, a, b),
                }
            }
        }
    }

    fn equality(&mut self, op: BinaryOp, (left, right): (&SpannedExpr, &SpannedExpr), expr: &SpannedExpr) -> Typed {
        let (a, b) = (self.lower(left), self.lower(right));
        let ((a, a_kind), (b, b_kind)) = (a?, b?);
        let nullable = |kind: Type, other: Type| kind == Type::Null && other.is_knob();
        let alike = match (a_kind.plain(), b_kind.plain()) {
            (Some(x), Some(y)) => x == y || nullable(a_kind, b_kind) || nullable(b_kind, a_kind),
            _ => true,
        };
        if !alike {
            let message = format!("these can never be equal: {} and {}", a_kind.describe(), b_kind.describe());
            return self.fault(&expr.span, message, None);
        }
        for (side, other, span) in [(&a, &b, &right.span), (&b, &a, &left.span)] {
            if let (Node::Read(Read::Outcome(test), _), Node::Constant(Datum::Text(outcome))) = (side, other)
                && let Err(wrong) = self.names.outcome(test, outcome)
            {
                return self.wrong(span, wrong);
            }
        }
        let (a, b) = (Box::new(a), Box::new(b));
        Some((if op == BinaryOp::Eq { Node::Equal(a, b) } else { Node::Differs(a, b) }, Type::Bool))
    }

    fn membership(&mut self, left: &SpannedExpr, right: &SpannedExpr) -> Typed {
        let (item, list) = (self.lower(left), self.lower(right));
        let ((item, item_kind), (list, list_kind)) = (item?, list?);
        let wanted = match list_kind {
            Type::Texts => Type::Text,
            Type::Numbers => Type::Number,
            other => {
                let message = format!("`in` needs a list, but this is {}", other.describe());
                return self.fault(&right.span, message, None);
            }
        };
        if item_kind.plain().is_some_and(|kind| kind != wanted) {
            let message = format!("this is {}, which {} cannot contain", item_kind.describe(), list_kind.describe());
            return self.fault(&left.span, message, None);
        }
        if let (Node::Constant(Datum::Text(id)), Node::Read(Read::Fact(..), _)) = (&item, &list)
            && let Err(wrong) = self.names.symptom(id)
        {
            return self.wrong(&left.span, wrong);
        }
        Some((Node::In(Box::new(item), Box::new(list)), Type::Bool))
    }

    fn choice(&mut self, cond: &SpannedExpr, yes: &SpannedExpr, no: &SpannedExpr) -> Typed {
        let condition = self.truth(cond);
        let (a, b) = (self.lower(yes), self.lower(no));
        let ((a, a_kind), (b, b_kind)) = (a?, b?);
        let kind = match (a_kind, b_kind) {
            (x, y) if x == y => x,
            (Type::Null, y) if y.is_knob() => y,
            (x, Type::Null) if x.is_knob() => x,
            (x, y) if x.plain().is_some() && x.plain() == y.plain() => {
                if x.is_knob() {
                    x
                } else {
                    y
                }
            }
            (x, y) if x.plain().is_none() || y.plain().is_none() => Type::Knob(crate::policy::KnobKind::Any),
            (x, y) => {
                let message = format!("the two sides of `:` differ: {} and {}", x.describe(), y.describe());
                return self.fault(&(yes.span.start..no.span.end), message, None);
            }
        };
        Some((Node::If(Box::new(condition?), Box::new(a), Box::new(b)), kind))
    }

    pub(super) fn truth(&mut self, expr: &SpannedExpr) -> Option<Node> {
        let (node, kind) = self.lower(expr)?;
        if kind == Type::Bool {
            return Some(node);
        }
        let help = kind
            .is_knob()
            .then(|| format!("a knob can be unknown, so compare it: `{} == true`", self.text(&expr.span)));
        self.fault(&expr.span, format!("this must be true or false, but it is {}", kind.describe()), help)
    }

    pub(super) fn number(&mut self, expr: &SpannedExpr, user: &str) -> Option<Node> {
        let (node, kind) = self.lower(expr)?;
        if kind.is_number() {
            return Some(node);
        }
        self.fault(&expr.span, format!("`{user}` needs numbers, but this is {}", kind.describe()), None)
    }
}

fn sign(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::Mod => "%",
        BinaryOp::Eq => "==",
        BinaryOp::Ne => "!=",
        BinaryOp::Lt => "<",
        BinaryOp::Le => "<=",
        BinaryOp::Gt => ">",
        BinaryOp::Ge => ">=",
        BinaryOp::In => "in",
        BinaryOp::And => "&&",
        BinaryOp::Or => "||",
    }
}

/// The parts of a dotted name; an index with a quoted string is also a part.
pub(super) fn path(expr: &SpannedExpr) -> Option<Vec<&str>> {
    match &expr.node {
        Expr::Ident(name) => Some(vec![name]),
        Expr::Member { expr: inner, field, optional: false } => {
            let mut path = path(inner)?;
            path.push(field);
            Some(path)
        }
        Expr::Index { expr: inner, index, optional: false } => match &index.node {
            Expr::String(part) => {
                let mut path = path(inner)?;
                path.push(part);
                Some(path)
            }
            _ => None,
        },
        _ => None,
    }
}
