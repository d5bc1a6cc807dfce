//! A random program: what it learns, how it is set, what is wrong with it, how it logs.
//!
//! Owns: the vocabulary, and which families are held back. Must not know: how any of it is drawn or trained.

use serde::{Deserialize, Serialize};

use super::style::Style;
use crate::trainer::knobs::{Activation, Initializer, LossKind, OptimizerKind};

/// One training program. The same program trained with the same seed gives the same curves on the same machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Program {
    /// Identifies the program; everything else is drawn from it.
    pub(crate) seed: u64,
    /// What is learned.
    pub(crate) task: Task,
    /// How it is trained.
    pub(crate) settings: Settings,
    /// What is wrong with it: none, one or two.
    pub(crate) bugs: Vec<Bug>,
    /// How it logs.
    pub(crate) style: Style,
}

impl Program {
    /// Which of the three families are held back from fitting: task, bug, style.
    pub(crate) fn held_back(&self) -> HeldBack {
        HeldBack {
            task: self.task.family.held_back(),
            bug: self.bugs.iter().any(Bug::held_back),
            style: self.style.framework.held_back(),
        }
    }
}

/// Which families of a program are held back whole: nothing may be fitted on it if any is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HeldBack {
    /// Its task is of a family that is held back.
    pub(crate) task: bool,
    /// One of its bugs is.
    pub(crate) bug: bool,
    /// Its logging style is.
    pub(crate) style: bool,
}

impl HeldBack {
    /// Whether anything is held back.
    pub(crate) fn any(self) -> bool {
        self.task || self.bug || self.style
    }
}

/// The kind of thing that is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Family {
    /// Regression on a random network's output.
    Teacher,
    /// Regression on a wave over few inputs.
    Wave,
    /// Regression on a table whose columns have different units.
    Table,
    /// The next value of a noisy series.
    Forecast,
    /// Classes of Gaussian clouds.
    Clouds,
    /// Classes by the largest output of a random network.
    TeacherClasses,
    /// Classes along spiral arms.
    Spirals,
    /// Small pictures, read by convolutions.
    Pictures,
    /// The next symbol of a Markov chain.
    Symbols,
    /// A property of a sequence, read by a recurrent network.
    Recurrent,
    /// Inputs are reproduced through a bottleneck.
    Autoencoder,
    /// A policy that sees a context and chooses one of several arms.
    Bandit,
    /// A policy that walks along a corridor.
    Corridor,
}

impl Family {
    /// Every family, with how often it is drawn.
    pub(crate) const ALL: [(Family, f64); 13] = [
        (Family::Teacher, 12.0),
        (Family::Wave, 9.0),
        (Family::Table, 10.0),
        (Family::Forecast, 7.0),
        (Family::Clouds, 12.0),
        (Family::TeacherClasses, 12.0),
        (Family::Spirals, 7.0),
        (Family::Pictures, 6.0),
        (Family::Symbols, 9.0),
        (Family::Recurrent, 6.0),
        (Family::Autoencoder, 7.0),
        (Family::Bandit, 7.0),
        (Family::Corridor, 4.0),
    ];

    /// Whether no rule and no weight may be fitted on it.
    pub(crate) fn held_back(self) -> bool {
        matches!(self, Family::Forecast | Family::Spirals | Family::Recurrent | Family::Corridor)
    }

    /// Whether the outputs are scores of classes.
    pub(crate) fn classes(self) -> bool {
        matches!(
            self,
            Family::Clouds
                | Family::TeacherClasses
                | Family::Spirals
                | Family::Pictures
                | Family::Symbols
                | Family::Recurrent
        )
    }

    /// Whether it learns from rewards.
    pub(crate) fn rewards(self) -> bool {
        matches!(self, Family::Bandit | Family::Corridor)
    }
}

/// What is learned, and from what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Its kind.
    pub(crate) family: Family,
    /// Numbers that go in: features, pixels, or symbols a position.
    pub(crate) inputs: usize,
    /// Numbers that come out: targets, classes or actions.
    pub(crate) outputs: usize,
    /// Positions of a sequence; 1 elsewhere.
    pub(crate) length: usize,
    /// How much structure there is to learn, from 0 to 1.
    pub(crate) complexity: f64,
    /// Deviation of the noise in targets, as a share of that of the signal.
    pub(crate) noise: f64,
    /// Share of examples (validation too) whose class is drawn at random.
    pub(crate) label_noise: f64,
    /// How uneven classes are: 0 = equally frequent.
    pub(crate) imbalance: f64,
    /// Whether targets depend on inputs at all.
    pub(crate) signal: bool,
    /// Training examples.
    pub(crate) examples: usize,
    /// Deviation and mean of the raw inputs.
    pub(crate) input_scale: (f64, f64),
    /// Deviation and mean of the raw targets of a regression.
    pub(crate) target_scale: (f64, f64),
    /// Steps of training that the weights have behind them already, and whether these were on another, related task.
    pub(crate) trained_before: Option<(usize, bool)>,
}

/// How the learning rate changes over a run of a given length.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Schedule {
    /// It stays.
    Constant,
    /// Half a cosine down to zero.
    Cosine,
    /// A straight line down to zero.
    Linear,
    /// A straight line up over this share of the run, then one down to zero.
    Warmup(f64),
    /// Times the second number each time that the first share of the run has passed.
    Steps(f64, f64),
    /// Times this factor at every step.
    Exponential(f64),
}

/// Normalisation behind each hidden layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Norm {
    /// None.
    None,
    /// Over the batch.
    Batch,
    /// Over the units of an example.
    Layer,
}

/// Everything that a person sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Optimizer steps.
    pub(crate) steps: usize,
    /// Passes over the data, where the length is set that way.
    pub(crate) epochs: Option<usize>,
    /// Examples a step.
    pub(crate) batch_size: usize,
    /// Update rule.
    pub(crate) optimizer: OptimizerKind,
    /// Its step size.
    pub(crate) learning_rate: f64,
    /// How that changes.
    pub(crate) schedule: Schedule,
    /// Largest global norm of the gradients.
    pub(crate) gradient_clip: Option<f64>,
    /// Factor on each weight that is added to its gradient.
    pub(crate) weight_decay: f64,
    /// Share of hidden units that are zeroed in training.
    pub(crate) dropout: f64,
    /// Function behind each hidden layer.
    pub(crate) activation: Activation,
    /// How weights are drawn.
    pub(crate) initializer: Initializer,
    /// Normalisation.
    pub(crate) norm: Norm,
    /// Hidden layers.
    pub(crate) depth: usize,
    /// Units of a hidden layer.
    pub(crate) width: usize,
    /// Whether hidden layers of equal width are added to their input.
    pub(crate) residual: bool,
    /// What is minimised.
    pub(crate) loss: LossKind,
    /// Whether inputs are standardised.
    pub(crate) normalize_inputs: bool,
    /// Whether targets are.
    pub(crate) normalize_targets: bool,
}

/// A mistake in a program.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bug {
    /// Predictions `[N, 1]` against targets `[N]`: every prediction is compared with every target.
    Broadcast,
    /// Targets in another order than the inputs.
    ShuffledLabels,
    /// Each input has the target of the one before.
    ShiftedLabels,
    /// This share of the layers, from the input on, is not trained.
    FrozenPart(f64),
    /// The loss is maximised; `true`: and logged with that sign.
    WrongSign(bool),
    /// The optimizer is never asked to step.
    NoUpdate,
    /// A softmax in the network and another in the loss.
    DoubleSoftmax,
    /// Only so many examples are used.
    FewExamples(usize),
    /// Gradients are not zeroed between steps.
    AccumulatedGradients,
    /// The network sees zeros.
    ZeroInputs,
    /// A function behind the last layer cannot reach the targets.
    ClippedOutput(Activation),
    /// The sum over the batch, not the mean, is minimised and logged.
    SumLoss,
    /// Examples come sorted by target, in the same order each epoch.
    SortedData,
    /// Hidden units start with a bias that no input overcomes.
    DeadUnits,
    /// One example is NaN.
    NanExample,
    /// Validation inputs are prepared otherwise than training inputs.
    ValidationMismatch,
    /// Dropout of this share in all layers.
    HeavyDropout(f64),
    /// Weight decay of this size.
    HeavyDecay(f64),
    /// Weights are this many times too large.
    LargeWeights(f64),
}

impl Bug {
    /// Whether no rule and no weight may be fitted on programs with it.
    pub(crate) fn held_back(&self) -> bool {
        matches!(
            self,
            Bug::ShiftedLabels
                | Bug::AccumulatedGradients
                | Bug::ClippedOutput(_)
                | Bug::SortedData
                | Bug::NanExample
                | Bug::HeavyDecay(_)
        )
    }

    /// Its name without its numbers.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Bug::Broadcast => "broadcast",
            Bug::ShuffledLabels => "shuffled_labels",
            Bug::ShiftedLabels => "shifted_labels",
            Bug::FrozenPart(_) => "frozen_part",
            Bug::WrongSign(_) => "wrong_sign",
            Bug::NoUpdate => "no_update",
            Bug::DoubleSoftmax => "double_softmax",
            Bug::FewExamples(_) => "few_examples",
            Bug::AccumulatedGradients => "accumulated_gradients",
            Bug::ZeroInputs => "zero_inputs",
            Bug::ClippedOutput(_) => "clipped_output",
            Bug::SumLoss => "sum_loss",
            Bug::SortedData => "sorted_data",
            Bug::DeadUnits => "dead_units",
            Bug::NanExample => "nan_example",
            Bug::ValidationMismatch => "validation_mismatch",
            Bug::HeavyDropout(_) => "heavy_dropout",
            Bug::HeavyDecay(_) => "heavy_decay",
            Bug::LargeWeights(_) => "large_weights",
        }
    }
}
