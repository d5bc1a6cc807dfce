//! Reads a long list in a response element by element and keeps only matching elements.
//!
//! Owns: streaming the JSON of one response. Must not know: HTTP, the meaning of elements.
//!
//! A busy cluster lists every job with a few kilobytes each, which can add up to hundreds of megabytes.

use std::io::{self, Read};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use tokio::sync::mpsc::{Receiver, Sender};

/// Maximum number of buffered chunks; beyond this, the receiver waits.
const CHUNKS: usize = 8;

/// The parts of a response to keep: its list, and which elements.
#[derive(Debug, Clone)]
pub(super) struct Sieve {
    /// The key of the list.
    pub(super) of: String,
    /// Fields of an element with a text each; at least one must match.
    pub(super) any: Vec<(String, String)>,
}

/// Maximum number of elements to keep; more would not answer a question about one message.
const MOST_KEPT: usize = 100;

/// Other parts of the response, such as errors, are kept up to this many bytes of text.
const MOST_BESIDES: usize = 64 * 1024;

/// Passes the bytes of a response to [`sift`]; waits if the reader is behind.
pub(super) fn channel() -> (Sender<Vec<u8>>, Chunks) {
    let (sender, receiver) = tokio::sync::mpsc::channel(CHUNKS);
    (sender, Chunks { receiver, chunk: Vec::new(), at: 0 })
}

/// The bytes of a response in order of arrival; read from a thread that may block.
pub(super) struct Chunks {
    receiver: Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            match self.receiver.blocking_recv() {
                Some(chunk) => (self.chunk, self.at) = (chunk, 0),
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.chunk.len() - self.at);
        buffer[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Why nothing of a response could be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// The response broke off.
    BrokeOff,
    /// It is not an object with that list.
    NotThat,
}

/// The kept parts of a response.
///
/// # Errors
/// It is not JSON of this form, or breaks off.
pub(super) fn sift(answer: impl Read, sieve: &Sieve) -> Result<Value, Unread> {
    let why = |error: serde_json::Error| {
        if error.is_eof() || error.is_io() { Unread::BrokeOff } else { Unread::NotThat }
    };
    let mut reader = serde_json::Deserializer::from_reader(io::BufReader::new(answer));
    let value = Whole(sieve).deserialize(&mut reader).map_err(why)?;
    reader.end().map_err(why)?;
    Ok(value)
}

/// The whole response, an object.
struct Whole<'a>(&'a Sieve);

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (mut kept, mut room) = (Map::new(), MOST_BESIDES);
        while let Some(key) = map.next_key::<String>()? {
            if key == self.0.of {
                kept.insert(key, map.next_value_seed(Elements(self.0))?);
                continue;
            }
            let value: Value = map.next_value()?;
            let size = value.to_string().len();
            if size <= room {
                room -= size;
                kept.insert(key, value);
            }
        }
        Ok(Value::Object(kept))
    }
}

/// The list.
struct Elements<'a>(&'a Sieve);

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < MOST_KEPT {
            let Some(element) = elements.next_element::<Value>()? else { return Ok(Value::Array(kept)) };
            if self.0.keeps(&element) {
                kept.push(element);
            }
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(kept))
    }
}

impl Sieve {
    fn keeps(&self, element: &Value) -> bool {
        self.any.iter().any(|(field, want)| element.get(field).and_then(Value::as_str) == Some(want.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sieve() -> Sieve {
        Sieve { of: "jobs".to_owned(), any: vec![("name".to_owned(), "nextrun-m1".to_owned())] }
    }

    #[test]
    fn of_a_list_longer_than_memory_allows_one_element_is_kept() {
        let (feed, chunks) = channel();
        // 64 MiB of other jobs, with the matching one in the middle.
        let other = json!({"name": "other", "text": "x".repeat(1024 * 1024)}).to_string();
        let ours = json!({"name": "nextrun-m1", "job_id": 17}).to_string();
        let feeding = std::thread::spawn(move || {
            feed.blocking_send(b"{\"errors\": [], \"jobs\": [".to_vec()).unwrap();
            for index in 0..64 {
                let element = if index == 32 { format!("{ours},") } else { format!("{other},") };
                feed.blocking_send(element.into_bytes()).unwrap();
            }
            feed.blocking_send(format!("{other}], \"last_update\": 3}}").into_bytes()).unwrap();
        });
        let kept = sift(chunks, &sieve()).unwrap();
        feeding.join().unwrap();
        assert_eq!(kept, json!({"errors": [], "jobs": [{"name": "nextrun-m1", "job_id": 17}], "last_update": 3}));
    }

    #[test]
    fn what_breaks_off_or_is_no_object_is_no_answer() {
        for text in ["[]", "{\"jobs\": 3}", "<html>", "{} {}"] {
            assert_eq!(sift(text.as_bytes(), &sieve()), Err(Unread::NotThat), "{text}");
        }
        for text in ["", "{\"jobs\": [{\"name\": \"nextrun-m1\"}", "{\"jobs\""] {
            assert_eq!(sift(text.as_bytes(), &sieve()), Err(Unread::BrokeOff), "{text}");
        }
        assert_eq!(sift(&b"{\"jobs\": null}"[..], &sieve()), Ok(json!({"jobs": null})));
    }
}
