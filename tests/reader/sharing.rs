//! Threads share the reading of many runs without waiting for each other.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::common::MemoryLogdir;
use nextrun::logdir::{Discovery, LogFile, Logdir, Stat};
use nextrun::tfevents::encode;
use nextrun::watch::{Options, Watcher};

/// Long enough that two threads meet on any machine; it is waited for only where they never will.
const PATIENCE: Duration = Duration::from_secs(20);

/// Opens no file before a second one is asked for.
struct Together {
    files: MemoryLogdir,
    asked_for: Arc<(Mutex<usize>, Condvar)>,
}

impl Logdir for Together {
    fn check(&self) -> io::Result<()> {
        self.files.check()
    }

    fn discover(&self, under: &Path) -> Discovery {
        self.files.discover(under)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.files.stat(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let (count, changed) = &*self.asked_for;
        let mut asked_for = count.lock().expect("no test panics with it");
        *asked_for += 1;
        changed.notify_all();
        let met = changed.wait_timeout_while(asked_for, PATIENCE, |asked_for| *asked_for < 2);
        if met.expect("no test panics with it").1.timed_out() {
            return Err(io::Error::other("no other thread came"));
        }
        self.files.open(path)
    }

    fn local_root(&self) -> Option<&Path> {
        None
    }
}

#[test]
fn one_thread_reads_a_run_while_another_reads_the_next() {
    let files = MemoryLogdir::default();
    // Together more than is read on a single thread for being little.
    let text = "x".repeat(2 << 20);
    for run in ["one", "two"] {
        files.write(&format!("{run}/events.out.tfevents.1.h"), &encode::text(1.0, 0, "note", &text));
    }
    let logdir = Together { files, asked_for: Arc::default() };
    let mut watcher = Watcher::new(Box::new(logdir), Options { threads: 2 });
    watcher.poll(1.0);
    let read: Vec<u64> = watcher.runs().values().map(|run| run.events()).collect();
    assert_eq!(read, [1, 1]);
}
