//! A sketch at an earlier step.
//!
//! Owns: what is still known about the past, and how exactly. Must not know: how it is used.

use super::{Bucket, Extreme, Newest, Point, Recent, Sketch};

/// Mean |difference| of two independent normal values with a standard deviation of 1.
const MEAN_DIFFERENCE: f64 = std::f64::consts::FRAC_2_SQRT_PI;

impl Sketch {
    /// The series as it was when it had reached `step`. This is exact where the newest points reach back to the start of
    /// the bucket that `step` is in; elsewhere it holds the buckets that end at `step` or earlier. The extremes are those
    /// of the whole series where they had been reached by then. Noise is at most that of the whole series.
    #[must_use]
    pub fn until(&self, step: i64) -> Sketch {
        let newest = self.newest();
        let span = step.saturating_sub(self.origin).saturating_add(1).max(0) as u64 >> self.shift;
        let whole = usize::try_from(span).unwrap_or(usize::MAX).min(self.buckets.len());
        if self.newest.step <= step && self.buckets.len() <= whole + 1 && newest.iter().all(|p| p.step <= step) {
            return self.clone();
        }
        let boundary = self.origin.saturating_add_unsigned((whole as u64) << self.shift);
        let mut view = self.clone();
        view.close();
        view.buckets.truncate(whole);
        let after = newest.iter().filter(|point| point.step >= boundary).count() as u64;
        let is_exact = view.points_in_buckets() + after == self.count;
        let end = if is_exact { step } else { boundary.saturating_sub(1) };
        let mut kept: Vec<Point> = newest.into_iter().filter(|point| point.step <= end).collect();
        view.cut_extremes(self, step);
        kept.iter().filter(|point| point.step >= boundary).for_each(|point| view.put(*point));
        view.settle_open();
        view.count = view.points_in_buckets();
        view.non_finite = view.buckets.iter().map(|b| u64::from(b.non_finite)).sum();
        view.head_len = self.head_len.min(u8::try_from(view.count).unwrap_or(u8::MAX));
        if view.count == 0 {
            kept.clear();
        }
        view.recent = Newest::of(&kept);
        view.cut_newest(self, &kept, step);
        view.cut_repeats(&kept);
        view.cut_noise();
        view
    }

    fn points_in_buckets(&self) -> u64 {
        self.buckets.iter().map(|b| u64::from(b.count) + u64::from(b.non_finite)).sum()
    }

    fn cut_extremes(&mut self, whole: &Sketch, step: i64) {
        let reached = |point: Option<Point>| point.filter(|p| p.step <= step);
        let lowest = reached(whole.lowest()).or_else(|| self.bucket_extreme(|b| b.min, f64::lt));
        self.lowest = lowest.map_or(Extreme::NO_LOWEST, Extreme::of);
        let highest = reached(whole.highest()).or_else(|| self.bucket_extreme(|b| b.max, f64::gt));
        self.highest = highest.map_or(Extreme::NO_HIGHEST, Extreme::of);
        self.set_first_non_finite(reached(whole.first_non_finite()));
    }

    /// Puts a point into its bucket.
    fn put(&mut self, point: Point) {
        if point.value.is_finite() {
            self.fill_buckets(&[Recent { step: point.step, value: point.value, gap: 0.0 }]);
        } else {
            self.open_at(point.step);
            self.open.non_finite = self.open.non_finite.saturating_add(1);
        }
    }

    fn cut_newest(&mut self, whole: &Sketch, kept: &[Point], step: i64) {
        let reached = |point: Option<Point>| point.filter(|p| p.step <= step);
        let mean = self.buckets().next_back().map(|(step, bucket)| self.at(step, bucket.mean));
        let last = reached(whole.last()).or(kept.last().copied()).or(mean);
        let finite = || kept.iter().rev().find(|point| point.value.is_finite()).copied();
        let last_finite = reached(whole.last_finite()).or_else(finite).or(mean);
        self.set_last(last, last_finite);
    }

    /// Counts the identical values at the end: by buckets that hold nothing else, or by the newest points.
    fn cut_repeats(&mut self, kept: &[Point]) {
        let last = self.newest.value;
        let constant = |bucket: &Bucket| bucket.non_finite == 0 && bucket.min == last && bucket.max == last;
        let filled = self.buckets.iter().rev().filter(|bucket| bucket.count > 0 || bucket.non_finite > 0);
        let in_buckets: u32 = filled.take_while(constant).map(|bucket| bucket.count).sum();
        let one_by_one = kept.iter().rev().take_while(|point| point.value.to_bits() == last.to_bits()).count();
        let known = in_buckets.max(u32::try_from(one_by_one).unwrap_or(u32::MAX));
        self.repeats = if self.count == 0 { 0 } else { known.max(1) };
        let most = u32::try_from(self.count).unwrap_or(u32::MAX);
        self.longest_repeat = self.longest_repeat.min(most).max(self.repeats);
    }

    /// What came after the cut may have been much noisier than what is left: the scatter within the buckets bounds it.
    fn cut_noise(&mut self) {
        let (mut sum, mut pairs, mut before) = (0.0, 0_u64, None);
        for bucket in self.buckets.iter().filter(|bucket| bucket.count > 0) {
            let inside = u64::from(bucket.count - 1);
            sum += inside as f64 * MEAN_DIFFERENCE * bucket.variance().sqrt();
            pairs += inside;
            if let Some(neighbour) = before.filter(|_| bucket.count == 1) {
                let difference: f64 = bucket.mean - neighbour;
                (sum, pairs) = (sum + difference.abs(), pairs + 1);
            }
            before = (bucket.count == 1).then_some(bucket.mean);
        }
        let neighbours = self.neighbours.min((self.count - self.non_finite).saturating_sub(1));
        let whole = if self.neighbours > 0 { self.steps_apart / self.neighbours as f64 } else { 0.0 };
        let bound = if pairs > 0 { sum / pairs as f64 } else { f64::INFINITY };
        (self.neighbours, self.steps_apart) = (neighbours, neighbours as f64 * whole.min(bound));
    }

    /// Forgets everything from `step` on, as a run does that starts again from a checkpoint.
    #[must_use]
    pub fn restarted_at(&self, step: i64) -> Sketch {
        let mut kept = self.until(step.saturating_sub(1));
        (kept.repeats, kept.longest_repeat) = (0, 1);
        if kept.count == 0 { Sketch::default() } else { kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(values: impl IntoIterator<Item = f64>) -> Sketch {
        let mut sketch = Sketch::default();
        for (step, value) in values.into_iter().enumerate() {
            sketch.push(Point { step: step as i64, wall_time: step as f64, value });
        }
        sketch
    }

    fn numbers(sketch: &Sketch) -> (u64, u64, [Option<(i64, u64)>; 5]) {
        let points = [sketch.first(), sketch.last(), sketch.last_finite(), sketch.lowest(), sketch.highest()];
        let shown = points.map(|point| point.map(|p| (p.step, p.value.to_bits())));
        (sketch.count(), sketch.non_finite(), shown)
    }

    #[test]
    fn a_cut_among_the_newest_points_is_as_though_they_had_not_come() {
        let value = |i: u32| if i % 97 == 96 { f64::NAN } else { f64::from(i * 7919 % 101) / 10.0 };
        let mut exact = 0;
        for count in [5, 20, 33, 100, 1000, 5000] {
            let whole = sketch((0..count).map(value));
            for fewer in 1..=30.min(count - 1) {
                let (cut, early) = (whole.until(i64::from(count - fewer - 1)), sketch((0..count - fewer).map(value)));
                if whole.bucket_width() > 1 && cut.count() < early.count() {
                    assert!(cut.count() + whole.bucket_width() > early.count(), "{fewer} of {count}");
                    continue;
                }
                exact += 1;
                assert_eq!(numbers(&cut), numbers(&early), "{fewer} of {count}");
                assert_eq!(cut.trailing_repeats(), early.trailing_repeats());
                let of = |s: &Sketch| s.buckets().map(|(_, bucket)| (bucket.count, bucket.mean)).collect::<Vec<_>>();
                if cut.bucket_width() == early.bucket_width() {
                    assert_eq!(of(&cut), of(&early), "{fewer} of {count}");
                }
            }
        }
        assert!(exact > 100, "{exact}");
    }

    #[test]
    fn a_cut_at_the_end_changes_nothing() {
        for count in [1, 31, 32, 1000] {
            let whole = sketch((0..count).map(f64::from));
            assert_eq!(whole.until(i64::from(count) - 1), whole);
            assert_eq!(whole.until(i64::MAX), whole);
            assert_eq!(whole.until(-1).count(), 0);
        }
    }

    #[test]
    fn a_break_at_the_end_is_among_the_newest_points() {
        let s = sketch((0..100_000).map(|i| if i < 99_980 { 0.05 } else { 1.7e10 }));
        let newest = s.newest();
        assert_eq!(newest.len(), 32);
        assert_eq!(newest.iter().filter(|point| point.value > 1.0).count(), 20);
        assert_eq!(newest.last().copied(), s.last());
        let before = s.until(99_979);
        assert_eq!(before.highest().map(|p| p.value), Some(0.05));
        assert!(before.noise().expect("neighbours") < 1e-9);
    }

    #[test]
    fn repeats_are_those_at_the_end_of_what_is_left() {
        let s = sketch((0..1000).map(|i| if (500..900).contains(&i) { 2.0 } else { f64::from(i) }));
        let repeats = s.until(899).trailing_repeats();
        assert!((380..=400).contains(&repeats), "{repeats}");
        assert_eq!(s.until(400).trailing_repeats(), 1);
    }

    #[test]
    fn the_past_can_be_seen_again() {
        let s = sketch((0..1000).map(|i| 1000.0 - f64::from(i)));
        let early = s.until(499);
        assert!(early.last_finite().expect("points").value > 490.0);
        assert!(early.lowest().expect("points").value > 490.0);
        assert!(early.count() <= 500 && early.count() > 450);
    }

    #[test]
    fn a_restart_forgets_what_it_replaces() {
        let s = sketch((0..1000).map(|i| if i < 500 { 1.0 } else { 9.0 }));
        let again = s.restarted_at(500);
        assert!(again.highest().expect("points").value <= 1.0);
    }

    #[test]
    fn a_step_just_before_the_first_one_is_not_lost_after_a_restart() {
        let mut s = sketch([1.0, 2.0, 3.0]).restarted_at(2);
        s.push(Point { step: -1, wall_time: 0.0, value: 9.0 });
        s.push(Point { step: -1, wall_time: 0.0, value: 9.0 });
        assert_eq!(s.buckets().map(|(_, bucket)| bucket.count).sum::<u32>(), 4);
        assert_eq!(s.highest().map(|p| p.value), Some(9.0));
    }
}
