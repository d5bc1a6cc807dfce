//! How a case walks through the sample policy.

use std::collections::BTreeSet;

use serde_json::json;

use super::{read, sample};
use crate::facts::{Facts, Knobs, Quantity};
use crate::policy::{
    Advance, CaseFacts, Conclusion, Environment, Happened, Next, Passed, Policy, Position, Proposal, Tried, enter,
    judge,
};

pub(super) fn baseline() -> Facts {
    Facts {
        started: true,
        symptoms: vec!["not_learning".into()],
        knobs: knobs(json!({"learning_rate": 0.001, "batch_norm": true, "batch_size": 32, "max_steps": 4000})),
        ..Facts::default().with([(Quantity::Steps, 4000.0), (Quantity::Progress, 0.02)])
    }
}

pub(super) fn knobs(value: serde_json::Value) -> Knobs {
    serde_json::from_value(value).expect("an object")
}

/// A case that is walked by hand.
pub(super) struct Walker {
    policy: Policy,
    baseline: Facts,
    pub(super) case: CaseFacts,
    last: Advance,
}

impl Walker {
    pub(super) fn start(policy: Policy, baseline: Facts, case: CaseFacts) -> Self {
        let last = enter(&policy, policy.start(), &environment(&baseline, &case));
        let mut walker = Walker { policy, baseline, case, last };
        walker.case.record(&walker.last);
        walker
    }

    fn sample() -> Self {
        Walker::start(sample(), baseline(), CaseFacts::default())
    }

    pub(super) fn at(&self) -> Position {
        match &self.last.next {
            Next::Run(proposal) => proposal.at.clone(),
            Next::Ask(question) => question.at.clone(),
            Next::Conclude(conclusion) => Position { state: conclusion.state.clone(), attempt: 1 },
        }
    }

    fn tell(&mut self, happened: &Happened<'_>) -> &mut Self {
        self.last = judge(&self.policy, &self.at(), happened, &environment(&self.baseline, &self.case));
        self.case.record(&self.last);
        self
    }

    pub(super) fn shows(&mut self, facts: &Facts) -> &mut Self {
        self.case.record_hours(1.0);
        self.tell(&Happened::Ran(facts))
    }

    pub(super) fn proposal(&self) -> &Proposal {
        match &self.last.next {
            Next::Run(proposal) => proposal,
            other => panic!("no experiment but {other:?}"),
        }
    }

    pub(super) fn conclusion(&self) -> &Conclusion {
        match &self.last.next {
            Next::Conclude(conclusion) => conclusion,
            other => panic!("no conclusion but {other:?}"),
        }
    }

    pub(super) fn passed(&self) -> Vec<(&str, &str)> {
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
    assert_eq!(walker.passed(), []);
    assert_eq!(proposal.step, "1 overfit one point");
    assert_eq!(proposal.why, "4000 steps left 0.98 of the loss; can the model fit a single example?");
    assert_eq!(proposal.changes, knobs(json!({"train_examples": 1, "batch_size": 1, "max_steps": 2000})));
    assert_eq!(proposal.at, Position { state: "overfit_one_point".into(), attempt: 1 });
    assert_eq!(walker.case.phase, "sequence", "only what something speaks for is made in `one_point`");
    assert!(proposal.beliefs["lower_learning_rate"] > proposal.beliefs["normalize_inputs"]);
    assert!(proposal.beliefs.values().sum::<f64>() < 1.0);
}

#[test]
fn what_the_settings_speak_for_comes_first() {
    let mut high = baseline();
    high.knobs.insert("learning_rate".into(), json!(3.0));
    let walker = Walker::start(sample(), high, CaseFacts::default());
    assert_eq!(walker.at().state, "lower_learning_rate");
}

#[test]
fn a_condition_of_the_baseline_concludes_without_an_experiment() {
    let nothing = Facts { crashed: true, started: false, ..Facts::default() };
    let walker = Walker::start(sample(), nothing, CaseFacts::default());
    assert_eq!(walker.conclusion().verdict, "infrastructure");
    assert_eq!(
        (walker.passed(), walker.last.passed[0].why.as_str()),
        (vec![("nonsense_logged", "found")], "the job logged nothing")
    );
}

#[test]
fn an_outcome_changes_what_is_believed_and_excludes_a_test() {
    let mut walker = Walker::sample();
    let before = walker.proposal().beliefs.clone();
    walker.shows(&Facts { fits: true, ..Facts::default() });
    let after = walker.proposal().beliefs.clone();
    assert!(after["lower_learning_rate"] < before["lower_learning_rate"]);
    let mut walker = Walker::sample();
    walker.shows(&Facts::default()).shows(&Facts { worse: true, ..Facts::default() });
    assert_eq!(walker.case.excluded["normalize_inputs"], "`overfit_one_point` came out as fails");
    assert_eq!(walker.at().state, "look_at_data", "the excluded test is passed over");
}

#[test]
fn a_ladder_goes_on_while_it_helps_and_keeps_the_best() {
    let mut walker = Walker::sample();
    walker.shows(&Facts::default());
    assert_eq!(walker.proposal().changes, knobs(json!({"learning_rate": 0.0001})));
    walker.shows(&Facts { better: true, ..Facts::default().with([(Quantity::Progress, 0.4)]) });
    assert_eq!(walker.proposal().at, Position { state: "lower_learning_rate".into(), attempt: 2 });
    assert_eq!(walker.proposal().changes, knobs(json!({"learning_rate": 0.00001})));
    walker.shows(&Facts { better: true, ..Facts::default().with([(Quantity::Progress, 0.3)]) });
    assert_eq!(walker.passed(), [("lower_learning_rate", "no_cure")]);
    assert_eq!(walker.case.changes["lower_learning_rate"], knobs(json!({"learning_rate": 0.0001})), "the best");
    assert!(matches!(&walker.last.next, Next::Ask(q) if q.answers == ["wrong", "right"]
        && q.why.ends_with("came out as no_cure")
        && q.checklist[1] == "Compare unknown examples with their labels"));
    walker.tell(&Happened::Answered("wrong".into()));
    assert_eq!(walker.conclusion().verdict, "data_pipeline");
}

#[test]
fn a_rate_that_is_not_known_has_a_ladder_of_its_own() {
    let mut unknown = baseline();
    unknown.knobs.remove("learning_rate");
    let mut walker = Walker::start(sample(), unknown, CaseFacts::default());
    walker.shows(&Facts { fits: true, ..Facts::default() });
    assert_eq!(walker.proposal().changes, knobs(json!({"learning_rate": 0.001})));
}

#[test]
fn a_cure_is_recommended_from_the_experiment_that_showed_it() {
    let mut walker = Walker::sample();
    let cured = Facts { cured: true, ..Facts::default() }.with([(Quantity::LossStart, 2.0), (Quantity::LossEnd, 0.5)]);
    walker.shows(&Facts::default()).shows(&cured);
    let conclusion = walker.conclusion();
    assert_eq!(
        (conclusion.verdict.as_str(), conclusion.state.as_str()),
        ("learning_rate_too_high", "lower_learning_rate")
    );
    let summary = "with learning_rate = 0.0001, and everything else unchanged, the loss falls from 2 to 0.5; the baseline ended at an unknown loss";
    assert_eq!(conclusion.summary, summary);
    assert_eq!(conclusion.recommended, knobs(json!({"learning_rate": 0.0001})));
}

#[test]
fn a_close_result_is_repeated_with_another_seed() {
    let close = Facts { cured: true, close: true, ..Facts::default() };
    let mut walker = Walker::sample();
    walker.shows(&Facts::default()).shows(&close);
    assert_eq!(walker.proposal().at, Position { state: "confirm".into(), attempt: 1 });
    assert_eq!(walker.proposal().changes, knobs(json!({"learning_rate": 0.0001, "seed": 1})));
    walker.shows(&Facts { cured: true, ..Facts::default() });
    assert_eq!(walker.conclusion().verdict, "learning_rate_too_high");

    let mut walker = Walker::sample();
    walker.shows(&Facts::default()).shows(&close).shows(&Facts::default());
    assert_eq!(walker.passed()[0], ("lower_learning_rate", "not_confirmed"));
    assert_eq!(walker.at().state, "look_at_data", "the sequence goes on");
}

#[test]
fn a_test_follows_another_and_begins_with_its_changes() {
    let mut walker = Walker::sample();
    walker.shows(&Facts { crashed: true, ..Facts::default() });
    let wanted = json!({"train_examples": 1, "batch_size": 1, "max_steps": 2000, "batch_norm": false});
    assert_eq!(walker.proposal().changes, knobs(wanted));
    walker.shows(
        &Facts { finite: false, ..Facts::default() }
            .with([(Quantity::FinitePoints, 2.0), (Quantity::NonFiniteStep, 2.0)]),
    );
    let conclusion = walker.conclusion();
    assert_eq!(conclusion.recommended, knobs(json!({"batch_norm": false, "initializer": "variance_scaling"})));
    assert_eq!(conclusion.summary, "without batch norm the loss left the numbers at step 2");
}

#[test]
fn an_optional_knob_is_left_out_and_a_needed_one_passes_the_test_over() {
    let case = |missing: &str| CaseFacts { missing_knobs: BTreeSet::from([missing.into()]), ..CaseFacts::default() };
    let walker = Walker::start(sample(), baseline(), case("batch_size"));
    assert_eq!(walker.proposal().changes, knobs(json!({"train_examples": 1, "max_steps": 2000})));
    let walker = Walker::start(sample(), baseline(), case("train_examples"));
    assert_eq!(walker.passed(), [("overfit_one_point", "unavailable")]);
    assert_eq!(walker.last.passed[0].why, "the script does not support `train_examples`");
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
fn what_the_baseline_has_already_is_dropped_and_nothing_left_is_skipped() {
    let mut same = baseline();
    same.knobs.insert("batch_size".into(), json!(1.0));
    let walker = Walker::start(sample(), same.clone(), CaseFacts::default());
    assert_eq!(walker.proposal().changes, knobs(json!({"train_examples": 1, "max_steps": 2000})));
    let text = super::SAMPLE.replace("when: baseline.train_examples == 1", "when: baseline.crashed");
    same.knobs.insert("train_examples".into(), json!(1));
    same.knobs.insert("max_steps".into(), json!(2000));
    let walker = Walker::start(read(&text), same.clone(), CaseFacts::default());
    assert_eq!(walker.passed(), [("overfit_one_point", "skipped")]);
    assert_eq!(walker.last.passed[0].why, "the baseline already has these settings");
    let walker = Walker::start(sample(), same, CaseFacts::default());
    assert_eq!(walker.last.passed[0].why, "the baseline is one point already");
}

#[test]
fn the_limits_of_a_case_end_it() {
    let spent = |experiments, hours| CaseFacts { experiments, hours, ..CaseFacts::default() };
    for (case, why) in [
        (spent(5, 0.0), "the case has used its 6 experiments, 1 reserved for a confirmation"),
        (spent(0, 10.0), "the experiments have used their 10 hours"),
        (spent(0, f64::NAN), "the experiments have used their 10 hours"),
    ] {
        let walker = Walker::start(sample(), baseline(), case);
        assert_eq!(walker.passed(), [("overfit_one_point", "limit")]);
        assert_eq!(walker.last.passed[0].why, why);
        assert_eq!(walker.conclusion().verdict, "inconclusive");
    }
}

#[test]
fn the_same_changes_are_not_asked_for_twice() {
    let changes = knobs(json!({"batch_size": 1.0, "train_examples": 1, "max_steps": 2000}));
    let tried = |facts| CaseFacts {
        tried: vec![Tried { test: "earlier".into(), changes: changes.clone(), facts }],
        ..CaseFacts::default()
    };
    let shown = tried(Some(Facts { fits: true, ..Facts::default() }));
    let walker = Walker::start(sample(), baseline(), shown);
    assert_eq!(walker.passed(), [("overfit_one_point", "fits")]);
    assert!(walker.last.passed[0].why.starts_with("`earlier` tried the same changes: "));
    assert!(walker.case.shown["overfit_one_point"].fits, "the facts are the test's own from then on");
    let walker = Walker::start(sample(), baseline(), tried(None));
    assert_eq!(walker.passed()[0], ("overfit_one_point", "unavailable"));
}

#[test]
fn a_test_that_is_gone_ends_the_case() {
    let case = CaseFacts::default();
    let gone = Position { state: "gone".into(), attempt: 1 };
    let advance = judge(&sample(), &gone, &Happened::NeverStarted, &environment(&baseline(), &case));
    assert!(matches!(advance.next, Next::Conclude(c) if c.verdict == "inconclusive" && c.summary.contains("`gone`")));
}

#[test]
fn an_unknown_answer_counts_as_silence() {
    let case = CaseFacts { phase: "sequence".into(), ..CaseFacts::default() };
    let at = Position { state: "look_at_data".into(), attempt: 1 };
    let advance = judge(&sample(), &at, &Happened::Answered("maybe".into()), &environment(&baseline(), &case));
    assert_eq!(
        (advance.passed[0].outcome.as_str(), advance.passed[0].why.as_str()),
        ("silence", "`maybe` is not a possible answer")
    );
}

#[test]
fn information_prefers_the_likely_cause_and_the_cheap_test() {
    let text = super::SAMPLE.replace("order: listed", "order: information").replace(" only: suspected,", "");
    let text = text.replace("one_point: { try: [overfit_one_point]", "one_point: { try: [drop_batch_norm]");
    let text = text.replace("    from: overfit_one_point\n", "");
    let first = |knobs: serde_json::Value| {
        let mut case = baseline();
        case.knobs.extend(serde_json::from_value::<Knobs>(knobs).expect("knobs"));
        let mut walker = Walker::start(read(&text), case, CaseFacts::default());
        walker.shows(&Facts::default());
        walker.at().state
    };
    assert_eq!(first(json!({"learning_rate": 3.0})), "lower_learning_rate");
}

#[test]
fn a_knob_that_a_policy_brings_along_is_changed_only_where_the_site_lists_it() {
    let text = "
policy: small
own_knobs: { warmup_steps: steps of warm-up }
tests:
  longer: { change: { warmup_steps: 10 }, outcomes: { any: otherwise } }
conclusions:
  end: { verdict: inconclusive, summary: end }
states:
  all: { try: [longer], empty: end }
";
    let start = |knobs: Option<&[&str]>| {
        let knobs = knobs.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
        Walker::start(read(text), baseline(), CaseFacts { knobs, ..CaseFacts::default() })
    };
    assert_eq!(start(None).conclusion().state, "end");
    assert_eq!(start(Some(&["learning_rate"])).passed(), [("longer", "unavailable")]);
    assert_eq!(start(Some(&["warmup_steps"])).proposal().changes, knobs(json!({"warmup_steps": 10})));
}
