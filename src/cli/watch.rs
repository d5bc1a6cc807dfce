//! `nextrun watch`: the daemon.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Exit, place, settings};
use crate::config::{Overrides, RunnerSettings, parse_duration};
use crate::daemon;
use crate::logdir::Place;

/// Watch a log directory, diagnose what does not learn, and suggest the next runs.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nextrun watch runs/\n  nextrun watch runs/ --runner\n  nextrun watch runs/ --queue http://127.0.0.1:8123/ --webhook http://127.0.0.1:8123/\n  nextrun watch --config /etc/nextrun/nextrun.yaml"
)]
pub(super) struct Watch {
    /// The log directory: a path, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX; may be named in the
    /// configuration instead.
    #[arg(value_parser = place())]
    logdir: Option<Place>,
    /// Suggested runs are run on this machine, as this user: a runner is started if none is there. Linux only.
    #[arg(long)]
    runner: bool,
    /// The runner may run as root.
    #[arg(long, requires = "runner")]
    allow_root: bool,
    /// Suggested runs are posted to this address.
    #[arg(long, value_name = "URL", conflicts_with = "runner")]
    queue: Option<String>,
    /// All other events are posted to this address; suggested runs too where there is no queue.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the database is kept.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// How long a job may be without a new event before it counts as ended (default: by its own rhythm, at least 10m).
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    quiet_after: Option<Duration>,
}

/// `live`: a person at a terminal looks on.
pub(super) fn run(arguments: &Watch, live: bool) -> anyhow::Result<Exit> {
    let overrides = Overrides {
        logdirs: arguments.logdir.iter().cloned().collect(),
        queue: arguments.queue.clone(),
        webhook: arguments.webhook.clone(),
        state: arguments.state.clone(),
        quiet_after: arguments.quiet_after,
        runner: arguments.runner.then_some(RunnerSettings { allow_root: arguments.allow_root }),
    };
    let load = || settings(arguments.config.as_deref(), &overrides);
    daemon::run(&load, &daemon::Wishes { live, ..daemon::Wishes::default() })?;
    Ok(Exit::Healthy)
}
