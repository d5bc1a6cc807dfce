//! The cgroup of a job: a memory limit, and a way to terminate the whole job at once, if the system permits it.
//!
//! Owns: the files below `/sys/fs/cgroup`. Must not know: jobs. All of this is optional: without a cgroup, a job has no
//! limit, and its processes are terminated one by one.

use std::fs;
use std::path::{Path, PathBuf};

/// The cgroups that this runner can create.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups {
    /// The parent of the cgroups of jobs; `None`: none can be created.
    parent: Option<PathBuf>,
    /// Whether a memory limit is possible.
    limits: bool,
}

/// The group of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group(PathBuf);

impl Groups {
    /// What the system permits. `Delegate=yes` in a unit provides a separate cgroup with controllers; cgroups with
    /// processes of others are not touched.
    pub(super) fn find() -> Groups {
        let Some(own) = own_group() else { return Groups::default() };
        let alone = fs::read_to_string(own.join("cgroup.procs"))
            .is_ok_and(|pids| pids.split_ascii_whitespace().all(|pid| pid == std::process::id().to_string()));
        if alone && enable_memory(&own) {
            sweep(&own);
            return Groups { parent: Some(own), limits: true };
        }
        let probe = own.join(format!("nextrun-probe-{}", std::process::id()));
        let can = fs::create_dir(&probe).is_ok() && probe.join("cgroup.kill").exists();
        let _ = fs::remove_dir(&probe);
        if can {
            sweep(&own);
        }
        Groups { parent: can.then_some(own), limits: false }
    }

    /// Whether a memory limit is possible.
    pub(super) fn limit_memory(&self) -> bool {
        self.limits
    }

    /// The location of a job's cgroup: a new one for each attempt, because other runners may have jobs with the same
    /// id.
    pub(super) fn path_for(&self, job: &str) -> Option<PathBuf> {
        self.parent.as_ref().map(|parent| parent.join(format!("nextrun-{job}-{:08x}", fastrand::u32(..))))
    }
}

/// Removes the cgroups of jobs whose supervisor outlived its runner. A cgroup with processes cannot be removed.
fn sweep(own: &Path) {
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("nextrun-") {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Moves this process to a child cgroup, so that the parent can distribute its controllers.
fn enable_memory(own: &Path) -> bool {
    if !fs::read_to_string(own.join("cgroup.controllers"))
        .is_ok_and(|list| list.split_whitespace().any(|c| c == "memory"))
    {
        return false;
    }
    let leaf = own.join("nextrun-runner");
    // It may already exist from an earlier runner.
    let _ = fs::create_dir(&leaf);
    fs::write(leaf.join("cgroup.procs"), std::process::id().to_string()).is_ok()
        && fs::write(own.join("cgroup.subtree_control"), "+memory").is_ok()
}

/// The cgroup of this process in the unified hierarchy.
fn own_group() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let group = unified_mount(&mounts)?.join(path.trim_start_matches('/'));
    group.join("cgroup.procs").exists().then_some(group)
}

/// The mount point of the unified hierarchy.
fn unified_mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next() == Some("cgroup2")).then(|| before.split(' ').nth(4).map(PathBuf::from))?
    })
}

impl Group {
    /// Creates a cgroup and moves this process to it. `None` if that is not permitted.
    pub(super) fn enter(path: &Path, memory: Option<u64>) -> Option<Group> {
        fs::create_dir(path).ok()?;
        if let Some(bytes) = memory {
            // Without this file there is no limit; the runner has logged that.
            let _ = fs::write(path.join("memory.max"), bytes.to_string());
            let _ = fs::write(path.join("memory.swap.max"), "0");
        }
        match fs::write(path.join("cgroup.procs"), std::process::id().to_string()) {
            Ok(()) => Some(Group(path.to_owned())),
            Err(_) => {
                let _ = fs::remove_dir(path);
                None
            }
        }
    }

    /// The cgroup at a path read from a file.
    pub(super) fn at(path: &Path) -> Group {
        Group(path.to_owned())
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Whether the kernel has killed one of its processes because of the memory limit.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.0.join("memory.events")).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.and_then(|count| count.trim().parse::<u64>().ok()).is_some_and(|count| count > 0)
    }

    /// Its processes.
    pub(super) fn processes(&self) -> Vec<i32> {
        let pids = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        pids.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Terminates all its processes at once.
    pub(super) fn kill(&self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
    }

    /// Removes it once it is empty.
    pub(super) fn remove(&self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_among_the_mounts() {
        let hybrid = "30 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw\n\
                      32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(unified_mount(hybrid), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(unified_mount("32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"), None);
    }
}
