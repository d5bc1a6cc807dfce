//! The knobs of an experiment or of a recommendation, worked out from what a test says and what is known.
//!
//! Owns: when a change can be made and when it is none. Must not know: the order of tests.

use serde_json::Value;

use crate::facts::{Knobs, same_value};

use super::file::{Change, Ladder, Run, SKIPPED, Settings, UNAVAILABLE};
use super::guard::{Datum, Evaluator};
use super::vocabulary::{KnobKind, Vocabulary};
use super::{CaseFacts, Environment, Tried};

/// Why a test has no experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    /// `skipped` or `unavailable`.
    pub(super) outcome: &'static str,
    pub(super) why: String,
}

/// The changes of an experiment; the environment's attempt says which value of a ladder it has.
///
/// # Errors
///
/// The script does not have a knob that the test needs, a value cannot be worked out, or nothing is left to change.
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
        return Err(unavailable(format!("it builds on `{from}`, which made no experiment")));
    }
    let mut wanted = resolve(&run.settings, environment, vocabulary);
    if let Some(ladder) = &run.ladder {
        wanted.push((ladder.knob.clone(), rung(ladder, environment, vocabulary)));
    }
    let mut knobs = Knobs::new();
    let mut left_out = Vec::new();
    for (knob, value) in wanted {
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

/// The value of a ladder's knob at an attempt.
fn rung(ladder: &Ladder, environment: Environment<'_>, vocabulary: &Vocabulary) -> Result<Value, String> {
    let known = matches!(environment.baseline.knobs.get(&ladder.knob), Some(value) if !value.is_null());
    let values = if known { &ladder.known } else { &ladder.unknown };
    let at = usize::try_from(environment.attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    match values.get(at) {
        Some(change) => value_of(&ladder.knob, change, environment, vocabulary),
        None if known => Err("every value of its ladder was tried".to_owned()),
        None => Err(format!("the baseline's `{}` is not known", ladder.knob)),
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
        resolved.push((knob.clone(), value_of(knob, change, environment, vocabulary)));
    }
    resolved
}

/// The value that a change gives a knob, or why there is none.
fn value_of(
    knob: &str,
    change: &Change,
    environment: Environment<'_>,
    vocabulary: &Vocabulary,
) -> Result<Value, String> {
    let value = match change {
        Change::To(value) => return Ok(typed(vocabulary, knob, value.clone())),
        Change::Times(factor) => {
            let now = environment.baseline.knobs.get(knob).and_then(Value::as_f64);
            let now = now.ok_or_else(|| format!("the baseline's `{knob}` is not known"))?;
            Datum::Number(now * factor).to_json()
        }
        Change::Computed(expression) => {
            let mut evaluator = Evaluator::new(environment);
            let value = evaluator.value(expression).to_json().filter(|_| !evaluator.faulty());
            let remarks = evaluator.remarks();
            if value.is_none() && !remarks.is_empty() {
                return Err(format!("`{knob}` cannot be worked out: {remarks}"));
            }
            value
        }
    };
    let value = value.ok_or_else(|| format!("`{knob}` cannot be worked out: its value is not finite"))?;
    Ok(typed(vocabulary, knob, value))
}

/// A knob that takes whole numbers gets the nearest one. One that takes fractions gets one, whole or not: scripts and their
/// libraries tell 1 from 1.0.
fn typed(vocabulary: &Vocabulary, knob: &str, value: Value) -> Value {
    match (value.as_f64(), vocabulary.knobs.get(knob)) {
        #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and no count is near its bounds")]
        (Some(number), Some(KnobKind::Integer)) => Value::from(number.round() as i64),
        (Some(number), Some(KnobKind::Number)) => Value::from(number),
        _ => value,
    }
}

/// A script whose knobs are not listed is taken to have those of the contract, and none that a policy brings.
pub(super) fn has_knob(case: &CaseFacts, knob: &str, vocabulary: &Vocabulary) -> bool {
    let listed = match &case.knobs {
        Some(knobs) => knobs.contains(knob),
        None => !vocabulary.brought.contains(knob),
    };
    listed && !case.missing_knobs.contains(knob)
}

/// The experiment that had exactly these changes.
pub(super) fn tried_before<'c>(case: &'c CaseFacts, knobs: &Knobs) -> Option<&'c Tried> {
    let same = |other: &Knobs| {
        other.len() == knobs.len()
            && other.iter().all(|(knob, value)| knobs.get(knob).is_some_and(|v| same_value(v, value)))
    };
    case.tried.iter().find(|tried| same(&tried.changes))
}
