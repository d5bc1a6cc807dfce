//! Texts of the launch section: words with placeholders, whose values are quoted for a shell.
//!
//! Owns: splitting, placeholders, quoting. Must not know: knobs.

use std::collections::BTreeMap;

use crate::command::is_one_program;
pub(super) use crate::command::{hydra, shell};
use crate::policy::{Formula, FormulaFault};

/// A text with placeholders `{name}` or formulas; `{{` and `}}` are literal braces.
#[derive(Debug, Clone)]
pub(super) struct Template {
    parts: Vec<Part>,
    source: String,
}

impl PartialEq for Template {
    fn eq(&self, other: &Template) -> bool {
        self.source == other.source
    }
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Hole(String),
    Formula(Formula),
}

/// Parser for formulas.
pub(super) type Compile<'c> = &'c dyn Fn(&str) -> Result<Formula, Vec<FormulaFault>>;

/// Why a text is not a valid template.
#[derive(Debug)]
pub(super) enum Wrong {
    /// A problem of the text.
    Text(String),
    /// A problem of a formula, with the formula.
    Formula(String, Vec<FormulaFault>),
}

impl Template {
    /// Reads a text that can use the placeholders `holes`. The error describes the problem.
    pub(super) fn parse(text: &str, holes: &[&str]) -> Result<Template, String> {
        Template::read(text, holes, None).map_err(|wrong| match wrong {
            Wrong::Text(reason) => reason,
            Wrong::Formula(source, _) => format!("`{{{source}}}` is not a placeholder here"),
        })
    }

    /// Like the above, but anything that is not a placeholder can be a formula.
    pub(super) fn read(text: &str, holes: &[&str], compile: Option<Compile<'_>>) -> Result<Template, Wrong> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if rest.starts_with("{{") || rest.starts_with("}}") {
                plain.push(c);
                rest = &rest[2..];
            } else if c == '{' {
                let closed = rest.find('}');
                let end = closed
                    .ok_or_else(|| Wrong::Text("a `{` is not closed; write {{ for a literal brace".to_owned()))?;
                let name = &rest[1..end];
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(match compile {
                    _ if holes.contains(&name) => Part::Hole(name.to_owned()),
                    Some(compile) => {
                        Part::Formula(compile(name).map_err(|faults| Wrong::Formula(name.to_owned(), faults))?)
                    }
                    None => {
                        let known: Vec<String> = holes.iter().map(|hole| format!("{{{hole}}}")).collect();
                        let known = known.join(", ");
                        return Err(Wrong::Text(format!("`{{{name}}}` is not a placeholder here; available: {known}")));
                    }
                });
                rest = &rest[end + 1..];
            } else if c == '}' {
                return Err(Wrong::Text("a `}` without `{`; write }} for a literal brace".to_owned()));
            } else {
                plain.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        parts.push(Part::Text(plain));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Ok(Template { parts, source: text.to_owned() })
    }

    /// The text with all placeholders replaced.
    pub(super) fn fill(&self, value: impl Fn(&str) -> String) -> String {
        // The text of a command contains no formulas.
        self.compute(value, |_| Ok(String::new())).unwrap_or_default()
    }

    /// The text with all placeholders and formulas replaced. The error is that of the first formula without a value.
    pub(super) fn compute(
        &self,
        value: impl Fn(&str) -> String,
        formula: impl Fn(&Formula) -> Result<String, String>,
    ) -> Result<String, String> {
        self.parts.iter().try_fold(String::new(), |text, part| match part {
            Part::Text(plain) => Ok(text + plain),
            Part::Hole(name) => Ok(text + &value(name)),
            Part::Formula(computed) => Ok(text + &formula(computed)?),
        })
    }

    /// Whether the text uses the placeholder.
    pub(super) fn has(&self, hole: &str) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Hole(name) if name == hole))
    }

    /// Whether the text consists only of the placeholder.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.parts.as_slice(), [Part::Hole(_)])
    }

    /// The text as written.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether a placeholder is between quotes; a quoted value would end them.
    pub(super) fn has_quoted_hole(&self) -> bool {
        let mut open: Option<char> = None;
        for part in &self.parts {
            match part {
                Part::Hole(_) | Part::Formula(_) if open.is_some() => return true,
                Part::Hole(_) | Part::Formula(_) => {}
                Part::Text(text) => open = quote_after(open, text),
            }
        }
        false
    }
}

/// The quote that is open after a text, given the quote open before it.
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

/// A command line with variables for the whole command: `A=1 cd X && python` would set them only for `cd`.
pub(super) fn with_environment(env: &BTreeMap<String, String>, command: &str) -> String {
    if env.is_empty() {
        return command.to_owned();
    }
    let pairs: Vec<String> = env.iter().map(|(name, value)| format!("{name}={}", shell(value))).collect();
    let pairs = pairs.join(" ");
    if is_one_program(command) { format!("env {pairs} {command}") } else { format!("export {pairs}; {command}") }
}

/// Splits a text into words like a shell: at spaces, except between quotes and in the braces of a formula.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut open: Option<char> = None;
    let mut formula = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (open, c) {
            (_, '{') if !formula && chars.next_if_eq(&'{').is_some() => word.get_or_insert_default().push_str("{{"),
            _ if formula || (c == '{' && chars.clone().any(|c| c == '}')) => {
                formula = c != '}';
                word.get_or_insert_default().push(c);
            }
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
        assert_eq!(split("--n {ceil(value / 2)} 'x {{ y'").unwrap(), ["--n", "{ceil(value / 2)}", "x {{ y"]);
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
