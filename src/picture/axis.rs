//! Scales and their ticks.
//!
//! Owns: the position of a value between two ends, and which values are labelled. Must not know: how it is drawn.

use super::Chart;

/// Above this ratio of the largest to the smallest value the scale is logarithmic, or most of a curve would lie on the axis.
const LOG_FROM: f64 = 100.0;

/// A scale from one value to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

/// The smallest and the largest value of a chart.
pub(super) fn values(chart: &Chart) -> Option<(f64, f64)> {
    let levels = chart.lines.iter().flat_map(|line| &line.outline.levels);
    levels.map(|level| (level.low, level.high)).reduce(|(a, b), (c, d)| (a.min(c), b.max(d)))
}

/// The first and the last step of a chart. Silence after the last point is shown as a window.
pub(super) fn steps(chart: &Chart) -> Option<(f64, f64)> {
    let lines = || chart.lines.iter().map(|line| &line.outline);
    let levels = lines().flat_map(|outline| &outline.levels).map(|level| level.step);
    let all = levels.chain(lines().flat_map(|outline| &outline.broken).copied());
    let (first, last) = all.map(|step| (step, step)).reduce(|(a, b), (c, d)| (a.min(c), b.max(d)))?;
    Some((first, chart.windows.iter().map(|window| window.to).fold(last, f64::max)))
}

pub(super) fn is_logarithmic(low: f64, high: f64) -> bool {
    low > 0.0 && high / low > LOG_FROM
}

impl Axis {
    /// A scale on which all values lie, and which ends at round ones.
    pub(super) fn of_values(low: f64, high: f64) -> Axis {
        if is_logarithmic(low, high) {
            return Axis { low: low / 1.15, high: high * 1.15, logarithmic: true };
        }
        let room = 0.04 * (high / 2.0 - low / 2.0) * 2.0;
        // A curve that does not move is drawn as one: its noise must not fill the chart.
        let least = 0.025 * low.abs().max(high.abs()).max(f64::MIN_POSITIVE);
        let room = if room.is_finite() { room.max((least - (high - low) / 2.0).max(0.0)) } else { 0.0 };
        let floor = if low >= 0.0 { 0f64.max(low - room) } else { low - room };
        Axis { low: floor, high: high + room, logarithmic: false }.opened()
    }

    /// A scale of steps.
    pub(super) fn of_steps(low: f64, high: f64) -> Axis {
        Axis { low, high, logarithmic: false }.opened()
    }

    /// One that is not empty.
    fn opened(self) -> Axis {
        if self.high > self.low { self } else { Axis { low: self.low - 0.5, high: self.high + 0.5, ..self } }
    }

    /// Where a value lies, as a share of the length.
    pub(super) fn share(self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.max(f64::MIN_POSITIVE).ln() } else { value / 2.0 };
        let share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low));
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 }
    }

    /// The values to name, from low to high: powers of ten, or about `wanted` round ones.
    pub(super) fn ticks(self, wanted: usize) -> Vec<f64> {
        if self.logarithmic { self.decades(wanted) } else { self.round(wanted) }
    }

    fn decades(self, wanted: usize) -> Vec<f64> {
        let (first, last) = (self.low.log10().ceil(), self.high.log10().floor());
        let every = ((last - first + 1.0) / wanted as f64).ceil().max(1.0);
        let mut ticks = Vec::new();
        let mut exponent = first;
        while exponent <= last && ticks.len() < 50 {
            // As it is written: a power of ten that is computed may be off by the last digit.
            ticks.extend(format!("1e{exponent:.0}").parse::<f64>());
            exponent += every;
        }
        ticks
    }

    fn round(self, wanted: usize) -> Vec<f64> {
        let span = (self.high / 2.0 - self.low / 2.0) / wanted.max(1) as f64 * 2.0;
        let size = span.log10().floor();
        if !size.is_finite() {
            return Vec::new();
        }
        let unit = 10f64.powf(size);
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * unit).find(|step| *step >= span).unwrap_or(span);
        let (mut at, mut ticks) = ((self.low / step).ceil(), Vec::new());
        while at * step <= self.high * (1.0 + 1e-12) && ticks.len() < 50 {
            // The digits beyond the step's own are those of the arithmetic.
            let tick = format!("{:.12e}", at * step).parse().unwrap_or(at * step);
            ticks.push(if tick == 0.0 { 0.0 } else { tick });
            at += 1.0;
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(Axis::of_steps(0.0, 1000.0).ticks(5), [0.0, 200.0, 400.0, 600.0, 800.0, 1000.0]);
        assert_eq!(Axis::of_values(0.13, 2.35).ticks(5), [0.5, 1.0, 1.5, 2.0]);
        assert_eq!(Axis::of_values(1e-4, 3.0).ticks(5), [1e-4, 1e-3, 1e-2, 1e-1, 1.0]);
        assert_eq!(Axis::of_steps(7.0, 7.0).ticks(2), [6.5, 7.0, 7.5]);
    }

    #[test]
    fn a_curve_that_does_not_move_does_not_fill_the_chart() {
        let axis = Axis::of_values(2.301, 2.304);
        assert!(axis.share(2.304) - axis.share(2.301) < 0.1);
        let axis = Axis::of_values(0.1, 2.3);
        assert!(axis.share(2.3) - axis.share(0.1) > 0.9);
    }

    proptest! {
        #[test]
        fn every_value_lies_on_its_axis_in_order(low in any::<f64>(), high in any::<f64>(), value in any::<f64>()) {
            prop_assume!(low.is_finite() && high.is_finite() && value.is_finite());
            let axis = Axis::of_values(low.min(high), low.max(high));
            let share = axis.share(value);
            prop_assert!((0.0..=1.0).contains(&share), "{share}");
            prop_assert!(axis.ticks(5).len() <= 50);
            prop_assert!(axis.share(low.min(high)) <= axis.share(low.max(high)));
        }
    }
}
