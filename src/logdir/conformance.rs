//! The requirements for every log directory, whatever its storage.
//!
//! Owns: the tests that all implementations of [`Logdir`] pass. Must not know: any of them.

use std::io::ErrorKind;
use std::path::Path;

use super::{Kind, LogFile, Logdir, SideFile};

/// A log directory under test, and how to change what is in it.
pub(super) trait Subject {
    fn logdir(&self) -> &dyn Logdir;

    /// Gives a file its contents, or takes it away.
    fn set(&self, path: &str, contents: Option<&[u8]>);
}

/// Runs all tests, each on a subject of its own.
pub(super) fn holds<S: Subject>(make: impl Fn() -> S) {
    for test in [
        what_is_read_is_found_at_any_depth,
        names_are_kept_as_they_are,
        any_part_of_a_file_can_be_read,
        a_change_shows_in_the_state_of_the_file,
        what_vanished_is_not_found,
    ] {
        test(&make());
    }
    an_open_file_is_read_as_one_file(&make());
}

fn paths(logdir: &dyn Logdir, under: &str) -> Vec<String> {
    let found = logdir.discover(Path::new(under));
    assert_eq!((found.problems.as_slice(), found.unseen.as_slice()), (&[] as &[String], &[] as &[_]));
    let mut paths: Vec<_> = found.entries.iter().map(|entry| entry.path.display().to_string()).collect();
    paths.sort();
    paths
}

fn read(file: &dyn LogFile, offset: u64, len: usize) -> Vec<u8> {
    let mut buffer = vec![0xff; len];
    let got = file.read_at(&mut buffer, offset).expect("bytes");
    buffer.truncate(got);
    buffer
}

fn what_is_read_is_found_at_any_depth(subject: &dyn Subject) {
    let logdir = subject.logdir();
    assert_eq!(paths(logdir, ""), [] as [&str; 0]);
    for file in ["top.tfevents", "a/x.tfevents.1", "a/b/x.tfevents", "a/b/hparams.yaml", "a/notes.txt", "a/z.tfevents"]
    {
        subject.set(file, Some(b"x"));
    }
    logdir.check().expect("it is there");
    assert_eq!(
        paths(logdir, ""),
        ["a/b/hparams.yaml", "a/b/x.tfevents", "a/x.tfevents.1", "a/z.tfevents", "top.tfevents"]
    );
    assert_eq!(paths(logdir, "a/b"), ["a/b/hparams.yaml", "a/b/x.tfevents"]);
    assert_eq!(paths(logdir, "a/nothing"), [] as [&str; 0]);
    let found = logdir.discover(Path::new("")).entries;
    let runs: Vec<_> = found.iter().map(super::Entry::run).collect();
    let mut once = runs.clone();
    once.dedup();
    assert_eq!(once.len(), 3, "each directory's files are together: {runs:?}");
    let side = found.iter().find(|entry| entry.path.ends_with("hparams.yaml")).expect("the side file");
    assert_eq!((side.kind, side.run().as_str(), side.stat.size), (Kind::Side(SideFile::HparamsYaml), "a/b", 1));
}

fn names_are_kept_as_they_are(subject: &dyn Subject) {
    let odd = ["a b+c%20&=?#/x.tfevents", "lr=0.1,bs=2/ü 漢/x.tfevents.", "~/'\"*[]{}|\\^`<>/x.tfevents:1"];
    odd.iter().for_each(|path| subject.set(path, Some(path.as_bytes())));
    let found = paths(subject.logdir(), "");
    assert_eq!(found.len(), odd.len());
    for path in odd {
        assert!(found.iter().any(|found| found == path), "{path} in {found:?}");
        let file = subject.logdir().open(Path::new(path)).expect("the file");
        assert_eq!(read(&*file, 0, 100), path.as_bytes());
    }
}

fn any_part_of_a_file_can_be_read(subject: &dyn Subject) {
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    subject.set("x.tfevents", Some(&bytes));
    assert_eq!(paths(subject.logdir(), ""), ["x.tfevents"]);
    let file = subject.logdir().open(Path::new("x.tfevents")).expect("the file");
    let size = bytes.len() as u64;
    assert_eq!(file.stat().expect("its state").size, size);
    // Forwards with overlaps as a tail is read, backwards, across the end and behind it, large and small.
    for (offset, len) in [
        (0, 64),
        (0, 262_144),
        (262_100, 262_144),
        (524_244, 262_144),
        (3, 400_000),
        (1_100_000, 262_144),
        (10, 70_000),
        (600_000, 16),
        (size - 5, 10),
        (size - 5, 100_000),
        (size, 10),
        (size + 1, 100_000),
        (u64::MAX, 10),
        (7, 0),
    ] {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let expected = &bytes[start..bytes.len().min(start + len)];
        assert!(read(&*file, offset, len) == expected, "{len} bytes at {offset}");
    }
    subject.set("empty.tfevents", Some(b""));
    let empty = subject.logdir().open(Path::new("empty.tfevents")).expect("the file");
    assert_eq!((read(&*empty, 0, 10).len(), read(&*empty, 0, 100_000).len()), (0, 0));
}

fn a_change_shows_in_the_state_of_the_file(subject: &dyn Subject) {
    let state = || {
        let found = subject.logdir().discover(Path::new("")).entries;
        found.first().map(|entry| entry.stat).expect("the file")
    };
    subject.set("x.tfevents", Some(b"12"));
    let first = state();
    assert_eq!((first, first.size), (state(), 2));
    assert_eq!(subject.logdir().stat(Path::new("x.tfevents")).expect("its state"), first);
    subject.set("x.tfevents", Some(b"123"));
    let grown = state();
    assert_eq!(grown.size, 3);
    assert_ne!(grown, first);
    assert_eq!(subject.logdir().stat(Path::new("x.tfevents")).expect("its state"), grown);
}

fn what_vanished_is_not_found(subject: &dyn Subject) {
    subject.set("a/x.tfevents", Some(b"1"));
    subject.set("b/x.tfevents", Some(b"1"));
    assert_eq!(paths(subject.logdir(), ""), ["a/x.tfevents", "b/x.tfevents"]);
    subject.set("a/x.tfevents", None);
    assert_eq!(paths(subject.logdir(), ""), ["b/x.tfevents"]);
    let kind = |path: &str| subject.logdir().stat(Path::new(path)).map(|_| ()).map_err(|error| error.kind());
    assert_eq!((kind("a/x.tfevents"), kind("never")), (Err(ErrorKind::NotFound), Err(ErrorKind::NotFound)));
    assert!(subject.logdir().open(Path::new("a/x.tfevents")).is_err_and(|error| error.kind() == ErrorKind::NotFound));
}

/// What is read of a file while it is replaced is of one of the two, or an error.
fn an_open_file_is_read_as_one_file(subject: &dyn Subject) {
    let (old, new) = (vec![b'o'; 200_000], vec![b'n'; 300_000]);
    subject.set("x.tfevents", Some(&old));
    paths(subject.logdir(), "");
    let file = subject.logdir().open(Path::new("x.tfevents")).expect("the file");
    assert_eq!(read(&*file, 0, 10), &old[..10]);
    subject.set("x.tfevents", None);
    subject.set("x.tfevents", Some(&new));
    let mut buffer = vec![0; 100_000];
    if let Ok(got) = file.read_at(&mut buffer, 100_000) {
        assert!(buffer[..got] == old[..got], "bytes of another file");
    }
    let file = subject.logdir().open(Path::new("x.tfevents")).expect("the new file");
    assert!(read(&*file, 0, 100_000) == new[..100_000]);
}
