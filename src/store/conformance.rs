//! The requirements for every store, as one suite over `dyn Store`.
//!
//! Owns: the expectations. Must not know: the store under test. `open` opens the same store each time it is called,
//! like a restart; the store is empty at first.

mod asks;
mod besides;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::*;
use crate::case::{Body, RunSuggested};
use crate::fate::{Fate, FateState};

/// Opens the store under test; every call sees what earlier calls committed.
pub(super) type Open<'a> = &'a dyn Fn() -> Box<dyn Store>;

/// The whole suite. `fresh` returns a function that opens an empty store.
pub(super) fn suite<O: Fn() -> Box<dyn Store>>(fresh: impl Fn() -> O) {
    for check in [
        cases_read_back,
        a_case_is_found_by_an_unambiguous_beginning,
        journals_keep_their_order,
        requests_wait_until_they_are_handled,
        besides::fates_of_jobs_are_kept_newest_only,
        besides::a_suggestion_is_known_with_its_case,
        besides::directories_are_kept_and_their_jobs_can_be_renamed,
        asks::the_first_answer_wins_and_is_asked_of_the_daemon_once,
        asks::an_answer_that_is_late_unknown_or_about_something_else_changes_nothing,
        asks::what_a_case_does_not_ask_any_more_cannot_be_answered,
        a_message_is_owed_once,
        a_lease_is_committed_and_counted,
        order_is_kept_within_a_case_and_destination,
        what_is_refused_again_and_again_keeps_no_other_case_waiting,
        a_failed_try_waits_for_its_time,
        a_recorded_success_stays,
        what_was_under_way_is_unknown_after_a_start,
        a_held_delivery_neither_goes_out_nor_blocks,
        every_try_is_kept_with_its_answer,
        a_person_decides_about_what_is_not_under_way,
        a_clock_that_was_set_back_delays_nothing,
        deliveries_are_counted_by_destination_and_state,
        only_what_came_to_its_end_is_forgotten,
        a_message_that_waits_is_kept_until_it_goes_out_once,
        silences_begin_and_end,
        numbers_come_back_to_the_last_bit,
    ] {
        check(&fresh());
    }
}

/// Events that can happen to a store.
#[derive(Debug, Clone)]
enum Event {
    /// A message of this case is committed.
    Owe(u8),
    /// A worker leases due deliveries.
    Lease,
    /// The oldest attempt in progress ends in this state.
    End(DeliveryState),
    /// The process ends and restarts.
    Crash,
}

/// Sequences of these events.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let end = prop::sample::select(vec![
        DeliveryState::Delivered,
        DeliveryState::Pending,
        DeliveryState::Unknown,
        DeliveryState::Refused,
        DeliveryState::Dead,
    ]);
    prop::collection::vec(
        prop_oneof![
            3 => (0..3u8).prop_map(Event::Owe),
            4 => Just(Event::Lease),
            4 => end.prop_map(Event::End),
            1 => Just(Event::Crash),
        ],
        0..40,
    )
}

/// For any events in any order: at most one message per case is in progress, no message overtakes another, none is sent
/// after it ended, and finally all messages have ended.
pub(super) fn nothing_is_lost_doubled_or_overtaken<O: Fn() -> Box<dyn Store>>(fresh: impl Fn() -> O) {
    let mut runner = TestRunner::new(ProptestConfig::with_cases(48));
    let result = runner.run(&events(), |events| {
        let mut history = History::new(fresh());
        events.iter().for_each(|event| history.apply(event));
        history.drain();
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

struct History<O> {
    open: O,
    store: Box<dyn Store>,
    owed: BTreeMap<String, Vec<String>>,
    under_way: Vec<Delivery>,
    ended: Vec<String>,
}

impl<O: Fn() -> Box<dyn Store>> History<O> {
    fn new(open: O) -> Self {
        let store = open();
        History { open, store, owed: BTreeMap::new(), under_way: Vec::new(), ended: Vec::new() }
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Owe(case) => {
                let case = format!("c{case}");
                let messages = self.owed.entry(case.clone()).or_default();
                let id = format!("{case}-{}", messages.len());
                messages.push(id.clone());
                owe(self.store.as_mut(), &id, &case, &["queue"]);
            }
            Event::Lease => {
                for delivery in self.store.lease("queue", 0.0, 2).unwrap() {
                    let earlier =
                        self.owed[&delivery.message.case.0].iter().take_while(|id| **id != delivery.message.id);
                    assert!(earlier.clone().all(|id| self.ended.contains(id)), "{} overtakes", delivery.message.id);
                    assert!(!self.ended.contains(&delivery.message.id), "{} goes out again", delivery.message.id);
                    self.under_way.push(delivery);
                }
            }
            Event::End(state) if !self.under_way.is_empty() => {
                let delivery = self.under_way.remove(0);
                self.store.tried(&tried(&delivery, *state, 0.0), 0.0).unwrap();
                if !matches!(state, DeliveryState::Pending | DeliveryState::Unknown) {
                    self.ended.push(delivery.message.id);
                }
            }
            Event::End(_) => {}
            Event::Crash => {
                self.store = (self.open)();
                assert_eq!(self.store.recover(0.0).unwrap() as usize, self.under_way.len());
                self.under_way.clear();
            }
        }
    }

    fn drain(&mut self) {
        self.apply(&Event::Crash);
        while self.store.next_due("queue").unwrap().is_some() {
            self.apply(&Event::Lease);
            self.apply(&Event::End(DeliveryState::Delivered));
            while !self.under_way.is_empty() {
                self.apply(&Event::End(DeliveryState::Delivered));
            }
        }
        let mut owed: Vec<&String> = self.owed.values().flatten().collect();
        let mut ended: Vec<&String> = self.ended.iter().collect();
        owed.sort();
        ended.sort();
        assert_eq!(ended, owed, "each came to one end");
    }
}

fn stored(id: &str, updated: f64, closed: bool) -> StoredCase {
    StoredCase {
        id: CaseId(id.into()),
        baseline: format!("runs/{id}"),
        closed,
        verdict: closed.then(|| "healthy".into()),
        updated,
        state: json!({"at": "overfit_one_point", "steps": [1, 2.5, null]}),
    }
}

fn suggesting(step: &str) -> Body {
    let overrides = [("train_examples".to_owned(), json!(1)), ("batch_size".to_owned(), json!(1))].into();
    Body::RunSuggested(Box::new(RunSuggested { overrides, step: step.to_owned(), ..RunSuggested::default() }))
}

/// A message of a case, for the suite and the outbox's tests.
pub(super) fn message(id: &str, case: &str) -> Message {
    Message {
        id: id.into(),
        case: CaseId(case.into()),
        subject: "resnet/7".into(),
        time: 100.0,
        body: suggesting("1 overfit one point"),
    }
}

fn owe(store: &mut dyn Store, id: &str, case: &str, destinations: &[&str]) {
    let to = destinations.iter().map(|name| (*name).to_owned()).collect();
    store.commit(&Commit { messages: vec![(message(id, case), to)], ..Commit::default() }).unwrap();
}

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.message.id.as_str()).collect()
}

fn tried(delivery: &Delivery, state: DeliveryState, due: f64) -> Tried {
    Tried { delivery: delivery.id, state, due, answer: "so it went".into() }
}

fn cases_read_back(open: Open) {
    let mut store = open();
    let first = stored("c1", 1.0, false);
    let second = stored("c2", 2.0, true);
    store.commit(&Commit { cases: vec![first.clone(), second.clone()], ..Commit::default() }).unwrap();
    assert_eq!(
        open().cases(false).unwrap(),
        [Ok(second), Ok(first.clone())],
        "newest first, and there after a restart"
    );
    assert_eq!(store.cases(true).unwrap(), [Ok(first)]);
    let changed = StoredCase { updated: 3.0, ..stored("c1", 1.0, true) };
    store.commit(&Commit { cases: vec![changed.clone()], ..Commit::default() }).unwrap();
    assert_eq!(store.case("c1").unwrap(), Some(changed), "the newer one takes its place");
    assert_eq!(store.cases(true).unwrap(), []);
}

fn a_case_is_found_by_an_unambiguous_beginning(open: Open) {
    let mut store = open();
    let cases = ["ab", "abc1", "x_1", "xy2"].map(|id| stored(id, 1.0, false)).to_vec();
    store.commit(&Commit { cases, ..Commit::default() }).unwrap();
    for (asked, found) in [
        ("ab", Some("ab")),
        ("abc", Some("abc1")),
        ("a", None),
        ("x_", Some("x_1")),
        ("x", None),
        ("%", None),
        ("", None),
    ] {
        let got = store.case(asked).unwrap().map(|case| case.id.0);
        assert_eq!(got.as_deref(), found, "asked for {asked:?}");
    }
}

fn journals_keep_their_order(open: Open) {
    let mut store = open();
    let entry = |time, kind: &str| JournalEntry { time, kind: kind.into(), detail: json!({"why": kind}) };
    let of = |case: &str, entry: JournalEntry| (CaseId(case.into()), entry);
    let first = vec![of("c1", entry(5.0, "opened")), of("c2", entry(5.0, "opened")), of("c1", entry(4.0, "passed"))];
    store.commit(&Commit { journal: first, ..Commit::default() }).unwrap();
    store.commit(&Commit { journal: vec![of("c1", entry(6.0, "closed"))], ..Commit::default() }).unwrap();
    let journal = open().journal(&CaseId("c1".into())).unwrap();
    assert_eq!(journal, [entry(5.0, "opened"), entry(4.0, "passed"), entry(6.0, "closed")], "as appended, not by time");
    assert_eq!(store.journal(&CaseId("none".into())).unwrap(), []);
}

fn requests_wait_until_they_are_handled(open: Open) {
    let mut store = open();
    let case = CaseId("a".into());
    for job in ["x", "y"] {
        let requests = vec![(Some(case.clone()), Wish::Link(job.into()))];
        store.commit(&Commit { requests, ..Commit::default() }).unwrap();
    }
    let fate = Wish::FateOfJob { job: "runs/1".into(), fate: Fate::new(FateState::Failed) };
    store.commit(&Commit { requests: vec![(None, fate.clone())], ..Commit::default() }).unwrap();
    let all = |store: Box<dyn Store>| -> Vec<Request> {
        let mut store = store;
        store.requests().unwrap().into_iter().map(Result::unwrap).collect()
    };
    let asked = all(open());
    let wishes: Vec<(Option<CaseId>, Wish)> = asked.iter().map(|r| (r.case.clone(), r.wish.clone())).collect();
    let link = |job: &str| (Some(case.clone()), Wish::Link(job.into()));
    assert_eq!(wishes, [link("x"), link("y"), (None, fate)]);
    store.commit(&Commit { handled: vec![asked[0].id], ..Commit::default() }).unwrap();
    assert_eq!(all(open()), asked[1..]);
}

fn a_message_is_owed_once(open: Open) {
    let mut store = open();
    owe(store.as_mut(), "m1", "c1", &["queue"]);
    let sent = store.lease("queue", 0.0, 9).unwrap();
    store.tried(&tried(&sent[0], DeliveryState::Delivered, 0.0), 1.0).unwrap();
    let mut other = message("m1", "c1");
    other.body = suggesting("changed");
    let again = vec![(other, vec!["queue".into(), "slack".into()])];
    store.commit(&Commit { messages: again, ..Commit::default() }).unwrap();
    assert_eq!(store.lease("queue", 2.0, 9).unwrap(), [], "the id is known there");
    let slack = store.lease("slack", 2.0, 9).unwrap();
    assert_eq!(slack[0].message, message("m1", "c1"), "the message stays as it was first said");
}

fn a_lease_is_committed_and_counted(open: Open) {
    let mut store = open();
    owe(store.as_mut(), "m1", "c1", &["queue", "slack"]);
    assert_eq!(store.next_due("queue").unwrap(), Some(0.0));
    let leased = store.lease("queue", 5.0, 1).unwrap();
    assert_eq!((leased[0].state, leased[0].attempts), (DeliveryState::Pending, 1));
    assert_eq!(store.lease("queue", 5.0, 9).unwrap(), [], "nobody else gets it");
    assert_eq!(store.next_due("queue").unwrap(), None);
    let seen = open().deliveries(None, Some(DeliveryState::Sending)).unwrap();
    assert_eq!((ids(&seen), seen[0].destination.as_str(), seen[0].attempts), (vec!["m1"], "queue", 1));
    assert_eq!(ids(&store.lease("slack", 5.0, 9).unwrap()), ["m1"], "each destination has its own");
}

fn order_is_kept_within_a_case_and_destination(open: Open) {
    let mut store = open();
    for (id, case) in [("m1", "c1"), ("m2", "c1"), ("n1", "c2"), ("m3", "c1")] {
        owe(store.as_mut(), id, case, &["queue"]);
    }
    let first = store.lease("queue", 0.0, 9).unwrap();
    assert_eq!(ids(&first), ["m1", "n1"], "one of each case");
    store.tried(&tried(&first[0], DeliveryState::Pending, 50.0), 1.0).unwrap();
    assert_eq!(store.lease("queue", 10.0, 9).unwrap(), [], "m2 waits for m1");
    assert_eq!(store.next_due("queue").unwrap(), Some(50.0), "and is not what is due next");
    for (now, state) in [(50.0, DeliveryState::Refused), (51.0, DeliveryState::Dead)] {
        let next = store.lease("queue", now, 9).unwrap();
        store.tried(&tried(&next[0], state, 0.0), now).unwrap();
    }
    assert_eq!(ids(&store.lease("queue", 52.0, 9).unwrap()), ["m3"], "refused and given up are both an end");
    let newest_first = store.deliveries(Some(&CaseId("c1".into())), None).unwrap();
    assert_eq!(ids(&newest_first), ["m3", "m2", "m1"]);
}

fn what_is_refused_again_and_again_keeps_no_other_case_waiting(open: Open) {
    let mut store = open();
    let fail = |store: &mut dyn Store, now: f64, due: f64| {
        let next = store.lease("queue", now, 1).unwrap().remove(0);
        store.tried(&tried(&next, DeliveryState::Pending, due), now).unwrap();
        next.message.id
    };
    owe(store.as_mut(), "m1", "c1", &["queue"]);
    assert_eq!(fail(store.as_mut(), 0.0, 1.0), "m1");
    owe(store.as_mut(), "n1", "c2", &["queue"]);
    owe(store.as_mut(), "o1", "c3", &["queue"]);
    // All are due.
    let order: Vec<String> = (0..6).map(|n| fail(store.as_mut(), 10.0 + f64::from(n), 10.5 + f64::from(n))).collect();
    assert_eq!(order, ["n1", "o1", "m1", "n1", "o1", "m1"]);
}

fn a_failed_try_waits_for_its_time(open: Open) {
    let mut store = open();
    owe(store.as_mut(), "m1", "c1", &["queue"]);
    let first = store.lease("queue", 0.0, 1).unwrap();
    store.tried(&tried(&first[0], DeliveryState::Pending, 60.0), 1.0).unwrap();
    assert_eq!(store.lease("queue", 59.9, 1).unwrap(), []);
    let second = store.lease("queue", 60.0, 1).unwrap();
    assert_eq!((second[0].attempts, second[0].answer.clone()), (2, Some("so it went".into())));
}

fn a_recorded_success_stays(open: Open) {
    let mut store = open();
    owe(store.as_mut(), "m1", "c1", &["queue"]);
    let leased = store.lease("queue", 0.0, 1).unwrap();
    store.tried(&tried(&leased[0], DeliveryState::Delivered, 0.0), 1.0).unwrap();
    store.tried(&tried(&leased[0], DeliveryState::Pending, 0.0), 2.0).unwrap();
    assert_eq!(store.lease("queue", 9.0, 1).unwrap(), []);
    assert_eq!(store.deliveries(None, Some(DeliveryState::Delivered)).unwrap().len(), 1);
}

fn what_was_under_way_is_unknown_after_a_start(open: Open) {
    let mut store = open();
    owe(store.as_mut(), "m1", "c1", &["queue"]);
    owe(store.as_mut(), "m2", "c2", &["queue"]);
    store.lease("queue", 0.0, 1).unwrap();
    let mut again = open();
    assert_eq!(again.recover(5.0).unwrap(), 1);
    assert_eq!(again.recover(6.0).unwrap(), 0);
    let unknown = again.deliveries(None, Some(DeliveryState::Unknown)).unwrap();
    assert_eq!(ids(&unknown), ["m1"]);
    let mut leased = again.lease("queue", 7.0, 9).unwrap();
    leased.sort_by(|a, b| a.message.id.cmp(&b.message.id));
    assert_eq!(ids(&leased), ["m1", "m2"]);
    assert_eq!(leased[0].state, DeliveryState::Unknown, "whoever sends must know that it may have arrived");
}

fn a_held_delivery_neither_goes_out_nor_blocks(open: Open) {
    let mut store = open();
    owe(store.as_mut(), "m1", "c1", &["slack"]);
    owe(store.as_mut(), "m2", "c1", &["slack"]);
    let leased = store.lease("slack", 0.0, 1).unwrap();
    store.tried(&tried(&leased[0], DeliveryState::Held, 0.0), 1.0).unwrap();
    assert_eq!(ids(&store.lease("slack", 1e12, 9).unwrap()), ["m2"]);
    assert_eq!(store.next_due("slack").unwrap(), None);
    store.tried(&tried(&leased[0], DeliveryState::Pending, 3.0), 3.0).unwrap();
    assert_eq!(ids(&store.lease("slack", 3.0, 9).unwrap()), ["m1"], "a person may let it go");
}

pub(super) fn wait(id: &str, case: &str, destination: &str) -> Wait {
    Wait { message: message(id, case), destination: destination.into(), until: 7.5, why: "quiet time".into() }
}

fn a_message_that_waits_is_kept_until_it_goes_out_once(open: Open<'_>) {
    let wait = |id: &str, destination: &str| wait(id, "c1", destination);
    let waiting = vec![wait("m1", "team"), wait("m2", "team"), wait("m1", "team"), wait("m1", "mail")];
    open().commit(&Commit { waiting: waiting.clone(), ..Commit::default() }).unwrap();
    let rows = open().quieted().unwrap().waiting;
    let kept: Vec<Wait> = rows.iter().map(|row| row.wait.clone()).collect();
    assert_eq!(kept, [waiting[0].clone(), waiting[1].clone(), waiting[3].clone()], "in their order, and each once");
    assert_eq!(open().deliveries(None, None).unwrap(), [], "none is owed yet");

    let released = vec![(rows[0].id, "digest-1".to_owned())];
    let messages = vec![(message("digest-1", "digest-1"), vec!["team".to_owned()])];
    open().commit(&Commit { released, messages, ..Commit::default() }).unwrap();
    let left: Vec<i64> = open().quieted().unwrap().waiting.iter().map(|row| row.id).collect();
    assert_eq!(left, [rows[1].id, rows[2].id]);
    open().commit(&Commit { waiting: vec![wait("m1", "team")], ..Commit::default() }).unwrap();
    assert_eq!(open().quieted().unwrap().waiting.len(), 2, "what went out does not wait again");

    let of_message = |id: &str| open().history(Which { message: Some(id), ..Which::default() }).unwrap();
    let told: Vec<Owed> = of_message("m1").into_iter().map(Result::unwrap).collect();
    assert_eq!(told.iter().map(|owed| owed.delivery.message.id.as_str()).collect::<Vec<_>>(), ["digest-1"]);
    assert_eq!(of_message("m2").len(), 0, "it did not go out in a digest");
    assert_eq!(open().tally().unwrap().waiting, [("mail".to_owned(), 1), ("team".to_owned(), 1)]);

    open().commit(&Commit { withdrawn: vec![rows[0].id, rows[1].id], ..Commit::default() }).unwrap();
    let left: Vec<i64> = open().quieted().unwrap().waiting.iter().map(|row| row.id).collect();
    assert_eq!(left, [rows[2].id], "what is taken back does not go out");
    assert_eq!(of_message("m1").len(), 1, "what went out is out");
}

fn silences_begin_and_end(open: Open<'_>) {
    let silence = |id: &str| Silence {
        id: id.into(),
        jobs: "vision/**".into(),
        until: 1e9 + 0.5,
        author: "ada".into(),
        why: "known".into(),
        made: 3.0,
    };
    let silences = vec![silence("s1"), silence("s2")];
    open().commit(&Commit { silences: silences.clone(), ..Commit::default() }).unwrap();
    assert_eq!(open().quieted().unwrap().silences, silences);
    open().commit(&Commit { unsilenced: vec!["s1".into()], ..Commit::default() }).unwrap();
    assert_eq!(open().quieted().unwrap().silences, silences[1..]);
}

fn numbers_come_back_to_the_last_bit(open: Open) {
    let mut store = open();
    let numbers: [f64; 5] = [0.1 + 0.2, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1_f64.powi(5), -0.0];
    let case = StoredCase { state: json!(numbers), ..stored("c1", 1_763_851_234.567_891_2, false) };
    store.commit(&Commit { cases: vec![case.clone()], ..Commit::default() }).unwrap();
    let back = open().case("c1").unwrap().unwrap();
    assert_eq!(back.updated.to_bits(), case.updated.to_bits());
    for (index, number) in numbers.iter().enumerate() {
        assert_eq!(back.state[index].as_f64().unwrap().to_bits(), number.to_bits(), "number {index}");
    }
}

fn listed(store: &mut dyn Store, which: Which<'_>) -> Vec<Owed> {
    store.history(which).unwrap().into_iter().map(Result::unwrap).collect()
}

fn every_try_is_kept_with_its_answer(open: Open) {
    let mut store = open();
    owe(store.as_mut(), "m1", "c1", &["queue"]);
    let first = store.lease("queue", 5.0, 1).unwrap();
    store.tried(&tried(&first[0], DeliveryState::Pending, 7.0), 6.0).unwrap();
    store.lease("queue", 7.0, 1).unwrap();
    let mut again = open();
    let owed = listed(again.as_mut(), Which::default()).remove(0);
    let told = |attempt: &Attempt| (attempt.number, attempt.begun, attempt.ended, attempt.outcome);
    let tries: Vec<_> = owed.tries.iter().map(told).collect();
    assert_eq!(tries, [(1, 5.0, Some(6.0), Some(DeliveryState::Pending)), (2, 7.0, None, None)]);
    assert_eq!((owed.tries[0].answer.clone(), owed.changed), (Some("so it went".into()), 7.0));
    again.recover(9.0).unwrap();
    let owed = listed(again.as_mut(), Which { message: Some("m1"), ..Which::default() }).remove(0);
    assert_eq!(told(&owed.tries[1]), (2, 7.0, Some(9.0), Some(DeliveryState::Unknown)), "the crash is its end");
    assert_eq!(listed(again.as_mut(), Which { message: Some("m2"), ..Which::default() }), []);
    assert_eq!(listed(again.as_mut(), Which { delivery: Some(owed.delivery.id), ..Which::default() }).len(), 1);
}

fn a_person_decides_about_what_is_not_under_way(open: Open) {
    use DeliveryState::{Dead, Delivered, Held, Pending, Refused, Sending};
    let drop = || Decision::Drop { why: "told by phone".into(), at: 9.0 };
    for (index, (before, due, decision, after)) in [
        (Dead, 0.0, Decision::Resend, Pending),
        (Held, 0.0, Decision::Resend, Pending),
        (Pending, 900.0, Decision::Resend, Pending),
        (Delivered, 0.0, Decision::Resend, Delivered),
        (Refused, 0.0, Decision::Resend, Refused),
        (Held, 0.0, drop(), Dead),
        (Pending, 900.0, drop(), Dead),
        (Delivered, 0.0, drop(), Delivered),
        (Sending, 0.0, drop(), Sending),
    ]
    .into_iter()
    .enumerate()
    {
        let (mut store, id) = (open(), format!("d{index}"));
        owe(store.as_mut(), &id, &id, &[&id]);
        let leased = store.lease(&id, 1.0, 1).unwrap();
        if before != Sending {
            store.tried(&tried(&leased[0], before, due), 1.0).unwrap();
        }
        let decisions = vec![(leased[0].id, decision.clone())];
        store.commit(&Commit { decisions, ..Commit::default() }).unwrap();
        let owed = listed(store.as_mut(), Which { message: Some(&id), ..Which::default() }).remove(0);
        assert_eq!(owed.delivery.state, after, "{before:?} {decision:?}");
        let at_once = store.lease(&id, 2.0, 1).unwrap();
        assert_eq!(at_once.len(), usize::from(after == Pending), "{before:?} {decision:?}");
        if after == Dead {
            assert_eq!((owed.delivery.answer, owed.changed), (Some("told by phone".into()), 9.0));
        }
    }
}

fn a_clock_that_was_set_back_delays_nothing(open: Open) {
    let mut store = open();
    for (id, state, due) in [("m1", DeliveryState::Pending, 100_060.0), ("m2", DeliveryState::Held, 0.0)] {
        owe(store.as_mut(), id, id, &["queue"]);
        let leased = store.lease("queue", 100_001.0, 1).unwrap();
        store.tried(&tried(&leased[0], state, due), 100_001.0).unwrap();
    }
    assert_eq!(store.lease("queue", 100_002.0, 9).unwrap(), [], "it waits for its time");
    assert_eq!(ids(&store.lease("queue", 5_000.0, 9).unwrap()), ["m1"], "but not for a day that was never");
}

fn deliveries_are_counted_by_destination_and_state(open: Open) {
    let mut store = open();
    assert_eq!(store.tally().unwrap(), Tally::default());
    for id in ["m1", "m2", "m3"] {
        owe(store.as_mut(), id, id, &["queue", "slack"]);
    }
    let sent = store.lease("queue", 1.0, 1).unwrap();
    store.tried(&tried(&sent[0], DeliveryState::Delivered, 0.0), 1.0).unwrap();
    let sent = store.lease("slack", 1.0, 1).unwrap();
    store.tried(&tried(&sent[0], DeliveryState::Held, 0.0), 1.0).unwrap();
    let mut tally = store.tally().unwrap();
    tally.counts.sort_by(|a, b| (&a.0, a.2).cmp(&(&b.0, b.2)));
    let count = |place: &str, state, count| (place.to_owned(), state, count);
    let wanted = [
        count("queue", DeliveryState::Delivered, 1),
        count("queue", DeliveryState::Pending, 2),
        count("slack", DeliveryState::Held, 1),
        count("slack", DeliveryState::Pending, 2),
    ];
    assert_eq!(tally.counts, wanted);
    assert_eq!(tally.oldest, Some(100.0));
}

fn only_what_came_to_its_end_is_forgotten(open: Open) {
    let mut store = open();
    let entry = || JournalEntry { time: 1.0, kind: "opened".into(), detail: json!({}) };
    // Of each: an open case, a closed one that still owes, one closed long ago, one closed lately, one to be kept.
    for (case, closed, updated, state) in [
        ("open", false, 1.0, DeliveryState::Delivered),
        ("owing", true, 1.0, DeliveryState::Pending),
        ("old", true, 1.0, DeliveryState::Dead),
        ("late", true, 200.0, DeliveryState::Delivered),
        ("kept", true, 1.0, DeliveryState::Delivered),
    ] {
        let journal = vec![(CaseId(case.into()), entry())];
        store.commit(&Commit { cases: vec![stored(case, updated, closed)], journal, ..Commit::default() }).unwrap();
        owe(store.as_mut(), case, case, &["queue"]);
        let leased = store.lease("queue", 1.0, 1).unwrap();
        store.tried(&tried(&leased[0], state, 900.0), 1.0).unwrap();
    }
    // Besides: a closed case with a message that waits, one with a message that went out in a digest, and that digest.
    for (case, sent_as) in [("waiting", None), ("digested", Some("digest"))] {
        let waiting = vec![wait(case, case, "people")];
        store.commit(&Commit { cases: vec![stored(case, 1.0, true)], waiting, ..Commit::default() }).unwrap();
        if let Some(digest) = sent_as {
            let row = store.quieted().unwrap().waiting.into_iter().find(|row| row.wait.message.id == case).unwrap();
            store.commit(&Commit { released: vec![(row.id, digest.into())], ..Commit::default() }).unwrap();
            owe(store.as_mut(), digest, digest, &["people"]);
            let leased = store.lease("people", 1.0, 1).unwrap();
            store.tried(&tried(&leased[0], DeliveryState::Delivered, 0.0), 1.0).unwrap();
        }
    }
    let cases = ["open", "owing", "old", "late", "waiting", "digested"].map(|id| CaseId(id.into())).to_vec();
    store.commit(&Commit { forget: Some(Forget { before: 150.0, cases }), ..Commit::default() }).unwrap();
    let mut left: Vec<String> = store.cases(false).unwrap().into_iter().map(|case| case.unwrap().id.0).collect();
    left.sort();
    assert_eq!(left, ["kept", "late", "open", "owing", "waiting"]);
    assert_eq!(store.quieted().unwrap().waiting.len(), 1, "what waits goes on waiting");
    assert_eq!(ids(&store.deliveries(None, None).unwrap()), ["late", "owing", "open"], "newest first");
    assert_eq!(store.journal(&CaseId("old".into())).unwrap(), []);
    assert_eq!(store.journal(&CaseId("kept".into())).unwrap().len(), 1);
    assert_eq!(ids(&store.lease("queue", 900.0, 9).unwrap()), ["owing"], "what is owed is still sent");
}
