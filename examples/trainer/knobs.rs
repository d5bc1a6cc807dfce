//! The hyperparameters that a training program obeys, by their canonical names.
//!
//! Owns: names, types, and how overrides change a baseline. Must not know: what a knob does.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Every knob, with its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Knobs {
    /// Step size of the optimizer.
    pub(crate) learning_rate: f64,
    /// Factor on the learning rate at every step; 1 = none.
    pub(crate) lr_decay: f64,
    /// Examples an update.
    pub(crate) batch_size: usize,
    /// Whether layers are followed by batch norm.
    pub(crate) batch_norm: bool,
    /// How many of the training examples are used; none = all.
    pub(crate) train_examples: Option<usize>,
    /// How weights are drawn.
    pub(crate) initializer: Initializer,
    /// The update rule.
    pub(crate) optimizer: OptimizerKind,
    /// The function behind every hidden layer.
    pub(crate) activation: Activation,
    /// The function behind the last layer.
    pub(crate) output_activation: Activation,
    /// What is minimised.
    pub(crate) loss: LossKind,
    /// The largest global norm of the gradients; none = any.
    pub(crate) gradient_clip: Option<f64>,
    /// Whether inputs get mean 0 and deviation 1.
    pub(crate) normalize_inputs: bool,
    /// What squashes the inputs before that.
    pub(crate) input_scaling: InputScaling,
    /// Optimizer steps.
    pub(crate) max_steps: usize,
    /// Seed of the initial weights and of the order of examples.
    pub(crate) seed: u64,
}

/// How weights are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Initializer {
    /// Uniform within 1 / sqrt(fan in), as most libraries do when not asked.
    Default,
    /// Gaussian of deviation 1, whatever the size of the layer.
    Normal,
    /// Gaussian of deviation 0.01.
    SmallNormal,
    /// All zero.
    Zeros,
    /// Gaussian of variance 2 / fan in (He et al., 2015); 1 / fan in where the activation is not a rectifier.
    #[serde(alias = "he", alias = "he_normal", alias = "kaiming")]
    VarianceScaling,
    /// Gaussian of variance 2 / (fan in + fan out) (Glorot and Bengio, 2010).
    #[serde(alias = "glorot")]
    Xavier,
}

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OptimizerKind {
    /// Kingma and Ba, 2015.
    Adam,
    /// Plain gradient descent.
    Sgd,
    /// Gradient descent with momentum 0.9.
    Momentum,
    /// Gradients divided by the root of their running mean square (Tieleman and Hinton, 2012).
    #[serde(rename = "rmsprop")]
    RmsProp,
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
    #[serde(rename = "adamw")]
    AdamW,
}

/// A function of each value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Activation {
    /// x
    None,
    /// max(x, 0)
    Relu,
    /// x, or x / 100 where it is negative
    LeakyRelu,
    /// 1 / (1 + exp(-x))
    Sigmoid,
    /// tanh(x)
    Tanh,
}

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LossKind {
    /// Mean squared error.
    L2,
    /// Mean absolute error.
    L1,
    /// Squared near zero, absolute beyond one.
    Huber,
    /// Negative log likelihood of the softmax.
    CrossEntropy,
    /// The task's own.
    Custom,
}

/// What squashes the inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InputScaling {
    /// Nothing.
    None,
    /// tanh of the standardised input.
    Tanh,
}

/// Why overrides cannot be carried out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum KnobError {
    /// The program has no such knobs.
    #[error("unknown knobs for this script: {}; it has {}", .0.join(", "), names().join(", "))]
    Unknown(Vec<String>),
    /// A knob does not take this value.
    #[error("cannot set {knob} to {value}: {problem}")]
    Value {
        /// The knob.
        knob: String,
        /// The value, as JSON.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Default for Knobs {
    fn default() -> Knobs {
        Knobs {
            learning_rate: 1e-3,
            lr_decay: 1.0,
            batch_size: 32,
            batch_norm: false,
            train_examples: None,
            initializer: Initializer::Default,
            optimizer: OptimizerKind::Adam,
            activation: Activation::Relu,
            output_activation: Activation::None,
            loss: LossKind::L2,
            gradient_clip: None,
            normalize_inputs: true,
            input_scaling: InputScaling::None,
            max_steps: 1000,
            seed: 0,
        }
    }
}

impl Knobs {
    /// All knobs as a JSON object.
    pub(crate) fn to_map(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            other => unreachable!("a struct of plain fields is an object: {other:?}"),
        }
    }

    /// These knobs with some of them changed.
    ///
    /// # Errors
    /// When a knob is unknown (all of them are named), or does not take the value that it is given.
    pub(crate) fn with(&self, overrides: &Map<String, Value>) -> Result<Knobs, KnobError> {
        let mut map = self.to_map();
        let unknown: Vec<String> = overrides.keys().filter(|name| !map.contains_key(*name)).cloned().collect();
        if !unknown.is_empty() {
            return Err(KnobError::Unknown(unknown));
        }
        let mut knobs = self.clone();
        for (knob, value) in overrides {
            map.insert(knob.clone(), whole(value.clone()));
            knobs = serde_json::from_value(Value::Object(map.clone())).map_err(|problem| KnobError::Value {
                knob: knob.clone(),
                value: value.to_string(),
                problem: problem.to_string(),
            })?;
        }
        match knobs {
            Knobs { batch_size: 0, .. } => Err(zero("batch_size")),
            Knobs { train_examples: Some(0), .. } => Err(zero("train_examples")),
            Knobs { max_steps: 0, .. } => Err(zero("max_steps")),
            knobs => Ok(knobs),
        }
    }
}

fn zero(knob: &str) -> KnobError {
    KnobError::Value { knob: knob.to_owned(), value: "0".to_owned(), problem: "must be at least 1".to_owned() }
}

/// Names of all knobs.
pub(crate) fn names() -> Vec<String> {
    Knobs::default().to_map().keys().cloned().collect()
}

/// Arithmetic makes floats of integers: 16.0 is 16 examples.
fn whole(value: Value) -> Value {
    match value.as_f64() {
        Some(float) if value.is_f64() && float.fract() == 0.0 && (0.0..9e15).contains(&float) => {
            Value::from(float as u64)
        }
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Initializer, KnobError, Knobs};

    fn with(overrides: &serde_json::Value) -> Result<Knobs, KnobError> {
        Knobs::default().with(overrides.as_object().unwrap())
    }

    #[test]
    fn overrides_change_only_what_they_name() {
        let knobs = with(&json!({"learning_rate": 1, "batch_size": 16.0, "train_examples": 1})).unwrap();
        let expected = Knobs { learning_rate: 1.0, batch_size: 16, train_examples: Some(1), ..Knobs::default() };
        assert_eq!(knobs, expected);
        assert_eq!(with(&json!({"initializer": "he"})).unwrap().initializer, Initializer::VarianceScaling);
    }

    #[test]
    fn every_unknown_knob_is_named() {
        let unknown = with(&json!({"dropout": 0.1, "learning_rate": 1, "heads": 8})).unwrap_err();
        assert_eq!(unknown, KnobError::Unknown(vec!["dropout".into(), "heads".into()]));
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_with_its_knob() {
        for (name, value) in [("initializer", json!("magic")), ("batch_size", json!(0)), ("seed", json!(-1))] {
            match with(&json!({ name: value })) {
                Err(KnobError::Value { knob, .. }) => assert_eq!(knob, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
