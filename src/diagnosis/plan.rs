//! The progress of a job: by its steps, its epochs, and its own statements.
//!
//! Owns: the computation of progress and endings. Must not know: the symptoms of a job, policies.

use crate::facts::Knobs;
use crate::jobs::{Course, Job};
use crate::series::Sketch;
use crate::signals::{Signal, SignalMap};

pub(super) fn series_of<'a>(job: &Job<'a>, signals: &SignalMap, signal: Signal) -> Option<&'a Sketch> {
    let matched = signals.get(signal)?;
    let (_, run) = job.runs.iter().find(|(folder, _)| *folder == matched.folder)?;
    Some(&run.get(&matched.tag)?.sketch)
}

/// How far a job has come, by the series of its loss or reward.
pub(super) fn course(job: &Job<'_>, signals: &SignalMap, knobs: &Knobs) -> Course {
    let known = [Signal::TrainLoss, Signal::Reward, Signal::ValidationLoss];
    let points = |signal: &Signal| series_of(job, signals, *signal).map_or(0, Sketch::count);
    let judged = known.into_iter().find(|signal| points(signal) > 1);
    let judged = judged.or_else(|| known.into_iter().find(|signal| points(signal) > 0));
    let course = |signal| {
        let sketch = series_of(job, signals, signal)?;
        let ((steps, gap), last) = (span(sketch)?, sketch.last()?.step as f64);
        let known = |knob: &str| knobs.get(knob).and_then(serde_json::Value::as_f64).filter(|n| *n > 0.0);
        let in_epochs = counts_epochs(job, signals, signal, sketch);
        let planned = if in_epochs { known("epochs") } else { known("max_steps") };
        let done =
            planned.filter(|_| signal != Signal::ValidationLoss).map(|planned| ((last + gap) / planned).max(0.0));
        let done = done.or_else(|| share_of_epochs(series_of(job, signals, Signal::Epoch)?, known("epochs")?));
        let made = steps + gap;
        let updates = if in_epochs {
            let of_epochs = || Some(made * (known("train_examples")? / known("batch_size")?).ceil());
            iterations(job).or_else(of_epochs).or_else(|| Some(done?.min(1.0) * known("max_steps")?))
        } else {
            Some(made)
        };
        Some(Course { done, updates })
    };
    judged.and_then(course).unwrap_or_default()
}

/// Whether the steps of a series are epochs.
fn counts_epochs(job: &Job<'_>, signals: &SignalMap, signal: Signal, sketch: &Sketch) -> bool {
    let named = signals.get(signal).is_some_and(|matched| matched.tag.to_ascii_lowercase().contains("epoch"));
    let in_epochs = named || series_of(job, signals, Signal::ValidationLoss).is_some_and(|v| every_time(sketch, v));
    in_epochs && !series_of(job, signals, Signal::Epoch).is_some_and(has_many_steps)
}

/// The updates of series that count them by their name, beside those that count epochs: Keras logs
/// `evaluation_loss_vs_iterations` after each epoch.
fn iterations(job: &Job<'_>) -> Option<f64> {
    let series = job.runs.iter().flat_map(|(_, run)| run.series()).filter(|(tag, _)| tag.ends_with("_vs_iterations"));
    let made = series.filter_map(|(_, series)| span(&series.sketch)).map(|(steps, gap)| steps + gap);
    made.reduce(f64::max).filter(|updates| *updates > 0.0)
}

/// Steps from the first to the last point of a series, and those from one point to the next. The steps after the newest point
/// are not logged: one typical gap still counts as done.
fn span(sketch: &Sketch) -> Option<(f64, f64)> {
    let steps = (sketch.last()?.step - sketch.first()?.step) as f64;
    let gap = if sketch.count() > 1 { (steps / (sketch.count() - 1) as f64).max(0.0) } else { 1.0 };
    Some((steps, gap))
}

/// The completed fraction of the planned epochs, if epochs are fractional. Integers do not show the progress within the
/// last epoch.
fn share_of_epochs(epoch: &Sketch, planned: f64) -> Option<f64> {
    let in_fractions = epoch.head().iter().any(|value| value.fract() != 0.0);
    let last = epoch.last_finite().filter(|_| in_fractions)?;
    Some((last.value / planned).max(0.0))
}

/// Whether the steps at which an epoch is logged run ahead of it: they count updates, as with Lightning's `*_epoch` tags.
fn has_many_steps(epoch: &Sketch) -> bool {
    epoch.last_finite().is_some_and(|last| last.step as f64 > 2.0 * (last.value + 1.0))
}

/// Whether a job validates at each point of its training loss, with one step between points: since validating after
/// every update is unusual, such steps are epochs, even if the tag has another name.
fn every_time(training: &Sketch, validation: &Sketch) -> bool {
    let single_steps = |sketch: &Sketch| {
        let (first, last) = (sketch.first()?.step, sketch.last()?.step);
        (sketch.count() > 2 && last - first == i64::try_from(sketch.count()).ok()? - 1).then_some(first)
    };
    let (training_first, validation_first) = (single_steps(training), single_steps(validation));
    training_first.is_some() && training_first == validation_first && training.count().abs_diff(validation.count()) <= 1
}

/// How many hyperparameters and texts a job has logged.
pub(super) fn said(job: &Job<'_>) -> usize {
    job.runs.iter().map(|(_, run)| run.hyperparameters().len() + run.texts().len()).sum()
}

pub(super) fn said_ended(job: &Job<'_>) -> bool {
    let last = job.last_wall_time();
    job.runs.iter().filter_map(|(_, run)| run.session_end()).any(|mark| last.is_none_or(|last| mark.wall_time >= last))
}

/// HF Trainer's sum of a training that is over, early stopping included.
const SUMMARY: &str = "train/train_runtime";

/// Whether the job has logged how long its training took, and no training since.
pub(super) fn summed_up(job: &Job<'_>, signals: &SignalMap) -> bool {
    let written = |sketch: &Sketch| sketch.last().map(|point| point.wall_time);
    let summaries = job.runs.iter().filter_map(|(_, run)| written(&run.get(SUMMARY)?.sketch));
    let Some(summary) = summaries.reduce(f64::max) else { return false };
    let rate = series_of(job, signals, Signal::LearningRate);
    let training = [series_of(job, signals, Signal::TrainLoss), rate].into_iter().flatten().filter_map(written);
    training.fold(f64::NEG_INFINITY, f64::max) <= summary + LOGGED_TOGETHER
}

/// Maximum difference in seconds between the times of values that are logged together.
const LOGGED_TOGETHER: f64 = 1.0;

/// A job that does not log its learning rate as a hyperparameter may log it as a series, whose peak is the setting. A
/// logged "no decay" is ignored if the learning rate falls, or is below the setting when it is first logged, because
/// another schedule is active.
pub(super) fn with_learning_rate(mut knobs: Knobs, job: &Job<'_>, signals: &SignalMap) -> Knobs {
    let Some(sketch) = series_of(job, signals, Signal::LearningRate) else { return knobs };
    let (Some(peak), Some(last)) = (sketch.highest(), sketch.last_finite()) else { return knobs };
    if peak.value > 0.0 {
        knobs.entry("learning_rate".to_owned()).or_insert_with(|| shortest(peak.value).into());
    }
    let number = |knob: &str| knobs.get(knob).and_then(serde_json::Value::as_f64);
    let set = number("learning_rate").unwrap_or(peak.value);
    if number("lr_decay") == Some(1.0) && last.value < FALLEN * peak.value.max(set) {
        knobs.remove("lr_decay");
    }
    knobs
}

/// A learning rate below this fraction of its peak has fallen.
const FALLEN: f64 = 0.5;

/// Event files hold f32; the number that was meant is the shortest that rounds to it.
fn shortest(value: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "the value came from an f32")]
    let single = value as f32;
    if f64::from(single) == value { single.to_string().parse().unwrap_or(value) } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Point;

    #[test]
    fn epochs_in_fractions_say_how_much_is_done() {
        let epochs = |values: &[f64]| {
            let mut sketch = Sketch::default();
            for (step, value) in (0..).zip(values) {
                sketch.push(Point { step, wall_time: 0.0, value: *value });
            }
            sketch
        };
        assert_eq!(share_of_epochs(&epochs(&[0.5, 1.0, 1.5]), 3.0), Some(0.5));
        assert_eq!(share_of_epochs(&epochs(&[0.0, 1.0, 2.0]), 3.0), None, "the last of three may be over");
    }
}
