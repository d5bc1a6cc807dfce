//! Checks of the states as a graph: what cannot be reached, what never ends, what was not run before.
//!
//! Owns: these rules. Must not know: YAML.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::file::{Action, Change, Policy, Run, Settings, StateKind};
use super::read::Places;
use crate::yaml::{Place, Problems};

/// Reports everything that is wrong with the graph. Every way out must lead to a state that exists.
pub(super) fn check(policy: &Policy, places: &Places, problems: &mut Problems<'_>) {
    let graph = Graph::new(policy);
    reachability(policy, &graph, places, problems);
    endings(policy, &graph, places, problems);
    loops(policy, &graph, places, problems);
    origins(policy, &graph, places, problems);
    exhausted(policy, &graph, places, problems);
    repetitions(policy, places, problems);
}

/// The states that each state leads to, itself by `repeat` left aside.
struct Graph<'p> {
    ways: BTreeMap<&'p str, BTreeSet<&'p str>>,
}

impl<'p> Graph<'p> {
    fn new(policy: &'p Policy) -> Self {
        let ways = policy.states().iter().map(|state| {
            let to = state.ways().into_iter().filter(|way| !way.repeats).map(|way| way.to).collect();
            (state.name(), to)
        });
        Graph { ways: ways.collect() }
    }

    fn next(&self, state: &str) -> impl Iterator<Item = &'p str> + '_ {
        self.ways.get(state).into_iter().flatten().copied()
    }

    /// The states that can come after a state; itself only if there is a way back to it.
    fn after(&self, state: &str) -> BTreeSet<&'p str> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = self.next(state).collect();
        while let Some(at) = open.pop() {
            if seen.insert(at) {
                open.extend(self.next(at));
            }
        }
        seen
    }

    /// The shortest way from a state back to it that enters only states of `through`.
    fn circle(&self, state: &'p str, through: impl Fn(&str) -> bool) -> Option<Vec<&'p str>> {
        let mut came_from: BTreeMap<&str, &'p str> = BTreeMap::new();
        let mut open = VecDeque::from([state]);
        while let Some(at) = open.pop_front() {
            for next in self.next(at).filter(|next| through(next)) {
                if next == state {
                    let mut round = vec![at];
                    while let Some(before) = round.last().filter(|last| **last != state).and_then(|l| came_from.get(l))
                    {
                        round.push(before);
                    }
                    round.reverse();
                    return Some(round);
                }
                if let std::collections::btree_map::Entry::Vacant(entry) = came_from.entry(next) {
                    entry.insert(at);
                    open.push_back(next);
                }
            }
        }
        None
    }
}

fn place(places: &Places, state: &str) -> Place {
    places.states.get(state).copied().unwrap_or_default()
}

fn reachability(policy: &Policy, graph: &Graph<'_>, places: &Places, problems: &mut Problems<'_>) {
    let mut reached = graph.after(policy.start());
    reached.insert(policy.start());
    if let Some(exhausted) = policy.exhausted() {
        reached.insert(exhausted);
        reached.extend(graph.after(exhausted));
    }
    for state in policy.states().iter().filter(|state| !reached.contains(state.name())) {
        let message = format!("state `{}` cannot be reached", state.name());
        problems.add_help(place(places, state.name()), message, "let an outcome go to it, or remove it");
    }
}

/// Every state must have a way to a conclusion.
fn endings(policy: &Policy, graph: &Graph<'_>, places: &Places, problems: &mut Problems<'_>) {
    let ends = |name: &str| policy.state(name).is_some_and(|state| state.kind() == StateKind::Conclude);
    for state in policy.states().iter().filter(|state| state.kind() != StateKind::Conclude) {
        if !graph.after(state.name()).into_iter().any(ends) {
            let message = format!("state `{}` never leads to a conclusion", state.name());
            problems.add_help(place(places, state.name()), message, "let one of its ways lead to a `conclude` state");
        }
    }
}

/// A loop must hold a `run` that says how often: questions and branches alone would go round for ever.
fn loops(policy: &Policy, graph: &Graph<'_>, places: &Places, problems: &mut Problems<'_>) {
    let unbounded = |name: &str| match policy.state(name).map(|state| &state.action) {
        Some(Action::Run(run)) => run.repeats.is_none(),
        _ => true,
    };
    let mut reported: BTreeSet<&str> = BTreeSet::new();
    for state in policy.states() {
        if reported.contains(state.name()) || !unbounded(state.name()) {
            continue;
        }
        let Some(round) = graph.circle(state.name(), unbounded) else { continue };
        let message = format!("this loop has no limit: {} -> {}", round.join(" -> "), state.name());
        let help = "give a `run` in it `repeats: N`, or let one of its ways lead elsewhere";
        problems.add_help(place(places, state.name()), message, help);
        reported.extend(round);
    }
}

/// `from` must name a state that runs, and that can have run before.
fn origins(policy: &Policy, graph: &Graph<'_>, places: &Places, problems: &mut Problems<'_>) {
    for state in policy.states() {
        let settings: &Settings = match &state.action {
            Action::Run(run) => &run.settings,
            Action::Conclude(conclude) => &conclude.recommend,
            Action::Ask(_) | Action::Branch(_) => continue,
        };
        let Some(from) = &settings.from else { continue };
        let at = places.from.get(state.name()).copied().unwrap_or_default();
        let runs = policy.state(from).is_some_and(|origin| origin.kind() == StateKind::Run);
        let itself = from == state.name() && places.repeats.contains_key(from);
        if !runs {
            problems.add(at, format!("state `{from}` runs nothing, so nothing can begin from it"));
        } else if !itself && !graph.after(from).contains(state.name()) {
            let message = format!("state `{from}` cannot have run before `{}`", state.name());
            problems.add_help(at, message, format!("no way leads from `{from}` to `{}`", state.name()));
        }
    }
}

/// Where the limits are reached, nothing may be run any more.
fn exhausted(policy: &Policy, graph: &Graph<'_>, places: &Places, problems: &mut Problems<'_>) {
    let runs = |name: &str| policy.state(name).is_some_and(|state| state.kind() == StateKind::Run);
    match policy.exhausted() {
        None => {
            if let Some(state) = policy.states().iter().find(|state| state.kind() == StateKind::Run) {
                let help = "add `exhausted: STATE`, where a case goes when its limits are reached";
                problems.add_help(
                    place(places, state.name()),
                    "a policy that runs experiments needs `exhausted`",
                    help,
                );
            }
        }
        Some(exhausted) => {
            let found = std::iter::once(exhausted).chain(graph.after(exhausted)).find(|name| runs(name));
            if let Some(name) = found {
                let message = format!("`exhausted` leads to `{name}`, which runs an experiment");
                problems.add_help(places.exhausted, message, "let it lead to a conclusion only");
            }
        }
    }
}

/// A repetition that changes nothing would be answered by the experiment before it.
fn repetitions(policy: &Policy, places: &Places, problems: &mut Problems<'_>) {
    for (state, at) in &places.repeats {
        let Some(Action::Run(run)) = policy.state(state).map(|state| &state.action) else { continue };
        if !varies(run, state) {
            let message = format!("the repetitions of state `{state}` are all alike");
            let help = "let a change read `attempt`, for example `seed: \"= attempt\"`";
            problems.add_help(*at, message, help);
        }
    }
}

fn varies(run: &Run, state: &str) -> bool {
    let varying = |change: &Change| matches!(change, Change::Computed(expression) if expression.may_change());
    run.settings.from.as_deref() == Some(state) || run.settings.changes.iter().any(|(_, change)| varying(change))
}
