//! Records that were found in a piece of a file before its reader arrives there.
//!
//! Owns: framing from a place that may be inside a record. Must not know: who uses it.
//!
//! A record may contain the bytes of another one, so what is found here is a guess. [`Tail`](super::Tail) uses it only
//! from a record on that starts exactly at its own position: what follows is then what it would find itself.

use super::records::{self, Batch, FRAME, HEADER, Span, Stop};

/// The records in a piece of a file, from the first one on that starts in it, up to its end or to the first damage.
#[derive(Debug, Clone, Default)]
pub struct Found {
    spans: Vec<Span>,
}

impl Found {
    /// Looks for records in `bytes`, at most 4 GiB, in place of what was found before.
    pub fn look(&mut self, bytes: &[u8]) {
        self.spans.clear();
        let Ok(mut at) = records::search(bytes) else { return };
        let mut batch = Batch::default();
        loop {
            let (used, stop) = records::frame(&bytes[at..], &mut batch);
            let moved = |span: &Span| Span { start: span.start + at as u32, len: span.len };
            self.spans.extend(batch.spans().iter().map(moved));
            at += used;
            if stop != Stop::Full {
                return;
            }
        }
    }

    /// The records from the one on that starts `at` so many bytes, and where the last one ends.
    pub(super) fn from(&self, at: usize) -> Option<(&[Span], usize)> {
        let place = self.spans.binary_search_by_key(&(at + HEADER), |span| span.start as usize).ok()?;
        let last = self.spans.last()?;
        Some((&self.spans[place..], last.start as usize - HEADER + FRAME + last.len as usize))
    }
}
