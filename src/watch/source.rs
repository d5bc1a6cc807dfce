//! One event file: its read position, and whether it still is the same file.
//!
//! Owns: reading new data, detecting that a file was replaced or truncated. Must not know: the other files of its run.

use std::io;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use super::ahead::{Helpers, Piece, WORTH_HELPERS};
use super::feed::Feed;
use crate::logdir::{LogFile, Logdir, Stat};
use crate::series::{RunData, RunName};
use crate::tfevents::{Foreign, LOOK, Tail, crc32c};

/// Bytes that are read at a time: within the second-level cache, and far beyond what a system call costs.
pub(super) const WINDOW: usize = 256 << 10;

/// So many first bytes tell a file from another one under its name: its first record carries the time of its start.
const PREFIX: usize = 64;

/// Of a stretch of damage, so many bytes are looked at again to see whether it was filled in.
const DAMAGE: u64 = 4096;

/// An unfinished or damaged tail is looked at again after so many seconds, doubling up to the second number, although
/// its file does not seem to have changed: network file systems may show the new size before the new bytes.
const LOOK_AGAIN_SECONDS: (f64, f64) = (1.0, 60.0);

/// So many seconds without a change make an unfinished or damaged tail something to tell people about.
const LOST_SECONDS: f64 = 300.0;

/// The status of an event file.
#[derive(Debug, Clone, PartialEq)]
pub struct FileStatus {
    /// Path relative to the log directory.
    pub path: PathBuf,
    /// Its run.
    pub run: RunName,
    /// Its size when it was last looked at.
    pub bytes: u64,
    /// Bytes that have been read for good.
    pub offset: u64,
    /// Bytes that are still to be read or waited for.
    pub lag: u64,
    /// Records that were passed over: bad checksum, too long, damaged, or no events.
    pub bad_records: u64,
    /// Bytes that were passed over.
    pub skipped_bytes: u64,
    /// Scalars that were ignored because the run has too many tags.
    pub ignored: u64,
    /// How often another file appeared under this name, or this one was cut and written anew.
    pub generation: u32,
    /// How it stands.
    pub state: FileState,
}

/// How an event file stands.
#[derive(Debug, Clone, PartialEq)]
pub enum FileState {
    /// Read up to its end.
    Read,
    /// It ends inside a record, since `since` (seconds since the Unix epoch).
    Unfinished {
        /// When its tail was first seen as it is.
        since: f64,
        /// Whether so long that the writer must have died.
        lost: bool,
    },
    /// What follows is no record: zeros that are still to be filled in, or damage.
    Damaged {
        /// When its tail was first seen as it is.
        since: f64,
        /// Whether so long that nobody will repair it.
        lost: bool,
    },
    /// It cannot be read, and why.
    Unreadable(String),
}

/// What came of looking at a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing new.
    Same,
    /// So many bytes were read for good.
    Read(u64),
    /// It is not the file that was read before: what it gave is void.
    Replaced,
}

/// What files are read with.
pub(super) struct Reading<'a> {
    pub(super) from: &'a dyn Logdir,
    pub(super) scratch: Vec<u8>,
    pub(super) now: f64,
    /// Threads that may read large files ahead.
    pub(super) helpers: usize,
}

#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// Its state as of the newest discovery.
    pub(super) found: Option<Stat>,
    /// Its state when it was last read.
    read: Option<Stat>,
    /// Where it ended then.
    seen: u64,
    tail: Tail,
    feed: Feed,
    prefix: Vec<u8>,
    /// The damage that was last passed over: where, and its checksum.
    damage: Option<(Range<u64>, u32)>,
    generation: u32,
    error: Option<String>,
    /// What it is, if it is no event file that can be read.
    foreign: Option<Foreign>,
    /// What of that people were told.
    told: Option<Foreign>,
    stuck: Option<Stuck>,
    /// Whether its bytes cannot change unless its state does.
    versioned: bool,
}

/// A tail that is not at the end of its file.
#[derive(Debug, Clone, Copy)]
struct Stuck {
    at: u64,
    since: f64,
    again: f64,
}

impl Source {
    pub(super) fn new(path: PathBuf) -> Source {
        Source { path, ..Source::default() }
    }

    /// Whether it has to be looked at.
    pub(super) fn is_due(&self, now: f64) -> bool {
        let again = |stuck: Stuck| !self.versioned && now >= stuck.again;
        self.found != self.read || self.error.is_some() || self.stuck.is_some_and(again)
    }

    /// Whether it will be due again without having been found to have changed.
    pub(super) fn is_waiting(&self) -> bool {
        self.error.is_some() || self.stuck.is_some()
    }

    /// Bytes that are new.
    pub(super) fn pending(&self) -> u64 {
        self.found.map_or(0, |stat| stat.size.saturating_sub(self.tail.settled()))
    }

    /// Forgets what was read.
    pub(super) fn reset(&mut self) {
        *self = Source {
            path: std::mem::take(&mut self.path),
            found: self.found,
            generation: self.generation + 1,
            ..Source::default()
        };
    }

    /// Reads what is new into `data`.
    pub(super) fn look(&mut self, reading: &mut Reading<'_>, data: &mut RunData) -> Look {
        match self.try_look(reading, data) {
            Ok((look, end)) => {
                self.error = None;
                data.settle();
                self.note_stuck(end, reading.now);
                look
            }
            Err(error) => {
                self.error = Some(format!("cannot read event file {}: {error}", self.path.display()));
                Look::Same
            }
        }
    }

    fn try_look(&mut self, reading: &mut Reading<'_>, data: &mut RunData) -> io::Result<(Look, u64)> {
        let file = reading.from.open(&self.path)?;
        let stat = file.stat()?;
        self.versioned = file.is_version();
        if self.was_replaced(&*file, stat)? {
            return Ok((Look::Replaced, stat.size));
        }
        let (settled, events) = (self.tail.settled(), data.events());
        self.tail.look_again();
        self.read_ahead(&*file, stat, reading, data);
        let end = self.read_on(&*file, &mut reading.scratch, data, u64::MAX)?.unwrap_or(stat.size);
        self.seen = end;
        self.extend_prefix(&*file)?;
        self.remember_damage(&*file)?;
        let foreign = self.look_closer(&*file, data, end)?;
        (self.read, self.found) = (Some(stat), Some(stat));
        let cut_off = self.tail.settled() != end;
        let counts = self.tail.settled() == settled && data.events() == events;
        let same = counts && data.cut_off == cut_off && self.foreign == foreign;
        (data.cut_off, self.foreign) = (cut_off, foreign);
        data.unreadable = foreign.map(|why| format!("event file {} cannot be used: {why}", self.path.display()).into());
        Ok((if same { Look::Same } else { Look::Read(self.tail.settled() - settled) }, end))
    }

    /// Reads as much of the file as helpers do.
    fn read_ahead(&mut self, file: &dyn LogFile, stat: Stat, reading: &mut Reading<'_>, data: &mut RunData) {
        let part = self.tail.offset()..stat.size;
        if reading.helpers == 0 || part.end.saturating_sub(part.start) < WORTH_HELPERS {
            return;
        }
        let (helpers, path) = (Helpers { from: reading.from, count: reading.helpers }, self.path.clone());
        helpers.read(&path, stat.identity, &part, |piece| {
            // The record at the end of the piece before. An error comes again when the rest is read.
            let Ok(None) = self.read_on(file, &mut reading.scratch, data, piece.start) else {
                return ControlFlow::Break(());
            };
            if self.tail.offset() < piece.start + piece.bytes.len() as u64 {
                let feed = &mut self.feed;
                let Piece { start, bytes, found } = piece;
                self.tail.advance_found(*start, bytes, found, |record| feed.record(record, data));
            }
            ControlFlow::Continue(())
        });
    }

    /// Reads at least up to `limit`, or only to the end of the file, and then says where that was.
    fn read_on(
        &mut self,
        file: &dyn LogFile,
        scratch: &mut Vec<u8>,
        data: &mut RunData,
        limit: u64,
    ) -> io::Result<Option<u64>> {
        let mut grown = 0;
        while self.tail.offset() < limit {
            let start = self.tail.offset();
            let size = usize::try_from(limit - start).unwrap_or(WINDOW).min(WINDOW).max(grown);
            if scratch.len() < size {
                scratch.resize(size, 0);
            }
            let got = file.read_at(&mut scratch[..size], start)?;
            let feed = &mut self.feed;
            let advance = self.tail.advance(&scratch[..got], |record| feed.record(record, data));
            if got < size {
                return Ok(Some(if got > 0 { start + got as u64 } else { file.stat()?.size }));
            }
            grown = 0;
            if self.tail.offset() == start {
                // Never more than the file has: a length that lies asks for no memory.
                let there = file.stat()?.size.saturating_sub(start).min(advance.wants.max(2 * size as u64));
                grown = usize::try_from(there).unwrap_or(usize::MAX).max(size + 1);
            }
        }
        Ok(None)
    }

    /// What the file is, where it has given no more than one event and something is wrong with it.
    fn look_closer(&self, file: &dyn LogFile, data: &RunData, end: u64) -> io::Result<Option<Foreign>> {
        let strange = self.tail.is_damaged() || self.tail.bad_records() > 0 || self.feed.undecodable() > 0;
        if data.events() > 1 || (end > 0 && !strange) {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(end).unwrap_or(LOOK).min(LOOK)];
        let got = file.read_at(&mut bytes, 0)?;
        Ok(Foreign::of(&bytes[..got]))
    }

    /// What people should know of the file and were not told yet.
    pub(super) fn take_problem(&mut self) -> Option<String> {
        let foreign = self.foreign.filter(|foreign| *foreign != Foreign::Empty && self.told != Some(*foreign))?;
        self.told = Some(foreign);
        Some(format!("event file {} cannot be used: {foreign}", self.path.display()))
    }

    /// Another file under this name, or this one cut or mended: it has become shorter than what was read, begins
    /// otherwise, or damage that was passed over is not there any more.
    fn was_replaced(&self, file: &dyn LogFile, stat: Stat) -> io::Result<bool> {
        // A record that is passed over may end beyond the bytes that were there.
        if stat.size < self.tail.settled().min(self.seen) {
            return Ok(true);
        }
        let mut now = [0; PREFIX];
        let now = &mut now[..self.prefix.len()];
        if file.read_at(now, 0)? < now.len() || now != self.prefix {
            return Ok(true);
        }
        match &self.damage {
            Some((range, checksum)) => Ok(checksum_of(file, range)? != *checksum),
            None => Ok(false),
        }
    }

    fn remember_damage(&mut self, file: &dyn LogFile) -> io::Result<()> {
        let last = self.tail.last_skip();
        if self.damage.as_ref().map(|(range, _)| range) != last {
            self.damage = match last {
                Some(range) => Some((range.clone(), checksum_of(file, range)?)),
                None => None,
            };
        }
        Ok(())
    }

    fn extend_prefix(&mut self, file: &dyn LogFile) -> io::Result<()> {
        let wanted = usize::try_from(self.tail.settled()).unwrap_or(PREFIX).min(PREFIX);
        if wanted > self.prefix.len() {
            let mut bytes = vec![0; wanted];
            let got = file.read_at(&mut bytes, 0)?;
            bytes.truncate(got);
            self.prefix = bytes;
        }
        Ok(())
    }

    fn note_stuck(&mut self, end: u64, now: f64) {
        let at = self.tail.settled();
        let (first, longest) = LOOK_AGAIN_SECONDS;
        self.stuck = match self.stuck {
            _ if at == end && !self.tail.is_damaged() => None,
            Some(stuck) if stuck.at == at => {
                let wait = (now - stuck.since).clamp(first, longest);
                Some(Stuck { again: now + wait, ..stuck })
            }
            _ => Some(Stuck { at, since: now, again: now + first }),
        };
    }

    pub(super) fn status(&self, run: &RunName, now: f64) -> FileStatus {
        let bytes = self.found.or(self.read).map_or(0, |stat| stat.size);
        let lost = |since: f64| now - since > LOST_SECONDS;
        let state = match (&self.error, self.stuck) {
            (Some(error), _) => FileState::Unreadable(error.clone()),
            (None, Some(_)) if let Some(foreign) = self.foreign => FileState::Unreadable(foreign.to_string()),
            (None, None) => FileState::Read,
            (None, Some(Stuck { since, .. })) if self.tail.is_damaged() => {
                FileState::Damaged { since, lost: lost(since) }
            }
            (None, Some(Stuck { since, .. })) => FileState::Unfinished { since, lost: lost(since) },
        };
        FileStatus {
            path: self.path.clone(),
            run: run.clone(),
            bytes,
            offset: self.tail.settled().min(bytes),
            lag: bytes.saturating_sub(self.tail.settled()),
            bad_records: self.tail.bad_records() + self.feed.undecodable(),
            skipped_bytes: self.tail.skipped_bytes(),
            ignored: self.feed.ignored(),
            generation: self.generation,
            state,
        }
    }

    pub(super) fn name(&self) -> &Path {
        &self.path
    }
}

fn checksum_of(file: &dyn LogFile, range: &Range<u64>) -> io::Result<u32> {
    let mut bytes = vec![0; (range.end - range.start).min(DAMAGE) as usize];
    let got = file.read_at(&mut bytes, range.start)?;
    Ok(crc32c(&bytes[..got]))
}
