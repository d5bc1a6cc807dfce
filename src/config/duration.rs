//! Durations as written by people: `10m`, `24h`, `1h30m`.

use std::time::Duration;

/// The units in seconds, longest first.
const UNITS: [(&str, f64); 6] =
    [("w", 604_800.0), ("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001)];

/// One hundred years. Longer durations are typing errors and would overflow clocks.
const LONGEST: f64 = 100.0 * 365.25 * 86_400.0;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A number without a unit.
    #[error("`{0}` has no unit: write {0}s, {0}m, {0}h or {0}d")]
    NoUnit(String),
    /// Any other text.
    #[error("`{0}` is not a duration: write a number with one of the units ms, s, m, h, d, w, such as 10m or 1h30m")]
    Unreadable(String),
    /// Longer than a hundred years.
    #[error("`{0}` is longer than a hundred years")]
    TooLong(String),
}

/// Reads a duration with millisecond precision: numbers with units, such as `90s`, `1.5h` or `1d12h`.
///
/// # Errors
///
/// The text is not a duration; the error explains what to write.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    let unreadable = || DurationError::Unreadable(text.to_owned());
    let mut rest = text;
    let mut seconds = 0.0;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| unreadable())?;
        rest = &rest[digits..];
        if rest.is_empty() {
            return Err(if text.len() == digits { DurationError::NoUnit(text.to_owned()) } else { unreadable() });
        }
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..letters]).ok_or_else(unreadable)?;
        seconds += number * unit;
        rest = &rest[letters..];
        if seconds > LONGEST {
            return Err(DurationError::TooLong(text.to_owned()));
        }
        if rest.is_empty() {
            // Computing in seconds would round incorrectly.
            return Ok(Duration::from_millis((seconds * 1000.0).round() as u64));
        }
    }
}

/// Writes a duration such that [`parse_duration`] reads the same value to the millisecond: `1h30m`.
pub fn show_duration(duration: Duration) -> String {
    let mut left = duration.as_millis();
    let mut text = String::new();
    for (name, seconds) in UNITS {
        let unit = (seconds * 1000.0) as u128;
        // Weeks are accepted, but 10d is more readable than 1w3d.
        if name != "w" && left >= unit {
            text.push_str(&format!("{}{name}", left / unit));
            left %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("10m", 600.0),
            ("24h", 86_400.0),
            ("1d", 86_400.0),
            ("5s", 5.0),
            ("1h30m", 5_400.0),
            ("1.5h", 5_400.0),
            ("250ms", 0.25),
            ("2w", 1_209_600.0),
            ("0s", 0.0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
    }

    #[test]
    fn a_wrong_length_says_what_to_write() {
        assert_eq!(parse_duration("10").unwrap_err().to_string(), "`10` has no unit: write 10s, 10m, 10h or 10d");
        for text in ["", "m", "10 minutes", "-5s", "1h30", "1..5s", "5x"] {
            assert!(matches!(parse_duration(text), Err(DurationError::Unreadable(_))), "{text}");
        }
        assert!(matches!(parse_duration("99999999999d"), Err(DurationError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(millis in 0_u64..10_000_000_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_is_a_panic(text in "[0-9.a-z]{0,12}|\\PC{0,12}") {
            drop(parse_duration(&text));
        }
    }
}
