//! Log directories of other machines, as their bytes arrive.
//!
//! Owns: a directory on this machine, and the only way to write to it; its files are copies that only grow or are
//! replaced as a whole. Must not know: how the bytes arrive, and the content of event files.
//!
//! Nothing but the copies is stored. How much of a file is here is the size of its copy, and which file it is a copy of
//! follows from the copy's first bytes, so that sender and receiver can be killed at any point.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::disk::{DiskLogdir, MAX_DEPTH};
use super::{Directories, Discovery, Kind, LogFile, Logdir, MAX_SIDE_FILE, Stat};

/// An event file is known by this many first bytes: its first record contains the time at which it was created.
pub const HEAD: usize = 32;

/// The longest chunk, in bytes.
pub const LONGEST_CHUNK: usize = 1 << 20;

/// So many bytes of the file system stay free: the database may be on it.
const KEPT_FREE: u64 = 1 << 30;

/// The longest path and the longest name that common file systems accept, in bytes.
const LONGEST_PATH: usize = 4000;
const LONGEST_NAME: usize = 255;

/// Some bytes of a file.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// Path relative to the directory.
    pub path: &'a str,
    /// Which file it is: [`identity`] of its first [`HEAD`] bytes, or of a whole side file.
    pub identity: &'a str,
    /// Where the bytes belong.
    pub offset: u64,
    /// Whether the file starts over although its first bytes are the same: it has become shorter.
    pub restart: bool,
    /// When the file was last modified.
    pub modified: SystemTime,
    /// The bytes. None at offset 0 ask how much is here.
    pub bytes: &'a [u8],
}

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is on disk, as is everything before this offset.
    Kept(u64),
    /// The chunk that is needed starts at this offset.
    From(u64),
}

/// Why a chunk cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Its path leads elsewhere, or cannot be a path.
    #[error("`{0}` cannot be the path of a forwarded file")]
    Path(String),
    /// Such files are not read.
    #[error("`{0}` is neither an event file nor a file that is read next to one")]
    Kind(String),
    /// It is longer than it may be, or contradicts its own identity.
    #[error("{0}")]
    Chunk(&'static str),
    /// There is no room.
    #[error("no room for forwarded files: {0}")]
    Full(io::Error),
    /// It could not be stored for another reason.
    #[error("could not store a forwarded file: {0}")]
    Io(#[from] io::Error),
}

/// Which file these first bytes belong to.
pub fn identity(head: &[u8]) -> String {
    format!("{:08x}", crc32c::crc32c(head))
}

/// A directory for the files of other machines. It can be read as a [`Logdir`] by [`Spool::logdir`].
#[derive(Debug)]
pub struct Spool {
    root: PathBuf,
    /// Held while a copy changes.
    writing: Mutex<()>,
}

impl Spool {
    /// The directory at a path, created if it is missing.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn open(root: &Path) -> io::Result<Spool> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        Ok(Spool { root: root.to_owned(), writing: Mutex::default() })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// For reading.
    pub fn logdir(root: &Path) -> impl Logdir + use<> {
        Spooled(DiskLogdir::new(root))
    }

    /// Takes the next bytes of a file. When this returns, they are on disk.
    ///
    /// # Errors
    /// They cannot be taken. If the disk became full meanwhile, the copy may end with some of them.
    pub fn take(&self, chunk: &Chunk<'_>) -> Result<Taken, SpoolError> {
        let path = checked(chunk.path)?;
        let kind = Kind::of(&path).ok_or_else(|| SpoolError::Kind(chunk.path.to_owned()))?;
        if chunk.bytes.len() > LONGEST_CHUNK {
            return Err(SpoolError::Chunk("a chunk is at most 1 MiB long"));
        }
        if !chunk.bytes.is_empty() {
            self.check_room()?;
        }
        // The lock protects no data of its own, so that a panic elsewhere leaves nothing half done.
        let _whole = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match kind {
            Kind::Side(_) => self.take_side_file(&path, chunk),
            Kind::Events => self.take_events(&path, chunk),
        }
    }

    /// A side file is replaced whenever it differs.
    fn take_side_file(&self, path: &Path, chunk: &Chunk<'_>) -> Result<Taken, SpoolError> {
        let size = chunk.bytes.len() as u64;
        if chunk.offset != 0 || size > MAX_SIDE_FILE || identity(chunk.bytes) != chunk.identity {
            return Err(SpoolError::Chunk("a side file is sent as a whole, with the identity of its bytes"));
        }
        if fs::read(self.root.join(path)).is_ok_and(|known| known == chunk.bytes) {
            return Ok(Taken::Kept(size));
        }
        self.replace(path, chunk)?;
        Ok(Taken::Kept(size))
    }

    fn take_events(&self, path: &Path, chunk: &Chunk<'_>) -> Result<Taken, SpoolError> {
        let known = self.known(path)?;
        let same = known.as_ref().is_some_and(|(_, known)| known == chunk.identity);
        let end = known.map_or(0, |(end, _)| end);
        match (same && !chunk.restart, chunk.offset) {
            (true, offset) if offset == end => self.append(path, chunk, end).map(Taken::Kept),
            (true, _) => Ok(Taken::From(end)),
            (false, 0) if chunk.bytes.is_empty() => Ok(Taken::From(0)),
            (false, 0) => {
                if chunk.bytes.len() < HEAD || identity(&chunk.bytes[..HEAD]) != chunk.identity {
                    return Err(SpoolError::Chunk("the first bytes do not have the identity of the file"));
                }
                self.replace(path, chunk)?;
                Ok(Taken::Kept(chunk.bytes.len() as u64))
            }
            (false, _) => Ok(Taken::From(0)),
        }
    }

    /// The size of a copy, and which file it is of.
    fn known(&self, path: &Path) -> io::Result<Option<(u64, String)>> {
        let file = match File::open(self.root.join(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut head = Vec::with_capacity(HEAD);
        (&file).take(HEAD as u64).read_to_end(&mut head)?;
        Ok(Some((file.metadata()?.len(), identity(&head))))
    }

    /// Adds bytes to a copy. If the disk becomes full, those that are on it stay: they are the right ones, and a copy that
    /// becomes shorter would be read anew.
    fn append(&self, path: &Path, chunk: &Chunk<'_>, end: u64) -> Result<u64, SpoolError> {
        if chunk.bytes.is_empty() {
            return Ok(end);
        }
        let mut file = OpenOptions::new().append(true).open(self.root.join(path))?;
        let written = file.write_all(chunk.bytes);
        if let Err(error) = file.sync_data() {
            // It is unknown which of these bytes are on disk.
            file.set_len(end)?;
            return Err(of_write(error));
        }
        written.map_err(of_write)?;
        file.set_modified(chunk.modified)?;
        Ok(end + chunk.bytes.len() as u64)
    }

    /// Puts a new copy in place. A reader that has the old one open goes on reading it.
    fn replace(&self, path: &Path, chunk: &Chunk<'_>) -> Result<(), SpoolError> {
        let place = self.root.join(path);
        let folder = place.parent().unwrap_or(&self.root);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(of_write)?;
        let mut new = tempfile::NamedTempFile::new_in(folder).map_err(of_write)?;
        new.write_all(chunk.bytes).map_err(of_write)?;
        new.as_file().set_modified(chunk.modified)?;
        new.as_file().sync_all().map_err(of_write)?;
        new.persist(&place).map_err(|error| of_write(error.error))?;
        Ok(File::open(folder)?.sync_all()?)
    }

    fn check_room(&self) -> Result<(), SpoolError> {
        let disk = rustix::fs::statvfs(&self.root).map_err(io::Error::from)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < KEPT_FREE {
            return Err(SpoolError::Full(io::Error::other("less than 1 GiB is free")));
        }
        Ok(())
    }
}

fn of_write(error: io::Error) -> SpoolError {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => SpoolError::Full(error),
        _ => SpoolError::Io(error),
    }
}

/// A path that stays below the directory, in names that every file system accepts.
fn checked(path: &str) -> Result<PathBuf, SpoolError> {
    let fits = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.len() <= LONGEST_NAME
            && !part.contains(char::is_control)
    };
    let parts = path.split('/');
    if path.len() > LONGEST_PATH || parts.clone().count() > MAX_DEPTH || !parts.clone().all(fits) {
        let shown = path.chars().filter(|c| !c.is_control()).take(200).collect();
        return Err(SpoolError::Path(shown));
    }
    Ok(parts.collect())
}

/// The time of a modification, from seconds since the Unix epoch.
pub fn modified_at(seconds: f64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// The copies for reading. This process wrote them for others, so that none has an owner.
#[derive(Debug)]
struct Spooled(DiskLogdir);

struct Unowned(Box<dyn LogFile>);

impl Logdir for Spooled {
    fn check(&self) -> io::Result<()> {
        self.0.check()
    }

    fn discover(&self, under: &Path) -> Discovery {
        self.0.discover(under)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.0.stat(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(Unowned(self.0.open(path)?)))
    }

    fn local_root(&self) -> Option<&Path> {
        self.0.local_root()
    }

    fn directories(&self) -> Option<&dyn Directories> {
        self.0.directories()
    }
}

impl LogFile for Unowned {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn stat(&self) -> io::Result<Stat> {
        self.0.stat()
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{Subject, holds};
    use super::*;

    const HELLO: &[u8] = b"the first record has 40 bytes, and more follow";

    fn chunk<'a>(path: &'a str, identity: &'a str, offset: u64, bytes: &'a [u8]) -> Chunk<'a> {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        Chunk { path, identity, offset, restart: false, modified, bytes }
    }

    struct Forwarded(tempfile::TempDir, Spool, Box<dyn Logdir>);

    fn spool() -> Forwarded {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("spool");
        let spool = Spool::open(&root).expect("a spool");
        Forwarded(dir, spool, Box::new(Spool::logdir(&root)))
    }

    impl Subject for Forwarded {
        fn logdir(&self) -> &dyn Logdir {
            &*self.2
        }

        fn set(&self, path: &str, contents: Option<&[u8]>) {
            let checked = checked(path).expect("a path");
            match contents {
                Some(bytes) if Kind::of(&checked).is_some() => {
                    let whole = Chunk { modified: SystemTime::now(), ..chunk(path, "", 0, bytes) };
                    self.1.replace(&checked, &whole).expect("a copy");
                }
                Some(_) => {}
                None => fs::remove_file(self.1.root.join(path)).expect("a file"),
            }
        }
    }

    #[test]
    fn forwarded_files_are_a_log_directory() {
        holds(spool);
    }

    #[test]
    fn bytes_are_taken_once_in_order_and_the_end_is_the_size() {
        let Forwarded(_dir, spool, logdir) = spool();
        let id = identity(&HELLO[..HEAD]);
        let take = |offset: u64, bytes: &[u8]| spool.take(&chunk("n/x.tfevents", &id, offset, bytes)).expect("taken");
        assert_eq!(take(0, b""), Taken::From(0), "nothing is here");
        assert_eq!(take(7, &HELLO[7..]), Taken::From(0));
        assert_eq!(take(0, &HELLO[..HEAD]), Taken::Kept(32));
        assert_eq!(take(0, b""), Taken::From(32));
        assert_eq!(take(0, &HELLO[..HEAD]), Taken::From(32), "sent again");
        assert_eq!(take(40, &HELLO[40..]), Taken::From(32), "a gap");
        assert_eq!(take(32, &HELLO[32..]), Taken::Kept(HELLO.len() as u64));
        let file = logdir.open(Path::new("n/x.tfevents")).expect("the file");
        let mut buffer = [0; 100];
        let got = file.read_at(&mut buffer, 0).expect("bytes");
        assert_eq!((&buffer[..got], file.owner()), (HELLO, None));
        assert_eq!(file.stat().expect("its state").modified, 1_000_000_000_000_000, "as where it was written");
    }

    #[test]
    fn another_file_under_the_name_and_a_shorter_one_start_over() {
        let Forwarded(_dir, spool, logdir) = spool();
        let (id, other) = (identity(&HELLO[..HEAD]), identity(&[7; HEAD]));
        let stat = || logdir.stat(Path::new("x.tfevents")).expect("its state");
        spool.take(&chunk("x.tfevents", &id, 0, HELLO)).expect("taken");
        let first = stat();
        assert_eq!(spool.take(&chunk("x.tfevents", &other, 9, &[7; 9])).expect("asked"), Taken::From(0));
        assert_eq!(spool.take(&chunk("x.tfevents", &other, 0, &[7; 40])).expect("taken"), Taken::Kept(40));
        assert_ne!(stat().identity, first.identity, "a reader sees that it is another file");
        spool.take(&chunk("x.tfevents", &id, 0, HELLO)).expect("taken");
        let shorter = Chunk { restart: true, ..chunk("x.tfevents", &id, 0, &HELLO[..HEAD]) };
        assert_eq!(spool.take(&shorter).expect("taken"), Taken::Kept(32));
        assert_eq!(stat().size, 32);
        let wrong = spool.take(&chunk("y.tfevents", &id, 0, &[7; 40]));
        assert!(matches!(wrong, Err(SpoolError::Chunk(_))), "{wrong:?}");
    }

    #[test]
    fn side_files_are_replaced_as_a_whole() {
        let Forwarded(_dir, spool, logdir) = spool();
        for text in ["lr: 0.1\n", "lr: 0.2\n", "lr: 0.2\n"] {
            let id = identity(text.as_bytes());
            let taken = spool.take(&chunk("a/hparams.yaml", &id, 0, text.as_bytes())).expect("taken");
            assert_eq!(taken, Taken::Kept(8));
        }
        assert_eq!(logdir.stat(Path::new("a/hparams.yaml")).expect("its state").size, 8);
    }

    #[test]
    fn no_path_leads_out_and_nothing_else_is_stored() {
        let Forwarded(dir, spool, _) = spool();
        let long = format!("{}/x.tfevents", "d/".repeat(100));
        let name = format!("{}.tfevents", "x".repeat(300));
        let refused = ["", "/x.tfevents", "../x.tfevents", "a/../../x.tfevents", "a//x.tfevents", "./x.tfevents"];
        for path in refused.into_iter().chain(["a/\0.tfevents", "a/\n.tfevents", &long, &name]) {
            let result = spool.take(&chunk(path, "", 0, HELLO));
            assert!(matches!(result, Err(SpoolError::Path(_))), "{path:?}: {result:?}");
        }
        for path in ["a/train.py", "a/.bashrc", "nextrun/cases/a/x.tfevents"] {
            assert!(matches!(spool.take(&chunk(path, "", 0, HELLO)), Err(SpoolError::Kind(_))), "{path}");
        }
        let too_long = vec![0; LONGEST_CHUNK + 1];
        assert!(matches!(spool.take(&chunk("x.tfevents", "", 0, &too_long)), Err(SpoolError::Chunk(_))));
        let left =
            fs::read_dir(dir.path()).expect("the folder").count() + fs::read_dir(&spool.root).expect("it").count();
        assert_eq!(left, 1, "only the empty spool");
    }
}
