//! Whether a rule matches a message.

use serde_json::Value;

use super::Opening;
use crate::case::Message;
use crate::config::{KnobTest, Rule};
use crate::facts::Knobs;

/// The parts of a message that rules use.
pub(super) struct Subject<'a> {
    job: &'a str,
    knobs: &'a Knobs,
    symptoms: Vec<&'a str>,
    verdict: Option<&'a str>,
}

impl<'a> Subject<'a> {
    /// From a message and its baseline's knobs.
    pub(super) fn of_message(message: &'a Message, knobs: &'a Knobs) -> Subject<'a> {
        let symptoms = message.body.about().into_iter().flat_map(|about| &about.symptoms).map(String::as_str).collect();
        Subject { job: &message.subject, knobs, symptoms, verdict: message.body.verdict() }
    }

    /// From the message that opened a case.
    pub(super) fn of_opening(opening: &'a Opening) -> Subject<'a> {
        let symptoms = opening.symptoms.iter().map(String::as_str).collect();
        Subject { job: &opening.job, knobs: &opening.knobs, symptoms, verdict: None }
    }

    /// The job.
    pub(super) fn job(&self) -> &str {
        self.job
    }

    /// Whether a rule matches: all its conditions are true.
    pub(super) fn suits(&self, rule: &Rule) -> bool {
        let among = |names: &[String], name: &str| names.iter().any(|known| known == name);
        (rule.jobs.is_empty() || rule.jobs.iter().any(|glob| glob.matches(self.job)))
            && (rule.symptoms.is_empty() || self.symptoms.iter().any(|symptom| among(&rule.symptoms, symptom)))
            && (rule.verdicts.is_empty() || self.verdict.is_some_and(|verdict| among(&rule.verdicts, verdict)))
            && rule.knobs.iter().all(|(name, test)| self.knobs.get(name).is_some_and(|value| passes(value, test)))
    }
}

fn passes(value: &Value, test: &KnobTest) -> bool {
    match test {
        KnobTest::OneOf(values) => values.iter().any(|wanted| same(value, wanted)),
        KnobTest::Within { at_least, at_most } => value.as_f64().is_some_and(|number| {
            at_least.is_none_or(|least| number >= least) && at_most.is_none_or(|most| number <= most)
        }),
    }
}

/// Numbers are equal regardless of their spelling: 1 and 1.0.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}
