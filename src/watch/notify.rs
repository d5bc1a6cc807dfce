//! When it is time to look: the kernel's notices where it gives any, and always a sweep now and then.
//!
//! Owns: inotify with its limits, which file systems give no notices. Must not know: what is in the files.
//!
//! Notices only ever make reading prompt, never right: whatever is lost here, the next sweep finds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use notify::event::{Flag, ModifyKind};
use notify::{ErrorKind, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// After the first notice, further ones are left to collect for so long: a program that logs ten tags writes ten times.
const COALESCE: Duration = Duration::from_millis(2);

/// With more paths than this at once, a sweep is cheaper.
const MANY: usize = 4096;

/// Why [`Notifier::wait`] returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Woken {
    /// Something happened at these paths, relative to the log directory.
    Paths(BTreeSet<PathBuf>),
    /// Anything may have happened; everything has to be looked at.
    Sweep,
    /// Nothing happened in the time given.
    Timeout,
}

/// Waits for changes under one directory.
pub struct Notifier {
    root: PathBuf,
    kernel: Option<RecommendedWatcher>,
    notices: Receiver<notify::Result<notify::Event>>,
    watched: BTreeSet<PathBuf>,
    /// Directories that the kernel does not watch: on a network file system, or beyond its limit.
    unwatched: BTreeSet<PathBuf>,
    /// Directories watched since the last wait: what happened in them before is not known.
    fresh: BTreeSet<PathBuf>,
    sweep: Sweep,
    problems: Vec<String>,
    said: BTreeSet<&'static str>,
}

/// How often everything is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    /// Where the kernel gives notices: only to find what it missed.
    pub watched: Duration,
    /// Where it gives none: how late a change is seen at the latest.
    pub unwatched: Duration,
}

impl Default for Sweep {
    fn default() -> Self {
        Sweep { watched: Duration::from_secs(30), unwatched: Duration::from_secs(2) }
    }
}

impl Notifier {
    /// Where nothing gives notices: everything is looked at each `interval`.
    pub fn sweeping(interval: Duration) -> Notifier {
        let (_, notices) = channel();
        Notifier::silent(Path::new(""), Sweep { watched: interval, unwatched: interval }, notices)
    }

    fn silent(root: &Path, sweep: Sweep, notices: Receiver<notify::Result<notify::Event>>) -> Notifier {
        Notifier {
            root: root.to_owned(),
            kernel: None,
            notices,
            watched: BTreeSet::new(),
            unwatched: BTreeSet::new(),
            fresh: BTreeSet::new(),
            sweep,
            problems: Vec::new(),
            said: BTreeSet::new(),
        }
    }

    /// Watches nothing yet but `root` itself, if it exists.
    pub fn new(root: &Path, sweep: Sweep) -> Notifier {
        let (sender, notices) = channel();
        let kernel = RecommendedWatcher::new(
            move |notice| {
                if !is_of_access(&notice) {
                    // One that nobody waits for any more is of no use.
                    drop(sender.send(notice));
                }
            },
            notify::Config::default(),
        );
        let mut notifier = Notifier::silent(root, sweep, notices);
        match kernel {
            Ok(kernel) => notifier.kernel = Some(kernel),
            Err(error) => notifier.say(
                "kernel",
                format!(
                    "the kernel gives no notices of changed files ({error}); polling every {:?} instead; \
                     raise fs.inotify.max_user_instances if it is exhausted",
                    sweep.unwatched
                ),
            ),
        }
        notifier.watch([Path::new("")]);
        notifier
    }

    /// Watches these directories (relative to the root) and all above them, too. Those known already cost nothing; the
    /// next [`Notifier::wait`] returns at once with the new ones, in which something may have happened before.
    pub fn watch<'a>(&mut self, directories: impl IntoIterator<Item = &'a Path>) {
        for directory in directories {
            for part in directory.ancestors() {
                if self.watched.contains(part) || !self.watch_one(part) {
                    break;
                }
            }
        }
    }

    /// What people should know, once each.
    pub fn take_problems(&mut self) -> Vec<String> {
        std::mem::take(&mut self.problems)
    }

    /// How many directories the kernel watches, and how many are only swept.
    pub fn watches(&self) -> (usize, usize) {
        (self.watched.len(), self.unwatched.len())
    }

    /// How long a change may go unseen if no notice of it comes.
    pub fn sweep_interval(&self) -> Duration {
        let all_watched = self.kernel.is_some() && self.unwatched.is_empty() && !self.watched.is_empty();
        if all_watched { self.sweep.watched } else { self.sweep.unwatched }
    }

    /// Waits for a change for at most `timeout`, and a moment longer for those that come along with it.
    pub fn wait(&mut self, timeout: Duration) -> Woken {
        let mut paths = std::mem::take(&mut self.fresh);
        if !paths.is_empty() {
            return if paths.len() > MANY { Woken::Sweep } else { Woken::Paths(paths) };
        }
        let first = match self.notices.recv_timeout(timeout) {
            Ok(notice) => notice,
            Err(RecvTimeoutError::Timeout) => return Woken::Timeout,
            Err(RecvTimeoutError::Disconnected) => {
                // There is no kernel watcher that could send: only time passes.
                std::thread::park_timeout(timeout);
                return Woken::Timeout;
            }
        };
        let mut everything = self.note(first, &mut paths);
        // Not waited for one by one: each would wake this thread.
        std::thread::sleep(COALESCE);
        while let Ok(notice) = self.notices.try_recv() {
            everything |= self.note(notice, &mut paths);
        }
        if everything || paths.len() > MANY { Woken::Sweep } else { Woken::Paths(paths) }
    }

    /// Notes what a notice is about, and says whether it is about everything.
    fn note(&mut self, notice: notify::Result<notify::Event>, paths: &mut BTreeSet<PathBuf>) -> bool {
        let event = match notice {
            Ok(event) => event,
            Err(error) => {
                self.failed(&error);
                return true;
            }
        };
        if event.attrs.flag() == Some(Flag::Rescan) {
            let sysctl = "fs.inotify.max_queued_events";
            self.say(sysctl, format!("the kernel's queue of notices overflowed, nothing is lost; raise {sysctl}"));
            return true;
        }
        let is_new = matches!(event.kind, EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_)));
        for path in event.paths {
            let Ok(relative) = path.strip_prefix(&self.root) else { continue };
            if matches!(event.kind, EventKind::Remove(_)) {
                self.watched.remove(relative);
            } else if is_new && path.is_dir() {
                self.watch([relative]);
            }
            if !paths.contains(relative) {
                paths.insert(relative.to_owned());
            }
        }
        false
    }

    fn watch_one(&mut self, directory: &Path) -> bool {
        let path = self.root.join(directory);
        let Some(kernel) = &mut self.kernel else { return false };
        if !path.is_dir() {
            return true;
        }
        if gives_no_notices(&path) {
            self.unwatched.insert(directory.to_owned());
            self.say(
                "network",
                format!("{} is on a file system without notices of changes; polling it", path.display()),
            );
            return true;
        }
        match kernel.watch(&path, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.unwatched.remove(directory);
                self.watched.insert(directory.to_owned());
                self.fresh.insert(directory.to_owned());
                true
            }
            Err(error) => {
                self.unwatched.insert(directory.to_owned());
                self.failed(&error);
                false
            }
        }
    }

    fn failed(&mut self, error: &notify::Error) {
        if matches!(error.kind, ErrorKind::MaxFilesWatch) {
            let sysctl = "fs.inotify.max_user_watches";
            let known = self.watched.len();
            self.say(
                sysctl,
                format!("the kernel watches no more than {known} directories, the others are polled; raise {sysctl}"),
            );
        } else {
            self.say("other", format!("the kernel cannot watch some directories ({error}); polling them"));
        }
    }

    fn say(&mut self, kind: &'static str, message: String) {
        if self.said.insert(kind) {
            self.problems.push(message);
        }
    }
}

/// Whether a file was only opened, read or closed: two of three notices where each record is appended by itself.
fn is_of_access(notice: &notify::Result<notify::Event>) -> bool {
    notice.as_ref().is_ok_and(|event| matches!(event.kind, EventKind::Access(_)))
}

/// File systems whose other clients' writes the kernel does not see. Numbers: `linux/magic.h` and the file systems' own
/// headers.
#[cfg(target_os = "linux")]
fn gives_no_notices(path: &Path) -> bool {
    const NETWORK: [u64; 12] = [
        0x6969,      // NFS
        0x517b,      // SMB
        0xff53_4d42, // CIFS
        0xfe53_4d42, // SMB 2
        0x6573_5546, // FUSE: gcsfuse, sshfs, s3fs, JuiceFS
        0x0bd0_0bd0, // Lustre
        0x0102_1997, // 9p
        0x00c3_6400, // Ceph
        0x4750_4653, // GPFS
        0x5346_414f, // AFS
        0x1983_0326, // BeeGFS
        0x013a_dbee, // OrangeFS
    ];
    // The type is signed or unsigned by platform; the magic numbers have 32 bits.
    rustix::fs::statfs(path).is_ok_and(|fs| NETWORK.contains(&(fs.f_type as u64 & 0xffff_ffff)))
}

/// Other systems' watchers say themselves what they cannot watch.
#[cfg(not(target_os = "linux"))]
fn gives_no_notices(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::fs;

    use std::time::Instant;

    use notify::event::{AccessKind, CreateKind, EventAttributes};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn paths(woken: Woken) -> BTreeSet<PathBuf> {
        match woken {
            Woken::Paths(paths) => paths,
            Woken::Sweep | Woken::Timeout => panic!("{woken:?} where paths were expected"),
        }
    }

    fn wait_for(notifier: &mut Notifier, path: &str) {
        let deadline = Instant::now() + LONG;
        while !paths(notifier.wait(LONG)).contains(Path::new(path)) {
            assert!(Instant::now() < deadline, "no notice of {path}");
        }
    }

    #[test]
    fn changes_in_watched_and_in_new_directories_are_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("a")).expect("a directory");
        let mut notifier = Notifier::new(dir.path(), Sweep::default());
        notifier.watch([Path::new("a")]);
        assert_eq!(paths(notifier.wait(LONG)), BTreeSet::from([PathBuf::new(), PathBuf::from("a")]));
        fs::write(dir.path().join("a/x.tfevents"), "1").expect("a file");
        wait_for(&mut notifier, "a/x.tfevents");
        fs::create_dir(dir.path().join("b")).expect("a directory");
        wait_for(&mut notifier, "b");
        fs::write(dir.path().join("b/y.tfevents"), "1").expect("a file");
        wait_for(&mut notifier, "b/y.tfevents");
        assert_eq!(notifier.watches(), (3, 0));
        assert!(notifier.take_problems().is_empty());
    }

    #[test]
    fn an_overflow_and_a_limit_are_survived_and_name_the_remedy() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut notifier = Notifier::new(dir.path(), Sweep::default());
        let overflow = notify::Event { attrs: EventAttributes::default(), ..notify::Event::new(EventKind::Other) };
        assert!(notifier.note(Ok(overflow.set_flag(Flag::Rescan)), &mut BTreeSet::new()));
        assert!(notifier.note(Err(notify::Error::new(ErrorKind::MaxFilesWatch)), &mut BTreeSet::new()));
        assert!(notifier.note(Err(notify::Error::new(ErrorKind::MaxFilesWatch)), &mut BTreeSet::new()));
        let problems = notifier.take_problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("fs.inotify.max_queued_events"));
        assert!(problems[1].contains("fs.inotify.max_user_watches"));
    }

    #[test]
    fn a_root_that_does_not_exist_is_swept_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut notifier = Notifier::new(&dir.path().join("later"), Sweep::default());
        assert_eq!(notifier.wait(Duration::from_millis(1)), Woken::Timeout);
        assert_eq!(notifier.watches(), (0, 0));
    }

    #[test]
    fn without_notices_there_are_only_sweeps() {
        let mut notifier = Notifier::sweeping(LONG);
        notifier.watch([Path::new("a/b")]);
        assert_eq!(notifier.wait(Duration::from_millis(1)), Woken::Timeout);
        assert_eq!((notifier.sweep_interval(), notifier.watches()), (LONG, (0, 0)));
        assert!(notifier.take_problems().is_empty());
    }

    #[test]
    fn notices_of_foreign_paths_and_of_reading_are_ignored() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut notifier = Notifier::new(dir.path(), Sweep::default());
        let mut seen = BTreeSet::new();
        let create = EventKind::Create(CreateKind::File);
        assert!(!notifier.note(Ok(notify::Event::new(create).add_path("/elsewhere/x".into())), &mut seen));
        assert!(seen.is_empty());
        assert!(is_of_access(&Ok(notify::Event::new(EventKind::Access(AccessKind::Read)))));
        let modify = notify::Event::new(EventKind::Modify(ModifyKind::Any)).add_path(dir.path().join("x"));
        assert!(!is_of_access(&Ok(modify.clone())) && !notifier.note(Ok(modify), &mut seen));
        assert_eq!(seen, BTreeSet::from([PathBuf::from("x")]));
    }
}
