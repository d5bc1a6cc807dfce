//! Reads the names of a file in advance, because an expression can refer to a later test.
//!
//! Owns: the existing names. Must not know: their meaning.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::policy::file::{CONCLUDE, OWN_OUTCOMES};
use crate::yaml::{Key, Kind, Node, Problems};

/// The names in a policy and its shared files.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// Every test with the names of its outcomes.
    pub(super) tests: BTreeMap<String, BTreeSet<String>>,
    /// The tests that `tips` expands to.
    pub(super) tips: Vec<String>,
    /// The names of states and conclusions.
    pub(super) targets: BTreeSet<String>,
}

impl Outline {
    /// Adds the names of a file.
    pub(super) fn add(&mut self, root: &Node) {
        for (key, test) in entry(root, "tests").map(map).unwrap_or(&[]) {
            let outcomes = entry(test, "outcomes").map(map).unwrap_or(&[]);
            let answers = entry(test, "ask").and_then(|ask| entry(ask, "answers")).map(map).unwrap_or(&[]);
            let names = outcomes.iter().chain(answers).map(|(key, _)| key.name.clone());
            self.tests.insert(key.name.clone(), names.chain(OWN_OUTCOMES.map(str::to_owned)).collect());
        }
        for tip in entry(root, "tips").map(list).unwrap_or(&[]) {
            if let Kind::Scalar(Value::String(name)) = &tip.kind {
                self.tips.push(name.clone());
            }
        }
        let conclusions = entry(root, "conclusions").map(map).unwrap_or(&[]);
        let states = entry(root, "states").map(map).unwrap_or(&[]);
        self.targets.extend(conclusions.iter().chain(states).map(|(key, _)| key.name.clone()));
        self.targets.insert(CONCLUDE.to_owned());
    }
}

/// The name of the shared file that a policy uses.
pub(super) fn used_by(root: &Node) -> Option<String> {
    match &entry(root, "use")?.kind {
        Kind::Scalar(Value::String(name)) => Some(name.clone()),
        _ => None,
    }
}

/// Whether a file is in the old format, in which every state defined its own transitions.
pub(super) fn is_first_form(root: &Node) -> bool {
    let states = entry(root, "states").map(map).unwrap_or(&[]);
    let old = |state: &Node| ["run", "conclude", "outcomes", "ask"].iter().any(|key| entry(state, key).is_some());
    entry(root, "exhausted").is_some() || states.iter().any(|(_, state)| old(state))
}

/// Explains how each state of the old format is written now.
pub(super) fn refuse_first_form(root: &Node, problems: &mut Problems<'_>) {
    let message = "this policy is in the old format, which is no longer supported";
    let help = "`docs/POLICIES.md` describes the current format; the problems below explain how to convert each state";
    problems.add_help(root.place, message, help);
    for (key, state) in entry(root, "states").map(map).unwrap_or(&[]) {
        let name = &key.name;
        let help = if entry(state, "run").is_some() {
            format!(
                "move it to `tests:` as `{name}`, with the keys of `run` one level up; outcomes become a map of names \
                 and conditions, and an outcome that led to a conclusion becomes its `cause`"
            )
        } else if entry(state, "ask").is_some() {
            format!(
                "move it to `tests:` as `{name}`; each answer that led to a conclusion names it: `{{ found: data_pipeline }}`"
            )
        } else if entry(state, "conclude").is_some() {
            format!(
                "make it the `cause` of the test that leads to it, or move it to `conclusions:` as `{name}`; drop `confidence`"
            )
        } else {
            "list the tests that it chooses from in a state with `try`; its conditions become their `suspect` or `when`"
                .to_owned()
        };
        problems.add_help(key.place, format!("state `{name}` is in the old format"), help);
    }
}

pub(super) fn map(node: &Node) -> &[(Key, Node)] {
    if let Kind::Map(entries) = &node.kind { entries } else { &[] }
}

fn list(node: &Node) -> &[Node] {
    if let Kind::List(items) = &node.kind { items } else { &[] }
}

fn entry<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    map(node).iter().find(|(key, _)| key.name == name).map(|(_, value)| value)
}
