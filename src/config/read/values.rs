//! Small readers shared by all sections.

use std::time::Duration;

use serde_json::Value;

use crate::config::duration::parse_duration;
use crate::config::glob::Glob;
use crate::yaml::{Kind, Node, Span, suggest};

use super::Reader;

impl Node {
    /// Whether the value is exactly this word.
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Scalar(Value::String(text)) if text == word)
    }
}

/// Whether a text can be one part of a path that begins the names of jobs: letters, digits, `-`, `_` and `.`, not
/// beginning with `.`.
pub(super) fn is_plain_part(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && !text.starts_with('.') && text.chars().all(plain)
}

impl Reader<'_> {
    /// A duration; `or` lists the alternatives.
    pub(super) fn duration(&mut self, node: &Node, what: &str, or: &str) -> Option<Duration> {
        let text = match &node.kind {
            Kind::Scalar(Value::String(text)) => text.clone(),
            Kind::Scalar(Value::Number(number)) => number.to_string(),
            _ => {
                let message = format!("{what} must be {or}a duration such as 10m, but this is {}", node.describe());
                self.problems.add(node.place, message);
                return None;
            }
        };
        match parse_duration(&text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.problems.add_maybe(
                    node.place,
                    format!("{what}: {error}"),
                    (!or.is_empty()).then(|| format!("or write {}", or.trim_end_matches("or "))),
                );
                None
            }
        }
    }

    /// A duration greater than zero.
    pub(super) fn positive(&mut self, node: &Node, what: &str) -> Option<Duration> {
        let duration = self.duration(node, what, "")?;
        if duration.is_zero() {
            self.problems.add(node.place, format!("{what} must be longer than 0s"));
            return None;
        }
        Some(duration)
    }

    /// One word from a list.
    pub(super) fn one_of<T: Copy>(&mut self, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = node.text(what, &mut self.problems)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let help = suggest(text, words.iter().map(|(word, _)| *word));
            self.problems.add_maybe(node.place, format!("{what} cannot be `{text}`"), help);
        }
        found
    }

    /// A text or a list of texts, with positions.
    pub(super) fn texts(&mut self, node: &Node, what: &str) -> Vec<(String, Span)> {
        let nodes: &[Node] = if let Kind::List(items) = &node.kind { items } else { std::slice::from_ref(node) };
        let read = |node: &Node| Some((node.text(what, &mut self.problems)?.to_owned(), node.place));
        nodes.iter().filter_map(read).collect()
    }

    /// A pattern of job names or a list of them.
    pub(super) fn globs(&mut self, node: &Node, what: &str) -> Vec<Glob> {
        let texts = self.texts(node, what);
        texts.iter().filter_map(|(text, place)| self.glob(text, *place)).collect()
    }

    /// A pattern of job names.
    pub(super) fn glob(&mut self, text: &str, place: Span) -> Option<Glob> {
        let glob = Glob::new(text);
        if glob.is_none() {
            let help = "write the name of a job or directory relative to the log directory, with * for any characters \
                and ** for any directories";
            self.problems.add_help(place, format!("`{text}` is not a job pattern"), help);
        }
        glob
    }
}
