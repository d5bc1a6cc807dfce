//! Texts with expressions in braces: `the learning rate was {baseline.learning_rate}`.
//!
//! Owns: braces. Must not know: the purpose of the texts.

use super::guard::{Evaluator, Expression, Fault, Names};

/// A text with checked expressions.
#[derive(Debug, Clone, Default)]
pub(super) struct Text {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Words(String),
    Value(Expression),
}

impl Text {
    /// A text without expressions.
    pub(super) fn plain(words: &str) -> Self {
        Text { pieces: vec![Piece::Words(words.to_owned())] }
    }

    /// Reads a text. `{{` and `}}` stand for single braces.
    ///
    /// # Errors
    ///
    /// All problems of its expressions and braces, each with its position in `source`.
    pub(super) fn compile(source: &str, names: &Names<'_>) -> Result<Self, Vec<Fault>> {
        let mut pieces = Vec::new();
        let mut faults = Vec::new();
        let mut words = String::new();
        let mut at = 0;
        while let Some(c) = source[at..].chars().next() {
            let rest = &source[at..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                words.push(c);
                at += 2;
            } else if c == '{' {
                let Some(end) = rest[1..].find(['{', '}']).map(|i| i + 1).filter(|i| rest[*i..].starts_with('}'))
                else {
                    faults.push(fault(at..at + 1, "this brace is not closed", "write {{ for a literal brace"));
                    at += 1;
                    continue;
                };
                pieces.push(Piece::Words(std::mem::take(&mut words)));
                match Expression::compile(&rest[1..end], names) {
                    Ok(expression) => pieces.push(Piece::Value(expression)),
                    Err(inner) => faults.extend(
                        inner.into_iter().map(|f| Fault { span: f.span.start + at + 1..f.span.end + at + 1, ..f }),
                    ),
                }
                at += end + 1;
            } else if c == '}' {
                faults.push(fault(at..at + 1, "this brace has no opening brace", "write }} for a literal brace"));
                at += 1;
            } else {
                words.push(c);
                at += c.len_utf8();
            }
        }
        pieces.push(Piece::Words(words));
        if faults.is_empty() { Ok(Text { pieces }) } else { Err(faults) }
    }

    /// The text with its values; unknown values become `unknown`.
    pub(super) fn render(&self, evaluator: &mut Evaluator<'_>) -> String {
        let shown = self.pieces.iter().map(|piece| match piece {
            Piece::Words(words) => words.clone(),
            Piece::Value(expression) => evaluator.value(expression).show(),
        });
        shown.collect::<String>().trim().to_owned()
    }
}

fn fault(span: std::ops::Range<usize>, message: &str, help: &str) -> Fault {
    Fault { span, message: message.to_owned(), help: Some(help.to_owned()) }
}
