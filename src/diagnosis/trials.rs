//! Experiments that are evidence, and those that are not.

use serde_json::json;

use super::tests::{POLICY, site, stuck};
use super::*;
use crate::case::{Body, Budget, Control, Message, MessageKind, Person, Reply};
use crate::fate::{Fate, FateState};
use crate::jobs::QuietLimit;
use crate::launched::Flag;
use crate::series::{Point, RunData};

/// Two steps, so that a case can go on after the first.
pub(super) const TWO_STEPS: &str = r#"
policy: short
summary: a tenth of the learning rate, then a hundredth
judge: { cured: experiment.cured }
tests:
  lower:
    step: "1 lower the learning rate"
    why: it may be too high
    hypothesis: the learning rate is too high
    expect: the loss falls
    change: { learning_rate: 0.1, max_steps: 200 }
    cause: { verdict: learning_rate_too_high, summary: cured }
  lower_still:
    step: "2 lower it further"
    why: it may be far too high
    hypothesis: the learning rate is far too high
    expect: the loss falls
    change: { learning_rate: 0.01, max_steps: 200 }
    cause: { verdict: learning_rate_too_high, summary: cured }
conclusions:
  unknown: { verdict: inconclusive, summary: nothing was found }
states:
  all: { try: [lower, lower_still], empty: unknown }
"#;

/// A diagnosis with one open case, and what there is to read.
pub(super) struct Bench {
    pub(super) diagnosis: Diagnosis,
    pub(super) runs: Runs,
    pub(super) now: f64,
    pub(super) messages: Vec<Message>,
}

impl Bench {
    pub(super) fn new(site: Site) -> Bench {
        let mut runs = stuck(300);
        let run = runs.get_mut(&RunName::new("sick")).unwrap();
        for (knob, value) in [("learning_rate", 1.0), ("batch_size", 32.0), ("max_steps", 300.0)] {
            run.hyperparameter_beside(knob, value.into());
        }
        Bench { diagnosis: Diagnosis::new(site, []), runs, now: 1300.0, messages: Vec::new() }
    }

    pub(super) fn plain() -> Bench {
        let mut bench = Bench::new(site(TWO_STEPS));
        bench.look();
        bench
    }

    /// One look at everything.
    pub(super) fn look(&mut self) -> Changes {
        self.now += 1.0;
        self.diagnosis.looked(None, self.now);
        let changes = self.diagnosis.tick(&self.runs, self.now);
        self.messages.extend(changes.messages.clone());
        changes
    }

    pub(super) fn case(&self) -> &Case {
        self.diagnosis.cases().next().expect("a case is open")
    }

    /// The suggestion of the open experiment, and its run.
    pub(super) fn open(&self) -> (String, String) {
        let experiment = self.case().open_experiment().expect("an experiment is open");
        (experiment.suggestion.clone(), experiment.run_name.clone())
    }

    pub(super) fn told(&mut self, fate: &Fate) {
        let suggestion = self.open().0;
        let changes = self.diagnosis.fate_of_experiment(&suggestion, fate, self.now);
        self.messages.extend(changes.messages);
    }

    /// The run of the open experiment logs `points`, with these settings; it falls where it is `cured`.
    pub(super) fn run(&mut self, points: i64, cured: bool, settings: &[(&str, f64)]) {
        let mut run = RunData::default();
        let tag = run.tag_id("train/loss").unwrap();
        for step in 0..points {
            let level = if cured { 2.3 * (-step as f64 / 40.0).exp() + 0.01 } else { 2.3 };
            let value = level + 0.01 * f64::from((step * 7919 % 13) as i32);
            run.scalar(tag, Point { step, wall_time: self.now + 0.001 * step as f64, value });
            run.event(self.now + 0.001 * step as f64);
        }
        for (knob, value) in settings {
            run.hyperparameter_beside(knob, (*value).into());
        }
        self.runs.insert(RunName::new(&self.open().1), run);
    }

    pub(super) fn kinds(&self, kind: MessageKind) -> usize {
        self.messages.iter().filter(|message| message.kind() == kind).count()
    }

    pub(super) fn outcomes(&self) -> Vec<Option<&str>> {
        self.case().experiments.iter().map(|experiment| experiment.outcome.as_deref()).collect()
    }
}

/// An answer of somebody.
pub(super) fn answered(answer: &str, at: f64) -> Reply {
    let by = Person { provider: "slack".into(), user: "U1".into(), name: Some("ada".into()) };
    Reply { answer: answer.into(), by, at, why: String::new() }
}

fn failed(code: i32) -> Fate {
    Fate {
        exit_code: Some(code),
        tail: Some("run --api-key=abc123\nerror: no such option".into()),
        ..Fate::new(FateState::Failed)
    }
}

#[test]
fn a_run_that_is_not_what_was_asked_for_is_no_evidence_and_uses_up_no_experiment() {
    let mut bench = Bench::plain();
    bench.run(200, true, &[("learning_rate", 1.0), ("max_steps", 200.0)]);
    let changes = bench.look();
    let observed = changes.journal.iter().find(|(_, entry)| entry.kind == "observed").unwrap();
    assert_eq!(observed.1.detail["outcome"], "not_as_asked");
    assert_eq!(observed.1.detail["seen"], "learning_rate is 1, but 0.1 was requested");
    assert_eq!(bench.kinds(MessageKind::Notice), 1);
    assert_eq!(bench.outcomes(), [Some("not_as_asked"), None], "the policy goes on without it");
    assert_eq!(bench.case().facts.experiments, 1, "only the one that is open counts");

    // The second in a row stops the case, which then asks for the same again.
    bench.run(200, true, &[("learning_rate", 1.0), ("max_steps", 200.0)]);
    bench.look();
    assert!(bench.case().paused.is_some() && bench.case().open_experiment().is_none());
    assert_eq!(bench.kinds(MessageKind::Notice), 2);
    bench.look();
    assert_eq!((bench.kinds(MessageKind::Notice), bench.outcomes().len()), (2, 2), "it is told once, and waits");
    let id = bench.case().id.clone();
    assert_eq!(bench.diagnosis.resume(&id, bench.now).journal.len(), 1);
    bench.look();
    bench.run(200, true, &[("learning_rate", 0.01), ("max_steps", 200.0)]);
    bench.look();
    let case = bench.case();
    assert_eq!(case.closed.as_ref().map(|end| end.verdict.as_str()), Some("learning_rate_too_high"));
    assert_eq!(case.experiments[1].proposal, case.experiments[2].proposal);
    assert_eq!(case.facts.experiments, 1);
    assert!(case.not_tried[0].why.contains("0.1 was requested"), "{:?}", case.not_tried);
}

#[test]
fn a_run_that_stopped_far_short_of_its_steps_is_no_test() {
    let stopped = |points: i64, fate: Option<FateState>, cured: bool| {
        let mut bench = Bench::plain();
        bench.run(points, cured, &[("learning_rate", 0.1)]);
        bench.look();
        match fate {
            Some(state) => bench.told(&Fate::new(state)),
            None => bench.now += 1000.0,
        }
        bench.look();
        bench.outcomes()[0].map(str::to_owned)
    };
    assert_eq!(stopped(20, Some(FateState::Ended), false).as_deref(), Some("not_as_asked"));
    assert_eq!(stopped(20, None, false).as_deref(), Some("not_as_asked"));
    assert_eq!(stopped(20, Some(FateState::OutOfTime), false).as_deref(), Some("out_of_time"));
    assert_eq!(stopped(20, Some(FateState::Cancelled), false).as_deref(), Some("cancelled"));
    assert_eq!(stopped(190, Some(FateState::Ended), false).as_deref(), Some("no_cure"));
    assert_eq!(stopped(190, Some(FateState::Failed), true).as_deref(), Some("found"), "it had done its steps");
}

#[test]
fn a_job_that_fails_before_its_first_event_is_an_outcome_within_one_look_and_twice_alike_stops_the_case() {
    let mut bench = Bench::plain();
    bench.told(&failed(2));
    assert_eq!(bench.outcomes(), [None], "one more look");
    bench.look();
    assert_eq!(bench.outcomes(), [Some("failed"), None]);
    let Body::Notice(notice) = &bench.messages.last_chunk::<2>().unwrap()[0].body else {
        panic!("{:?}", bench.messages)
    };
    assert!(notice.why.contains("exit code 2"), "{}", notice.why);
    assert_eq!(
        notice.fate.as_ref().and_then(|fate| fate.tail.as_deref()),
        Some("run --api-key=***\nerror: no such option")
    );
    bench.told(&failed(2));
    bench.look();
    assert!(bench.case().paused.is_some(), "twice the same");
    assert_eq!(bench.case().facts.experiments, 1);

    let mut bench = Bench::plain();
    bench.told(&failed(2));
    bench.look();
    bench.told(&failed(1));
    bench.look();
    let closed = bench.case().closed.as_ref().expect("two failures of two kinds use up both steps");
    assert_eq!((closed.verdict.as_str(), closed.confidence), ("inconclusive", 0.0));
    assert!(closed.summary.starts_with("no experiment ran"), "{}", closed.summary);
    assert_eq!(bench.case().not_tried.len(), 2);
}

#[test]
fn a_job_that_its_engine_lost_or_forgot_is_asked_for_once_more() {
    for (state, word) in [(FateState::Lost, "lost"), (FateState::Gone, "gone")] {
        let mut bench = Bench::plain();
        bench.told(&Fate::new(state));
        bench.look();
        assert_eq!(bench.outcomes(), [Some(word), None]);
        let experiments = &bench.case().experiments;
        assert_eq!(experiments[0].proposal, experiments[1].proposal);
        assert_ne!(experiments[0].suggestion, experiments[1].suggestion);
        bench.told(&Fate::new(state));
        bench.look();
        assert_eq!(bench.outcomes(), [Some(word), Some(word), None], "then the policy goes on");
        assert_ne!(bench.case().experiments[1].proposal, bench.case().experiments[2].proposal);
        assert!(bench.case().paused.is_none());
    }
}

#[test]
fn what_waits_in_a_queue_uses_up_no_time_to_start() {
    let mut bench = Bench::plain();
    bench.diagnosis.site.start_within = 100.0;
    for state in [FateState::Queued, FateState::Held] {
        bench.told(&Fate::new(state));
        bench.now += 500.0;
        bench.look();
        assert_eq!(bench.outcomes(), [None], "{state:?}");
    }
    bench.told(&Fate::new(FateState::Running));
    bench.now += 90.0;
    bench.look();
    assert_eq!(bench.outcomes(), [None]);
    bench.now += 20.0;
    bench.look();
    assert_eq!(bench.outcomes(), [Some("unavailable"), None]);
}

#[test]
fn an_experiment_whose_end_is_told_is_judged_once_nothing_new_comes() {
    let mut bench = Bench::plain();
    bench.run(190, true, &[("learning_rate", 0.1)]);
    bench.look();
    bench.told(&Fate::new(FateState::Ended));
    bench.run(198, true, &[("learning_rate", 0.1)]);
    bench.look();
    assert_eq!(bench.outcomes(), [None], "there was something new");
    bench.look();
    assert_eq!(bench.outcomes(), [Some("found")]);
}

#[test]
fn what_was_judged_is_cancelled_where_it_may_still_run() {
    for (machines, cancelled) in [(&["queue".to_owned()][..], 1), (&[], 0)] {
        let mut bench = Bench::plain();
        bench.diagnosis.handed_to(&bench.open().0, machines, &mut Changes::default());
        bench.run(150, false, &[("learning_rate", 1.0)]);
        bench.look();
        assert_eq!(bench.outcomes()[0], Some("not_as_asked"));
        assert_eq!(bench.kinds(MessageKind::RunCancelled), cancelled);
    }
    for (state, cancelled) in [(FateState::Running, 1), (FateState::Ended, 0)] {
        let mut bench = Bench::plain();
        bench.diagnosis.handed_to(&bench.open().0, &["queue".to_owned()], &mut Changes::default());
        bench.told(&Fate::new(state));
        bench.run(200, true, &[("learning_rate", 0.1)]);
        bench.look();
        bench.look();
        assert_eq!(bench.outcomes()[0], Some("found"), "{state:?}");
        assert_eq!(bench.kinds(MessageKind::RunCancelled), cancelled, "{state:?}: all steps are made");
    }
    let mut bench = Bench::plain();
    bench.diagnosis.handed_to(&bench.open().0, &["queue".to_owned()], &mut Changes::default());
    let id = bench.case().id.clone();
    let changes = bench.diagnosis.close(&id, "inconclusive", "enough", bench.now);
    assert!(changes.messages.iter().any(|message| message.kind() == MessageKind::RunCancelled));
}

#[test]
fn a_refusal_that_the_site_has_to_mend_pauses_the_case_and_its_success_resumes_it() {
    let mut bench = Bench::plain();
    bench.diagnosis.site.start_within = 100.0;
    let suggestion = bench.open().0;
    let first = bench.diagnosis.refused_by_site(&suggestion, "cluster", "invalid partition", bench.now);
    let kinds: Vec<MessageKind> = first.messages.iter().map(Message::kind).collect();
    assert_eq!(kinds, [MessageKind::Notice]);
    assert!(bench.diagnosis.refused_by_site(&suggestion, "cluster", "invalid partition", bench.now).is_empty());
    bench.now += 1000.0;
    bench.look();
    assert_eq!(bench.outcomes(), [None], "the pause does not count");
    assert_eq!(bench.diagnosis.taken(&suggestion, bench.now).journal[0].1.kind, "resumed");
    bench.look();
    assert_eq!(bench.outcomes(), [None], "it has its whole time to start");
    assert!(bench.case().paused.is_none());
}

#[test]
fn a_suggestion_that_was_refused_without_a_command_is_made_again_once_the_command_is_known() {
    let record = |bench: &mut Bench| {
        let flags = ["learning_rate", "max_steps"].map(|knob| Flag { knob: knob.to_owned(), ..Flag::default() });
        let launched = Launched { flags: flags.into(), argv: vec!["train".to_owned()], ..Launched::default() };
        bench.runs.get_mut(&RunName::new("sick")).unwrap().launched = Some(launched.into());
    };
    let refuse = |bench: &mut Bench| {
        let suggestion = bench.open().0;
        let changes = bench.diagnosis.refused_by_site(&suggestion, "runner", "no command is known", bench.now);
        bench.messages.extend(changes.messages);
    };
    for late_refusal in [false, true] {
        let mut bench = Bench::plain();
        bench.diagnosis.handed_to(&bench.open().0, &["runner".to_owned()], &mut Changes::default());
        let first = bench.case().experiments[0].clone();
        if late_refusal {
            record(&mut bench);
            bench.look();
            assert_eq!(bench.outcomes(), [None], "a queue of the site's own may still take it");
            refuse(&mut bench);
        } else {
            refuse(&mut bench);
            assert!(bench.case().paused.is_some());
            record(&mut bench);
            bench.look();
        }
        assert!(bench.case().paused.is_none());
        assert_eq!(bench.outcomes(), [Some("withdrawn"), None]);
        assert_eq!(bench.case().open_experiment().unwrap().proposal, first.proposal);
        assert_eq!(bench.kinds(MessageKind::RunCancelled), 1, "nobody runs the first of them");
        assert_eq!(bench.kinds(MessageKind::RunSuggested), 2);
        assert_eq!(bench.case().facts.experiments, 1);
        refuse(&mut bench);
        assert!(bench.case().paused.is_some(), "a refusal for another reason waits for a person");
    }
}

#[test]
fn an_uncertain_baseline_is_repeated_before_anything_is_changed() {
    let unsure = || {
        let mut bench = Bench::new(Site { control: WhenControl::Unsure, ..site(TWO_STEPS) });
        bench.look();
        bench
    };
    let mut bench = unsure();
    let Body::RunSuggested(control) = &bench.messages.last().unwrap().body else { panic!("{:?}", bench.messages) };
    assert!(control.control && control.overrides.is_empty() && control.state == "control", "{control:?}");
    assert_eq!(control.settings["learning_rate"], 1);
    let steps = control.cost.unwrap().steps.unwrap();
    assert!((1..=300).contains(&steps), "up to where the baseline had failed: {steps}");
    bench.run(300, false, &[]);
    bench.look();
    assert_eq!(bench.outcomes(), [Some("reproduced"), None]);
    assert_eq!(bench.case().control, Control::Reproduced);
    assert_eq!(bench.case().facts.experiments, 1, "a control does not count");

    let mut people = Bench::new(Site { control: WhenControl::Unsure, by_hand: true, ..site(TWO_STEPS) });
    people.look();
    assert!(!people.case().experiments[0].control, "people know how they started it");

    let mut bench = unsure();
    for _ in 0..2 {
        bench.run(300, true, &[]);
        bench.look();
    }
    let end = bench.case().closed.as_ref().expect("twice is enough");
    assert_eq!(end.verdict, "inconclusive");
    assert!(end.summary.contains("not reproducible"), "{}", end.summary);
    assert_eq!(bench.outcomes(), [Some("not_reproduced"), Some("not_reproduced")]);
}

#[test]
fn a_control_is_stopped_where_its_baseline_had_failed() {
    let mut bench = Bench::new(Site { control: WhenControl::Unsure, ..site(TWO_STEPS) });
    bench.look();
    bench.diagnosis.handed_to(&bench.open().0, &["queue".to_owned()], &mut Changes::default());
    let shown_at = bench.case().shown_at.expect("it is known where it failed");
    bench.run(shown_at as i64 / 2, false, &[]);
    bench.look();
    assert_eq!(bench.outcomes(), [None]);
    bench.run(shown_at as i64 + 2, false, &[]);
    bench.look();
    assert_eq!(bench.outcomes()[0], Some("reproduced"), "shown at {shown_at}");
    assert_eq!(bench.kinds(MessageKind::RunCancelled), 1);
}

#[test]
fn a_control_that_costs_much_is_asked_of_a_person() {
    let asked = |answer: Option<&str>| {
        let mut bench = Bench::new(Site { control: WhenControl::Unsure, answer_within: 60.0, ..site(TWO_STEPS) });
        let run = bench.runs.get_mut(&RunName::new("sick")).unwrap();
        let tag = run.tag_id("train/loss").unwrap();
        for step in 300..310 {
            run.scalar(tag, Point { step, wall_time: 1000.0 + step as f64, value: f64::NAN });
        }
        bench.look();
        assert_eq!(bench.kinds(MessageKind::QuestionAsked), 1);
        let id = bench.case().id.clone();
        match answer {
            Some(answer) => {
                let (ask, _) = bench.case().asks().expect("it asks");
                drop(bench.diagnosis.reply(&id, &ask, &answered(answer, bench.now), bench.now));
            }
            None => bench.now += 71.0,
        }
        bench.look();
        bench.case().experiments.iter().map(|e| e.proposal.at.state.clone()).collect::<Vec<_>>()
    };
    assert_eq!(asked(None), ["control"]);
    assert_eq!(asked(Some("run")), ["control"]);
    assert_eq!(asked(Some("skip")), ["lower"]);
}

#[test]
fn a_command_that_is_known_needs_no_control_unless_a_knob_is_unknown() {
    let flag = |knob: &str, default: Option<f64>| Flag {
        name: format!("--{knob}"),
        knob: knob.to_owned(),
        default: default.map(Into::into),
        ..Flag::default()
    };
    let control = |other: Option<Flag>| {
        let mut bench = Bench::new(Site { control: WhenControl::Unsure, ..site(TWO_STEPS) });
        // What the policy changes must be a knob of the script.
        let changed = [flag("learning_rate", Some(1.0)), flag("max_steps", Some(100.0))];
        let flags = other.into_iter().chain(changed).collect();
        bench.diagnosis.launched("sick", &Launched { flags, ..Launched::default() });
        bench.look();
        bench.case().experiments[0].control
    };
    assert!(!control(None));
    assert!(!control(Some(flag("learning_rate", None))), "the job logs it");
    assert!(!control(Some(flag("lr_decay", Some(1.0)))));
    assert!(control(Some(flag("lr_decay", None))));
}

#[test]
fn what_a_command_sets_is_known_of_the_job_and_weaker_than_what_it_logs() {
    let mut bench = Bench::new(site(POLICY));
    let settings = BTreeMap::from([("learning_rate".into(), json!(7.0)), ("optimizer".into(), json!("adam"))]);
    bench.diagnosis.launched("sick", &Launched { settings, ..Launched::default() });
    bench.look();
    let case = bench.case();
    assert_eq!((&case.settings["learning_rate"], &case.settings["optimizer"]), (&json!(1), &json!("adam")));
    assert_eq!(case.baseline_facts.knobs["optimizer"], "adam");
}

#[test]
fn no_cause_is_named_from_an_unknown_setting_without_a_control() {
    let mut bench = Bench { runs: stuck(300), now: 2000.0, ..Bench::new(site(TWO_STEPS)) };
    bench.look();
    bench.run(200, true, &[]);
    bench.look();
    let end = bench.case().closed.as_ref().expect("it is cured");
    assert_eq!(end.verdict, "inconclusive");
    assert!(end.summary.contains("learning_rate is unknown"), "{}", end.summary);
    assert!(!end.recommended.is_empty(), "what cured it is still told");
}

#[test]
fn the_end_of_a_baseline_is_what_its_engine_says() {
    let opened = |fate: Fate, problem: bool| {
        let mut bench = Bench::new(site(TWO_STEPS));
        if !problem {
            let mut run = RunData::default();
            let tag = run.tag_id("train/loss").unwrap();
            for step in 0..150 {
                let value = 2.3 * (-step as f64 / 60.0).exp() + 0.01 * f64::from((step * 7919 % 13) as i32);
                run.scalar(tag, Point { step, wall_time: 1000.0 + step as f64, value });
                run.event(1000.0 + step as f64);
            }
            run.hyperparameter_beside("max_steps", 300.into());
            bench.runs.insert(RunName::new("sick"), run);
            bench.now = 1150.0;
        }
        bench.look();
        bench.diagnosis.fate_of_job("sick", &fate, bench.now);
        bench.look();
        bench.diagnosis.cases().next().cloned()
    };
    for (state, words) in [(FateState::OutOfMemory, "ran out of memory"), (FateState::OutOfTime, "ran out of time")] {
        let broken = opened(Fate::new(state), false).expect("it is failing at once");
        let end = broken.closed.expect("no experiment is needed");
        assert_eq!(end.verdict, "infrastructure");
        assert!(end.summary.contains(words), "{}", end.summary);
        assert_eq!(broken.fate.map(|fate| fate.state), Some(state), "the case keeps its fate");
    }
    assert_eq!(opened(Fate::new(FateState::Ended), false), None, "it ended well");
    assert_eq!(opened(Fate::new(FateState::Cancelled), false), None, "somebody wanted that");
    let stuck = opened(failed(1), true).unwrap();
    assert!(stuck.closed.is_none(), "what it shows besides is investigated");
}

#[test]
fn a_baseline_that_runs_and_is_silent_hangs() {
    let mut bench = Bench::new(site(TWO_STEPS));
    let mut run = RunData::default();
    let tag = run.tag_id("train/loss").unwrap();
    for step in 0..150 {
        let value = 2.3 * (-step as f64 / 60.0).exp() + 0.01 * f64::from((step * 7919 % 13) as i32);
        run.scalar(tag, Point { step, wall_time: 1000.0 + step as f64, value });
        run.event(1000.0 + step as f64);
    }
    bench.runs.insert(RunName::new("sick"), run);
    bench.now = 1150.0;
    bench.look();
    bench.diagnosis.fate_of_job("sick", &Fate::new(FateState::Running), bench.now);
    bench.look();
    assert_eq!(bench.diagnosis.cases().count(), 0);
    bench.now += 700.0;
    bench.look();
    assert!(bench.case().findings[0].summary.contains("has logged nothing"), "{:?}", bench.case().findings);
}

#[test]
fn what_would_exceed_a_budget_waits_until_the_next_day() {
    let budget = Budget { experiments: Some(1), ..Budget::default() };
    let of = SiteBudget { of: "the budget of a day".into(), per: Per::Day, is_for: Arc::new(|_| true), budget };
    let mut bench = Bench::new(Site { budgets: vec![of], ..site(TWO_STEPS) });
    bench.look();
    bench.run(200, false, &[("learning_rate", 0.1)]);
    bench.look();
    assert_eq!(bench.outcomes(), [Some("no_cure")]);
    assert!(bench.case().short_of.as_ref().unwrap().contains("is exhausted"));
    assert_eq!(bench.kinds(MessageKind::Notice), 1);
    bench.look();
    assert_eq!(bench.kinds(MessageKind::Notice), 1, "it is told once");
    bench.now += 86_400.0;
    bench.look();
    assert_eq!(bench.outcomes(), [Some("no_cure"), None]);
}

#[test]
fn expected_and_real_costs_are_told() {
    let mut bench = Bench::plain();
    let Body::RunSuggested(run) = &bench.messages.last().unwrap().body else { panic!("a run is suggested") };
    let cost = run.cost.unwrap();
    assert_eq!((cost.steps, cost.seconds), (Some(200), Some(200.0)), "the baseline takes a second for each step");
    bench.run(200, true, &[("learning_rate", 0.1)]);
    let changes = bench.look();
    let observed = changes.journal.iter().find(|(_, entry)| entry.kind == "observed").unwrap();
    assert_eq!(observed.1.detail["cost"]["steps"], 199);
    let Body::CaseClosed(end) = &changes.messages.last().unwrap().body else { panic!("it is closed") };
    assert_eq!(end.experiments[0].cost.unwrap().steps, Some(199));
}

#[test]
fn event_files_that_its_process_wrote_link_a_run() {
    let mut bench = Bench::plain();
    let mut run = RunData::default();
    let tag = run.tag_id("train/loss").unwrap();
    run.scalar(tag, Point { step: 0, wall_time: bench.now, value: 2.3 });
    run.event(bench.now);
    bench.runs.insert(RunName::new("lightning_logs/version_7"), run);
    let event_files = vec!["/logs/lightning_logs/version_7/events.out.tfevents.1.h".to_owned()];
    bench.told(&Fate { event_files, ..Fate::new(FateState::Running) });
    bench.look();
    assert_eq!(bench.case().experiments[0].job.as_deref(), Some("lightning_logs/version_7"));
}

#[test]
fn a_recovery_that_ends_in_nan_or_in_exactly_zero_is_none() {
    // Seen before the first look after its fall, and after a case was closed for it.
    for (last, from) in [(f64::NAN, 845), (0.0, 845), (f64::NAN, 920)] {
        let mut bench = Bench::new(site(TWO_STEPS));
        bench.diagnosis.site.directories[0].patience = QuietLimit::Fixed(1e9);
        for points in (100..=1090).step_by(30) {
            let mut run = RunData::default();
            run.hyperparameter_beside("max_steps", 1100.into());
            let tag = run.tag_id("train/loss").unwrap();
            for step in 0..points {
                let level = 2.3 - 1.8 * ((step - 800) as f64 / 40.0).clamp(0.0, 1.0);
                let value = level + 0.01 * f64::from((step * 7919 % 13) as i32);
                let value = if step >= from { last } else { value };
                run.scalar(tag, Point { step, wall_time: 1000.0 + step as f64, value });
                run.event(1000.0 + step as f64);
            }
            bench.runs.insert(RunName::new("sick"), run);
            bench.now = 1000.0 + points as f64;
            bench.look();
        }
        let recovered = |case: &Case| case.closed.as_ref().is_some_and(|end| end.verdict == "recovered");
        let open = bench.diagnosis.cases().filter(|case| !recovered(case)).count();
        assert_eq!(open, 1, "a case is about the end in {last} from step {from} on");
    }
}
