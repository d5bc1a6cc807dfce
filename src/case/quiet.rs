//! Quiet cases: a suspicious job is examined by probes without notifying anyone.
//!
//! Owns: the beliefs after each probe, the budget of probes, and their consequences. Must not know: which tests may be
//! probes, how the run of one is examined.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::budget::exceeded;
use super::{Case, Opening, Terms, Trace, Waiting};
use crate::belief::{Belief, Contribution, Weights, log_odds, probability};
use crate::facts::Facts;
use crate::policy::{Conclusion, Happened, Position, Proposal};
use crate::probe::{self, Choice, Ground, Likelihoods, Outcome, TESTS, Table, Target};

/// The name of a probe, where experiments have the name of their test.
pub const PROBE: &str = "probe";

/// The final state of a case that people were not notified about.
pub(super) const SETTLED: &str = "probed";

/// Fraction of the remaining budget for which a probe is planned, so that a probe slightly slower than its job is not
/// cut off.
const PLANNED: f64 = 0.8;

/// Minimum length of a probe, as a fraction of the length that the whole budget would permit.
const LEAST: f64 = 0.5;

/// Seconds that a probe may always take if its steps limit it anyway: on a busy machine, the time of a shorter job says
/// little about that of its probe.
const AT_LEAST: f64 = 60.0;

/// Seconds that a probe may take until its first event: loading libraries and data takes no part of the budget, as it took
/// none of what its job has used.
const STARTS_WITHIN: f64 = 600.0;

/// The data about a job that is, or was, probed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quiet {
    /// Nobody has been told of the case.
    pub untold: bool,
    /// The job is no suspect: it is probed to learn what suspicion misses.
    pub audit: bool,
    /// Maximum total run time of the job's probes, as a fraction of the job's run time.
    pub share: f64,
    /// The job, at its newest look.
    pub job: Probed,
    /// The probes, in the order in which they were made.
    pub tests: Vec<Made>,
}

/// A job that is probed, at one look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probed {
    /// The log-odds that it fails by its own evidence, the prior included.
    pub log_odds: f64,
    /// Seconds that it has used, from its first event to its newest.
    pub seconds: f64,
    /// Optimizer steps that it has made, if they are known.
    pub updates: Option<f64>,
    /// Points of its loss.
    pub points: f64,
    /// The job is advanced enough for a constant loss to be meaningful; before that, most suspicions resolve
    /// themselves.
    pub mature: bool,
}

/// One probe: its criteria, fixed in advance, and its outcome.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Made {
    /// The test.
    pub test: String,
    /// The target loss; `None` if it has to fit few examples.
    pub target: Option<Target>,
    /// Seconds that its run may take.
    pub seconds: f64,
    /// How likely each outcome is for a job that fails, and for a healthy one.
    pub likelihoods: Likelihoods,
    /// The outcome, once there is one.
    pub outcome: Option<Outcome>,
    /// It has no result.
    pub void: bool,
}

impl Quiet {
    /// The terms that probes add to the belief about the job.
    pub fn terms(&self) -> Vec<Contribution> {
        let term = |made: &Made| {
            let log_odds = made.likelihoods.get(&made.outcome?)?.log_odds();
            let quantity = TESTS.iter().find(|test| test.name == made.test)?.name;
            Some(Contribution {
                quantity: quantity.into(),
                value: f64::from(made.outcome == Some(Outcome::Reached)),
                error: 0.0,
                log_odds,
            })
        };
        self.tests.iter().filter_map(term).collect()
    }

    /// The log-odds that the job fails, by all evidence.
    fn log_odds(&self) -> f64 {
        self.job.log_odds + self.terms().iter().map(|term| term.log_odds).sum::<f64>()
    }

    /// The probability that the job fails, by all evidence.
    pub fn probability(&self) -> f64 {
        probability(self.log_odds())
    }

    /// The probes that have a result.
    fn shown(&self) -> impl Iterator<Item = &Made> {
        self.tests.iter().filter(|made| made.outcome.is_some())
    }
}

impl Case {
    /// Whether people have not been notified about it.
    pub fn is_quiet(&self) -> bool {
        self.untold().is_some()
    }

    /// The data about its job, if people have not been notified about it.
    fn untold(&self) -> Option<&Quiet> {
        self.quiet.as_ref().filter(|quiet| quiet.untold)
    }

    /// Starts to probe a job; `None` if no probe is affordable, or none could change the result.
    pub fn probe(opening: Opening, quiet: Quiet, terms: &Terms<'_>) -> Option<(Case, Trace)> {
        let mut case = Case::new(opening, terms);
        let mut trace = Trace::default();
        let seen: Vec<&str> = case.findings.iter().map(|finding| finding.summary.as_str()).collect();
        let detail = json!({
            "baseline": case.baseline, "audit": quiet.audit, "share": quiet.share, "seen": seen,
            "probability": quiet.probability(), "versions": case.versions,
        });
        trace.note(terms.now, "probed", detail);
        case.waiting = Waiting::Probe;
        case.quiet = Some(Quiet { untold: true, ..quiet });
        trace.append(case.next_probe(terms));
        (case.waiting == Waiting::Experiment).then_some((case, trace))
    }

    /// The latest state of the job.
    pub fn probed_job_shows(&mut self, job: Probed, facts: &Facts) {
        if let Some(quiet) = self.quiet.as_mut().filter(|quiet| quiet.untold) {
            quiet.job = job;
            self.baseline_facts = facts.clone();
        }
    }

    /// Makes the next probe, or ends the case if nothing is left to determine.
    pub(super) fn next_probe(&mut self, terms: &Terms<'_>) -> Trace {
        let Some(quiet) = self.quiet.as_ref().filter(|_| self.waiting == Waiting::Probe) else {
            return Trace::default();
        };
        let (weights, belief, ended) = (Weights::shipped(), quiet.probability(), self.baseline_facts.ended);
        let tested = quiet.shown().count();
        if belief >= weights.alarm {
            // The next look at the job has people told.
            return Trace::default();
        }
        let wanted = if quiet.audit { tested == 0 } else { belief >= weights.doubt };
        if !wanted {
            return if ended { self.settle("healthy", terms.now) } else { Trace::default() };
        }
        if !terms.room_for_probe || !quiet.job.mature {
            return Trace::default();
        }
        match self.choose_probe() {
            Some((choice, seconds))
                if exceeded(terms.allowances, self.expected_cost(&choice.changes, false)).is_none() =>
            {
                self.make(choice, seconds, terms)
            }
            Some(_) => Trace::default(),
            None if ended => {
                // Probes took the suspicion away, or it is left as it was.
                let cleared = tested > 0 && belief < weights.suspect;
                self.settle(if cleared { "healthy" } else { "inconclusive" }, terms.now)
            }
            None => Trace::default(),
        }
    }

    /// The probe that tells most for its cost, and the seconds that it may take.
    fn choose_probe(&self) -> Option<(Choice, f64)> {
        let quiet = self.quiet.as_ref()?;
        let Probed { seconds, updates, points, .. } = quiet.job;
        let left = self.left_for_probes()?;
        let share = PLANNED * left / seconds;
        // The result of a much shorter probe was not measured.
        if !(share.is_finite() && share > 0.0 && share >= LEAST * PLANNED * quiet.share) {
            return None;
        }
        let made: Vec<&str> = quiet.tests.iter().map(|made| made.test.as_str()).collect();
        let weights = Weights::shipped();
        let ground = Ground {
            job: &self.baseline_facts,
            knobs: self.facts.knobs.as_ref(),
            missing: &self.facts.missing_knobs,
            made: &made,
            log_odds: quiet.log_odds(),
            share,
            steps: updates.map(|updates| share * updates),
            points: share * points,
            alarm: (!quiet.audit).then_some(weights.alarm),
        };
        let choice = probe::choose(&ground, Table::shipped())?;
        let limit = if choice.changes.contains_key("max_steps") { left.max(AT_LEAST) } else { PLANNED * left };
        Some((choice, limit))
    }

    /// The seconds that a probe may take that no number of steps limits; `None` if people were notified about the case.
    pub(super) fn time_for_probe(&self) -> Option<f64> {
        Some(PLANNED * self.left_for_probes()?.max(0.0))
    }

    /// The seconds that are left of the budget of probes; `None` if people were notified about the case.
    fn left_for_probes(&self) -> Option<f64> {
        let quiet = self.untold()?;
        Some(quiet.share * quiet.job.seconds - self.spent_on_probes())
    }

    /// What the open probe has shown with these facts.
    pub fn read_probe(&self, facts: &Facts) -> Option<Outcome> {
        Some(probe::read(facts, self.untold()?.tests.last()?.target))
    }

    /// Seconds that probes have taken.
    pub fn spent_on_probes(&self) -> f64 {
        let probes = self.experiments.iter().filter(|experiment| experiment.probe);
        probes.filter_map(|probe| probe.spent).map(|spent| spent.seconds.max(0.0)).sum()
    }

    fn make(&mut self, choice: Choice, seconds: f64, terms: &Terms<'_>) -> Trace {
        let mut trace = Trace::default();
        let Some(quiet) = &mut self.quiet else { return trace };
        let attempt = u32::try_from(quiet.tests.len()).unwrap_or(u32::MAX).saturating_add(1);
        let Choice { test, changes, target, likelihoods, .. } = choice;
        let expect = match target {
            Some(Target { twice, .. }) => {
                format!("if the job fails, the loss may get below {twice:.4}; a healthy one's does not")
            }
            None => "if the job is healthy, one example is fitted".to_owned(),
        };
        let made = Made { test: test.name.to_owned(), target, seconds, likelihoods, ..Made::default() };
        quiet.tests.push(made);
        let proposal = Proposal {
            at: Position { state: PROBE.to_owned(), attempt },
            step: test.name.to_owned(),
            changes,
            why: test.why.to_owned(),
            hypothesis: test.hypothesis.to_owned(),
            expect,
            beliefs: Default::default(),
        };
        self.suggest(proposal, terms, &mut trace);
        trace
    }

    /// The seconds that the open probe may take, and those that it may take until its first event.
    pub fn probe_limits(&self) -> Option<(f64, f64)> {
        let made = self.untold()?.tests.last()?;
        (self.waiting == Waiting::Experiment).then_some((made.seconds, made.seconds + STARTS_WITHIN))
    }

    /// The open probe has ended in some way.
    pub(super) fn judge_probe(&mut self, happened: &Happened<'_>, terms: &Terms<'_>) -> Trace {
        let mut trace = Trace::default();
        match happened {
            Happened::Ran(facts) => {
                let before = self.quiet.as_ref().map(Quiet::probability);
                let made = self.quiet.as_mut().and_then(|quiet| quiet.tests.last_mut());
                let Some(made) = made else { return trace };
                let outcome = probe::read(facts, made.target);
                made.outcome = Some(outcome);
                self.keep_result(facts, Some(outcome.as_str()), terms.now, &mut trace);
                let after = self.quiet.as_ref().map(Quiet::probability);
                trace.note(terms.now, "believed", json!({ "failing": { "before": before, "after": after } }));
            }
            Happened::Refused(knobs) => {
                let news = knobs.iter().any(|knob| !self.facts.missing_knobs.contains(knob));
                self.facts.missing_knobs.extend(knobs.iter().cloned());
                self.probe_was_void("the script does not have its knobs", "unavailable", terms.now, &mut trace);
                // Without those knobs it may be another test.
                if let (true, Some(quiet)) = (news, &mut self.quiet) {
                    quiet.tests.pop();
                }
            }
            Happened::NeverStarted => self.probe_was_void("it never started", "unavailable", terms.now, &mut trace),
            Happened::NoTest(why) => self.probe_was_void(why, "void", terms.now, &mut trace),
            Happened::Answered(_) | Happened::Unanswered => return trace,
        }
        self.waiting = Waiting::Probe;
        trace
    }

    /// The open probe has no result: it is stopped if it may still be running, and not repeated.
    pub(super) fn probe_was_void(&mut self, why: &str, outcome: &str, now: f64, trace: &mut Trace) {
        let Some(experiment) = self.experiments.last_mut().filter(|_| self.waiting == Waiting::Experiment) else {
            return;
        };
        experiment.outcome.get_or_insert_with(|| outcome.to_owned());
        let (suggestion, cost) = (experiment.suggestion.clone(), experiment.spent.map(|spent| self.real_cost(spent)));
        let detail = json!({ "suggestion_id": suggestion, "outcome": outcome, "seen": why, "cost": cost });
        trace.note(now, "observed", detail);
        if let Some(made) = self.quiet.as_mut().and_then(|quiet| quiet.tests.last_mut()) {
            made.void = true;
        }
        self.cancel_open(why, now, trace);
        self.waiting = Waiting::Probe;
    }

    /// Stops the open probe: it is not needed any more, or has used up its budget.
    pub fn stop_probe(&mut self, why: &str, now: f64) -> Trace {
        let mut trace = Trace::default();
        if self.is_quiet() {
            self.probe_was_void(why, "stopped", now, &mut trace);
        }
        trace
    }

    /// Ends a case that people were not notified about.
    pub(super) fn settle(&mut self, verdict: &str, now: f64) -> Trace {
        let summary = self.what_was_tested();
        let conclusion = Conclusion {
            state: SETTLED.to_owned(),
            verdict: verdict.to_owned(),
            confidence: self
                .quiet
                .as_ref()
                .filter(|_| verdict == "healthy")
                .map_or(0.0, |quiet| 1.0 - quiet.probability()),
            summary,
            recommended: Default::default(),
        };
        self.end_quietly(conclusion, now)
    }

    /// Ends a case that people were not notified about, with any conclusion.
    pub(super) fn end_quietly(&mut self, conclusion: Conclusion, now: f64) -> Trace {
        let mut trace = self.stop_probe("its case is closed", now);
        let detail = json!({
            "state": conclusion.state, "verdict": conclusion.verdict, "confidence": conclusion.confidence,
            "summary": conclusion.summary,
        });
        trace.note(now, "closed", detail);
        self.waiting = Waiting::Nothing;
        self.paused = None;
        self.closed = Some(conclusion);
        trace
    }

    /// What probes have shown of the job, in words.
    pub fn what_was_tested(&self) -> String {
        let Some(quiet) = &self.quiet else { return String::new() };
        let tested: Vec<String> = quiet
            .shown()
            .map(|made| {
                let outcome = made.outcome.map_or("", Outcome::as_str).replace('_', " ");
                format!("{}: {outcome}", made.test.replace('_', " "))
            })
            .collect();
        let tested = if tested.is_empty() { "no probe had a result".to_owned() } else { tested.join(", ") };
        format!("{tested}; probability of failing {:.0} %", 100.0 * quiet.probability())
    }

    /// Notifies people about the case, because its job fails by all evidence, and starts its policy.
    pub fn go_public(&mut self, opening: Opening, terms: &Terms<'_>) -> Trace {
        let mut trace = self.stop_probe("its job is investigated now", terms.now);
        let quiet = self.quiet.take().map(|quiet| Quiet { untold: false, ..quiet });
        let (id, advice) = (self.id.clone(), opening.advice.clone());
        let new = Case::new(Opening { id, ..opening }, terms);
        let (experiments, missing) =
            (std::mem::take(&mut self.experiments), std::mem::take(&mut self.facts.missing_knobs));
        *self = Case { quiet, experiments, ..new };
        self.facts.missing_knobs = missing;
        self.begin(&advice, terms, &mut trace);
        trace
    }
}

/// The log-odds that a job fails by its own evidence alone, without probes.
pub fn own_log_odds(belief: &Belief, probed: &[Contribution]) -> f64 {
    log_odds(belief.prior) + belief.evidence() - probed.iter().map(|term| term.log_odds).sum::<f64>()
}
