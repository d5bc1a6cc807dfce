//! The experiments of a case: the expected and the observed result of each.
//!
//! Owns: the tree (baseline, tests, the values that each test tried) and its texts. Must not know: policies.

use maud::{Markup, html};

use super::CaseView;
use super::changes;
use super::time::{ago, duration, moment};
use super::words::{sentence, shown, words};
use crate::case::{Experiment, JournalEntry};
use crate::policy::FOUND;

/// Maximum length of a text on a card in characters.
const LONGEST: usize = 600;

/// Experiments of one test that follow each other.
struct Branch<'a> {
    test: &'a str,
    tried: Vec<(usize, &'a Experiment)>,
}

fn branches(experiments: &[Experiment]) -> Vec<Branch<'_>> {
    let mut branches: Vec<Branch<'_>> = Vec::new();
    for (at, experiment) in experiments.iter().enumerate() {
        let test = experiment.proposal.at.state.as_str();
        match branches.last_mut().filter(|branch| branch.test == test) {
            Some(branch) => branch.tried.push((at + 1, experiment)),
            None => branches.push(Branch { test, tried: vec![(at + 1, experiment)] }),
        }
    }
    branches
}

/// The section of a page.
pub(super) fn section(view: &CaseView<'_>) -> Markup {
    let case = view.case;
    html! {
        section aria-labelledby="experiments" {
            h2 id="experiments" { "Experiments: expected and seen" }
            @if case.experiments.is_empty() {
                p.quiet { "No experiment was suggested." }
            } @else {
                ol.tree {
                    @for branch in branches(&case.experiments) {
                        li.branch {
                            h3 { (sentence(&words(&shown(branch.test, 80)))) }
                            ol {
                                @for (number, experiment) in branch.tried {
                                    li { (card(view, number, experiment)) }
                                }
                            }
                        }
                    }
                }
            }
            @if !case.not_tried.is_empty() {
                h3 { "Not tried" }
                ul.list {
                    @for passed in &case.not_tried {
                        li { strong { (sentence(&words(&passed.state))) } ": " (shown(&passed.why, LONGEST)) }
                    }
                }
            }
        }
    }
}

fn card(view: &CaseView<'_>, number: usize, experiment: &Experiment) -> Markup {
    let proposal = &experiment.proposal;
    let (tone, outcome) = outcome(experiment);
    html! {
        article.experiment aria-label=(format!("Experiment {number}")) {
            div.head {
                span.number { (number) }
                @if experiment.control {
                    span { "The baseline again, unchanged" }
                } @else {
                    (changes::settings(&proposal.changes, view.settings()))
                }
                span class=(format!("pill {tone}")) { (outcome) }
            }
            @if !proposal.hypothesis.is_empty() {
                p { "Tests whether " (shown(&proposal.hypothesis, LONGEST)) "." }
            }
            div.beside {
                div { h4 { "Expected, if so" } p { (expected(experiment)) } }
                div { h4 { "Seen" } p { (seen(view, experiment)) } }
            }
            (facts(view, experiment))
        }
    }
}

fn expected(experiment: &Experiment) -> String {
    match experiment.proposal.expect.as_str() {
        "" if experiment.control => "It fails like the baseline.".to_owned(),
        "" => "The policy does not define this.".to_owned(),
        words => sentence(&shown(words, LONGEST)),
    }
}

/// The result of an experiment according to the journal; for a running one, what is known so far.
fn seen(view: &CaseView<'_>, experiment: &Experiment) -> String {
    let about = |entry: &&JournalEntry| {
        entry.detail.get("suggestion_id").and_then(serde_json::Value::as_str) == Some(experiment.suggestion.as_str())
    };
    let observed = view.journal.iter().rev().filter(|entry| entry.kind == "observed").find(about);
    if let Some(text) = observed.and_then(|entry| entry.detail.get("seen")).and_then(serde_json::Value::as_str) {
        return sentence(&shown(text, LONGEST));
    }
    if let Some(facts) = &experiment.facts {
        return sentence(&shown(&facts.in_words(), LONGEST));
    }
    let fate = experiment.fate.as_ref().map(|fate| shown(&fate.in_words(), LONGEST));
    match (&experiment.outcome, fate) {
        (Some(_), Some(fate)) => sentence(&fate),
        (Some(_), None) => "Nothing: it did not run.".to_owned(),
        (None, Some(fate)) => format!("Not over yet: {fate}."),
        (None, None) if experiment.job.is_some() => "Not over yet: its run is being read.".to_owned(),
        (None, None) => "Not started yet.".to_owned(),
    }
}

fn outcome(experiment: &Experiment) -> (&'static str, String) {
    match (&experiment.outcome, &experiment.facts) {
        (Some(outcome), _) if outcome == FOUND => ("good", words(outcome)),
        (Some(outcome), _) => ("plain", words(&shown(outcome, 40))),
        // It repeats another, whose outcome it bears out or does not.
        (None, Some(facts)) if facts.cured => ("good", "cured again".to_owned()),
        (None, Some(_)) => ("plain", "over".to_owned()),
        (None, None) => ("open", "under way".to_owned()),
    }
}

fn facts(view: &CaseView<'_>, experiment: &Experiment) -> Markup {
    let spent = experiment.spent.map(|spent| view.case.real_cost(spent));
    let cost = spent.or(experiment.cost).and_then(|cost| cost.seconds);
    let label = if spent.is_some() { "Took" } else { "Expected to take" };
    let run = experiment.job.as_deref().unwrap_or(&experiment.run_name);
    html! {
        ul.facts {
            li { "Suggested " (moment(experiment.suggested, None)) }
            @if let Some(seconds) = cost.filter(|seconds| *seconds >= 1.0) { li { (label) " " (duration(seconds)) } }
            li { "Run " code { (shown(run, 160)) } }
            @for (name, reference) in view.jobs_of(&experiment.suggestion) {
                li { (shown(&name, 60)) " job " code { (shown(&reference, 80)) } }
            }
            @if let (None, None, Some(now)) = (&experiment.outcome, &experiment.facts, view.now) {
                li { "Waited for since " (ago(now - experiment.suggested)) }
            }
        }
        @if !experiment.proposal.why.is_empty() {
            p.quiet { "Chosen because " (shown(&experiment.proposal.why, LONGEST)) "." }
        }
        @if let Some(tail) = experiment.fate.as_ref().and_then(|fate| fate.tail.as_deref()) {
            details id=(format!("tail-{}", experiment.suggestion)) {
                summary { "The last lines of its log" }
                pre tabindex="0" { (shown(tail, 4000)) }
            }
        }
        @if let Some(command) = view.command_of(&experiment.suggestion) {
            details id=(format!("command-{}", experiment.suggestion)) {
                summary { "Its command, compared with the baseline's" }
                (changes::command(view.baseline_command().as_deref(), command))
            }
        }
    }
}
