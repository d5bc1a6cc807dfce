//! The meaning of names in expressions.
//!
//! Owns: the table of names and the messages for wrong ones. Must not know: grammar.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::Field;
use crate::policy::vocabulary::{ConstantValue, Vocabulary};
use crate::yaml::suggest;

use super::{Datum, Expression, Job, Node, Read, Type};

/// When an expression is evaluated; `experiment` exists only in the outcomes of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum When {
    Entering,
    Judging,
    /// A value for a script: names are knobs, and nothing else is available.
    Writing,
}

/// The names that an expression can use.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) struct Names<'a> {
    pub(in crate::policy) vocabulary: &'a Vocabulary,
    pub(in crate::policy) constants: &'a BTreeMap<String, ConstantValue>,
    /// Named conditions, each with when it can be evaluated.
    pub(in crate::policy) conditions: &'a BTreeMap<String, (When, Expression)>,
    /// Every test with the names of its outcomes.
    pub(in crate::policy) tests: &'a BTreeMap<String, BTreeSet<String>>,
    pub(in crate::policy) when: When,
}

/// A wrong name: the problem and a suggestion.
pub(super) type Wrong = (String, Option<String>);

const ROOTS: [&str; 4] = ["baseline", "experiment", "case", "attempt"];
const CASE: [&str; 7] = ["experiments", "hours", "promising", "outcomes", "entered", "shown", "changes"];

impl Names<'_> {
    /// The meaning of a dotted name, with its type.
    pub(super) fn resolve(&self, path: &[&str], source: &str) -> Result<(Node, Type), Wrong> {
        let read = |(read, kind)| Ok((Node::Read(read, source.to_owned()), kind));
        match path {
            _ if self.when == When::Writing => self.written(path, source),
            ["attempt"] => read((Read::Attempt, Type::Number)),
            [name] if self.constants.contains_key(*name) => Ok(constant(&self.constants[*name])),
            [name] if self.conditions.contains_key(*name) => self.condition(name),
            ["case", "experiments"] => read((Read::Experiments, Type::Number)),
            ["case", "hours"] => read((Read::Hours, Type::Number)),
            ["case", "promising"] => read((Read::Promising, Type::Number)),
            ["case", "outcomes", test] => read((Read::Outcome(self.test(test)?), Type::Text)),
            ["case", "entered", test] => read((Read::Entered(self.test(test)?), Type::Number)),
            ["case", "shown", test, name] => read(self.of_job(Job::Shown(self.test(test)?), name)?),
            ["case", "changes", test, knob] => {
                let test = self.test(test)?;
                match self.vocabulary.knobs.get(*knob) {
                    Some(kind) => read((Read::Changed(test, (*knob).to_owned()), Type::Knob(*kind))),
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

    /// A knob by its name alone, or the value to write.
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

    /// The job that a path names, if any.
    pub(super) fn job(&self, path: &[&str]) -> Option<Result<Job, Wrong>> {
        match path {
            ["baseline"] => Some(Ok(Job::Baseline)),
            ["experiment"] if self.when == When::Judging => Some(Ok(Job::Experiment)),
            ["experiment"] => Some(Err((
                "`experiment` is not available here".to_owned(),
                Some("`experiment` is available in outcomes and `judge`; elsewhere use `case.shown.TEST`".to_owned()),
            ))),
            ["case", "shown", test] => Some(self.test(test).map(Job::Shown)),
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

    /// Checks the outcome name in a comparison.
    pub(super) fn outcome(&self, test: &str, outcome: &str) -> Result<(), Wrong> {
        match self.tests.get(test) {
            Some(known) if !outcome.is_empty() && !known.contains(outcome) => {
                let help = suggest(outcome, known.iter().map(String::as_str));
                Err((format!("test `{test}` has no outcome `{outcome}`"), help))
            }
            _ => Ok(()),
        }
    }

    fn test(&self, name: &str) -> Result<String, Wrong> {
        if self.tests.contains_key(name) {
            return Ok(name.to_owned());
        }
        Err((format!("there is no test `{name}`"), suggest(name, self.tests.keys().map(String::as_str))))
    }

    fn condition(&self, name: &str) -> Result<(Node, Type), Wrong> {
        let (when, expression) = &self.conditions[name];
        if *when == When::Judging && self.when == When::Entering {
            let help = "it needs an experiment, and there is none here".to_owned();
            return Err((format!("`{name}` is a judgement"), Some(help)));
        }
        Ok((expression.node.clone(), Type::Bool))
    }

    fn of_job(&self, job: Job, name: &str) -> Result<(Read, Type), Wrong> {
        if let Some(field) = Field::named(name) {
            return Ok((Read::Fact(job, field), Type::of_fact(field.kind)));
        }
        if let Some(kind) = self.vocabulary.knobs.get(name) {
            return Ok((Read::Knob(job, name.to_owned()), Type::Knob(*kind)));
        }
        let known = Field::all().map(|field| field.name).chain(self.vocabulary.knobs.keys().map(String::as_str));
        Err((format!("jobs have no fact and no knob `{name}`"), suggest(name, known)))
    }

    fn unknown(&self, path: &[&str]) -> Wrong {
        match path {
            ["baseline" | "experiment"] => (
                format!("`{}` is a job: add one of its facts or knobs", path[0]),
                Some(format!("for example `{}.learned`", path[0])),
            ),
            ["case", name, ..] if !CASE.contains(name) => {
                (format!("`case` has no part `{name}`"), suggest(name, CASE))
            }
            ["case", ..] => (
                format!("`{}` is not a value", path.join(".")),
                Some("write case.experiments, case.hours, case.promising, case.outcomes.TEST, case.entered.TEST, case.shown.TEST.FACT or case.changes.TEST.KNOB".to_owned()),
            ),
            [root, ..] => {
                let named = self.constants.keys().chain(self.conditions.keys()).map(String::as_str);
                let known = ROOTS.into_iter().chain(named);
                (format!("unknown name `{root}`"), suggest(root, known))
            }
            [] => ("a name is missing".to_owned(), None),
        }
    }
}

fn constant(value: &ConstantValue) -> (Node, Type) {
    match value {
        ConstantValue::Number(number) => (Node::Constant(Datum::Number(*number)), Type::Number),
        ConstantValue::Texts(texts) => {
            let texts = texts.iter().map(|text| Datum::Text(text.clone())).collect();
            (Node::Constant(Datum::List(texts)), Type::Texts)
        }
    }
}
