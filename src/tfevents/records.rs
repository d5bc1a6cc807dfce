//! Framing: finds the records in a range of bytes and verifies both checksums of each.
//!
//! Owns: the layout of a record (`u64` length, its masked CRC, data, their masked CRC, all little-endian). Must not
//! know: the content of the data, how damage is handled.

use super::checksum::mask;

/// Bytes before the data: the length and its checksum.
pub(super) const HEADER: usize = 12;

/// Bytes around the data.
pub(super) const FRAME: usize = HEADER + 4;

/// Longer records are skipped by their length without reading them: images, graphs and embeddings, which diagnosis does
/// not use.
pub const MAX_READ: u64 = 64 << 20;

/// No event is longer, because a protobuf message is limited to 2 GiB. A greater length is damage, whatever its
/// checksum.
pub const MAX_RECORD: u64 = (1 << 31) - 1;

/// A record whose checksums hold, by the place of its data in the bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) len: u32,
}

/// Records whose checksums hold.
#[derive(Debug)]
pub(super) struct Batch {
    spans: [Span; BATCH],
    len: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Batch { spans: [Span::default(); BATCH], len: 0 }
    }
}

impl Batch {
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans[..self.len]
    }
}

/// Why framing went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The batch is full; there may be more.
    Full,
    /// The bytes end inside a record of which `wants` bytes are needed.
    NotYet { wants: usize },
    /// The bytes are not a header.
    BadHeader,
    /// The header is valid, but the data are not.
    BadData { len: usize },
    /// The header is valid, but the data are too long to be read.
    TooLong { len: u64 },
}

/// So many records are framed at a time: enough to keep the processor busy with the next checksum while one is still
/// under way, few enough for their bytes to be in the first-level cache when they are decoded.
const BATCH: usize = 128;

/// The records at the start of `bytes`, at most [`BATCH`], how many bytes they take, and why it stopped there.
pub(super) fn frame(bytes: &[u8], batch: &mut Batch) -> (usize, Stop) {
    #[cfg(target_arch = "x86_64")]
    if super::checksum::sse42::available() {
        // SAFETY: `available` has just said that the processor has SSE 4.2, the only thing this function requires.
        return unsafe { frame_sse42(bytes, batch) };
    }
    walk(bytes, batch, |word| super::crc32c(&word.to_le_bytes()), super::crc32c)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn frame_sse42(bytes: &[u8], batch: &mut Batch) -> (usize, Stop) {
    use super::checksum::sse42::{of_data, of_word};
    walk(bytes, batch, |word| of_word(word), |data| of_data(data))
}

#[inline(always)]
fn walk(
    bytes: &[u8],
    batch: &mut Batch,
    of_word: impl Fn(u64) -> u32,
    of_data: impl Fn(&[u8]) -> u32,
) -> (usize, Stop) {
    let mut at = 0;
    let mut rest = bytes;
    batch.len = 0;
    for span in &mut batch.spans {
        let Some((len, sum, after)) = split_header(rest) else { return (at, Stop::NotYet { wants: HEADER }) };
        if mask(of_word(len)) != sum || len > MAX_READ {
            let is_length = mask(of_word(len)) == sum && len <= MAX_RECORD;
            return (at, if is_length { Stop::TooLong { len } } else { Stop::BadHeader });
        }
        let len = len as usize;
        let Some((data, sum, next)) = split_data(after, len) else { return (at, Stop::NotYet { wants: FRAME + len }) };
        if mask(of_data(data)) != sum {
            return (at, Stop::BadData { len });
        }
        *span = Span { start: (at + HEADER) as u32, len: len as u32 };
        batch.len += 1;
        at += FRAME + len;
        rest = next;
    }
    (at, Stop::Full)
}

#[inline(always)]
fn split_header(bytes: &[u8]) -> Option<(u64, u32, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    Some((u64::from_le_bytes(*len), u32::from_le_bytes(*sum), rest))
}

/// The data of a record, of at most [`MAX_RECORD`] bytes, its checksum, and what follows.
#[inline(always)]
fn split_data(bytes: &[u8], len: usize) -> Option<(&[u8], u32, &[u8])> {
    let (data, rest) = bytes.split_at_checked(len + 4)?;
    let (data, sum) = data.split_last_chunk::<4>()?;
    Some((data, u32::from_le_bytes(*sum), rest))
}

/// The length in the header at the start of `bytes`, if that is one. `None` also when there are too few bytes.
pub(super) fn header(bytes: &[u8]) -> Option<u64> {
    let (len, sum, _) = split_header(bytes)?;
    (mask(super::crc32c(&len.to_le_bytes())) == sum && len <= MAX_RECORD).then_some(len)
}

/// Whether the record at the start of `bytes`, whose header gave `len`, has good data; `None`: the bytes end before.
pub(super) fn data_holds(bytes: &[u8], len: usize) -> Option<bool> {
    let (data, sum, _) = split_data(bytes.get(HEADER..)?, len)?;
    Some(mask(super::crc32c(data)) == sum)
}

/// Where the first record in `bytes` starts. If none is found: how many bytes were passed over, and how many are needed
/// from there on to come any further.
pub(super) fn search(bytes: &[u8]) -> Result<usize, (usize, u64)> {
    let candidates = bytes.len().saturating_sub(HEADER - 1);
    for at in 0..candidates {
        let here = &bytes[at..];
        let Some(len) = header(here).filter(|&len| len <= MAX_READ) else { continue };
        match data_holds(here, len as usize) {
            Some(false) => {}
            Some(true) => return Ok(at),
            None => return Err((at, FRAME as u64 + len)),
        }
    }
    Err((candidates, HEADER as u64))
}

#[cfg(test)]
mod tests {
    use super::super::encode::record;
    use super::*;

    fn framed(bytes: &[u8]) -> (Vec<Span>, usize, Stop) {
        let mut batch = Batch::default();
        let (used, stop) = frame(bytes, &mut batch);
        (batch.spans().to_vec(), used, stop)
    }

    #[test]
    fn whole_records_are_found_and_the_rest_is_waited_for() {
        let mut bytes = record(b"one");
        bytes.extend(record(b""));
        let whole = bytes.len();
        bytes.extend(&record(b"three")[..15]);
        let (spans, used, stop) = framed(&bytes);
        assert_eq!(spans.iter().map(|s| s.len).collect::<Vec<_>>(), [3, 0]);
        assert_eq!((used, stop), (whole, Stop::NotYet { wants: FRAME + 5 }));
    }

    #[test]
    fn every_cut_is_not_yet() {
        let bytes = record(b"some data");
        for cut in 0..bytes.len() {
            assert!(matches!(framed(&bytes[..cut]), (_, 0, Stop::NotYet { wants }) if wants > cut), "cut at {cut}");
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let good = record(b"some data that is longer than a word");
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (spans, used, stop) = framed(&bytes);
            assert!(spans.is_empty() && used == 0, "bit {bit}");
            let in_header = bit / 8 < HEADER;
            assert_eq!(in_header, stop == Stop::BadHeader, "bit {bit}: {stop:?}");
        }
    }

    #[test]
    fn hostile_lengths_are_no_demand_on_memory() {
        for (len, expected) in [
            (u64::MAX, Stop::BadHeader),
            (u64::MAX - 3, Stop::BadHeader),
            (1 << 40, Stop::BadHeader),
            (MAX_RECORD, Stop::TooLong { len: MAX_RECORD }),
            (MAX_READ, Stop::NotYet { wants: FRAME + MAX_READ as usize }),
        ] {
            let mut bytes = len.to_le_bytes().to_vec();
            bytes.extend(super::super::masked_crc32c(&len.to_le_bytes()).to_le_bytes());
            assert_eq!(framed(&bytes), (Vec::new(), 0, expected));
        }
    }

    #[test]
    fn a_header_of_zeros_is_no_header() {
        assert_eq!(framed(&[0; 64]).2, Stop::BadHeader);
    }
}
