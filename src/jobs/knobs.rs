//! Hyperparameters by canonical name: the names that programs use, and the interpretation of their values.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Job;
use super::texts::{is_of_settings, settings_in};

/// Knob values by canonical name.
pub type Knobs = BTreeMap<String, Value>;

/// Whether two values of a knob are the same: 1 and 1.0 are, and so are numbers that differ only by rounding.
pub fn same_value(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(x), Some(y)) => (x - y).abs() <= 1e-9 * x.abs().max(y.abs()),
        _ => a == b,
    }
}

/// Canonical names and the names under which programs log them, after lower-casing and with `-` as `_`. The part after
/// the last `.` or `/` counts, so that `optimizer.lr` and `train/lr` are also found; the first row with the name
/// applies.
const ALIASES: &[(&str, &[&str])] = &[
    (
        "learning_rate",
        &[
            "learning_rate",
            "lr",
            "lr0",
            "base_lr",
            "init_lr",
            "initial_lr",
            "initial_learning_rate",
            "peak_lr",
            "max_lr",
        ],
    ),
    ("lr_decay", &["lr_decay", "lr_gamma", "decay_rate", "exp_decay"]),
    (
        "batch_size",
        &[
            "batch_size",
            "bs",
            "bsize",
            "batchsize",
            "per_device_train_batch_size",
            "train_batch_size",
            "global_batch_size",
            "batch",
        ],
    ),
    ("batch_norm", &["batch_norm", "batchnorm", "use_bn", "use_batch_norm", "bn"]),
    (
        "train_examples",
        &["train_examples", "limit_examples", "num_train_examples", "max_train_samples", "overfit_examples"],
    ),
    ("initializer", &["initializer", "init", "weight_init", "kernel_initializer", "initialization"]),
    ("optimizer", &["optimizer", "optim", "opt", "optimizer_name", "name_optimizer"]),
    ("activation", &["activation", "act", "nonlinearity", "activation_function", "hidden_act"]),
    ("output_activation", &["output_activation", "final_activation", "last_activation"]),
    ("loss", &["loss", "loss_fn", "criterion", "loss_function", "loss_type"]),
    (
        "gradient_clip",
        &[
            "gradient_clip",
            "grad_clip",
            "clip_grad",
            "max_grad_norm",
            "gradient_clip_val",
            "clip_norm",
            "clip_grad_norm",
            "clipnorm",
        ],
    ),
    ("normalize_inputs", &["normalize_inputs", "normalize", "standardize", "normalise_inputs", "input_normalization"]),
    ("input_scaling", &["input_scaling", "input_scale", "squash_inputs"]),
    (
        "max_steps",
        &[
            "max_steps",
            "total_timesteps",
            "total_steps",
            "num_steps",
            "train_steps",
            "num_train_steps",
            "max_iters",
            "max_iter",
            "train_iters",
            "iterations",
            "num_training_steps",
        ],
    ),
    ("seed", &["seed", "random_seed", "manual_seed", "seed_everything"]),
    // Not standard knobs, but they show the origin of a job and the reference of its loss.
    ("classes", &["classes", "num_classes", "n_classes", "num_labels", "nclasses", "nc"]),
    (
        "checkpoint",
        &[
            "checkpoint",
            "init_checkpoint",
            "load_checkpoint",
            "resume_from_checkpoint",
            "resume_from",
            "resume",
            "load_from",
            "restore_from",
            "init_from",
            "ckpt_path",
            "finetune",
            "finetune_from",
            "finetune_checkpoint",
            "from_pretrained",
            "pretrained",
            "pretrained_weights",
            "pretrained_checkpoint",
            "pretrained_model",
            "pretrained_model_name_or_path",
            "model_name_or_path",
        ],
    ),
    ("epochs", &["epochs", "num_epochs", "max_epochs", "num_train_epochs", "n_epochs", "nb_epoch"]),
];

/// Knobs whose value is true or false, though a logger may have made a number of it (torch tests for numbers first).
const SWITCHES: &[&str] = &["batch_norm", "normalize_inputs"];

/// Knobs whose value is a number: a word in its place says that the program chooses, or was misread.
const NUMBERS: &[&str] = &[
    "learning_rate",
    "lr_decay",
    "batch_size",
    "max_steps",
    "epochs",
    "train_examples",
    "gradient_clip",
    "seed",
    "classes",
];

/// The total of a training by rewards. Beside it, the usual words for a length have other meanings.
const OF_REWARDS: &str = "total_timesteps";
/// Other words for it. Diffusion has time steps, too, but neither a discount nor an environment.
const TIME_STEPS: &[&str] = &["timesteps", "n_timesteps", "num_timesteps", "max_timesteps"];
const ENVIRONMENTS: &[&str] = &["gamma", "env", "env_id", "env_name", "gym_id"];

/// What names mean in a script that trains by rewards (Stable Baselines, CleanRL), as knobs of the policy
/// `reinforcement`.
const REWARDED: &[(&str, &str)] = &[
    ("n_steps", "rollout_steps"),
    ("num_steps", "rollout_steps"),
    ("n_epochs", "epochs_per_update"),
    ("update_epochs", "epochs_per_update"),
    ("gamma", "discount"),
    ("ent_coef", "entropy_weight"),
    ("vf_coef", "value_weight"),
    ("clip_range", "clip_range"),
    ("clip_coef", "clip_range"),
];

/// The knobs that only scripts have that train by rewards.
pub fn is_of_rewards(knob: &str) -> bool {
    REWARDED.iter().any(|(_, rewarded)| *rewarded == knob)
}

/// The meaning of an option or a logged hyperparameter of a script that has all of these; `None` if it has no other than
/// usual.
pub fn rewarded_name<'n>(logged: &str, all: impl Iterator<Item = &'n str>) -> Option<&'static str> {
    let last = |name: &str| {
        let plain = name.to_ascii_lowercase().replace(['-', ' '], "_");
        plain.rsplit(['.', '/']).next().unwrap_or_default().to_owned()
    };
    let name = last(logged);
    let length = TIME_STEPS.contains(&name.as_str()).then_some("max_steps");
    let knob = length.or_else(|| REWARDED.iter().find(|(usual, _)| *usual == name).map(|(_, knob)| *knob))?;
    let names: Vec<String> = all.map(last).collect();
    let has = |words: &[&str]| names.iter().any(|name| words.contains(&name.as_str()));
    (has(&[OF_REWARDS]) || has(TIME_STEPS) && has(ENVIRONMENTS)).then_some(knob)
}

/// The canonical name of a logged hyperparameter; `None` if it is not a standard knob.
pub fn canonical_name(logged: &str) -> Option<&'static str> {
    let plain = logged.to_ascii_lowercase().replace(['-', ' '], "_");
    let last = plain.rsplit(['.', '/']).next().unwrap_or(&plain);
    ALIASES.iter().find(|(_, names)| names.contains(&plain.as_str()) || names.contains(&last)).map(|(name, _)| *name)
}

/// Everything that a job logged of its settings, under the names that it gave them: texts, then hyperparameters.
pub fn logged_of(job: &Job<'_>) -> Vec<(String, Value)> {
    let texts = job.runs.iter().flat_map(|(_, run)| run.texts());
    let texts = texts.filter(|(tag, _)| is_of_settings(tag)).flat_map(|(_, text)| settings_in(text));
    texts.chain(job.runs.iter().flat_map(|(_, run)| run.hyperparameters().clone())).collect()
}

/// The knobs of a job, from everything that it logged of itself. `own_names` are the site's names, which win.
pub fn knobs_of(job: &Job<'_>, own_names: &BTreeMap<String, String>) -> Knobs {
    let (mut knobs, mut exact) = (Knobs::new(), Vec::new());
    let logged = logged_of(job);
    let rewarded = |name: &str| rewarded_name(name, logged.iter().map(|(name, _)| name.as_str()));
    for (name, value) in &logged {
        let own = own_names.get(name).map(String::as_str);
        let canonical = own.or_else(|| rewarded(name)).or_else(|| canonical_name(name));
        let Some(canonical) = canonical else { continue };
        let Some(value) = canonical_value(canonical, value) else { continue };
        // If there are both `lr` and `learning_rate`, or `optimizer.lr` and `lr`, the plain canonical name applies.
        if name == canonical || own_names.contains_key(name) {
            exact.push((canonical.to_owned(), value));
        } else {
            knobs.entry(canonical.to_owned()).or_insert(value);
        }
    }
    knobs.extend(exact);
    knobs
}

/// A value in standard form; `None` if it is not a valid value of the knob (HF logs `max_steps` -1 for "not set"; a
/// dictionary is not an optimizer name).
pub fn canonical_value(knob: &str, value: &Value) -> Option<Value> {
    let value = match value {
        Value::String(text) => from_text(text),
        other => other.clone(),
    };
    match (&value, knob) {
        (Value::Object(_) | Value::Array(_), _) => None,
        (Value::String(_), knob) if NUMBERS.contains(&knob) || SWITCHES.contains(&knob) => None,
        (Value::Number(number), _) if SWITCHES.contains(&knob) => Some(Value::Bool(number.as_f64() != Some(0.0))),
        (Value::Number(number), "max_steps" | "epochs" | "train_examples") if number.as_f64()? <= 0.0 => None,
        (Value::Number(number), _) => Some(whole(number.as_f64()?)),
        // The library chooses: which one it took is not known.
        (Value::String(text), "optimizer") if text == "auto" => None,
        (
            Value::String(text),
            "optimizer" | "activation" | "loss" | "initializer" | "output_activation" | "input_scaling",
        ) => Some(Value::String(spelled(knob, text))).filter(|value| *value != ""),
        (Value::Null, "output_activation" | "input_scaling") => Some("none".into()),
        _ => Some(value),
    }
}

/// Loggers turn values into text; this turns them back.
fn from_text(text: &str) -> Value {
    match text.trim() {
        "none" | "None" | "null" | "" => Value::Null,
        "True" | "true" => Value::Bool(true),
        "False" | "false" => Value::Bool(false),
        other => match other.parse::<f64>() {
            Ok(number) if number.is_finite() => whole(number),
            _ => Value::String(other.to_owned()),
        },
    }
}

/// hparams plugin data has only doubles: a whole number was an integer.
fn whole(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 { Value::from(number as i64) } else { Value::from(number) }
}

/// Names as the contract spells them: the class of a logged object, in lower case.
fn spelled(knob: &str, text: &str) -> String {
    let text = text.strip_prefix("<class '").map_or(text, |rest| rest.trim_end_matches("'>"));
    let class = text.split(['(', ' ', '<']).next().unwrap_or(text).rsplit('.').next().unwrap_or(text);
    let lower = class.to_ascii_lowercase().replace('-', "_");
    match (knob, lower.as_str()) {
        ("optimizer", "adamw_torch" | "adamw_torch_fused" | "adamw_hf") => "adamw".into(),
        ("loss", "mse" | "mseloss" | "mean_squared_error" | "mse_loss") => "l2".into(),
        ("loss", "mae" | "l1loss" | "mean_absolute_error" | "l1_loss") => "l1".into(),
        ("loss", "nllloss" | "nll_loss") => "nll".into(),
        ("loss", "huberloss" | "huber_loss") => "huber".into(),
        ("loss", "smoothl1loss" | "smooth_l1_loss") => "smooth_l1".into(),
        (
            "loss",
            "bce" | "bceloss" | "bcewithlogitsloss" | "bce_with_logits" | "binary_crossentropy" | "binarycrossentropy",
        ) => "binary_cross_entropy".into(),
        (
            "loss",
            "crossentropyloss"
            | "cross_entropy_loss"
            | "crossentropy"
            | "ce"
            | "xent"
            | "categorical_crossentropy"
            | "sparse_categorical_crossentropy",
        ) => "cross_entropy".into(),
        ("initializer", "randomnormal" | "random_normal" | "gaussian") => "normal".into(),
        _ => lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::RunData;

    fn knobs(pairs: &[(&str, Value)]) -> Knobs {
        let mut run = RunData::default();
        for (name, value) in pairs {
            run.hyperparameter(name, value.clone());
        }
        knobs_of(&Job { name: "a".into(), runs: vec![(String::new(), &run)] }, &BTreeMap::new())
    }

    #[test]
    fn names_of_many_programs_are_one_knob() {
        for name in ["lr", "learning-rate", "optimizer.lr", "Base_LR", "lr0"] {
            assert_eq!(canonical_name(name), Some("learning_rate"), "{name}");
        }
        assert_eq!(canonical_name("lr_scheduler"), None);
    }

    #[test]
    fn values_are_what_the_program_meant() {
        let knobs = knobs(&[
            ("batch_norm", 1.0.into()),
            ("batch_size", 32.0.into()),
            ("gradient_clip", "none".into()),
            ("optimizer", "<class 'torch.optim.adam.Adam'>".into()),
            ("criterion", "BCEWithLogitsLoss()".into()),
            ("max_steps", (-1).into()),
            ("lr", "1e-3".into()),
        ]);
        assert_eq!(knobs["batch_norm"], true);
        assert_eq!((&knobs["optimizer"], &knobs["loss"]), (&"adam".into(), &"binary_cross_entropy".into()));
        assert_eq!(knobs["batch_size"], 32);
        assert_eq!(knobs["gradient_clip"], Value::Null);
        assert_eq!(knobs["optimizer"], "adam");
        assert_eq!(knobs["learning_rate"], 0.001);
        assert!(!knobs.contains_key("max_steps"));
    }

    #[test]
    fn the_plain_name_is_believed_before_an_alias() {
        assert_eq!(knobs(&[("lr", 0.5.into()), ("learning_rate", 0.1.into())])["learning_rate"], 0.1);
    }

    #[test]
    fn a_rollout_is_no_length_of_a_training() {
        let of =
            |total: &str| knobs(&[("num_steps", 128.into()), ("update_epochs", 4.into()), (total, 500_000.into())]);
        let rewarded = of("total_timesteps");
        assert_eq!((&rewarded["max_steps"], &rewarded["rollout_steps"]), (&500_000.into(), &128.into()));
        assert_eq!(rewarded["epochs_per_update"], 4);
        assert_eq!(of("width")["max_steps"], 128);
        let steps = |other: &str| knobs(&[("timesteps", 40_000.into()), ("n_steps", 8.into()), (other, "0.9".into())]);
        assert_eq!((&steps("gamma")["max_steps"], &steps("gamma")["rollout_steps"]), (&40_000.into(), &8.into()));
        assert!(!steps("noise").contains_key("rollout_steps"), "diffusion has time steps, too");
    }

    #[test]
    fn the_arguments_of_a_trainer_are_read_from_its_text() {
        let mut run = RunData::default();
        run.text("args/text_summary", r#"{"learning_rate": 5e-5, "optim": "adamw_torch", "max_steps": -1}"#);
        let knobs = knobs_of(&Job { name: "a".into(), runs: vec![(String::new(), &run)] }, &BTreeMap::new());
        assert_eq!(knobs["learning_rate"], 5e-5);
        assert_eq!(knobs["optimizer"], "adamw");
    }
}
