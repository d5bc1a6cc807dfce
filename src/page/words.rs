//! Texts and numbers for people.
//!
//! Owns: the presentation of ids, settings and untrusted texts. Must not know: their subject.

use serde_json::Value;

use crate::command::masked_line;
use crate::facts::Knobs;

/// An id as words: `bad_initialization` is `bad initialization`.
pub(super) fn words(id: &str) -> String {
    match id {
        "non_finite" => "NaN or infinity".to_owned(),
        other => other.replace('_', " "),
    }
}

/// Words that begin a line.
pub(super) fn sentence(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// An untrusted text for display: it cannot reorder or hide neighbouring text, has at most `most` characters, and
/// secrets are masked.
pub fn shown(text: &str, most: usize) -> String {
    // Masking comes first: shortening could cut a secret, which would then not be recognised.
    let text = masked_line(text);
    let mut out: String = text.chars().take(most).map(plain).collect();
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

/// The character itself, or a replacement for invisible characters and those that change the direction of others.
fn plain(c: char) -> char {
    match c {
        '\n' | '\t' => c,
        c if c.is_control() => '\u{fffd}',
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => '\u{fffd}',
        '\u{e0000}'..='\u{e0fff}' => '\u{fffd}',
        c => c,
    }
}

/// A setting's value.
pub(super) fn value(knob: &str, value: &Value) -> String {
    match value {
        Value::Null if knob == "train_examples" => "all".to_owned(),
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |n| crate::picture::number(n, 6)),
        Value::String(text) => shown(text, 60),
        other => shown(&other.to_string(), 60),
    }
}

/// Changed settings with their previous values, if known.
pub(super) fn changes(changes: &Knobs, before: &Knobs) -> Vec<(String, Option<String>, String)> {
    let change = |(knob, new): (&String, &Value)| {
        let old = before.get(knob).map(|old| value(knob, old));
        (shown(&words(knob), 60), old, value(knob, new))
    };
    changes.iter().map(change).collect()
}

/// A count with its noun.
pub(super) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", crate::picture::number(number as f64, 12))
}

/// A fraction in per cent.
pub(super) fn per_cent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_strangers_hides_nothing_and_is_cut() {
        assert_eq!(shown("run\u{1b}[31m\u{202e}x\u{200b}", 20), "run\u{fffd}[31m\u{fffd}x\u{fffd}");
        assert_eq!(shown("abcdef", 3), "abc…");
        assert_eq!(shown("abc", 3), "abc");
        let secret = shown("train.py --api-key=sk-123456789abcdef --lr 1", 30);
        assert!(!secret.contains("12345"), "{secret}");
    }

    #[test]
    fn settings_read_as_people_write_them() {
        let of = |json: &str| value("x", &serde_json::from_str(json).unwrap());
        assert_eq!(
            [of("0.001"), of("null"), of("true"), of("\"adam\""), of("20000")],
            ["0.001", "none", "on", "adam", "20,000"]
        );
        assert_eq!(value("train_examples", &Value::Null), "all");
        assert_eq!((count(1, "case"), count(1200, "case")), ("1 case".to_owned(), "1,200 cases".to_owned()));
    }
}
