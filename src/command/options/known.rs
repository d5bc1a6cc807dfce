//! Options of all programs that use a library; their declarations are in the library, not in the script.
//!
//! Owns: their names, types and defaults. Must not know: which options are knobs.

use serde_json::{Value, json};

use super::Opt;
use crate::command::python::Source;
use crate::launched::Kind;

/// Argument classes of Transformers and TRL; a script that parses one of them has its fields as options.
const ARGUMENTS: &[&str] =
    &["TrainingArguments", "Seq2SeqTrainingArguments", "SFTConfig", "DPOConfig", "GRPOConfig", "RewardConfig"];

/// Parsers that make options of such classes.
const PARSERS: &[&str] = &["HfArgumentParser", "TrlParser"];

/// The fields of `TrainingArguments`.
fn trainer() -> [(&'static str, Kind, Value); 10] {
    [
        ("output_dir", Kind::Text, json!("trainer_output")),
        ("logging_dir", Kind::Text, Value::Null),
        ("learning_rate", Kind::Float, json!(5e-5)),
        ("per_device_train_batch_size", Kind::Int, json!(8)),
        ("num_train_epochs", Kind::Float, json!(3.0)),
        ("max_steps", Kind::Int, json!(-1)),
        ("optim", Kind::Text, json!("adamw_torch")),
        ("lr_scheduler_type", Kind::Text, json!("linear")),
        ("max_grad_norm", Kind::Float, json!(1.0)),
        ("seed", Kind::Int, json!(42)),
    ]
}

/// Optimizers by the names of `--optim`.
const OPTIMIZERS: &[&str] = &["adamw_torch", "sgd", "adagrad", "rmsprop", "adafactor"];

/// The options of a script that parses the arguments of the Transformers Trainer.
pub(super) fn known(source: &Source) -> Vec<Opt> {
    let names = |list: &[&str]| list.iter().any(|name| source.names(name));
    if !names(ARGUMENTS) || !names(PARSERS) {
        return Vec::new();
    }
    let option = |(name, kind, default): (&str, Kind, Value)| Opt {
        names: vec![format!("--{name}")],
        dest: name.to_owned(),
        kind,
        default: Some(default),
        choices: if name == "optim" { OPTIMIZERS.iter().map(|name| (*name).to_owned()).collect() } else { Vec::new() },
        ..Opt::default()
    };
    trainer().into_iter().map(option).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trainers_arguments_are_options_where_they_are_parsed() {
        let parsed =
            "from transformers import HfArgumentParser, TrainingArguments\nHfArgumentParser((TrainingArguments,))";
        assert_eq!(known(&Source::read(parsed)).len(), trainer().len());
        assert!(known(&Source::read("args = TrainingArguments(learning_rate=1)")).is_empty());
    }
}
