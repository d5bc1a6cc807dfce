//! The log of one run: TensorBoard scalars, and `hparams.yaml` beside them.
//!
//! Owns: tags and files. Must not know: what is trained.

use std::path::Path;

use tensorboard_rs::summary_writer::SummaryWriter;

use super::TrainingError;
use super::knobs::Knobs;

/// An open log.
pub(crate) struct RunLog {
    writer: SummaryWriter,
}

impl RunLog {
    /// Makes the run's directory and says its hyperparameters there. Lightning writes the same file.
    ///
    /// # Errors
    /// When the directory or the file cannot be written.
    pub(crate) fn create(directory: &Path, knobs: &Knobs) -> Result<RunLog, TrainingError> {
        let log = RunLog::without_hyperparameters(directory)?;
        let path = directory.join("hparams.yaml");
        let text: String = knobs.to_map().iter().map(|(name, value)| format!("{name}: {}\n", plain(value))).collect();
        std::fs::write(&path, text).map_err(|source| TrainingError::Log { path, source })?;
        Ok(log)
    }

    /// Makes the run's directory and logs scalars only, as many programs do.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub(crate) fn without_hyperparameters(directory: &Path) -> Result<RunLog, TrainingError> {
        std::fs::create_dir_all(directory)
            .map_err(|source| TrainingError::Log { path: directory.to_path_buf(), source })?;
        Ok(RunLog { writer: SummaryWriter::new(directory) })
    }

    /// Logs one number. The writer does not buffer: a reader sees it at once.
    pub(crate) fn scalar(&mut self, tag: &str, step: usize, value: f32) {
        self.writer.add_scalar(tag, value, step);
    }
}

/// JSON is YAML, but words look better without their quotes.
fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
