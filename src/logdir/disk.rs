//! A log directory on a local or mounted disk.
//!
//! Owns: walking it, following links and detecting loops. Must not know: the content of files.

use std::collections::HashSet;
use std::fs::{self, DirEntry, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{Below, Directories, Discovery, Doors, Entry, Failure, Kind, Listing, LogFile, Logdir, Stat};

/// A log directory on a local or mounted disk. It need not exist yet.
#[derive(Debug, Clone)]
pub struct DiskLogdir {
    root: PathBuf,
    /// Whether the times of directories can be relied on.
    times: OnceLock<bool>,
}

/// Directories nested deeper are not looked into.
pub(super) const MAX_DEPTH: usize = 64;

/// File systems in user space (gcsfuse, s3fs) invent the times of their directories. `linux/magic.h`.
const FUSE: u64 = 0x6573_5546;

impl DiskLogdir {
    /// Takes the root.
    pub fn new(root: impl Into<PathBuf>) -> DiskLogdir {
        DiskLogdir { root: root.into(), times: OnceLock::new() }
    }

    fn tells_times(&self) -> bool {
        let root = &self.root;
        // The type is signed or unsigned by platform; the magic numbers have 32 bits.
        let made_up = || rustix::fs::statfs(root).is_ok_and(|fs| fs.f_type as u64 & 0xffff_ffff == FUSE);
        *self.times.get_or_init(|| !made_up())
    }

    /// The target of a link, if it is outside of the log directory and not above the link. Targets inside are found
    /// under their own names, and targets above would cause endless recursion.
    fn outside(&self, link: &Path) -> Option<(PathBuf, Metadata)> {
        let path = self.root.join(link);
        // A dangling link leads nowhere.
        let target = fs::canonicalize(&path).ok()?;
        let root = fs::canonicalize(&self.root).ok()?;
        let from = fs::canonicalize(path.parent()?).ok()?;
        if target.starts_with(&root) || root.starts_with(&target) || from.starts_with(&target) {
            return None;
        }
        let metadata = fs::metadata(&target).ok()?;
        Some((target, metadata))
    }
}

impl Logdir for DiskLogdir {
    fn check(&self) -> io::Result<()> {
        let told = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot read the log directory {}: {error}", self.root.display()))
        };
        fs::read_dir(&self.root).map(drop).map_err(told)
    }

    fn discover(&self, under: &Path) -> Discovery {
        let (mut found, mut doors, mut seen) = (Discovery::default(), Doors::default(), HashSet::new());
        let mut ahead = vec![Below { path: under.to_owned(), target: None }];
        while let Some(directory) = ahead.pop() {
            if !doors.opens(&directory) {
                continue;
            }
            let listing = self.list(&directory.path);
            if let Some(Failure::Unseen(problem)) = listing.failure {
                found.problems.push(problem);
                found.unseen.push(directory.path);
                continue;
            }
            // One file under two names is one file.
            found.entries.extend(listing.entries.into_iter().filter(|entry| seen.insert(entry.stat.identity)));
            ahead.extend(listing.below.into_iter().rev());
        }
        found
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        fs::metadata(self.root.join(path)).map(|metadata| stat(&metadata))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        // A pipe with the name of an event file must not hold the reader up.
        let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let path = self.root.join(path);
        let file = File::options().read(true).custom_flags(nonblock).open(&path)?;
        Ok(Box::new(DiskFile(file, path)))
    }

    fn local_root(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn directories(&self) -> Option<&dyn Directories> {
        Some(self)
    }
}

impl Directories for DiskLogdir {
    fn list(&self, directory: &Path) -> Listing {
        self.try_list(directory).unwrap_or_else(|error| {
            let absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
            let told = || {
                let path = self.root.join(directory);
                format!("cannot read directory {}: {error}; changes in it are not detected", path.display())
            };
            let failure = if absent { Failure::Gone } else { Failure::Unseen(told()) };
            Listing { failure: Some(failure), ..Listing::default() }
        })
    }

    fn changed(&self, directory: &Path) -> Option<i64> {
        if !self.tells_times() {
            return None;
        }
        fs::metadata(self.root.join(directory)).ok().map(|metadata| time_of(&metadata))
    }
}

impl DiskLogdir {
    fn try_list(&self, directory: &Path) -> io::Result<Listing> {
        let path = self.root.join(directory);
        // Before the names are read: one that is added meanwhile makes the directory newer.
        let metadata = fs::metadata(&path)?;
        let changed = self.tells_times().then(|| time_of(&metadata));
        let mut listing = Listing { changed, identity: metadata.ino(), ..Listing::default() };
        let is_deep = directory.components().count() >= MAX_DEPTH;
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_symlink() {
                self.link(path, &mut listing);
            } else if !kind.is_dir() {
                listing.entries.extend(Kind::of(&path).and_then(|kind| file(&entry, path, kind)));
            } else if !is_deep {
                listing.below.push(Below { path, target: None });
            }
        }
        listing.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        listing.below.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(listing)
    }

    fn link(&self, path: PathBuf, listing: &mut Listing) {
        let Some((target, metadata)) = self.outside(&path) else { return };
        if metadata.is_dir() && path.components().count() <= MAX_DEPTH {
            listing.below.push(Below { path, target: Some(target) });
        } else if let Some(kind) = Kind::of(&path).filter(|_| metadata.is_file()) {
            listing.entries.push(Entry { kind, stat: stat(&metadata), path });
        }
    }
}

/// A file worth reading; it may be a socket or a pipe, or have just vanished.
fn file(entry: &DirEntry, path: PathBuf, kind: Kind) -> Option<Entry> {
    let metadata = entry.metadata().ok().filter(Metadata::is_file)?;
    Some(Entry { kind, stat: stat(&metadata), path })
}

fn time_of(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// An open file, and the name that it was opened by.
struct DiskFile(File, PathBuf);

impl LogFile for DiskFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        // The kernel rejects offsets beyond the maximum file size; a false length in a file may lead there.
        if i64::try_from(offset).is_err() {
            return Ok(0);
        }
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn stat(&self) -> io::Result<Stat> {
        self.0.metadata().map(|metadata| stat(&metadata))
    }

    fn owner(&self) -> Option<u32> {
        let file = self.0.metadata().ok()?;
        // The name itself must be the file, because anyone may have created a link to it.
        let named = fs::symlink_metadata(&self.1).ok()?;
        let folder = fs::metadata(self.1.parent()?).ok()?;
        let same = (named.dev(), named.ino()) == (file.dev(), file.ino());
        let private = |metadata: &Metadata| metadata.mode() & 0o022 == 0;
        let theirs = file.is_file() && file.nlink() == 1 && private(&file);
        let kept = private(&folder) && (folder.uid() == file.uid() || folder.uid() == 0);
        (same && theirs && kept).then(|| file.uid())
    }
}

fn stat(metadata: &Metadata) -> Stat {
    Stat {
        size: metadata.len(),
        modified: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        identity: (metadata.dev(), metadata.ino()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::conformance::{Subject, holds};
    use super::*;

    fn paths(logdir: &DiskLogdir) -> Vec<String> {
        let found = logdir.discover(Path::new(""));
        let mut paths: Vec<_> = found.entries.iter().map(|entry| entry.path.display().to_string()).collect();
        paths.sort();
        paths
    }

    struct OnDisk(tempfile::TempDir, DiskLogdir);

    impl Subject for OnDisk {
        fn logdir(&self) -> &dyn Logdir {
            &self.1
        }

        fn set(&self, path: &str, contents: Option<&[u8]>) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().expect("it is in one")).expect("a directory");
            match contents {
                Some(contents) => fs::write(path, contents),
                None => fs::remove_file(path),
            }
            .expect("a file");
        }
    }

    #[test]
    fn a_disk_is_a_log_directory() {
        holds(|| {
            let dir = tempfile::tempdir().expect("a directory");
            let logdir = DiskLogdir::new(dir.path());
            OnDisk(dir, logdir)
        });
    }

    #[test]
    fn a_directory_that_cannot_be_read_is_unseen_and_not_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let logdir = DiskLogdir::new(dir.path());
        // A name that exceeds the limit of the file system cannot be looked up.
        let name = "x".repeat(1000);
        let Some(Failure::Unseen(problem)) = logdir.list(Path::new(&name)).failure else { panic!("it was listed") };
        assert!(problem.contains(&name), "{problem}");
        assert_eq!(logdir.list(Path::new("gone")).failure, Some(Failure::Gone));
        assert_eq!(logdir.discover(Path::new(&name)).unseen, [Path::new(&name)]);
    }

    #[test]
    fn a_directory_that_does_not_exist_is_empty() {
        let dir = tempfile::tempdir().expect("a directory");
        let found = DiskLogdir::new(dir.path().join("later")).discover(Path::new(""));
        assert!(found.entries.is_empty() && found.problems.is_empty());
    }

    #[test]
    fn links_are_followed_and_loops_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let elsewhere = tempfile::tempdir().expect("a directory");
        fs::write(elsewhere.path().join("x.tfevents"), "").expect("a file");
        fs::create_dir(dir.path().join("a")).expect("a directory");
        symlink(elsewhere.path(), dir.path().join("linked")).expect("a link");
        symlink(dir.path(), dir.path().join("a/loop")).expect("a link");
        symlink(dir.path().parent().expect("it is in one"), dir.path().join("a/above")).expect("a link");
        symlink("nowhere.tfevents", dir.path().join("a/dangling.tfevents")).expect("a link");
        assert_eq!(paths(&DiskLogdir::new(dir.path())), ["linked/x.tfevents"]);
    }

    #[test]
    fn a_file_that_is_reached_twice_is_found_once_under_its_own_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let elsewhere = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(dir.path().join("z/sub")).expect("a directory");
        fs::create_dir(elsewhere.path().join("deep")).expect("a directory");
        for file in [dir.path().join("z/sub/x.tfevents"), elsewhere.path().join("deep/y.tfevents")] {
            fs::write(file, "").expect("a file");
        }
        symlink("z", dir.path().join("latest")).expect("a link");
        symlink("z/sub/x.tfevents", dir.path().join("x.tfevents")).expect("a link");
        symlink(elsewhere.path(), dir.path().join("a")).expect("a link");
        symlink(elsewhere.path(), dir.path().join("b")).expect("a link");
        symlink(elsewhere.path().join("deep"), dir.path().join("c")).expect("a link");
        fs::hard_link(dir.path().join("z/sub/x.tfevents"), dir.path().join("z/y.tfevents")).expect("a link");
        assert_eq!(paths(&DiskLogdir::new(dir.path())), ["a/deep/y.tfevents", "z/y.tfevents"]);
    }

    #[test]
    fn the_time_of_a_directory_changes_with_its_names_and_not_with_its_files() {
        let dir = tempfile::tempdir().expect("a directory");
        let logdir = DiskLogdir::new(dir.path());
        fs::write(dir.path().join("x.tfevents"), "").expect("a file");
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        File::open(dir.path()).and_then(|it| it.set_modified(long_ago)).expect("a time");
        assert_eq!(logdir.changed(Path::new("")), Some(1_000_000_000_000_000));
        fs::write(dir.path().join("x.tfevents"), "more").expect("a file");
        assert_eq!(logdir.list(Path::new("")).changed, Some(1_000_000_000_000_000));
        fs::write(dir.path().join("y.tfevents"), "").expect("a file");
        assert!(logdir.changed(Path::new("")).is_some_and(|time| time > 1_000_000_000_000_000));
    }

    #[test]
    fn a_file_has_an_owner_only_where_nobody_else_may_have_written_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let set = |name: &str, mode: u32| {
            let path = dir.path().join(name);
            if !path.exists() {
                fs::write(&path, "{}").expect("a file");
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        };
        let owner = |name: &str| {
            let file = DiskLogdir::new(dir.path()).open(Path::new(name)).expect("it can be read");
            file.owner()
        };
        set("own", 0o644);
        set(".", 0o755);
        assert_eq!(owner("own"), Some(rustix::process::getuid().as_raw()));
        set("group", 0o664);
        set("all", 0o646);
        symlink("own", dir.path().join("link")).expect("a link");
        assert_eq!(["group", "all", "link"].map(owner), [None; 3]);
        set(".", 0o775);
        assert_eq!(owner("own"), None, "others may have put it there");
        set(".", 0o755);
        fs::hard_link(dir.path().join("own"), dir.path().join("second")).expect("a link");
        assert_eq!(["own", "second"].map(owner), [None; 2]);
    }

    #[test]
    fn what_is_no_regular_file_is_no_event_file() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("dir.tfevents")).expect("a directory");
        let _listener = std::os::unix::net::UnixListener::bind(dir.path().join("sock.tfevents")).expect("a socket");
        assert!(paths(&DiskLogdir::new(dir.path())).is_empty());
    }
}
