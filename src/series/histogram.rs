//! The properties of a histogram used by rules: its moments over time, not its buckets.

use super::point::Point;
use super::sketch::{Order, Sketch};

/// The moments of one logged histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Number of values.
    pub num: f64,
    /// Sum of the values.
    pub sum: f64,
    /// Sum of their squares.
    pub sum_squares: f64,
}

impl Moments {
    /// Root of the mean square; 0 for an empty histogram.
    pub fn rms(&self) -> f64 {
        if self.num > 0.0 { (self.sum_squares / self.num).max(0.0).sqrt() } else { 0.0 }
    }

    /// Mean; 0 for an empty histogram.
    pub fn mean(&self) -> f64 {
        if self.num > 0.0 { self.sum / self.num } else { 0.0 }
    }

    /// Standard deviation; 0 for an empty histogram.
    pub fn std(&self) -> f64 {
        (self.rms().powi(2) - self.mean().powi(2)).max(0.0).sqrt()
    }

    /// A histogram of the same shape with this root mean square.
    fn at_size(self, rms: f64) -> Moments {
        let by = if self.rms() > 0.0 { rms / self.rms() } else { 0.0 };
        let (min, max, sum) = (self.min * by, self.max * by, self.sum * by);
        Moments { min, max, num: self.num, sum, sum_squares: rms * rms * self.num }
    }
}

/// The history of one histogram tag.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistogramSketch {
    /// Root mean square of each histogram.
    pub rms: Sketch,
    /// The first histogram.
    pub first: Option<Moments>,
    /// The latest histogram.
    pub last: Option<Moments>,
    /// How many histograms in a row, up to the newest, had exactly the moments of the one before.
    pub unchanged: u32,
}

impl HistogramSketch {
    /// Takes one more histogram. One whose step goes back by more than the usual distance starts a new attempt.
    pub fn push(&mut self, step: i64, wall_time: f64, moments: Moments) {
        if self.rms.goes_back_to(step) {
            self.rms = self.rms.restarted_at(step);
        }
        self.rms.push(Point { step, wall_time, value: moments.rms() });
        self.unchanged = if self.last == Some(moments) { self.unchanged + 1 } else { 0 };
        self.first.get_or_insert(moments);
        self.last = Some(moments);
    }

    /// The history up to a step. Of the histograms before the newest only the root mean square is kept, so the newest one
    /// stands for the last before the step, at that size.
    #[must_use]
    pub fn until(&self, step: i64) -> HistogramSketch {
        if self.rms.last().is_none_or(|last| last.step <= step) {
            return self.clone();
        }
        let rms = self.rms.until(step);
        let cut = u32::try_from(self.rms.count().saturating_sub(rms.count())).unwrap_or(u32::MAX);
        let last = self.last.zip(rms.last_finite()).map(|(newest, then)| newest.at_size(then.value));
        let first = self.first.filter(|_| rms.count() > 0);
        HistogramSketch { last, first, unchanged: self.unchanged.saturating_sub(cut), rms }
    }

    /// Adds what a later file, or one beside, has of the same tag.
    pub(super) fn absorb(&mut self, next: &HistogramSketch) {
        let (Some(last), Some(first)) = (self.rms.last(), next.rms.first()) else {
            if self.rms.count() == 0 {
                *self = next.clone();
            }
            return;
        };
        let order = if last.wall_time > first.wall_time { Order::Beside } else { Order::After };
        if order == Order::After && first.step < last.step {
            self.rms = self.rms.restarted_at(first.step);
        }
        self.rms.absorb(&next.rms, order, 0);
        self.unchanged = next.unchanged;
        self.first = self.first.or(next.first);
        self.last = next.last.or(self.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_of_a_histogram_can_be_seen_again() {
        let mut histogram = HistogramSketch::default();
        for step in 0..1000 {
            let size = f64::from(step.min(500));
            let moments = Moments { min: -size, max: size, num: 1.0, sum: size, sum_squares: size * size };
            histogram.push(i64::from(step), f64::from(step), moments);
        }
        assert_eq!(histogram.unchanged, 499);
        let early = histogram.until(400);
        assert!(early.last.is_some_and(|last| last.max > 380.0 && last.max <= 400.0), "{:?}", early.last);
        assert!(early.rms.highest().is_some_and(|point| point.value <= 400.0));
        assert_eq!((early.unchanged, early.first), (0, histogram.first));
        assert!((280..=300).contains(&histogram.until(800).unchanged), "{}", histogram.until(800).unchanged);
        assert_eq!(histogram.until(999), histogram);
        assert_eq!(histogram.until(-1).first, None);
    }
}
