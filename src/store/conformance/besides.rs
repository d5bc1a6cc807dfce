//! Data that a store keeps in addition to cases and deliveries: status of jobs, the case of a suggestion id, and the log
//! directories.

use super::*;
use crate::case::{Renamed, StopSuggested};

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

pub(super) fn directories_are_kept_and_their_jobs_can_be_renamed(open: Open) {
    let known = |place: &str, name: Option<&str>, watched| KnownDirectory {
        place: place.into(),
        name: name.map(str::to_owned),
        watched,
    };
    let keep = |directories: &[KnownDirectory], renamed: Vec<Renamed>| {
        let directories = Some(directories.to_vec());
        open().commit(&Commit { directories, renamed, ..Commit::default() }).unwrap();
        open().directories().unwrap()
    };
    assert_eq!(open().directories().unwrap(), []);
    let first = [known("/a", None, true)];
    assert_eq!(keep(&first, vec![]), first);
    let moved = [known("/b", None, true)];
    assert_eq!(keep(&moved, vec![]), moved, "the name has moved to another place");
    let told = |job: &str, at: f64| JobFate { job: job.into(), fate: Fate::new(FateState::Running), told: at };
    open().commit(&Commit { fates: vec![told("x", 1.0), told("y/z", 2.0)], ..Commit::default() }).unwrap();
    let two = [known("/b", Some("b"), true), known("/c", Some("c"), true)];
    let named = |from: Option<&str>, to: &str| Renamed { from: from.map(str::to_owned), to: Some(to.to_owned()) };
    assert_eq!(keep(&two, vec![named(None, "b")]), two);
    let jobs = || open().fates().unwrap().into_iter().map(|fate| fate.unwrap().job).collect::<Vec<_>>();
    assert_eq!(jobs(), ["b/x", "b/y/z"]);
    open().commit(&Commit { fates: vec![told("c/x", 3.0)], ..Commit::default() }).unwrap();
    let exchanged = [known("/b", Some("c"), true), known("/c", Some("b"), true)];
    assert_eq!(keep(&exchanged, vec![named(Some("b"), "c"), named(Some("c"), "b")]), exchanged);
    assert_eq!(jobs(), ["c/x", "c/y/z", "b/x"]);
    let one = [known("/c", Some("b"), true)];
    assert_eq!(keep(&one, vec![]), [known("/b", Some("c"), false), one[0].clone()]);
}
