//! A large file that several threads read together gives the same data as one thread, whatever is wrong with it.

use std::fs;

use crate::arrival::shown;
use nextrun::logdir::DiskLogdir;
use nextrun::tfevents::encode;
use nextrun::watch::{Options, Watcher};
use proptest::prelude::*;

/// Bytes of a piece that a helper reads; damage near its ends is the most interesting.
const PIECE: usize = 1 << 20;

/// A file of more than nine pieces: scalars, and texts of which one is longer than a piece and one contains records.
fn file() -> Vec<u8> {
    let mut bytes = encode::file_version(1.0);
    let inner: String = (0..200).map(|i| format!("{i} ")).collect();
    let mut step = 0;
    while bytes.len() < 9 * PIECE + PIECE / 3 {
        step += 1;
        let time = 1.0 + step as f64;
        for tag in ["loss", "accuracy", "a much longer tag of some other part"] {
            bytes.extend(encode::scalar(time, step, tag, (step as f32).sin()));
        }
        bytes.extend(encode::text(time, step, "note", &inner.repeat(1 + step as usize % 7)));
        if step == 900 {
            bytes.extend(encode::text(time, step, "long", &inner.repeat(2 * PIECE / inner.len())));
        }
        if step % 500 == 0 {
            // A record whose data are records.
            let nested: Vec<u8> = (0..300).flat_map(|i| encode::scalar(time, i, "loss", 7.0)).collect();
            bytes.extend(encode::record(&nested));
        }
    }
    bytes
}

/// The data of all runs, the state of the files, and how much was read.
fn read(dir: &std::path::Path, threads: usize) -> String {
    let mut watcher = Watcher::new(Box::new(DiskLogdir::new(dir)), Options { threads });
    let changes = watcher.poll(1e9);
    let files: Vec<_> = watcher.files().collect();
    format!("{}{files:?} {}", shown(watcher.runs()), changes.bytes)
}

#[derive(Debug, Clone)]
enum Damage {
    Flip(u8),
    Zeros(usize),
    Removed(usize),
    Inserted(usize),
}

fn damage() -> impl Strategy<Value = (usize, Damage)> {
    let near_an_end = (1_usize..10, -300_i64..300);
    let place = near_an_end.prop_map(|(piece, beside)| (piece * PIECE).saturating_add_signed(beside as isize));
    let kind = prop_oneof![
        any::<u8>().prop_map(Damage::Flip),
        (1_usize..5000).prop_map(Damage::Zeros),
        (1_usize..5000).prop_map(Damage::Removed),
        (1_usize..500).prop_map(Damage::Inserted),
    ];
    (place, kind)
}

proptest! {
    // Each case reads 20 MB.
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn many_threads_read_what_one_reads(
        damages in proptest::collection::vec(damage(), 0..4),
        cut in prop_oneof![Just(0_usize), 0_usize..3 * PIECE / 2],
        threads in 2_usize..6,
    ) {
        let mut bytes = file();
        for (at, damage) in damages {
            let at = at.min(bytes.len() - 1);
            let end = |len: usize| (at + len).min(bytes.len());
            match damage {
                Damage::Flip(bit) => bytes[at] ^= 1 << (bit % 8),
                Damage::Zeros(len) => {
                    let end = end(len);
                    bytes[at..end].fill(0);
                }
                Damage::Removed(len) => drop(bytes.drain(at..end(len))),
                Damage::Inserted(len) => drop(bytes.splice(at..at, std::iter::repeat_n(0x5a, len))),
            }
        }
        bytes.truncate(bytes.len() - cut);
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("events.out.tfevents.1.h"), &bytes).expect("a file");
        prop_assert_eq!(read(dir.path(), threads), read(dir.path(), 1));
    }
}
