//! Matches options to knobs.
//!
//! Owns: names, types and help texts that identify an option. Must not know: how an option is found or set.
//!
//! A match by name is certain if the type agrees; a match by help text is marked as a guess. An option that only
//! resembles a knob (`--lr-decay`, `--eval-batch-size`) is not one.

use serde_json::Value;

use super::options::Opt;
use crate::jobs::{canonical_name, is_of_rewards, rewarded_name};
use crate::launched::{Flag, Kind, Unit, Way};

/// Names of options in addition to those under which programs log their knobs; the last part of a dotted name counts.
const NAMES: &[(&str, &[&str])] = &[
    ("learning_rate", &["eta", "lrate", "learningrate", "lr_init", "learning_rate_init", "optim_lr", "opt_lr"]),
    ("lr_decay", &["learning_rate_decay", "scheduler_gamma"]),
    (
        "batch_size",
        &["bsz", "minibatch", "minibatch_size", "micro_batch_size", "train_bs", "batch_size_train", "mb_size"],
    ),
    (
        "max_steps",
        &[
            "steps",
            "iters",
            "iter",
            "niter",
            "n_iter",
            "n_iters",
            "num_iters",
            "num_iterations",
            "n_iterations",
            "nsteps",
            "n_steps",
            "num_updates",
            "max_updates",
            "max_update",
            "total_iters",
            "train_iterations",
            "n_updates",
            "training_steps",
            "max_train_steps",
            "n_train_steps",
            "num_iter",
            "max_iterations",
        ],
    ),
    ("epochs", &["epoch", "nepochs", "nepoch", "n_epoch", "num_epoch", "max_epoch", "train_epochs", "total_epochs"]),
    (
        "train_examples",
        &[
            "n_train",
            "ntrain",
            "num_train",
            "train_size",
            "train_samples",
            "n_train_samples",
            "num_train_samples",
            "n_train_examples",
            "max_train_examples",
            "subset",
            "subset_size",
            "train_subset",
            "limit",
            "limit_train",
            "limit_samples",
            "limit_train_samples",
            "limit_train_examples",
            "limit_data",
            "data_limit",
            "max_samples",
            "max_examples",
            "n_examples",
            "num_examples",
            "n_samples",
            "num_samples",
            "n_points",
            "num_points",
            "limit_train_batches",
            "overfit_batches",
            "limit_batches",
            "max_train_batches",
            "train_fraction",
            "train_frac",
            "data_fraction",
            "data_frac",
            "subset_fraction",
        ],
    ),
    (
        "initializer",
        &[
            "weight_initialization",
            "init_method",
            "init_type",
            "init_scheme",
            "weights_init",
            "kernel_init",
            "init_mode",
            "initialiser",
        ],
    ),
    ("optimizer", &["optimiser", "optim_name", "opt_name", "solver"]),
    ("activation", &["nonlin", "activ", "act_fn", "activation_fn", "act_func", "hidden_activation", "non_linearity"]),
    ("output_activation", &["out_act", "out_activation", "last_act", "final_act", "output_act", "head_activation"]),
    ("loss", &["loss_func", "loss_name", "lossfn", "objective"]),
    (
        "gradient_clip",
        &[
            "clip",
            "gradient_clipping",
            "grad_clipping",
            "clip_gradient",
            "clip_gradients",
            "grad_norm_clip",
            "max_norm",
            "grad_max_norm",
            "clip_value",
            "clip_val",
            "max_gradient_norm",
            "gradient_clip_norm",
            "global_clipnorm",
            "gradclip",
            "clip_grads",
            "clipping",
            "clip_max_norm",
        ],
    ),
    ("seed", &["rng_seed", "global_seed", "randomseed", "random_state"]),
    (
        "normalize_inputs",
        &[
            "normalise",
            "standardise",
            "norm_inputs",
            "normalize_input",
            "normalize_data",
            "normalise_data",
            "standardize_inputs",
            "standardise_inputs",
            "standardize_data",
            "norm_data",
            "normalize_x",
            "input_norm",
            "scaling",
            "feature_scaling",
            "scale_inputs",
            "scale_features",
            "scale_data",
        ],
    ),
    (
        "batch_norm",
        &[
            "use_batchnorm",
            "with_bn",
            "batch_normalization",
            "use_batch_normalization",
            "enable_bn",
            "norm",
            "normalization",
            "norm_layer",
            "norm_type",
        ],
    ),
];

/// Names of options that select a learning-rate schedule; without decay, this means `lr_decay: 1`.
const SCHEDULES: &[&str] =
    &["scheduler", "lr_scheduler", "schedule", "lr_schedule", "lr_scheduler_type", "sched", "lr_policy"];

/// Short names that mean the knob itself, while a longer one (`--max-lr`) means something similar.
const USUAL: &[&str] = &["lr", "bs", "bn", "opt", "optim", "act", "init", "batch", "seed"];

/// Prefixes of switches that turn something off.
const OFF: &[&str] = &["no_", "disable_", "without_", "skip_"];

/// Help texts that contain all words of the first list (`a|b`: either) and none of the second.
const HELP: &[(&str, &[&str], &[&str])] = &[
    (
        "learning_rate",
        &["learning rate"],
        &[
            "decay",
            "schedul",
            "warm",
            "min",
            "final",
            "factor",
            "multipl",
            "discriminator",
            "critic",
            "encoder",
            "backbone",
            "head",
            "ratio",
        ],
    ),
    ("batch_size", &["batch size"], &["eval", "valid", "test", "ghost"]),
    ("train_examples", &["training", "examples|samples"], &["eval", "valid", "test", "per ", "every"]),
    ("train_examples", &["subset", "train"], &["eval", "valid", "test"]),
    ("epochs", &["number of", "epochs"], &["warm", "every", "between", "patience", "without", "decay"]),
    (
        "max_steps",
        &["number of", "steps"],
        &["warm", "every", "between", "log", "eval", "save", "accumul", "diffusion", "per ", "time"],
    ),
    ("max_steps", &["number of", "iterations"], &["warm", "every", "between", "log", "eval", "save", "per "]),
    ("seed", &["random seed"], &["data", "split"]),
    ("initializer", &["initiali"], &["scale", "std", "checkpoint", "lr", "rate", "gain"]),
    ("optimizer", &["optimi"], &["checkpoint", "state", "step", "rate", "momentum"]),
    ("output_activation", &["output", "activation"], &["log", "histogram"]),
    ("activation", &["activation"], &["output", "checkpoint", "log", "final", "last", "histogram"]),
    ("gradient_clip", &["clip", "grad"], &["log"]),
    ("batch_norm", &["batch norm|batchnorm"], &["momentum", "eps"]),
    (
        "normalize_inputs",
        &["normali|standardi|scale", "input|feature|data"],
        &["batch", "layer", "target", "label", "map", "multi", "gray", "grey", "loss"],
    ),
    ("loss", &["loss function"], &["weight", "scale"]),
];

/// The meaning of an option, with the quality of the match; smaller is better.
struct Match {
    knob: &'static str,
    rank: usize,
    guessed: bool,
    /// The option turns the knob off.
    inverted: bool,
}

/// The knobs among the options of a script: the best match for each. `given` tells whether the command sets an option,
/// which is then preferred.
pub(super) fn flags(options: &[Opt], given: &dyn Fn(&Opt) -> bool) -> Vec<Flag> {
    let mut found: Vec<((usize, bool, usize, usize), Flag)> = Vec::new();
    for option in options {
        let all = options.iter().map(|other| other.dest.as_str());
        let rewarded = rewarded_name(&option.dest, all).filter(|knob| fits(option, knob, ""));
        let rewarded = rewarded.map(|knob| Match { knob, rank: 0, guessed: false, inverted: false });
        let Some(matched) = rewarded.or_else(|| meaning(option)) else { continue };
        let absent = !given(option);
        let way = match option.way {
            Way::Argument | Way::Switch => 0,
            Way::KeyValue => 1,
            Way::File => 2,
            Way::Environment => 3,
            Way::Overrides => 4,
        };
        let key = (usize::from(matched.guessed), absent, matched.rank, way);
        let Some(flag) = flag(option, &matched) else { continue };
        match found.iter_mut().find(|(_, known)| known.knob == flag.knob) {
            Some(known) if key < known.0 => *known = (key, flag),
            Some(_) => {}
            None => found.push((key, flag)),
        }
    }
    found.into_iter().map(|(_, flag)| flag).collect()
}

/// An option as a knob that was identified otherwise than by name and help; `None` if its type does not permit it.
pub(super) fn flag_of(option: &Opt, knob: &'static str) -> Option<Flag> {
    let matched = Match { knob, rank: 0, guessed: true, inverted: false };
    fits(option, knob, "").then(|| flag(option, &matched)).flatten()
}

fn meaning(option: &Opt) -> Option<Match> {
    let names = std::iter::once(option.dest.as_str())
        .chain(option.names.iter().map(String::as_str))
        .chain(option.off.as_deref());
    names.filter_map(|name| by_name(option, name)).min_by_key(|matched| matched.rank).or_else(|| by_help(option))
}

fn by_name(option: &Opt, name: &str) -> Option<Match> {
    let plain = name.trim_start_matches('-').to_ascii_lowercase().replace('-', "_");
    let mut parts = plain.rsplit(['.', '/']);
    let (last, above) = (parts.next().unwrap_or_default(), parts.next());
    let off = OFF.iter().find_map(|prefix| last.strip_prefix(prefix)).filter(|_| option.way == Way::Switch);
    // `optimizer.name` selects the optimizer.
    let named = above.filter(|_| ["name", "type", "_target_", "kind", "class_path"].contains(&last));
    let word = off.or(named).unwrap_or(last);
    let inverted = off.is_some() && option.off.as_deref() != Some(name);
    let helped = |words: &[&str]| words.iter().any(|word| option.help.to_ascii_lowercase().contains(word));
    let elsewhere = plain.rsplit_once('.').is_some_and(|(above, _)| {
        ["sched", "warm", "val", "eval", "test", "discriminator", "critic", "ema"]
            .iter()
            .any(|word| above.contains(word))
    });
    let (knob, rank) = if SCHEDULES.contains(&word) {
        ("lr_decay", 30)
    } else if word == "gamma" && helped(&["lr", "learning rate", "schedul"]) {
        ("lr_decay", 20)
    } else if let Some(knob) = canonical_name(word) {
        (knob, if word == knob { 0 } else { 1 + usize::from(!USUAL.contains(&word)) })
    } else {
        let (knob, at) =
            NAMES.iter().find_map(|(knob, names)| Some((*knob, names.iter().position(|name| *name == word)?)))?;
        (knob, 3 + at)
    };
    let depth = plain.matches('.').count();
    let rank = rank * 10 + depth + if elsewhere { 100 } else { 0 };
    let fits = !["classes", "checkpoint"].contains(&knob) && fits(option, knob, word);
    fits.then_some(Match { knob, rank, guessed: elsewhere, inverted })
}

fn by_help(option: &Opt) -> Option<Match> {
    let help = option.help.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().all(|word| word.split('|').any(|either| help.contains(either)));
    let (knob, ..) = HELP.iter().find(|(_, all, none)| {
        says(all) && !none.iter().any(|word| help.contains(word) || option.dest.contains(word))
    })?;
    let inverted = option.way == Way::Switch
        && ["no ", "disable", "without", "turn off", "skip"].iter().any(|word| help.starts_with(word));
    fits(option, knob, "").then_some(Match { knob, rank: 1000, guessed: true, inverted })
}

/// Whether an option of this type can be the knob.
fn fits(option: &Opt, knob: &str, word: &str) -> bool {
    let switch = option.way == Way::Switch;
    let truth =
        switch || matches!(option.kind, Kind::Bool | Kind::Truthy) || matches!(option.default, Some(Value::Bool(_)));
    let number = matches!(option.default, Some(Value::Number(_)));
    let texts = matches!(&option.default, Some(Value::String(text)) if text.parse::<f64>().is_err());
    match knob {
        "learning_rate" => !truth && option.kind != Kind::Int && !texts,
        "lr_decay" if SCHEDULES.contains(&word) => {
            !switch && (option.choices.iter().any(|choice| constant(choice)) || word == "lr_scheduler_type")
        }
        "lr_decay" | "gradient_clip" => !truth && !texts,
        knob if is_of_rewards(knob) => !truth && !texts,
        "batch_size" | "max_steps" | "epochs" | "train_examples" | "seed" => {
            let float = option.kind == Kind::Float && knob == "seed";
            !truth && !texts && !float
        }
        // Such an option chooses among several kinds, of which the knob is one and none is another.
        "batch_norm" if ["norm", "normalization", "norm_layer", "norm_type"].contains(&word) => chooses(option, knob),
        // Losses and pictures are scaled as well.
        "normalize_inputs" if !option.choices.is_empty() || SCALINGS.contains(&word) => switch || chooses(option, knob),
        "batch_norm" | "normalize_inputs" => {
            truth
                || (option.kind == Kind::Int && zero_or_one(option))
                || (option.kind == Kind::Any && !number && !texts)
                || (option.way == Way::Environment && zero_or_one(option))
        }
        _ => !truth && !number && !matches!(option.kind, Kind::Int | Kind::Float),
    }
}

fn chooses(option: &Opt, knob: &str) -> bool {
    let has = |on| option.choices.iter().any(|choice| turns(knob, on, choice));
    has(true) && has(false)
}

fn zero_or_one(option: &Opt) -> bool {
    let number = option.default.as_ref().and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()));
    number.is_none_or(|number| number == 0.0 || number == 1.0)
}

/// Names of options that scale something, which are the inputs if one choice is to standardise.
const SCALINGS: &[&str] = &["scaling", "feature_scaling"];

/// Whether a choice turns a knob on or off: batch norm among several norms, standardisation among several scalings.
pub(super) fn turns(knob: &str, on: bool, choice: &str) -> bool {
    let kinds: &[&str] = match (knob, on) {
        (_, false) => &["none", "identity", "linear", "raw", ""],
        ("batch_norm", true) => &["batch", "bn", "batchnorm", "batch_norm", "batchnorm2d", "batchnorm1d"],
        (_, true) => &["standard", "standardize", "standardise", "zscore", "z-score", "meanstd"],
    };
    let plain = if on { ["true", "yes", "1", "on"] } else { ["false", "no", "0", "off"] };
    let choice = choice.to_ascii_lowercase();
    kinds.contains(&choice.as_str()) || plain.contains(&choice.as_str())
}

/// Whether a schedule keeps the learning rate constant.
pub(super) fn constant(choice: &str) -> bool {
    ["none", "constant", "const", "off", "no", "fixed"].contains(&choice.to_ascii_lowercase().as_str())
}

fn flag(option: &Opt, matched: &Match) -> Option<Flag> {
    let (first, also) = option.names.split_first().map_or(("", &[][..]), |(first, also)| (first.as_str(), also));
    let mut flag = Flag {
        name: first.to_owned(),
        knob: matched.knob.to_owned(),
        default: option.default.clone(),
        way: option.way,
        kind: option.kind,
        also: also.to_vec(),
        off: option.off.clone(),
        choices: option.choices.clone(),
        guessed: matched.guessed,
        file: option.file.clone(),
        ..Flag::default()
    };
    if matched.inverted {
        if option.way != Way::Switch {
            return None;
        }
        // For `--no-bn` with store_true, turning the option on turns the knob off.
        (flag.name, flag.off) = (flag.off.unwrap_or_default(), Some(flag.name));
        flag.default = flag.default.map(|value| value.as_bool().map_or(Value::Null, |on| Value::Bool(!on)));
        flag.also.clear();
    }
    if matched.knob == "train_examples" {
        let dest = option.dest.to_ascii_lowercase();
        let share = option.default.as_ref().and_then(Value::as_f64).is_some_and(|n| n > 0.0 && n <= 1.0)
            && option.kind == Kind::Float;
        flag.unit = if dest.contains("batches") {
            Unit::Batches
        } else if share || dest.contains("frac") {
            Unit::Share
        } else {
            Unit::Knob
        };
        flag.guessed |= ["n_samples", "num_samples", "n_points", "num_points", "n_examples", "num_examples"]
            .contains(&dest.as_str());
    }
    Some(flag)
}

/// Words in the names of options that define an output location.
const FOLDERS: &[&str] = &[
    "log_dir",
    "logdir",
    "log_path",
    "logs_dir",
    "log_folder",
    "logging_dir",
    "logs",
    "log",
    "tb_dir",
    "tb_log_dir",
    "tensorboard_dir",
    "tensorboard",
    "tensorboard_log",
    "tb",
    "summary_dir",
    "event_dir",
    "save_dir",
    "savedir",
    "save_path",
    "save",
    "save_folder",
    "out",
    "outdir",
    "out_dir",
    "output",
    "output_dir",
    "output_path",
    "output_folder",
    "outputs",
    "results",
    "results_dir",
    "result_dir",
    "work_dir",
    "workdir",
    "run_dir",
    "rundir",
    "runs_dir",
    "exp_dir",
    "expdir",
    "experiment_dir",
    "ckpt_dir",
    "checkpoint_dir",
    "checkpoints_dir",
    "ckpt_out",
    "checkpoint_path",
    "model_dir",
    "model_out",
    "save_model",
    "default_root_dir",
    "train_dir",
    "store",
    "project",
    "dest",
    "destination",
];

/// Names of options that define the name of a run.
const NAMES_OF_RUNS: &[&str] = &[
    "name",
    "run_name",
    "exp_name",
    "experiment",
    "experiment_name",
    "run",
    "run_id",
    "exp",
    "exp_id",
    "tag",
    "version",
    "title",
    "comment",
    "expname",
    "job_name",
    "jobname",
    "trial",
    "trial_name",
    "id",
    "label",
    "log_name",
    "model_name_out",
];

/// The role of an option for output: `folder`, `name`, or none.
pub(super) fn writes(name: &str) -> Option<&'static str> {
    let plain = name.trim_start_matches('-').to_ascii_lowercase().replace('-', "_");
    let last = plain.rsplit(['.', '/']).next().unwrap_or(&plain);
    if FOLDERS.contains(&last) {
        Some("folder")
    } else if NAMES_OF_RUNS.contains(&last) {
        Some("name")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::taken;
    use super::super::python::Source;
    use super::*;

    fn shown(arguments: &str) -> Vec<String> {
        let lines: Vec<String> = arguments.lines().map(|line| format!("p.add_argument({})", line.trim())).collect();
        let options = taken(&Source::read(&lines.join("\n"))).options;
        let sign = |flag: &Flag| {
            format!(
                "{}{}{}",
                flag.knob,
                if flag.guessed { "?" } else { "=" },
                if flag.name.is_empty() { flag.off.clone().unwrap_or_default() } else { flag.name.clone() }
            )
        };
        flags(&options, &|_| false).iter().map(sign).collect()
    }

    #[test]
    fn names_that_people_use_are_found() {
        for (argument, expected) in [
            (r#""--lr", type=float"#, "learning_rate=--lr"),
            (r#""--eta", type=float, default=0.1"#, "learning_rate=--eta"),
            (r#""--bs", type=int"#, "batch_size=--bs"),
            (r#""--n-train", type=int, default=1000"#, "train_examples=--n-train"),
            (r#""--subset", type=int, default=0"#, "train_examples=--subset"),
            (r#""--steps", type=int"#, "max_steps=--steps"),
            (r#""--epochs", type=int"#, "epochs=--epochs"),
            (r#""--init", choices=["he", "zero"]"#, "initializer=--init"),
            (r#""--opt", default="adam""#, "optimizer=--opt"),
            (r#""--clip", type=float, default=0"#, "gradient_clip=--clip"),
            (r#""--standardize", action="store_true""#, "normalize_inputs=--standardize"),
            (r#""--scaling", choices=["none", "standard"], default="none""#, "normalize_inputs=--scaling"),
            (r#""--bn", type=int, default=0"#, "batch_norm=--bn"),
            (r#""--norm", choices=["batch", "none"]"#, "batch_norm=--norm"),
            (r#""--no-bn", action="store_true""#, "batch_norm=--no-bn"),
            (r#""--no-bn", dest="bn", action="store_false""#, "batch_norm=--no-bn"),
            (r#""--scheduler", choices=["none", "cosine"]"#, "lr_decay=--scheduler"),
            (r#""--alpha", type=float, help="The learning rate""#, "learning_rate?--alpha"),
            (r#""--n", type=int, help="number of training examples to use""#, "train_examples?--n"),
            (r#""--limit-train-batches", type=int"#, "train_examples=--limit-train-batches"),
        ] {
            assert_eq!(shown(argument), [expected], "{argument}");
        }
    }

    #[test]
    fn what_only_resembles_a_knob_is_none() {
        for argument in [
            r#""--lr-decay-steps", type=int"#,
            r#""--lr-warmup", type=int, help="warm-up steps of the learning rate""#,
            r#""--min-lr", type=float, help="minimum learning rate""#,
            r#""--eval-batch-size", type=int, help="batch size of evaluation""#,
            r#""--scaling", choices=["linear", "sqrt"]"#,
            r#""--scaling", type=int, default=1"#,
            r#""--init", type=float, help="scale of the initialisation""#,
            r#""--init-scale", type=float, help="scale of the initialisation""#,
            r#""--loss", type=float"#,
            r#""--lr", action="store_true""#,
            r#""--lr", type=int"#,
            r#""--norm", type=float"#,
            r#""--norm", choices=["layer", "group"]"#,
            r#""--gamma", type=float, default=0.99, help="discount""#,
            r#""--decay", type=float, help="weight decay""#,
            r#""--log-every", type=int, help="number of steps between logs""#,
            r#""--pretrained", action="store_true""#,
            r#""--num-classes", type=int"#,
        ] {
            assert_eq!(shown(argument), Vec::<String>::new(), "{argument}");
        }
    }

    #[test]
    fn of_two_options_the_plain_name_is_the_knob() {
        assert_eq!(shown("\"--max-lr\", type=float\n\"--lr\", type=float"), ["learning_rate=--lr"]);
        assert_eq!(
            shown("\"--a\", type=float, help='learning rate'\n\"--base-lr\", type=float"),
            ["learning_rate=--base-lr"]
        );
    }
}
