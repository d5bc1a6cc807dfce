//! Arbitrary bytes as an event file: every returned record is within the bytes and has a valid checksum.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nextrun::tfevents::{Tail, encode};

fuzz_target!(|bytes: &[u8]| {
    let mut tail = Tail::default();
    let mut passed = 0;
    tail.advance(bytes, |record| {
        passed += 1;
        let start = record.as_ptr() as usize - bytes.as_ptr() as usize;
        let framed = &bytes[start - 12..start + record.len() + 4];
        assert_eq!(framed, encode::record(record), "a record whose checksums do not hold");
    });
    assert!(passed * 16 <= bytes.len());
    assert!(tail.settled() <= tail.offset());
});
