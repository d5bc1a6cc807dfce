//! Detects which event files the processes of a command have open, on Linux.
//!
//! Owns: the process tree and its open files. Must not know: what is recorded.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::logdir::Kind;

/// Only part of a larger tree is inspected.
const MOST_PROCESSES: usize = 4096;

/// A process and all its descendants.
pub fn tree(root: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([root]);
    let mut open = vec![root];
    while let Some(process) = open.pop() {
        for thread in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
                if found.len() < MOST_PROCESSES && found.insert(child) {
                    open.push(child);
                }
            }
        }
    }
    found
}

/// The event files that a process has open for writing, as absolute paths. Empty if the process has ended or belongs to
/// another user.
pub fn event_files(process: u32) -> Vec<PathBuf> {
    let links = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let writes = |descriptor: &Path| {
        let number = descriptor.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let about = fs::read_to_string(format!("/proc/{process}/fdinfo/{number}")).unwrap_or_default();
        let flags = about.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
        // The last two bits are the access mode: 0 is read-only.
        flags.and_then(|flags| u32::from_str_radix(flags, 8).ok()).is_some_and(|flags| flags & 3 != 0)
    };
    links
        .filter_map(|link| Some((fs::read_link(link.path()).ok()?, link.path())))
        .filter(|(path, link)| Kind::of(path) == Some(Kind::Events) && path.is_absolute() && writes(link))
        .map(|(path, _)| path)
        .collect()
}

/// The process that wrote an event file, according to its name: `events.out.tfevents.TIME.HOST.PID.N`.
pub fn writer_of(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    let rest = name.split_once("tfevents.")?.1;
    let mut parts = rest.split('.').skip(1).collect::<Vec<_>>();
    while parts.last().is_some_and(|part| part.parse::<u32>().is_err()) {
        parts.pop();
    }
    // A host name may contain dots and digits; the process id precedes the number of the writer.
    let at = parts.len().checked_sub(2)?;
    parts.get(at)?.parse().ok().filter(|_| at >= 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn an_open_event_file_is_seen_and_one_that_is_read_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().canonicalize().expect("it is there").join("events.out.tfevents.1.h.1.0");
        let file = File::create(&path).expect("a file");
        assert_eq!(event_files(std::process::id()).iter().filter(|open| **open == path).count(), 1);
        drop(file);
        let _reading = File::open(&path).expect("a file");
        assert!(!event_files(std::process::id()).contains(&path));
    }

    #[test]
    fn children_are_in_the_tree() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it starts");
        let seen = tree(std::process::id()).contains(&child.id());
        child.kill().expect("it ends");
        child.wait().expect("it ends");
        assert!(seen);
    }

    #[test]
    fn names_of_event_files_hold_their_writer() {
        let writer = |name: &str| writer_of(Path::new(name));
        assert_eq!(writer("a/events.out.tfevents.1764430765.host.4321.0"), Some(4321));
        assert_eq!(writer("events.out.tfevents.1764430765.node1.cluster.4321.0.v2"), Some(4321));
        assert_eq!(writer("events.out.tfevents.1764430765.host"), None);
        assert_eq!(writer("events.out.tfevents.1764430765.10.0.0.1.77.3"), Some(77));
        assert_eq!(writer("x"), None);
    }
}
