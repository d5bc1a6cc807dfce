//! Stopping while work is in progress.
//!
//! Owns: interruption of reading, and the end of a process that cannot end on its own. Must not know: the reason for
//! the stop.
//!
//! The first scan of a log directory reads all files, which can take minutes. No decision is made before it ends, so
//! interrupting it loses nothing.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::logdir::{Directories, Discovery, Failure, Listing, LogFile, Logdir, Stat};

/// How long a hanging operation is tolerated after a stop request: an unresponsive file system could block the loop
/// permanently. This is longer than an orderly stop takes.
const LAST_RESORT: Duration = Duration::from_secs(12);

/// A log directory that returns no more data after a stop request.
pub(super) struct Stoppable {
    pub(super) inner: Box<dyn Logdir>,
    pub(super) stop: Arc<AtomicBool>,
}

struct StoppableFile {
    inner: Box<dyn LogFile>,
    stop: Arc<AtomicBool>,
}

fn go_on(stop: &AtomicBool) -> io::Result<()> {
    if stop.load(Ordering::SeqCst) { Err(io::Error::other("nextrun is stopping")) } else { Ok(()) }
}

impl Logdir for Stoppable {
    fn check(&self) -> io::Result<()> {
        self.inner.check()
    }

    fn discover(&self, under: &Path) -> Discovery {
        match go_on(&self.stop) {
            Ok(()) => self.inner.discover(under),
            Err(_) => Discovery { unseen: vec![under.to_owned()], ..Discovery::default() },
        }
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.inner.stat(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        go_on(&self.stop)?;
        Ok(Box::new(StoppableFile { inner: self.inner.open(path)?, stop: self.stop.clone() }))
    }

    fn local_root(&self) -> Option<&Path> {
        self.inner.local_root()
    }

    fn directories(&self) -> Option<&dyn Directories> {
        self.inner.directories().map(|_| self as &dyn Directories)
    }
}

impl Directories for Stoppable {
    fn list(&self, directory: &Path) -> Listing {
        // Whoever requested the stop does not need a message.
        let failure = match go_on(&self.stop) {
            Ok(()) => match self.inner.directories() {
                Some(directories) => return directories.list(directory),
                None => Failure::Gone,
            },
            Err(_) => Failure::Unseen(String::new()),
        };
        Listing { failure: Some(failure), ..Listing::default() }
    }

    fn changed(&self, directory: &Path) -> Option<i64> {
        self.inner.directories()?.changed(directory)
    }
}

impl LogFile for StoppableFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        go_on(&self.stop)?;
        self.inner.read_at(buffer, offset)
    }

    fn stat(&self) -> io::Result<Stat> {
        self.inner.stat()
    }

    fn owner(&self) -> Option<u32> {
        self.inner.owner()
    }

    fn is_version(&self) -> bool {
        self.inner.is_version()
    }
}

/// Ends the process if it does not end on its own after a stop request. The state is then the same as after a crash,
/// which loses nothing.
#[expect(clippy::exit, reason = "a hanging operation cannot be interrupted")]
pub(super) async fn end_at_last() {
    tokio::time::sleep(LAST_RESORT).await;
    tracing::warn!("shutdown timed out, probably on an unresponsive file system; exiting anyway");
    std::process::exit(0);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::logdir::DiskLogdir;
    use crate::tfevents::encode;
    use crate::watch::{FileState, Options, Watcher};

    /// Requests a stop when a file of this name is opened.
    struct StopsAt(DiskLogdir, &'static str, Arc<AtomicBool>);

    impl Logdir for StopsAt {
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
            self.2.fetch_or(path.starts_with(self.1), Ordering::SeqCst);
            self.0.open(path)
        }
        fn local_root(&self) -> Option<&Path> {
            self.0.local_root()
        }
    }

    #[test]
    fn nothing_more_is_read_once_a_stop_is_asked_for_and_nothing_counts_as_gone() {
        let root = tempfile::tempdir().unwrap();
        let size = |number: i64| 100 * (number + 1);
        for number in 0..10 {
            let folder = root.path().join(number.to_string());
            fs::create_dir(&folder).unwrap();
            let records = (0..size(number)).flat_map(|step| encode::scalar(1.0, step, "loss", 1.0));
            fs::write(folder.join("events.tfevents"), records.collect::<Vec<u8>>()).unwrap();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let inner = Box::new(StopsAt(DiskLogdir::new(root.path()), "4", stop.clone()));
        let mut watcher = Watcher::new(Box::new(Stoppable { inner, stop: stop.clone() }), Options { threads: 1 });
        watcher.poll(0.0);
        // The shortest path first, by one thread.
        let read = |watcher: &Watcher| watcher.files().filter(|file| file.state == FileState::Read).count();
        assert_eq!(read(&watcher), 4);
        assert_eq!(watcher.poll(1.0).vanished, []);
        assert_eq!((watcher.runs().len(), read(&watcher)), (10, 4));
        let events: u64 = watcher.runs().values().map(|run| run.events()).sum();
        assert_eq!(events, 100 + 200 + 300 + 400);
    }
}
