//! A policy whose every name was checked.
//!
//! Owns: what a policy says. Must not know: YAML, and how a case walks through it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::guard::Expression;
use super::text::Text;
use super::vocabulary::Vocabulary;

/// How far a case may go. A site's configuration may set its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Experiments that one case may suggest.
    pub experiments: u32,
    /// Of these, how many are kept for the confirmation of a close result.
    pub reserve: u32,
    /// Hours that the experiments of one case may run, in all.
    pub hours: f64,
}

impl Default for Limits {
    /// A dozen runs cover a sequence of eight steps with some repeated; two days are what a person would wait.
    fn default() -> Self {
        Limits { experiments: 12, reserve: 0, hours: 48.0 }
    }
}

/// A named value that expressions use: a number, or a list of texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// Its value.
    pub value: ConstantValue,
    /// Where it comes from; empty where the file does not say.
    pub why: String,
}

/// The value of a constant.
#[derive(Debug, Clone, PartialEq)]
pub enum ConstantValue {
    /// A number.
    Number(f64),
    /// A list of texts.
    Texts(Vec<String>),
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
    /// An experiment that meets this cured its baseline.
    pub(super) cured: Option<Expression>,
    /// An experiment that meets this helped: a ladder goes on.
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
    /// Whether it judges an experiment.
    pub(super) judges: bool,
}

impl Policy {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A hash of its file and of the files that it uses: another text has another id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it looks for, in a line.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Where the sequence was published.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The kinds of training that it is for; empty where it does not say.
    pub fn kinds(&self) -> &BTreeSet<String> {
        &self.kinds
    }

    /// How far a case may go.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The policy with a site's own limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Policy { limits, ..self }
    }

    /// Its named values.
    pub fn constants(&self) -> &BTreeMap<String, Constant> {
        &self.constants
    }

    /// Its named conditions, in the order of the file: name, expression, and whether it judges an experiment.
    pub fn conditions(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.conditions.iter().map(|c| (c.name.as_str(), c.source.as_str(), c.judges))
    }

    /// The state that a case begins in.
    pub fn start(&self) -> &str {
        self.states.first().map_or("", |state| state.name.as_str())
    }

    /// Its states in the order of the file.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// The state of a name.
    pub fn state(&self, name: &str) -> Option<&State> {
        self.states.iter().find(|state| state.name == name)
    }

    /// Its tests in the order of the file, those of the shared file first.
    pub fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// The test of a name.
    pub fn test(&self, name: &str) -> Option<&Test> {
        self.tests.iter().find(|test| test.name == name)
    }

    /// The conclusions that are not the cause of a test.
    pub fn conclusions(&self) -> &[Verdict] {
        &self.conclusions
    }

    /// The conclusion of a name.
    pub fn conclusion(&self, name: &str) -> Option<&Verdict> {
        self.conclusions.iter().find(|conclusion| conclusion.name == name)
    }

    /// The conclusions that a case may come to.
    pub fn reachable_conclusions(&self) -> Vec<&str> {
        let ways = self.states.iter().flat_map(State::ways).map(|(_, to)| to.to_owned());
        let answers = self.used().into_iter().filter_map(|test| match &test.action {
            Action::Ask(ask) => Some(ask.answers.iter().filter_map(|answer| answer.go.clone())),
            Action::Run(_) | Action::Read => None,
        });
        let named: BTreeSet<String> = ways.chain(answers.flatten()).collect();
        self.conclusions.iter().map(|end| end.name.as_str()).filter(|name| named.contains(*name)).collect()
    }

    /// Whether a case can stand at a place of this name.
    pub fn knows(&self, name: &str) -> bool {
        self.test(name).is_some() || self.state(name).is_some() || self.conclusion(name).is_some()
    }

    /// The names that it was checked against.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The tests that a case may make: those that a state lists, and those that follow them.
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

/// One test: an experiment, a question to a person, or a reading of the baseline; what may come of it, and the cause that
/// it would name.
#[derive(Debug, Clone)]
pub struct Test {
    pub(super) name: String,
    pub(super) step: String,
    pub(super) why: Text,
    pub(super) hypothesis: Text,
    pub(super) expect: Text,
    /// It is called for only where this holds.
    pub(super) when: Option<Expression>,
    /// Where this holds it comes before the others, with the reason.
    pub(super) suspect: Option<Reason>,
    /// Where one of these holds it is passed over, with the reason.
    pub(super) skips: Vec<Reason>,
    pub(super) action: Action,
    /// Its own outcomes, in the order in which they are tried.
    pub(super) outcomes: Vec<Outcome>,
    /// The test that follows an outcome.
    pub(super) then: BTreeMap<String, String>,
    /// By outcome, what is believed of other tests: a factor on the odds; 0 excludes.
    pub(super) believe: BTreeMap<String, BTreeMap<String, f64>>,
    /// How likely it is, before anything is known, that this is the cause.
    pub(super) prior: f64,
    /// It is another policy's, whose stories cover it.
    pub(super) borrowed: bool,
    /// What it means when it is found.
    pub(super) cause: Option<Verdict>,
    /// When the cause is found; the policy's `cured` where the test does not say.
    pub(super) found: Option<Expression>,
}

/// What a test does.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// It suggests experiments.
    Run(Box<Run>),
    /// It asks a person.
    Ask(Ask),
    /// It reads the baseline: where its condition holds, its cause is found.
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

    /// Which step or tip of the published sequence it is; empty where it is none.
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
        if settings.from.is_some() || settings.changes.iter().any(|(knob, _)| knob == "train_examples") {
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

    /// Whether it is another policy's, whose stories cover it.
    pub fn borrowed(&self) -> bool {
        self.borrowed
    }

    /// The verdict that it gives when it is found.
    pub fn verdict(&self) -> Option<&str> {
        self.cause.as_ref().map(|cause| cause.verdict.as_str())
    }

    /// The condition under which it is called for, as the file has it.
    pub fn when(&self) -> Option<&str> {
        self.when.as_ref().map(Expression::source)
    }

    /// The condition under which it comes before the others, as the file has it.
    pub fn suspect(&self) -> Option<&str> {
        self.suspect.as_ref().map(|reason| reason.when.source())
    }

    /// The test that follows each outcome that has one.
    pub fn then(&self) -> &BTreeMap<String, String> {
        &self.then
    }

    /// The outcomes that it may have, each with its condition as the file has it; what the engine gives besides comes last.
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

    /// Whether one of its outcomes asks for something by this name: `experiment.crashed`.
    pub fn judges(&self, name: &str) -> bool {
        self.outcomes().iter().any(|(_, guard)| guard.is_some_and(|guard| guard.contains(name)))
    }

    /// How often it may be repeated with another value.
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

/// A condition and what it means, for the journal.
#[derive(Debug, Clone)]
pub(super) struct Reason {
    pub(super) when: Expression,
    pub(super) why: Text,
}

/// An experiment.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    pub(super) settings: Settings,
    /// Knobs that are left out where the script does not have them or the value is unknown.
    pub(super) optional: BTreeSet<String>,
    pub(super) ladder: Option<Ladder>,
}

/// Values of one knob, tried one after the other while they help.
#[derive(Debug, Clone)]
pub(super) struct Ladder {
    pub(super) knob: String,
    /// For a baseline whose value is known.
    pub(super) known: Vec<Change>,
    /// For one whose value is not.
    pub(super) unknown: Vec<Change>,
    /// When to go on; the policy's `helped` where it does not say.
    pub(super) goes_on: Option<Expression>,
}

/// Changes to the baseline's knobs.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    /// Begin with the changes of this test's best experiment.
    pub(super) from: Option<String>,
    /// Of these, leave out some.
    pub(super) without: BTreeSet<String>,
    pub(super) changes: Vec<(String, Change)>,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    To(Value),
    /// The baseline's value times this.
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
    /// The conclusion that it leads to; none where the case goes on.
    pub(super) go: Option<String>,
}

/// A verdict with its words and the settings that cure it.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub(super) name: String,
    pub(super) verdict: String,
    pub(super) summary: Text,
    /// None: the changes of the best experiment of the test that it belongs to.
    pub(super) recommend: Option<Settings>,
}

impl Verdict {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One of the contract's verdicts.
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
    /// Makes each test whose condition holds, then goes on.
    First { tests: Vec<String>, onward: String },
    /// Tries each test at most once, until one is found.
    Try(Try),
    /// Repeats the experiment that was found with another seed where the result is close.
    Confirm { held: String, onward: String },
}

#[derive(Debug, Clone)]
pub(super) struct Try {
    pub(super) tests: Vec<String>,
    pub(super) order: Order,
    /// Only tests that something speaks for are made; the others are left to a later state.
    pub(super) only_suspected: bool,
    pub(super) before_each: Vec<(Expression, String)>,
    /// Where it goes when a test is found; `conclude` ends the case with its cause.
    pub(super) found: String,
    /// Where it goes when nothing is left: the first whose condition holds.
    pub(super) empty: Vec<(Option<Expression>, String)>,
}

/// In which order tests are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As the file lists them; what the settings speak for comes first.
    Listed,
    /// By the information that a test is expected to give for its cost; the list breaks ties.
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

    /// In which order it tries them; none where it does not try.
    pub fn order(&self) -> Option<Order> {
        if let Phase::Try(phase) = &self.phase { Some(phase.order) } else { None }
    }

    /// Where it leads: what must be the case, and the name of a state or a conclusion (`conclude`: the cause found).
    pub fn ways(&self) -> Vec<(&str, &str)> {
        match &self.phase {
            Phase::First { onward, .. } => vec![("else", onward)],
            Phase::Confirm { held, onward } => vec![("held", held), ("else", onward)],
            Phase::Try(phase) => {
                let before = phase.before_each.iter().map(|(when, go)| (when.source(), go.as_str()));
                let empty = phase
                    .empty
                    .iter()
                    .map(|(when, go)| (when.as_ref().map_or("nothing is left", Expression::source), go.as_str()));
                before.chain([("found", phase.found.as_str())]).chain(empty).collect()
            }
        }
    }
}

/// The outcome of a test whose cause was found.
pub const FOUND: &str = "found";
/// The outcome of a test with a cause that was not found, where the test names no other.
pub const NO_CURE: &str = "no_cure";
/// The outcome of a test whose change helps as a cure does, where others may help more: it is found when none does.
pub const PROMISING: &str = "promising";
/// The outcome of a test that was found and did not hold with another seed.
pub const NOT_CONFIRMED: &str = "not_confirmed";
/// The outcome of a test that was passed over because the policy says so, or because nothing was left to change.
pub const SKIPPED: &str = "skipped";
/// The outcome of a test whose experiment cannot be run.
pub const UNAVAILABLE: &str = "unavailable";
/// The outcome of a test for which no budget was left.
pub const LIMIT: &str = "limit";
/// The outcome of a question that nobody answered.
pub const SILENCE: &str = "silence";

/// The outcomes that the engine gives; a policy cannot define its own of these names.
pub(super) const OWN_OUTCOMES: [&str; 8] =
    [FOUND, NO_CURE, PROMISING, NOT_CONFIRMED, SKIPPED, UNAVAILABLE, LIMIT, SILENCE];

/// Where a state leads to end the case with the cause that was found.
pub(super) const CONCLUDE: &str = "conclude";
