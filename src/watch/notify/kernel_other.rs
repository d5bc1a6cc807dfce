//! File notifications on systems without inotify, through the `notify` crate.
//!
//! Owns: the meaning of the crate's events. Must not know: how a notification is handled.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use notify::event::{Flag, ModifyKind, RenameMode};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::notice::{Notice, Refusal};

/// Watches directories below one.
pub(super) struct Kernel {
    root: PathBuf,
    watcher: RecommendedWatcher,
    events: Receiver<notify::Result<Event>>,
    /// What ended the last wait.
    first: Option<notify::Result<Event>>,
    watched: BTreeSet<PathBuf>,
}

impl Kernel {
    /// Watches nothing yet.
    ///
    /// # Errors
    ///
    /// The system has no notices to give.
    pub(super) fn new(root: &Path) -> notify::Result<Kernel> {
        let (sender, events) = channel();
        let watcher = RecommendedWatcher::new(
            move |event| {
                if !is_of_access(&event) {
                    // One that nobody waits for any more is of no use.
                    drop(sender.send(event));
                }
            },
            notify::Config::default(),
        )?;
        Ok(Kernel { root: root.to_owned(), watcher, events, first: None, watched: BTreeSet::new() })
    }

    /// Watches a directory (relative to the root), but not those in it.
    ///
    /// # Errors
    ///
    /// Why it is not watched.
    pub(super) fn watch(&mut self, directory: &Path) -> Result<(), Refusal> {
        let path = self.root.join(directory);
        if !path.is_dir() {
            return Err(Refusal::Absent);
        }
        self.watcher.watch(&path, RecursiveMode::NonRecursive).map_err(|error| match error.kind {
            ErrorKind::MaxFilesWatch => Refusal::Limit,
            _ => Refusal::Other(error.to_string()),
        })?;
        self.watched.insert(directory.to_owned());
        Ok(())
    }

    /// Watches neither this directory nor any below it any more.
    pub(super) fn forget(&mut self, directory: &Path) {
        let under = self
            .watched
            .range::<Path, _>((Bound::Included(directory), Bound::Unbounded))
            .take_while(|path| path.starts_with(directory));
        for path in under.cloned().collect::<Vec<_>>() {
            self.unwatch(&path);
        }
    }

    /// Watches this directory no more, but those below it.
    pub(super) fn unwatch(&mut self, directory: &Path) {
        if self.watched.remove(directory) {
            // It is gone already where the directory was deleted.
            drop(self.watcher.unwatch(&self.root.join(directory)));
        }
    }

    /// The directories that are watched.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.watched.iter().map(PathBuf::as_path)
    }

    /// Whether this directory is watched.
    pub(super) fn watches(&self, directory: &Path) -> bool {
        self.watched.contains(directory)
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
        events.flat_map(|event| notices(&self.root, event)).collect()
    }
}

fn notices(root: &Path, event: notify::Result<Event>) -> Vec<Notice> {
    let event = match event {
        Ok(event) => event,
        Err(error) => return vec![Notice::Failed(error.to_string())],
    };
    if event.attrs.flag() == Some(Flag::Rescan) {
        return vec![Notice::Overflow];
    }
    let meaning = match event.kind {
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => Notice::Gone,
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_)) => Notice::Appeared,
        _ => Notice::Changed,
    };
    event.paths.iter().filter_map(|path| path.strip_prefix(root).ok()).map(|path| meaning(path.to_owned())).collect()
}

/// Whether a file was only opened, read or closed: two of three notices where each record is appended by itself.
fn is_of_access(event: &notify::Result<Event>) -> bool {
    event.as_ref().is_ok_and(|event| matches!(event.kind, EventKind::Access(_)))
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind, RemoveKind};

    use super::*;

    super::super::conformance::holds!(Kernel);

    #[test]
    fn events_of_the_crate_are_notices() {
        let root = Path::new("/runs");
        let of = |kind: EventKind| notices(root, Ok(Event::new(kind).add_path("/runs/x".into())));
        assert_eq!(of(EventKind::Create(CreateKind::Any)), [Notice::Appeared("x".into())]);
        assert_eq!(of(EventKind::Remove(RemoveKind::Any)), [Notice::Gone("x".into())]);
        assert_eq!(of(EventKind::Modify(ModifyKind::Any)), [Notice::Changed("x".into())]);
        assert_eq!(of(EventKind::Modify(ModifyKind::Name(RenameMode::From))), [Notice::Gone("x".into())]);
        assert_eq!(of(EventKind::Modify(ModifyKind::Name(RenameMode::To))), [Notice::Appeared("x".into())]);
        assert_eq!(notices(root, Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan))), [Notice::Overflow]);
        assert_eq!(notices(root, Ok(Event::new(EventKind::Any).add_path("/elsewhere/x".into()))), []);
        assert!(is_of_access(&Ok(Event::new(EventKind::Access(AccessKind::Read)))));
        assert!(!is_of_access(&Ok(Event::new(EventKind::Modify(ModifyKind::Any)))));
    }
}
