//! `nextrun scalars` and `nextrun files`: what is in a log directory, as read.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Exit, plain};
use crate::logdir::DiskLogdir;
use crate::watch::{FileState, FileStatus, Options, Watcher, each_scalar};

/// Print every scalar point of a log directory as it was read.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nextrun scalars runs/ > points.jsonl\n  nextrun scalars runs/ --format csv")]
pub(super) struct Scalars {
    /// The log directory.
    logdir: PathBuf,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object a line; NaN and infinities are strings.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
}

pub(super) fn run(arguments: &Scalars) -> anyhow::Result<Exit> {
    let mut out = BufWriter::new(io::stdout().lock());
    if arguments.format == Format::Csv {
        writeln!(out, "run,tag,step,wall_time,value")?;
    }
    let mut failed = Ok(());
    let logdir = DiskLogdir::new(&arguments.logdir);
    std::fs::read_dir(&arguments.logdir)
        .with_context(|| format!("the log directory {} cannot be read", arguments.logdir.display()))?;
    each_scalar(&logdir, |run, tag, point| {
        if failed.is_err() {
            return;
        }
        failed = match arguments.format {
            Format::Jsonl => {
                let line = json!({
                    "run": run.as_str(), "tag": tag, "step": point.step,
                    "wall_time": number(point.wall_time), "value": number(point.value),
                });
                writeln!(out, "{line}")
            }
            Format::Csv => writeln!(
                out,
                "{},{},{},{},{}",
                quoted(run.as_str()),
                quoted(tag),
                point.step,
                point.wall_time,
                point.value
            ),
        };
    })?;
    failed?;
    out.flush()?;
    Ok(Exit::Healthy)
}

/// JSON has neither NaN nor infinity: they are strings, as in TensorBoard's own JSON.
fn number(value: f64) -> serde_json::Value {
    match serde_json::Number::from_f64(value) {
        Some(number) => serde_json::Value::Number(number),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// Print a line for every event file: how far it was read, and what was wrong with it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  nextrun files runs/")]
pub(super) struct Files {
    /// The log directory.
    logdir: PathBuf,
}

pub(super) fn run_files(arguments: &Files) -> anyhow::Result<Exit> {
    std::fs::read_dir(&arguments.logdir)
        .with_context(|| format!("the log directory {} cannot be read", arguments.logdir.display()))?;
    let mut watcher = Watcher::new(Box::new(DiskLogdir::new(&arguments.logdir)), Options::default());
    let read = watcher.poll(crate::daemon::now());
    let mut out = BufWriter::new(io::stdout().lock());
    for file in watcher.files() {
        writeln!(out, "{}", line_of(&file))?;
    }
    for problem in read.problems {
        writeln!(out, "{}", plain(&problem))?;
    }
    out.flush()?;
    Ok(Exit::Healthy)
}

/// A file in one line: how far it was read, what was passed over, how it stands.
fn line_of(file: &FileStatus) -> String {
    let state = match &file.state {
        FileState::Read => "read to its end".to_owned(),
        FileState::Unfinished { lost: false, .. } => "ends inside a record: an unfinished write".to_owned(),
        FileState::Unfinished { lost: true, .. } => "ends inside a record: its writer must have died".to_owned(),
        FileState::Damaged { lost: false, .. } => "what follows is no record yet (zeros, or damage)".to_owned(),
        FileState::Damaged { lost: true, .. } => "what follows is damaged".to_owned(),
        FileState::Unreadable(why) => format!("cannot be read: {why}"),
    };
    let path = plain(&file.path.display().to_string());
    format!(
        "{path}: {} of {} bytes, lag {}, bad records {}, skipped bytes {}, generation {}: {}",
        file.offset,
        file.bytes,
        file.lag,
        file.bad_records,
        file.skipped_bytes,
        file.generation,
        plain(&state)
    )
}
