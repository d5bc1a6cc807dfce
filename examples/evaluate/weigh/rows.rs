//! What is seen of programs as rows of numbers: one column a knot of a term.
//!
//! Owns: columns, masking. Must not know: solvers.

use std::collections::{BTreeMap, HashMap};

use fastrand::Rng;
use nextrun::belief::{About, Term, unripe};
use nextrun::evidence::QUANTITIES;
use nextrun::symptoms::ids;

use super::expert::{Expert, Group};
use super::seen::{Glance, Seen};
use crate::random::labels::{Class, Label};
use crate::random::record::Record;

/// A program with what is seen of it.
pub(super) struct Program<'a> {
    pub(super) seed: u64,
    pub(super) held_back: bool,
    pub(super) label: &'a Label,
    pub(super) looks: &'a [Glance],
}

impl Program<'_> {
    /// Whether it fails; none where that is neither true nor false.
    pub(super) fn fails(&self) -> Option<bool> {
        match self.label.class {
            Class::Failing => Some(true),
            Class::Healthy => Some(false),
            Class::Grey | Class::NoSignal => None,
        }
    }
}

/// Every record with what is seen of it.
pub(super) fn programs<'a>(records: &'a BTreeMap<u64, Record>, seen: &'a BTreeMap<u64, Seen>) -> Vec<Program<'a>> {
    let program = |(seed, record): (&u64, &'a Record)| {
        let looks = &seen.get(seed)?.looks;
        Some(Program { seed: *seed, held_back: record.held_back.any(), label: &record.label, looks })
    };
    records.iter().filter_map(program).collect()
}

/// Columns that are not zero, with their numbers.
pub(super) type Features = Vec<(usize, f64)>;

/// One row of a fit.
pub(super) struct Row {
    pub(super) features: Features,
    /// What is to be foretold.
    pub(super) holds: bool,
    pub(super) weight: f64,
}

/// Which columns belong to which term.
pub(super) struct Layout {
    terms: Vec<(Term, usize)>,
    groups: Vec<Option<Group>>,
    of_quantity: HashMap<usize, usize>,
    of_symptom: HashMap<usize, usize>,
    /// The number of columns; the one behind them is the intercept.
    pub(super) width: usize,
}

impl Layout {
    pub(super) fn new(experts: &[Expert]) -> anyhow::Result<Layout> {
        let mut layout = Layout {
            terms: Vec::new(),
            groups: experts.iter().map(|expert| expert.group).collect(),
            of_quantity: HashMap::new(),
            of_symptom: HashMap::new(),
            width: 0,
        };
        for (at, expert) in experts.iter().enumerate() {
            let term = expert.term(expert.expert.clone())?;
            match term.about {
                About::Quantity(quantity) => {
                    let place = QUANTITIES.iter().position(|known| *known == quantity);
                    layout.of_quantity.extend(place.map(|place| (place, at)));
                }
                About::Symptom(id) => layout.of_symptom.extend(ids().position(|known| known == id).map(|p| (p, at))),
                About::Nothing | About::Sum => {}
            }
            let columns = term.knots.len();
            layout.terms.push((term, layout.width));
            layout.width += columns;
        }
        Ok(layout)
    }

    /// The terms with fitted weights, each times a slope, to a thousandth, without those that say nothing.
    pub(super) fn terms(&self, weights: &[f64], slope: f64) -> Vec<Term> {
        let fitted = |(term, begin): &(Term, usize)| {
            let log_odds = weights[*begin..begin + term.knots.len()].iter().map(|w| rounded(slope * w)).collect();
            Term { log_odds, ..term.clone() }
        };
        let says = |term: &Term| term.log_odds.iter().any(|log_odds| log_odds.abs() >= LEAST);
        self.terms.iter().map(fitted).filter(says).collect()
    }

    /// The first column of each term.
    pub(super) fn begins(&self) -> impl Iterator<Item = usize> {
        self.terms.iter().map(|(_, begin)| *begin)
    }

    /// The columns of a look, with those groups left out.
    pub(super) fn features(&self, glance: &Glance, masked: &[Group]) -> Features {
        let mut features = Features::new();
        let unripe = unripe(|quantity| {
            let known = glance.quantities.iter().find(|(place, ..)| QUANTITIES[*place] == quantity);
            known.map(|(_, value, _)| f64::from(*value))
        });
        let mut add = |at: usize, value: f64, error: f64| {
            let (term, begin) = &self.terms[at];
            if self.groups[at].is_none_or(|group| !masked.contains(&group)) {
                let error = term.foreseen(error, unripe);
                features.extend(term.shares(value, error).map(|(knot, share)| (begin + knot, share)));
            }
        };
        for (place, value, error) in &glance.quantities {
            if let Some(at) = self.of_quantity.get(place) {
                add(*at, f64::from(*value), f64::from(*error));
            }
        }
        for (place, at) in &self.of_symptom {
            let found = glance.symptoms.iter().find(|(known, _)| known == place);
            add(*at, found.map_or(0.0, |(_, severity)| *severity), 0.0);
        }
        features.retain(|(_, share)| *share != 0.0);
        features.sort_by_key(|(column, _)| *column);
        features
    }

    /// What a model without calibration adds to the log-odds.
    pub(super) fn sum(&self, glance: &Glance, weights: &[f64]) -> f64 {
        self.features(glance, &[]).iter().map(|(column, share)| weights[*column] * share).sum()
    }
}

/// A term with less is left out.
const LEAST: f64 = 0.03;

/// A number as it stands in the file.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0 + 0.0
}

/// The groups that are masked in a program's second copy: each in every second program.
pub(super) fn masked(seed: u64) -> Vec<Group> {
    let mut rng = Rng::with_seed(seed ^ 0x3a5c);
    Group::ALL.into_iter().filter(|_| rng.bool()).collect()
}
