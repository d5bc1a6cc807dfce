//! Fits the weights of belief on random programs, and writes `src/belief/weights.json`.
//!
//! Owns: the order of the fit, what is printed of it. Must not know: how programs are drawn, how quantities are measured.
//!
//!     cargo run --release --example evaluate -- fit
//!
//! Nothing is fitted on a program with a family that is held back; these are only measured at the end. Everything follows
//! from the records and from `expert.json`, so the same records give the same file.

mod calibrate;
mod cures;
mod expert;
mod rows;
mod seen;
mod solve;
mod thresholds;
mod verdicts;

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use nextrun::belief::{Model, Verdicts, Weights};

use crate::random;
use expert::{Expert, Shape};
use rows::{Layout, Program, Row};

/// Fits the weights of belief.
#[derive(Debug, Args)]
pub(crate) struct Fit {
    /// Programs, from seed 0 on.
    #[arg(long, default_value_t = 3000)]
    count: u64,
    /// Where records are kept. Default: `nextrun/random` in the user's cache directory.
    #[arg(long)]
    cache: Option<PathBuf>,
    /// The file of the weights.
    #[arg(long, default_value = "src/belief/weights.json")]
    out: PathBuf,
    /// Measures the fit only, and writes nothing.
    #[arg(long)]
    dry: bool,
    /// Writes what is said of each program at each look to this file, as one JSON line each.
    #[arg(long)]
    said: Option<PathBuf>,
    /// Judges by the weights in the file, and carries out the experiments of the programs that fail, too, to see how often
    /// verdicts are right; else what is known of that stays.
    #[arg(long)]
    closed_loop: bool,
    /// How strongly weights are held to the expert's.
    #[arg(long, default_value_t = 1.0)]
    ridge: f64,
}

/// The programs that are fitted on are divided so often; what is said of each part rests on the others.
const FOLDS: u64 = 5;
/// The share of failing jobs that a site has unless it says so.
const PRIOR: f64 = 0.05;

/// Fits the weights and writes them.
///
/// # Errors
/// When the cache cannot be read or written, or the file of the weights cannot be written.
pub(crate) fn run(arguments: &Fit) -> anyhow::Result<()> {
    if arguments.closed_loop {
        random::judge_by(&arguments.out)?;
    }
    let path = random::file(arguments.cache.as_deref())?;
    let records = random::records(&path, arguments.count)?;
    let seen = seen::all(&path, &records)?;
    let experts = expert::all()?;
    let layout = Layout::new(&experts)?;
    let programs = rows::programs(&records, &seen);
    let fitted: Vec<&Program<'_>> = programs.iter().filter(|program| !program.held_back).collect();

    // What is said of each program by weights that it had no part in: calibration and thresholds rest on that.
    let mut judged = Vec::new();
    for fold in 0..FOLDS {
        let (rest, part): (Vec<&Program<'_>>, Vec<&Program<'_>>) =
            fitted.iter().partition(|program| program.seed % FOLDS != fold);
        let weights = failing(&rest, (&layout, &experts), arguments.ridge)?;
        judged.extend(part.iter().map(|program| thresholds::Judged::new(program, &layout, &weights)));
    }
    let (slope, calibration) = calibrate::calibrate(&judged)?;
    judged.iter_mut().for_each(|judged| judged.calibrate((slope, &calibration), PRIOR));
    let (alarm, doubt) = (thresholds::alarm(&judged), thresholds::doubt(&judged));
    println!("to fit on, by weights that had no part in it:");
    thresholds::print(&judged, alarm);

    let weights = failing(&fitted, (&layout, &experts), arguments.ridge)?;
    let held_back = programs.iter().filter(|program| program.held_back);
    let mut others: Vec<_> = held_back.map(|program| thresholds::Judged::new(program, &layout, &weights)).collect();
    others.iter_mut().for_each(|judged| judged.calibrate((slope, &calibration), PRIOR));
    println!("held back:");
    thresholds::print(&others, alarm);

    if let Some(path) = &arguments.said {
        let all: String = judged.iter().chain(&others).map(|judged| format!("{}\n", judged.line())).collect();
        std::fs::write(path, all).with_context(|| format!("{}: cannot write", path.display()))?;
    }

    let mut failing = Model { prior: PRIOR, terms: layout.terms(&weights, slope) };
    failing.terms.push(calibration);
    let cures = cures::fit(&fitted, &programs)?;
    let verdicts = if arguments.closed_loop { verdicts::fit(&records)? } else { Weights::shipped().verdicts.clone() };
    let text = text((alarm, doubt), &failing, &cures, &verdicts, records.len())?;
    if !arguments.dry {
        std::fs::write(&arguments.out, text).with_context(|| format!("{}: cannot write", arguments.out.display()))?;
    }
    Ok(())
}

/// Rounds in which the looks that count most are found.
const ROUNDS: usize = 3;
/// How strongly the weights of neighbouring knots are held to a line.
const SMOOTH: f64 = 0.5;
/// The share of a program's weight that goes to the looks at which it is likeliest to be called failing.
const FOCUS: f64 = 0.5;

/// The weights of P(failing), with the intercept behind them.
///
/// People hear of a job that is above the alarm at any look of its life. So the looks that come nearest to it count most:
/// for a healthy program they are its false alarm, for a failing one how it is found.
fn failing(programs: &[&Program<'_>], (layout, experts): (&Layout, &[Expert]), ridge: f64) -> anyhow::Result<Vec<f64>> {
    let count = |fails| programs.iter().filter(|program| program.fails() == Some(fails)).count().max(1) as f64;
    let (mean, counts) = (0.5 * (count(true) + count(false)), [count(false), count(true)]);
    let mut rows = Vec::new();
    // The rows of each copy of each program: where they begin and end, what they weigh together.
    let mut copies = Vec::new();
    for program in programs {
        let Some(fails) = program.fails() else { continue };
        for masked in [Vec::new(), rows::masked(program.seed)] {
            let begin = rows.len();
            let looks = program.looks.iter().enumerate().filter(|(at, look)| {
                (at % 2 == 1 || at + 1 == program.looks.len()) && !look.unjudged && !look.quantities.is_empty()
            });
            rows.extend(looks.map(|(at, look)| {
                // What fails shows it late.
                let weight = if fails { (at + 1) as f64 / program.looks.len() as f64 } else { 1.0 };
                Row { features: layout.features(look, &masked), holds: fails, weight }
            }));
            copies.push((begin..rows.len(), 0.5 * mean / counts[usize::from(fails)]));
        }
    }
    let first: Vec<f64> = rows.iter().map(|row| row.weight).collect();
    let problem = problem(layout, experts, ridge);
    let mut weights = problem.start();
    for round in 0..ROUNDS {
        for (copy, whole) in &copies {
            let sums: Vec<f64> = rows[copy.clone()].iter().map(|row| solve::sum(row, &weights)).collect();
            let highest = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let focus: Vec<f64> = sums.iter().map(|sum| (sum - highest).exp()).collect();
            let (all, all_focus) = (first[copy.clone()].iter().sum::<f64>(), focus.iter().sum::<f64>());
            let share = if round == 0 { 0.0 } else { FOCUS };
            for (at, row) in rows[copy.clone()].iter_mut().enumerate() {
                let spread = first[copy.start + at] / all;
                row.weight = whole * ((1.0 - share) * spread + share * focus[at] / all_focus);
            }
        }
        weights = problem.solve(&rows)?;
    }
    Ok(weights)
}

fn problem(layout: &Layout, experts: &[Expert], ridge: f64) -> solve::Problem {
    let pulled = experts.iter().flat_map(|expert| {
        let pull = move |(knot, log_odds): (usize, &f64)| {
            if expert.is_neutral(knot) { (0.0, solve::FIXED) } else { (*log_odds, ridge) }
        };
        expert.expert.iter().enumerate().map(pull)
    });
    let (mut order, mut bends) = (Vec::new(), Vec::new());
    for (expert, begin) in experts.iter().zip(layout.begins()) {
        for at in begin + 1..begin + expert.knots.len() {
            match expert.shape {
                Shape::Rising => order.push((at - 1, at)),
                Shape::Falling => order.push((at, at - 1)),
                Shape::Free => {}
            }
            if at > begin + 1 {
                bends.push(([at - 2, at - 1, at], SMOOTH * ridge));
            }
        }
    }
    solve::Problem { width: layout.width, pulled: pulled.collect(), order, bends, intercept: 0.0 }
}

/// The file: one term a line, so that a change of the weights can be read.
fn text(
    (alarm, doubt): (f64, f64),
    failing: &Model,
    cures: &[(String, Model)],
    verdicts: &Verdicts,
    count: usize,
) -> anyhow::Result<String> {
    let model = |model: &Model, indent: &str| -> anyhow::Result<String> {
        let terms = model.terms.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        let list = |lines: Vec<String>| {
            if lines.is_empty() {
                "[]".to_owned()
            } else {
                format!("[\n{indent}  {}\n{indent} ]", lines.join(&format!(",\n{indent}  ")))
            }
        };
        Ok(format!("{{\n{indent} \"prior\": {},\n{indent} \"terms\": {}\n{indent}}}", model.prior, list(terms)))
    };
    let cures = cures
        .iter()
        .map(|(name, of)| Ok(format!("  [{}, {}]", serde_json::to_string(name)?, model(of, "   ")?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let version = format!("{}.{count}", random::VERSION);
    Ok(format!(
        "{{\n \"version\": \"{version}\",\n \"alarm\": {alarm:.3},\n \"suspect\": {SUSPECT},\n \"doubt\": {doubt:.3},\n \"failing\": {},\n \"cures\": [\n{}\n ],\n \"verdicts\": {}\n}}\n",
        model(failing, " ")?,
        cures.join(",\n"),
        serde_json::to_string(verdicts)?
    ))
}

/// From this probability on a job is suspect: twice the usual share of failures.
const SUSPECT: f64 = 2.0 * PRIOR;
