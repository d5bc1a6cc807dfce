//! How far to trust the sum of all terms, by how many points a job has.
//!
//! Owns: the rows of that table. Must not know: quantities.

use nextrun::belief::Calibration;

use super::rows::{Row, rounded};
use super::solve::Problem;
use super::thresholds::Judged;

/// The largest numbers of points of the rows.
const POINTS: [f64; 4] = [12.0, 40.0, 200.0, 1e18];
/// How strongly the slope of all is pulled to 1, and the offset of a row to that of all. The slope is the same for all rows:
/// what a rule saw in a long log must not count less than the same in a short one.
const PULL: f64 = 8.0;

/// Slope and offset for each number of points, so that the log-odds of programs of which half fail come out right at looks
/// that are spread over their runs.
///
/// # Errors
/// When the fit has no solution.
pub(super) fn calibrate(judged: &[Judged]) -> anyhow::Result<Vec<Calibration>> {
    let (slope, common) = fit(judged, (0.0, f64::INFINITY), ((1.0, PULL), (0.0, 0.0)))?;
    let mut least = 0.0;
    let mut table = Vec::new();
    for points in POINTS {
        let (_, offset) = fit(judged, (least, points), ((slope, FIXED), (common, PULL)))?;
        table.push(Calibration { points, slope: rounded(slope), offset: rounded(offset) });
        least = points;
    }
    Ok(table)
}

/// So strongly is a number pulled that is not to move.
const FIXED: f64 = 1e6;

/// Slope and offset of the looks with more than so many and at most so many points.
fn fit(
    judged: &[Judged],
    (least, most): (f64, f64),
    (slope, offset): ((f64, f64), (f64, f64)),
) -> anyhow::Result<(f64, f64)> {
    let count = |fails| judged.iter().filter(|judged| judged.fails == Some(fails)).count().max(1) as f64;
    let half = [count(false), count(true)];
    let larger = half[0].max(half[1]);
    let rows: Vec<Row> = judged
        .iter()
        .filter_map(|judged| Some((judged, judged.fails?)))
        .flat_map(|(judged, fails)| {
            let looks = judged.looks.iter().filter(|look| !look.unjudged && look.points > least && look.points <= most);
            let weight = larger / half[usize::from(fails)] / judged.looks.len() as f64;
            // The second column stands for the offset, so that it can be pulled; the intercept is left at nothing.
            looks.map(move |look| Row { features: vec![(0, look.sum), (1, 1.0)], holds: fails, weight })
        })
        .collect();
    let problem =
        Problem { width: 2, pulled: vec![slope, offset], order: Vec::new(), bends: Vec::new(), intercept: FIXED };
    let weights = problem.solve(&rows)?;
    Ok((weights[0], weights[1]))
}
