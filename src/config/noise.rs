//! Which messages a destination receives, and when people are not disturbed.
//!
//! Owns: the available settings. Must not know: their effect on a message.

use std::fmt;
use std::time::Duration;

use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::glob::Glob;

/// The messages that a destination receives, among the kinds that it wants.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Route {
    /// All of them.
    #[default]
    All,
    /// Messages that match one of the rules.
    Rules(Vec<Rule>),
    /// Messages that match no destination with rules.
    Rest,
}

/// One rule. All its conditions must match; an empty condition always matches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rule {
    /// The baseline job is one of these.
    pub jobs: Vec<Glob>,
    /// The baseline's knobs have these values.
    pub knobs: Vec<(String, KnobTest)>,
    /// The baseline has one of these symptoms.
    pub symptoms: Vec<String>,
    /// The message closes a case with one of these verdicts.
    pub verdicts: Vec<String>,
}

/// The condition for a knob.
#[derive(Debug, Clone, PartialEq)]
pub enum KnobTest {
    /// One of these values.
    OneOf(Vec<Value>),
    /// A number in this range, inclusive.
    Within {
        /// The minimum; `None`: no minimum.
        at_least: Option<f64>,
        /// The maximum; `None`: no maximum.
        at_most: Option<f64>,
    },
}

/// When to delay messages to people.
#[derive(Debug, Clone, PartialEq)]
pub struct Noise {
    /// When to combine cases in a digest; `None`: never.
    pub digest: Option<Burst>,
    /// When people must not be disturbed.
    pub quiet: Vec<Quiet>,
}

/// The condition for a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// This many cases that open …
    pub cases: u32,
    /// … within this time. Messages about them are delayed by at most this time.
    pub within: Duration,
}

impl Default for Noise {
    fn default() -> Self {
        // A sweep that fails for one reason fails within minutes; five separate messages are still readable.
        Noise { digest: Some(Burst { cases: 5, within: Duration::from_secs(120) }), quiet: Vec::new() }
    }
}

/// A time during which people must not be disturbed.
#[derive(Debug, Clone, PartialEq)]
pub struct Quiet {
    /// The period.
    pub span: Span,
    /// The time zone of the hours and days.
    pub zone: TimeZone,
    /// The reason, for readers of the file.
    pub why: Option<String>,
}

/// The hours of a quiet period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// Every day or week. It starts on these days (all days if the list is empty) and extends into the next day if `to`
    /// is not after `from`.
    Daily {
        /// The days on which it starts.
        days: Vec<Weekday>,
        /// The start time.
        from: Time,
        /// The end time.
        to: Time,
    },
    /// A single period.
    Once {
        /// Its start.
        from: DateTime,
        /// Its end.
        to: DateTime,
    },
}

/// The days of the week as written in the file.
pub(super) const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

impl fmt::Display for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.span {
            Span::Daily { days, from, to } => {
                let named = DAYS.iter().filter(|(_, day)| days.contains(day)).map(|(name, _)| *name);
                let days = named.collect::<Vec<_>>().join(", ");
                let gap = if days.is_empty() { "" } else { " " };
                write!(f, "{days}{gap}{} to {}", from.strftime("%H:%M"), to.strftime("%H:%M"))?;
            }
            Span::Once { from, to } => {
                write!(f, "{} to {}", from.strftime("%Y-%m-%d %H:%M"), to.strftime("%Y-%m-%d %H:%M"))?;
            }
        }
        match &self.why {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}
