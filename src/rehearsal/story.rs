//! The test file of a policy.
//!
//! Owns: its keys, and derived facts. Must not know: how a case moves through a policy.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::facts::{FactType, Facts, Field, Knobs};
use crate::policy::Policy;
use crate::yaml::{Fields, Kind, Node, Problem, Problems, Span, read as read_yaml, suggest};

/// One test.
#[derive(Debug, Clone)]
pub(super) struct Story {
    pub(super) name: String,
    pub(super) baseline: Facts,
    /// The knobs that the script supports, if the story defines them.
    pub(super) knobs: Option<BTreeSet<String>>,
    pub(super) shows: BTreeMap<String, Shows>,
    pub(super) default_show: Option<Show>,
    pub(super) expected: Expected,
}

/// The results of a test, one per stop.
#[derive(Debug, Clone)]
pub(super) enum Shows {
    Always(Show),
    InTurn(Vec<Show>),
}

impl Shows {
    /// The nth result, from 1.
    pub(super) fn at(&self, time: usize) -> Option<&Show> {
        match self {
            Shows::Always(show) => Some(show),
            Shows::InTurn(shows) => shows.get(time.checked_sub(1)?),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Shows::Always(_) => 1,
            Shows::InTurn(shows) => shows.len(),
        }
    }
}

/// A single result.
#[derive(Debug, Clone)]
pub(super) enum Show {
    Ran { facts: Facts, hours: f64 },
    NeverStarts,
    Refused(BTreeSet<String>),
    Answer(String),
    Silence,
}

/// What must follow.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    pub(super) path: Option<Vec<String>>,
    pub(super) verdict: Option<String>,
    pub(super) experiments: Option<u32>,
    pub(super) recommended: Option<Knobs>,
    /// The changes of a test's newest experiment.
    pub(super) changes: BTreeMap<String, Knobs>,
    /// The newest outcome of a test.
    pub(super) outcomes: BTreeMap<String, String>,
    pub(super) never: Vec<String>,
}

const EXPECT_KEYS: [&str; 7] = ["path", "verdict", "experiments", "recommended", "changes", "outcomes", "never"];

/// Whether two sets of knobs are the same; 1 and 1.0 are.
pub(super) fn same_knobs(a: &Knobs, b: &Knobs) -> bool {
    let same = |x: &Value, y: &Value| match (x.as_f64(), y.as_f64()) {
        (Some(x), Some(y)) => (x - y).abs() <= 1e-9 * x.abs().max(y.abs()),
        _ => x == y,
    };
    a.len() == b.len() && a.iter().all(|(knob, value)| b.get(knob).is_some_and(|other| same(value, other)))
}

/// Reads a test file.
pub(super) fn read(policy: &Policy, text: &str, origin: &str) -> Result<Vec<Story>, Vec<Problem>> {
    let mut problems = Problems::new(text, origin);
    let stories = match read_yaml(&mut problems) {
        Some(root) => Reader { policy, problems: &mut problems }.stories(&root),
        None => Vec::new(),
    };
    if problems.is_empty() { Ok(stories) } else { Err(problems.into_sorted()) }
}

struct Reader<'r, 't> {
    policy: &'r Policy,
    problems: &'r mut Problems<'t>,
}

impl Reader<'_, '_> {
    fn stories(&mut self, root: &Node) -> Vec<Story> {
        let Some(fields) = Fields::new(root, "a test file", &["policy", "tests"], self.problems) else {
            return Vec::new();
        };
        if let Some(node) = fields.need("policy", "a test file", self.problems) {
            node.text("`policy`", self.problems);
        }
        let Some(tests) = fields.need("tests", "a test file", self.problems) else { return Vec::new() };
        let items = tests.items("`tests`", self.problems);
        items.iter().filter_map(|node| self.story(node)).collect()
    }

    fn story(&mut self, node: &Node) -> Option<Story> {
        let keys = ["name", "baseline", "knobs", "shows", "default_show", "expect"];
        let fields = Fields::new(node, "a test", &keys, self.problems)?;
        let name = fields.need("name", "a test", self.problems).and_then(|n| n.text("`name`", self.problems));
        let baseline = fields.get("baseline").map(|node| self.job(node).0);
        let knobs = fields.get("knobs").map(|node| self.knob_names(node));
        let mut shows = BTreeMap::new();
        for (key, node) in fields.get("shows").map_or(&[][..], |n| n.entries("`shows`", self.problems)) {
            self.state(&key.name, key.place);
            shows.insert(key.name.clone(), self.shows(node));
        }
        let default_show = fields.get("default_show").map(|node| self.show(node));
        let expected = fields.need("expect", "a test", self.problems).map(|node| self.expected(node));
        Some(Story {
            name: name?.to_owned(),
            baseline: baseline.unwrap_or_else(|| infer(Map::new()).unwrap_or_default()),
            knobs,
            shows,
            default_show,
            expected: expected?,
        })
    }

    fn state(&mut self, name: &str, at: Span) {
        if !self.policy.knows(name) {
            let states = self.policy.states().iter().map(|state| state.name());
            let help = suggest(name, self.policy.tests().iter().map(|test| test.name()).chain(states));
            self.problems.add_maybe(at, format!("the policy has no test, state or conclusion `{name}`"), help);
        }
    }

    fn knob(&mut self, name: &str, at: Span) {
        let known = &self.policy.vocabulary().knobs;
        if !known.contains_key(name) {
            let help = suggest(name, known.keys().map(String::as_str));
            self.problems.add_maybe(at, format!("there is no knob `{name}`"), help);
        }
    }

    fn knob_names(&mut self, node: &Node) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for item in node.items("a list of knobs", self.problems) {
            if let Some(name) = item.text("a knob", self.problems) {
                self.knob(name, item.place);
                names.insert(name.to_owned());
            }
        }
        names
    }

    fn knobs(&mut self, node: &Node, what: &str) -> Knobs {
        let mut knobs = Knobs::new();
        for (key, node) in node.entries(what, self.problems) {
            self.knob(&key.name, key.place);
            match &node.kind {
                Kind::Scalar(value) => drop(knobs.insert(key.name.clone(), value.clone())),
                _ => self.problems.add(node.place, format!("a knob takes one value, but this is {}", node.describe())),
            }
        }
        knobs
    }

    fn shows(&mut self, node: &Node) -> Shows {
        match &node.kind {
            Kind::List(items) => Shows::InTurn(items.iter().map(|item| self.show(item)).collect()),
            _ => Shows::Always(self.show(node)),
        }
    }

    fn show(&mut self, node: &Node) -> Show {
        match &node.kind {
            Kind::Scalar(Value::String(word)) => match word.as_str() {
                "crash" => {
                    let facts = Facts { started: true, ended: true, crashed: true, ..Facts::default() };
                    return Show::Ran { facts, hours: 0.0 };
                }
                "never_starts" => return Show::NeverStarts,
                "silence" => return Show::Silence,
                _ => {}
            },
            Kind::Map(entries) => match entries.as_slice() {
                [(key, node)] if key.name == "refused" => return Show::Refused(self.knob_names(node)),
                [(key, node)] if key.name == "answer" => {
                    let answer = node.text("`answer`", self.problems).unwrap_or_default();
                    return Show::Answer(answer.to_owned());
                }
                _ => {
                    let (facts, hours) = self.job(node);
                    return Show::Ran { facts, hours };
                }
            },
            _ => {}
        }
        let help = "write facts, `crash`, `never_starts`, `silence`, { refused: [KNOB] } or { answer: NAME }";
        self.problems.add_help(node.place, format!("{} is not a valid result", node.describe()), help);
        Show::Silence
    }

    /// The facts of a job by name, and the hours that it ran.
    fn job(&mut self, node: &Node) -> (Facts, f64) {
        let (mut given, mut quantities) = (Map::new(), Map::new());
        let mut knobs = Knobs::new();
        let mut hours = 0.0;
        for (key, node) in node.entries("the facts of a job", self.problems) {
            match key.name.as_str() {
                "knobs" => knobs = self.knobs(node, "`knobs`"),
                "hours" => hours = node.number("`hours`", self.problems).unwrap_or_default(),
                name => match self.fact(name, key.place, node) {
                    Some((field, value)) if field.is_quantity() => {
                        quantities.insert(name.to_owned(), value);
                    }
                    Some((_, value)) => drop(given.insert(name.to_owned(), value)),
                    None => {}
                },
            }
        }
        given.insert("evidence".to_owned(), Value::Object(quantities));
        let mut facts = infer(given).unwrap_or_default();
        facts.knobs = knobs;
        (facts, hours)
    }

    fn fact(&mut self, name: &str, at: Span, node: &Node) -> Option<(Field, Value)> {
        let Some(field) = Field::named(name) else {
            let known = Field::all().map(|field| field.name).chain(["knobs", "hours"]);
            self.problems.add_maybe(at, format!("a job has no fact `{name}`"), suggest(name, known));
            return None;
        };
        let what = format!("`{name}`");
        let value = match field.kind {
            FactType::Bool if field.is_quantity() => {
                node.truth(&what, self.problems).map(|yes| Value::from(u8::from(yes)))
            }
            FactType::Bool => node.truth(&what, self.problems).map(Value::from),
            FactType::Number => node.number(&what, self.problems).map(Value::from),
            FactType::Strings => {
                let mut ids = Vec::new();
                for item in node.items(&what, self.problems) {
                    let Some(id) = item.text("a symptom", self.problems) else { continue };
                    let known = &self.policy.vocabulary().symptoms;
                    if !known.contains(id) {
                        let help = suggest(id, known.iter().map(String::as_str));
                        self.problems.add_maybe(item.place, format!("there is no symptom `{id}`"), help);
                    }
                    ids.push(Value::from(id));
                }
                Some(Value::from(ids))
            }
        };
        Some((field, value?))
    }

    fn expected(&mut self, node: &Node) -> Expected {
        let mut expected = Expected::default();
        let Some(fields) = Fields::new(node, "`expect`", &EXPECT_KEYS, self.problems) else { return expected };
        if EXPECT_KEYS.iter().all(|key| fields.get(key).is_none()) {
            self.problems.add(node.place, "a test must expect something");
        }
        expected.path = fields.get("path").map(|node| self.state_names(node, "`path`"));
        expected.never = fields.get("never").map(|node| self.state_names(node, "`never`")).unwrap_or_default();
        if let Some(node) = fields.get("verdict")
            && let Some(verdict) = node.text("`verdict`", self.problems)
        {
            let known = &self.policy.vocabulary().verdicts;
            if !known.contains(verdict) {
                let help = suggest(verdict, known.iter().map(String::as_str));
                self.problems.add_maybe(node.place, format!("there is no verdict `{verdict}`"), help);
            }
            expected.verdict = Some(verdict.to_owned());
        }
        if let Some(node) = fields.get("experiments")
            && let Some(number) = node.number("`experiments`", self.problems)
        {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates")]
            let count = number as u32;
            if f64::from(count) != number {
                self.problems.add(node.place, "`experiments` must be a whole number");
            }
            expected.experiments = Some(count);
        }
        expected.recommended = fields.get("recommended").map(|node| self.knobs(node, "`recommended`"));
        for (key, node) in fields.get("changes").map_or(&[][..], |n| n.entries("`changes`", self.problems)) {
            self.state(&key.name, key.place);
            expected.changes.insert(key.name.clone(), self.knobs(node, "the changes of a state"));
        }
        for (key, node) in fields.get("outcomes").map_or(&[][..], |n| n.entries("`outcomes`", self.problems)) {
            self.state(&key.name, key.place);
            let outcome = node.text("an outcome", self.problems).unwrap_or_default();
            expected.outcomes.insert(key.name.clone(), outcome.to_owned());
        }
        expected
    }

    fn state_names(&mut self, node: &Node, what: &str) -> Vec<String> {
        let mut names = Vec::new();
        for item in node.items(what, self.problems) {
            if let Some(name) = item.text("a state", self.problems) {
                self.state(name, item.place);
                names.push(name.to_owned());
            }
        }
        names
    }
}

/// Facts with what follows from those that are given: a job started and ended unless it is said otherwise; what fits
/// has learned; what is cured has learned and is better; what has a non-finite step is not finite; symptoms are
/// problems.
fn infer(mut given: Map<String, Value>) -> Option<Facts> {
    let truth = |given: &Map<String, Value>, name: &str| given.get(name) == Some(&Value::Bool(true));
    let fits = truth(&given, "fits");
    let cured = truth(&given, "cured");
    let finite = given.get("evidence").and_then(|known| known.get("non_finite_step")).is_none();
    let symptoms = given.get("symptoms").cloned().unwrap_or_else(|| Value::from(Vec::<String>::new()));
    let follows = [
        ("started", Value::from(true)),
        ("ended", Value::from(true)),
        ("finite", Value::from(finite)),
        ("learned", Value::from(fits || cured)),
        ("better", Value::from(cured)),
        ("problems", symptoms),
    ];
    for (name, value) in follows {
        given.entry(name).or_insert(value);
    }
    serde_json::from_value(Value::Object(given)).ok()
}
