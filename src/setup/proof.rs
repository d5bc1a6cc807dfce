//! A run of two steps that verifies the mapping: its changes, and the interpretation of its events.

use serde_json::{Value, json};

use super::plan::{Logged, Plan};
use crate::command::{Rewritten, typed};
use crate::jobs::{Knobs, same_value};

/// Number of steps to run.
const STEPS: f64 = 2.0;

/// A script may count from 0 or 1, or finish an epoch; a run that exceeds this did not receive its length.
const ENOUGH: f64 = 10.0;

/// A short run.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Its changes.
    pub changes: Knobs,
    /// Its command.
    pub command: Rewritten,
}

/// One observation from the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Whether it confirms the mapping; `None` if it could not be observed.
    pub good: Option<bool>,
    /// In words.
    pub what: String,
}

/// The run that verifies name, length and learning rate, as far as the script supports them. `run_name` is where it
/// logs, relative to the log directory.
///
/// # Errors
///
/// Why nothing can be tested.
pub fn trial(plan: &Plan, run_name: &str) -> Result<Trial, String> {
    let has =
        |knob: &str| plan.rewritten(&Knobs::from([(knob.to_owned(), json!(STEPS))]), run_name).unplaced.is_empty();
    let mut changes = Knobs::new();
    if has("max_steps") {
        changes.insert("max_steps".to_owned(), json!(STEPS));
    }
    if has("learning_rate") {
        // Half of the previous value is not a default by coincidence.
        let rate = plan.rate().unwrap_or(1e-3) / 2.0;
        changes.insert("learning_rate".to_owned(), typed("learning_rate", &json!(rate)));
    }
    if changes.is_empty() {
        return Err("the script supports neither a learning rate nor a number of steps".to_owned());
    }
    let command = plan.rewritten(&changes, run_name);
    match command.unplaced.values().next() {
        Some(why) => Err(why.clone()),
        None => Ok(Trial { changes, command }),
    }
}

/// The results of the run: `logged` is what it logged, if anything; `ended` is its exit code, `None` if it had to be
/// stopped.
pub fn proofs(trial: &Trial, logged: Option<&Logged>, ended: Option<i32>) -> Vec<Proof> {
    let proof = |good: Option<bool>, what: String| Proof { good, what };
    let mut found = Vec::new();
    match ended {
        Some(0) => {}
        Some(code) => found.push(proof(Some(false), format!("the run ended with exit code {code}"))),
        None => found.push(proof(None, "the run took too long and was stopped".to_owned())),
    }
    let Some(logged) = logged else {
        found.push(proof(Some(false), "the run logged nothing in the requested directory".to_owned()));
        return found;
    };
    found.push(proof(Some(true), "the run logged in the requested directory".to_owned()));
    for (knob, wanted) in &trial.changes {
        let seen = logged.knobs.get(knob);
        let flag = trial.command.carried.get(knob).map_or(knob.as_str(), String::as_str);
        found.push(match (knob.as_str(), seen) {
            ("max_steps", _) => steps(logged.steps, flag, ended),
            (_, Some(value)) if same_value(value, wanted) => {
                proof(Some(true), format!("`{flag}` took effect: the run logged {knob} = {value}"))
            }
            (_, Some(value)) => {
                proof(Some(false), format!("`{flag}` was {wanted}, but the run logged {knob} = {value}"))
            }
            (_, None) => proof(None, format!("cannot verify `{flag}`: the script does not log its {}", words(knob))),
        });
    }
    found
}

fn steps(newest: Option<f64>, flag: &str, ended: Option<i32>) -> Proof {
    match newest {
        Some(newest) if newest <= ENOUGH => {
            Proof { good: Some(true), what: format!("`{flag}` took effect: the latest step is {newest}") }
        }
        Some(newest) => Proof {
            good: Some(false),
            what: format!(
                "`{flag}` requested {STEPS} steps, but the run logged step {newest}; perhaps it always finishes an epoch"
            ),
        },
        None if ended == Some(0) => Proof {
            good: None,
            what: format!("`{flag}`: the run ended on its own, and logged no loss within {STEPS} steps"),
        },
        None => Proof { good: None, what: format!("cannot verify `{flag}`: the run logged no loss") },
    }
}

fn words(knob: &str) -> String {
    knob.replace('_', " ")
}

impl Trial {
    /// Environment variables of the run. `folder` is where the run logs, as an absolute path.
    pub fn variables(&self, run_name: &str, folder: &str) -> Vec<(String, String)> {
        let output = format!("{folder}/output");
        let changes = Value::Object(self.changes.clone().into_iter().collect()).to_string();
        [
            ("NEXTRUN_SUGGESTION_ID", "init"),
            ("NEXTRUN_RUN_NAME", run_name),
            ("NEXTRUN_OVERRIDES", &changes),
            ("NEXTRUN_LOG_DIR", folder),
            ("NEXTRUN_OUTPUT_DIR", &output),
            ("WANDB_MODE", "offline"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
        .chain(self.command.env.clone())
        .collect()
    }
}
