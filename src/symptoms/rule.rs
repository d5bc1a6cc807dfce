//! A rule over the evidence as data: its conditions, its exceptions, and its text.

use serde_json::Map;

use super::{Finding, Severity};
use crate::evidence::{Evidence, Measured, QUANTITIES, Quantity};

/// One condition. An unknown quantity satisfies none.
#[derive(Debug, Clone, Copy)]
pub enum Test {
    /// The value is above a number.
    Above(Quantity, f64),
    /// The value is at least a number.
    AtLeast(Quantity, f64),
    /// The value is below a number.
    Below(Quantity, f64),
    /// The standard error of the value is at most a number.
    Sure(Quantity, f64),
    /// The value is based on at least this many points.
    Support(Quantity, f64),
    /// All of these conditions are true.
    All(&'static [Test]),
    /// One of these conditions is true.
    Any(&'static [Test]),
}

impl Test {
    /// Whether the evidence satisfies it.
    pub fn holds(&self, evidence: &Evidence) -> bool {
        let measured = |quantity, meets: &dyn Fn(Measured) -> bool| evidence.measured(quantity).is_some_and(meets);
        match *self {
            Test::Above(quantity, number) => measured(quantity, &|m| m.value > number),
            Test::AtLeast(quantity, number) => measured(quantity, &|m| m.value >= number),
            Test::Below(quantity, number) => measured(quantity, &|m| m.value < number),
            Test::Sure(quantity, number) => measured(quantity, &|m| m.error <= number),
            Test::Support(quantity, number) => measured(quantity, &|m| m.support as f64 >= number),
            Test::All(tests) => tests.iter().all(|test| test.holds(evidence)),
            Test::Any(tests) => tests.iter().any(|test| test.holds(evidence)),
        }
    }

    /// The quantities that it uses.
    fn quantities(&self) -> Vec<Quantity> {
        match *self {
            Test::All(tests) | Test::Any(tests) => tests.iter().flat_map(Test::quantities).collect(),
            Test::Above(q, _) | Test::AtLeast(q, _) | Test::Below(q, _) | Test::Sure(q, _) | Test::Support(q, _) => {
                vec![q]
            }
        }
    }
}

/// The conditions and the severity of a symptom.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its name, unique within its symptom.
    pub name: &'static str,
    /// Its severity.
    pub severity: Severity,
    /// All of these conditions must be true.
    pub when: &'static [Test],
    /// None of these conditions may be true.
    pub unless: &'static [Test],
    /// The text, with quantities in braces: `{id}`, `{id%}` for per cent, `{a|b}` for the first known one, `{tag:id}`
    /// for the tag in which it was measured.
    pub(super) says: &'static str,
}

impl Rule {
    /// Whether the evidence satisfies it.
    pub fn holds(&self, evidence: &Evidence) -> bool {
        Test::All(self.when).holds(evidence) && !Test::Any(self.unless).holds(evidence)
    }

    /// The text with the numbers of the evidence.
    pub(super) fn in_words(&self, evidence: &Evidence) -> String {
        let mut words = String::new();
        let mut rest = self.says;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            words.push_str(before);
            words.push_str(&said(name, evidence));
            rest = after;
        }
        words + rest
    }

    fn finding(&self, symptom: &Symptom, evidence: &Evidence) -> Finding {
        let asked = Test::All(self.when).quantities();
        // Maturity and support are conditions of every rule; the observation is in the quantity after them.
        let about = asked.iter().copied().find(|q| *q != Quantity::Maturity).unwrap_or(Quantity::Points);
        let steps = evidence.measured(about).map_or((0, 0), |measured| measured.steps);
        let mut numbers = Map::new();
        for quantity in asked.iter().copied().chain(QUANTITIES.iter().copied().filter(|q| self.names(*q))) {
            if let Some(value) = evidence.get(quantity) {
                numbers.insert(quantity.id().to_owned(), value.into());
            }
        }
        Finding {
            symptom: symptom.id.to_owned(),
            rule: self.name.to_owned(),
            severity: self.severity,
            tag: evidence.tag(about).to_owned(),
            first_step: steps.0,
            last_step: steps.1,
            summary: self.in_words(evidence),
            numbers,
        }
    }

    fn names(&self, quantity: Quantity) -> bool {
        self.says.contains(&format!("{{{}}}", quantity.id())) || self.says.contains(&format!("{{{}%}}", quantity.id()))
    }
}

/// One name in braces.
fn said(name: &str, evidence: &Evidence) -> String {
    let find = |id: &str| QUANTITIES.iter().copied().find(|quantity| quantity.id() == id);
    if let Some(id) = name.strip_prefix("tag:") {
        return find(id).map_or_else(|| "??".to_owned(), |quantity| evidence.tag(quantity).to_owned());
    }
    let (names, per_cent) = name.strip_suffix('%').map_or((name, false), |names| (names, true));
    let Some(quantities) = names.split('|').map(find).collect::<Option<Vec<Quantity>>>() else {
        return "??".to_owned();
    };
    let Some(value) = quantities.into_iter().find_map(|quantity| evidence.get(quantity)) else {
        return "an unknown value".to_owned();
    };
    if per_cent { format!("{} %", shown(100.0 * value)) } else { shown(value) }
}

/// A number for people: integers in full, very large and very small numbers by their order of magnitude.
pub fn shown(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 && value.abs() < 1e6 => format!("{value:.0}"),
        size if !(1e-3..1e6).contains(&size) => format!("{value:.3e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.4}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

/// A kind of problem that a job can show.
#[derive(Debug, Clone, Copy)]
pub struct Symptom {
    /// The id in the contract, which is also the file name.
    pub id: &'static str,
    /// One-line definition.
    pub summary: &'static str,
    /// The rules; the first matching rule applies.
    pub rules: &'static [Rule],
}

impl Symptom {
    /// Applies the rules to the evidence of a job.
    pub fn find(&self, evidence: &Evidence) -> Option<Finding> {
        self.rules.iter().find(|rule| rule.holds(evidence)).map(|rule| rule.finding(self, evidence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_can_be_read() {
        assert_eq!([2.302, 0.0, 5.3e27, -2e-5, 117.4].map(shown), ["2.302", "0", "5.300e27", "-2.000e-5", "117"]);
    }
}
