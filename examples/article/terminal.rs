//! How the story looks on the terminal: widths, emphasis.
//!
//! Owns: layout. Must not know: what is told.

use std::io::IsTerminal;

/// Columns of running text.
const WIDTH: usize = 92;
/// What stands before every line but the headings.
const INDENT: &str = "   ";

/// Writes to standard output, with emphasis only where a person looks on.
pub(crate) struct Terminal {
    emphasis: bool,
}

impl Terminal {
    /// Looks at what standard output is, and whether colours are unwanted (<https://no-color.org>).
    pub(crate) fn new() -> Terminal {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Terminal { emphasis: std::io::stdout().is_terminal() && !unwanted }
    }

    /// A heading, with an empty line before it.
    pub(crate) fn heading(&self, text: &str) {
        println!("\n{}", self.styled("1", text));
    }

    /// Running text.
    pub(crate) fn text(&self, text: &str) {
        for line in wrap(text, WIDTH - INDENT.len()) {
            println!("{INDENT}{line}");
        }
    }

    /// Running text that is less important.
    pub(crate) fn aside(&self, text: &str) {
        for line in wrap(text, WIDTH - INDENT.len()) {
            println!("{INDENT}{}", self.styled("2", &line));
        }
    }

    /// One line as it is.
    pub(crate) fn line(&self, text: &str) {
        println!("{INDENT}{text}");
    }

    fn styled(&self, code: &str, text: &str) -> String {
        if self.emphasis { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Lines of at most so many characters, broken at spaces; a longer word stands alone.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn lines_break_at_spaces_and_nothing_is_lost() {
        let text = "batch norm hid the exploding gradients that a plain Gaussian initialisation caused";
        let lines = wrap(text, 20);
        assert!(lines.iter().all(|line| line.len() <= 20), "{lines:?}");
        assert_eq!(lines.join(" "), text);
        assert_eq!(wrap("incomprehensibilities a", 5), ["incomprehensibilities", "a"]);
    }
}
