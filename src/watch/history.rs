//! The directories of a log directory and their old runs, with 100 bytes each.
//!
//! Owns: what is remembered about a skipped run. Must not know: storage, the content of files.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::logdir::Stat;

/// What is known of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Known {
    /// Its time when it was last listed, in nanoseconds since the Unix epoch; 0 if it has to be listed again.
    pub(super) changed: i64,
    /// Its identity on the storage.
    pub(super) identity: u64,
    /// The state of its files, if it is a run that is not read; 0 otherwise.
    pub(super) print: u64,
}

/// All directories by their paths relative to the root. Paths are compared as bytes, so that everything below a
/// directory is one range.
#[derive(Debug, Default)]
pub(super) struct History {
    directories: BTreeMap<Box<OsStr>, Known>,
    runs: usize,
    /// Where the turn stands in which all are listed.
    turn: Option<Box<OsStr>>,
}

/// The state of the files of a run in one number, whatever their order.
pub(super) fn print_of<'a>(files: impl Iterator<Item = (&'a Path, Stat)>) -> u64 {
    let one = |(path, stat): (&Path, Stat)| {
        let mut hasher = DefaultHasher::new();
        (path.file_name(), stat.size, stat.modified, stat.identity).hash(&mut hasher);
        hasher.finish()
    };
    files.map(one).fold(0, u64::wrapping_add).max(1)
}

/// `directory`, followed by one byte.
fn with(directory: &Path, byte: u8) -> OsString {
    let mut bytes = directory.as_os_str().as_bytes().to_vec();
    bytes.push(byte);
    OsString::from_vec(bytes)
}

impl History {
    pub(super) fn get(&self, directory: &Path) -> Option<Known> {
        self.directories.get(directory.as_os_str()).copied()
    }

    pub(super) fn set(&mut self, directory: &Path, known: Known) {
        let before = match self.directories.get_mut(directory.as_os_str()) {
            Some(place) => std::mem::replace(place, known),
            None => {
                self.directories.insert(directory.as_os_str().into(), known);
                Known::default()
            }
        };
        self.runs += usize::from(known.print != 0);
        self.runs -= usize::from(before.print != 0);
    }

    /// Notes the state of a run that is not read; 0 if it is read, or none.
    pub(super) fn set_print(&mut self, directory: &Path, print: u64) {
        match self.get(directory) {
            Some(known) => self.set(directory, Known { print, ..known }),
            None if print == 0 => {}
            None => self.set(directory, Known { print, ..Known::default() }),
        }
    }

    /// How many runs are not read.
    pub(super) fn runs(&self) -> usize {
        self.runs
    }

    /// Forgets a directory and all below it.
    pub(super) fn forget(&mut self, directory: &Path) {
        let gone: Vec<Box<OsStr>> = self.under(directory).map(|(path, _)| path.into()).collect();
        for path in gone {
            if let Some(known) = self.directories.remove(&path) {
                self.runs -= usize::from(known.print != 0);
            }
        }
    }

    /// A directory, and all below it.
    fn under(&self, directory: &Path) -> impl Iterator<Item = (&OsStr, Known)> {
        let itself = self.directories.get_key_value(directory.as_os_str());
        let below = if directory.as_os_str().is_empty() {
            self.directories.range::<OsStr, _>((Excluded(OsStr::new("")), Unbounded))
        } else {
            // `0` is the byte after `/`.
            let (from, to) = (with(directory, b'/'), with(directory, b'0'));
            self.directories.range::<OsStr, _>((Included(&*from), Excluded(&*to)))
        };
        itself.into_iter().chain(below).map(|(path, known)| (&**path, *known))
    }

    /// Runs at or below a directory that are not read.
    pub(super) fn runs_under(&self, directory: &Path) -> impl Iterator<Item = &Path> {
        self.under(directory).filter(|(_, known)| known.print != 0).map(|(path, _)| Path::new(path))
    }

    /// Directories directly in a directory.
    pub(super) fn children(&self, directory: &Path) -> Vec<PathBuf> {
        let prefix = if directory.as_os_str().is_empty() { 0 } else { directory.as_os_str().len() + 1 };
        let mut children = Vec::new();
        let mut from = if prefix == 0 { Excluded(OsString::new()) } else { Included(with(directory, b'/')) };
        let end = if prefix == 0 { Unbounded } else { Excluded(with(directory, b'0')) };
        while let Some((path, _)) =
            self.directories.range::<OsStr, _>((from.as_ref().map(|x| &**x), end.as_ref().map(|x| &**x))).next()
        {
            let below = &path.as_bytes()[prefix..];
            from = match below.iter().position(|byte| *byte == b'/') {
                // What is deeper is passed over at once.
                Some(length) => Included(with(Path::new(OsStr::from_bytes(&path.as_bytes()[..prefix + length])), b'0')),
                None => {
                    children.push(PathBuf::from(&**path));
                    Excluded(OsString::from(&**path))
                }
            };
        }
        children
    }

    /// The directories that are to be listed: those for which `changed` gives another time than they were listed at, and
    /// this share of all in turn.
    pub(super) fn due_for_listing(&mut self, share: f64, changed: impl Fn(&Path) -> Option<i64>) -> Vec<PathBuf> {
        let is_new = |known: &Known, path: &Path| known.changed == 0 || changed(path) != Some(known.changed);
        let paths = self.directories.iter().filter(|(path, known)| is_new(known, Path::new(&**path)));
        let mut paths: Vec<PathBuf> = paths.map(|(path, _)| PathBuf::from(&**path)).collect();
        let turn = (self.directories.len() as f64 * share.clamp(0.0, 1.0)).ceil() as usize;
        let from = self.turn.as_deref().map_or(Unbounded, Excluded);
        let ahead = self.directories.range::<OsStr, _>((from, Unbounded)).chain(&self.directories);
        paths.extend(ahead.take(turn).map(|(path, _)| PathBuf::from(&**path)));
        if let Some(last) = paths.last().filter(|_| turn > 0) {
            self.turn = Some(last.as_os_str().into());
        }
        paths.sort_unstable();
        paths.dedup();
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(paths: &[&str]) -> History {
        let mut history = History::default();
        let known = |print| Known { changed: 5, identity: 1, print };
        paths.iter().for_each(|path| history.set(Path::new(path), known(u64::from(path.contains('r')))));
        history
    }

    fn shown<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Vec<String> {
        paths.into_iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn what_is_below_a_directory_is_found_and_nothing_beside_it() {
        let mut history = history(&["", "a", "a-r", "a/r1", "a/r1/x", "a/r1/x/r", "a/r2", "a0", "b/r"]);
        assert_eq!(shown(history.runs_under(Path::new("a"))), ["a/r1", "a/r1/x", "a/r1/x/r", "a/r2"]);
        assert_eq!(shown(history.children(Path::new("a")).iter().map(|p| &**p)), ["a/r1", "a/r2"]);
        assert_eq!(shown(history.children(Path::new("")).iter().map(|p| &**p)), ["a", "a-r", "a0"]);
        assert_eq!(history.runs(), 6);
        history.forget(Path::new("a"));
        assert_eq!(shown(history.runs_under(Path::new(""))), ["a-r", "b/r"]);
        assert_eq!(history.runs(), 2);
    }

    #[test]
    fn a_run_that_is_read_is_counted_no_more() {
        let mut history = history(&["", "r"]);
        history.set_print(Path::new("r"), 0);
        history.set_print(Path::new("r"), 0);
        assert_eq!(history.runs(), 0);
        history.set_print(Path::new("new"), 7);
        assert_eq!((history.runs(), history.get(Path::new("new")).map(|known| known.print)), (1, Some(7)));
    }

    #[test]
    fn what_changed_is_listed_at_once_and_the_rest_in_turn() {
        let mut history = history(&["", "a", "b", "c", "d"]);
        let none = |_: &Path| Some(5);
        assert_eq!(
            shown(
                history.due_for_listing(0.0, |path| Some(if path.ends_with("c") { 6 } else { 5 })).iter().map(|p| &**p)
            ),
            ["c"]
        );
        let mut all = Vec::new();
        for _ in 0..3 {
            all.extend(history.due_for_listing(0.4, none));
        }
        assert_eq!(shown(all.iter().map(|p| &**p)), ["", "a", "b", "c", "", "d"]);
        assert_eq!(history.due_for_listing(1.0, none).len(), 5);
        history.set(Path::new("b"), Known::default());
        assert_eq!(shown(history.due_for_listing(0.0, none).iter().map(|p| &**p)), ["b"]);
        assert_eq!(history.due_for_listing(0.0, |_| None).len(), 5);
    }

    #[test]
    fn any_change_of_a_file_changes_the_print_and_the_order_does_not() {
        let stat = |size, modified| Stat { size, modified, identity: (1, 2) };
        let print = |files: &[(&str, Stat)]| print_of(files.iter().map(|(path, stat)| (Path::new(*path), *stat)));
        let before = print(&[("x", stat(1, 1)), ("y", stat(2, 2))]);
        assert_eq!(before, print(&[("y", stat(2, 2)), ("x", stat(1, 1))]));
        for after in [[("x", stat(2, 1)), ("y", stat(2, 2))], [("x", stat(1, 3)), ("y", stat(2, 2))]] {
            assert_ne!(before, print(&after));
        }
        assert_ne!(before, print(&[("x", stat(1, 1))]));
        assert_ne!(print(&[]), 0);
    }
}
