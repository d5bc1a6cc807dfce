//! What the names in an expression stand for.
//!
//! Owns: the table of names and what is said of a wrong one. Must not know: grammar.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::FIELDS;
use crate::policy::vocabulary::Vocabulary;
use crate::yaml::suggest;

use super::{Job, Node, Read, Type};
use crate::policy::guard::Datum;

/// When an expression is read: only an outcome of a `run` has an experiment to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum When {
    Entering,
    Judging,
    /// A value is written for a script: names are knobs, and nothing else is known.
    Writing,
}

/// The names that an expression may use.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) struct Names<'a> {
    pub(in crate::policy) vocabulary: &'a Vocabulary,
    pub(in crate::policy) constants: &'a BTreeMap<String, f64>,
    /// Every state with the names of its outcomes.
    pub(in crate::policy) states: &'a BTreeMap<String, BTreeSet<String>>,
    pub(in crate::policy) when: When,
}

/// A wrong name: what is wrong, and what may be meant.
pub(super) type Wrong = (String, Option<String>);

const ROOTS: [&str; 4] = ["baseline", "experiment", "case", "attempt"];
const CASE: [&str; 6] = ["experiments", "hours", "outcomes", "entered", "shown", "changes"];

impl Names<'_> {
    /// What a dotted name stands for, with its type.
    pub(super) fn resolve(&self, path: &[&str], source: &str) -> Result<(Node, Type), Wrong> {
        let read = |(read, kind)| Ok((Node::Read(read, source.to_owned()), kind));
        match path {
            _ if self.when == When::Writing => self.written(path, source),
            ["attempt"] => read((Read::Attempt, Type::Number)),
            [name] if self.constants.contains_key(*name) => {
                Ok((Node::Constant(Datum::Number(self.constants[*name])), Type::Number))
            }
            ["case", "experiments"] => read((Read::Experiments, Type::Number)),
            ["case", "hours"] => read((Read::Hours, Type::Number)),
            ["case", "outcomes", state] => read((Read::Outcome(self.state(state)?), Type::Text)),
            ["case", "entered", state] => read((Read::Entered(self.state(state)?), Type::Number)),
            ["case", "shown", state, name] => read(self.of_job(Job::Shown(self.state(state)?), name)?),
            ["case", "changes", state, knob] => {
                let state = self.state(state)?;
                match self.vocabulary.knobs.get(*knob) {
                    Some(kind) => read((Read::Changed(state, (*knob).to_owned()), Type::Knob(*kind))),
                    None => Err((
                        format!("there is no knob `{knob}`"),
                        suggest(knob, self.vocabulary.knobs.keys().map(String::as_str)),
                    )),
                }
            }
            _ => match (self.job(path.split_last().map_or(&[], |(_, job)| job)), path.last()) {
                (Some(job), Some(name)) => read(self.of_job(job?, name)?),
                _ => Err(self.unknown(path)),
            },
        }
    }

    /// A knob by its name alone, or the value that is written.
    fn written(&self, path: &[&str], source: &str) -> Result<(Node, Type), Wrong> {
        let knobs = &self.vocabulary.knobs;
        match path {
            [name] if knobs.contains_key(*name) => Ok((
                Node::Read(Read::Knob(Job::Baseline, (*name).to_owned()), source.to_owned()),
                Type::Knob(knobs[*name]),
            )),
            [name, ..] => Err((format!("there is no knob `{name}`"), suggest(name, knobs.keys().map(String::as_str)))),
            [] => Err(("a name is missing".to_owned(), None)),
        }
    }

    /// The job that a path names, where it names one.
    pub(super) fn job(&self, path: &[&str]) -> Option<Result<Job, Wrong>> {
        match path {
            ["baseline"] => Some(Ok(Job::Baseline)),
            ["experiment"] if self.when == When::Judging => Some(Ok(Job::Experiment)),
            ["experiment"] => Some(Err((
                "there is no `experiment` here".to_owned(),
                Some(
                    "`experiment` is what the outcomes of a `run` judge; elsewhere read `case.shown.STATE`".to_owned(),
                ),
            ))),
            ["case", "shown", state] => Some(self.state(state).map(Job::Shown)),
            _ => None,
        }
    }

    /// Checks a symptom's id.
    pub(super) fn symptom(&self, id: &str) -> Result<(), Wrong> {
        if self.vocabulary.symptoms.contains(id) {
            return Ok(());
        }
        let help = suggest(id, self.vocabulary.symptoms.iter().map(String::as_str));
        Err((format!("there is no symptom `{id}`"), help))
    }

    /// Checks the name of an outcome that a state is compared with.
    pub(super) fn outcome(&self, state: &str, outcome: &str) -> Result<(), Wrong> {
        match self.states.get(state) {
            Some(known) if !outcome.is_empty() && !known.contains(outcome) => {
                let help = suggest(outcome, known.iter().map(String::as_str));
                Err((format!("state `{state}` has no outcome `{outcome}`"), help))
            }
            _ => Ok(()),
        }
    }

    fn state(&self, name: &str) -> Result<String, Wrong> {
        if self.states.contains_key(name) {
            return Ok(name.to_owned());
        }
        Err((format!("there is no state `{name}`"), suggest(name, self.states.keys().map(String::as_str))))
    }

    fn of_job(&self, job: Job, name: &str) -> Result<(Read, Type), Wrong> {
        if let Some(field) = FIELDS.iter().find(|field| field.name == name) {
            return Ok((Read::Fact(job, field.get), Type::of_fact(field.kind)));
        }
        if let Some(kind) = self.vocabulary.knobs.get(name) {
            return Ok((Read::Knob(job, name.to_owned()), Type::Knob(*kind)));
        }
        let known = FIELDS.iter().map(|field| field.name).chain(self.vocabulary.knobs.keys().map(String::as_str));
        Err((format!("a job has no fact and no knob `{name}`"), suggest(name, known)))
    }

    fn unknown(&self, path: &[&str]) -> Wrong {
        match path {
            ["baseline" | "experiment"] => (
                format!("`{}` is a job: name one of its facts or knobs", path[0]),
                Some(format!("for example `{}.learned`", path[0])),
            ),
            ["case", name, ..] if !CASE.contains(name) => {
                (format!("`case` has nothing called `{name}`"), suggest(name, CASE))
            }
            ["case", ..] => (
                format!("`{}` is not a value", path.join(".")),
                Some("write case.experiments, case.hours, case.outcomes[\"STATE\"], case.entered[\"STATE\"], case.shown.STATE.FACT or case.changes.STATE.KNOB".to_owned()),
            ),
            [root, ..] => {
                let known = ROOTS.into_iter().chain(self.constants.keys().map(String::as_str));
                (format!("unknown name `{root}`"), suggest(root, known))
            }
            [] => ("a name is missing".to_owned(), None),
        }
    }
}
