//! `nextrun diagnose`: one look at every job of a log directory.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::{Exit, place, plain, runs_of, settings};
use crate::belief::{Belief, Contribution, Weights};
use crate::config::{Overrides, parse_duration};
use crate::daemon::{now, site_of};
use crate::destinations::sparkline;
use crate::diagnosis::{Exam, Memory, Site, Status, exam, first_step};
use crate::evidence::{Measured, Quantity};
use crate::jobs::{Job, group};
use crate::logdir::Place;
use crate::signals::{Matched, Signal};
use crate::symptoms::first_detected;

/// Look once at every job of a log directory and say what is wrong with it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nextrun diagnose runs/\n  nextrun diagnose runs/ --format json | jq 'select(.status == \"failing\")'"
)]
pub(super) struct Diagnose {
    /// The log directory: a path, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.
    #[arg(value_parser = place())]
    logdir: Place,
    /// How to print: for people, or one JSON object a line.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The configuration file: tag patterns, knobs, policy.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long a job may be without a new event before it counts as ended.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    quiet_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn run(arguments: &Diagnose) -> anyhow::Result<Exit> {
    let overrides = Overrides {
        logdirs: vec![arguments.logdir.clone()],
        quiet_after: arguments.quiet_after,
        ..Overrides::default()
    };
    let site = site_of(&settings(arguments.config.as_deref(), &overrides)?)?;
    let runs = runs_of(&arguments.logdir)?;
    let now = now();
    let mut out = io::stdout().lock();
    let mut failing = false;
    for job in group(&runs, &std::collections::BTreeSet::new()) {
        let exam = exam(&job, &site, &Memory::only_look(&job, now), now);
        failing |= exam.status().0 == Status::Failing;
        match arguments.format {
            Format::Json => writeln!(out, "{}", as_json(&job, &exam, &site))?,
            Format::Text => print_text(&mut out, &job, &exam, &site)?,
        }
    }
    Ok(if failing { Exit::Failing } else { Exit::Healthy })
}

fn as_json(job: &Job<'_>, exam: &Exam, site: &Site) -> Value {
    let (status, reason) = exam.status();
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
    let judged = |terms: Vec<Contribution>| serde_json::to_value(terms).unwrap_or_default();
    let cure = |(change, belief): &(&str, Belief)| {
        json!({
            "change": change, "probability": belief.probability, "prior": belief.prior,
            "speaks_for": judged(belief.speaks_for().copied().collect()),
            "speaks_against": judged(belief.speaks_against().copied().collect()),
        })
    };
    let fails = matches!(status, Status::Failing | Status::Suspect);
    let cures: Vec<Value> = if fails { exam.cures().iter().map(cure).collect() } else { Vec::new() };
    json!({
        "run": job.name, "status": status.as_str(), "probability": exam.belief.probability,
        "kind": exam.view.kind().as_str(), "prior": exam.belief.prior, "weights": Weights::shipped().id,
        "speaks_for": judged(exam.belief.speaks_for().copied().collect()),
        "speaks_against": judged(exam.belief.speaks_against().copied().collect()), "cures": cures,
        "quantities": quantities, "symptoms": symptoms, "signals": signals(exam),
        "hyperparameters": exam.facts.knobs, "next": next(job, exam, site, status), "reason": reason,
    })
}

fn next(job: &Job<'_>, exam: &Exam, site: &Site, status: Status) -> Value {
    let policy = site.policy_for(&job.name, exam.view.kind()).filter(|_| status == Status::Failing);
    policy.map_or(Value::Null, |policy| first_step(policy, &exam.facts, site.knobs_of_script(&job.name)))
}

/// The signals that were found, each with its tag; layers as lists.
fn signals(exam: &Exam) -> Map<String, Value> {
    let mut map = Map::new();
    for (signal, matched) in exam.signals.iter() {
        let tag = |m: &Matched| if m.folder.is_empty() { m.tag.clone() } else { format!("{}/{}", m.folder, m.tag) };
        let layered = matches!(signal, Signal::Weights | Signal::Gradients | Signal::PartOfLoss);
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

fn print_text(out: &mut impl Write, job: &Job<'_>, exam: &Exam, site: &Site) -> io::Result<()> {
    let (status, reason) = exam.status();
    let curve = sparkline(&exam.loss_curve());
    writeln!(out, "{:8} {}  {curve}", status.as_str(), plain(&job.name))?;
    if let Some(reason) = reason {
        writeln!(out, "         {}", plain(&reason))?;
    }
    print_belief(out, exam)?;
    for finding in &exam.shown() {
        let severity = serde_json::to_value(finding.severity).unwrap_or_default();
        let severity = severity.as_str().unwrap_or_default().to_owned();
        writeln!(out, "         {severity}: {}: {}", finding.symptom, plain(&finding.summary))?;
    }
    let next = next(job, exam, site, status);
    if let Some(state) = next.get("state").and_then(Value::as_str) {
        let why = next.get("why").and_then(Value::as_str).unwrap_or_default();
        writeln!(out, "         next: {state} {}: {}", next["overrides"], plain(why))?;
    }
    Ok(())
}

/// So many of the strongest reasons are shown to people; the JSON has them all.
const REASONS: usize = 3;

/// How probable it is that the job fails, with what speaks for it and against it.
fn print_belief(out: &mut impl Write, exam: &Exam) -> io::Result<()> {
    if exam.belief.terms.is_empty() {
        return Ok(());
    }
    let reasons = |terms: &mut dyn Iterator<Item = &Contribution>| {
        let all = terms.take(REASONS).map(|t| format!("{} = {} ({:+.1})", t.quantity, brief(t.value), t.log_odds));
        all.collect::<Vec<_>>().join(", ")
    };
    let per_cent = 100.0 * exam.belief.probability;
    let (pro, contra) = (reasons(&mut exam.belief.speaks_for()), reasons(&mut exam.belief.speaks_against()));
    writeln!(
        out,
        "         probability of failing {per_cent:.0} %; for: {}; against: {}",
        or_nothing(&pro),
        or_nothing(&contra)
    )
}

fn or_nothing(reasons: &str) -> &str {
    if reasons.is_empty() { "nothing" } else { reasons }
}

fn brief(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e5).contains(&value.abs()) { format!("{value:.1e}") } else { format!("{value:.2}") }
}
