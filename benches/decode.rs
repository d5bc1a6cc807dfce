//! Reading speed of event files, relative to the machine's limit in the same minute.
//!
//! `cargo bench --bench decode [-- [--scale 0.1] [--repeat 7] [--keep DIR] [a b c d many]]`
//!
//! Data sets (generated once in a temporary directory, or DIR): a = one file, 4 M scalars as written by torch; b =
//! 1,000 runs of 10 tags and 1,000 steps; c = histograms, legacy and TF2; d = one file, 2 M scalars as written by TF2;
//! many = 10,000 small runs of 10 tags, for memory use and the cost of idle runs. For each set, the benchmark measures
//! the floor (reading and verifying both checksums of each record, on one thread), and then the complete work of the
//! daemon up to finished sketches. It shows the best repetition: CPU time for one thread, so that other load does not
//! count, otherwise elapsed time.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nextrun::logdir::{DiskLogdir, Kind, Logdir};
use nextrun::tfevents::{Tail, encode};
use nextrun::watch::{Options, Watcher};

const TAGS: [&str; 10] = [
    "train/loss",
    "train/accuracy",
    "train/grad_norm",
    "train/lr",
    "val/loss",
    "val/accuracy",
    "perf/tokens_per_s",
    "perf/step_time",
    "optim/weight_norm",
    "train/aux_loss",
];

const START: f64 = 1_700_000_000.0;

struct Arguments {
    scale: f64,
    repeat: usize,
    keep: PathBuf,
    sets: Vec<String>,
    /// Read a directory with this many threads and print only the peak memory.
    peak: Option<(usize, PathBuf)>,
}

fn arguments() -> Arguments {
    let mut parsed = Arguments {
        scale: 1.0,
        repeat: 7,
        keep: std::env::temp_dir().join("nextrun-bench"),
        sets: Vec::new(),
        peak: None,
    };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || given.next().unwrap_or_default();
        match argument.as_str() {
            "--scale" => parsed.scale = value().parse().unwrap_or(1.0),
            "--repeat" => parsed.repeat = value().parse().unwrap_or(7).max(1),
            "--keep" => parsed.keep = value().into(),
            "--peak" => parsed.peak = Some((value().parse().unwrap_or(1), value().into())),
            "--bench" => {}
            set => parsed.sets.push(set.to_owned()),
        }
    }
    if parsed.sets.is_empty() {
        parsed.sets = ["a", "b", "c", "d", "many"].map(str::to_owned).into();
    }
    parsed
}

fn main() -> io::Result<()> {
    let arguments = arguments();
    if let Some((threads, dir)) = &arguments.peak {
        Watcher::new(Box::new(DiskLogdir::new(dir)), Options { threads: *threads }).poll(START);
        println!("{:.1}", peak_mib());
        return Ok(());
    }
    println!(
        "| set | threads | MB | M events | floor MB/s | read MB/s | M events/s | of the floor | median s | peak MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for set in &arguments.sets {
        let dir = arguments.keep.join(format!("{set}-{}", arguments.scale));
        if !dir.exists() {
            generate(set, &dir, arguments.scale)?;
        }
        let threads: &[usize] = if matches!(set.as_str(), "a" | "b" | "many") { &[1, 2] } else { &[1] };
        for &threads in threads {
            measure(set, &dir, threads, arguments.repeat)?;
        }
        if set == "many" {
            idle(&dir)?;
        }
    }
    Ok(())
}

/// Elapsed seconds and, if the kernel reports it, CPU time of the calling thread.
#[derive(Clone, Copy)]
struct Took {
    wall: f64,
    cpu: f64,
}

fn timed<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<(T, Took)> {
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let done = work()?;
    Ok((done, Took { wall: started.elapsed().as_secs_f64(), cpu: cpu_seconds() - cpu }))
}

fn measure(set: &str, dir: &Path, threads: usize, repeat: usize) -> io::Result<()> {
    let (mut floors, mut reads) = (Vec::new(), Vec::new());
    let (mut bytes, mut events) = (0, 0);
    for _ in 0..repeat {
        let (there, took) = timed(|| floor(dir))?;
        floors.push(took);
        let (watcher, took) = timed(|| {
            let mut watcher = Watcher::new(Box::new(DiskLogdir::new(dir)), Options { threads });
            bytes = watcher.poll(START).bytes;
            Ok(watcher)
        })?;
        reads.push(took);
        assert_eq!(there, bytes, "all of it was read");
        events = watcher.runs().values().map(|run| run.events()).sum();
    }
    let (mb, millions) = (bytes as f64 / 1e6, events as f64 / 1e6);
    // One thread's processor time says what a machine to itself would do; of several threads, only the clock does.
    let best =
        |times: &[Took]| times.iter().map(|t| if threads == 1 { t.cpu } else { t.wall }).fold(f64::MAX, f64::min);
    let (floor, read) = (best(&floors), best(&reads));
    println!(
        "| {set} | {threads} | {mb:.0} | {millions:.2} | {:.0} | {:.0} | {:.1} | {:.0} % | {:.3} | {:.1} |",
        mb / floor,
        mb / read,
        millions / read,
        100.0 * floor / read,
        median(reads.iter().map(|took| took.wall).collect()),
        peak_of_one(dir, threads)?,
    );
    Ok(())
}

/// Peak resident set of a process that only reads the set once.
fn peak_of_one(dir: &Path, threads: usize) -> io::Result<f64> {
    let mut child = std::process::Command::new(std::env::current_exe()?);
    let out = child.arg("--peak").arg(threads.to_string()).arg(dir).output()?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().parse().unwrap_or(f64::NAN))
}

/// CPU time of this thread so far; 0 if the kernel does not report it.
fn cpu_seconds() -> f64 {
    // The kernel brings the count up to date when it schedules, else some milliseconds later.
    std::thread::yield_now();
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// The floor: every byte is read once and both checksums of each record are verified.
fn floor(dir: &Path) -> io::Result<u64> {
    let logdir = DiskLogdir::new(dir);
    let mut window = vec![0; 256 << 10];
    let mut bytes = 0;
    for entry in logdir.discover(Path::new("")).entries.iter().filter(|entry| entry.kind == Kind::Events) {
        let file = logdir.open(&entry.path)?;
        let mut tail = Tail::default();
        loop {
            let got = file.read_at(&mut window, tail.offset())?;
            tail.advance(&window[..got], |record| {
                std::hint::black_box(record);
            });
            if got < window.len() {
                break;
            }
        }
        bytes += tail.settled();
    }
    Ok(bytes)
}

/// The cost of unchanged runs: a sweep of all of them, and a check of a single one.
fn idle(dir: &Path) -> io::Result<()> {
    let mut watcher = Watcher::new(Box::new(DiskLogdir::new(dir)), Options::default());
    watcher.poll(START);
    let started = Instant::now();
    let rounds = 10;
    for round in 0..rounds {
        assert!(watcher.poll(START + f64::from(round)).changed.is_empty());
    }
    let sweep = started.elapsed().as_secs_f64() / f64::from(rounds);
    let path = watcher.files().next().map(|file| file.path).unwrap_or_default();
    let started = Instant::now();
    for round in 0..1000 {
        watcher.poll_paths(START + f64::from(round), [path.as_path()]);
    }
    println!(
        "idle: {} runs, sweep {:.1} ms ({:.2} % of a core at one in 30 s), one path {:.1} µs",
        watcher.runs().len(),
        sweep * 1e3,
        sweep / 30.0 * 100.0,
        started.elapsed().as_secs_f64() * 1e3,
    );
    Ok(())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Peak resident set of this process; NaN if the system does not report it.
fn peak_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1024.0)
}

fn create(dir: &Path, host: usize) -> io::Result<BufWriter<File>> {
    fs::create_dir_all(dir)?;
    let name = format!("events.out.tfevents.{}.host.{host}.0", START as u64 + host as u64);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(dir.join(name))?);
    out.write_all(&encode::file_version(START))?;
    Ok(out)
}

/// A falling loss, with noise that repeats only after a long time.
fn loss(step: i64, seed: &mut u64) -> f32 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let noise = (*seed >> 40) as f32 / (1_u32 << 24) as f32;
    3.0 / (1.0 + step as f32 * 1e-3) + 0.1 * noise
}

type Encode = fn(f64, i64, &str, f32) -> Vec<u8>;

fn scalars(out: &mut impl Write, steps: i64, encode: Encode) -> io::Result<()> {
    let mut seed = 1;
    for step in 0..steps {
        let wall_time = START + step as f64 * 0.25;
        for tag in TAGS {
            out.write_all(&encode(wall_time, step, tag, loss(step, &mut seed)))?;
        }
    }
    out.flush()
}

fn generate(set: &str, dir: &Path, scale: f64) -> io::Result<()> {
    let scaled = |n: f64| (n * scale).max(1.0) as i64;
    match set {
        "a" => scalars(&mut create(dir, 0)?, scaled(400_000.0), encode::scalar),
        "d" => scalars(&mut create(dir, 0)?, scaled(200_000.0), encode::tensor_scalar),
        "b" => (0..scaled(1000.0) as usize).try_for_each(|run| {
            scalars(&mut create(&dir.join(format!("exp{:02}/run_{run:04}", run / 50)), run)?, 1000, encode::scalar)
        }),
        "many" => (0..scaled(10_000.0) as usize).try_for_each(|run| {
            scalars(&mut create(&dir.join(format!("exp{:03}/run_{run:05}", run / 50)), run)?, 160, encode::scalar)
        }),
        "c" => histograms(&mut create(dir, 0)?, scaled(2028.0)),
        other => Err(io::Error::other(format!("there is no data set {other}; there are a, b, c, d, many"))),
    }
}

/// Ten legacy histograms of 9 KB, ten TF2 histograms and two scalars a step.
fn histograms(out: &mut impl Write, steps: i64) -> io::Result<()> {
    let mut seed = 1;
    for step in 0..steps {
        let wall_time = START + step as f64;
        let spread = f64::from(loss(step, &mut seed));
        let buckets: Vec<(f64, f64)> = (0..550).map(|i| (f64::from(i - 275) * spread, f64::from(i % 97))).collect();
        let moments = [-spread, spread, 1e5, spread, spread * 1e5];
        let rows: Vec<[f64; 3]> = (0..30).map(|i| f64::from(i) * spread).map(|x| [x, x + spread, 9.0]).collect();
        for layer in 0..10 {
            out.write_all(&encode::histogram(wall_time, step, &format!("layers.{layer}.weight"), moments, &buckets))?;
            let tag = format!("dense_{layer}/kernel_0/histogram");
            out.write_all(&encode::tensor_histogram(wall_time, step, &tag, &rows))?;
        }
        out.write_all(&encode::scalar(wall_time, step, "train/loss", loss(step, &mut seed)))?;
        out.write_all(&encode::scalar(wall_time, step, "train/lr", 1e-3))?;
    }
    out.flush()
}
