//! Observes which event files a job writes, so that a script that creates its own directory needs no redirection.
//!
//! Owns: the observation. Must not know: how the result is used. Two sources are used: the files that the job's
//! processes have open, and the process ids in the names of files in the log directory, because some writers open their
//! file only while writing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::process::{self, Stat};
use crate::launch::processes;

/// Minimum interval between two walks through the log directory.
const LEAST: Duration = Duration::from_secs(1);

/// A walk takes at most this fraction of the time; large directories are walked less often.
const SHARE: u32 = 50;

/// Maximum depth of directories; there are no runs below it.
const DEEPEST: usize = 16;

/// Maximum rounding of file times by the file system.
const ROUNDED: Duration = Duration::from_secs(2);

/// The observations about one job.
#[derive(Debug)]
pub(super) struct Observer {
    logdir: Option<PathBuf>,
    since: SystemTime,
    /// All processes of the job so far.
    pids: BTreeSet<i32>,
    /// Those that write event files.
    writers: BTreeSet<i32>,
    files: BTreeSet<String>,
    walk_at: Instant,
}

impl Observer {
    /// Starts to observe a job.
    pub(super) fn new(logdir: Option<&Path>) -> Observer {
        Observer {
            logdir: logdir.map(Path::to_owned),
            since: SystemTime::now().checked_sub(ROUNDED).unwrap_or(SystemTime::UNIX_EPOCH),
            pids: BTreeSet::new(),
            writers: BTreeSet::new(),
            files: BTreeSet::new(),
            walk_at: Instant::now() + LEAST,
        }
    }

    /// Whether a process was observed to write event files.
    pub(super) fn writes(&self, pid: i32) -> bool {
        self.writers.contains(&pid)
    }

    /// All event files so far.
    pub(super) fn files(&self) -> Vec<String> {
        self.files.iter().cloned().collect()
    }

    /// Checks the job's processes, and the log directory if it is due; `true` if there is something new.
    pub(super) fn look(&mut self, tree: &[Stat]) -> bool {
        let before = self.files.len();
        for process in tree {
            let pid = process.identity.pid;
            self.pids.insert(pid);
            let open = u32::try_from(pid).map(processes::event_files).unwrap_or_default();
            if !open.is_empty() {
                self.writers.insert(pid);
            }
            self.files.extend(open.iter().filter_map(|path| text(path)));
        }
        if Instant::now() >= self.walk_at {
            self.walk();
        }
        self.files.len() > before
    }

    /// Checks the log directory a last time after the job has ended. `true` if there is something new.
    pub(super) fn look_at_last(&mut self) -> bool {
        let before = self.files.len();
        self.walk();
        self.files.len() > before
    }

    fn walk(&mut self) {
        let begun = Instant::now();
        if let Some(logdir) = self.logdir.clone() {
            self.walk_in(&logdir, 0);
        }
        self.walk_at = Instant::now() + LEAST.max(begun.elapsed() * SHARE);
    }

    fn walk_in(&mut self, directory: &Path, depth: usize) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                if depth < DEEPEST {
                    self.walk_in(&entry.path(), depth + 1);
                }
                continue;
            }
            let path = entry.path();
            if !kind.is_file() || !process::is_event_file(&path) {
                continue;
            }
            let Some(writer) = process::writer_of(&path).filter(|pid| self.pids.contains(pid)) else { continue };
            let changed = entry.metadata().and_then(|metadata| metadata.modified());
            if changed.is_ok_and(|changed| changed >= self.since) {
                self.writers.insert(writer);
                self.files.extend(text(&path));
            }
        }
    }
}

fn text(path: &Path) -> Option<String> {
    path.to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::process::Identity;

    fn me() -> Stat {
        process::stat(i32::try_from(std::process::id()).unwrap()).unwrap()
    }

    #[test]
    fn a_file_is_seen_by_who_has_it_open_or_by_its_name() {
        let logdir = tempfile::tempdir().unwrap();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let name = |pid: i32| format!("events.out.tfevents.1700000000.{host}.{pid}.0");
        let run = logdir.path().join("version_3");
        fs::create_dir(&run).unwrap();
        let mine = run.join(name(me().identity.pid));
        let others = run.join(name(me().identity.pid + 1));
        fs::write(&mine, "x").unwrap();
        fs::write(&others, "x").unwrap();
        let held = logdir.path().join("my.tfevents");
        let _open = fs::File::create(&held).unwrap();
        let mut observer = Observer::new(Some(logdir.path()));
        assert!(observer.look(&[me()]));
        assert_eq!(observer.files(), [held.to_str().unwrap()]);
        assert!(observer.look_at_last());
        assert_eq!(observer.files(), [held.to_str().unwrap(), mine.to_str().unwrap()]);
        assert!(observer.writes(me().identity.pid) && !observer.writes(1));
    }

    #[test]
    fn a_file_from_before_is_somebody_elses() {
        let logdir = tempfile::tempdir().unwrap();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let path = logdir.path().join(format!("events.out.tfevents.1700000000.{host}.77.0"));
        let file = fs::File::create(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        let mut observer = Observer::new(Some(logdir.path()));
        let stat = Stat { identity: Identity { pid: 77, ticks: 1 }, ..me() };
        observer.pids.insert(stat.identity.pid);
        assert!(!observer.look_at_last(), "process 77 is another one now");
    }
}
