//! Which policy is for which job.
//!
//! Owns: the first match of a pattern. Must not know: the content of a policy.

use std::path::PathBuf;

use super::glob::Glob;

/// The policy for each job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policies {
    /// The policy for all other jobs; `None`: the built-in policy for the job's kind of training.
    pub default: Option<PolicyChoice>,
    /// Policies by job; the first matching pattern applies.
    pub by_job: Vec<(Glob, PolicyChoice)>,
}

impl Policies {
    /// The policy that is set for a job; `None`: the built-in policy for its kind of training.
    pub fn of(&self, job: &str) -> Option<&PolicyChoice> {
        let named = self.by_job.iter().find(|(glob, _)| glob.matches(job)).map(|(_, choice)| choice);
        named.or(self.default.as_ref())
    }

    /// All named policies, the default first.
    pub fn all(&self) -> impl Iterator<Item = &PolicyChoice> {
        self.default.iter().chain(self.by_job.iter().map(|(_, choice)| choice))
    }
}

/// A policy, by location.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyChoice {
    /// A built-in policy, by name.
    BuiltIn(String),
    /// A file.
    File(PathBuf),
}
