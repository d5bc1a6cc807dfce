//! Runs suggested runs on this machine: slots, GPUs, one supervisor per job, logs, fates.
//!
//! Owns: the queue of one user on one machine, and the processes of its jobs. Must not know: policies, diagnosis, and why a
//! run was suggested.
//!
//! The runner is a process of its own. Each job has a *supervisor* (this program again) that outlives the runner and the
//! daemon: it starts the command, ends its whole process tree when it must, and writes how it ended. What the queue knows
//! stands in files, one directory per job, each file written whole or not at all:
//!
//! | file | written by | says |
//! |---|---|---|
//! | `job.json` | runner | what is to be run; its directory appears with it |
//! | `started.json` | supervisor | who supervises it; whoever creates it first has the job, so that it runs at most once, ever |
//! | `files.json` | supervisor | the event files that the job was seen to write |
//! | `stop.json` | whoever stops it | by whom |
//! | `exit.json` | supervisor; the runner where that is gone | how it ended |
//! | `log` | the job | what it printed |

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

/// How a runner works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where its queue is.
    pub home: Home,
    /// Jobs at once; `None`: one for each GPU, or one where there are none.
    pub slots: Option<usize>,
    /// The GPUs to use, by UUID or index; `None`: all.
    pub gpus: Option<Vec<String>>,
    /// Bytes of memory that a job may use, where control groups allow a limit.
    pub memory: Option<u64>,
    /// Whether it may run as root.
    pub allow_root: bool,
    /// It leaves the terminal and the session of whoever starts it.
    pub detached: bool,
    /// It ends once it has had nothing to do and nobody asked it anything for so long; `None`: never.
    pub idle_exit: Option<Duration>,
}

/// Why a runner cannot work.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// It would give root's rights to commands from a queue.
    #[error("the runner does not run as root: start it as the user whose jobs it runs, or say `--allow-root`")]
    Root,
    /// One is there already.
    #[error("a runner is running already for {home} (process {pid})")]
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
        /// Why, and what to do.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("could not {action} {path}: {source}")]
    Files {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// There is no job, or more than one, that is meant.
    #[error("{0}")]
    NoJob(String),
    /// It needs what only Linux has.
    #[error("the runner needs Linux (process descriptors, subreapers): on this system, use a job queue instead")]
    NotLinux,
}

impl RunnerError {
    pub(crate) fn files(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> RunnerError {
        let path = path.to_owned();
        move |source| RunnerError::Files { action, path, source }
    }
}

/// Runs the runner until it is told to stop.
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
pub fn supervise(_: &std::path::Path, _: &Place, _: Option<&std::path::Path>) -> Result<(), RunnerError> {
    Err(RunnerError::NotLinux)
}

/// Where a job runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// The slot, from 0.
    pub slot: usize,
    /// The UUID of its GPU, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// Bytes of memory that it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}
