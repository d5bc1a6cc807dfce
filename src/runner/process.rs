//! Processes on this machine, from `/proc`.
//!
//! Owns: the identity of a process, so that a signal never reaches another process that has reused its id; the command
//! that started it. Must not know: jobs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::fault;
use crate::logdir::Kind;

/// A process, distinguished from any later process with the same id in the same boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Identity {
    pub(super) pid: i32,
    /// Start time in the kernel's ticks since boot.
    pub(super) ticks: u64,
}

/// The content of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) identity: Identity,
    pub(super) parent: i32,
    pub(super) session: i32,
    /// It has ended, and its status has not been collected yet.
    pub(super) zombie: bool,
}

/// The id of the current boot of the machine.
pub(super) fn boot_id() -> String {
    if let Some(injected) = fault::boot_id() {
        return injected;
    }
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// The number of out-of-memory kills on the whole machine.
pub(super) fn memory_kills() -> u64 {
    let counters = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let counter = counters.lines().find_map(|line| line.strip_prefix("oom_kill "));
    counter.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

fn file(pid: i32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

pub(super) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(pid, &fs::read_to_string(file(pid, "stat")).ok()?)
}

/// The name of the program is in parentheses and may contain any characters, including parentheses.
fn parse_stat(pid: i32, text: &str) -> Option<Stat> {
    let rest = text.get(text.rfind(')')? + 1..)?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<i64>().ok());
    Some(Stat {
        identity: Identity { pid, ticks: u64::try_from(number(22)?).ok()? },
        parent: i32::try_from(number(4)?).ok()?,
        session: i32::try_from(number(6)?).ok()?,
        zombie: matches!(fields.first(), Some(&"Z" | &"X")),
    })
}

impl Identity {
    /// The process that currently has this id.
    pub(super) fn of(pid: i32) -> Option<Identity> {
        stat(pid).map(|stat| stat.identity)
    }

    pub(super) fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.identity == self && !stat.zombie)
    }

    /// Sends it a signal; `false` if it no longer exists. The descriptor is opened before the identity is compared, so
    /// that the id cannot be reused in between.
    pub(super) fn signal(self, signal: Signal) -> bool {
        let Some(descriptor) = self.open() else { return false };
        pidfd_send_signal(descriptor, signal).is_ok()
    }

    fn open(self) -> Option<OwnedFd> {
        let descriptor = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        self.is_alive().then_some(descriptor)
    }
}

/// The processes of user `uid`.
pub(super) fn of_user(uid: u32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let number = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse::<i32>().ok()?;
        (entry.metadata().ok()?.uid() == uid).then_some(pid)
    };
    entries.flatten().filter_map(number).collect()
}

/// Every process below `root`, excluding it and zombies.
pub(super) fn descendants(root: i32) -> Vec<Stat> {
    let mut found = Vec::new();
    let mut known = BTreeSet::from([root]);
    let mut open = VecDeque::from([root]);
    while let Some(pid) = open.pop_front() {
        for child in children(pid) {
            if !known.insert(child) {
                continue;
            }
            let Some(stat) = stat(child) else { continue };
            open.push_back(child);
            if !stat.zombie {
                found.push(stat);
            }
        }
    }
    found
}

/// The children of all threads of a process.
fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(file(pid, "task")) else { return Vec::new() };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(text) => found.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            // The kernel does not provide these files.
            Err(_) => return children_by_parent(pid),
        }
    }
    found
}

fn children_by_parent(parent: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|stat| stat.parent == parent)).collect()
}

/// The arguments of a process.
pub(super) fn arguments(pid: i32) -> Option<Vec<String>> {
    let bytes = fs::read(file(pid, "cmdline")).ok()?;
    let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
    let words: Vec<String> = bytes.strip_suffix(b"\0").unwrap_or(&bytes).split(|byte| *byte == 0).map(text).collect();
    (!bytes.is_empty()).then_some(words)
}

/// Its working directory.
pub(super) fn directory(pid: i32) -> Option<PathBuf> {
    fs::read_link(file(pid, "cwd")).ok().filter(|path| path.is_absolute())
}

/// The environment of a process at its start, without variables that are not UTF-8.
pub(super) fn environment(pid: i32) -> Option<BTreeMap<String, String>> {
    let bytes = fs::read(file(pid, "environ")).ok()?;
    let pair = |entry: &[u8]| {
        let text = std::str::from_utf8(entry).ok()?;
        text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    Some(bytes.split(|byte| *byte == 0).filter_map(pair).collect())
}

/// Whether it was started with a variable of this value.
pub(super) fn has_variable(pid: i32, name: &str, value: &Path) -> bool {
    let Ok(bytes) = fs::read(file(pid, "environ")) else { return false };
    let wanted = [name.as_bytes(), b"=", value.as_os_str().as_bytes()].concat();
    bytes.split(|byte| *byte == 0).any(|entry| entry == wanted)
}

/// Whether the name of a file is one that TensorBoard reads.
pub(super) fn is_event_file(path: &Path) -> bool {
    Kind::of(path) == Some(Kind::Events)
}

/// The process that wrote an event file, according to its name: `events.out.tfevents.TIME.HOST.PID.…` with this
/// machine's name.
pub(super) fn writer_of(path: &Path) -> Option<i32> {
    let name = path.file_name()?.to_str()?;
    let rest = name.split_once("tfevents.")?.1.split_once('.')?.1;
    let host = rustix::system::uname();
    writer_in(rest, host.nodename().to_str().ok()?)
}

fn writer_in(rest: &str, host: &str) -> Option<i32> {
    let after = rest.strip_prefix(host)?.strip_prefix('.')?;
    let number = after.split('.').next()?;
    number.parse().ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_by_number_and_start() {
        let me = i32::try_from(std::process::id()).unwrap();
        let identity = Identity::of(me).unwrap();
        assert!(identity.is_alive());
        let other = Identity { ticks: identity.ticks + 1, ..identity };
        assert!(!other.is_alive() && !other.signal(Signal::TERM), "the same number at another time is another process");
    }

    #[test]
    fn a_program_may_be_called_anything() {
        let text = "7 (a) Z (b) S 3 7 5 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1";
        let stat = parse_stat(7, text).unwrap();
        assert_eq!((stat.parent, stat.session, stat.identity.ticks, stat.zombie), (3, 5, 4711, false));
        assert!(parse_stat(7, "7 (a) Z 3 7 5 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1").unwrap().zombie);
        assert_eq!(parse_stat(7, "7 (a"), None);
    }

    #[test]
    fn the_name_of_an_event_file_says_who_writes_it() {
        assert_eq!(writer_in("node1.4711.0", "node1"), Some(4711));
        assert_eq!(writer_in("node1.4711.0.v2", "node1"), Some(4711));
        assert_eq!(writer_in("node1.example.4711.0", "node1.example"), Some(4711));
        assert_eq!(writer_in("node10.4711.0", "node1"), None);
        assert_eq!(writer_in("node1", "node1"), None);
    }
}
