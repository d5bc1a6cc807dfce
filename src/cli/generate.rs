//! `nextrun completions` and `nextrun man`: what a package installs beside the program.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::{Arguments, Exit};

/// Print the completions of the command line for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  nextrun completions bash > /usr/share/bash-completion/completions/nextrun")]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Write the manual pages, one a command.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  nextrun man /usr/local/share/man/man1")]
pub(super) struct Man {
    /// The folder to write them into; made if need be.
    folder: PathBuf,
}

pub(super) fn run_completions(command: &Completions) -> anyhow::Result<Exit> {
    // In memory first: the generator does not survive a pipe that is closed.
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Arguments::command(), "nextrun", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Exit::Healthy)
}

pub(super) fn run_man(command: &Man) -> anyhow::Result<Exit> {
    let folder = &command.folder;
    fs::create_dir_all(folder).with_context(|| format!("could not make the folder {}", folder.display()))?;
    let mut program = Arguments::command();
    program.build();
    write_pages(&program, folder)?;
    Ok(Exit::Healthy)
}

/// The page of a command and those of the commands below it, named as `git` names its own: `nextrun-policy-check.1`.
fn write_pages(command: &Command, folder: &Path) -> anyhow::Result<()> {
    let page = clap_mangen::Man::new(command.clone());
    let path = folder.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text)?;
    fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    below.into_iter().try_for_each(|below| write_pages(below, folder))
}
