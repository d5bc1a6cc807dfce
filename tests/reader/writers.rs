//! Several programs that write to one directory, consecutively or at the same time.

use std::collections::BTreeSet;

use crate::common::MemoryLogdir;
use nextrun::jobs::group;
use nextrun::tfevents::encode;
use nextrun::watch::{Options, Watcher};

/// The losses of some steps, a second apart.
fn file(start: f64, steps: std::ops::Range<i64>, tag: &str, value: f32) -> Vec<u8> {
    let mut bytes = encode::file_version(start);
    steps.for_each(|step| bytes.extend(encode::scalar(start + step as f64, step, tag, value)));
    bytes
}

/// Names of the jobs with the number of points of their loss, and whether they were cut off.
fn jobs(files: &[(&str, Vec<u8>)]) -> Vec<(String, u64, bool)> {
    let logdir = MemoryLogdir::default();
    files.iter().for_each(|(name, bytes)| logdir.write(&format!("logs/events.out.tfevents.{name}"), bytes));
    let mut watcher = Watcher::new(Box::new(logdir), Options { threads: 1 });
    watcher.poll(1e9);
    let shown = group(watcher.runs(), &BTreeSet::new()).into_iter().map(|job| {
        let (_, run) = job.runs[0];
        (job.name, run.get("loss").map_or(0, |series| series.sketch.count()), run.cut_off)
    });
    shown.collect()
}

#[test]
fn two_trainings_at_once_are_two_jobs_whose_curves_are_their_own() {
    let (one, two) = (file(1.7e9, 0..60, "loss", 1.0), file(1.7e9 + 3.0, 0..50, "loss", 9.0));
    let found = jobs(&[("1700000000.h1.1.0", one), ("1700000003.h2.1.0", two)]);
    assert_eq!(found, [("logs".to_owned(), 60, false), ("logs#h2.1".to_owned(), 50, false)]);
}

#[test]
fn a_writer_of_other_tags_and_one_that_comes_later_are_of_the_same_job() {
    let beside = file(1.7e9 + 0.5, 0..60, "accuracy", 1.0);
    let found = jobs(&[("1700000000.h.1.0", file(1.7e9, 0..60, "loss", 1.0)), ("1700000000.g.2.0", beside)]);
    assert_eq!(found, [("logs".to_owned(), 60, false)]);
    let later = file(1.7e9 + 1000.0, 40..90, "loss", 1.0);
    let found = jobs(&[("1700000000.h.1.0", file(1.7e9, 0..60, "loss", 1.0)), ("1700001000.h.2.0", later)]);
    assert_eq!(found, [("logs".to_owned(), 90, false)]);
}

#[test]
fn an_attempt_that_was_killed_is_not_held_against_the_next_one() {
    let mut killed = file(1.7e9, 0..60, "loss", 1.0);
    killed.truncate(killed.len() - 5);
    let next = file(1.7e9 + 1000.0, 40..90, "loss", 1.0);
    let found = jobs(&[("1700000000.h.1.0", killed.clone()), ("1700001000.h.2.0", next)]);
    assert_eq!(found, [("logs".to_owned(), 90, false)]);
    assert_eq!(jobs(&[("1700000000.h.1.0", killed)]), [("logs".to_owned(), 59, true)]);
}
