//! The control: the baseline is repeated unchanged first if its settings are uncertain.
//!
//! Owns: when a control is needed, and its consequences. Must not know: how its run is examined.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Approved, Case, CaseId, NotTried, RUN, SKIP, Terms, Trace, Waiting};
use crate::facts::{Facts, Quantity};
use crate::policy::{Conclusion, Happened, INCONCLUSIVE, Position, Proposal, Question};

/// The name of a control, in place of the name of a test.
pub const CONTROL: &str = "control";

/// When to run a control.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenControl {
    /// If the baseline's settings are uncertain.
    #[default]
    Unsure,
    /// For every case.
    Always,
    /// Never; then no verdict depends on a setting whose value in the baseline is unknown.
    Never,
}

/// The state of a case's control.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// No experiment was due yet.
    #[default]
    Undecided,
    /// The baseline's settings are known.
    NotNeeded,
    /// The control comes first, then this.
    First(Proposal),
    /// It failed as the baseline did.
    Reproduced,
    /// There is none although the settings are uncertain, because of the site, a person or the queue.
    Without,
}

/// If a control costs more than this fraction of its baseline, a person is asked first.
const CHEAP: f64 = 0.25;

/// After this many controls that do not fail, the failure counts as not reproducible.
const TRIES: usize = 2;

/// Verdicts that name no cause.
pub(super) const NO_CAUSE: [&str; 4] = ["healthy", "recovered", "infrastructure", INCONCLUSIVE];

/// The id of the message with a question.
pub(super) fn question_id(case: &CaseId, at: &Position) -> String {
    format!("{case}-asked-{}-{}", at.state, at.attempt)
}

impl Case {
    /// Why the baseline's settings are uncertain; `None` if they are known.
    fn unsure(&self) -> Option<String> {
        let Some(launched) = &self.launched else {
            return Some("the command that started the baseline is unknown".to_owned());
        };
        let known = |knob: &str| self.settings.contains_key(knob) || launched.settings.contains_key(knob);
        let unknown = launched.flags.iter().find(|flag| flag.default.is_none() && !known(&flag.knob))?;
        let (knob, name) = (&unknown.knob, &unknown.name);
        Some(format!("the baseline's {knob} ({name}) is neither logged nor in its command, and its default is unknown"))
    }

    /// Inserts a control before the first experiment if necessary. Returns the proposal if it comes first itself.
    pub(super) fn after_control(
        &mut self,
        proposal: Proposal,
        terms: &Terms<'_>,
        trace: &mut Trace,
    ) -> Option<Proposal> {
        if self.control != Control::Undecided || self.experiments.iter().any(|experiment| !experiment.probe) {
            return Some(proposal);
        }
        let why = match (terms.control, self.unsure()) {
            (WhenControl::Unsure, Some(_)) if terms.by_hand => {
                self.control = Control::NotNeeded;
                return Some(proposal);
            }
            (WhenControl::Unsure | WhenControl::Always, Some(why)) => why,
            (WhenControl::Always, None) => "the site requires a control in every case".to_owned(),
            (WhenControl::Never, Some(_)) => {
                self.control = Control::Without;
                return Some(proposal);
            }
            (WhenControl::Unsure | WhenControl::Never, None) => {
                self.control = Control::NotNeeded;
                return Some(proposal);
            }
        };
        self.control = Control::First(proposal);
        let share = self.control_share();
        let control = self.control_proposal(&why, 1);
        if share <= CHEAP || terms.answer_within <= 0.0 {
            self.start(control, terms, trace);
        } else {
            let question = control_question(&control, share);
            trace.note(
                terms.now,
                "asked",
                json!({ "state": CONTROL, "why": question.why, "checklist": question.checklist }),
            );
            let until = terms.now + terms.answer_within;
            trace.messages.push(self.asked_message(&question, Some(until), terms.now));
            self.waiting = Waiting::Answer { question, until };
        }
        None
    }

    /// The cost of a control as a fraction of the cost of its baseline.
    pub(super) fn control_share(&self) -> f64 {
        let (facts, done) = (&self.baseline_facts, self.baseline_facts.number(Quantity::Done));
        let whole = if done > 0.0 { facts.steps() / done } else { facts.steps() };
        self.shown_at.map_or(1.0, |step| if whole > 0.0 { step / whole } else { 1.0 })
    }

    fn control_proposal(&self, why: &str, attempt: u32) -> Proposal {
        let found: Vec<&str> = self.findings.iter().map(|finding| finding.symptom.as_str()).collect();
        Proposal {
            at: Position { state: CONTROL.to_owned(), attempt },
            step: CONTROL.to_owned(),
            changes: BTreeMap::new(),
            why: why.to_owned(),
            hypothesis: "the baseline fails again without changes".to_owned(),
            expect: format!(
                "{} by step {:.0}",
                found.join(" and "),
                self.shown_at.unwrap_or(self.baseline_facts.steps())
            ),
            beliefs: BTreeMap::new(),
        }
    }

    /// A person answered the question about a control, or did not.
    pub(super) fn control_answered(&mut self, happened: &Happened<'_>, terms: &Terms<'_>) -> Trace {
        let mut trace = Trace::default();
        let Control::First(then) = self.control.clone() else { return trace };
        let skipped = matches!(happened, Happened::Answered(answer) if answer == SKIP);
        if skipped {
            self.go_without("a person declined it", then, terms, &mut trace);
        } else {
            let why = self.unsure().unwrap_or_default();
            let control = self.control_proposal(&why, 1);
            if matches!(happened, Happened::Answered(_)) {
                let ask = question_id(&self.id, &control.at);
                self.approved = Some(Approved { at: control.at.clone(), ask });
            }
            self.start(control, terms, &mut trace);
        }
        trace
    }

    /// A person declined a control.
    pub(super) fn control_declined(&mut self, why: &str, terms: &Terms<'_>) -> Trace {
        let mut trace = Trace::default();
        if let Control::First(then) = self.control.clone() {
            self.go_without(why, then, terms, &mut trace);
        }
        trace
    }

    fn go_without(&mut self, why: &str, then: Proposal, terms: &Terms<'_>, trace: &mut Trace) {
        self.control = Control::Without;
        self.not_tried.push(NotTried { state: CONTROL.to_owned(), why: why.to_owned() });
        trace.note(terms.now, "passed", json!({ "state": CONTROL, "outcome": crate::policy::UNAVAILABLE, "why": why }));
        self.start(then, terms, trace);
    }

    /// The control has ended.
    pub(super) fn judge_control(&mut self, happened: &Happened<'_>, terms: &Terms<'_>) -> Trace {
        let mut trace = Trace::default();
        let Control::First(then) = self.control.clone() else { return trace };
        let facts = match happened {
            Happened::Ran(facts) => *facts,
            Happened::NeverStarted => {
                self.go_without("it never started", then, terms, &mut trace);
                return trace;
            }
            Happened::Refused(_) => {
                self.go_without("the queue refused it", then, terms, &mut trace);
                return trace;
            }
            Happened::NoTest(why) => {
                self.go_without(why, then, terms, &mut trace);
                return trace;
            }
            Happened::Answered(_) | Happened::Unanswered => return trace,
        };
        let fails = self.fails_alike(facts);
        let outcome = if fails { "reproduced" } else { "not_reproduced" };
        self.keep_result(facts, Some(outcome), terms.now, &mut trace);
        if fails {
            self.control = Control::Reproduced;
            self.start(then, terms, &mut trace);
        } else if self.experiments.iter().filter(|e| e.outcome.as_deref() == Some(outcome)).count() < TRIES {
            let control = self.control_proposal("the failure did not occur again; trying once more", 2);
            self.start(control, terms, &mut trace);
        } else {
            self.conclude(not_reproducible(&self.baseline), terms.now, &mut trace);
        }
        trace
    }

    /// Whether a control shows the symptoms for which the case was opened, fails in another way, or does as badly as the
    /// baseline did by this step.
    fn fails_alike(&self, facts: &Facts) -> bool {
        let opened_for = |problem: &String| self.findings.iter().any(|finding| finding.symptom == *problem);
        let fails = self.experiments.last().is_some_and(|experiment| experiment.fails);
        let as_bad = !facts.gain.is_nan() && facts.finite == self.baseline_facts.finite;
        facts.problems.iter().any(opened_for) || (fails || !facts.problems.is_empty() || as_bad) && !facts.better
    }

    /// A conclusion that holds: a cause that depends on a setting whose value in the baseline is unknown is named only
    /// if a control failed like the baseline.
    pub(super) fn borne_out(&self, conclusion: Conclusion) -> Conclusion {
        if self.control != Control::Without || NO_CAUSE.contains(&conclusion.verdict.as_str()) {
            return conclusion;
        }
        let unknown = conclusion.recommended.keys().find(|knob| !self.baseline_facts.knobs.contains_key(*knob));
        let Some(knob) = unknown else { return conclusion };
        let summary = format!(
            "{} is likely, but the baseline's {knob} is unknown and no control was run, so the change may have fixed \
             the job for another reason: {}",
            conclusion.verdict, conclusion.summary
        );
        Conclusion {
            verdict: INCONCLUSIVE.to_owned(),
            confidence: conclusion.confidence.min(UNKNOWN),
            summary,
            ..conclusion
        }
    }
}

/// Maximum confidence of a conclusion that depends on an unknown setting.
const UNKNOWN: f64 = 0.5;

fn control_question(control: &Proposal, share: f64) -> Question {
    let cost = format!("it takes about {:.0} % of the baseline's time", 100.0 * share.min(1.0));
    Question {
        at: control.at.clone(),
        step: control.step.clone(),
        why: format!("{}: run the baseline unchanged first? {cost}", control.why),
        checklist: vec![
            format!("`{RUN}`: repeat the baseline unchanged up to the point where it failed"),
            format!("`{SKIP}`: continue without it; then no verdict depends on an unknown setting"),
        ],
        answers: vec![RUN.to_owned(), SKIP.to_owned()],
    }
}

fn not_reproducible(baseline: &str) -> Conclusion {
    Conclusion {
        state: CONTROL.to_owned(),
        verdict: INCONCLUSIVE.to_owned(),
        confidence: 0.5,
        summary: format!(
            "the failure of {baseline} is not reproducible: it was repeated unchanged {TRIES} times and did not fail"
        ),
        recommended: BTreeMap::new(),
    }
}
