//! What a store keeps besides cases and deliveries: fates of jobs, and what experiments cost.

use super::*;
use crate::case::StopSuggested;

pub(super) fn fates_of_jobs_are_kept_newest_only(open: Open) {
    let told = |job: &str, state, told| JobFate { job: job.into(), fate: Fate::new(state), told };
    let failed = JobFate {
        fate: Fate { tail: Some("Traceback\n  boom".into()), exit_code: Some(1), ..Fate::new(FateState::Failed) },
        ..told("a", FateState::Failed, 5.0)
    };
    let fates = vec![told("a", FateState::Running, 1.0), told("b", FateState::Queued, 2.0)];
    open().commit(&Commit { fates, ..Commit::default() }).unwrap();
    open().commit(&Commit { fates: vec![failed.clone()], ..Commit::default() }).unwrap();
    let kept = || open().fates().unwrap().into_iter().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(kept(), [told("b", FateState::Queued, 2.0), failed.clone()]);
    open().commit(&Commit { forget: Some(Forget { before: 3.0, cases: vec![] }), ..Commit::default() }).unwrap();
    assert_eq!(kept(), [failed]);
}

pub(super) fn a_suggestion_is_known_with_its_case(open: Open) {
    let mut store = open();
    owe(store.as_mut(), "m1", "c1", &["queue"]);
    owe(store.as_mut(), "m2", "c2", &["queue"]);
    let mut stop = message("m3", "c1");
    stop.body = Body::StopSuggested(StopSuggested::default());
    let messages = vec![(stop, vec!["slack".into()])];
    let cases = vec![stored("c1", 1.0, false), stored("c2", 1.0, true)];
    store.commit(&Commit { cases, messages, ..Commit::default() }).unwrap();
    let suggested = |case: &str, closed| Some(OfCase { case: CaseId(case.into()), closed, updated: 1.0 });
    assert_eq!(store.suggested("m1").unwrap(), suggested("c1", false));
    assert_eq!(store.suggested("m2").unwrap(), suggested("c2", true));
    assert_eq!(store.suggested("m3").unwrap(), None, "not every message suggests a run");
    assert_eq!(store.suggested("m").unwrap(), None);
    let anew = StoredCase { baseline: "runs/c1".into(), ..stored("c3", 5.0, true) };
    store.commit(&Commit { cases: vec![anew], ..Commit::default() }).unwrap();
    assert_eq!(store.newest_case_of("runs/c1").unwrap(), suggested("c1", false), "the open one, older or not");
    assert_eq!(store.newest_case_of("runs/c2").unwrap(), suggested("c2", true));
    assert_eq!(store.newest_case_of("runs/none").unwrap(), None);
}

pub(super) fn what_experiments_cost_outlives_a_restart(open: Open) {
    let spent = |suggestion: &str, case: Option<&str>, day: &str, hours: f64| Spending {
        suggestion: suggestion.into(),
        case: case.map(|case| CaseId(case.into())),
        team: "vision".into(),
        day: day.into(),
        time: hours,
        hours,
        gpu_hours: 4.0 * hours,
    };
    let (first, second) = (spent("s1", Some("c1"), "2026-11-28", 1.0), spent("s2", Some("c2"), "2026-11-29", 2.0));
    let probe = spent("s3", None, "2026-11-29", 3.0);
    let all = vec![first.clone(), second.clone(), probe.clone()];
    let cases = vec![stored("c1", 1.0, false)];
    open().commit(&Commit { cases, spent: all.clone(), ..Commit::default() }).unwrap();
    assert_eq!(open().spending("").unwrap(), all);
    assert_eq!(open().spending("2026-11-29").unwrap(), [second, probe.clone()]);
    let actual = spent("s2", Some("c2"), "2026-11-29", 2.5);
    open().commit(&Commit { spent: vec![actual.clone()], ..Commit::default() }).unwrap();
    assert_eq!(open().spending("").unwrap(), [first.clone(), actual, probe.clone()], "each counts once");
    open().commit(&Commit { forget: Some(Forget { before: 2.75, cases: vec![] }), ..Commit::default() }).unwrap();
    assert_eq!(open().spending("").unwrap(), [first, probe], "but what belongs to a case that is kept");
}
