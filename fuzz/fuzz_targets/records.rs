//! Any bytes as an event file: every record that is passed on lies in the bytes and has a good checksum.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nextrun::tfevents::{Tail, encode};

fuzz_target!(|bytes: &[u8]| {
    let mut tail = Tail::default();
    let mut passed = 0;
    tail.advance(bytes, |record| {
        passed += 1;
        let framed = encode::record(record);
        assert!(bytes.windows(framed.len()).any(|window| window == framed), "a record that is not there");
    });
    assert!(passed * 16 <= bytes.len());
    assert!(tail.settled() <= tail.offset());
});
