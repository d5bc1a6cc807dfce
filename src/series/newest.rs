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
struct Recent {
    step: i64,
    value: f64,
    /// Seconds since the point before it: single precision of a gap is exact to microseconds, of a date it is not.
    gap: f32,
}

/// A ring of the newest points, in the order in which they were logged.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Newest {
    /// Of [`NEWEST`] places or, while the series is short, fewer.
    ring: Box<[Recent]>,
    len: u8,
    /// Where the next point goes.
    next: u8,
}

const NOTHING: Recent = Recent { step: 0, value: 0.0, gap: 0.0 };

impl Newest {
    /// Takes one more point; `before` is the wall time of the one before it.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the gap of two points is no date")]
    pub(super) fn push(&mut self, point: Point, before: f64) {
        let recent = Recent { step: point.step, value: point.value, gap: (point.wall_time - before) as f32 };
        if usize::from(self.len) < NEWEST {
            return self.grow(recent);
        }
        if let Some(slot) = self.ring.get_mut(usize::from(self.next)) {
            *slot = recent;
        }
        self.next = (self.next + 1) % NEWEST as u8;
    }

    #[cold]
    fn grow(&mut self, recent: Recent) {
        if self.len() == self.ring.len() {
            let places = if self.ring.is_empty() { NEWEST / 4 } else { NEWEST };
            let mut longer = vec![NOTHING; places].into_boxed_slice();
            longer[..self.ring.len()].copy_from_slice(&self.ring);
            self.ring = longer;
        }
        self.ring[usize::from(self.next)] = recent;
        self.len += 1;
        self.next = self.len % NEWEST as u8;
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// The points, oldest first; `last` is the wall time of the newest.
    pub(super) fn points(&self, last: f64) -> Vec<Point> {
        let (newer, older) = self.ring[..self.len()].split_at(usize::from(self.next));
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
            newest.push(*point, before);
            before = point.wall_time;
        }
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
