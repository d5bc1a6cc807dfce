//! Experiments that are not evidence, and how a case reacts: it reports them and continues, or waits for a person.
//!
//! Owns: when a run without a result is repeated, skipped, or pauses its case. Must not know: how such a run is
//! detected.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Case, Notice, Spent, Terms, Trace, Waiting};
use crate::fate::Fate;
use crate::launched::Launched;
use crate::policy::Happened;

/// The outcome of an experiment whose run differs from the request.
pub const NOT_AS_ASKED: &str = "not_as_asked";

/// The outcome of a suggestion that is made once more because the command of the baseline became known.
const WITHDRAWN: &str = "withdrawn";

/// An experiment that is not evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Void {
    /// The outcome: [`NOT_AS_ASKED`], or the word of its status.
    pub outcome: String,
    /// The reason, for people.
    pub why: String,
    /// The reported status of its job, if any.
    pub fate: Option<Fate>,
}

/// Why a case is paused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// Seconds since the Unix epoch.
    pub since: f64,
    /// The reason, for people.
    pub why: String,
    /// What ends it.
    pub ends: PauseEnds,
}

/// What ends a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseEnds {
    /// A person resumes the case, or changes the configuration.
    Person,
    /// A destination accepts the suggestion that it refused.
    Delivery,
}

/// Consecutive experiments without a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InVain {
    /// The common characteristic.
    pub kind: String,
    /// Their number.
    pub times: u32,
}

/// After this many consecutive experiments without a result for the same reason, the case pauses, because the next
/// would fail too.
const ALIKE: u32 = 2;

impl Void {
    /// The characteristic of a failure: how they failed, whatever was requested.
    fn kind(&self) -> String {
        let of = |fate: &Fate| (fate.exit_code, fate.signal);
        match self.fate.as_ref().map(of) {
            Some((Some(code), _)) => format!("{} {code}", self.outcome),
            Some((None, Some(signal))) => format!("{} signal {signal}", self.outcome),
            _ => self.outcome.clone(),
        }
    }
}

impl Case {
    /// The open experiment is not evidence and does not count. The policy continues without it. After the second
    /// consecutive failure for the same reason, the case waits for a person and then repeats the same request.
    pub fn void(&mut self, void: &Void, terms: &Terms<'_>) -> Trace {
        let mut trace = Trace::default();
        if self.is_quiet() {
            self.probe_was_void(&void.why, &void.outcome, terms.now, &mut trace);
            return trace;
        }
        let Some(experiment) = self.experiments.last_mut().filter(|_| self.waiting == Waiting::Experiment) else {
            return trace;
        };
        experiment.outcome = Some(void.outcome.clone());
        let (suggestion, proposal) = (experiment.suggestion.clone(), experiment.proposal.clone());
        let detail = json!({
            "state": proposal.at.state, "attempt": proposal.at.attempt, "suggestion_id": suggestion,
            "outcome": void.outcome, "seen": void.why, "fate": void.fate,
        });
        trace.note(terms.now, "observed", detail);
        self.cancel_open(&void.why, terms.now, &mut trace);
        let kind = void.kind();
        let times = self.in_vain.take().filter(|before| before.kind == kind).map_or(1, |before| before.times + 1);
        self.in_vain = Some(InVain { kind, times });
        if times >= ALIKE {
            let why = format!("{times} consecutive experiments ended without a result: {}", void.why);
            self.waiting = Waiting::Room(proposal);
            self.notify(Notice::of(&suggestion, &void.outcome, &why, void.fate.as_ref()), terms.now, &mut trace);
            self.pause(why, PauseEnds::Person, terms.now, &mut trace);
            return trace;
        }
        self.notify(Notice::of(&suggestion, &void.outcome, &void.why, void.fate.as_ref()), terms.now, &mut trace);
        trace.append(self.judge(Happened::NoTest(void.why.clone()), terms));
        trace
    }

    /// The job of the open experiment was lost through no fault of its own; it is requested once more.
    pub fn ask_again(&mut self, why: &str, terms: &Terms<'_>) -> Trace {
        let mut trace = Trace::default();
        let word = self.open_experiment().and_then(|e| e.fate.as_ref()).map_or("lost", |fate| fate.state.word());
        self.request_again(word, why, terms, &mut trace);
        if let Some(experiment) = self.experiments.last_mut() {
            experiment.again = true;
        }
        trace
    }

    /// The command of the baseline became known while its case was open. A suggestion that was refused without it is
    /// made once more.
    pub fn command_became_known(&mut self, launched: &Launched, terms: &Terms<'_>) -> Trace {
        self.was_launched(launched);
        let mut trace = Trace::default();
        if self.paused.as_ref().is_some_and(|pause| pause.ends == PauseEnds::Delivery) && self.lacks_its_command() {
            trace.append(self.resume(PauseEnds::Delivery, terms.now));
            self.suggest_with_command(terms, &mut trace);
        }
        trace
    }

    /// Whether the open experiment was suggested before the command of the baseline was known.
    fn lacks_its_command(&self) -> bool {
        self.launched.is_some() && self.open_experiment().is_some_and(|experiment| experiment.without_command)
    }

    fn suggest_with_command(&mut self, terms: &Terms<'_>, trace: &mut Trace) {
        let why = "the command of the baseline is known now";
        self.cancel_open(why, terms.now, trace);
        self.request_again(WITHDRAWN, why, terms, trace);
    }

    /// Suggests the open experiment once more, because its run will have no result.
    fn request_again(&mut self, outcome: &str, why: &str, terms: &Terms<'_>, trace: &mut Trace) {
        let Some(experiment) = self.experiments.last_mut().filter(|_| self.waiting == Waiting::Experiment) else {
            return;
        };
        experiment.outcome = Some(outcome.to_owned());
        let proposal = experiment.proposal.clone();
        let detail = json!({
            "state": proposal.at.state, "attempt": proposal.at.attempt, "suggestion_id": experiment.suggestion,
            "outcome": outcome, "seen": format!("{why}; requested once more"), "fate": experiment.fate,
        });
        trace.note(terms.now, "observed", detail);
        self.suggest(proposal, terms, trace);
    }

    /// The cost of the open experiment's job, whether it has ended, and whether it fails by all evidence.
    pub fn measured(&mut self, spent: Spent, fails: bool) {
        if let Some(experiment) = self.experiments.last_mut().filter(|_| self.waiting == Waiting::Experiment) {
            experiment.spent = Some(spent);
            experiment.fails = fails;
        }
    }

    /// A destination refuses the open suggestion for a reason that an administrator must fix: the case waits until it
    /// is accepted. Reported once. If the suggestion contained no command and the command has become known since, it is
    /// made once more.
    pub fn refused_by_site(&mut self, suggestion: &str, destination: &str, why: &str, terms: &Terms<'_>) -> Trace {
        let (mut trace, now) = (Trace::default(), terms.now);
        let waits = self.open_experiment().is_some_and(|e| e.suggestion == suggestion) && self.paused.is_none();
        if waits && !self.is_quiet() && self.lacks_its_command() {
            self.suggest_with_command(terms, &mut trace);
        } else if waits {
            let why = format!("{destination} does not accept suggested runs: {why}");
            if self.is_quiet() {
                self.probe_was_void(&why, "refused", now, &mut trace);
                return trace;
            }
            self.notify(Notice::of(suggestion, "refused", &why, None), now, &mut trace);
            self.pause(why, PauseEnds::Delivery, now, &mut trace);
        }
        trace
    }

    /// Continues after a pause of this kind; the time of the pause does not count for the open experiment.
    pub fn resume(&mut self, ends: PauseEnds, now: f64) -> Trace {
        let mut trace = Trace::default();
        if let Some(pause) = self.paused.take_if(|pause| pause.ends == ends) {
            if let Some(experiment) = self.experiments.last_mut().filter(|_| self.waiting == Waiting::Experiment) {
                experiment.waits_since = Some(now);
            }
            self.in_vain = None;
            trace.note(now, "resumed", json!({ "why": pause.why }));
        }
        trace
    }

    fn pause(&mut self, why: String, ends: PauseEnds, now: f64, trace: &mut Trace) {
        let until = match ends {
            PauseEnds::Person => format!("`nextrun cases resume {}`, or a reload of a changed configuration", self.id),
            PauseEnds::Delivery => "the destination accepting the suggestion".to_owned(),
        };
        trace.note(now, "paused", json!({ "why": why, "until": until }));
        self.paused = Some(Pause { since: now, why, ends });
    }
}
