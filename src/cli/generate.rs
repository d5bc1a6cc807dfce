//! `nextrun completions` and `nextrun man`: files that a package installs.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::{Arguments, Exit};

/// Print shell completions.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  nextrun completions bash > /usr/share/bash-completion/completions/nextrun")]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Write the manual pages, one per command.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  nextrun man /usr/local/share/man/man1")]
pub(super) struct Man {
    /// The directory for the pages; created if necessary.
    folder: PathBuf,
}

pub(super) fn run_completions(command: &Completions) -> anyhow::Result<Exit> {
    // Writes to memory first, because the generator panics on a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Arguments::command(), "nextrun", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Exit::Healthy)
}

pub(super) fn run_man(command: &Man) -> anyhow::Result<Exit> {
    let folder = &command.folder;
    fs::create_dir_all(folder).with_context(|| format!("could not create the directory {}", folder.display()))?;
    let mut program = Arguments::command();
    program.build();
    write_pages(&program, folder)?;
    Ok(Exit::Healthy)
}

/// Writes the page of a command and its subcommands, with file names as in git: `nextrun-policy-check.1`.
fn write_pages(command: &Command, folder: &Path) -> anyhow::Result<()> {
    let page = clap_mangen::Man::new(command.clone());
    let path = folder.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text)?;
    fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    below.into_iter().try_for_each(|below| write_pages(below, folder))
}
