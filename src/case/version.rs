//! The format in which cases are stored.
//!
//! Owns: reading all formats ever used. Must not know: where they are stored.

use serde_json::{Map, Value};

use super::Case;

/// The version of the current format. A new field with a default needs no new version; a change of the meaning or type
/// of a field does, with a step in `UPGRADES`.
pub const VERSION: u32 = 5;

/// The version of cases from before cases had one.
const FIRST: u32 = 1;

/// Step by step from the form of each version to the next, beginning with [`FIRST`].
const UPGRADES: [fn(&mut Value); (VERSION - FIRST) as usize] =
    [as_it_is, as_it_is, quantities_into_evidence, steps_were_updates];

/// Why a case cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// A newer nextrun wrote it.
    #[error("it has version {found}, this nextrun knows {VERSION}: run the newer version")]
    Newer {
        /// The version found.
        found: u64,
    },
    /// It does not have the format of a case.
    #[error("{0}")]
    Form(#[from] serde_json::Error),
}

impl Case {
    /// Reads a case in any format ever used.
    ///
    /// # Errors
    /// A newer version wrote it, or it is not a case.
    pub fn read(mut state: Value) -> Result<Case, CaseError> {
        let found = state.get("version").and_then(Value::as_u64).unwrap_or_else(|| u64::from(FIRST));
        if found > u64::from(VERSION) {
            return Err(CaseError::Newer { found });
        }
        let done = usize::try_from(found.saturating_sub(u64::from(FIRST))).unwrap_or(usize::MAX);
        for upgrade in UPGRADES.iter().skip(done) {
            upgrade(&mut state);
        }
        let case = serde_json::from_value(state)?;
        Ok(Case { version: VERSION, ..case })
    }
}

/// Fields missing in these formats have defaults in the types: the first format lacks its version, the second quiet
/// cases.
fn as_it_is(_: &mut Value) {}

/// Quantities that facts held beside their evidence until version 3.
const ONCE_BESIDE: [&str; 11] = [
    "steps",
    "loss_start",
    "loss_end",
    "loss_best",
    "progress",
    "accuracy",
    "non_finite_step",
    "finite_points",
    "validation_best",
    "peak_rate",
    "warming_up",
];

/// Moves the quantities of all facts into their evidence. `warming_up` was a truth value.
fn quantities_into_evidence(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(quantities_into_evidence),
        Value::Object(fields) => {
            if fields.contains_key("fits") {
                let mut known: Map<String, Value> = ONCE_BESIDE
                    .iter()
                    .filter_map(|name| Some(((*name).to_owned(), number(&fields.remove(*name)?)?)))
                    .collect();
                if let Some(Value::Object(evidence)) = fields.get("evidence") {
                    known.extend(evidence.clone());
                }
                fields.insert("evidence".to_owned(), Value::Object(known));
            }
            fields.values_mut().for_each(quantities_into_evidence);
        }
        _ => {}
    }
}

/// Until version 4, each step of a loss was taken for an update, and the number of updates was in the settings alone.
fn steps_were_updates(case: &mut Value) {
    let planned = case.pointer("/settings/max_steps").and_then(number);
    if let (Some(planned), Some(Value::Object(evidence))) = (planned, case.pointer_mut("/baseline_facts/evidence")) {
        evidence.entry("updates").or_insert(planned);
    }
    let steps = case.pointer("/baseline_facts/evidence/steps").cloned().unwrap_or(Value::Null);
    if let Some(Value::Object(pace)) = case.get_mut("pace")
        && let Some(seconds) = pace.remove("seconds_per_step")
    {
        pace.insert("seconds_per_update".to_owned(), seconds);
        pace.insert("updates".to_owned(), steps);
    }
}

fn number(value: &Value) -> Option<Value> {
    value.as_f64().or_else(|| value.as_bool().map(|yes| f64::from(u8::from(yes)))).map(Value::from)
}

/// The runs that an unreadable stored case names as its experiments, as far as they can be found; they are not
/// baselines.
pub fn runs_named(state: &Value) -> Vec<String> {
    let experiments = state.get("experiments").and_then(Value::as_array).into_iter().flatten();
    let names = experiments.flat_map(|experiment| [experiment.get("run_name"), experiment.get("job")]);
    names.flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_a_second_for_each_step_is_one_for_each_update() {
        let kept: Value = serde_json::from_str(include_str!("../../tests/fixtures/cases/v4-pace.json")).unwrap();
        let case = Case { quiet: None, ..Case::read(kept).unwrap() };
        let pace = case.pace.expect("it was known");
        assert_eq!((pace.seconds_per_update, pace.updates, pace.gpus), (0.5, Some(299.0), 2.0));
        let cost = |changes: Value| case.expected_cost(&serde_json::from_value(changes).unwrap(), false);
        let seconds = |changes: Value| cost(changes).and_then(|cost| cost.seconds);
        assert_eq!(seconds(json!({"max_steps": 100})), Some(50.0));
        assert_eq!(seconds(json!({"learning_rate": 0.1})), Some(450.0), "its planned steps");
    }

    #[test]
    fn a_case_that_cannot_be_read_says_why_and_names_its_runs() {
        let newer =
            json!({"version": 99, "experiments": [{"run_name": "nextrun/a/01", "job": "by/hand"}, {"job": null}]});
        assert_eq!(runs_named(&newer), ["nextrun/a/01", "by/hand"]);
        let told = Case::read(newer).unwrap_err().to_string();
        assert!(told.contains("version 99") && told.contains("newer version"), "{told}");
        let told = Case::read(json!({"id": "c1"})).unwrap_err().to_string();
        assert!(told.contains("missing field"), "{told}");
        assert_eq!(runs_named(&Value::Null), Vec::<String>::new());
    }
}
