//! Questions to people: the first answer counts, once, before the deadline, and for what was shown.

use serde_json::json;

use super::Open;
use crate::case::{CaseId, Person, Reply};
use crate::store::{Ask, AskKind, AskState, Commit, Replied, Store, Wish};

fn ask(id: &str, case: &str) -> Ask {
    Ask {
        id: id.into(),
        case: CaseId(case.into()),
        job: format!("runs/{case}"),
        kind: AskKind::Approval,
        shown: json!({"command": "python train.py", "overrides": {"learning_rate": 0.001}}),
        fingerprint: "f00".into(),
        answers: vec!["run".into(), "skip".into()],
        asked: 10.0,
        expires: 100.0,
        state: AskState::Open,
    }
}

fn by(user: &str, answer: &str, at: f64) -> Reply {
    let by = Person { provider: "slack".into(), user: user.into(), name: Some("Ada".into()) };
    Reply { answer: answer.into(), by, at, why: "cheap".into() }
}

fn asked(store: &mut dyn Store, asks: Vec<Ask>) {
    let standing = asks.iter().map(|ask| (ask.case.clone(), Some((ask.id.clone(), ask.expires)))).collect();
    store.commit(&Commit { asks, standing, ..Commit::default() }).unwrap();
}

fn open_asks(store: &mut dyn Store) -> Vec<String> {
    store.asks(None, true).unwrap().into_iter().map(|ask| ask.unwrap().id).collect()
}

pub(super) fn the_first_answer_wins_and_is_asked_of_the_daemon_once(open: Open) {
    let mut store = open();
    asked(store.as_mut(), vec![ask("a1", "c1")]);
    assert_eq!(store.ask("a1").unwrap(), Some(ask("a1", "c1")), "it reads back as it was shown");
    let first = by("U1", "run", 20.0);
    let answered = Ask { state: AskState::Answered(first.clone()), ..ask("a1", "c1") };
    assert_eq!(store.reply("a1", Some("f00"), &first).unwrap(), Replied::Kept(answered.clone()));
    let mut other = open();
    for late in [by("U2", "skip", 21.0), first.clone()] {
        assert_eq!(other.reply("a1", None, &late).unwrap(), Replied::Refused(answered.clone()));
    }
    let wishes: Vec<Wish> = other.requests().unwrap().into_iter().map(|request| request.unwrap().wish).collect();
    assert_eq!(wishes, [Wish::Reply { ask: "a1".into(), reply: first }]);
    assert_eq!(open_asks(other.as_mut()), Vec::<String>::new());
    asked(store.as_mut(), vec![ask("a1", "c1")]);
    assert_eq!(store.ask("a1").unwrap(), Some(answered), "asking again under the same id changes nothing");
}

pub(super) fn an_answer_that_is_late_unknown_or_about_something_else_changes_nothing(open: Open) {
    let mut store = open();
    asked(store.as_mut(), vec![ask("a1", "c1")]);
    for (fingerprint, reply) in
        [(Some("other"), by("U1", "run", 20.0)), (None, by("U1", "maybe", 20.0)), (None, by("U1", "run", 100.0))]
    {
        let told = store.reply("a1", fingerprint, &reply).unwrap();
        assert_eq!(told, Replied::Refused(ask("a1", "c1")), "{fingerprint:?} {reply:?}");
    }
    assert_eq!(store.reply("nothing", None, &by("U1", "run", 20.0)).unwrap(), Replied::Unknown);
    assert!(store.requests().unwrap().is_empty());
    assert_eq!(open_asks(store.as_mut()), ["a1"]);
}

pub(super) fn what_a_case_does_not_ask_any_more_cannot_be_answered(open: Open) {
    let mut store = open();
    asked(store.as_mut(), vec![ask("a1", "c1"), ask("b1", "c2")]);
    let next = Ask { asked: 30.0, ..ask("a2", "c1") };
    asked(store.as_mut(), vec![next]);
    assert_eq!(open_asks(store.as_mut()), ["b1", "a2"]);
    let told = store.reply("a1", None, &by("U1", "run", 40.0)).unwrap();
    assert_eq!(told, Replied::Refused(Ask { state: AskState::Withdrawn, ..ask("a1", "c1") }));
    let later = vec![(CaseId("c2".into()), Some(("b1".to_owned(), 500.0)))];
    store.commit(&Commit { standing: later, ..Commit::default() }).unwrap();
    assert!(matches!(store.reply("b1", None, &by("U1", "skip", 400.0)).unwrap(), Replied::Kept(_)), "time was added");
    let closed = vec![(CaseId("c1".into()), None)];
    store.commit(&Commit { standing: closed, ..Commit::default() }).unwrap();
    assert_eq!(open_asks(open().as_mut()), Vec::<String>::new());
    let of_case: Vec<Ask> = store.asks(Some(&CaseId("c2".into())), false).unwrap().into_iter().flatten().collect();
    assert_eq!(of_case.len(), 1, "what was decided stays: {of_case:?}");
}
