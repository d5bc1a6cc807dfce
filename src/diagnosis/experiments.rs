//! Open experiments: when their runs can be judged, and whether they are evidence.

use std::collections::BTreeSet;

use super::asked::{Asked, other_code};
use super::exam::{End, Exam, exam_with};
use super::linking::Roster;
use super::undecided::Undecided;
use super::{Changes, Diagnosis, Seen, Status};
use crate::case::{Case, CaseId, Experiment, NOT_AS_ASKED, Spent, Void, Waiting};
use crate::facts::{Facts, Knobs, Quantity, measure};
use crate::fate::{Fate, FateState};
use crate::jobs::Job;
use crate::policy::Happened;
use crate::probe::Outcome;

/// The result of a suggestion at a job queue.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Permanently refused: the script does not support these knobs.
    Refused {
        /// The suggestion.
        suggestion: String,
        /// The knobs; empty if the queue did not list any.
        unknown_knobs: BTreeSet<String>,
    },
    /// The queue was unreachable for so long that the suggestion was given up.
    Undeliverable {
        /// The suggestion.
        suggestion: String,
    },
}

/// An experiment with at most this many examples is finished once it fits them.
const FEW_EXAMPLES: u64 = 16;

/// After this many non-finite points, the loss of an experiment will not recover.
const HOPELESS_POINTS: u64 = 3;

/// A run that ended before this fraction of its steps is not a valid test.
const FAR_SHORT: f64 = 0.5;

/// A control that exceeds the step at which its baseline failed by this factor does not fail.
const BEYOND: f64 = 1.25;

/// The run of an open experiment under examination.
struct Trial<'a> {
    case: &'a Case,
    experiment: &'a Experiment,
    job: &'a Job<'a>,
    /// The settings that the job logged.
    logged: Knobs,
    /// How it ended, if reported.
    fate: Option<&'a Fate>,
}

/// Whether an engine lost a job, or forgot it before its first event, as one does whose controller was killed: that says
/// nothing of the job.
fn is_lost(fate: &Fate, events: u64) -> bool {
    fate.state == FateState::Lost || fate.state == FateState::Gone && events == 0
}

/// The result of an experiment.
enum Weighed {
    /// It is no evidence.
    Void(Void),
    /// It showed this.
    Ran(Facts),
}

impl Diagnosis {
    /// Takes a report of a job queue.
    pub fn report(&mut self, report: &Report, now: f64) -> Changes {
        let mut changes = Changes::default();
        let (suggestion, happened) = match report {
            Report::Refused { suggestion, unknown_knobs } => (suggestion, Happened::Refused(unknown_knobs.clone())),
            Report::Undeliverable { suggestion } => (suggestion, Happened::NeverStarted),
        };
        let Some(id) = self.case_waiting_for(suggestion) else { return changes };
        self.judge(&id, happened, now, &mut changes);
        changes
    }

    /// Every open case whose jobs can be seen continues as far as possible.
    pub(super) fn go_on(&mut self, seen: &Seen<'_>, jobs: &[Job<'_>], now: f64, changes: &mut Changes) {
        let waits = self.cases.open().any(|case| case.waiting == Waiting::Experiment);
        let roster = if waits { self.roster(jobs) } else { Roster::default() };
        for id in self.cases.open_ids() {
            let Some(case) = self.cases.get(&id).filter(|case| !self.site.is_unseen(seen, &case.baseline)) else {
                continue;
            };
            match &case.waiting {
                Waiting::Experiment => self.look_at_experiment(&id, &roster, now, changes),
                Waiting::Room(_) | Waiting::Answer { .. } | Waiting::Approval(_) | Waiting::Probe => {
                    self.step(&id, now, changes, |case, terms| case.wait(terms))
                }
                Waiting::Nothing => {}
            }
        }
    }

    fn look_at_experiment(&mut self, id: &CaseId, roster: &Roster<'_>, now: f64, changes: &mut Changes) {
        self.find_job(id, roster, now, changes);
        let Some(experiment) = self.cases.get(id).and_then(Case::open_experiment) else { return };
        let job = experiment.job.as_ref().and_then(|name| roster.job(name));
        let end = experiment.fate.clone().filter(|fate| fate.state.is_final());
        let (suggestion, events) = (experiment.suggestion.clone(), job.map_or(0, Job::events));
        let told = experiment.fate_told.unwrap_or(f64::NEG_INFINITY);
        if let Some(fate) = &end {
            let scanned = self.site.directory_name_of(&self.cases[id].baseline);
            if !self.endings.nothing_new((&scanned, &suggestion), events, told) {
                return;
            }
            if is_lost(fate, events) && self.repeats(id, fate, now, changes) {
                return;
            }
            if events == 0 {
                return self.failed_to_start(id, fate, now, changes);
            }
        }
        let Some(job) = job else {
            self.stop_long_probe(id, None, now, changes);
            return self.wait_for_start(id, now, changes);
        };
        let Some(case) = self.cases.get(id) else { return };
        let baseline = roster.job(&case.baseline);
        let Some(experiment) = case.open_experiment() else { return };
        let known = self.memory.get(&job.name).and_then(|memory| memory.undecided.as_deref());
        if end.is_none() && known.is_some_and(|undecided| undecided.still(case, experiment, job, now)) {
            return self.stop_long_probe(id, Some(job), now, changes);
        }
        let trial = Trial { case, experiment, job, logged: self.site.logged_knobs(job), fate: end.as_ref() };
        let ((spent, fails), weighed) = match self.weigh(&trial, baseline, now) {
            Ok(weighed) => weighed,
            Err(again) => {
                let undecided = Undecided::new(case, experiment, job, again);
                if let Some(memory) = self.memory.get_mut(&job.name) {
                    memory.undecided = Some(Box::new(undecided));
                }
                return self.stop_long_probe(id, Some(job), now, changes);
            }
        };
        if self.is_disputed(id, roster, now, changes) {
            return;
        }
        if let Some(case) = self.cases.get_mut(id) {
            case.measured(spent, fails);
        }
        self.endings.forget(&suggestion);
        match weighed {
            Weighed::Void(void) => self.step(id, now, changes, |case, terms| case.void(&void, terms)),
            Weighed::Ran(facts) => self.judge(id, Happened::Ran(&facts), now, changes),
        }
    }

    /// A run whose files have disappeared is treated like one that has not started. Time in a queue or on hold does not
    /// count.
    fn wait_for_start(&mut self, id: &CaseId, now: f64, changes: &mut Changes) {
        let Some(case) = self.cases.get(id).filter(|case| case.paused.is_none()) else { return };
        let Some(experiment) = case.open_experiment() else { return };
        let in_queue =
            experiment.fate.as_ref().is_some_and(|fate| matches!(fate.state, FateState::Queued | FateState::Held));
        if !in_queue && experiment.waited(now) > self.site.start_within {
            self.judge(id, Happened::NeverStarted, now, changes);
        }
    }

    /// A job that its engine lost is requested once more.
    fn repeats(&mut self, id: &CaseId, fate: &Fate, now: f64, changes: &mut Changes) -> bool {
        let again = self.cases.get(id).and_then(Case::open_experiment).is_some_and(|e| e.again);
        if !again {
            self.step(id, now, changes, |case, terms| case.ask_again(&fate.in_words(), terms));
        }
        !again
    }

    /// A job that ended before its first event has no result.
    fn failed_to_start(&mut self, id: &CaseId, fate: &Fate, now: f64, changes: &mut Changes) {
        let why = format!("it ended before its first event: {}", fate.in_words());
        let void = Void { outcome: fate.state.word().to_owned(), why, fate: Some(fate.clone()) };
        self.step(id, now, changes, |case, terms| case.void(&void, terms));
    }

    /// The result of an experiment, once it is certain: it differs from the request, it ended, it fits its few points,
    /// or its loss cannot recover. The result of a run over the whole set is known only at its end. Otherwise, the time
    /// at which silence alone may give one, in seconds since the Unix epoch.
    fn weigh(&self, trial: &Trial<'_>, baseline: Option<&Job<'_>>, now: f64) -> Result<((Spent, bool), Weighed), f64> {
        let Trial { case, experiment, job, logged, fate } = trial;
        let memory = self.memory.get(&job.name).ok_or(now)?;
        let changes = &experiment.proposal.changes;
        let mut knobs = case.knobs_with(changes);
        knobs.extend(logged.clone());
        let look = |end: End| exam_with(job, &self.site, (memory, end), knobs.clone(), now);
        let mut exam = look(End::of(*fate));
        // What a probe has shown when its time is up is its result.
        let (begun, ended) = (job.first_wall_time().unwrap_or(now), job.last_wall_time().unwrap_or(now));
        let most = case.probe_limits().map_or(f64::INFINITY, |(most, _)| most);
        let time_is_up = now > begun + most && exam.facts.started && !exam.facts.ended;
        let again = exam.ends_at(now).min(begun + most);
        let steps = exam.facts.steps();
        let reached = case.shown_at.is_some_and(|step| steps >= step);
        let goes_on = experiment.control && reached && !exam.facts.ended;
        if goes_on || time_is_up {
            exam = look(End::Over);
        }
        let seconds = if time_is_up { most } else { ended - begun };
        let over = exam.view.life.finished || fate.is_some();
        let fails = exam.status().0 == Status::Failing;
        let spent = (Spent { seconds, steps: Some(steps).filter(|steps| steps.is_finite()), over }, fails);
        if let Some(why) = trial.unlike(exam.facts.number(Quantity::PeakRate)) {
            return Ok((spent, Weighed::Void(Void { outcome: NOT_AS_ASKED.to_owned(), why, fate: None })));
        }
        let points = exam.view.loss().map_or(0, |loss| loss.sketch.count());
        let beyond_help = !exam.facts.finite && points >= HOPELESS_POINTS;
        let examples = changes.get("train_examples").and_then(serde_json::Value::as_u64);
        let fits_few = exam.facts.fits && examples.is_some_and(|n| n <= FEW_EXAMPLES);
        if !(exam.facts.ended || fits_few || beyond_help) {
            return Err(again);
        }
        if goes_on && !fails && !case.shown_at.is_some_and(|step| steps >= BEYOND * step) {
            // The longer it is silent, the more that speaks for a failure.
            return Err(now);
        }
        let compared = baseline.map(|job| self.exam_of_baseline(case, job, now));
        let facts = measure(exam.looked(), compared.as_ref().map(Exam::looked));
        // Out of time, it shows a gain, but no lack of one where its steps were to be fewer.
        let cut_off = time_is_up && changes.contains_key("max_steps");
        if cut_off && case.read_probe(&facts) == Some(Outcome::NoBetter) {
            return Err(now);
        }
        let short = if goes_on || time_is_up { None } else { self.cut_short(trial, &exam, &facts, compared.as_ref()) };
        Ok((spent, short.map_or(Weighed::Ran(facts), Weighed::Void)))
    }

    /// Why a run that stopped far before its planned steps is not a valid test. If it is not finite, or fits, its
    /// result is known; a crash is judged by the policy.
    fn cut_short(&self, trial: &Trial<'_>, exam: &Exam, facts: &Facts, baseline: Option<&Exam>) -> Option<Void> {
        let Trial { case, experiment, logged, fate, .. } = trial;
        if !facts.ended || !facts.finite || facts.fits {
            return None;
        }
        let changes = &experiment.proposal.changes;
        let length = ["max_steps", "batch_size", "train_examples"];
        // Epochs that were planned before the length was changed say nothing of the new one.
        if exam.view.knobs.contains_key("epochs")
            && !logged.contains_key("epochs")
            && length.iter().any(|knob| changes.contains_key(*knob))
        {
            return None;
        }
        let done = exam.view.life.done?;
        // A program that stops on its own, as with early stopping, did the same in the baseline.
        let usual =
            baseline.filter(|exam| exam.facts.ended).and_then(|exam| exam.view.life.done).unwrap_or(1.0).min(1.0);
        if done >= FAR_SHORT * usual {
            return None;
        }
        let broke = fate.filter(|fate| fate.state != FateState::Ended);
        let by_itself = exam.view.life.finished || fate.is_some_and(|fate| fate.state == FateState::Ended);
        if !by_itself && facts.crashed && self.judges_crashes(case) && broke.is_none_or(|f| f.state.is_breakdown()) {
            return None;
        }
        let stopped = format!("it stopped at {:.0} % of the requested steps", 100.0 * done);
        let (outcome, why) = match broke {
            Some(fate) => (fate.state.word(), format!("{stopped}: {}", fate.in_words())),
            None => (NOT_AS_ASKED, stopped),
        };
        Some(Void { outcome: outcome.to_owned(), why, fate: (*fate).cloned() })
    }

    fn judges_crashes(&self, case: &Case) -> bool {
        let policy = self.policy_of(case);
        policy.and_then(|policy| policy.test(&case.position.state).map(|test| test.judges("experiment.crashed")))
            == Some(true)
    }

    fn exam_of_baseline(&self, case: &Case, job: &Job<'_>, now: f64) -> Exam {
        let memory = self.memory.get(&job.name).cloned().unwrap_or_else(|| super::Memory::first_seen(true));
        exam_with(job, &self.site, (&memory, memory.end()), case.baseline_facts.knobs.clone(), now)
    }

    pub(super) fn judge(&mut self, id: &CaseId, happened: Happened<'_>, now: f64, changes: &mut Changes) {
        self.step(id, now, changes, |case, terms| case.judge(happened, terms));
    }

    /// The case that waits for the run of a suggestion, or for a person to let it run.
    pub(super) fn case_waiting_for(&self, suggestion: &str) -> Option<CaseId> {
        let open = |case: &&Case| {
            let experiment = case.open_experiment().map(|experiment| experiment.suggestion.as_str());
            experiment.or(case.unapproved()) == Some(suggestion)
        };
        self.cases.open().find(open).map(|case| case.id.clone())
    }
}

impl Trial<'_> {
    /// How a run differs from the request, according to its own logs.
    fn unlike(&self, peak_rate: f64) -> Option<String> {
        let asked = Asked { settings: &self.case.settings, changes: &self.experiment.proposal.changes };
        let rate = Some(peak_rate).filter(|rate| rate.is_finite());
        let code = || other_code(self.case.launched.as_ref()?, self.job.launched()?);
        asked.difference(&self.logged, rate).or_else(code)
    }
}
