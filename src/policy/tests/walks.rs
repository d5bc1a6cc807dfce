//! How a case walks through the sample policy.

use std::collections::BTreeSet;

use serde_json::json;

use super::{read, sample};
use crate::facts::{Facts, Knobs};
use crate::policy::{
    Advance, CaseFacts, Conclusion, Environment, Happened, Next, Passed, Policy, Position, Proposal, enter, judge,
};

fn baseline() -> Facts {
    Facts {
        started: true,
        steps: 4000.0,
        progress: 0.02,
        symptoms: vec!["not_learning".into()],
        knobs: knobs(json!({"learning_rate": 0.001, "batch_norm": true, "batch_size": 32, "max_steps": 4000})),
        ..Facts::default()
    }
}

fn knobs(value: serde_json::Value) -> Knobs {
    serde_json::from_value(value).expect("an object")
}

/// A case that is walked by hand.
struct Walker {
    policy: Policy,
    baseline: Facts,
    case: CaseFacts,
    last: Advance,
}

impl Walker {
    fn start(policy: Policy, baseline: Facts, case: CaseFacts) -> Self {
        let last = enter(&policy, policy.start(), &environment(&baseline, &case));
        let mut walker = Walker { policy, baseline, case, last };
        walker.case.record(&walker.last);
        walker
    }

    fn sample() -> Self {
        Walker::start(sample(), baseline(), CaseFacts::default())
    }

    fn at(&self) -> Position {
        match &self.last.next {
            Next::Run(proposal) => proposal.at.clone(),
            Next::Ask(question) => question.at.clone(),
            Next::Conclude(conclusion) => Position { state: conclusion.state.clone(), attempt: 1 },
        }
    }

    fn tell(&mut self, happened: &Happened<'_>) -> &mut Self {
        self.last = judge(&self.policy, &self.at(), happened, &environment(&self.baseline, &self.case));
        if let Happened::Refused(knobs) = happened {
            self.case.missing_knobs.extend(knobs.iter().cloned());
        }
        self.case.record(&self.last);
        self
    }

    fn shows(&mut self, facts: &Facts) -> &mut Self {
        let state = self.at().state;
        self.case.record_experiment(&state, facts, 1.0);
        self.tell(&Happened::Ran(facts))
    }

    fn proposal(&self) -> &Proposal {
        match &self.last.next {
            Next::Run(proposal) => proposal,
            other => panic!("no experiment but {other:?}"),
        }
    }

    fn conclusion(&self) -> &Conclusion {
        match &self.last.next {
            Next::Conclude(conclusion) => conclusion,
            other => panic!("no conclusion but {other:?}"),
        }
    }

    fn passed(&self) -> Vec<(&str, &str)> {
        self.last.passed.iter().map(|Passed { state, outcome, .. }| (state.as_str(), outcome.as_str())).collect()
    }
}

fn environment<'a>(baseline: &'a Facts, case: &'a CaseFacts) -> Environment<'a> {
    Environment { baseline, experiment: None, case, attempt: 1 }
}

#[test]
fn the_first_stop_is_an_experiment_with_its_reasons() {
    let walker = Walker::sample();
    let proposal = walker.proposal();
    assert_eq!(walker.passed(), [("triage", "fails")]);
    assert_eq!(proposal.step, "1 overfit one point");
    assert_eq!(proposal.why, "4000 steps left 0.98 of the loss; can the model fit a single example?");
    assert_eq!(proposal.changes, knobs(json!({"train_examples": 1, "batch_size": 1, "max_steps": 2000})));
    assert_eq!(proposal.at, Position { state: "overfit_one_point".into(), attempt: 1 });
}

#[test]
fn an_experiment_that_fits_ends_in_its_verdict() {
    let mut walker = Walker::sample();
    walker.shows(&Facts { fits: true, ..Facts::default() });
    assert_eq!(walker.conclusion().verdict, "data_pipeline");
    assert_eq!(walker.passed(), [("overfit_one_point", "fits")]);
    assert_eq!(walker.last.passed[0].why, "`experiment.fits` holds");
}

#[test]
fn a_repetition_asks_for_more_and_ends_with_its_limit() {
    let mut walker = Walker::sample();
    let better = Facts { better: true, ..Facts::default() };
    walker.shows(&Facts::default());
    assert_eq!(walker.proposal().changes, knobs(json!({"learning_rate": 0.0001})));
    walker.shows(&better);
    assert_eq!(walker.passed(), [("lower_learning_rate", "helps")]);
    assert_eq!(walker.proposal().at, Position { state: "lower_learning_rate".into(), attempt: 2 });
    assert_eq!(walker.proposal().changes, knobs(json!({"learning_rate": 0.00001})));
    walker.shows(&better);
    assert_eq!(walker.passed(), [("lower_learning_rate", "no_help")], "the second repetition is not given");
    assert!(matches!(&walker.last.next, Next::Ask(q) if q.answers == ["wrong", "right"]
        && q.why.ends_with("came out as no_help")
        && q.checklist[1] == "Compare unknown examples with their labels"));
    walker.tell(&Happened::Answered("wrong".into()));
    assert_eq!(walker.conclusion().verdict, "data_pipeline");
}

#[test]
fn a_cure_is_recommended_from_the_experiment_that_showed_it() {
    let mut walker = Walker::sample();
    walker.shows(&Facts::default()).shows(&Facts { cured: true, ..Facts::default() });
    let conclusion = walker.conclusion();
    assert_eq!(conclusion.verdict, "learning_rate_too_high");
    assert_eq!(conclusion.summary, "learning rate 0.0001 cured it, 0.001 was too high");
    assert_eq!(conclusion.recommended, knobs(json!({"learning_rate": 0.0001})));
}

#[test]
fn from_begins_with_the_changes_of_another_state() {
    let mut walker = Walker::sample();
    walker.shows(&Facts { crashed: true, ..Facts::default() });
    let wanted = json!({"train_examples": 1, "batch_size": 1, "max_steps": 2000, "batch_norm": false});
    assert_eq!(walker.proposal().changes, knobs(wanted));
    walker.shows(&Facts { finite: false, finite_points: 2.0, non_finite_step: 2.0, ..Facts::default() });
    let conclusion = walker.conclusion();
    assert_eq!(conclusion.recommended, knobs(json!({"batch_norm": false, "initializer": "variance_scaling"})));
    assert_eq!(conclusion.summary, "without batch norm the loss left the numbers at step 2");
}

#[test]
fn an_optional_knob_is_left_out_and_a_needed_one_passes_the_state_over() {
    let case = |missing: &str| CaseFacts { missing_knobs: BTreeSet::from([missing.into()]), ..CaseFacts::default() };
    let walker = Walker::start(sample(), baseline(), case("batch_size"));
    assert_eq!(walker.proposal().changes, knobs(json!({"train_examples": 1, "max_steps": 2000})));
    let walker = Walker::start(sample(), baseline(), case("train_examples"));
    assert_eq!(walker.passed(), [("triage", "fails"), ("overfit_one_point", "unavailable")]);
    assert_eq!(walker.last.passed[1].why, "the script has no `train_examples`");
    assert_eq!(walker.proposal().at.state, "lower_learning_rate");
    let only = CaseFacts { knobs: Some(BTreeSet::from(["batch_norm".into()])), ..CaseFacts::default() };
    assert_eq!(Walker::start(sample(), baseline(), only).at().state, "look_at_data");
}

#[test]
fn a_refusal_is_answered_without_the_optional_knob_and_then_passed_over() {
    let mut walker = Walker::sample();
    walker.tell(&Happened::Refused(BTreeSet::from(["batch_size".into()])));
    assert_eq!(walker.proposal().changes, knobs(json!({"train_examples": 1, "max_steps": 2000})));
    walker.tell(&Happened::Refused(BTreeSet::from(["batch_size".into()])));
    assert_eq!(walker.passed(), [("overfit_one_point", "unavailable")], "a refusal that tells nothing new");
    let mut walker = Walker::sample();
    walker.tell(&Happened::Refused(BTreeSet::from(["train_examples".into(), "max_steps".into()])));
    assert_eq!(walker.passed(), [("overfit_one_point", "unavailable")]);
}

#[test]
fn an_unknown_value_makes_the_state_unavailable_and_says_which() {
    let mut unknown = baseline();
    unknown.knobs.remove("learning_rate");
    let mut walker = Walker::start(sample(), unknown, CaseFacts::default());
    walker.tell(&Happened::NeverStarted);
    assert_eq!(walker.passed(), [("overfit_one_point", "unavailable"), ("lower_learning_rate", "unavailable")]);
    assert_eq!(walker.last.passed[0].why, "the experiment never started");
    assert_eq!(walker.last.passed[1].why, "`learning_rate` cannot be worked out: not known: `baseline.learning_rate`");
}

#[test]
fn what_the_baseline_has_already_is_dropped_and_nothing_left_is_skipped() {
    let mut same = baseline();
    same.knobs.insert("batch_size".into(), json!(1.0));
    let walker = Walker::start(sample(), same.clone(), CaseFacts::default());
    assert_eq!(walker.proposal().changes, knobs(json!({"train_examples": 1, "max_steps": 2000})));
    let text = super::SAMPLE.replace("when: baseline.train_examples == 1,", "when: baseline.crashed,");
    same.knobs.insert("train_examples".into(), json!(1));
    same.knobs.insert("max_steps".into(), json!(2000));
    let walker = Walker::start(read(&text), same, CaseFacts::default());
    assert_eq!(walker.passed(), [("triage", "fails"), ("overfit_one_point", "skipped")]);
    assert_eq!(walker.last.passed[1].why, "the baseline already has these settings");
}

#[test]
fn a_skip_leads_where_it_says() {
    let mut one = baseline();
    one.knobs.insert("train_examples".into(), json!(1));
    let walker = Walker::start(sample(), one, CaseFacts::default());
    assert_eq!(walker.passed(), [("triage", "fails"), ("overfit_one_point", "skipped")]);
    assert_eq!(walker.last.passed[1].why, "the baseline is one point already");
    assert_eq!(walker.at().state, "lower_learning_rate");
}

#[test]
fn the_limits_of_a_case_end_it() {
    let spent = |experiments, hours| CaseFacts { experiments, hours, ..CaseFacts::default() };
    for (case, why) in [
        (spent(6, 0.0), "the case has had its 6 experiments"),
        (spent(0, 10.0), "the experiments have run for their 10 hours"),
        (spent(0, f64::NAN), "the experiments have run for their 10 hours"),
    ] {
        let walker = Walker::start(sample(), baseline(), case);
        assert_eq!(walker.passed(), [("triage", "fails"), ("overfit_one_point", "limit")]);
        assert_eq!(walker.last.passed[1].why, why);
        assert_eq!(walker.conclusion().verdict, "inconclusive");
    }
    let mut limits = sample().limits();
    limits.experiments = 1;
    let mut walker = Walker::start(sample().with_limits(limits), baseline(), CaseFacts::default());
    walker.shows(&Facts::default());
    assert_eq!(walker.passed(), [("overfit_one_point", "fails"), ("lower_learning_rate", "limit")]);
}

#[test]
fn the_same_changes_are_not_asked_for_twice() {
    let mut case = CaseFacts::default();
    case.changes.insert("earlier".into(), knobs(json!({"batch_size": 1.0, "train_examples": 1, "max_steps": 2000})));
    case.shown.insert("earlier".into(), Facts { fits: true, ..Facts::default() });
    let walker = Walker::start(sample(), baseline(), case.clone());
    assert_eq!(walker.passed(), [("triage", "fails"), ("overfit_one_point", "fits")]);
    let passed = &walker.last.passed[1];
    assert_eq!(passed.why, "`earlier` tried the same changes: `experiment.fits` holds");
    assert_eq!(passed.answered_by.as_deref(), Some("earlier"));
    assert!(walker.case.shown["overfit_one_point"].fits, "the facts are the state's own from then on");
    case.shown.clear();
    let walker = Walker::start(sample(), baseline(), case);
    assert_eq!(walker.passed()[1], ("overfit_one_point", "unavailable"));
}

#[test]
fn a_state_that_is_gone_ends_the_case() {
    let case = CaseFacts::default();
    let gone = Position { state: "gone".into(), attempt: 1 };
    let advance = judge(&sample(), &gone, &Happened::NeverStarted, &environment(&baseline(), &case));
    assert!(matches!(advance.next, Next::Conclude(c) if c.verdict == "inconclusive" && c.summary.contains("`gone`")));
}

#[test]
fn an_unknown_answer_counts_as_silence() {
    let case = CaseFacts::default();
    let at = Position { state: "look_at_data".into(), attempt: 1 };
    let advance = judge(&sample(), &at, &Happened::Answered("maybe".into()), &environment(&baseline(), &case));
    assert_eq!(
        (advance.passed[0].outcome.as_str(), advance.passed[0].why.as_str()),
        ("silence", "`maybe` is none of the answers")
    );
}

#[test]
fn a_knob_that_a_policy_brings_along_is_changed_only_where_the_site_lists_it() {
    let text = "
policy: small
own_knobs: { warmup_steps: steps of warm-up }
exhausted: end
start: one
states:
  one:
    run: { change: { warmup_steps: 10 }, unavailable: without }
    outcomes: [{ name: all, otherwise: true, go: end }]
  without: { conclude: { verdict: inconclusive, confidence: 0, summary: it has no such knob } }
  end: { conclude: { verdict: inconclusive, confidence: 0, summary: end } }
";
    let start = |knobs: Option<&[&str]>| {
        let knobs = knobs.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
        Walker::start(read(text), baseline(), CaseFacts { knobs, ..CaseFacts::default() })
    };
    assert_eq!(start(None).conclusion().state, "without");
    assert_eq!(start(Some(&["learning_rate"])).conclusion().state, "without");
    assert_eq!(start(Some(&["warmup_steps"])).proposal().changes, knobs(json!({"warmup_steps": 10})));
}
