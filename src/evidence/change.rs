//! The change point: the statistic used for divergence, spikes, collapse, stalls and recovery.

use crate::numbers::NEWEST;
use crate::series::stats::{median, scatter};

/// Efficiency of the median of normal values: its standard error relative to that of their mean, sqrt(pi / 2).
pub(super) const MEDIAN: f64 = 1.253_314_137_315_5;

/// The largest rise of a series that persists until its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// The level before.
    pub from: f64,
    /// The level after.
    pub to: f64,
    /// The significance: the rise in its standard errors.
    pub errors: f64,
}

impl Change {
    /// From the median of the values before to the level that seven in eight of the `sorted` values after exceed.
    pub(super) fn between(before: &[f64], sorted: &[f64], noise: f64) -> Change {
        let (from, to) = (median(before), sorted[(sorted.len() - 1) / 8]);
        let error = MEDIAN * noise * (1.0 / before.len() as f64 + 1.0 / sorted.len() as f64).sqrt();
        // Values without scatter are exact to the last logged digit.
        let exact = f64::from(f32::EPSILON) * from.abs().max(to.abs());
        Change { from, to, errors: (to - from) / error.max(exact).max(f64::MIN_POSITIVE) }
    }
}

/// With fewer values, there is no level before and after.
const LEAST: usize = 6;

/// The rise that exceeds the scatter of the values most. The level before is the median of the neighbours before the
/// split; the level after is exceeded by seven in eight of all values after it, at least two. Therefore, a single
/// outlier, including the latest value, affects neither. `None` if nothing rises.
pub(super) fn change(values: &[f64]) -> Option<Change> {
    if values.len() < LEAST {
        return None;
    }
    let noise = scatter(values);
    let neighbours = ((NEWEST * values.len() as f64) as usize).max(3);
    // From the end, each split adds one value to those after it.
    let mut sorted = Vec::with_capacity(values.len());
    let rise = |split: usize| {
        let (before, after) = (&values[split.saturating_sub(neighbours)..split], &values[split..]);
        for value in &after[..after.len() - sorted.len()] {
            let place = sorted.partition_point(|other: &f64| other.total_cmp(value).is_lt());
            sorted.insert(place, *value);
        }
        Change::between(before, &sorted, noise)
    };
    let rises = (3..values.len() - 1).rev().map(rise).filter(|change| change.to > change.from);
    // Of equal ones, the latest counts.
    rises.reduce(|best, change| if change.errors.total_cmp(&best.errors).is_gt() { change } else { best })
}

#[cfg(test)]
mod tests {
    use super::super::tests::noise;
    use super::*;

    fn values(of: impl Fn(usize) -> f64) -> Vec<f64> {
        (0..60).map(of).collect()
    }

    #[test]
    fn a_step_is_found_where_it_is() {
        let found = change(&values(|i| if i < 40 { 1.0 } else { 2.0 } + 0.1 * noise(i))).expect("a rise");
        assert!(found.errors > 10.0 && (found.from - 1.0).abs() < 0.1 && (found.to - 2.0).abs() < 0.1, "{found:?}");
    }

    #[test]
    fn two_newest_values_make_a_break_and_one_makes_none() {
        let broken = |newest: usize| change(&values(|i| if i < 60 - newest { 0.05 + 0.01 * noise(i) } else { 1e10 }));
        assert!(broken(2).is_some_and(|change| change.errors > 1e6 && change.to == 1e10));
        assert!(broken(1).is_none_or(|change| change.errors < 5.0));
    }

    #[test]
    fn what_comes_back_is_no_change_of_level() {
        let spike = change(&values(|i| if (30..33).contains(&i) { 50.0 } else { 1.0 + 0.1 * noise(i) }));
        assert!(spike.is_none_or(|change| change.errors < 5.0), "{spike:?}");
    }
}
