//! One job, based on its directory.
//!
//! Owns: the content of a job's files, and the resulting state. Must not know: slots, sockets, how a command is
//! started.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::accept::{Order, is_a_name};
use super::{Allotment, Home, RunnerError, files, log};
use crate::fate::{Fate, FateState};

/// The content of `job.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queued {
    /// The run.
    pub order: Order,
    /// When it was accepted, in seconds since the Unix epoch; jobs start in this order.
    pub queued: f64,
}

/// The content of `started.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Started {
    /// A supervisor owns it.
    By(Supervisor),
    /// It was stopped before any supervisor owned it.
    Never,
}

/// The supervisor of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Supervisor {
    /// The boot id to which its process id belongs.
    pub(super) boot: String,
    /// Its process id.
    pub(super) pid: i32,
    /// The start time of that process, in the kernel's ticks since boot; unique together with the boot id.
    pub(super) ticks: u64,
    /// When it started, in seconds since the Unix epoch.
    pub(super) started: f64,
    /// The resources of the job.
    pub(super) place: Allotment,
    /// The cgroup of the job, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cgroup: Option<PathBuf>,
}

/// Who stopped a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// nextrun, which no longer needs it.
    Nextrun,
    /// A person.
    Person,
}

/// The content of `stop.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Stop {
    pub(super) by: By,
    /// The time in seconds since the Unix epoch.
    pub(super) asked: f64,
}

impl Stop {
    /// The status of a job stopped in this way.
    pub(super) fn fate(&self) -> Fate {
        match self.by {
            By::Nextrun => Fate::new(FateState::Stopped),
            By::Person => Fate { reason: Some("nextrun runner stop".to_owned()), ..Fate::new(FateState::Cancelled) },
        }
    }
}

/// The content of `exit.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Exit {
    /// How it ended; without the end of its log and its files, which are stored separately.
    pub(super) fate: Fate,
    /// The time in seconds since the Unix epoch.
    pub(super) ended: f64,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    directory: PathBuf,
}

impl Job {
    /// The job of this directory.
    pub(super) fn at(directory: &Path) -> Job {
        Job { directory: directory.to_owned() }
    }

    /// Accepts an order: creates its directory with all content and syncs it to disk. `None` if the job already exists.
    ///
    /// # Errors
    /// It cannot be written; nothing exists in that case.
    pub(super) fn create(home: &Home, order: Order, now: f64) -> io::Result<Option<Job>> {
        let directory = home.jobs().join(order.id());
        if directory.exists() {
            return Ok(None);
        }
        // A name that no order can have.
        let draft = home.jobs().join(format!(".{}.{:x}", order.id(), fastrand::u64(..)));
        DirBuilder::new().mode(0o700).create(&draft)?;
        let made = files::replace(&draft.join("job.json"), &Queued { order, queued: now })
            .and_then(|()| fs::rename(&draft, &directory))
            .and_then(|()| files::sync_directory(&home.jobs()));
        match made {
            Ok(()) => Ok(Some(Job { directory })),
            Err(error) => {
                let _ = fs::remove_dir_all(&draft);
                // A directory that is not empty is not replaced: another process was first.
                if directory.exists() { Ok(None) } else { Err(error) }
            }
        }
    }

    /// Its id.
    pub fn id(&self) -> String {
        self.directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Its directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its output.
    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// The run, and since when it has waited.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn queued(&self) -> io::Result<Queued> {
        let path = self.directory.join("job.json");
        files::read(&path)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no job.json"))
    }

    pub(super) fn started(&self) -> io::Result<Option<Started>> {
        files::read(&self.directory.join("started.json"))
    }

    /// Makes `started` the permanent owner of this job; `false` if it already has an owner.
    pub(super) fn claim(&self, started: &Started) -> io::Result<bool> {
        files::create(&self.directory.join("started.json"), started)
    }

    pub(super) fn stop_asked(&self) -> io::Result<Option<Stop>> {
        files::read(&self.directory.join("stop.json"))
    }

    /// Asks its supervisor to stop it; the first request counts.
    pub(super) fn ask_to_stop(&self, stop: &Stop) -> io::Result<bool> {
        files::create(&self.directory.join("stop.json"), stop)
    }

    pub(super) fn exit(&self) -> io::Result<Option<Exit>> {
        files::read(&self.directory.join("exit.json"))
    }

    /// Records how it ended; the first record counts.
    pub(super) fn end(&self, exit: &Exit) -> io::Result<bool> {
        files::create(&self.directory.join("exit.json"), exit)
    }

    /// The event files that it was observed to write.
    pub(super) fn event_files(&self) -> Vec<String> {
        files::read(&self.directory.join("files.json")).ok().flatten().unwrap_or_default()
    }

    pub(super) fn saw_event_files(&self, seen: &[String]) -> io::Result<()> {
        files::replace(&self.directory.join("files.json"), &seen)
    }

    /// Its status, with the end of its log and its event files.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn fate(&self) -> io::Result<Fate> {
        let fate = match (self.exit()?, self.started()?) {
            (Some(exit), _) => exit.fate,
            (None, Some(_)) => Fate::new(FateState::Running),
            (None, None) => Fate::new(FateState::Queued),
        };
        let told = Fate { attempt: Some(1), tail: log::tail(&self.log()), event_files: self.event_files(), ..fate };
        Ok(told.bounded())
    }

    /// When it ended, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn ended(&self) -> io::Result<Option<f64>> {
        Ok(self.exit()?.map(|exit| exit.ended))
    }

    /// When it started, and its GPU.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn place(&self) -> io::Result<Option<(f64, Allotment)>> {
        Ok(self.started()?.and_then(|started| match started {
            Started::By(supervisor) => Some((supervisor.started, supervisor.place)),
            Started::Never => None,
        }))
    }

    /// Stops it. A waiting job never starts; for a running job, the whole process tree is terminated. `false` if it has
    /// already ended.
    ///
    /// # Errors
    /// Its files cannot be read or written.
    pub fn stop(&self, by: By) -> Result<bool, RunnerError> {
        let failed = |error| RunnerError::files("stop", &self.directory)(error);
        if self.exit().map_err(failed)?.is_some() {
            return Ok(false);
        }
        let now = now();
        let stop = Stop { by, asked: now };
        self.ask_to_stop(&stop).map_err(failed)?;
        if self.claim(&Started::Never).map_err(failed)? {
            let reason = Some("stopped before it started".to_owned());
            self.end(&Exit { fate: Fate { reason, ..stop.fate() }, ended: now }).map_err(failed)?;
            return Ok(true);
        }
        #[cfg(target_os = "linux")]
        if let Some(Started::By(supervisor)) = self.started().map_err(failed)? {
            // The supervisor also polls for the file; the signal only wakes it.
            supervisor.signal(rustix::process::Signal::TERM);
        }
        Ok(true)
    }

    /// Writes its log, without the omitted middle of a long one.
    ///
    /// # Errors
    /// The log cannot be read, or `out` cannot be written.
    pub fn copy_log(&self, out: &mut impl io::Write) -> io::Result<()> {
        log::copy(&self.log(), out)
    }
}

/// All jobs of a runner, in order of acceptance.
///
/// # Errors
/// The directory cannot be read. A job whose files cannot be read is logged and omitted.
pub fn jobs(home: &Home) -> Result<Vec<(Queued, Job)>, RunnerError> {
    let folder = home.jobs();
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(RunnerError::files("read", &folder))?,
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        if !entry.file_name().to_str().is_some_and(is_a_name) {
            continue;
        }
        let job = Job::at(&entry.path());
        match job.queued() {
            Ok(queued) => found.push((queued, job)),
            Err(error) => tracing::warn!(job = %entry.path().display(), %error, "could not read this job"),
        }
    }
    found.sort_by(|a, b| a.0.queued.total_cmp(&b.0.queued).then_with(|| a.0.order.id().cmp(b.0.order.id())));
    Ok(found)
}

/// Seconds since the Unix epoch.
pub(super) fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn order(id: &str) -> Order {
        let event = json!({
            "type": "nextrun.run.suggested",
            "data": {"suggestion_id": id, "command": "true", "command_from": {"source": "configuration"}},
        });
        Order::accept(&event, 0).unwrap()
    }

    fn home() -> (tempfile::TempDir, Home) {
        let state = tempfile::tempdir().unwrap();
        let home = Home::below(state.path());
        home.prepare().unwrap();
        (state, home)
    }

    #[test]
    fn an_order_is_taken_once() {
        let (_state, home) = home();
        let job = Job::create(&home, order("a"), 1.0).unwrap().unwrap();
        assert_eq!(Job::create(&home, order("a"), 2.0).unwrap(), None);
        assert_eq!(job.fate().unwrap().state, FateState::Queued);
        Job::create(&home, order("0"), 3.0).unwrap().unwrap();
        let listed: Vec<String> = jobs(&home).unwrap().iter().map(|(_, job)| job.id()).collect();
        assert_eq!(listed, ["a", "0"], "in the order in which they came, and no drafts");
    }

    #[test]
    fn what_was_stopped_before_it_started_never_starts() {
        let (_state, home) = home();
        let job = Job::create(&home, order("a"), 1.0).unwrap().unwrap();
        assert!(job.stop(By::Nextrun).unwrap());
        assert!(!job.claim(&Started::Never).unwrap(), "no supervisor gets it any more");
        assert_eq!(job.fate().unwrap().state, FateState::Stopped);
        assert!(!job.stop(By::Person).unwrap(), "it has ended already");
    }

    #[test]
    fn a_fate_has_the_end_of_the_log_and_the_files() {
        let (_state, home) = home();
        let job = Job::create(&home, order("a"), 1.0).unwrap().unwrap();
        fs::write(job.log(), "step 1\nNameError: x\n").unwrap();
        job.saw_event_files(&["/logs/a/events.out.tfevents.1".to_owned()]).unwrap();
        let fate = Fate { exit_code: Some(1), ..Fate::new(FateState::Failed) };
        assert!(job.end(&Exit { fate, ended: 5.0 }).unwrap());
        let told = job.fate().unwrap();
        assert_eq!((told.state, told.exit_code), (FateState::Failed, Some(1)));
        assert_eq!(told.tail.as_deref(), Some("step 1\nNameError: x"));
        assert_eq!(told.event_files, ["/logs/a/events.out.tfevents.1"]);
    }
}
