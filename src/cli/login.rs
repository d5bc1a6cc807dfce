//! `nextrun login`: gives a browser access to the status page.

use std::io::{self, Write};
use std::net::IpAddr;

use anyhow::Context;
use clap::Args;

use super::Exit;
use super::cases::At;
use crate::daemon::now;
use crate::status::{BrowserRight, Keyring};

/// Print a link that logs a browser in to the status page. It works once, within 10 minutes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nextrun login\n  nextrun login --read-only --url https://nextrun.example.org\n\nThe \
        first person to open the link can see all jobs and cases and, without --read-only, answer the questions of \
        cases."
)]
pub(super) struct Login {
    /// Give the browser read access only.
    #[arg(long)]
    read_only: bool,
    /// The address at which the browser reaches the status page, if it differs from `status.listen`.
    #[arg(long, value_name = "URL", value_parser = base)]
    url: Option<String>,
    #[command(flatten)]
    at: At,
}

fn base(text: &str) -> Result<String, String> {
    let is_one = text.starts_with("http://") || text.starts_with("https://");
    if is_one {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("it must begin with http:// or https://".to_owned())
    }
}

pub(super) fn run(command: &Login) -> anyhow::Result<Exit> {
    let settings = command.at.settings()?;
    let url = match (&command.url, &settings.status) {
        (Some(url), _) => url.clone(),
        (None, Some(status)) => {
            let (address, port) = (status.listen.ip(), status.listen.port());
            let host = match address {
                // The page listens on all addresses; other machines reach it by the name of this machine.
                any if any.is_unspecified() => rustix::system::uname().nodename().to_string_lossy().into_owned(),
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            };
            format!("http://{host}:{port}")
        }
        (None, None) => anyhow::bail!(
            "this configuration has no status page: pass the daemon's configuration with --config, and set \
             `status.listen` in it"
        ),
    };
    let right = if command.read_only { BrowserRight::Read } else { BrowserRight::Act };
    let keyring = Keyring::open(&settings.state, now()).context("could not create a link")?;
    let code = keyring.link(right, now())?;
    writeln!(io::stdout().lock(), "{url}/login?code={code}")?;
    Ok(Exit::Healthy)
}
