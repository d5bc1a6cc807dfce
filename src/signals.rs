//! Meaning of tags: which series of a job is its training loss, its learning rate, or a layer's gradients.
//!
//! Owns: interpretation of tags by the table `policies/signals.yaml` and the site's own patterns, and the choice among
//! several series with the same meaning. Must not know: values, thresholds, symptoms.

mod assign;
#[cfg(test)]
mod conventions;
mod layers;
mod site;
mod table;
mod text;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use assign::SignalRules;
pub use site::{SiteRule, SiteRuleError};

/// The meaning of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// The minimised loss.
    TrainLoss,
    /// The same loss on held-out data.
    ValidationLoss,
    /// Training accuracy, or a metric treated like one; in [0, 1] or per cent, higher is better.
    TrainAccuracy,
    /// The same on held-out data.
    ValidationAccuracy,
    /// The learning rate; one series per parameter group.
    LearningRate,
    /// The norm of the whole gradient before clipping.
    GradientNorm,
    /// Reward or return of an episode, higher is better.
    Reward,
    /// Another measure of quality, of which only changes are meaningful: a win rate, a correlation. Higher is better.
    Score,
    /// The epoch, as a series over steps.
    Epoch,
    /// Histogram of a layer's weights.
    Weights,
    /// Histogram, or scalar norm, of a layer's gradients.
    Gradients,
    /// A part of a loss, or a loss whose value is not meaningful (adversarial, reinforcement): only checked for
    /// non-finite values.
    PartOfLoss,
}

impl Signal {
    /// Every signal, in the order of their declaration.
    pub const ALL: [Signal; 12] = [
        Signal::TrainLoss,
        Signal::ValidationLoss,
        Signal::TrainAccuracy,
        Signal::ValidationAccuracy,
        Signal::LearningRate,
        Signal::GradientNorm,
        Signal::Reward,
        Signal::Score,
        Signal::Epoch,
        Signal::Weights,
        Signal::Gradients,
        Signal::PartOfLoss,
    ];

    /// The name in files and payloads: `train_loss`.
    pub fn as_str(self) -> &'static str {
        match self {
            Signal::TrainLoss => "train_loss",
            Signal::ValidationLoss => "validation_loss",
            Signal::TrainAccuracy => "train_accuracy",
            Signal::ValidationAccuracy => "validation_accuracy",
            Signal::LearningRate => "learning_rate",
            Signal::GradientNorm => "gradient_norm",
            Signal::Reward => "reward",
            Signal::Score => "score",
            Signal::Epoch => "epoch",
            Signal::Weights => "weights",
            Signal::Gradients => "gradients",
            Signal::PartOfLoss => "part_of_loss",
        }
    }

    /// The signal of that name.
    pub fn from_name(name: &str) -> Option<Signal> {
        Signal::ALL.into_iter().find(|signal| signal.as_str() == name)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a job learns, according to its tags, which determines the meaning of its losses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Learning {
    /// A loss is minimised.
    Supervised,
    /// A generator against a discriminator, or a player against copies of itself: neither losses nor rewards show
    /// progress.
    Adversarial,
    /// Rewards are maximised; the loss is not very informative.
    Reinforcement,
    /// Neither a loss nor a reward was recognised.
    #[default]
    Unknown,
}

/// Words of tags that count errors; such a value is converted to an accuracy.
const ERROR_RATES: &[&str] = &["wer", "cer", "ter", "per", "ler", "eer", "fer", "error", "err"];

/// Whether a tag that is interpreted as an accuracy is an error rate.
pub fn is_error_rate(tag: &str) -> bool {
    let words = tag.to_ascii_lowercase();
    words.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| ERROR_RATES.contains(&word))
}

/// The kind of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TagKind {
    /// Numbers.
    Scalar,
    /// Histograms.
    Histogram,
}

/// One tag of a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TagInfo<'a> {
    /// Folder of the run below the job's folder, with `/` between parts; empty or `.` for the job's folder itself.
    pub folder: &'a str,
    /// The tag as logged.
    pub tag: &'a str,
    /// The number of points so far; a tag without points has no meaning yet.
    pub points: u64,
    /// Scalars or histograms.
    pub kind: TagKind,
}

/// A series with a meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// As in [`TagInfo`], but never `.`.
    pub folder: String,
    /// The tag as logged.
    pub tag: String,
    /// Scalars or histograms.
    pub kind: TagKind,
    /// For weights and gradients: the layer, as named by the program.
    pub layer: Option<String>,
    /// The rule for this meaning, for people: `signals.yaml line 71 (Keras)`.
    pub rule: String,
    /// False for a guess, which must be marked wherever it is shown.
    pub sure: bool,
    /// It is one of several parts: their sum, over all with that meaning, is the signal.
    pub part: bool,
}

/// The meaning of the tags of one job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignalMap {
    /// How the job learns.
    pub learning: Learning,
    by_signal: BTreeMap<Signal, Vec<Matched>>,
}

impl SignalMap {
    /// The series to read for a signal: the best of [`SignalMap::all`]. Where it is a [part](Matched::part), the others of
    /// that meaning are the parts beside it.
    pub fn get(&self, signal: Signal) -> Option<&Matched> {
        self.all(signal).first()
    }

    /// Every series with that meaning, best first; weights and gradients instead from the input to the output, so far
    /// as names and order of logging tell.
    pub fn all(&self, signal: Signal) -> &[Matched] {
        self.by_signal.get(&signal).map_or(&[], Vec::as_slice)
    }

    /// The signals that were found, each with its series.
    pub fn iter(&self) -> impl Iterator<Item = (Signal, &[Matched])> {
        self.by_signal.iter().map(|(signal, matched)| (*signal, matched.as_slice()))
    }
}
