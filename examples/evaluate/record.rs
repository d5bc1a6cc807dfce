//! Looks on while a case is trained: logs it as the case's program would, and keeps what its truth is judged by.
//!
//! Owns: tags, rhythm, and the summary of a run. Must not know: faults, expectations.

use std::fs::OpenOptions;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::cases::{Fault, Habits};
use crate::trainer::TrainingError;
use crate::trainer::knobs::Knobs;
use crate::trainer::layers::Phase;
use crate::trainer::log::RunLog;
use crate::trainer::matrix::Matrix;
use crate::trainer::network::Network;
use crate::trainer::training::{Examples, Observer, Step, Task};

use super::subject::Subject;

/// Bytes of the last record that a killed process did not write.
const CUT: u64 = 9;

/// Where and how often a program logs; an empty tag is not logged.
pub(crate) struct Tags {
    /// Of the training loss.
    pub(crate) loss: &'static str,
    /// Of the training accuracy.
    pub(crate) accuracy: &'static str,
    /// Of the learning rate.
    pub(crate) learning_rate: &'static str,
    /// Of the global norm of the gradients.
    pub(crate) gradient_norm: &'static str,
    /// Of the validation loss.
    pub(crate) validation_loss: &'static str,
    /// Of the validation accuracy.
    pub(crate) validation_accuracy: &'static str,
    /// Directories of training and validation below the run.
    pub(crate) directories: [&'static str; 2],
    /// Steps between two points; the loss is the mean since the last where there are more than one.
    every: usize,
    /// Validations in a run.
    validations: usize,
}

const PLAIN: Tags = Tags {
    loss: "Loss/train",
    accuracy: "Accuracy/train",
    learning_rate: "lr",
    gradient_norm: "grad_norm",
    validation_loss: "Loss/val",
    validation_accuracy: "Accuracy/val",
    directories: ["", ""],
    every: 1,
    validations: 20,
};

const KERAS: Tags = Tags {
    loss: "epoch_loss",
    accuracy: "epoch_accuracy",
    learning_rate: "epoch_learning_rate",
    gradient_norm: "",
    validation_loss: "epoch_loss",
    validation_accuracy: "epoch_accuracy",
    directories: ["train", "validation"],
    every: 25,
    validations: 40,
};

const LIGHTNING: Tags = Tags {
    loss: "train_loss",
    accuracy: "train_acc",
    learning_rate: "lr-Adam",
    gradient_norm: "grad_2.0_norm_total",
    validation_loss: "val_loss",
    validation_accuracy: "val_acc",
    directories: ["", ""],
    every: 5,
    validations: 20,
};

const TRAINER: Tags = Tags {
    loss: "train/loss",
    accuracy: "",
    learning_rate: "train/learning_rate",
    gradient_norm: "train/grad_norm",
    validation_loss: "eval/loss",
    validation_accuracy: "eval/accuracy",
    directories: ["", ""],
    every: 10,
    validations: 15,
};

const MEGATRON: Tags = Tags {
    loss: "lm-loss-training/lm loss",
    accuracy: "",
    learning_rate: "learning-rate/learning-rate",
    gradient_norm: "grad-norm/grad-norm",
    validation_loss: "lm-loss-validation/lm loss validation",
    validation_accuracy: "",
    directories: ["", ""],
    every: 10,
    validations: 10,
};

const ESTIMATOR: Tags = Tags {
    loss: "loss",
    accuracy: "",
    learning_rate: "learning_rate",
    gradient_norm: "global_norm/gradient_norm",
    validation_loss: "loss",
    validation_accuracy: "accuracy",
    directories: ["", "eval"],
    every: 20,
    validations: 12,
};

impl Habits {
    /// How programs of this kind log.
    pub(crate) const fn tags(self) -> Tags {
        match self {
            Habits::Plain => PLAIN,
            Habits::Keras => KERAS,
            Habits::Lightning => LIGHTNING,
            Habits::Trainer => TRAINER,
            Habits::Megatron => MEGATRON,
            Habits::Estimator => ESTIMATOR,
        }
    }

    fn says_hyperparameters(self) -> bool {
        matches!(self, Habits::Plain | Habits::Lightning)
    }
}

/// What a run showed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Summary {
    /// The loss at every step.
    pub(crate) losses: Vec<f32>,
    /// The training accuracy at every step, where there are classes.
    pub(crate) accuracies: Vec<f32>,
    /// The validation loss, each time that it was taken.
    pub(crate) validation: Vec<f32>,
    /// The largest change of a weight since the first step.
    pub(crate) moved: f32,
    /// The loss of the best prediction that ignores its input.
    pub(crate) trivial: f32,
    /// How much better a task got that is not judged by its loss: the ratio of its own measure, end to start.
    pub(crate) improved: f32,
}

/// Logs and remembers.
pub(crate) struct Recorder<'a> {
    subject: Subject<'a>,
    knobs: &'a Knobs,
    fault: Fault,
    tags: Tags,
    logs: [Option<RunLog>; 2],
    directory: PathBuf,
    validation: Examples,
    since: Vec<(f32, f32)>,
    before: Vec<Vec<f32>>,
    /// What the run showed so far.
    pub(crate) summary: Summary,
}

impl<'a> Recorder<'a> {
    /// Opens the log of a run in a directory. `subject` is a second instance, which only computes validation losses.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) fn create(
        directory: &Path,
        subject: Subject<'a>,
        knobs: &'a Knobs,
        (habits, fault): (Habits, Fault),
    ) -> Result<Recorder<'a>, TrainingError> {
        let tags = habits.tags();
        let open = |sub: &str| match habits.says_hyperparameters() {
            true => RunLog::create(&directory.join(sub), knobs),
            false => RunLog::without_hyperparameters(&directory.join(sub)),
        };
        let [training, other] = tags.directories;
        let logs = [Some(open(training)?), if other == training { None } else { Some(open(other)?) }];
        let (validation, trivial) = (subject.validation(knobs), subject.trivial(knobs));
        let summary = Summary { trivial, improved: 1.0, ..Summary::default() };
        let directory = directory.to_path_buf();
        let (since, before) = (Vec::new(), Vec::new());
        Ok(Recorder { subject, knobs, fault, tags, logs, directory, validation, since, before, summary })
    }

    fn scalar(&mut self, tag: &str, step: usize, value: f32) {
        if let (false, Some(log)) = (tag.is_empty(), &mut self.logs[0]) {
            log.scalar(tag, step, value);
        }
    }

    fn validate(&mut self, at: usize, network: &mut Network) -> Result<(), TrainingError> {
        let prediction = network.forward(self.validation.x.clone(), Phase::Evaluation)?;
        let (loss, _) = self.subject.loss(self.knobs, &prediction, &self.validation.y);
        self.summary.validation.push(loss);
        let accuracy = self.subject.classes().then(|| accuracy(&prediction, &self.validation.y));
        let [training, validation] = &mut self.logs;
        if let Some(log) = validation.as_mut().or(training.as_mut()) {
            log.scalar(self.tags.validation_loss, at, loss);
            if let Some(accuracy) = accuracy.filter(|_| !self.tags.validation_accuracy.is_empty()) {
                log.scalar(self.tags.validation_accuracy, at, accuracy);
            }
        }
        Ok(())
    }

    fn track_weights(&mut self, network: &mut Network) {
        let parameters = network.parameters();
        if self.before.is_empty() {
            self.before = parameters.iter().map(|parameter| parameter.values.clone()).collect();
        }
        for (parameter, before) in parameters.iter().zip(&self.before) {
            for (value, before) in parameter.values.iter().zip(before) {
                self.summary.moved = self.summary.moved.max((value - before).abs());
            }
        }
    }

    /// What a kill in the middle of a write leaves: the last record is cut short.
    fn break_off(&mut self) -> Result<(), TrainingError> {
        self.logs = [None, None];
        let failed = |source| TrainingError::Log { path: self.directory.clone(), source };
        for entry in std::fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("events.out")) {
                let failed = |source| TrainingError::Log { path: path.clone(), source };
                let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
                let length = file.metadata().map_err(failed)?.len();
                file.set_len(length.saturating_sub(CUT)).map_err(failed)?;
            }
        }
        Ok(())
    }
}

impl Observer for Recorder<'_> {
    fn observe(&mut self, step: &Step<'_>, network: &mut Network) -> Result<ControlFlow<()>, TrainingError> {
        let accuracy = if self.subject.classes() { accuracy(step.prediction, step.target) } else { f32::NAN };
        self.summary.losses.push(step.loss);
        self.summary.accuracies.push(accuracy);
        self.since.push((step.loss, accuracy));
        let (done, every) = (step.number + 1, self.tags.every);
        if done.is_multiple_of(every) {
            let at = if self.tags.directories[0].is_empty() { step.number } else { done / every - 1 };
            let count = self.since.len() as f32;
            let (loss, accuracy) = self.since.drain(..).fold((0.0, 0.0), |sum, new| (sum.0 + new.0, sum.1 + new.1));
            self.scalar(self.tags.loss, at, loss / count);
            if self.subject.classes() {
                self.scalar(self.tags.accuracy, at, accuracy / count);
            }
            self.scalar(self.tags.learning_rate, at, step.learning_rate);
            self.scalar(self.tags.gradient_norm, at, step.gradient_norm);
        }
        let between = (self.knobs.max_steps / self.tags.validations).max(1).next_multiple_of(every);
        if done.is_multiple_of(between) {
            let at = if self.tags.directories[0].is_empty() { step.number } else { done / every - 1 };
            self.validate(at, network)?;
        }
        if step.number == 0 || done.is_multiple_of(50) || done == self.knobs.max_steps {
            self.track_weights(network);
        }
        match self.fault {
            Fault::Killed { at } if step.number >= at => self.break_off()?,
            Fault::Hang { at } if step.number >= at => {}
            _ => return Ok(ControlFlow::Continue(())),
        }
        Ok(ControlFlow::Break(()))
    }
}

/// Share of the rows whose largest value stands where the target's does.
fn accuracy(prediction: &Matrix, target: &Matrix) -> f32 {
    let hits = prediction.iter().zip(target.iter()).filter(|(p, t)| place_of_largest(p) == place_of_largest(t)).count();
    hits as f32 / prediction.rows as f32
}

fn place_of_largest(row: &[f32]) -> Option<usize> {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_counts_the_rows_that_agree() {
        let prediction = Matrix::from_values(2, vec![0.9, 0.1, 0.2, 0.8, 0.6, 0.4]);
        let target = Matrix::from_values(2, vec![1.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
        assert!((accuracy(&prediction, &target) - 2.0 / 3.0).abs() < 1e-6);
    }
}
