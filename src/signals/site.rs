//! The site's own patterns, which take precedence over the table.
//!
//! A pattern is a tag as TensorBoard shows it, in which `*` stands for any characters: `Losses/train_*`. It is compared
//! in the normal form of tags, so case and punctuation do not matter, with the tag alone and with `folder/tag`. In a
//! pattern for weights or gradients the first `*` is the name of the layer.

use regex::Regex;

use super::Signal;
use super::text::Text;

/// One pattern of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRule {
    /// What the tags mean; `None`: nothing, leave them alone.
    pub signal: Option<Signal>,
    /// The tags.
    pub pattern: String,
}

/// Why a pattern of the site cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiteRuleError {
    /// It would match no tag, or every tag.
    #[error(
        "the pattern {pattern:?} has no letter or digit: write a tag as shown in TensorBoard, with * for any \
         characters"
    )]
    Empty {
        /// The pattern.
        pattern: String,
    },
    /// Weights and gradients belong to a layer.
    #[error("the pattern {pattern:?} for {signal} has no *: use * for the name of the layer")]
    NoLayer {
        /// The pattern.
        pattern: String,
        /// The signal.
        signal: Signal,
    },
    /// It is longer than a pattern can be.
    #[error("the pattern {pattern:?} is too long")]
    TooLong {
        /// Its beginning.
        pattern: String,
    },
}

/// A pattern of the site, ready for use.
#[derive(Debug, Clone)]
pub(super) struct SitePattern {
    pub(super) signal: Option<Signal>,
    pub(super) rule: String,
    regex: Regex,
}

impl SitePattern {
    pub(super) fn new(rule: &SiteRule) -> Result<SitePattern, SiteRuleError> {
        let pattern = rule.pattern.clone();
        if !pattern.contains(char::is_alphanumeric) {
            return Err(SiteRuleError::Empty { pattern });
        }
        let layered = rule.signal.filter(|signal| matches!(signal, Signal::Weights | Signal::Gradients));
        if let Some(signal) = layered
            && !pattern.contains('*')
        {
            return Err(SiteRuleError::NoLayer { pattern, signal });
        }
        let too_long = SiteRuleError::TooLong { pattern: pattern.chars().take(40).collect() };
        let regex = Regex::new(&expression(&pattern)).map_err(|_| too_long)?;
        Ok(SitePattern { signal: rule.signal, rule: format!("the site's pattern {pattern:?}"), regex })
    }

    /// Whether the pattern is about a text, and the range of the text that `*` stands for.
    pub(super) fn find(&self, text: &Text) -> Option<std::ops::Range<usize>> {
        let captures = self.regex.captures(text.as_str())?;
        Some(captures.name("layer").map_or(0..0, |layer| layer.range()))
    }
}

/// The glob as a regular expression over normal forms. Separators beside a `*` are optional: `train_*` is also `train`.
fn expression(pattern: &str) -> String {
    let mut expression = String::from("^");
    for (i, piece) in pattern.split('*').enumerate() {
        match i {
            0 => {}
            1 => expression.push_str("(?P<layer>.*)"),
            _ => expression.push_str(".*"),
        }
        let text = Text::new("", piece);
        if piece.starts_with('/') && i > 0 && !text.as_str().is_empty() {
            expression.push('/');
        }
        expression.push_str(&regex::escape(text.as_str()));
        if piece.ends_with('/') && !text.as_str().is_empty() && i < pattern.matches('*').count() {
            expression.push('/');
        }
    }
    expression.push('$');
    expression
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(pattern: &str, tag: &str) -> Option<String> {
        let rule = SiteRule { signal: None, pattern: pattern.to_owned() };
        let text = Text::new("", tag);
        let found = SitePattern::new(&rule).expect("a usable pattern").find(&text)?;
        Some(text.original(found).trim_matches(|c: char| !c.is_alphanumeric()).to_owned())
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        assert_eq!(layer("Losses/Train_*", "losses/train-total").as_deref(), Some("total"));
        assert_eq!(layer("Losses/Train_*", "losses/val-total"), None);
        assert_eq!(layer("objective", "Objective").as_deref(), Some(""));
        assert_eq!(layer("objective", "objective/a"), None);
        assert_eq!(layer("grads/*/hist", "grads/fc.1/hist").as_deref(), Some("fc.1"));
        assert_eq!(layer("*.loss", "a.b.loss").as_deref(), Some("a.b"));
    }

    #[test]
    fn a_pattern_must_say_something() {
        let error = |signal, pattern: &str| SitePattern::new(&SiteRule { signal, pattern: pattern.to_owned() }).err();
        assert!(matches!(error(None, "*/*"), Some(SiteRuleError::Empty { .. })));
        assert!(matches!(error(Some(Signal::Weights), "weights"), Some(SiteRuleError::NoLayer { .. })));
        assert_eq!(error(Some(Signal::TrainLoss), "weights").map(|e| e.to_string()), None);
    }
}
