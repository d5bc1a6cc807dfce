//! Training programs with known root causes, and as many healthy ones: what the daemon's judgement is measured against.
//!
//!     cargo run --release --example evaluate -- list
//!     cargo run --release --example evaluate -- verify
//!     cargo run --release --example evaluate -- corpus --out corpus --seeds 2
//!     cargo run --release --example evaluate -- loop
//!
//! `verify` trains every case and its cures, and checks that what is said of it is true. `corpus` trains all baselines
//! into one log directory, with `labels.jsonl` beside them. `loop` trains them under a running daemon, lets it make its
//! experiments, and compares its verdicts.

mod adversaries;
mod cases;
mod closed_loop;
mod corridor;
mod custom;
mod data;
mod record;
mod runs;
mod subject;
#[path = "../support/mod.rs"]
mod support;
#[path = "../trainer/mod.rs"]
mod trainer;
mod truth;
mod verify;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use serde_json::{Map, Value, json};

use cases::{Case, Fault};

/// Trains programs whose faults are known, and checks what is said of them.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Only cases whose id contains this.
    #[arg(long, global = true, default_value = "")]
    only: String,
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
    /// Trains all baselines under a running daemon, and compares its verdicts.
    Loop {
        /// The log directory, which must be empty; a new one below the system's temporary one if not given.
        #[arg(long)]
        logdir: Option<PathBuf>,
        /// Seconds after which it is over.
        #[arg(long, default_value_t = 1800)]
        patience: u64,
    },
    /// Is the daemon itself, with its own command line.
    #[command(hide = true, disable_help_flag = true)]
    Daemon {
        /// What `nextrun` would be given.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

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
    let mut cases = cases::all().context("the list of cases")?;
    cases.retain(|case| case.id.contains(&arguments.only));
    match &arguments.command {
        Command::List => {
            cases.iter().for_each(list);
            Ok(true)
        }
        Command::Train { id, logdir, run_name, overrides } => train(&cases, id, (&logdir.join(run_name), overrides)),
        Command::Verify { seeds } => {
            let scratch = tempfile::tempdir().context("cannot create a scratch directory")?;
            Ok(verify::verify(&cases, scratch.path(), *seeds)? == 0)
        }
        Command::Corpus { out, seeds } => corpus(&cases, out, *seeds).map(|()| true),
        Command::Loop { logdir, patience } => {
            let new =
                tempfile::Builder::new().prefix("nextrun-evaluate-").tempdir().context("cannot create a directory")?;
            let directory = new.keep();
            let logdir = logdir.clone().unwrap_or_else(|| directory.join("runs"));
            std::fs::create_dir_all(&logdir).with_context(|| format!("{}: cannot create", logdir.display()))?;
            println!("runs in {}, the daemon's words in {}", logdir.display(), directory.display());
            closed_loop::closed_loop(&cases, &logdir, &directory, Duration::from_secs(*patience))
        }
        Command::Daemon { .. } => bail!("the daemon was started already"),
    }
}

fn list(case: &Case) {
    let expected = if case.healthy { "healthy".to_owned() } else { case.verdicts.join(" | ") };
    println!("{:30} {:5} {expected}", case.id, if case.held_back { "held" } else { "" });
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
