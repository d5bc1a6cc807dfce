//! The case study that nextrun's policy is built on: the training program that does not learn, and its job queue.
//!
//!     cargo run --release --example article -- train --logdir runs --run-name baseline
//!     cargo run --release --example article -- queue --logdir runs

mod curve;
mod pictures;
mod queue;
mod report;
mod terminal;
#[path = "../trainer/mod.rs"]
mod trainer;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use serde_json::{Map, Value};

use queue::News;
use terminal::Terminal;

/// Performs the case study: a run that does not learn, the daemon's experiments, the root cause, the cured run.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Trains a single run, the baseline unless knobs say otherwise.
    Train {
        /// Where runs are logged.
        #[arg(long)]
        logdir: PathBuf,
        /// Directory of this run below it.
        #[arg(long)]
        run_name: String,
        /// Changes to the baseline's knobs, values as JSON: learning_rate=0.0001 batch_norm=false
        #[arg(value_name = "KNOB=VALUE")]
        overrides: Vec<String>,
    },
    /// Is only the job queue: POST CloudEvents of type nextrun.run.suggested to it.
    Queue {
        /// Where runs are logged.
        #[arg(long)]
        logdir: PathBuf,
        /// Port on the loopback interface.
        #[arg(long, default_value_t = 8123)]
        port: u16,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Train { logdir, run_name, overrides } => train(logdir.join(run_name), &overrides),
        Command::Queue { logdir, port } => serve(logdir, port),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn train(directory: PathBuf, overrides: &[String]) -> anyhow::Result<bool> {
    let knobs = pictures::baseline().with(&parsed(overrides)?)?;
    let run = queue::train(&directory, &knobs);
    report::show_run(&Terminal::new(), &run);
    Ok(run.losses.is_ok())
}

/// `knob=value` pairs; a value that is not JSON is a word.
fn parsed(overrides: &[String]) -> anyhow::Result<Map<String, Value>> {
    let pair = |text: &String| {
        let (knob, value) = text.split_once('=').with_context(|| format!("{text:?}: expected KNOB=VALUE"))?;
        Ok((knob.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))))
    };
    overrides.iter().map(pair).collect()
}

/// Serves until it is interrupted.
fn serve(logdir: PathBuf, port: u16) -> anyhow::Result<bool> {
    let queue = queue::serve(logdir, pictures::baseline(), port).with_context(|| format!("port {port}"))?;
    println!("listening on http://{}/", queue.address);
    let terminal = Terminal::new();
    for news in &queue.news {
        match news {
            News::Started(job) => {
                terminal.heading(&job.run_name);
                terminal.aside(job.suggestion["why"].as_str().unwrap_or_default());
                terminal.line(&report::changes(&job.overrides));
            }
            News::Finished(run) => report::show_run(&terminal, &run),
            News::Refused(error) => terminal.text(&format!("refused: {error}")),
            News::Event(kind, data) => terminal.text(&format!("{kind}: {data}")),
        }
    }
    Ok(true)
}
