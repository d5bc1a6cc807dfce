//! Reads a large file ahead of its reader, on further threads.
//!
//! Owns: the pieces of a file, and their order. Must not know: what becomes of the records.
//!
//! Helpers read pieces and verify the checksums in them, which is more than half of the work; only the reader itself
//! decodes events and adds points, in the order of the file.

use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use crate::logdir::{LogFile, Logdir};
use crate::tfevents::Found;

/// A piece of a file.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// Where it starts in the file.
    pub(super) start: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) found: Found,
}

/// Bytes of a piece. Threads wake each other once per piece; set `a` of `benches/decode.rs` is read a sixth slower with pieces
/// of 256 KiB, and an eighth with pieces of 4 MiB.
const PIECE: u64 = 1 << 20;

/// Pieces that a helper may be ahead of the reader: one that waits while another is being read.
const AHEAD: usize = 2;

/// A file with fewer new bytes is read without helpers: starting them costs more than it saves.
pub(super) const WORTH_HELPERS: u64 = 8 * PIECE;

/// Where helpers come from, and how many.
#[derive(Clone, Copy)]
pub(super) struct Helpers<'a> {
    pub(super) from: &'a dyn Logdir,
    pub(super) count: usize,
}

impl Helpers<'_> {
    /// Passes the pieces of a part of a file to `take` in order, until it breaks or a helper has to give up, as when the
    /// file behind this name is another one by now.
    pub(super) fn read(
        self,
        path: &Path,
        identity: (u64, u64),
        part: &Range<u64>,
        mut take: impl FnMut(&Piece) -> ControlFlow<()>,
    ) {
        thread::scope(|scope| {
            let lanes = (0..self.count as u64).map(|helper| {
                let (fill, filled) = mpsc::sync_channel(AHEAD);
                let (give_back, emptied) = mpsc::channel();
                let starts = (part.start + helper * PIECE..part.end).step_by(PIECE as usize * self.count);
                scope.spawn(move || {
                    let Some(file) = self.open(path, identity) else { return };
                    for start in starts {
                        let range = start..part.end.min(start + PIECE);
                        let Some(piece) = read(&*file, range, emptied.try_recv().ok()) else { return };
                        if fill.send(piece).is_err() {
                            return;
                        }
                    }
                });
                (filled, give_back)
            });
            let lanes: Vec<_> = lanes.collect();
            for (filled, give_back) in lanes.iter().cycle() {
                let Ok(piece) = filled.recv() else { return };
                if take(&piece).is_break() {
                    return;
                }
                // A helper that has reached the end wants no more buffers.
                let _ = give_back.send(piece);
            }
        });
    }

    fn open(&self, path: &Path, identity: (u64, u64)) -> Option<Box<dyn LogFile>> {
        let file = self.from.open(path).ok()?;
        file.stat().is_ok_and(|stat| stat.identity == identity).then_some(file)
    }
}

/// A piece, in the buffers of an earlier one; `None` if it cannot be read, about which the reader itself will hear.
fn read(file: &dyn LogFile, range: Range<u64>, buffers: Option<Piece>) -> Option<Piece> {
    let mut piece = buffers.unwrap_or_default();
    piece.start = range.start;
    piece.bytes.resize(usize::try_from(range.end - range.start).ok()?, 0);
    let got = file.read_at(&mut piece.bytes, range.start).ok()?;
    piece.bytes.truncate(got);
    piece.found.look(&piece.bytes);
    Some(piece)
}
