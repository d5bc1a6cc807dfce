//! Problems in a file: line, column, the line itself, a caret, and a fix.
//!
//! Owns: positions in the text and the format of problems. Must not know: the meaning of the file.

use std::fmt;

/// A mistake in a file, for a person to fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file name as passed to the reader.
    pub origin: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Number of characters under the caret, at least 1.
    pub width: usize,
    /// The problem.
    pub message: String,
    /// The fix, if known.
    pub help: Option<String>,
    /// The line of the file with the problem.
    pub snippet: String,
}

/// Maximum number of characters shown of a line; half of them before the caret. Files written by programs may consist
/// of one line.
const SHOWN: usize = 160;

/// Maximum number of problems listed.
const LISTED: usize = 50;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.to_string();
        let margin = " ".repeat(line.len());
        let before = self.column.saturating_sub(1);
        let is_long = self.snippet.chars().count() > SHOWN;
        let left_out = if is_long { before.saturating_sub(SHOWN / 2) } else { 0 };
        let shown: String = self.snippet.chars().skip(left_out).take(SHOWN).collect();
        let width = self.width.min(SHOWN / 2);
        writeln!(f, "{}:{}:{}: {}", self.origin, self.line, self.column, self.message)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{line} | {shown}")?;
        write!(f, "{margin} | {}{}", " ".repeat(before - left_out), "^".repeat(width))?;
        match &self.help {
            Some(help) => write!(f, "\n{margin} = help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// A range of the text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    /// The start.
    pub(crate) start: usize,
    /// The length; the caret is drawn even if this is 0.
    pub(crate) len: usize,
}

impl Span {
    /// Finds the position of a part of a scalar in the file. A folded or escaped scalar differs from its text in the
    /// file; in this case, returns the first similar part, or the whole scalar.
    pub(crate) fn inside(self, text: &str, source: &str, part: &std::ops::Range<usize>) -> Span {
        let end = self.start.saturating_add(self.len).min(text.len());
        let raw = text.get(self.start..end).unwrap_or("");
        let len = part.len();
        if let Some(at) = raw.find(source) {
            return Span { start: self.start + at + part.start, len };
        }
        match source.get(part.clone()).filter(|words| !words.is_empty()).and_then(|words| raw.find(words)) {
            Some(at) => Span { start: self.start + at, len },
            None => self,
        }
    }
}

/// Collects the problems of a text.
pub(crate) struct Problems<'t> {
    origin: &'t str,
    text: &'t str,
    found: Vec<Problem>,
    /// Includes problems that are not listed.
    count: usize,
}

impl<'t> Problems<'t> {
    pub(crate) fn new(text: &'t str, origin: &'t str) -> Self {
        Problems { origin, text, found: Vec::new(), count: 0 }
    }

    /// The text to which positions refer.
    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    pub(crate) fn add(&mut self, at: Span, message: impl Into<String>) {
        self.push(at, message.into(), None);
    }

    pub(crate) fn add_help(&mut self, at: Span, message: impl Into<String>, help: impl Into<String>) {
        self.push(at, message.into(), Some(help.into()));
    }

    /// Like [`Problems::add_help`], with an optional fix.
    pub(crate) fn add_maybe(&mut self, at: Span, message: impl Into<String>, help: Option<String>) {
        self.push(at, message.into(), help);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The problems without duplicates, in the order of the text.
    pub(crate) fn into_sorted(mut self) -> Vec<Problem> {
        self.found.sort_by(|a, b| (a.line, a.column, &a.message).cmp(&(b.line, b.column, &b.message)));
        self.found.dedup();
        self.found
    }

    fn push(&mut self, at: Span, message: String, help: Option<String>) {
        self.count += 1;
        if self.found.len() == LISTED {
            return;
        }
        let mut start = at.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let rest = &self.text[line_start..];
        let line_text = rest.split('\n').next().unwrap_or("").trim_end_matches('\r');
        let column = self.text[line_start..start].chars().count();
        let left = line_text.chars().count().saturating_sub(column);
        let mut end = at.start.saturating_add(at.len).min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let wanted = self.text.get(start..end).map_or(0, |s| s.chars().count());
        self.found.push(Problem {
            origin: self.origin.to_owned(),
            line: before.matches('\n').count() + 1,
            column: column + 1,
            width: wanted.min(left).max(1),
            message,
            help,
            // Tabs and control characters would misplace the caret.
            snippet: line_text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        });
    }
}

/// Help for an unknown name: the most similar known name, or all known names if there are few.
pub(crate) fn suggest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    // No valid name is this long, so this is not a typing error.
    let slip = name.len() <= 64;
    let near = known
        .iter()
        .filter(|_| slip)
        .map(|k| (distance(name, k), *k))
        .min()
        .filter(|(d, _)| *d <= 1 + name.chars().count() / 4);
    match near {
        Some((_, k)) => Some(format!("did you mean `{k}`?")),
        None if known.is_empty() => None,
        None => Some(format!("known: {}", known.join(", "))),
    }
}

/// Edit distance between two names: insertions, deletions, substitutions, and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let other = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    let swap = if swapped { table[i - 2][j - 2] + 1 } else { other };
                    other.min(swap).min(table[i - 1][j] + 1).min(table[i][j - 1] + 1)
                }
            };
        }
    }
    table[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_line_caret_and_help() {
        let mut problems = Problems::new("a: 1\nb: αβ oops\n", "p.yaml");
        problems.add_help(Span { start: 13, len: 4 }, "unknown name `oops`", "did you mean `ops`?");
        let shown = problems.into_sorted()[0].to_string();
        assert_eq!(
            shown,
            "p.yaml:2:7: unknown name `oops`\n  |\n2 | b: αβ oops\n  |       ^^^^\n  = help: did you mean `ops`?"
        );
    }

    #[test]
    fn a_place_outside_of_the_text_or_inside_a_character_is_moved_not_refused() {
        let mut problems = Problems::new("é", "p.yaml");
        problems.add(Span { start: 1, len: 900 }, "x");
        problems.add(Span { start: 70, len: usize::MAX }, "y");
        assert_eq!(problems.into_sorted().len(), 2);
    }

    #[test]
    fn of_a_long_line_the_part_with_the_problem_is_shown() {
        let text = format!("{}oops{}", "a".repeat(5000), "b".repeat(5000));
        let mut problems = Problems::new(&text, "p.yaml");
        problems.add(Span { start: 5000, len: 4 }, "unknown name");
        let shown = problems.into_sorted()[0].to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "p.yaml:1:5001: unknown name");
        assert_eq!(lines[2], format!("1 | {}oops{}", "a".repeat(80), "b".repeat(76)));
        assert_eq!(lines[3], format!("  | {}^^^^", " ".repeat(80)));
    }

    #[test]
    fn no_more_problems_are_kept_than_a_person_reads_and_all_are_counted() {
        let mut problems = Problems::new("text", "p.yaml");
        (0..1000).for_each(|_| problems.add(Span::default(), "wrong"));
        assert_eq!((problems.count, problems.is_empty()), (1000, false));
        assert!(problems.found.len() <= LISTED);
    }

    #[test]
    fn near_names_are_suggested_and_far_ones_listed() {
        assert_eq!(suggest("reapeats", ["repeats", "from"]).as_deref(), Some("did you mean `repeats`?"));
        assert_eq!(suggest("mni", ["min", "max"]).as_deref(), Some("did you mean `min`?"));
        assert_eq!(suggest("zzz", ["repeats", "from"]).as_deref(), Some("known: from, repeats"));
        assert_eq!(suggest("zzz", []), None);
    }
}
