//! The location of event files and how to read them: the only access to storage.
//!
//! Owns: which names are event files, which directory is which run, and which other files are read. Must not know: the
//! content of records.

#[cfg(test)]
mod conformance;
mod disk;
mod doors;
mod object;
mod place;
mod side;
mod spool;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

pub use disk::DiskLogdir;
pub use doors::Doors;
pub use object::ObjectLogdir;
pub use place::{Bucket, Place, PlaceError};
pub use side::{MAX_SIDE_FILE, SideFile, hyperparameters, launched};
pub use spool::{Chunk, HEAD, LONGEST_CHUNK, Spool, SpoolError, Taken, identity, modified_at};

use crate::series::RunName;

/// A location with runs.
pub trait Logdir: Send + Sync {
    /// Whether it exists and can be read, for callers that need to know before the first scan.
    ///
    /// # Errors
    ///
    /// Why nothing will be found, for people.
    fn check(&self) -> io::Result<()>;

    /// All relevant files at `under` (a path relative to the root; empty for all) and below it. A directory that does
    /// not exist or cannot be read contains none; errors are reported in [`Discovery::problems`].
    fn discover(&self, under: &Path) -> Discovery;

    /// The current state of a file.
    ///
    /// # Errors
    ///
    /// Errors of the storage; `NotFound` is a file that vanished.
    fn stat(&self, path: &Path) -> io::Result<Stat>;

    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// Errors of the storage.
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;

    /// Its path on a local disk, if it has one, for notifications.
    fn local_root(&self) -> Option<&Path>;

    /// Access to individual directories, if supported, so that unchanged ones need not be listed again.
    fn directories(&self) -> Option<&dyn Directories> {
        None
    }
}

/// A storage whose directories can be listed individually.
pub trait Directories {
    /// The content of a directory (relative to the root), without its subdirectories.
    fn list(&self, directory: &Path) -> Listing;

    /// When a name was last added to or removed from a directory, in nanoseconds since the Unix epoch; appending to a
    /// file does not count. `None` if this is unknown.
    fn changed(&self, directory: &Path) -> Option<i64>;
}

/// The content of one directory.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Files worth reading, in the order of their names.
    pub entries: Vec<Entry>,
    /// Directories in it, in the order of their names.
    pub below: Vec<Below>,
    /// When it last changed, as [`Directories::changed`] says.
    pub changed: Option<i64>,
    /// Its identity on this storage.
    pub identity: u64,
    /// Why it could not be listed.
    pub failure: Option<Failure>,
}

/// A directory in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// Path relative to the root of the log directory.
    pub path: PathBuf,
    /// For a link, its target: a directory outside of the log directory.
    pub target: Option<PathBuf>,
}

/// Why a directory could not be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is no such directory.
    Gone,
    /// It may be there; why it cannot be read, for people.
    Unseen(String),
}

/// An open file.
pub trait LogFile: Send {
    /// Fills the front of `buffer` from `offset` on; fewer bytes, or none, at the end of the file.
    ///
    /// # Errors
    ///
    /// As the storage has it.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The state of this very file, whatever its name is now.
    ///
    /// # Errors
    ///
    /// As the storage has it.
    fn stat(&self) -> io::Result<Stat>;

    /// The only user who may have written it: it is a regular file under this name, without other names, not writable
    /// by a group or others, in a directory with the same properties. `None` if that is not true, or unknown.
    fn owner(&self) -> Option<u32> {
        None
    }

    /// Whether its bytes are fixed for its [`Stat`], so that rereading them is unnecessary.
    fn is_version(&self) -> bool {
        false
    }
}

/// The identity and size of the file behind a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since the Unix epoch.
    pub modified: i128,
    /// Identity on this storage: another file under the same name has another one.
    pub identity: (u64, u64),
}

/// A file worth reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path relative to the root of the log directory.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Its state when it was found.
    pub stat: Stat,
}

impl Entry {
    /// The run that it belongs to: its directory.
    pub fn run(&self) -> RunName {
        run_of(&self.path)
    }
}

/// The type of a file, according to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Events.
    Events,
    /// A file next to event files that is read as a whole.
    Side(SideFile),
}

impl Kind {
    /// The type of a file with this name; `None` if it is not read.
    pub fn of(path: &Path) -> Option<Kind> {
        let name = path.file_name()?.to_string_lossy();
        if is_of_a_case(path) {
            return None;
        }
        // `._*` are AppleDouble files that macOS leaves on foreign file systems; an empty profile says nothing.
        let events = name.contains("tfevents") && !name.ends_with(".profile-empty") && !name.starts_with("._");
        if events { Some(Kind::Events) } else { SideFile::of(&name).map(Kind::Side) }
    }
}

/// Whether a file is one that nextrun wrote for TensorBoard to show its cases (`nextrun/cases`): no job.
fn is_of_a_case(path: &Path) -> bool {
    let mut parts = path.components().map(|part| part.as_os_str());
    let mut before = parts.next();
    parts.any(|part| before.replace(part).is_some_and(|b| b == "nextrun") && part == "cases")
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Discovery {
    /// Files, each directory's together.
    pub entries: Vec<Entry>,
    /// What could not be read, for people.
    pub problems: Vec<String>,
    /// Directories that could not be read completely: missing entries may still exist.
    pub unseen: Vec<PathBuf>,
}

/// The log directory at a place. It need not exist yet.
///
/// # Errors
///
/// The environment `variables` for clients of object stores are invalid.
pub fn logdir_at(place: &Place, variables: &BTreeMap<String, String>) -> io::Result<Box<dyn Logdir>> {
    Ok(match place {
        Place::Disk(path) => Box::new(DiskLogdir::new(path)),
        Place::Forwarded(path) => Box::new(Spool::logdir(path)),
        Place::Objects(bucket) => Box::new(ObjectLogdir::new(bucket, variables)?),
    })
}

/// The run of a file: its directory, relative to the root.
pub fn run_of(path: &Path) -> RunName {
    let parent = path.parent().unwrap_or(Path::new(""));
    let parts: Vec<_> = parent.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    RunName::new(&parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_files_are_known_by_their_name() {
        for (name, expected) in [
            ("events.out.tfevents.1700000000.host.12.0", Some(Kind::Events)),
            ("events.out.tfevents.1700000000.host.v2", Some(Kind::Events)),
            ("my.tfevents", Some(Kind::Events)),
            ("events.out.tfevents.1700000000.host.profile-empty", None),
            ("._events.out.tfevents.1700000000.host", None),
            ("hparams.yaml", Some(Kind::Side(SideFile::HparamsYaml))),
            ("args.yaml", Some(Kind::Side(SideFile::ArgsYaml))),
            ("nextrun.json", Some(Kind::Side(SideFile::NextrunJson))),
            ("checkpoint.pt", None),
        ] {
            assert_eq!(Kind::of(&Path::new("a/b").join(name)), expected, "{name}");
        }
    }

    #[test]
    fn what_nextrun_wrote_for_tensorboard_is_no_job() {
        for (path, expected) in [
            ("nextrun/cases/a-1/events.out.tfevents.1", None),
            ("deeper/nextrun/cases/a-1/events.out.tfevents.1", None),
            ("nextrun/a-1/01-control/events.out.tfevents.1", Some(Kind::Events)),
            ("cases/events.out.tfevents.1", Some(Kind::Events)),
            ("mynextrun/cases/events.out.tfevents.1", Some(Kind::Events)),
        ] {
            assert_eq!(Kind::of(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_run_is_the_directory_of_its_files() {
        assert_eq!(run_of(Path::new("a/b/events.tfevents")).as_str(), "a/b");
        assert_eq!(run_of(Path::new("events.tfevents")).as_str(), ".");
    }
}
