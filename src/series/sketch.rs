//! The bounded summary of a scalar series, the basis of all diagnosis.

mod merge;
mod past;
mod sum;

pub(super) use merge::Order;

use super::bucket::{Bucket, Open};
use super::buckets::{Buckets, MAX_BUCKETS};
use super::newest::{Newest, Recent};
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

    /// Takes one more point; [`Sketch::settle`] is owed before the sketch is read. The point waits among the newest ones
    /// until these are full: to add many at a time costs much less than to bring everything up to date for each.
    #[inline(always)]
    pub(super) fn push_open(&mut self, point: Point) {
        // Compared as in `compare`.
        let is_finite = point.value.abs() <= f64::MAX;
        if is_finite && self.recent.has_room() {
            self.recent.push(point, self.newest.wall_time);
            self.newest.wall_time = point.wall_time;
        } else {
            self.push_apart(point.step, point.wall_time, point.value);
        }
    }

    /// Takes a point before which those that wait must be counted.
    #[cold]
    fn push_apart(&mut self, step: i64, wall_time: f64, value: f64) {
        let point = Point { step, wall_time, value };
        self.count_waiting();
        if self.count == 0 {
            self.origin = point.step;
            self.oldest = point;
        }
        self.recent.make_room();
        self.recent.push(point, self.newest.wall_time);
        if !point.value.is_finite() {
            // Now, because only now it is known exactly when it and the one before it were logged.
            self.count_strange(point);
            self.recent.set_taken();
        }
        self.newest.wall_time = point.wall_time;
    }

    /// Counts the points that wait among the newest ones. All are finite.
    pub(super) fn count_waiting(&mut self) {
        let recent = std::mem::take(&mut self.recent);
        let waiting = recent.waiting();
        if let Some(last) = waiting.last() {
            if self.count < HEAD as u64 {
                self.begin(waiting.iter().map(|point| point.value));
            }
            self.count += waiting.len() as u64;
            self.compare(waiting);
            self.fill_buckets(waiting);
            (self.newest.step, self.newest.value) = (last.step, last.value);
        }
        self.recent = recent;
        self.recent.set_taken();
    }

    /// Compares finite values with those before them.
    fn compare(&mut self, points: &[Recent]) {
        // Copies of what is changed, so that it is in registers.
        let (mut before, mut apart, mut repeats) = (self.newest.value, self.steps_apart, self.repeats);
        let mut unpaired = 0;
        for point in points {
            let value = point.value;
            let difference = (value - before).abs();
            // Compared with the largest number, not with infinity, which takes many more instructions.
            if difference > 0.0 && difference <= f64::MAX {
                apart += difference;
                repeats = 1;
            } else {
                match self.difference_after(before, value) {
                    Some(difference) => apart += difference,
                    None => unpaired += 1,
                }
                repeats = if before.to_bits() == value.to_bits() { repeats.saturating_add(1) } else { 1 };
                self.longest_repeat = self.longest_repeat.max(repeats);
            }
            before = value;
        }
        (self.steps_apart, self.repeats) = (apart, repeats);
        self.neighbours = self.neighbours.wrapping_add(points.len() as u64 - unpaired);
    }

    /// Puts finite values into their buckets.
    fn fill_buckets(&mut self, points: &[Recent]) {
        let mut rest = points;
        while let [first, ..] = rest {
            self.open_at(first.step);
            let (inside, others) = self.open.take(rest);
            if self.open.min < self.lowest.value || self.open.max > self.highest.value {
                inside.iter().for_each(|point| self.note_extremes(point.step, point.value));
            }
            rest = others;
        }
    }

    /// Takes the first values.
    #[cold]
    fn begin(&mut self, values: impl Iterator<Item = f64> + Clone) {
        if self.count == 0
            && let Some(first) = values.clone().next()
        {
            // Nothing is before it: a value equal to its own, no repetition, and a difference that is not counted.
            self.newest.value = first;
            if first.is_finite() {
                self.neighbours = self.neighbours.wrapping_sub(1);
            }
        }
        let missing = HEAD - self.count as usize;
        values.take(missing).for_each(|value| self.push_to_head(value));
    }

    fn note_extremes(&mut self, step: i64, value: f64) {
        if value < self.lowest.value {
            self.lowest = Extreme { step, value };
        }
        if value > self.highest.value {
            self.highest = Extreme { step, value };
        }
    }

    /// The difference of a finite value to the finite one before it, which is not the one directly before it if that is
    /// none.
    fn difference_after(&self, before: f64, value: f64) -> Option<f64> {
        let strange = || self.strange.as_ref()?.finite_before.map(|point| point.value);
        let before = if before.is_finite() { before } else { strange()? };
        Some((value - before).abs())
    }

    /// Counts a point that is not finite.
    fn count_strange(&mut self, point: Point) {
        if self.count < HEAD as u64 {
            self.begin(std::iter::once(point.value));
        }
        self.open_at(point.step);
        self.open.non_finite = self.open.non_finite.saturating_add(1);
        let is_repeat = self.newest.value.to_bits() == point.value.to_bits();
        self.repeats = if is_repeat { self.repeats.saturating_add(1) } else { 1 };
        self.longest_repeat = self.longest_repeat.max(self.repeats);
        let strange = self.strange.get_or_insert_default();
        if self.newest.value.is_finite() && self.count > 0 {
            strange.finite_before = Some(self.newest);
        }
        strange.first.get_or_insert(point);
        self.newest = point;
        self.count += 1;
        self.non_finite += 1;
    }

    fn push_to_head(&mut self, value: f64) {
        if let Some(slot) = self.head.get_mut(usize::from(self.head_len)) {
            *slot = value;
            self.head_len += 1;
        }
    }

    /// Counts what waits, and brings the open bucket up to date.
    pub(super) fn settle(&mut self) {
        self.count_waiting();
        self.settle_open();
    }

    fn settle_open(&mut self) {
        self.buckets.set(self.open.index, self.open.settled());
    }

    /// Opens the bucket of a step.
    #[inline(always)]
    fn open_at(&mut self, step: i64) {
        if !self.open.spans(step) {
            self.reopen(step);
        }
    }

    /// Opens the bucket of a step, after as many pairwise merges as it takes to have it.
    #[inline(never)]
    fn reopen(&mut self, step: i64) {
        self.settle_open();
        let distance = if step < self.origin { 0 } else { step.abs_diff(self.origin) };
        while (distance >> self.shift) >= MAX_BUCKETS as u64 {
            self.halve();
        }
        let index = (distance >> self.shift) as usize;
        let start = self.origin.wrapping_add_unsigned((index as u64) << self.shift);
        self.open = Open::at(index, start, self.bucket_width());
        if let Some(held) = self.buckets.get(index) {
            self.open = self.open.holding(held);
        }
    }

    fn close(&mut self) {
        self.settle();
        self.open = Open::NONE;
    }

    /// Merges neighbours. The open bucket is left behind: whoever merges opens one afterwards.
    #[cold]
    fn halve(&mut self) {
        self.open = Open::NONE;
        self.buckets.halve();
        self.shift += 1;
    }

    /// Number of points, finite or not.
    pub fn count(&self) -> u64 {
        self.count + self.recent.waiting().len() as u64
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
