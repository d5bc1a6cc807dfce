//! Advice based only on the settings of a job: the article's general tips as lints. Never a verdict.
//!
//! One function per tip, one line in [`TIPS`]. Unknown settings cause no advice.

use serde_json::Value;

use crate::facts::{Facts, Quantity};

/// For Adam, about 0.001 works well (the article, "raise the learning rate"); a factor of ten either way is still
/// usual.
const ADAM_RATES: std::ops::RangeInclusive<f64> = 1e-4..=1e-2;
/// A decay that leaves less than this fraction of the learning rate at the end of the run makes no progress there.
const DECAYED: f64 = 0.01;
/// A cross-entropy that starts this many times above log K is far from a uniform guess: a good start is within a few
/// tens of per cent.
const OVERCONFIDENT: f64 = 1.5;
/// Clipping below this value, with the usual norms of 0.1 to 10, reduces every step.
const TIGHT_CLIP: f64 = 0.01;

/// The settings of a job, and how much of its plan is done.
struct Settings<'a> {
    facts: &'a Facts,
    done: f64,
}

impl Settings<'_> {
    fn number(&self, knob: &str) -> Option<f64> {
        self.facts.knobs.get(knob).and_then(Value::as_f64)
    }

    fn text(&self, knob: &str) -> Option<&str> {
        self.facts.knobs.get(knob).and_then(Value::as_str)
    }

    fn switch(&self, knob: &str) -> Option<bool> {
        self.facts.knobs.get(knob).and_then(Value::as_bool)
    }

    fn adam(&self) -> bool {
        self.text("optimizer").is_some_and(|name| name.starts_with("adam"))
    }
}

/// A setting that contradicts advice, in words with its source.
type Tip = fn(&Settings<'_>) -> Option<String>;

const TIPS: &[Tip] = &[
    rate_for_adam,
    optimizer,
    decay,
    output_activation,
    initializer,
    batch_norm_of_one,
    inputs,
    activation,
    clip,
    start_above_chance,
];

/// One line per tip that the settings contradict, with its source. `done` is the completed fraction of the planned
/// steps, if known.
pub fn advice(facts: &Facts, done: Option<f64>) -> Vec<String> {
    let settings = Settings { facts, done: done.unwrap_or(1.0).min(1.0) };
    TIPS.iter().filter_map(|tip| tip(&settings)).collect()
}

fn rate_for_adam(settings: &Settings<'_>) -> Option<String> {
    let rate = settings.number("learning_rate").filter(|rate| settings.adam() && !ADAM_RATES.contains(rate))?;
    Some(format!("the learning rate is {rate}; for Adam, about 0.001 works well (article, raise the learning rate)"))
}

fn optimizer(settings: &Settings<'_>) -> Option<String> {
    let name = settings.text("optimizer").filter(|name| ["sgd", "momentum", "rmsprop", "adagrad"].contains(name))?;
    Some(format!("the optimizer is {name}; try Adam first, and save its state with the weights (article, Adam)"))
}

fn decay(settings: &Settings<'_>) -> Option<String> {
    let (decay, steps) = (settings.number("lr_decay")?, settings.number("max_steps")?);
    if !(0.0..1.0).contains(&decay) || decay.powf(steps) >= DECAYED {
        return None;
    }
    let left = decay.powf(steps * settings.done);
    let needs = if settings.adam() { "Adam needs none" } else { "begin with none" };
    Some(format!(
        "a decay of {decay} per step leaves {left:.1e} of the learning rate; {needs} (article, no learning-rate decay)"
    ))
}

fn output_activation(settings: &Settings<'_>) -> Option<String> {
    let name = settings.text("output_activation").filter(|name| !["none", "linear", "identity"].contains(name))?;
    let twice = settings.text("loss") == Some("cross_entropy") && ["softmax", "log_softmax", "sigmoid"].contains(&name);
    Some(if twice {
        format!(
            "the output layer has a {name}, but cross-entropy takes raw scores in most libraries (article, output layer)"
        )
    } else {
        format!("the output layer has the activation {name}; it should have none (article, output layer)")
    })
}

fn initializer(settings: &Settings<'_>) -> Option<String> {
    let name = settings.text("initializer").map(|name| name.replace('_', " "))?;
    ["normal", "small normal", "truncated normal", "zeros", "xavier", "glorot"].contains(&name.as_str()).then(|| {
        let plain = if name == "xavier" || name == "glorot" { "" } else { "plain " };
        format!(
            "the initialisation is a {plain}{name}; variance scaling keeps signals stable through many layers \
            (article, initialisation)"
        )
    })
}

fn batch_norm_of_one(settings: &Settings<'_>) -> Option<String> {
    let one = settings.switch("batch_norm") == Some(true) && settings.number("batch_size") == Some(1.0);
    one.then(|| {
        "batch norm with a batch of one: a single value has no variance to divide by (article, drop batch norm)".into()
    })
}

fn inputs(settings: &Settings<'_>) -> Option<String> {
    let raw = settings.switch("normalize_inputs") == Some(false)
        && settings.text("input_scaling").is_none_or(|scaling| scaling == "none");
    raw.then(|| {
        "the inputs are not normalised to mean 0 and standard deviation 1; squash a very large range with \
        tanh first (article, normalise input data)"
            .into()
    })
}

fn activation(settings: &Settings<'_>) -> Option<String> {
    let name = settings.text("activation").filter(|name| ["sigmoid", "tanh", "softsign"].contains(name))?;
    Some(format!("the activation is {name}; with ReLU, gradients do not vanish (article, ReLU)"))
}

fn clip(settings: &Settings<'_>) -> Option<String> {
    let clip = settings.number("gradient_clip").filter(|clip| *clip > 0.0 && *clip < TIGHT_CLIP)?;
    Some(format!(
        "gradients are clipped at {clip}: this reduces every step, and hides the true gradients (article, case study)"
    ))
}

fn start_above_chance(settings: &Settings<'_>) -> Option<String> {
    let classes = settings.number("classes").filter(|classes| *classes >= 2.0)?;
    let (chance, start) = (classes.ln(), settings.facts.number(Quantity::LossStart));
    let over = settings.text("loss") == Some("cross_entropy") && start > OVERCONFIDENT * chance;
    over.then(|| {
        format!(
            "the loss starts at {start:.2}, while a uniform guess among {classes} classes costs log {classes} = \
            {chance:.2}: the first outputs are too large because of the initialisation or the scale of the inputs \
            (Karpathy, A Recipe for Training Neural Networks: verify the loss at the start)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<const N: usize>(knobs: [(&str, Value); N]) -> Facts {
        Facts { knobs: knobs.map(|(knob, value)| (knob.to_owned(), value)).into(), ..Facts::default() }
    }

    #[test]
    fn good_settings_get_no_advice() {
        let knobs = [
            ("optimizer", "adam".into()),
            ("learning_rate", 0.001.into()),
            ("normalize_inputs", true.into()),
            ("initializer", "variance_scaling".into()),
            ("output_activation", "none".into()),
            ("activation", "relu".into()),
            ("batch_norm", true.into()),
            ("batch_size", 32.into()),
            ("gradient_clip", 1.0.into()),
            ("lr_decay", 1.0.into()),
            ("max_steps", 2000.into()),
        ];
        assert_eq!(advice(&facts(knobs), None), Vec::<String>::new());
        assert_eq!(advice(&Facts::default(), None), Vec::<String>::new());
    }

    #[test]
    fn each_tip_that_settings_go_against_is_named_with_its_source() {
        let knobs = [
            ("optimizer", "adam".into()),
            ("learning_rate", 0.5.into()),
            ("lr_decay", 0.99.into()),
            ("max_steps", 2000.into()),
            ("output_activation", "relu".into()),
            ("initializer", "truncated_normal".into()),
            ("activation", "sigmoid".into()),
            ("normalize_inputs", false.into()),
            ("batch_norm", true.into()),
            ("batch_size", 1.into()),
            ("gradient_clip", 0.001.into()),
        ];
        let tips = advice(&facts(knobs), None);
        assert_eq!(tips.len(), 8, "{tips:?}");
        assert!(tips.iter().all(|tip| tip.contains("(article, ")));
    }

    #[test]
    fn a_softmax_before_a_cross_entropy_is_said_to_be_one_too_many() {
        let tips = advice(&facts([("output_activation", "softmax".into()), ("loss", "cross_entropy".into())]), None);
        assert!(tips.len() == 1 && tips[0].contains("raw scores"), "{tips:?}");
    }

    #[test]
    fn a_start_far_above_log_k_is_said_where_k_is_known() {
        let start = |loss_start| {
            let known = facts([("classes", 10.into()), ("loss", "cross_entropy".into())]);
            advice(&known.with([(Quantity::LossStart, loss_start)]), None).len()
        };
        assert_eq!((start(2.4), start(9.0)), (0, 1));
    }

    #[test]
    fn a_decay_says_what_it_leaves_of_the_rate_so_far() {
        let tips = advice(&facts([("lr_decay", 0.99.into()), ("max_steps", 2000.into())]), Some(0.5));
        assert!(tips.len() == 1 && tips[0].contains("4.3e-5"), "{tips:?}");
    }
}
