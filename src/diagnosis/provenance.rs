//! Where beliefs come from, and what a case goes on under when its policy or the weights change.

use serde_json::json;

use super::tests::site;
use super::trials::{Bench, TWO_STEPS};
use super::*;
use crate::belief::Weights;
use crate::case::{Body, MessageKind, POLICY_CHANGED, Versions};

fn journal(changes: &Changes, kind: &str) -> Vec<serde_json::Value> {
    let entries = changes.journal.iter().filter(|(_, entry)| entry.kind == kind);
    entries.map(|(_, entry)| entry.detail.clone()).collect()
}

#[test]
fn what_is_believed_before_and_after_each_experiment_is_kept_and_told() {
    let mut bench = Bench::new(site(TWO_STEPS));
    let opened = bench.look();
    let probability = bench.case().belief.as_ref().expect("it is kept").probability;
    assert!(probability > 0.5, "{probability}");
    assert_eq!(journal(&opened, "opened")[0]["probability"], json!(probability));
    let Body::RunSuggested(first) = bench.messages.last().unwrap().body.clone() else { panic!("a run is suggested") };
    assert_eq!(first.about.probability, Some(probability));
    assert!(!first.about.speaks_for.is_empty());
    let tests: Vec<&str> = first.beliefs.iter().map(|belief| belief.test.as_str()).collect();
    assert_eq!(tests, ["lower", "lower_still"]);
    assert_eq!(first.beliefs[0].overrides["learning_rate"], 0.1);
    assert_eq!(first.beliefs[0].cost.unwrap().steps, Some(200));
    assert_eq!(first.believed.len(), 1, "both tests name one cause: {:?}", first.believed);
    let before = first.believed[0].before;
    assert!((0.5..1.0).contains(&before) && first.believed[0].after.is_none(), "{before}");

    bench.run(200, false, &[("learning_rate", 0.1)]);
    let judged = bench.look();
    let believed = &bench.case().experiments[0].believed[0];
    assert_eq!((believed.cause.as_str(), believed.before), ("learning_rate_too_high", before));
    let after = believed.after.expect("it was evidence");
    assert!(after < before, "one of two tests failed: {before} to {after}");
    let entry = &journal(&judged, "believed")[0];
    assert_eq!(entry["believed"][0], json!({ "cause": "learning_rate_too_high", "before": before, "after": after }));
    assert_eq!(entry["next"][0]["test"], "lower_still");
    assert_eq!(entry["next"][0]["cost"]["steps"], 200);
    let Body::RunSuggested(second) = bench.messages.last().unwrap().body.clone() else {
        panic!("another is suggested")
    };
    assert_eq!(second.believed[0].after, Some(after));

    bench.run(200, false, &[("learning_rate", 0.01)]);
    bench.look();
    let Body::CaseClosed(end) = bench.messages.last().unwrap().body.clone() else { panic!("it is closed") };
    assert_eq!(end.experiments[0].believed[0].after, Some(after));
    assert!(end.experiments[1].believed[0].after.unwrap() < after);
}

#[test]
fn an_experiment_that_is_no_evidence_moves_nothing() {
    let mut bench = Bench::plain();
    bench.run(200, true, &[("learning_rate", 1.0)]);
    let changes = bench.look();
    assert_eq!(bench.outcomes()[0], Some("not_as_asked"));
    assert!(journal(&changes, "believed").is_empty());
    assert_eq!(bench.case().experiments[0].believed[0].after, None);
}

#[test]
fn a_case_goes_on_under_a_changed_policy_where_that_is_sound_and_says_so() {
    let mut bench = Bench::plain();
    let versions = bench.case().versions.clone();
    assert_eq!(versions.weights.as_deref(), Some(Weights::shipped().id.as_str()));
    let same = bench.look();
    assert!(same.is_empty(), "nothing was changed: {same:?}");
    bench.diagnosis.go_on_at(site(&format!("{TWO_STEPS}# read once more\n")));
    let changed = bench.look();
    let entry = &journal(&changed, "changed")[0];
    assert_eq!(entry["before"]["policy"], json!(versions.policy));
    assert_ne!(entry["after"]["policy"], json!(versions.policy));
    assert_eq!(bench.case().versions, versions, "it keeps what it was opened under");
    assert!(bench.case().goes_on_under.is_some() && bench.case().closed.is_none());
    assert!(bench.look().is_empty(), "it is noted once");
    bench.run(200, true, &[("learning_rate", 0.1)]);
    bench.look();
    assert_eq!(bench.case().closed.as_ref().unwrap().verdict, "learning_rate_too_high");
}

#[test]
fn a_case_whose_test_is_gone_is_closed_with_the_reason_and_its_job_gets_another_case() {
    let mut bench = Bench::plain();
    let old = bench.case().id.clone();
    let renamed = TWO_STEPS.replace("  lower:", "  reduce:").replace("[lower,", "[reduce,");
    bench.diagnosis.go_on_at(site(&renamed));
    bench.look();
    let closed = bench.diagnosis.cases().find(|case| case.id == old).unwrap();
    let end = closed.closed.as_ref().expect("it cannot go on");
    assert_eq!((end.state.as_str(), end.verdict.as_str()), (POLICY_CHANGED, "inconclusive"));
    assert!(end.summary.contains("the policy short was changed while this case was open"), "{}", end.summary);
    assert!(end.summary.contains("`lower`") && end.summary.contains("1 experiment was made"), "{}", end.summary);
    bench.look();
    let cases: Vec<&Case> = bench.diagnosis.cases().filter(|case| case.closed.is_none()).collect();
    assert_eq!(cases.len(), 1);
    assert_eq!(cases[0].position.state, "reduce");
    assert_eq!(bench.kinds(MessageKind::CaseClosed), 1);
    bench.look();
    assert_eq!(bench.diagnosis.cases().count(), 2, "and no more");
}

#[test]
fn a_case_from_before_versions_were_kept_takes_those_of_now() {
    let bench = Bench::plain();
    let mut case = bench.case().clone();
    case.versions = Versions::default();
    let mut diagnosis = Diagnosis::new(site(TWO_STEPS), [case]);
    let changes = diagnosis.tick(&bench.runs, bench.now + 1.0);
    assert!(journal(&changes, "changed").is_empty());
    assert_eq!(diagnosis.cases().next().unwrap().versions, bench.case().versions);
    assert_eq!(changes.cases.len(), 1, "it is kept");
}

#[test]
fn a_case_under_other_weights_goes_on_and_names_both() {
    let mut bench = Bench::plain();
    let mut case = bench.case().clone();
    case.versions.weights = Some("1-00000000".to_owned());
    bench.diagnosis = Diagnosis::new(site(TWO_STEPS), [case]);
    let changes = bench.look();
    let entry = &journal(&changes, "changed")[0];
    assert_eq!(entry["before"]["weights"], "1-00000000");
    assert_eq!(entry["after"]["weights"], json!(Weights::shipped().id));
    assert!(bench.case().closed.is_none());
}
