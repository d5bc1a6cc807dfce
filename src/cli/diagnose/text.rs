//! The text output of `nextrun diagnose`.
//!
//! Owns: the order of jobs, grouping of identical texts, the summary. Must not know: how jobs are judged.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::Value;

use super::Looked;
use crate::belief::Contribution;
use crate::cli::{nearby, plain};
use crate::destinations::sparkline;
use crate::diagnosis::{Exam, Status, Writer, in_words, unlogged};

/// Maximum number of jobs listed by name in a group.
const NAMED: usize = 3;

/// Maximum number of reasons shown, strongest first; the JSON output contains all.
const REASONS: usize = 3;

/// Prints all jobs: failing jobs first, then suspicious jobs, then all others with one line each.
pub(super) fn print(out: &mut impl Write, jobs: &[Looked<'_>], place: &str) -> io::Result<()> {
    for status in [Status::Failing, Status::Suspect, Status::Unknown, Status::Healthy] {
        let mut reasons: Vec<(String, Vec<&Looked<'_>>)> = Vec::new();
        for job in jobs.iter().filter(|job| !job.experiment && job.status == status) {
            match reasons.iter_mut().find(|(reason, _)| status == Status::Unknown && *reason == job.reason()) {
                Some((_, same)) => same.push(job),
                None => reasons.push((job.reason(), vec![job])),
            }
        }
        for (reason, same) in reasons {
            print_group(out, &reason, &same, place)?;
        }
    }
    let experiments: Vec<&Looked<'_>> = jobs.iter().filter(|job| job.experiment).collect();
    if !experiments.is_empty() {
        writeln!(out, "experiments of nextrun, judged by their cases:")?;
        for job in experiments {
            writeln!(out, "         {}  {}", job.shown(place), sparkline(&job.exam.loss_curve()))?;
        }
    }
    print_unlogged(out, jobs, place)?;
    writeln!(out, "{}", summary(jobs))?;
    print_projects(out, jobs, place)
}

impl Looked<'_> {
    fn reason(&self) -> String {
        self.reason.clone().unwrap_or_default()
    }

    /// The name of the job; a job directly in the log directory has the directory's name.
    fn shown(&self, place: &str) -> String {
        plain(if self.job.name == "." { place } else { &self.job.name })
    }
}

fn print_group(out: &mut impl Write, reason: &str, same: &[&Looked<'_>], place: &str) -> io::Result<()> {
    let Some(first) = same.first() else { return Ok(()) };
    let status = first.status;
    match same {
        [one] => writeln!(out, "{:8} {}  {}", status.as_str(), one.shown(place), sparkline(&one.exam.loss_curve()))?,
        several => writeln!(out, "{:8} {}", status.as_str(), names(several, place))?,
    }
    if !reason.is_empty() {
        writeln!(out, "         {}", plain(reason))?;
    }
    if matches!(status, Status::Failing | Status::Suspect) {
        print_belief(out, &first.exam)?;
    }
    for job in same {
        print_findings(out, job)?;
    }
    Ok(())
}

/// `a, b, c and 9 more`
fn names(jobs: &[&Looked<'_>], place: &str) -> String {
    let shown: Vec<String> = jobs.iter().take(NAMED).map(|job| job.shown(place)).collect();
    match jobs.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn print_findings(out: &mut impl Write, job: &Looked<'_>) -> io::Result<()> {
    for finding in &job.exam.shown() {
        let severity = serde_json::to_value(finding.severity).unwrap_or_default();
        let severity = severity.as_str().unwrap_or_default().to_owned();
        writeln!(out, "         {severity}: {}: {}", finding.symptom, plain(&finding.summary))?;
    }
    if let Some(state) = job.next.get("state").and_then(Value::as_str) {
        let why = job.next.get("why").and_then(Value::as_str).unwrap_or_default();
        let changes = job.next.get("overrides").and_then(Value::as_object);
        let changes: Vec<String> = changes.into_iter().flatten().map(|(knob, value)| change(knob, value)).collect();
        let changes = if changes.is_empty() { String::new() } else { format!(" ({})", changes.join(", ")) };
        writeln!(out, "         next: {}{changes}: {}", state.replace('_', " "), plain(why))?;
    }
    Ok(())
}

fn change(knob: &str, value: &Value) -> String {
    match value.as_str() {
        Some(text) => format!("{knob} = {}", plain(text)),
        None => format!("{knob} = {value}"),
    }
}

/// The probability that the job fails, with the evidence for and against.
fn print_belief(out: &mut impl Write, exam: &Exam) -> io::Result<()> {
    if exam.belief.terms().next().is_none() {
        return Ok(());
    }
    let reasons = |terms: &[Contribution]| {
        let all =
            terms.iter().take(REASONS).map(|t| format!("{} = {} ({:+.1})", t.quantity, brief(t.value), t.log_odds));
        all.collect::<Vec<_>>().join(", ")
    };
    let per_cent = 100.0 * exam.belief.probability;
    let (pro, contra) = (reasons(&exam.belief.speaks_for), reasons(&exam.belief.speaks_against));
    let nothing = |reasons: String| if reasons.is_empty() { "nothing".to_owned() } else { reasons };
    let (pro, contra) = (nothing(pro), nothing(contra));
    writeln!(out, "         probability of failing {per_cent:.0} %; for: {pro}; against: {contra}")
}

fn brief(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e5).contains(&value.abs()) { format!("{value:.1e}") } else { format!("{value:.2}") }
}

/// The settings that jobs do not log, grouped by missing settings, with the lines of code that log them.
fn print_unlogged(out: &mut impl Write, jobs: &[Looked<'_>], place: &str) -> io::Result<()> {
    let mut missing: BTreeMap<(Writer, Vec<&str>), Vec<&Looked<'_>>> = BTreeMap::new();
    for job in jobs.iter().filter(|job| !job.experiment) {
        let knobs = unlogged(&job.exam);
        if !knobs.is_empty() {
            missing.entry((Writer::of(job.job), knobs)).or_default().push(job);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    for ((writer, knobs), jobs) in &missing {
        let words: Vec<&str> = knobs.iter().map(|knob| in_words(knob)).collect();
        writeln!(
            out,
            "not logged: {} by {}. To log them with {}, add:",
            words.join(", "),
            names(jobs, place),
            writer.name()
        )?;
        for line in writer.lines(knobs) {
            writeln!(out, "    {line}")?;
        }
    }
    // `nextrun run` cannot find settings that are missing from both the command and the script.
    if missing.values().flatten().all(|job| job.job.launched().is_some()) {
        return Ok(());
    }
    writeln!(
        out,
        "Or start jobs with `nextrun run -- COMMAND`, which reads their settings from the command and its script."
    )
}

fn summary(jobs: &[Looked<'_>]) -> String {
    let (experiments, own): (Vec<&Looked<'_>>, Vec<&Looked<'_>>) = jobs.iter().partition(|job| job.experiment);
    let of = |status: Status| {
        let number = own.iter().filter(|job| job.status == status).count();
        (number > 0).then(|| format!("{number} {}", status.as_str()))
    };
    let parts: Vec<String> =
        [Status::Failing, Status::Suspect, Status::Unknown, Status::Healthy].into_iter().filter_map(of).collect();
    let jobs = counted(own.len(), "job");
    let counts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    let others = match experiments.len() {
        0 => String::new(),
        number => format!("; {} of nextrun", counted(number, "experiment")),
    };
    format!("{jobs}{counts}{others}")
}

fn counted(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// A directory that contains several projects is not a log directory: a daemon would treat all of them as one.
fn print_projects(out: &mut impl Write, jobs: &[Looked<'_>], place: &str) -> io::Result<()> {
    let projects = nearby::projects(jobs.iter().filter(|job| !job.experiment).map(|job| job.job.name.as_str()));
    let Some(first) = projects.keys().next() else { return Ok(()) };
    let shown: Vec<String> =
        projects.iter().map(|(name, jobs)| format!("{} ({})", plain(name), counted(*jobs, "job"))).collect();
    writeln!(
        out,
        "{place} contains {} log directories: {}. Check them one at a time: nextrun diagnose {}/{}",
        projects.len(),
        shown.join(", "),
        place.trim_end_matches('/'),
        plain(first)
    )
}
