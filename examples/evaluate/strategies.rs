//! What one can do without nextrun: the same answer always, a list in its order, the same list in any order, a tenth of
//! the learning rate.
//!
//! Owns: the list of experiments with what each would prove, and the strategies over it. Must not know: symptoms: every
//! strategy is told which runs are broken, which is more than nextrun is told.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use crate::cases::Case;
use crate::classes::{Grade, grade};
use crate::investigation::Tried;
use crate::lab::{Lab, Run};
use crate::trainer::knobs::Knobs;

/// What a strategy said of a broken run.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// Its verdict.
    pub(crate) verdict: String,
    /// What it tried.
    pub(crate) experiments: Vec<Tried>,
}

impl Said {
    /// How good the verdict is.
    pub(crate) fn grade(&self, expected: &[String]) -> Grade {
        grade(Some(&self.verdict), expected)
    }
}

/// An experiment of the list: its name, what it changes, and what it proves if it cures.
struct Entry {
    name: &'static str,
    change: fn(&Knobs) -> Value,
    proves: &'static str,
}

/// The debugging sequence and its tips, as experiments, in the order of the article. A change that changes nothing is
/// passed over. What only a person can look at (reshapes, pictures) cannot be in it.
const LIST: &[Entry] = &[
    Entry {
        name: "2 lower the LR",
        change: |k| json!({ "learning_rate": k.learning_rate / 10.0 }),
        proves: "learning_rate_too_high",
    },
    Entry {
        name: "2 lower the LR again",
        change: |k| json!({ "learning_rate": k.learning_rate / 100.0 }),
        proves: "learning_rate_too_high",
    },
    Entry {
        name: "3 raise the LR",
        change: |k| json!({ "learning_rate": k.learning_rate * 10.0 }),
        proves: "learning_rate_too_low",
    },
    Entry {
        name: "3 raise the LR again",
        change: |k| json!({ "learning_rate": k.learning_rate * 100.0 }),
        proves: "learning_rate_too_low",
    },
    Entry {
        name: "4 batch size 1",
        change: |_| json!({ "batch_size": 1, "batch_norm": false }),
        proves: "data_pipeline",
    },
    Entry {
        name: "5 drop batch norm",
        change: |_| json!({ "batch_norm": false }),
        proves: "batch_norm_hides_exploding_gradients",
    },
    Entry { name: "6 larger batch", change: |k| json!({ "batch_size": 4 * k.batch_size }), proves: "batch_too_small" },
    Entry { name: "8 check the loss: L2", change: |_| json!({ "loss": "l2" }), proves: "loss_function" },
    Entry { name: "8 check the loss: L1", change: |_| json!({ "loss": "l1" }), proves: "loss_function" },
    Entry { name: "tip: no LR decay", change: |_| json!({ "lr_decay": 1.0 }), proves: "learning_rate_decays_too_fast" },
    Entry {
        name: "tip: variance-scaled initialisation",
        change: |_| json!({ "initializer": "variance_scaling", "gradient_clip": null }),
        proves: "bad_initialization",
    },
    Entry {
        name: "tip: ReLU",
        change: |_| json!({ "activation": "relu", "initializer": "variance_scaling" }),
        proves: "vanishing_gradients",
    },
    Entry {
        name: "tip: normalise input data",
        change: |_| json!({ "normalize_inputs": true }),
        proves: "input_scaling",
    },
    Entry {
        name: "tip: no activation on the output layer",
        change: |_| json!({ "output_activation": "none" }),
        proves: "cannot_fit_one_point",
    },
];

/// Step 1 of the article, which proves nothing by itself, but says what is left where nothing cures.
const ONE_POINT_STEPS: u64 = 1000;

/// One broken run, for strategies to try their hands on.
pub(crate) struct Bench<'a> {
    /// The case.
    pub(crate) case: &'a Case,
    /// Which repetition.
    pub(crate) repetition: u64,
    /// Where runs are trained.
    pub(crate) lab: &'a Lab,
}

impl Bench<'_> {
    /// The article's list in its order, without symptoms: the first experiment that cures names the cause.
    ///
    /// # Errors
    /// When a run cannot be trained or read.
    pub(crate) fn in_order(&self) -> anyhow::Result<Said> {
        self.go_through(&LIST.iter().collect::<Vec<_>>())
    }

    /// The same list in a random order.
    ///
    /// # Errors
    /// As [`Bench::in_order`].
    pub(crate) fn in_random_order(&self, seed: u64) -> anyhow::Result<Said> {
        let mut list: Vec<&Entry> = LIST.iter().collect();
        Rng::with_seed(seed).shuffle(&mut list);
        self.go_through(&list)
    }

    /// A tenth of the learning rate, and nothing else.
    ///
    /// # Errors
    /// As [`Bench::in_order`].
    pub(crate) fn lower_learning_rate(&self) -> anyhow::Result<Said> {
        let mut experiments = Vec::new();
        let cured = self.cures(&LIST[0], &mut experiments)?;
        let verdict = if cured { LIST[0].proves } else { "inconclusive" };
        Ok(Said { verdict: verdict.to_owned(), experiments })
    }

    fn go_through(&self, list: &[&Entry]) -> anyhow::Result<Said> {
        let mut experiments = Vec::new();
        let one_point = json!({ "train_examples": 1, "batch_size": 1, "max_steps": ONE_POINT_STEPS });
        let (changes, point) = self.train("1 overfit one point", &one_point, &mut experiments)?;
        let baseline = self.baseline()?;
        let fits = self.lab.compare(self.case, &baseline, (&changes, &point))?.fits;
        for entry in list {
            if self.cures(entry, &mut experiments)? {
                return Ok(Said { verdict: entry.proves.to_owned(), experiments });
            }
        }
        let left = if fits { "data_pipeline" } else { "cannot_fit_one_point" };
        Ok(Said { verdict: left.to_owned(), experiments })
    }

    fn baseline(&self) -> anyhow::Result<std::sync::Arc<Run>> {
        self.lab.run(self.case, self.repetition, &Map::new())
    }

    fn train(
        &self,
        name: &str,
        changes: &Value,
        experiments: &mut Vec<Tried>,
    ) -> anyhow::Result<(Map<String, Value>, std::sync::Arc<Run>)> {
        let changes = changes.as_object().cloned().unwrap_or_default();
        let run = self.lab.run(self.case, self.repetition, &changes)?;
        experiments.push(Tried { state: name.to_owned(), steps: run.summary.losses.len() });
        Ok((changes, run))
    }

    /// Whether an experiment cures, as the built-in policy understands it: the run learns and is better than the baseline.
    /// Dropping batch norm proves its point by an explosion.
    fn cures(&self, entry: &Entry, experiments: &mut Vec<Tried>) -> anyhow::Result<bool> {
        let knobs = self.case.knobs(&Map::new())?;
        let changes = (entry.change)(&knobs);
        let same = knobs.with(changes.as_object().unwrap_or(&Map::new()))? == knobs;
        let schedule = changes.get("lr_decay").is_some() && self.case.schedule != Default::default();
        if same && !schedule {
            return Ok(false);
        }
        let (changes, run) = self.train(entry.name, &changes, experiments)?;
        let facts = self.lab.compare(self.case, &*self.baseline()?, (&changes, &run))?;
        if entry.proves == "batch_norm_hides_exploding_gradients" {
            return Ok(!facts.finite || facts.problems.iter().any(|p| p == "diverging" || p == "exploding_gradients"));
        }
        Ok(facts.cured || facts.better && facts.learned)
    }
}

#[cfg(test)]
mod tests {
    use super::{Knobs, LIST};

    #[test]
    fn every_experiment_can_be_carried_out_and_proves_a_verdict_that_there_is() {
        for entry in LIST {
            let changes = (entry.change)(&Knobs::default());
            assert!(Knobs::default().with(changes.as_object().unwrap()).is_ok(), "{}", entry.name);
            assert!(nextrun::policy::VERDICTS.contains(&entry.proves), "{}", entry.name);
        }
    }
}
