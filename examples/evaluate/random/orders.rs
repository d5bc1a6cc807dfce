//! The closed loop by two orders of the same tests: as the published sequence lists them, and by what each is expected to
//! tell for its cost.
//!
//! Owns: which policies are compared, and the figures. Must not know: how a loop is run.

use std::collections::BTreeMap;
use std::sync::Arc;

use nextrun::diagnosis::{Choice, Site};
use nextrun::policy::Policy;

use super::closed::{Outcome, investigate, right};
use super::labels::{Class, Label};
use super::measure::{Figure, Figures, SETS};
use super::record::Record;
use crate::lab;
use crate::parallel;

/// The policies: name, and what to call its order.
const ORDERS: [(&str, &str); 2] = [("article", "article: as listed"), ("quick", "quick: by information")];

/// Whether each walk is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walks {
    /// They are.
    Printed,
    /// Only figures are wanted.
    Counted,
}

/// A site on which every job gets one policy.
pub(super) fn site_with(site: &Site, policy: Policy) -> Site {
    let policies = vec![Choice { policy: Arc::new(policy), is_for: Arc::new(|_, _| true) }];
    Site { policies, ..site.clone() }
}

/// One line for each failing program with a case: what cures it, what the loop did by one order, and what it concluded.
pub(super) fn walk(record: &Record, policy: &str, outcome: &Outcome) -> String {
    let cures: Vec<String> = record.label.cures.iter().map(|cure| cure.join(" and ")).collect();
    let bugs: Vec<&str> = record.program.bugs.iter().map(|bug| bug.name()).collect();
    format!(
        "{} {policy}: bugs [{}], cures [{}], tests [{}], {} ({:.2}), {}",
        record.name(),
        bugs.join(", "),
        cures.join(", "),
        outcome.tests.join(", "),
        outcome.verdict.as_deref().unwrap_or("no verdict"),
        outcome.confidence,
        if right(outcome, &record.label) { "right" } else { "wrong" },
    )
}

/// Runs the loop on every failing program of the kinds that both policies are for, once for each order.
///
/// # Errors
/// When a built-in policy cannot be used.
pub(super) fn figures(records: &BTreeMap<u64, Record>, site: &Site, walks: Walks) -> anyhow::Result<Vec<Figure>> {
    let failing = |record: &&Record| record.label.class == Class::Failing && !record.program.task.family.rewards();
    let failing: Vec<&Record> = records.values().filter(failing).collect();
    let mut figures = Figures::default();
    for (policy, row) in ORDERS {
        let site = site_with(site, lab::policy(policy)?);
        let outcomes = parallel::map(&failing, |record| investigate(record, &site));
        if walks == Walks::Printed {
            let with_case = failing.iter().zip(&outcomes).filter(|(_, outcome)| outcome.opened);
            with_case.for_each(|(record, outcome)| println!("{}", walk(record, policy, outcome)));
        }
        for (held_back, set) in SETS {
            let of_set = failing.iter().zip(&outcomes).filter(|(record, _)| record.held_back.any() == held_back);
            let opened: Vec<(&Label, &Outcome)> = of_set
                .map(|(record, outcome)| (&record.label, outcome))
                .filter(|(_, outcome)| outcome.opened)
                .collect();
            let count = opened.len();
            let share = |holds: &dyn Fn(&Label, &Outcome) -> bool| {
                opened.iter().filter(|(label, outcome)| holds(label, outcome)).count() as f64 / count as f64
            };
            let mean = |of: fn(&Outcome) -> f64| opened.iter().map(|(_, o)| of(o)).sum::<f64>() / count as f64;
            let inconclusive = |outcome: &Outcome| outcome.verdict.as_deref() == Some("inconclusive");
            let named = |label: &Label, outcome: &Outcome| !inconclusive(outcome) && right(outcome, label);
            let wrong = |label: &Label, outcome: &Outcome| !inconclusive(outcome) && !right(outcome, label);
            let place = ("orders", set);
            figures.number(place, (row, "cases: right cause"), share(&named), count);
            figures.number(place, (row, "cases: wrong cause"), share(&wrong), count);
            figures.number(place, (row, "cases: inconclusive"), share(&|_, o| inconclusive(o)), count);
            figures.number(place, (row, "experiments a case (mean)"), mean(|o| o.experiments as f64), count);
            figures.number(place, (row, "cost in runs a case (mean)"), mean(|o| o.cost), count);
        }
    }
    Ok(figures.shown())
}
