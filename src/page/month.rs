//! Cost and savings of investigations in a month.
//!
//! Owns: the sums, and what counts as saved. Must not know: when a month begins, which is passed in.

use maud::{Markup, html};

use super::time::hours;
use super::words::count;
use crate::case::{Case, Used};
use crate::facts::Quantity;
use crate::fate::FateState;
use crate::picture::number;

/// The sums of one month.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Month {
    /// Its name, such as `November 2026`.
    pub name: String,
    /// Cases opened in it.
    pub opened: usize,
    /// Cases of it that closed with a cause.
    pub explained: usize,
    /// Cases of it that closed without one.
    pub unexplained: usize,
    /// The cost of the experiments suggested in this month.
    pub used: Used,
    /// Jobs that stopped short of their planned length after they were reported.
    pub stopped: usize,
    /// The remaining hours of these, if their pace is known.
    pub left_hours: f64,
    /// The same times their GPUs.
    pub left_gpu_hours: f64,
}

/// Verdicts that name no cause.
const NO_CAUSE: &[&str] = &["healthy", "recovered", "inconclusive"];

/// The sums over cases since `begin`; both times are seconds since the Unix epoch.
pub fn month_of<'a>(cases: impl Iterator<Item = &'a Case>, name: String, begin: f64, now: f64) -> Month {
    let mut month = Month { name, ..Month::default() };
    for case in cases {
        for experiment in case.experiments.iter().filter(|experiment| experiment.suggested >= begin) {
            month.used.add(experiment, case.pace, now);
        }
        if case.opened < begin {
            continue;
        }
        month.opened += 1;
        match &case.closed {
            Some(end) if NO_CAUSE.contains(&end.verdict.as_str()) => month.unexplained += 1,
            Some(_) => month.explained += 1,
            None => {}
        }
        if let Some((hours, gpus)) = left_unspent(case) {
            month.stopped += 1;
            month.left_hours += hours;
            month.left_gpu_hours += hours * gpus;
        }
    }
    month
}

/// The remaining hours of a job when it stopped, and its GPUs: it was reported, continued, and stopped before its
/// planned end. Whether it stopped because of the report is unknown. A job that had ended before it was reported saved
/// nothing.
fn left_unspent(case: &Case) -> Option<(f64, f64)> {
    let pace = case.pace?;
    let (facts, reported) = (&case.baseline_facts, case.findings.iter().map(|finding| finding.last_step).max()?);
    let (steps, done) = (facts.steps(), facts.number(Quantity::Done));
    let taken_away = case.fate.as_ref().is_some_and(|f| matches!(f.state, FateState::Cancelled | FateState::Stopped));
    let went_on = steps > reported as f64 || taken_away;
    let left = facts.number(Quantity::Updates) * (1.0 - done) * pace.seconds_per_update / 3600.0;
    (facts.ended && went_on && left > 0.0).then_some((left, pace.gpus))
}

/// The section of a page.
pub(super) fn section(month: &Month) -> Markup {
    let figure = |number: String, what: &str| {
        html! { div.figure { dt { (what) } dd { (number) } } }
    };
    html! {
        section aria-labelledby="month" {
            h2 id="month" { (month.name) }
            dl.figures {
                (figure(number(month.opened as f64, 9), if month.opened == 1 { "case opened" } else { "cases opened" }))
                (figure(number(month.explained as f64, 9), "closed with a cause"))
                (figure(number(month.unexplained as f64, 9), "closed without one"))
                (figure(number(f64::from(month.used.experiments), 9), if month.used.experiments == 1 { "experiment" } else { "experiments" }))
                (figure(hours(month.used.gpu_hours), "GPU hours of experiments"))
                (figure(hours(month.left_gpu_hours), "GPU hours not run"))
            }
            @if month.stopped > 0 { p.note {
                "GPU hours not run: what " (count(month.stopped, "job")) " had left of their planned length "
                "when they stopped after nextrun had reported them. It is unknown whether each stopped for that reason."
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Experiment, Pace, Spent};
    use crate::fate::Fate;
    use crate::page::case::tests::case;

    #[test]
    fn a_month_is_summed_up() {
        let mut ran = case();
        ran.pace = Some(Pace { seconds_per_update: 3.6, updates: Some(1000.0), gpus: 2.0 });
        ran.baseline_facts.ended = true;
        let shown = [("steps", 1000.0), ("updates", 2000.0), ("done", 0.5)];
        ran.baseline_facts.evidence.extend(shown.map(|(name, value)| (name.to_owned(), value)));
        ran.findings[0].last_step = 500;
        ran.experiments.clear();
        let mut experiment =
            Experiment::new("s".into(), crate::page::case::tests::proposal("t", 0.1), "r".into(), 150.0);
        experiment.outcome = Some("found".into());
        experiment.spent = Some(Spent { seconds: 7200.0, steps: Some(10.0), over: true });
        ran.experiments.push(experiment);
        let mut earlier = ran.clone();
        earlier.opened = 50.0;
        earlier.experiments.clear();
        let month = month_of([&ran, &earlier].into_iter(), "June".into(), 100.0, 1000.0);
        assert_eq!((month.opened, month.used.experiments, month.stopped), (1, 1, 1));
        assert_eq!((month.used.gpu_hours, month.left_hours, month.left_gpu_hours), (4.0, 1.0, 2.0));
        // It had stopped by the time that it was reported.
        ran.findings[0].last_step = 1000;
        assert_eq!(month_of([&ran].into_iter(), "June".into(), 100.0, 1000.0).stopped, 0);
        ran.fate = Some(Fate::new(FateState::Cancelled));
        assert_eq!(month_of([&ran].into_iter(), "June".into(), 100.0, 1000.0).stopped, 1);
    }
}
