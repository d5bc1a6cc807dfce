//! The case study from its first run to the cured one, told on the terminal while it happens.
//!
//! Owns: the order of the story and when it has gone well. Must not know: HTTP, networks.

use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::curve;
use crate::pictures;
use crate::report::{changes, show_run};
use crate::runs::{self, Article};
use crate::support::daemon::Daemon;
use crate::support::queue::{self, Job, News, Queue};
use crate::terminal::Terminal;
use crate::trainer::knobs::Knobs;

/// The root cause that the article's author found.
const ROOT_CAUSE: &str = "batch_norm_hides_exploding_gradients";
/// By how many orders of magnitude the cured run must fall.
const ORDERS: f32 = 3.5;
/// A daemon that has not closed the case by then is stuck.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often the daemon's health is looked at while nothing happens.
const GLANCE: Duration = Duration::from_millis(200);

/// Tells the story. Returns whether it went as the article says.
///
/// # Errors
/// When a directory cannot be written, a run of our own crashes, or the daemon ends or gets stuck before its verdict.
pub(crate) fn tell(logdir: &Path, seed: u64) -> anyhow::Result<bool> {
    let (terminal, baseline) = (Terminal::new(), Knobs { seed, ..pictures::baseline() });
    terminal.heading("The run that does not learn");
    terminal.text(
        "A convolutional network reads a number from pictures whose values go up to 1.4e8. Batch norm is on, the \
         weights are plain Gaussian, gradients are clipped and the learning rate decays. All of this is trained here \
         and now.",
    );
    let scratch = scratch(logdir)?;
    show_run(&terminal, &runs::train(&logdir.join("baseline"), &baseline));

    terminal.heading("nextrun looks into it");
    let queue = queue::serve(logdir.to_path_buf(), Article { baseline: baseline.clone() }, 0)
        .context("cannot serve the job queue")?;
    terminal.aside(&format!("nextrun watch {} --queue http://{}/", logdir.display(), queue.address));
    let daemon = Daemon::start(logdir, &scratch, queue.address)?;
    let verdict = investigate(&terminal, &queue, daemon)
        .with_context(|| format!("the daemon's own words are in {}", scratch.join("daemon.log").display()))?;

    let found = verdict["verdict"].as_str().unwrap_or_default();
    terminal.heading(&format!("Verdict: {found}"));
    terminal.text(verdict["summary"].as_str().unwrap_or_default());
    let overrides = verdict["recommended"]["overrides"].as_object().cloned().unwrap_or_default();
    terminal.heading("The cured run, with the recommended settings");
    terminal.text(&changes(&overrides));
    let cured = runs::train(&logdir.join("cured"), &baseline.with(&overrides)?);
    show_run(&terminal, &cured);
    let orders = cured.losses.as_deref().map_or(f32::NAN, curve::orders_fallen);
    conclude(&terminal, logdir, found, orders);
    Ok(found == ROOT_CAUSE && orders >= ORDERS)
}

/// A directory beside the log directory for what the daemon keeps: it never writes among the runs.
fn scratch(logdir: &Path) -> anyhow::Result<PathBuf> {
    let mut name = logdir.file_name().context("the log directory must have a name")?.to_owned();
    name.push("-daemon");
    let path = logdir.with_file_name(name);
    for directory in [logdir, &path] {
        std::fs::create_dir_all(directory).with_context(|| format!("{}: cannot create", directory.display()))?;
    }
    Ok(path)
}

/// Follows the daemon's steps until it has closed the case and no run is under way; gives what it says of the case.
fn investigate(terminal: &Terminal, queue: &Queue, mut daemon: Daemon) -> anyhow::Result<Value> {
    let started = Instant::now();
    let (mut steps, mut running, mut verdict) = (0, None, None);
    while started.elapsed() < PATIENCE {
        match queue.news.recv_timeout(GLANCE) {
            Ok(News::Started(job)) => running = Some((job, started.elapsed())),
            Ok(News::Finished(run)) => {
                steps += 1;
                if let Some((job, since)) = running.take() {
                    show_step(terminal, steps, &job, since);
                }
                show_run(terminal, &run);
            }
            Ok(News::Refused(error)) => terminal.aside(&format!("a suggestion was refused: {error}")),
            Ok(News::Event(kind, data)) if kind == "nextrun.case.closed" => verdict = Some(data),
            Ok(News::Event(kind, data)) => show_event(terminal, &kind, &data),
            Err(RecvTimeoutError::Timeout) if verdict.is_none() => {
                if let Some(status) = daemon.ended() {
                    bail!("the daemon ended before its verdict ({status})");
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("the job queue has stopped"),
        }
        // The daemon may know enough before a run has ended, but the run is worth seeing to its end.
        if let (None, Some(data)) = (&running, &verdict) {
            return Ok(data.clone());
        }
    }
    bail!("no verdict after {} seconds", PATIENCE.as_secs())
}

fn show_step(terminal: &Terminal, number: usize, job: &Job, since: Duration) {
    let state = job.suggestion["state"].as_str().unwrap_or(&job.run_name).replace('_', " ");
    terminal.heading(&format!("{number:>2}  {state:<68} {:>3} s", since.as_secs()));
    terminal.text(job.suggestion["why"].as_str().unwrap_or_default());
    terminal.text(&changes(&job.overrides));
}

fn show_event(terminal: &Terminal, kind: &str, data: &Value) {
    let texts = [&data["summary"], &data["why"], &data["evidence"][0]["summary"]];
    let said = texts.iter().find_map(|text| text.as_str()).unwrap_or_default();
    terminal.aside(&format!("{}: {said}", kind.trim_start_matches("nextrun.").replace(['.', '_'], " ")));
}

fn conclude(terminal: &Terminal, logdir: &Path, verdict: &str, orders: f32) {
    let outcome = match (verdict == ROOT_CAUSE, orders >= ORDERS) {
        (true, true) => {
            format!("The root cause is the article's, and its cure is worth {orders:.1} orders of magnitude.")
        }
        (false, _) => format!("This is not the article's root cause, {ROOT_CAUSE}."),
        (true, false) => format!("The cured run fell by {orders:.1} orders of magnitude; {ORDERS} were expected."),
    };
    terminal.heading(&outcome);
    terminal.text("To see every run that was made on the way:");
    terminal.line(&format!("tensorboard --logdir {}", logdir.display()));
}
