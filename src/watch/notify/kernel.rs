//! File notifications of the operating system, through the `notify` crate.
//!
//! Owns: watches of directories, and the meaning of the crate's events. Must not know: how a notification is handled.
//!
//! Only events that mean new data are subscribed to. A program that opens, appends and closes for each record then causes one
//! notification per record instead of three.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use notify::event::{Flag, ModifyKind, RenameMode};
use notify::{ErrorKind, Event, EventKind, EventKindMask, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::notice::{Notice, Refusal};

/// New data, and names that appear or disappear. Opening, reading and closing a file are not among them.
const WANTED: EventKindMask = EventKindMask::CREATE
    .union(EventKindMask::REMOVE)
    .union(EventKindMask::MODIFY_DATA)
    .union(EventKindMask::MODIFY_NAME);

/// Events that wait while this program is busy, for example at the start: as many as Linux keeps by default
/// (`fs.inotify.max_queued_events`). If there are more, checking everything is cheaper than memory.
const QUEUE: usize = 16_384;

/// After the first event, further ones are left to collect: a program that logs ten tags writes ten times.
const COALESCE: Duration = Duration::from_millis(2);

/// Events that were read together follow each other faster than this.
const AT_ONCE: Duration = Duration::from_micros(50);

/// Watches directories below one.
pub(super) struct Kernel {
    root: PathBuf,
    watcher: RecommendedWatcher,
    events: Receiver<notify::Result<Event>>,
    /// Whether events were dropped because the queue was full.
    dropped: Arc<AtomicBool>,
    /// The event that ended the last wait.
    first: Option<notify::Result<Event>>,
    /// The watched directories (relative to the root), and where each of them really is.
    watched: BTreeMap<PathBuf, PathBuf>,
    /// The names of each watched directory, by its real path: several where links lead to the same directory.
    names: HashMap<PathBuf, Vec<PathBuf>>,
}

impl Kernel {
    /// Watches nothing yet.
    ///
    /// # Errors
    ///
    /// The system provides no notifications, or the user's limit of inotify instances is reached.
    pub(super) fn new(root: &Path) -> notify::Result<Kernel> {
        let (sender, events) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicBool::new(false));
        let full = Arc::clone(&dropped);
        let mut last = None;
        let send = move |event| {
            // The kernel keeps and merges what comes meanwhile, and one read returns all of it.
            if last.is_none_or(|last: Instant| last.elapsed() > AT_ONCE) {
                std::thread::sleep(COALESCE);
            }
            // Waiting for room would block the thread that answers `watch`.
            if sender.try_send(event).is_err() {
                full.store(true, Ordering::Release);
            }
            last = Some(Instant::now());
        };
        let watcher = RecommendedWatcher::new(send, notify::Config::default().with_event_kinds(WANTED))?;
        let (watched, names) = (BTreeMap::new(), HashMap::new());
        Ok(Kernel { root: root.to_owned(), watcher, events, dropped, first: None, watched, names })
    }

    /// Watches a directory (relative to the root), but not the directories in it.
    ///
    /// # Errors
    ///
    /// The reason why it is not watched.
    pub(super) fn watch(&mut self, directory: &Path) -> Result<(), Refusal> {
        let path = self.root.join(directory).canonicalize().map_err(|error| refusal_of_io(&error))?;
        if !path.is_dir() {
            return Err(Refusal::Absent);
        }
        if gives_no_notices(&path) {
            return Err(Refusal::Silent);
        }
        self.watcher.watch(&path, RecursiveMode::NonRecursive).map_err(|error| refusal(&error))?;
        let names = self.names.entry(path.clone()).or_default();
        if !names.iter().any(|name| name == directory) {
            names.push(directory.to_owned());
        }
        self.watched.insert(directory.to_owned(), path);
        Ok(())
    }

    /// Watches neither this directory nor any below it any more.
    pub(super) fn forget(&mut self, directory: &Path) {
        // Paths are ordered by their parts: what is below a directory follows it.
        let from = self.watched.range::<Path, _>((Bound::Included(directory), Bound::Unbounded));
        let under = from.map(|(path, _)| path).take_while(|path| path.starts_with(directory));
        for path in under.cloned().collect::<Vec<_>>() {
            self.unwatch(&path);
        }
    }

    /// Watches this directory no more, but those below it.
    pub(super) fn unwatch(&mut self, directory: &Path) {
        let Some(path) = self.watched.remove(directory) else { return };
        let Some(names) = self.names.get_mut(&path) else { return };
        names.retain(|name| name != directory);
        if names.is_empty() {
            self.names.remove(&path);
            // A directory that was deleted is no longer watched.
            drop(self.watcher.unwatch(&path));
        }
    }

    /// The directories that are watched.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.watched.keys().map(PathBuf::as_path)
    }

    /// Whether this directory is watched.
    pub(super) fn watches(&self, directory: &Path) -> bool {
        self.watched.contains_key(directory)
    }

    /// How many directories are watched.
    pub(super) fn watched(&self) -> usize {
        self.watched.len()
    }

    /// Waits until there are notices; `false` if there are none after `timeout`.
    pub(super) fn wait(&mut self, timeout: Duration) -> bool {
        if self.first.is_none() {
            self.first = self.events.recv_timeout(timeout).ok();
        }
        self.first.is_some()
    }

    /// The notices that are there, in their order.
    pub(super) fn take(&mut self) -> Vec<Notice> {
        let events = self.first.take().into_iter().chain(self.events.try_iter());
        // Only changes come in masses; of the others the order matters.
        let mut changed = HashSet::new();
        let mut notices = Vec::new();
        for event in events {
            note(event, &self.names, &mut notices, &mut changed);
        }
        if self.dropped.swap(false, Ordering::AcqRel) {
            notices.push(Notice::Dropped);
        }
        notices
    }
}

/// Notes what an event means, under every name of its directory.
fn note(
    event: notify::Result<Event>,
    names: &HashMap<PathBuf, Vec<PathBuf>>,
    notices: &mut Vec<Notice>,
    changed: &mut HashSet<PathBuf>,
) {
    let event = match event {
        Ok(event) => event,
        Err(error) => return notices.push(Notice::Failed(error.to_string())),
    };
    if event.attrs.flag() == Some(Flag::Rescan) {
        return notices.push(Notice::Overflow);
    }
    let meaning = match event.kind {
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => Notice::Gone,
        // It repeats the two events of the same move.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return,
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_)) => Notice::Appeared,
        _ => Notice::Changed,
    };
    for path in event.paths {
        let is_change = matches!(meaning(PathBuf::new()), Notice::Changed(_));
        if is_change && !changed.insert(path.clone()) {
            continue;
        }
        notices.extend(paths_below_root(&path, names).map(meaning));
    }
}

/// The paths relative to the root of a file in a watched directory, or of a watched directory itself.
fn paths_below_root<'a>(
    path: &'a Path,
    names: &'a HashMap<PathBuf, Vec<PathBuf>>,
) -> impl Iterator<Item = PathBuf> + use<'a> {
    let parents = path.parent().and_then(|parent| names.get(parent)).into_iter().flatten();
    let inside = parents.filter_map(|parent| path.file_name().map(|name| parent.join(name)));
    inside.chain(names.get(path).into_iter().flatten().cloned())
}

fn refusal(error: &notify::Error) -> Refusal {
    match &error.kind {
        ErrorKind::MaxFilesWatch => Refusal::Limit,
        ErrorKind::PathNotFound => Refusal::Absent,
        ErrorKind::Io(error) => refusal_of_io(error),
        _ => Refusal::Other(error.to_string()),
    }
}

fn refusal_of_io(error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Refusal::Absent,
        _ => Refusal::Other(error.to_string()),
    }
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

#[cfg(not(target_os = "linux"))]
fn gives_no_notices(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;

    use notify::event::{AccessKind, CreateKind, RemoveKind};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn watching(directories: &[&str]) -> (tempfile::TempDir, Kernel) {
        let dir = tempfile::tempdir().expect("a directory");
        let mut kernel = Kernel::new(dir.path()).expect("notices");
        for directory in directories {
            fs::create_dir_all(dir.path().join(directory)).expect("a directory");
            kernel.watch(Path::new(directory)).expect("it can be watched");
        }
        (dir, kernel)
    }

    /// All notices up to the expected one.
    fn until(kernel: &mut Kernel, expected: &Notice) -> Vec<Notice> {
        let deadline = Instant::now() + LONG;
        let mut told = Vec::new();
        while !told.contains(expected) {
            assert!(kernel.wait(deadline.saturating_duration_since(Instant::now())), "{expected:?} not among {told:?}");
            told.extend(kernel.take());
        }
        told
    }

    #[test]
    fn one_directory_may_be_left_and_those_below_it_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(dir.path().join("a/b")).expect("a directory");
        let mut kernel = Kernel::new(dir.path()).expect("notices");
        for directory in ["a", "a/b"] {
            kernel.watch(Path::new(directory)).expect("it can be watched");
        }
        kernel.unwatch(Path::new("a"));
        kernel.unwatch(Path::new("never"));
        assert_eq!(kernel.directories().collect::<Vec<_>>(), [Path::new("a/b")]);
        fs::write(dir.path().join("a/x"), "").expect("a file");
        fs::write(dir.path().join("a/b/x"), "").expect("a file");
        until(&mut kernel, &Notice::Appeared("a/b/x".into()));
    }

    #[test]
    fn what_appears_changes_and_goes_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut kernel = Kernel::new(dir.path()).expect("notices");
        fs::create_dir(dir.path().join("a")).expect("a directory");
        kernel.watch(Path::new("a")).expect("it can be watched");
        assert!(!kernel.wait(Duration::ZERO));
        fs::write(dir.path().join("a/x"), "").expect("a file");
        until(&mut kernel, &Notice::Appeared("a/x".into()));
        fs::write(dir.path().join("a/x"), "more").expect("a file");
        until(&mut kernel, &Notice::Changed("a/x".into()));
        fs::rename(dir.path().join("a/x"), dir.path().join("a/y")).expect("a file");
        until(&mut kernel, &Notice::Gone("a/x".into()));
        fs::remove_file(dir.path().join("a/y")).expect("a file");
        until(&mut kernel, &Notice::Gone("a/y".into()));
    }

    #[test]
    fn what_is_forgotten_is_silent_and_can_be_watched_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut kernel = Kernel::new(dir.path()).expect("notices");
        fs::create_dir_all(dir.path().join("a/b")).expect("a directory");
        fs::create_dir_all(dir.path().join("ab")).expect("a directory");
        for directory in ["a", "a/b", "ab"] {
            kernel.watch(Path::new(directory)).expect("it can be watched");
        }
        kernel.forget(Path::new("a"));
        assert_eq!(kernel.watched(), 1);
        assert!(kernel.watches(Path::new("ab")) && !kernel.watches(Path::new("a/b")));
        kernel.watch(Path::new("a/b")).expect("it can be watched");
        fs::write(dir.path().join("a/b/x"), "").expect("a file");
        until(&mut kernel, &Notice::Appeared("a/b/x".into()));
    }

    #[test]
    fn only_directories_are_watched() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut kernel = Kernel::new(dir.path()).expect("notices");
        fs::write(dir.path().join("file"), "").expect("a file");
        for path in ["file", "nothing"] {
            assert_eq!(kernel.watch(Path::new(path)), Err(Refusal::Absent), "{path}");
        }
        assert_eq!(kernel.watched(), 0);
    }

    #[test]
    fn appending_causes_only_changes_and_reading_causes_nothing() {
        let (dir, mut kernel) = watching(&["a"]);
        let file = dir.path().join("a/x");
        drop(File::create(&file).expect("a file"));
        until(&mut kernel, &Notice::Appeared("a/x".into()));
        for _ in 0..20 {
            let mut file = File::options().append(true).open(&file).expect("the file");
            file.write_all(b"record").expect("space");
        }
        fs::read(&file).expect("the file");
        fs::write(dir.path().join("a/last"), "").expect("a file");
        let told = until(&mut kernel, &Notice::Appeared("a/last".into()));
        let expected =
            [Notice::Changed("a/x".into()), Notice::Appeared("a/last".into()), Notice::Changed("a/last".into())];
        assert!(told.iter().all(|notice| expected.contains(notice)), "{told:?}");
        assert!(told.contains(&expected[0]), "{told:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_with_two_names_gives_notices_under_both() {
        let (dir, mut kernel) = watching(&["a"]);
        std::os::unix::fs::symlink("a", dir.path().join("link")).expect("a link");
        kernel.watch(Path::new("link")).expect("it can be watched");
        fs::write(dir.path().join("a/x"), "").expect("a file");
        let told = until(&mut kernel, &Notice::Appeared("link/x".into()));
        assert!(told.contains(&Notice::Appeared("a/x".into())), "{told:?}");
        kernel.forget(Path::new("a"));
        fs::remove_file(dir.path().join("a/x")).expect("the file");
        let told = until(&mut kernel, &Notice::Gone("link/x".into()));
        assert!(!told.contains(&Notice::Gone("a/x".into())), "{told:?}");
    }

    #[test]
    fn what_happens_after_a_directory_moved_is_not_told_under_its_old_name() {
        let (dir, mut kernel) = watching(&["", "a", "a/b"]);
        fs::rename(dir.path().join("a"), dir.path().join("c")).expect("a directory");
        let told = until(&mut kernel, &Notice::Appeared("c".into()));
        assert!(told.contains(&Notice::Gone("a".into())), "{told:?}");
        kernel.forget(Path::new("a"));
        assert_eq!(kernel.watched(), 1);
        fs::write(dir.path().join("c/b/x"), "").expect("a file");
        fs::write(dir.path().join("last"), "").expect("a file");
        let told = until(&mut kernel, &Notice::Appeared("last".into()));
        assert!(!format!("{told:?}").contains("/x"), "{told:?}");
    }

    #[test]
    fn a_deleted_directory_is_gone_even_if_only_it_was_watched() {
        let (dir, mut kernel) = watching(&["a"]);
        fs::remove_dir(dir.path().join("a")).expect("a directory");
        until(&mut kernel, &Notice::Gone("a".into()));
    }

    #[test]
    fn more_events_than_the_queue_holds_are_a_reason_to_check_everything() {
        let (dir, mut kernel) = watching(&[""]);
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::write(&one, "").expect("a file");
        for _ in 0..=QUEUE / 4 {
            fs::rename(&one, &two).expect("the file");
            fs::rename(&two, &one).expect("the file");
        }
        let deadline = Instant::now() + LONG;
        while !kernel.dropped.load(Ordering::Acquire) {
            assert!(Instant::now() < deadline, "nothing was dropped");
            std::thread::yield_now();
        }
        assert_eq!(kernel.take().last(), Some(&Notice::Dropped));
    }

    #[test]
    fn errors_are_told_apart() {
        let of = |kind: ErrorKind| refusal(&notify::Error::new(kind));
        assert_eq!((of(ErrorKind::MaxFilesWatch), of(ErrorKind::PathNotFound)), (Refusal::Limit, Refusal::Absent));
        let denied = ErrorKind::Io(io::ErrorKind::PermissionDenied.into());
        assert!(matches!(of(denied), Refusal::Other(why) if why.contains("denied")));
    }

    #[test]
    fn events_of_the_crate_are_notices() {
        let names = HashMap::from([(PathBuf::from("/runs"), vec![PathBuf::new()])]);
        let noted = |event: notify::Result<Event>| {
            let (mut notices, mut changed) = (Vec::new(), HashSet::new());
            note(event, &names, &mut notices, &mut changed);
            notices
        };
        let of = |kind: EventKind| noted(Ok(Event::new(kind).add_path("/runs/x".into())));
        let named = |mode| EventKind::Modify(ModifyKind::Name(mode));
        assert_eq!(of(EventKind::Create(CreateKind::Any)), [Notice::Appeared("x".into())]);
        assert_eq!(of(EventKind::Remove(RemoveKind::Any)), [Notice::Gone("x".into())]);
        assert_eq!(of(EventKind::Modify(ModifyKind::Any)), [Notice::Changed("x".into())]);
        assert_eq!(of(named(RenameMode::From)), [Notice::Gone("x".into())]);
        assert_eq!(of(named(RenameMode::To)), [Notice::Appeared("x".into())]);
        assert_eq!(of(named(RenameMode::Both)), []);
        assert_eq!(noted(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan))), [Notice::Overflow]);
        assert_eq!(noted(Ok(Event::new(EventKind::Any).add_path("/elsewhere/x".into()))), []);
        assert!(!WANTED.matches(&EventKind::Access(AccessKind::Read)));
    }
}
