//! The knobs of an experiment or of a recommendation, worked out from what a state says and what is known.
//!
//! Owns: when a change can be made and when it is none. Must not know: the order of states.

use serde_json::Value;

use crate::facts::{Knobs, same_value};

use super::file::{Change, Run, SKIPPED, Settings, UNAVAILABLE};
use super::guard::Evaluator;
use super::vocabulary::{KnobKind, Vocabulary};
use super::{CaseFacts, Environment};

/// Why a state has no experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    /// `skipped` or `unavailable`.
    pub(super) outcome: &'static str,
    pub(super) why: String,
}

/// The changes of an experiment.
///
/// # Errors
///
/// The script has not got a knob that the state needs, a value cannot be worked out, or nothing is left to change.
pub(super) fn of_experiment(
    run: &Run,
    environment: Environment<'_>,
    vocabulary: &Vocabulary,
) -> Result<Knobs, Obstacle> {
    let unavailable = |why: String| Obstacle { outcome: UNAVAILABLE, why };
    let case = environment.case;
    if let Some(from) = &run.settings.from
        && !case.changes.contains_key(from)
    {
        return Err(unavailable(format!("it builds on `{from}`, which ran no experiment")));
    }
    let mut knobs = Knobs::new();
    let mut left_out = Vec::new();
    for (knob, value) in resolve(&run.settings, environment, vocabulary) {
        let value = if has_knob(case, &knob, vocabulary) { value } else { Err(format!("the script has no `{knob}`")) };
        match value {
            Ok(value) => drop(knobs.insert(knob, value)),
            Err(why) if run.optional.contains(&knob) => left_out.push(why),
            Err(why) => return Err(unavailable(why)),
        }
    }
    let wanted = knobs.len();
    knobs.retain(|knob, value| !environment.baseline.knobs.get(knob).is_some_and(|now| same_value(now, value)));
    match (knobs.is_empty(), wanted) {
        (false, _) => Ok(knobs),
        (true, 0) if !left_out.is_empty() => Err(unavailable(left_out.join("; "))),
        (true, _) => Err(Obstacle { outcome: SKIPPED, why: "the baseline already has these settings".to_owned() }),
    }
}

/// The settings of a recommendation: what cannot be worked out, or what the script has not got, is left out.
pub(super) fn of_recommendation(settings: &Settings, environment: Environment<'_>, words: &Vocabulary) -> Knobs {
    let known = resolve(settings, environment, words).into_iter().filter_map(|(knob, value)| Some((knob, value.ok()?)));
    known.filter(|(knob, _)| has_knob(environment.case, knob, words)).collect()
}

/// Each knob once, with its value or why there is none.
fn resolve(
    settings: &Settings,
    environment: Environment<'_>,
    vocabulary: &Vocabulary,
) -> Vec<(String, Result<Value, String>)> {
    let inherited = settings.from.as_ref().and_then(|from| environment.case.changes.get(from));
    let mut resolved: Vec<(String, Result<Value, String>)> = inherited
        .into_iter()
        .flatten()
        .filter(|(knob, _)| !settings.without.contains(*knob))
        .filter(|(knob, _)| settings.changes.iter().all(|(changed, _)| changed != *knob))
        .map(|(knob, value)| (knob.clone(), Ok(value.clone())))
        .collect();
    for (knob, change) in &settings.changes {
        let value = match change {
            Change::To(value) => Ok(value.clone()),
            Change::Computed(expression) => {
                let mut evaluator = Evaluator::new(environment);
                let value = evaluator.value(expression).to_json();
                value.filter(|_| !evaluator.faulty()).map(|value| whole(vocabulary, knob, value)).ok_or_else(|| {
                    let why = evaluator.remarks();
                    let why = if why.is_empty() { "its value is not finite".to_owned() } else { why };
                    format!("`{knob}` cannot be worked out: {why}")
                })
            }
        };
        resolved.push((knob.clone(), value.map(|value| float(vocabulary, knob, value))));
    }
    resolved
}

/// A knob that takes fractions gets one, whole or not: scripts and their libraries tell 1 from 1.0.
fn float(vocabulary: &Vocabulary, knob: &str, value: Value) -> Value {
    match value.as_f64() {
        Some(number) if vocabulary.knobs.get(knob) == Some(&KnobKind::Number) => Value::from(number),
        _ => value,
    }
}

/// A knob that takes whole numbers gets the nearest one.
fn whole(vocabulary: &Vocabulary, knob: &str, value: Value) -> Value {
    let integer = vocabulary.knobs.get(knob) == Some(&KnobKind::Integer);
    match value.as_f64() {
        #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and no count is near its bounds")]
        Some(number) if integer => Value::from(number.round() as i64),
        _ => value,
    }
}

/// A script whose knobs the site does not list is taken to have those of the contract, and none that a policy brings.
fn has_knob(case: &CaseFacts, knob: &str, vocabulary: &Vocabulary) -> bool {
    let listed = match &case.knobs {
        Some(knobs) => knobs.contains(knob),
        None => !vocabulary.brought.contains(knob),
    };
    listed && !case.missing_knobs.contains(knob)
}

/// The state whose newest experiment had exactly these changes.
pub(super) fn asked_before<'c>(case: &'c CaseFacts, knobs: &Knobs) -> Option<&'c str> {
    let same = |other: &Knobs| {
        other.len() == knobs.len()
            && other.iter().all(|(knob, value)| knobs.get(knob).is_some_and(|v| same_value(v, value)))
    };
    case.changes.iter().find(|(_, changes)| same(changes)).map(|(state, _)| state.as_str())
}
