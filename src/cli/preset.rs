//! `nextrun preset`: the built-in presets, and tests of custom ones.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;

use super::Exit;
use crate::config::PresetChoice;
use crate::daemon::preset_of;
use crate::destinations::{Need, Preset};

/// List, show or test presets, which define the kinds of destinations.
#[derive(Debug, Subcommand)]
pub(super) enum PresetCommand {
    /// List the built-in presets with their settings.
    #[command(after_help = "Example:\n  nextrun preset list")]
    List,
    /// Print the file of a preset as a starting point for your own.
    #[command(after_help = "Example:\n  nextrun preset show webhook > mine.yaml")]
    Show {
        /// The name of a built-in preset.
        name: String,
    },
    /// Check a preset and run its tests; sends nothing.
    #[command(
        after_help = "Examples:\n  nextrun preset test mine.yaml\n  nextrun preset test slack\n  nextrun preset test kubernetes --bodies"
    )]
    Test {
        /// The file, or the name of a built-in preset.
        preset: String,
        /// Print the body of each test as one line of JSON; results go to standard error.
        #[arg(long)]
        bodies: bool,
    },
}

pub(super) fn run(command: &PresetCommand) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    match command {
        PresetCommand::List => list(&mut out)?,
        PresetCommand::Show { name } => write!(out, "{}", Preset::yaml(name)?)?,
        PresetCommand::Test { preset, bodies } => return test(preset, *bodies, &mut out),
    }
    Ok(Exit::Healthy)
}

fn list(out: &mut impl Write) -> anyhow::Result<()> {
    for name in Preset::names() {
        let preset = Preset::shipped(name)?;
        writeln!(out, "{name}: {}", preset.summary)?;
        for (name, field) in &preset.fields {
            let optional = if field.need == Need::Optional { " (optional)" } else { "" };
            writeln!(out, "  {name}{optional}: {}", field.help)?;
        }
    }
    Ok(())
}

fn test(named: &str, bodies: bool, out: &mut impl Write) -> anyhow::Result<Exit> {
    let shipped = Preset::names().any(|name| name == named);
    let choice =
        if shipped { PresetChoice::Shipped(named.to_owned()) } else { PresetChoice::File(PathBuf::from(named)) };
    let preset = Arc::new(preset_of(&choice)?);
    let failures = preset.failures();
    for failure in &failures {
        writeln!(out, "{failure}\n")?;
    }
    let (all, failed) = (preset.test_count(), failures.len());
    let result = format!("{named}: {all} tests, {failed} failed");
    if bodies {
        for (name, target, body) in preset.rehearsed().map_err(anyhow::Error::msg)? {
            writeln!(out, "{}", serde_json::json!({ "test": name, "target": target, "body": body }))?;
        }
        writeln!(io::stderr().lock(), "{result}")?;
    } else {
        writeln!(out, "{result}")?;
    }
    Ok(if failed == 0 { Exit::Healthy } else { Exit::Failing })
}
