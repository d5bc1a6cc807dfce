//! One state of the file.
//!
//! Owns: the keys below a state. Must not know: the states as a graph.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::policy::file::{
    Action, Answer, Ask, Change, Conclude, OWN_OUTCOMES, Outcome, Run, Settings, Skip, State, Then,
};
use crate::policy::guard::{Expression, Type, When};
use crate::policy::text::Text;
use crate::policy::vocabulary::KnobKind;
use crate::yaml::{Fields, Kind, Node};
use crate::yaml::{Place, suggest};

use super::Reader;

const KEYS: [&str; 9] = ["step", "why", "hypothesis", "expect", "skip", "run", "ask", "conclude", "outcomes"];
const RUN_KEYS: [&str; 6] = ["from", "without", "change", "optional", "unavailable", "repeats"];
const OUTCOME_KEYS: [&str; 6] = ["name", "when", "otherwise", "why", "go", "repeat"];

impl Reader<'_> {
    pub(super) fn state(&mut self, name: &str, at: Place, node: &Node) -> Option<State> {
        let Some(fields) = Fields::new(node, &format!("state `{name}`"), &KEYS, &mut self.problems) else {
            self.complete = false;
            return None;
        };
        let text = |reader: &mut Self, key: &str| {
            fields.get(key).map(|node| reader.text(node, &format!("`{key}`"), When::Entering)).unwrap_or_default()
        };
        let step = fields.get("step").map(|node| self.words(node, "`step`")).unwrap_or_default();
        let why = text(self, "why");
        let hypothesis = text(self, "hypothesis");
        let expect = text(self, "expect");
        let (action, onward) = self.action(name, at, &fields)?;
        let skips = fields.get("skip").map(|node| self.skips(node, onward.as_deref())).unwrap_or_default();
        Some(State { name: name.to_owned(), step, why, hypothesis, expect, skips, action })
    }

    /// What the state does, and where it leads when it is passed over.
    fn action(&mut self, name: &str, at: Place, fields: &Fields<'_>) -> Option<(Action, Option<String>)> {
        let given: Vec<&str> = ["run", "ask", "conclude"].into_iter().filter(|key| fields.get(key).is_some()).collect();
        let outcomes = fields.key("outcomes");
        match (given.as_slice(), outcomes) {
            ([], None) => {
                self.complete = false;
                let help = "give it `run`, `ask`, `conclude`, or `outcomes` alone to only choose the next state";
                self.problems.add_help(at, format!("state `{name}` does nothing"), help);
                return None;
            }
            ([_, second, ..], _) => {
                self.complete = false;
                let place = fields.key(second).map_or(at, |key| key.place);
                let message = format!("state `{name}` does two things: {}", given.join(" and "));
                self.problems.add_help(place, message, "make two states of it");
                return None;
            }
            (["ask" | "conclude"], Some(key)) => {
                let message = format!("a state with `{}` has no `outcomes`", given[0]);
                let help =
                    if given[0] == "ask" { "its ways out are `answers` and `silence`" } else { "it ends the case" };
                self.problems.add_help(key.place, message, help);
            }
            _ => {}
        }
        if given != ["run"] {
            let skips = if given == ["ask"] { None } else { fields.key("skip") };
            for key in [fields.key("hypothesis"), fields.key("expect"), skips].into_iter().flatten() {
                self.problems
                    .add(key.place, format!("`{}` has no use in state `{name}`, which runs nothing", key.name));
            }
        }
        if let Some(node) = fields.get("run") {
            let outcomes = self.outcomes(name, at, fields, When::Judging);
            let run = self.run(name, node, outcomes)?;
            let onward = run.unavailable.clone();
            Some((Action::Run(run), Some(onward)))
        } else if let Some(node) = fields.get("ask") {
            let ask = self.ask(node)?;
            let onward = ask.silence.clone();
            Some((Action::Ask(ask), Some(onward)))
        } else if let Some(node) = fields.get("conclude") {
            Some((Action::Conclude(self.conclude(name, node)?), None))
        } else {
            Some((Action::Branch(self.outcomes(name, at, fields, When::Entering)), None))
        }
    }

    fn skips(&mut self, node: &Node, onward: Option<&str>) -> Vec<Skip> {
        let mut skips = Vec::new();
        for item in node.items("`skip`", &mut self.problems) {
            let Some(fields) = Fields::new(item, "a skip", &["when", "why", "go"], &mut self.problems) else {
                continue;
            };
            let when = fields.need("when", "a skip", &mut self.problems);
            let when = when.and_then(|node| self.guard(node, When::Entering));
            let why = fields.need("why", "a skip", &mut self.problems);
            let why = why.map(|node| self.text(node, "`why`", When::Entering)).unwrap_or_default();
            let go = match fields.get("go") {
                Some(node) => self.target(node, "`go`"),
                None => onward.unwrap_or_default().to_owned(),
            };
            skips.extend(when.map(|when| Skip { when, why, go }));
        }
        skips
    }

    fn run(&mut self, name: &str, node: &Node, outcomes: Vec<Outcome>) -> Option<Run> {
        let Some(fields) = Fields::new(node, "`run`", &RUN_KEYS, &mut self.problems) else {
            self.complete = false;
            return None;
        };
        let before = self.problems.len();
        let settings = self.settings(name, &fields);
        if self.problems.len() > before {
            // Whether the repetitions differ cannot be told from what was not understood.
            self.places.repeats.remove(name);
        }
        if fields.get("change").is_none() && settings.from.is_none() {
            self.problems.add(fields.place(), "`run` needs `change`: an experiment differs from the baseline");
        }
        let optional = fields.get("optional").map(|node| self.knobs(node, "`optional`")).unwrap_or_default();
        for (knob, at) in optional.iter().filter(|_| settings.from.is_none()) {
            if settings.changes.iter().all(|(changed, _)| changed != knob) && self.vocabulary.knobs.contains_key(knob) {
                self.problems.add(*at, format!("`{knob}` is optional, but it is not changed"));
            }
        }
        let otherwise = outcomes.iter().rev().find(|outcome| outcome.when.is_none());
        let unavailable = match (fields.get("unavailable"), otherwise.map(|outcome| &outcome.then)) {
            (Some(node), _) => self.target(node, "`unavailable`"),
            (None, Some(Then::Go(to))) => to.clone(),
            _ => String::new(),
        };
        let repeats = fields.get("repeats").and_then(|node| node.count("`repeats`", &mut self.problems));
        Some(Run { settings, optional: optional.into_keys().collect(), unavailable, repeats, outcomes })
    }

    /// Changes to knobs: `from`, `without` and `change`.
    fn settings(&mut self, name: &str, fields: &Fields<'_>) -> Settings {
        let from = fields.get("from").map(|node| {
            self.places.from.insert(name.to_owned(), node.place);
            self.target(node, "`from`")
        });
        let without = fields.get("without").map(|node| self.knobs(node, "`without`")).unwrap_or_default();
        if let (Some(key), None) = (fields.key("without"), &from) {
            self.problems.add(key.place, "`without` leaves out changes of `from`, but there is no `from`");
        }
        let mut changes = Vec::new();
        for (key, node) in fields.get("change").map_or(&[][..], |n| n.entries("`change`", &mut self.problems)) {
            let Some(kind) = self.vocabulary.knobs.get(&key.name).copied() else {
                let help = suggest(&key.name, self.vocabulary.knobs.keys().map(String::as_str));
                self.problems.add_maybe(key.place, format!("there is no knob `{}`", key.name), help);
                continue;
            };
            changes.extend(self.change(&key.name, kind, node).map(|change| (key.name.clone(), change)));
        }
        Settings { from, without: without.into_keys().collect(), changes }
    }

    fn change(&mut self, knob: &str, kind: KnobKind, node: &Node) -> Option<Change> {
        let Kind::Scalar(value) = &node.kind else {
            self.problems.add(node.place, format!("a knob takes one value, but this is {}", node.describe()));
            return None;
        };
        let computed = value.as_str().and_then(|text| text.trim_start().strip_prefix('='));
        let Some(source) = computed else {
            if !kind.takes(value) {
                let message = format!("`{knob}` takes {}, but this is {}", kind.describe(), node.describe());
                let help = "an expression begins with =: \"= baseline.learning_rate / 10\"".to_owned();
                self.problems.add_maybe(node.place, message, value.is_string().then_some(help));
            }
            return Some(Change::To(value.clone()));
        };
        let compiled = Expression::compile(source, &self.names(When::Entering));
        // A change that was not understood is a change still: that much holds for the checks that follow.
        let Some(expression) = self.compiled(compiled, node, source) else { return Some(Change::To(Value::Null)) };
        if !suits(kind, expression.kind()) {
            let message = format!("`{knob}` takes {}, but this is {}", kind.describe(), expression.kind().describe());
            self.problems.add(node.place, message);
        }
        Some(Change::Computed(expression))
    }

    fn knobs(&mut self, node: &Node, what: &str) -> BTreeMap<String, Place> {
        let mut knobs = BTreeMap::new();
        for item in node.items(what, &mut self.problems) {
            let Some(knob) = item.text("a knob", &mut self.problems) else { continue };
            if !self.vocabulary.knobs.contains_key(knob) {
                let help = suggest(knob, self.vocabulary.knobs.keys().map(String::as_str));
                self.problems.add_maybe(item.place, format!("there is no knob `{knob}`"), help);
            }
            knobs.insert(knob.to_owned(), item.place);
        }
        knobs
    }

    fn outcomes(&mut self, name: &str, at: Place, fields: &Fields<'_>, when: When) -> Vec<Outcome> {
        let Some(node) = fields.get("outcomes") else {
            self.complete = false;
            self.problems.add(at, format!("state `{name}` has no way out: it needs `outcomes`"));
            return Vec::new();
        };
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut ended = false;
        for item in node.items("`outcomes`", &mut self.problems) {
            if ended {
                self.problems.add(item.place, "this outcome is never reached: it comes after `otherwise`");
            }
            let Some(fields) = Fields::new(item, "an outcome", &OUTCOME_KEYS, &mut self.problems) else { continue };
            ended |= fields.get("otherwise").is_some();
            let outcome = self.outcome(name, &fields, when);
            if let Some(key) = fields.get("name")
                && outcomes.iter().any(|other| other.name == outcome.name)
            {
                self.problems.add(key.place, format!("state `{name}` has two outcomes `{}`", outcome.name));
            }
            outcomes.push(outcome);
        }
        if !ended {
            self.complete = false;
            let help = "end the list with { name: NAME, otherwise: true, go: STATE }";
            let place = fields.key("outcomes").map_or(at, |key| key.place);
            self.problems.add_help(place, format!("the outcomes of state `{name}` have no `otherwise`"), help);
        }
        outcomes
    }

    fn outcome(&mut self, state: &str, fields: &Fields<'_>, when: When) -> Outcome {
        let name = match fields.need("name", "an outcome", &mut self.problems) {
            Some(node) => self.outcome_name(node),
            None => String::new(),
        };
        let guard = match (fields.get("when"), fields.get("otherwise")) {
            (Some(node), None) => self.guard(node, when),
            (None, Some(node)) => {
                if node.truth("`otherwise`", &mut self.problems) == Some(false) {
                    self.problems.add(node.place, "`otherwise` can only be true");
                }
                None
            }
            (None, None) => {
                self.problems.add(fields.place(), format!("outcome `{name}` needs `when` or `otherwise`"));
                None
            }
            (Some(node), Some(_)) => {
                self.problems.add(node.place, format!("outcome `{name}` has both `when` and `otherwise`"));
                None
            }
        };
        let why = fields.get("why").map(|node| self.text(node, "`why`", when)).unwrap_or_default();
        let then = self.then(state, &name, fields, when);
        Outcome { name, when: guard, why, then }
    }

    fn then(&mut self, state: &str, outcome: &str, fields: &Fields<'_>, when: When) -> Then {
        match (fields.get("go"), fields.get("repeat")) {
            (Some(node), None) => Then::Go(self.target(node, "`go`")),
            (None, Some(node)) => {
                if node.truth("`repeat`", &mut self.problems) == Some(false) {
                    self.problems.add(node.place, "`repeat` can only be true");
                }
                if fields.get("otherwise").is_some() || when == When::Entering {
                    self.complete = false;
                    let message = "only an outcome of a `run` with a guard can repeat";
                    self.problems.add_help(node.place, message, "give it `go` instead");
                }
                self.places.repeats.insert(state.to_owned(), node.place);
                Then::Repeat
            }
            (go, _) => {
                self.complete = false;
                let at = go.map_or(fields.place(), |node| node.place);
                self.problems.add(at, format!("outcome `{outcome}` needs one of `go` and `repeat`"));
                Then::Go(String::new())
            }
        }
    }

    fn outcome_name(&mut self, node: &Node) -> String {
        let name = self.words(node, "`name`");
        self.identifier(&name, node.place, "an outcome");
        if OWN_OUTCOMES.contains(&name.as_str()) {
            self.problems.add(node.place, format!("`{name}` is an outcome that nextrun gives by itself"));
        }
        name
    }

    fn ask(&mut self, node: &Node) -> Option<Ask> {
        let Some(fields) = Fields::new(node, "`ask`", &["checklist", "answers", "silence"], &mut self.problems) else {
            self.complete = false;
            return None;
        };
        let mut checklist: Vec<Text> = Vec::new();
        if let Some(node) = fields.need("checklist", "`ask`", &mut self.problems) {
            for item in node.items("`checklist`", &mut self.problems) {
                checklist.push(self.text(item, "an item of `checklist`", When::Entering));
            }
        }
        let mut answers: Vec<Answer> = Vec::new();
        if let Some(node) = fields.need("answers", "`ask`", &mut self.problems) {
            for item in node.items("`answers`", &mut self.problems) {
                let Some(fields) = Fields::new(item, "an answer", &["name", "go"], &mut self.problems) else {
                    continue;
                };
                let name = fields.need("name", "an answer", &mut self.problems);
                let name = name.map(|node| self.outcome_name(node)).unwrap_or_default();
                if answers.iter().any(|other| other.name == name) {
                    self.problems.add(item.place, format!("there are two answers `{name}`"));
                }
                let go = self.needed_target(&fields, "go", "an answer");
                answers.push(Answer { name, go });
            }
        }
        let silence = self.needed_target(&fields, "silence", "`ask`");
        Some(Ask { checklist, answers, silence })
    }

    fn needed_target(&mut self, fields: &Fields<'_>, key: &str, what: &str) -> String {
        match fields.need(key, what, &mut self.problems) {
            Some(node) => self.target(node, &format!("`{key}`")),
            None => {
                self.complete = false;
                String::new()
            }
        }
    }

    fn conclude(&mut self, name: &str, node: &Node) -> Option<Conclude> {
        let keys = ["verdict", "confidence", "summary", "recommend"];
        let fields = Fields::new(node, "`conclude`", &keys, &mut self.problems)?;
        let mut conclude = Conclude::default();
        if let Some(node) = fields.need("verdict", "`conclude`", &mut self.problems) {
            conclude.verdict = self.words(node, "`verdict`");
            if !self.vocabulary.verdicts.contains(&conclude.verdict) {
                let help = suggest(&conclude.verdict, self.vocabulary.verdicts.iter().map(String::as_str));
                self.problems.add_maybe(node.place, format!("there is no verdict `{}`", conclude.verdict), help);
            }
        }
        if let Some(node) = fields.need("confidence", "`conclude`", &mut self.problems)
            && let Some(confidence) = node.number("`confidence`", &mut self.problems)
        {
            if !(0.0..=1.0).contains(&confidence) {
                self.problems.add(node.place, "`confidence` lies between 0 and 1");
            }
            conclude.confidence = confidence;
        }
        if let Some(node) = fields.need("summary", "`conclude`", &mut self.problems) {
            conclude.summary = self.text(node, "`summary`", When::Entering);
        }
        if let Some(node) = fields.get("recommend")
            && let Some(fields) = Fields::new(node, "`recommend`", &["from", "without", "change"], &mut self.problems)
        {
            conclude.recommend = self.settings(name, &fields);
        }
        Some(conclude)
    }
}

/// Whether a value of this type may be given to such a knob.
fn suits(knob: KnobKind, value: Type) -> bool {
    match (knob, value) {
        (_, Type::Texts | Type::Numbers) => false,
        (KnobKind::Any, _) | (_, Type::Null | Type::Knob(KnobKind::Any)) => true,
        (KnobKind::Bool, value) => matches!(value, Type::Bool | Type::Knob(KnobKind::Bool)),
        (KnobKind::Text, value) => matches!(value, Type::Text | Type::Knob(KnobKind::Text)),
        (KnobKind::Integer | KnobKind::Number, value) => {
            matches!(value, Type::Number | Type::Knob(KnobKind::Integer | KnobKind::Number))
        }
    }
}
