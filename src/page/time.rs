//! Times and durations for people.
//!
//! Owns: their absolute and relative format. Must not know: the clock; the current time is passed in.

use jiff::Timestamp;
use maud::{Markup, html};

/// A time in data: RFC 3339 in UTC, whole seconds.
pub(super) fn rfc3339(seconds: f64) -> String {
    stamp(seconds).map_or_else(String::new, |time| time.to_string())
}

fn stamp(seconds: f64) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds of a time; a cast saturates")]
    Timestamp::from_second(seconds as i64).ok()
}

/// A time for people: `29 Nov 2026, 21:09 UTC`.
pub(super) fn absolute(seconds: f64) -> String {
    stamp(seconds).map_or_else(|| "?".to_owned(), |time| time.strftime("%-d %b %Y, %H:%M UTC").to_string())
}

/// A time, and how long ago it was, for served pages.
pub(super) fn moment(seconds: f64, now: Option<f64>) -> Markup {
    html! {
        time datetime=(rfc3339(seconds)) { (absolute(seconds)) }
        @if let Some(now) = now { " " span.ago { "(" (ago(now - seconds)) ")" } }
    }
}

/// How long ago something was.
pub(super) fn ago(seconds: f64) -> String {
    if seconds < 0.0 {
        return format!("in {}", duration(-seconds));
    }
    if seconds < 1.0 { "just now".to_owned() } else { format!("{} ago", duration(seconds)) }
}

/// A duration in its largest unit, with one decimal for small numbers.
pub(super) fn duration(seconds: f64) -> String {
    let units = [(86_400.0, "days", "day"), (3600.0, "h", "h"), (60.0, "min", "min"), (1.0, "s", "s")];
    let seconds = seconds.max(0.0);
    let (size, many, one) = units.into_iter().find(|(size, ..)| seconds >= *size).unwrap_or((1.0, "s", "s"));
    let number = seconds / size;
    let text = if number < 10.0 && size > 1.0 { format!("{number:.1}") } else { format!("{number:.0}") };
    let text = text.strip_suffix(".0").unwrap_or(&text).to_owned();
    let unit = if text == "1" { one } else { many };
    format!("{text} {unit}")
}

/// Hours, as costs are summed up.
pub(super) fn hours(hours: f64) -> String {
    if hours > 0.0 && hours < 0.095 { format!("{hours:.2}") } else { format!("{hours:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(absolute(1_763_851_234.0), "22 Nov 2025, 22:40 UTC");
        assert_eq!(rfc3339(1_763_851_234.6), "2025-11-22T22:40:34Z");
        for (seconds, text) in [
            (0.2, "0 s"),
            (59.0, "59 s"),
            (60.0, "1 min"),
            (95.0, "1.6 min"),
            (3600.0 * 3.0, "3 h"),
            (86_400.0, "1 day"),
            (86_400.0 * 12.0, "12 days"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!((ago(0.5), ago(120.0), ago(-120.0)), ("just now".into(), "2 min ago".into(), "in 2 min".into()));
        assert_eq!(absolute(f64::NAN), "1 Jan 1970, 00:00 UTC");
    }
}
