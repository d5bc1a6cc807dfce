//! Escapes external text in log lines.
//!
//! Tags, run names and hyperparameters come from event files, which anyone who trains can write. Control characters in
//! them could affect a terminal, and line breaks could forge log entries.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

/// Creates writers that escape.
pub(super) struct Escaping<M>(pub(super) M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Escaping<M> {
    type Writer = EscapingWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapingWriter(self.0.make_writer())
    }
}

/// Writes each entry, which arrives in one call, as one line.
pub(super) struct EscapingWriter<W>(W);

impl<W: Write> Write for EscapingWriter<W> {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(entry);
        let (line, end) = text.strip_suffix('\n').map_or((&*text, ""), |line| (line, "\n"));
        self.0.write_all((escaped(line) + end).as_bytes())?;
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn escaped(line: &str) -> String {
    line.chars().fold(String::with_capacity(line.len()), |mut shown, c| {
        if c == '\t' || !is_hazard(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
        shown
    })
}

/// Control characters, line and paragraph separators, and characters that change the writing direction.
fn is_hazard(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(entry: &str) -> String {
        let mut out = Vec::new();
        EscapingWriter(&mut out).write_all(entry.as_bytes()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_cannot_forge_an_entry_or_drive_a_terminal() {
        assert_eq!(
            written("tag \u{1b}[2Jx\u{202e}\nINFO all is well\r\n"),
            "tag \\u{1b}[2Jx\\u{202e}\\nINFO all is well\\r\n"
        );
        assert_eq!(written("größer\tα\n"), "größer\tα\n");
    }

    proptest! {
        #[test]
        fn an_entry_is_one_line(text in any::<String>()) {
            let line = written(&format!("{text}\n"));
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert!(!line.trim_end_matches('\n').contains(|c: char| c.is_control() && c != '\t'));
        }
    }
}
