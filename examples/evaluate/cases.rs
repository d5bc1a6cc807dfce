//! The list of cases, as data.
//!
//! Owns: what a case is, and how it is read. Must not know: how it is trained.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::trainer::knobs::{KnobError, Knobs};

/// One training program with a known truth.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Its name, which is also the name of its directory.
    pub(crate) id: String,
    /// What is learned.
    pub(crate) task: Data,
    /// Units of the hidden layers; none given: two layers of 48.
    #[serde(default = "two_layers")]
    pub(crate) hidden: Vec<usize>,
    /// Knobs that differ from the defaults.
    #[serde(default)]
    pub(crate) baseline: Map<String, Value>,
    /// What is broken, out of reach of any knob.
    #[serde(default)]
    pub(crate) fault: Fault,
    /// What the loss `custom` is.
    #[serde(default)]
    pub(crate) custom_loss: CustomLoss,
    /// How the learning rate goes.
    #[serde(default)]
    pub(crate) schedule: Schedule,
    /// Steps that were trained before the log begins: fine-tuning.
    #[serde(default)]
    pub(crate) pretrained: usize,
    /// How it logs.
    #[serde(default)]
    pub(crate) habits: Habits,
    /// Whether there is nothing to find.
    #[serde(default)]
    pub(crate) healthy: bool,
    /// Whether it is kept for measuring only: nothing may be tuned on it. The file that it stands in says so.
    #[serde(skip)]
    pub(crate) held_back: bool,
    /// Sets of symptoms; one of the sets must be found entirely.
    #[serde(default)]
    pub(crate) symptoms: Vec<Vec<String>>,
    /// Verdicts, of which one must be given.
    #[serde(default)]
    pub(crate) verdicts: Vec<String>,
    /// Why it is hard to judge, as a sentence, where that is known.
    #[serde(default)]
    pub(crate) remark: String,
    /// What must hold of its runs for all of the above to be true.
    pub(crate) truth: Vec<Claim>,
}

/// A claim on a run of a case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claim {
    /// Changes to the baseline.
    #[serde(default)]
    pub(crate) with: Map<String, Value>,
    /// Conditions, all of which hold: `end > 0.9 trivial`.
    pub(crate) holds: Vec<String>,
    /// What that says of the case.
    pub(crate) because: String,
}

/// What is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Data {
    /// Five clusters in ten dimensions.
    Clusters,
    /// The same, each feature in units of its own.
    ClustersInMixedUnits,
    /// Three interleaved spirals in the plane.
    Spirals,
    /// A smooth function of six numbers.
    Waves,
    /// The same, all targets below zero.
    WavesBelowZero,
    /// A linear function of ten numbers under much noise.
    Noise,
    /// Directions of stripes in small pictures, by a convolutional network.
    Stripes,
    /// Pictures of two blobs, through a narrow middle.
    Autoencoder,
    /// The next character of a text.
    Characters,
    /// The parity of three bits among twenty.
    Parity,
    /// A number and how sure one can be of it.
    Likelihood,
    /// Numbers under noise whose variance has no bound (Student's t with two degrees of freedom).
    HeavyTails,
    /// The same, far from zero.
    HeavyTailsFarFromZero,
    /// Four shapes of waves, as rows of samples.
    Signals,
    /// The same, as an instrument puts them out: large positive integers.
    SignalsInCounts,
    /// Noisy waves, to be cleaned, through a narrow middle.
    Denoising,
    /// The next token of a Markov chain, over an embedding of the last three.
    Markov,
    /// Six functions of five numbers at once.
    ManyOutputs,
    /// Two classes, one of them rare.
    Imbalanced,
    /// Points whose distances are to tell who is who.
    Identities,
    /// Counts, whose likelihood (Poisson) is a loss far below zero.
    Counts,
    /// A generator against a discriminator.
    Adversaries,
    /// A walk along a corridor, by its reward.
    Corridor,
}

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// Nothing that no knob could mend.
    #[default]
    None,
    /// The optimizer was given the parameters of another network.
    StaleOptimizer,
    /// Gradients are zeroed between the backward pass and the step.
    ZeroedGradients,
    /// Gradients are never zeroed.
    AccumulatedGradients,
    /// Only the parameters of the output layer are updated.
    DetachedBody,
    /// Biases of hidden layers start far below zero.
    DeadBias,
    /// Labels of the training set are permuted once.
    ShuffledLabels,
    /// Labels of each batch are permuted.
    MisalignedLabels,
    /// A reshape instead of a transpose mixes the examples of a batch.
    ScrambledBatch,
    /// All inputs are zero.
    BlankInputs,
    /// A few targets are far off.
    Outliers,
    /// Each label belongs to an example further on.
    ShiftedLabels {
        /// How far.
        by: usize,
    },
    /// Augmentation puts the features of each example in a random order.
    DestroyedInputs,
    /// The loader passes over the examples class by class.
    SortedByClass,
    /// Weights are pulled to zero far harder than the loss pulls them away.
    Shrinking,
    /// From a step on, a logarithm of zero is among the inputs.
    LogOfZero {
        /// The step.
        at: usize,
    },
    /// Validation inputs are not normalised as training inputs are.
    ValidationInOtherUnits,
    /// The process is killed while it writes.
    Killed {
        /// The step.
        at: usize,
    },
    /// The process hangs.
    Hang {
        /// The step.
        at: usize,
    },
    /// Single batches with wrong labels, which do no lasting harm.
    HardBatches {
        /// Steps between them.
        every: usize,
    },
}

/// What the loss `custom` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CustomLoss {
    /// As the task would have it.
    #[default]
    Right,
    /// The sign is wrong.
    Negated,
    /// The difference of a column and a row: every prediction against every target.
    Broadcast,
    /// Cross entropy of probabilities, which it takes for logits.
    DoubleSoftmax,
    /// Cut at a level below where it starts.
    Clamped,
    /// A logarithm of a probability that may be zero.
    LogOfProbability,
    /// Summed over the batch.
    Summed,
    /// Negative log likelihood of a Gaussian whose variance is predicted, too.
    Likelihood,
    /// Negative log likelihood of counts whose logarithmic rate is predicted, less what does not depend on it.
    Poisson,
    /// Draws embeddings of one class together, and those of different classes apart up to a margin.
    Contrastive,
    /// A negative log likelihood that is given logits for logarithms.
    LogitsAsLogarithms,
}

/// How the learning rate goes, besides `lr_decay`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Schedule {
    /// Steps over which it rises from zero.
    pub(crate) warm_up: usize,
    /// Whether it then follows half a cosine down to zero.
    pub(crate) cosine: bool,
    /// Steps at which it is multiplied by `factor`.
    pub(crate) drops: Vec<usize>,
    /// See `drops`.
    pub(crate) factor: f64,
    /// Steps of a cycle up and down; 0 = none.
    pub(crate) cycle: usize,
}

/// How a program logs: tags, rhythm, hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Habits {
    /// A hand-written PyTorch loop.
    #[default]
    Plain,
    /// Keras: one point an epoch, training and validation in directories of their own, no hyperparameters.
    Keras,
    /// Lightning: every fifth step, `hparams.yaml`.
    Lightning,
    /// Hugging Face's trainer: means over ten steps, no hyperparameters.
    Trainer,
    /// Megatron: tags of its own, every tenth step, no hyperparameters.
    Megatron,
    /// TensorFlow's Estimator: every twentieth step, evaluation in a directory of its own, no hyperparameters.
    Estimator,
}

fn two_layers() -> Vec<usize> {
    vec![48, 48]
}

impl Case {
    /// The knobs of its baseline with some of them changed.
    ///
    /// # Errors
    /// When a knob is unknown or does not take its value.
    pub(crate) fn knobs(&self, overrides: &Map<String, Value>) -> Result<Knobs, KnobError> {
        Knobs::default().with(&self.baseline)?.with(overrides)
    }
}

/// All cases.
///
/// # Errors
/// When the list does not follow its format, with the place.
pub(crate) fn all() -> anyhow::Result<Vec<Case>> {
    let trained = [include_str!("faults.yaml"), include_str!("healthy.yaml")];
    let held_back = [include_str!("held_back_faults.yaml"), include_str!("held_back_healthy.yaml")];
    let mut cases = Vec::new();
    for (texts, held_back) in [(trained, false), (held_back, true)] {
        for text in texts {
            let read: Vec<Case> = serde_saphyr::from_str(text)?;
            cases.extend(read.into_iter().map(|case| Case { held_back, ..case }));
        }
    }
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::all;

    #[test]
    fn every_case_is_complete() {
        let cases = all().unwrap();
        let ids: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
        assert_eq!(ids.len(), cases.len(), "an id stands twice");
        for case in &cases {
            let id = &case.id;
            assert_eq!(case.symptoms.is_empty(), case.healthy, "{id}");
            assert_eq!(case.verdicts.is_empty(), case.healthy, "{id}");
            assert!(!case.truth.is_empty(), "{id}");
            for claim in &case.truth {
                case.knobs(&claim.with).unwrap();
            }
        }
    }
}
