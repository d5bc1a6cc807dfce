//! Training programs with known root causes, and as many healthy ones: what the daemon's judgement is measured against.
//!
//!     cargo run --release --example evaluate -- list
//!     cargo run --release --example evaluate -- verify
//!     cargo run --release --example evaluate -- corpus --out corpus --seeds 2
//!     cargo run --release --example evaluate -- live --set trained --format json
//!     cargo run --release --example evaluate -- loop --cases deep_sigmoid,h_waves
//!     cargo run --release --example evaluate -- report
//!     cargo run --release --example evaluate -- random --count 1000
//!     cargo run --release --example evaluate -- fit
//!
//! `verify` trains every case and its cures, and checks that what is said of it is true. `corpus` trains all baselines
//! into one log directory, with `labels.jsonl` beside them. `live` lets each baseline grow under nextrun's own core, in this
//! process, and carries out what it suggests; the same seeds give the same answers. `loop` does it with the daemon in a
//! process of its own, a job queue and HTTP between them. `report` measures all that, what one can do without nextrun, and
//! what other tools' rules say, and writes docs/EVALUATION.md. `random` draws programs at random, and labels them by
//! training what they would have been without each of their settings and bugs. `fit` finds the weights of belief on them.

mod adversaries;
mod cases;
mod classes;
mod closed_loop;
mod corridor;
mod curves;
mod custom;
mod data;
mod figures;
mod investigation;
mod lab;
mod live;
mod parallel;
mod random;
mod record;
mod report;
mod rivals;
mod runs;
mod strategies;
mod subject;
#[path = "../support/mod.rs"]
mod support;
#[path = "../trainer/mod.rs"]
mod trainer;
mod trial;
mod truth;
mod verify;
mod weigh;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use cases::{Case, Fault};
use classes::Grade;
use investigation::Investigation;
use lab::Lab;

/// Trains programs whose faults are known, and checks what is said of them.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Only cases whose id contains this.
    #[arg(long, global = true, default_value = "")]
    only: String,
    /// Only these cases.
    #[arg(long, global = true, value_delimiter = ',')]
    cases: Vec<String>,
    /// Only the cases that may be tuned on, or only those that may not.
    #[arg(long, global = true, value_enum, default_value_t = Set::All)]
    set: Set,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Set {
    All,
    Trained,
    HeldBack,
}

/// How results are printed: for people, or a JSON object a line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the cases.
    List,
    /// Trains one case.
    Train {
        /// Its id.
        id: String,
        /// Where runs are logged.
        #[arg(long)]
        logdir: PathBuf,
        /// Directory of this run below it.
        #[arg(long, default_value = "baseline")]
        run_name: String,
        /// Changes to the baseline's knobs, values as JSON: learning_rate=0.0001 batch_norm=false
        #[arg(value_name = "KNOB=VALUE")]
        overrides: Vec<String>,
    },
    /// Trains all cases and their cures, and checks their truth.
    Verify {
        /// Repetitions of the baselines with other seeds.
        #[arg(long, default_value_t = 2)]
        seeds: u64,
    },
    /// Trains all baselines into one log directory, labelled.
    Corpus {
        /// The log directory.
        #[arg(long)]
        out: PathBuf,
        /// Runs a case.
        #[arg(long, default_value_t = 2)]
        seeds: u64,
    },
    /// Lets all baselines grow under nextrun's core, and compares its verdicts.
    Live {
        /// Runs a case.
        #[arg(long, default_value_t = 1)]
        seeds: u64,
        /// How to print.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Trains all baselines under a running daemon, and compares its verdicts.
    Loop {
        /// The log directory, which must be empty; a new one below the system's temporary one if not given.
        #[arg(long)]
        logdir: Option<PathBuf>,
        /// Seconds after which it is over.
        #[arg(long, default_value_t = PATIENCE)]
        patience: u64,
        /// Runs a case.
        #[arg(long, default_value_t = 1)]
        seeds: u64,
        /// How to print.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Measures everything and writes the page about it.
    Report {
        /// The page.
        #[arg(long, default_value = "docs/EVALUATION.md")]
        out: PathBuf,
        /// Runs a case.
        #[arg(long, default_value_t = 2)]
        seeds: u64,
    },
    /// Draws random programs, trains them and their alternatives, and keeps what they logged with labels.
    Random(random::Random),
    /// Fits the weights of belief on random programs, and writes them.
    Fit(weigh::Fit),
    /// Is the daemon itself, with its own command line.
    #[command(hide = true, disable_help_flag = true)]
    Daemon {
        /// What `nextrun` would be given.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Seconds that a closed loop may take.
const PATIENCE: u64 = 1800;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Command::Daemon { arguments } = arguments.command {
        return nextrun::cli::run(std::iter::once("nextrun".into()).chain(arguments));
    }
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let cases = chosen(arguments)?;
    let scratch =
        || tempfile::Builder::new().prefix("nextrun-evaluate-").tempdir().context("cannot create a directory");
    match &arguments.command {
        Command::List => {
            cases.iter().for_each(list);
            Ok(true)
        }
        Command::Train { id, logdir, run_name, overrides } => train(&cases, id, (&logdir.join(run_name), overrides)),
        Command::Verify { seeds } => Ok(verify::verify(&cases, scratch()?.path(), *seeds)? == 0),
        Command::Corpus { out, seeds } => corpus(&cases, out, *seeds).map(|()| true),
        Command::Live { seeds, format } => {
            let scratch = scratch()?;
            let lab = Lab::new(scratch.path())?;
            let repeated: Vec<(&Case, u64)> =
                cases.iter().flat_map(|case| (0..*seeds).map(move |repetition| (case, repetition))).collect();
            let known = parallel::map(&repeated, |(case, repetition)| live::investigate(case, *repetition, &lab));
            Ok(print(&known.into_iter().collect::<anyhow::Result<Vec<_>>>()?, *format))
        }
        Command::Loop { logdir, patience, seeds, format } => {
            let directory = scratch()?.keep();
            let logdir = logdir.clone().unwrap_or_else(|| directory.join("runs"));
            std::fs::create_dir_all(&logdir).with_context(|| format!("{}: cannot create", logdir.display()))?;
            eprintln!("runs in {}, the daemon's words in {}", logdir.display(), directory.display());
            let patience = Duration::from_secs(*patience);
            Ok(print(&closed_loop::closed_loop((&cases, *seeds), &logdir, &directory, patience)?, *format))
        }
        Command::Report { out, seeds } => report(&cases, *seeds, out).map(|()| true),
        Command::Random(arguments) => random::run(arguments).map(|()| true),
        Command::Fit(arguments) => weigh::run(arguments).map(|()| true),
        Command::Daemon { .. } => bail!("the daemon was started already"),
    }
}

fn chosen(arguments: &Arguments) -> anyhow::Result<Vec<Case>> {
    let mut cases = cases::all().context("the list of cases")?;
    if let Some(unknown) = arguments.cases.iter().find(|id| cases.iter().all(|case| case.id != **id)) {
        bail!("no case {unknown:?}; `list` shows them");
    }
    cases.retain(|case| case.id.contains(&arguments.only));
    cases.retain(|case| arguments.cases.is_empty() || arguments.cases.contains(&case.id));
    cases.retain(|case| arguments.set == Set::All || case.held_back == (arguments.set == Set::HeldBack));
    Ok(cases)
}

fn list(case: &Case) {
    let expected = if case.healthy { "healthy".to_owned() } else { case.verdicts.join(" | ") };
    println!("{:34} {:5} {expected}", case.id, if case.held_back { "held" } else { "" });
}

fn train(cases: &[Case], id: &str, (directory, overrides): (&Path, &[String])) -> anyhow::Result<bool> {
    let Some(case) = cases.iter().find(|case| case.id == id) else { bail!("no case {id:?}; `list` shows them") };
    let pair = |text: &String| {
        let (knob, value) = text.split_once('=').with_context(|| format!("{text:?}: expected KNOB=VALUE"))?;
        Ok((knob.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))))
    };
    let overrides = overrides.iter().map(pair).collect::<anyhow::Result<Map<String, Value>>>()?;
    println!("{}", truth::shown(&runs::train(case, &overrides, directory)?));
    Ok(true)
}

/// One run a case and seed, and a line for each in `labels.jsonl`.
fn corpus(cases: &[Case], out: &Path, seeds: u64) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("{}: cannot create", out.display()))?;
    let path = out.join("labels.jsonl");
    let mut labels = std::fs::File::create(&path).with_context(|| format!("{}: cannot write", path.display()))?;
    for (case, repetition) in cases.iter().flat_map(|case| (0..seeds).map(move |repetition| (case, repetition))) {
        let run = format!("{}-s{repetition}", case.id);
        runs::train(case, &verify::with_seed(case, &Map::new(), repetition), &out.join(&run))
            .with_context(|| run.clone())?;
        let symptoms = if case.healthy { vec![Vec::new()] } else { case.symptoms.clone() };
        let verdicts = if case.healthy { vec!["healthy".to_owned()] } else { case.verdicts.clone() };
        let label = json!({
            "run": run, "case": case.id, "healthy": case.healthy, "held_back": case.held_back,
            "symptoms_any": symptoms, "verdict_any": verdicts,
            // What only the clock can tell cannot be told from files that are at rest.
            "live_only": matches!(case.fault, Fault::Hang { .. } | Fault::Killed { .. }),
        });
        writeln!(labels, "{label}").with_context(|| format!("{}: cannot write", path.display()))?;
    }
    Ok(())
}

/// Prints what became of each run and the shares that are right; gives back whether all are.
fn print(known: &[Investigation], format: Format) -> bool {
    let right = |known: &&Investigation| known.grade() >= Grade::Accepted;
    if format == Format::Json {
        known.iter().for_each(|known| println!("{}", known.line()));
        return known.iter().all(|known| right(&known));
    }
    for known in known {
        let none = if known.opened.is_some() { "still open" } else { "no case" };
        println!(
            "{} {:34} {} {:>2} experiments  {:38} expected {}",
            if right(&known) { "ok  " } else { "FAIL" },
            known.case,
            known.repetition,
            known.experiments.len(),
            known.verdict.as_deref().unwrap_or(none),
            if known.healthy { "healthy".to_owned() } else { known.expected.join(" | ") },
        );
    }
    for (healthy, what) in [(false, "root causes named"), (true, "healthy runs left alone")] {
        for (held_back, which) in [(false, ""), (true, " (held back)")] {
            let of_kind: Vec<_> = known.iter().filter(|k| k.healthy == healthy && k.held_back == held_back).collect();
            if !of_kind.is_empty() {
                let rights = of_kind.iter().filter(|known| right(known)).count();
                println!("{rights} of {} {what}{which}", of_kind.len());
            }
        }
    }
    known.iter().all(|known| right(&known))
}

/// Measures everything and writes the page.
fn report(cases: &[Case], seeds: u64, out: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    let scratch =
        tempfile::Builder::new().prefix("nextrun-evaluate-").tempdir().context("cannot create a directory")?;
    let (runs, logdir) = (scratch.path().join("lab"), scratch.path().join("logdir"));
    for directory in [&runs, &logdir] {
        std::fs::create_dir_all(directory).with_context(|| format!("{}: cannot create", directory.display()))?;
    }
    let mut results = trial::trial(cases, seeds, &Lab::new(&runs)?)?;
    let patience = Duration::from_secs(PATIENCE);
    for known in closed_loop::closed_loop((cases, 1), &logdir, scratch.path(), patience)? {
        let same = |judged: &&mut trial::Judged| judged.nextrun.case == known.case && judged.nextrun.repetition == 0;
        if let Some(judged) = results.iter_mut().find(same) {
            judged.daemon = Some(known);
        }
    }
    let about = report::About {
        date: jiff::Zoned::now().date().to_string(),
        machine: machine(),
        command: format!("cargo run --release --example evaluate -- report --seeds {seeds}"),
        seeds,
        minutes: begun.elapsed().as_secs_f64() / 60.0,
        remarks: cases.iter().map(|case| (case.id.clone(), case.remark.clone())).collect(),
    };
    // What is said of random programs is measured by another command.
    let old = std::fs::read_to_string(out).unwrap_or_default();
    let page = random::page::kept(&old, &report::page(&results, &about));
    std::fs::write(out, page).with_context(|| format!("{}: cannot write", out.display()))?;
    println!("{} is written", out.display());
    Ok(())
}

/// The processor, where the system says which it is, and how many cores may be used.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let known = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = known.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    format!("{cores} cores of {model}")
}
