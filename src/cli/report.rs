//! `nextrun report`: a case in one file.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::cases::{At, find};
use super::{Exit, plain};
use crate::case::Case;
use crate::daemon::{now, store_of};
use crate::page::{CaseView, Frame, Links};

/// Write a case to one HTML file: verdict, experiments, curves, commands, cost and journal. The file needs no server
/// and no network.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nextrun report 3f2a -o case.html\n  nextrun report 3f2a -o - > case.html")]
pub(super) struct Report {
    /// The id of the case, or a unique prefix.
    case: String,
    /// The file; `-` is standard output. An existing file is replaced only with --force.
    #[arg(short, long, value_name = "FILE.html")]
    output: PathBuf,
    /// Replace an existing file.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    at: At,
}

pub(super) fn run(command: &Report) -> anyhow::Result<Exit> {
    let settings = command.at.settings()?;
    let mut store = store_of(&settings).open_read_only()?;
    let stored = find(store.as_mut(), &command.case)?;
    let case = Case::read(stored.state.clone()).context("the stored case cannot be read")?;
    let journal = store.journal(&case.id)?;
    let mut deliveries = store.deliveries(Some(&case.id), None)?;
    deliveries.reverse();
    let links = Links { tensorboard: settings.status.and_then(|status| status.tensorboard) };
    let view = CaseView {
        case: &case,
        journal: &journal,
        deliveries: &deliveries,
        asks: &[],
        curves: &case.curves,
        now: None,
        made: now(),
        links: &links,
    };
    let page = view.html(Frame::File);
    if command.output == Path::new("-") {
        io::stdout().lock().write_all(page.as_bytes())?;
        return Ok(Exit::Healthy);
    }
    write_new(&command.output, page.as_bytes(), command.force)?;
    let shown = command.output.display().to_string();
    writeln!(io::stdout().lock(), "case {} written to {}", case.id, plain(&shown))?;
    Ok(Exit::Healthy)
}

/// Writes a file; replaces an existing file only if requested.
pub(super) fn write_new(path: &Path, bytes: &[u8], replace: bool) -> anyhow::Result<()> {
    let shown = plain(&path.display().to_string());
    let file = if replace { File::create(path) } else { File::create_new(path) };
    let mut file = match file {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{shown} already exists; choose another file, or add --force")
        }
        file => file.with_context(|| format!("could not write {shown}"))?,
    };
    file.write_all(bytes).with_context(|| format!("could not write {shown}"))
}
