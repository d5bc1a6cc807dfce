//! Latency from writing an event to its sketch, and the cost of following files.
//!
//! `cargo bench --bench live [-- [--files 100] [--rate 10000] [--seconds 10] [--keep DIR]]`
//!
//! Another process writes like torch's `SummaryWriter`: ten tags per step; for each of them, the file is opened,
//! appended to and closed. This process runs the daemon's own loop: it waits for kernel notifications and reads the
//! affected files. The latency of an event ends when the sketch of its tag contains it; its time of writing is in the
//! event. The CPU time is that of the whole process, including the notification thread.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime};

use nextrun::logdir::DiskLogdir;
use nextrun::series::RunName;
use nextrun::tfevents::encode;
use nextrun::watch::notify::{Notifier, Sweep, Woken};
use nextrun::watch::{Changes, Options, Watcher};

const TAGS: usize = 10;

struct Arguments {
    files: usize,
    /// Events a second, over all files.
    rate: f64,
    seconds: f64,
    keep: PathBuf,
    /// Write instead of reading.
    write: bool,
}

fn arguments() -> Arguments {
    let keep = std::env::temp_dir().join(format!("nextrun-live-{}", std::process::id()));
    let mut parsed = Arguments { files: 100, rate: 10_000.0, seconds: 10.0, keep, write: false };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || given.next().unwrap_or_default();
        match argument.as_str() {
            "--files" => parsed.files = value().parse().unwrap_or(parsed.files).max(1),
            "--rate" => parsed.rate = value().parse().unwrap_or(parsed.rate),
            "--seconds" => parsed.seconds = value().parse().unwrap_or(parsed.seconds),
            "--keep" => parsed.keep = value().into(),
            "--write" => parsed.write = true,
            _ => {}
        }
    }
    parsed
}

fn main() -> io::Result<()> {
    let arguments = arguments();
    if arguments.write {
        return write(&arguments);
    }
    for file in 0..arguments.files {
        let path = event_file(&arguments.keep, file);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
        fs::write(path, encode::file_version(now()))?;
    }
    let mut reader = Reader::new(&arguments.keep);
    let cpu = cpu_seconds()?;
    let mut writer = writer(&arguments)?;
    let mut polls = 0_u64;
    while writer.try_wait()?.is_none() {
        polls += u64::from(reader.turn(Duration::from_millis(100)));
    }
    while reader.turn(Duration::from_secs(1)) {}
    let share = (cpu_seconds()? - cpu) / arguments.seconds;
    let written = ((arguments.rate * arguments.seconds) as usize / TAGS).max(1) * TAGS;
    assert_eq!(reader.events(), written as u64, "every event was read");
    reader.notifier.take_problems().iter().for_each(|problem| eprintln!("{problem}"));
    report(&arguments, &mut reader.latencies, polls, share);
    fs::remove_dir_all(&arguments.keep)
}

fn report(arguments: &Arguments, latencies: &mut [f64], polls: u64, share: f64) {
    latencies.sort_by(f64::total_cmp);
    let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).map_or(f64::NAN, |t| t * 1e3);
    println!("| files | events/s | reads/s | p50 ms | p99 ms | max ms | share of a core | events seen one by one |");
    println!("|---|---|---|---|---|---|---|---|");
    println!(
        "| {} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {:.1} % | {} |",
        arguments.files,
        arguments.rate,
        polls as f64 / arguments.seconds,
        at(0.5),
        at(0.99),
        latencies.last().map_or(f64::NAN, |t| t * 1e3),
        share * 100.0,
        latencies.len(),
    );
}

/// The daemon's loop, without processing the data.
struct Reader {
    notifier: Notifier,
    watcher: Watcher,
    /// Time of the newest event of each tag.
    newest: HashMap<(RunName, usize), f64>,
    /// Seconds from writing to reading.
    latencies: Vec<f64>,
}

impl Reader {
    fn new(dir: &Path) -> Reader {
        let mut watcher = Watcher::new(Box::new(DiskLogdir::new(dir)), Options::default());
        watcher.poll(now());
        let mut notifier = Notifier::new(dir, Sweep::default());
        notifier.watch(watcher.directories());
        let mut reader = Reader { notifier, watcher, newest: HashMap::new(), latencies: Vec::new() };
        while reader.turn(Duration::from_millis(100)) {}
        reader
    }

    /// Waits for notices and reads; `false` if there were none.
    fn turn(&mut self, patience: Duration) -> bool {
        let changes = match self.notifier.wait(patience) {
            Woken::Paths(paths) => self.watcher.poll_paths(now(), paths.iter().map(PathBuf::as_path)),
            Woken::Sweep => self.watcher.poll(now()),
            Woken::Timeout => return false,
        };
        self.note(&changes, now());
        true
    }

    fn note(&mut self, changes: &Changes, read: f64) {
        for run in &changes.changed {
            let Some(data) = self.watcher.runs().get(run) else { continue };
            for (tag, (_, series)) in data.series().enumerate() {
                let Some(written) = series.sketch.last().map(|point| point.wall_time) else { continue };
                if self.newest.insert((run.clone(), tag), written) != Some(written) {
                    self.latencies.push(read - written);
                }
            }
        }
    }

    fn events(&self) -> u64 {
        let versions = self.watcher.runs().len() as u64;
        self.watcher.runs().values().map(|run| run.events()).sum::<u64>() - versions
    }
}

fn writer(arguments: &Arguments) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--write").arg("--keep").arg(&arguments.keep);
    command.args(["--files", &arguments.files.to_string(), "--rate", &arguments.rate.to_string()]);
    command.args(["--seconds", &arguments.seconds.to_string()]).spawn()
}

fn write(arguments: &Arguments) -> io::Result<()> {
    let steps = ((arguments.rate * arguments.seconds) as usize / TAGS).max(1);
    let started = Instant::now();
    for step in 0..steps {
        let due = Duration::from_secs_f64(step as f64 * TAGS as f64 / arguments.rate);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        let path = event_file(&arguments.keep, step % arguments.files);
        for tag in 0..TAGS {
            let event = encode::scalar(now(), (step / arguments.files) as i64, &format!("train/tag_{tag}"), 0.5);
            File::options().append(true).open(&path)?.write_all(&event)?;
        }
    }
    Ok(())
}

fn event_file(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("run_{number:03}/events.out.tfevents.1700000000.host.{number}.0"))
}

/// Seconds since the Unix epoch.
fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// Processor time of this process so far, threads that ended included, in seconds: `utime` and `stime`, which the
/// kernel gives in hundredths.
fn cpu_seconds() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / 100.0)
}
