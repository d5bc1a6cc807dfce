//! The debugging sequence as a state machine: the YAML file, its checks, guards, the step function, the graph.
//!
//! Owns: the content of a policy file and its effect. Must not know: store, destinations, clock, how a script sets a
//! knob.

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
    Constant, FOUND, LIMIT, Limits, NO_CURE, NOT_CONFIRMED, Order, PROMISING, Policy, SILENCE, SKIPPED, State, Test,
    TestKind, UNAVAILABLE, Verdict,
};
pub use formula::{Formula, FormulaFault};
pub use graph::{Page, pages};
pub use outlook::{Prospect, causes, outlook};
pub use read::parse;
pub use step::{enter, judge};
pub use vocabulary::{ConstantValue, KnobKind, Vocabulary};

/// The standard knobs: canonical name and meaning. A site can add its own in its configuration.
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

/// The verdict that names no cause, so that nothing can be sure of it.
pub(crate) const INCONCLUSIVE: &str = "inconclusive";

/// The state of the case when a condition is evaluated, and its position in the policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CaseFacts {
    /// Experiments suggested so far.
    pub experiments: u32,
    /// Total run time of experiments in hours.
    pub hours: f64,
    /// The latest outcome of each test that ran or was skipped.
    pub outcomes: BTreeMap<String, String>,
    /// The changes of the best experiment of each test.
    pub changes: BTreeMap<String, Knobs>,
    /// The facts of the best experiment of each test, for conditions: `case.shown.overfit_one_point.fits`.
    pub shown: BTreeMap<String, Facts>,
    /// Number of experiments or questions of each test.
    pub entered: BTreeMap<String, u32>,
    /// The knobs that the script supports, if known for certain (listed in the site's configuration).
    pub knobs: Option<BTreeSet<String>>,
    /// Knobs that the script was found not to support (a queue's 422).
    pub missing_knobs: BTreeSet<String>,
    /// Every experiment, in order of suggestion.
    pub tried: Vec<Tried>,
    /// The state that the case is in.
    pub phase: String,
    /// Tests that follow from outcomes, which run before the state continues.
    pub follow: Vec<String>,
    /// The test whose cause was found.
    pub found: Option<String>,
    /// Tests whose change helps like a fix, but not so much that other tests are unnecessary; each with the fraction of
    /// the baseline's loss that it removes.
    pub promising: BTreeMap<String, f64>,
    /// Tests that an outcome excluded, each with the outcome.
    pub excluded: BTreeMap<String, String>,
    /// By test: the factor by which outcomes changed the odds of its cause.
    pub odds: BTreeMap<String, f64>,
    /// By test: the probability that its change fixes the job, as estimated when the case was opened.
    pub priors: BTreeMap<String, f64>,
}

/// One experiment, as recorded by the policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// The test that asked for it.
    pub test: String,
    /// Its changes.
    pub changes: Knobs,
    /// Its facts, once judged.
    pub facts: Option<Facts>,
}

/// All inputs of conditions and changes.
#[derive(Debug, Clone, Copy)]
pub struct Environment<'a> {
    /// The job that the case is about.
    pub baseline: &'a Facts,
    /// The experiment to judge; none when a test is chosen.
    pub experiment: Option<&'a Facts>,
    /// The case so far.
    pub case: &'a CaseFacts,
    /// 1 for the first experiment of a test, 2 for the second value of its ladder.
    pub attempt: u32,
}

/// The position of a case in its policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Name of the test; name of the state while a result is confirmed.
    pub state: String,
    /// 1 for the first experiment of the test.
    pub attempt: u32,
}

/// A test that ran or was skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The test.
    pub state: String,
    /// Its outcome: `skipped`, `unavailable`, `limit`, or one defined by the test.
    pub outcome: String,
    /// The reason, for the journal.
    pub why: String,
}

/// An experiment that the policy requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The position in the policy.
    pub at: Position,
    /// The step of the published sequence; empty if there is none.
    #[serde(default)]
    pub step: String,
    /// Changes to the baseline's knobs.
    pub changes: Knobs,
    /// The reason for the experiment.
    pub why: String,
    /// The hypothesis.
    pub hypothesis: String,
    /// The result that would confirm it.
    pub expect: String,
    /// The probability of each open cause before this experiment, by test.
    #[serde(default)]
    pub beliefs: BTreeMap<String, f64>,
}

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The position in the policy.
    pub at: Position,
    /// The step of the published sequence; empty if there is none.
    #[serde(default)]
    pub step: String,
    /// The reason for the question.
    pub why: String,
    /// What exactly to check.
    pub checklist: Vec<String>,
    /// The possible answers, besides silence.
    pub answers: Vec<String>,
}

/// The end of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conclusion {
    /// The test that found its cause, or the name of the conclusion.
    pub state: String,
    /// One of [`VERDICTS`].
    pub verdict: String,
    /// 0 to 1.
    pub confidence: f64,
    /// The result and the reasoning, in words.
    pub summary: String,
    /// The settings that fix the job, as changes to the baseline; empty if unknown.
    pub recommended: Knobs,
}

/// Where the policy stopped: waiting or finished.
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
    /// Tests that ran or were skipped on the way, each with its reason.
    pub passed: Vec<Passed>,
    /// Where it stopped.
    pub next: Next,
    /// The case after this step.
    pub case: CaseFacts,
}

/// The event that the policy waited for.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened<'a> {
    /// The experiment ran; its facts describe the result (including a crash).
    Ran(&'a Facts),
    /// The experiment did not start in time.
    NeverStarted,
    /// The experiment is not evidence, for this reason: its run differs from the request, or ended without a result.
    NoTest(String),
    /// The queue refused it: the script does not support these knobs (all of the changes if it did not list any).
    Refused(BTreeSet<String>),
    /// A person answered a question.
    Answered(String),
    /// Nobody answered in time.
    Unanswered,
}
