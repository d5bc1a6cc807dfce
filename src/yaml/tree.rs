//! YAML as a tree with source positions, and small readers that convert its parts to values.
//!
//! Owns: the YAML reader and the reporting of wrong keys and types. Must not know: the meaning of a file.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use serde_saphyr::{Location, Spanned};

use super::problem::{Problems, Span, suggest};

/// These files are written by hand; a larger file is something else.
const MAX_BYTES: usize = 1 << 20;

/// A value of the file and its position.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) place: Span,
}

/// The kind of a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Null, a bool, a number or a text.
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map and its position.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) place: Span,
}

/// Reads a YAML text. A YAML syntax error is the only problem that stops reading immediately.
pub(crate) fn read(problems: &mut Problems<'_>) -> Option<Node> {
    let text = problems.text();
    if text.len() > MAX_BYTES {
        problems.add(Span::default(), format!("the file has {} bytes; the limit is {MAX_BYTES}", text.len()));
        return None;
    }
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    match serde_saphyr::from_str_with_options::<Node>(text, options) {
        Ok(node) => Some(node),
        Err(error) => {
            let at = error.location().map_or(Span::default(), |location| place(&location, text));
            problems.add(at, explain(&error));
            None
        }
    }
}

/// The message of the YAML reader, without the position (which is shown anyway) and advice for programmers.
fn explain(error: &serde_saphyr::Error) -> String {
    let message = error.without_snippet().to_string();
    let line = message.lines().next().unwrap_or_default();
    let line = line.rsplit_once(" at line ").map_or(line, |(said, _)| said);
    let line = line.split(", set DuplicateKeyPolicy").next().unwrap_or_default();
    format!("invalid YAML: {line}")
}

fn place(location: &Location, text: &str) -> Span {
    let span = location.span();
    let bytes = |value: Option<u64>| value.and_then(|v| usize::try_from(v).ok());
    match bytes(span.byte_offset()) {
        Some(start) => Span { start, len: bytes(span.byte_len()).unwrap_or(0) },
        None => {
            let before = |n: u64| usize::try_from(n).unwrap_or(1).saturating_sub(1);
            let start: usize = text.split_inclusive('\n').take(before(location.line())).map(str::len).sum();
            let column = text[start..].chars().take(before(location.column()));
            Span { start: start + column.take_while(|c| *c != '\n').map(char::len_utf8).sum::<usize>(), len: 0 }
        }
    }
}

/// A node before its position is computed.
fn located(location: &Location) -> Span {
    place(location, "")
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(from)?;
        Ok(Node { kind: spanned.value, place: located(&spanned.referenced) })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Scalar(Value::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Scalar(Value::from(value)))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Kind, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number must be finite"))?;
        Ok(Kind::Scalar(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Scalar(Value::from(value)))
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Kind, D::Error> {
        Kind::deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Kind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Node>()? {
            entries.push((Key { name: key.value, place: located(&key.referenced) }, value));
        }
        Ok(Kind::Map(entries))
    }
}

impl Node {
    /// A description for messages.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Scalar(Value::Null) => "nothing".to_owned(),
            Kind::Scalar(Value::String(text)) if text.len() > 60 => "a text".to_owned(),
            Kind::Scalar(Value::String(text)) => format!("the text \"{text}\""),
            Kind::Scalar(value) => value.to_string(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a map".to_owned(),
        }
    }

    /// The entries of a map, or a problem.
    pub(crate) fn entries(&self, what: &str, problems: &mut Problems<'_>) -> &[(Key, Node)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => self.wrong(what, "a map", problems).unwrap_or(&[]),
        }
    }

    /// The items of a list, or a problem.
    pub(crate) fn items(&self, what: &str, problems: &mut Problems<'_>) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            _ => self.wrong(what, "a list", problems).unwrap_or(&[]),
        }
    }

    /// A text, or a problem.
    pub(crate) fn text(&self, what: &str, problems: &mut Problems<'_>) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(Value::String(text)) => Some(text),
            _ => self.wrong(what, "a text", problems),
        }
    }

    /// A number, or a problem.
    pub(crate) fn number(&self, what: &str, problems: &mut Problems<'_>) -> Option<f64> {
        match &self.kind {
            Kind::Scalar(Value::Number(number)) => number.as_f64(),
            _ => self.wrong(what, "a number", problems),
        }
    }

    /// A whole number of at least 1, or a problem.
    pub(crate) fn count(&self, what: &str, problems: &mut Problems<'_>) -> Option<u32> {
        match &self.kind {
            Kind::Scalar(Value::Number(number)) => match number.as_u64().and_then(|n| u32::try_from(n).ok()) {
                Some(n) if n > 0 => Some(n),
                _ => self.wrong(what, "a whole number of at least 1", problems),
            },
            _ => self.wrong(what, "a whole number of at least 1", problems),
        }
    }

    /// True or false, or a problem.
    pub(crate) fn truth(&self, what: &str, problems: &mut Problems<'_>) -> Option<bool> {
        match &self.kind {
            Kind::Scalar(Value::Bool(value)) => Some(*value),
            _ => self.wrong(what, "true or false", problems),
        }
    }

    fn wrong<T>(&self, what: &str, wanted: &str, problems: &mut Problems<'_>) -> Option<T> {
        problems.add(self.place, format!("{what} must be {wanted}, but this is {}", self.describe()));
        None
    }
}

/// The entries of a map whose keys are fixed.
pub(crate) struct Fields<'n> {
    entries: &'n [(Key, Node)],
    place: Span,
}

impl<'n> Fields<'n> {
    /// Reads the entries of a map and reports keys that are not in `known`.
    pub(crate) fn new(node: &'n Node, what: &str, known: &[&str], problems: &mut Problems<'_>) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else { return node.wrong(what, "a map", problems) };
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.name.as_str())) {
            let help = suggest(&key.name, known.iter().copied());
            problems.add_maybe(key.place, format!("{what} has no key `{}`", key.name), help);
        }
        Some(Fields { entries, place: node.place })
    }

    /// The position of the map.
    pub(crate) fn place(&self) -> Span {
        self.place
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// The key, to point at it.
    pub(crate) fn key(&self, name: &str) -> Option<&'n Key> {
        self.entries.iter().find(|(key, _)| key.name == name).map(|(key, _)| key)
    }

    /// The value of a required key.
    pub(crate) fn need(&self, name: &str, what: &str, problems: &mut Problems<'_>) -> Option<&'n Node> {
        let found = self.get(name);
        if found.is_none() {
            problems.add(self.place, format!("{what} needs `{name}`"));
        }
        found
    }
}
