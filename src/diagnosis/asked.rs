//! Whether a run matches the request, according to its own logs.
//!
//! Owns: when two spellings of a setting have the same value. Must not know: the consequences of a difference.

use serde_json::Value;

use crate::facts::Knobs;
use crate::launched::Launched;
use crate::policy::KNOBS;

/// The requested run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The known settings of the baseline: logged, in its command, or defaults of its script.
    pub(super) settings: &'a Knobs,
    /// The requested changes.
    pub(super) changes: &'a Knobs,
}

/// Two numbers that differ by this share or less are one number: loggers round to single precision.
const ROUNDING: f64 = 1e-5;

/// A logged learning rate that exceeds the requested one by this factor is different. Warm-up, decay and averages make
/// it smaller, not larger.
const RATE_FAR_ABOVE: f64 = 2.0;

/// Settings that programs derive from others; they may change together with those.
const WORKED_OUT: &[(&str, &[&str])] = &[
    ("max_steps", &["batch_size", "train_examples"]),
    ("lr_decay", &["max_steps", "batch_size", "train_examples"]),
    ("batch_size", &["train_examples"]),
    ("train_examples", &["max_steps", "batch_size"]),
];

/// Names of one initialisation.
const INITIALIZERS: &[(&str, &[&str])] = &[
    ("variance_scaling", &["variance_scaling", "he", "kaiming", "msra"]),
    ("xavier", &["xavier", "glorot"]),
    ("normal", &["normal", "gaussian", "random_normal"]),
];

impl Asked<'_> {
    /// The first setting in which a run differs from the request, in words with both values. `logged` are the settings
    /// that it logged, `rate` is the highest learning rate that it logged as a series.
    pub(super) fn difference(&self, logged: &Knobs, rate: Option<f64>) -> Option<String> {
        let changed = self
            .changes
            .iter()
            .filter(|(knob, asked)| logged.get(*knob).is_some_and(|logged| self.was_not_changed(knob, asked, logged)));
        let kept = self
            .settings
            .iter()
            .filter(|(knob, _)| self.was_to_be_kept(knob))
            .filter(|(knob, before)| logged.get(*knob).is_some_and(|logged| !agree(knob, before, logged)));
        let by_setting = changed
            .chain(kept)
            .next()
            .map(|(knob, asked)| format!("{knob} is {}, but {} was requested", shown(&logged[knob]), shown(asked)));
        by_setting.or_else(|| self.rate_far_above(logged, rate))
    }

    /// Numbers must equal the requested ones. A text may be the script's own word for the value; it is wrong if it
    /// still equals the baseline's.
    fn was_not_changed(&self, knob: &str, asked: &Value, logged: &Value) -> bool {
        if agree(knob, asked, logged) {
            return false;
        }
        let still =
            || self.settings.get(knob).is_some_and(|before| !agree(knob, asked, before) && agree(knob, logged, before));
        let comparable = |value: &Value| value.is_number() || value.is_boolean();
        comparable(asked) && comparable(logged) || still()
    }

    /// Whether a setting of the baseline must also apply to the experiment. A seed may differ between runs.
    fn was_to_be_kept(&self, knob: &str) -> bool {
        let worked_out = WORKED_OUT.iter().find(|(name, _)| *name == knob).map_or(&[][..], |(_, from)| from);
        let known = KNOBS.iter().any(|(name, _)| *name == knob);
        let touched = |name: &&str| self.changes.contains_key(*name);
        known && knob != "seed" && !self.changes.contains_key(knob) && !worked_out.iter().any(touched)
    }

    fn rate_far_above(&self, logged: &Knobs, rate: Option<f64>) -> Option<String> {
        let asked = self.changes.get("learning_rate").and_then(Value::as_f64)?;
        let rate = rate.filter(|rate| *rate > RATE_FAR_ABOVE * asked && !logged.contains_key("learning_rate"))?;
        Some(format!("its learning rate rises to {rate}, but {asked} was requested"))
    }
}

/// How the code of a run differs from that of its baseline, in words. `None` if it is the same, or unknown.
pub(super) fn other_code(baseline: &Launched, run: &Launched) -> Option<String> {
    let (before, now) = (baseline.git.as_ref()?, run.git.as_ref()?);
    if before != now {
        return Some(format!("its code is at commit {now}, but the baseline's was at {before}"));
    }
    let words = |changes: &Option<String>| changes.clone().unwrap_or_else(|| "none".to_owned());
    (baseline.changes != run.changes).then(|| {
        let (before, now) = (words(&baseline.changes), words(&run.changes));
        format!("its code has other uncommitted changes than the baseline's ({now}, not {before})")
    })
}

/// Whether two values of a setting mean the same.
fn agree(knob: &str, a: &Value, b: &Value) -> bool {
    if none(knob, a) || none(knob, b) {
        return none(knob, a) && none(knob, b);
    }
    match (number(a), number(b)) {
        (Some(x), Some(y)) => (x - y).abs() <= ROUNDING * x.abs().max(y.abs()),
        (None, None) => word(knob, a) == word(knob, b),
        _ => false,
    }
}

/// No clipping is written as null, 0 or infinity; null is no value of any setting.
fn none(knob: &str, value: &Value) -> bool {
    let unbounded = || value.as_f64().is_some_and(|norm| norm <= 0.0 || norm.is_infinite());
    value.is_null() || value == "none" || knob == "gradient_clip" && (unbounded() || value == "inf")
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_bool().map(f64::from))
}

fn word(knob: &str, value: &Value) -> String {
    let plain = value.as_str().map_or_else(|| value.to_string(), str::to_lowercase).replace('-', "_");
    if knob != "initializer" {
        return plain;
    }
    let base = plain.trim_end_matches('_').trim_end_matches("_normal").trim_end_matches("_uniform");
    let base = if base.is_empty() { plain.as_str() } else { base };
    let known = INITIALIZERS.iter().find(|(_, names)| names.contains(&base));
    known.map_or_else(|| base.to_owned(), |(name, _)| (*name).to_owned())
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn knobs(value: Value) -> Knobs {
        serde_json::from_value(value).unwrap()
    }

    fn difference(settings: Value, changes: Value, logged: Value) -> Option<String> {
        let (settings, changes) = (knobs(settings), knobs(changes));
        Asked { settings: &settings, changes: &changes }.difference(&knobs(logged), None)
    }

    #[test]
    fn a_change_that_did_not_arrive_is_named_with_both_values() {
        let text =
            difference(json!({"learning_rate": 1.0}), json!({"learning_rate": 0.01}), json!({"learning_rate": 1}));
        assert_eq!(text.as_deref(), Some("learning_rate is 1, but 0.01 was requested"));
        let flag = difference(json!({"batch_norm": true}), json!({"batch_norm": false}), json!({"batch_norm": 1}));
        assert!(flag.is_some());
    }

    #[test]
    fn what_was_to_stay_as_it_was_is_compared_too() {
        let text = difference(
            json!({"initializer": "zeros"}),
            json!({"learning_rate": 0.01}),
            json!({"initializer": "default"}),
        );
        assert_eq!(text.as_deref(), Some("initializer is default, but zeros was requested"));
        for logged in [json!({"seed": 2}), json!({"classes": 3}), json!({"optimizer": "sgd"})] {
            assert_eq!(difference(json!({"seed": 1, "classes": 10}), json!({"learning_rate": 0.01}), logged), None);
        }
    }

    #[test]
    fn one_value_has_many_spellings() {
        for (knob, asked, logged) in [
            ("learning_rate", json!(1.0), json!(1)),
            ("learning_rate", json!(0.1), json!(0.100_000_001_49)),
            ("batch_norm", json!(false), json!(0)),
            ("gradient_clip", json!(null), json!(0.0)),
            ("gradient_clip", json!(null), json!("none")),
            ("initializer", json!("variance_scaling"), json!("kaiming_normal_")),
            ("initializer", json!("variance_scaling"), json!("my_own_he")),
            ("loss", json!("l2"), json!("weighted")),
        ] {
            let change = json!({ knob: asked });
            assert_eq!(difference(json!({}), change, json!({ knob: logged })), None, "{knob} {logged}");
        }
        let still = difference(json!({"loss": "custom"}), json!({"loss": "l2"}), json!({"loss": "custom"}));
        assert!(still.is_some(), "it is still the baseline's");
        let clipped =
            difference(json!({"gradient_clip": 1.0}), json!({"gradient_clip": null}), json!({"gradient_clip": 1.0}));
        assert!(clipped.is_some());
    }

    #[test]
    fn what_programs_work_out_follows_what_was_changed() {
        let (settings, logged) =
            (json!({"max_steps": 1000, "batch_size": 32}), json!({"max_steps": 500, "batch_size": 64}));
        assert_eq!(difference(settings.clone(), json!({"batch_size": 64}), logged.clone()), None);
        assert!(difference(settings, json!({"batch_size": 64, "max_steps": 1000}), logged).is_some());
    }

    #[test]
    fn a_rate_that_is_logged_as_a_series_must_not_be_far_above() {
        let (settings, changes) = (Knobs::new(), knobs(json!({"learning_rate": 0.01})));
        let asked = Asked { settings: &settings, changes: &changes };
        assert!(asked.difference(&Knobs::new(), Some(0.1)).is_some());
        assert_eq!(asked.difference(&Knobs::new(), Some(0.01)), None);
        assert_eq!(asked.difference(&Knobs::new(), Some(0.001)), None, "it may warm up");
    }

    #[test]
    fn code_that_changed_since_the_baseline_is_another_program() {
        let launched = |git: Option<&str>, changes: Option<&str>| Launched {
            git: git.map(str::to_owned),
            changes: changes.map(str::to_owned),
            ..Launched::default()
        };
        let (clean, dirty) = (launched(Some("a1"), None), launched(Some("a1"), Some("f00")));
        assert_eq!(other_code(&clean, &clean), None);
        assert!(other_code(&clean, &launched(Some("b2"), None)).unwrap().contains("commit b2"));
        assert!(other_code(&clean, &dirty).is_some() && other_code(&dirty, &clean).is_some());
        assert_eq!(other_code(&clean, &launched(None, None)), None, "nobody knows");
    }
}
