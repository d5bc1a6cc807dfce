//! Training programs with known root causes, and as many healthy ones: what the daemon's judgement is measured against.
//!
//!     cargo run --release --example evaluate -- list
//!     cargo run --release --example evaluate -- verify
//!     cargo run --release --example evaluate -- corpus --out corpus --seeds 2
//!
//! `verify` trains every case and its cures, and checks that what is said of it is true. `corpus` trains all baselines
//! into one log directory, with `labels.jsonl` beside them.

mod adversaries;
mod cases;
mod corridor;
mod custom;
mod data;
mod record;
mod runs;
mod subject;
#[path = "../trainer/mod.rs"]
mod trainer;
mod truth;
mod verify;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
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
