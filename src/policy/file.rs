//! A policy whose names have all been checked.
//!
//! Owns: the content of a policy. Must not know: YAML, and how a case moves through it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::guard::Expression;
use super::text::Text;
use super::vocabulary::{ConstantValue, Vocabulary};

/// Limits of a case. The configuration of a site can override them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Maximum number of experiments per case.
    pub experiments: u32,
    /// How many of these are reserved for confirming a close result.
    pub reserve: u32,
    /// Maximum total run time of the experiments of a case, in hours.
    pub hours: f64,
}

impl Default for Limits {
    /// A dozen runs cover a sequence of eight steps with some repetitions; two days are a reasonable wait.
    fn default() -> Self {
        Limits { experiments: 12, reserve: 0, hours: 48.0 }
    }
}

/// A named value that expressions use: a number, or a list of texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// Its value.
    pub value: ConstantValue,
    /// Its source; empty if the file does not state one.
    pub why: String,
}

/// A debugging sequence as a state machine, checked.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(super) name: String,
    /// A hash of its text and of what it uses.
    pub(super) id: String,
    pub(super) summary: String,
    pub(super) source: String,
    pub(super) kinds: BTreeSet<String>,
    pub(super) limits: Limits,
    pub(super) constants: BTreeMap<String, Constant>,
    pub(super) conditions: Vec<Condition>,
    /// The condition under which an experiment fixes its baseline.
    pub(super) cured: Option<Expression>,
    /// The condition under which an experiment helps, so that a ladder continues.
    pub(super) helped: Option<Expression>,
    pub(super) tests: Vec<Test>,
    pub(super) conclusions: Vec<Verdict>,
    pub(super) states: Vec<State>,
    pub(super) vocabulary: Vocabulary,
}

/// A named condition, for the documentation.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) name: String,
    pub(super) source: String,
    /// Whether it applies to an experiment.
    pub(super) judges: bool,
}

impl Policy {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A hash of its file and of the files that it uses; it changes with the text.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its purpose, in one line.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// The publication of the sequence.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The kinds of training that it supports; empty if not stated.
    pub fn kinds(&self) -> &BTreeSet<String> {
        &self.kinds
    }

    /// The limits of a case.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The policy with the limits of a site.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Policy { limits, ..self }
    }

    /// Its named values.
    pub fn constants(&self) -> &BTreeMap<String, Constant> {
        &self.constants
    }

    /// Its named conditions, in the order of the file: name, expression, and whether it applies to an experiment.
    pub fn conditions(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.conditions.iter().map(|c| (c.name.as_str(), c.source.as_str(), c.judges))
    }

    /// The initial state of a case.
    pub fn start(&self) -> &str {
        self.states.first().map_or("", |state| state.name.as_str())
    }

    /// Its states in the order of the file.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// The state with the given name.
    pub fn state(&self, name: &str) -> Option<&State> {
        self.states.iter().find(|state| state.name == name)
    }

    /// Its tests in the order of the file, after those of the shared file.
    pub fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// The test with the given name.
    pub fn test(&self, name: &str) -> Option<&Test> {
        self.tests.iter().find(|test| test.name == name)
    }

    /// The conclusions that are not the cause of a test.
    pub fn conclusions(&self) -> &[Verdict] {
        &self.conclusions
    }

    /// The conclusion with the given name.
    pub fn conclusion(&self, name: &str) -> Option<&Verdict> {
        self.conclusions.iter().find(|conclusion| conclusion.name == name)
    }

    /// The possible conclusions of a case.
    pub fn reachable_conclusions(&self) -> Vec<&str> {
        let ways = self.states.iter().flat_map(State::ways).map(|(_, to)| to.to_owned());
        let answers = self.used().into_iter().filter_map(|test| match &test.action {
            Action::Ask(ask) => Some(ask.answers.iter().filter_map(|answer| answer.go.clone())),
            Action::Run(_) | Action::Read => None,
        });
        let named: BTreeSet<String> = ways.chain(answers.flatten()).collect();
        self.conclusions.iter().map(|end| end.name.as_str()).filter(|name| named.contains(*name)).collect()
    }

    /// Whether this is the name of a possible position of a case.
    pub fn knows(&self, name: &str) -> bool {
        self.test(name).is_some() || self.state(name).is_some() || self.conclusion(name).is_some()
    }

    /// The names against which it was checked.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The tests that a case can run: those listed in a state, and those that follow them.
    pub fn used(&self) -> Vec<&Test> {
        let mut names: Vec<&str> = self.states.iter().flat_map(|state| state.lists()).collect();
        let mut at = 0;
        while let Some(name) = names.get(at).copied() {
            let follow = self.test(name).into_iter().flat_map(|test| test.then.values());
            for next in follow {
                if !names.contains(&next.as_str()) {
                    names.push(next);
                }
            }
            at += 1;
        }
        self.tests.iter().filter(|test| names.contains(&test.name.as_str())).collect()
    }
}

/// One test: an experiment, a question to a person, or an evaluation of the baseline, with its possible outcomes and
/// the cause that it can find.
#[derive(Debug, Clone)]
pub struct Test {
    pub(super) name: String,
    pub(super) step: String,
    pub(super) why: Text,
    pub(super) hypothesis: Text,
    pub(super) expect: Text,
    /// It applies only while this condition is true.
    pub(super) when: Option<Expression>,
    /// While this condition is true it precedes the others, with the reason.
    pub(super) suspect: Option<Reason>,
    /// It is skipped if one of these conditions is true, with the reason.
    pub(super) skips: Vec<Reason>,
    pub(super) action: Action,
    /// Its own outcomes, in the order in which they are evaluated.
    pub(super) outcomes: Vec<Outcome>,
    /// The test that follows an outcome.
    pub(super) then: BTreeMap<String, String>,
    /// How often each outcome comes, as a share; an outcome without one has an equal part of the remainder.
    pub(super) rates: BTreeMap<String, f64>,
    /// By outcome: how much more often it comes than usual if another test's cause is present; 0: never.
    pub(super) believe: BTreeMap<String, BTreeMap<String, f64>>,
    /// By another test whose cause is present: how often the change of this test fixes the job, too.
    pub(super) also_cures: BTreeMap<String, f64>,
    /// Prior probability of its cause.
    pub(super) prior: f64,
    /// It belongs to another policy, whose stories cover it.
    pub(super) borrowed: bool,
    /// The result if the cause is found.
    pub(super) cause: Option<Verdict>,
    /// The condition for finding the cause; default: the policy's `cured`.
    pub(super) found: Option<Expression>,
}

/// What a test does.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// It suggests experiments.
    Run(Box<Run>),
    /// It asks a person.
    Ask(Ask),
    /// It evaluates the baseline: if its condition is true, its cause is found.
    Read,
}

/// What a test does, for lists and diagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestKind {
    /// It suggests an experiment.
    Run,
    /// It asks a person.
    Ask,
    /// It concludes from the baseline alone.
    Read,
}

impl Test {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The step or tip of the published sequence; empty if there is none.
    pub fn step(&self) -> &str {
        &self.step
    }

    /// What it does.
    pub fn kind(&self) -> TestKind {
        match self.action {
            Action::Run(_) => TestKind::Run,
            Action::Ask(_) => TestKind::Ask,
            Action::Read => TestKind::Read,
        }
    }

    /// How likely it is, before anything is known, that its cause is the case.
    pub fn prior(&self) -> f64 {
        self.prior
    }

    /// The changes to the baseline as a whole that it tries first, by name: `activation=relu` for a value,
    /// `learning_rate:lower` for a direction. None of a test on a part of the examples, or one that builds on another.
    pub fn changes(&self) -> Vec<String> {
        let Action::Run(run) = &self.action else { return Vec::new() };
        let settings = &run.settings;
        if !run.together.is_empty()
            || settings.from.is_some()
            || settings.changes.iter().any(|(knob, _)| knob == "train_examples")
        {
            return Vec::new();
        }
        let rung = run.ladder.iter().filter_map(|ladder| Some((&ladder.knob, ladder.known.first()?)));
        let named =
            settings.changes.iter().map(|(knob, change)| (knob, change)).chain(rung).filter_map(|(knob, change)| {
                Some(match change {
                    Change::To(Value::String(text)) => format!("{knob}={text}"),
                    Change::To(value) => format!("{knob}={value}"),
                    Change::Times(factor) => format!("{knob}:{}", if *factor < 1.0 { "lower" } else { "higher" }),
                    Change::Computed(_) => return None,
                })
            });
        named.collect()
    }

    /// Whether it belongs to another policy, whose stories cover it.
    pub fn borrowed(&self) -> bool {
        self.borrowed
    }

    /// The verdict if its cause is found.
    pub fn verdict(&self) -> Option<&str> {
        self.cause.as_ref().map(|cause| cause.verdict.as_str())
    }

    /// The condition under which it applies, as written in the file.
    pub fn when(&self) -> Option<&str> {
        self.when.as_ref().map(Expression::source)
    }

    /// The condition under which it precedes the others, as written in the file.
    pub fn suspect(&self) -> Option<&str> {
        self.suspect.as_ref().map(|reason| reason.when.source())
    }

    /// The following test of each outcome that has one.
    pub fn then(&self) -> &BTreeMap<String, String> {
        &self.then
    }

    /// Its possible outcomes, each with its condition as written in the file; built-in outcomes come last.
    pub fn outcomes(&self) -> Vec<(&str, Option<&str>)> {
        let mut all = Vec::new();
        match &self.action {
            Action::Read => return vec![(FOUND, self.when())],
            Action::Ask(ask) => {
                all.extend(ask.answers.iter().map(|answer| (answer.name.as_str(), None)));
                all.push((SILENCE, None));
            }
            Action::Run(_) => {
                if self.cause.is_some() {
                    all.push((FOUND, self.found.as_ref().map(Expression::source)));
                }
                all.extend(self.outcomes.iter().map(|o| (o.name.as_str(), o.when.as_ref().map(Expression::source))));
                if self.outcomes.is_empty() {
                    all.push((NO_CURE, None));
                }
                all.push((UNAVAILABLE, None));
            }
        }
        if !self.skips.is_empty() {
            all.push((SKIPPED, None));
        }
        all
    }

    /// Whether one of its outcomes uses this name: `experiment.crashed`.
    pub fn judges(&self, name: &str) -> bool {
        self.outcomes().iter().any(|(_, guard)| guard.is_some_and(|guard| guard.contains(name)))
    }

    /// How often it can be repeated with another value.
    pub(super) fn rungs(&self) -> u32 {
        match &self.action {
            Action::Run(run) => run
                .ladder
                .as_ref()
                .map_or(1, |ladder| u32::try_from(ladder.known.len().max(ladder.unknown.len())).unwrap_or(u32::MAX)),
            Action::Ask(_) | Action::Read => 1,
        }
    }
}

/// A condition and its meaning, for the journal.
#[derive(Debug, Clone)]
pub(super) struct Reason {
    pub(super) when: Expression,
    pub(super) why: Text,
}

/// An experiment.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    pub(super) settings: Settings,
    /// Knobs that are omitted if the script does not support them or the value is unknown.
    pub(super) optional: BTreeSet<String>,
    pub(super) ladder: Option<Ladder>,
    /// It also makes the changes of these tests, as far as each of them is possible.
    pub(super) together: Vec<String>,
}

/// Values of one knob, tried one after the other while they help.
#[derive(Debug, Clone)]
pub(super) struct Ladder {
    pub(super) knob: String,
    /// For a known value of the baseline.
    pub(super) known: Vec<Change>,
    /// For an unknown value.
    pub(super) unknown: Vec<Change>,
    /// The condition for continuing; default: the policy's `helped`.
    pub(super) goes_on: Option<Expression>,
}

/// Changes to the baseline's knobs.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    /// Start with the changes of this test's best experiment.
    pub(super) from: Option<String>,
    /// Omit some of these changes.
    pub(super) without: BTreeSet<String>,
    pub(super) changes: Vec<(String, Change)>,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    To(Value),
    /// The baseline's value multiplied by this factor.
    Times(f64),
    Computed(Expression),
}

#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) name: String,
    /// None for `otherwise`.
    pub(super) when: Option<Expression>,
}

/// A question to a person.
#[derive(Debug, Clone, Default)]
pub(super) struct Ask {
    pub(super) checklist: Vec<Text>,
    pub(super) answers: Vec<Answer>,
}

#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) name: String,
    /// The conclusion that it leads to; none if the case continues.
    pub(super) go: Option<String>,
}

/// A verdict with its text and the settings that fix the job.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub(super) name: String,
    pub(super) verdict: String,
    pub(super) summary: Text,
    /// None: the changes of the best experiment of its test.
    pub(super) recommend: Option<Settings>,
}

impl Verdict {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One of the standard verdicts.
    pub fn verdict(&self) -> &str {
        &self.verdict
    }
}

/// One state: a phase of the sequence.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) name: String,
    pub(super) phase: Phase,
}

/// What a state does.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// Runs each test whose condition is true, then continues.
    First { tests: Vec<String>, onward: String },
    /// Runs each test at most once, until one finds its cause.
    Try(Try),
    /// If the result is close, repeats the experiment with another seed.
    Confirm { held: String, onward: String },
}

#[derive(Debug, Clone)]
pub(super) struct Try {
    pub(super) tests: Vec<String>,
    pub(super) order: Order,
    /// Runs only suspected tests and leaves the others to a later state.
    pub(super) only_suspected: bool,
    pub(super) before_each: Vec<(Expression, String)>,
    /// The next state if a cause is found; `conclude` ends the case with this cause.
    pub(super) found: String,
    /// The next state if no tests are left: the first whose condition is true.
    pub(super) empty: Vec<(Option<Expression>, String)>,
}

/// In which order tests are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// In the order of the file, suspected tests first.
    Listed,
    /// By expected information per cost; the order of the file breaks ties.
    Information,
}

impl State {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tests that it lists.
    pub fn lists(&self) -> impl Iterator<Item = &str> {
        let tests: &[String] = match &self.phase {
            Phase::First { tests, .. } => tests,
            Phase::Try(phase) => &phase.tests,
            Phase::Confirm { .. } => &[],
        };
        tests.iter().map(String::as_str)
    }

    /// The order of the tests; none if it does not try tests.
    pub fn order(&self) -> Option<Order> {
        if let Phase::Try(phase) = &self.phase { Some(phase.order) } else { None }
    }

    /// Its next states: the condition, and the name of a state or conclusion (`conclude`: the cause found).
    pub fn ways(&self) -> Vec<(&str, &str)> {
        match &self.phase {
            Phase::First { onward, .. } => vec![("else", onward)],
            Phase::Confirm { held, onward } => vec![("held", held), ("else", onward)],
            Phase::Try(phase) => {
                let before = phase.before_each.iter().map(|(when, go)| (when.source(), go.as_str()));
                let empty = phase
                    .empty
                    .iter()
                    .map(|(when, go)| (when.as_ref().map_or("no tests left", Expression::source), go.as_str()));
                before.chain([("found", phase.found.as_str())]).chain(empty).collect()
            }
        }
    }
}

/// The outcome of a test whose cause was found.
pub const FOUND: &str = "found";
/// The outcome of a test with a cause that was not found, if the test defines no other.
pub const NO_CURE: &str = "no_cure";
/// The outcome of a test whose change helps like a fix although others may help more; its cause is found if none does.
pub const PROMISING: &str = "promising";
/// The outcome of a test whose result another seed did not confirm.
pub const NOT_CONFIRMED: &str = "not_confirmed";
/// The outcome of a test that was skipped because of the policy, or because nothing would change.
pub const SKIPPED: &str = "skipped";
/// The outcome of a test whose experiment cannot be run.
pub const UNAVAILABLE: &str = "unavailable";
/// The outcome of a test for which no budget remained.
pub const LIMIT: &str = "limit";
/// The outcome of a question that nobody answered.
pub const SILENCE: &str = "silence";

/// Built-in outcomes; a policy cannot define outcomes with these names.
pub(super) const OWN_OUTCOMES: [&str; 8] =
    [FOUND, NO_CURE, PROMISING, NOT_CONFIRMED, SKIPPED, UNAVAILABLE, LIMIT, SILENCE];

/// The target of a state that ends the case with the found cause.
pub(super) const CONCLUDE: &str = "conclude";
