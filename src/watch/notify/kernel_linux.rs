//! File notifications on Linux: inotify, subscribed only to events that mean new data.
//!
//! Owns: watches of directories and the resulting notifications. Must not know: how a notification is handled.
//!
//! The waiting thread reads the notifications itself. A program that opens, appends and closes for each record causes
//! one notification per record instead of three, and the kernel merges consecutive ones in its queue.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inotify::{Event, EventMask, Inotify, WatchDescriptor, WatchMask};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::notice::{Notice, Refusal};

/// Room for some thousand notices; what does not fit is taken at the next wait, which then returns at once.
const BUFFER: usize = 64 << 10;

/// Watches directories below one.
pub(super) struct Kernel {
    root: PathBuf,
    inotify: Inotify,
    watches: BTreeMap<PathBuf, WatchDescriptor>,
    /// The directories behind a watch: several where links lead to the same one.
    places: HashMap<i32, Vec<PathBuf>>,
    buffer: Vec<u8>,
}

impl Kernel {
    /// Watches nothing yet.
    ///
    /// # Errors
    ///
    /// The user has as many instances of inotify, or the process as many files, as they may.
    pub(super) fn new(root: &Path) -> io::Result<Kernel> {
        Ok(Kernel {
            root: root.to_owned(),
            inotify: Inotify::init()?,
            watches: BTreeMap::new(),
            places: HashMap::new(),
            buffer: vec![0; BUFFER],
        })
    }

    /// Watches a directory (relative to the root), but not those in it.
    ///
    /// # Errors
    ///
    /// Why it is not watched.
    pub(super) fn watch(&mut self, directory: &Path) -> Result<(), Refusal> {
        let path = self.root.join(directory);
        if gives_no_notices(&path) {
            return Err(Refusal::Silent);
        }
        let mask = WatchMask::MODIFY
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let watch = self.inotify.watches().add(&path, mask).map_err(|error| refusal(&error))?;
        let places = self.places.entry(watch.get_watch_descriptor_id()).or_default();
        if !places.iter().any(|place| place == directory) {
            places.push(directory.to_owned());
        }
        self.watches.insert(directory.to_owned(), watch);
        Ok(())
    }

    /// Watches neither this directory nor any below it any more.
    pub(super) fn forget(&mut self, directory: &Path) {
        while let Some((path, _)) = self.first_under(directory) {
            self.unwatch(&path);
        }
    }

    /// Watches this directory no more, but those below it.
    pub(super) fn unwatch(&mut self, directory: &Path) {
        let Some(watch) = self.watches.remove(directory) else { return };
        let id = watch.get_watch_descriptor_id();
        let Some(places) = self.places.get_mut(&id) else { return };
        places.retain(|place| place != directory);
        if places.is_empty() {
            self.places.remove(&id);
            // It is gone already where the directory was deleted.
            drop(self.inotify.watches().remove(watch));
        }
    }

    /// The directories that are watched.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.watches.keys().map(PathBuf::as_path)
    }

    /// Paths are ordered by their parts: what is below a directory follows it.
    fn first_under(&self, directory: &Path) -> Option<(PathBuf, WatchDescriptor)> {
        let (path, watch) = self.watches.range::<Path, _>((Bound::Included(directory), Bound::Unbounded)).next()?;
        path.starts_with(directory).then(|| (path.clone(), watch.clone()))
    }

    /// Whether this directory is watched.
    pub(super) fn watches(&self, directory: &Path) -> bool {
        self.watches.contains_key(directory)
    }

    /// How many directories are watched.
    pub(super) fn watched(&self) -> usize {
        self.watches.len()
    }

    /// Waits until there are notices; `false` if there are none after `timeout`, or a signal came first.
    pub(super) fn wait(&mut self, timeout: Duration) -> bool {
        // A time that is too long to be said is as good as none.
        let timeout = Timespec::try_from(timeout).ok();
        let mut queue = [PollFd::new(&self.inotify, PollFlags::IN)];
        poll(&mut queue, timeout.as_ref()).is_ok_and(|ready| ready > 0)
    }

    /// The notices that are there, in their order.
    pub(super) fn take(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        let events = match self.inotify.read_events(&mut self.buffer) {
            Ok(events) => events,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return notices,
            Err(error) => return vec![Notice::Failed(error.to_string())],
        };
        // Only these come in masses; of the others the order matters.
        let mut modified = HashSet::new();
        for event in events {
            let id = event.wd.get_watch_descriptor_id();
            if event.mask == EventMask::MODIFY && !modified.insert((id, event.name)) {
                continue;
            }
            if event.mask.contains(EventMask::IGNORED) {
                for place in self.places.remove(&id).unwrap_or_default() {
                    self.watches.remove(&place);
                    notices.push(Notice::Changed(place));
                }
                continue;
            }
            note(&event, self.places.get(&id).map_or(&[], Vec::as_slice), &mut notices);
        }
        notices
    }
}

/// Notes what an event means, which happened in a directory with these `places`.
fn note(event: &Event<&OsStr>, places: &[PathBuf], notices: &mut Vec<Notice>) {
    let mask = event.mask;
    if mask.contains(EventMask::Q_OVERFLOW) {
        notices.push(Notice::Overflow);
    }
    let meaning = if mask.intersects(EventMask::CREATE | EventMask::MOVED_TO) {
        Notice::Appeared
    } else if mask.intersects(EventMask::DELETE | EventMask::MOVED_FROM | EventMask::MOVE_SELF) {
        Notice::Gone
    } else {
        Notice::Changed
    };
    notices.extend(places.iter().map(|place| match event.name {
        Some(name) => meaning(place.join(name)),
        None => meaning(place.clone()),
    }));
}

fn refusal(error: &io::Error) -> Refusal {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC) => Refusal::Limit,
        Some(Errno::NOENT | Errno::NOTDIR) => Refusal::Absent,
        _ => Refusal::Other(error.to_string()),
    }
}

/// File systems whose other clients' writes the kernel does not see. Numbers: `linux/magic.h` and the file systems' own
/// headers.
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

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;

    super::super::conformance::holds!(Kernel);

    fn watching(directories: &[&str]) -> (tempfile::TempDir, Kernel) {
        let dir = tempfile::tempdir().expect("a directory");
        let mut kernel = Kernel::new(dir.path()).expect("inotify");
        for directory in directories {
            fs::create_dir_all(dir.path().join(directory)).expect("a directory");
            kernel.watch(Path::new(directory)).expect("it can be watched");
        }
        kernel.take();
        (dir, kernel)
    }

    #[test]
    fn appending_is_one_notice_a_file_however_it_is_done() {
        let (dir, mut kernel) = watching(&["a"]);
        let files = ["a/x", "a/y"].map(|name| dir.path().join(name));
        files.iter().for_each(|file| drop(File::create(file).expect("a file")));
        kernel.take();
        for file in files.iter().cycle().take(20) {
            let mut file = File::options().append(true).open(file).expect("the file");
            file.write_all(b"record").expect("space");
        }
        assert_eq!(kernel.take(), ["a/x", "a/y"].map(|path| Notice::Changed(path.into())));
        fs::read(&files[0]).expect("the file");
        assert_eq!(kernel.take(), [], "reading is nothing to look at");
    }

    #[test]
    fn a_directory_with_two_names_gives_notices_under_both() {
        let (dir, mut kernel) = watching(&["a"]);
        symlink("a", dir.path().join("link")).expect("a link");
        kernel.watch(Path::new("link")).expect("it can be watched");
        fs::write(dir.path().join("a/x"), "").expect("a file");
        assert_eq!(kernel.take(), ["a/x", "link/x"].map(|path| Notice::Appeared(path.into())));
        kernel.forget(Path::new("a"));
        fs::remove_file(dir.path().join("a/x")).expect("the file");
        assert_eq!(kernel.take(), [Notice::Gone("link/x".into())]);
    }

    #[test]
    fn what_happens_after_a_directory_moved_is_not_told_under_its_old_name() {
        let (dir, mut kernel) = watching(&["", "a", "a/b"]);
        fs::rename(dir.path().join("a"), dir.path().join("c")).expect("a directory");
        let told = kernel.take();
        assert!(told.contains(&Notice::Gone("a".into())) && told.contains(&Notice::Appeared("c".into())), "{told:?}");
        kernel.forget(Path::new("a"));
        assert_eq!(kernel.watched(), 1);
        fs::write(dir.path().join("c/b/x"), "").expect("a file");
        assert_eq!(kernel.take(), []);
    }

    #[test]
    fn more_than_the_queue_holds_is_an_overflow() {
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a limit");
        let limit: usize = limit.trim().parse().expect("a number");
        let (dir, mut kernel) = watching(&[""]);
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::write(&one, "").expect("a file");
        for _ in 0..=limit / 4 {
            fs::rename(&one, &two).expect("the file");
            fs::rename(&two, &one).expect("the file");
        }
        let mut overflowed = false;
        while kernel.wait(Duration::ZERO) {
            overflowed |= kernel.take().contains(&Notice::Overflow);
        }
        assert!(overflowed);
    }

    #[test]
    fn errors_of_the_kernel_are_told_apart() {
        let of = |errno: Errno| refusal(&errno.into());
        assert_eq!((of(Errno::NOSPC), of(Errno::NOENT)), (Refusal::Limit, Refusal::Absent));
        assert!(matches!(of(Errno::ACCESS), Refusal::Other(why) if why.contains("denied")));
    }
}
