//! The beliefs of a case: that its job fails, and the possible causes, with the evidence for each.
//!
//! Owns: which causes and reasons are shown. Must not know: how beliefs are computed.

use maud::{Markup, html};

use super::words::{per_cent, sentence, shown, words};
use crate::belief::{Belief, Contribution};
use crate::case::{Believed, Case, Experiment};

/// Maximum number of causes shown, most probable first.
const CAUSES: usize = 10;

/// Maximum number of reasons shown, strongest first.
const REASONS: usize = 4;

/// A cause with its probability after the newest experiment.
struct Cause<'a> {
    name: &'a str,
    probability: f64,
    /// How each experiment changed it, by number.
    moved: Vec<(usize, &'a Experiment, f64, f64)>,
}

/// Smaller changes of a probability are not shown.
const MOVED: f64 = 0.02;

fn causes(case: &Case) -> Vec<Cause<'_>> {
    let told: Vec<(usize, &Experiment)> = case
        .experiments
        .iter()
        .enumerate()
        .filter(|(_, experiment)| !experiment.believed.is_empty())
        .map(|(at, experiment)| (at + 1, experiment))
        .collect();
    let Some((_, last)) = told.last() else { return Vec::new() };
    let now = |believed: &Believed| believed.after.unwrap_or(believed.before);
    let mut causes: Vec<Cause<'_>> = last
        .believed
        .iter()
        .map(|believed| {
            let moved = told.iter().filter_map(|(number, experiment)| {
                let then = experiment.believed.iter().find(|other| other.cause == believed.cause)?;
                let after = then.after?;
                ((after - then.before).abs() >= MOVED).then_some((*number, *experiment, then.before, after))
            });
            Cause { name: &believed.cause, probability: now(believed), moved: moved.collect() }
        })
        .collect();
    causes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    causes.truncate(CAUSES);
    causes
}

/// The section of a page.
pub(super) fn section(case: &Case) -> Markup {
    let causes = causes(case);
    html! {
        @if !causes.is_empty() {
            section aria-labelledby="belief" {
                h2 id="belief" { "Possible causes" }
                p.note {
                    @if case.closed.is_some() { "Probabilities after the last experiment that counted as evidence." }
                    @else { "Current probabilities." }
                }
                div.scroll tabindex="0" role="region" aria-label="Causes, as a table" {
                    table {
                        thead { tr {
                            th scope="col" { "Cause" } th.number scope="col" { "Probability" } th.bars scope="col" { span.unseen { "Probability as a bar" } } th scope="col" { "Changed by" }
                        } }
                        tbody {
                            @for cause in &causes {
                                tr {
                                    th scope="row" { (sentence(&words(&shown(cause.name, 80)))) }
                                    td.number { (per_cent(cause.probability)) }
                                    td.bars { (bar(cause.probability)) }
                                    td {
                                        @if cause.moved.is_empty() { span.quiet { "nothing" } }
                                        ul.moved {
                                            @for (number, experiment, before, after) in &cause.moved {
                                                li {
                                                    "Experiment " (number) " (" (words(&shown(&experiment.proposal.at.state, 60))) "): "
                                                    (per_cent(*before)) " → " strong { (per_cent(*after)) }
                                                }
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The probability that the job fails, and the evidence.
pub(super) fn failing(belief: &Belief) -> Markup {
    html! {
        p {
            "The probability that the job fails was " strong { (per_cent(belief.probability)) }
            " when the case was opened (" (per_cent(belief.prior)) " of all jobs fail)."
        }
        div.beside {
            (reasons("For", &belief.speaks_for))
            (reasons("Against", &belief.speaks_against))
        }
    }
}

fn reasons(title: &str, all: &[Contribution]) -> Markup {
    html! {
        div {
            h3.small { (title) }
            @if all.is_empty() { p.quiet { "Nothing." } }
            ul.moved {
                @for reason in all.iter().take(REASONS) {
                    li {
                        (sentence(&words(&shown(&reason.quantity, 60)))) " "
                        (if reason.value.is_finite() { crate::picture::number(reason.value, 3) } else { "not finite".to_owned() })
                        span.quiet { " (log-odds " (format!("{:+.1}", reason.log_odds)) ")" }
                    }
                }
            }
        }
    }
}

/// A bar proportional to a fraction.
fn bar(share: f64) -> Markup {
    html! {
        svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect.track width="100" height="8" rx="2" {}
            rect.level width=(format!("{:.1}", 100.0 * share.clamp(0.0, 1.0))) height="8" rx="2" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::case::tests::case;

    #[test]
    fn causes_are_listed_with_what_moved_them() {
        let mut case = case();
        let believed = |cause: &str, before, after| Believed { cause: cause.into(), before, after };
        case.experiments[0].believed =
            vec![believed("bad_initialization", 0.5, Some(0.1)), believed("learning_rate_too_high", 0.3, Some(0.31))];
        case.experiments[1].believed =
            vec![believed("bad_initialization", 0.1, None), believed("learning_rate_too_high", 0.31, None)];
        let drawn = section(&case).into_string();
        let (first, second) =
            (drawn.find("Learning rate too high").unwrap(), drawn.find("Bad initialization").unwrap());
        assert!(first < second, "the most probable first");
        assert!(drawn.contains("50 % → <strong>10 %</strong>") && !drawn.contains("30 % →"), "{drawn}");
        assert_eq!(section(&crate::page::case::tests::without_experiments()).into_string(), "");
    }
}
