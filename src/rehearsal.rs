//! Runs the tests of a policy: a story defines the result of each experiment, and the expected path and verdict.
//!
//! Owns: the notation of stories and expectations, and the outcomes not covered by any story. Must not know: files on
//! disk, printing.

mod explain;
mod play;
mod report;
mod story;

use std::collections::BTreeSet;

use crate::facts::Knobs;
use crate::policy::{Policy, Problem, UNAVAILABLE};

pub use explain::explain;

use play::Played;
use story::{Expected, Story};

/// The result of a test file.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// The problems of the test file; if there are any, no test ran.
    pub problems: Vec<Problem>,
    /// One result a test, in the order of the file.
    pub tests: Vec<TestResult>,
    /// Outcomes and conclusions of the policy that no story reached, in the order of the file.
    pub not_taken: Vec<NotTaken>,
    /// How many outcomes and conclusions the policy has.
    pub ways: usize,
}

/// The result of one test.
#[derive(Debug, Clone, PartialEq)]
pub struct TestResult {
    /// Its name.
    pub name: String,
    /// Whether it passed.
    pub status: Status,
    /// The difference, or why it could not be completed; empty if it passed.
    pub findings: Vec<String>,
    /// The course of the case: one line per test that ran or was skipped.
    pub walked: Vec<String>,
}

/// Whether a test passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All that was expected came.
    Pass,
    /// Something else came.
    Fail,
    /// The story has a gap: it says nothing of a state that was reached.
    Error,
}

/// The outcome of a conclusion that a story reached.
const CONCLUDED: &str = "concluded";

/// An outcome of a test, or a conclusion, that no story reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken {
    /// The test, or the conclusion.
    pub state: String,
    /// Its outcome.
    pub outcome: String,
}

impl Results {
    /// Whether every test passed.
    pub fn passed(&self) -> bool {
        self.problems.is_empty() && self.tests.iter().all(|test| test.status == Status::Pass)
    }

    /// How many tests have a status.
    pub fn count(&self, status: Status) -> usize {
        self.tests.iter().filter(|test| test.status == status).count()
    }
}

/// Plays every test of a test file on a policy. `origin` names the file in messages.
pub fn rehearse(policy: &Policy, test_text: &str, origin: &str) -> Results {
    let own = policy.used().into_iter().filter(|test| !test.borrowed());
    let outcomes = own.flat_map(|test| {
        let outcome = |(outcome, _): (&str, _)| NotTaken { state: test.name().into(), outcome: outcome.into() };
        // That an experiment may be unavailable is the engine's rule, the same for every test.
        let all = test.outcomes().into_iter().filter(|(name, _)| *name != UNAVAILABLE);
        all.map(outcome).collect::<Vec<_>>()
    });
    let conclusions = policy.reachable_conclusions();
    let concludes = |name: &str| NotTaken { state: name.into(), outcome: CONCLUDED.into() };
    let all: Vec<NotTaken> = outcomes.chain(conclusions.into_iter().map(concludes)).collect();
    let ways = all.len();
    let stories = match story::read(policy, test_text, origin) {
        Ok(stories) => stories,
        Err(problems) => return Results { problems, tests: Vec::new(), not_taken: all, ways },
    };
    let mut taken = BTreeSet::new();
    let mut tests = Vec::new();
    for story in &stories {
        let played = play::play(policy, story);
        taken.extend(played.passed.iter().map(|passed| (passed.state.clone(), passed.outcome.clone())));
        taken.extend(played.conclusion.iter().map(|end| (end.state.clone(), CONCLUDED.to_owned())));
        tests.push(result(policy, story, &played));
    }
    let not_taken = all.into_iter().filter(|way| !taken.contains(&(way.state.clone(), way.outcome.clone()))).collect();
    Results { problems: Vec::new(), tests, not_taken, ways }
}

fn result(policy: &Policy, story: &Story, played: &Played) -> TestResult {
    let (status, findings) = match &played.gap {
        Some(gap) => (Status::Error, vec![gap.clone()]),
        None => {
            let findings = differences(policy, &story.expected, played);
            (if findings.is_empty() { Status::Pass } else { Status::Fail }, findings)
        }
    };
    let walked = played.passed.iter().map(|p| format!("{} -> {}: {}", p.state, p.outcome, p.why)).collect();
    TestResult { name: story.name.clone(), status, findings, walked }
}

fn differences(policy: &Policy, expected: &Expected, played: &Played) -> Vec<String> {
    let mut found = Vec::new();
    let conclusion = played.conclusion.as_ref();
    let verdict = conclusion.map_or("none", |conclusion| conclusion.verdict.as_str());
    if let Some(path) = &expected.path {
        let ends = path.last().is_some_and(|name| policy.conclusion(name).is_some());
        let mut went = played.path.clone();
        went.extend(conclusion.filter(|_| ends).map(|conclusion| conclusion.state.clone()));
        if went != *path {
            found.push(format!("path:\n{}", report::difference(path, &went)));
        }
    }
    if let Some(wanted) = expected.verdict.as_deref().filter(|wanted| *wanted != verdict) {
        found.push(format!("verdict: expected {wanted}, but it was {verdict}"));
    }
    if let Some(wanted) = expected.experiments.filter(|wanted| *wanted != played.experiments) {
        found.push(format!("experiments: expected {wanted}, but there were {}", played.experiments));
    }
    if let Some(wanted) = &expected.recommended {
        let none = Knobs::new();
        let given = conclusion.map_or(&none, |conclusion| &conclusion.recommended);
        if !story::same_knobs(given, wanted) {
            found.push(format!("recommended: expected {}, but it was {}", report::knobs(wanted), report::knobs(given)));
        }
    }
    for (state, wanted) in &expected.changes {
        match played.proposed.iter().rev().find(|(name, _)| name == state) {
            Some((_, given)) if story::same_knobs(given, wanted) => {}
            Some((_, given)) => found.push(format!(
                "changes of {state}: expected {}, but they were {}",
                report::knobs(wanted),
                report::knobs(given)
            )),
            None => found.push(format!("changes of {state}: it ran no experiment")),
        }
    }
    for (state, wanted) in &expected.outcomes {
        let given = played.passed.iter().rev().find(|passed| passed.state == *state);
        let given = given.map_or("none", |passed| passed.outcome.as_str());
        if given != wanted {
            found.push(format!("outcome of {state}: expected {wanted}, but it was {given}"));
        }
    }
    for state in expected.never.iter().filter(|state| played.visited(state)) {
        found.push(format!("{state} must never be reached, but it was"));
    }
    found
}

#[cfg(test)]
mod tests;
