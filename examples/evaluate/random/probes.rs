//! Quiet probes on random programs: how likely each outcome is, what probes cost, and what they add to detection.
//!
//! Owns: the looks with probes, and the table of likelihoods. Must not know: how a probe is chosen, labels' formulas.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nextrun::case::{Case, RunSuggested};
use nextrun::diagnosis::{Exam, Memory, Probes, Site, exam};
use nextrun::evidence::Quantity;
use nextrun::facts::measure as facts_of;
use nextrun::jobs::group;
use nextrun::probe::{Ground, Likelihood, Likelihoods, Outcome, Row, TESTS, Table, choice, read};
use nextrun::series::Runs;

use super::data::TaskData;
use super::desk::{Desk, trained};
use super::labels::Class;
use super::looks::walk;
use super::measure::{Figure, SETS};
use super::record::Record;
use crate::parallel;

/// The shares of a job's time that its probes may take, for which figures are made.
const SHARES: [f64; 3] = [0.1, 0.3, 1.0];

/// The lengths of probes whose outcomes are counted, as shares of the steps of their jobs: what the budgets plan.
const LENGTHS: [f64; 3] = [0.08, 0.24, 0.8];

/// The last look at which a program that fails is in doubt for the second time running, or the last one of a healthy one:
/// so few of those are in doubt that they say little. The share of its steps, and the look.
fn judged(record: &Record, site: &Site) -> Option<(f64, Exam)> {
    let (mut before, mut last) = (false, None);
    let healthy = record.label.class == Class::Healthy;
    walk(record, site, |_, exam, moment| {
        let Some(seen) = exam else { return };
        let doubtful = seen.is_doubtful();
        if doubtful && before || healthy && moment.ended {
            last = Some((moment.share, seen));
        }
        before = doubtful;
    });
    last
}

/// How each probe comes out that a program's budget pays for once it is in doubt.
fn outcomes(record: &Record, site: &Site, part: f64) -> Option<BTreeMap<&'static str, Outcome>> {
    let (share, baseline) = judged(record, site).filter(|(_, seen)| seen.view.kind().is_judged_by_loss())?;
    let updates = share * record.program.settings.steps as f64;
    let none = BTreeSet::new();
    let ground = Ground {
        job: &baseline.facts,
        knobs: None,
        missing: &none,
        made: &[],
        log_odds: 0.0,
        share: part,
        steps: Some(part * updates),
        points: part * baseline.evidence.get(Quantity::Points).unwrap_or(0.0),
        alarm: None,
    };
    let telling = |failing, healthy| Likelihood { failing, healthy };
    let telling = [telling(0.8, 0.1), telling(0.1, 0.1), telling(0.1, 0.8)];
    let of_any: Likelihoods = Outcome::ALL.into_iter().zip(telling).collect();
    let tests = TESTS.iter().map(|test| (test.name.to_owned(), of_any.clone())).collect();
    let table = Table { rows: vec![Row { share: part, tests, ..Row::default() }] };
    let data = TaskData::new(&record.program.task, record.program.seed);
    let mut came = BTreeMap::new();
    for made in TESTS.iter().filter_map(|test| choice(test, &ground, &table)) {
        let wanted =
            RunSuggested { overrides: made.changes.clone(), run_name: "probe".to_owned(), ..RunSuggested::default() };
        let Ok(log) = trained(record, &data, &wanted, 0.0) else { continue };
        let mut runs = Runs::new();
        log.grow(&mut runs, &mut 0.0, 1.0);
        let jobs = group(&runs, &BTreeSet::new());
        let Some(job) = jobs.first() else { continue };
        let now = log.time_at(1.0);
        let seen = exam(job, site, &Memory::only_look(job, now), now);
        let facts = facts_of(seen.looked(), Some(baseline.looked()));
        came.insert(made.test.name, read(&facts, made.target));
    }
    Some(came)
}

/// How likely each outcome of each probe of this length is, from programs that may be fitted on.
fn row(records: &BTreeMap<u64, Record>, site: &Site, part: f64) -> Row {
    let sure = |record: &&Record| matches!(record.label.class, Class::Failing | Class::Healthy);
    let records: Vec<&Record> = records.values().filter(|r| !r.held_back.any()).filter(sure).collect();
    let came = parallel::map(&records, |record| outcomes(record, site, part));
    let of = |class: Class| records.iter().zip(&came).filter(move |(record, _)| record.label.class == class);
    let doubtful = |class| of(class).filter(|(_, came)| came.is_some()).count();
    let probed = |class| of(class).filter(|(_, came)| came.as_ref().is_some_and(|came| !came.is_empty())).count();
    let mut tests = BTreeMap::new();
    for test in TESTS {
        let share = |class: Class, outcome: Outcome| {
            let of_test: Vec<Outcome> =
                of(class).filter_map(|(_, came)| came.as_ref()?.get(test.name).copied()).collect();
            let hits = of_test.iter().filter(|came| **came == outcome).count() as f64;
            // One more of each: what was not seen yet may still come.
            let p = (hits + 1.0) / (of_test.len() as f64 + Outcome::ALL.len() as f64);
            (p * 1000.0).round() / 1000.0
        };
        let likelihood = |outcome| {
            let (failing, healthy) = (share(Class::Failing, outcome), share(Class::Healthy, outcome));
            (outcome, Likelihood { failing, healthy })
        };
        tests.insert(test.name.to_owned(), Outcome::ALL.into_iter().map(likelihood).collect::<Likelihoods>());
    }
    let source = format!(
        "random programs that are not held back: {} failing ones of {} that were in doubt, and {} healthy ones of {}, logged \
         enough for a probe of {:.0} % of their steps",
        probed(Class::Failing),
        doubtful(Class::Failing),
        probed(Class::Healthy),
        doubtful(Class::Healthy),
        100.0 * part
    );
    Row { source, share: part, tests }
}

/// How likely each outcome of each probe is, from programs that may be fitted on.
pub(super) fn table(records: &BTreeMap<u64, Record>, site: &Site) -> Table {
    Table { rows: LENGTHS.map(|part| row(records, site, part)).to_vec() }
}

/// What became of one program.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// People were told of it.
    told: bool,
    /// Probes that were trained.
    probes: usize,
    /// Their steps, as a share of the program's own.
    cost: f64,
    /// It was in doubt at its end, and nothing was settled.
    open: bool,
}

/// Watches a program from its beginning to its end, and carries out its probes; each takes its time beside the job.
fn watch(record: &Record, site: &Site) -> Seen {
    let mut desk = Desk::new(record, site);
    desk.watch(|desk| {
        while let Some(message) = desk.owed.pop().filter(|_| !desk.told) {
            desk.carry_out(&message);
        }
        !desk.told
    });
    let unsettled = |case: &Case| case.is_quiet() && case.closed.as_ref().is_none_or(|end| end.verdict != "healthy");
    let open = desk.diagnosis.cases().any(unsettled);
    Seen { told: desk.told, probes: desk.trained, cost: desk.cost, open }
}

/// What probes add to detection, and what they cost.
pub(super) fn figures(records: &BTreeMap<u64, Record>, site: &Site) -> Vec<Figure> {
    let with =
        |share: f64| Site { probes: Some(Probes { is_for: Arc::new(|_| true), share, audit: 0.0 }), ..site.clone() };
    let probed = SHARES.map(|share| (format!("probes within {:.0} % of a job's time", 100.0 * share), with(share)));
    let sites: Vec<(String, Site)> = [("without probes".to_owned(), site.clone())].into_iter().chain(probed).collect();
    let records: Vec<&Record> = records.values().collect();
    let mut figures = Vec::new();
    for (name, site) in &sites {
        let seen = parallel::map(&records, |record| watch(record, site));
        for (held_back, set) in SETS {
            for class in [Class::Failing, Class::Healthy, Class::Grey] {
                let all = records.iter().zip(&seen);
                let of: Vec<&Seen> = all
                    .filter(|(record, _)| record.held_back.any() == held_back && record.label.class == class)
                    .map(|(_, seen)| seen)
                    .collect();
                let count = of.len();
                let mean = |what: &dyn Fn(&Seen) -> f64| of.iter().map(|seen| what(seen)).sum::<f64>() / count as f64;
                let share = |holds: &dyn Fn(&Seen) -> bool| mean(&|seen| f64::from(u8::from(holds(seen))));
                let word = class.word();
                let mut add = |column: String, value: f64| {
                    let (table, set) = ("probes".to_owned(), set.to_owned());
                    figures.push(Figure { table, set, row: name.clone(), column, value, of: count });
                };
                add(format!("{word}: people told, ever"), share(&|seen| seen.told));
                add(format!("{word}: probed"), share(&|seen| seen.probes > 0));
                add(format!("{word}: probed, not settled"), share(&|seen| seen.open && !seen.told && seen.probes > 0));
                add(format!("{word}: cost of probes in runs (mean over all)"), mean(&|seen| seen.cost));
            }
        }
    }
    figures.retain(|figure| figure.of > 0);
    figures
}
