//! A log directory in memory, whose files grow, change and vanish on demand.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nextrun::logdir::{Discovery, Entry, Kind, LogFile, Logdir, Stat};

#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryLogdir(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, (Stat, Arc<Vec<u8>>)>,
    changes: i128,
}

impl MemoryLogdir {
    /// Gives a file its contents; it stays the same file.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let mut state = self.0.lock().expect("no test panics with it");
        let identity = state.files.get(Path::new(path)).map(|(stat, _)| stat.identity);
        if state.files.get(Path::new(path)).is_none_or(|(_, old)| ***old != *bytes) {
            state.put(path, bytes, identity);
        }
    }

    /// Puts another file in a file's place.
    pub(crate) fn replace(&self, path: &str, bytes: &[u8]) {
        self.0.lock().expect("no test panics with it").put(path, bytes, None);
    }

    /// Takes a file away.
    pub(crate) fn remove(&self, path: &str) {
        self.0.lock().expect("no test panics with it").files.remove(Path::new(path));
    }
}

impl State {
    fn put(&mut self, path: &str, bytes: &[u8], identity: Option<(u64, u64)>) {
        self.changes += 1;
        let identity = identity.unwrap_or((1, self.changes as u64));
        let stat = Stat { size: bytes.len() as u64, modified: self.changes, identity };
        self.files.insert(path.into(), (stat, Arc::new(bytes.to_vec())));
    }
}

impl Logdir for MemoryLogdir {
    fn check(&self) -> io::Result<()> {
        Ok(())
    }

    fn discover(&self, under: &Path) -> Discovery {
        let state = self.0.lock().expect("no test panics with it");
        let entry = |(path, (stat, _)): (&PathBuf, &(Stat, Arc<Vec<u8>>))| {
            let kind = Kind::of(path).filter(|_| path.starts_with(under))?;
            Some(Entry { path: path.clone(), kind, stat: *stat })
        };
        Discovery { entries: state.files.iter().filter_map(entry).collect(), ..Discovery::default() }
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let state = self.0.lock().expect("no test panics with it");
        state.files.get(path).map(|(stat, _)| *stat).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let state = self.0.lock().expect("no test panics with it");
        let (stat, bytes) = state.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(MemoryFile(*stat, bytes.clone())))
    }

    fn local_root(&self) -> Option<&Path> {
        None
    }
}

struct MemoryFile(Stat, Arc<Vec<u8>>);

impl LogFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|start| self.1.get(start..)).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(self.0)
    }
}
