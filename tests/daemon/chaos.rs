//! Three daemons on one PostgreSQL: one of them is killed, stopped, or cut off from the database or from its receivers, at
//! random, for the length of closed loops.
//!
//! Owns: the faults and the checker. Must not know: the daemon. `NEXTRUN_TEST_CHAOS=3600` goes on for an hour.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nextrun::case::{Body, RunCancelled};
use nextrun::store::DeliveryState;
use serde_json::Value;

use super::fleet::Fleet;
use super::kills::{AllParts, Parts, UNDISTURBED, asked, begin_parts};
use super::postgres::Pooler;
use super::proxy::{Fault, Proxy};
use super::stage::{Daemon, Stage, verdict};
use super::training::{Run, knobs, now};
use super::web::{Event, Receiver};

/// Seconds without renewal after which another daemon takes over.
const LEASE: u32 = 2;

/// Faults go on for so many seconds, and then for the rest of a loop.
const SECONDS: u64 = 60;

/// A fault that happens only to whoever commits.
const LOST: &str = "a lost commit";

/// Daemons; the last one reaches the database through a pooler.
const NAMES: [&str; 3] = ["one", "two", "three"];

/// A daemon, and the networks through which it reaches others.
struct Node {
    stage: Stage,
    daemon: Option<Daemon>,
    database: Proxy,
    receivers: [Proxy; 2],
    is_stopped: bool,
}

/// What arrived at a receiver, and when, in seconds since the Unix epoch.
type Arrivals = Arc<Mutex<Vec<(f64, Event)>>>;

/// The daemons, and the cluster that trains their suggestions.
struct Chaos {
    fleet: Fleet,
    nodes: Vec<Node>,
    runs: AllParts,
    queue: Receiver,
    arrivals: Arrivals,
    random: fastrand::Rng,
    faults: BTreeMap<&'static str, usize>,
    _pooler: Pooler,
}

fn port_of(receiver: &Receiver) -> u16 {
    receiver.url().trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap()
}

impl Chaos {
    fn start(seed: u64) -> Chaos {
        let fleet = Fleet::new(LEASE);
        let logdir = fleet.common.logdir();
        let (runs, arrivals) = (AllParts::default(), Arrivals::default());
        let (add, log) = (begin_parts(&logdir, &runs), arrivals.clone());
        let queue = Receiver::start(move |event| {
            log.lock().unwrap().push((now(), event.clone()));
            add(event)
        });
        let log = arrivals.clone();
        let webhook = Receiver::start(move |event| {
            log.lock().unwrap().push((now(), event.clone()));
            (200, String::new())
        });
        let pooler = fleet.server.pooler();
        let node = |name: &&str| Node {
            stage: fleet.stage(name),
            daemon: None,
            database: Proxy::start(if *name == NAMES[2] { pooler.port } else { fleet.server.port }),
            receivers: [Proxy::start(port_of(&queue)), Proxy::start(port_of(&webhook))],
            is_stopped: false,
        };
        let nodes = NAMES.iter().map(node).collect();
        Run::new(&logdir, "sick", &knobs(10.0)).train();
        let (random, faults) = (fastrand::Rng::with_seed(seed), BTreeMap::new());
        Chaos { fleet, nodes, runs, queue, arrivals, random, faults, _pooler: pooler }
    }

    /// Starts the daemons that are not under way.
    fn revive(&mut self) {
        for node in &mut self.nodes {
            if node.daemon.as_mut().is_none_or(|daemon| daemon.ended().is_some()) {
                let url = |proxy: &Proxy| format!("http://127.0.0.1:{}/", proxy.port);
                let [queue, webhook] = [url(&node.receivers[0]), url(&node.receivers[1])];
                let arguments = ["--queue", &queue, "--webhook", &webhook];
                node.daemon = Some(self.fleet.start(&node.stage, Some(node.database.port), &arguments));
            }
        }
    }

    /// Ends all faults.
    fn heal(&mut self) {
        for node in &mut self.nodes {
            if std::mem::take(&mut node.is_stopped)
                && let Some(daemon) = &node.daemon
            {
                daemon.signal("CONT");
            }
            for proxy in node.receivers.iter().chain([&node.database]) {
                proxy.set(Fault::None);
            }
        }
        self.revive();
    }

    /// One daemon, most often the owner, is disturbed in one way, for less or more than its lease.
    fn disturb(&mut self) -> (usize, &'static str) {
        let (owner, _) = self.fleet.owner();
        let owner = self.nodes.iter().position(|node| owner.contains(node.stage.state().to_str().unwrap()));
        let victim = owner.filter(|_| self.random.u8(0..4) > 0).unwrap_or_else(|| self.random.usize(0..NAMES.len()));
        let node = &mut self.nodes[victim];
        let commit = || b"COMMIT\0".to_vec();
        let fault = match self.random.u8(0..8) {
            0 => node.daemon.take().map_or("", |mut daemon| {
                daemon.kill();
                "killed"
            }),
            1 | 2 => {
                node.is_stopped = true;
                node.daemon.as_ref().map_or("", |daemon| {
                    daemon.signal("STOP");
                    "stopped"
                })
            }
            3 => {
                node.database.set(Fault::Cut);
                "cut off from the database"
            }
            4 => {
                node.database.set(Fault::Silence);
                "no answer of the database"
            }
            5 => {
                let lost = if self.random.bool() { Fault::LoseAnswer(commit()) } else { Fault::LoseRequest(commit()) };
                node.database.set(lost);
                LOST
            }
            6 => {
                node.receivers.iter().for_each(|proxy| proxy.set(Fault::Cut));
                "cut off from the receivers"
            }
            _ => {
                node.receivers.iter().for_each(|proxy| proxy.set(Fault::LoseAnswer(b"POST ".to_vec())));
                "a lost answer of a receiver"
            }
        };
        (victim, fault)
    }

    /// Every run that is under way logs one part more, but for those that nobody waits for any more.
    fn train(&self) {
        let cancelled = self.queue.cancelled();
        let mut runs = self.runs.lock().unwrap();
        runs.values_mut().filter(|run| !cancelled.contains(&run.suggestion)).for_each(Parts::go_on);
    }

    fn is_closed(&self) -> bool {
        self.nodes[0].stage.case_of("sick").is_some_and(|case| case.closed.is_some())
    }

    /// One closed loop, disturbed all the time.
    fn run(&mut self) {
        let begun = Instant::now();
        while !self.is_closed() {
            assert!(begun.elapsed() < Duration::from_secs(900), "it does not come to an end: {}", self.logs());
            self.revive();
            let (victim, fault) = self.disturb();
            let lease = Duration::from_secs(LEASE.into());
            std::thread::sleep(lease.mul_f64(0.2 + 1.6 * self.random.f64()));
            // Without a commit, there was nothing to lose.
            if fault != LOST || self.nodes[victim].database.is_spent() {
                *self.faults.entry(fault).or_default() += 1;
            }
            self.heal();
            self.train();
            // So that there is something to disturb.
            std::thread::sleep(lease.mul_f64(self.random.f64()));
        }
    }

    fn logs(&self) -> String {
        self.nodes.iter().map(|node| format!("--- {}\n{}", node.stage.state().display(), node.stage.log())).collect()
    }

    /// After the last fault, all is quiet soon, and as if nobody had disturbed it.
    fn check(&mut self) {
        self.heal();
        let store = || self.nodes[0].stage.deliveries();
        let open = |state| matches!(state, DeliveryState::Pending | DeliveryState::Sending | DeliveryState::Unknown);
        self.nodes[0].stage.until("nothing is owed any more", || !store().iter().any(|row| open(row.delivery.state)));
        let case = self.nodes[0].stage.case_of("sick").unwrap();
        let (expected_verdict, expected) = &*UNDISTURBED;
        assert_eq!(verdict(&case), expected_verdict);
        assert_eq!(self.nodes[0].stage.kept().len(), 1, "one investigation");
        let suggested: Vec<(Value, Value)> = asked(&self.queue.events());
        assert_eq!(suggested, *expected, "the same experiments, none of them twice");
        assert_eq!(self.runs.lock().unwrap().len(), expected.len(), "each was started once");
        self.every_message_arrived();
        for terms in self.fleet.terms() {
            assert!(terms.is_sorted(), "the journal is one chain by the terms of its owners: {terms:?}");
        }
        let journal = self.nodes[0].stage.journal(&case);
        let distinct: BTreeSet<String> = journal.iter().map(|entry| format!("{entry:?}")).collect();
        assert_eq!(distinct.len(), journal.len(), "no entry twice");
    }

    /// Every message arrived, as one message under one id, and was not sent again after its arrival was recorded: only a
    /// process that was stopped within a request can finish it later.
    fn every_message_arrived(&self) {
        let arrivals = self.arrivals.lock().unwrap();
        let (mut late, stops) = (0, self.faults.get("stopped").copied().unwrap_or(0));
        let rows = self.nodes[0].stage.deliveries();
        let ids: BTreeSet<String> = rows.iter().map(|row| row.delivery.message.id.clone()).collect();
        for row in &rows {
            let id = &row.delivery.message.id;
            let arrived = |id: &str| arrivals.iter().any(|(_, event)| event.text("/id") == id);
            if let Body::RunCancelled(cancelled) = &row.delivery.message.body {
                let id = &cancelled.suggestion_id;
                assert!(!arrived(id) || self.queue.cancelled().contains(id), "{id} is not stopped");
                continue;
            }
            if row.delivery.state == DeliveryState::Dead && ids.contains(&RunCancelled::id_for(id)) {
                continue;
            }
            assert_eq!(row.delivery.state, DeliveryState::Delivered, "{id}");
            let of_id: Vec<&(f64, Event)> = arrivals.iter().filter(|(_, event)| event.text("/id") == id).collect();
            assert!(!of_id.is_empty(), "{id} is recorded as delivered, and did not arrive");
            assert!(of_id.iter().all(|(_, event)| event.body == of_id[0].1.body), "{id} is one message");
            let recorded = row.tries.iter().filter(|tried| tried.outcome == Some(DeliveryState::Delivered));
            let recorded = recorded.filter_map(|tried| tried.ended).fold(f64::INFINITY, f64::min);
            late += of_id.iter().filter(|(time, _)| *time > recorded + 0.05).count();
        }
        assert!(late <= stops, "{late} messages were sent after their arrival was recorded; {stops} stops");
    }
}

#[test]
#[ignore = "needs PostgreSQL, pgbouncer and two minutes: `.ci/run postgres`"]
fn whatever_fails_no_suggestion_is_made_twice_and_no_message_is_lost() {
    let seconds = std::env::var("NEXTRUN_TEST_CHAOS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(SECONDS);
    let (begun, mut seed, mut faults) = (Instant::now(), fastrand::u64(..), BTreeMap::new());
    let mut terms = 0;
    let mut loops = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        let mut chaos = Chaos::start(seed);
        chaos.run();
        chaos.check();
        terms += chaos.fleet.owner().1;
        for (fault, count) in &chaos.faults {
            *faults.entry(*fault).or_insert(0) += count;
        }
        (seed, loops) = (seed.wrapping_add(1), loops + 1);
    }
    println!("{loops} loops, {terms} owners, faults: {faults:?}");
    assert!(faults.values().sum::<usize>() >= 5, "only these faults: {faults:?}");
}
