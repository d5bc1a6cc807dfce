//! `nextrun policy`: check, test, draw and explain a policy.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;

use super::{Exit, settings};
use crate::config::{Overrides, PolicyChoice, Settings};
use crate::daemon::{built_in_policies, built_in_tests, load_policy};
use crate::policy::{Policy, pages};
use crate::rehearsal::{explain, rehearse};

/// Check, test, draw or explain a policy.
#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Find mistakes without running anything: undefined names, tests that never run, unreachable states, infinite
    /// loops.
    #[command(after_help = "Examples:\n  nextrun policy check article\n  nextrun policy check policies/mine.yaml")]
    Check(Named),
    /// Run the stories in the policy's test file (`mine.test.yaml` for `mine.yaml`).
    #[command(after_help = "Example:\n  nextrun policy test policies/mine.yaml\n  nextrun policy test article")]
    Test(Named),
    /// Draw the policy: an overview, and one page per state.
    #[command(
        after_help = "Examples:\n  nextrun policy graph article\n  nextrun policy graph article --format svg --output pictures/"
    )]
    Graph(Graph),
    /// Explain a story from the test file in words: each test, its reason, and its result.
    #[command(after_help = "Example:\n  nextrun policy explain article --story 'the case study'")]
    Explain(Explain),
}

/// How to draw a policy.
#[derive(Debug, clap::Args)]
pub(super) struct Graph {
    #[command(flatten)]
    named: Named,
    /// Draw only this page: `overview`, or the name of a state.
    #[arg(long, value_name = "NAME")]
    page: Option<String>,
    /// The output format.
    #[arg(long, value_enum, default_value = "mermaid")]
    format: Notation,
    /// Write each page to a file in this directory instead of standard output.
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// The format of a diagram.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Notation {
    /// Mermaid flow charts.
    Mermaid,
    /// SVG images.
    Svg,
}

/// The story to explain.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    #[command(flatten)]
    named: Named,
    /// The name of the story, or a prefix of it.
    #[arg(long, value_name = "NAME")]
    story: String,
}

/// One policy.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// The file, or the name of a built-in policy.
    policy: String,
    /// The configuration file, for custom knobs.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(command: &PolicyCommand) -> anyhow::Result<Exit> {
    let named = match command {
        PolicyCommand::Check(named) | PolicyCommand::Test(named) => named,
        PolicyCommand::Graph(graph) => &graph.named,
        PolicyCommand::Explain(explain) => &explain.named,
    };
    let settings = settings(named.config.as_deref(), &Overrides::default())?;
    let policy = load(named, &settings)?;
    let mut out = io::stdout().lock();
    match command {
        PolicyCommand::Check(_) => {
            let (tests, states) = (policy.used().len(), policy.states().len());
            writeln!(out, "{}: {states} states, {tests} tests, no problems", named.policy)?;
        }
        PolicyCommand::Graph(graph) => draw(&policy, graph, &mut out)?,
        PolicyCommand::Test(_) => return test(&policy, &named.policy, &mut out),
        PolicyCommand::Explain(wanted) => {
            let (text, origin) = stories(&named.policy)?;
            let told = explain(&policy, &text, &origin, &wanted.story).map_err(anyhow::Error::msg)?;
            write!(out, "{told}")?;
        }
    }
    Ok(Exit::Healthy)
}

fn draw(policy: &Policy, graph: &Graph, out: &mut impl Write) -> anyhow::Result<()> {
    let mut pages = pages(policy);
    if let Some(wanted) = &graph.page {
        let known = pages.iter().map(|page| page.name.clone()).collect::<Vec<_>>().join(", ");
        pages.retain(|page| page.name == *wanted);
        anyhow::ensure!(!pages.is_empty(), "there is no page `{wanted}`; available: {known}");
    }
    for page in &pages {
        let (text, ending) = match graph.format {
            Notation::Mermaid => (page.mermaid(), "mmd"),
            Notation::Svg => (page.svg(), "svg"),
        };
        match &graph.output {
            Some(folder) => {
                std::fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
                let file = folder.join(format!("{}-{}.{ending}", policy.name(), page.name));
                std::fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
            }
            None => writeln!(out, "{text}")?,
        }
    }
    Ok(())
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

/// The stories of a policy and their source file.
fn stories(named: &str) -> anyhow::Result<(String, String)> {
    if let Some((text, origin)) = built_in_tests(named) {
        return Ok((text.to_owned(), origin));
    }
    let tests = Path::new(named).with_extension("test.yaml");
    let text = std::fs::read_to_string(&tests);
    Ok((text.with_context(|| format!("could not read the tests {}", tests.display()))?, tests.display().to_string()))
}

fn test(policy: &Policy, named: &str, out: &mut impl Write) -> anyhow::Result<Exit> {
    let (text, origin) = stories(named)?;
    let report = rehearse(policy, &text, &origin);
    write!(out, "{report}")?;
    Ok(if report.passed() { Exit::Healthy } else { Exit::Failing })
}
