//! Runs by case, repetition and changes, each trained once.
//!
//! Owns: the cache of runs, and what nextrun reads in a run. Must not know: why a run is wanted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Context;
use nextrun::config::{Overrides, PolicyChoice, Settings, load};
use nextrun::daemon::{load_policy, now, site_of, vocabulary};
use nextrun::diagnosis::{Exam, Memory, Site, exam};
use nextrun::facts::{Facts, measure};
use nextrun::jobs::group;
use nextrun::logdir::DiskLogdir;
use nextrun::policy::Policy;
use nextrun::watch::{Options, Watcher};
use serde_json::{Map, Value};

use crate::cases::{Case, Fault};
use crate::record::Summary;
use crate::runs;
use crate::verify::with_seed;

/// A run that was trained, to its end or until it crashed.
pub(crate) struct Run {
    /// Where it logged.
    pub(crate) directory: PathBuf,
    /// What it showed; empty where it crashed.
    pub(crate) summary: Summary,
    /// How it crashed.
    pub(crate) crash: Option<String>,
    /// What it shows against its baseline, once that was asked.
    against_baseline: OnceLock<Facts>,
}

/// Case, repetition, changes.
type Key = (String, u64, String);

/// Where runs are trained.
pub(crate) struct Lab {
    directory: PathBuf,
    runs: Mutex<HashMap<Key, Arc<Run>>>,
    /// A site without a configuration file, on which a job ends after [`PATIENCE`].
    pub(crate) site: Site,
}

/// A site without a configuration file, on which a job ends after [`PATIENCE`].
///
/// # Errors
/// When the built-in policy cannot be used.
pub(crate) fn site() -> anyhow::Result<Site> {
    Ok(site_of(&settings()?)?)
}

fn settings() -> anyhow::Result<Settings> {
    let quiet_after = Some(std::time::Duration::from_secs_f64(PATIENCE));
    let overrides = Overrides { quiet_after, ..Overrides::default() };
    Ok(load(None, &overrides, &nextrun::daemon::variables(), &vocabulary())?)
}

/// A built-in policy, by its name.
///
/// # Errors
/// When there is none of this name.
pub(crate) fn policy(name: &str) -> anyhow::Result<Policy> {
    Ok(load_policy(&PolicyChoice::BuiltIn(name.to_owned()), &settings()?)?)
}

/// The policy in a file.
///
/// # Errors
/// When it cannot be used.
pub(crate) fn policy_of(file: &Path) -> anyhow::Result<Policy> {
    Ok(load_policy(&PolicyChoice::File(file.to_owned()), &settings()?)?)
}

/// Seconds of silence after which a job has ended. Clocks of evaluations are made up: it is only to be longer than any
/// training takes.
pub(crate) const PATIENCE: f64 = 3600.0;

impl Lab {
    /// A lab that keeps its runs in a directory.
    ///
    /// # Errors
    /// When the built-in policy cannot be used.
    pub(crate) fn new(directory: &Path) -> anyhow::Result<Lab> {
        Ok(Lab { directory: directory.to_path_buf(), runs: Mutex::default(), site: site()? })
    }

    /// A run of a case with changed knobs; without any it is the baseline.
    ///
    /// # Errors
    /// When a knob cannot be set.
    pub(crate) fn run(&self, case: &Case, repetition: u64, changes: &Map<String, Value>) -> anyhow::Result<Arc<Run>> {
        let sorted: std::collections::BTreeMap<_, _> = changes.iter().collect();
        let key = (case.id.clone(), repetition, serde_json::to_string(&sorted)?);
        let lock = || self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = lock().get(&key) {
            return Ok(run.clone());
        }
        let overrides = with_seed(case, changes, repetition);
        case.knobs(&overrides)?;
        // Two threads may both want a run that is not there yet: each gets a directory of its own.
        let new = tempfile::Builder::new().prefix(&case.id).tempdir_in(&self.directory);
        let directory = new.context("cannot create a directory for a run")?.keep();
        let trained = match changes.is_empty() {
            true => runs::train(case, &overrides, &directory),
            false => runs::train(&without_accidents(case), &overrides, &directory),
        };
        let (summary, crash) = match trained {
            Ok(summary) => (summary, None),
            Err(error) => (Summary::default(), Some(format!("{error:#}"))),
        };
        let run = Arc::new(Run { directory, summary, crash, against_baseline: OnceLock::new() });
        lock().insert(key, run.clone());
        Ok(run)
    }

    /// What nextrun sees in a run that is over.
    ///
    /// # Errors
    /// When it holds no job.
    pub(crate) fn exam(&self, run: &Run) -> anyhow::Result<Exam> {
        let mut watcher = Watcher::new(Box::new(DiskLogdir::new(&run.directory)), Options { threads: 1 });
        watcher.poll(now());
        let jobs = group(watcher.runs(), &std::collections::BTreeSet::new());
        let job = jobs.first().with_context(|| format!("{}: no job", run.directory.display()))?;
        let later = now() + 2.0 * PATIENCE;
        Ok(exam(job, &self.site, &Memory::only_look(job, now()), later))
    }

    /// What an experiment shows against its baseline, judged as nextrun judges its own. Both are told the knobs that were
    /// set, whether the run logs them or not.
    ///
    /// # Errors
    /// When a run holds no job.
    pub(crate) fn compare(
        &self,
        case: &Case,
        baseline: &Run,
        changes: (&Map<String, Value>, &Run),
    ) -> anyhow::Result<Facts> {
        let (changes, experiment) = changes;
        if experiment.crash.is_some() {
            return Ok(Facts { crashed: true, ended: true, ..Facts::default() });
        }
        if let Some(facts) = experiment.against_baseline.get() {
            return Ok(facts.clone());
        }
        let (mut base, mut other) = (self.exam(baseline)?, self.exam(experiment)?);
        base.view.knobs = case.knobs(&Map::new())?.to_map().into_iter().collect();
        other.view.knobs = case.knobs(changes)?.to_map().into_iter().collect();
        let facts = measure(other.looked(), Some(base.looked()));
        Ok(experiment.against_baseline.get_or_init(|| facts).clone())
    }
}

/// A machine fails once: the next run is on another.
pub(crate) fn without_accidents(case: &Case) -> Case {
    let fault = match case.fault {
        Fault::Killed { .. } | Fault::Hang { .. } => Fault::None,
        fault => fault,
    };
    Case { fault, ..case.clone() }
}
