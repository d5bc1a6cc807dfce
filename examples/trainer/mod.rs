//! A small training program: networks, data and optimizers in plain Rust, logged as TensorBoard event files.
//!
//! It does what a training script that is to be diagnosed has to do: it obeys knobs by their canonical names, logs its
//! loss, learning rate and gradient norm, says its hyperparameters, and fails where a real one would. It must not know
//! who starts it, or why. The arithmetic is its own because the pictures are tiny: a step takes a tenth of what general
//! tensor libraries need for their bookkeeping alone, and each fault can be put exactly where real programs have it.

pub(crate) mod knobs;
pub(crate) mod layers;
pub(crate) mod log;
pub(crate) mod losses;
pub(crate) mod matrix;
pub(crate) mod network;
pub(crate) mod optimizer;
pub(crate) mod training;

/// Why a training program stops before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrainingError {
    /// Batch norm has nothing to normalise.
    #[error("{layer}: batch norm expects more than one value per channel when training; use a larger batch_size")]
    OneValueAChannel {
        /// The layer's parameter.
        layer: String,
    },
    /// The log cannot be written.
    #[error("{path}: cannot write the log: {source}")]
    Log {
        /// What was to be written.
        path: std::path::PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
}
