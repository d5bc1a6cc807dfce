//! What the settings of a job alone suggest: the article's general tips as a lint. Advice, never a verdict.

use crate::facts::Knobs;

/// For Adam about 0.001 does well (the article, "raise the learning rate"); a factor of ten either way is still usual.
const ADAM_RATES: std::ops::RangeInclusive<f64> = 1e-4..=1e-2;
/// A decay that leaves less than this of the learning rate at the run's end reaches nothing.
const DECAYED: f64 = 0.01;

/// One line a tip that the settings go against, each with its source.
pub fn advice(knobs: &Knobs, done: Option<f64>) -> Vec<String> {
    let number = |knob: &str| knobs.get(knob).and_then(serde_json::Value::as_f64);
    let text = |knob: &str| knobs.get(knob).and_then(serde_json::Value::as_str);
    let switch = |knob: &str| knobs.get(knob).and_then(serde_json::Value::as_bool);
    let mut tips = Vec::new();
    let adam = text("optimizer").is_some_and(|name| name.starts_with("adam"));
    if let Some(rate) = number("learning_rate").filter(|rate| adam && !ADAM_RATES.contains(rate)) {
        tips.push(format!(
            "the learning rate is {rate}; for Adam about 0.001 does well (article, raise the learning rate)"
        ));
    }
    if let (Some(decay), Some(steps)) = (number("lr_decay"), number("max_steps"))
        && decay < 1.0
        && decay.powf(steps) < DECAYED
    {
        let left = decay.powf(steps * done.unwrap_or(1.0).min(1.0));
        tips.push(format!("a decay of {decay} a step leaves {left:.1e} of the learning rate; Adam needs none (article, no learning-rate decay)"));
    }
    if let Some(activation) = text("output_activation").filter(|name| *name != "none" && *name != "linear") {
        tips.push(format!(
            "the output layer has the activation {activation}; it should have none (article, output layer)"
        ));
    }
    if let Some(plain) = text("initializer").filter(|name| *name == "normal") {
        tips.push(format!("the initialisation is a plain {plain}; variance scaling carries signals through depth (article, initialisation)"));
    }
    if switch("normalize_inputs") == Some(false) && text("input_scaling").is_none_or(|s| s == "none") {
        tips.push("the inputs are not normalised to mean 0 and deviation 1 (article, normalise input data)".to_owned());
    }
    if let Some(saturating) = text("activation").filter(|name| ["sigmoid", "tanh"].contains(name)) {
        tips.push(format!("the activation is {saturating}; ReLU does not let gradients vanish (article, ReLU)"));
    }
    tips
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_settings_get_no_advice() {
        let knobs = [("optimizer", "adam".into()), ("learning_rate", 0.001.into()), ("normalize_inputs", true.into())];
        assert!(advice(&knobs.map(|(k, v): (&str, serde_json::Value)| (k.to_owned(), v)).into(), None).is_empty());
    }

    #[test]
    fn each_tip_names_its_source() {
        let knobs = [
            ("optimizer", "adam".into()),
            ("learning_rate", 0.5.into()),
            ("lr_decay", 0.99.into()),
            ("max_steps", 2000.into()),
            ("output_activation", "relu".into()),
            ("initializer", "normal".into()),
            ("activation", "sigmoid".into()),
            ("normalize_inputs", false.into()),
        ];
        let tips = advice(&knobs.map(|(k, v): (&str, serde_json::Value)| (k.to_owned(), v)).into(), None);
        assert_eq!(tips.len(), 6);
        assert!(tips.iter().all(|tip| tip.contains("(article, ")));
    }
}
