//! The `Event` message.
//!
//! Owns: which of its fields are read. Must not know: how values are encoded inside a summary.

use super::value::Value;
use super::wire::{Field, Fields, Malformed};

/// One event, borrowing from the record that holds it.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Seconds since the Unix epoch; may be NaN or infinite, as written by the program.
    pub wall_time: f64,
    /// Global step; may be negative.
    pub step: i64,
    /// Its content.
    pub what: What<'a>,
}

/// The content of an event.
#[derive(Debug, Clone, Copy)]
pub enum What<'a> {
    /// The version of the format, the first event of a file.
    FileVersion(&'a [u8]),
    /// Values of tags.
    Summary(Summary<'a>),
    /// The session of the program began or ended.
    Session(Session),
    /// Graphs, log messages and whatever else; nothing that is read.
    Other,
}

/// A mark of a program about its session (`SessionLog`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// The session starts or continues at the event's step.
    Start,
    /// The session ends.
    Stop,
    /// A checkpoint was saved, or the mark is unknown.
    Other,
}

impl<'a> Event<'a> {
    /// Decodes a record. Fields may be in any order, and unknown fields are skipped; of several contents, the last one
    /// applies.
    ///
    /// # Errors
    ///
    /// If the record is not a protobuf message. Values in a summary are checked when they are used.
    pub fn parse(record: &'a [u8]) -> Result<Event<'a>, Malformed> {
        let mut event = Event { wall_time: 0.0, step: 0, what: What::Other };
        let mut fields = Fields::new(record);
        loop {
            let here = fields.rest();
            match fields.next().transpose()? {
                None => return Ok(event),
                Some((1, Field::Fixed64(bytes))) => event.wall_time = f64::from_le_bytes(bytes),
                Some((2, Field::Varint(step))) => event.step = step.cast_signed(),
                Some((3, Field::Bytes(version))) => event.what = What::FileVersion(version),
                // Two summaries in one event are one message in two parts, as protobuf merges them.
                Some((5, Field::Bytes(_))) if matches!(event.what, What::Summary(_)) => {}
                Some((5, Field::Bytes(_))) => event.what = What::Summary(Summary { fields: here }),
                Some((7, Field::Bytes(log))) => event.what = What::Session(session(log)?),
                Some((4 | 6 | 8 | 9, Field::Bytes(_))) => event.what = What::Other,
                Some(_) => {}
            }
        }
    }
}

fn session(log: &[u8]) -> Result<Session, Malformed> {
    let mut status = 0;
    for field in Fields::new(log) {
        if let (1, Field::Varint(value)) = field? {
            status = value;
        }
    }
    Ok(match status {
        1 => Session::Start,
        2 => Session::Stop,
        _ => Session::Other,
    })
}

/// The summary of an event.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'a> {
    /// The event's fields from the summary on.
    fields: &'a [u8],
}

impl<'a> Summary<'a> {
    /// Its values in the order in which they were written.
    pub fn values(&self) -> Values<'a> {
        Values { event: Fields::new(self.fields), summary: Fields::new(&[]) }
    }
}

/// The values of a summary; ends after the first malformed one.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    event: Fields<'a>,
    summary: Fields<'a>,
}

impl<'a> Values<'a> {
    fn step(&mut self) -> Result<Option<Value<'a>>, Malformed> {
        loop {
            match self.summary.next().transpose()? {
                Some((1, Field::Bytes(value))) => return Value::parse(value).map(Some),
                Some(_) => {}
                None => match self.event.next().transpose()? {
                    Some((5, Field::Bytes(summary))) => self.summary = Fields::new(summary),
                    Some(_) => {}
                    None => return Ok(None),
                },
            }
        }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<Value<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let value = self.step();
        if value.is_err() {
            *self = Values { event: Fields::new(&[]), summary: Fields::new(&[]) };
        }
        value.transpose()
    }
}
