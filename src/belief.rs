//! The probability that a job fails, and that a change fixes it: an additive model over the evidence.
//!
//! Owns: the interpretation of weights, the breakdown, the prior, the status. Must not know: how weights were fitted,
//! I/O.
//!
//! The weights are data (`belief/weights.json`): chosen by an expert and refined on random programs whose faults are
//! known from what fixes them (docs/EVALUATION.md); `examples/evaluate/weigh` fits them. The log-odds of the prior and of all terms add up to those of the
//! probability, so that each can be recomputed by hand.

mod weights;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::evidence::{Curve, Evidence, Measured, Quantity, unknown};
use crate::numbers::{FIRST_POINTS, MATURE_UPDATES, THIRD};
use crate::symptoms::{Finding, Severity};

pub use weights::{About, CALIBRATION, Model, Term, Verdicts, Weights};

/// The contribution of one quantity to the log-odds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Contribution {
    /// The quantity, the symptom, the probe, or [`CALIBRATION`].
    pub quantity: Cow<'static, str>,
    /// Its value.
    #[serde(with = "unknown")]
    pub value: f64,
    /// Its standard error.
    #[serde(with = "unknown")]
    pub error: f64,
    /// Its contribution.
    pub log_odds: f64,
}

/// A probability, with the evidence for and against it, strongest first; [`CALIBRATION`] is the last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Belief {
    /// The probability.
    pub probability: f64,
    /// The probability before any evidence.
    pub prior: f64,
    /// What speaks for it.
    pub speaks_for: Vec<Contribution>,
    /// What speaks against it.
    pub speaks_against: Vec<Contribution>,
}

impl Belief {
    fn new(prior: f64, mut terms: Vec<Contribution>) -> Belief {
        let of_evidence = |term: &Contribution| term.quantity != CALIBRATION;
        terms.sort_by(|a, b| {
            let stronger = b.log_odds.abs().total_cmp(&a.log_odds.abs()).then(a.quantity.cmp(&b.quantity));
            of_evidence(b).cmp(&of_evidence(a)).then(stronger)
        });
        let sum: f64 = terms.iter().map(|term| term.log_odds).sum();
        let (speaks_for, speaks_against) = terms.into_iter().partition(|term| term.log_odds > 0.0);
        Belief { probability: probability(log_odds(prior) + sum), prior, speaks_for, speaks_against }
    }

    /// All evidence.
    pub fn terms(&self) -> impl Iterator<Item = &Contribution> {
        self.speaks_for.iter().chain(&self.speaks_against)
    }

    /// The log-odds that the evidence adds to the prior: the logarithm of the likelihood ratio.
    pub fn evidence(&self) -> f64 {
        self.terms().map(|term| term.log_odds).sum()
    }

    /// The same with additional terms from independent evidence.
    #[must_use]
    pub fn and(self, terms: &[Contribution]) -> Belief {
        if terms.is_empty() {
            return self;
        }
        let known = self.speaks_for.into_iter().chain(self.speaks_against);
        Belief::new(self.prior, known.chain(terms.iter().cloned()).collect())
    }
}

/// The logarithm of the odds of a probability.
pub fn log_odds(probability: f64) -> f64 {
    (probability / (1.0 - probability)).ln()
}

/// The probability of log-odds.
pub fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

impl Verdicts {
    /// How probable it is that a verdict is right, by what a policy believes of the cause that it names.
    pub fn confidence(&self, verdict: &str, believed: f64) -> f64 {
        if believed <= 0.0 {
            return 0.0;
        }
        let of_cause = self.causes.get(verdict).copied().unwrap_or(0.0);
        probability(self.slope * log_odds(believed.min(0.9999)) + self.offset + of_cause).min(self.most)
    }
}

impl Weights {
    /// The probability that a job fails, given the prior probability of a failure at the site.
    pub fn failing(&self, evidence: &Evidence, findings: &[Finding], prior: f64) -> Belief {
        self.failing.believe(evidence, findings, prior)
    }

    /// The probability that each change cures a job that fails, the most probable first.
    pub fn cures(&self, evidence: &Evidence, findings: &[Finding]) -> Vec<(&str, Belief)> {
        let believe = |model: &Model| model.believe(evidence, findings, model.prior);
        let mut all: Vec<(&str, Belief)> =
            self.cures.iter().map(|(change, model)| (change.as_str(), believe(model))).collect();
        all.sort_by(|a, b| b.1.probability.total_cmp(&a.1.probability));
        all
    }
}

impl Model {
    /// Adds up what each known quantity says, and calibrates the sum.
    pub fn believe(&self, evidence: &Evidence, findings: &[Finding], prior: f64) -> Belief {
        // Before a curve has a shape, settings and symptoms that are not there say nothing of the job; NaN does.
        let shapeless = evidence.get(Quantity::Points).is_none_or(|points| points < Curve::LEAST as f64);
        if shapeless && evidence.get(Quantity::NonFinite).is_none() {
            return Belief::new(prior, Vec::new());
        }
        let unripe = unripe(|quantity| evidence.get(quantity));
        let mut terms: Vec<Contribution> =
            self.terms.iter().filter_map(|term| term.contribution(evidence, findings, unripe)).collect();
        let sum: f64 = terms.iter().map(|term| term.log_odds).sum();
        let calibrations = self.terms.iter().filter(|term| term.about == About::Sum);
        terms.extend(calibrations.map(|term| Contribution {
            quantity: CALIBRATION.into(),
            value: sum,
            error: 0.0,
            log_odds: term.of(sum, 0.0),
        }));
        Belief::new(prior, terms)
    }
}

impl Term {
    /// The contribution of the quantity: its log-odds, reduced by its error. An error as large as the usual spread of
    /// the quantity halves them.
    fn contribution(&self, evidence: &Evidence, findings: &[Finding], unripe: f64) -> Option<Contribution> {
        let (quantity, value, error) = match self.about {
            About::Quantity(quantity) => {
                let Measured { value, error, .. } = evidence.measured(quantity)?;
                (quantity.id(), value, error)
            }
            About::Symptom(id) => (id, severity_of(id, findings), 0.0),
            About::Nothing | About::Sum => return None,
        };
        let error = self.foreseen(error, unripe);
        let log_odds = self.of(value, error);
        (log_odds != 0.0).then_some(Contribution { quantity: quantity.into(), value, error, log_odds })
    }

    /// The standard error of a value as a forecast of the end of the run, if it is one that grows with training.
    pub fn foreseen(&self, error: f64, unripe: f64) -> f64 {
        if self.grows { error.hypot(self.spread * unripe) } else { error }
    }

    /// The log-odds of a value with a standard error.
    pub fn of(&self, value: f64, error: f64) -> f64 {
        self.shares(value, error).map(|(knot, share)| share * self.log_odds[knot]).sum()
    }

    /// The share that each knot has in the log-odds of a value with a standard error: the value lies between two knots, or
    /// beyond the last one. An error as large as the spread halves them.
    pub fn shares(&self, value: f64, error: f64) -> impl Iterator<Item = (usize, f64)> {
        let spread = self.spread * self.spread;
        let trust = spread / (spread + error * error);
        let next = self.knots.partition_point(|knot| *knot <= value);
        let last = next.min(self.knots.len() - 1);
        let before = next.saturating_sub(1);
        let along = match self.knots[last] - self.knots[before] {
            0.0 => 0.0,
            span => (value - self.knots[before]) / span,
        };
        let upper = (last > before).then_some((last, trust * along));
        [(before, trust * (1.0 - if last > before { along } else { 0.0 }))].into_iter().chain(upper)
    }
}

/// How uncertain a quantity that grows with training still is as a forecast of the end of the run, in spreads of the
/// quantity: 0 for a mature run. A loss that has not moved within the first hundredth of a run says little about its end.
/// `known` gives the value of a quantity.
pub fn unripe(known: impl Fn(Quantity) -> Option<f64>) -> f64 {
    let maturity = known(Quantity::Maturity).unwrap_or(0.0);
    match known(Quantity::Done) {
        _ if maturity >= 1.0 => 0.0,
        Some(_) => (1.0 - maturity) / maturity.max(f64::EPSILON),
        None => {
            let left = |of: f64, quantity| Some(of / known(quantity)?.max(1.0));
            let by_points = left(FIRST_POINTS, Quantity::Points).unwrap_or(FIRST_POINTS);
            left(THIRD * MATURE_UPDATES, Quantity::UpdatesMade).unwrap_or(0.0).max(by_points)
        }
    }
}

/// 1 where a symptom was found as a warning, 2 as a problem, else 0.
pub fn severity_of(symptom: &str, findings: &[Finding]) -> f64 {
    let found = findings.iter().find(|finding| finding.symptom == symptom);
    found.map_or(0.0, |finding| if finding.severity == Severity::Problem { 2.0 } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::evidence::Quantity;
    use crate::evidence::tests::{noise, with_loss};
    use crate::symptoms::examine;

    fn failing(evidence: &Evidence, prior: f64) -> Belief {
        Weights::shipped().failing(evidence, &examine(evidence), prior)
    }

    fn stuck() -> Evidence {
        Evidence::of(&with_loss((0..4000).map(|i| 2.3 + 0.02 * noise(i))))
    }

    fn falls() -> Evidence {
        Evidence::of(&with_loss((0..4000).map(|i| 2.3 * (-(i as f64) / 400.0).exp() + 0.02 * (noise(i) + 1.0))))
    }

    #[test]
    fn the_terms_add_up_to_the_probability() {
        for evidence in [stuck(), falls()] {
            let belief = failing(&evidence, 0.05);
            let sum: f64 = belief.speaks_for.iter().chain(&belief.speaks_against).map(|term| term.log_odds).sum();
            assert!((log_odds(belief.probability) - log_odds(belief.prior) - sum).abs() < 1e-9);
        }
    }

    #[test]
    fn a_loss_that_stands_still_speaks_for_failing_and_one_that_falls_against() {
        let (stuck, falls) = (failing(&stuck(), 0.05), failing(&falls(), 0.05));
        assert!(stuck.evidence() > 1.0 && falls.evidence() < stuck.evidence() - 2.0);
        assert!(falls.probability < 0.1, "{}", falls.probability);
    }

    #[test]
    fn cures_come_with_the_likeliest_first_and_a_low_rate_speaks_for_a_higher_one() {
        let at_rate = |rate: f64| {
            let mut job = with_loss((0..4000).map(|i| 2.3 + 0.02 * noise(i)));
            job.knobs.insert("optimizer".into(), "adam".into());
            job.knobs.insert("learning_rate".into(), rate.into());
            Evidence::of(&job)
        };
        let (low, huge) = (at_rate(1e-4), at_rate(1.0));
        let higher = |evidence: &Evidence| {
            let cures = Weights::shipped().cures(evidence, &examine(evidence));
            assert!(cures.len() > 10 && cures.is_sorted_by(|a, b| a.1.probability >= b.1.probability));
            for (change, belief) in &cures {
                let sum: f64 = belief.terms().map(|term| term.log_odds).sum();
                assert!((log_odds(belief.probability) - log_odds(belief.prior) - sum).abs() < 1e-9, "{change}");
            }
            cures.iter().find(|(change, _)| *change == "learning_rate:higher").expect("a model").1.probability
        };
        assert!(higher(&low) > 1.5 * higher(&huge), "{} {}", higher(&low), higher(&huge));
    }

    #[test]
    fn the_prior_is_the_probability_without_evidence_and_moves_it_with_evidence() {
        let at = |prior| failing(&stuck(), prior);
        assert!(at(0.01).probability < at(0.5).probability);
        assert!((at(0.01).evidence() - at(0.5).evidence()).abs() < 1e-9);
    }

    #[test]
    fn two_points_say_nothing_unless_they_are_no_numbers() {
        let of = |values: [f64; 3], count: usize| {
            let mut job = with_loss(values[..count].iter().copied());
            job.knobs.insert("learning_rate".into(), 1e-9.into());
            failing(&Evidence::of(&job), 0.05).probability
        };
        assert!((of([2.3, 2.3, 2.3], 2) - 0.05).abs() < 1e-9);
        assert!(of([2.3, 2.3, 2.3], 3) > 0.2, "{}", of([2.3, 2.3, 2.3], 3));
        assert!(of([2.3, f64::NAN, f64::NAN], 3) > 0.5, "{}", of([2.3, f64::NAN, f64::NAN], 3));
    }

    #[test]
    fn a_verdict_is_trusted_as_far_as_verdicts_were_right() {
        let same = Verdicts { slope: 1.0, offset: 0.0, causes: BTreeMap::new(), most: 1.0 };
        assert!((same.confidence("a", 0.7) - 0.7).abs() < 1e-9 && same.confidence("a", 0.0) == 0.0);
        let shrunk = Verdicts { slope: 0.5, offset: -0.5, causes: BTreeMap::from([("a".into(), 1.0)]), most: 0.8 };
        assert!(shrunk.confidence("b", 0.95) < 0.8 && shrunk.confidence("b", 0.95) > shrunk.confidence("b", 0.9));
        assert!(shrunk.confidence("a", 0.5) > shrunk.confidence("b", 0.5));
        assert!(shrunk.confidence("a", 0.9999).to_bits() == 0.8_f64.to_bits(), "no more is borne out");
        let shipped = &Weights::shipped().verdicts;
        assert!(shipped.slope > 0.0 && shipped.confidence("a", 0.99) < 0.99, "{shipped:?}");
    }

    #[test]
    fn an_uncertain_quantity_says_less() {
        let about = About::Quantity(Quantity::Progress);
        let (knots, log_odds) = (vec![0.0, 1.0], vec![2.0, -2.0]);
        let term = Term { quantity: "progress".into(), about, spread: 0.1, grows: false, knots, log_odds };
        assert!((term.of(0.0, 0.0), term.of(0.5, 0.0), term.of(7.0, 0.0)) == (2.0, 0.0, -2.0));
        assert!((term.of(-1.0, 0.1) - 1.0).abs() < 1e-9 && term.of(0.0, 10.0) < 0.01);
    }

    #[test]
    fn a_loss_that_has_not_moved_says_little_at_the_beginning_of_a_run() {
        let at = |done: f64| {
            let mut job = with_loss((0..200).map(|i| 2.3 + 0.02 * noise(i)));
            (job.life.ended, job.life.done) = (false, Some(done));
            failing(&Evidence::of(&job), 0.05)
        };
        assert!(at(0.01).probability < 0.1, "{:?}", at(0.01));
        assert!(at(0.01).probability < at(0.2).probability && at(0.2).probability < at(0.6).probability);
        let known = |of: &[(Quantity, f64)]| {
            unripe(|quantity| of.iter().find(|(known, _)| *known == quantity).map(|(_, value)| *value))
        };
        let planned = |maturity| known(&[(Quantity::Maturity, maturity), (Quantity::Done, 0.6 * maturity)]);
        assert!((planned(1.0), planned(0.5)) == (0.0, 1.0) && planned(0.0) > 1e6);
        assert!(known(&[(Quantity::Maturity, 0.01), (Quantity::Points, 30.0)]) < 0.5, "a log of unknown length");
    }

    #[test]
    fn weights_say_what_they_are() {
        let weights = Weights::shipped();
        let (version, hash) = weights.id.split_once('-').expect("a version and a hash");
        assert!(!version.is_empty() && hash.len() == 8, "{}", weights.id);
        let misspelt = include_str!("belief/weights.json").replacen("\"progress\"", "\"progres\"", 1);
        let error = Weights::parse(&misspelt).expect_err("a name that does not exist");
        assert!(error.to_string().contains("no quantity and no symptom `progres`"), "{error}");
    }

    #[test]
    fn common_sense_is_monotone() {
        for (quantity, sign) in [("progress", -1.0), ("accuracy", -1.0), ("rise", 1.0), ("non_finite", 1.0)] {
            let term = Weights::shipped().failing.terms.iter().find(|term| term.quantity == quantity);
            let monotone = |term: &Term| term.log_odds.windows(2).all(|pair| sign * (pair[1] - pair[0]) >= -1e-9);
            assert!(term.is_none_or(monotone), "{quantity}");
        }
    }
}
