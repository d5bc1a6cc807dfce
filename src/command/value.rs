//! The spelling of a knob's value for a certain script.
//!
//! Owns: numbers, Boolean values and names in the spelling of a flag's type. Must not know: where they are written.

use serde_json::Value;

use super::meaning::{constant, turns};
use crate::jobs::canonical_value;
use crate::launched::{Flag, Kind, Unit, Way};

/// The change of a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setting {
    /// Set to this text.
    To(String),
    /// Turned on (a switch).
    On,
    /// Turned off (a switch).
    Off,
    /// Omitted: the script's own default.
    Left,
}

/// Knobs with fractional values, whose integers are also written with a decimal point: `1.0`.
const FLOATS: &[&str] = &["learning_rate", "lr_decay", "gradient_clip"];

/// Whether a knob's values are floats, whole or not.
pub fn is_float(knob: &str) -> bool {
    FLOATS.contains(&knob)
}

/// A knob's value in payloads: a float knob is always a float.
pub fn typed(knob: &str, value: &Value) -> Value {
    match value.as_f64() {
        Some(number) if is_float(knob) && value.is_number() => Value::from(number),
        _ => value.clone(),
    }
}

/// The value of a flag for a value of its knob, in the flag's own unit.
///
/// # Errors
///
/// Why this value cannot be passed to the script.
pub(super) fn setting(flag: &Flag, value: &Value) -> Result<Setting, String> {
    let knob = flag.knob.as_str();
    match value {
        Value::Null => without(flag),
        Value::Bool(on) => truth(flag, *on),
        Value::Number(_) if knob == "lr_decay" => decay(flag, value.as_f64().unwrap_or(f64::NAN)),
        Value::Number(_) => number(flag, value).map(Setting::To),
        Value::String(text) => name(flag, text),
        Value::Array(_) | Value::Object(_) => Err(format!("`{}` takes a single value", shown(flag))),
    }
}

/// How to show a flag to people.
pub(super) fn shown(flag: &Flag) -> &str {
    if flag.name.is_empty() { flag.off.as_deref().unwrap_or_default() } else { &flag.name }
}

/// No value: the script's default, or none.
fn without(flag: &Flag) -> Result<Setting, String> {
    let nothing = flag.default.as_ref().is_none_or(|default| match default {
        Value::Null => true,
        other => other.as_f64() == Some(0.0),
    });
    let explicit = matches!(flag.way, Way::KeyValue | Way::File);
    match flag.knob.as_str() {
        "gradient_clip" if explicit => Ok(Setting::To("null".to_owned())),
        // Zero may mean "off" or a norm of zero, so it is not used as a guess.
        "gradient_clip" if !nothing => {
            Err(format!("`{}` clips by default, and nextrun does not know how to turn it off", shown(flag)))
        }
        _ => Ok(Setting::Left),
    }
}

fn truth(flag: &Flag, on: bool) -> Result<Setting, String> {
    if !flag.choices.is_empty() && flag.way != Way::Switch {
        let chosen = flag.choices.iter().find(|choice| turns(&flag.knob, on, choice)).cloned();
        return chosen.map(Setting::To).ok_or_else(|| format!("`{}` does not have this choice", shown(flag)));
    }
    if flag.way == Way::Switch {
        let word = if on { !flag.name.is_empty() } else { flag.off.is_some() };
        let default = flag.default == Some(Value::Bool(on));
        return match (word, default, on) {
            (_, true, _) => Ok(Setting::Left),
            (true, _, true) => Ok(Setting::On),
            (true, _, false) => Ok(Setting::Off),
            // A `store_true` switch that is not given is off.
            (false, _, false) if flag.default.is_none() => Ok(Setting::Left),
            _ => Err(format!("`{}` cannot be turned {}", shown(flag), if on { "on" } else { "off" })),
        };
    }
    let numbers = flag.kind == Kind::Int
        || flag.default.as_ref().is_some_and(|default| default.is_number() || default == "0" || default == "1");
    let capital = flag.way == Way::Argument
        || flag.default.as_ref().is_some_and(|default| default == "True" || default == "False");
    let text = match (flag.kind, on) {
        (Kind::Truthy, true) => "1",
        (Kind::Truthy, false) => "",
        (_, true) if numbers => "1",
        (_, false) if numbers => "0",
        (_, true) if flag.way == Way::Environment && !capital => "1",
        (_, false) if flag.way == Way::Environment && !capital => "0",
        (_, true) if capital && flag.kind != Kind::Bool => "True",
        (_, false) if capital && flag.kind != Kind::Bool => "False",
        (_, true) => "true",
        (_, false) => "false",
    };
    Ok(Setting::To(text.to_owned()))
}

/// `lr_decay` is a multiplier; 1 means none, which a choice of schedules can also express.
fn decay(flag: &Flag, value: f64) -> Result<Setting, String> {
    let none = value == 1.0;
    if !flag.choices.is_empty() {
        let choice = flag.choices.iter().find(|choice| constant(choice)).filter(|_| none);
        return choice
            .cloned()
            .map(Setting::To)
            .ok_or_else(|| format!("`{}` selects a schedule, not a factor", shown(flag)));
    }
    if flag.name.ends_with("lr_scheduler_type") && none {
        return Ok(Setting::To("constant".to_owned()));
    }
    // Keras' decay, `rate / (1 + decay * t)`, has no effect at 0, and its defaults are small.
    let small = flag.default.as_ref().and_then(Value::as_f64).is_some_and(|default| default < 0.5);
    match (none, small) {
        (true, true) => Ok(Setting::To("0.0".to_owned())),
        (false, true) => Err(format!("`{}` is not a multiplier", shown(flag))),
        (_, false) => Ok(Setting::To(decimal(value))),
    }
}

fn number(flag: &Flag, value: &Value) -> Result<String, String> {
    let number = value.as_f64().unwrap_or(f64::NAN);
    let whole = number.fract() == 0.0 && number.abs() < 9e15;
    let float =
        flag.kind == Kind::Float || (is_float(&flag.knob) && flag.kind != Kind::Int) || flag.unit == Unit::Share;
    match (float, whole) {
        // Lightning interprets 1.0 as a fraction of the batches and 1 as one batch.
        (true, _) if flag.unit != Unit::Batches => Ok(decimal(number)),
        (_, true) => Ok(format!("{number:.0}")),
        _ if flag.kind == Kind::Int => Err(format!("`{}` takes only integers", shown(flag))),
        _ => Ok(decimal(number)),
    }
}

/// A number that Python, YAML and shells read as a float: with a decimal point and without an exponent.
pub fn decimal(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 9e15 { format!("{number:.1}") } else { number.to_string() }
}

/// Other names of a knob's values, the most usual first.
const SYNONYMS: &[(&str, &str, &[&str])] = &[
    (
        "initializer",
        "variance_scaling",
        &[
            "he",
            "he_normal",
            "kaiming",
            "kaiming_normal",
            "he_uniform",
            "kaiming_uniform",
            "variancescaling",
            "scaled",
            "lecun_normal",
            "lecun",
        ],
    ),
    ("initializer", "xavier", &["xavier_normal", "glorot", "xavier_uniform", "glorot_uniform", "glorot_normal"]),
    ("initializer", "normal", &["gaussian", "random_normal", "randomnormal"]),
    ("initializer", "zeros", &["zero", "constant_zero"]),
    ("output_activation", "none", &["linear", "identity", "no", ""]),
    ("input_scaling", "none", &["identity", "no", ""]),
    ("loss", "l2", &["mse", "squared", "mse_loss", "mean_squared_error"]),
    ("loss", "l1", &["mae", "absolute", "l1_loss", "mean_absolute_error"]),
    ("loss", "cross_entropy", &["ce", "xent", "crossentropy", "softmax"]),
    ("activation", "leaky_relu", &["leakyrelu", "lrelu"]),
];

/// The spelling of optimizers that are classes.
const CLASSES: &[(&str, &str)] = &[
    ("adam", "Adam"),
    ("adamw", "AdamW"),
    ("sgd", "SGD"),
    ("rmsprop", "RMSprop"),
    ("adagrad", "Adagrad"),
    ("adadelta", "Adadelta"),
    ("adamax", "Adamax"),
    ("nadam", "NAdam"),
    ("radam", "RAdam"),
    ("relu", "ReLU"),
    ("tanh", "Tanh"),
    ("sigmoid", "Sigmoid"),
    ("gelu", "GELU"),
];

/// Initialisers that scale with the width of a layer are often free text; these are names that Keras takes.
const KERAS: &[&str] = &[
    "glorot_uniform",
    "glorot_normal",
    "he_normal",
    "he_uniform",
    "random_normal",
    "random_uniform",
    "lecun_normal",
    "zeros",
    "ones",
    "truncated_normal",
];

fn canonical(knob: &str, text: &str) -> Option<String> {
    canonical_value(knob, &Value::from(text))?.as_str().map(str::to_owned)
}

fn name(flag: &Flag, value: &str) -> Result<Setting, String> {
    let knob = flag.knob.as_str();
    if value.chars().any(char::is_control) {
        return Err(format!("the value of `{knob}` contains control characters"));
    }
    if value == "default" {
        return Ok(Setting::Left);
    }
    let synonyms =
        SYNONYMS.iter().find(|(of, word, _)| *of == knob && *word == value).map_or(&[][..], |(.., words)| words);
    let same = |word: &str| {
        let lower = word.to_ascii_lowercase().replace('-', "_");
        (lower == value || canonical(knob, word).as_deref() == Some(value))
            .then_some(0)
            .or_else(|| Some(1 + synonyms.iter().position(|s| *s == lower)?))
    };
    if !flag.choices.is_empty() {
        let best = flag.choices.iter().filter_map(|choice| Some((same(choice)?, choice))).min_by_key(|(rank, _)| *rank);
        return best
            .map(|(_, choice)| Setting::To(choice.clone()))
            .ok_or_else(|| format!("`{}` takes {}, not {value}", shown(flag), flag.choices.join(", ")));
    }
    let default = flag.default.as_ref().and_then(Value::as_str);
    if let Some(default) = default.filter(|default| same(default).is_some()) {
        return Ok(Setting::To(default.to_owned()));
    }
    let spelled = match (knob, default) {
        ("initializer", Some(default)) if KERAS.contains(&default) && value == "variance_scaling" => {
            "he_normal".to_owned()
        }
        ("initializer", Some(default)) if KERAS.contains(&default) => {
            format!("{value}{}", if value == "xavier" { "_uniform" } else { "" }).replace("xavier", "glorot")
        }
        ("optimizer" | "activation" | "output_activation", Some(default)) => like(default, value),
        ("optimizer" | "activation", None) => value.to_owned(),
        _ => return Err(format!("the values of `{}` are unknown", shown(flag))),
    };
    Ok(Setting::To(spelled))
}

/// A name in the spelling of another: `torch.optim.SGD` for `sgd` like `torch.optim.Adam`.
fn like(default: &str, value: &str) -> String {
    let (above, last) = default.rsplit_once('.').map_or((None, default), |(above, last)| (Some(above), last));
    let class = last.starts_with(|c: char| c.is_ascii_uppercase());
    let spelled = CLASSES.iter().find(|(word, _)| class && *word == value).map_or(value, |(_, spelled)| spelled);
    above.map_or_else(|| spelled.to_owned(), |above| format!("{above}.{spelled}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn flag(knob: &str, kind: Kind) -> Flag {
        Flag { name: "--x".into(), knob: knob.into(), kind, ..Flag::default() }
    }

    fn to(flag: &Flag, value: Value) -> String {
        match setting(flag, &value) {
            Ok(Setting::To(text)) => text,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn numbers_have_the_type_of_their_flag() {
        assert_eq!(to(&flag("learning_rate", Kind::Float), json!(1)), "1.0");
        assert_eq!(to(&flag("learning_rate", Kind::Any), json!(1e-5)), "0.00001");
        assert_eq!(to(&flag("batch_size", Kind::Int), json!(1)), "1");
        assert_eq!(to(&flag("epochs", Kind::Float), json!(3)), "3.0");
        assert!(to(&flag("batch_size", Kind::Int), json!(1.5)).contains("integers"));
        let batches = Flag { unit: Unit::Batches, ..flag("train_examples", Kind::Float) };
        assert_eq!(to(&batches, json!(1)), "1");
        assert_eq!(typed("learning_rate", &json!(1)).to_string(), "1.0");
        assert_eq!(typed("batch_size", &json!(1)).to_string(), "1");
    }

    #[test]
    fn names_are_those_of_the_choices() {
        let choices = |knob: &str, choices: &[&str]| Flag {
            choices: choices.iter().map(|c| (*c).to_owned()).collect(),
            ..flag(knob, Kind::Text)
        };
        assert_eq!(to(&choices("optimizer", &["Adam", "SGD"]), json!("adam")), "Adam");
        assert_eq!(to(&choices("initializer", &["zero", "he", "xavier"]), json!("variance_scaling")), "he");
        assert_eq!(
            to(&choices("initializer", &["glorot", "kaiming_uniform", "kaiming_normal"]), json!("variance_scaling")),
            "kaiming_normal"
        );
        assert_eq!(to(&choices("loss", &["MSE", "MAE"]), json!("l1")), "MAE");
        assert_eq!(to(&choices("output_activation", &["linear", "relu"]), json!("none")), "linear");
        assert!(to(&choices("optimizer", &["adam"]), json!("sgd")).contains("takes adam"));
        let free = |default: &str, knob: &str| Flag { default: Some(json!(default)), ..flag(knob, Kind::Text) };
        assert_eq!(to(&free("torch.optim.Adam", "optimizer"), json!("sgd")), "torch.optim.SGD");
        assert_eq!(to(&free("adam", "optimizer"), json!("sgd")), "sgd");
        assert_eq!(to(&free("mse", "loss"), json!("l2")), "mse");
        assert!(to(&free("mse", "loss"), json!("l1")).contains("unknown"));
        assert_eq!(to(&flag("initializer", Kind::Text), json!("default")), "Ok(Left)");
    }

    #[test]
    fn truth_is_written_as_the_script_reads_it() {
        let bn = |kind| flag("batch_norm", kind);
        assert_eq!(
            (to(&bn(Kind::Bool), json!(true)), to(&bn(Kind::Bool), json!(false))),
            ("true".into(), "false".into())
        );
        assert_eq!((to(&bn(Kind::Int), json!(true)), to(&bn(Kind::Int), json!(false))), ("1".into(), "0".into()));
        // Python's bool("False") is true.
        assert_eq!(to(&bn(Kind::Truthy), json!(false)), "");
        let of = |choices: [&str; 2]| Flag { choices: choices.map(str::to_owned).to_vec(), ..bn(Kind::Text) };
        for (choices, off, on) in
            [(["0", "1"], "0", "1"), (["true", "false"], "false", "true"), (["off", "bn"], "off", "bn")]
        {
            assert_eq!(
                (to(&of(choices), json!(false)), to(&of(choices), json!(true))),
                (off.to_owned(), on.to_owned())
            );
        }
        let norm = Flag { choices: vec!["layer".into(), "BatchNorm".into(), "none".into()], ..bn(Kind::Text) };
        assert_eq!((to(&norm, json!(true)), to(&norm, json!(false))), ("BatchNorm".into(), "none".into()));
        let switch = |on: &str, off: Option<&str>, default| Flag {
            name: on.into(),
            off: off.map(str::to_owned),
            default,
            way: Way::Switch,
            ..bn(Kind::Bool)
        };
        let store_true = switch("--bn", None, Some(json!(false)));
        assert_eq!(
            (setting(&store_true, &json!(true)), setting(&store_true, &json!(false))),
            (Ok(Setting::On), Ok(Setting::Left))
        );
        let no = switch("", Some("--no-bn"), Some(json!(true)));
        assert_eq!((setting(&no, &json!(true)), setting(&no, &json!(false))), (Ok(Setting::Left), Ok(Setting::Off)));
        assert!(setting(&switch("--bn", None, Some(json!(true))), &json!(false)).is_err());
    }

    #[test]
    fn nothing_is_the_default_and_never_a_guess() {
        let clip = |default| Flag { default, ..flag("gradient_clip", Kind::Float) };
        assert_eq!(setting(&clip(None), &json!(null)), Ok(Setting::Left));
        assert_eq!(setting(&clip(Some(json!(0.0))), &json!(null)), Ok(Setting::Left));
        assert!(setting(&clip(Some(json!(1.0))), &json!(null)).is_err());
        let schedule = Flag { choices: vec!["cosine".into(), "none".into()], ..flag("lr_decay", Kind::Text) };
        assert_eq!(to(&schedule, json!(1.0)), "none");
        assert!(to(&schedule, json!(0.9)).contains("schedule"));
        assert_eq!(to(&Flag { default: Some(json!(0.0)), ..flag("lr_decay", Kind::Float) }, json!(1)), "0.0");
        assert_eq!(to(&Flag { default: Some(json!(0.99)), ..flag("lr_decay", Kind::Float) }, json!(1)), "1.0");
    }
}
