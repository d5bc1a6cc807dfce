//! `nextrun scalars` and `nextrun files`: the content of a log directory as read.

mod columns;
mod output;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Exit, place, plain, watcher_of};
use crate::daemon::variables;
use crate::logdir::{Place, logdir_at};
use crate::series::{Point, RunName};
use crate::watch::{FileState, FileStatus, each_scalar};
use columns::Columns;
use output::{Output, is_shown};

/// Print every scalar point of a log directory as read.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nextrun scalars runs/ > points.jsonl\n  nextrun scalars s3://bucket/runs --format parquet --output points.parquet"
)]
pub(super) struct Scalars {
    /// The log directory: a path, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.
    #[arg(value_parser = place())]
    logdir: Place,
    /// The output format.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// The output file; written atomically.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object per line; NaN and infinities are strings.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// Parquet with the columns run, tag, step, wall_time (seconds since 1970; null if unknown) and value.
    Parquet,
}

/// Writer for points.
enum Sink {
    Jsonl(Box<dyn Write + Send>),
    Csv(Box<dyn Write + Send>),
    Parquet(Box<Columns<Box<dyn Write + Send>>>),
}

impl Sink {
    fn new(format: Format, mut out: Box<dyn Write + Send>) -> anyhow::Result<Sink> {
        Ok(match format {
            Format::Jsonl => Sink::Jsonl(out),
            Format::Csv => {
                writeln!(out, "run,tag,step,wall_time,value")?;
                Sink::Csv(out)
            }
            Format::Parquet => Sink::Parquet(Box::new(Columns::new(out)?)),
        })
    }

    fn point(&mut self, run: &RunName, tag: &str, point: Point) -> anyhow::Result<()> {
        let Point { step, wall_time, value } = point;
        match self {
            Sink::Jsonl(out) => {
                let line = json!({
                    "run": run.as_str(), "tag": tag, "step": step,
                    "wall_time": number(wall_time), "value": number(value),
                });
                writeln!(out, "{line}")?;
            }
            Sink::Csv(out) => {
                writeln!(out, "{},{},{step},{wall_time},{value}", quoted(run.as_str()), quoted(tag))?;
            }
            Sink::Parquet(columns) => columns.point(run.as_str(), tag, point)?,
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Sink::Jsonl(mut out) | Sink::Csv(mut out) => out.flush()?,
            Sink::Parquet(columns) => columns.finish()?,
        }
        Ok(())
    }
}

pub(super) fn run(arguments: &Scalars) -> anyhow::Result<Exit> {
    let path = arguments.output.as_deref();
    if arguments.format == Format::Parquet && is_shown(path) {
        bail!("Parquet output cannot be written to a terminal: name a file with --output FILE, or use a pipe");
    }
    let logdir = logdir_at(&arguments.logdir, &variables())?;
    logdir.check()?;
    let (out, output) = Output::open(path)?;
    let mut sink = Sink::new(arguments.format, out)?;
    let mut failed = Ok(());
    let problems = each_scalar(&*logdir, |run, tag, point| {
        if failed.is_ok() {
            failed = sink.point(run, tag, point);
        }
    })?;
    failed?;
    sink.finish()?;
    output.keep()?;
    problems.iter().for_each(|problem| tracing::warn!("{problem}"));
    Ok(Exit::Healthy)
}

/// JSON supports neither NaN nor infinity, so they are strings, as in TensorBoard's own JSON.
fn number(value: f64) -> serde_json::Value {
    match serde_json::Number::from_f64(value) {
        Some(number) => serde_json::Value::Number(number),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}

fn quoted(text: &str) -> String {
    // A spreadsheet would interpret text with this beginning as a formula and execute it.
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// Print one line per event file: how far it was read, and any problems.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  nextrun files runs/")]
pub(super) struct Files {
    /// The log directory: a path, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.
    #[arg(value_parser = place())]
    logdir: Place,
}

pub(super) fn run_files(arguments: &Files) -> anyhow::Result<Exit> {
    let mut watcher = watcher_of(&arguments.logdir)?;
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

/// One line about a file: read position, skipped data, and state.
fn line_of(file: &FileStatus) -> String {
    let state = match &file.state {
        FileState::Read => "read to the end".to_owned(),
        FileState::Unfinished { lost: false, .. } => "ends within a record: unfinished write".to_owned(),
        FileState::Unfinished { lost: true, .. } => "ends within a record: the writer probably died".to_owned(),
        FileState::Damaged { lost: false, .. } => {
            "followed by data that are not a record yet (zeros, or damage)".to_owned()
        }
        FileState::Damaged { lost: true, .. } => "followed by damaged data".to_owned(),
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
