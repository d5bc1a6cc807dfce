//! A large site in simulated time: what many jobs cost, and how soon a failing one is reported.
//!
//! `cargo run --release --example site -- --live 2000 --days 30` lets as many jobs as are live begin each day, each for
//! a day, with a point of three tags every ten minutes; one in a hundred fails. The core examines them every ten minutes of
//! simulated time, its decisions are committed to a database, and each suggested run takes an hour and helps in every
//! third case. It prints one row: processor, memory, database, delay from symptom to message, false alarms.
//!
//! Reading files is not part of it: `benches/old_runs.py` and `cargo bench` measure that.

mod jobs;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use nextrun::case::{Body, Message, MessageKind};
use nextrun::config::{Overrides, Settings, Variables, load};
use nextrun::daemon::{site_of, vocabulary};
use nextrun::diagnosis::{Changes, Diagnosis, Site};
use nextrun::series::{RunData, RunName, Runs};
use nextrun::store::{Commit, Sqlite, Store, StoredCase};

use jobs::{Fault, Job, PACE, draw};

const DAY: f64 = 86_400.0;

/// How long a suggested run takes.
const EXPERIMENT: f64 = 3600.0;

/// The names of suggested runs begin with this directory.
const EXPERIMENTS: &str = "nextrun/";

#[derive(Debug, Parser)]
struct Arguments {
    /// Jobs that are live at a time; as many begin each day.
    #[arg(long, default_value_t = 2000)]
    live: u64,
    /// Simulated days.
    #[arg(long, default_value_t = 30.0)]
    days: f64,
    /// The share of jobs that fail.
    #[arg(long, default_value_t = 0.01)]
    failing: f64,
}

struct World {
    diagnosis: Diagnosis,
    store: Sqlite,
    runs: Runs,
    jobs: BTreeMap<RunName, Job>,
    now: f64,
    begun: f64,
    number: u64,
    seen: Seen,
}

/// What was measured.
#[derive(Debug, Default)]
struct Seen {
    points: u64,
    ticks: u64,
    tick_seconds: f64,
    longest_tick: f64,
    commits: u64,
    /// Seconds from the onset of a fault to the message that opened its case.
    delays: Vec<f64>,
    false_alarms: u64,
    faulty: u64,
    messages: u64,
    closed: u64,
}

fn site() -> anyhow::Result<Site> {
    let mut settings: Settings = load(None, &Overrides::default(), &Variables::new(), &vocabulary())?;
    settings.limits.at_once = 100_000;
    settings.limits.ask_wait = Some(std::time::Duration::ZERO);
    Ok(site_of(&settings)?)
}

impl World {
    fn new(arguments: &Arguments, state: &Path) -> anyhow::Result<World> {
        let store = Sqlite::open(&state.join("nextrun.db")).context("the database")?;
        let begun = 1.8e9;
        let mut world = World {
            diagnosis: Diagnosis::new(site()?, []),
            store,
            runs: Runs::new(),
            jobs: BTreeMap::new(),
            now: begun,
            begun,
            number: 0,
            seen: Seen::default(),
        };
        // The site did not begin at once.
        for at in 0..arguments.live {
            let age = DAY * at as f64 / arguments.live as f64;
            world.begin(begun - age, arguments.failing);
        }
        Ok(world)
    }

    fn begin(&mut self, begun: f64, failing: f64) {
        let job = Job::new(self.number, begun, DAY, failing);
        let name = RunName::new(&format!("team-{:02}/job-{:08}", self.number % 50, self.number));
        self.seen.faulty += u64::from(job.fault != Fault::None);
        self.runs.insert(name.clone(), RunData::default());
        self.jobs.insert(name, job);
        self.number += 1;
    }

    /// Ten minutes pass.
    fn pass(&mut self, arguments: &Arguments) -> anyhow::Result<()> {
        self.now += PACE;
        let due = ((self.now - self.begun) / DAY * arguments.live as f64) as u64 + arguments.live;
        while self.number < due {
            self.begin(self.now, arguments.failing);
        }
        for (name, job) in &mut self.jobs {
            if let Some(data) = self.runs.get_mut(name) {
                self.seen.points += 3 * job.log(data, self.now);
            }
        }
        self.tick()?;
        // As the daemon does each minute.
        for run in self.diagnosis.settled(&self.runs, self.now) {
            self.runs.remove(&run);
            self.jobs.remove(&run);
        }
        Ok(())
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        self.diagnosis.looked(None, self.now);
        let begun = Instant::now();
        let changes = self.diagnosis.tick(&self.runs, self.now);
        let took = begun.elapsed().as_secs_f64();
        self.seen.ticks += 1;
        self.seen.tick_seconds += took;
        self.seen.longest_tick = self.seen.longest_tick.max(took);
        self.take(&changes);
        self.commit(changes)
    }

    fn take(&mut self, changes: &Changes) {
        for message in &changes.messages {
            self.seen.messages += 1;
            match &message.body {
                Body::CaseOpened(_) => self.opened(message),
                Body::RunSuggested(run) => self.train(&run.run_name),
                Body::CaseClosed(_) => self.seen.closed += 1,
                _ => {}
            }
        }
    }

    fn opened(&mut self, message: &Message) {
        match self.jobs.get(&RunName::new(&message.subject)) {
            Some(job) if job.fault != Fault::None && self.now >= job.onset => {
                self.seen.delays.push(self.now - job.onset);
            }
            _ => self.seen.false_alarms += 1,
        }
    }

    /// A suggested run: it learns in every third case.
    fn train(&mut self, name: &str) {
        let number = name.bytes().fold(7, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let failing = if draw(number, 9) < 1.0 / 3.0 { f64::MIN_POSITIVE } else { 1e9 };
        let mut job = Job::new(number, self.now, EXPERIMENT, failing);
        job.next = self.now + 1.0;
        self.runs.insert(RunName::new(name), RunData::default());
        self.jobs.insert(RunName::new(name), job);
    }

    fn commit(&mut self, changes: Changes) -> anyhow::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let updated = self.now;
        let to = |message: Message| {
            let destination = if message.kind() == MessageKind::RunSuggested { "queue" } else { "chat" };
            (message, vec![destination.to_owned()])
        };
        let commit = Commit {
            cases: changes.cases.iter().map(|case| StoredCase::of(case, updated)).collect::<Result<_, _>>()?,
            journal: changes.journal,
            messages: changes.messages.into_iter().map(to).collect(),
            fates: changes.fates,
            ..Commit::default()
        };
        self.store.commit(&commit).context("the database")?;
        self.seen.commits += 1;
        Ok(())
    }
}

/// A field of `/proc/self/status`, in MiB.
fn memory(field: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().unwrap_or(f64::NAN) / 1024.0
}

fn quantile(sorted: &[f64], at: f64) -> f64 {
    sorted.get((at * (sorted.len().max(1) - 1) as f64).round() as usize).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::print_stdout, reason = "this program prints one row")]
fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let state = tempfile::tempdir()?;
    let begun = Instant::now();
    let mut world = World::new(&arguments, state.path())?;
    while world.now < world.begun + arguments.days * DAY {
        world.pass(&arguments)?;
    }
    // The daemon ticks twice per second, usually with few new points.
    let idle = Instant::now();
    for _ in 0..10 {
        world.diagnosis.tick(&world.runs, world.now);
    }
    let idle = idle.elapsed().as_secs_f64() / 10.0;
    let database: u64 =
        std::fs::read_dir(state.path())?.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum();
    let Seen { points, ticks, tick_seconds, longest_tick, commits, mut delays, false_alarms, faulty, messages, closed } =
        world.seen;
    delays.sort_by(f64::total_cmp);
    let experiments = world.runs.keys().filter(|name| name.as_str().starts_with(EXPERIMENTS)).count();
    println!(
        "live {} · {} days in {:.0} s · {points} points · {} runs held ({experiments} experiments) · peak {:.0} MiB, now {:.0} \
         MiB · tick {:.1} ms mean, {:.0} ms longest, {:.1} ms without news ({:.1} % of a core at 2/s) · {commits} commits · \
         database {:.1} MiB · {messages} messages, {closed} closed · {faulty} faulty, {} found, delay p50 {:.0} min, p90 {:.0} min, max \
         {:.0} min · {false_alarms} false alarms ({:.2}/day)",
        arguments.live,
        arguments.days,
        begun.elapsed().as_secs_f64(),
        world.runs.len(),
        memory("VmHWM"),
        memory("VmRSS"),
        1e3 * tick_seconds / ticks as f64,
        1e3 * longest_tick,
        1e3 * idle,
        200.0 * idle,
        database as f64 / 1_048_576.0,
        delays.len(),
        quantile(&delays, 0.5) / 60.0,
        quantile(&delays, 0.9) / 60.0,
        quantile(&delays, 1.0) / 60.0,
        false_alarms as f64 / arguments.days,
    );
    Ok(())
}
