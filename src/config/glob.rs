//! Patterns of job names: `vision/**`, `*/debug*`.

use std::fmt;

use regex::Regex;

/// A pattern of job names. `*` matches any characters except `/`, `**` any characters, `?` one character except `/`. A
/// pattern that matches a directory matches everything in it.
#[derive(Debug, Clone)]
pub struct Glob {
    text: String,
    regex: Regex,
}

impl Glob {
    /// Reads a pattern; `None` if it is empty or longer than a path can be.
    pub fn new(text: &str) -> Option<Glob> {
        let inner = text.trim_matches('/');
        if inner.is_empty() || inner.len() > 4096 {
            return None;
        }
        let mut expression = String::from("^(?s:");
        let mut rest = inner;
        while let Some(c) = rest.chars().next() {
            let taken = match rest {
                _ if rest.starts_with("**/") => ("(?:.*/)?", 3),
                _ if rest.starts_with("**") => (".*", 2),
                _ if c == '*' => ("[^/]*", 1),
                _ if c == '?' => ("[^/]", 1),
                _ => ("", c.len_utf8()),
            };
            expression.push_str(taken.0);
            if taken.0.is_empty() {
                expression.push_str(&regex::escape(&rest[..taken.1]));
            }
            rest = &rest[taken.1..];
        }
        expression.push_str(")(?:/.*)?$");
        Some(Glob { text: text.to_owned(), regex: Regex::new(&expression).ok()? })
    }

    /// Whether the pattern matches a job.
    pub fn matches(&self, job: &str) -> bool {
        self.regex.is_match(job)
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Glob) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;
    use proptest::prelude::*;

    #[test]
    fn stars_know_folders() {
        for (pattern, job, matches) in [
            ("vision/**", "vision/a/b", true),
            ("vision", "vision/a/b", true),
            ("vision", "visionary", false),
            ("*/debug*", "a/debug-3", true),
            ("*/debug*", "a/b/debug-3", false),
            ("**/debug*", "a/b/debug-3", true),
            ("**/debug*", "debug", true),
            ("run?", "run12", false),
            ("a.b", "axb", false),
            ("/vision/", "vision", true),
        ] {
            assert_eq!(Glob::new(pattern).is_some_and(|glob| glob.matches(job)), matches, "{pattern} {job}");
        }
        assert!(Glob::new("/").is_none());
    }

    proptest! {
        #[test]
        fn a_text_without_stars_matches_itself(text in "[^*?/]{1,20}") {
            prop_assert!(Glob::new(&text).is_some_and(|glob| glob.matches(&text)));
        }
    }
}
