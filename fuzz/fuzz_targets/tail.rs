//! A damaged file that arrives in pieces: the records are the same as when it arrives at once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nextrun::tfevents::{Tail, encode};

fn read(bytes: &[u8], cuts: &[usize]) -> (Vec<Vec<u8>>, u64, u64) {
    let (mut tail, mut records) = (Tail::default(), Vec::new());
    for &cut in cuts.iter().chain([&bytes.len()]) {
        tail.look_again();
        let start = usize::try_from(tail.offset()).unwrap_or(usize::MAX).min(cut);
        tail.advance(&bytes[start..cut], |record| records.push(record.to_vec()));
    }
    (records, tail.settled(), tail.skipped_bytes())
}

fuzz_target!(|input: (Vec<Vec<u8>>, Vec<(u16, u8)>, Vec<u16>)| {
    let (data, flips, cuts) = input;
    let mut bytes: Vec<u8> = data.iter().flat_map(|data| encode::record(data)).collect();
    if bytes.is_empty() {
        return;
    }
    for (at, change) in flips {
        let at = usize::from(at) % bytes.len();
        bytes[at] ^= change;
    }
    let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| usize::from(cut) % bytes.len()).collect();
    cuts.sort_unstable();
    assert_eq!(read(&bytes, &[]), read(&bytes, &cuts));
});
