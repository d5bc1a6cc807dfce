//! Trains the article's network.
//!
//! Owns: what a run logs. Must not know: why it is made.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use crate::pictures::Pictures;
use crate::support::queue::{Job, Programs, Trained};
use crate::trainer::knobs::{Knobs, LossKind};
use crate::trainer::log::RunLog;
use crate::trainer::network::Network;
use crate::trainer::training::{self, Observer, Step};
use crate::trainer::{TrainingError, losses};

/// Every so many steps everything is logged; the loss is at every step.
const DETAIL_EVERY: usize = 10;

/// The only program: whatever the baseline run is called, it made it.
pub(crate) struct Article {
    /// The settings that do not learn.
    pub(crate) baseline: Knobs,
}

impl Programs for Article {
    fn knobs(&self, _: &str) -> Option<Knobs> {
        Some(self.baseline.clone())
    }

    fn train(&self, job: &Job, directory: &Path) -> Trained {
        train(directory, &job.knobs)
    }
}

/// Trains one run into a directory.
pub(crate) fn train(directory: &Path, knobs: &Knobs) -> Trained {
    let started = Instant::now();
    let losses = RunLog::create(directory, knobs).and_then(|log| {
        let mut logger = Logger { log, last: knobs.max_steps - 1, losses: Vec::with_capacity(knobs.max_steps) };
        training::train(&mut Pictures, knobs, &mut logger)?;
        Ok(logger.losses)
    });
    Trained { losses: losses.map_err(|error: TrainingError| error.to_string()), took: started.elapsed() }
}

/// Logs a run and remembers its loss.
struct Logger {
    log: RunLog,
    last: usize,
    losses: Vec<f32>,
}

impl Observer for Logger {
    fn observe(&mut self, step: &Step<'_>, _: &mut Network) -> Result<ControlFlow<()>, TrainingError> {
        self.losses.push(step.loss);
        self.log.scalar("train/loss", step.number, step.loss);
        if step.number.is_multiple_of(DETAIL_EVERY) || step.number == self.last {
            let error = losses::loss(LossKind::L1, step.prediction, step.target).0;
            self.log.scalar("train/absolute_error", step.number, error);
            self.log.scalar("train/learning_rate", step.number, step.learning_rate);
            self.log.scalar("train/grad_norm", step.number, step.gradient_norm);
        }
        Ok(ControlFlow::Continue(()))
    }
}
