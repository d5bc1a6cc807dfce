//! What a program is, by what its alternatives reach: does it fail, and which single change would cure it?
//!
//! Owns: what was reached, as it is kept, and the label that follows from it. Must not know: which alternatives there are,
//! what was logged.
//!
//! A label is worked out from what is kept, so that its bounds can be changed without training anything again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// It gets less than half of what can be got and is worse than ordinary settings, or loses what it had, or is not finite.
    Failing,
    /// It gets at least four fifths of what can be got.
    Healthy,
    /// Between: not as good as it could be, but no worse than others.
    Grey,
    /// There is nothing to be learned from these data.
    NoSignal,
}

impl Class {
    /// Its name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Class::Failing => "failing",
            Class::Healthy => "healthy",
            Class::Grey => "grey",
            Class::NoSignal => "without signal",
        }
    }
}

/// What counts at the end of a run; none where it is not finite.
pub(crate) type End = Option<f64>;

/// A number as an end.
pub(super) fn finite(value: f64) -> End {
    value.is_finite().then_some(value)
}

/// What a program and its alternatives reached. What counts is the less the better: a squared error of standardised
/// targets, a cross entropy at the best temperature, or minus a reward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reached {
    /// Whether targets depend on inputs at all, by how they were made.
    pub(super) signal: bool,
    /// What gains are shares of.
    pub(super) scale: f64,
    /// What the best constant gets, or a random policy.
    pub(super) constant: f64,
    /// The best that any run reached.
    pub(super) best: f64,
    /// What counted at each validation of the program's own run; the first is before any step.
    pub(super) validations: Vec<End>,
    /// The validation loss at each of them, as the program computes it.
    pub(super) losses: Vec<End>,
    /// Its own ends, by seed.
    pub(super) ends: Vec<End>,
    /// The ends of ordinary settings; none were tried for a program that does well.
    pub(super) ordinary: Vec<End>,
    /// The ends of each single change, by seed.
    pub(super) changes: BTreeMap<String, Vec<End>>,
    /// Those of pairs, where no single change cures.
    pub(super) pairs: Vec<([String; 2], Vec<End>)>,
    /// Optimizer steps that were trained for this.
    pub(super) steps_trained: usize,
}

/// The label of a program.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Label {
    /// What it is.
    pub(crate) class: Class,
    /// (what counts at the end - best reachable) / (best constant - best reachable), at most [`MOST_EXCESS`]; none where
    /// there is no signal.
    pub(crate) excess: Option<f64>,
    /// Whether it failed by losing what it had gained.
    pub(crate) overfitting: bool,
    /// Single changes that cure, or pairs where no single one does.
    pub(crate) cures: Vec<Vec<String>>,
    /// The excess with each single change, at the program's own seed.
    pub(crate) tried: BTreeMap<String, f64>,
    /// Whether only more steps cure.
    pub(crate) too_few_steps: bool,
}

/// An excess is cut off here.
const MOST_EXCESS: f64 = 3.0;
/// Below this excess a program is healthy, and a change cures.
pub(super) const HEALTHY: f64 = 0.2;
/// Above this excess it may be failing.
const FAILING: f64 = 0.5;
/// The boundaries near which more seeds decide.
pub(super) const WATCHED: [f64; 2] = [HEALTHY, FAILING];
/// Where the best that is reached gains less than this share of the best constant's loss, there is no signal.
const LEAST_GAIN: f64 = 0.05;
/// Share of the own best gain that may be lost.
const LOST: f64 = 0.5;
/// A gain that is a smaller share of what can be got is chance.
const LEAST_OWN_GAIN: f64 = 0.3;
/// A validation loss that rises by a smaller share shows nobody that anything was lost.
const LEAST_RISE: f64 = 0.05;
/// So many ordinary settings of eight may be worse than one that is failing.
const WORSE: usize = 1;
/// More steps are so many times as many.
pub(super) const MORE: usize = 3;

impl Reached {
    /// The share of what can be got that is not got by an end.
    pub(super) fn excess(&self, end: End) -> f64 {
        let gain = (self.constant - self.best).max(1e-12);
        end.map_or(MOST_EXCESS, |end| ((end - self.best) / gain).min(MOST_EXCESS))
    }

    /// Whether there is anything to be learned from the data.
    pub(super) fn has_signal(&self) -> bool {
        self.signal && self.constant - self.best >= LEAST_GAIN * self.scale
    }

    /// The excess of the program itself: the middle one of its seeds.
    pub(super) fn own_excess(&self) -> f64 {
        let mut all: Vec<f64> = self.ends.iter().map(|end| self.excess(*end)).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    }

    /// Whether it had learned, and has lost more than half of that again, in what counts and in its own validation loss.
    pub(super) fn lost_again(&self) -> bool {
        let (Some(Some(end)), Some(best)) = (self.validations.last(), lowest(&self.validations)) else { return false };
        let start = self.validations[0].unwrap_or(f64::INFINITY).min(self.constant);
        let gained = self.constant - best.min(start);
        if gained < LEAST_OWN_GAIN * (self.constant - self.best) || end - best <= LOST * gained {
            return false;
        }
        let (Some(Some(end)), Some(best)) = (self.losses.last(), lowest(&self.losses)) else { return true };
        end - best > LEAST_RISE * best.abs()
    }

    /// Whether a change cures, by its ends: at two seeds of three.
    pub(super) fn cured(&self, ends: &[End]) -> bool {
        ends.iter().filter(|end| self.excess(**end) < HEALTHY).count() >= 2
    }
}

fn lowest(values: &[End]) -> Option<f64> {
    values.iter().flatten().copied().reduce(f64::min)
}

impl Label {
    /// What a program is, by what was reached.
    pub(super) fn of(reached: &Reached) -> Label {
        let finite = reached.ends[0].is_some();
        let mut label = Label {
            class: if finite { Class::NoSignal } else { Class::Failing },
            excess: None,
            overfitting: false,
            cures: Vec::new(),
            tried: reached.changes.iter().map(|(name, ends)| (name.clone(), reached.excess(ends[0]))).collect(),
            too_few_steps: false,
        };
        if !reached.has_signal() {
            return label;
        }
        let excess = reached.own_excess();
        let worse = reached.ordinary.iter().filter(|end| reached.excess(**end) > excess).count();
        label.overfitting = finite && excess > HEALTHY && reached.lost_again();
        let bad = excess > FAILING && worse <= WORSE;
        label.class = match excess {
            _ if !finite || bad || label.overfitting => Class::Failing,
            excess if excess < HEALTHY => Class::Healthy,
            _ => Class::Grey,
        };
        label.excess = Some(excess);
        let singles = reached.changes.iter().filter(|(_, ends)| reached.cured(ends));
        label.cures = singles.map(|(name, _)| vec![name.clone()]).collect();
        if label.cures.is_empty() {
            let pairs = reached.pairs.iter().filter(|(_, ends)| reached.cured(ends));
            label.cures = pairs.map(|(names, _)| names.to_vec()).collect();
        }
        label.too_few_steps = label.cures.len() == 1 && label.cures[0] == [format!("max_steps*{MORE}")];
        label
    }

    /// Whether what a change undoes is a cause of the failure: the change cures, alone or with another. Where nothing that
    /// was tried cures, several things are wrong at once: each bug of the program is one of them, and so is a setting
    /// whose change alone makes it fail no more.
    pub(crate) fn is_due_to(&self, change: &str) -> bool {
        if self.cures.is_empty() {
            return self.tried.get(change).is_some_and(|excess| change.starts_with("undo:") || *excess < FAILING);
        }
        self.cures.iter().flatten().any(|part| part == change)
    }

    /// Whether a single change cures.
    pub(crate) fn cured_by(&self, change: &str) -> bool {
        self.cures.iter().any(|cure| cure.len() == 1 && cure[0] == change)
    }

    /// Whether one of these changes cures it alone.
    pub(crate) fn cured_by_any(&self, changes: &[&str]) -> bool {
        changes.iter().any(|change| self.cured_by(change))
    }
}
