//! The directory of a runner: one per user and machine.
//!
//! Owns: the location of its files and their permissions. Must not know: their content.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{RunnerError, files};

/// The maximum length of a socket path (`sun_path` has 108 bytes, including a final 0).
const LONGEST_SOCKET: usize = 107;

/// The location of a runner's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    path: PathBuf,
}

impl Home {
    /// The runner's part of a state directory. Home directories are shared between machines but process ids are not, so
    /// each machine has its own part.
    pub fn below(state: &Path) -> Home {
        let state = std::path::absolute(state).unwrap_or_else(|_| state.to_owned());
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let machine: String = machine.chars().map(safe).collect();
        let machine = if machine.trim_matches('.').is_empty() { "localhost".to_owned() } else { machine };
        Home { path: state.join("runner").join(machine) }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directories of the jobs.
    pub fn jobs(&self) -> PathBuf {
        self.path.join("jobs")
    }

    /// The log file of a runner that was started automatically.
    pub fn log(&self) -> PathBuf {
        self.path.join("runner.log")
    }

    /// Locked by the runner while it runs.
    pub(super) fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// The socket that it listens on: in its directory, or in `$XDG_RUNTIME_DIR` if that path is too long for a socket.
    ///
    /// # Errors
    /// Both are too long.
    pub fn socket(&self) -> Result<PathBuf, RunnerError> {
        let own = self.path.join("socket");
        let short = |path: &PathBuf| path.as_os_str().len() <= LONGEST_SOCKET;
        if short(&own) {
            return Ok(own);
        }
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty()).map(PathBuf::from);
        let elsewhere = runtime.map(|directory| directory.join(format!("nextrun-{}.sock", self.key())));
        elsewhere.filter(short).ok_or_else(|| RunnerError::Home {
            path: own,
            reason: format!("a socket path has at most {LONGEST_SOCKET} bytes: choose a shorter `--state`"),
        })
    }

    /// A short name for this directory.
    fn key(&self) -> String {
        use sha2::{Digest, Sha256};
        let hash = Sha256::digest(self.path.as_os_str().as_encoded_bytes());
        hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Creates the directory, accessible only to the owner.
    ///
    /// # Errors
    /// It cannot be created, or belongs to another user.
    pub(super) fn prepare(&self) -> Result<(), RunnerError> {
        let jobs = self.jobs();
        files::make_private(&jobs).map_err(RunnerError::files("make", &jobs))?;
        for directory in [&self.path, &jobs] {
            let metadata = fs::symlink_metadata(directory).map_err(RunnerError::files("read", directory))?;
            let me = rustix::process::geteuid().as_raw();
            if !metadata.is_dir() || metadata.uid() != me {
                let reason =
                    format!("it belongs to user {}, not to user {me}: choose another `--state`", metadata.uid());
                return Err(RunnerError::Home { path: directory.clone(), reason });
            }
            fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
                .map_err(RunnerError::files("protect", directory))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_machine_has_a_directory_of_its_own_below_the_state() {
        let home = Home::below(Path::new("/s"));
        assert!(home.path().starts_with("/s/runner") && home.path() != Path::new("/s/runner"), "{home:?}");
        assert_eq!(home.socket().unwrap(), home.path().join("socket"));
    }

    #[test]
    fn it_is_for_its_owner_alone() {
        let state = tempfile::tempdir().unwrap();
        let home = Home::below(state.path());
        home.prepare().unwrap();
        assert_eq!(fs::metadata(home.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
