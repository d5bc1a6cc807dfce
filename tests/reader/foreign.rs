//! Unreadable files that are named like event files are reported with their actual type.

use crate::common::MemoryLogdir;
use nextrun::tfevents::encode;
use nextrun::watch::{FileState, Options, Watcher};

fn events() -> Vec<u8> {
    let mut bytes = encode::file_version(1.7e9);
    (0..20).for_each(|step| bytes.extend(encode::scalar(1.7e9 + step as f64, step, "loss", 1.0)));
    bytes
}

fn watcher(logdir: &MemoryLogdir) -> Watcher {
    Watcher::new(Box::new(logdir.clone()), Options { threads: 1 })
}

#[test]
fn what_a_file_is_is_said_once_and_shown_until_it_is_mended() {
    let logdir = MemoryLogdir::default();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    logdir.write("run/a.tfevents", pointer.as_bytes());
    let mut watcher = watcher(&logdir);
    let problems = watcher.poll(1.0).problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("run/a.tfevents") && problems[0].contains("git lfs pull"), "{problems:?}");
    let unreadable = |watcher: &Watcher| watcher.runs().values().next().and_then(|run| run.unreadable.clone());
    assert!(unreadable(&watcher).is_some_and(|why| why.contains("Git LFS pointer")));
    assert!(watcher.files().all(|file| matches!(&file.state, FileState::Unreadable(why) if why.contains("LFS"))));
    assert!(watcher.poll(100.0).problems.is_empty());
    logdir.write("run/a.tfevents", &events());
    watcher.poll(200.0);
    assert_eq!((unreadable(&watcher), watcher.files().next().map(|file| file.state)), (None, Some(FileState::Read)));
    assert_eq!(watcher.runs().values().next().map(|run| run.events()), Some(21));
}

#[test]
fn a_file_that_is_only_beginning_is_nothing_to_tell() {
    let logdir = MemoryLogdir::default();
    let bytes = events();
    let mut watcher = watcher(&logdir);
    for len in [0, 1, 8, 12, 20, 60, bytes.len() - 1, bytes.len()] {
        logdir.write("run/a.tfevents", &bytes[..len]);
        assert!(watcher.poll(len as f64).problems.is_empty(), "{len} bytes");
    }
    assert_eq!(watcher.runs().values().next().and_then(|run| run.unreadable.clone()), None);
}

#[test]
fn a_file_that_went_through_a_text_conversion_is_known() {
    let logdir = MemoryLogdir::default();
    let bytes: Vec<u8> =
        events().iter().flat_map(|byte| if *byte == b'\n' { vec![b'\r', b'\n'] } else { vec![*byte] }).collect();
    logdir.write("run/a.tfevents", &bytes);
    let problems = watcher(&logdir).poll(1.0).problems;
    assert!(problems.len() == 1 && problems[0].contains("LF to CRLF"), "{problems:?}");
}
