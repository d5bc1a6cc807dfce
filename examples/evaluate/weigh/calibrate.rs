//! How far to trust the sum of all terms, by how many points a job has.
//!
//! Owns: the rows of that table. Must not know: quantities.

use nextrun::belief::Calibration;

use super::rows::{Row, rounded};
use super::solve::Problem;
use super::thresholds::Judged;

/// The largest numbers of points of the rows.
const POINTS: [f64; 4] = [12.0, 40.0, 200.0, 1e18];
/// How strongly a row is pulled to a slope of 1 and to the offset of all.
const PULL: f64 = 8.0;

/// Slope and offset for each number of points, so that the log-odds of programs of which half fail come out right at looks
/// that are spread over their runs.
///
/// # Errors
/// When the fit has no solution.
pub(super) fn calibrate(judged: &[Judged]) -> anyhow::Result<Vec<Calibration>> {
    let (_, common) = fit(judged, (0.0, f64::INFINITY), 0.0)?;
    let mut least = 0.0;
    let mut table = Vec::new();
    for points in POINTS {
        let (slope, offset) = fit(judged, (least, points), common)?;
        table.push(Calibration { points, slope: rounded(slope.max(0.1)), offset: rounded(offset) });
        least = points;
    }
    Ok(table)
}

/// Slope and offset of the looks with more than so many and at most so many points.
fn fit(judged: &[Judged], (least, most): (f64, f64), offset: f64) -> anyhow::Result<(f64, f64)> {
    let count = |fails| judged.iter().filter(|judged| judged.fails == Some(fails)).count().max(1) as f64;
    let half = [count(false), count(true)];
    let larger = half[0].max(half[1]);
    let rows: Vec<Row> = judged
        .iter()
        .filter_map(|judged| Some((judged, judged.fails?)))
        .flat_map(|(judged, fails)| {
            let looks = judged.looks.iter().filter(|look| !look.unjudged && look.points > least && look.points <= most);
            let weight = larger / half[usize::from(fails)] / judged.looks.len() as f64;
            // The second column stands for the offset, so that it can be pulled.
            looks.map(move |look| Row { features: vec![(0, look.sum), (1, 1.0)], holds: fails, weight })
        })
        .collect();
    let pulled = vec![(1.0, PULL), (offset, if offset == 0.0 { 0.0 } else { PULL })];
    let problem = Problem { width: 2, pulled, order: Vec::new(), bends: Vec::new() };
    let weights = problem.solve(&rows)?;
    Ok((weights[0], weights[1] + weights[2]))
}
