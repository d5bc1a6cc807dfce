//! Changes and damage of files, and the required behaviour. For the ids, see the table in docs/PERFORMANCE.md.

use std::path::Path;

use crate::common::MemoryLogdir;
use nextrun::series::{RunData, RunName};
use nextrun::tfevents::{encode, masked_crc32c};
use nextrun::watch::{FileState, Options, Watcher};

const FILE: &str = "run/events.out.tfevents.1700000000.host";
const START: f64 = 1_700_000_000.0;

/// A file whose events begin at `start` seconds, one a second, with these steps and values of `loss`.
fn file(start: f64, points: impl IntoIterator<Item = (i64, f32)>) -> Vec<u8> {
    let mut out = encode::file_version(start);
    for (i, (step, value)) in points.into_iter().enumerate() {
        out.extend(encode::scalar(start + i as f64, step, "loss", value));
    }
    out
}

fn steps(range: std::ops::Range<i64>) -> impl Iterator<Item = (i64, f32)> {
    range.map(|step| (step, step as f32))
}

struct Fixture {
    logdir: MemoryLogdir,
    watcher: Watcher,
    now: f64,
}

impl Fixture {
    fn new() -> Fixture {
        let logdir = MemoryLogdir::default();
        let watcher = Watcher::new(Box::new(logdir.clone()), Options { threads: 1 });
        Fixture { logdir, watcher, now: START }
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> &mut Fixture {
        self.logdir.write(path, bytes);
        self.poll()
    }

    fn poll(&mut self) -> &mut Fixture {
        self.now += 1.0;
        self.watcher.poll(self.now);
        self
    }

    fn run(&self) -> &RunData {
        &self.watcher.runs()[&RunName::new("run")]
    }

    /// Number of points, first and last step of `loss`.
    fn loss(&self) -> (u64, i64, i64) {
        let sketch = &self.run().get("loss").expect("it was logged").sketch;
        (sketch.count(), sketch.first().map_or(-1, |p| p.step), sketch.last().map_or(-1, |p| p.step))
    }

    fn status(&self) -> nextrun::watch::FileStatus {
        self.watcher.files().next().expect("there is a file")
    }
}

#[test]
fn f4_a_short_tail_is_waited_for_and_shown_as_cut_off() {
    let mut fixture = Fixture::new();
    let bytes = file(START, steps(0..10));
    fixture.write(FILE, &bytes[..bytes.len() - 7]);
    assert_eq!(fixture.loss(), (9, 0, 8));
    assert!(fixture.run().cut_off);
    assert!(matches!(fixture.status().state, FileState::Unfinished { lost: false, .. }));
    fixture.write(FILE, &bytes);
    assert_eq!(fixture.loss(), (10, 0, 9));
    assert!(!fixture.run().cut_off);
    assert_eq!(fixture.status().state, FileState::Read);
}

#[test]
fn f5_zeros_that_are_filled_in_later_lose_nothing() {
    let mut fixture = Fixture::new();
    let bytes = file(START, steps(0..10));
    let mut zeros = bytes.clone();
    zeros[200..].fill(0);
    fixture.write(FILE, &zeros);
    assert!(fixture.run().cut_off);
    fixture.poll().poll();
    fixture.write(FILE, &bytes);
    assert_eq!(fixture.loss(), (10, 0, 9));
    assert_eq!((fixture.status().bad_records, fixture.status().skipped_bytes), (0, 0));
}

#[test]
fn f5_a_hole_of_zeros_that_is_filled_in_behind_the_reader_is_read() {
    let mut fixture = Fixture::new();
    let bytes = file(START, steps(0..40));
    let mut hole = bytes.clone();
    hole[200..700].fill(0);
    fixture.write(FILE, &hole);
    assert!(fixture.loss().0 < 40);
    assert_eq!(fixture.loss().2, 39);
    fixture.write(FILE, &bytes);
    assert_eq!(fixture.loss(), (40, 0, 39));
}

#[test]
fn f5_a_tail_of_zeros_is_called_lost_only_after_long() {
    let mut fixture = Fixture::new();
    let mut bytes = file(START, steps(0..10));
    bytes.extend([0; 500]);
    fixture.write(FILE, &bytes);
    assert!(matches!(fixture.status().state, FileState::Damaged { lost: false, .. }));
    fixture.now += 1000.0;
    fixture.poll();
    assert!(matches!(fixture.status().state, FileState::Damaged { lost: true, .. }));
    assert_eq!(fixture.loss(), (10, 0, 9));
}

#[test]
fn f6_a_flipped_bit_in_data_costs_one_record() {
    let mut fixture = Fixture::new();
    let mut bytes = file(START, steps(0..10));
    let middle = bytes.len() / 2 + 5;
    bytes[middle] ^= 8;
    fixture.write(FILE, &bytes);
    assert_eq!(fixture.loss(), (9, 0, 9));
    assert_eq!(fixture.status().bad_records, 1);
}

#[test]
fn f7_garbage_in_the_middle_is_passed_over() {
    let mut fixture = Fixture::new();
    let mut bytes = file(START, steps(0..10));
    bytes.extend((0..300_u32).map(|i| (i * 7 % 251) as u8));
    bytes.extend(file(START + 100.0, steps(10..20)));
    fixture.write(FILE, &bytes);
    assert_eq!(fixture.loss(), (20, 0, 19));
    assert_eq!((fixture.status().bad_records, fixture.status().skipped_bytes), (1, 300));
}

#[test]
fn f8_a_hostile_length_neither_ends_the_process_nor_the_file() {
    let mut fixture = Fixture::new();
    let mut bytes = file(START, steps(0..5));
    let length = (1_u64 << 40).to_le_bytes();
    bytes.extend(length);
    bytes.extend(nextrun::tfevents::masked_crc32c(&length).to_le_bytes());
    bytes.extend(file(START + 10.0, steps(5..9)));
    fixture.write(FILE, &bytes);
    assert_eq!(fixture.loss(), (9, 0, 8));
}

#[test]
fn f9_a_record_that_is_no_event_is_counted_and_passed_over() {
    let mut fixture = Fixture::new();
    let mut bytes = file(START, steps(0..5));
    bytes.extend(encode::record(b"\xff\xff\xff not an event"));
    let value = encode::Message::new().bytes(1, "loss").float(2, 1.0);
    let half_good = encode::Message::new().bytes(1, value).bytes(1, [0x0a, 0x7f]);
    bytes.extend(encode::record(encode::event(START, 5).bytes(5, half_good).as_ref()));
    bytes.extend(encode::scalar(START, 6, "loss", 1.0));
    fixture.write(FILE, &bytes);
    assert_eq!(fixture.loss(), (6, 0, 6));
    assert_eq!(fixture.status().bad_records, 2);
}

#[test]
fn f10_an_event_without_a_usable_time_is_kept() {
    let mut fixture = Fixture::new();
    let mut bytes = file(START, steps(0..2));
    for wall_time in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        bytes.extend(encode::scalar(wall_time, 2, "loss", 1.0));
    }
    bytes.extend(encode::scalar(START + 9.0, 3, "loss", 1.0));
    fixture.write(FILE, &bytes);
    assert_eq!(fixture.loss(), (6, 0, 3));
    assert_eq!(fixture.run().last_wall_time(), Some(START + 9.0));
    assert_eq!(fixture.run().first_wall_time(), Some(START));
}

#[test]
fn d5_every_file_of_a_run_is_followed_for_ever() {
    let mut fixture = Fixture::new();
    let other = "run/events.out.tfevents.1700000500.host";
    let mut first = file(START, steps(0..5));
    fixture.write(FILE, &first);
    fixture.write(other, &encode::scalar(START + 500.0, 1, "val", 1.0));
    first.extend(encode::scalar(START + 600.0, 5, "loss", 1.0));
    fixture.write(FILE, &first);
    assert_eq!(fixture.loss(), (6, 0, 5));
    assert_eq!(fixture.run().get("val").map(|val| val.sketch.count()), Some(1));
}

#[test]
fn d6_what_vanishes_is_dropped_and_what_returns_is_read_again() {
    let mut fixture = Fixture::new();
    let bytes = file(START, steps(0..5));
    fixture.write(FILE, &bytes);
    fixture.logdir.remove(FILE);
    let changes = fixture.watcher.poll(START);
    assert_eq!(changes.vanished, [RunName::new("run")]);
    assert!(fixture.watcher.runs().is_empty());
    fixture.write(FILE, &bytes);
    assert_eq!(fixture.loss(), (5, 0, 4));
}

#[test]
fn d6_one_of_two_files_that_vanishes_takes_its_points_along() {
    let mut fixture = Fixture::new();
    let other = "run/events.out.tfevents.1700000500.host";
    fixture.write(FILE, &file(START, steps(0..5)));
    fixture.write(other, &file(START + 500.0, steps(5..9)));
    assert_eq!(fixture.loss(), (9, 0, 8));
    fixture.logdir.remove(other);
    fixture.poll();
    assert_eq!(fixture.loss(), (5, 0, 4));
    fixture.write(other, &file(START + 500.0, steps(5..9)));
    fixture.logdir.remove(FILE);
    fixture.poll();
    assert_eq!(fixture.loss(), (4, 5, 8));
}

#[test]
fn d7_a_copy_that_goes_on_is_the_same_file() {
    let mut fixture = Fixture::new();
    let bytes = file(START, steps(0..50));
    fixture.write(FILE, &bytes[..bytes.len() / 2]);
    fixture.logdir.replace(FILE, &bytes);
    fixture.poll();
    assert_eq!(fixture.loss(), (50, 0, 49));
    assert_eq!(fixture.status().generation, 0);
}

#[test]
fn d7_another_file_under_the_same_name_starts_over() {
    let mut fixture = Fixture::new();
    fixture.write(FILE, &file(START, steps(0..50)));
    fixture.logdir.replace(FILE, &file(START + 100.0, steps(0..60)));
    fixture.poll();
    assert_eq!(fixture.loss(), (60, 0, 59));
    assert_eq!(fixture.status().generation, 1);
}

#[test]
fn d8_a_file_cut_and_written_anew_starts_over() {
    for len in [3, 10, 11, 40] {
        let mut fixture = Fixture::new();
        fixture.write(FILE, &file(START, steps(0..10)));
        fixture.write(FILE, &file(START + 1.0, (0..len).map(|step| (step, 7.0))));
        assert_eq!(fixture.loss(), (len as u64, 0, len - 1), "{len} points");
        let sketch = &fixture.run().get("loss").expect("it was logged").sketch;
        assert_eq!(sketch.lowest().map(|p| p.value), Some(7.0));
    }
}

#[test]
fn r2_a_later_file_that_goes_back_is_a_restart() {
    let mut fixture = Fixture::new();
    fixture.write(FILE, &file(START, steps(0..100)));
    fixture.write("run/events.out.tfevents.1700001000.host", &file(START + 1000.0, steps(50..120)));
    let loss = fixture.run().get("loss").expect("it was logged");
    assert_eq!((loss.restarts, loss.earlier.len()), (1, 1));
    assert_eq!(loss.earlier[0].restarted_at, 50);
    assert_eq!(fixture.loss().2, 119);
}

#[test]
fn r3_two_writers_at_once_are_merged() {
    let mut fixture = Fixture::new();
    fixture.write(FILE, &file(START, [1, 3, 5].map(|step| (step, 1.0))));
    fixture.write("run/events.out.tfevents.1700000000.other", &file(START + 0.5, [2, 4].map(|step| (step, 1.0))));
    assert_eq!(fixture.loss(), (5, 1, 5));
    assert_eq!(fixture.run().get("loss").map(|loss| loss.restarts), Some(0));
}

#[test]
fn r4_a_session_start_cuts_all_tags() {
    let mut fixture = Fixture::new();
    let mut first = file(START, steps(0..10));
    (0..10).for_each(|step| first.extend(encode::scalar(START + step as f64, step, "other", 1.0)));
    fixture.write(FILE, &first);
    let mut second = encode::file_version(START + 100.0);
    second.extend(encode::session_log(START + 100.0, 5, 1));
    second.extend(encode::scalar(START + 101.0, 5, "loss", 9.0));
    fixture.write("run/events.out.tfevents.1700000100.host", &second);
    assert_eq!(fixture.loss().2, 5);
    let other = fixture.run().get("other").expect("it was logged");
    assert_eq!((other.restarts, other.sketch.last().map(|p| p.step)), (1, Some(4)));
}

#[test]
fn r4_a_session_start_of_a_writer_beside_cuts_nothing() {
    let mut fixture = Fixture::new();
    fixture.write(FILE, &file(START, steps(0..100)));
    let mut second = encode::file_version(START + 10.0);
    second.extend(encode::session_log(START + 10.0, 0, 1));
    fixture.write("run/events.out.tfevents.1700000010.host", &second);
    assert_eq!(fixture.loss(), (100, 0, 99));
}

#[test]
fn r5_all_points_of_one_step_are_seen() {
    let mut fixture = Fixture::new();
    fixture.write(FILE, &file(START, [(1, 1.0), (2, 1.0), (2, f32::NAN), (2, 2.0), (3, 1.0)]));
    let sketch = &fixture.run().get("loss").expect("it was logged").sketch;
    assert_eq!((sketch.count(), sketch.non_finite()), (5, 1));
}

#[test]
fn the_end_that_a_program_announces_is_known_until_it_logs_on() {
    let mut fixture = Fixture::new();
    let mut bytes = file(START, steps(0..3));
    bytes.extend(encode::session_log(START + 5.0, 3, 2));
    fixture.write(FILE, &bytes);
    assert_eq!(fixture.run().session_end().map(|mark| mark.wall_time), Some(START + 5.0));
    bytes.extend(encode::scalar(START + 6.0, 4, "loss", 1.0));
    fixture.write(FILE, &bytes);
    assert_eq!(fixture.run().session_end(), None);
}

#[test]
fn side_files_add_what_the_program_did_not_log() {
    let mut fixture = Fixture::new();
    fixture.write(FILE, &file(START, steps(0..3)));
    fixture.write("run/hparams.yaml", b"lr: 0.1\nopt:\n  name: adam\n");
    fixture.write("run/nextrun.json", br#"{"suggestion_id": "s-1"}"#);
    assert_eq!(fixture.run().hyperparameters()["lr"], 0.1);
    assert_eq!(fixture.run().hyperparameters()["opt.name"], "adam");
    assert_eq!(fixture.run().texts()["nextrun.json"], r#"{"suggestion_id": "s-1"}"#);
    fixture.write("run/hparams.yaml", b"lr: 0.2\n");
    assert_eq!(fixture.run().hyperparameters()["lr"], 0.2);
    assert!(!fixture.run().hyperparameters().contains_key("opt.name"));
    assert_eq!(fixture.loss(), (3, 0, 2));
}

#[test]
fn a_directory_with_side_files_only_is_no_run() {
    let mut fixture = Fixture::new();
    fixture.write("run/hparams.yaml", b"lr: 0.1\n");
    assert!(fixture.watcher.runs().is_empty());
}

#[test]
fn a_side_file_that_was_noticed_before_any_event_file_is_read_with_the_first() {
    let mut fixture = Fixture::new();
    fixture.logdir.write("run/hparams.yaml", b"lr: 0.1\n");
    fixture.watcher.poll_paths(START, [Path::new("run"), Path::new("run/hparams.yaml")]);
    fixture.logdir.write(FILE, &file(START, steps(0..3)));
    fixture.watcher.poll_paths(START, [Path::new(FILE)]);
    assert_eq!(fixture.run().hyperparameters()["lr"], 0.1);
}

#[test]
fn only_what_changed_is_reported_and_only_once() {
    let mut fixture = Fixture::new();
    fixture.logdir.write(FILE, &file(START, steps(0..3)));
    let changes = fixture.watcher.poll(START);
    assert_eq!((changes.appeared, changes.changed), (vec![RunName::new("run")], vec![]));
    assert_eq!(fixture.watcher.poll(START).changed, []);
    fixture.logdir.write(FILE, &file(START, steps(0..4)));
    let changes = fixture.watcher.poll_paths(START, [Path::new(FILE)]);
    assert_eq!(changes.changed, [RunName::new("run")]);
    fixture.logdir.write("run2/x.tfevents", &file(START, steps(0..4)));
    assert_eq!(fixture.watcher.poll_paths(START, [Path::new("run")]).appeared, []);
    assert_eq!(fixture.watcher.poll_paths(START, [Path::new("run2")]).appeared, [RunName::new("run2")]);
    fixture.logdir.remove(FILE);
    assert_eq!(fixture.watcher.poll_paths(START, [Path::new("run2")]).vanished, []);
    assert_eq!(fixture.watcher.poll_paths(START, [Path::new(FILE)]).vanished, [RunName::new("run")]);
}

#[test]
fn known_files_are_followed_without_looking_for_others() {
    let mut fixture = Fixture::new();
    fixture.write(FILE, &file(START, steps(0..3)));
    fixture.logdir.write("run2/x.tfevents", &file(START, steps(0..3)));
    fixture.logdir.write(FILE, &file(START, steps(0..5)));
    let changes = fixture.watcher.poll_known(START);
    assert_eq!((changes.changed, changes.appeared), (vec![RunName::new("run")], vec![]));
    assert_eq!(fixture.loss(), (5, 0, 4));
    fixture.logdir.remove(FILE);
    assert_eq!(fixture.watcher.poll_known(START).vanished, [RunName::new("run")]);
}

#[test]
fn a_released_run_costs_nothing_until_it_goes_on() {
    let mut fixture = Fixture::new();
    fixture.write(FILE, &file(START, steps(0..3)));
    fixture.watcher.release(&RunName::new("run"));
    fixture.poll();
    assert!(fixture.watcher.runs().is_empty());
    fixture.write(FILE, &file(START, steps(0..5)));
    assert_eq!(fixture.loss(), (5, 0, 4));
}

#[test]
fn f8_a_record_that_is_too_long_to_read_is_passed_over_while_it_is_written() {
    let mut fixture = Fixture::new();
    let len = (80_u64 << 20).to_le_bytes();
    let mut bytes = file(START, steps(0..10));
    bytes.extend(len);
    bytes.extend(masked_crc32c(&len).to_le_bytes());
    for more in [100, 10_000, 1_000_000] {
        bytes.resize(bytes.len() + more, 7);
        fixture.write(FILE, &bytes);
        let status = fixture.status();
        assert_eq!((fixture.loss(), status.generation), ((10, 0, 9), 0));
        assert_eq!((status.offset, status.lag), (bytes.len() as u64, 0));
        assert!(matches!(status.state, FileState::Unfinished { .. }), "{:?}", status.state);
    }
    fixture.write(FILE, &file(START + 5.0, steps(0..3)));
    assert_eq!((fixture.loss(), fixture.status().generation), ((3, 0, 2), 1));
}
