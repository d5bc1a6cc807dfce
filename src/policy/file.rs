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
    /// Experiments that one state may suggest, where the state does not say.
    pub repeats: u32,
    /// Hours that the experiments of one case may run, in all.
    pub hours: f64,
}

impl Default for Limits {
    /// A dozen runs cover a sequence of eight steps with some repeated; two days are what a person would wait.
    fn default() -> Self {
        Limits { experiments: 12, repeats: 3, hours: 48.0 }
    }
}

/// A named number that guards and changes use.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// Its value.
    pub value: f64,
    /// Where it comes from; empty where the file does not say.
    pub why: String,
}

/// A debugging sequence as a state machine, checked.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(super) name: String,
    pub(super) summary: String,
    pub(super) source: String,
    pub(super) limits: Limits,
    pub(super) start: String,
    pub(super) exhausted: Option<String>,
    pub(super) constants: BTreeMap<String, Constant>,
    pub(super) states: Vec<State>,
    pub(super) vocabulary: Vocabulary,
}

impl Policy {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it looks for, in a line.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Where the sequence was published.
    pub fn source(&self) -> &str {
        &self.source
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

    /// The state that a case begins in.
    pub fn start(&self) -> &str {
        &self.start
    }

    /// The state that a case goes to when its limits are reached.
    pub fn exhausted(&self) -> Option<&str> {
        self.exhausted.as_deref()
    }

    /// Its named numbers.
    pub fn constants(&self) -> &BTreeMap<String, Constant> {
        &self.constants
    }

    /// Its states in the order of the file.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// The state of a name.
    pub fn state(&self, name: &str) -> Option<&State> {
        self.states.iter().find(|state| state.name == name)
    }

    /// The names that it was checked against.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }
}

/// One state of a policy.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) name: String,
    pub(super) step: String,
    pub(super) why: Text,
    pub(super) hypothesis: Text,
    pub(super) expect: Text,
    pub(super) skips: Vec<Skip>,
    pub(super) action: Action,
}

/// What a state does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateKind {
    /// It suggests an experiment.
    Run,
    /// It asks a person.
    Ask,
    /// It ends the case.
    Conclude,
    /// It only chooses the next state.
    Branch,
}

/// A way out of a state, for lists and diagrams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way<'p> {
    /// The outcome's name.
    pub outcome: &'p str,
    /// The guard; none where it is taken without one.
    pub when: Option<&'p str>,
    /// The next state; the state itself where it is repeated.
    pub to: &'p str,
    /// It runs the same state again.
    pub repeats: bool,
}

impl State {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which step of the published sequence it is; empty where it is none.
    pub fn step(&self) -> &str {
        &self.step
    }

    /// What it does.
    pub fn kind(&self) -> StateKind {
        match self.action {
            Action::Run(_) => StateKind::Run,
            Action::Ask(_) => StateKind::Ask,
            Action::Conclude(_) => StateKind::Conclude,
            Action::Branch(_) => StateKind::Branch,
        }
    }

    /// The verdict that it concludes with.
    pub fn verdict(&self) -> Option<&str> {
        match &self.action {
            Action::Conclude(conclude) => Some(&conclude.verdict),
            _ => None,
        }
    }

    /// Every way out, in the order in which they are tried. `unavailable` and `skipped` are among them.
    pub fn ways(&self) -> Vec<Way<'_>> {
        let plain = |outcome, to| Way { outcome, when: None, to, repeats: false };
        let mut ways: Vec<Way<'_>> = self
            .skips
            .iter()
            .map(|skip| Way { when: Some(skip.when.source()), ..plain(SKIPPED, skip.go.as_str()) })
            .collect();
        ways.extend(self.outcomes().iter().map(|outcome| {
            let (to, repeats) = match &outcome.then {
                Then::Go(to) => (to.as_str(), false),
                Then::Repeat => (self.name.as_str(), true),
            };
            Way { outcome: &outcome.name, when: outcome.when.as_ref().map(Expression::source), to, repeats }
        }));
        match &self.action {
            Action::Run(run) => ways.push(plain(UNAVAILABLE, &run.unavailable)),
            Action::Ask(ask) => {
                ways.extend(ask.answers.iter().map(|answer| plain(&answer.name, &answer.go)));
                ways.push(plain(SILENCE, &ask.silence));
            }
            Action::Conclude(_) | Action::Branch(_) => {}
        }
        ways
    }

    /// Whether one of its outcomes asks for something by this name: `experiment.crashed`.
    pub fn judges(&self, name: &str) -> bool {
        let guards = self.outcomes().iter().filter_map(|outcome| outcome.when.as_ref());
        guards.map(Expression::source).any(|guard| guard.contains(name))
    }

    /// The outcomes of a `run` or a branch, as the file lists them.
    pub(super) fn outcomes(&self) -> &[Outcome] {
        match &self.action {
            Action::Run(run) => &run.outcomes,
            Action::Branch(outcomes) => outcomes,
            Action::Ask(_) | Action::Conclude(_) => &[],
        }
    }
}

/// The outcome of a state that was passed over because the policy says so, or because nothing was left to change.
pub const SKIPPED: &str = "skipped";
/// The outcome of a state whose experiment cannot be run.
pub const UNAVAILABLE: &str = "unavailable";
/// The outcome of a state for which no budget was left.
pub const LIMIT: &str = "limit";
/// The outcome of a question that nobody answered.
pub const SILENCE: &str = "silence";

/// The outcomes that the engine gives; a policy cannot define its own of these names.
pub(super) const OWN_OUTCOMES: [&str; 4] = [SKIPPED, UNAVAILABLE, LIMIT, SILENCE];

#[derive(Debug, Clone)]
pub(super) struct Skip {
    pub(super) when: Expression,
    pub(super) why: Text,
    pub(super) go: String,
}

#[derive(Debug, Clone)]
pub(super) enum Action {
    Run(Run),
    Ask(Ask),
    Conclude(Conclude),
    Branch(Vec<Outcome>),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    pub(super) settings: Settings,
    pub(super) optional: BTreeSet<String>,
    pub(super) unavailable: String,
    /// None where the limit of the policy holds.
    pub(super) repeats: Option<u32>,
    pub(super) outcomes: Vec<Outcome>,
}

/// Changes to the baseline's knobs.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    /// Begin with the changes of this state's newest experiment.
    pub(super) from: Option<String>,
    /// Of these, leave out some.
    pub(super) without: BTreeSet<String>,
    pub(super) changes: Vec<(String, Change)>,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    To(Value),
    Computed(Expression),
}

#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) name: String,
    /// None for `otherwise`.
    pub(super) when: Option<Expression>,
    pub(super) why: Text,
    pub(super) then: Then,
}

#[derive(Debug, Clone)]
pub(super) enum Then {
    Go(String),
    Repeat,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Ask {
    pub(super) checklist: Vec<Text>,
    pub(super) answers: Vec<Answer>,
    pub(super) silence: String,
}

#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) name: String,
    pub(super) go: String,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Conclude {
    pub(super) verdict: String,
    pub(super) confidence: f64,
    pub(super) summary: Text,
    pub(super) recommend: Settings,
}
