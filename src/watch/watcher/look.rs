//! Scans for changes: which directories are listed, and how the results are handled.
//!
//! Owns: new, changed and vanished files and directories. Must not know: the content of files.
//!
//! Adding a name to a directory changes its time; appending to a file does not. A sweep therefore checks the time of
//! each directory, lists those that changed, checks each followed file, and lists the rest in rotation.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::history::{Known, print_of};
use super::{Changes, Watcher};
use crate::logdir::{Directories, Entry, Failure, Kind, Listing};
use crate::series::RunName;

/// Every directory is listed, and every old file looked at, within so many seconds.
pub const TURN: f64 = 600.0;

/// A directory that changed so many seconds before it was listed may change again without its time showing it: file
/// systems have clocks of a second or two.
const UNSURE: f64 = 2.0;

/// At most this many files of a run are read, the newest: a job that restarts every hour writes them in forty days.
const MOST_FILES: usize = 1000;

/// More problems than this are not told one by one.
const MOST_PROBLEMS: usize = 10;

/// At most this many new directories are named to a notifier at a time.
const MOST_FRESH: usize = 4096;

impl Watcher {
    /// Looks everywhere.
    pub(super) fn sweep(&mut self, changes: &mut Changes) {
        let logdir = self.logdir.clone();
        let elapsed = self.now - std::mem::replace(&mut self.swept, self.now);
        match logdir.directories() {
            Some(directories) => {
                self.look_at_followed(changes);
                let mut due = self.history.due_for_listing(elapsed / TURN, |path| directories.changed(path));
                if self.history.get(Path::new("")).is_none() {
                    due.push(PathBuf::new());
                }
                for directory in due {
                    self.walk(directories, directory, changes);
                }
            }
            None => self.look_below(Path::new(""), changes),
        }
        let more = changes.problems.len().saturating_sub(MOST_PROBLEMS);
        if more > 0 {
            changes.problems.truncate(MOST_PROBLEMS);
            changes.problems.push(format!("and {more} more problems of this kind"));
        }
    }

    /// Looks at a file or directory that something happened to.
    pub(super) fn look_at(&mut self, path: &Path, changes: &mut Changes) {
        let (kind, run) = (Kind::of(path), self.run_of(path));
        let is_followed = |files: &super::RunFiles| files.paths().any(|(known, _)| known == path);
        if let (Some(kind), true) = (kind, self.files.get(&run).is_some_and(is_followed))
            && let Ok(stat) = self.logdir.stat(path)
        {
            return self.add(run, vec![Entry { path: path.to_owned(), kind, stat }], changes);
        }
        let logdir = self.logdir.clone();
        // A file that is new or gone is one of its directory, as are the files beside it.
        let place = path.parent().filter(|_| kind.is_some()).unwrap_or(path);
        match logdir.directories() {
            Some(directories) => self.walk(directories, place.to_owned(), changes),
            None => self.look_below(place, changes),
        }
    }

    /// Looks at each file that is followed.
    pub(super) fn look_at_followed(&mut self, changes: &mut Changes) {
        let runs: Vec<RunName> = self.files.keys().cloned().collect();
        for run in runs {
            let Some(files) = self.files.get(&run) else { continue };
            let (mut found, mut missing) = (Vec::new(), Vec::new());
            for (path, _) in files.paths() {
                match Kind::of(path).zip(self.logdir.stat(path).ok()) {
                    Some((kind, stat)) => found.push(Entry { path: path.clone(), kind, stat }),
                    None if self.unseen.iter().any(|directory| path.starts_with(directory)) => {}
                    None => missing.push(path.clone()),
                }
            }
            self.lose(&run, &missing, changes);
            if !found.is_empty() && self.files.contains_key(&run) {
                self.add(run, found, changes);
            }
        }
    }

    /// Lists a directory, and all below it that are not known yet.
    fn walk(&mut self, directories: &dyn Directories, start: PathBuf, changes: &mut Changes) {
        let mut ahead = vec![start];
        while let Some(directory) = ahead.pop() {
            let listing = directories.list(&directory);
            match &listing.failure {
                Some(Failure::Gone) => self.gone(&directory, changes),
                Some(Failure::Unseen(problem)) => self.cannot_see(directory, problem, changes),
                None => self.seen(&directory, listing, &mut ahead, changes),
            }
        }
    }

    fn cannot_see(&mut self, directory: PathBuf, problem: &str, changes: &mut Changes) {
        let known = self.history.get(&directory).unwrap_or_default();
        self.history.set(&directory, Known { changed: 0, ..known });
        if self.unseen.insert(directory) && !problem.is_empty() {
            changes.problems.push(problem.to_owned());
        }
    }

    /// Takes note of a directory that was listed; what is to be listed next comes to the end of `ahead`.
    fn seen(&mut self, directory: &Path, listing: Listing, ahead: &mut Vec<PathBuf>, changes: &mut Changes) {
        let Listing { entries, below, changed, identity, .. } = listing;
        self.unseen.remove(directory);
        let known = self.history.get(directory);
        let replaced = known.is_some_and(|known| known.identity != identity && known.identity != 0);
        let below: Vec<PathBuf> =
            below.into_iter().filter(|below| self.doors.opens(below)).map(|below| below.path).collect();
        if known.is_some() {
            for child in self.history.children(directory) {
                if below.binary_search(&child).is_err() {
                    self.gone(&child, changes);
                }
            }
        }
        ahead.extend(below.into_iter().rev().filter(|child| replaced || self.history.get(child).is_none()));
        let changed = changed.filter(|changed| *changed as f64 / 1e9 <= self.now - UNSURE).unwrap_or(0);
        self.history.set(directory, Known { changed, identity, print: known.map_or(0, |known| known.print) });
        self.take(directory, entries, changes);
        let is_old_run = self.history.get(directory).is_some_and(|known| known.print != 0);
        if known.is_none() && !is_old_run && self.fresh.len() < MOST_FRESH {
            self.fresh.push(directory.to_owned());
        }
    }

    /// Looks at all files at or below a path by their listing, where there are no directories.
    fn look_below(&mut self, scope: &Path, changes: &mut Changes) {
        let found = self.logdir.discover(scope);
        changes.problems.extend(found.problems);
        // A million entries are not copied into another collection.
        let directory_of = |entry: &Entry| entry.path.parent().unwrap_or(Path::new("")).to_owned();
        let mut entries = found.entries;
        entries.sort_unstable_by(|a, b| (a.path.parent(), &a.path).cmp(&(b.path.parent(), &b.path)));
        let is_listed = |path: &PathBuf| entries.binary_search_by(|entry| entry.path.parent().cmp(&Some(path))).is_ok();
        let is_seen = |path: &PathBuf| !found.unseen.iter().any(|directory| path.starts_with(directory));
        let old = self.history.runs_under(scope).map(Path::to_owned);
        let read = self.read_under(scope);
        let read = read.iter().filter_map(|run| self.files.get(run)).flat_map(super::RunFiles::paths);
        let read = read.filter(|(path, _)| path.starts_with(scope)).filter_map(|(path, _)| path.parent());
        let known = old.chain(read.map(Path::to_owned));
        let missing: BTreeSet<PathBuf> = known.filter(|path| !is_listed(path)).filter(is_seen).collect();
        for directory in missing {
            self.take(&directory, Vec::new(), changes);
        }
        let mut rest = entries.into_iter().peekable();
        while let Some(first) = rest.next() {
            let directory = directory_of(&first);
            let mut inside = Vec::from([first]);
            inside.extend(std::iter::from_fn(|| rest.next_if(|entry| directory_of(entry) == directory)));
            self.take(&directory, inside, changes);
        }
    }

    /// A directory is gone, with all below it.
    fn gone(&mut self, directory: &Path, changes: &mut Changes) {
        self.history.forget(directory);
        self.doors.gone(directory);
        self.unseen.retain(|path| !path.starts_with(directory));
        for run in self.read_under(directory) {
            let Some(files) = self.files.get(&run) else { continue };
            let paths = files.paths().map(|(path, _)| path).filter(|path| path.starts_with(directory));
            let missing: Vec<PathBuf> = paths.cloned().collect();
            self.lose(&run, &missing, changes);
        }
    }

    /// Files of a run that is read have vanished.
    fn lose(&mut self, run: &RunName, missing: &[PathBuf], changes: &mut Changes) {
        let Some(files) = self.files.get_mut(run).filter(|_| !missing.is_empty()) else { return };
        let lost = files.paths().filter(|(path, _)| missing.contains(path));
        let lost: Vec<_> = lost.map(|(path, stat)| (path.clone(), stat.map(|stat| stat.identity))).collect();
        lost.iter().for_each(|(path, _)| files.vanished(path));
        if files.files.is_empty() {
            self.runs.remove(run);
            self.files.remove(run);
            changes.vanished.push(run.clone());
        } else {
            self.due.insert(run.clone());
        }
        for (path, identity) in lost {
            self.unfollow(&path, identity);
        }
    }

    /// Takes what a directory holds now, all of it.
    fn take(&mut self, directory: &Path, mut entries: Vec<Entry>, changes: &mut Changes) {
        let run = self.name_of(directory);
        entries.retain(|entry| !self.is_twin(entry));
        keep_newest(directory, &mut entries, changes);
        if let Some(files) = self.files.get(&run) {
            let inside = files.paths().map(|(path, _)| path).filter(|path| path.parent() == Some(directory));
            let missing = inside.filter(|path| !entries.iter().any(|entry| entry.path == **path));
            let missing: Vec<PathBuf> = missing.cloned().collect();
            self.lose(&run, &missing, changes);
        }
        let is_read = self.files.contains_key(&run);
        let events = || entries.iter().filter(|entry| entry.kind == Kind::Events);
        if !is_read && events().next().is_none() {
            return self.history.set_print(directory, 0);
        }
        let print = print_of(entries.iter().map(|entry| (entry.path.as_path(), entry.stat)));
        let same = self.history.get(directory).is_some_and(|known| known.print == print);
        let limit = (self.now - self.ignored_after) * 1e9;
        let old = events().all(|entry| (entry.stat.modified as f64) < limit);
        if !is_read && (same || old) {
            return self.history.set_print(directory, print);
        }
        self.history.set_print(directory, 0);
        self.add(run, entries, changes);
    }

    /// Whether a file is followed under another name already.
    fn is_twin(&self, entry: &Entry) -> bool {
        let known = self.followed.get(&entry.stat.identity).filter(|path| **path != entry.path);
        let on_disk = self.logdir.local_root().is_some();
        // It may have been renamed.
        let same = |path: &PathBuf| self.logdir.stat(path).is_ok_and(|stat| stat.identity == entry.stat.identity);
        entry.kind == Kind::Events && on_disk && known.is_some_and(same)
    }
}

/// Leaves out the oldest of very many files.
fn keep_newest(directory: &Path, entries: &mut Vec<Entry>, changes: &mut Changes) {
    let files = entries.len();
    if files > MOST_FILES {
        entries.sort_by(|a, b| (b.stat.modified, &b.path).cmp(&(a.stat.modified, &a.path)));
        entries.truncate(MOST_FILES);
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let place = directory.display();
        changes.problems.push(format!("{place} contains {files} event files: only the newest {MOST_FILES} are read"));
    }
}
