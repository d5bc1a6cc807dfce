//! One test of the file.
//!
//! Owns: the keys of a test. Must not know: the order of tests.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::policy::file::{
    Action, Answer, Ask, Change, Ladder, OWN_OUTCOMES, Outcome, Reason, Run, Settings, Test, Verdict,
};
use crate::policy::guard::{Expression, Type, When};
use crate::policy::vocabulary::KnobKind;
use crate::yaml::{Fields, Kind, Node};
use crate::yaml::{Span, suggest};

use super::Reader;

const KEYS: [&str; 23] = [
    "step",
    "why",
    "hypothesis",
    "expect",
    "when",
    "suspect",
    "skip",
    "from",
    "without",
    "change",
    "together",
    "optional",
    "ladder",
    "outcomes",
    "then",
    "rates",
    "believe",
    "also_cures",
    "prior",
    "cause",
    "found",
    "ask",
    "source",
];

/// Prior probability of a cause if the policy does not define one.
const USUAL_PRIOR: f64 = 0.05;

impl Reader<'_> {
    pub(super) fn test(&mut self, name: &str, at: Span, node: &Node) -> Option<Test> {
        let fields = Fields::new(node, &format!("test `{name}`"), &KEYS, &mut self.problems)?;
        let text = |reader: &mut Self, key: &str| {
            fields.get(key).map(|node| reader.text(node, &format!("`{key}`"), When::Entering)).unwrap_or_default()
        };
        let (why, hypothesis, expect) = (text(self, "why"), text(self, "hypothesis"), text(self, "expect"));
        let step = fields.get("step").map(|node| self.words(node, "`step`")).unwrap_or_default();
        if let Some(node) = fields.get("source") {
            self.words(node, "`source`");
        }
        let action = self.action(name, at, &fields)?;
        let cause = fields.get("cause").and_then(|node| self.cause(name, node));
        let outcomes = fields.get("outcomes").map(|node| self.outcomes(name, node)).unwrap_or_default();
        let when = fields.get("when").and_then(|node| self.guard(node, When::Entering));
        self.fits_together(name, at, (&action, cause.is_some(), when.is_some()), &fields);
        Some(Test {
            name: name.to_owned(),
            step,
            why,
            hypothesis,
            expect,
            when,
            suspect: fields.get("suspect").and_then(|node| self.reason(node)),
            skips: fields.get("skip").map(|node| self.reasons(node)).unwrap_or_default(),
            action,
            then: fields.get("then").map(|node| self.then(name, node)).unwrap_or_default(),
            rates: fields.get("rates").map(|node| self.rates(name, node)).unwrap_or_default(),
            believe: fields.get("believe").map(|node| self.believe(name, node)).unwrap_or_default(),
            also_cures: fields.get("also_cures").map(|node| self.also_cures(node)).unwrap_or_default(),
            prior: fields.get("prior").and_then(|node| self.share(node, "`prior`")).unwrap_or(USUAL_PRIOR),
            found: fields.get("found").and_then(|node| self.guard(node, When::Judging)),
            borrowed: self.borrowing,
            cause,
            outcomes,
        })
    }

    /// Combinations that make no sense.
    fn fits_together(&mut self, name: &str, at: Span, test: (&Action, bool, bool), fields: &Fields<'_>) {
        match test {
            (Action::Read, false, _) => {
                let help = "add `change`, `from`, `together` or `ladder` (an experiment), `ask` (a question), or `when` and `cause`";
                self.problems.add_help(at, format!("test `{name}` does nothing"), help);
            }
            (Action::Read, true, false) => {
                let message =
                    format!("test `{name}` has no experiments, so it needs `when`: what the baseline must show");
                self.problems.add(at, message);
            }
            (Action::Run(_), false, _) if fields.get("outcomes").is_none() => {
                let message = format!("test `{name}` has neither `cause` nor `outcomes`, so it would have no effect");
                self.problems.add(at, message);
            }
            _ => {}
        }
        if let Some(together) = fields.key("together") {
            let other = ["from", "ladder", "outcomes"].iter().find_map(|key| fields.key(key));
            let message = match other {
                Some(key) => Some(format!("`together` and `{}` exclude each other", key.name)),
                None => (!test.1).then(|| format!("test `{name}` has `together`, so it needs a `cause`")),
            };
            message.into_iter().for_each(|message| self.problems.add(together.place, message));
        }
        let runs = matches!(test.0, Action::Run(_));
        for key in ["hypothesis", "expect", "outcomes", "found", "then"].iter().filter_map(|key| fields.key(key)) {
            if !runs {
                let message = format!("`{}` has no effect in test `{name}`, which has no experiments", key.name);
                self.problems.add(key.place, message);
            }
        }
    }

    fn action(&mut self, name: &str, at: Span, fields: &Fields<'_>) -> Option<Action> {
        let runs = ["change", "from", "ladder", "together"].iter().any(|key| fields.get(key).is_some());
        match (runs, fields.get("ask")) {
            (true, Some(_)) => {
                self.problems.add(at, format!("test `{name}` cannot both change knobs and ask a person"));
                None
            }
            (true, None) => Some(Action::Run(Box::new(self.run(fields)))),
            (false, Some(node)) => Some(Action::Ask(self.ask(node)?)),
            (false, None) => Some(Action::Read),
        }
    }

    fn run(&mut self, fields: &Fields<'_>) -> Run {
        let settings = self.settings(fields);
        let optional = fields.get("optional").map(|node| self.knobs(node, "`optional`")).unwrap_or_default();
        for (knob, at) in optional.iter().filter(|_| settings.from.is_none()) {
            if settings.changes.iter().all(|(changed, _)| changed != knob) && self.vocabulary.knobs.contains_key(knob) {
                self.problems.add(*at, format!("`{knob}` is optional but is not changed"));
            }
        }
        let ladder = fields.get("ladder").and_then(|node| self.ladder(node));
        let together = self.tests_of(fields, "together");
        Run { settings, optional: optional.into_keys().collect(), ladder, together }
    }

    /// Changes to knobs: `from`, `without` and `change`.
    fn settings(&mut self, fields: &Fields<'_>) -> Settings {
        let from = fields.get("from").map(|node| self.test_name(node));
        let without = fields.get("without").map(|node| self.knobs(node, "`without`")).unwrap_or_default();
        let mut changes = Vec::new();
        for (key, node) in fields.get("change").map_or(&[][..], |n| n.entries("`change`", &mut self.problems)) {
            let Some(kind) = self.knob_kind(&key.name, key.place) else { continue };
            changes.extend(self.change(&key.name, kind, node).map(|change| (key.name.clone(), change)));
        }
        Settings { from, without: without.into_keys().collect(), changes }
    }

    fn knob_kind(&mut self, name: &str, at: Span) -> Option<KnobKind> {
        let kind = self.vocabulary.knobs.get(name).copied();
        if kind.is_none() {
            let help = suggest(name, self.vocabulary.knobs.keys().map(String::as_str));
            self.problems.add_maybe(at, format!("there is no knob `{name}`"), help);
        }
        kind
    }

    /// `ladder: { KNOB: [/10, /100], unknown: [0.001], while: CONDITION }`.
    fn ladder(&mut self, node: &Node) -> Option<Ladder> {
        let entries = node.entries("`ladder`", &mut self.problems);
        let (mut ladder, mut unknown, mut goes_on) = (None, None, None);
        for (key, node) in entries {
            match key.name.as_str() {
                "unknown" => unknown = Some(node),
                "while" => goes_on = self.guard(node, When::Judging),
                knob => {
                    let kind = self.knob_kind(knob, key.place)?;
                    if ladder.is_some() {
                        self.problems.add(key.place, "a ladder has one knob");
                    }
                    ladder = Some((knob.to_owned(), kind, self.rungs(knob, kind, node)));
                }
            }
        }
        let Some((knob, kind, known)) = ladder else {
            self.problems.add(node.place, "a ladder needs a knob: `ladder: { learning_rate: [/10, /100] }`");
            return None;
        };
        let unknown = unknown.map(|node| self.rungs(&knob, kind, node)).unwrap_or_default();
        Some(Ladder { knob, known, unknown, goes_on })
    }

    fn rungs(&mut self, knob: &str, kind: KnobKind, node: &Node) -> Vec<Change> {
        let items = node.items("the values of a ladder", &mut self.problems);
        if items.is_empty() {
            self.problems.add(node.place, "a ladder needs at least one value");
        }
        items.iter().filter_map(|item| self.change(knob, kind, item)).collect()
    }

    fn change(&mut self, knob: &str, kind: KnobKind, node: &Node) -> Option<Change> {
        let Kind::Scalar(value) = &node.kind else {
            self.problems.add(node.place, format!("a knob takes a single value, but this is {}", node.describe()));
            return None;
        };
        if let Some(factor) = value.as_str().and_then(factor) {
            if !matches!(kind, KnobKind::Integer | KnobKind::Number | KnobKind::Any) {
                self.problems.add(node.place, format!("`{knob}` is not a number, so it cannot be multiplied"));
            }
            return Some(Change::Times(factor));
        }
        let computed = value.as_str().and_then(|text| text.trim_start().strip_prefix('='));
        let Some(source) = computed else {
            if !kind.takes(value) {
                let message = format!("`{knob}` takes {}, but this is {}", kind.describe(), node.describe());
                let help = "write /10 or x10, or an expression: \"= baseline.learning_rate / 3\"".to_owned();
                self.problems.add_maybe(node.place, message, value.is_string().then_some(help));
            }
            return Some(Change::To(value.clone()));
        };
        let compiled = Expression::compile(source, &self.names(When::Entering));
        // An invalid change still counts as a change in the checks that follow.
        let Some(expression) = self.compiled(compiled, node, source) else { return Some(Change::To(Value::Null)) };
        if !suits(kind, expression.kind()) {
            let message = format!("`{knob}` takes {}, but this is {}", kind.describe(), expression.kind().describe());
            self.problems.add(node.place, message);
        }
        Some(Change::Computed(expression))
    }

    fn knobs(&mut self, node: &Node, what: &str) -> BTreeMap<String, Span> {
        let mut knobs = BTreeMap::new();
        for item in node.items(what, &mut self.problems) {
            let Some(knob) = item.text("a knob", &mut self.problems) else { continue };
            self.knob_kind(knob, item.place);
            knobs.insert(knob.to_owned(), item.place);
        }
        knobs
    }

    /// A condition, or a condition with its reason in words.
    fn reason(&mut self, node: &Node) -> Option<Reason> {
        if !matches!(node.kind, Kind::Map(_)) {
            let when = self.guard(node, When::Entering)?;
            return Some(Reason { when, why: crate::policy::text::Text::default() });
        }
        let fields = Fields::new(node, "a condition", &["when", "why"], &mut self.problems)?;
        let when = fields.need("when", "a condition", &mut self.problems);
        let when = when.and_then(|node| self.guard(node, When::Entering));
        let why = fields.get("why").map(|node| self.text(node, "`why`", When::Entering)).unwrap_or_default();
        Some(Reason { when: when?, why })
    }

    fn reasons(&mut self, node: &Node) -> Vec<Reason> {
        match &node.kind {
            Kind::List(items) => items.iter().filter_map(|item| self.reason(item)).collect(),
            _ => self.reason(node).into_iter().collect(),
        }
    }

    fn outcomes(&mut self, test: &str, node: &Node) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut ended = false;
        for (key, node) in node.entries("`outcomes`", &mut self.problems) {
            if ended {
                self.problems.add(key.place, "this outcome is unreachable because it comes after `otherwise`");
            }
            self.identifier(&key.name, key.place, "an outcome");
            if OWN_OUTCOMES.contains(&key.name.as_str()) {
                let message = format!("`{}` is a built-in outcome", key.name);
                self.problems.add(key.place, message);
            }
            let otherwise = node.kind == Kind::Scalar(Value::from("otherwise"));
            ended |= otherwise;
            let when = if otherwise { None } else { self.guard(node, When::Judging) };
            outcomes.push(Outcome { name: key.name.clone(), when });
        }
        if !ended {
            let help = "end the map with `NAME: otherwise`";
            self.problems.add_help(node.place, format!("the outcomes of test `{test}` have no `otherwise`"), help);
        }
        outcomes
    }

    fn outcome_name(&mut self, test: &str, name: &str, at: Span) {
        let known = self.outline.tests.get(test).cloned().unwrap_or_default();
        if !known.contains(name) {
            let help = suggest(name, known.iter().map(String::as_str));
            self.problems.add_maybe(at, format!("test `{test}` has no outcome `{name}`"), help);
        }
    }

    fn then(&mut self, test: &str, node: &Node) -> BTreeMap<String, String> {
        let mut then = BTreeMap::new();
        for (key, node) in node.entries("`then`", &mut self.problems) {
            self.outcome_name(test, &key.name, key.place);
            then.insert(key.name.clone(), self.test_name(node));
        }
        then
    }

    fn believe(&mut self, test: &str, node: &Node) -> BTreeMap<String, BTreeMap<String, f64>> {
        let mut believe = BTreeMap::new();
        for (key, node) in node.entries("`believe`", &mut self.problems) {
            self.outcome_name(test, &key.name, key.place);
            let mut factors = BTreeMap::new();
            for (other, node) in self.by_test("beliefs about tests", node) {
                let factor = node.number("a factor on the odds", &mut self.problems).unwrap_or(1.0);
                if factor < 0.0 {
                    self.problems.add(node.place, "a factor on the odds must be 0 or greater");
                }
                factors.insert(other, factor);
            }
            believe.insert(key.name.clone(), factors);
        }
        believe
    }

    fn also_cures(&mut self, node: &Node) -> BTreeMap<String, f64> {
        let shares = self.by_test("`also_cures`", node).into_iter();
        shares.filter_map(|(other, node)| Some((other, self.share(node, "a share")?))).collect()
    }

    /// The entries of a map whose keys are names of tests.
    fn by_test<'n>(&mut self, what: &str, node: &'n Node) -> Vec<(String, &'n Node)> {
        let entries = node.entries(what, &mut self.problems);
        for (other, _) in entries {
            if !self.outline.tests.contains_key(&other.name) {
                let help = suggest(&other.name, self.outline.tests.keys().map(String::as_str));
                self.problems.add_maybe(other.place, format!("there is no test `{}`", other.name), help);
            }
        }
        entries.iter().map(|(other, node)| (other.name.clone(), node)).collect()
    }

    fn rates(&mut self, test: &str, node: &Node) -> BTreeMap<String, f64> {
        let mut rates = BTreeMap::new();
        for (key, node) in node.entries("`rates`", &mut self.problems) {
            self.outcome_name(test, &key.name, key.place);
            rates.extend(self.share(node, "a rate").map(|rate| (key.name.clone(), rate)));
        }
        if rates.values().sum::<f64>() > 1.0 {
            self.problems.add(node.place, "the rates of all outcomes together must be at most 1");
        }
        rates
    }

    fn share(&mut self, node: &Node, what: &str) -> Option<f64> {
        let share = node.number(what, &mut self.problems)?;
        if !(share > 0.0 && share < 1.0) {
            self.problems.add(node.place, format!("{what} must be between 0 and 1"));
        }
        Some(share)
    }

    fn ask(&mut self, node: &Node) -> Option<Ask> {
        let fields = Fields::new(node, "`ask`", &["checklist", "answers"], &mut self.problems)?;
        let mut ask = Ask::default();
        if let Some(node) = fields.need("checklist", "`ask`", &mut self.problems) {
            for item in node.items("`checklist`", &mut self.problems) {
                ask.checklist.push(self.text(item, "an item of a checklist", When::Entering));
            }
        }
        let Some(answers) = fields.need("answers", "`ask`", &mut self.problems) else { return Some(ask) };
        for (key, node) in answers.entries("`answers`", &mut self.problems) {
            self.identifier(&key.name, key.place, "an answer");
            if OWN_OUTCOMES.contains(&key.name.as_str()) {
                let message = format!("`{}` is a built-in outcome", key.name);
                self.problems.add(key.place, message);
            }
            let go = match &node.kind {
                Kind::Scalar(Value::Null) => None,
                _ => {
                    let known: BTreeSet<String> = self.outline.targets.iter().cloned().collect();
                    Some(self.known_name(node, "conclusion", &known))
                }
            };
            ask.answers.push(Answer { name: key.name.clone(), go });
        }
        Some(ask)
    }

    /// A verdict, or a verdict with its text.
    fn cause(&mut self, name: &str, node: &Node) -> Option<Verdict> {
        let Kind::Scalar(Value::String(verdict)) = &node.kind else { return self.verdict(name, node) };
        self.verdict_name(verdict, node.place);
        let summary = crate::policy::text::Text::default();
        Some(Verdict { name: name.to_owned(), verdict: verdict.clone(), summary, recommend: None })
    }

    pub(super) fn verdict(&mut self, name: &str, node: &Node) -> Option<Verdict> {
        let fields = Fields::new(node, "a conclusion", &["verdict", "summary", "recommend"], &mut self.problems)?;
        let verdict = fields.need("verdict", "a conclusion", &mut self.problems)?;
        let words = verdict.text("`verdict`", &mut self.problems)?;
        self.verdict_name(words, verdict.place);
        let summary =
            fields.get("summary").map(|node| self.text(node, "`summary`", When::Entering)).unwrap_or_default();
        let recommend = fields.get("recommend").and_then(|node| {
            let fields = Fields::new(node, "`recommend`", &["from", "without", "change"], &mut self.problems)?;
            Some(self.settings(&fields))
        });
        Some(Verdict { name: name.to_owned(), verdict: words.to_owned(), summary, recommend })
    }

    fn verdict_name(&mut self, verdict: &str, at: Span) {
        if !self.vocabulary.verdicts.contains(verdict) {
            let help = suggest(verdict, self.vocabulary.verdicts.iter().map(String::as_str));
            self.problems.add_maybe(at, format!("there is no verdict `{verdict}`"), help);
        }
    }
}

/// `/10` is a tenth of the baseline's value, `x10` ten times it.
fn factor(text: &str) -> Option<f64> {
    let text = text.trim();
    let number = |digits: &str| digits.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
    match text.split_at_checked(1)? {
        ("/", digits) => number(digits).map(|n| 1.0 / n),
        ("x", digits) => number(digits),
        _ => None,
    }
}

/// Whether a value of this type is valid for such a knob.
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
