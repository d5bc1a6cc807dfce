//! Random programs, labelled by what their alternatives reach: what judgement is fitted and measured on.
//!
//! Everything is drawn from a seed: task, settings, bugs, logging style. Labels come from training the alternatives: each
//! setting changed, each bug undone, more steps, ordinary settings.
//!
//!     cargo run --release --example evaluate -- random --count 1000
//!
//!     cargo run --release --example evaluate -- random --count 1000 --measure
//!
//! Records are kept in `~/.cache/nextrun/random` (`--cache`), one JSON line a program; what is there is not trained again.

pub(crate) mod alternatives;
pub(crate) mod closed;
mod data;
mod desk;
mod draw;
mod fit;
pub(crate) mod frameworks;
pub(crate) mod labels;
mod layers;
pub(crate) mod looks;
pub(crate) mod measure;
mod model;
mod orders;
pub(crate) mod page;
mod probes;
pub(crate) mod program;
mod reading;
pub(crate) mod record;
mod rewards;
pub(crate) mod style;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use nextrun::belief::Weights;

use crate::parallel;
use data::TaskData;
use fit::{Measure, Setup, train};
use labels::Class;
use program::Program;
use record::Record;

/// Draws random programs, trains and labels them.
#[derive(Debug, Args)]
pub(crate) struct Random {
    /// Programs, from seed 0 on.
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// Where records are kept; those of earlier runs are used. Default: `nextrun/random` in the user's cache directory.
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Lets nextrun judge them, and prints how good that is.
    #[arg(long)]
    measure: bool,
    /// Carries out what nextrun suggests for the programs that it finds to fail, too.
    #[arg(long, requires = "measure")]
    closed_loop: bool,
    /// Measures what quiet probes add to detection and what they cost.
    #[arg(long)]
    probes: bool,
    /// Measures how likely each outcome of each probe is, and writes the table to this file.
    #[arg(long)]
    likelihoods: Option<PathBuf>,
    /// Prints what the loop did with each failing program that got a case, and what was seen of changes that cure.
    #[arg(long, requires = "closed_loop")]
    walks: bool,
    /// Judges by the weights in this file instead of those that are built in.
    #[arg(long, requires = "measure")]
    weights: Option<PathBuf>,
    /// The policy of every job, in place of the built-in ones.
    #[arg(long, requires = "closed_loop")]
    policy: Option<PathBuf>,
    /// Keeps the figures in this file, as JSON.
    #[arg(long, requires = "measure")]
    save: Option<PathBuf>,
    /// Writes the figures into this page.
    #[arg(long, requires = "measure")]
    page: Option<PathBuf>,
}

/// Records depend on how programs are drawn and labelled: with another version they are drawn anew.
pub(crate) const VERSION: &str = "4";

/// Draws what is missing, and says what there is.
///
/// # Errors
/// When the cache cannot be read or written.
pub(crate) fn run(arguments: &Random) -> anyhow::Result<()> {
    if let Some(path) = &arguments.weights {
        judge_by(path)?;
    }
    let path = file(arguments.cache.as_deref())?;
    let begun = Instant::now();
    let records = records(&path, arguments.count)?;
    println!("{} programs in {}, {:.1} minutes", records.len(), path.display(), begun.elapsed().as_secs_f64() / 60.0);
    for held_back in [false, true] {
        let of_set = || records.values().filter(|record| record.held_back.any() == held_back);
        let counts = [Class::Failing, Class::Healthy, Class::Grey, Class::NoSignal].map(|class| {
            let count = of_set().filter(|record| record.label.class == class).count();
            format!("{count} {}", class.word())
        });
        println!("{}: {}", if held_back { "held back" } else { "to fit on" }, counts.join(", "));
    }
    let site = match &arguments.policy {
        Some(file) => orders::site_with(&crate::lab::site()?, crate::lab::policy_of(file)?),
        None => crate::lab::site()?,
    };
    if let Some(path) = &arguments.likelihoods {
        let text = format!("{}\n", serde_json::to_string_pretty(&probes::table(&records, &site))?);
        std::fs::write(path, text).with_context(|| format!("{}: cannot write", path.display()))?;
    }
    let mut figures = if arguments.probes { probes::figures(&records, &site) } else { Vec::new() };
    if !arguments.measure {
        println!("{}", measure::text(&figures));
        return Ok(());
    }
    figures.extend(measure::measure(&records, &site));
    if arguments.closed_loop {
        let walks = if arguments.walks { orders::Walks::Printed } else { orders::Walks::Counted };
        figures.extend(measure::closed_loop(&records, &site, walks));
        if arguments.policy.is_none() {
            figures.extend(orders::figures(&records, &site, walks)?);
        }
        figures.extend(reading::figures(&records, &site, walks));
    }
    println!("{}", measure::text(&figures));
    if let Some(path) = &arguments.save {
        let text = serde_json::to_string_pretty(&figures)?;
        std::fs::write(path, text).with_context(|| format!("{}: cannot write", path.display()))?;
    }
    if let Some(path) = &arguments.page {
        let closed_loop = if arguments.closed_loop { " --closed-loop" } else { "" };
        let probes = if arguments.probes { " --probes" } else { "" };
        let command = format!(
            "cargo run --release --example evaluate -- random --count {} --measure{closed_loop}{probes} --page {}",
            arguments.count,
            path.display()
        );
        page::write(path, &figures, &command)?;
    }
    Ok(())
}

/// Judges by the weights in a file instead of those that are built in.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn judge_by(path: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{}: cannot read", path.display()))?;
    let weights = Weights::parse(&text).with_context(|| path.display().to_string())?;
    weights.instead().map_err(|_| anyhow::anyhow!("weights were used before {} was read", path.display()))
}

/// The file that records are kept in.
///
/// # Errors
/// When there is no cache directory, or it cannot be made.
pub(crate) fn file(cache: Option<&Path>) -> anyhow::Result<PathBuf> {
    let user = || {
        let set = std::env::var_os("XDG_CACHE_HOME").filter(|set| !set.is_empty()).map(PathBuf::from);
        let below = |home: std::ffi::OsString| PathBuf::from(home).join(".cache");
        Some(set.or_else(|| std::env::var_os("HOME").map(below))?.join("nextrun/random"))
    };
    let cache = cache.map(Path::to_path_buf).or_else(user);
    let cache = cache.context("no cache directory: set HOME, or give --cache DIR")?;
    std::fs::create_dir_all(&cache).with_context(|| format!("{}: cannot create", cache.display()))?;
    Ok(cache.join(format!("programs-{VERSION}.jsonl")))
}

/// The records of the first so many seeds; those that are missing are trained and kept.
///
/// # Errors
/// When the file cannot be read or written.
pub(crate) fn records(path: &Path, count: u64) -> anyhow::Result<BTreeMap<u64, Record>> {
    let mut known = if path.exists() { record::read(path)? } else { BTreeMap::new() };
    known.retain(|seed, _| *seed < count);
    let missing: Vec<u64> = (0..count).filter(|seed| !known.contains_key(seed)).collect();
    let lock = Mutex::new(());
    let new = parallel::map(&missing, |seed| -> anyhow::Result<Record> {
        let record = label(draw::program(*seed));
        let _one_at_a_time = lock.lock().unwrap_or_else(PoisonError::into_inner);
        record::append(path, &record)?;
        Ok(record)
    });
    for record in new {
        let record = record?;
        known.insert(record.program.seed, record);
    }
    Ok(known)
}

/// Trains and labels a program.
fn label(program: Program) -> Record {
    let begun = Instant::now();
    let data = TaskData::new(&program.task, program.seed);
    let (settings, bugs) = (program.settings.clone(), program.bugs.clone());
    let setup = Setup { task: &program.task, data: &data, settings, bugs };
    let trace = train(&setup, Measure { seed: program.seed, validations: program.style.measured(), steps: true });
    let reached = alternatives::reached(&program, &data, &trace);
    let runs = style::logged(&program, &trace);
    let (held_back, label) = (program.held_back(), labels::Label::of(&reached));
    Record { program, held_back, reached, label, runs, seconds: begun.elapsed().as_secs_f64() }
}
