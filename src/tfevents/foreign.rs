//! Classifies files that are named like event files but contain no readable events.
//!
//! Owns: how such files are distinguished, and a fix for each. Must not know: the source of the bytes.

use std::fmt;

use super::event::{Event, What};
use super::records::{self, FRAME, HEADER, MAX_READ};

/// Number of first bytes of a file that [`Foreign::of`] needs.
pub const LOOK: usize = 64 << 10;

/// The type of an unreadable file, with a fix as [`Display`](fmt::Display).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// Empty.
    Empty,
    /// Only zeros.
    Zeros,
    /// Compressed, or an archive: the format, and the command that unpacks it.
    Compressed(&'static str, &'static str),
    /// A Git LFS pointer.
    LfsPointer,
    /// A git-annex pointer.
    AnnexPointer,
    /// An HTML or XML page.
    Page,
    /// JSON.
    Json,
    /// Other text.
    Text,
    /// Records without checksums, or with wrong ones throughout.
    NoChecksums,
    /// `\n` became `\r\n`.
    LineEndsAdded,
    /// `\r\n` became `\n`.
    LineEndsRemoved,
    /// Read as text in one encoding and written in another.
    Recoded,
    /// Complete records that are not events.
    OtherRecords,
    /// Something else.
    Unknown,
}

/// First bytes, the format, the command.
const COMPRESSED: &[(&[u8], &str, &str)] = &[
    (b"\x1f\x8b", "gzip", "gunzip"),
    (b"BZh", "bzip2", "bunzip2"),
    (b"\xfd7zXZ\0", "xz", "unxz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", "unzstd"),
    (b"\x04\x22\x4d\x18", "LZ4", "unlz4"),
    (b"\x1f\x9d", "compress", "uncompress"),
    (b"PK\x03\x04", "zip", "unzip"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip", "7z x"),
];

impl Foreign {
    /// What a file is, by its first bytes, [`LOOK`] of them if it has as many, where its first records could not be read
    /// or are no events. `None` if it begins as event files do, or may still become one.
    pub fn of(start: &[u8]) -> Option<Foreign> {
        let compressed = COMPRESSED.iter().find(|(magic, ..)| start.starts_with(magic));
        if let Some((_, format, command)) = compressed {
            return Some(Foreign::Compressed(format, command));
        }
        if start.is_empty() {
            return Some(Foreign::Empty);
        }
        if start.iter().all(|byte| *byte == 0) {
            return Some(Foreign::Zeros);
        }
        if start.get(257..262) == Some(b"ustar") {
            return Some(Foreign::Compressed("tar", "tar xf"));
        }
        let whole = leading(start);
        if leading(&without_carriage_returns(start)).records > whole.records {
            return Some(Foreign::LineEndsAdded);
        }
        if lost_bytes(&start[whole.bytes..]) {
            return Some(Foreign::LineEndsRemoved);
        }
        if whole.records > 0 {
            return (whole.events == 0).then_some(Foreign::OtherRecords);
        }
        let is_unfinished = |len: u64| records::data_holds(start, len as usize).is_none();
        if records::header(start).is_some_and(is_unfinished) {
            return None;
        }
        if [(HEADER, FRAME), (8, 8), (8, FRAME - 4), (HEADER, HEADER)].iter().any(|frame| are_records(start, *frame)) {
            return Some(Foreign::NoChecksums);
        }
        let text = as_text(start);
        // What is shorter than a header may be the beginning of one.
        if start.len() < HEADER {
            text.filter(|found| *found != Foreign::Recoded)
        } else {
            text.or(Some(Foreign::Unknown))
        }
    }
}

/// The records at the front whose checksums hold.
#[derive(Debug, Default)]
struct Leading {
    records: usize,
    events: usize,
    bytes: usize,
}

fn leading(bytes: &[u8]) -> Leading {
    let mut found = Leading::default();
    while let Some(len) = bytes.get(found.bytes..).and_then(records::header).filter(|len| *len <= MAX_READ) {
        let rest = &bytes[found.bytes..];
        if records::data_holds(rest, len as usize) != Some(true) {
            break;
        }
        found.records += 1;
        found.events += usize::from(is_event(&rest[HEADER..HEADER + len as usize]));
        found.bytes += FRAME + len as usize;
    }
    found
}

fn is_event(record: &[u8]) -> bool {
    Event::parse(record).is_ok_and(|event| event.wall_time > 0.0 || !matches!(event.what, What::Other))
}

fn without_carriage_returns(bytes: &[u8]) -> Vec<u8> {
    let kept = |(i, byte): (usize, &u8)| (*byte != b'\r' || bytes.get(i + 1) != Some(&b'\n')).then_some(*byte);
    bytes.iter().enumerate().filter_map(kept).collect()
}

/// Whether the first record is shorter than it says by a few bytes: the next one begins too early.
fn lost_bytes(bytes: &[u8]) -> bool {
    const MOST: usize = 8;
    let Some(len) = records::header(bytes).filter(|len| *len <= MAX_READ) else { return false };
    let end = FRAME + len as usize;
    if records::data_holds(bytes, len as usize) != Some(false) || !bytes[HEADER..end].contains(&b'\n') {
        return false;
    }
    (1..=MOST).any(|lost| end.checked_sub(lost).and_then(|at| bytes.get(at..)).and_then(records::header).is_some())
}

/// Whether the bytes are events one behind the other if checksums are passed over: `frame` is how long the header is and
/// all that is around the data.
fn are_records(bytes: &[u8], (header, frame): (usize, usize)) -> bool {
    let (mut at, mut events) = (0, 0);
    while let Some(len) = bytes.get(at..at + 8).and_then(|len| len.try_into().ok()).map(u64::from_le_bytes) {
        let Ok(len) = usize::try_from(len.min(MAX_READ)) else { return false };
        let Some(record) = bytes.get(at + header..at + header + len) else {
            // The last one may go beyond what was looked at.
            return events > 0 && bytes.len() == LOOK;
        };
        if !is_event(record) {
            return false;
        }
        events += 1;
        at += frame + len;
    }
    events > 0 && at >= bytes.len()
}

/// What it is if it is text.
fn as_text(bytes: &[u8]) -> Option<Foreign> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // A character may be cut at the end of what was looked at.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    if text.starts_with("version https://git-lfs.github.com/spec/") || text.starts_with("version https://hawser.") {
        return Some(Foreign::LfsPointer);
    }
    if text.starts_with("/annex/objects/") || text.contains(".git/annex/objects/") {
        return Some(Foreign::AnnexPointer);
    }
    if text.contains(|c: char| c == '\u{fffd}' || (c.is_control() && !c.is_whitespace())) {
        return Some(Foreign::Recoded);
    }
    match text.trim_start().chars().next() {
        Some('<') => Some(Foreign::Page),
        Some('{' | '[') => Some(Foreign::Json),
        _ => Some(Foreign::Text),
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BINARY: &str = "copy it again in binary mode (with git: `*tfevents* -text` in .gitattributes)";
        match self {
            Foreign::Empty => f.write_str("it is empty: nothing was written to it yet, or a copy was broken off"),
            Foreign::Zeros => f.write_str(
                "it holds only zeros: the file system has not delivered its bytes yet, or the machine that wrote it crashed",
            ),
            Foreign::Compressed(format, command) => {
                write!(f, "it is compressed ({format}): decompress it with `{command}` and keep `tfevents` in its name")
            }
            Foreign::LfsPointer => f.write_str("it is a Git LFS pointer, not the file itself: run `git lfs pull`"),
            Foreign::AnnexPointer => f.write_str("it is a git-annex pointer, not the file itself: run `git annex get`"),
            Foreign::Page => {
                f.write_str("it is an HTML or XML page, such as the error page of a download: download it again")
            }
            Foreign::Json => f.write_str("it is JSON, such as the error message of a download: download it again"),
            Foreign::Text => f.write_str("it is text, not event records: copy the event file itself"),
            Foreign::NoChecksums => f.write_str(
                "its records have no valid checksums, so damage cannot be detected: write it with TensorBoard's own \
                 writer, or with one that computes them",
            ),
            Foreign::LineEndsAdded => write!(f, "its line ends were converted from LF to CRLF, which damages binary files: {BINARY}"),
            Foreign::LineEndsRemoved => {
                write!(f, "bytes are missing as after a conversion of line ends from CRLF to LF: {BINARY}")
            }
            Foreign::Recoded => write!(f, "it was read and written as text, which damages binary files: {BINARY}"),
            Foreign::OtherRecords => f.write_str("its records are not events: it is another kind of TFRecord file"),
            Foreign::Unknown => f.write_str("it does not begin with an event record: it is another kind of file, or damaged"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;

    fn events() -> Vec<u8> {
        let mut bytes = encode::file_version(1.7e9);
        // Values with and without bytes that are line ends.
        (0..200).for_each(|i| bytes.extend(encode::scalar(1.7e9 + i as f64, i, "train/loss", 1.0 / (1.0 + i as f32))));
        bytes
    }

    fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let hit = rest.starts_with(from);
            out.extend_from_slice(if hit { to } else { &rest[..1] });
            rest = &rest[if hit { from.len() } else { 1 }..];
        }
        out
    }

    /// Frames records anew: `header` and `footer` are what takes the place of checksums.
    fn framed(header: &[u8], footer: &[u8]) -> Vec<u8> {
        let (bytes, mut out, mut at) = (events(), Vec::new(), 0);
        while let Some(len) = records::header(&bytes[at..]) {
            let data = &bytes[at + HEADER..at + HEADER + len as usize];
            out.extend(len.to_le_bytes());
            [header, data, footer].iter().for_each(|part| out.extend_from_slice(part));
            at += FRAME + len as usize;
            if at == bytes.len() {
                break;
            }
        }
        out
    }

    #[test]
    fn each_kind_of_file_is_known_by_its_bytes() {
        let gzip = [b"\x1f\x8b\x08\0\0\0\0\0".as_slice(), &[7; 500]].concat();
        let mut tar = vec![b'a'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        for (bytes, expected) in [
            (Vec::new(), Some(Foreign::Empty)),
            (vec![0; 4096], Some(Foreign::Zeros)),
            (gzip, Some(Foreign::Compressed("gzip", "gunzip"))),
            (tar, Some(Foreign::Compressed("tar", "tar xf"))),
            (lfs.into(), Some(Foreign::LfsPointer)),
            (b"/annex/objects/SHA256E-s31390--f50d7ac4\n".into(), Some(Foreign::AnnexPointer)),
            (b"<!DOCTYPE html><html>404</html>".into(), Some(Foreign::Page)),
            (b"{\"message\": \"Not Found\"}".into(), Some(Foreign::Json)),
            (b"step,loss\n1,2.5\n".into(), Some(Foreign::Text)),
            (framed(&[0; 4], &[0; 4]), Some(Foreign::NoChecksums)),
            (framed(&[], &[]), Some(Foreign::NoChecksums)),
            (framed(b"\x01\x02\x03\x04", &[0; 4]), Some(Foreign::NoChecksums)),
            (replaced(&events(), b"\n", b"\r\n"), Some(Foreign::LineEndsAdded)),
            (String::from_utf8_lossy(&events()).into_owned().into_bytes(), Some(Foreign::Recoded)),
            (encode::record(b"\x0a\x05other"), Some(Foreign::OtherRecords)),
            ((0..=255).cycle().skip(128).take(2000).collect(), Some(Foreign::Unknown)),
        ] {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            assert_eq!(Foreign::of(&bytes), expected, "{shown:?}");
        }
    }

    #[test]
    fn bytes_that_a_conversion_took_away_are_missed() {
        let bytes = (0..5000).find_map(|i| {
            let mut bytes = encode::file_version(1.7e9);
            bytes.extend(encode::scalar(1.7e9, 0, "loss", f32::from_le_bytes([i as u8, b'\r', b'\n', 63])));
            bytes.extend(encode::scalar(1.7e9, 1, "loss", 0.5));
            bytes.windows(2).any(|pair| pair == b"\r\n").then_some(bytes)
        });
        let damaged = replaced(&bytes.expect("one has a line end"), b"\r\n", b"\n");
        assert_eq!(Foreign::of(&damaged), Some(Foreign::LineEndsRemoved));
    }

    #[test]
    fn what_is_or_may_become_an_event_file_is_none() {
        let bytes = events();
        for len in (1..HEADER).chain([HEADER + 3, 60, 200, bytes.len()]) {
            assert_eq!(Foreign::of(&bytes[..len]), None, "{len} bytes");
        }
        let mut zeros = bytes.clone();
        zeros.truncate(100);
        zeros.resize(4096, 0);
        assert_eq!(Foreign::of(&zeros), None, "a tail of zeros is waited for");
        let mut flipped = bytes;
        flipped[70] ^= 1;
        assert_eq!(Foreign::of(&flipped), None, "one bad record is damage, not another kind of file");
    }

    #[test]
    fn any_bytes_are_survived() {
        let mut state = 7_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        for len in 0..400 {
            let bytes: Vec<u8> = (0..len).map(|_| random()).collect();
            let _ = Foreign::of(&bytes);
            let mut cut = events();
            cut.truncate(len);
            let _ = Foreign::of(&cut);
        }
    }
}
