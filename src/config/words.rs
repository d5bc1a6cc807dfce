//! Texts of the launch section: words with placeholders, and values put into them so that a shell sees data.
//!
//! Owns: splitting, placeholders, quoting. Must not know: knobs.

pub(super) use crate::command::{hydra, shell};

/// A text with placeholders `{name}`; `{{` and `}}` are braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
    source: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Hole(String),
}

impl Template {
    /// Reads a text that may use the placeholders `holes`; the error says what is wrong with it.
    pub(super) fn parse(text: &str, holes: &[&str]) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if rest.starts_with("{{") || rest.starts_with("}}") {
                plain.push(c);
                rest = &rest[2..];
            } else if c == '{' {
                let end = rest.find('}').ok_or("a `{` is not closed: write {{ for a brace")?;
                let name = &rest[1..end];
                if !holes.contains(&name) {
                    let known: Vec<String> = holes.iter().map(|hole| format!("{{{hole}}}")).collect();
                    return Err(format!("`{{{name}}}` is not a placeholder here: there is {}", known.join(", ")));
                }
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Hole(name.to_owned()));
                rest = &rest[end + 1..];
            } else if c == '}' {
                return Err("a `}` without `{`: write }} for a brace".to_owned());
            } else {
                plain.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        parts.push(Part::Text(plain));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Template { parts, source: text.to_owned() })
    }

    /// The text with every placeholder replaced.
    pub(super) fn fill(&self, value: impl Fn(&str) -> String) -> String {
        self.parts.iter().fold(String::new(), |text, part| match part {
            Part::Text(plain) => text + plain,
            Part::Hole(name) => text + &value(name),
        })
    }

    /// Whether the placeholder is used.
    pub(super) fn has(&self, hole: &str) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Hole(name) if name == hole))
    }

    /// Whether it is a placeholder and nothing else.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.parts.as_slice(), [Part::Hole(_)])
    }

    /// The text as it was written.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether a placeholder stands between quotes, where a value that is quoted itself would end them.
    pub(super) fn has_quoted_hole(&self) -> bool {
        let mut open: Option<char> = None;
        for part in &self.parts {
            match part {
                Part::Hole(_) if open.is_some() => return true,
                Part::Hole(_) => {}
                Part::Text(text) => open = quote_after(open, text),
            }
        }
        false
    }
}

/// The quote that is open after a text, if it was `open` before.
fn quote_after(mut open: Option<char>, text: &str) -> Option<char> {
    let mut escaped = false;
    for c in text.chars() {
        match (open, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (None, '\'' | '"') => open = Some(c),
            (Some(quote), _) if quote == c => open = None,
            _ => {}
        }
    }
    open
}

/// Splits a text into words as a shell would: at spaces, but not between quotes.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut open: Option<char> = None;
    for c in text.chars() {
        match (open, c) {
            (None, '\'' | '"') => {
                open = Some(c);
                word.get_or_insert_default();
            }
            (Some(quote), _) if quote == c => open = None,
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match open {
        Some(quote) => Err(format!("a {quote} is not closed")),
        None => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn placeholders_are_checked() {
        let parse = |text| Template::parse(text, &["value"]);
        assert_eq!(parse("--lr={value}").unwrap().fill(|_| "3".to_owned()), "--lr=3");
        assert_eq!(parse("{{lr: {value}}}").unwrap().fill(|_| "3".to_owned()), "{lr: 3}");
        for wrong in ["{valu}", "{value", "value}", "{}"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("'a {value}'").unwrap().has_quoted_hole());
        assert!(!parse("'a' {value} 'b'").unwrap().has_quoted_hole());
        assert!(!parse(r"it\'s {value}").unwrap().has_quoted_hole());
    }

    #[test]
    fn words_are_split_as_in_a_shell() {
        assert_eq!(split("--lr {value}  'a b' c\"d e\" ''").unwrap(), ["--lr", "{value}", "a b", "cd e", ""]);
        assert!(split("'a").is_err());
        assert_eq!(shell("a b"), "'a b'");
        assert_eq!(shell("it's"), r"'it'\''s'");
        assert_eq!(hydra("it's"), r"'it\'s'");
    }

    proptest! {
        #[test]
        fn a_quoted_word_is_one_word_again(word in "[^'\u{0}]{0,20}") {
            prop_assert_eq!(split(&shell(&word)).unwrap(), [word]);
        }

        #[test]
        fn no_text_is_a_panic(text in "[{}value'\" \\\\]{0,16}|\\PC{0,16}") {
            if let Ok(template) = Template::parse(&text, &["value"]) {
                template.has_quoted_hole();
            }
            drop(split(&text));
        }
    }
}
