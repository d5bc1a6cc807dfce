//! The steps of a case: opening, suggesting and judging experiments, asking questions, closing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::asking::overdue;
use super::budget::exceeded;
use super::{
    Allowance, Approval, CONTROL, Case, CaseId, Control, Curve, JournalEntry, NotTried, Notice, POLICY_CHANGED, Pace,
    Trace, VERSION, Versions, Waiting, WhenControl,
};
use crate::belief::Belief;
use crate::facts::{Facts, Knobs};
use crate::fate::Fate;
use crate::launched::Launched;
use crate::policy::{
    self, Advance, CaseFacts, Conclusion, Environment, Happened, Next, Passed, Policy, Position, Proposal, Question,
};
use crate::symptoms::{Finding, Severity};

/// The link type of a job that a person named.
pub const BY_HAND: &str = "hand";

/// The symptom of a job that ended early.
pub const BROKE_DOWN: &str = "silent";

/// The external inputs of a step of a case.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The policy of the case.
    pub policy: &'a Policy,
    /// Seconds since the Unix epoch.
    pub now: f64,
    /// Whether one more experiment may start.
    pub room: bool,
    /// Whether one more probe may start.
    pub room_for_probe: bool,
    /// Seconds to wait for an answer; 0: ask, and continue immediately.
    pub answer_within: f64,
    /// When to run a control.
    pub control: WhenControl,
    /// Which experiments need approval.
    pub approval: Approval,
    /// Seconds after which an unanswered approval counts as declined.
    pub approve_within: f64,
    /// Whether only people run suggestions; they know how they started the baseline.
    pub by_hand: bool,
    /// The budgets that apply to the case's experiments.
    pub allowances: &'a [Allowance],
    /// How probable it is that a verdict is right, by what the policy believes of its cause.
    pub confidence: fn(&str, f64) -> f64,
}

/// The inputs for opening a case.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Its id.
    pub id: CaseId,
    /// The baseline job.
    pub baseline: String,
    /// The name of its log directory; `None` if there is only one.
    pub logdir: Option<String>,
    /// Its findings.
    pub findings: Vec<Finding>,
    /// Its facts.
    pub facts: Facts,
    /// Its loss, for messages.
    pub loss_curve: Vec<Option<f64>>,
    /// Advice based only on its settings, for the first message.
    pub advice: Vec<String>,
    /// The knobs that its script supports, if the site lists them.
    pub knobs: Option<BTreeSet<String>>,
    /// How it was started, if known.
    pub launched: Option<Launched>,
    /// Its known settings: logged, in its command, or defaults of its script.
    pub settings: Knobs,
    /// The step by which it showed the findings.
    pub shown_at: Option<f64>,
    /// How fast it trains.
    pub pace: Option<Pace>,
    /// Its reported status, if any.
    pub fate: Option<Fate>,
    /// By test, the probability that its change fixes the job.
    pub priors: BTreeMap<String, f64>,
    /// Its curves.
    pub curves: Vec<Curve>,
    /// The probability that it fails.
    pub belief: Option<Belief>,
    /// The id of the belief weights.
    pub weights: Option<String>,
}

impl Case {
    /// Opens a case and takes the first step of its policy.
    pub fn open(opening: Opening, terms: &Terms<'_>) -> (Case, Trace) {
        let advice = opening.advice.clone();
        let (mut case, mut trace) = (Case::new(opening, terms), Trace::default());
        case.begin(&advice, terms, &mut trace);
        (case, trace)
    }

    /// A case before its first step.
    pub(super) fn new(opening: Opening, terms: &Terms<'_>) -> Case {
        let Opening { id, baseline, findings, facts, loss_curve, knobs, priors, .. } = opening;
        Case {
            version: VERSION,
            id,
            baseline,
            logdir: opening.logdir,
            policy: terms.policy.name().to_owned(),
            opened: terms.now,
            findings,
            baseline_facts: facts,
            loss_curve,
            position: Position { state: terms.policy.start().to_owned(), attempt: 1 },
            waiting: Waiting::Nothing,
            experiments: Vec::new(),
            facts: CaseFacts { knobs, priors, ..CaseFacts::default() },
            not_tried: Vec::new(),
            closed: None,
            settings: opening.settings,
            launched: opening.launched,
            shown_at: opening.shown_at,
            pace: opening.pace,
            fate: opening.fate,
            control: Control::Undecided,
            paused: None,
            in_vain: None,
            short_of: None,
            curves: opening.curves,
            approved: None,
            belief: opening.belief,
            versions: Versions { policy: Some(terms.policy.id().to_owned()), weights: opening.weights },
            goes_on_under: None,
            quiet: None,
        }
    }

    /// Notifies people, and takes the first step of the policy.
    pub(super) fn begin(&mut self, advice: &[String], terms: &Terms<'_>, trace: &mut Trace) {
        let found: Vec<&str> = self.findings.iter().map(|f| f.summary.as_str()).collect();
        let detail = json!({
            "baseline": self.baseline, "policy": self.policy, "seen": found, "versions": self.versions,
            "probability": self.belief.as_ref().map(|belief| belief.probability),
        });
        trace.note(terms.now, "opened", detail);
        trace.messages.push(self.opened_message(advice));
        if !self.baseline_facts.ended && !self.baseline_facts.finite {
            trace.messages.push(self.stop_message(terms.now));
        }
        if let Some(conclusion) = self.broke_down() {
            return self.conclude(conclusion, terms.now, trace);
        }
        let advance = policy::enter(terms.policy, terms.policy.start(), &self.environment(None, 1));
        self.follow(advance, terms, trace);
    }

    /// A baseline that broke down according to its engine and has no other symptoms: no experiment is needed.
    fn broke_down(&self) -> Option<Conclusion> {
        let fate = self.fate.as_ref().filter(|fate| fate.state.is_breakdown())?;
        let only = self.findings.iter().filter(|f| f.severity == Severity::Problem).all(|f| f.symptom == BROKE_DOWN);
        only.then(|| Conclusion {
            state: "infrastructure".to_owned(),
            verdict: "infrastructure".to_owned(),
            confidence: 0.9,
            summary: format!("{}; there are no other symptoms", fate.in_words()),
            recommended: Knobs::new(),
        })
    }

    fn environment<'a>(&'a self, experiment: Option<&'a Facts>, attempt: u32) -> Environment<'a> {
        Environment { baseline: &self.baseline_facts, experiment, case: &self.facts, attempt }
    }

    /// The newest experiment has ended in some way: continues the policy.
    pub fn judge(&mut self, happened: Happened<'_>, terms: &Terms<'_>) -> Trace {
        if self.is_quiet() {
            return self.judge_probe(&happened, terms);
        }
        if self.open_experiment().is_some_and(|experiment| experiment.control) {
            return self.judge_control(&happened, terms);
        }
        if self.asks_for_control() {
            return self.control_answered(&happened, terms);
        }
        let mut trace = Trace::default();
        let at = self.position.clone();
        if matches!(self.waiting, Waiting::Approval(_)) {
            self.ran_for_nothing();
        }
        if self.waiting == Waiting::Experiment {
            match &happened {
                Happened::Ran(facts) => self.keep_result(facts, None, terms.now, &mut trace),
                // The journal already contains the report about it.
                Happened::NoTest(_) => self.ran_for_nothing(),
                Happened::NeverStarted | Happened::Refused(_) => {
                    self.observe(&seen(&happened), None, terms.now, &mut trace);
                    self.ran_for_nothing();
                    self.cancel_open("it is no longer needed", terms.now, &mut trace);
                }
                Happened::Answered(_) | Happened::Unanswered => {}
            }
        }
        let facts = match &happened {
            Happened::Ran(facts) => Some(*facts),
            Happened::NeverStarted
            | Happened::NoTest(_)
            | Happened::Refused(_)
            | Happened::Answered(_)
            | Happened::Unanswered => None,
        };
        let environment = self.environment(facts, at.attempt);
        let advance = policy::judge(terms.policy, &at, &happened, &environment);
        if facts.is_some() {
            self.note_believed(&advance.case, terms, &mut trace);
        }
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

    /// Stores the result of the open experiment. Without an outcome, the policy determines one.
    pub(super) fn keep_result(&mut self, facts: &Facts, outcome: Option<&str>, now: f64, trace: &mut Trace) {
        self.observe(&facts.in_words(), outcome, now, trace);
        self.in_vain = None;
        let Some(experiment) = self.experiments.last_mut() else { return };
        let hours = experiment.spent.map_or_else(|| experiment.age(now), |spent| spent.seconds) / 3600.0;
        experiment.facts = Some(facts.clone());
        if let Some(outcome) = outcome {
            experiment.outcome = Some(outcome.to_owned());
        }
        if !experiment.probe {
            self.facts.record_hours(hours);
        }
        self.cancel_open("its result is known", now, trace);
    }

    /// An experiment without a result does not count.
    fn ran_for_nothing(&mut self) {
        self.facts.experiments = self.facts.experiments.saturating_sub(1);
    }

    fn observe(&self, seen: &str, outcome: Option<&str>, now: f64, trace: &mut Trace) {
        let Some(experiment) = self.experiments.last() else { return };
        let mut detail = json!({
            "state": experiment.proposal.at.state, "attempt": experiment.proposal.at.attempt,
            "suggestion_id": experiment.suggestion, "hypothesis": experiment.proposal.hypothesis,
            "expected": experiment.proposal.expect, "seen": seen,
        });
        let mut add =
            |key: &str, value: Value| detail.as_object_mut().map(|detail| detail.insert(key.to_owned(), value));
        if let Some(outcome) = outcome {
            add("outcome", json!(outcome));
        }
        if let Some(spent) = experiment.spent {
            add("cost", json!(self.real_cost(spent)));
        }
        if let Some(fate) = &experiment.fate {
            add("fate", json!(fate));
        }
        trace.note(now, "observed", detail);
    }

    fn asks_for_control(&self) -> bool {
        matches!(&self.waiting, Waiting::Answer { question, .. } if question.at.state == CONTROL)
            && matches!(self.control, Control::First(_))
    }

    /// Notifies the destinations of the newest suggestion that its run is no longer needed, unless it has ended.
    pub(super) fn cancel_open(&self, why: &str, now: f64, trace: &mut Trace) {
        let Some(experiment) = self.experiments.last() else { return };
        // A run that has made all its steps may still hold its slot; only who runs it knows.
        let over = match &experiment.fate {
            Some(fate) => fate.state.is_final(),
            None => experiment.spent.is_some_and(|spent| spent.over),
        };
        if !over && !experiment.machines.is_empty() {
            trace.messages.push(self.cancelled_message(experiment, why, now));
        }
    }

    /// Notifies people about something in the case that they have to know; people are not notified about probes.
    pub(super) fn notify(&self, notice: Notice, now: f64, trace: &mut Trace) {
        if !self.is_quiet() {
            trace.messages.push(self.notice_message(notice, now));
        }
    }

    /// Time has passed: a question may have expired, or there may be room for the next experiment.
    pub fn wait(&mut self, terms: &Terms<'_>) -> Trace {
        if matches!(&self.waiting, Waiting::Answer { until, .. } if !overdue(*until, terms.now)) {
            return Trace::default();
        }
        match self.waiting.clone() {
            Waiting::Room(proposal) => {
                let mut trace = Trace::default();
                self.start(proposal, terms, &mut trace);
                trace
            }
            Waiting::Answer { .. } => self.judge(Happened::Unanswered, terms),
            Waiting::Approval(awaited) => self.wait_for_approval(awaited, terms),
            Waiting::Probe => self.next_probe(terms),
            Waiting::Experiment | Waiting::Nothing => Trace::default(),
        }
    }

    /// Closes the case with any conclusion.
    pub fn close(&mut self, conclusion: Conclusion, now: f64) -> Trace {
        if self.is_quiet() {
            return self.end_quietly(conclusion, now);
        }
        let mut trace = Trace::default();
        if self.waiting == Waiting::Experiment {
            self.cancel_open("its case is closed", now, &mut trace);
        }
        self.conclude(conclusion, now, &mut trace);
        trace
    }

    /// Links the open experiment to this job; `by` is how it was found.
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

    /// No job is linked to the open experiment because the evidence points to different ones. Reported once.
    pub fn dispute(&mut self, why: &str, now: f64) -> Trace {
        let mut trace = Trace::default();
        let Some(experiment) = self.experiments.last_mut().filter(|_| self.waiting == Waiting::Experiment) else {
            return trace;
        };
        experiment.job = None;
        if experiment.disputed.as_deref() != Some(why) {
            experiment.disputed = Some(why.to_owned());
            let suggestion = experiment.suggestion.clone();
            trace.note(now, "disputed", json!({ "suggestion_id": suggestion, "why": why }));
            let why =
                format!("no run is linked to the experiment: {why}; name the right one with `nextrun cases link`");
            self.notify(Notice::of(&suggestion, "disputed", &why, None), now, &mut trace);
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
                if let Some(proposal) = self.after_control(proposal, terms, trace) {
                    self.start(proposal, terms, trace);
                }
            }
            Next::Ask(question) => self.ask(question, terms, trace),
            Next::Conclude(conclusion) => {
                let (verdict, believed) = (&conclusion.verdict, conclusion.confidence);
                let confidence = (terms.confidence)(verdict, believed);
                if believed > 0.0 {
                    let detail = json!({ "verdict": verdict, "believed": believed, "confidence": confidence });
                    trace.note(terms.now, "weighed", detail);
                }
                let conclusion = self.sure_enough(Conclusion { confidence, ..conclusion }, terms);
                self.conclude(conclusion, terms.now, trace);
            }
        }
    }

    fn pass(&mut self, passed: &Passed, now: f64, trace: &mut Trace) {
        if passed.outcome == policy::UNAVAILABLE || passed.outcome == policy::LIMIT {
            self.not_tried.push(NotTried { state: passed.state.clone(), why: passed.why.clone() });
        }
        trace.note(now, "passed", json!({ "state": passed.state, "outcome": passed.outcome, "why": passed.why }));
    }

    /// Suggests an experiment, or waits for room, for a budget, or for the end of a pause.
    pub(super) fn start(&mut self, proposal: Proposal, terms: &Terms<'_>, trace: &mut Trace) {
        let cost = self.expected_cost(&proposal.changes, proposal.at.state == CONTROL);
        let short = exceeded(terms.allowances, cost);
        if short.is_some() && short != self.short_of {
            let why = short.clone().unwrap_or_default();
            trace.note(terms.now, "waits", json!({ "state": proposal.at.state, "why": why }));
            let notice = Notice {
                run_name: None,
                ..Notice::of("", "budget", &format!("the next experiment waits: {why}"), None)
            };
            // The sums change all the time, so people are notified only when the wait begins.
            if self.short_of.is_none() {
                self.notify(notice, terms.now, trace);
            }
        }
        let waits = !terms.room || self.paused.is_some() || short.is_some();
        self.short_of = short;
        if waits {
            self.waiting = Waiting::Room(proposal);
        } else if self.needs_approval(&proposal, cost, terms) {
            self.ask_approval(proposal, 1, terms, trace);
        } else {
            self.suggest(proposal, terms, trace);
        }
    }

    pub(super) fn suggest(&mut self, proposal: Proposal, terms: &Terms<'_>, trace: &mut Trace) {
        let at = proposal.at.clone();
        let mut experiment = self.experiment_of(proposal, terms);
        experiment.approval = self.approved.take().filter(|approved| approved.at == at).map(|approved| approved.ask);
        let detail = json!({
            "state": at.state, "attempt": at.attempt, "suggestion_id": experiment.suggestion,
            "run_name": experiment.run_name, "step": experiment.proposal.step, "overrides": experiment.proposal.changes,
            "why": experiment.proposal.why, "hypothesis": experiment.proposal.hypothesis, "expected": experiment.proposal.expect,
            "cost": experiment.cost, "believed": experiment.believed,
        });
        trace.note(terms.now, "suggested", detail);
        trace.messages.push(self.suggested_message(&experiment, terms.policy));
        self.experiments.push(experiment);
        self.waiting = Waiting::Experiment;
    }

    pub(super) fn ask(&mut self, question: Question, terms: &Terms<'_>, trace: &mut Trace) {
        self.position = question.at.clone();
        let detail = json!({ "state": question.at.state, "why": question.why, "checklist": question.checklist });
        trace.note(terms.now, "asked", detail);
        let until = terms.now + terms.answer_within;
        trace.messages.push(self.asked_message(&question, Some(until).filter(|until| *until > terms.now), terms.now));
        self.waiting = Waiting::Answer { question, until };
        if terms.answer_within <= 0.0 {
            let further = self.judge(Happened::Unanswered, terms);
            trace.append(further);
        }
    }

    pub(super) fn conclude(&mut self, conclusion: Conclusion, now: f64, trace: &mut Trace) {
        let conclusion = self.as_it_was(self.borne_out(conclusion));
        let detail = json!({
            "state": conclusion.state, "verdict": conclusion.verdict, "confidence": conclusion.confidence,
            "summary": conclusion.summary, "recommended": conclusion.recommended,
        });
        trace.note(now, "closed", detail);
        trace.messages.push(self.closed_message(&conclusion, now));
        self.waiting = Waiting::Nothing;
        self.paused = None;
        self.closed = Some(conclusion);
    }

    /// A conclusion that counts only experiments that ran, and includes the status of the baseline.
    fn as_it_was(&self, mut conclusion: Conclusion) -> Conclusion {
        let mut made = self.experiments.iter().filter(|experiment| !experiment.probe).peekable();
        let some_made = made.peek().is_some();
        let none_ran = made.all(|experiment| experiment.facts.is_none());
        let own_words = conclusion.state == POLICY_CHANGED;
        if conclusion.verdict == "inconclusive" && !own_words && some_made && none_ran {
            let why: Vec<String> = self.not_tried.iter().map(|n| format!("{}: {}", n.state, n.why)).collect();
            conclusion.summary = format!("no experiment ran, so no cause can be named: {}", why.join("; "));
            conclusion.confidence = 0.0;
        }
        if let Some(fate) = self.fate.as_ref().filter(|fate| fate.state.is_breakdown())
            && conclusion.verdict == "infrastructure"
            && !conclusion.summary.starts_with(&fate.in_words())
        {
            conclusion.summary = format!("{}: {}", fate.in_words(), conclusion.summary);
        }
        conclusion
    }
}

impl Trace {
    pub(super) fn note(&mut self, time: f64, kind: &str, detail: Value) {
        self.journal.push(JournalEntry { time, kind: kind.to_owned(), detail });
    }

    pub(super) fn append(&mut self, further: Trace) {
        self.journal.extend(further.journal);
        self.messages.extend(further.messages);
    }

    /// Whether the step had no effect.
    pub fn is_empty(&self) -> bool {
        self.journal.is_empty() && self.messages.is_empty()
    }
}

fn seen(happened: &Happened<'_>) -> String {
    match happened {
        Happened::Ran(facts) => facts.in_words(),
        Happened::NeverStarted => "it never started".to_owned(),
        Happened::NoTest(why) => why.clone(),
        Happened::Refused(knobs) => {
            let knobs: Vec<&str> = knobs.iter().map(String::as_str).collect();
            format!("the queue refused it: the script does not support {}", knobs.join(", "))
        }
        Happened::Answered(answer) => format!("a person answered: {answer}"),
        Happened::Unanswered => "nobody answered in time".to_owned(),
    }
}
