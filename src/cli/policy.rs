//! `nextrun policy`: check, test and draw a policy.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;

use super::{Exit, settings};
use crate::config::{Overrides, PolicyChoice, Settings};
use crate::daemon::{built_in_policies, built_in_tests, load_policy};
use crate::policy::{Policy, mermaid};
use crate::rehearsal::rehearse;

/// Check, test or draw a policy.
#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Find mistakes without running anything: unknown names, states without a way in or out, loops without a limit.
    #[command(after_help = "Examples:\n  nextrun policy check article\n  nextrun policy check policies/mine.yaml")]
    Check(Named),
    /// Run the stories in the test file beside the policy (`mine.yaml`, `mine.test.yaml`).
    #[command(after_help = "Example:\n  nextrun policy test policies/mine.yaml\n  nextrun policy test article")]
    Test(Named),
    /// Print the policy as a Mermaid diagram.
    #[command(after_help = "Example:\n  nextrun policy graph article > article.mmd")]
    Graph(Named),
}

/// One policy.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// The file, or the name of a built-in policy.
    policy: String,
    /// The configuration file, for the site's own knobs.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(command: &PolicyCommand) -> anyhow::Result<Exit> {
    let (PolicyCommand::Check(named) | PolicyCommand::Test(named) | PolicyCommand::Graph(named)) = command;
    let settings = settings(named.config.as_deref(), &Overrides::default())?;
    let policy = load(named, &settings)?;
    let mut out = io::stdout().lock();
    match command {
        PolicyCommand::Check(_) => writeln!(out, "{}: {} states, no problems", named.policy, policy.states().len())?,
        PolicyCommand::Graph(_) => write!(out, "{}", mermaid(&policy))?,
        PolicyCommand::Test(_) => return test(&policy, &named.policy, &mut out),
    }
    Ok(Exit::Healthy)
}

fn load(named: &Named, settings: &Settings) -> anyhow::Result<Policy> {
    let built_in = built_in_policies().any(|name| name == named.policy);
    let choice = if built_in {
        PolicyChoice::BuiltIn(named.policy.clone())
    } else {
        PolicyChoice::File(PathBuf::from(&named.policy))
    };
    Ok(load_policy(&choice, settings)?)
}

fn test(policy: &Policy, named: &str, out: &mut impl Write) -> anyhow::Result<Exit> {
    let (text, origin) = match built_in_tests(named) {
        Some((text, origin)) => (text.to_owned(), origin),
        None => {
            let tests = Path::new(named).with_extension("test.yaml");
            let text = std::fs::read_to_string(&tests);
            (
                text.with_context(|| format!("the tests {} cannot be read", tests.display()))?,
                tests.display().to_string(),
            )
        }
    };
    let report = rehearse(policy, &text, &origin);
    write!(out, "{report}")?;
    Ok(if report.passed() { Exit::Healthy } else { Exit::Failing })
}
