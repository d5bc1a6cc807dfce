//! Follows the records of a file that grows, is truncated, or is damaged.
//!
//! Owns: where to continue reading, and how to handle a part that is not a record. Must not know: the source of the
//! bytes.
//!
//! Decisions depend only on the bytes of the file, never on how many of them were available at a time: if the bytes are
//! not sufficient, no decision is made. In particular, a bad record at the end of the bytes is not skipped, because
//! network file systems show a tail of zeros or half a record while a file is being written.

use std::ops::Range;

use super::found::Found;
use super::records::{self, Batch, FRAME, HEADER, MAX_READ, Span, Stop};

/// The position up to which a file was read.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    offset: u64,
    /// Where the stretch began that is no record and whose end was not found yet.
    damage: Option<u64>,
    bad_records: u64,
    skipped_bytes: u64,
    last_skip: Option<Range<u64>>,
}

/// How far [`Tail::advance`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// Bytes from the new [`Tail::offset`] on that are needed to come any further.
    pub wants: u64,
}

/// A damaged stretch up to this long is looked at again from its start whenever the file has grown, as its bytes may
/// have been filled in since.
const LOOK_AGAIN: u64 = 1 << 20;

impl Tail {
    /// Where the bytes have to start that [`Tail::advance`] is given next.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes up to here are settled: what follows is an unfinished record, or damage without a known end.
    pub fn settled(&self) -> u64 {
        self.damage.unwrap_or(self.offset)
    }

    /// Whether something that is no record stands at [`Tail::settled`], and no record was found behind it.
    pub fn is_damaged(&self) -> bool {
        self.damage.is_some()
    }

    /// Skipped records: bad checksum, too long, or damaged parts.
    pub fn bad_records(&self) -> u64 {
        self.bad_records
    }

    /// Skipped bytes.
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// The last stretch that was passed over as damage.
    pub fn last_skip(&self) -> Option<&Range<u64>> {
        self.last_skip.as_ref()
    }

    /// To be called before new bytes are looked at: unresolved damage is judged afresh.
    pub fn look_again(&mut self) {
        if let Some(start) = self.damage
            && self.offset - start <= LOOK_AGAIN
        {
            self.offset = start;
            self.damage = None;
        }
    }

    /// Passes the data of each good record to `take`, in order. `bytes` start at [`Tail::offset`] and end anywhere.
    #[inline]
    pub fn advance(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) -> Advance {
        let mut batch = Batch::default();
        let mut rest = bytes;
        loop {
            if self.damage.is_some() {
                match self.search(rest) {
                    Ok(skipped) => rest = &rest[skipped..],
                    Err(advance) => return advance,
                }
            }
            let (used, stop) = records::frame(rest, &mut batch);
            pass_on(rest, batch.spans(), &mut take);
            self.offset += used as u64;
            rest = &rest[used..];
            let skip = match stop {
                Stop::Full => 0,
                Stop::NotYet { wants } => return Advance { wants: wants as u64 },
                Stop::TooLong { len } => FRAME as u64 + len,
                Stop::BadHeader => {
                    self.damage = Some(self.offset);
                    1
                }
                Stop::BadData { len } => match self.after_bad_data(rest, len) {
                    Ok(skip) => skip,
                    Err(advance) => return advance,
                },
            };
            if self.damage.is_none() && skip > 0 {
                self.bad_records += 1;
                self.skipped_bytes += skip;
                if skip <= MAX_READ {
                    self.last_skip = Some(self.offset..self.offset + skip);
                }
            }
            self.offset += skip;
            match usize::try_from(skip).ok().and_then(|skip| rest.get(skip..)) {
                Some(after) => rest = after,
                None => return Advance { wants: HEADER as u64 },
            }
        }
    }

    /// Like [`Tail::advance`] with the bytes of a piece of the file from [`Tail::offset`] on, where the records of this
    /// piece were looked for before. The piece starts at `start`, and the offset must be in it.
    pub fn advance_found(&mut self, start: u64, piece: &[u8], found: &Found, mut take: impl FnMut(&[u8])) -> Advance {
        let at = |offset: u64| usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX).min(piece.len());
        if self.damage.is_none()
            && let Some((spans, end)) = found.from(at(self.offset))
        {
            pass_on(piece, spans, &mut take);
            self.offset = start + end as u64;
        }
        self.advance(&piece[at(self.offset)..], take)
    }

    /// The length of a record with bad data can be trusted if a header follows where it says; else the record was
    /// torn, and what follows it starts somewhere inside. With nothing behind it, it may still be written.
    fn after_bad_data(&mut self, rest: &[u8], len: usize) -> Result<u64, Advance> {
        let whole = FRAME + len;
        match rest.get(whole..).filter(|next| next.len() >= HEADER) {
            None => Err(Advance { wants: (whole + HEADER) as u64 }),
            Some(next) if records::header(next).is_some() => Ok(whole as u64),
            Some(_) => {
                self.damage = Some(self.offset);
                Ok(HEADER as u64)
            }
        }
    }

    /// Looks for the next good record, and moves there.
    fn search(&mut self, bytes: &[u8]) -> Result<usize, Advance> {
        match records::search(bytes) {
            Ok(at) => {
                self.end_damage(at as u64);
                Ok(at)
            }
            Err((passed, wants)) => {
                self.offset += passed as u64;
                Err(Advance { wants })
            }
        }
    }

    fn end_damage(&mut self, found_after: u64) {
        self.offset += found_after;
        if let Some(start) = self.damage.take() {
            self.bad_records += 1;
            self.skipped_bytes += self.offset - start;
            self.last_skip = Some(start..self.offset);
        }
    }
}

/// A function of its own for the sake of its registers: what `take` does is inlined here, far from the framing.
#[inline(never)]
fn pass_on(bytes: &[u8], spans: &[Span], take: &mut impl FnMut(&[u8])) {
    for span in spans {
        take(&bytes[span.start as usize..][..span.len as usize]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::encode::record;
    use super::*;

    /// Reads `bytes` as they arrive up to each of `cuts`, as a file is read: every time afresh from the offset, in
    /// windows no larger than `window`.
    fn read(bytes: &[u8], cuts: &[usize], window: usize) -> (Vec<Vec<u8>>, Tail) {
        let (mut tail, mut got) = (Tail::default(), Vec::new());
        for &cut in cuts.iter().chain([&bytes.len()]) {
            tail.look_again();
            let mut size = window;
            loop {
                let start = (tail.offset() as usize).min(cut);
                let end = cut.min(start + size);
                let before = tail.offset();
                let advance = tail.advance(&bytes[start..end], |data| got.push(data.to_vec()));
                if end == cut {
                    break;
                }
                if tail.offset() == before {
                    size = size.max(advance.wants as usize);
                }
            }
        }
        (got, tail)
    }

    fn file() -> (Vec<u8>, Vec<Vec<u8>>) {
        let data: Vec<Vec<u8>> = (0..20_u8).map(|i| vec![i; 10 + usize::from(i) * 3]).collect();
        (data.iter().flat_map(|d| record(d)).collect(), data)
    }

    #[test]
    fn a_growing_file_is_read_once_whatever_the_cuts() {
        let (bytes, data) = file();
        let every: Vec<usize> = (0..bytes.len()).collect();
        let (got, tail) = read(&bytes, &every, 64);
        assert_eq!(got, data);
        assert_eq!((tail.bad_records(), tail.settled()), (0, bytes.len() as u64));
    }

    #[test]
    fn one_bad_checksum_costs_one_record() {
        let (mut bytes, mut data) = file();
        let third: usize = data[..2].iter().map(|d| d.len() + FRAME).sum();
        bytes[third + HEADER + 1] ^= 4;
        let (got, tail) = read(&bytes, &[], 4096);
        data.remove(2);
        assert_eq!(got, data);
        assert_eq!((tail.bad_records(), tail.skipped_bytes()), (1, 32));
    }

    #[test]
    fn a_damaged_header_costs_one_record() {
        let (mut bytes, mut data) = file();
        let third: usize = data[..2].iter().map(|d| d.len() + FRAME).sum();
        bytes[third + 3] ^= 4;
        let (got, tail) = read(&bytes, &[], 4096);
        data.remove(2);
        assert_eq!(got, data);
        assert_eq!(
            (tail.bad_records(), tail.skipped_bytes(), tail.last_skip()),
            (1, 32, Some(&(third as u64..third as u64 + 32)))
        );
    }

    #[test]
    fn a_torn_record_does_not_take_the_next_one_along() {
        let (bytes, data) = file();
        let mut torn = record(b"this was cut off by a crash")[..20].to_vec();
        torn.extend(&bytes);
        assert_eq!(read(&torn, &[], 4096).0, data);
    }

    #[test]
    fn a_tail_of_zeros_is_waited_for() {
        let (bytes, data) = file();
        let half = bytes.len() / 2;
        let mut seen = bytes.clone();
        seen[half..].fill(0);
        let (mut got, mut tail) = read(&seen, &[], 4096);
        assert!(tail.is_damaged() || tail.settled() < bytes.len() as u64);
        tail.look_again();
        let start = tail.offset() as usize;
        tail.advance(&bytes[start..], |data| got.push(data.to_vec()));
        assert_eq!(got, data);
        assert_eq!(tail.bad_records(), 0);
    }

    #[test]
    fn a_record_too_long_to_read_is_passed_over_by_its_length() {
        let len = MAX_READ + 5;
        let mut header = len.to_le_bytes().to_vec();
        header.extend(super::super::masked_crc32c(&len.to_le_bytes()).to_le_bytes());
        let mut tail = Tail::default();
        let advance = tail.advance(&header, |_| unreachable!("no data"));
        assert_eq!(advance, Advance { wants: HEADER as u64 });
        assert_eq!(tail.offset(), FRAME as u64 + len);
        assert_eq!(tail.skipped_bytes(), FRAME as u64 + len);
    }

    proptest! {
        /// The invariant that all else rests on, with damage anywhere.
        #[test]
        fn arrival_and_windows_change_nothing(
            flips in proptest::collection::vec((0_usize..900, 0_u8..8), 0..6),
            zeros in (0_usize..900, 0_usize..60),
            mut cuts in proptest::collection::vec(0_usize..900, 0..12),
            window in 13_usize..400,
        ) {
            let (mut bytes, _) = file();
            for (at, bit) in flips {
                let at = at % bytes.len();
                bytes[at] ^= 1 << bit;
            }
            let (start, len) = (zeros.0 % bytes.len(), zeros.1);
            let end = (start + len).min(bytes.len());
            bytes[start..end].fill(0);
            cuts.iter_mut().for_each(|cut| *cut %= bytes.len());
            cuts.sort_unstable();
            let (whole, one) = read(&bytes, &[], 1 << 20);
            let (pieces, many) = read(&bytes, &cuts, window);
            prop_assert_eq!(whole, pieces);
            prop_assert_eq!(one.settled(), many.settled());
            prop_assert_eq!(one.is_damaged(), many.is_damaged());
            prop_assert_eq!(one.bad_records(), many.bad_records());
            prop_assert_eq!(one.skipped_bytes(), many.skipped_bytes());
        }

        /// What is found ahead, in pieces that start anywhere, changes nothing, whatever is damaged.
        #[test]
        fn looking_ahead_changes_nothing(
            flips in proptest::collection::vec((0_usize..900, 0_u8..8), 0..6),
            zeros in (0_usize..900, 0_usize..60),
            inside in any::<bool>(),
            piece in 13_usize..400,
        ) {
            let (mut bytes, _) = file();
            if inside {
                // A record whose data are records.
                bytes = [record(&bytes), bytes].concat();
            }
            for (at, bit) in flips {
                let at = at % bytes.len();
                bytes[at] ^= 1 << bit;
            }
            let start = zeros.0 % bytes.len();
            let end = (start + zeros.1).min(bytes.len());
            bytes[start..end].fill(0);
            let (expected, whole) = read(&bytes, &[], 1 << 20);
            let (mut tail, mut got, mut found) = (Tail::default(), Vec::new(), Found::default());
            for start in (0..bytes.len()).step_by(piece) {
                // The end of the piece before, by itself.
                let seam = tail.offset() as usize;
                if seam < start {
                    tail.advance(&bytes[seam..bytes.len().min(start + 100)], |data| got.push(data.to_vec()));
                }
                let there = &bytes[start..bytes.len().min(start + piece)];
                if (start..start + there.len()).contains(&(tail.offset() as usize)) {
                    found.look(there);
                    tail.advance_found(start as u64, there, &found, |data| got.push(data.to_vec()));
                }
            }
            let rest = bytes.len().min(tail.offset() as usize);
            tail.advance(&bytes[rest..], |data| got.push(data.to_vec()));
            prop_assert_eq!(got, expected);
            prop_assert_eq!(
                (tail.settled(), tail.is_damaged(), tail.bad_records(), tail.skipped_bytes(), tail.last_skip()),
                (whole.settled(), whole.is_damaged(), whole.bad_records(), whole.skipped_bytes(), whole.last_skip())
            );
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let (_, tail) = read(&bytes, &[bytes.len() / 2], 100);
            prop_assert!(tail.settled() <= bytes.len() as u64);
        }
    }
}
