//! Arbitrary bytes as one record: decoding terminates, and template matching gives the same result as decoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nextrun::tfevents::{Datum, Event, Templates, What};

/// The only value of an event, if it is a scalar.
fn scalar(record: &[u8]) -> Option<(f64, i64, f64)> {
    let event = Event::parse(record).ok()?;
    let What::Summary(summary) = event.what else { return None };
    let mut values = summary.values();
    let (Some(Ok(value)), None) = (values.next(), values.next()) else { return None };
    let Datum::Scalar(number) = value.datum else { return None };
    Some((event.wall_time, event.step, number))
}

fuzz_target!(|records: (&[u8], &[u8])| {
    let (first, second) = records;
    let mut templates = Templates::default();
    if scalar(first).is_some() {
        templates.learn(first, 7);
    }
    if let Some(hit) = templates.recognise(second) {
        let Some((wall_time, step, value)) = scalar(second) else { panic!("recognised what is no scalar") };
        assert_eq!((hit.slot, hit.step), (7, step));
        assert_eq!(hit.wall_time.to_bits(), wall_time.to_bits());
        assert_eq!(hit.value.to_bits(), value.to_bits());
    }
});
