//! The buckets of a sketch in packed form, which use most of the memory of a series.
//!
//! Owns: the storage of buckets. Must not know: which steps they span.

use super::bucket::Bucket;

/// A sketch has at most this many buckets. 80 keep a job of ten tags under 40 KiB, and leave at least 40 independent
/// means after a merge, which is what the trend tests want (Mann-Kendall has its normal approximation from 10).
pub const MAX_BUCKETS: usize = 80;

/// A bucket in 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Packed {
    mean: f64,
    min: f64,
    max: f64,
    count: u32,
    /// Root of the sum of squared deviations: a deviation in single precision, which seven digits are enough for.
    root: f32,
}

const EMPTY: Packed = Packed { mean: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY, count: 0, root: 0.0 };

/// A list of at most [`MAX_BUCKETS`] buckets.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Buckets {
    packed: Vec<Packed>,
    /// How many values of each bucket were NaN or infinite; only series that had any have this list.
    bad: Option<Box<[u32; MAX_BUCKETS]>>,
}

impl Buckets {
    pub(super) fn len(&self) -> usize {
        self.packed.len()
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<Bucket> {
        self.packed.get(index).map(|packed| packed.unpacked(self.bad_at(index)))
    }

    fn bad_at(&self, index: usize) -> u32 {
        self.bad.as_ref().and_then(|bad| bad.get(index)).copied().unwrap_or(0)
    }

    /// Sets a bucket; empty ones are put before it where there are none. A place that no bucket has is ignored.
    #[inline(always)]
    pub(super) fn set(&mut self, index: usize, bucket: Bucket) {
        let packed = Packed::of(bucket);
        if let Some(place) = self.packed.get_mut(index) {
            *place = packed;
        } else if index < MAX_BUCKETS {
            self.append(index, packed);
        } else {
            return;
        }
        if bucket.non_finite > 0 || self.bad.is_some() {
            self.set_bad(index, bucket.non_finite);
        }
    }

    #[cold]
    fn set_bad(&mut self, index: usize, non_finite: u32) {
        let bad = self.bad.get_or_insert_with(|| Box::new([0; MAX_BUCKETS]));
        if let Some(bad) = bad.get_mut(index) {
            *bad = non_finite;
        }
    }

    #[inline(always)]
    fn append(&mut self, index: usize, packed: Packed) {
        if index != self.packed.len() || index == self.packed.capacity() {
            self.reach(index);
        }
        self.packed.push(packed);
    }

    /// Makes room for a bucket at `index`, with empty ones before it.
    #[cold]
    fn reach(&mut self, index: usize) {
        if index >= self.packed.capacity() {
            // Three sizes in place of doubling.
            let capacity = [16, MAX_BUCKETS / 2].into_iter().find(|&n| index < n).unwrap_or(MAX_BUCKETS);
            self.packed.reserve_exact(capacity - self.packed.len());
        }
        self.packed.resize(index, EMPTY);
    }

    /// Merges neighbours.
    pub(super) fn halve(&mut self) {
        let half = self.len().div_ceil(2);
        for i in 0..half {
            let (left, right) = (self.get(2 * i), self.get(2 * i + 1));
            if let Some(merged) = left.map(|left| right.map_or(left, |right| left.merge(right))) {
                self.set(i, merged);
            }
        }
        self.truncate(half);
    }

    /// Keeps the first ones only.
    pub(super) fn truncate(&mut self, len: usize) {
        self.packed.truncate(len);
        if let Some(bad) = &mut self.bad {
            bad.iter_mut().skip(len).for_each(|bad| *bad = 0);
        }
    }

    /// Puts empty buckets before the first one, as many as there is room for.
    pub(super) fn put_before(&mut self, missing: usize) {
        let missing = missing.min(MAX_BUCKETS - self.len());
        self.packed.splice(0..0, std::iter::repeat_n(EMPTY, missing));
        if let Some(bad) = &mut self.bad {
            bad.rotate_right(missing);
        }
    }

    /// Puts a single bucket in place of all.
    pub(super) fn replace_by(&mut self, bucket: Bucket) {
        self.truncate(0);
        self.set(0, bucket);
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Bucket> + ExactSizeIterator + Clone + '_ {
        self.packed.iter().enumerate().map(|(i, packed)| packed.unpacked(self.bad_at(i)))
    }
}

impl Packed {
    #[expect(clippy::cast_possible_truncation, reason = "single precision is what is wanted")]
    #[inline]
    fn of(bucket: Bucket) -> Packed {
        let Bucket { count, mean, m2, min, max, .. } = bucket;
        // The many buckets of short series hold one value each: no root has to be taken.
        let root = if m2 == 0.0 { 0.0 } else { m2.sqrt().min(f64::from(f32::MAX)) as f32 };
        Packed { mean, min, max, count, root }
    }

    #[inline]
    fn unpacked(self, non_finite: u32) -> Bucket {
        let Packed { mean, min, max, count, root } = self;
        Bucket { count, non_finite, mean, m2: f64::from(root).powi(2), min, max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(value: f64, non_finite: u32) -> Bucket {
        Bucket { count: 1, non_finite, mean: value, m2: 0.0, min: value, max: value }
    }

    #[test]
    fn a_bucket_costs_32_bytes_and_keeps_what_is_exact() {
        assert_eq!(size_of::<Packed>(), 32);
        let mut buckets = Buckets::default();
        let full = Bucket { count: 7, non_finite: 3, mean: 0.1, m2: 2.0, min: -1e300, max: 1e300 };
        buckets.set(2, full);
        let kept = buckets.get(2).expect("it was set");
        assert!((kept.m2 - full.m2).abs() < 1e-6, "{kept:?}");
        assert_eq!(Bucket { m2: 2.0, ..kept }, full);
        assert_eq!(buckets.iter().map(|bucket| bucket.non_finite).collect::<Vec<_>>(), [0, 0, 3]);
    }

    #[test]
    fn what_is_not_finite_moves_with_its_bucket() {
        let mut buckets = Buckets::default();
        (0..4_u32).for_each(|i| buckets.set(i as usize, bucket(f64::from(i), i)));
        let bad = |buckets: &Buckets| buckets.iter().map(|bucket| bucket.non_finite).collect::<Vec<_>>();
        buckets.put_before(2);
        assert_eq!(bad(&buckets), [0, 0, 0, 1, 2, 3]);
        buckets.halve();
        assert_eq!(bad(&buckets), [0, 1, 5]);
        buckets.truncate(2);
        buckets.set(2, bucket(2.0, 0));
        assert_eq!(bad(&buckets), [0, 1, 0]);
    }
}
