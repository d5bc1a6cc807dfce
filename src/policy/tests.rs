//! Tests of the policy engine as a whole.

mod gain;
mod problems;
mod promising;
mod together;
mod walks;

use super::{Policy, Vocabulary, parse};

pub(crate) const SAMPLE: &str = include_str!("../../tests/policy/sample.yaml");

pub(crate) fn vocabulary() -> Vocabulary {
    Vocabulary::new(["not_learning", "overfitting", "diverging", "non_finite"])
}

pub(crate) fn sample() -> Policy {
    read(SAMPLE)
}

pub(crate) fn read(text: &str) -> Policy {
    parse(text, "sample.yaml", &vocabulary()).unwrap_or_else(|problems| panic!("{}", show(&problems)))
}

fn show(problems: &[super::Problem]) -> String {
    problems.iter().map(|p| format!("{p}\n")).collect()
}
