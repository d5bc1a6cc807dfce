//! Robust statistics over a few hundred numbers, independent of their meaning.

/// The median; NaN for an empty slice. Values must not be NaN.
pub fn median(values: &[f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    // Most calls have a handful of neighbours, which need no allocation.
    let mut few = [0.0; 16];
    match few.get_mut(..values.len()) {
        Some(few) => {
            few.copy_from_slice(values);
            median_of(few)
        }
        None => median_of(&mut values.to_vec()),
    }
}

/// The median of at least one value; changes their order.
fn median_of(values: &mut [f64]) -> f64 {
    let (middle, odd) = (values.len() / 2, values.len() % 2 == 1);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    match below.iter().copied().max_by(f64::total_cmp) {
        Some(lower) if !odd => 0.5 * (lower + *upper),
        _ => *upper,
    }
}

/// Theil-Sen slope: the median of the slopes of all pairs; 0 with fewer than two distinct x.
pub fn theil_sen(points: &[(f64, f64)]) -> f64 {
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (i, a) in points.iter().enumerate() {
        slopes.extend(points[i + 1..].iter().filter(|b| b.0 != a.0).map(|b| (b.1 - a.1) / (b.0 - a.0)));
    }
    if slopes.is_empty() { 0.0 } else { median(&slopes) }
}

/// Mann-Kendall test for a trend: the standard normal deviate, positive for a rise. Mann 1945, Kendall 1975; without
/// the correction for ties, which do not occur among means of floats. 0 with fewer than four values.
pub fn mann_kendall(values: &[f64]) -> f64 {
    let n = values.len();
    if n < 4 {
        return 0.0;
    }
    let mut s = 0i64;
    for (i, a) in values.iter().enumerate() {
        for b in &values[i + 1..] {
            s += i64::from(b > a) - i64::from(b < a);
        }
    }
    let count = n as f64;
    let deviation = (count * (count - 1.0) * (2.0 * count + 5.0) / 18.0).sqrt();
    (s - s.signum()) as f64 / deviation
}

/// Standard deviation of what is left after each value is compared with the mean of its neighbours: the scatter of a
/// curve about its own course, which a trend does not inflate. Second differences of white noise have variance 6.
pub fn scatter(values: &[f64]) -> f64 {
    let bends: Vec<f64> = values.windows(3).map(|w| (w[0] - 2.0 * w[1] + w[2]).abs()).collect();
    if bends.is_empty() { 0.0 } else { 1.4826 * median(&bends) / 6f64.sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_an_outlier() {
        assert_eq!(median(&[1.0, 2.0, 3.0, 4.0, 1e9]), 3.0);
    }

    #[test]
    fn the_median_lies_in_the_middle_of_few_and_of_many_values() {
        for count in 1..=40 {
            let values: Vec<f64> = (0..count).map(|i| f64::from(i * 17 % count)).collect();
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let middle = sorted.len() / 2;
            let known = if count % 2 == 1 { sorted[middle] } else { 0.5 * (sorted[middle - 1] + sorted[middle]) };
            assert_eq!(median(&values), known, "{values:?}");
        }
    }

    #[test]
    fn theil_sen_finds_the_slope_through_outliers() {
        let line: Vec<_> = (0..30).map(|i| (f64::from(i), if i == 7 { 1e6 } else { 2.0 * f64::from(i) })).collect();
        assert!((theil_sen(&line) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn mann_kendall_tells_a_trend_from_noise() {
        let rising: Vec<f64> = (0..40).map(|i| f64::from(i) + f64::from(i * 7 % 5)).collect();
        let flat: Vec<f64> = (0..40).map(|i| f64::from(i * 7 % 5)).collect();
        assert!(mann_kendall(&rising) > 6.0);
        assert!(mann_kendall(&flat).abs() < 1.0);
    }

    #[test]
    fn scatter_does_not_see_a_straight_line() {
        assert!(scatter(&(0..50).map(|i| 3.0 * f64::from(i)).collect::<Vec<_>>()) < 1e-9);
    }
}
