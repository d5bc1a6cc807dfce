//! The curves of a run, as every point of them stands in its event files.
//!
//! Owns: which tag is which curve, in cases whose habits are known. Must not know: rules.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use nextrun::logdir::DiskLogdir;
use nextrun::watch::each_scalar;

use crate::cases::{Case, Data};

/// Values in the order in which they were logged; empty where a program does not log them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Curves {
    /// Training loss.
    pub(crate) loss: Vec<f64>,
    /// Validation loss.
    pub(crate) validation_loss: Vec<f64>,
    /// Training accuracy.
    pub(crate) accuracy: Vec<f64>,
    /// Validation accuracy.
    pub(crate) validation_accuracy: Vec<f64>,
    /// Learning rate.
    pub(crate) learning_rate: Vec<f64>,
    /// Global norm of the gradients.
    pub(crate) gradient_norm: Vec<f64>,
}

impl Curves {
    /// Reads the event files of a run of a case.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn read(case: &Case, directory: &Path) -> anyhow::Result<Curves> {
        let mut series: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
        each_scalar(&DiskLogdir::new(directory), |run, tag, point| {
            series.entry((run.as_str().to_owned(), tag.to_owned())).or_default().push(point.value);
        })
        .with_context(|| format!("{}: cannot read", directory.display()))?;
        let mut take = |folder: &str, tag: &str| {
            let folder = if folder.is_empty() { "." } else { folder };
            series.remove(&(folder.to_owned(), tag.to_owned())).unwrap_or_default()
        };
        let only_loss = |loss| Curves { loss, ..Curves::default() };
        match case.task {
            Data::Adversaries => return Ok(only_loss(take("", crate::adversaries::tags(case.habits)[0]))),
            Data::Corridor => return Ok(only_loss(take("", crate::corridor::tags(case.habits)[3]))),
            _ => {}
        }
        let tags = case.habits.tags();
        let [training, validation] = tags.directories;
        Ok(Curves {
            loss: take(training, tags.loss),
            validation_loss: take(validation, tags.validation_loss),
            accuracy: take(training, tags.accuracy),
            validation_accuracy: take(validation, tags.validation_accuracy),
            learning_rate: take(training, tags.learning_rate),
            gradient_norm: take(training, tags.gradient_norm),
        })
    }

    /// Whether any value is NaN or infinite.
    pub(crate) fn not_finite(&self) -> bool {
        let all = [
            &self.loss,
            &self.validation_loss,
            &self.accuracy,
            &self.validation_accuracy,
            &self.learning_rate,
            &self.gradient_norm,
        ];
        all.into_iter().flatten().any(|value| !value.is_finite())
    }
}

/// A longer curve was logged by the step: its tool would see means over epochs.
const MOST_EPOCHS: usize = 60;
/// Epochs that such a run is taken to have.
const EPOCHS: usize = 20;

/// A curve as a callback sees it that is called once an epoch.
pub(crate) fn by_epoch(curve: &[f64]) -> Vec<f64> {
    if curve.len() <= MOST_EPOCHS {
        return curve.to_vec();
    }
    (0..EPOCHS).map(|part| mean(&curve[curve.len() * part / EPOCHS..curve.len() * (part + 1) / EPOCHS])).collect()
}

/// The mean; NaN of nothing.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard deviation of a population.
pub(crate) fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// The median; NaN of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[half],
        _ => (sorted[half - 1] + sorted[half]) / 2.0,
    }
}
