//! Quiet probes: short experiments that determine whether a suspicious job fails, before anyone is notified.
//!
//! Owns: which tests may be probes, how a result is interpreted, and which test is worth most for its cost. Must not know:
//! cases, who runs a probe, how its likelihoods were measured.
//!
//! A flat loss may be at its lowest possible level, or stuck. No curve distinguishes the two, but an experiment can: a
//! loss at its lowest level does not fall further with other settings in a tenth of the time. The likelihood of each
//! result for failing and for healthy jobs was measured on random programs (docs/EVALUATION.md). Passing a probe alone
//! proves nothing.

mod catalogue;
mod likelihoods;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::facts::{Facts, Knobs, Quantity};
use crate::numbers::{HALF, LEARNED};

pub use catalogue::{TESTS, Test};
pub use likelihoods::{Likelihoods, Row, Table};

/// The outcome of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It reached its target: it gained twice as much as the job (or halved its loss), or fitted few examples.
    Reached,
    /// It did not, but gained a quarter more than the job.
    Better,
    /// Neither.
    NoBetter,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Outcome; 3] = [Outcome::Reached, Outcome::Better, Outcome::NoBetter];

    /// The name in payloads.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Reached => "reached",
            Outcome::Better => "better",
            Outcome::NoBetter => "no_better",
        }
    }
}

/// How likely an outcome is for a job that fails, and for a healthy one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Likelihood {
    /// 0 to 1.
    pub failing: f64,
    /// 0 to 1.
    pub healthy: f64,
}

impl Likelihood {
    /// The contribution of the outcome to the log-odds that the job fails.
    pub fn log_odds(self) -> f64 {
        (self.failing / self.healthy).ln()
    }
}

/// The inputs for choosing a probe.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The job, with its known knobs.
    pub job: &'a Facts,
    /// The knobs that its script supports, if known.
    pub knobs: Option<&'a BTreeSet<String>>,
    /// Knobs that it was found not to have.
    pub missing: &'a BTreeSet<String>,
    /// Tests that were made already.
    pub made: &'a [&'a str],
    /// The log-odds that the job fails, by all evidence.
    pub log_odds: f64,
    /// The length that the budget pays for, as a fraction of the job's.
    pub share: f64,
    /// The same in optimizer steps, if those of the job are known.
    pub steps: Option<f64>,
    /// Points of the loss that the job logs within it.
    pub points: f64,
    /// The probability from which on people are told. Only a probe that may move the job's there changes anything. `None`
    /// for an audit, which only collects data.
    pub alarm: Option<f64>,
}

impl Ground<'_> {
    /// Whether the job's script supports a knob, if known.
    fn has(&self, knob: &str) -> bool {
        self.knobs.is_none_or(|knobs| knobs.contains(knob)) && !self.missing.contains(knob)
    }
}

/// A probe that is to be made, with its success fixed beforehand.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The test.
    pub test: &'static Test,
    /// The changes to the job's settings, with `max_steps` if its script has that and its steps are known. Without that,
    /// time alone limits the probe.
    pub changes: Knobs,
    /// Its length as a fraction of what the budget pays for.
    pub part: f64,
    /// The target loss; `None` if it has to fit few examples.
    pub target: Option<Target>,
    /// How far it is expected to raise the probability above the alarm; for an audit, the bits that it is expected to give.
    pub gain: f64,
    /// What each outcome says.
    pub likelihoods: BTreeMap<Outcome, Likelihood>,
}

/// A probe has to log this many points. A point at its very end may fall out where it is a little shorter than planned.
const LEAST_POINTS: f64 = 0.8;

/// A probe that is worth less rests on results that were never seen: the table counts one more of each.
const LEAST_GAIN: f64 = 0.001;

/// The fixed cost of a run, as a fraction of the budget.
const OVERHEAD: f64 = 0.2;

/// The probe that is worth most for its cost; `None` if none is affordable, left, or able to raise an alarm.
pub fn choose(ground: &Ground<'_>, table: &Table) -> Option<Choice> {
    let choices = TESTS.iter().filter_map(|test| choice(test, ground, table));
    let per_cost = |choice: &Choice| choice.gain / (OVERHEAD + choice.part);
    choices.max_by(|a, b| per_cost(a).total_cmp(&per_cost(b)))
}

/// A test applied to a job; `None` if it is not possible, or no result of it would matter.
pub fn choice(test: &'static Test, ground: &Ground<'_>, table: &Table) -> Option<Choice> {
    if ground.made.contains(&test.name) {
        return None;
    }
    let likelihoods = table.of(test.name, ground.share)?.clone();
    let mut changes = (test.changes)(ground)?;
    let part = match (ground.steps.filter(|_| ground.has("max_steps")), test.most_steps) {
        (Some(all), most) => {
            let steps = most.map_or(all, |most| most.min(all)).floor();
            #[expect(clippy::cast_possible_truncation, reason = "a whole number of steps; a cast saturates")]
            changes.insert("max_steps".to_owned(), (steps as i64).into());
            if steps < 1.0 { 0.0 } else { steps / all }
        }
        (None, None) => 1.0,
        (None, Some(_)) => return None,
    };
    if part * ground.points < LEAST_POINTS {
        return None;
    }
    let target = if test.fits_few { None } else { Some(Target::of(ground.job)?) };
    let gain = gain(ground.log_odds, &likelihoods, ground.alarm);
    (ground.alarm.is_none() || gain >= LEAST_GAIN).then_some(Choice { test, changes, part, target, gain, likelihoods })
}

/// The losses that a probe has to get below, fixed beforehand. They are the bounds of failing and of healthy programs in
/// docs/EVALUATION.md: who gains twice as much as the job shows that the job misses at least half of what can be gained,
/// and who gains a quarter more, that it misses a fifth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Twice the gain of the job; of a positive loss not less than half.
    pub twice: f64,
    /// A quarter more of the same gain.
    pub more: f64,
}

/// The additional gain that counts, as a fraction of the job's.
const MORE: f64 = 0.25;

impl Target {
    /// The targets for the probes of a job; `None` if it has no loss. A job that gained next to nothing is compared with a
    /// gain that people would call learning.
    fn of(job: &Facts) -> Option<Target> {
        let (start, end) = (job.number(Quantity::LossStart), job.number(Quantity::LossEnd));
        let gained = (start - end).max(LEARNED * end.abs());
        // A positive loss hardly falls below zero: after a long way down, half of the rest is as much.
        let gained = if end > 0.0 { gained.min(HALF * end) } else { gained };
        let target = Target { twice: end - gained, more: end - MORE * gained };
        target.twice.is_finite().then_some(target)
    }
}

/// How a probe came out, by what its run showed.
pub fn read(shown: &Facts, target: Option<Target>) -> Outcome {
    let end = shown.number(Quantity::LossEnd);
    match target {
        None if shown.fits => Outcome::Reached,
        Some(target) if shown.finite && end < target.twice => Outcome::Reached,
        Some(target) if shown.finite && end < target.more => Outcome::Better,
        _ => Outcome::NoBetter,
    }
}

/// The expected value of a test. People are notified only above the alarm, so a result counts by how far it raises the
/// probability above the alarm. Without an alarm, the value is the expected information in bits.
fn gain(log_odds: f64, likelihoods: &BTreeMap<Outcome, Likelihood>, alarm: Option<f64>) -> f64 {
    let prior = probability(log_odds);
    let worth = |p: f64| alarm.map_or(-entropy(p), |alarm| (p - alarm).max(0.0));
    let after = likelihoods.values().map(|likelihood| {
        let of_outcome = prior * likelihood.failing + (1.0 - prior) * likelihood.healthy;
        of_outcome * worth(probability(log_odds + likelihood.log_odds()))
    });
    (after.sum::<f64>() - worth(prior)).max(0.0)
}

fn entropy(p: f64) -> f64 {
    let part = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
    part(p) + part(1.0 - p)
}

fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// Whether a job belongs to the fraction of unsuspicious jobs that are probed to measure missed failures. The choice is
/// the same at every examination and in every process.
pub fn is_audited(job: &str, share: f64) -> bool {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(job.as_bytes());
    let number = hash.iter().take(4).fold(0u32, |number, byte| number << 8 | u32::from(*byte));
    f64::from(number) / (f64::from(u32::MAX) + 1.0) < share
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job() -> Facts {
        let knobs = serde_json::from_value(json!({"learning_rate": 0.1, "optimizer": "sgd"})).unwrap();
        Facts { knobs, ..Facts::default() }.with([(Quantity::LossEnd, 2.0)])
    }

    fn ground<'a>(job: &'a Facts, none: &'a BTreeSet<String>) -> Ground<'a> {
        Ground {
            job,
            knobs: None,
            missing: none,
            made: &[],
            log_odds: 0.0,
            share: 0.24,
            steps: Some(200.0),
            points: 200.0,
            alarm: Some(0.65),
        }
    }

    #[test]
    fn the_shipped_table_has_every_test_and_every_outcome() {
        for row in &Table::shipped().rows {
            assert!(!row.source.is_empty());
            for test in TESTS {
                let likelihoods = &row.tests[test.name];
                assert_eq!(likelihoods.len(), Outcome::ALL.len(), "{}", test.name);
                for of in [|l: &Likelihood| l.failing, |l: &Likelihood| l.healthy] {
                    let sum: f64 = likelihoods.values().map(of).sum();
                    assert!((sum - 1.0).abs() < 0.005, "{}: {sum}", test.name);
                    assert!(likelihoods.values().all(|l| of(l) > 0.0), "{}: nothing is impossible", test.name);
                }
            }
        }
        let shares: Vec<f64> = Table::shipped().rows.iter().map(|row| row.share).collect();
        assert!(!shares.is_empty() && shares.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_probe_is_chosen_for_what_it_tells_and_fixes_its_success_beforehand() {
        let (job, none) = (job(), BTreeSet::new());
        let ground = ground(&job, &none);
        let chosen = choose(&ground, Table::shipped()).expect("something is worth its cost");
        assert!(chosen.gain >= LEAST_GAIN);
        assert!(chosen.changes["max_steps"].as_i64().unwrap() <= 200);
        assert_eq!(chosen.target.is_none(), chosen.test.fits_few);
        let made = [chosen.test.name];
        let next = choose(&Ground { made: &made, ..ground }, Table::shipped());
        assert!(next.is_none_or(|next| next.test != chosen.test), "each test is made once");
    }

    #[test]
    fn what_cannot_change_anything_or_shows_nothing_is_not_made() {
        let (job, none) = (job(), BTreeSet::new());
        let ground = ground(&job, &none);
        assert_eq!(choose(&Ground { points: 0.2, ..ground }, Table::shipped()), None, "no point shows nothing");
        assert_eq!(choose(&Ground { log_odds: -12.0, ..ground }, Table::shipped()), None, "no result would matter");
        let without = BTreeSet::from(["max_steps".to_owned()]);
        for ground in [Ground { missing: &without, ..ground }, Ground { steps: None, ..ground }] {
            let timed = choose(&ground, Table::shipped()).expect("time limits it");
            assert!(!timed.changes.contains_key("max_steps") && !timed.test.fits_few, "{timed:?}");
        }
        let knobs = BTreeSet::from(["max_steps".to_owned(), "learning_rate".to_owned()]);
        let chosen = choose(&Ground { knobs: Some(&knobs), ..ground }, Table::shipped());
        assert!(chosen.is_none_or(|chosen| ["lower_rate", "raise_rate"].contains(&chosen.test.name)));
    }

    #[test]
    fn outcomes_are_read_by_what_was_fixed() {
        let ends = |loss: f64| Facts::default().with([(Quantity::LossEnd, loss)]);
        let target = Target::of(&Facts::default().with([(Quantity::LossStart, 3.0), (Quantity::LossEnd, 2.0)]));
        assert_eq!(target, Some(Target { twice: 1.0, more: 1.75 }));
        assert_eq!(read(&ends(0.9), target), Outcome::Reached);
        assert_eq!(read(&ends(1.7), target), Outcome::Better);
        assert_eq!(read(&ends(1.8), target), Outcome::NoBetter);
        assert_eq!(read(&Facts { finite: false, ..ends(0.1) }, target), Outcome::NoBetter);
        assert_eq!(read(&Facts { fits: true, ..ends(0.1) }, None), Outcome::Reached);
        assert_eq!(read(&ends(0.1), None), Outcome::NoBetter);
        let far = Target::of(&Facts::default().with([(Quantity::LossStart, 10.0), (Quantity::LossEnd, 1.0)]));
        assert_eq!(far, Some(Target { twice: 0.5, more: 0.875 }), "no loss of this kind gets to -8");
        let flat = Target::of(&Facts::default().with([(Quantity::LossStart, 2.0), (Quantity::LossEnd, 2.0)]));
        assert_eq!(flat.map(|target| target.twice), Some(1.8), "noise is no gain");
        assert_eq!(Target::of(&Facts::default()), None);
    }

    #[test]
    fn the_audit_takes_its_share_and_the_same_jobs_each_time() {
        let audited = (0..10_000).filter(|i| is_audited(&format!("job-{i}"), 0.01)).count();
        assert!((60..=140).contains(&audited), "{audited} of 10,000");
        assert!(!is_audited("a", 0.0) && is_audited("a", 1.0));
    }
}
