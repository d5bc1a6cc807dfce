//! A daemon that is killed repeatedly without warning during an investigation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use super::stage::{Stage, verdict};
use super::training::{Run, knobs, steps, with};
use super::web::{Event, Receiver};
use super::whole::trainer;
use serde_json::{Value, json};

/// Nothing that happens in a loop may hang on silence, which is real time.
const NEVER_QUIET: [&str; 2] = ["--quiet-after", "600s"];

/// A run that is logged in parts, so that the daemon dies at every part of it.
pub(super) struct Parts {
    pub(super) suggestion: String,
    pub(super) run: Run,
    pub(super) logged: i64,
    pub(super) steps: i64,
}

const PARTS: i64 = 3;

impl Parts {
    /// Logs the next part.
    pub(super) fn go_on(&mut self) {
        let end = (self.logged + self.steps / PARTS + 1).min(self.steps + 1);
        self.run.log(self.logged..end);
        self.logged = end;
    }
}

/// The runs of a cluster, by name.
pub(super) type AllParts = Arc<Mutex<BTreeMap<String, Parts>>>;

/// A queue that adds a run for each suggestion, of which nothing is logged yet.
pub(super) fn begin_parts(logdir: &Path, runs: &AllParts) -> impl Fn(&Event) -> (u16, String) + use<> {
    let (logdir, runs) = (logdir.to_owned(), runs.clone());
    move |event| {
        let name = event.text("/data/run_name").to_owned();
        runs.lock().unwrap().entry(name.clone()).or_insert_with(|| {
            let knobs = with(&knobs(10.0), &event.body["data"]["overrides"]);
            let run = Run::new(&logdir, &name, &knobs);
            run.with_knobs();
            Parts { suggestion: event.text("/id").to_owned(), run, logged: 0, steps: steps(&knobs) }
        });
        (201, json!({ "job_id": name }).to_string())
    }
}

/// What was asked for, in order, each once.
pub(super) fn asked(events: &[Event]) -> Vec<(Value, Value)> {
    let mut seen = BTreeSet::new();
    let news = events.iter().filter(|event| seen.insert(event.text("/id").to_owned()));
    news.map(|event| (event.body["data"]["state"].clone(), event.body["data"]["overrides"].clone())).collect()
}

/// The verdict and the experiments of a daemon that nobody disturbs.
pub(super) static UNDISTURBED: LazyLock<(String, Vec<(Value, Value)>)> = LazyLock::new(|| {
    let stage = Stage::new();
    let queue = Receiver::start(trainer(&stage.logdir(), knobs(10.0)));
    let webhook = Receiver::of_everything();
    let _daemon = stage.watch(&queue, &webhook, &NEVER_QUIET);
    Run::new(&stage.logdir(), "sick", &knobs(10.0)).train();
    let case = stage.until_closed("sick");
    (verdict(&case).to_owned(), asked(&queue.events()))
});

/// A cluster that is trained in parts, so that the daemon dies at every part of it.
struct Cluster {
    stage: Stage,
    queue: Receiver,
    webhook: Receiver,
    runs: AllParts,
}

impl Cluster {
    fn start() -> Cluster {
        let stage = Stage::new();
        let logdir = stage.logdir();
        let runs = AllParts::default();
        let queue = Receiver::start(begin_parts(&logdir, &runs));
        Run::new(&logdir, "sick", &knobs(10.0)).train();
        Cluster { stage, queue, webhook: Receiver::of_everything(), runs }
    }

    /// How many daemons got as far as watching.
    fn lives(&self) -> usize {
        self.stage.log().matches("INFO watching ").count()
    }

    /// Has one daemon after the other live and die, until the case is closed; gives how many died.
    fn live_and_die(&self, mut life: impl FnMut()) -> usize {
        let mut lives = 0;
        while self.stage.case_of("sick").is_none_or(|case| case.closed.is_none()) {
            assert!(lives < 200, "it does not come to an end: {}", self.stage.log());
            life();
            lives += 1;
        }
        lives
    }

    /// Every run that is under way logs so many parts more, but for those that nobody waits for any more.
    fn train(&self, parts: i64) {
        let cancelled = self.queue.cancelled();
        for _ in 0..parts {
            let mut runs = self.runs.lock().unwrap();
            runs.values_mut().filter(|run| !cancelled.contains(&run.suggestion)).for_each(Parts::go_on);
        }
    }

    /// All is as if nobody had disturbed it.
    fn came_to(&self, (expected_verdict, expected): &(String, Vec<(Value, Value)>)) {
        let case = self.stage.case_of("sick").unwrap();
        let _daemon = self.stage.watch(&self.queue, &self.webhook, &NEVER_QUIET);
        let closing = || !self.webhook.data_of("nextrun.case.closed").is_empty();
        self.stage.until("the closing is delivered", closing);
        assert_eq!(verdict(&case), expected_verdict);
        assert_eq!(self.stage.kept().len(), 1);
        let (events, told) = (self.queue.events(), self.webhook.events());
        assert_eq!(asked(&events), *expected, "the same experiments, none of them twice");
        assert_eq!(self.runs.lock().unwrap().len(), expected.len(), "each has a folder of its own");
        let cancelled: BTreeSet<String> = self.queue.cancelled().into_iter().collect();
        let control = events[0].text("/id");
        assert!(cancelled.iter().all(|id| id == control), "only a control is stopped before its end: {cancelled:?}");
        for event in events.iter().chain(&told) {
            let mut twins = events.iter().chain(&told).filter(|other| other.text("/id") == event.text("/id"));
            assert!(twins.all(|twin| twin.body == event.body), "one id is one message: {}", event.body);
        }
        let kinds: Vec<&str> = told.iter().map(|event| event.text("/type")).collect();
        assert_eq!((kinds.first(), kinds.last()), (Some(&"nextrun.case.opened"), Some(&"nextrun.case.closed")));
    }
}

#[test]
fn killed_anywhere_it_comes_to_the_same_verdict_by_the_same_experiments() {
    // More loops find rarer moments: `NEXTRUN_TEST_LOOPS=30` kills some hundreds of times.
    let loops = std::env::var("NEXTRUN_TEST_LOOPS").ok().and_then(|loops| loops.parse().ok()).unwrap_or(1);
    for seed in 0..loops {
        let cluster = Cluster::start();
        let mut random = fastrand::Rng::with_seed(7 + seed);
        let kills = cluster.live_and_die(|| {
            let lives = cluster.lives();
            let mut daemon = cluster.stage.watch(&cluster.queue, &cluster.webhook, &NEVER_QUIET);
            // Where it dies is left to chance: while it starts, or while it reads, decides, sends, or waits. A machine that
            // is busy takes longer for all of it.
            let begun = Instant::now();
            if random.u8(0..4) > 0 {
                cluster.stage.until("it watches", || cluster.lives() > lives);
            }
            let span = Duration::from_millis(900).max(3 * begun.elapsed());
            std::thread::sleep(span.mul_f64(random.f64()));
            daemon.kill();
            cluster.train(1);
        });
        assert!(kills >= 8, "only {kills} kills");
        cluster.came_to(&UNDISTURBED);
    }
}

#[test]
fn ended_at_every_commit_and_send_it_comes_to_the_same_verdict_by_the_same_experiments() {
    let cluster = Cluster::start();
    // Each life gets one point further than the one before it, up to the twelfth point that is reached while it watches, and
    // the next one starts at the first again. The case goes on only after those that come before that.
    let (mut first, mut point) = (1, 0);
    let lives = cluster.live_and_die(|| {
        point = if point < first + 11 { point + 1 } else { 1 };
        let places = ["--queue", &cluster.queue.url(), "--webhook", &cluster.webhook.url()];
        let arguments = [&places[..], &NEVER_QUIET].concat();
        let lives = cluster.lives();
        let mut daemon = cluster.stage.start(&arguments, &[("NEXTRUN_TEST_END_AT", &point.to_string())]);
        let begun = Instant::now();
        cluster.stage.until("it watches or ended", || daemon.ended().is_some() || cluster.lives() > lives);
        if cluster.lives() == lives {
            first = first.max(point + 1);
        }
        // One that has nothing to commit or to send does not get there.
        let span = Duration::from_millis(900).max(3 * begun.elapsed());
        let begun = Instant::now();
        while daemon.ended().is_none() && begun.elapsed() < span {
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon.kill();
        cluster.train(PARTS);
    });
    assert!(lives >= 12, "only {lives} lives");
    cluster.came_to(&UNDISTURBED);
}
