//! One investigation: a baseline job, the policy, the experiments so far, and finally a verdict.
//!
//! Owns: the journal, the open suggestion, links to runs, messages to send. Must not know: SQL, HTTP, how a script sets
//! a knob.

mod asking;
mod believed;
mod budget;
mod control;
mod cure;
mod curve;
mod digest;
mod fates;
mod id;
mod linking;
mod message;
mod notice;
mod progress;
mod quiet;
mod renamed;
mod telling;
mod trial;
mod version;
mod versions;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::facts::{Facts, Knobs};
use crate::fate::Fate;
use crate::launched::Launched;
use crate::policy::{CaseFacts, Conclusion, Position, Proposal, Question};
use crate::symptoms::Finding;

pub use asking::{Approval, ApprovalAsked, Approved, Awaited, Person, RUN, Reply, SKIP, SNOOZE, fingerprint};
pub use believed::Believed;
pub use budget::{Allowance, Budget, Pace, Spent, Used};
pub use control::{CONTROL, Control, WhenControl};
pub use cure::Cure;
pub use curve::Curve;
pub use digest::{Digest, DigestItem, DigestLine};
pub use id::{case_id, experiment_of, run_name, suggestion_id};
pub use linking::{Candidate, Known, Link, Wanted, link};
pub use message::{
    About, Belief, Body, CaseClosed, CaseOpened, Cost, Evidence, Message, MessageKind, QuestionAsked, Recommended,
    RunCancelled, RunSuggested, StopSuggested, Tried,
};
pub use notice::Notice;
pub use progress::{BROKE_DOWN, BY_HAND, Opening, Terms};
pub use quiet::{Made, PROBE, Probed, Quiet, own_log_odds};
pub use renamed::Renamed;
pub use trial::{InVain, NOT_AS_ASKED, Pause, PauseEnds, Void};
pub use version::{CaseError, VERSION, runs_named};
pub use versions::{POLICY_CHANGED, Versions};

/// The id of a case: a hash of the baseline and the number of its investigation, so that the same case is never opened
/// twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CaseId(pub String);

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One investigation, as stored between steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The version of its format: [`VERSION`], except for older stored cases.
    #[serde(default)]
    pub version: u32,
    /// Its id.
    pub id: CaseId,
    /// The baseline job.
    pub baseline: String,
    /// The name of its log directory, with which the names of its jobs begin; `None` if there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logdir: Option<String>,
    /// Name of its policy.
    pub policy: String,
    /// Seconds since the Unix epoch.
    pub opened: f64,
    /// The findings in the baseline when the case was opened.
    pub findings: Vec<Finding>,
    /// The facts of the baseline, updated while it runs.
    pub baseline_facts: Facts,
    /// Up to sixty levels of the baseline's loss, for messages; null where it was not finite.
    pub loss_curve: Vec<Option<f64>>,
    /// Its position in the policy.
    pub position: Position,
    /// What it waits for.
    pub waiting: Waiting,
    /// Experiments, in order of suggestion.
    pub experiments: Vec<Experiment>,
    /// The facts of the case that guards can use.
    pub facts: CaseFacts,
    /// Due steps that were skipped, each with the reason.
    pub not_tried: Vec<NotTried>,
    /// How it ended.
    pub closed: Option<Conclusion>,
    /// The known settings of the baseline: logged, in its command, or defaults of its script.
    #[serde(default)]
    pub settings: Knobs,
    /// How the baseline was started, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launched: Option<Launched>,
    /// The step by which the baseline showed the findings.
    #[serde(default)]
    pub shown_at: Option<f64>,
    /// How fast the baseline trains.
    #[serde(default)]
    pub pace: Option<Pace>,
    /// The reported status of the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fate: Option<Fate>,
    /// The state of its control.
    #[serde(default)]
    pub control: Control,
    /// Why it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// Consecutive experiments without a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_vain: Option<InVain>,
    /// The budget that its next experiment would exceed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_of: Option<String>,
    /// The curves of its baseline and experiments at its last step; those of the baseline come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curves: Vec<Curve>,
    /// The experiment that a person approved, until it is suggested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approved>,
    /// The probability that the baseline fails, at the time the case was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub belief: Option<crate::belief::Belief>,
    /// The versions under which it was opened.
    #[serde(default)]
    pub versions: Versions,
    /// The current versions, if they have changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goes_on_under: Option<Versions>,
    /// The probes of its job, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Quiet>,
}

/// What a case is waiting for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// Room: the site's limit of simultaneous experiments is reached.
    Room(Proposal),
    /// Its newest experiment.
    Experiment,
    /// An answer from a person.
    Answer {
        /// The question.
        question: Question,
        /// Time at which the case continues without an answer, in seconds since the Unix epoch.
        until: f64,
    },
    /// The time of the next probe.
    Probe,
    /// A person's approval of its next experiment.
    Approval(Awaited),
    /// Nothing: it is closed.
    Nothing,
}

/// One experiment: a suggestion, and the job that runs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// Id of the suggestion and of its message.
    pub suggestion: String,
    /// The proposal.
    pub proposal: Proposal,
    /// The name of its expected job.
    pub run_name: String,
    /// Seconds since the Unix epoch.
    pub suggested: f64,
    /// Seconds by which the clock was changed since then, which do not count.
    #[serde(default)]
    pub clock_set_by: f64,
    /// The destinations that have it or may receive it, and run it automatically: job queues, engines, runners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<String>,
    /// The runs that its process was observed to write, relative to the log directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<String>,
    /// Why no job is accepted although some claim to be it, once people were notified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disputed: Option<String>,
    /// The job that runs it, once it is known.
    pub job: Option<String>,
    /// Whether a person named the job.
    #[serde(default)]
    pub linked_by_hand: bool,
    /// The resulting outcome.
    pub outcome: Option<String>,
    /// Its facts, once judged.
    pub facts: Option<Facts>,
    /// The last reported status of its job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fate: Option<Fate>,
    /// Time of that report, in seconds since the Unix epoch.
    #[serde(default)]
    pub fate_told: Option<f64>,
    /// Until when it waited in a queue or its case was paused, in seconds since the Unix epoch.
    #[serde(default)]
    pub waits_since: Option<f64>,
    /// The message in which a person approved it: exactly what was shown there is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// Whether it repeats the baseline unchanged.
    #[serde(default)]
    pub control: bool,
    /// It is a quiet probe.
    #[serde(default)]
    pub probe: bool,
    /// Whether it repeats an experiment whose job was lost.
    #[serde(default)]
    pub again: bool,
    /// Whether the command of the baseline was unknown when it was suggested.
    #[serde(default)]
    pub without_command: bool,
    /// Its expected cost.
    #[serde(default)]
    pub cost: Option<Cost>,
    /// Its actual cost.
    #[serde(default)]
    pub spent: Option<Spent>,
    /// Whether its job fails by all available evidence.
    #[serde(default)]
    pub fails: bool,
    /// How it changed the probability of each cause.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub believed: Vec<Believed>,
}

impl Experiment {
    /// A newly suggested experiment.
    pub fn new(suggestion: String, proposal: Proposal, run_name: String, now: f64) -> Experiment {
        Experiment {
            suggestion,
            proposal,
            run_name,
            suggested: now,
            clock_set_by: 0.0,
            machines: Vec::new(),
            runs: Vec::new(),
            disputed: None,
            job: None,
            linked_by_hand: false,
            outcome: None,
            facts: None,
            fate: None,
            fate_told: None,
            waits_since: None,
            approval: None,
            control: false,
            probe: false,
            again: false,
            without_command: false,
            cost: None,
            spent: None,
            fails: false,
            believed: Vec::new(),
        }
    }

    /// Seconds available for its start, excluding time in a queue or a pause.
    pub fn waited(&self, now: f64) -> f64 {
        self.age(now).min(self.waits_since.map_or(f64::INFINITY, |since| now - since - self.clock_set_by))
    }

    /// Seconds since it was suggested; `now` is in seconds since the Unix epoch.
    pub fn age(&self, now: f64) -> f64 {
        now - self.suggested - self.clock_set_by
    }
}

/// A due step that could not be tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NotTried {
    /// The state.
    pub state: String,
    /// The reason.
    pub why: String,
}

/// An event in a case, for people and for replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Seconds since the Unix epoch.
    pub time: f64,
    /// The kind of entry: `opened`, `passed`, `suggested`, `linked`, `disputed`, `fate`, `observed`, `asked`,
    /// `approval_asked`, `answered`, `unanswered`, `waits`, `paused`, `resumed`, `believed`, `changed`, `probed`,
    /// `renamed`, `closed`.
    pub kind: String,
    /// The entry's own fields (hypothesis, expected, seen, …).
    pub detail: Value,
}

/// The result of one step of a case besides its new state; stored in one transaction.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// Journal entries.
    pub journal: Vec<JournalEntry>,
    /// Messages to send.
    pub messages: Vec<Message>,
}

impl Case {
    /// The experiment that the case is waiting for.
    pub fn open_experiment(&self) -> Option<&Experiment> {
        self.experiments.last().filter(|_| self.waiting == Waiting::Experiment)
    }

    /// The clock was changed by this many seconds, which do not count as waiting.
    pub fn clock_was_set(&mut self, by: f64) {
        match &mut self.waiting {
            Waiting::Answer { until, .. } => *until += by,
            Waiting::Approval(awaited) => {
                awaited.until += by;
                awaited.again = awaited.again.map(|again| again + by);
            }
            Waiting::Experiment => {
                if let Some(experiment) = self.experiments.last_mut() {
                    experiment.clock_set_by += by;
                }
            }
            Waiting::Room(_) | Waiting::Probe | Waiting::Nothing => {}
        }
    }

    /// The knobs of the baseline with the changes of a proposal: the settings of the experiment.
    pub fn knobs_with(&self, changes: &Knobs) -> Knobs {
        let mut knobs = self.baseline_facts.knobs.clone();
        knobs.extend(changes.iter().map(|(name, value)| (name.clone(), value.clone())));
        knobs
    }
}
