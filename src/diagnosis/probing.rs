//! Tests of quiet probes: a suspicious job is settled without notifying anyone.

use std::collections::BTreeMap;

use serde_json::json;

use super::tests::site;
use super::trials::TWO_STEPS;
use super::*;
use crate::belief::{Weights, log_odds};
use crate::case::{Body, JournalEntry, Message, MessageKind};
use crate::fate::{Fate, FateState};
use crate::jobs::{QuietLimit, group};
use crate::series::{Point, RunData};

/// What a loss does after its first steps.
#[derive(Clone, Copy, PartialEq)]
enum Loss {
    Stands,
    Falls,
    /// It falls as when one example is fitted.
    Fits,
}

/// A run that logs one point per second from `begin` on and plans `planned` steps.
fn logged(begin: f64, points: i64, loss: Loss, settings: &[(&str, f64)]) -> RunData {
    let mut run = RunData::default();
    let tag = run.tag_id("train/loss").unwrap();
    for step in 0..points {
        let noise = 0.01 * f64::from((step * 7919 % 13) as i32);
        let value = match loss {
            Loss::Stands => 2.3 + noise,
            Loss::Falls => 2.3 * (-step as f64 / 20.0).exp() + 0.01 + noise,
            Loss::Fits => 2.3 * (-step as f64 / 5.0).exp(),
        };
        let wall_time = begin + step as f64;
        run.scalar(tag, Point { step, wall_time, value });
        run.event(wall_time);
    }
    for (knob, value) in settings {
        run.hyperparameter_beside(knob, (*value).into());
    }
    run
}

/// A job with a constant loss, at a site whose prior makes it this suspicious after [`SO_FAR`] points: 0 is the threshold of
/// doubt, 1 that of an alarm.
struct Bench {
    diagnosis: Diagnosis,
    runs: Runs,
    now: f64,
    messages: Vec<Message>,
    journal: Vec<JournalEntry>,
}

const BEGIN: f64 = 1000.0;

/// The planned steps of the job, and the number after which it is mature enough for a probe.
const PLANNED: i64 = 460;
const SO_FAR: i64 = 280;

impl Bench {
    fn new(suspicion: f64, change: impl FnOnce(&mut Site)) -> Bench {
        let mut site = site(TWO_STEPS);
        let is_for: Arc<dyn Fn(&str) -> bool + Send + Sync> = Arc::new(|job| job == "sick");
        site.probes = Some(Probes { is_for, share: 0.5, audit: 0.0 });
        site.directories[0].patience = QuietLimit::Fixed(1e6);
        let mut bench = Bench {
            diagnosis: Diagnosis::new(site.clone(), []),
            runs: Runs::new(),
            now: 0.0,
            messages: Vec::new(),
            journal: Vec::new(),
        };
        bench.goes_on(SO_FAR);
        let jobs = group(&bench.runs, &BTreeSet::new());
        let mut memory = Memory::first_seen(false);
        memory.saw(&jobs[0], jobs[0].events(), bench.now);
        let evidence = exam(&jobs[0], &site, &memory, bench.now).belief.evidence();
        let weights = Weights::shipped();
        let wanted = weights.doubt + suspicion * (weights.alarm - weights.doubt);
        site.prior = crate::belief::probability(log_odds(wanted) - evidence);
        change(&mut site);
        bench.diagnosis = Diagnosis::new(site, []);
        bench
    }

    /// The job logs up to this number of points.
    fn goes_on(&mut self, points: i64) {
        let settings = [("learning_rate", 1.0), ("batch_size", 32.0), ("max_steps", PLANNED as f64)];
        self.runs.insert(RunName::new("sick"), logged(BEGIN, points, Loss::Stands, &settings));
        self.now = self.now.max(BEGIN + points as f64);
    }

    fn look(&mut self) -> Changes {
        self.now += 1.0;
        self.diagnosis.looked(None, self.now);
        let changes = self.diagnosis.tick(&self.runs, self.now);
        self.take(&changes);
        changes
    }

    fn take(&mut self, changes: &Changes) {
        self.messages.extend(changes.messages.clone());
        self.journal.extend(changes.journal.iter().map(|(_, entry)| entry.clone()));
    }

    fn case(&self) -> &Case {
        self.diagnosis.cases().next().expect("there is a case")
    }

    fn probe(&self) -> &crate::case::RunSuggested {
        let suggested = self.messages.iter().rev().find_map(|message| match &message.body {
            Body::RunSuggested(run) if run.probe => Some(&**run),
            _ => None,
        });
        suggested.expect("a probe is suggested")
    }

    /// The run of the open probe logs this number of points from `begin` on.
    fn probe_runs(&mut self, begin: f64, points: i64, loss: Loss) {
        let probe = self.probe();
        let settings: BTreeMap<String, f64> = probe
            .settings
            .iter()
            .chain(&probe.overrides)
            .filter_map(|(knob, value)| Some((knob.clone(), value.as_f64()?)))
            .collect();
        let settings: Vec<(&str, f64)> = settings.iter().map(|(knob, value)| (knob.as_str(), *value)).collect();
        let run = logged(begin, points, loss, &settings);
        self.runs.insert(RunName::new(&probe.run_name.clone()), run);
        self.now = self.now.max(begin + points as f64);
    }

    /// The open probe runs to its end.
    fn probe_ends(&mut self, loss: Loss) {
        let steps = self.probe().overrides["max_steps"].as_i64().unwrap();
        self.probe_runs(self.now, steps, loss);
    }

    /// The open probe runs to its end with the result of a healthy job.
    fn probe_finds_nothing(&mut self) {
        self.probe_ends(if self.probe().step == "fit_one_example" { Loss::Fits } else { Loss::Stands });
    }

    fn kinds(&self) -> Vec<MessageKind> {
        self.messages.iter().map(Message::kind).collect()
    }

    fn entries(&self, kind: &str) -> Vec<&serde_json::Value> {
        self.journal.iter().filter(|entry| entry.kind == kind).map(|entry| &entry.detail).collect()
    }
}

#[test]
fn a_suspicious_job_is_probed_and_nobody_else_hears_of_it() {
    let mut bench = Bench::new(0.5, |_| {});
    bench.look();
    assert_eq!(bench.kinds(), [MessageKind::RunSuggested]);
    let probe = bench.probe().clone();
    assert_eq!((probe.state.as_str(), &probe.about.case_id, &probe.about.policy), ("probe", &None, &None));
    assert!(!probe.hypothesis.is_empty() && !probe.expect.is_empty(), "success is fixed beforehand: {probe:?}");
    let steps = probe.overrides["max_steps"].as_f64().unwrap();
    assert!((100.0..=120.0).contains(&steps), "four fifths of half of the job's steps: {steps}");
    assert_eq!(probe.cost.unwrap().seconds.unwrap().round(), steps, "a second for each step");
    let case = bench.case();
    assert!(case.is_quiet() && case.experiments[0].probe);
    assert_eq!(bench.entries("probed")[0]["share"], 0.5);
    assert!(bench.look().is_empty(), "it waits for the run");
}

#[test]
fn nothing_is_probed_where_nobody_asked_for_it_or_nobody_would_run_it() {
    let quiet = |change: fn(&mut Site)| {
        let mut bench = Bench::new(0.5, change);
        bench.look();
        bench.messages.is_empty() && bench.diagnosis.cases().count() == 0
    };
    assert!(!quiet(|_| {}));
    assert!(quiet(|site| site.probes = None));
    assert!(quiet(|site| site.by_hand = true));
    assert!(quiet(|site| site.probes.as_mut().unwrap().is_for = Arc::new(|job| job != "sick")));
    assert!(quiet(|site| site.probes.as_mut().unwrap().share = 0.001), "so short a run shows nothing");
    assert!(quiet(|site| site.at_once = 0));
    let budget = crate::case::Budget { experiments: Some(0), ..Default::default() };
    let none = SiteBudget { of: "the day".into(), per: Per::Day, is_for: Arc::new(|_| true), budget };
    assert!({
        let mut bench = Bench::new(0.5, |site| site.budgets = vec![none]);
        bench.look();
        bench.messages.is_empty()
    });
    let mut unsuspicious = Bench::new(-0.7, |_| {});
    unsuspicious.look();
    assert!(unsuspicious.messages.is_empty());
}

#[test]
fn a_probe_that_speaks_for_a_failure_has_a_case_opened_which_knows_of_it() {
    let mut bench = Bench::new(0.6, |_| {});
    bench.look();
    bench.probe_ends(Loss::Falls);
    bench.look();
    bench.look();
    assert_eq!(
        bench.kinds(),
        [MessageKind::RunSuggested, MessageKind::CaseOpened, MessageKind::RunSuggested],
        "{:?}",
        bench.journal
    );
    let case = bench.case();
    assert!(!case.is_quiet() && case.closed.is_none());
    assert_eq!(case.experiments[0].outcome.as_deref(), Some("reached"));
    assert_eq!(case.facts.experiments, 1, "a probe is no experiment of the policy");
    let Body::CaseOpened(opened) = &bench.messages[1].body else { panic!("a case is opened") };
    assert_eq!(opened.about.case_id.as_ref(), Some(&case.id));
    assert!(opened.about.probability.unwrap() >= Weights::shipped().alarm);
    let test = &case.quiet.as_ref().unwrap().tests[0].test;
    assert!(case.belief.as_ref().unwrap().speaks_for.iter().any(|reason| reason.quantity == *test));
    let believed = &bench.entries("believed")[0]["failing"];
    assert!(believed["after"].as_f64() > believed["before"].as_f64(), "{believed}");
}

#[test]
fn a_job_whose_probes_find_nothing_is_left_alone_and_people_never_hear_of_it() {
    let mut bench = Bench::new(0.2, |site| site.probes.as_mut().unwrap().share = 1.0);
    bench.look();
    let before = bench.case().quiet.as_ref().unwrap().probability();
    bench.probe_finds_nothing();
    bench.look();
    bench.look();
    assert!(bench.case().closed.is_none(), "it runs on");
    bench.goes_on(PLANNED + 1);
    for _ in 0..6 {
        if bench.case().open_experiment().is_some() {
            bench.probe_finds_nothing();
        }
        bench.look();
    }
    assert!(bench.kinds().iter().all(|kind| *kind == MessageKind::RunSuggested));
    let end = bench.case().closed.clone().unwrap_or_else(|| panic!("it has ended: {:#?}", bench.journal));
    assert_eq!(end.verdict, "healthy");
    assert!(end.summary.contains(": ") && end.summary.contains("probability of failing"), "{}", end.summary);
    let jobs = group(&bench.runs, &BTreeSet::new());
    let job = jobs.iter().find(|job| job.name == "sick").unwrap();
    let seen = exam(job, bench.diagnosis.site(), &bench.diagnosis.memory["sick"], bench.now);
    assert!(seen.belief.probability < before, "what was tested counts: {:?}", seen.belief);
    assert!(seen.belief.probability < Weights::shipped().suspect, "{:?}", seen.belief);
    assert!(bench.look().is_empty(), "it is left alone");
}

#[test]
fn a_job_is_probed_again_as_its_budget_grows_and_no_more_than_that_allows() {
    let mut bench = Bench::new(0.6, |_| {});
    bench.look();
    let first = bench.probe().step.clone();
    // Neither a level is reached nor a point fitted, so the job stays suspicious.
    bench.probe_ends(Loss::Stands);
    bench.look();
    bench.look();
    assert!(bench.case().open_experiment().is_none(), "the budget is used up, but for a fifth");
    // The site expects more failures by now.
    let prior = bench.diagnosis.site.prior;
    bench.diagnosis.site.prior = crate::belief::probability(log_odds(prior) + 0.35);
    bench.goes_on(PLANNED - 1);
    for _ in 0..6 {
        bench.look();
        if bench.case().open_experiment().is_some() {
            bench.probe_finds_nothing();
        }
    }
    let probes = &bench.case().experiments;
    assert!(probes.len() > 1, "{:#?}", bench.journal);
    assert_ne!(probes[1].proposal.step, first, "each test is made once");
    let (spent, used) = (bench.case().spent_on_probes(), PLANNED as f64);
    assert!(spent <= 0.5 * used, "{spent} s of {used} s");
    assert!(bench.kinds().iter().all(|kind| *kind == MessageKind::RunSuggested));
}

#[test]
fn a_probe_that_takes_longer_than_its_budget_is_stopped_and_judged_by_what_it_has_shown() {
    for (points, loss, outcome, why) in [
        (20, Loss::Falls, "reached", "its result is known"),
        (20, Loss::Stands, "stopped", "used up its budget"),
        (0, Loss::Falls, "stopped", "used up its budget"),
    ] {
        let mut bench = Bench::new(0.5, |_| {});
        bench.look();
        let id = bench.case().experiments[0].suggestion.clone();
        bench.diagnosis.handed_to(&id, &["queue".to_owned()], &mut Changes::default());
        let begin = bench.now;
        bench.probe_runs(begin, points, loss);
        let run = bench.runs.get_mut(&RunName::new(&bench.case().experiments[0].run_name.clone())).unwrap();
        run.event(begin);
        bench.look();
        assert!(bench.case().open_experiment().is_some());
        bench.now = begin + 160.0;
        bench.look();
        assert_eq!(bench.case().experiments[0].outcome.as_deref(), Some(outcome));
        let cancelled = bench.messages.iter().find_map(|message| match &message.body {
            Body::RunCancelled(cancelled) => Some(cancelled),
            _ => None,
        });
        let cancelled = cancelled.expect("it is cancelled");
        assert!(cancelled.probe && cancelled.about.case_id.is_none());
        assert!(cancelled.why.contains(why), "{}", cancelled.why);
        let spent = bench.case().spent_on_probes();
        assert!((135.0..=145.0).contains(&spent), "what it took is used up: {spent}");
        assert_eq!(bench.case().quiet.as_ref().unwrap().terms().len(), usize::from(outcome == "reached"));
    }
}

#[test]
fn a_probe_whose_script_has_no_steps_is_limited_by_time() {
    let mut bench = Bench::new(0.5, |_| {});
    bench.look();
    let unknown_knobs = BTreeSet::from(["max_steps".to_owned()]);
    let report = Report::Refused { suggestion: bench.case().experiments[0].suggestion.clone(), unknown_knobs };
    let refused = bench.diagnosis.report(&report, bench.now);
    bench.take(&refused);
    bench.look();
    let probe = bench.probe().clone();
    assert!(!probe.overrides.is_empty() && !probe.overrides.contains_key("max_steps"), "{:?}", probe.overrides);
    let cost = probe.cost.unwrap().seconds.unwrap();
    assert!((108.0..=116.0).contains(&cost), "four fifths of its budget: {cost}");
    bench.probe_runs(bench.now, 120, Loss::Stands);
    bench.look();
    let case = bench.case();
    assert_eq!(
        case.experiments.iter().find_map(|e| e.outcome.as_deref().filter(|o| *o != "unavailable")),
        Some("no_better")
    );
}

#[test]
fn a_probe_that_hangs_before_its_first_event_is_stopped() {
    let mut bench = Bench::new(0.5, |_| {});
    bench.look();
    let id = bench.case().experiments[0].suggestion.clone();
    let changes = bench.diagnosis.fate_of_experiment(&id, &Fate::new(FateState::Running), bench.now);
    bench.take(&changes);
    bench.now += 700.0;
    bench.look();
    assert!(bench.case().open_experiment().is_some(), "it may load its data for ten minutes");
    bench.now += 100.0;
    bench.look();
    assert_eq!(bench.case().experiments[0].outcome.as_deref(), Some("stopped"));
}

#[test]
fn a_probe_is_stopped_once_its_job_is_investigated() {
    let mut bench = Bench::new(0.5, |_| {});
    bench.look();
    let id = bench.case().experiments[0].suggestion.clone();
    bench.diagnosis.handed_to(&id, &["queue".to_owned()], &mut Changes::default());
    let run = bench.runs.get_mut(&RunName::new("sick")).unwrap();
    let tag = run.tag_id("train/loss").unwrap();
    for step in 300..400 {
        run.scalar(tag, Point { step, wall_time: BEGIN + step as f64, value: f64::NAN });
        run.event(BEGIN + step as f64);
    }
    bench.now = BEGIN + 400.0;
    bench.look();
    let kinds = bench.kinds();
    assert_eq!(
        kinds[..3],
        [MessageKind::RunSuggested, MessageKind::RunCancelled, MessageKind::CaseOpened],
        "{kinds:?}"
    );
    assert_eq!(bench.case().experiments[0].outcome.as_deref(), Some("stopped"));
}

#[test]
fn a_script_without_the_knob_of_a_probe_is_probed_otherwise() {
    let mut bench = Bench::new(0.5, |_| {});
    bench.look();
    let (suggestion, changes) = (bench.probe().suggestion_id.clone(), bench.probe().overrides.clone());
    let knob = changes.keys().find(|knob| *knob != "max_steps").unwrap().clone();
    let report = Report::Refused { suggestion, unknown_knobs: BTreeSet::from([knob.clone()]) };
    let refused = bench.diagnosis.report(&report, bench.now);
    bench.take(&refused);
    bench.look();
    assert_eq!(bench.case().experiments.len(), 2);
    assert!(!bench.probe().overrides.contains_key(&knob), "{:?}", bench.probe().overrides);
    assert_eq!(bench.case().spent_on_probes(), 0.0);
}

#[test]
fn a_process_that_starts_anew_goes_on_with_the_probe() {
    let mut bench = Bench::new(0.6, |_| {});
    bench.look();
    let kept = serde_json::to_value(bench.case()).unwrap();
    let case = Case::read(kept.clone()).unwrap();
    assert_eq!(serde_json::to_value(&case).unwrap(), kept);
    bench.diagnosis = Diagnosis::new(bench.diagnosis.site().clone(), [case]);
    assert!(bench.look().messages.is_empty(), "nothing is suggested twice");
    bench.probe_ends(Loss::Falls);
    bench.look();
    bench.look();
    assert!(bench.kinds().contains(&MessageKind::CaseOpened));
}

#[test]
fn probes_leave_their_room_to_what_people_were_told_of() {
    let mut bench = Bench::new(0.5, |site| site.at_once = 1);
    bench.look();
    assert!(bench.case().open_experiment().is_some());
    let mut other = logged(BEGIN, 300, Loss::Stands, &[("learning_rate", 1.0), ("max_steps", PLANNED as f64)]);
    let tag = other.tag_id("train/loss").unwrap();
    other.scalar(tag, Point { step: 300, wall_time: BEGIN + 300.0, value: f64::NAN });
    other.event(BEGIN + 300.0);
    bench.runs.insert(RunName::new("other"), other);
    bench.look();
    let told = bench.diagnosis.cases().find(|case| case.baseline == "other").expect("a case is opened");
    assert!(told.open_experiment().is_some(), "a probe takes nobody's room");
}

#[test]
fn some_unsuspicious_jobs_are_probed_to_learn_what_suspicion_misses() {
    for (audit, probed) in [(1.0, true), (0.0, false)] {
        let mut bench = Bench::new(0.5, |site| site.probes.as_mut().unwrap().audit = audit);
        let settings = [("learning_rate", 0.1), ("batch_size", 32.0), ("max_steps", PLANNED as f64)];
        bench.runs.insert(RunName::new("sick"), logged(BEGIN, PLANNED + 1, Loss::Falls, &settings));
        bench.now = BEGIN + PLANNED as f64 + 1.0;
        bench.look();
        assert_eq!(!bench.messages.is_empty(), probed);
        if probed {
            assert!(bench.case().quiet.as_ref().unwrap().audit);
            bench.probe_ends(Loss::Stands);
            bench.look();
            bench.look();
            assert_eq!(bench.case().closed.as_ref().unwrap().verdict, "healthy");
            assert_eq!(bench.entries("probed")[0]["audit"], json!(true));
        }
    }
}
