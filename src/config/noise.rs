//! Which messages a destination gets, and when people are left in peace.
//!
//! Owns: what can be set. Must not know: what becomes of a message by it.

use std::fmt;
use std::time::Duration;

use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::glob::Glob;

/// The messages that a destination gets of those that it wants.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Route {
    /// All of them.
    #[default]
    All,
    /// Those that one of the rules is about.
    Rules(Vec<Rule>),
    /// Those that no destination with rules gets.
    Rest,
}

/// One rule: all of its conditions hold; one that is empty always does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rule {
    /// The baseline job is one of these.
    pub jobs: Vec<Glob>,
    /// The baseline's knobs have these values.
    pub knobs: Vec<(String, KnobTest)>,
    /// One of these was found in the baseline.
    pub symptoms: Vec<String>,
    /// The message ends a case with one of these.
    pub verdicts: Vec<String>,
}

/// What a knob must be.
#[derive(Debug, Clone, PartialEq)]
pub enum KnobTest {
    /// One of these values.
    OneOf(Vec<Value>),
    /// A number between these, both included.
    Within {
        /// The least; none where this is `None`.
        at_least: Option<f64>,
        /// The most; none where this is `None`.
        at_most: Option<f64>,
    },
}

/// When messages for people wait.
#[derive(Debug, Clone, PartialEq)]
pub struct Noise {
    /// From how many cases on they are told of together; `None`: never.
    pub digest: Option<Burst>,
    /// When people are left in peace.
    pub quiet: Vec<Quiet>,
}

/// Many cases at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// So many cases that open …
    pub cases: u32,
    /// … within this time; messages about them wait as long.
    pub within: Duration,
}

impl Default for Noise {
    fn default() -> Self {
        // A sweep that fails for one reason fails within minutes; five messages in a row are read as five.
        Noise { digest: Some(Burst { cases: 5, within: Duration::from_secs(120) }), quiet: Vec::new() }
    }
}

/// A time during which people are left in peace.
#[derive(Debug, Clone, PartialEq)]
pub struct Quiet {
    /// When.
    pub span: Span,
    /// The time zone of the hours and days.
    pub zone: TimeZone,
    /// Why, for those who wonder.
    pub why: Option<String>,
}

/// When it is quiet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// Every day or week: it begins on these days, all where the list is empty, and goes into the next day where `to`
    /// is not after `from`.
    Daily {
        /// The days on which it begins.
        days: Vec<Weekday>,
        /// The time at which it begins.
        from: Time,
        /// The time at which it ends.
        to: Time,
    },
    /// Once.
    Once {
        /// Its begin.
        from: DateTime,
        /// Its end.
        to: DateTime,
    },
}

/// The days of the week as the file names them.
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
