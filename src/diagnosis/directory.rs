//! The log directories of a site, and what is visible of them.
//!
//! Owns: which directory a job belongs to, and its properties. Must not know: how it is read.

use std::collections::BTreeSet;

use super::Site;
use crate::jobs::{Job, QuietLimit, group};
use crate::series::{Runs, joined, relative};

/// A log directory.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Its name, with which the names of its jobs begin; `None` if there is only one.
    pub name: Option<String>,
    /// Its absolute paths, for those who report which files a job writes.
    pub roots: Vec<String>,
    /// How long its jobs may log nothing.
    pub patience: QuietLimit,
    /// A job whose latest event is older than this when first seen is ignored as history. Seconds.
    pub history_after: f64,
}

impl Directory {
    /// Whether a job, by its name, is in this directory.
    pub fn has(&self, job: &str) -> bool {
        relative(self.name.as_deref(), job).is_some()
    }
}

/// The runs of the directories that can be read now.
#[derive(Debug, Clone, Default)]
pub struct Seen<'a> {
    /// The runs of each directory.
    pub runs: Vec<&'a Runs>,
    /// The directories that cannot be read now: their jobs and cases are left as they are.
    pub unseen: Vec<Option<String>>,
}

impl<'a> From<&'a Runs> for Seen<'a> {
    fn from(runs: &'a Runs) -> Seen<'a> {
        Seen { runs: vec![runs], unseen: Vec::new() }
    }
}

impl<'a> Seen<'a> {
    /// The jobs of all directories; see [`group`].
    pub(super) fn jobs(&self, experiments: &BTreeSet<String>) -> Vec<Job<'a>> {
        self.runs.iter().flat_map(|runs| group(runs, experiments)).collect()
    }
}

impl Site {
    /// The directory of a job; `None` if its directory is no longer configured.
    pub fn directory_of(&self, job: &str) -> Option<&Directory> {
        self.directories.iter().find(|directory| directory.has(job))
    }

    /// The name of the directory of a job, if it has one.
    pub(super) fn directory_name_of(&self, job: &str) -> Option<String> {
        self.directory_of(job).and_then(|directory| directory.name.clone())
    }

    /// Whether a job is in a directory that cannot be read now, or that is no longer configured.
    pub(super) fn is_unseen(&self, seen: &Seen<'_>, job: &str) -> bool {
        self.directory_of(job).is_none_or(|directory| seen.unseen.contains(&directory.name))
    }

    /// The run of an event file, by its absolute path.
    pub(super) fn run_of(&self, path: &str) -> Option<String> {
        self.directories.iter().find_map(|directory| {
            let below = |root: &String| path.strip_prefix(root.trim_end_matches('/'))?.strip_prefix('/');
            let file = directory.roots.iter().find_map(below)?;
            let run = file.rsplit_once('/').map_or(".", |(folder, _)| folder);
            Some(joined(directory.name.as_deref(), run).into_owned())
        })
    }
}
