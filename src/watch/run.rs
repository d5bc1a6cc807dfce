//! The files of one run, and how their data are combined.
//!
//! Owns: the sum of several files, side files. Must not know: other runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::order;
use super::source::{Look, Reading, Source};
use super::writers;
use crate::launched::Launched;
use crate::logdir::{self, Kind, Logdir, MAX_SIDE_FILE, SideFile, Stat};
use crate::series::RunData;
use serde_json::Value as Json;

/// The files of one run.
#[derive(Debug, Default)]
pub(super) struct RunFiles {
    pub(super) files: Vec<File>,
    side: Vec<Side>,
    /// The data have to be put together anew.
    stale: bool,
}

/// An event file and, where the run has several, what it gave.
#[derive(Debug)]
pub(super) struct File {
    pub(super) source: Source,
    /// `None` if it feeds the data of the run directly.
    part: Option<Box<RunData>>,
}

#[derive(Debug)]
struct Side {
    path: PathBuf,
    kind: SideFile,
    found: Stat,
    read: Option<Stat>,
    content: Content,
}

/// What a side file says.
#[derive(Debug)]
enum Content {
    Nothing,
    Hyperparameters(BTreeMap<String, Json>),
    /// `nextrun.json`: its text, and the command that it holds.
    Nextrun(String, Option<Box<Launched>>),
}

/// What came of reading a run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ReadResult {
    pub(super) changed: bool,
    pub(super) bytes: u64,
    /// Whether the data were put together anew, without what side files say.
    anew: bool,
}

impl RunFiles {
    pub(super) fn is_due(&self, now: f64) -> bool {
        self.stale
            || self.files.iter().any(|file| file.source.is_due(now))
            || self.side.iter().any(|side| side.read != Some(side.found))
    }

    /// Whether it is to be looked at again some time, even if nothing is found to have changed.
    pub(super) fn is_waiting(&self) -> bool {
        self.files.iter().any(|file| file.source.is_waiting())
    }

    pub(super) fn pending(&self) -> u64 {
        self.files.iter().map(|file| file.source.pending()).sum()
    }

    /// Paths of all files with their states, those of event files first.
    pub(super) fn paths(&self) -> impl Iterator<Item = (&PathBuf, Option<Stat>)> {
        let files = self.files.iter().map(|file| (&file.source.path, file.source.found));
        files.chain(self.side.iter().map(|side| (&side.path, Some(side.found))))
    }

    /// Takes note of a file that was found, and says how it was found before; `data` are those of the run.
    pub(super) fn found(&mut self, path: PathBuf, kind: Kind, stat: Stat, data: &mut RunData) -> Option<Stat> {
        match kind {
            Kind::Events => self.found_events(path, stat, data),
            Kind::Side(kind) => match self.side.iter_mut().find(|side| side.path == path) {
                Some(side) => Some(std::mem::replace(&mut side.found, stat)),
                None => {
                    self.side.push(Side { path, kind, found: stat, read: None, content: Content::Nothing });
                    None
                }
            },
        }
    }

    fn found_events(&mut self, path: PathBuf, stat: Stat, data: &mut RunData) -> Option<Stat> {
        if let Some(file) = self.files.iter_mut().find(|file| file.source.name() == path) {
            return file.source.found.replace(stat);
        }
        for file in &mut self.files {
            file.part.get_or_insert_with(|| Box::new(std::mem::take(data)));
        }
        let part = (!self.files.is_empty()).then(Box::default);
        self.stale |= part.is_some();
        let mut source = Source::new(path);
        source.found = Some(stat);
        // Nearly all runs have one file; the least that a list doubles to is four.
        self.files.reserve_exact(1);
        self.files.push(File { source, part });
        None
    }

    /// What people should know of the files and were not told yet.
    pub(super) fn take_problems(&mut self) -> impl Iterator<Item = String> {
        self.files.iter_mut().filter_map(|file| file.source.take_problem())
    }

    /// Takes note that a file has vanished.
    pub(super) fn vanished(&mut self, path: &PathBuf) {
        self.files.retain(|file| file.source.path != *path);
        self.side.retain(|side| side.path != *path);
        self.stale = true;
    }

    /// Reads what is new.
    pub(super) fn read(&mut self, data: &mut RunData, reading: &mut Reading<'_>) -> ReadResult {
        let mut outcome = ReadResult { changed: std::mem::take(&mut self.stale), bytes: 0, anew: false };
        let several = self.files.iter().any(|file| file.part.is_some());
        // What a file gave that fed the data directly cannot be taken out again; nor what a side file did.
        let gone = outcome.changed && !several;
        if gone || self.side.iter().any(|side| side.read.is_some_and(|read| read != side.found)) {
            self.void(data);
            (outcome.changed, outcome.anew) = (true, true);
        }
        for file in &mut self.files {
            if file.source.is_due(reading.now) {
                file.read(data, reading, &mut outcome);
            }
        }
        if several && outcome.changed {
            self.sum_up(data);
            outcome.anew = true;
        }
        for side in &mut self.side {
            let fresh = side.refresh(reading.from);
            outcome.changed |= fresh;
            if fresh || outcome.anew {
                side.apply(data);
            }
        }
        outcome
    }

    /// All that was read has to be read again.
    fn void(&mut self, data: &mut RunData) {
        *data = RunData::default();
        for file in &mut self.files {
            file.source.reset();
            if let Some(part) = &mut file.part {
                **part = RunData::default();
            }
        }
    }

    fn sum_up(&mut self, data: &mut RunData) {
        let first_event = |file: &File| file.part.as_ref().and_then(|part| part.first_wall_time());
        let key = |file| order::key(File::path(file), first_event(file));
        let mut parts: Vec<&File> = self.files.iter().collect();
        parts.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal));
        let parts = parts.iter().filter_map(|file| Some((File::path(file), &**file.part.as_ref()?)));
        let mut trainings = writers::apart(parts).into_iter();
        *data = trainings.next().map(|(_, data)| data).unwrap_or_default();
        data.set_beside(trainings);
    }
}

impl File {
    fn path(file: &File) -> &Path {
        file.source.name()
    }

    fn read(&mut self, data: &mut RunData, reading: &mut Reading<'_>, outcome: &mut ReadResult) {
        let into = self.part.as_deref_mut().unwrap_or(data);
        let mut look = self.source.look(reading, into);
        if look == Look::Replaced {
            *into = RunData::default();
            self.source.reset();
            (outcome.changed, outcome.anew) = (true, true);
            look = self.source.look(reading, into);
        }
        if let Look::Read(bytes) = look {
            outcome.changed = true;
            outcome.bytes += bytes;
        }
    }
}

impl Side {
    /// Reads the file if it has changed, and says whether it had.
    fn refresh(&mut self, from: &dyn Logdir) -> bool {
        if self.read == Some(self.found) {
            return false;
        }
        // What cannot be read now is tried again at the next look; what it said before is void by then.
        let Some((text, owner)) = self.contents(from) else {
            (self.read, self.content) = (None, Content::Nothing);
            return false;
        };
        self.read = Some(self.found);
        self.content = match self.kind {
            SideFile::HparamsYaml | SideFile::ArgsYaml => Content::Hyperparameters(logdir::hyperparameters(&text)),
            SideFile::NextrunJson => {
                let launched = logdir::launched(&text, owner).map(Box::new);
                Content::Nextrun(text, launched)
            }
        };
        true
    }

    /// Adds what the file says, where the program did not log it itself.
    fn apply(&self, data: &mut RunData) {
        match &self.content {
            Content::Nothing => {}
            Content::Hyperparameters(values) => {
                values.iter().for_each(|(name, value)| data.hyperparameter_beside(name, value.clone()));
            }
            Content::Nextrun(text, launched) => {
                data.text(self.kind.name(), text);
                data.launched.clone_from(launched);
            }
        }
    }

    /// The text, and who alone may have written it.
    fn contents(&self, from: &dyn Logdir) -> Option<(String, Option<u32>)> {
        let mut bytes = vec![0; usize::try_from(self.found.size.min(MAX_SIDE_FILE)).ok()?];
        let file = from.open(&self.path).ok()?;
        let got = file.read_at(&mut bytes, 0).ok()?;
        bytes.truncate(got);
        Some((String::from_utf8_lossy(&bytes).into_owned(), file.owner()))
    }
}
