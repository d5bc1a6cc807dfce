//! Names of directories that contain one split of a job's data.
//!
//! Owns: the words that frameworks use. Must not know: the content of runs.

/// A side of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Training data.
    Training,
    /// What is not.
    Validation,
}

/// Directories with one split of the data of one job, whatever is next to them: Keras' `train` and `validation`,
/// fairseq's `train_inner`, the Estimator's `eval_…`.
pub(super) fn is_split(folder: &str) -> bool {
    const SPLITS: &[&str] = &[
        "train",
        "train_inner",
        "training",
        "validation",
        "valid",
        "val",
        "eval",
        "evaluation",
        "test",
        "testing",
        "dev",
    ];
    let folder = folder.to_ascii_lowercase();
    SPLITS.contains(&folder.as_str()) || folder.starts_with("eval_") || folder.starts_with("eval-")
}

const TRAINING: &[&str] = &["train", "training", "trn", "tr", "learn", "learning", "fit", "fitting", "trainer"];
const VALIDATION: &[&str] = &[
    "validation",
    "valid",
    "validate",
    "validating",
    "val",
    "vali",
    "eval",
    "evaluation",
    "evaluate",
    "evaluating",
    "evaluator",
    "evals",
    "unseen",
    "test",
    "testing",
    "tst",
    "te",
    "dev",
    "devel",
    "holdout",
    "heldout",
    "oos",
];
// Words that describe the directory rather than its data.
const ABOUT: &[&str] = &[
    "log",
    "logs",
    "logger",
    "logdir",
    "summary",
    "summaries",
    "writer",
    "event",
    "events",
    "tensorboard",
    "tb",
    "board",
    "set",
    "data",
    "dataset",
    "split",
    "metrics",
    "metric",
    "scalars",
    "loss",
    "losses",
    "acc",
    "accuracy",
    "inner",
    "one",
    "pass",
    "results",
    "curve",
    "run",
];

/// The side of a directory, if a directory of the other side is next to it: CatBoost's `learn` and `test`, LightGBM's
/// `training` and `valid_1`, `train_summaries` and `dev_summaries`, `train_log` and `val_log`. Alone, such a name may
/// be that of an experiment.
pub(super) fn side_of(folder: &str) -> Option<Side> {
    let lower = folder.to_ascii_lowercase();
    let bare = |word: &str| word.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    let words = lower.split(['_', '-', '.', ' ']).map(bare).filter(|word| !word.is_empty());
    let words: Vec<String> = words.filter(|word| !ABOUT.contains(&word.as_str())).collect();
    let [word] = words.as_slice() else { return None };
    // A job may have several validation sets. Numbered training directories are separate jobs.
    let counts = lower.contains(|c: char| c.is_ascii_digit());
    if TRAINING.contains(&word.as_str()) {
        (!counts).then_some(Side::Training)
    } else {
        VALIDATION.contains(&word.as_str()).then_some(Side::Validation)
    }
}

/// PyTorch's `add_hparams` logs into a folder named by `time.time()`.
pub(super) fn is_time_stamp(folder: &str) -> bool {
    let Some((seconds, fraction)) = folder.split_once('.') else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    seconds.len() == 10 && digits(seconds) && digits(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_frameworks_have_their_side() {
        for (folder, side) in [
            ("learn", Some(Side::Training)),
            ("Train", Some(Side::Training)),
            ("train_summaries", Some(Side::Training)),
            ("logs-train", Some(Side::Training)),
            ("fit", Some(Side::Training)),
            ("train_loss", Some(Side::Training)),
            ("test", Some(Side::Validation)),
            ("test_0", Some(Side::Validation)),
            ("valid_1", Some(Side::Validation)),
            ("validation0", Some(Side::Validation)),
            ("val_log", Some(Side::Validation)),
            ("eval_one_pass", Some(Side::Validation)),
            ("devel", Some(Side::Validation)),
            ("resnet_train", None),
            ("train_val", None),
            ("version_0", None),
            ("train_1", None),
            ("1", None),
            ("logs", None),
            ("", None),
        ] {
            assert_eq!(side_of(folder), side, "{folder}");
        }
    }
}
