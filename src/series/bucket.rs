//! A bucket of a sketch, and the current bucket.
//!
//! Owns: mean, variance and extremes of the values in a bucket. Must not know: which steps it spans.

use super::newest::Recent;

/// A summary of the finite values whose steps fall into one interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Number of finite values.
    pub count: u32,
    /// Number of values that were NaN or infinite.
    pub non_finite: u32,
    /// Mean of the finite values.
    pub mean: f64,
    /// Sum of squared deviations from the mean.
    pub(super) m2: f64,
    /// Smallest finite value; `+inf` when there is none.
    pub min: f64,
    /// Largest finite value; `-inf` when there is none.
    pub max: f64,
}

impl Bucket {
    pub(super) const EMPTY: Bucket =
        Bucket { count: 0, non_finite: 0, mean: 0.0, m2: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };

    /// Chan, Golub, LeVeque: "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    pub(super) fn merge(self, other: Bucket) -> Bucket {
        let non_finite = self.non_finite + other.non_finite;
        if self.count == 0 {
            return Bucket { non_finite, ..other };
        }
        if other.count == 0 {
            return Bucket { non_finite, ..self };
        }
        let (a, b) = (f64::from(self.count), f64::from(other.count));
        let delta = other.mean - self.mean;
        Bucket {
            count: self.count + other.count,
            non_finite,
            mean: self.mean + delta * b / (a + b),
            m2: self.m2 + other.m2 + delta * delta * a * b / (a + b),
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// The bucket of sums of values, as though both parts rose and fell together, which is the most that they scatter.
    pub(super) fn plus(self, other: Bucket) -> Bucket {
        let count = self.count.min(other.count);
        let non_finite = self.non_finite.max(other.non_finite);
        if count == 0 {
            return Bucket { non_finite, ..Bucket::EMPTY };
        }
        Bucket {
            count,
            non_finite,
            mean: self.mean + other.mean,
            m2: (self.m2.sqrt() + other.m2.sqrt()).powi(2),
            min: self.min + other.min,
            max: self.max + other.max,
        }
    }

    /// Unbiased variance of the finite values; 0 with fewer than two.
    pub fn variance(&self) -> f64 {
        if self.count < 2 { 0.0 } else { self.m2 / f64::from(self.count - 1) }
    }
}

/// The current bucket, which stores sums instead of mean and variance, so that adding a point needs no division.
///
/// The sums are of deviations from a pivot, which is one of the values (or their mean): squares of deviations from it
/// add up to at most `n + 1` times those from the mean, so nothing but `log2(n)` of 52 bits is lost. They are added in
/// the order of the points, so that when they are turned into mean and variance makes no difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Open {
    /// Place of the bucket; `usize::MAX` if none is open.
    pub(super) index: usize,
    /// First step of the bucket, and how many steps it spans: 0 if none is open.
    start: i64,
    width: u64,
    pub(super) count: u32,
    pub(super) non_finite: u32,
    pub(super) min: f64,
    /// Between the extremes: side by side, they would be stored one by one and read as one word, for which the processor
    /// has to wait.
    pivot: f64,
    pub(super) max: f64,
    sum: f64,
    squares: f64,
}

impl Open {
    pub(super) const NONE: Open = Open {
        index: usize::MAX,
        start: 0,
        width: 0,
        count: 0,
        non_finite: 0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        pivot: 0.0,
        sum: 0.0,
        squares: 0.0,
    };

    /// Opens the bucket at `index`, which spans `width` steps from `start` on.
    pub(super) fn at(index: usize, start: i64, width: u64) -> Open {
        Open { index, start, width, ..Open::NONE }
    }

    /// Goes on with a bucket of which the values are `bucket`.
    pub(super) fn holding(self, bucket: Bucket) -> Open {
        let Bucket { count, non_finite, mean, m2, min, max } = bucket;
        Open { count, non_finite, min, max, pivot: mean, sum: 0.0, squares: m2, ..self }
    }

    /// Whether a step is one of the bucket's.
    #[inline(always)]
    pub(super) fn spans(&self, step: i64) -> bool {
        step.wrapping_sub(self.start).cast_unsigned() < self.width
    }

    /// Takes the first of these finite values, whatever its step, and those after it up to one that is not in this bucket.
    /// Returns which these and the others are.
    #[inline(always)]
    pub(super) fn take<'a>(&mut self, points: &'a [Recent]) -> (&'a [Recent], &'a [Recent]) {
        let Open { start, width, mut min, mut max, mut pivot, mut sum, mut squares, .. } = *self;
        if let (0, Some(first)) = (self.count, points.first()) {
            pivot = first.value;
        }
        let mut taken = 0;
        while let Some(value) = points.get(taken).map(|point| point.value) {
            let deviation = value - pivot;
            sum += deviation;
            squares += deviation * deviation;
            min = if min < value { min } else { value };
            max = if max > value { max } else { value };
            taken += 1;
            let inside = |next: &Recent| next.step.wrapping_sub(start).cast_unsigned() < width;
            if !points.get(taken).is_some_and(inside) {
                break;
            }
        }
        *self = Open { count: self.count + taken as u32, min, max, pivot, sum, squares, ..*self };
        points.split_at(taken)
    }

    #[inline]
    pub(super) fn settled(&self) -> Bucket {
        let Open { count, non_finite, min, max, .. } = *self;
        if count == 0 {
            return Bucket { non_finite, ..Bucket::EMPTY };
        }
        if count == 1 {
            // Nothing to divide: most buckets of a short series are like this.
            return Bucket { count, non_finite, mean: self.pivot + self.sum, m2: self.squares, min, max };
        }
        let shift = self.sum / f64::from(count);
        let m2 = (self.squares - self.sum * shift).max(0.0);
        Bucket { count, non_finite, mean: self.pivot + shift, m2, min, max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Bucket {
        let mut open = Open::at(0, 0, 1);
        let points: Vec<Recent> = values.iter().map(|&value| Recent { step: 0, value, gap: 0.0 }).collect();
        assert!(open.take(&points).1.is_empty());
        open.settled()
    }

    #[test]
    fn large_values_with_small_differences_keep_their_variance() {
        let bucket = of(&[1e9, 1e9 + 1.0, 1e9 + 2.0]);
        assert_eq!((bucket.mean, bucket.variance()), (1e9 + 1.0, 1.0));
    }

    #[test]
    fn a_first_value_far_from_all_others_does_not_spoil_the_variance() {
        let mut values = vec![1e6];
        values.extend((0..1000).map(|i| f64::from(i % 2)));
        let mean = values.iter().sum::<f64>() / 1001.0;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 1000.0;
        let bucket = of(&values);
        assert!((bucket.variance() / variance - 1.0).abs() < 1e-12, "{} {variance}", bucket.variance());
    }

    #[test]
    fn two_halves_make_a_whole() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i * i % 37)).collect();
        let (whole, merged) = (of(&values), of(&values[..30]).merge(of(&values[30..])));
        assert!((whole.mean - merged.mean).abs() < 1e-12 && (whole.variance() - merged.variance()).abs() < 1e-9);
        assert_eq!((whole.count, whole.min, whole.max), (merged.count, merged.min, merged.max));
    }
}
