//! The bounded summary of a scalar series, the basis of all diagnosis.

mod merge;
mod past;
mod sum;

pub(super) use merge::Order;

use super::bucket::{Bucket, Open};
use super::buckets::{Buckets, MAX_BUCKETS};
use super::newest::Newest;
use super::point::Point;

/// Number of first points kept exactly, so that the start of a series stays exact as buckets grow.
const HEAD: usize = 16;

/// A series in bounded memory: buckets with equal step counts, merged pairwise as the series grows, and the exact
/// first, last and best points.
///
/// Buckets are aligned to the first step, and their width is a power of two steps, so which points share a bucket
/// depends on the steps alone and never on how the points arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Sketch {
    origin: i64,
    /// Width of a bucket is `2^shift` steps.
    shift: u32,
    buckets: Buckets,
    open: Open,
    /// The first values, of which `head_len` are set.
    head: [f64; HEAD],
    head_len: u8,
    /// Meaningless while there are no points, as is `newest`.
    oldest: Point,
    newest: Point,
    /// The newest points, `newest` among them.
    recent: Newest,
    /// With an infinite value while there is none.
    lowest: Extreme,
    highest: Extreme,
    strange: Option<Box<Strange>>,
    count: u64,
    non_finite: u64,
    /// Sum of |difference| of neighbouring finite values, and how many there were: noise that a trend does not inflate.
    steps_apart: f64,
    neighbours: u64,
    /// Length of the run of identical values that the series ends with, and of the longest one.
    repeats: u32,
    longest_repeat: u32,
}

/// The step and the value of the lowest or the highest point: when it was logged is not kept.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Extreme {
    step: i64,
    value: f64,
}

impl Extreme {
    const NO_LOWEST: Extreme = Extreme { step: 0, value: f64::INFINITY };
    const NO_HIGHEST: Extreme = Extreme { step: 0, value: f64::NEG_INFINITY };

    fn of(point: Point) -> Extreme {
        Extreme { step: point.step, value: point.value }
    }

    fn point(self) -> Option<Point> {
        let Extreme { step, value } = self;
        value.is_finite().then_some(Point { step, wall_time: f64::NAN, value })
    }
}

/// What only a series with NaN or infinities has.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Strange {
    /// The first such point.
    first: Option<Point>,
    /// The newest finite point before the newest such point.
    finite_before: Option<Point>,
}

const NONE_YET: Point = Point { step: 0, wall_time: 0.0, value: 0.0 };

impl Default for Sketch {
    fn default() -> Self {
        Sketch {
            origin: 0,
            shift: 0,
            buckets: Buckets::default(),
            open: Open::NONE,
            head: [0.0; HEAD],
            head_len: 0,
            oldest: NONE_YET,
            newest: NONE_YET,
            recent: Newest::default(),
            lowest: Extreme::NO_LOWEST,
            highest: Extreme::NO_HIGHEST,
            strange: None,
            count: 0,
            non_finite: 0,
            steps_apart: 0.0,
            neighbours: 0,
            repeats: 0,
            longest_repeat: 0,
        }
    }
}

impl Sketch {
    /// Takes one more point. Points of one step may come in any order of steps; a step before the first one is
    /// counted to the first bucket.
    pub fn push(&mut self, point: Point) {
        self.push_open(point);
        self.settle();
    }

    /// Takes one more point; [`Sketch::settle`] is owed before the sketch is read.
    #[inline(always)]
    pub(super) fn push_open(&mut self, point: Point) {
        if self.count < HEAD as u64 {
            self.push_head(point);
        }
        self.count += 1;
        if !self.open.spans(point.step) {
            self.reopen(point.step, point.value);
        }
        let before = self.newest.value;
        if before.to_bits() == point.value.to_bits() {
            self.repeats = self.repeats.saturating_add(1);
            self.longest_repeat = self.longest_repeat.max(self.repeats);
        } else {
            self.repeats = 1;
        }
        let difference = (point.value - before).abs();
        if difference < f64::INFINITY {
            // Both are finite, and so the previous one is the previous finite one.
            self.steps_apart += difference;
            self.neighbours = self.neighbours.wrapping_add(1);
            self.open.push_finite(point.value);
            self.note_extremes(point);
        } else {
            self.push_strange(point);
        }
        self.recent.push(point, self.newest.wall_time);
        // One by one: as a whole, the point would be read back from where its parts have just been written.
        self.newest.step = point.step;
        self.newest.wall_time = point.wall_time;
        self.newest.value = point.value;
    }

    #[inline(always)]
    fn note_extremes(&mut self, point: Point) {
        if point.value < self.lowest.value {
            self.lowest = Extreme::of(point);
        }
        if point.value > self.highest.value {
            self.highest = Extreme::of(point);
        }
    }

    /// A point of which it or the one before is not finite (or which are finite and further apart than `f64` can say).
    #[cold]
    fn push_strange(&mut self, point: Point) {
        if self.newest.value.is_finite() && self.count > 1 {
            self.strange.get_or_insert_default().finite_before = Some(self.newest);
        }
        if !point.value.is_finite() {
            self.open.non_finite = self.open.non_finite.saturating_add(1);
            self.non_finite += 1;
            self.strange.get_or_insert_default().first.get_or_insert(point);
            return;
        }
        if let Some(before) = self.strange.as_ref().and_then(|strange| strange.finite_before) {
            self.steps_apart += (point.value - before.value).abs();
            self.neighbours += 1;
        }
        if self.open.count == 0 {
            self.open.pivot = point.value;
        }
        self.open.push_finite(point.value);
        self.note_extremes(point);
    }

    #[cold]
    fn push_head(&mut self, point: Point) {
        if self.count == 0 {
            self.origin = point.step;
            self.oldest = point;
            // Nothing is before it: a value equal to its own, no repetition, and a difference that is not counted.
            self.newest.value = point.value;
            if point.value.is_finite() {
                self.neighbours = self.neighbours.wrapping_sub(1);
            }
        }
        self.push_to_head(point.value);
    }

    fn push_to_head(&mut self, value: f64) {
        if let Some(slot) = self.head.get_mut(usize::from(self.head_len)) {
            *slot = value;
            self.head_len += 1;
        }
    }

    /// Brings the open bucket up to date.
    pub(super) fn settle(&mut self) {
        self.buckets.set(self.open.index, self.open.settled());
    }

    /// Opens the bucket of a step, for a value.
    fn reopen(&mut self, step: i64, value: f64) {
        self.settle();
        let index = self.index_of(step);
        self.buckets.reach(index);
        let start = self.origin.wrapping_add_unsigned((index as u64) << self.shift);
        let held = self.buckets.get(index).unwrap_or(Bucket::EMPTY);
        self.open = Open::at(index, start, self.bucket_width()).holding(held);
        if self.open.count == 0 {
            self.open.pivot = value;
        }
    }

    fn close(&mut self) {
        self.settle();
        self.open = Open::NONE;
    }

    /// The bucket of a step, after as many pairwise merges as it takes to have one.
    fn index_of(&mut self, step: i64) -> usize {
        let distance = if step < self.origin { 0 } else { step.abs_diff(self.origin) };
        while (distance >> self.shift) >= MAX_BUCKETS as u64 {
            self.halve();
        }
        (distance >> self.shift) as usize
    }

    /// Merges neighbours. The open bucket is left behind: whoever merges opens one afterwards.
    fn halve(&mut self) {
        self.open = Open::NONE;
        self.buckets.halve();
        self.shift += 1;
    }

    /// Number of points, finite or not.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Number of points that were NaN or infinite.
    pub fn non_finite(&self) -> u64 {
        self.non_finite
    }

    /// The first point that was logged.
    pub fn first(&self) -> Option<Point> {
        (self.count > 0).then_some(self.oldest)
    }

    /// The newest point that was logged.
    pub fn last(&self) -> Option<Point> {
        (self.count > 0).then_some(self.newest)
    }

    /// The newest point with a finite value.
    pub fn last_finite(&self) -> Option<Point> {
        self.last().filter(|last| last.value.is_finite()).or_else(|| self.strange.as_ref()?.finite_before)
    }

    /// The point with the smallest finite value; when it was logged is not kept.
    pub fn lowest(&self) -> Option<Point> {
        self.lowest.point()
    }

    /// The point with the largest finite value; when it was logged is not kept.
    pub fn highest(&self) -> Option<Point> {
        self.highest.point()
    }

    /// The first NaN or infinity.
    pub fn first_non_finite(&self) -> Option<Point> {
        self.strange.as_ref()?.first
    }

    /// The exact first values, at most sixteen.
    pub fn head(&self) -> &[f64] {
        &self.head[..usize::from(self.head_len)]
    }

    /// The newest points exactly, oldest first, in the order in which they were logged: at most [`NEWEST`](super::NEWEST).
    /// Steps and values are as logged, wall times to a few microseconds; NaN where an event without a usable time follows.
    pub fn newest(&self) -> Vec<Point> {
        self.recent.points(self.newest.wall_time)
    }

    /// Steps that one bucket spans.
    pub fn bucket_width(&self) -> u64 {
        1 << self.shift
    }

    /// The buckets that hold finite values, each with the middle of its interval in steps.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = (f64, Bucket)> + Clone {
        let (origin, width) = (self.origin as f64, self.bucket_width() as f64);
        let shown = self.buckets.iter().enumerate().filter(|(_, bucket)| bucket.count > 0);
        shown.map(move |(i, bucket)| (origin + (i as f64 + 0.5) * width - 0.5, bucket))
    }

    /// Mean |difference| of neighbouring values, scaled to a standard deviation of white noise (times sqrt(pi) / 2).
    /// `None` with fewer than two finite values.
    pub fn noise(&self) -> Option<f64> {
        (self.neighbours > 0).then(|| self.steps_apart / self.neighbours as f64 * 0.886_226_925_452_758)
    }

    /// How many identical values the series ends with.
    pub fn trailing_repeats(&self) -> u32 {
        self.repeats
    }

    /// The length of the longest run of identical values.
    pub fn longest_repeat(&self) -> u32 {
        self.longest_repeat
    }

    fn set_first_non_finite(&mut self, first: Option<Point>) {
        if first.is_some() || self.strange.is_some() {
            self.strange.get_or_insert_default().first = first;
        }
    }

    fn set_last(&mut self, last: Option<Point>, last_finite: Option<Point>) {
        self.newest = last.unwrap_or(NONE_YET);
        let before = if self.newest.value.is_finite() { None } else { last_finite };
        if before.is_some() || self.strange.is_some() {
            self.strange.get_or_insert_default().finite_before = before;
        }
    }

    fn bucket_extreme(&self, of: fn(&Bucket) -> f64, better: fn(&f64, &f64) -> bool) -> Option<Point> {
        let points = self.buckets().map(|(step, bucket)| self.at(step, of(&bucket)));
        points.reduce(|a, b| if better(&b.value, &a.value) { b } else { a })
    }

    fn at(&self, step: f64, value: f64) -> Point {
        Point { step: step as i64, wall_time: f64::NAN, value }
    }

    /// Whether `step` lies before the newest one by more than the usual distance of neighbours.
    pub(super) fn goes_back_to(&self, step: i64) -> bool {
        let (Some(first), Some(last)) = (self.first(), self.last()) else { return false };
        let usual = last.step.abs_diff(first.step) / self.count.saturating_sub(1).max(1);
        step < last.step && last.step.abs_diff(step) > usual
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

    #[test]
    fn short_series_are_kept_exactly() {
        let s = sketch([3.0, 1.0, 2.0]);
        let means: Vec<_> = s.buckets().map(|(step, b)| (step, b.mean)).collect();
        assert_eq!(means, [(0.0, 3.0), (1.0, 1.0), (2.0, 2.0)]);
        assert_eq!(s.lowest().map(|p| p.step), Some(1));
        assert_eq!(s.highest().map(|p| p.step), Some(0));
    }

    #[test]
    fn long_series_stay_bounded_and_keep_mean_and_variance() {
        let s = sketch((0..100_000).map(|i| f64::from(i % 7)));
        assert!(s.buckets().count() <= MAX_BUCKETS && s.buckets().count() >= MAX_BUCKETS / 2);
        let (_, bucket) = s.buckets().next().expect("it has buckets");
        assert!((bucket.mean - 3.0).abs() < 0.01 && (bucket.variance() - 4.0).abs() < 0.05);
        assert_eq!(s.count(), 100_000);
    }

    #[test]
    fn a_single_nan_is_seen_for_ever() {
        let s = sketch((0..50_000).map(|i| if i == 777 { f64::NAN } else { 1.0 }));
        assert_eq!(s.first_non_finite().map(|p| p.step), Some(777));
        assert_eq!(s.non_finite(), 1);
    }

    #[test]
    fn noise_is_not_inflated_by_a_trend() {
        let s = sketch((0..10_000).map(|i| f64::from(i) * 0.001 + if i % 2 == 0 { 0.5 } else { -0.5 }));
        let noise = s.noise().expect("it has neighbours");
        assert!((noise - 0.886).abs() < 0.01, "{noise}");
    }

    #[test]
    fn steps_as_far_apart_as_can_be_are_summarised() {
        let mut s = Sketch::default();
        for step in [i64::MIN, -1, 0, 1, i64::MAX] {
            s.push(Point { step, wall_time: 0.0, value: 1.0 });
        }
        assert_eq!(s.buckets().map(|(_, bucket)| bucket.count).sum::<u32>(), 5);
        let mut other = Sketch::default();
        other.push(Point { step: i64::MAX, wall_time: 0.0, value: 1.0 });
        other.push(Point { step: i64::MIN, wall_time: 0.0, value: 1.0 });
        other.absorb(&s, Order::Beside, i64::MIN);
        assert_eq!(other.buckets().map(|(_, bucket)| bucket.count).sum::<u32>(), 7);
    }

    #[test]
    fn repeats_count_identical_values() {
        let s = sketch([1.0, 2.0, 2.0, 2.0, 3.0, 3.0]);
        assert_eq!((s.trailing_repeats(), s.longest_repeat()), (2, 3));
    }
}
