//! How often programs failed whose terms add up to so much.
//!
//! Owns: the map from sums to log-odds. Must not know: quantities.

use nextrun::belief::{About, CALIBRATION, Term};

use super::rows::{Row, rounded};
use super::solve::{FIXED, Problem};
use super::thresholds::Judged;

/// Knots of the map, at equal distances.
const KNOTS: usize = 24;
/// The share of the looks below the first knot, and above the last. Beyond them, the map is the identity plus a
/// constant.
const OUTERMOST: f64 = 0.01;
/// How strongly the map is pulled to a straight line; one program weighs one.
const PULL: f64 = 2.0;
/// How strongly it is held straight: chance is not to make steps of it, where many jobs get the same probability.
const SMOOTH: f64 = 20.0;

/// The term that corrects the sum of all others.
pub(super) fn of_sum(log_odds: Vec<f64>, knots: Vec<f64>) -> Term {
    Term { quantity: CALIBRATION.into(), about: About::Sum, spread: 1.0, grows: false, knots, log_odds }
}

/// What terms are multiplied by, and the term behind them, so that the log-odds of programs of which half fail come out
/// right at looks that are spread over their runs. Steep parts, flat parts, but a larger sum never says less.
///
/// # Errors
/// When the fit has no solution.
pub(super) fn calibrate(judged: &[Judged]) -> anyhow::Result<(f64, Term)> {
    let count = |fails| judged.iter().filter(|judged| judged.fails == Some(fails)).count().max(1) as f64;
    let half = [count(false), count(true)];
    let larger = half[0].max(half[1]);
    let looks: Vec<(f64, bool, f64)> = judged
        .iter()
        .filter_map(|judged| Some((judged, judged.fails?)))
        .flat_map(|(judged, fails)| {
            let weight = larger / half[usize::from(fails)] / judged.looks.len() as f64;
            judged
                .looks
                .iter()
                .filter(|look| look.measured && !look.unjudged && !look.certain)
                .map(move |look| (look.sum, fails, weight))
        })
        .collect();
    let line = Problem {
        width: 2,
        pulled: vec![(1.0, PULL), (0.0, 0.0)],
        order: Vec::new(),
        bends: Vec::new(),
        intercept: FIXED,
    };
    let row = |features, (_, holds, weight): (f64, bool, f64)| Row { features, holds, weight };
    let rows: Vec<Row> = looks.iter().map(|look| row(vec![(0, look.0), (1, 1.0)], *look)).collect();
    let straight = line.solve(&rows)?;
    let (slope, offset) = (straight[0], straight[1]);

    let mut sums: Vec<f64> = looks.iter().map(|look| slope * look.0).collect();
    sums.sort_by(f64::total_cmp);
    let at = |share: f64| sums[(share * (sums.len() - 1) as f64) as usize];
    let (low, high) = (at(OUTERMOST), at(1.0 - OUTERMOST));
    let spread = |knot: usize| rounded(low + (high - low) * knot as f64 / (KNOTS - 1) as f64);
    let mut knots: Vec<f64> = (0..KNOTS).map(spread).collect();
    knots.dedup();
    let mut term = of_sum(vec![0.0; knots.len()], knots);
    let map = Problem {
        width: term.knots.len(),
        pulled: term.knots.iter().map(|knot| (knot + offset, PULL)).collect(),
        order: (1..term.knots.len()).map(|knot| (knot - 1, knot)).collect(),
        bends: (2..term.knots.len()).map(|knot| ([knot - 2, knot - 1, knot], SMOOTH)).collect(),
        intercept: FIXED,
    };
    let rows: Vec<Row> = looks.iter().map(|look| row(term.shares(slope * look.0, 0.0).collect(), *look)).collect();
    let mapped = map.solve(&rows)?;
    term.log_odds = term.knots.iter().zip(mapped).map(|(knot, log_odds)| rounded(log_odds - knot)).collect();
    Ok((slope, term))
}
