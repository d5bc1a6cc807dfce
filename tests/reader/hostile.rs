//! Event files written without code of this crate to break readers (tests/fixtures/hostile/make.py).

use std::path::Path;

use nextrun::logdir::DiskLogdir;
use nextrun::watch::{FileState, Options, Watcher};

/// How a file stands when it was read.
#[derive(Debug, PartialEq)]
enum Stands {
    Read,
    Unfinished,
    Damaged,
}

/// A file, the points of `loss` in it with their first and last value, its bad records, how it stands.
type Row = (&'static str, Option<(u64, f64, f64)>, u64, Stands);

const TEN: Option<(u64, f64, f64)> = Some((10, 0.0, 9.0));
const NINE: Option<(u64, f64, f64)> = Some((9, 0.0, 9.0));

const EXPECTED: &[Row] = &[
    ("bit_in_data", NINE, 1, Stands::Read),
    ("bit_in_length", NINE, 1, Stands::Read),
    ("bit_in_length_checksum", NINE, 1, Stands::Read),
    ("blob_cut_off", TEN, 1, Stands::Unfinished),
    ("cut_in_data", TEN, 0, Stands::Unfinished),
    ("cut_in_header", TEN, 0, Stands::Unfinished),
    ("deep", TEN, 0, Stands::Read),
    ("empty", None, 0, Stands::Read),
    ("empty_records", TEN, 0, Stands::Read),
    ("length_2_40", TEN, 0, Stands::Damaged),
    ("length_2_64", TEN, 0, Stands::Damaged),
    ("many_values", None, 0, Stands::Read),
    ("no_protobuf", TEN, 2, Stands::Read),
    ("record_in_data", TEN, 0, Stands::Read),
    ("steps_at_the_ends", Some((5, 1.0, 1.0)), 0, Stands::Read),
    ("tag_not_utf8", TEN, 0, Stands::Read),
    ("tag_of_64_kib", TEN, 0, Stands::Read),
    ("tensor_lies", Some((10, 5.0, 9.0)), 0, Stands::Read),
    ("text_first", TEN, 1, Stands::Read),
    ("time_nan", Some((10, 1.0, 1.0)), 0, Stands::Read),
    ("torn", NINE, 1, Stands::Read),
    ("unknown_fields", Some((10, 7.0, 9.0)), 0, Stands::Read),
    ("values_not_finite", Some((4, f64::NAN, 1.0)), 0, Stands::Read),
    ("zero_hole", TEN, 1, Stands::Read),
    ("zero_tail", TEN, 0, Stands::Damaged),
];

#[test]
fn each_hostile_file_gives_what_is_good_in_it() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hostile");
    let there = std::fs::read_dir(&fixtures).expect("the fixtures").filter_map(Result::ok);
    assert_eq!(there.filter(|entry| entry.path().extension().is_some_and(|e| e == "tfevents")).count(), EXPECTED.len());
    for (name, points, bad_records, stands) in EXPECTED {
        let dir = tempfile::tempdir().expect("a directory");
        let file = format!("{name}.tfevents");
        std::fs::copy(fixtures.join(&file), dir.path().join(&file)).expect("a copy");
        let mut watcher = Watcher::new(Box::new(DiskLogdir::new(dir.path())), Options { threads: 1 });
        watcher.poll(1.7e9);
        let run = watcher.runs().values().next().expect("a run");
        let loss = run.get("loss").map(|series| {
            let value = |point: Option<nextrun::series::Point>| point.map_or(f64::NAN, |point| point.value);
            (series.sketch.count(), value(series.sketch.first()), value(series.sketch.last()))
        });
        // As text, because NaN is what was logged.
        assert_eq!(format!("{loss:?}"), format!("{points:?}"), "{name}");
        let status = watcher.files().next().expect("a file");
        let state = match status.state {
            FileState::Read => Stands::Read,
            FileState::Unfinished { .. } => Stands::Unfinished,
            FileState::Damaged { .. } => Stands::Damaged,
            FileState::Unreadable(why) => panic!("{name}: {why}"),
        };
        assert_eq!((status.bad_records, &state), (*bad_records, stands), "{name}");
        assert!(status.offset <= status.bytes, "{name}: read to {} of {}", status.offset, status.bytes);
    }
}
