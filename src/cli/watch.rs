//! `nextrun watch`: the daemon.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Exit, place, settings};
use crate::config::{Overrides, RunnerSettings, parse_duration};
use crate::daemon;
use crate::logdir::Place;

/// Watch a log directory, diagnose jobs that do not learn, and suggest the next runs.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nextrun watch runs/\n  nextrun watch runs/ --runner\n  nextrun watch runs/ --queue http://127.0.0.1:8123/ --webhook http://127.0.0.1:8123/\n  nextrun watch --config /etc/nextrun/nextrun.yaml"
)]
pub(super) struct Watch {
    /// The log directory: a path, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX. Can also be set in
    /// the configuration.
    #[arg(value_parser = place())]
    logdir: Option<Place>,
    /// Execute suggested runs on this machine as this user; starts a runner if necessary. Linux only.
    #[arg(long)]
    runner: bool,
    /// Allow the runner to run as root.
    #[arg(long, requires = "runner")]
    allow_root: bool,
    /// Post suggested runs to this URL.
    #[arg(long, value_name = "URL", conflicts_with = "runner")]
    queue: Option<String>,
    /// Post all other events to this URL, and suggested runs too if there is no queue.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The directory of the database.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// How long a job may log nothing before it counts as ended (default: adaptive to its usual interval, at least
    /// 10m).
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    quiet_after: Option<Duration>,
}

/// `live`: a person at a terminal looks on.
pub(super) fn run(arguments: &Watch, live: bool) -> anyhow::Result<Exit> {
    let overrides = Overrides {
        logdir: arguments.logdir.clone(),
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
