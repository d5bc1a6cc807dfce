//! The exact latest points of a series.
//!
//! Owns: their packed form. Must not know: buckets.

use super::point::Point;

/// This many of the newest points are kept exactly: a break in the last hundredth of a series is too narrow for the
/// buckets of a long one.
pub const NEWEST: usize = 32;

/// A point as it is kept: 20 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(Rust, packed(4))]
pub(super) struct Recent {
    pub(super) step: i64,
    pub(super) value: f64,
    /// Seconds since the point before it: single precision of a gap is exact to microseconds, of a date it is not.
    pub(super) gap: f32,
}

/// A ring of the newest points, in the order in which they were logged. Those that were logged last wait in it until
/// the rest of the sketch takes them, many at a time.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Newest {
    /// Of [`NEWEST`] places or, while the series is short, fewer.
    ring: Box<[Recent]>,
    /// Where the next point goes; behind the last place if there is no room for it.
    next: u8,
    /// Where the points begin that are still to be taken; they end at `next`.
    waiting: u8,
    /// Whether older points follow from `next` on.
    wrapped: bool,
}

const NOTHING: Recent = Recent { step: 0, value: 0.0, gap: 0.0 };

impl Newest {
    /// Whether another point can be pushed before the waiting ones are taken.
    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        usize::from(self.next) < self.ring.len()
    }

    /// Takes one more point, for which there must be room; `before` is the wall time of the one before it.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the gap of two points is no date")]
    pub(super) fn push(&mut self, point: Point, before: f64) {
        let Some(slot) = self.ring.get_mut(usize::from(self.next)) else { return };
        // One by one: as a whole, the point would be read back from where its parts have just been written.
        slot.step = point.step;
        slot.value = point.value;
        slot.gap = (point.wall_time - before) as f32;
        self.next += 1;
    }

    /// Makes room for a point. No points may be waiting: the oldest ones are overwritten.
    pub(super) fn make_room(&mut self) {
        if self.has_room() {
            return;
        }
        if self.ring.len() < NEWEST {
            let places = if self.ring.is_empty() { NEWEST / 4 } else { NEWEST };
            let mut longer = vec![NOTHING; places].into_boxed_slice();
            longer[..self.ring.len()].copy_from_slice(&self.ring);
            self.ring = longer;
        } else {
            (self.next, self.waiting, self.wrapped) = (0, 0, true);
        }
    }

    /// The points that wait, oldest first.
    pub(super) fn waiting(&self) -> &[Recent] {
        &self.ring[usize::from(self.waiting)..usize::from(self.next)]
    }

    /// The points that waited were taken.
    pub(super) fn set_taken(&mut self) {
        self.waiting = self.next;
    }

    pub(super) fn len(&self) -> usize {
        if self.wrapped { NEWEST } else { self.next.into() }
    }

    /// The points, oldest first; `last` is the wall time of the newest.
    pub(super) fn points(&self, last: f64) -> Vec<Point> {
        let (newer, older) = self.ring[..self.len()].split_at(self.next.into());
        let mut wall_time = last;
        let backwards = older.iter().chain(newer).rev().map(|recent| {
            let point = Point { step: recent.step, wall_time, value: recent.value };
            wall_time -= f64::from(recent.gap);
            point
        });
        let mut points: Vec<Point> = backwards.collect();
        points.reverse();
        points
    }

    /// The newest of these points, which are in the order in which they were logged.
    pub(super) fn of(points: &[Point]) -> Newest {
        let mut newest = Newest::default();
        let kept = &points[points.len().saturating_sub(NEWEST)..];
        let mut before = kept.first().map_or(0.0, |first| first.wall_time);
        for point in kept {
            newest.make_room();
            newest.push(*point, before);
            before = point.wall_time;
        }
        newest.set_taken();
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(i: i64) -> Point {
        Point { step: i * i, wall_time: 1.7e9 + 0.37 * i as f64, value: 1.0 / (1.0 + i as f64) }
    }

    #[test]
    fn the_newest_points_are_exact_and_their_times_are_to_microseconds() {
        for count in [1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 1000] {
            let points: Vec<Point> = (0..count).map(point).collect();
            let (mut newest, mut before) = (Newest::default(), 0.0);
            for point in &points {
                newest.make_room();
                newest.push(*point, before);
                before = point.wall_time;
            }
            let expected = &points[points.len().saturating_sub(NEWEST)..];
            let kept = newest.points(before);
            assert_eq!(kept.len(), expected.len());
            for (kept, expected) in kept.iter().zip(expected) {
                assert_eq!((kept.step, kept.value), (expected.step, expected.value));
                assert!((kept.wall_time - expected.wall_time).abs() < 1e-5, "{kept:?} {expected:?}");
            }
        }
    }

    #[test]
    fn a_ring_can_be_made_of_points() {
        let points: Vec<Point> = (0..100).map(point).collect();
        assert_eq!(Newest::of(&points).points(points[99].wall_time).len(), NEWEST);
        let steps: Vec<i64> = Newest::of(&points[..3]).points(0.0).iter().map(|point| point.step).collect();
        assert_eq!(steps, [0, 1, 4]);
        assert_eq!(Newest::of(&[]).points(0.0), []);
    }

    #[test]
    fn a_point_costs_twenty_bytes() {
        assert_eq!(size_of::<Recent>(), 20);
    }
}
