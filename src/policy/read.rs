//! Converts the YAML file to a checked policy.
//!
//! Owns: the keys of the file. Must not know: how a case moves through the states.
//!
//! Reading continues after a mistake so that all are reported at once. Invalid parts are replaced by empty ones, which
//! are never used because a policy with a problem is not returned.

mod outline;
mod state;
mod test;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::KNOBS;
use super::check::{self, Places};
use super::file::{Condition, Constant, Limits, Policy, State, Test, Verdict};
use super::guard::{Expression, Fault, Names, When};
use super::text::Text;
use super::vocabulary::{ConstantValue, Vocabulary};
use crate::yaml::{self, Fields, Kind, Node};
use crate::yaml::{Problem, Problems, Span, suggest};
use outline::Outline;

/// The files whose conditions, tests and conclusions a policy can use: name, file name and text. Each can use those
/// before it.
const SHARED: [(&str, &str, &str); 2] = [
    ("common", "common.yaml", include_str!("../../policies/common.yaml")),
    ("article", "article.yaml", include_str!("../../policies/article.yaml")),
];

const KEYS: [&str; 15] = [
    "policy",
    "shared",
    "summary",
    "source",
    "use",
    "kinds",
    "own_knobs",
    "limits",
    "constants",
    "define",
    "judge",
    "tests",
    "tips",
    "conclusions",
    "states",
];
/// The kinds of training that a policy can support.
pub(super) const KINDS: [&str; 7] =
    ["supervised", "fine_tuning", "pretraining", "reinforcement", "adversarial", "boosting", "unknown"];

/// Names with a special meaning in expressions.
const RESERVED: [&str; 7] = ["baseline", "experiment", "case", "attempt", "true", "false", "null"];

/// Reads a policy and performs all checks that are possible without running it.
///
/// `origin` is the name of the text in messages; `vocabulary` contains the names that the policy can use.
///
/// # Errors
///
/// All problems, in the order of the text.
pub fn parse(text: &str, origin: &str, vocabulary: &Vocabulary) -> Result<Policy, Vec<Problem>> {
    let mut problems = Problems::new(text, origin);
    let Some(root) = yaml::read(&mut problems) else { return Err(problems.into_sorted()) };
    if outline::is_first_form(&root) {
        outline::refuse_first_form(&root, &mut problems);
        return Err(problems.into_sorted());
    }
    let shared = shared_by(&root);
    let mut outline = Outline::default();
    shared.iter().map(|(root, ..)| root).chain([&root]).for_each(|root| outline.add(root));
    let mut reader = Reader::new(problems, vocabulary.clone(), outline);
    let mut found = Vec::new();
    // If it uses another policy, the stories of that policy cover the shared tests.
    reader.borrowing = shared.iter().any(|(_, file, _)| *file != "common.yaml");
    for (root, file, text) in &shared {
        let own = std::mem::replace(&mut reader.problems, Problems::new(text, file));
        reader.shared(root);
        found.extend(std::mem::replace(&mut reader.problems, own).into_sorted());
    }
    reader.borrowing = false;
    let policy = reader.policy(&root);
    // The consequences of a mistake are not reported as further mistakes.
    if let (Some(policy), true) = (&policy, reader.complete && reader.problems.is_empty() && found.is_empty()) {
        check::check(policy, &reader.places, &mut reader.problems);
    }
    found.extend(reader.problems.into_sorted());
    match policy {
        Some(policy) if found.is_empty() => {
            let texts = shared.iter().map(|(_, _, text)| *text).chain([text]);
            Ok(Policy { id: id_of(texts), ..policy })
        }
        _ => Err(found),
    }
}

/// Enough hexadecimal digits to distinguish all texts of a policy.
const ID_DIGITS: usize = 12;

/// A hash of all texts that make up a policy.
fn id_of<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..ID_DIGITS].to_owned()
}

/// The files that a policy uses, dependencies first.
fn shared_by(root: &Node) -> Vec<(Node, &'static str, &'static str)> {
    let mut used = Vec::new();
    let mut name = outline::used_by(root);
    while let Some((_, file, text)) = name.and_then(|name| SHARED.iter().find(|(known, ..)| *known == name)) {
        let Some(root) = yaml::read(&mut Problems::new(text, file)) else { break };
        name = outline::used_by(&root).filter(|next| SHARED.iter().any(|(known, f, _)| known == next && f != file));
        used.insert(0, (root, *file, *text));
    }
    used
}

struct Reader<'t> {
    problems: Problems<'t>,
    vocabulary: Vocabulary,
    outline: Outline,
    constants: BTreeMap<String, Constant>,
    values: BTreeMap<String, ConstantValue>,
    conditions: BTreeMap<String, (When, Expression)>,
    listed: Vec<Condition>,
    tests: Vec<Test>,
    conclusions: Vec<Verdict>,
    places: Places,
    /// The part being read belongs to another policy.
    borrowing: bool,
    /// All names of tests and states exist, so the whole can be checked.
    complete: bool,
}

impl<'t> Reader<'t> {
    fn new(problems: Problems<'t>, vocabulary: Vocabulary, outline: Outline) -> Self {
        Reader {
            problems,
            vocabulary,
            outline,
            constants: BTreeMap::new(),
            values: BTreeMap::new(),
            conditions: BTreeMap::new(),
            listed: Vec::new(),
            tests: Vec::new(),
            conclusions: Vec::new(),
            places: Places::default(),
            borrowing: false,
            complete: true,
        }
    }

    fn shared(&mut self, root: &Node) {
        let Some(fields) = Fields::new(root, "a shared file", &KEYS, &mut self.problems) else { return };
        self.parts(&fields);
        // Positions refer to the policy's own file.
        self.places = Places::default();
    }

    fn policy(&mut self, root: &Node) -> Option<Policy> {
        let fields = Fields::new(root, "a policy", &KEYS, &mut self.problems)?;
        let name = fields.need("policy", "a policy", &mut self.problems).map(|node| self.words(node, "`policy`"));
        let summary = fields.get("summary").map(|node| self.words(node, "`summary`")).unwrap_or_default();
        let source = fields.get("source").map(|node| self.words(node, "`source`")).unwrap_or_default();
        if let Some(node) = fields.get("use")
            && let Some(used) = node.text("`use`", &mut self.problems)
            && SHARED.iter().all(|(known, ..)| *known != used)
        {
            let help = suggest(used, SHARED.iter().map(|(known, ..)| *known));
            self.problems.add_maybe(node.place, format!("there is no shared file `{used}`"), help);
        }
        let kinds = fields.get("kinds").map(|node| self.kinds(node)).unwrap_or_default();
        if let Some(node) = fields.get("own_knobs") {
            self.own_knobs(node);
        }
        let limits = fields.get("limits").map(|node| self.limits(node)).unwrap_or_default();
        self.parts(&fields);
        let states = fields.need("states", "a policy", &mut self.problems).map(|node| self.states(node));
        let judgement = |reader: &Self, name: &str| reader.conditions.get(name).map(|(_, judge)| judge.clone());
        Some(Policy {
            name: name?,
            id: String::new(),
            summary,
            source,
            kinds,
            limits,
            cured: judgement(self, "cured"),
            helped: judgement(self, "helped"),
            constants: std::mem::take(&mut self.constants),
            conditions: std::mem::take(&mut self.listed),
            tests: std::mem::take(&mut self.tests),
            conclusions: std::mem::take(&mut self.conclusions),
            states: states?,
            vocabulary: self.vocabulary.clone(),
        })
    }

    /// The common parts of a policy and a shared file.
    fn parts(&mut self, fields: &Fields<'_>) {
        if let Some(node) = fields.get("constants") {
            self.read_constants(node);
        }
        for (key, when) in [("define", When::Entering), ("judge", When::Judging)] {
            if let Some(node) = fields.get(key) {
                self.read_conditions(node, key, when);
            }
        }
        for (key, node) in fields.get("tests").map_or(&[][..], |n| n.entries("`tests`", &mut self.problems)) {
            self.identifier(&key.name, key.place, "a test");
            self.places.tests.insert(key.name.clone(), key.place);
            if self.tests.iter().any(|test| test.name == key.name) {
                let message = format!("the file that this policy uses already has a test `{}`", key.name);
                self.problems.add(key.place, message);
            }
            let test = self.test(&key.name, key.place, node);
            self.tests.extend(test);
        }
        for (key, node) in fields.get("conclusions").map_or(&[][..], |n| n.entries("`conclusions`", &mut self.problems))
        {
            self.identifier(&key.name, key.place, "a conclusion");
            let conclusion = self.verdict(&key.name, node);
            self.conclusions.extend(conclusion);
        }
    }

    fn states(&mut self, node: &Node) -> Vec<State> {
        let mut read = Vec::new();
        for (key, node) in node.entries("`states`", &mut self.problems) {
            self.identifier(&key.name, key.place, "a state");
            if self.outline.tests.contains_key(&key.name) {
                self.problems.add(key.place, format!("`{}` is a test: a state needs a different name", key.name));
            }
            self.places.states.insert(key.name.clone(), key.place);
            let state = self.state(&key.name, node);
            self.complete &= state.is_some();
            read.extend(state);
        }
        if read.is_empty() {
            self.problems.add(node.place, "a policy needs at least one state");
        }
        read
    }

    fn kinds(&mut self, node: &Node) -> BTreeSet<String> {
        let mut kinds = BTreeSet::new();
        for item in node.items("`kinds`", &mut self.problems) {
            let Some(kind) = item.text("a kind of training", &mut self.problems) else { continue };
            if !KINDS.contains(&kind) {
                let message = format!("there is no kind of training `{kind}`");
                self.problems.add_maybe(item.place, message, suggest(kind, KINDS));
            }
            kinds.insert(kind.to_owned());
        }
        kinds
    }

    /// Additional knobs of the policy, with their meanings.
    fn own_knobs(&mut self, node: &Node) {
        let mut brought = Vec::new();
        for (key, meaning) in node.entries("`own_knobs`", &mut self.problems) {
            self.identifier(&key.name, key.place, "a knob");
            if KNOBS.iter().any(|(known, _)| *known == key.name) {
                self.problems.add(key.place, format!("`{}` is already a knob", key.name));
            }
            self.words(meaning, "the meaning of a knob");
            brought.push(key.name.as_str());
        }
        self.vocabulary = std::mem::take(&mut self.vocabulary).bringing(brought.iter().copied());
    }

    fn limits(&mut self, node: &Node) -> Limits {
        let mut limits = Limits::default();
        let keys = ["experiments", "reserve", "hours"];
        let Some(fields) = Fields::new(node, "`limits`", &keys, &mut self.problems) else { return limits };
        if let Some(n) = fields.get("experiments").and_then(|n| n.count("`experiments`", &mut self.problems)) {
            limits.experiments = n;
        }
        if let Some(n) = fields.get("reserve").and_then(|n| n.count("`reserve`", &mut self.problems)) {
            limits.reserve = n;
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

    fn read_constants(&mut self, node: &Node) {
        for (key, node) in node.entries("`constants`", &mut self.problems) {
            self.name_of_value(&key.name, key.place, "a constant");
            let (value, why) = match &node.kind {
                Kind::Map(_) => {
                    let fields = Fields::new(node, "a constant", &["value", "why"], &mut self.problems);
                    let why = fields.as_ref().and_then(|fields| fields.get("why"));
                    let why = why.map(|why| self.words(why, "`why`")).unwrap_or_default();
                    (fields.and_then(|fields| fields.need("value", "a constant", &mut self.problems)), why)
                }
                _ => (Some(node), String::new()),
            };
            let value = value.and_then(|value| self.constant(value)).unwrap_or(ConstantValue::Number(f64::NAN));
            self.values.insert(key.name.clone(), value.clone());
            self.constants.insert(key.name.clone(), Constant { value, why });
        }
    }

    fn constant(&mut self, node: &Node) -> Option<ConstantValue> {
        let Kind::List(items) = &node.kind else {
            return node.number("a constant", &mut self.problems).map(ConstantValue::Number);
        };
        let texts = items.iter().filter_map(|item| item.text("an item of a constant", &mut self.problems));
        Some(ConstantValue::Texts(texts.map(str::to_owned).collect()))
    }

    fn read_conditions(&mut self, node: &Node, what: &str, when: When) {
        for (key, node) in node.entries(&format!("`{what}`"), &mut self.problems) {
            self.name_of_value(&key.name, key.place, "a condition");
            if self.values.contains_key(&key.name) || self.conditions.contains_key(&key.name) {
                self.problems.add(key.place, format!("`{}` is already defined", key.name));
            }
            let Some(condition) = self.guard(node, when) else { continue };
            let source = condition.source().to_owned();
            self.listed.push(Condition { name: key.name.clone(), source, judges: when == When::Judging });
            self.conditions.insert(key.name.clone(), (when, condition));
        }
    }

    fn name_of_value(&mut self, name: &str, at: Span, what: &str) {
        self.identifier(name, at, what);
        if RESERVED.contains(&name) {
            self.problems.add(at, format!("`{name}` has a special meaning in expressions"));
        }
    }

    /// A name that is also valid in expressions and diagrams.
    fn identifier(&mut self, name: &str, at: Span, what: &str) {
        let mut chars = name.chars();
        let first = chars.next().is_some_and(|c| c.is_ascii_lowercase());
        if !first || !chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            let message = format!("`{name}` is not a valid name of {what}");
            self.problems.add_help(
                at,
                message,
                "names consist of lowercase letters, digits and _, and begin with a letter",
            );
        }
    }

    /// A text without expressions.
    fn words(&mut self, node: &Node, what: &str) -> String {
        node.text(what, &mut self.problems).map(|text| text.trim().to_owned()).unwrap_or_default()
    }

    /// A name from a list of known names.
    fn known_name(&mut self, node: &Node, what: &str, known: &BTreeSet<String>) -> String {
        let Some(name) = node.text(what, &mut self.problems) else {
            self.complete = false;
            return String::new();
        };
        if !known.contains(name) {
            self.complete = false;
            let help = suggest(name, known.iter().map(String::as_str));
            self.problems.add_maybe(node.place, format!("there is no {what} `{name}`"), help);
        }
        name.to_owned()
    }

    /// The name of a test that exists.
    fn test_name(&mut self, node: &Node) -> String {
        let known = self.outline.tests.keys().cloned().collect();
        self.known_name(node, "test", &known)
    }

    /// A text with expressions.
    fn text(&mut self, node: &Node, what: &str, when: When) -> Text {
        let Some(source) = node.text(what, &mut self.problems) else { return Text::default() };
        let compiled = Text::compile(source, &self.names(when));
        self.compiled(compiled, node, source).unwrap_or_default()
    }

    /// A condition.
    fn guard(&mut self, node: &Node, when: When) -> Option<Expression> {
        let source = match &node.kind {
            // `when: true` is YAML's true and has the same meaning.
            Kind::Scalar(Value::Bool(value)) => {
                if *value {
                    "true"
                } else {
                    "false"
                }
            }
            _ => node.text("a condition", &mut self.problems)?,
        };
        let compiled = Expression::guard(source, &self.names(when));
        self.compiled(compiled, node, source)
    }

    fn names(&self, when: When) -> Names<'_> {
        let Reader { vocabulary, values, conditions, outline, .. } = self;
        Names { vocabulary, constants: values, conditions, tests: &outline.tests, when }
    }

    /// Reports the problems of an expression at their positions in the file.
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
