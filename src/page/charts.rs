//! The curves of a case: one chart per quantity, with the baseline and its experiments on one axis, and the same data
//! as tables.
//!
//! Owns: which curves share a chart, their names. Must not know: how a chart is drawn.

use maud::{Markup, PreEscaped, html};

use super::words::{sentence, shown, words};
use crate::case::{Case, Curve};
use crate::picture::{Chart, Line, Window, number};

/// The name of the baseline's curve.
const BASELINE: &str = "baseline";

/// The charts of a case. `curves` are those of its jobs as they are now.
pub fn charts_of(case: &Case, curves: &[Curve]) -> Vec<Chart> {
    let mut signals: Vec<&str> = Vec::new();
    for curve in curves {
        if !signals.contains(&curve.signal.as_str()) {
            signals.push(&curve.signal);
        }
    }
    signals.into_iter().map(|signal| chart(case, curves, signal)).collect()
}

fn chart(case: &Case, curves: &[Curve], signal: &str) -> Chart {
    let of_signal: Vec<&Curve> = curves.iter().filter(|curve| curve.signal == signal).collect();
    let lines = of_signal.iter().map(|curve| {
        let number = curve.suggestion.as_ref().map(|suggestion| number_of(case, suggestion));
        let name = number.map_or_else(|| BASELINE.to_owned(), |number| format!("experiment {number}"));
        Line { name, outline: curve.outline.clone(), style: number.unwrap_or(0) }
    });
    Chart { title: title(signal, &of_signal), lines: lines.collect(), windows: windows(case, &of_signal) }
}

/// The number of an experiment, from 1 in the order in which they were suggested.
fn number_of(case: &Case, suggestion: &str) -> usize {
    case.experiments.iter().position(|experiment| experiment.suggestion == suggestion).map_or(0, |at| at + 1)
}

fn title(signal: &str, curves: &[&Curve]) -> String {
    let baseline = curves.iter().find(|curve| curve.suggestion.is_none()).or(curves.first());
    let tag = baseline.map(|curve| shown(&curve.tag, 60)).unwrap_or_default();
    let name = sentence(&words(signal));
    if tag.is_empty() { name } else { format!("{name} ({tag})") }
}

/// The steps of the baseline that its findings rest on, each interval once.
fn windows(case: &Case, curves: &[&Curve]) -> Vec<Window> {
    let tag = curves.iter().find(|curve| curve.suggestion.is_none()).map(|curve| curve.tag.as_str());
    let mut windows: Vec<Window> = Vec::new();
    for finding in case.findings.iter().filter(|finding| Some(finding.tag.as_str()) == tag) {
        let (from, to) = (finding.first_step as f64, finding.last_step as f64);
        let name = words(&finding.symptom);
        match windows.iter_mut().find(|known| (known.from, known.to) == (from, to)) {
            Some(known) => known.name = format!("{}, {name}", known.name),
            None => windows.push(Window { from, to, name }),
        }
    }
    windows
}

/// The section of a page.
pub(super) fn section(charts: &[Chart]) -> Markup {
    html! {
        section aria-labelledby="curves" {
            h2 id="curves" { "Curves" }
            @if charts.iter().all(Chart::is_empty) {
                p.quiet { "No curves of this case are available." }
            } @else {
                p.note {
                    "A line is the mean of the values around each step; its band extends from the lowest to the highest value. "
                    "Shaded: the steps that a finding rests on. ×: a value that was not finite."
                }
            }
            @for (at, chart) in charts.iter().enumerate().filter(|(_, chart)| !chart.is_empty()) {
                figure {
                    // The drawing escapes what it shows.
                    (PreEscaped(chart.svg()))
                    @if chart.is_logarithmic() { figcaption.quiet { "Logarithmic scale." } }
                    (table(at, chart))
                }
            }
        }
    }
}

/// The same numbers for those who cannot see the drawing, or want to copy them.
fn table(at: usize, chart: &Chart) -> Markup {
    html! {
        details id=(format!("table-{at}")) {
            summary { "The same as a table: " (chart.title) }
            @for line in &chart.lines {
                div.scroll tabindex="0" role="region" aria-label=(format!("{}, {}", chart.title, line.name)) {
                    table.numbers {
                        caption { (sentence(&line.name)) }
                        thead { tr { th scope="col" { "Step" } th scope="col" { "Mean" } th scope="col" { "Lowest" } th scope="col" { "Highest" } } }
                        tbody {
                            @for level in &line.outline.levels {
                                tr {
                                    td { (number(level.step, 12)) }
                                    td { (number(level.mean, 5)) }
                                    td { (number(level.low, 5)) }
                                    td { (number(level.high, 5)) }
                                }
                            }
                            @for step in &line.outline.broken {
                                tr { td { (number(*step, 12)) } td colspan="3" { "not finite" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::case::tests::{case, curve};

    #[test]
    fn what_is_measured_alike_stands_on_one_axis() {
        let case = case();
        let first = case.experiments[0].suggestion.clone();
        let curves = [curve(None, "loss"), curve(None, "accuracy"), curve(Some(&first), "loss")];
        let charts = charts_of(&case, &curves);
        let names = |chart: &Chart| chart.lines.iter().map(|line| line.name.clone()).collect::<Vec<_>>();
        assert_eq!(
            (names(&charts[0]), names(&charts[1])),
            (vec!["baseline".to_owned(), "experiment 1".into()], vec!["baseline".to_owned()])
        );
        assert_eq!(charts[0].title, "Loss (train/loss)");
        assert_eq!(charts[0].windows.len(), 1, "the findings are about the loss");
        assert!(charts[1].windows.is_empty());
    }
}
