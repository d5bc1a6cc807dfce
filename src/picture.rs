//! Charts of series: one axis of steps, several curves, shaded intervals of evidence.
//!
//! Owns: scales, ticks, layout, SVG and PNG. Must not know: cases, pages, the meaning of a series.
//!
//! A chart has its own colours, for separate files, and classes for pages with a style sheet. No information is
//! conveyed by colour alone: each curve has its own dash pattern, and its name at its end.

mod axis;
mod png;
mod svg;

use crate::series::Outline;

pub use png::{PictureError, png};

/// Curves on one axis.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chart {
    /// What is shown, for the title and for those who cannot see it.
    pub title: String,
    /// The curves, the most important first: later ones are drawn below it.
    pub lines: Vec<Line>,
    /// Shaded intervals of steps.
    pub windows: Vec<Window>,
}

/// One curve.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Line {
    /// Its name, short enough to stand at its end.
    pub name: String,
    /// Its points.
    pub outline: Outline,
    /// Its place among the styles: 0 is the reference, whatever else is drawn.
    pub style: usize,
}

/// An interval of steps that something was seen in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Window {
    /// The first step.
    pub from: f64,
    /// The last step.
    pub to: f64,
    /// What was seen.
    pub name: String,
}

/// How wide and high a chart is, in its own units: pixels, where it is shown at its natural size.
pub const SIZE: (f64, f64) = (760.0, 340.0);

/// A number as people write it: at most `digits` significant digits, powers of ten where there would be many zeros.
pub fn number(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { value.to_string() };
    }
    let rounded: f64 = format!("{value:.*e}", digits.saturating_sub(1)).parse().unwrap_or(value);
    if (1e-4..1e7).contains(&rounded.abs()) { grouped(&rounded.to_string()) } else { format!("{rounded:e}") }
}

/// Thousands apart.
fn grouped(plain: &str) -> String {
    let (sign, digits) = plain.strip_prefix('-').map_or(("", plain), |digits| ("-", digits));
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut out = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

impl Chart {
    /// The chart as an SVG document that stands alone; empty where there is nothing to draw.
    pub fn svg(&self) -> String {
        svg::document(self)
    }

    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.lines.iter().all(|line| line.outline.is_empty())
    }

    /// Whether its values are drawn by their logarithms: all are above 0, and they span more than two decades.
    pub fn is_logarithmic(&self) -> bool {
        axis::values(self).is_some_and(|(low, high)| axis::is_logarithmic(low, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_do() {
        for (value, written) in [
            (0.0, "0"),
            (2.3, "2.3"),
            (0.000_123_45, "0.000123"),
            (1e-5, "1e-5"),
            (-1234.0, "-1,230"),
            (12_345.0, "12,300"),
            (1_000_000.0, "1,000,000"),
            (3.2e9, "3.2e9"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(number(value, 3), written, "{value}");
        }
    }
}
