//! What weights say of programs over their lifetimes, and from which probability on people should hear of it.
//!
//! Owns: the alarm, the doubt, the figures of a fit. Must not know: how weights were found.

use nextrun::belief::{Term, log_odds, probability};

use super::PRIOR;
use super::rows::{Layout, Program, rounded};
use crate::random::measure::{ALLOWED, area};

/// Share of healthy programs of which people may hear, at any look of their lives. Of unseen tasks and logging styles it
/// becomes up to twice as much, and that is to stay below 5 %.
const FALSE_ALARMS: f64 = 0.025;

/// What is said of a program at each look.
pub(super) struct Judged {
    pub(super) seed: u64,
    pub(super) fails: Option<bool>,
    pub(super) looks: Vec<Look>,
}

/// One look.
pub(super) struct Look {
    pub(super) measured: bool,
    pub(super) certain: bool,
    pub(super) unjudged: bool,
    /// What all terms add up to, before calibration.
    pub(super) sum: f64,
    /// The probability of failing, once calibrated.
    pub(super) probability: f64,
}

impl Judged {
    pub(super) fn new(program: &Program<'_>, layout: &Layout, weights: &[f64]) -> Judged {
        let look = |glance: &super::seen::Glance| Look {
            measured: !glance.quantities.is_empty(),
            certain: glance.certain,
            unjudged: glance.unjudged,
            sum: layout.sum(glance, weights),
            probability: PRIOR,
        };
        Judged { seed: program.seed, fails: program.fails(), looks: program.looks.iter().map(look).collect() }
    }

    pub(super) fn calibrate(&mut self, (slope, term): (f64, &Term), prior: f64) {
        for look in self.looks.iter_mut().filter(|look| look.measured) {
            let sum = slope * look.sum;
            look.probability = probability(log_odds(prior) + sum + term.of(sum, 0.0));
        }
    }

    /// Its seed, and the probability at each look: 1 where it is certain, null where it cannot be judged.
    pub(super) fn line(&self) -> serde_json::Value {
        let of = |look: &Look| match look {
            look if look.certain => Some(1.0),
            look if look.unjudged => None,
            look => Some(look.probability),
        };
        serde_json::json!({ "seed": self.seed, "fails": self.fails, "probability": self.looks.iter().map(of).collect::<Vec<_>>() })
    }

    /// The highest probability at which people hear of it: that holds for two looks, or is that of the end. 1 where it is
    /// certain.
    fn highest(&self) -> f64 {
        let of = |look: &Look| match look {
            look if look.certain => 1.0,
            look if look.unjudged => 0.0,
            look => look.probability,
        };
        let all: Vec<f64> = self.looks.iter().map(of).collect();
        let held = all.windows(2).map(|pair| pair[0].min(pair[1]));
        held.chain(all.last().copied()).fold(0.0, f64::max)
    }
}

/// The probability from which on people hear of a job, so that at most [`FALSE_ALARMS`] of the healthy programs ever
/// reach it.
pub(super) fn alarm(judged: &[Judged]) -> f64 {
    exceeded_by(judged, FALSE_ALARMS)
}

/// The probability that at most this share of the healthy programs ever reach.
fn exceeded_by(judged: &[Judged], share: f64) -> f64 {
    let mut healthy: Vec<f64> = judged.iter().filter(|j| j.fails == Some(false)).map(Judged::highest).collect();
    healthy.sort_by(|a, b| b.total_cmp(a));
    let allowed = (share * healthy.len() as f64) as usize;
    let highest = healthy.get(allowed).copied().unwrap_or(0.5);
    (rounded(highest) + 0.001).min(0.99)
}

/// Share of healthy programs that may be probed at their end.
const PROBED: f64 = 0.25;

/// The probability from which on a probe may be worth its cost, so that [`PROBED`] of the healthy programs end above it.
pub(super) fn doubt(judged: &[Judged]) -> f64 {
    let healthy = judged.iter().filter(|j| j.fails == Some(false));
    let ends = healthy.filter_map(|j| j.looks.iter().rev().find(|look| !look.unjudged));
    let mut ends: Vec<f64> = ends.map(|look| look.probability).collect();
    ends.sort_by(|a, b| b.total_cmp(a));
    ends.get((PROBED * ends.len() as f64) as usize).map_or(PRIOR, |end| rounded(*end))
}

/// Prints how many are found, and of how many healthy ones people would hear.
pub(super) fn print(judged: &[Judged], alarm: f64) {
    let of = |fails: bool| judged.iter().filter(move |j| j.fails == Some(fails));
    let ever = |fails| of(fails).filter(|j| j.highest() >= alarm).count();
    let at_end =
        |fails| of(fails).filter(|j| j.looks.last().is_some_and(|l| l.certain || l.probability >= alarm)).count();
    let scores =
        |fails| -> Vec<f64> { of(fails).filter_map(|j| j.looks.last()).map(|look| look.probability).collect() };
    let (failing, healthy) = (of(true).count(), of(false).count());
    let own = exceeded_by(judged, ALLOWED);
    let at_own = of(true).filter(|j| j.highest() >= own).count();
    println!(
        "  alarm from {alarm:.3} on: {} of {failing} failing found at any look, {} at the end",
        ever(true),
        at_end(true)
    );
    println!("  {} of {healthy} healthy ones ever alarmed, {} at the end", ever(false), at_end(false));
    println!("  at exactly 3 % over a lifetime (from {own:.3} on): {at_own} of {failing} found");
    println!("  area under the curve at the end: {:.3}", area(&scores(true), &scores(false)));
}
