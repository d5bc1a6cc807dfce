//! Determines when to check for changes: by kernel notifications if available, and always by periodic sweeps.
//!
//! Owns: what is watched, and the handling of notifications and refusals. Must not know: the content of files, the
//! kernel's type.
//!
//! Notifications only make reading faster; any change that they miss is found by the next sweep.

mod kernel;
mod notice;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kernel::Kernel;
use notice::{Notice, Refusal};

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
    kernel: Option<Kernel>,
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
        Notifier::silent(Path::new(""), Sweep { watched: interval, unwatched: interval })
    }

    fn silent(root: &Path, sweep: Sweep) -> Notifier {
        Notifier {
            root: root.to_owned(),
            kernel: None,
            unwatched: BTreeSet::new(),
            fresh: BTreeSet::new(),
            sweep,
            problems: Vec::new(),
            said: BTreeSet::new(),
        }
    }

    /// Watches nothing yet but `root` itself, if it exists.
    pub fn new(root: &Path, sweep: Sweep) -> Notifier {
        let mut notifier = Notifier::silent(root, sweep);
        match Kernel::new(root) {
            Ok(kernel) => notifier.kernel = Some(kernel),
            Err(error) => notifier.say(
                "kernel",
                format!(
                    "the kernel does not provide file notifications ({error}); polling every {:?} instead; raise \
                     fs.inotify.max_user_instances if it is exhausted",
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
                if !self.watch_one(part) {
                    break;
                }
            }
        }
    }

    /// Leaves directories that are not worth a watch; what happens there is found by looking.
    pub fn unwatch(&mut self, is_idle: impl Fn(&Path) -> bool) {
        self.unwatched.retain(|directory| !is_idle(directory));
        let Some(kernel) = &mut self.kernel else { return };
        let idle: Vec<PathBuf> = kernel.directories().filter(|path| is_idle(path)).map(Path::to_owned).collect();
        idle.iter().for_each(|directory| kernel.unwatch(directory));
    }

    /// What people should know, once each.
    pub fn take_problems(&mut self) -> Vec<String> {
        std::mem::take(&mut self.problems)
    }

    /// How many directories the kernel watches, and how many are only swept.
    pub fn watches(&self) -> (usize, usize) {
        (self.watched(), self.unwatched.len())
    }

    fn watched(&self) -> usize {
        self.kernel.as_ref().map_or(0, Kernel::watched)
    }

    /// How long a change may go unseen if no notice of it comes.
    pub fn sweep_interval(&self) -> Duration {
        let all_watched = self.unwatched.is_empty() && self.watched() > 0;
        if all_watched { self.sweep.watched } else { self.sweep.unwatched }
    }

    /// Waits for a change for at most `timeout`, and a moment longer for those that come along with it.
    pub fn wait(&mut self, timeout: Duration) -> Woken {
        let mut paths = std::mem::take(&mut self.fresh);
        if !paths.is_empty() {
            return if paths.len() > MANY { Woken::Sweep } else { Woken::Paths(paths) };
        }
        let Some(kernel) = &mut self.kernel else {
            // There is nobody to give notices: only time passes.
            std::thread::park_timeout(timeout);
            return Woken::Timeout;
        };
        if !kernel.wait(timeout) {
            return Woken::Timeout;
        }
        let mut everything = false;
        for notice in kernel.take() {
            everything |= self.note(notice, &mut paths);
        }
        if everything || paths.len() > MANY { Woken::Sweep } else { Woken::Paths(paths) }
    }

    /// Notes what a notice is about, and says whether it is about everything.
    fn note(&mut self, notice: Notice, paths: &mut BTreeSet<PathBuf>) -> bool {
        let path = match notice {
            Notice::Changed(path) => path,
            Notice::Appeared(path) => {
                if self.root.join(&path).is_dir() {
                    self.watch([&*path]);
                }
                path
            }
            Notice::Gone(path) => {
                if let Some(kernel) = &mut self.kernel {
                    kernel.forget(&path);
                }
                path
            }
            Notice::Dropped => return true,
            Notice::Overflow => {
                let sysctl = "fs.inotify.max_queued_events";
                self.say(
                    sysctl,
                    format!("the kernel's notification queue overflowed, but nothing is lost; raise {sysctl}"),
                );
                return true;
            }
            Notice::Failed(error) => {
                self.say("notices", format!("cannot read kernel notifications ({error}); checking everything instead"));
                return true;
            }
        };
        paths.insert(path);
        false
    }

    /// Watches one directory, and says whether those above it are worth trying.
    fn watch_one(&mut self, directory: &Path) -> bool {
        let Some(kernel) = self.kernel.as_mut().filter(|kernel| !kernel.watches(directory)) else { return false };
        match kernel.watch(directory) {
            Ok(()) => {
                self.unwatched.remove(directory);
                self.fresh.insert(directory.to_owned());
                true
            }
            Err(refusal) => self.refused(directory, refusal),
        }
    }

    fn refused(&mut self, directory: &Path, refusal: Refusal) -> bool {
        let path = self.root.join(directory);
        let worth_trying = match refusal {
            Refusal::Absent => return true,
            Refusal::Silent => {
                let place = path.display();
                self.say("network", format!("{place} is on a file system without change notifications; polling it"));
                true
            }
            Refusal::Limit => {
                let (sysctl, known) = ("fs.inotify.max_user_watches", self.watched());
                let told =
                    format!("the kernel watches at most {known} directories, the others are polled; raise {sysctl}");
                self.say(sysctl, told);
                false
            }
            Refusal::Other(error) => {
                let place = path.display();
                self.say("other", format!("the kernel cannot watch {place} and maybe others ({error}); polling them"));
                false
            }
        };
        self.unwatched.insert(directory.to_owned());
        worth_trying
    }

    fn say(&mut self, kind: &'static str, message: String) {
        if self.said.insert(kind) {
            self.problems.push(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

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

    /// Waits for the notice of a directory, and until the directory that is there now is watched.
    fn wait_for_watch(notifier: &mut Notifier, path: &str) {
        wait_for(notifier, path);
        while !notifier.kernel.as_ref().is_some_and(|kernel| kernel.watches(Path::new(path))) {
            notifier.wait(LONG);
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
        assert!(notifier.note(Notice::Overflow, &mut BTreeSet::new()));
        assert!(!notifier.refused(Path::new("a"), Refusal::Limit));
        assert!(!notifier.refused(Path::new("b"), Refusal::Limit));
        assert_eq!((notifier.watches(), notifier.sweep_interval()), ((1, 2), Sweep::default().unwatched));
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
    fn a_directory_that_takes_the_place_of_another_is_watched_in_its_stead() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        for name in ["a", "b"] {
            fs::create_dir(at(name)).expect("a directory");
        }
        let mut notifier = Notifier::new(dir.path(), Sweep::default());
        notifier.watch([Path::new("a")]);
        paths(notifier.wait(LONG));
        fs::rename(at("a"), at("old")).expect("a directory");
        fs::rename(at("b"), at("a")).expect("a directory");
        wait_for_watch(&mut notifier, "a");
        fs::write(at("a/x.tfevents"), "1").expect("a file");
        wait_for(&mut notifier, "a/x.tfevents");
        fs::remove_dir_all(at("a")).expect("a directory");
        fs::create_dir(at("a")).expect("a directory");
        wait_for_watch(&mut notifier, "a");
        fs::write(at("a/y.tfevents"), "1").expect("a file");
        wait_for(&mut notifier, "a/y.tfevents");
    }
}
