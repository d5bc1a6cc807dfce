//! Computes the knobs of an experiment or of a recommendation from a test and the known values.
//!
//! Owns: when a change is possible, and when it has no effect. Must not know: the order of tests.

use serde_json::Value;

use crate::facts::{Knobs, same_value};

use super::file::{Action, Change, Ladder, Policy, Run, SKIPPED, Settings, Test, UNAVAILABLE};
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

/// The changes of an experiment; the environment's attempt selects the value of a ladder.
///
/// # Errors
///
/// The script does not support a knob that the test needs, a value cannot be computed, or nothing would change.
pub(super) fn of_experiment(policy: &Policy, run: &Run, environment: Environment<'_>) -> Result<Knobs, Obstacle> {
    let own = of_one(run, environment, policy.vocabulary());
    if run.together.is_empty() {
        return own;
    }
    let parts = parts(policy, run, environment);
    if parts.len() < 2 {
        return Err(Obstacle { outcome: SKIPPED, why: "fewer than two of its changes are possible".to_owned() });
    }
    let mut knobs = own.unwrap_or_default();
    parts.into_iter().for_each(|(_, changes)| knobs.extend(changes));
    Ok(knobs)
}

/// The tests whose changes an experiment makes together, with these changes, as far as they are possible. A change that
/// did not help alone may help with others.
fn parts<'p>(policy: &'p Policy, run: &Run, environment: Environment<'_>) -> Vec<(&'p Test, Knobs)> {
    let named = run.together.iter().filter_map(|name| policy.test(name));
    let changes = |test: &'p Test| {
        let Action::Run(run) = &test.action else { return None };
        let holds = |guard| Evaluator::new(environment).holds(guard);
        let applies = test.when.as_ref().is_none_or(holds) && !test.skips.iter().any(|skip| holds(&skip.when));
        let changes = of_one(run, environment, policy.vocabulary()).ok().filter(|_| applies)?;
        Some((test, changes))
    };
    named.filter_map(changes).collect()
}

/// The tests whose changes were part of the experiment of a test with `together`.
pub(super) fn made<'p>(policy: &'p Policy, test: &Test, environment: Environment<'_>) -> Vec<&'p Test> {
    let (Action::Run(run), Some(changes)) = (&test.action, environment.case.changes.get(&test.name)) else {
        return Vec::new();
    };
    let part_of = |own: &Knobs| own.iter().all(|(knob, value)| changes.get(knob).is_some_and(|v| same_value(v, value)));
    parts(policy, run, environment).into_iter().filter(|(_, own)| part_of(own)).map(|(test, _)| test).collect()
}

/// The changes that a test makes by itself.
fn of_one(run: &Run, environment: Environment<'_>, vocabulary: &Vocabulary) -> Result<Knobs, Obstacle> {
    let unavailable = |why: String| Obstacle { outcome: UNAVAILABLE, why };
    let case = environment.case;
    if let Some(from) = &run.settings.from
        && !case.changes.contains_key(from)
    {
        return Err(unavailable(format!("it builds on `{from}`, which had no experiment")));
    }
    let mut wanted = resolve(&run.settings, environment, vocabulary);
    if let Some(ladder) = &run.ladder {
        wanted.push((ladder.knob.clone(), rung(ladder, environment, vocabulary)));
    }
    let mut knobs = Knobs::new();
    let mut left_out = Vec::new();
    for (knob, value) in wanted {
        let value = if has_knob(case, &knob, vocabulary) {
            value
        } else {
            Err(format!("the script does not support `{knob}`"))
        };
        match value {
            Ok(value) => drop(knobs.insert(knob, value)),
            Err(why) if run.optional.contains(&knob) => left_out.push(why),
            Err(why) => return Err(unavailable(why)),
        }
    }
    let wanted = knobs.len();
    knobs.retain(|knob, value| !environment.baseline.knobs.get(knob).is_some_and(|now| same_value(now, value)));
    // Without what is its own, it would repeat the test that it builds on.
    let repeats = run.settings.from.as_ref().and_then(|from| case.changes.get(from)) == Some(&knobs);
    match (knobs.is_empty() || repeats, left_out.is_empty()) {
        (false, _) => Ok(knobs),
        (true, false) if repeats || wanted == 0 => Err(unavailable(left_out.join("; "))),
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
        None if known => Err("all values of its ladder were tried".to_owned()),
        None => Err(format!("the baseline's `{}` is unknown", ladder.knob)),
    }
}

/// The settings of a recommendation, without values that cannot be computed and knobs that the script does not support.
pub(super) fn of_recommendation(settings: &Settings, environment: Environment<'_>, words: &Vocabulary) -> Knobs {
    let known = resolve(settings, environment, words).into_iter().filter_map(|(knob, value)| Some((knob, value.ok()?)));
    known.filter(|(knob, _)| has_knob(environment.case, knob, words)).collect()
}

/// Each knob once, with its value or the reason why there is none.
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

/// The value that a change assigns to a knob, or the reason why there is none.
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
            let now = now.ok_or_else(|| format!("the baseline's `{knob}` is unknown"))?;
            Datum::Number(now * factor).to_json()
        }
        Change::Computed(expression) => {
            let mut evaluator = Evaluator::new(environment);
            let value = evaluator.value(expression).to_json().filter(|_| !evaluator.faulty());
            let remarks = evaluator.remarks();
            if value.is_none() && !remarks.is_empty() {
                return Err(format!("`{knob}` cannot be computed: {remarks}"));
            }
            value
        }
    };
    let value = value.ok_or_else(|| format!("`{knob}` cannot be computed: its value is not finite"))?;
    Ok(typed(vocabulary, knob, value))
}

/// Integer knobs are rounded. Float knobs always get a float, because scripts and their libraries distinguish 1 from
/// 1.0.
fn typed(vocabulary: &Vocabulary, knob: &str, value: Value) -> Value {
    match (value.as_f64(), vocabulary.knobs.get(knob)) {
        #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and no count is near its bounds")]
        (Some(number), Some(KnobKind::Integer)) => Value::from(number.round() as i64),
        (Some(number), Some(KnobKind::Number)) => Value::from(number),
        _ => value,
    }
}

/// If its knobs are not listed, a script is assumed to support the standard ones, and none of a policy's additional
/// knobs.
pub(super) fn has_knob(case: &CaseFacts, knob: &str, vocabulary: &Vocabulary) -> bool {
    let listed = match &case.knobs {
        Some(knobs) => knobs.contains(knob),
        None => !vocabulary.brought.contains(knob),
    };
    listed && !case.missing_knobs.contains(knob)
}

/// The experiment with exactly these changes.
pub(super) fn tried_before<'c>(case: &'c CaseFacts, knobs: &Knobs) -> Option<&'c Tried> {
    let same = |other: &Knobs| {
        other.len() == knobs.len()
            && other.iter().all(|(knob, value)| knobs.get(knob).is_some_and(|v| same_value(v, value)))
    };
    case.tried.iter().find(|tried| same(&tried.changes))
}
