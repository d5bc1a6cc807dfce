//! Checks of the whole policy: unused parts, infinite loops, and tests that depend on later ones.
//!
//! Owns: these rules. Must not know: YAML.

use std::collections::{BTreeMap, BTreeSet};

use super::file::{Action, CONCLUDE, Phase, Policy, Run, State, Test};
use crate::yaml::{Problems, Span};

/// Positions of the parts that are checked once the whole is known.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The names of the states of the policy's own file.
    pub(super) states: BTreeMap<String, Span>,
    /// The names of the tests of the policy's own file.
    pub(super) tests: BTreeMap<String, Span>,
}

/// Reports all mistakes in the whole policy. All names must exist.
pub(super) fn check(policy: &Policy, places: &Places, problems: &mut Problems<'_>) {
    unreached(policy, places, problems);
    unused(policy, places, problems);
    endings(policy, places, problems);
    origins(policy, places, problems);
    causes(policy, places, problems);
}

/// The states that a state leads to.
fn next<'p>(policy: &'p Policy, state: &'p State) -> impl Iterator<Item = &'p State> {
    state.ways().into_iter().filter_map(|(_, to)| policy.state(to))
}

fn unreached(policy: &Policy, places: &Places, problems: &mut Problems<'_>) {
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&State> = policy.states().first().into_iter().collect();
    while let Some(state) = open.pop() {
        if reached.insert(state.name()) {
            open.extend(next(policy, state));
        }
    }
    for state in policy.states().iter().filter(|state| !reached.contains(state.name())) {
        let at = places.states.get(state.name()).copied().unwrap_or_default();
        let message = format!("state `{}` is unreachable", state.name());
        problems.add_help(at, message, "let another state lead to it, or remove it");
    }
}

/// A test of the policy's own file that no state lists and no other test is followed by.
fn unused(policy: &Policy, places: &Places, problems: &mut Problems<'_>) {
    let used: BTreeSet<&str> = policy.used().into_iter().map(Test::name).collect();
    for (name, at) in places.tests.iter().filter(|(name, _)| !used.contains(name.as_str())) {
        let message = format!("test `{name}` never runs");
        problems.add_help(*at, message, "list it in a state, make it follow another test (`then`), or remove it");
    }
}

/// States may loop only through `confirm`, whose test is found at most once.
fn endings(policy: &Policy, places: &Places, problems: &mut Problems<'_>) {
    for state in policy.states() {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&State> = vec![state];
        let mut circle = false;
        while let Some(at) = open.pop() {
            let confirms = |from: &State, to: &str| {
                let found = matches!(&from.phase, Phase::Try(phase) if phase.found == to);
                found || matches!(from.phase, Phase::Confirm { .. })
            };
            for (_, to) in at.ways().into_iter().filter(|(_, to)| !confirms(at, to)) {
                circle |= to == state.name();
                open.extend(policy.state(to).filter(|to| seen.insert(to.name())));
            }
        }
        if circle {
            let at = places.states.get(state.name()).copied().unwrap_or_default();
            let message = format!("state `{}` loops when no tests are left", state.name());
            problems.add_help(at, message, "make `empty` or `else` lead to a conclusion eventually");
            return;
        }
    }
}

/// `from` must name a test with experiments, and `together` tests with plain changes of the whole job.
fn origins(policy: &Policy, places: &Places, problems: &mut Problems<'_>) {
    for test in policy.used() {
        let Action::Run(run) = &test.action else { continue };
        let at = places.tests.get(test.name()).copied().unwrap_or_default();
        let run_of = |name: &String| match &policy.test(name)?.action {
            Action::Run(run) => Some(run),
            Action::Ask(_) | Action::Read => None,
        };
        for from in run.settings.from.iter().filter(|from| run_of(from).is_none()) {
            problems.add(at, format!("test `{}` builds on `{from}`, which has no experiments", test.name()));
        }
        let plain = |name: &String| {
            let own_outcomes = policy.test(name).is_some_and(|part| !part.outcomes.is_empty());
            let few = |run: &Run| run.settings.changes.iter().any(|(knob, _)| knob == "train_examples");
            let simple = |run: &Run| run.ladder.is_none() && run.together.is_empty() && !few(run);
            !own_outcomes && run_of(name).is_some_and(|run| simple(run))
        };
        for part in run.together.iter().filter(|part| !plain(part)) {
            let message = format!("`{part}` cannot be part of `{}`", test.name());
            let help =
                "`together` takes tests that change the whole job, without a ladder and without their own outcomes";
            problems.add_help(at, message, help);
        }
    }
}

/// Finding a cause needs a condition: the test's own, or the policy's `cured`.
fn causes(policy: &Policy, places: &Places, problems: &mut Problems<'_>) {
    let needs = |test: &&Test| test.cause.is_some() && matches!(test.action, Action::Run(_)) && test.found.is_none();
    if policy.cured.is_none()
        && let Some(test) = policy.used().into_iter().find(needs)
    {
        let at = places.tests.get(test.name()).copied().unwrap_or_default();
        let message = format!("there is no condition for finding the cause of test `{}`", test.name());
        problems.add_help(at, message, "define `cured` under `judge`, or add `found` to the test");
    }
    let laddered = |test: &&Test| matches!(&test.action, Action::Run(run) if run.ladder.as_ref().is_some_and(|ladder| ladder.goes_on.is_none()));
    if policy.helped.is_none()
        && let Some(test) = policy.used().into_iter().find(laddered)
    {
        let at = places.tests.get(test.name()).copied().unwrap_or_default();
        let message = format!("there is no condition for continuing the ladder of test `{}`", test.name());
        problems.add_help(at, message, "define `helped` under `judge`, or add `while` to the ladder");
    }
    for state in policy.states() {
        let concludes = matches!(&state.phase, Phase::First { onward, .. } if onward == CONCLUDE)
            || matches!(&state.phase, Phase::Try(phase) if phase.empty.iter().any(|(_, go)| go == CONCLUDE));
        if concludes {
            let at = places.states.get(state.name()).copied().unwrap_or_default();
            let message = format!("state `{}` leads to `conclude` although no cause has been found", state.name());
            problems.add_help(at, message, "name a conclusion, such as `inconclusive`");
        }
    }
}
