//! One investigation: a baseline job, the policy, the experiments so far, and in the end a verdict.
//!
//! Owns: the journal, the open suggestion, linking, what is owed to destinations. Must not know: SQL, HTTP, how a knob
//! reaches a training script.

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
mod telling;
mod trial;
mod version;
mod versions;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::belief::Breakdown;
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
pub use trial::{InVain, NOT_AS_ASKED, Pause, PauseEnds, Void};
pub use version::{CaseError, VERSION, runs_named};
pub use versions::{POLICY_CHANGED, Versions};

/// The id of a case: a hash of the baseline and of which of its investigations this is, so that the same case is never
/// opened twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CaseId(pub String);

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One investigation, as it is kept between steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The version of its form: [`VERSION`], but for what was kept before.
    #[serde(default)]
    pub version: u32,
    /// Its id.
    pub id: CaseId,
    /// The job that it is about.
    pub baseline: String,
    /// Name of the policy that it runs.
    pub policy: String,
    /// Seconds since the Unix epoch.
    pub opened: f64,
    /// What was found in the baseline when the case was opened.
    pub findings: Vec<Finding>,
    /// What the baseline shows; kept up to date while it runs on.
    pub baseline_facts: Facts,
    /// Up to sixty levels of the baseline's loss, for messages; null where it was not finite.
    pub loss_curve: Vec<Option<f64>>,
    /// Where it stands in its policy.
    pub position: Position,
    /// What it waits for.
    pub waiting: Waiting,
    /// Experiments, in the order in which they were suggested.
    pub experiments: Vec<Experiment>,
    /// What its policy's guards may read of it.
    pub facts: CaseFacts,
    /// Steps of the sequence that were passed over although they were due, each with the reason.
    pub not_tried: Vec<NotTried>,
    /// How it ended.
    pub closed: Option<Conclusion>,
    /// The settings of the baseline that are known: logged, in its command, or defaults of its script.
    #[serde(default)]
    pub settings: Knobs,
    /// How the baseline was started, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launched: Option<Launched>,
    /// The step by which the baseline showed what was found.
    #[serde(default)]
    pub shown_at: Option<f64>,
    /// How fast the baseline trains.
    #[serde(default)]
    pub pace: Option<Pace>,
    /// What became of the baseline, as whoever runs it told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fate: Option<Fate>,
    /// Where it stands with its control.
    #[serde(default)]
    pub control: Control,
    /// Why it could go on and does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// What its newest experiments came to, where that was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_vain: Option<InVain>,
    /// The budget that its next experiment would exceed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_of: Option<String>,
    /// What its baseline and experiments had logged when it last took a step; the baseline's come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curves: Vec<Curve>,
    /// The experiment that a person let run, until it is suggested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approved>,
    /// How probable it was that the baseline fails when the case was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub belief: Option<Breakdown>,
    /// What it was opened under.
    #[serde(default)]
    pub versions: Versions,
    /// What it goes on under, where that was changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goes_on_under: Option<Versions>,
    /// The probes of its job, where there were some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Quiet>,
}

/// What a case waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// For room: as many experiments as the site allows are under way.
    Room(Proposal),
    /// For its newest experiment.
    Experiment,
    /// For a person.
    Answer {
        /// What was asked.
        question: Question,
        /// Seconds since the Unix epoch at which the case goes on without an answer.
        until: f64,
    },
    /// For a moment at which the next probe of its job may be made.
    Probe,
    /// For a person to let its next experiment run.
    Approval(Awaited),
    /// For nothing: it is closed.
    Nothing,
}

/// One experiment: a suggestion, and the job that carries it out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// Id of the suggestion, which is the id of its message too.
    pub suggestion: String,
    /// What was proposed.
    pub proposal: Proposal,
    /// Where it is expected to log, relative to the log directory.
    pub run_name: String,
    /// Seconds since the Unix epoch.
    pub suggested: f64,
    /// Seconds by which the clock was set since then: no time that passed.
    #[serde(default)]
    pub clock_set_by: f64,
    /// The destinations that have it, or may get it, and run it by themselves: job queues, engines, runners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<String>,
    /// The runs that its process was seen to write, relative to the log directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<String>,
    /// Why no job is taken for it although some claim to be it, once people were told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disputed: Option<String>,
    /// The job that carries it out, once there is one.
    pub job: Option<String>,
    /// A person said which job that is.
    #[serde(default)]
    pub linked_by_hand: bool,
    /// What came of it: the name of the outcome that was taken.
    pub outcome: Option<String>,
    /// What it showed, once judged.
    pub facts: Option<Facts>,
    /// What became of its job, as whoever runs it told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fate: Option<Fate>,
    /// When that was told, in seconds since the Unix epoch.
    #[serde(default)]
    pub fate_told: Option<f64>,
    /// It waited in a queue, or its case was paused, until then, in seconds since the Unix epoch.
    #[serde(default)]
    pub waits_since: Option<f64>,
    /// The message in which a person let it run: exactly what was shown there is what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// It repeats the baseline unchanged.
    #[serde(default)]
    pub control: bool,
    /// It is a quiet probe.
    #[serde(default)]
    pub probe: bool,
    /// It repeats an experiment whose job was lost.
    #[serde(default)]
    pub again: bool,
    /// What it was expected to cost.
    #[serde(default)]
    pub cost: Option<Cost>,
    /// What its job took.
    #[serde(default)]
    pub spent: Option<Spent>,
    /// Its job fails by all that is known of it.
    #[serde(default)]
    pub fails: bool,
    /// How it moved what is believed of each cause.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub believed: Vec<Believed>,
}

impl Experiment {
    /// An experiment that was suggested just now.
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
            cost: None,
            spent: None,
            fails: false,
            believed: Vec::new(),
        }
    }

    /// Seconds that it had to start: without those that it waited in a queue, or for the end of a pause.
    pub fn waited(&self, now: f64) -> f64 {
        self.age(now).min(self.waits_since.map_or(f64::INFINITY, |since| now - since - self.clock_set_by))
    }

    /// Seconds since it was suggested; `now` is in seconds since the Unix epoch.
    pub fn age(&self, now: f64) -> f64 {
        now - self.suggested - self.clock_set_by
    }
}

/// A step that was due and could not be tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NotTried {
    /// The state.
    pub state: String,
    /// Why.
    pub why: String,
}

/// One thing that happened in a case, for people and for replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Seconds since the Unix epoch.
    pub time: f64,
    /// What kind of entry it is: `opened`, `passed`, `suggested`, `linked`, `disputed`, `fate`, `observed`, `asked`,
    /// `approval_asked`, `answered`, `unanswered`, `waits`, `paused`, `resumed`, `believed`, `changed`, `probed`, `closed`.
    pub kind: String,
    /// The entry's own fields (hypothesis, expected, seen, …).
    pub detail: Value,
}

/// What one step of a case leaves behind besides its new state; all of it is kept in one transaction.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// Entries of its journal.
    pub journal: Vec<JournalEntry>,
    /// Messages owed.
    pub messages: Vec<Message>,
}

impl Case {
    /// The experiment that the case waits for.
    pub fn open_experiment(&self) -> Option<&Experiment> {
        self.experiments.last().filter(|_| self.waiting == Waiting::Experiment)
    }

    /// The clock was set by so many seconds, which the case did not wait for.
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

    /// The knobs of the baseline with the changes of a proposal: what the experiment runs with.
    pub fn knobs_with(&self, changes: &Knobs) -> Knobs {
        let mut knobs = self.baseline_facts.knobs.clone();
        knobs.extend(changes.iter().map(|(name, value)| (name.clone(), value.clone())));
        knobs
    }
}
