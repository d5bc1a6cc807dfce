//! The steps of a case: opened, an experiment suggested, judged, a question asked, closed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Case, CaseId, Experiment, JournalEntry, NotTried, Trace, VERSION, Waiting, run_name, suggestion_id};
use crate::facts::Facts;
use crate::policy::{
    self, Advance, CaseFacts, Conclusion, Environment, Happened, Next, Passed, Policy, Position, Proposal, Question,
};
use crate::symptoms::Finding;

/// How an experiment is linked whose job a person named.
pub const BY_HAND: &str = "hand";

/// What a case needs of the world around it at one step.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The policy that the case runs.
    pub policy: &'a Policy,
    /// Seconds since the Unix epoch.
    pub now: f64,
    /// Whether one more experiment may start.
    pub room: bool,
    /// Seconds that a person has for an answer; 0: ask, and go on at once.
    pub answer_within: f64,
}

/// What a case is opened with.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Its id.
    pub id: CaseId,
    /// The job that it is about.
    pub baseline: String,
    /// What was found in it.
    pub findings: Vec<Finding>,
    /// What it shows.
    pub facts: Facts,
    /// Its loss, for messages.
    pub loss_curve: Vec<Option<f64>>,
    /// What its settings alone suggest, for the first message.
    pub advice: Vec<String>,
    /// The knobs that its script has, where the site lists them.
    pub knobs: Option<BTreeSet<String>>,
}

impl Case {
    /// Opens a case and takes the first step of its policy.
    pub fn open(opening: Opening, terms: &Terms<'_>) -> (Case, Trace) {
        let Opening { id, baseline, findings, facts, loss_curve, advice, knobs } = opening;
        let mut case = Case {
            version: VERSION,
            id,
            baseline,
            policy: terms.policy.name().to_owned(),
            opened: terms.now,
            findings,
            baseline_facts: facts,
            loss_curve,
            position: Position { state: terms.policy.start().to_owned(), attempt: 1 },
            waiting: Waiting::Nothing,
            experiments: Vec::new(),
            facts: CaseFacts { knobs, ..CaseFacts::default() },
            not_tried: Vec::new(),
            closed: None,
        };
        let mut trace = Trace::default();
        let found: Vec<&str> = case.findings.iter().map(|f| f.summary.as_str()).collect();
        trace.note(terms.now, "opened", json!({ "baseline": case.baseline, "policy": case.policy, "seen": found }));
        trace.messages.push(case.opened_message(&advice));
        if !case.baseline_facts.ended && !case.baseline_facts.finite {
            trace.messages.push(case.stop_message(terms.now));
        }
        let advance = policy::enter(terms.policy, terms.policy.start(), &case.environment(None, 1));
        case.follow(advance, terms, &mut trace);
        (case, trace)
    }

    fn environment<'a>(&'a self, experiment: Option<&'a Facts>, attempt: u32) -> Environment<'a> {
        Environment { baseline: &self.baseline_facts, experiment, case: &self.facts, attempt }
    }

    /// The newest experiment came to an end of whatever kind: the policy goes on.
    pub fn judge(&mut self, happened: Happened<'_>, terms: &Terms<'_>) -> Trace {
        let mut trace = Trace::default();
        let (at, seen) = (self.position.clone(), seen(&happened));
        if let Some(experiment) = self.experiments.last_mut().filter(|_| self.waiting == Waiting::Experiment) {
            if let Happened::Ran(facts) = &happened {
                let hours = experiment.age(terms.now) / 3600.0;
                experiment.facts = Some((*facts).clone());
                self.facts.record_hours(hours);
            }
            let detail = json!({
                "state": at.state, "attempt": at.attempt, "suggestion_id": experiment.suggestion,
                "hypothesis": experiment.proposal.hypothesis, "expected": experiment.proposal.expect, "seen": seen,
            });
            trace.note(terms.now, "observed", detail);
        }
        let facts = match &happened {
            Happened::Ran(facts) => Some(*facts),
            Happened::NeverStarted | Happened::Refused(_) | Happened::Answered(_) | Happened::Unanswered => None,
        };
        let environment = self.environment(facts, at.attempt);
        let advance = policy::judge(terms.policy, &at, &happened, &environment);
        if let Happened::Refused(knobs) = &happened {
            self.facts.missing_knobs.extend(knobs.iter().cloned());
        }
        if let Some(outcome) = advance.passed.first().filter(|passed| passed.state == at.state)
            && let Some(experiment) = self.experiments.last_mut().filter(|e| e.outcome.is_none())
        {
            experiment.outcome = Some(outcome.outcome.clone());
        }
        self.follow(advance, terms, &mut trace);
        trace
    }

    /// Time has passed: a question may have run out, or room may have come for the next experiment.
    pub fn wait(&mut self, terms: &Terms<'_>) -> Trace {
        match self.waiting.clone() {
            Waiting::Room(proposal) if terms.room => {
                let mut trace = Trace::default();
                self.suggest(proposal, terms.now, &mut trace);
                trace
            }
            Waiting::Answer { until, .. } if terms.now >= until => self.judge(Happened::Unanswered, terms),
            Waiting::Room(_) | Waiting::Experiment | Waiting::Answer { .. } | Waiting::Nothing => Trace::default(),
        }
    }

    /// Closes the case with a conclusion of whatever origin.
    pub fn close(&mut self, conclusion: Conclusion, now: f64) -> Trace {
        let mut trace = Trace::default();
        self.conclude(conclusion, now, &mut trace);
        trace
    }

    /// The open experiment is carried out by this job; `by` says how that is known.
    pub fn link_to(&mut self, job: &str, by: &str, now: f64) -> Trace {
        let mut trace = Trace::default();
        if let Some(experiment) = self.experiments.last_mut().filter(|_| self.waiting == Waiting::Experiment) {
            experiment.job = Some(job.to_owned());
            experiment.linked_by_hand = by == BY_HAND;
            experiment.disputed = None;
            let detail = json!({ "suggestion_id": experiment.suggestion, "job": job, "by": by });
            trace.note(now, "linked", detail);
        }
        trace
    }

    /// No job is taken for the open experiment, for what is known points to different ones. It is said once.
    pub fn dispute(&mut self, why: &str, now: f64) -> Trace {
        let mut trace = Trace::default();
        let Some(experiment) = self.experiments.last_mut().filter(|_| self.waiting == Waiting::Experiment) else {
            return trace;
        };
        experiment.job = None;
        if experiment.disputed.as_deref() != Some(why) {
            experiment.disputed = Some(why.to_owned());
            let detail = json!({ "suggestion_id": experiment.suggestion, "why": why });
            trace.note(now, "disputed", detail);
        }
        trace
    }

    fn follow(&mut self, advance: Advance, terms: &Terms<'_>, trace: &mut Trace) {
        self.facts.record(&advance);
        for passed in advance.passed {
            self.pass(&passed, terms.now, trace);
        }
        match advance.next {
            Next::Run(proposal) => {
                self.position = proposal.at.clone();
                if terms.room {
                    self.suggest(proposal, terms.now, trace);
                } else {
                    self.waiting = Waiting::Room(proposal);
                }
            }
            Next::Ask(question) => self.ask(question, terms, trace),
            Next::Conclude(conclusion) => self.conclude(conclusion, terms.now, trace),
        }
    }

    fn pass(&mut self, passed: &Passed, now: f64, trace: &mut Trace) {
        if passed.outcome == policy::UNAVAILABLE || passed.outcome == policy::LIMIT {
            self.not_tried.push(NotTried { state: passed.state.clone(), why: passed.why.clone() });
        }
        trace.note(now, "passed", json!({ "state": passed.state, "outcome": passed.outcome, "why": passed.why }));
    }

    fn suggest(&mut self, proposal: Proposal, now: f64, trace: &mut Trace) {
        let n = self.experiments.len() + 1;
        let at = proposal.at.clone();
        let (suggestion, run_name) = (suggestion_id(&self.id, &at, n), run_name(&self.id, &self.baseline, &at, n));
        let experiment = Experiment::new(suggestion, proposal, run_name, now);
        let detail = json!({
            "state": at.state, "attempt": at.attempt, "suggestion_id": experiment.suggestion,
            "run_name": experiment.run_name, "step": experiment.proposal.step, "overrides": experiment.proposal.changes,
            "why": experiment.proposal.why, "hypothesis": experiment.proposal.hypothesis, "expected": experiment.proposal.expect,
        });
        trace.note(now, "suggested", detail);
        trace.messages.push(self.suggested_message(&experiment));
        self.experiments.push(experiment);
        self.waiting = Waiting::Experiment;
    }

    fn ask(&mut self, question: Question, terms: &Terms<'_>, trace: &mut Trace) {
        self.position = question.at.clone();
        let detail = json!({ "state": question.at.state, "why": question.why, "checklist": question.checklist });
        trace.note(terms.now, "asked", detail);
        trace.messages.push(self.asked_message(&question, terms.now));
        let until = terms.now + terms.answer_within;
        self.waiting = Waiting::Answer { question, until };
        if terms.answer_within <= 0.0 {
            let further = self.judge(Happened::Unanswered, terms);
            trace.journal.extend(further.journal);
            trace.messages.extend(further.messages);
        }
    }

    fn conclude(&mut self, conclusion: Conclusion, now: f64, trace: &mut Trace) {
        let detail = json!({
            "state": conclusion.state, "verdict": conclusion.verdict, "confidence": conclusion.confidence,
            "summary": conclusion.summary, "recommended": conclusion.recommended,
        });
        trace.note(now, "closed", detail);
        trace.messages.push(self.closed_message(&conclusion, now));
        self.waiting = Waiting::Nothing;
        self.closed = Some(conclusion);
    }
}

impl Trace {
    pub(super) fn note(&mut self, time: f64, kind: &str, detail: Value) {
        self.journal.push(JournalEntry { time, kind: kind.to_owned(), detail });
    }

    /// Whether the step left nothing behind.
    pub fn is_empty(&self) -> bool {
        self.journal.is_empty() && self.messages.is_empty()
    }
}

fn seen(happened: &Happened<'_>) -> String {
    match happened {
        Happened::Ran(facts) => facts.in_words(),
        Happened::NeverStarted => "it never started".to_owned(),
        Happened::Refused(knobs) => {
            let knobs: Vec<&str> = knobs.iter().map(String::as_str).collect();
            format!("the queue refused it: the script has no {}", knobs.join(", "))
        }
        Happened::Answered(answer) => format!("a person answered: {answer}"),
        Happened::Unanswered => "nobody answered in time".to_owned(),
    }
}
