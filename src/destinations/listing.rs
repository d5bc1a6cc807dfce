//! A long list in an answer, read element by element: only what matters of it is kept.
//!
//! Owns: walking the JSON of one answer as it arrives. Must not know: HTTP, what the elements are.
//!
//! A busy cluster lists every job, some kilobytes each: the whole may have hundreds of megabytes.

use std::io::{self, Read};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use tokio::sync::mpsc::{Receiver, Sender};

/// So many chunks wait to be read at most: the receiver waits then.
const CHUNKS: usize = 8;

/// What is kept of an answer: its list, and of which elements.
#[derive(Debug, Clone)]
pub(super) struct Sieve {
    /// The key that holds the list.
    pub(super) of: String,
    /// Fields of an element, each with a text: one of them must be there.
    pub(super) any: Vec<(String, String)>,
}

/// As many elements as are kept; more would be no answer to a question about one message.
const MOST_KEPT: usize = 100;

/// The other parts of the answer are kept up to this many of their texts' bytes, such as errors.
const MOST_BESIDES: usize = 64 * 1024;

/// A way for the bytes of an answer to [`sift`]: it waits where the reading side is behind.
pub(super) fn channel() -> (Sender<Vec<u8>>, Chunks) {
    let (sender, receiver) = tokio::sync::mpsc::channel(CHUNKS);
    (sender, Chunks { receiver, chunk: Vec::new(), at: 0 })
}

/// The bytes of an answer, in the order in which they arrive; read from a thread that may block.
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

/// Why nothing is kept of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It broke off.
    BrokeOff,
    /// It is no object with that list.
    NotThat,
}

/// What is kept of an answer.
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

/// The whole answer, an object.
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
        // 64 MiB of other jobs, and the one that matters in their middle.
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
