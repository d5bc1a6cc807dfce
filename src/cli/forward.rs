//! `nextrun forward`: sends the event files of this machine to a daemon on another one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::Exit;
use crate::config::{SecretSource, parse_duration};
use crate::daemon::variables;
use crate::forward::Forwarder;

/// Send the event files of this machine to a daemon on another one.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nextrun forward /scratch/runs --to http://login1:9747 --token-file /etc/nextrun/token\n\nThe daemon \
        needs a log directory `forwarded:///PATH` and a token for this machine in `status.tokens.forward`. Nothing is \
        stored on this machine: after an interruption, sending continues where it stopped."
)]
pub(super) struct Forward {
    /// The log directory.
    logdir: PathBuf,
    /// The status address of the daemon.
    #[arg(long, value_name = "URL")]
    to: String,
    /// The file with the token of this machine (default: the variable NEXTRUN_FORWARD_TOKEN).
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Files that have not been modified for this long are not sent until they are modified again.
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = parse_duration)]
    ignore_older_than: Duration,
}

pub(super) fn run(command: &Forward) -> anyhow::Result<Exit> {
    let source = match &command.token_file {
        Some(file) => SecretSource::File(file.clone()),
        None => SecretSource::Env("NEXTRUN_FORWARD_TOKEN".to_owned()),
    };
    let token = source.read(&variables()).context("the token of this machine: pass --token-file FILE")?;
    let mut forwarder = Forwarder::new(&command.logdir, &command.to, token, command.ignore_older_than)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tracing::info!(logdir = %command.logdir.display(), to = command.to, "forwarding");
    runtime.block_on(forwarder.run())?;
    Ok(Exit::Healthy)
}
