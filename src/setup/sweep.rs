//! W&B sweep files: the command that they describe, with one value for each parameter.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The command of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// One argument per entry.
    pub argv: Vec<String>,
    /// Its parameters, each with the value in the command.
    pub parameters: BTreeMap<String, Value>,
}

/// Why a file is not a readable sweep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SweepError {
    /// It is not YAML of this form.
    #[error("it is not a valid sweep: {0}")]
    Form(String),
    /// It names no program.
    #[error("it names no `program` and no `command`")]
    NoProgram,
    /// A macro of the command is not supported.
    #[error("`{0}` in its `command` is not supported")]
    Macro(String),
}

#[derive(Deserialize)]
struct File {
    program: Option<String>,
    command: Option<Vec<Value>>,
    #[serde(default)]
    parameters: BTreeMap<String, Value>,
}

/// Reads a sweep file. `interpreter` runs its program unless its command names another one.
///
/// # Errors
///
/// The unsupported part.
pub fn sweep(text: &str, interpreter: &str) -> Result<Sweep, SweepError> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| SweepError::Form(error.to_string()))?;
    let mut parameters = BTreeMap::new();
    values("", &file.parameters, &mut parameters);
    let command = match (&file.command, &file.program) {
        (Some(words), _) => words.iter().map(word_of).collect(),
        (None, Some(_)) => ["${env}", "${interpreter}", "${program}", "${args}"].map(str::to_owned).to_vec(),
        (None, None) => return Err(SweepError::NoProgram),
    };
    let mut argv = Vec::new();
    for word in command {
        let Some(name) = word.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
            argv.push(word);
            continue;
        };
        match name {
            "env" => {}
            "interpreter" => argv.push(interpreter.to_owned()),
            "program" => argv.push(file.program.clone().ok_or(SweepError::NoProgram)?),
            "args" => argv.extend(parameters.iter().map(|(name, value)| format!("--{name}={}", word_of(value)))),
            "args_no_hyphens" => {
                argv.extend(parameters.iter().map(|(name, value)| format!("{name}={}", word_of(value))))
            }
            "args_no_boolean_flags" => argv.extend(parameters.iter().filter_map(|(name, value)| match value {
                Value::Bool(true) => Some(format!("--{name}")),
                Value::Bool(false) => None,
                value => Some(format!("--{name}={}", word_of(value))),
            })),
            _ => return Err(SweepError::Macro(word)),
        }
    }
    Ok(Sweep { argv, parameters })
}

fn word_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => other.to_string(),
    }
}

/// One value for each parameter: its fixed value, the first of several, or the minimum of a range.
fn values(prefix: &str, parameters: &BTreeMap<String, Value>, found: &mut BTreeMap<String, Value>) {
    for (name, parameter) in parameters {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let part = |key: &str| parameter.get(key).cloned();
        if let Some(Value::Object(inner)) = part("parameters") {
            values(&name, &inner.into_iter().collect(), found);
            continue;
        }
        let first = part("values").and_then(|values| values.as_array()?.first().cloned());
        let value = part("value").or(first).or_else(|| part("min")).or_else(|| part("mu"));
        found.extend(value.map(|value| (name, value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "program: train.py\nmethod: bayes\nmetric: {name: loss, goal: minimize}\nparameters:\n  lr: {min: 0.0001, max: 0.1}\n  batch_size: {values: [32, 64]}\n  bn: {value: true}\n";

    #[test]
    fn a_sweep_is_a_command_with_one_value_of_each_parameter() {
        let argv = |text: &str| sweep(text, "python").map(|sweep| sweep.argv.join(" "));
        assert_eq!(argv(FILE).as_deref(), Ok("python train.py --batch_size=32 --bn=True --lr=0.0001"));
        let hydra = format!("{FILE}command:\n  - ${{env}}\n  - python3\n  - ${{program}}\n  - ${{args_no_hyphens}}\n");
        assert_eq!(argv(&hydra).as_deref(), Ok("python3 train.py batch_size=32 bn=True lr=0.0001"));
        let flags = format!("{FILE}command: [\"${{program}}\", \"${{args_no_boolean_flags}}\"]\n");
        assert_eq!(argv(&flags).as_deref(), Ok("train.py --batch_size=32 --bn --lr=0.0001"));
    }

    #[test]
    fn what_is_no_sweep_is_told() {
        assert_eq!(sweep("parameters: {}", "python"), Err(SweepError::NoProgram));
        let json = format!("{FILE}command: [\"${{args_json_file}}\"]\n");
        assert_eq!(sweep(&json, "python"), Err(SweepError::Macro("${args_json_file}".to_owned())));
        assert!(matches!(sweep("- a", "python"), Err(SweepError::Form(_))));
    }
}
