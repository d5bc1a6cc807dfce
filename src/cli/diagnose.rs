//! `nextrun diagnose`: one check of every job in a log directory.

mod text;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::report::write_new;
use super::{Exit, nearby, place, plain, runs_of, settings};
use crate::belief::{Belief, Weights};
use crate::case::experiment_of;
use crate::config::{Overrides, parse_duration};
use crate::daemon::{now, site_of};
use crate::diagnosis::{Exam, Memory, Site, Status, exam, first_step, unlogged};
use crate::evidence::{Measured, Quantity};
use crate::jobs::{Job, group};
use crate::logdir::Place;
use crate::picture::{Chart, Line, Window, png};
use crate::series::Outline;
use crate::signals::{Matched, Signal};
use crate::symptoms::first_detected;

/// Check every job of a log directory once and report problems.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nextrun diagnose runs/\n  nextrun diagnose runs/ --format json | jq 'select(.status == \"failing\")'"
)]
pub(super) struct Diagnose {
    /// The log directory: a path, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.
    #[arg(value_parser = place())]
    logdir: Place,
    /// Output format: text, or one JSON object per line.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The configuration file: tag patterns, knobs, policy.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long a job may log nothing before it counts as ended.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    quiet_after: Option<Duration>,
    /// Write the loss curves of all jobs that are not healthy (or of all jobs if every job is healthy) to this PNG
    /// file. An existing file is replaced.
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// A job with its diagnosis.
struct Looked<'a> {
    job: &'a Job<'a>,
    exam: Exam,
    /// The job is an experiment: its case judges it, and it never counts as failing.
    experiment: bool,
    status: Status,
    reason: Option<String>,
    next: Value,
}

pub(super) fn run(arguments: &Diagnose) -> anyhow::Result<Exit> {
    let place = nearby::meant(&arguments.logdir)?;
    let overrides =
        Overrides { logdir: Some(place.clone()), quiet_after: arguments.quiet_after, ..Overrides::default() };
    let site = site_of(&settings(arguments.config.as_deref(), &overrides)?)?;
    let runs = runs_of(&place)?;
    let now = now();
    let mut out = io::stdout().lock();
    let experiments: BTreeSet<String> =
        runs.keys().filter_map(|name| experiment_of(name.as_str())).map(str::to_owned).collect();
    let jobs = group(&runs, &experiments);
    let looked: Vec<Looked<'_>> = jobs.iter().map(|job| look(job, &site, now)).collect();
    match arguments.format {
        Format::Json => {
            for job in &looked {
                writeln!(out, "{}", as_json(job))?;
            }
        }
        Format::Text if !looked.is_empty() => text::print(&mut out, &looked, &plain(&place.to_string()))?,
        Format::Text => {}
    }
    if let Some(path) = &arguments.png {
        write_png(path, &looked)?;
    }
    if looked.is_empty() {
        writeln!(io::stderr(), "{}", plain(&nearby::nothing_in(&place)))?;
    }
    let failing = looked.iter().any(|job| job.status == Status::Failing);
    Ok(if failing { Exit::Failing } else { Exit::Healthy })
}

/// The loss curve of a job, with the steps of its findings marked.
fn chart(looked: &Looked<'_>) -> Chart {
    let Looked { job, exam, .. } = looked;
    let Some(judged) = exam.view.judged() else { return Chart::default() };
    let of_it = exam.shown().into_iter().filter(|finding| finding.tag == judged.tag);
    let window = |finding: crate::symptoms::Finding| Window {
        from: finding.first_step as f64,
        to: finding.last_step as f64,
        name: finding.symptom.replace('_', " "),
    };
    Chart {
        title: format!("{}: {} ({})", plain(&job.name), looked.status.as_str(), plain(&judged.tag)),
        lines: vec![Line { name: "loss".to_owned(), outline: Outline::of(&judged.sketch), style: 0 }],
        windows: of_it.map(window).collect(),
    }
}

fn write_png(path: &Path, looked: &[Looked<'_>]) -> anyhow::Result<()> {
    let all_healthy = looked.iter().all(|job| job.status == Status::Healthy);
    let shown = looked.iter().filter(|job| all_healthy || job.status != Status::Healthy && !job.experiment);
    let charts: Vec<Chart> = shown.map(chart).collect();
    write_new(path, &png(&charts)?, true)
}

fn look<'a>(job: &'a Job<'a>, site: &Site, now: f64) -> Looked<'a> {
    let exam = exam(job, site, &Memory::only_look(job, now), now);
    let experiment = experiment_of(&job.name).is_some() || job.suggestion_id().is_some();
    let (status, reason) = match exam.status() {
        _ if experiment => (Status::Unknown, Some("this is an experiment of nextrun; its case judges it".to_owned())),
        judged => judged,
    };
    let next = next(job, &exam, site, status);
    Looked { job, exam, experiment, status, reason, next }
}

fn as_json(looked: &Looked<'_>) -> Value {
    let Looked { job, exam, .. } = looked;
    let symptom = |finding: &crate::symptoms::Finding| {
        json!({
            "id": finding.symptom, "severity": finding.severity,
            "first_detected_step": first_detected(&exam.view, finding), "summary": finding.summary,
            "evidence": {
                "tag": finding.tag, "first_step": finding.first_step, "last_step": finding.last_step,
                "numbers": finding.numbers,
            },
        })
    };
    let symptoms: Vec<Value> = exam.shown().iter().map(symptom).collect();
    let quantity = |(quantity, m): (Quantity, Measured)| (quantity.id().to_owned(), json!([m.value, m.error]));
    let quantities: Map<String, Value> = exam.evidence.known().map(quantity).collect();
    let cure = |(change, belief): &(&str, Belief)| {
        json!({
            "change": change, "probability": belief.probability, "prior": belief.prior,
            "speaks_for": belief.speaks_for,
            "speaks_against": belief.speaks_against,
        })
    };
    let fails = matches!(looked.status, Status::Failing | Status::Suspect);
    let cures: Vec<Value> = if fails { exam.cures().iter().map(cure).collect() } else { Vec::new() };
    json!({
        "run": job.name, "status": looked.status.as_str(), "probability": exam.belief.probability,
        "kind": exam.view.kind().as_str(), "prior": exam.belief.prior, "weights": Weights::shipped().id,
        "speaks_for": exam.belief.speaks_for,
        "speaks_against": exam.belief.speaks_against, "cures": cures,
        "quantities": quantities, "symptoms": symptoms, "signals": signals(exam), "hyperparameters": exam.facts.knobs,
        "not_logged": unlogged(exam), "experiment": looked.experiment, "next": looked.next, "reason": looked.reason,
    })
}

fn next(job: &Job<'_>, exam: &Exam, site: &Site, status: Status) -> Value {
    let policy = site.policy_for(&job.name, exam.view.kind()).filter(|_| status == Status::Failing);
    policy.map_or(Value::Null, |policy| first_step(policy, &exam.facts, site.knobs_of_script(&job.name)))
}

/// The recognised signals with their tags; layers as lists.
fn signals(exam: &Exam) -> Map<String, Value> {
    let mut map = Map::new();
    for (signal, matched) in exam.signals.iter() {
        let tag = |m: &Matched| if m.folder.is_empty() { m.tag.clone() } else { format!("{}/{}", m.folder, m.tag) };
        let layered = matches!(signal, Signal::Weights | Signal::Gradients | Signal::PartOfLoss | Signal::Score);
        let value = match matched {
            _ if layered => matched.iter().map(tag).collect::<Vec<_>>().into(),
            [first, ..] if first.part => matched.iter().map(tag).collect::<Vec<_>>().join(" + ").into(),
            [first, ..] => tag(first).into(),
            [] => Value::Null,
        };
        map.insert(signal.as_str().to_owned(), value);
    }
    map
}
