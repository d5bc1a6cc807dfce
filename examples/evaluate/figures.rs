//! Shares with their uncertainty, and quantiles.
//!
//! Owns: the formulas. Must not know: what is counted.

use std::fmt;

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share {
    /// Those that count; means over draws need not be whole.
    pub(crate) hits: f64,
    /// All.
    pub(crate) of: usize,
}

/// Quantile of the normal distribution for 95 %, two-sided.
const Z: f64 = 1.959_963_984_540_054;

impl Share {
    /// The 95 % interval of Wilson (1927), which is never empty and never leaves 0 to 1.
    pub(crate) fn interval(self) -> (f64, f64) {
        let n = self.of as f64;
        if self.of == 0 {
            return (0.0, 1.0);
        }
        let p = self.hits / n;
        let center = p + Z * Z / (2.0 * n);
        let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        (((center - half) / scale).max(0.0), ((center + half) / scale).min(1.0))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of == 0 {
            return write!(f, "-");
        }
        let (low, high) = self.interval();
        let hits = if self.hits.fract() == 0.0 { format!("{:.0}", self.hits) } else { format!("{:.1}", self.hits) };
        let percent = 100.0 * self.hits / self.of as f64;
        write!(f, "{hits}/{} = {percent:.0} % ({:.0} to {:.0})", self.of, 100.0 * low, 100.0 * high)
    }
}

/// Median, mean and 90 % quantile of some numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    /// Takes the numbers.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Spread {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        Spread(numbers)
    }

    /// The smallest number that at least such a share of all does not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let place = (share * self.0.len() as f64).ceil().max(1.0) as usize - 1;
        self.0.get(place).copied().unwrap_or(f64::NAN)
    }

    /// The mean; NaN of nothing.
    pub(crate) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "-");
        }
        write!(f, "{} / {} / {}", short(self.quantile(0.5)), short(self.mean()), short(self.quantile(0.9)))
    }
}

/// A number with as many places as its size deserves.
fn short(number: f64) -> String {
    let places = usize::from(number.fract() != 0.0 && number.abs() < 100.0);
    format!("{number:.places$}")
}

/// The two-sided p of the exact sign test: how likely a split as uneven as this is, if either side were as likely.
pub(crate) fn sign_test(better: usize, worse: usize) -> f64 {
    let (all, fewer) = (better + worse, better.min(worse));
    let mut ways = 1.0;
    let mut sum = 0.0;
    for i in 0..=fewer {
        sum += ways;
        ways *= (all - i) as f64 / (i + 1) as f64;
    }
    (2.0 * sum / 2f64.powf(all as f64)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::{Share, Spread, sign_test};

    #[test]
    fn an_uneven_split_is_unlikely() {
        // 1 + 8 of 2^8 ways, on two sides.
        assert!((sign_test(7, 1) - 18.0 / 256.0).abs() < 1e-12);
        assert!((sign_test(0, 5) - 2.0 / 32.0).abs() < 1e-12);
        assert_eq!((sign_test(3, 3), sign_test(0, 0)), (1.0, 1.0));
    }

    #[test]
    fn intervals_are_those_of_the_literature() {
        // Newcombe (1998), table I: 81 of 263 and 0 of 20, by the score method without continuity correction.
        for (hits, of, expected) in
            [(81.0, 263, (0.2553, 0.3662)), (0.0, 20, (0.0, 0.1611)), (1.0, 29, (0.0061, 0.1718))]
        {
            let (low, high) = Share { hits, of }.interval();
            assert!(
                (low - expected.0).abs() < 5e-5 && (high - expected.1).abs() < 5e-5,
                "{hits} of {of}: {low} {high}"
            );
        }
    }

    #[test]
    fn quantiles_are_numbers_that_occur() {
        let spread = Spread::of([5.0, 1.0, 2.0, 4.0, 3.0, 6.0, 7.0, 8.0, 9.0, 10.0]);
        assert_eq!((spread.quantile(0.5), spread.quantile(0.9), spread.mean()), (5.0, 9.0, 5.5));
        assert!(Spread::of([]).quantile(0.5).is_nan());
        assert_eq!(spread.to_string(), "5 / 5.5 / 9");
    }
}
