//! The YAML file to a checked policy.
//!
//! Owns: the keys of the file. Must not know: how a case walks through the states.
//!
//! Reading goes on after a mistake, so that one look shows them all. What could not be read is replaced by something
//! empty; it is never used, for a policy with a problem is not returned.

mod state;

use std::collections::{BTreeMap, BTreeSet};

use super::KNOBS;
use super::check;
use super::file::{Constant, Limits, OWN_OUTCOMES, Policy};
use super::guard::{Expression, Fault, Names, When};
use super::text::Text;
use super::vocabulary::Vocabulary;
use crate::yaml::{self, Fields, Key, Kind, Node};
use crate::yaml::{Place, Problem, Problems, suggest};

const KEYS: [&str; 9] =
    ["policy", "summary", "source", "own_knobs", "limits", "start", "exhausted", "constants", "states"];

/// Names with a meaning of their own in expressions.
const RESERVED: [&str; 7] = ["baseline", "experiment", "case", "attempt", "true", "false", "null"];

/// Reads a policy and checks everything that can be checked without running it.
///
/// `origin` names the text in messages; `vocabulary` is what the policy may name.
///
/// # Errors
///
/// Every problem that was found, in the order of the text.
pub fn parse(text: &str, origin: &str, vocabulary: &Vocabulary) -> Result<Policy, Vec<Problem>> {
    let mut problems = Problems::new(text, origin);
    let Some(root) = yaml::read(&mut problems) else { return Err(problems.into_sorted()) };
    let mut reader = Reader::new(problems, vocabulary.clone(), &root);
    let policy = reader.policy(&root);
    if let Some(policy) = &policy
        && reader.complete
    {
        check::check(policy, &reader.places, &mut reader.problems);
    }
    match policy {
        Some(policy) if reader.problems.is_empty() => Ok(policy),
        _ => Err(reader.problems.into_sorted()),
    }
}

/// Where the parts stand that are checked once the whole is known.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The names of the states.
    pub(super) states: BTreeMap<String, Place>,
    /// The values of `from`, by state.
    pub(super) from: BTreeMap<String, Place>,
    /// The value of `exhausted`.
    pub(super) exhausted: Place,
    /// The outcomes that repeat, by state.
    pub(super) repeats: BTreeMap<String, Place>,
}

struct Reader<'t> {
    problems: Problems<'t>,
    vocabulary: Vocabulary,
    constants: BTreeMap<String, f64>,
    /// Every state with the names of its outcomes.
    outcomes: BTreeMap<String, BTreeSet<String>>,
    places: Places,
    /// Every state has an action, and every way out leads to a state: the graph can be checked.
    complete: bool,
}

impl<'t> Reader<'t> {
    fn new(problems: Problems<'t>, vocabulary: Vocabulary, root: &Node) -> Self {
        Reader {
            problems,
            vocabulary,
            constants: BTreeMap::new(),
            outcomes: outline(root),
            places: Places::default(),
            complete: true,
        }
    }

    fn policy(&mut self, root: &Node) -> Option<Policy> {
        let fields = Fields::new(root, "a policy", &KEYS, &mut self.problems)?;
        let name = fields.need("policy", "a policy", &mut self.problems).map(|node| self.words(node, "`policy`"));
        let summary = fields.get("summary").map(|node| self.words(node, "`summary`")).unwrap_or_default();
        let source = fields.get("source").map(|node| self.words(node, "`source`")).unwrap_or_default();
        if let Some(node) = fields.get("own_knobs") {
            self.own_knobs(node);
        }
        let limits = fields.get("limits").map(|node| self.limits(node)).unwrap_or_default();
        let constants = fields.get("constants").map(|node| self.read_constants(node)).unwrap_or_default();
        let start = fields.need("start", "a policy", &mut self.problems).map(|node| self.target(node, "`start`"));
        let exhausted = fields.get("exhausted").map(|node| {
            self.places.exhausted = node.place;
            self.target(node, "`exhausted`")
        });
        let states = fields.need("states", "a policy", &mut self.problems)?;
        let mut read = Vec::new();
        for (key, node) in states.entries("`states`", &mut self.problems) {
            self.identifier(&key.name, key.place, "a state");
            self.places.states.insert(key.name.clone(), key.place);
            read.extend(self.state(&key.name, key.place, node));
        }
        if read.is_empty() {
            self.problems.add(states.place, "a policy needs at least one state");
        }
        Some(Policy {
            name: name?,
            summary,
            source,
            limits,
            start: start?,
            exhausted,
            constants,
            states: read,
            vocabulary: self.vocabulary.clone(),
        })
    }

    /// Knobs that the policy brings along, each with its meaning.
    fn own_knobs(&mut self, node: &Node) {
        let mut brought = Vec::new();
        for (key, meaning) in node.entries("`own_knobs`", &mut self.problems) {
            self.identifier(&key.name, key.place, "a knob");
            if KNOBS.iter().any(|(known, _)| *known == key.name) {
                self.problems.add(key.place, format!("`{}` is a knob already", key.name));
            }
            self.words(meaning, "the meaning of a knob");
            brought.push(key.name.as_str());
        }
        self.vocabulary = std::mem::take(&mut self.vocabulary).bringing(brought.iter().copied());
    }

    fn limits(&mut self, node: &Node) -> Limits {
        let mut limits = Limits::default();
        let Some(fields) = Fields::new(node, "`limits`", &["experiments", "repeats", "hours"], &mut self.problems)
        else {
            return limits;
        };
        if let Some(n) = fields.get("experiments").and_then(|n| n.count("`experiments`", &mut self.problems)) {
            limits.experiments = n;
        }
        if let Some(n) = fields.get("repeats").and_then(|n| n.count("`repeats`", &mut self.problems)) {
            limits.repeats = n;
        }
        if let Some(node) = fields.get("hours")
            && let Some(hours) = node.number("`hours`", &mut self.problems)
        {
            if hours > 0.0 {
                limits.hours = hours;
            } else {
                self.problems.add(node.place, "`hours` must be above 0");
            }
        }
        limits
    }

    fn read_constants(&mut self, node: &Node) -> BTreeMap<String, Constant> {
        let mut constants = BTreeMap::new();
        for (key, node) in node.entries("`constants`", &mut self.problems) {
            self.identifier(&key.name, key.place, "a constant");
            if RESERVED.contains(&key.name.as_str()) {
                self.problems.add(key.place, format!("`{}` has a meaning of its own in expressions", key.name));
            }
            let mut constant = Constant { value: f64::NAN, why: String::new() };
            let value = match &node.kind {
                Kind::Map(_) => {
                    let fields = Fields::new(node, "a constant", &["value", "why"], &mut self.problems);
                    constant.why = fields
                        .as_ref()
                        .and_then(|fields| fields.get("why"))
                        .map(|why| self.words(why, "`why`"))
                        .unwrap_or_default();
                    fields.and_then(|fields| fields.need("value", "a constant", &mut self.problems))
                }
                _ => Some(node),
            };
            if let Some(value) = value.and_then(|value| value.number("a constant", &mut self.problems)) {
                constant.value = value;
            }
            self.constants.insert(key.name.clone(), constant.value);
            constants.insert(key.name.clone(), constant);
        }
        constants
    }

    /// A state's or a constant's name: it must be a name in expressions and in diagrams, too.
    fn identifier(&mut self, name: &str, at: Place, what: &str) {
        let mut chars = name.chars();
        let first = chars.next().is_some_and(|c| c.is_ascii_lowercase());
        if !first || !chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            let message = format!("`{name}` cannot be the name of {what}");
            self.problems.add_help(at, message, "a name has lowercase letters, digits and _, and begins with a letter");
        }
    }

    /// A text without expressions.
    fn words(&mut self, node: &Node, what: &str) -> String {
        node.text(what, &mut self.problems).map(|text| text.trim().to_owned()).unwrap_or_default()
    }

    /// The name of a state that exists.
    fn target(&mut self, node: &Node, what: &str) -> String {
        let Some(name) = node.text(what, &mut self.problems) else {
            self.complete = false;
            return String::new();
        };
        if !self.outcomes.contains_key(name) {
            self.complete = false;
            let help = suggest(name, self.outcomes.keys().map(String::as_str));
            self.problems.add_maybe(node.place, format!("there is no state `{name}`"), help);
        }
        name.to_owned()
    }

    /// A text with expressions.
    fn text(&mut self, node: &Node, what: &str, when: When) -> Text {
        let Some(source) = node.text(what, &mut self.problems) else { return Text::default() };
        let compiled = Text::compile(source, &self.names(when));
        self.compiled(compiled, node, source).unwrap_or_default()
    }

    /// A guard.
    fn guard(&mut self, node: &Node, when: When) -> Option<Expression> {
        let source = match &node.kind {
            // `when: true` is YAML's true, and means the same.
            Kind::Scalar(serde_json::Value::Bool(value)) => {
                if *value {
                    "true"
                } else {
                    "false"
                }
            }
            _ => node.text("a guard", &mut self.problems)?,
        };
        let compiled = Expression::guard(source, &self.names(when));
        self.compiled(compiled, node, source)
    }

    fn names(&self, when: When) -> Names<'_> {
        Names { vocabulary: &self.vocabulary, constants: &self.constants, states: &self.outcomes, when }
    }

    /// Reports the faults of an expression at their places in the file.
    fn compiled<T>(&mut self, compiled: Result<T, Vec<Fault>>, node: &Node, source: &str) -> Option<T> {
        match compiled {
            Ok(value) => Some(value),
            Err(faults) => {
                for fault in faults {
                    let at = node.place.inside(self.problems.text(), source, &fault.span);
                    self.problems.add_maybe(at, fault.message, fault.help);
                }
                None
            }
        }
    }
}

/// The names of all states and of their outcomes, read ahead: an expression may name a state that comes later.
fn outline(root: &Node) -> BTreeMap<String, BTreeSet<String>> {
    let mut outline = BTreeMap::new();
    for (key, state) in entry(root, "states").map(map).unwrap_or(&[]) {
        let answers = entry(state, "ask").and_then(|ask| entry(ask, "answers"));
        let outcomes = [entry(state, "outcomes"), answers].into_iter().flatten().flat_map(list);
        let names = outcomes.filter_map(|outcome| match entry(outcome, "name").map(|name| &name.kind) {
            Some(Kind::Scalar(serde_json::Value::String(name))) => Some(name.clone()),
            _ => None,
        });
        outline.insert(key.name.clone(), names.chain(OWN_OUTCOMES.map(str::to_owned)).collect());
    }
    outline
}

fn map(node: &Node) -> &[(Key, Node)] {
    if let Kind::Map(entries) = &node.kind { entries } else { &[] }
}

fn list(node: &Node) -> &[Node] {
    if let Kind::List(items) = &node.kind { items } else { &[] }
}

fn entry<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    map(node).iter().find(|(key, _)| key.name == name).map(|(_, value)| value)
}
