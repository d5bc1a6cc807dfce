//! The configuration as commented text.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::plan::{Grade, Mapping, Plan};
use crate::command::{Placed, masked, masked_line, shell, words_for};
use crate::jobs::Knobs;
use crate::launched::{Flag, Unit, Way};

/// Values that policies use, for knobs whose values are words.
const WORDS: &[(&str, &[&str])] = &[
    ("initializer", &["variance_scaling", "xavier", "normal", "default"]),
    ("optimizer", &["adam", "adamw", "sgd", "rmsprop"]),
    ("activation", &["relu", "leaky_relu", "tanh", "sigmoid"]),
    ("output_activation", &["none", "relu", "sigmoid", "tanh", "softmax"]),
    ("loss", &["l2", "l1", "cross_entropy"]),
    ("input_scaling", &["none", "tanh"]),
];

/// Placeholder for the name of a run while a command is rewritten.
const RUN_NAME: &str = "NEXTRUN-RUN-NAME";

/// A configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The text.
    pub text: String,
    /// Why it has no `launch.command`.
    pub no_command: Option<String>,
}

/// Writes the configuration for one script.
pub fn configuration(plan: &Plan) -> Written {
    let command = template(plan);
    let mut text = String::new();
    let line = masked(&plan.launched.argv).iter().map(|word| shell(word)).collect::<Vec<_>>().join(" ");
    let _ = writeln!(text, "# Written by `nextrun init` for: {}", one_line(&line));
    text += "# Check it after a change: nextrun config check FILE. All settings: deploy/nextrun.yaml in the sources of nextrun.\n\n";
    let _ = writeln!(text, "watch:\n  logdir: {}\n", quoted(&plan.logdir));
    text += "# How to pass knobs to the script. If a job's own command is known (it was started with `nextrun run`, \
        or runs while\n";
    text += "# `nextrun watch --runner` is active), experiments repeat that command and set knobs in its own form; \
        the settings\n";
    text += "# below apply to knobs that the command does not contain.\nlaunch:\n";
    let no_command = match command {
        Ok(command) => {
            text +=
                "  # For all other jobs. {settings} expands to what the baseline logged, followed by the changes.\n";
            let _ = writeln!(text, "  command: {}", quoted(&command));
            None
        }
        Err(why) => {
            let _ = writeln!(text, "  # No `command` for all other jobs: {}.", one_line(&why));
            Some(why)
        }
    };
    let (knobs, any) = knobs(plan);
    text += &knobs;
    if !any {
        // A key without entries has no value.
        text = text.replace("  knobs:\n", "  # knobs:\n");
        if no_command.is_some() {
            text = text.replace("launch:\n", "# launch:\n");
        }
    }
    if any || no_command.is_none() {
        text += &own_names(plan);
    }
    text += &examples(plan);
    Written { text, no_command }
}

/// The part `knobs`, and whether anything in it is more than a comment.
fn knobs(plan: &Plan) -> (String, bool) {
    let mut text = "  knobs:\n".to_owned();
    let mut any = false;
    for mapping in &plan.mappings {
        let clauses = mapping.evidence.join("; ");
        let _ = writeln!(text, "    # {}: {}", mapping.grade.word(), one_line(&clauses));
        let knob = knob_of(mapping);
        match carrier(mapping, plan) {
            Ok(carrier) => {
                any = true;
                let remark =
                    if mapping.grade == Grade::Guessed { "  # name another option if this is wrong" } else { "" };
                let _ = writeln!(text, "    {knob}: {carrier}{remark}");
            }
            Err(why) => {
                let _ = writeln!(text, "    # {knob}: {}", one_line(&why));
            }
        }
    }
    if let Some(first) = plan.absent.first() {
        let absent = plan.absent.join(", ");
        let _ = writeln!(text, "    # absent: {absent}");
        text += "    # Experiments that need them are skipped. If the script has one, add a line such as\n";
        let _ = writeln!(text, "    #   {first}: {{ argument: \"--its-option={{value}}\" }}");
    }
    (text, any)
}

/// The part `own_names`; empty where the script logs its settings under usual names.
fn own_names(plan: &Plan) -> String {
    let own = plan.mappings.iter().filter_map(|mapping| Some((mapping.own_name.as_ref()?, knob_of(mapping))));
    let lines: String = own.map(|(name, knob)| format!("    {}: {knob}\n", quoted(name))).collect();
    if lines.is_empty() {
        return lines;
    }
    format!("  # Names under which the script logs its settings.\n  own_names:\n{lines}")
}

/// The first experiments, as comments.
fn examples(plan: &Plan) -> String {
    let mut text = String::new();
    for example in &plan.examples {
        let changes: Vec<String> = example.changes.iter().map(|(knob, value)| format!("{knob} = {value}")).collect();
        let _ = writeln!(text, "\n# {} ({}):", example.title, changes.join(", "));
        let shown = match &example.command {
            Ok(rewritten) => masked_line(&rewritten.words().iter().map(|w| shell(w)).collect::<Vec<_>>().join(" ")),
            Err(why) => format!("not possible with this script: {why}"),
        };
        let _ = writeln!(text, "#   {}", one_line(&shown));
    }
    text
}

fn knob_of(mapping: &Mapping) -> &str {
    if mapping.flag.knob == "epochs" { "max_steps" } else { &mapping.flag.knob }
}

/// A text as a YAML scalar on one line.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && text.chars().all(plain);
    if is_plain { text.to_owned() } else { json!(text).to_string() }
}

/// A comment ends at the end of its line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The command for jobs of which only the logs are known.
fn template(plan: &Plan) -> Result<String, String> {
    let rewritten = plan.rewritten(&Knobs::new(), RUN_NAME);
    if !rewritten.files.is_empty() {
        return Err("its configuration file defines where it logs, and a template cannot change a file".to_owned());
    }
    let mut words: Vec<String> = match rewritten.placed {
        Placed::Redirected => Vec::new(),
        Placed::MakesItsOwn => ["nextrun", "run", "--"].map(str::to_owned).to_vec(),
        Placed::WouldOverwrite => {
            return Err("nothing in it defines where the script logs; add an option such as --logdir".to_owned());
        }
    };
    words.extend(rewritten.words());
    if masked(&words) != words {
        return Err("it contains a secret, which should be in the environment".to_owned());
    }
    let fill = |word: &String| {
        let quoted = shell(word).replace('{', "{{").replace('}', "}}");
        quoted.replace(RUN_NAME, "{run_name}")
    };
    let line = words.iter().map(fill).collect::<Vec<_>>().join(" ");
    let folder = shell(&plan.launched.cwd).replace('{', "{{").replace('}', "}}");
    Ok(format!("cd {folder} && {line} {{settings}}"))
}

/// How the configuration sets a knob; the error explains why it cannot.
fn carrier(mapping: &Mapping, plan: &Plan) -> Result<String, String> {
    let flag = &mapping.flag;
    let key = match flag.way {
        Way::Argument | Way::Switch => "argument",
        Way::KeyValue => "hydra",
        Way::Environment => "env",
        Way::File => {
            let file = flag.file.as_deref().unwrap_or("its file");
            return Err(format!("the entry `{}` of {file}, changed in a copy for each experiment", flag.name));
        }
        Way::Overrides => return Err("nothing to add".to_owned()),
    };
    let has_steps = plan.mappings.iter().any(|other| other.flag.knob == "max_steps");
    if flag.knob == "epochs" && has_steps {
        return Err(format!("`{}` depends on the number of steps, so it might end the run early", flag.name));
    }
    let words = |value: &Value| words_for(flag, value).map(|words| braces(&words.join(" ")));
    if let Some((_, values)) = WORDS.iter().find(|(knob, _)| *knob == flag.knob) {
        let cases = values.iter().filter_map(|value| Some((*value, words(&json!(value)).ok()?)));
        let cases: Vec<(&str, String)> =
            cases.filter(|(value, words)| !words.is_empty() || *value == "default").collect();
        return by_value(key, &cases, None).ok_or_else(|| format!("the values of `{}` are unknown", flag.name));
    }
    if ["batch_norm", "normalize_inputs"].contains(&flag.knob.as_str()) {
        let cases = [("true", json!(true)), ("false", json!(false))];
        let cases: Vec<(&str, String)> =
            cases.iter().filter_map(|(name, value)| Some((*name, words(value).ok()?))).collect();
        return by_value(key, &cases, None).ok_or_else(|| format!("`{}` cannot be turned on or off", flag.name));
    }
    let whole = whole(flag)?;
    let nothing = words(&Value::Null).ok().filter(String::is_empty);
    match flag.knob.as_str() {
        "lr_decay" if !flag.choices.is_empty() || flag.name.ends_with("lr_scheduler_type") => {
            let none = words(&json!(1.0))?;
            by_value(key, &[("1.0", none)], None).ok_or_else(|| "it chooses a schedule".to_owned())
        }
        "train_examples" | "gradient_clip" => {
            // A formula is undefined for null, so that the word is not passed to a script that cannot express it.
            let whole = if nothing.is_none() { whole.replace("{value}", "{value * 1.0}") } else { whole };
            let cases: Vec<(&str, String)> = nothing.map(|words| ("\"null\"", words)).into_iter().collect();
            by_value(key, &cases, Some(&whole)).ok_or_else(|| "it cannot be set".to_owned())
        }
        _ => Ok(format!("{{ {key}: {} }}", json!(whole))),
    }
}

/// The arguments for any value of a numeric knob.
fn whole(flag: &Flag) -> Result<String, String> {
    let hole = match (flag.unit, flag.knob.as_str()) {
        (Unit::Batches, _) => "{ceil(value / batch_size)}",
        (Unit::Share, _) => {
            return Err(format!("`{}` is a fraction of the examples, whose number is unknown here", flag.name));
        }
        (Unit::Knob, "epochs") => "{ceil(value * batch_size / train_examples)}",
        (Unit::Knob, _) => "{value}",
    };
    let joined = flag.way != Way::Argument || flag.name.starts_with("--");
    Ok(format!("{}{}{hole}", braces(&flag.name), if joined { "=" } else { " " }))
}

fn braces(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

fn by_value(key: &str, cases: &[(&str, String)], otherwise: Option<&str>) -> Option<String> {
    let mut parts: Vec<String> = cases.iter().map(|(value, words)| format!("{value}: {}", json!(words))).collect();
    parts.extend(otherwise.map(|words| format!("otherwise: {}", json!(words))));
    match parts.as_slice() {
        [] => None,
        [_] if cases.is_empty() => Some(format!("{{ {key}: {} }}", json!(otherwise.unwrap_or_default()))),
        _ => Some(format!("{{ {key}: {{ {} }} }}", parts.join(", "))),
    }
}
