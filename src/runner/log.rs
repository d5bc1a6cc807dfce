//! The log of a job: only its head and tail are kept.
//!
//! Owns: how much is kept, and how it is read. Must not know: who writes it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::fate::LONGEST_TAIL;

/// The beginning shows the command and its settings.
const HEAD: u64 = 1024 * 1024;

/// The end shows the result.
const TAIL: u64 = 4 * 1024 * 1024;

/// The middle is released in blocks of at least this size, a multiple of every file system's block size.
const PART: u64 = 4 * 1024 * 1024;

/// Opens the log of a job for appending, so that truncation from outside leaves no hole for the writer.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)
}

/// Releases the middle of a long log to the file system. `given_back` is the number of bytes released before, counted
/// from the head.
///
/// # Errors
/// The file cannot be read or truncated.
pub(super) fn trim(file: &File, given_back: &mut u64) -> io::Result<()> {
    let size = file.metadata()?.len();
    let from = HEAD + *given_back;
    if size < from + TAIL + PART {
        return Ok(());
    }
    let whole = (size - TAIL - from) / PART * PART;
    if punch(file, from, whole)? {
        *given_back += whole;
        return Ok(());
    }
    cut(file, size, given_back)
}

/// Punches a hole, which loses no concurrent output; `false` if the file system does not support this.
#[cfg(target_os = "linux")]
fn punch(file: &File, from: u64, bytes: u64) -> io::Result<bool> {
    use rustix::fs::FallocateFlags;
    match rustix::fs::fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, bytes) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn punch(_: &File, _: u64, _: u64) -> io::Result<bool> {
    Ok(false)
}

/// Rewrites head and tail. Output between reading and truncating is lost, a few lines at most.
fn cut(file: &File, size: u64, given_back: &mut u64) -> io::Result<()> {
    let mut log = file;
    let mut tail = Vec::new();
    log.seek(SeekFrom::Start(size - TAIL))?;
    log.take(TAIL).read_to_end(&mut tail)?;
    file.set_len(HEAD)?;
    *given_back = 0;
    log.write_all(b"\n[the middle of this log was omitted]\n")?;
    log.write_all(&tail)
}

/// The last lines of a log: at most [`LONGEST_TAIL`] bytes of text.
pub(super) fn tail(path: &Path) -> Option<String> {
    let bytes = last(path, LONGEST_TAIL as u64).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let whole = text.trim_matches(['\0', '\u{fffd}']).trim_end();
    (!whole.is_empty()).then(|| whole.to_owned())
}

fn last(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a log to `out`, with a line in place of the released part.
///
/// # Errors
/// The log cannot be read, or `out` cannot be written.
pub(super) fn copy(path: &Path, out: &mut impl Write) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut part = vec![0; 64 * 1024];
    let mut left_out = false;
    loop {
        let read = file.read(&mut part)?;
        if read == 0 {
            return Ok(());
        }
        for line in part[..read].split_inclusive(|byte| *byte == b'\n') {
            // A hole reads as zeros.
            let text: Vec<u8> = line.iter().copied().filter(|byte| *byte != 0).collect();
            if text.len() < line.len() && !left_out {
                left_out = true;
                out.write_all(b"\n[the middle of this log was omitted]\n")?;
            }
            out.write_all(&text)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_keeps_head_and_tail_and_costs_no_more() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = open(&path).unwrap();
        let mut given_back = 0;
        file.write_all(b"first line\n").unwrap();
        let line = [b'x'; 1023];
        for kilobyte in 0..64 * 1024 {
            file.write_all(&line).unwrap();
            file.write_all(b"\n").unwrap();
            if kilobyte % 512 == 0 {
                trim(&file, &mut given_back).unwrap();
            }
        }
        file.write_all(b"last line\n").unwrap();
        trim(&file, &mut given_back).unwrap();
        assert!(file.metadata().unwrap().blocks() * 512 < HEAD + TAIL + 3 * PART);
        assert!(tail(&path).unwrap().ends_with("last line"));
        let mut shown = Vec::new();
        copy(&path, &mut shown).unwrap();
        assert!(shown.starts_with(b"first line\n") && shown.ends_with(b"last line\n"));
        assert!(shown.len() < (HEAD + TAIL + 3 * PART) as usize, "{}", shown.len());
    }

    #[test]
    fn where_there_are_no_holes_it_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(&path).unwrap();
        let size = HEAD + TAIL + 2 * PART;
        file.write_all(b"first\n").unwrap();
        file.write_all(&vec![b'x'; size as usize]).unwrap();
        file.write_all(b"\nlast\n").unwrap();
        let size = file.metadata().unwrap().len();
        cut(&file, size, &mut 0).unwrap();
        let text = std::fs::read(&path).unwrap();
        assert!(text.starts_with(b"first\n") && text.ends_with(b"\nlast\n"));
        assert!((text.len() as u64) < HEAD + TAIL + 100);
    }

    #[test]
    fn a_tail_begins_at_a_character() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "ä".repeat(4000) + "end\n").unwrap();
        let tail = tail(&path).unwrap();
        assert!(tail.ends_with("äend") && tail.len() <= LONGEST_TAIL);
        assert_eq!(super::tail(&folder.path().join("none")), None);
    }
}
