//! A log directory on a local or mounted disk.
//!
//! Owns: walking it, with links followed and loops noticed. Must not know: what is in the files.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Discovery, Entry, Kind, LogFile, Logdir, Stat, run_of};

/// A log directory on a local or mounted disk. It need not exist yet.
#[derive(Debug, Clone)]
pub struct DiskLogdir {
    root: PathBuf,
}

/// Directories nested deeper are not looked into.
const MAX_DEPTH: usize = 64;

impl DiskLogdir {
    /// Takes the root.
    pub fn new(root: impl Into<PathBuf>) -> DiskLogdir {
        DiskLogdir { root: root.into() }
    }
}

impl Logdir for DiskLogdir {
    fn check(&self) -> io::Result<()> {
        let told = |error: io::Error| {
            io::Error::new(error.kind(), format!("the log directory {} cannot be read: {error}", self.root.display()))
        };
        fs::read_dir(&self.root).map(drop).map_err(told)
    }

    fn discover(&self, under: &Path) -> Discovery {
        let mut walk = Walk { root: &self.root, found: Discovery::default() };
        walk.directory(under);
        walk.found
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
}

/// An open file, and the name that it was opened by.
struct DiskFile(File, PathBuf);

impl LogFile for DiskFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        // The kernel refuses what no file can reach; a length in a file that lies may lead there.
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
        // The name itself must be the file, for a link to it may have been made by anybody.
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

struct Walk<'a> {
    root: &'a Path,
    found: Discovery,
}

impl Walk<'_> {
    fn directory(&mut self, relative: &Path) {
        let path = self.root.join(relative);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) => return self.problem(relative, &error),
        };
        let mut below = Vec::new();
        for entry in entries.filter_map(Result::ok) {
            let path = relative.join(entry.file_name());
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                below.push(path);
            } else if kind.is_symlink() {
                self.link(path, &mut below);
            } else if let Some(kind) = Kind::of(&path) {
                self.file(path, kind);
            }
        }
        if relative.components().count() < MAX_DEPTH {
            below.sort_unstable();
            below.iter().for_each(|path| self.directory(path));
        }
    }

    fn link(&mut self, path: PathBuf, below: &mut Vec<PathBuf>) {
        // A dangling link leads nowhere.
        let Ok(target) = fs::metadata(self.root.join(&path)) else { return };
        if !target.is_dir() {
            if let Some(kind) = Kind::of(&path) {
                self.file(path, kind);
            }
        } else if !self.is_above(&path, &target) {
            below.push(path);
        }
    }

    /// Whether a link leads to a directory that it is in, or that the log directory is in; only links can close a loop.
    fn is_above(&self, link: &Path, target: &Metadata) -> bool {
        let is_target = |path: &Path| {
            fs::metadata(path).is_ok_and(|above| (above.dev(), above.ino()) == (target.dev(), target.ino()))
        };
        let inside = link.ancestors().skip(1).any(|path| is_target(&self.root.join(path)));
        inside || fs::canonicalize(self.root).is_ok_and(|root| root.ancestors().skip(1).any(is_target))
    }

    fn file(&mut self, path: PathBuf, kind: Kind) {
        // It may be a socket or a pipe, or have just vanished.
        let metadata = fs::metadata(self.root.join(&path));
        if let Some(metadata) = metadata.ok().filter(Metadata::is_file) {
            self.found.entries.push(Entry { run: run_of(&path), kind, stat: stat(&metadata), path });
        }
    }

    fn problem(&mut self, relative: &Path, error: &io::Error) {
        if error.kind() != io::ErrorKind::NotFound && error.kind() != io::ErrorKind::NotADirectory {
            let path = self.root.join(relative);
            let message = format!("cannot read directory {}: {error}; what changed there is not seen", path.display());
            self.found.problems.push(message);
            self.found.unseen.push(relative.to_owned());
        }
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
        let mut walk = Walk { root: Path::new("/runs"), found: Discovery::default() };
        walk.problem(Path::new("a"), &io::ErrorKind::PermissionDenied.into());
        walk.problem(Path::new("b"), &io::ErrorKind::NotFound.into());
        assert_eq!(walk.found.unseen, [Path::new("a")]);
        assert!(walk.found.problems[0].contains("/runs/a"), "{:?}", walk.found.problems);
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
