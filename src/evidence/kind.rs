//! Determines the kind of training from evidence, which decides which experiments are useful.

use serde::{Deserialize, Serialize};

use crate::signals::Learning;

use super::job::JobView;
use super::settings::{goes_on_from, is_tuned};

/// The kind of training of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A network is trained from scratch on labelled examples.
    Supervised,
    /// A trained network is trained further.
    FineTuning,
    /// A language model is trained from scratch on text.
    Pretraining,
    /// Rewards are maximised.
    Reinforcement,
    /// A generator against a discriminator, or a player against copies of itself.
    Adversarial,
    /// Trees are added one by one, without a neural network.
    Boosting,
    /// Unknown.
    #[default]
    Unknown,
}

/// Words of tags and folders that only boosting libraries write.
const BOOSTING: &[&str] = &["catboost", "xgboost", "lightgbm", "lgbm", "boosting", "iterations_learn"];
/// Directories of CatBoost, which belong together.
const LEARN: &str = "learn";
/// Words of tags that only language models have.
const LANGUAGE: &[&str] = &["ppl", "perplexity", "lm", "token", "tokens"];
/// A vocabulary is larger than this; its cross-entropy starts at log 1000 or more.
const VOCABULARY: f64 = crate::numbers::MOST_CLASSES;

impl Kind {
    /// The kind of a job.
    pub(super) fn of(job: &JobView) -> Kind {
        match job.learning {
            Learning::Adversarial => Kind::Adversarial,
            Learning::Reinforcement => Kind::Reinforcement,
            Learning::Unknown => Kind::Unknown,
            Learning::Supervised if is_boosting(job) => Kind::Boosting,
            Learning::Supervised if goes_on_from(job).is_some() || is_tuned(job) => Kind::FineTuning,
            Learning::Supervised if is_language_model(job) => Kind::Pretraining,
            Learning::Supervised => Kind::Supervised,
        }
    }

    /// The name in files and payloads.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Supervised => "supervised",
            Kind::FineTuning => "fine_tuning",
            Kind::Pretraining => "pretraining",
            Kind::Reinforcement => "reinforcement",
            Kind::Adversarial => "adversarial",
            Kind::Boosting => "boosting",
            Kind::Unknown => "unknown",
        }
    }
}

fn tags(job: &JobView) -> impl Iterator<Item = String> {
    let series = [&job.training_loss, &job.validation_loss, &job.accuracy, &job.validation_accuracy];
    series.into_iter().flatten().chain(&job.parts).map(|observed| observed.tag.to_ascii_lowercase())
}

fn words(tag: &str) -> impl Iterator<Item = &str> {
    tag.split(|c: char| !c.is_ascii_alphanumeric())
}

fn is_boosting(job: &JobView) -> bool {
    let named = job.text("booster").is_some() || job.number("num_boost_round").is_some();
    let learn = tags(job).any(|tag| tag.split('/').next() == Some(LEARN));
    named || learn || tags(job).any(|tag| words(&tag).any(|word| BOOSTING.contains(&word)))
}

fn is_language_model(job: &JobView) -> bool {
    let start = job.training_loss.as_ref().and_then(|loss| loss.curve.as_ref()).map(|curve| curve.start);
    let large = start.is_some_and(|start| start > VOCABULARY.ln() && start < 2.0 * VOCABULARY.ln());
    large && (job.own_accuracy().is_none() || tags(job).any(|tag| words(&tag).any(|word| LANGUAGE.contains(&word))))
}
