//! P(a change cures), of programs that fail, by change.
//!
//! Owns: which changes there are models of. Must not know: policies.

use nextrun::belief::{Model, log_odds};

use super::calibrate;
use super::expert::{self, Expert};
use super::rows::{Layout, Program, Row, rounded};
use super::solve::Problem;
use crate::random::alternatives::CHANGES;
use crate::random::labels::{Class, Label};

/// The quantities that speak for one change rather than another.
const SPEAKING: &[&str] = &[
    "progress",
    "late_fall",
    "trend",
    "rise",
    "early_peak",
    "noise",
    "swing",
    "spikes",
    "repeated_share",
    "non_finite",
    "over_chance",
    "accuracy",
    "validation_progress",
    "validation_rise",
    "validation_noise",
    "memorised",
    "rate_position",
    "low_rate",
    "reach",
    "risky_start",
    "gradient_to_loss",
    "gradient_growth",
    "steadiness",
    "done_after",
    "diverging",
    "overfitting",
    "plateaued",
    "not_learning",
    "oscillating",
];

/// How strongly weights are held to nothing: a change is as likely as among all failing programs unless data say otherwise.
const PULL: f64 = 4.0;
/// How strongly the weights of neighbouring knots are held together.
const SMOOTH: f64 = 2.0;
/// Programs that do badly, if not as badly as those that fail, tell of cures too: from this excess on, for half.
const BAD: f64 = 0.35;
/// Of a change that has cured fewer programs nothing is known but how seldom it cures.
const LEAST: f64 = 6.0;

/// A model for each change.
///
/// # Errors
/// When a fit has no solution.
pub(super) fn fit(programs: &[&Program<'_>], others: &[Program<'_>]) -> anyhow::Result<Vec<(String, Model)>> {
    let experts: Vec<Expert> = expert::all()?.into_iter().filter(|e| SPEAKING.contains(&e.quantity.as_str())).collect();
    let layout = Layout::new(&experts)?;
    let held_back: Vec<&Program<'_>> =
        others.iter().filter(|p| p.held_back && p.label.class == Class::Failing).collect();
    let mut models = Vec::new();
    println!("cures: of failing programs, log-loss on those held back by the model and by its prior alone:");
    for (name, changes) in CHANGES {
        let cured = |label: &Label| label.cured_by_any(changes);
        let asked = |label: &Label| changes.iter().any(|change| label.tried.contains_key(*change));
        let rows: Vec<Row> = programs.iter().flat_map(|program| rows(program, &layout, cured(program.label))).collect();
        let (hits, of) = (programs.iter().filter(|p| weight(p) > 0.0).map(|p| (cured(p.label), weight(p))))
            .fold((0.0, 0.0), |(hits, of), (cured, weight)| (hits + f64::from(u8::from(cured)) * weight, of + weight));
        // Nothing is impossible: log-odds need more than 0.
        let prior = rounded((hits + 0.5) / (of + 5.0)).max(0.001);
        if hits < LEAST {
            println!("  {name:32} cured {hits:4.0} of {of:.0}: no more is known");
            models.push((name.to_owned(), Model { prior, terms: Vec::new() }));
            continue;
        }
        let weights = problem(&layout, &experts).solve(&rows)?;
        let offset = rounded(weights[layout.width] - log_odds(prior));
        let mut terms = layout.terms(&weights, 1.0);
        let said = |program: &&Program<'_>| {
            let sum = program.looks.last().map_or(0.0, |look| layout.sum(look, &weights)) + weights[layout.width];
            (1.0 / (1.0 + (-sum).exp()), cured(program.label))
        };
        let said: Vec<(f64, bool)> = held_back.iter().filter(|p| asked(p.label)).map(said).collect();
        let cost = |p: f64, holds: bool| -(if holds { p } else { 1.0 - p }).max(1e-6).ln();
        let mean = |of: &dyn Fn(&(f64, bool)) -> f64| said.iter().map(of).sum::<f64>() / said.len().max(1) as f64;
        let (model, base) = (mean(&|(p, holds)| cost(*p, *holds)), mean(&|(_, holds)| cost(prior, *holds)));
        let count = said.iter().filter(|(_, holds)| *holds).count();
        println!(
            "  {name:32} cured {hits:4.0} of {of:.0}; held back {count:3} of {}: {model:.3} and {base:.3}",
            said.len()
        );
        terms.push(calibrate::of_sum(vec![offset], vec![0.0]));
        models.push((name.to_owned(), Model { prior, terms }));
    }
    Ok(models)
}

/// How much a program counts.
fn weight(program: &Program<'_>) -> f64 {
    match program.label.class {
        Class::Failing => 1.0,
        Class::Grey if program.label.excess.is_some_and(|excess| excess > BAD) => 0.5,
        _ => 0.0,
    }
}

/// A program in the second half of its life, and at its end.
fn rows(program: &Program<'_>, layout: &Layout, holds: bool) -> Vec<Row> {
    let weight = weight(program);
    if weight == 0.0 {
        return Vec::new();
    }
    let late = &program.looks[program.looks.len() / 2..];
    let chosen = late.iter().rev().step_by(3).filter(|glance| !glance.quantities.is_empty());
    let mut rows: Vec<Row> =
        chosen.map(|glance| Row { features: layout.features(glance, &[]), holds, weight: 0.0 }).collect();
    let share = weight / rows.len().max(1) as f64;
    rows.iter_mut().for_each(|row| row.weight = share);
    rows
}

fn problem(layout: &Layout, experts: &[Expert]) -> Problem {
    let bends = experts.iter().zip(layout.begins()).flat_map(|(expert, begin)| {
        (2..expert.knots.len()).map(move |at| ([begin + at - 2, begin + at - 1, begin + at], SMOOTH))
    });
    Problem {
        width: layout.width,
        pulled: vec![(0.0, PULL); layout.width],
        order: Vec::new(),
        bends: bends.collect(),
        intercept: 0.0,
    }
}
