//! Nothing is lost or duplicated, and the messages of each case are in order, whatever happens and when.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::{Time, time};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::case::Body;
use crate::config::{KnobTest, Quiet, Rule, Span, Watched};

const HOUR: f64 = 3600.0;

fn outlet(name: &str, patience: Patience, route: Route) -> Outlet {
    let wants = vec![MessageKind::CaseOpened, MessageKind::RunSuggested, MessageKind::CaseClosed];
    Outlet { name: name.to_owned(), wants, route, patience, machine: patience == Patience::AtOnce }
}

fn knobs(value: Value) -> Knobs {
    value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn message(id: &str, case: &str, kind: MessageKind, time: f64) -> Message {
    let body = Body::read(kind, json!({"symptoms": ["not_learning"], "step": "1 overfit"})).unwrap();
    Message { id: id.into(), case: CaseId(case.into()), subject: format!("runs/{case}"), time, body }
}

fn opening(case: &str, time: f64) -> Opening {
    Opening { job: format!("runs/{case}"), knobs: Knobs::default(), symptoms: vec!["not_learning".into()], time }
}

/// Quiet from 22 to 7, in UTC.
fn nights() -> Quiet {
    let span = Span::Daily { days: vec![], from: time(22, 0, 0, 0), to: time(7, 0, 0, 0) };
    Quiet { span, zone: TimeZone::UTC, why: None }
}

/// A destination that people read and one that machines read, with a store and a sender that keep their promises.
struct World {
    noise: Noise,
    watched: Watched,
    outlets: Vec<Outlet>,
    quieted: Quieted,
    openings: Vec<Opening>,
    busy: BTreeSet<String>,
    now: f64,
    /// By destination, what it was told, digests taken apart.
    told: BTreeMap<String, Vec<String>>,
    digests: usize,
    silenced: Vec<String>,
    rows: i64,
}

impl World {
    fn new(noise: Noise, outlets: Vec<Outlet>) -> World {
        World {
            noise,
            watched: Watched::default(),
            outlets,
            quieted: Quieted::default(),
            openings: Vec::new(),
            busy: BTreeSet::new(),
            now: 12.0 * HOUR,
            told: BTreeMap::new(),
            digests: 0,
            silenced: Vec::new(),
            rows: 0,
        }
    }

    fn situation(&self) -> Situation<'_> {
        Situation {
            noise: &self.noise,
            watched: &self.watched,
            outlets: &self.outlets,
            quieted: &self.quieted,
            openings: &self.openings,
            busy: &self.busy,
            now: self.now,
        }
    }

    fn say(&mut self, messages: Vec<Message>) {
        let opened = messages.iter().filter(|message| message.kind() == MessageKind::CaseOpened);
        self.openings.extend(opened.map(|message| opening(&message.case.0, self.now)));
        let letters = messages.into_iter().map(|message| Letter { message, knobs: Knobs::default() }).collect();
        let plan = self.situation().share(letters);
        self.commit(plan);
    }

    fn release(&mut self) {
        for outlet in self.outlets.clone() {
            if let Some(plan) = self.situation().release(&outlet.name, &BTreeSet::new()) {
                self.commit(plan);
            }
        }
    }

    fn commit(&mut self, plan: Plan) {
        for (message, to) in plan.owed {
            for name in to {
                let told = self.told.entry(name.clone()).or_default();
                if message.kind() == MessageKind::Digest {
                    self.digests += 1;
                    self.busy.insert(name);
                    let Body::Digest(digest) = &message.body else { panic!("{message:?}") };
                    let lines = digest.items.iter().flat_map(|item| &item.messages);
                    told.extend(lines.map(|said| said.id.clone()));
                } else {
                    told.push(message.id.clone());
                }
            }
        }
        let released: Vec<i64> = plan.released.iter().map(|(id, _)| *id).collect();
        self.quieted.waiting.retain(|row| !released.contains(&row.id) && !plan.withdrawn.contains(&row.id));
        for wait in plan.waiting {
            self.rows += 1;
            self.quieted.waiting.push(WaitingMessage { id: self.rows, wait });
        }
        let noted = plan.journal.iter().filter(|(_, entry)| entry.kind == "silenced").count();
        assert_eq!(noted, plan.silenced.len(), "the journal says each");
        self.silenced.extend(plan.silenced);
    }

    fn told(&self, name: &str) -> Vec<&str> {
        self.told.get(name).into_iter().flatten().map(String::as_str).collect()
    }
}

fn people_and_machines() -> Vec<Outlet> {
    vec![outlet("team", Patience::MayWait, Route::All), outlet("queue", Patience::AtOnce, Route::All)]
}

fn opened(cases: std::ops::Range<usize>, time: f64) -> Vec<Message> {
    cases.map(|n| message(&format!("c{n}-opened"), &format!("c{n}"), MessageKind::CaseOpened, time)).collect()
}

#[test]
fn a_sweep_that_fails_is_one_message_for_people_and_each_for_machines() {
    let mut world = World::new(Noise::default(), people_and_machines());
    world.say(opened(0..40, world.now));
    assert_eq!((world.told("team").len(), world.told("queue").len()), (0, 40));
    world.now += 60.0;
    world.say(opened(40..41, world.now));
    world.release();
    assert_eq!(world.told("team").len(), 0, "more may come");
    world.now += 60.0;
    world.release();
    assert_eq!((world.told("team").len(), world.digests), (41, 2), "thirty cases a digest");
    world.busy.clear();
    world.now += HOUR;
    world.say(opened(50..52, world.now));
    assert_eq!(world.told("team").len(), 43, "two are told of one by one");
}

#[test]
fn what_a_night_brings_comes_in_the_morning() {
    let noise = Noise { quiet: vec![nights()], ..Noise::default() };
    let mut world = World::new(noise, people_and_machines());
    world.now = 23.0 * HOUR;
    world.say(opened(0..2, world.now));
    world.say(vec![message("s1", "c0", MessageKind::RunSuggested, world.now)]);
    world.say(vec![message("c0-closed", "c0", MessageKind::CaseClosed, world.now)]);
    assert_eq!(world.told("queue"), ["c0-opened", "c1-opened", "s1", "c0-closed"], "machines do not sleep");
    world.now = 30.9 * HOUR;
    world.release();
    assert!(world.told("team").is_empty());
    world.now = 31.0 * HOUR;
    world.release();
    assert_eq!(world.told("team"), ["c0-opened", "s1", "c0-closed", "c1-opened"]);
    assert_eq!(world.digests, 1);
    world.say(vec![message("c1-closed", "c1", MessageKind::CaseClosed, world.now)]);
    world.release();
    assert_eq!(world.told("team").len(), 4, "nothing overtakes a digest that is under way");
    world.busy.clear();
    world.release();
    assert_eq!(world.told("team").last(), Some(&"c1-closed"));
}

#[test]
fn a_few_that_waited_go_out_as_they_are_but_not_before_what_is_under_way() {
    let mut world = World::new(Noise { quiet: vec![nights()], ..Noise::default() }, people_and_machines());
    world.now = 23.0 * HOUR;
    world.say(opened(0..2, world.now));
    world.now = 32.0 * HOUR;
    let under_way = BTreeSet::from([CaseId("c1".into())]);
    assert_eq!(world.situation().release("team", &under_way), None);
    world.release();
    assert_eq!((world.told("team"), world.digests), (vec!["c0-opened", "c1-opened"], 0));
}

#[test]
fn a_clock_that_is_set_back_keeps_nothing_waiting() {
    let mut world = World::new(Noise::default(), people_and_machines());
    world.now = 1000.0 * HOUR;
    world.say(opened(0..40, world.now));
    world.now -= 240.0 * HOUR;
    assert_eq!(world.situation().next_release(), Some(world.now));
    world.release();
    assert_eq!(world.told("team").len(), 40);
}

#[test]
fn as_many_as_make_a_burst_are_one_message_and_one_is_itself() {
    for (cases, digests) in [(1, 0), (2, 1), (3, 1)] {
        let burst = Burst { cases, within: Duration::from_secs(60) };
        let mut world = World::new(Noise { digest: Some(burst), quiet: vec![] }, people_and_machines());
        world.say(opened(0..cases as usize, world.now));
        world.now += 60.0;
        world.release();
        assert_eq!((world.told("team").len(), world.digests), (cases as usize, digests), "{cases}");
    }
}

#[test]
fn a_silence_is_for_people_and_ends() {
    let mut world = World::new(Noise::default(), people_and_machines());
    let (jobs, author, why) = ("runs/c0".to_owned(), "ada".to_owned(), "known".to_owned());
    let until = world.now + HOUR;
    world.quieted.silences.push(Silence { id: "s1".into(), jobs, until, author, why, made: 0.0 });
    world.say(opened(0..2, world.now));
    assert_eq!((world.told("team"), world.silenced.as_slice()), (vec!["c1-opened"], &["c0-opened".to_owned()][..]));
    assert_eq!(world.told("queue").len(), 2);
    world.now += HOUR;
    world.say(vec![message("c0-closed", "c0", MessageKind::CaseClosed, world.now)]);
    assert_eq!(world.told("team"), ["c1-opened", "c0-closed"]);
}

#[test]
fn a_silence_that_begins_while_messages_wait_is_about_them_too() {
    let mut world = World::new(Noise { quiet: vec![nights()], ..Noise::default() }, people_and_machines());
    world.now = 23.0 * HOUR;
    world.say(opened(0..3, world.now));
    let (jobs, author, why) = ("runs/c1".to_owned(), "ada".to_owned(), "known".to_owned());
    let until = 32.0 * HOUR;
    world.quieted.silences.push(Silence { id: "s1".into(), jobs, until, author, why, made: world.now });
    world.now = 31.0 * HOUR;
    world.release();
    assert_eq!(
        (world.told("team"), world.silenced.as_slice()),
        (vec!["c0-opened", "c2-opened"], &["c1-opened".to_owned()][..])
    );
    assert!(world.quieted.waiting.is_empty());
    world.now += HOUR;
    world.release();
    assert_eq!(world.told("team").len(), 2, "it does not come later either");
}

#[test]
fn routes_are_taken_by_all_who_have_a_rule_and_the_rest_by_one() {
    let rule = |rule: Rule| Route::Rules(vec![rule]);
    let jobs = vec![Glob::new("vision/**").unwrap()];
    let fast = KnobTest::Within { at_least: Some(0.1), at_most: None };
    let plain = KnobTest::OneOf(vec![json!("sgd"), json!(1)]);
    let verdicts = vec!["infrastructure".to_owned()];
    let outlets = vec![
        outlet("vision", Patience::AtOnce, rule(Rule { jobs: jobs.clone(), ..Rule::default() })),
        outlet("fast", Patience::AtOnce, rule(Rule { knobs: vec![("learning_rate".into(), fast)], ..Rule::default() })),
        outlet(
            "plain",
            Patience::AtOnce,
            rule(Rule { knobs: vec![("optimizer".into(), plain)], jobs, ..Rule::default() }),
        ),
        outlet("operators", Patience::AtOnce, rule(Rule { verdicts, ..Rule::default() })),
        outlet("rest", Patience::AtOnce, Route::Rest),
        outlet("all", Patience::AtOnce, Route::All),
    ];
    let world = World::new(Noise::default(), outlets);
    let to = |job: &str, set: Value, verdict: &str| {
        let body = Body::read(MessageKind::CaseClosed, json!({ "verdict": verdict })).unwrap();
        let subject = job.to_owned();
        let message = Message { subject, body, ..message("m", "c", MessageKind::CaseClosed, 0.0) };
        let plan = world.situation().share(vec![Letter { message, knobs: knobs(set) }]);
        plan.owed[0].1.join(" ")
    };
    assert_eq!(to("vision/7", json!({}), "inconclusive"), "vision all");
    assert_eq!(
        to("vision/7", json!({"learning_rate": 0.1, "optimizer": "sgd"}), "inconclusive"),
        "vision fast plain all"
    );
    assert_eq!(to("vision/7", json!({"optimizer": 1.0}), "inconclusive"), "vision plain all");
    assert_eq!(to("nlp/7", json!({"learning_rate": 0.01}), "inconclusive"), "rest all");
    assert_eq!(to("nlp/7", json!({}), "infrastructure"), "operators all");
}

/// What can happen.
#[derive(Debug, Clone)]
enum Event {
    /// The next message of each of these cases, at one moment.
    Say(Vec<u8>),
    /// This many minutes pass.
    Wait(u16),
    /// Digests arrive.
    Arrive,
    /// Some jobs are silenced for an hour.
    Silence(u8),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        5 => prop::collection::vec(0..12u8, 1..8).prop_map(Event::Say),
        4 => (0..300u16).prop_map(Event::Wait),
        2 => Just(Event::Arrive),
        1 => (0..12u8).prop_map(Event::Silence),
    ];
    prop::collection::vec(event, 0..60)
}

proptest! {
    #[test]
    fn nothing_is_lost_said_twice_or_out_of_order(events in events(), cases in 1..4u32, minutes in 1..90u64) {
        let burst = Burst { cases, within: Duration::from_secs(minutes * 60) };
        let noon = Quiet { span: Span::Daily { days: vec![], from: Time::midnight(), to: time(12, 30, 0, 0) }, ..nights() };
        let mut world = World::new(Noise { digest: Some(burst), quiet: vec![nights(), noon] }, people_and_machines());
        let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for event in &events {
            match event {
                Event::Say(cases) => {
                    let mut messages = Vec::new();
                    for case in cases.iter().map(|case| format!("c{case}")) {
                        let ids = said.entry(case.clone()).or_default();
                        let kind = if ids.is_empty() { MessageKind::CaseOpened } else { MessageKind::RunSuggested };
                        let id = format!("{case}-{}", ids.len());
                        ids.push(id.clone());
                        messages.push(message(&id, &case, kind, world.now));
                    }
                    world.say(messages);
                }
                Event::Wait(minutes) => world.now += f64::from(*minutes) * 60.0,
                Event::Arrive => world.busy.clear(),
                Event::Silence(case) => world.quieted.silences.push(Silence {
                    id: format!("s{case}"), jobs: format!("runs/c{case}"), until: world.now + HOUR,
                    author: "ada".into(), why: "known".into(), made: world.now,
                }),
            }
            world.release();
        }
        for _ in 0..12 {
            world.now += 5.0 * HOUR;
            world.busy.clear();
            world.release();
        }
        prop_assert!(world.quieted.waiting.is_empty(), "{:?}", world.quieted.waiting);
        for (case, ids) in &said {
            let of_case = |told: Vec<&str>| -> Vec<String> {
                told.into_iter().filter(|id| id.split('-').next() == Some(case)).map(str::to_owned).collect()
            };
            prop_assert_eq!(&of_case(world.told("queue")), ids);
            let heard: Vec<String> = ids.iter().filter(|id| !world.silenced.contains(id)).cloned().collect();
            prop_assert_eq!(of_case(world.told("team")), heard);
        }
    }
}
