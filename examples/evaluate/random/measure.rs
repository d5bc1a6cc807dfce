//! How good judgement is on random programs.
//!
//! Owns: which figures there are, and their formulas. Must not know: how they are shown.

use std::collections::{BTreeMap, BTreeSet};

use nextrun::diagnosis::Site;
use serde::{Deserialize, Serialize};

use super::alternatives::labels_of;
use super::closed::{Outcome, investigate, right};
use super::labels::{Class, HEALTHY, Label};
use super::looks::{Said, look, places, until};
use super::orders::{Walks, walk};
use super::record::Record;
use crate::figures::Share;
use crate::parallel;

/// One number, with what it is a number of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// The table that it stands in.
    pub(crate) table: String,
    /// The programs that it is about: `to fit on` or `held back`.
    pub(crate) set: String,
    /// What of them.
    pub(crate) row: String,
    /// What is measured.
    pub(crate) column: String,
    /// The number; a share lies between 0 and 1.
    pub(crate) value: f64,
    /// The number of programs that it rests on.
    pub(crate) of: usize,
}

impl Figure {
    /// The number for people.
    pub(super) fn shown(&self) -> String {
        if ["area", "score", "mean"].iter().any(|word| self.column.contains(word)) {
            return format!("{:.2} (of {})", self.value, self.of);
        }
        Share { hits: (self.value * self.of as f64).round(), of: self.of }.to_string()
    }
}

/// The two sets.
pub(crate) const SETS: [(bool, &str); 2] = [(true, "held back"), (false, "to fit on")];

/// False alarms over a lifetime that are allowed where a threshold may be chosen.
pub(crate) const ALLOWED: f64 = 0.03;

/// A program with what is said of it.
struct Judged<'a> {
    record: &'a Record,
    said: Said,
}

impl Judged<'_> {
    fn class(&self) -> Class {
        self.record.label.class
    }

    /// The score at the end.
    fn score(&self) -> f64 {
        self.said.looks.last().map_or(0.5, |look| look.score)
    }

    /// The highest score at which people hear of it: one that holds for two looks, or that of the end.
    fn highest(&self) -> f64 {
        let looks = &self.said.looks;
        let held = looks.windows(2).map(|pair| pair[0].score.min(pair[1].score));
        held.chain([self.score()]).fold(0.0, f64::max)
    }

    fn failing_at_end(&self) -> bool {
        self.said.looks.last().is_some_and(|look| look.failing)
    }

    /// Whether the status is failing at any look.
    fn ever(&self) -> bool {
        self.within(self.said.looks.len())
    }

    /// Whether it is at any of the first so many looks.
    fn within(&self, looks: usize) -> bool {
        self.said.looks.iter().take(looks).any(|look| look.failing)
    }
}

/// Collects figures.
#[derive(Default)]
pub(super) struct Figures(Vec<Figure>);

impl Figures {
    /// Those that rest on anything.
    pub(super) fn shown(mut self) -> Vec<Figure> {
        self.0.retain(|figure| figure.of > 0);
        self.0
    }

    pub(super) fn number(&mut self, (table, set): (&str, &str), (row, column): (&str, &str), value: f64, of: usize) {
        let [table, set, row, column] = [table, set, row, column].map(str::to_owned);
        self.0.push(Figure { table, set, row, column, value, of });
    }

    fn share<'a>(
        &mut self,
        place: (&str, &str),
        cell: (&str, &str),
        programs: impl Iterator<Item = &'a Judged<'a>>,
        holds: impl Fn(&Judged<'_>) -> bool,
    ) {
        let (mut hits, mut of) = (0, 0);
        for judged in programs {
            of += 1;
            hits += usize::from(holds(judged));
        }
        self.number(place, cell, hits as f64 / of as f64, of);
    }
}

/// Looks at every program and counts.
pub(crate) fn measure(records: &BTreeMap<u64, Record>, site: &Site) -> Vec<Figure> {
    let records: Vec<&Record> = records.values().collect();
    let said = parallel::map(&records, |record| look(record, site));
    let all: Vec<Judged<'_>> = records.iter().zip(said).map(|(record, said)| Judged { record, said }).collect();
    let mut figures = Figures::default();
    for (held_back, set) in SETS {
        let of_set: Vec<&Judged<'_>> = all.iter().filter(|j| j.record.held_back.any() == held_back).collect();
        detection(&mut figures, set, &of_set);
        slices(&mut figures, set, &of_set);
        over_time(&mut figures, set, &of_set);
        reliability(&mut figures, set, &of_set);
        cures(&mut figures, set, &of_set);
        alike(&mut figures, set, &of_set);
    }
    figures.shown()
}

fn of<'a>(judged: &'a [&'a Judged<'a>], class: Class) -> impl Iterator<Item = &'a Judged<'a>> {
    judged.iter().copied().filter(move |judged| judged.class() == class)
}

fn detection(figures: &mut Figures, set: &str, judged: &[&Judged<'_>]) {
    let place = ("detection", set);
    for class in [Class::Failing, Class::Healthy, Class::Grey, Class::NoSignal] {
        let row = class.word();
        figures.share(place, (row, "status failing at the end"), of(judged, class), |j| j.failing_at_end());
        figures.share(place, (row, "status failing at any look"), of(judged, class), |j| j.ever());
        figures.share(place, (row, "case opened"), of(judged, class), |j| j.said.opened.is_some());
    }
    let failing: Vec<f64> = of(judged, Class::Failing).map(Judged::score).collect();
    let healthy: Vec<f64> = of(judged, Class::Healthy).map(Judged::score).collect();
    let count = failing.len().min(healthy.len());
    figures.number(
        place,
        ("failing against healthy", "area under the curve at the end"),
        area(&failing, &healthy),
        count,
    );
    let highest: Vec<f64> = of(judged, Class::Healthy).map(Judged::highest).collect();
    if let Some(bound) = threshold(&highest) {
        let cell = (Class::Failing.word(), "detected at any look, at 3 % false alarms over a lifetime");
        figures.share(place, cell, of(judged, Class::Failing), |j| j.highest() > bound);
    }
    let grey: Vec<(f64, f64)> =
        of(judged, Class::Grey).filter_map(|j| Some((j.score(), j.record.label.excess?))).collect();
    figures.number(
        place,
        (Class::Grey.word(), "rank correlation of score and excess"),
        rank_correlation(&grey),
        grey.len(),
    );
}

/// The score that at most [`ALLOWED`] of the healthy programs ever exceed; none where that would be the highest one.
fn threshold(highest: &[f64]) -> Option<f64> {
    let mut sorted = highest.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let bound = sorted.get((ALLOWED * sorted.len() as f64) as usize).copied()?;
    (bound < 1.0).then_some(bound)
}

/// The probability that one of the first scores higher than one of the second.
pub(crate) fn area(first: &[f64], second: &[f64]) -> f64 {
    let mut wins = 0.0;
    for a in first {
        for b in second {
            wins += if a > b {
                1.0
            } else if a == b {
                0.5
            } else {
                0.0
            };
        }
    }
    wins / (first.len() * second.len()) as f64
}

/// Spearman's coefficient, with mean ranks for equal values.
pub(super) fn rank_correlation(pairs: &[(f64, f64)]) -> f64 {
    let ranks = |of: fn(&(f64, f64)) -> f64| -> Vec<f64> {
        let values: Vec<f64> = pairs.iter().map(of).collect();
        let rank = |value: &f64| {
            let below = values.iter().filter(|other| *other < value).count() as f64;
            let equal = values.iter().filter(|other| *other == value).count() as f64;
            below + (equal - 1.0) / 2.0
        };
        values.iter().map(rank).collect()
    };
    let (a, b) = (ranks(|pair| pair.0), ranks(|pair| pair.1));
    let middle = (pairs.len() as f64 - 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum::<f64>();
    let scale = (product(&a, &a) * product(&b, &b)).sqrt();
    if scale > 0.0 { product(&a, &b) / scale } else { 0.0 }
}

/// The rows that a program counts in.
type Rows = fn(&Judged<'_>) -> Vec<String>;

/// Detection by how programs log, by what they learn, and by what is wrong with them.
fn slices(figures: &mut Figures, set: &str, judged: &[&Judged<'_>]) {
    let by: [(&str, Rows); 5] = [
        ("by logging style", |j| vec![word(&j.record.program.style.framework)]),
        ("by points of the loss", |j| vec![points(j.said.points).to_owned()]),
        ("by task", |j| vec![word(&j.record.program.task.family)]),
        ("by bug", |j| {
            let bugs = &j.record.program.bugs;
            if bugs.is_empty() { vec!["none".to_owned()] } else { bugs.iter().map(|b| b.name().to_owned()).collect() }
        }),
        ("by settings logged", |j| vec![if j.record.program.style.settings { "yes" } else { "no" }.to_owned()]),
    ];
    for (table, rows_of) in by {
        let rows: BTreeSet<String> = judged.iter().flat_map(|j| rows_of(j)).collect();
        for row in rows {
            let of_row: Vec<&Judged<'_>> = judged.iter().copied().filter(|j| rows_of(j).contains(&row)).collect();
            let place = (table, set);
            figures.share(place, (&row, "failing: detected at the end"), of(&of_row, Class::Failing), |j| {
                j.failing_at_end()
            });
            figures.share(place, (&row, "healthy: failing at any look"), of(&of_row, Class::Healthy), |j| j.ever());
        }
    }
}

/// The name of a unit variant.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}

fn points(count: usize) -> &'static str {
    match count {
        0 => "none",
        1..10 => "  1 to 9",
        10..20 => " 10 to 19",
        20..50 => " 20 to 49",
        50..200 => " 50 to 199",
        _ => "200 and more",
    }
}

/// The shares of a run of which the table by share tells.
const TOLD: [f64; 6] = [0.01, 0.1, 0.25, 0.5, 0.75, 1.0];

fn over_time(figures: &mut Figures, set: &str, judged: &[&Judged<'_>]) {
    for (share, ended) in places().filter(|(share, _)| TOLD.contains(share)) {
        let row = if ended { "ended".to_owned() } else { format!("{:3.0} %", 100.0 * share) };
        let looks = until(share) + usize::from(ended);
        let place = ("by share of the run", set);
        let now = |j: &Judged<'_>| j.said.looks.get(looks - 1).is_some_and(|look| look.failing);
        figures.share(place, (&row, "failing: detected at this look"), of(judged, Class::Failing), now);
        figures.share(place, (&row, "healthy: failing at this look"), of(judged, Class::Healthy), now);
        figures.share(place, (&row, "healthy: failing until then"), of(judged, Class::Healthy), |j| j.within(looks));
    }
}

/// The share of failing programs by probability, at looks that are spread over the run. A site where one job in twenty
/// fails has another prior than these programs: probabilities are those that their own share of failing ones gives.
fn reliability(figures: &mut Figures, set: &str, judged: &[&Judged<'_>]) {
    let mut bins: BTreeMap<usize, (f64, usize, usize)> = BTreeMap::new();
    let count = |class: Class| of(judged, class).count() as f64;
    let own_odds = count(Class::Failing) / count(Class::Healthy);
    let decided = |class: Class| matches!(class, Class::Failing | Class::Healthy);
    for judged in judged.iter().filter(|j| decided(j.class())) {
        let looks = &judged.said.looks;
        for look in [looks.get(until(0.25) - 1), looks.get(until(0.5) - 1), looks.last()].into_iter().flatten() {
            let odds = own_odds * (look.score / (1.0 - look.score)) / (look.prior / (1.0 - look.prior));
            let probability = if odds.is_finite() { odds / (1.0 + odds) } else { 1.0 };
            let bin = bins.entry((10.0 * probability).min(9.0) as usize).or_default();
            bin.0 += probability;
            bin.1 += usize::from(judged.class() == Class::Failing);
            bin.2 += 1;
        }
    }
    for (bin, (sum, failing, count)) in bins {
        let row = format!("{:.1} to {:.1}", bin as f64 / 10.0, (bin + 1) as f64 / 10.0);
        let place = ("reliability", set);
        figures.number(place, (&row, "probability (mean)"), sum / count as f64, count);
        figures.number(place, (&row, "failing"), failing as f64 / count as f64, count);
    }
}

/// Which single changes cure failing programs, and what one gets who knows nothing else.
fn cures(figures: &mut Figures, set: &str, judged: &[&Judged<'_>]) {
    let place = ("cures", set);
    let single = |j: &Judged<'_>, name: &str| j.record.label.cured_by(name);
    let names: BTreeSet<&String> = of(judged, Class::Failing)
        .flat_map(|j| j.record.label.cures.iter().filter(|cure| cure.len() == 1).flatten())
        .collect();
    let count = |name: &str| of(judged, Class::Failing).filter(|j| single(j, name)).count();
    for name in &names {
        figures.share(place, (name, "of failing programs cured"), of(judged, Class::Failing), |j| single(j, name));
    }
    let row = "all failing programs";
    let alone = |j: &Judged<'_>| j.record.label.cures.iter().any(|cure| cure.len() == 1);
    figures.share(place, (row, "cured by a single change"), of(judged, Class::Failing), alone);
    figures.share(place, (row, "cured by a pair only"), of(judged, Class::Failing), |j| {
        !alone(j) && !j.record.label.cures.is_empty()
    });
    figures.share(place, (row, "too few steps"), of(judged, Class::Failing), |j| j.record.label.too_few_steps);
    figures.share(place, (row, "cured: always lowers the rate"), of(judged, Class::Failing), |j| {
        j.record.label.cured_by_any(labels_of("learning_rate:lower"))
    });
    let settings = names.iter().filter(|name| !name.starts_with("undo:"));
    if let Some(most) = settings.max_by_key(|name| count(name)) {
        let column = format!("cured: always the most frequent cure ({most})");
        figures.share(place, (row, &column), of(judged, Class::Failing), |j| single(j, most));
    }
}

/// Changes of which several often cure the same program.
const ALIKE: [&str; 9] = [
    "learning_rate:lower",
    "learning_rate:higher",
    "lr_decay=1",
    "optimizer=adam",
    "batch_size:higher",
    "max_steps:higher",
    "activation=relu",
    "initializer=variance_scaling",
    "loss=l1",
];

/// Of the programs that one change cures, how many another cures, too.
fn alike(figures: &mut Figures, set: &str, judged: &[&Judged<'_>]) {
    let cured = |j: &Judged<'_>, change: &str| j.record.label.cured_by_any(labels_of(change));
    for row in ALIKE {
        for column in ALIKE.into_iter().filter(|column| *column != row) {
            let programs = of(judged, Class::Failing).filter(|j| cured(j, row));
            figures.share(("alike", set), (row, column), programs, |j| cured(j, column));
        }
    }
}

/// Runs the closed loop on every program, and counts.
pub(super) fn closed_loop(records: &BTreeMap<u64, Record>, site: &Site, walks: Walks) -> Vec<Figure> {
    let records: Vec<&Record> = records.values().collect();
    let outcomes = parallel::map(&records, |record| investigate(record, site));
    if walks == Walks::Printed {
        let told = records.iter().zip(&outcomes).filter(|(_, outcome)| outcome.opened);
        told.for_each(|(record, outcome)| println!("{}", walk(record, record.label.class.word(), outcome)));
    }
    let mut figures = Figures::default();
    for (held_back, set) in SETS {
        for logged in [true, false] {
            let row = if logged { "settings logged" } else { "settings not logged" };
            let of_class = |class: Class| {
                let all = records.iter().zip(&outcomes);
                let of_set = all.filter(move |(r, _)| r.held_back.any() == held_back && r.label.class == class);
                of_set.filter(move |(r, _)| r.program.style.settings == logged).map(|(r, o)| (&r.label, o))
            };
            let failing: Vec<_> = of_class(Class::Failing).collect();
            let opened: Vec<_> = failing.iter().copied().filter(|(_, outcome)| outcome.opened).collect();
            let place = ("closed loop", set);
            let count = |of: &[(&Label, &Outcome)], holds: &dyn Fn(&Label, &Outcome) -> bool| {
                of.iter().filter(|(label, outcome)| holds(label, outcome)).count() as f64 / of.len() as f64
            };
            let cured = |outcome: &Outcome| outcome.recommended.is_some_and(|excess| excess < HEALTHY);
            let mut of_failing = |column: &str, holds: &dyn Fn(&Label, &Outcome) -> bool| {
                figures.number(place, (row, column), count(&failing, holds), failing.len());
            };
            of_failing("failing: case opened", &|_, outcome| outcome.opened);
            of_failing("failing: verdict right", &|label, outcome| right(outcome, label));
            of_failing("failing: recommended settings cure", &|_, outcome| cured(outcome));
            let due_to = |label: &Label, change: &str| labels_of(change).iter().any(|change| label.is_due_to(change));
            of_failing("failing: right who always lowers the rate", &|label, _| due_to(label, "learning_rate:lower"));
            of_failing("failing: right who always raises the rate", &|label, _| due_to(label, "learning_rate:higher"));
            of_failing("failing: inconclusive", &|_, o| o.verdict.as_deref() == Some("inconclusive"));
            let mean = |of: fn(&Outcome) -> f64| opened.iter().map(|(_, o)| of(o)).sum::<f64>() / opened.len() as f64;
            figures.number(place, (row, "experiments a case (mean)"), mean(|o| o.experiments as f64), opened.len());
            figures.number(place, (row, "cost in runs a case (mean)"), mean(|o| o.cost), opened.len());
            let healthy: Vec<_> = of_class(Class::Healthy).collect();
            figures.number(place, (row, "healthy: case opened"), count(&healthy, &|_, o| o.opened), healthy.len());
            let troubled = |_: &Label, o: &Outcome| o.experiments > 0;
            figures.number(place, (row, "healthy: experiment run"), count(&healthy, &troubled), healthy.len());
        }
        let all = records.iter().zip(&outcomes).filter(|(r, _)| r.held_back.any() == held_back);
        let failing: Vec<_> = all.filter(|(r, _)| r.label.class == Class::Failing).collect();
        verdicts(&mut figures, set, &failing);
    }
    figures.shown()
}

/// How often verdicts on failing programs are right, by what they say and by how sure they are.
fn verdicts(figures: &mut Figures, set: &str, failing: &[(&&Record, &Outcome)]) {
    let mut rights = |table: &str, row: &str, holds: &dyn Fn(&Outcome) -> bool| {
        let of: Vec<_> = failing.iter().filter(|(_, outcome)| holds(outcome)).collect();
        let rights = of.iter().filter(|(record, outcome)| right(outcome, &record.label)).count();
        figures.number((table, set), (row, "verdict right"), rights as f64 / of.len() as f64, of.len());
    };
    let said: BTreeSet<&str> = failing.iter().filter_map(|(_, outcome)| outcome.verdict.as_deref()).collect();
    for verdict in said {
        rights("verdicts", verdict, &|outcome| outcome.verdict.as_deref() == Some(verdict));
    }
    for (low, high) in [(0.0, 0.6), (0.6, 0.75), (0.75, 0.85), (0.85, 0.95), (0.95, 1.01)] {
        rights("confidence of verdicts", &format!("{low:.2} to {:.2}", f64::min(high, 1.0)), &|outcome| {
            let named =
                outcome.verdict.as_deref().is_some_and(|verdict| !["inconclusive", "recovered"].contains(&verdict));
            named && outcome.confidence >= low && outcome.confidence < high
        });
    }
}

/// The figures as text.
pub(crate) fn text(figures: &[Figure]) -> String {
    let mut page = String::new();
    let mut table = "";
    for figure in figures {
        if table != figure.table {
            table = &figure.table;
            page.push_str(&format!("\n{table} ({})\n", figure.set));
        }
        page.push_str(&format!("  {:26} {:48} {}\n", figure.row, figure.column, figure.shown()));
    }
    page
}
