//! The beliefs of a case for people: `nextrun cases show`.
//!
//! Owns: the table of causes by experiment. Must not know: how beliefs are computed.

use std::fmt::Write as _;

use crate::belief::{Belief, Contribution};
use crate::case::{Case, Experiment};

/// Maximum number of causes shown, most probable first.
const CAUSES: usize = 6;
/// Maximum number of experiments shown next to each other, newest first.
const EXPERIMENTS: usize = 8;
/// Maximum number of reasons shown, strongest first.
const REASONS: usize = 3;

/// One line with the probability that the job fails and the strongest reasons. Empty if the case has no stored belief.
pub(super) fn failing(case: &Case) -> String {
    let Some(Belief { probability, speaks_for, speaks_against, .. }) = &case.belief else { return String::new() };
    format!(
        "probability of failing when the case was opened: {:.0} %; for: {}; against: {}",
        100.0 * probability,
        reasons(speaks_for),
        reasons(speaks_against)
    )
}

/// The results of the job's probes in one line. Empty if it was never probed.
pub(super) fn probes(case: &Case) -> String {
    let Some(quiet) = &case.quiet else { return String::new() };
    let audit = if quiet.audit { "audit; " } else { "" };
    let (spent, budget) = (case.spent_on_probes(), quiet.share * quiet.job.seconds);
    format!("probes: {audit}{}; they took {spent:.0} s of {budget:.0} s", case.what_was_tested())
}

fn reasons(all: &[Contribution]) -> String {
    let said = all.iter().take(REASONS).map(|reason| {
        let value = if reason.value.is_finite() { format!("{:.3}", reason.value) } else { "not finite".to_owned() };
        format!("{} = {value} ({:+.1})", reason.quantity, reason.log_odds)
    });
    let said = said.collect::<Vec<_>>().join(", ");
    if said.is_empty() { "nothing".to_owned() } else { said }
}

/// The probability of each cause in per cent: before the first experiment shown, and after each experiment that counted
/// as evidence. Empty if no experiment was suggested.
pub(super) fn table(case: &Case) -> String {
    let told: Vec<&Experiment> = case.experiments.iter().filter(|experiment| !experiment.believed.is_empty()).collect();
    let told = &told[told.len().saturating_sub(EXPERIMENTS)..];
    let (Some(first), Some(last)) = (told.first(), told.last()) else { return String::new() };
    let mut causes: Vec<(&str, f64)> = last
        .believed
        .iter()
        .map(|believed| (believed.cause.as_str(), believed.after.unwrap_or(believed.before)))
        .collect();
    for believed in told.iter().flat_map(|experiment| &experiment.believed) {
        if causes.iter().all(|(known, _)| *known != believed.cause) {
            causes.push((&believed.cause, 0.0));
        }
    }
    causes.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut text = String::from("probability of each cause, in %\n");
    let width = causes.iter().take(CAUSES).map(|(cause, _)| cause.len()).max().unwrap_or(0);
    let _ = write!(text, "{:width$}  {:>6}", "", "before");
    let place = |experiment: &Experiment| case.experiments.iter().position(|e| e.suggestion == experiment.suggestion);
    for experiment in told {
        let _ = write!(text, "  {:>6}", format!("#{}", place(experiment).map_or(0, |place| place + 1)));
    }
    for (cause, _) in causes.iter().take(CAUSES) {
        let of = |experiment: &Experiment| experiment.believed.iter().find(|b| b.cause == **cause).cloned();
        let _ = write!(text, "\n{cause:width$}  {:>6}", per_cent(of(first).map(|believed| believed.before)));
        for experiment in told {
            let _ = write!(text, "  {:>6}", per_cent(of(experiment).and_then(|believed| believed.after)));
        }
    }
    for experiment in told {
        let number = place(experiment).map_or(0, |place| place + 1);
        let outcome = experiment.outcome.as_deref().unwrap_or("in progress");
        let _ = write!(text, "\n#{number}: {} ({outcome})", experiment.proposal.at.state);
    }
    text
}

/// A probability in whole per cent, or a dash.
fn per_cent(probability: Option<f64>) -> String {
    probability.map_or_else(|| "-".to_owned(), |probability| format!("{:.0}", 100.0 * probability))
}
