//! Logistic regression with an expert's weights as its prior, and an order of some weights.
//!
//! Owns: Newton's method; each of its steps is a quadratic program that clarabel solves. Must not know: what columns mean.

use anyhow::{Context, bail};
use clarabel::algebra::CscMatrix;
use clarabel::solver::SupportedConeT::NonnegativeConeT;
use clarabel::solver::{DefaultSettingsBuilder, DefaultSolver, IPSolver, SolverStatus};

use super::rows::Row;

/// So strongly is a number pulled that is not to move.
pub(super) const FIXED: f64 = 1e6;

/// What is to be solved.
pub(super) struct Problem {
    /// Columns, without the intercept, which is the last weight.
    pub(super) width: usize,
    /// What each weight is pulled to, and how strongly.
    pub(super) pulled: Vec<(f64, f64)>,
    /// Pairs of weights of which the first must not be larger.
    pub(super) order: Vec<(usize, usize)>,
    /// Triples of neighbours whose weights are to lie on a line, with how strongly.
    pub(super) bends: Vec<([usize; 3], f64)>,
    /// How strongly the intercept is pulled to 0.
    pub(super) intercept: f64,
}

/// Newton's steps, at most.
const STEPS: usize = 40;
/// Below this change of any weight it is done.
const DONE: f64 = 1e-4;
/// Halvings of a step, at most.
const HALVINGS: usize = 20;

impl Problem {
    /// What weights are pulled to, and an intercept of 0 behind them.
    pub(super) fn start(&self) -> Vec<f64> {
        self.pulled.iter().map(|(to, _)| *to).chain([0.0]).collect()
    }

    /// The weights, and the intercept behind them.
    pub(super) fn solve(&self, rows: &[Row]) -> anyhow::Result<Vec<f64>> {
        let mut weights = self.start();
        let mut loss = self.loss(rows, &weights);
        for _ in 0..STEPS {
            let step = self.step(rows, &weights)?;
            let mut share = 1.0;
            let mut moved = weights.clone();
            for _ in 0..HALVINGS {
                moved = weights.iter().zip(&step).map(|(weight, step)| weight + share * step).collect();
                let now = self.loss(rows, &moved);
                if now <= loss {
                    loss = now;
                    break;
                }
                share *= 0.5;
            }
            let change = step.iter().map(|step| (share * step).abs()).fold(0.0, f64::max);
            weights = moved;
            if change < DONE {
                break;
            }
        }
        Ok(weights)
    }

    fn loss(&self, rows: &[Row], weights: &[f64]) -> f64 {
        let of_row = |row: &Row| {
            let sum = sum(row, weights);
            row.weight * softplus(if row.holds { -sum } else { sum })
        };
        let pulls =
            self.pulled.iter().zip(weights).map(|((to, strength), weight)| 0.5 * strength * (weight - to).powi(2));
        let bends = self
            .bends
            .iter()
            .map(|([a, b, c], strength)| 0.5 * strength * (weights[*a] - 2.0 * weights[*b] + weights[*c]).powi(2));
        let intercept = 0.5 * self.intercept * weights[self.width].powi(2);
        rows.iter().map(of_row).sum::<f64>() + pulls.sum::<f64>() + bends.sum::<f64>() + intercept
    }

    /// Where the quadratic that touches the loss is least, in the order that weights must have.
    fn step(&self, rows: &[Row], weights: &[f64]) -> anyhow::Result<Vec<f64>> {
        let size = self.width + 1;
        let mut slope = vec![0.0; size];
        // The upper triangle, by columns.
        let mut curvature = vec![0.0; size * size];
        let mut columns = Vec::new();
        for row in rows {
            let p = 1.0 / (1.0 + (-sum(row, weights)).exp());
            let (first, second) = (row.weight * (p - f64::from(u8::from(row.holds))), row.weight * p * (1.0 - p));
            columns.clear();
            columns.extend_from_slice(&row.features);
            columns.push((self.width, 1.0));
            for (at, (column, share)) in columns.iter().enumerate() {
                slope[*column] += first * share;
                let scaled = second * share;
                for (other, other_share) in &columns[..=at] {
                    curvature[column * size + other] += scaled * other_share;
                }
            }
        }
        for (at, (to, strength)) in self.pulled.iter().enumerate() {
            slope[at] += strength * (weights[at] - to);
            curvature[at * size + at] += strength;
        }
        for (places, strength) in &self.bends {
            let factors = [1.0, -2.0, 1.0];
            let bend: f64 = places.iter().zip(factors).map(|(place, factor)| factor * weights[*place]).sum();
            for (a, f) in places.iter().zip(factors) {
                slope[*a] += strength * f * bend;
                for (b, g) in places.iter().zip(factors).filter(|(b, _)| *b <= a) {
                    curvature[a * size + b] += strength * f * g;
                }
            }
        }
        slope[self.width] += self.intercept * weights[self.width];
        curvature[size * size - 1] += self.intercept.max(1e-6);
        let upper = |column: usize| (0..=column).map(move |row| (row, column));
        let places: Vec<(usize, usize)> = (0..size).flat_map(upper).collect();
        let starts = (0..=size).map(|column| column * (column + 1) / 2).collect();
        let values = places.iter().map(|(row, column)| curvature[column * size + row]).collect();
        let quadratic = CscMatrix::new(size, size, starts, places.iter().map(|(row, _)| *row).collect(), values);
        // a + da <= b + db, as da - db + s = b - a with s >= 0.
        let mut triplets: Vec<(usize, usize, f64)> = Vec::new();
        for (row, (a, b)) in self.order.iter().enumerate() {
            triplets.extend([(*a, row, 1.0), (*b, row, -1.0)]);
        }
        triplets.sort_by_key(|(column, row, _)| (*column, *row));
        let mut starts = vec![0; size + 1];
        triplets.iter().for_each(|(column, ..)| starts[column + 1] += 1);
        (0..size).for_each(|column| starts[column + 1] += starts[column]);
        let rows_of = triplets.iter().map(|(_, row, _)| *row).collect();
        let order = CscMatrix::new(self.order.len(), size, starts, rows_of, triplets.iter().map(|t| t.2).collect());
        let room: Vec<f64> = self.order.iter().map(|(a, b)| (weights[*b] - weights[*a]).max(0.0)).collect();
        let cones = [NonnegativeConeT(room.len())];
        let settings = DefaultSettingsBuilder::default().verbose(false).build().context("the solver's settings")?;
        let mut solver =
            DefaultSolver::new(&quadratic, &slope, &order, &room, &cones, settings).context("the solver")?;
        solver.solve();
        match solver.solution.status {
            SolverStatus::Solved | SolverStatus::AlmostSolved => Ok(solver.solution.x),
            status => bail!("a step of the fit has no solution: {status:?}"),
        }
    }
}

/// What a row adds up to.
pub(super) fn sum(row: &Row, weights: &[f64]) -> f64 {
    row.features.iter().map(|(column, share)| weights[*column] * share).sum::<f64>() + weights[weights.len() - 1]
}

fn softplus(value: f64) -> f64 {
    value.max(0.0) + (-value.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(odds: &[(usize, usize)]) -> Vec<Row> {
        let row = |column, holds, weight: usize| Row { features: vec![(column, 1.0)], holds, weight: weight as f64 };
        let pair = |(column, (yes, no)): (usize, &(usize, usize))| [row(column, true, *yes), row(column, false, *no)];
        odds.iter().enumerate().flat_map(pair).collect()
    }

    fn problem(strength: f64, order: Vec<(usize, usize)>) -> Problem {
        Problem { width: 2, pulled: vec![(0.0, strength); 2], order, bends: Vec::new(), intercept: 0.0 }
    }

    #[test]
    fn log_odds_are_those_of_the_rows() {
        let weights = problem(1e-6, Vec::new()).solve(&rows(&[(30, 10), (10, 30)])).unwrap();
        let log_odds: Vec<f64> = weights[..2].iter().map(|weight| weight + weights[2]).collect();
        assert!((log_odds[0] - 3f64.ln()).abs() < 1e-3 && (log_odds[1] + 3f64.ln()).abs() < 1e-3, "{log_odds:?}");
    }

    #[test]
    fn weights_keep_their_order_against_the_data() {
        let weights = problem(1e-6, vec![(0, 1)]).solve(&rows(&[(30, 10), (10, 30)])).unwrap();
        assert!((weights[0] - weights[1]).abs() < 1e-3, "{weights:?}");
    }

    #[test]
    fn what_no_row_speaks_of_stays_with_the_expert() {
        let mut problem = problem(1.0, Vec::new());
        problem.pulled[1] = (2.5, 1.0);
        let weights = problem.solve(&rows(&[(30, 10)])).unwrap();
        assert!((weights[1] - 2.5).abs() < 1e-6 && weights[0] > 0.0, "{weights:?}");
    }
}
