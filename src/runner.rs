//! Runs suggested runs on this machine: slots, GPUs, one supervisor per job, logs, status.
//!
//! Owns: the queue of one user on one machine, and the processes of its jobs. Must not know: policies, diagnosis, and why a
//! run was suggested.
//!
//! The runner is a separate process. Each job has a *supervisor* (another process of this program) that outlives the
//! runner and the daemon. It starts the command, terminates its whole process tree if necessary, and records how it
//! ended. The state of the queue is in files, with one directory per job. Each file is written atomically:
//!
//! | file | written by | content |
//! |---|---|---|
//! | `job.json` | runner | the run; its directory is created together with this file |
//! | `started.json` | supervisor | the supervisor; the first process to create this file owns the job, so a job never runs twice |
//! | `files.json` | supervisor | the event files that the job was observed to write |
//! | `stop.json` | whoever stops the job | who stopped it |
//! | `exit.json` | supervisor, or the runner if the supervisor is gone | how it ended |
//! | `log` | the job | its output |

mod accept;
mod client;
mod files;
mod home;
mod job;
mod log;

#[cfg(target_os = "linux")]
mod cgroup;
#[cfg(target_os = "linux")]
mod gpus;
#[cfg(target_os = "linux")]
mod observe;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod queue;
#[cfg(target_os = "linux")]
mod seen;
#[cfg(target_os = "linux")]
mod serve;
#[cfg(target_os = "linux")]
mod supervisor;

use std::path::PathBuf;
use std::time::Duration;

pub use client::{Client, Cursor, News, Trainer, start};
pub use home::Home;
pub use job::{By, Job, jobs};

#[cfg(target_os = "linux")]
pub use serve::run;
#[cfg(target_os = "linux")]
pub use supervisor::supervise;

/// The settings of a runner.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of its queue.
    pub home: Home,
    /// Maximum number of simultaneous jobs; `None`: one per GPU, or one without GPUs.
    pub slots: Option<usize>,
    /// The GPUs to use, by UUID or index; `None`: all.
    pub gpus: Option<Vec<String>>,
    /// Memory limit per job in bytes, if cgroups permit one.
    pub memory: Option<u64>,
    /// Whether it may run as root.
    pub allow_root: bool,
    /// Whether it detaches from the terminal and session of its starter.
    pub detached: bool,
    /// Exits after this time without jobs and requests; `None`: never.
    pub idle_exit: Option<Duration>,
}

/// Why a runner cannot work.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// It would execute commands from a queue as root.
    #[error("the runner does not run as root: start it as the user whose jobs it runs, or pass `--allow-root`")]
    Root,
    /// A runner is already running.
    #[error("a runner is already running for {home} (process {pid})")]
    Running {
        /// Its directory.
        home: PathBuf,
        /// Its process.
        pid: String,
    },
    /// The directory is not safe, or its path is too long for a socket.
    #[error("the runner cannot use {path}: {reason}")]
    Home {
        /// The directory.
        path: PathBuf,
        /// The reason and a fix.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("could not {action} {path}: {source}")]
    Files {
        /// The operation.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// No job, or more than one, matches.
    #[error("{0}")]
    NoJob(String),
    /// It needs features that only Linux has.
    #[error("the runner needs Linux (process descriptors, subreapers): on this system, use a job queue instead")]
    NotLinux,
}

impl RunnerError {
    pub(crate) fn files(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> RunnerError {
        let path = path.to_owned();
        move |source| RunnerError::Files { action, path, source }
    }
}

/// Runs the runner until it is stopped.
///
/// # Errors
/// Always: this is not Linux.
#[cfg(not(target_os = "linux"))]
pub fn run(_: &Options) -> Result<(), RunnerError> {
    Err(RunnerError::NotLinux)
}

/// Supervises one job.
///
/// # Errors
/// Always: this is not Linux.
#[cfg(not(target_os = "linux"))]
pub fn supervise(_: &std::path::Path, _: &Allotment, _: Option<&std::path::Path>) -> Result<(), RunnerError> {
    Err(RunnerError::NotLinux)
}

/// The resources of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Allotment {
    /// The slot, from 0.
    pub slot: usize,
    /// The UUID of its GPU, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// Memory limit in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}
