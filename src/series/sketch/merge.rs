//! Merges two sketches.
//!
//! Owns: how each part of them is merged. Must not know: why they are merged.

use super::{Bucket, Extreme, MAX_BUCKETS, NONE_YET, Newest, Point, Sketch};

/// How the points of two sketches lie to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::series) enum Order {
    /// The other's points were logged after one's own.
    After,
    /// Both were logged in the same time, by two writers.
    Beside,
}

impl Sketch {
    /// Adds what another sketch knows, its steps moved by `moved`. Buckets go where their middles lie, so that they
    /// blur by half a bucket at most.
    pub(in crate::series) fn absorb(&mut self, other: &Sketch, order: Order, moved: i64) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            self.origin = other.origin.saturating_add(moved);
        }
        self.close();
        self.absorb_buckets(other, moved);
        let theirs = |point: Option<Point>| point.map(|p| Point { step: p.step.saturating_add(moved), ..p });
        other.head().iter().for_each(|value| self.push_to_head(*value));
        self.absorb_repeats(other);
        self.absorb_newest(other, order, moved);
        let earlier = |a: Option<Point>, b: Option<Point>| match order {
            Order::After => a.or(b),
            Order::Beside => [a, b].into_iter().flatten().min_by_key(|p| p.step),
        };
        let later = |a: Option<Point>, b: Option<Point>| match order {
            Order::After => b.or(a),
            Order::Beside => [a, b].into_iter().flatten().max_by_key(|p| p.step),
        };
        self.oldest = earlier(self.first(), theirs(other.first())).unwrap_or(NONE_YET);
        self.set_first_non_finite(earlier(self.first_non_finite(), theirs(other.first_non_finite())));
        let last = later(self.last(), theirs(other.last()));
        let last_finite = later(self.last_finite(), theirs(other.last_finite()));
        self.set_last(last, last_finite);
        let moved_extreme = |it: Extreme| Extreme { step: it.step.saturating_add(moved), ..it };
        let (low, high) = (moved_extreme(other.lowest), moved_extreme(other.highest));
        self.lowest = if low.value < self.lowest.value { low } else { self.lowest };
        self.highest = if high.value > self.highest.value { high } else { self.highest };
        self.count += other.count;
        self.non_finite += other.non_finite;
        self.steps_apart += other.steps_apart;
        self.neighbours += other.neighbours;
    }

    fn absorb_buckets(&mut self, other: &Sketch, moved: i64) {
        let origin = other.origin.saturating_add(moved);
        self.start_at(origin);
        while self.shift < other.shift {
            self.halve();
        }
        let half = (other.bucket_width() / 2).cast_signed();
        for (i, bucket) in other.buckets.iter().enumerate() {
            let start = origin.saturating_add_unsigned((i as u64) << other.shift);
            if bucket.count > 0 || bucket.non_finite > 0 {
                self.reopen(start.saturating_add(half));
                self.open = self.open.holding(self.open.settled().merge(bucket));
            }
        }
        self.close();
    }

    /// Makes room for buckets before the first one.
    fn start_at(&mut self, origin: i64) {
        while origin < self.origin {
            let missing = ((self.origin.abs_diff(origin) - 1) >> self.shift).saturating_add(1);
            if missing.saturating_add(self.buckets.len() as u64) <= MAX_BUCKETS as u64 {
                self.buckets.put_before(missing as usize);
                self.origin = self.origin.saturating_sub_unsigned(missing << self.shift);
                return;
            }
            self.halve();
        }
    }

    /// Puts all points on the step of the first one.
    pub(in crate::series) fn collapse(&mut self) {
        self.close();
        let all = self.buckets.iter().fold(Bucket::EMPTY, Bucket::merge);
        self.buckets.replace_by(all);
        self.shift = 0;
        let origin = self.origin;
        let strange = self.strange.iter_mut().flat_map(|strange| [&mut strange.first, &mut strange.finite_before]);
        [&mut self.newest].into_iter().chain(strange.flatten()).for_each(|point| point.step = origin);
        [&mut self.lowest, &mut self.highest].into_iter().for_each(|extreme| extreme.step = origin);
        let mut newest = self.newest();
        newest.iter_mut().for_each(|point| point.step = origin);
        self.recent = Newest::of(&newest);
    }

    /// The newest points of both. What is older than the gap in what is known of either is left out.
    fn absorb_newest(&mut self, other: &Sketch, order: Order, moved: i64) {
        let theirs = other.newest().into_iter().map(|p| Point { step: p.step.saturating_add(moved), ..p });
        let gap = (other.recent.len() as u64) < other.count;
        let mut points = if order == Order::After && gap { Vec::new() } else { self.newest() };
        points.extend(theirs);
        if order == Order::Beside {
            points.sort_by_key(|point| point.step);
        }
        self.recent = Newest::of(&points);
    }

    fn absorb_repeats(&mut self, other: &Sketch) {
        let value = |sketch: &Sketch| sketch.last().map(|p| p.value.to_bits());
        let goes_on = u64::from(other.repeats) == other.count && value(self) == value(other);
        self.repeats = if goes_on { self.repeats.saturating_add(other.repeats) } else { other.repeats };
        self.longest_repeat = self.longest_repeat.max(other.longest_repeat).max(self.repeats);
    }
}
