//! Atomic file writes.
//!
//! Owns: the order of write, fsync and rename. Must not know: the content of files.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Only the owner may read these files, because commands and logs may contain secrets.
const PRIVATE: u32 = 0o600;

/// Creates a directory and its parents, accessible only to the owner.
pub(super) fn make_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Writes a file and replaces an existing one.
pub(super) fn replace(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let draft = write_draft(path, value)?;
    let moved = fs::rename(&draft, path);
    if moved.is_err() {
        let _ = fs::remove_file(&draft);
    }
    moved?;
    sync_parent(path)
}

/// Writes a new file; returns `false` and changes nothing if it already exists. If several processes try at once, one
/// succeeds.
pub(super) fn create(path: &Path, value: &impl Serialize) -> io::Result<bool> {
    let draft = write_draft(path, value)?;
    let linked = fs::hard_link(&draft, path);
    let _ = fs::remove_file(&draft);
    match linked {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a file; `None` if it does not exist.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Syncs the entries of a directory to disk.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_directory)
}

fn write_draft(path: &Path, value: &impl Serialize) -> io::Result<PathBuf> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{}.{:x}", std::process::id(), fastrand::u64(..)));
    let written = write_whole(&draft, &text);
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written.map(|()| draft)
}

fn write_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_to_create_a_file_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("started.json");
        assert!(create(&path, &1).unwrap());
        assert!(!create(&path, &2).unwrap());
        assert_eq!(read::<i32>(&path).unwrap(), Some(1));
        replace(&path, &3).unwrap();
        assert_eq!(read::<i32>(&path).unwrap(), Some(3));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
        assert_eq!(read::<i32>(&folder.path().join("none")).unwrap(), None);
    }
}
