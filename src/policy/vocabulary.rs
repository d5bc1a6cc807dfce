//! The names that a policy can use: knobs, symptoms and verdicts.
//!
//! Owns: the existing names and the types of knobs. Must not know: where a site's custom knobs are configured.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{KNOBS, VERDICTS};

/// The value of a constant.
#[derive(Debug, Clone, PartialEq)]
pub enum ConstantValue {
    /// A number.
    Number(f64),
    /// A list of texts.
    Texts(Vec<String>),
}

/// The values of a knob. Null is always allowed: the script's own default, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnobKind {
    /// true or false
    Bool,
    /// a whole number
    Integer,
    /// a number
    Number,
    /// a text
    Text,
    /// anything: a custom knob
    Any,
}

impl KnobKind {
    /// Its values, for messages.
    pub fn describe(self) -> &'static str {
        match self {
            KnobKind::Bool => "true or false",
            KnobKind::Integer => "a whole number",
            KnobKind::Number => "a number",
            KnobKind::Text => "a text",
            KnobKind::Any => "any value",
        }
    }

    /// Whether a literal value is valid for such a knob.
    pub fn takes(self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Null) => true,
            (KnobKind::Any, v) => !v.is_array() && !v.is_object(),
            (KnobKind::Bool, v) => v.is_boolean(),
            (KnobKind::Integer, v) => v.as_f64().is_some_and(|n| n.fract() == 0.0),
            (KnobKind::Number, v) => v.is_number(),
            (KnobKind::Text, v) => v.is_string(),
        }
    }

    /// Reads the kind from the first word of a knob's meaning in [`KNOBS`].
    fn of_meaning(meaning: &str) -> KnobKind {
        match meaning.split([' ', ',', ':']).next() {
            Some("float") => KnobKind::Number,
            Some("int") => KnobKind::Integer,
            Some("bool") => KnobKind::Bool,
            _ => KnobKind::Text,
        }
    }
}

/// The names that a policy can use. Other names are reported when the policy is read, not when it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// Knobs by canonical name.
    pub knobs: BTreeMap<String, KnobKind>,
    /// Additional knobs of a policy: a script supports them only if the site lists them.
    pub brought: BTreeSet<String>,
    /// Symptom ids.
    pub symptoms: BTreeSet<String>,
    /// Verdicts.
    pub verdicts: BTreeSet<String>,
}

impl Vocabulary {
    /// The standard knobs and verdicts, and all symptoms.
    pub fn new<'s>(symptoms: impl IntoIterator<Item = &'s str>) -> Self {
        Vocabulary {
            knobs: KNOBS.iter().map(|(name, meaning)| ((*name).to_owned(), KnobKind::of_meaning(meaning))).collect(),
            brought: BTreeSet::new(),
            symptoms: symptoms.into_iter().map(str::to_owned).collect(),
            verdicts: VERDICTS.iter().map(|v| (*v).to_owned()).collect(),
        }
    }

    /// Adds a site's custom knobs; a standard knob keeps its kind.
    #[must_use]
    pub fn with_knobs<'k>(mut self, knobs: impl IntoIterator<Item = &'k str>) -> Self {
        for knob in knobs {
            self.knobs.entry(knob.to_owned()).or_insert(KnobKind::Any);
        }
        self
    }

    /// Adds the additional knobs of a policy.
    #[must_use]
    pub(super) fn bringing<'k>(mut self, knobs: impl IntoIterator<Item = &'k str> + Clone) -> Self {
        self.brought.extend(knobs.clone().into_iter().map(str::to_owned));
        self.with_knobs(knobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_contracts_knobs_have_their_kinds() {
        let words = Vocabulary::new([]).with_knobs(["width", "seed"]);
        assert_eq!(words.knobs["learning_rate"], KnobKind::Number);
        assert_eq!(words.knobs["gradient_clip"], KnobKind::Number);
        assert_eq!(words.knobs["train_examples"], KnobKind::Integer);
        assert_eq!(words.knobs["batch_norm"], KnobKind::Bool);
        assert_eq!(words.knobs["initializer"], KnobKind::Text);
        assert_eq!(words.knobs["seed"], KnobKind::Integer);
        assert_eq!(words.knobs["width"], KnobKind::Any);
    }

    #[test]
    fn a_kind_takes_its_own_values_and_null() {
        assert!(KnobKind::Integer.takes(&json!(3)) && KnobKind::Integer.takes(&json!(3.0)));
        assert!(!KnobKind::Integer.takes(&json!(0.5)) && !KnobKind::Bool.takes(&json!("yes")));
        assert!(KnobKind::Text.takes(&json!(null)) && !KnobKind::Any.takes(&json!([1])));
    }
}
