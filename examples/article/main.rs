//! The case study that nextrun's policy is built on, performed for real: a network that does not learn is trained, the
//! daemon finds out why by experiment, and the settings that it recommends are trained to the end.
//!
//!     cargo run --release --example article
//!
//! Exits 0 when the daemon names the article's root cause and the cured run falls as the article says.

mod curve;
mod pictures;
mod report;
mod runs;
mod story;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
#[path = "../trainer/mod.rs"]
mod trainer;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use serde_json::{Map, Value};

use runs::Article;
use support::queue::{self, News};
use terminal::Terminal;

/// Performs the case study: a run that does not learn, the daemon's experiments, the root cause, the cured run.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where the runs are logged; a new directory below the system's temporary one if not given.
    #[arg(long)]
    logdir: Option<PathBuf>,
    /// Seed of the weights and of the order of examples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
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
    let result = match arguments.command {
        Some(Command::Daemon { arguments }) => {
            return nextrun::cli::run(std::iter::once("nextrun".into()).chain(arguments));
        }
        Some(Command::Train { logdir, run_name, overrides }) => train(logdir.join(run_name), &overrides),
        Some(Command::Queue { logdir, port }) => serve(logdir, port),
        None => logdir(arguments.logdir).and_then(|logdir| story::tell(&logdir, arguments.seed)),
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

/// The given log directory, or a new one that stays for TensorBoard to look at.
fn logdir(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    match given {
        Some(path) => Ok(path),
        None => Ok(tempfile::Builder::new()
            .prefix("nextrun-article-")
            .tempdir()
            .context("cannot create a log directory; give one with --logdir")?
            .keep()),
    }
}

fn train(directory: PathBuf, overrides: &[String]) -> anyhow::Result<bool> {
    let knobs = pictures::baseline().with(&parsed(overrides)?)?;
    let run = runs::train(&directory, &knobs);
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
    let queue = queue::serve(logdir, Article { baseline: pictures::baseline() }, port)
        .with_context(|| format!("port {port}"))?;
    println!("listening on http://{}/", queue.address);
    let terminal = Terminal::new();
    for news in &queue.news {
        match news {
            News::Started(job) => {
                terminal.heading(&job.run_name);
                terminal.aside(job.suggestion["why"].as_str().unwrap_or_default());
                terminal.text(&report::changes(&job.overrides));
            }
            News::Finished(run) => report::show_run(&terminal, &run),
            News::Refused(error) => terminal.text(&format!("refused: {error}")),
            News::Event(kind, data) => terminal.text(&format!("{kind}: {data}")),
        }
    }
    Ok(true)
}
