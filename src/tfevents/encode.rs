//! Writes the few kinds of events needed by tests, benchmarks and demonstrations, and the texts about cases for
//! TensorBoard.
//!
//! Owns: the encoding. Must not know: files.

use super::masked_crc32c;

/// Frames data as a record.
pub fn record(data: &[u8]) -> Vec<u8> {
    let len = (data.len() as u64).to_le_bytes();
    let mut out = Vec::with_capacity(data.len() + 16);
    out.extend(len);
    out.extend(masked_crc32c(&len).to_le_bytes());
    out.extend(data);
    out.extend(masked_crc32c(data).to_le_bytes());
    out
}

/// A message under construction: fields are appended in the order of the calls.
#[derive(Debug, Clone, Default)]
pub struct Message(Vec<u8>);

impl Message {
    /// An empty message.
    pub fn new() -> Message {
        Message::default()
    }

    /// Adds an integer, boolean or enum.
    #[must_use]
    pub fn varint(mut self, field: u32, value: u64) -> Message {
        self.key(field, 0);
        self.raw_varint(value);
        self
    }

    /// Adds a double.
    #[must_use]
    pub fn double(mut self, field: u32, value: f64) -> Message {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Adds a float.
    #[must_use]
    pub fn float(mut self, field: u32, value: f32) -> Message {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Adds bytes, a string or a message.
    #[must_use]
    pub fn bytes(mut self, field: u32, value: impl AsRef<[u8]>) -> Message {
        let value = value.as_ref();
        self.key(field, 2);
        self.raw_varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn key(&mut self, field: u32, wire_type: u32) {
        self.raw_varint(u64::from(field << 3 | wire_type));
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// An event with its time and, as protobuf leaves zeros out, its step.
pub fn event(wall_time: f64, step: i64) -> Message {
    let event = Message::new().double(1, wall_time);
    if step == 0 { event } else { event.varint(2, step.cast_unsigned()) }
}

/// The first record of a file.
pub fn file_version(wall_time: f64) -> Vec<u8> {
    record(event(wall_time, 0).bytes(3, "brain.Event:2").as_ref())
}

/// A record with one value of a summary, to which its tag is added in front.
pub fn tagged(wall_time: f64, step: i64, tag: &str, value: &Message) -> Vec<u8> {
    let mut whole = Message::new().bytes(1, tag);
    whole.0.extend(&value.0);
    record(event(wall_time, step).bytes(5, Message::new().bytes(1, whole)).as_ref())
}

/// A scalar as written by torch and tensorboardX.
pub fn scalar(wall_time: f64, step: i64, tag: &str, value: f32) -> Vec<u8> {
    tagged(wall_time, step, tag, &Message::new().float(2, value))
}

/// A scalar as written by TF2, Keras, clu and flax.
pub fn tensor_scalar(wall_time: f64, step: i64, tag: &str, value: f32) -> Vec<u8> {
    let tensor = Message::new().varint(1, 1).bytes(2, []).bytes(4, value.to_le_bytes());
    tagged(wall_time, step, tag, &Message::new().bytes(8, tensor).bytes(9, metadata("scalars")))
}

/// A text as written by torch.
pub fn text(wall_time: f64, step: i64, tag: &str, text: &str) -> Vec<u8> {
    let shape = Message::new().bytes(2, Message::new().varint(1, 1));
    let tensor = Message::new().varint(1, 7).bytes(2, shape).bytes(8, text);
    tagged(wall_time, step, tag, &Message::new().bytes(8, tensor).bytes(9, metadata("text")))
}

/// A legacy histogram: minimum, maximum, number, sum and sum of squares, then limits and counts of buckets.
pub fn histogram(wall_time: f64, step: i64, tag: &str, moments: [f64; 5], buckets: &[(f64, f64)]) -> Vec<u8> {
    let mut histo = Message::new();
    for (field, value) in (1..).zip(moments) {
        histo = histo.double(field, value);
    }
    let limits: Vec<u8> = buckets.iter().flat_map(|b| b.0.to_le_bytes()).collect();
    let counts: Vec<u8> = buckets.iter().flat_map(|b| b.1.to_le_bytes()).collect();
    tagged(wall_time, step, tag, &Message::new().bytes(5, histo.bytes(6, limits).bytes(7, counts)))
}

/// A TF2 histogram: rows of left edge, right edge and count.
pub fn tensor_histogram(wall_time: f64, step: i64, tag: &str, rows: &[[f64; 3]]) -> Vec<u8> {
    let dim = |size: usize| Message::new().varint(1, size as u64);
    let shape = Message::new().bytes(2, dim(rows.len())).bytes(2, dim(3));
    let content: Vec<u8> = rows.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
    let tensor = Message::new().varint(1, 2).bytes(2, shape).bytes(4, content);
    tagged(wall_time, step, tag, &Message::new().bytes(8, tensor).bytes(9, metadata("histograms")))
}

/// A session mark: 1 = start, 2 = stop.
pub fn session_log(wall_time: f64, step: i64, status: u64) -> Vec<u8> {
    record(event(wall_time, step).bytes(7, Message::new().varint(1, status)).as_ref())
}

/// Metadata that names a plugin.
pub fn metadata(plugin: &str) -> Message {
    Message::new().bytes(1, Message::new().bytes(1, plugin))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Datum, Event, Tail, What};
    use super::*;

    proptest! {
        #[test]
        fn a_text_is_read_as_it_was_written(
            tag in "[a-z][a-z/]{0,30}", content in ".{0,400}", step in 0i64..1 << 40, time in 0.0..4e9f64,
        ) {
            let bytes = [file_version(time), text(time, step, &tag, &content)].concat();
            let mut read = Vec::new();
            let mut tail = Tail::default();
            tail.advance(&bytes, |record| {
                let event = Event::parse(record).unwrap();
                if let What::Summary(summary) = event.what {
                    for value in summary.values() {
                        let value = value.unwrap();
                        let Datum::Text(said) = value.datum else { panic!("{value:?}") };
                        read.push((event.wall_time, event.step, value.tag.into_owned(), said.into_owned()));
                    }
                }
            });
            prop_assert_eq!(tail.bad_records(), 0);
            prop_assert_eq!(read, [(time, step, tag, content)]);
        }
    }
}
