//! `nextrun runner`: executes suggested runs on this machine.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};

use super::{Exit, plain, settings};
use crate::config::{Overrides, parse_duration};
use crate::fate::FateState;
use crate::runner::{self, Allotment, By, Home, Job, Options};

/// Execute suggested runs on this machine, as the user who starts it. Linux only.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "The runner runs until you stop it. Its jobs keep running without it, and the next runner takes them \
        over.\n`nextrun watch LOGDIR --runner` starts a runner automatically.\n\nExamples:\n  nextrun runner\n  \
        nextrun runner --slots 2 --gpus 0,1\n  nextrun runner list\n  nextrun runner logs 3f2a"
)]
pub(super) struct Runner {
    #[command(subcommand)]
    command: Option<RunnerCommand>,
    #[command(flatten)]
    start: Start,
}

#[derive(Debug, Args)]
struct Start {
    /// Allow running as root. Anyone who can write the daemon's configuration can then run commands as root.
    #[arg(long)]
    allow_root: bool,
    /// Number of simultaneous jobs (default: one per GPU, or one).
    #[arg(long, value_name = "NUMBER")]
    slots: Option<usize>,
    /// The GPUs to use, by UUID or index (default: those in CUDA_VISIBLE_DEVICES, or all).
    #[arg(long, value_name = "GPU,…", value_delimiter = ',')]
    gpus: Option<Vec<String>>,
    /// Memory limit per job, such as 16G; requires its own cgroup, which the unit in deploy/ provides.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Exit after this time without jobs and requests.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    idle_exit: Option<Duration>,
    /// Detach from the terminal.
    #[arg(long, hide = true)]
    detached: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Subcommand)]
enum RunnerCommand {
    /// List jobs, newest last.
    #[command(after_help = "Example:\n  nextrun runner list")]
    List {
        #[command(flatten)]
        at: At,
    },
    /// Print the output of a job.
    #[command(after_help = "Example:\n  nextrun runner logs 3f2a")]
    Logs {
        /// The id of the job, or a unique prefix.
        job: String,
        #[command(flatten)]
        at: At,
    },
    /// Stop a job. A queued job never starts; for a running job, all processes are terminated.
    #[command(after_help = "Example:\n  nextrun runner stop 3f2a")]
    Stop {
        /// The id of the job, or a unique prefix.
        job: String,
        #[command(flatten)]
        at: At,
    },
}

/// Location of the runner's queue.
#[derive(Debug, Args)]
struct At {
    /// The daemon's state directory.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The daemon's configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl At {
    fn home(&self) -> anyhow::Result<Home> {
        let overrides = Overrides { state: self.state.clone(), ..Overrides::default() };
        Ok(Home::below(&settings(self.config.as_deref(), &overrides)?.state))
    }
}

/// Supervise one job of the runner.
#[derive(Debug, Args)]
pub(super) struct Supervise {
    /// The directory of the job.
    directory: PathBuf,
    /// Slot and GPU of the job, as JSON.
    #[arg(long)]
    place: String,
    /// The cgroup to create for the job.
    #[arg(long)]
    cgroup: Option<PathBuf>,
}

pub(super) fn supervise(arguments: &Supervise) -> anyhow::Result<Exit> {
    let place: Allotment = serde_json::from_str(&arguments.place)?;
    runner::supervise(&arguments.directory, &place, arguments.cgroup.as_deref())?;
    Ok(Exit::Healthy)
}

pub(super) fn run(arguments: &Runner) -> anyhow::Result<Exit> {
    match &arguments.command {
        None => start(&arguments.start)?,
        Some(RunnerCommand::List { at }) => list(&at.home()?)?,
        Some(RunnerCommand::Logs { job, at }) => find(&at.home()?, job)?.copy_log(&mut io::stdout().lock())?,
        Some(RunnerCommand::Stop { job, at }) => stop(&find(&at.home()?, job)?)?,
    }
    Ok(Exit::Healthy)
}

fn start(start: &Start) -> anyhow::Result<()> {
    let options = Options {
        home: start.at.home()?,
        slots: start.slots,
        gpus: start.gpus.clone(),
        memory: start.memory,
        allow_root: start.allow_root,
        detached: start.detached,
        idle_exit: start.idle_exit,
    };
    Ok(runner::run(&options)?)
}

fn list(home: &Home) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let jobs = runner::jobs(home)?;
    if jobs.is_empty() {
        writeln!(out, "no jobs")?;
        return Ok(());
    }
    for (queued, job) in jobs {
        let fate = job.fate()?;
        let state = match (fate.state, fate.exit_code, fate.signal) {
            (FateState::Failed, Some(code), _) => format!("failed, exit code {code}"),
            (FateState::Failed, _, Some(signal)) => format!("failed, signal {signal}"),
            (state, ..) => state.word().to_owned(),
        };
        let reason = fate.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let place = job.place()?.and_then(|(_, place)| place.gpu).map(|gpu| format!("  {gpu}")).unwrap_or_default();
        let order = &queued.order;
        let line = format!("{}  {state}{reason}  {}{place}  {}", job.id(), order.run_name(), order.command());
        writeln!(out, "{}", plain(&line))?;
    }
    Ok(())
}

fn stop(job: &Job) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match job.stop(By::Person)? {
        true => writeln!(out, "{} has been stopped", job.id())?,
        false => writeln!(out, "{} had already ended: {}", job.id(), job.fate()?.state.word())?,
    }
    Ok(())
}

/// Finds a job by its id or a prefix.
fn find(home: &Home, id: &str) -> anyhow::Result<Job> {
    let mut found: Vec<Job> =
        runner::jobs(home)?.into_iter().map(|(_, job)| job).filter(|job| job.id().starts_with(id)).collect();
    if let Some(exact) = found.iter().position(|job| job.id() == id) {
        return Ok(found.swap_remove(exact));
    }
    match found.len() {
        1 => Ok(found.swap_remove(0)),
        0 => bail!("there is no job {}; `nextrun runner list` shows all jobs", plain(id)),
        several => bail!("{several} jobs begin with {}: use a longer prefix", plain(id)),
    }
}

/// A number of bytes, with K, M, G or T for powers of 1024.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not a size such as 500M or 16G");
    let (number, power) = match text.trim_end_matches(['B', 'b', 'i']).char_indices().last() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => {
            let power = "KMGT".find(unit.to_ascii_uppercase()).ok_or_else(bad)?;
            (&text[..at], u32::try_from(power).unwrap_or(0) + 1)
        }
        Some(_) | None => (text, 0),
    };
    let number: u64 = number.trim().parse().map_err(|_| bad())?;
    number.checked_mul(1024_u64.pow(power)).filter(|bytes| *bytes > 0).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_bytes("1024"), Ok(1024));
        assert_eq!(parse_bytes("2K"), Ok(2048));
        assert_eq!(parse_bytes("16GiB"), Ok(16 * 1024 * 1024 * 1024));
        for bad in ["", "G", "-1", "1X", "0", "99999999999T"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
