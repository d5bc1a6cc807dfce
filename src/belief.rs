//! The probability that a job fails, and that a change fixes it: an additive model over the evidence.
//!
//! Owns: the interpretation of weights, the breakdown, the prior, the status. Must not know: how weights were fitted,
//! I/O.
//!
//! The weights are data (`belief/weights.json`): chosen by an expert and refined on random programs whose faults are
//! known from what fixes them (docs/EVALUATION.md). The log-odds of the prior and of all terms add up to those of the
//! probability, so that each can be recomputed by hand.

mod breakdown;
mod weights;

use serde::Serialize;

use crate::evidence::{Evidence, Measured, QUANTITIES, Quantity};
use crate::symptoms::{ALL, Finding, Severity};

pub use breakdown::{Breakdown, Reason};
pub use weights::{Calibration, Model, Term, Weights};

/// The contribution of one quantity to the log-odds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Contribution {
    /// The quantity; `intercept` for the model's constant term.
    pub quantity: &'static str,
    /// Its value.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
    /// Its contribution.
    pub log_odds: f64,
}

/// A probability, with the evidence for and against it.
#[derive(Debug, Clone, PartialEq)]
pub struct Belief {
    /// The probability.
    pub probability: f64,
    /// The probability before any evidence.
    pub prior: f64,
    /// The contributions of the evidence, strongest first.
    pub terms: Vec<Contribution>,
}

impl Belief {
    /// The log-odds that the evidence adds to the prior: the logarithm of the likelihood ratio.
    pub fn evidence(&self) -> f64 {
        self.terms.iter().map(|term| term.log_odds).sum()
    }

    /// The same with additional terms from independent evidence.
    pub fn and(mut self, terms: &[Contribution]) -> Belief {
        self.terms.extend_from_slice(terms);
        self.terms.sort_by(|a, b| b.log_odds.abs().total_cmp(&a.log_odds.abs()).then(a.quantity.cmp(b.quantity)));
        Belief { probability: probability(log_odds(self.prior) + self.evidence()), ..self }
    }

    /// The evidence for it, strongest first.
    pub fn speaks_for(&self) -> impl Iterator<Item = &Contribution> {
        self.terms.iter().filter(|term| term.log_odds > 0.0)
    }

    /// The evidence against it, strongest first.
    pub fn speaks_against(&self) -> impl Iterator<Item = &Contribution> {
        self.terms.iter().filter(|term| term.log_odds < 0.0)
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
    /// Adds up what each known quantity says.
    pub fn believe(&self, evidence: &Evidence, findings: &[Finding], prior: f64) -> Belief {
        let points = evidence.get(Quantity::Points).unwrap_or(0.0);
        let calibration = self.calibration_for(points);
        let mut terms: Vec<Contribution> =
            self.terms.iter().filter_map(|term| term.contribution(evidence, findings)).collect();
        terms.iter_mut().for_each(|term| term.log_odds *= calibration.slope);
        if calibration.offset != 0.0 {
            let offset = calibration.offset;
            terms.push(Contribution { quantity: "intercept", value: points, error: 0.0, log_odds: offset });
        }
        terms.sort_by(|a, b| b.log_odds.abs().total_cmp(&a.log_odds.abs()).then(a.quantity.cmp(b.quantity)));
        let sum: f64 = terms.iter().map(|term| term.log_odds).sum();
        Belief { probability: probability(log_odds(prior) + sum), prior, terms }
    }
}

impl Term {
    /// The contribution of the quantity: its log-odds, reduced by its error. An error as large as the usual spread of
    /// the quantity halves them.
    fn contribution(&self, evidence: &Evidence, findings: &[Finding]) -> Option<Contribution> {
        if let Some(symptom) = ALL.iter().find(|symptom| symptom.id == self.quantity) {
            // A rule joins quantities that say little alone: 1 for a warning, 2 for a problem.
            let found = findings.iter().find(|finding| finding.symptom == symptom.id);
            let value = found.map_or(0.0, |finding| if finding.severity == Severity::Problem { 2.0 } else { 1.0 });
            let log_odds = self.at(value);
            return (log_odds != 0.0).then_some(Contribution { quantity: symptom.id, value, error: 0.0, log_odds });
        }
        let quantity = QUANTITIES.iter().copied().find(|quantity| quantity.id() == self.quantity)?;
        let measured = evidence.measured(quantity)?;
        let log_odds = self.of(measured);
        let Measured { value, error, .. } = measured;
        (log_odds != 0.0).then_some(Contribution { quantity: quantity.id(), value, error, log_odds })
    }

    /// The log-odds of a measured value.
    pub fn of(&self, measured: Measured) -> f64 {
        let spread = self.spread * self.spread;
        let trust = spread / (spread + measured.error * measured.error);
        trust * self.at(measured.value)
    }

    /// The log-odds of an exact value: linear between the knots, constant beyond them.
    fn at(&self, value: f64) -> f64 {
        let next = self.knots.partition_point(|knot| *knot <= value);
        match (next.checked_sub(1), self.knots.get(next)) {
            (Some(before), Some(knot)) => {
                let share = (value - self.knots[before]) / (knot - self.knots[before]);
                self.log_odds[before] + share * (self.log_odds[next] - self.log_odds[before])
            }
            (None, _) => self.log_odds[0],
            (Some(last), None) => self.log_odds[last],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            let sum: f64 = belief.speaks_for().chain(belief.speaks_against()).map(|term| term.log_odds).sum();
            assert!((log_odds(belief.probability) - log_odds(belief.prior) - sum).abs() < 1e-9);
        }
    }

    #[test]
    fn a_loss_that_stands_still_speaks_for_failing_and_one_that_falls_against() {
        assert!(failing(&stuck(), 0.05).evidence() > 1.0);
        assert!(failing(&falls(), 0.05).evidence() < -1.0);
    }

    #[test]
    fn the_prior_is_the_probability_without_evidence_and_moves_it_with_evidence() {
        let at = |prior| failing(&stuck(), prior);
        assert!(at(0.01).probability < at(0.5).probability);
        assert!((at(0.01).evidence() - at(0.5).evidence()).abs() < 1e-9);
    }

    #[test]
    fn an_uncertain_quantity_says_less() {
        let term = Term { quantity: "progress".into(), spread: 0.1, knots: vec![0.0, 1.0], log_odds: vec![2.0, -2.0] };
        let measured = |error| {
            let mut measured = stuck().measured(Quantity::Progress).expect("it is measured");
            measured.error = error;
            measured
        };
        assert!(term.of(measured(0.0)) > 1.9 && term.of(measured(0.1)) < 1.1 && term.of(measured(10.0)) < 0.01);
    }

    #[test]
    fn weights_say_what_they_are() {
        let weights = Weights::shipped();
        let (version, hash) = weights.id.split_once('-').expect("a version and a hash");
        assert!(!version.is_empty() && hash.len() == 8, "{}", weights.id);
        for term in weights.failing.terms.iter().chain(weights.cures.iter().flat_map(|(_, model)| &model.terms)) {
            let known = QUANTITIES.iter().any(|quantity| quantity.id() == term.quantity);
            assert!(known || ALL.iter().any(|symptom| symptom.id == term.quantity), "{}", term.quantity);
            assert!(term.knots.windows(2).all(|pair| pair[0] < pair[1]), "{}", term.quantity);
            assert_eq!(term.knots.len(), term.log_odds.len());
        }
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
