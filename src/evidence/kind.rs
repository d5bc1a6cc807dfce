//! Determines the kind of training from evidence, which decides which experiments are useful.

use serde::{Deserialize, Serialize};

use crate::numbers::AT_CHANCE;
use crate::signals::Learning;

use super::job::{JobView, Observed};
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

impl JobView {
    /// The kind of training.
    pub fn kind(&self) -> Kind {
        match self.learning {
            Learning::Adversarial => Kind::Adversarial,
            Learning::Reinforcement => Kind::Reinforcement,
            Learning::Unknown => Kind::Unknown,
            Learning::Supervised if is_boosting(self) => Kind::Boosting,
            Learning::Supervised if goes_on_from(self).is_some() || is_tuned(self) => Kind::FineTuning,
            Learning::Supervised if is_language_model(self) => Kind::Pretraining,
            Learning::Supervised => Kind::Supervised,
        }
    }
}

impl Kind {
    /// Whether a lower loss means that more was learned. Rewards rise, two adversaries have no common loss, and boosting
    /// always lowers its loss.
    pub fn is_judged_by_loss(self) -> bool {
        !matches!(self, Kind::Reinforcement | Kind::Adversarial | Kind::Boosting)
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

fn has_tag(job: &JobView, is: impl Fn(&Observed) -> bool) -> bool {
    let series = [&job.training_loss, &job.validation_loss, &job.accuracy, &job.validation_accuracy];
    series.into_iter().flatten().chain(&job.parts).any(is)
}

fn is_boosting(job: &JobView) -> bool {
    let named = job.text("booster").is_some() || job.number("num_boost_round").is_some();
    let learn = |observed: &Observed| observed.tag.to_ascii_lowercase().split('/').next() == Some(LEARN);
    named || has_tag(job, |o| learn(o) || o.has_word(|word| BOOSTING.contains(&word)))
}

fn is_language_model(job: &JobView) -> bool {
    let Some(loss) = &job.training_loss else { return false };
    let start = loss.curve.as_ref().map(|curve| curve.start);
    let large = start.is_some_and(|start| start > VOCABULARY.ln() && start < 2.0 * VOCABULARY.ln());
    let named = || has_tag(job, |observed| observed.has_word(|word| LANGUAGE.contains(&word)));
    large && (named() || (job.own_accuracy().is_none() && is_steady(loss.sketch.head())))
}

/// Whether the first values of a loss are those of a guess among many tokens: each batch has thousands of them, so that
/// neighbours differ by little but the fall. A squared error that starts as high scatters from batch to batch.
fn is_steady(head: &[f64]) -> bool {
    // The second difference of values with a scatter of one has one of the root of 6.
    let scatter = |triple: &[f64]| (triple[0] - 2.0 * triple[1] + triple[2]).abs() / 6.0_f64.sqrt() / triple[1].abs();
    let mut scatters: Vec<f64> = head.windows(3).map(scatter).collect();
    scatters.sort_by(f64::total_cmp);
    scatters.get(scatters.len() / 2).is_some_and(|median| *median < AT_CHANCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_among_many_tokens_is_told_from_a_squared_error() {
        // The first losses of a language model, and of regressions whose first error happens to be as high.
        assert!(is_steady(&[10.98, 10.93, 10.71, 10.42, 10.13, 9.88, 9.72, 9.61]));
        assert!(!is_steady(&[11.9, 9.1, 12.8, 10.2, 8.7, 11.3, 9.9, 12.1]));
        assert!(!is_steady(&[7.0, 37_905.0, 900.0, 400.0]));
        assert!(!is_steady(&[8.0, 7.5]), "too few to tell");
    }
}
