//! Operator actions during a diagnosis: setting the clock, changing a policy, deleting old data.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::fate::{Fate, FateState};
use crate::jobs::{QuietLimit, group};
use crate::policy::{Vocabulary, parse};
use crate::series::{Point, RunData};

pub(super) const POLICY: &str = r#"
policy: short
summary: a tenth of the learning rate
judge: { cured: experiment.cured }
tests:
  lower:
    step: "1 lower the learning rate"
    why: it may be too high
    hypothesis: the learning rate is too high
    expect: the loss falls
    change: { learning_rate: 0.1 }
    cause: { verdict: learning_rate_too_high, summary: cured }
conclusions:
  unknown: { verdict: inconclusive, summary: nothing was found }
states:
  all: { try: [lower], empty: unknown }
"#;

pub(super) fn site(policy: &str) -> Site {
    let policy = parse(policy, "short.yaml", &Vocabulary::new(crate::symptoms::ids())).unwrap();
    Site {
        signals: SignalRules::with_site(&[]).unwrap(),
        scripts: Vec::new(),
        policies: vec![Choice { policy: Arc::new(policy), is_for: Arc::new(|_, _| true) }],
        at_once: 8,
        start_within: 1e9,
        answer_within: 0.0,
        command_within: 0.0,
        prior: 0.05,
        control: WhenControl::Never,
        approval: Approval::Automatic,
        approve_within: 86_400.0,
        by_hand: false,
        budgets: Vec::new(),
        gpus: 1.0,
        probes: None,
        directories: vec![Directory {
            name: None,
            roots: vec!["/logs".into()],
            patience: QuietLimit::Fixed(600.0),
            history_after: f64::INFINITY,
        }],
    }
}

/// A job that gets nowhere, with a point a second from 1000 s on.
pub(super) fn stuck(points: i64) -> Runs {
    let mut run = RunData::default();
    let tag = run.tag_id("train/loss").unwrap();
    for step in 0..points {
        let wall_time = 1000.0 + step as f64;
        run.scalar(tag, Point { step, wall_time, value: 2.3 + 0.01 * f64::from((step * 7919 % 13) as i32) });
        run.event(wall_time);
    }
    Runs::from([(RunName::new("sick"), run)])
}

#[test]
fn a_job_without_a_training_loss_is_judged_by_its_validation_loss() {
    let status = |training: i64| {
        let mut runs = stuck(0);
        let run = runs.get_mut(&RunName::new("sick")).unwrap();
        let (loss, validation) = (run.tag_id("train/loss").unwrap(), run.tag_id("val/loss").unwrap());
        for step in 0..60 {
            let point = Point { step, wall_time: 1000.0 + step as f64, value: 2.3 + 0.01 * (step * 7919 % 13) as f64 };
            run.scalar(validation, point);
            if step < training {
                run.scalar(loss, point);
            }
            run.event(point.wall_time);
        }
        let jobs = group(&runs, &BTreeSet::new());
        exam(&jobs[0], &site(POLICY), &Memory::only_look(&jobs[0], 1e6), 1e6).status()
    };
    assert_eq!(status(0), (Status::Failing, None));
    assert_eq!(status(1), (Status::Failing, None));
    assert_eq!(status(3).0, Status::Failing, "three values of training say less, and the same");
}

#[test]
fn a_job_without_a_known_signal_is_told_by_its_tags() {
    let reason = |tags: &[&str]| {
        let mut run = RunData::default();
        for tag in tags {
            let id = run.tag_id(tag).unwrap();
            run.scalar(id, Point { step: 1, wall_time: 1000.0, value: 1.0 });
        }
        run.event(1000.0);
        let runs = Runs::from([(RunName::new("sick"), run)]);
        let jobs = group(&runs, &BTreeSet::new());
        exam(&jobs[0], &site(POLICY), &Memory::only_look(&jobs[0], 1e6), 1e6).status().1.unwrap()
    };
    assert_eq!(reason(&[]), "it has logged no scalars");
    let known = reason(&["hp_metric", "gpu", "cpu"]);
    assert!(known.contains("its tags (cpu, gpu, hp_metric): name"), "{known}");
    let many = reason(&["f", "e", "d", "c", "b", "a"]);
    assert!(many.contains("its tags (a, b, c, d, e, …): name"), "{many}");
}

/// A diagnosis that has one open case, at 1300 s.
fn with_a_case() -> (Diagnosis, CaseId) {
    let mut diagnosis = Diagnosis::new(site(POLICY), []);
    diagnosis.tick(&stuck(200), 1200.0);
    diagnosis.tick(&stuck(300), 1300.0);
    diagnosis.tick(&stuck(300), 2000.0);
    let case = diagnosis.cases().next().expect("a case is open").id.clone();
    (diagnosis, case)
}

/// A job without progress for 700 points whose loss then falls to `end` within the next 100, and stays there to the
/// last of 1000.
fn late(points: i64, end: f64) -> Runs {
    let mut run = RunData::default();
    run.hyperparameter_beside("max_steps", 1000.into());
    let tag = run.tag_id("train/loss").unwrap();
    for step in 0..points {
        let wall_time = 1000.0 + step as f64;
        let level = 2.3 - (2.3 - end) * ((step - 700) as f64 / 100.0).clamp(0.0, 1.0);
        run.scalar(tag, Point { step, wall_time, value: level + 0.01 * f64::from((step * 7919 % 13) as i32) });
        run.event(wall_time);
    }
    Runs::from([(RunName::new("sick"), run)])
}

/// The case of a [`late`] job after its end.
fn case_of_a_late_job(end: f64) -> Case {
    let mut diagnosis = Diagnosis::new(site(POLICY), []);
    for points in (100..=1000).step_by(50) {
        diagnosis.tick(&late(points, end), 1000.0 + points as f64);
    }
    diagnosis.cases().next().expect("a case was opened").clone()
}

#[test]
fn a_job_that_falls_far_closes_its_case() {
    let case = case_of_a_late_job(0.5);
    assert_eq!(case.closed.map(|closed| closed.verdict).as_deref(), Some("recovered"));
}

#[test]
fn a_job_that_creeps_keeps_its_case_open_and_what_it_was_opened_for() {
    let case = case_of_a_late_job(1.65);
    assert!(case.closed.is_none());
    assert!(case.baseline_facts.recovered && case.baseline_facts.ended);
    let opened_for = case.findings.iter().filter(|finding| finding.severity == Severity::Problem);
    let opened_for: Vec<String> = opened_for.map(|finding| finding.symptom.clone()).collect();
    let shown = &case.baseline_facts.problems;
    assert!(shown.contains(&"not_learning".to_owned()) && opened_for.iter().all(|id| shown.contains(id)), "{shown:?}");
}

#[test]
fn what_a_job_shows_while_it_goes_on_failing_is_known_to_its_policy() {
    let mut diagnosis = Diagnosis::new(site(POLICY), []);
    diagnosis.tick(&late(600, 0.5), 1600.0);
    let before = diagnosis.cases().next().expect("a case was opened").baseline_facts.steps();
    diagnosis.tick(&late(700, 0.5), 1700.0);
    assert_eq!(diagnosis.cases().next().unwrap().baseline_facts.steps(), before, "hardly longer");
    diagnosis.tick(&late(780, 2.3), 1780.0);
    assert_eq!(diagnosis.cases().next().unwrap().baseline_facts.steps(), 779.0);
}

#[test]
fn a_plan_that_is_read_after_the_last_step_ends_the_job() {
    let mut diagnosis = Diagnosis::new(site(POLICY), []);
    let mut runs = stuck(12);
    diagnosis.tick(&runs, 1012.0);
    assert_eq!(diagnosis.cases().count(), 0, "nobody knows yet that it has ended");
    runs.get_mut(&RunName::new("sick")).unwrap().hyperparameter_beside("max_steps", 12.into());
    diagnosis.tick(&runs, 1013.0);
    assert_eq!(diagnosis.cases().count(), 1);
}

#[test]
fn a_clock_that_is_set_ends_no_job() {
    for (set, ended) in [(true, false), (false, true)] {
        let mut diagnosis = Diagnosis::new(site(POLICY), []);
        let runs = stuck(20);
        diagnosis.tick(&runs, 1020.0);
        let mut now = 1021.0 + 3600.0;
        if set {
            diagnosis.clock_was_set(3600.0);
        }
        diagnosis.tick(&runs, now);
        assert_eq!(
            diagnosis.memory["sick"].ended_before(f64::INFINITY),
            ended,
            "one hour, which the clock jumped: {set}"
        );
        // What is silent by a steady clock ends all the same.
        now += 601.0;
        diagnosis.tick(&runs, now);
        assert!(diagnosis.memory["sick"].ended_before(f64::INFINITY));
    }
}

#[test]
fn a_clock_that_is_set_leaves_an_experiment_its_time_to_start() {
    for (set, ended) in [(3600.0, false), (0.0, true)] {
        let (mut diagnosis, case) = with_a_case();
        diagnosis.site.start_within = 1800.0;
        let changes = diagnosis.clock_was_set(set);
        assert_eq!(changes.cases.len(), 1, "it is kept, for a process that starts anew");
        diagnosis.tick(&stuck(300), 2000.0 + 3600.0);
        assert_eq!(diagnosis.cases[&case].experiments[0].outcome.is_some(), ended, "set by {set}");
        diagnosis.tick(&stuck(300), 2000.0 + 3600.0 + 1801.0);
        assert!(diagnosis.cases[&case].experiments[0].outcome.is_some(), "what passes by a steady clock passes");
    }
}

#[test]
fn an_open_case_keeps_its_place_and_is_stranded_only_where_that_is_gone() {
    let (mut diagnosis, case) = with_a_case();
    let stranded = |diagnosis: &Diagnosis, policy: &str| diagnosis.stranded(&site(policy)).count();
    assert_eq!(stranded(&diagnosis, POLICY), 0);
    assert_eq!(stranded(&diagnosis, &POLICY.replace("lower:", "raise:").replace("[lower]", "[raise]")), 1);
    assert_eq!(stranded(&diagnosis, &POLICY.replace("policy: short", "policy: other")), 1);
    diagnosis.go_on_at(site(&POLICY.replace("nothing was found", "nothing at all")));
    let suggestion = diagnosis.cases[&case].experiments[0].suggestion.clone();
    diagnosis.report(&Report::Undeliverable { suggestion }, 2001.0);
    assert_eq!(diagnosis.cases[&case].closed.as_ref().map(|end| end.state.as_str()), Some("unknown"));
    assert_eq!(stranded(&diagnosis, &POLICY.replace("policy: short", "policy: other")), 0, "a closed case needs none");
}

#[test]
fn a_case_that_cannot_go_on_waits_for_its_state() {
    let (mut diagnosis, case) = with_a_case();
    diagnosis.go_on_at(site(&POLICY.replace("policy: short", "policy: other")));
    let suggestion = diagnosis.cases[&case].experiments[0].suggestion.clone();
    assert!(diagnosis.report(&Report::Undeliverable { suggestion }, 2001.0).is_empty());
    assert!(!diagnosis.close(&case, "inconclusive", "its policy is gone", 2002.0).is_empty(), "a person may close it");
}

#[test]
fn only_closed_cases_whose_jobs_are_gone_are_forgotten() {
    let (mut diagnosis, case) = with_a_case();
    assert_eq!(diagnosis.forgettable(|_| false), []);
    diagnosis.close(&case, "inconclusive", "enough", 2001.0);
    let run_name = diagnosis.cases[&case].experiments[0].run_name.clone();
    assert_eq!(diagnosis.forgettable(|name| name == "sick"), []);
    assert_eq!(diagnosis.forgettable(|name| name == run_name), [], "its run would open a case of its own");
    assert_eq!(diagnosis.forgettable(|_| false), std::slice::from_ref(&case));
    diagnosis.retain(&BTreeSet::new());
    assert_eq!(diagnosis.cases().count(), 0);
}

#[test]
fn what_a_job_says_of_itself_is_read_again_when_it_has_said_more() {
    let (diagnosis, _) = with_a_case();
    let mut runs = stuck(5);
    let mut memory = Memory::first_seen(false);
    let mut described = |runs: &Runs| {
        let jobs = group(runs, &BTreeSet::new());
        memory.describe(&jobs[0], diagnosis.site()).knobs.clone()
    };
    assert_eq!(described(&runs), Knobs::new());
    runs.get_mut(&RunName::new("sick")).unwrap().hyperparameter("learning_rate", json!(0.5));
    assert_eq!(described(&runs)["learning_rate"], 0.5);
}

#[test]
fn a_job_that_validates_at_every_point_counts_in_epochs_and_not_in_the_steps_of_its_plan() {
    let done = |validates_every: usize| {
        let mut run = RunData::default();
        let (training, validation) = (run.tag_id("Loss/train").unwrap(), run.tag_id("Loss/test").unwrap());
        run.hyperparameter("max_steps", 900.into());
        for step in 0..45 {
            let point = Point { step, wall_time: 1000.0 + step as f64, value: 2.0 / (1.0 + step as f64) };
            run.scalar(training, point);
            if (step as usize).is_multiple_of(validates_every) {
                run.scalar(validation, point);
            }
            run.event(point.wall_time);
        }
        let runs = Runs::from([(RunName::new("sick"), run)]);
        let jobs = group(&runs, &BTreeSet::new());
        let memory = Memory::only_look(&jobs[0], 2000.0);
        let life = exam(&jobs[0], &site(POLICY), &memory, 2000.0).view.life;
        (life.done, life.updates)
    };
    assert_eq!(done(1), (None, None));
    assert_eq!(done(5), (Some(0.05), Some(45.0)));
}

#[test]
fn the_updates_of_a_log_by_epochs_are_known_if_something_counts_them() {
    let updates = |settings: &[(&str, i64)], iterations: bool| {
        let mut run = RunData::default();
        let (loss, other) = (run.tag_id("epoch_loss").unwrap(), run.tag_id("evaluation_loss_vs_iterations").unwrap());
        settings.iter().for_each(|(knob, value)| run.hyperparameter(knob, (*value).into()));
        for epoch in 0..40 {
            let point = Point { step: epoch, wall_time: 1000.0 + epoch as f64, value: 2.0 / (1.0 + epoch as f64) };
            run.scalar(loss, point);
            if iterations {
                run.scalar(other, Point { step: 25 * (epoch + 1), ..point });
            }
            run.event(point.wall_time);
        }
        let runs = Runs::from([(RunName::new("sick"), run)]);
        let jobs = group(&runs, &BTreeSet::new());
        let exam = exam(&jobs[0], &site(POLICY), &Memory::only_look(&jobs[0], 2000.0), 2000.0);
        (exam.view.life.updates, exam.seconds_per_update().map(|pace| (1e6 * pace).round()))
    };
    assert_eq!(updates(&[], false), (None, Some(1e6)), "an epoch takes a second");
    assert_eq!(updates(&[], true), (Some(1000.0), Some(4e4)));
    assert_eq!(updates(&[("train_examples", 795), ("batch_size", 32)], false), (Some(1000.0), Some(4e4)));
    assert_eq!(updates(&[("epochs", 80), ("max_steps", 2000)], false), (Some(1000.0), Some(4e4)));
}

#[test]
fn the_updates_of_a_job_are_those_of_the_loss_that_it_is_judged_by() {
    let mut run = RunData::default();
    let (training, validation) = (run.tag_id("train/loss").unwrap(), run.tag_id("val/loss").unwrap());
    for step in 0..20 {
        let point = Point { step: 50 * step, wall_time: 1000.0 + step as f64, value: 2.0 / (1.0 + step as f64) };
        run.scalar(validation, point);
        if step == 19 {
            run.scalar(training, point);
        }
        run.event(point.wall_time);
    }
    let runs = Runs::from([(RunName::new("sick"), run)]);
    let jobs = group(&runs, &BTreeSet::new());
    let exam = exam(&jobs[0], &site(POLICY), &Memory::only_look(&jobs[0], 2000.0), 2000.0);
    assert_eq!(exam.view.life.updates, Some(1000.0));
    assert_eq!(exam.seconds_per_update(), Some(0.02));
}

#[test]
fn a_fall_that_is_neither_proved_nor_disproved_is_not_called_healthy() {
    let status = |first: f64, scatter: f64| {
        let mut run = RunData::default();
        let loss = run.tag_id("train/loss").unwrap();
        for step in 0..350_i64 {
            let wave = ((step * 7919 % 101) as f64 / 50.0 - 1.0) * scatter;
            let value = if step < 5 { first + wave } else { 1.0 + wave };
            run.scalar(loss, Point { step, wall_time: 1000.0 + step as f64, value });
            run.event(1000.0 + step as f64);
        }
        let runs = Runs::from([(RunName::new("sick"), run)]);
        let jobs = group(&runs, &BTreeSet::new());
        exam(&jobs[0], &site(POLICY), &Memory::only_look(&jobs[0], 1e6), 1e6).status()
    };
    let (hidden, why) = status(1.8, 0.3);
    assert_eq!(hidden, Status::Unknown);
    assert!(why.unwrap().contains("scatter"));
    assert_eq!(status(3.0, 0.3), (Status::Healthy, None));
}

#[test]
fn a_job_that_has_summed_up_its_training_has_ended() {
    let finished = |after: i64| {
        let mut runs = stuck(100);
        let run = runs.get_mut(&RunName::new("sick")).unwrap();
        run.hyperparameter("max_steps", 1000.into());
        let (loss, summary) = (run.tag_id("train/loss").unwrap(), run.tag_id("train/train_runtime").unwrap());
        run.scalar(summary, Point { step: 99, wall_time: 1100.0, value: 99.0 });
        for step in 0..after {
            run.scalar(loss, Point { step: 100 + step, wall_time: 1200.0 + step as f64, value: 2.3 });
        }
        run.event(1200.0 + after as f64);
        let jobs = group(&runs, &BTreeSet::new());
        exam(&jobs[0], &site(POLICY), &Memory::only_look(&jobs[0], 1e6), 1e6).view.life.finished
    };
    assert!(finished(0), "a last evaluation may follow");
    assert!(!finished(10), "it has gone on since");
}

#[test]
fn a_loss_of_each_epoch_that_is_logged_at_the_count_of_updates_is_not_far_beyond_its_plan() {
    let mut run = RunData::default();
    let (loss, epoch) = (run.tag_id("train_loss_epoch").unwrap(), run.tag_id("epoch").unwrap());
    run.hyperparameter("epochs", 50.into());
    run.hyperparameter("max_steps", 1500.into());
    for n in 0..25 {
        let point = |value: f64| Point { step: 30 * n + 29, wall_time: 1000.0 + n as f64, value };
        run.scalar(loss, point(2.0 / (1.0 + n as f64)));
        run.scalar(epoch, point(n as f64));
        run.event(1000.0 + n as f64);
    }
    let runs = Runs::from([(RunName::new("sick"), run)]);
    let jobs = group(&runs, &BTreeSet::new());
    let memory = Memory::only_look(&jobs[0], 2000.0);
    let done = exam(&jobs[0], &site(POLICY), &memory, 2000.0).view.life.done;
    assert!(done.is_some_and(|done| (0.4..0.6).contains(&done)), "{done:?}");
}

#[test]
fn no_decay_is_not_believed_of_a_rate_far_below_the_one_that_was_set() {
    let knows_of_no_decay = |rate: f64| {
        let mut runs = stuck(100);
        let run = runs.get_mut(&RunName::new("sick")).unwrap();
        run.hyperparameter("learning_rate", json!(0.02));
        run.hyperparameter("lr_decay", json!(1.0));
        let tag = run.tag_id("lr").unwrap();
        for step in 0..100 {
            run.scalar(tag, Point { step, wall_time: 1000.0 + step as f64, value: rate });
        }
        let jobs = group(&runs, &BTreeSet::new());
        let memory = Memory::only_look(&jobs[0], 2000.0);
        exam(&jobs[0], &site(POLICY), &memory, 2000.0).facts.knobs.contains_key("lr_decay")
    };
    assert!(knows_of_no_decay(0.02));
    assert!(!knows_of_no_decay(2e-7));
}

#[test]
fn a_stuck_job_that_logs_its_accuracy_in_per_cent_gets_its_case_while_it_runs() {
    for unit in [1.0, 100.0] {
        let mut diagnosis = Diagnosis::new(site(POLICY), []);
        for points in (50..=1000).step_by(50) {
            let mut runs = stuck(points);
            let run = runs.get_mut(&RunName::new("sick")).unwrap();
            run.hyperparameter_beside("max_steps", 1200.into());
            let accuracy = run.tag_id("train/accuracy").unwrap();
            for step in 0..points {
                let value = unit * (0.1 + 0.002 * f64::from((step * 6007 % 17) as i32));
                run.scalar(accuracy, Point { step, wall_time: 1000.0 + step as f64, value });
            }
            diagnosis.tick(&runs, 1000.0 + points as f64);
        }
        assert_eq!(diagnosis.cases().count(), 1, "an accuracy in units of {unit}");
    }
}

/// Three seeds of one configuration, none of which says its seed.
fn three_seeds() -> Runs {
    let mut runs = Runs::new();
    for seed in ["seed0", "seed1", "seed2"] {
        let mut run = stuck(300).remove(&RunName::new("sick")).unwrap();
        for (knob, value) in [("learning_rate", 1.0), ("batch_size", 32.0), ("max_steps", 300.0)] {
            run.hyperparameter_beside(knob, value.into());
        }
        runs.insert(RunName::new(seed), run);
    }
    runs
}

#[test]
fn a_case_never_takes_a_run_that_another_case_asked_for() {
    let mut diagnosis = Diagnosis::new(site(POLICY), []);
    let mut runs = three_seeds();
    diagnosis.tick(&runs, 1300.0);
    assert_eq!(diagnosis.cases().count(), 3);
    let names: Vec<String> = diagnosis.cases().map(|case| case.experiments[0].run_name.clone()).collect();
    // The run of the last case starts first, with the very settings that all three asked for.
    let mut run = RunData::default();
    let tag = run.tag_id("train/loss").unwrap();
    for (knob, value) in [("learning_rate", 0.1), ("batch_size", 32.0), ("max_steps", 300.0)] {
        run.hyperparameter_beside(knob, value.into());
    }
    run.scalar(tag, Point { step: 0, wall_time: 1400.0, value: 2.3 });
    run.event(1400.0);
    runs.insert(RunName::new(&names[2]), run);
    diagnosis.tick(&runs, 1401.0);
    let linked: Vec<Option<&str>> = diagnosis.cases().map(|case| case.experiments[0].job.as_deref()).collect();
    assert_eq!(linked, [None, None, Some(names[2].as_str())]);
}

#[test]
fn a_run_that_two_suggestions_fit_belongs_to_neither() {
    let mut diagnosis = Diagnosis::new(site(POLICY), []);
    let mut runs = three_seeds();
    diagnosis.tick(&runs, 1300.0);
    let mut run = stuck(1).remove(&RunName::new("sick")).unwrap();
    for (knob, value) in [("learning_rate", 0.1), ("batch_size", 32.0), ("max_steps", 300.0)] {
        run.hyperparameter_beside(knob, value.into());
    }
    run.event(1400.0);
    runs.insert(RunName::new("by_hand"), run);
    diagnosis.tick(&runs, 1401.0);
    assert!(diagnosis.cases().all(|case| case.experiments[0].job.is_none()));
}

#[test]
fn a_folder_that_states_another_suggestion_is_nobodys_run_and_that_is_said_once() {
    let (mut diagnosis, case) = with_a_case();
    let mut runs = stuck(300);
    let mut run = stuck(3).remove(&RunName::new("sick")).unwrap();
    run.hyperparameter("NEXTRUN_SUGGESTION_ID", json!("another"));
    runs.insert(RunName::new(&diagnosis.cases[&case].experiments[0].run_name), run);
    let disputes = |changes: &Changes| changes.journal.iter().filter(|(_, entry)| entry.kind == "disputed").count();
    assert_eq!(disputes(&diagnosis.tick(&runs, 2001.0)), 1);
    assert_eq!(disputes(&diagnosis.tick(&runs, 2002.0)), 0);
    assert!(diagnosis.cases[&case].experiments[0].job.is_none());
}

#[test]
fn a_fate_is_noted_once_and_kept_for_jobs_without_a_case() {
    let failed = Fate { exit_code: Some(1), ..Fate::new(FateState::Failed) };
    let runs = stuck(300);
    let mut diagnosis = Diagnosis::new(site(POLICY), []);
    let early = diagnosis.fate_of_job("sick", &Fate::new(FateState::Running), 900.0);
    assert_eq!((early.fates.len(), early.journal.len()), (1, 0), "there is no case yet");
    let opened =
        (0..40).map(|tick| diagnosis.tick(&runs, 1300.0 + f64::from(tick) * 60.0)).find(|c| !c.cases.is_empty());
    let case = opened.unwrap().cases[0].clone();
    let suggestion = &case.open_experiment().unwrap().suggestion;
    let told = diagnosis.fate_of_experiment(suggestion, &failed, 2000.0);
    assert_eq!((told.journal.len(), told.journal[0].1.kind.as_str()), (1, "fate"));
    assert_eq!(told.journal[0].1.detail, json!({"suggestion_id": suggestion, "state": "failed", "exit_code": 1}));
    assert_eq!(told.cases[0].experiments[0].fate.as_ref(), Some(&failed));
    assert!(diagnosis.fate_of_experiment(suggestion, &failed, 2001.0).is_empty(), "the same again is no news");
    assert!(diagnosis.fate_of_experiment("nobody's", &failed, 2001.0).is_empty());
    let baseline = diagnosis.fate_of_job("sick", &failed, 2002.0);
    assert_eq!((baseline.fates.len(), baseline.journal.len()), (1, 1));
    assert!(diagnosis.fate_of_job("sick", &failed, 2003.0).is_empty());
    assert_eq!(diagnosis.known_fate("sick"), Some(&failed));
    diagnosis.fate_of_job("gone", &failed, 2004.0);
    diagnosis.forget_fates(1e9);
    assert_eq!((diagnosis.known_fate("sick").is_some(), diagnosis.known_fate("gone")), (true, None));
}
