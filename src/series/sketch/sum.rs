//! The sum of two sketches, point by point.
//!
//! Owns: deriving the sketch of a sum from those of its parts. Must not know: why they are added.

use super::{Bucket, Extreme, Newest, Point, Sketch};

impl Sketch {
    /// What a series would be whose values are the sums of two series that were logged at the same steps; `None` where
    /// they were not. Means, first and newest values are exact; of extremes and scatter it knows bounds, which are exact
    /// where a bucket holds one value.
    #[must_use]
    pub fn plus(&self, other: &Sketch) -> Option<Sketch> {
        let steps = |sketch: &Sketch| (sketch.origin, sketch.shift, sketch.count, sketch.newest.step);
        if steps(self) != steps(other) || self.buckets.len() != other.buckets.len() {
            return None;
        }
        let mut sum = self.clone();
        sum.close();
        for (i, (bucket, part)) in self.buckets.iter().zip(other.buckets.iter()).enumerate() {
            if bucket.count + bucket.non_finite != part.count + part.non_finite {
                return None;
            }
            sum.buckets.set(i, bucket.plus(part));
        }
        sum.recent = self.sum_of_newest(other);
        for (value, part) in sum.head.iter_mut().zip(other.head) {
            *value += part;
        }
        sum.oldest.value += other.oldest.value;
        sum.non_finite = self.non_finite.max(other.non_finite);
        let both = [self, other];
        let first_bad = both.iter().filter_map(|s| s.first_non_finite()).min_by_key(|point| point.step);
        sum.set_first_non_finite(first_bad);
        let newest = Point { value: self.newest.value + other.newest.value, ..self.newest };
        let finite = self.last_finite().zip(other.last_finite());
        let finite = finite.map(|(a, b)| Point { value: a.value + b.value, ..if a.step < b.step { a } else { b } });
        sum.set_last(Some(newest), finite);
        sum.lowest = sum.bucket_extreme(|b: &Bucket| b.min, f64::lt).map_or(Extreme::NO_LOWEST, Extreme::of);
        sum.highest = sum.bucket_extreme(|b: &Bucket| b.max, f64::gt).map_or(Extreme::NO_HIGHEST, Extreme::of);
        sum.steps_apart += other.steps_apart;
        sum.neighbours = self.neighbours.min(other.neighbours);
        (sum.repeats, sum.longest_repeat) =
            (self.repeats.min(other.repeats), self.longest_repeat.min(other.longest_repeat));
        Some(sum)
    }

    /// The newest points at which both were logged.
    fn sum_of_newest(&self, other: &Sketch) -> Newest {
        let (ours, theirs) = (self.newest(), other.newest());
        let pairs = ours.iter().rev().zip(theirs.iter().rev()).take_while(|(a, b)| a.step == b.step);
        let mut points: Vec<Point> = pairs.map(|(a, b)| Point { value: a.value + b.value, ..*a }).collect();
        points.reverse();
        Newest::of(&points)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(values: impl IntoIterator<Item = f64>) -> Sketch {
        let mut sketch = Sketch::default();
        for (step, value) in values.into_iter().enumerate() {
            sketch.push(Point { step: step as i64, wall_time: 0.0, value });
        }
        sketch
    }

    #[test]
    fn a_sum_of_short_series_is_exact() {
        let (a, b) = (sketch([3.0, 1.0, 2.0]), sketch([0.5, 0.25, 4.0]));
        let sum = a.plus(&b).expect("the same steps");
        let whole = sketch([3.5, 1.25, 6.0]);
        let means = |s: &Sketch| s.buckets().map(|(step, b)| (step, b.mean)).collect::<Vec<_>>();
        assert_eq!(means(&sum), means(&whole));
        assert_eq!((sum.first(), sum.last()), (whole.first(), whole.last()));
        let extremes = |s: &Sketch| [s.lowest(), s.highest()].map(|point| point.map(|p| (p.step, p.value)));
        assert_eq!(extremes(&sum), extremes(&whole));
        assert_eq!(sum.head(), whole.head());
    }

    #[test]
    fn a_sum_of_long_series_keeps_means_and_bounds() {
        let part = |i: u32| f64::from(i * 7919 % 101) / 100.0;
        let (a, b) = (sketch((0..5000).map(part)), sketch((0..5000).map(|i| 10.0 - part(i))));
        let sum = a.plus(&b).expect("the same steps");
        assert!(sum.buckets().all(|(_, bucket)| (bucket.mean - 10.0).abs() < 1e-9));
        assert!(sum.lowest().is_some_and(|p| p.value <= 10.0) && sum.highest().is_some_and(|p| p.value >= 10.0));
        assert_eq!(sum.count(), 5000);
    }

    #[test]
    fn nan_in_a_part_is_nan_in_the_sum() {
        let sum = sketch([1.0, f64::NAN, 1.0]).plus(&sketch([1.0, 2.0, 3.0])).expect("the same steps");
        assert_eq!((sum.non_finite(), sum.first_non_finite().map(|p| p.step)), (1, Some(1)));
    }

    #[test]
    fn series_of_other_steps_have_no_sum() {
        assert_eq!(sketch([1.0, 2.0]).plus(&sketch([1.0])), None);
    }
}
