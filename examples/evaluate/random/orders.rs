//! The closed loop by two orders of the same tests: as the published sequence lists them, and by what each is expected to
//! tell for its cost.
//!
//! Owns: which policies are compared, and the figures. Must not know: how a loop is run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nextrun::diagnosis::{Choice, Site};
use nextrun::policy::Policy;

use super::closed::{Outcome, investigate, meant, right};
use super::labels::{Class, Label};
use super::measure::{Figure, Figures, SETS};
use super::record::Record;
use crate::lab;
use crate::parallel;

/// The policies: name, and what to call its order.
const ORDERS: [(&str, &str); 2] = [("article", "article: as listed"), ("quick", "quick: by information")];

/// Tests that name no cause, and causes that their outcomes may speak for.
const TELLING: [&str; 6] = [
    "overfit_one_point",
    "all_tips",
    "one_point_lower_rate",
    "one_point_higher_rate",
    "memorise_a_batch",
    "memorise_with_tips",
];
const CAUSES: [&str; 6] = [
    "data_pipeline",
    "learning_rate_too_low",
    "learning_rate_too_high",
    "loss_function",
    "weights_do_not_change",
    "bad_initialization",
];

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
            if policy == ORDERS[0].0 {
                outcomes_by_cause(&mut figures, set, &opened);
            }
        }
    }
    Ok(figures.shown())
}

/// How often each outcome of a test without a cause comes, among all cases and among those that a cause's change cures.
fn outcomes_by_cause(figures: &mut Figures, set: &str, cases: &[(&Label, &Outcome)]) {
    let outcome_of = |test: &str, outcome: &Outcome| {
        let line = outcome.tests.iter().find(|line| line.split(' ').next() == Some(test))?;
        line.split(' ').nth(1).map(str::to_owned)
    };
    for test in TELLING {
        let made: Vec<(&Label, String)> =
            cases.iter().filter_map(|(label, outcome)| Some((*label, outcome_of(test, outcome)?))).collect();
        for name in made.iter().map(|(_, name)| name).collect::<BTreeSet<_>>() {
            let mut share = |column: &str, of: &dyn Fn(&Label) -> bool| {
                let of: Vec<&String> = made.iter().filter(|(label, _)| of(label)).map(|(_, name)| name).collect();
                let hits = of.iter().filter(|other| **other == name).count() as f64;
                figures.number(
                    ("outcomes", set),
                    (&format!("{test}: {name}"), column),
                    hits / of.len() as f64,
                    of.len(),
                );
            };
            share("all cases", &|_| true);
            for cause in CAUSES {
                share(cause, &|label| meant(label).any(|verdict| verdict == cause));
            }
        }
    }
}
