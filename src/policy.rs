//! The debugging sequence as a state machine: the YAML file, its checks, guards, the step function, the graph.
//!
//! Owns: what a policy file may say and what follows from it. Must not know: store, destinations, clock, how a knob
//! reaches a training script.

mod check;
mod file;
mod formula;
mod gain;
mod graph;
mod guard;
mod outlook;
mod read;
mod record;
mod settings;
mod step;
mod text;
mod vocabulary;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::facts::{Facts, Knobs};

pub use crate::yaml::Problem;
pub use file::{
    Constant, ConstantValue, FOUND, LIMIT, Limits, NO_CURE, NOT_CONFIRMED, Order, PROMISING, Policy, SILENCE, SKIPPED,
    State, Test, TestKind, UNAVAILABLE, Verdict,
};
pub use formula::{Formula, FormulaFault};
pub use graph::{Page, pages};
pub use outlook::{Prospect, causes, outlook};
pub use read::parse;
pub use step::{enter, judge};
pub use vocabulary::{KnobKind, Vocabulary};

/// The knobs of the contract: canonical name and meaning. A site may add its own in its configuration.
pub const KNOBS: &[(&str, &str)] = &[
    ("learning_rate", "float"),
    ("lr_decay", "float, multiplier per step; 1.0 = none"),
    ("batch_size", "int"),
    ("batch_norm", "bool"),
    ("train_examples", "int: how many training examples are used; 1 = overfit one point; null = all"),
    ("initializer", "\"default\", \"normal\", \"variance_scaling\", \"xavier\", …"),
    ("optimizer", "\"adam\", \"sgd\", …"),
    ("activation", "\"relu\", \"sigmoid\", \"tanh\", …"),
    ("output_activation", "\"none\", \"relu\", \"sigmoid\", …"),
    ("loss", "\"l2\", \"l1\", \"cross_entropy\", \"custom\", …"),
    ("gradient_clip", "float or null"),
    ("normalize_inputs", "bool"),
    ("input_scaling", "\"none\", \"tanh\""),
    ("max_steps", "int, optimizer steps"),
    ("seed", "int"),
];

/// The verdicts of the contract.
pub const VERDICTS: &[&str] = &[
    "healthy",
    "recovered",
    "learning_rate_too_high",
    "learning_rate_too_low",
    "learning_rate_decays_too_fast",
    "batch_norm_hides_exploding_gradients",
    "bad_initialization",
    "vanishing_gradients",
    "batch_too_small",
    "batch_too_large",
    "cannot_fit_one_point",
    "weights_do_not_change",
    "loss_function",
    "input_scaling",
    "data_pipeline",
    "overfitting",
    "too_few_steps",
    "infrastructure",
    "inconclusive",
];

/// What is known of the case when a condition is read, and where it stands in its policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CaseFacts {
    /// Experiments suggested so far.
    pub experiments: u32,
    /// Hours that experiments have run, in all.
    pub hours: f64,
    /// The name of the newest outcome of each test that was made or passed over.
    pub outcomes: BTreeMap<String, String>,
    /// The changes of the best experiment of each test.
    pub changes: BTreeMap<String, Knobs>,
    /// What the best experiment of each test showed, for conditions: `case.shown.overfit_one_point.fits`.
    pub shown: BTreeMap<String, Facts>,
    /// How often each test was stopped at: experiments suggested, or questions asked.
    pub entered: BTreeMap<String, u32>,
    /// The knobs that the script has, where they are known for certain (the site's configuration lists them).
    pub knobs: Option<BTreeSet<String>>,
    /// Knobs that the script was found not to have (a queue's 422).
    pub missing_knobs: BTreeSet<String>,
    /// Every experiment, in the order in which they were suggested.
    pub tried: Vec<Tried>,
    /// The state that the case is in.
    pub phase: String,
    /// Tests that follow from outcomes, and are made before the state goes on.
    pub follow: Vec<String>,
    /// The test whose cause was found.
    pub found: Option<String>,
    /// Tests whose change helps as a cure does, though not so much that no other need be tried, each with the share of the
    /// baseline's loss that it takes away.
    pub promising: BTreeMap<String, f64>,
    /// Tests that an outcome excluded, each with the outcome.
    pub excluded: BTreeMap<String, String>,
    /// By test, the factor that outcomes have put on the odds of its cause.
    pub odds: BTreeMap<String, f64>,
    /// By test, how likely its change is to cure, as estimated when the case was opened.
    pub priors: BTreeMap<String, f64>,
}

/// One experiment, as the policy remembers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// The test that asked for it.
    pub test: String,
    /// Its changes.
    pub changes: Knobs,
    /// What it showed, once judged.
    pub facts: Option<Facts>,
}

/// Everything that a condition or a change may read.
#[derive(Debug, Clone, Copy)]
pub struct Environment<'a> {
    /// The job that the case is about.
    pub baseline: &'a Facts,
    /// The experiment that is judged; none when a test is chosen.
    pub experiment: Option<&'a Facts>,
    /// The case so far.
    pub case: &'a CaseFacts,
    /// 1 for the first experiment of a test, 2 for the second value of its ladder.
    pub attempt: u32,
}

/// Where a case stands in its policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Name of a test; of the state, where a result is confirmed.
    pub state: String,
    /// 1 for the first experiment of the test.
    pub attempt: u32,
}

/// A test that was made or passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The test.
    pub state: String,
    /// Its outcome: `skipped`, `unavailable`, `limit`, or one of the test's own.
    pub outcome: String,
    /// Why, for the journal.
    pub why: String,
}

/// An experiment that the policy asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Where in the policy.
    pub at: Position,
    /// Which step of the published sequence it is; empty where it is none.
    #[serde(default)]
    pub step: String,
    /// Changes to the baseline's knobs.
    pub changes: Knobs,
    /// Why it is taken now.
    pub why: String,
    /// What is believed and tested.
    pub hypothesis: String,
    /// What would confirm it.
    pub expect: String,
    /// How likely each cause is that is still open, by test, before this experiment.
    #[serde(default)]
    pub beliefs: BTreeMap<String, f64>,
}

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Where in the policy.
    pub at: Position,
    /// Which step of the published sequence it is; empty where it is none.
    #[serde(default)]
    pub step: String,
    /// Why it is asked.
    pub why: String,
    /// Exactly what to look at.
    pub checklist: Vec<String>,
    /// The answers that lead on, besides silence.
    pub answers: Vec<String>,
}

/// The end of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conclusion {
    /// The test whose cause was found, or the name of the conclusion.
    pub state: String,
    /// One of [`VERDICTS`].
    pub verdict: String,
    /// 0 to 1.
    pub confidence: f64,
    /// What was found and why it follows, in words.
    pub summary: String,
    /// The settings that cure it, as changes to the baseline; empty where none is known.
    pub recommended: Knobs,
}

/// Where the policy stopped: it waits, or it is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Suggest an experiment and wait for it.
    Run(Proposal),
    /// Ask a person and wait.
    Ask(Question),
    /// The case is closed.
    Conclude(Conclusion),
}

/// The path through the policy from one event to the next stop.
#[derive(Debug, Clone, PartialEq)]
pub struct Advance {
    /// Tests that were made or passed over on the way, each with its reason.
    pub passed: Vec<Passed>,
    /// Where it stopped.
    pub next: Next,
    /// The case after this step.
    pub case: CaseFacts,
}

/// What happened to what the policy waited for.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened<'a> {
    /// The experiment ran; its facts say how it went (a crash is one of them).
    Ran(&'a Facts),
    /// The experiment never started in time.
    NeverStarted,
    /// The experiment is no evidence, for this reason: its run is not what was asked for, or came to nothing.
    NoTest(String),
    /// The queue refused it: the script does not have these knobs (all of the changes, where it did not say which).
    Refused(BTreeSet<String>),
    /// A person answered a question.
    Answered(String),
    /// Nobody answered in time.
    Unanswered,
}
