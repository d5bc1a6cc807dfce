//! One job at one step: its series by meaning and unit, its knobs, its stage.

use serde_json::Value;

use crate::jobs::{Course, Job, Knobs, Stage};
use crate::numbers::{EARLY, FIFTH, GOOD, LEARNED, TREND};
use crate::series::{HistogramSketch, Sketch};
use crate::signals::{Learning, Matched, Signal, SignalMap};

use super::curve::Curve;
use super::unit::Unit;

/// One series with its meaning.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Tag, with its sub-run folder.
    pub tag: String,
    /// Its numbers as logged.
    pub sketch: Sketch,
    /// Its shape in its unit, if it has enough points.
    pub curve: Option<Curve>,
    unit: Unit,
}

impl Observed {
    /// A series in the unit in which it was logged.
    pub fn new(tag: &str, sketch: &Sketch) -> Observed {
        Observed::with(tag, sketch.clone(), Unit::AS_LOGGED)
    }

    /// A series of fractions; higher is better.
    pub fn accuracy(tag: &str, sketch: &Sketch) -> Observed {
        Observed::with(tag, sketch.clone(), Unit::of_accuracy(tag, sketch))
    }

    fn with(tag: &str, sketch: Sketch, unit: Unit) -> Observed {
        let curve = Curve::of(tag, &sketch, unit);
        Observed { tag: tag.to_owned(), sketch, curve, unit }
    }

    /// The share of wrong answers, of an accuracy.
    fn wrong_answers(&self) -> Observed {
        Observed::with(&format!("1 - {}", self.tag), self.sketch.clone(), self.unit.turned())
    }

    /// The same series at a fraction of its length; its unit is unchanged.
    fn at(&self, share: f64) -> Observed {
        Observed::with(&self.tag, self.sketch.until(step_at(&self.sketch, share)), self.unit)
    }

    /// It with its shape, if it has one.
    pub(super) fn shaped(&self) -> Option<(&Observed, &Curve)> {
        Some((self, self.curve.as_ref()?))
    }

    /// The latest finite value, in the unit of the series.
    pub fn newest(&self) -> Option<f64> {
        self.sketch.last_finite().map(|point| self.unit.of(point.value))
    }

    /// Whether all values are exactly the same, and that value in its unit.
    pub(super) fn constant(&self) -> Option<f64> {
        let (lowest, highest) = (self.sketch.lowest()?, self.sketch.highest()?);
        (lowest.value == highest.value).then(|| self.unit.of(highest.value))
    }

    /// Whether all values after the first are exactly the same, and that value in its unit. The first may be the mean of
    /// an epoch during which the network still moved.
    pub(super) fn constant_since_first(&self) -> Option<f64> {
        (u64::from(self.sketch.trailing_repeats()) + 1 >= self.sketch.count()).then(|| self.newest()).flatten()
    }

    /// Whether it is the share of answers that are correct as a whole. That of a regression is 0, and that of long
    /// sequences may be for most of a training. A score of detections or masks is not.
    pub(super) fn is_of_whole_answers(&self) -> bool {
        let tag = self.tag.to_ascii_lowercase();
        ["acc", "exact", "exp_rate"].iter().any(|name| tag.contains(name)) || tag.ends_with("em")
    }

    /// Whether one of the words of its tag, in lower case, is like this.
    pub(super) fn has_word(&self, is: impl Fn(&str) -> bool) -> bool {
        let tag = self.tag.to_ascii_lowercase();
        tag.split(|c: char| !c.is_ascii_alphanumeric()).any(is)
    }

    /// First and latest step.
    pub fn steps(&self) -> (i64, i64) {
        self.sketch.first().zip(self.sketch.last()).map_or((0, 0), |(first, last)| (first.step, last.step))
    }
}

/// One layer's histograms.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Tag, with its sub-run folder.
    pub tag: String,
    /// Its history.
    pub histogram: HistogramSketch,
}

/// The stage of a job. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Life {
    /// It has ended: it reached its last step, reported its end, or has logged nothing for long.
    pub ended: bool,
    /// It reported its own end (`session_end_info`, `SessionLog.STOP`) or reached `max_steps`.
    pub finished: bool,
    /// Seconds without an event.
    pub silent_for: f64,
    /// The maximum silence before this job counts as ended, in seconds.
    pub patience: f64,
    /// Latest optimizer step (or epoch) as a fraction of the planned ones, if both are known.
    pub done: Option<f64>,
    /// Optimizer updates so far, if they can be determined.
    pub updates: Option<f64>,
    /// Whether a file ends in the middle of a record.
    pub cut_off: bool,
}

/// One job for measurement.
#[derive(Debug, Clone)]
pub struct JobView {
    /// The kind of learning, according to its tags.
    pub learning: Learning,
    /// The training loss.
    pub training_loss: Option<Observed>,
    /// The loss is not logged, but computed: the sum of its parts, or the share of wrong answers.
    pub loss_is_derived: bool,
    /// The validation loss.
    pub validation_loss: Option<Observed>,
    /// Accuracy on training data.
    pub accuracy: Option<Observed>,
    /// Accuracy on validation data.
    pub validation_accuracy: Option<Observed>,
    /// The learning rate.
    pub learning_rate: Option<Observed>,
    /// The global gradient norm.
    pub gradient_norm: Option<Observed>,
    /// The reward of reinforcement learning.
    pub reward: Option<Observed>,
    /// Other measures of quality, of which only changes are meaningful.
    pub scores: Vec<Observed>,
    /// The epoch, as a series over steps.
    pub epoch: Option<Observed>,
    /// Parts of a loss, and losses whose value is not meaningful.
    pub parts: Vec<Observed>,
    /// Histograms of gradients, in the order of the layers.
    pub gradients: Vec<Layer>,
    /// Histograms of weights, in the order of the layers.
    pub weights: Vec<Layer>,
    /// The known knobs.
    pub knobs: Knobs,
    /// Its stage.
    pub life: Life,
}

impl JobView {
    /// A job by the meaning of its tags.
    pub fn new(job: &Job<'_>, map: &SignalMap, knobs: Knobs, stage: Stage, course: Course) -> JobView {
        let run_of = |matched: &Matched| job.runs.iter().find(|(folder, _)| *folder == matched.folder);
        let series = |matched: &Matched| Some(&run_of(matched)?.1.get(&matched.tag)?.sketch);
        let find = |signal, make: fn(&str, &Sketch) -> Observed| {
            let matched = map.get(signal)?;
            if matched.part {
                let parts = map.all(signal).iter().filter(|m| m.part && m.folder == matched.folder);
                let (tag, sketch) = sum_of(parts.filter_map(|part| Some((full_tag(part), series(part)?))))?;
                return Some(make(&tag, &sketch));
            }
            Some(make(&full_tag(matched), series(matched)?))
        };
        let layer = |matched: &Matched| {
            let (_, histogram) = run_of(matched)?.1.histograms().find(|(tag, _)| *tag == matched.tag)?;
            Some(Layer { tag: full_tag(matched), histogram: histogram.clone() })
        };
        let layers = |signal| map.all(signal).iter().filter_map(layer).collect();
        // Of several accuracies, those that are not one of whole answers are scores, too.
        let accuracies = [Signal::TrainAccuracy, Signal::ValidationAccuracy].map(|signal| map.all(signal));
        let of_accuracy = |m: &Matched| Some(Observed::accuracy(&full_tag(m), series(m)?));
        let scores = accuracies.into_iter().flatten().filter_map(of_accuracy).filter(|o| !o.is_of_whole_answers());
        let as_logged = |m: &Matched| Some(Observed::new(&full_tag(m), series(m)?));
        let scores = scores.chain(map.all(Signal::Score).iter().filter_map(as_logged)).collect();
        let says = |observed: &Observed| {
            observed.unit.flips() || !observed.is_of_whole_answers() || observed.constant() != Some(0.0)
        };
        let accuracy = find(Signal::TrainAccuracy, Observed::accuracy).filter(says);
        let validation_accuracy = find(Signal::ValidationAccuracy, Observed::accuracy).filter(says);
        let only_answers = map.learning == Learning::Unknown && (accuracy.is_some() || validation_accuracy.is_some());
        let loss = |signal, accuracy: &Option<Observed>| match only_answers {
            true => accuracy.as_ref().map(Observed::wrong_answers),
            false => find(signal, Observed::new),
        };
        let is_sum = map.all(Signal::TrainLoss).iter().filter(|matched| matched.part).count() > 1;
        JobView {
            learning: if only_answers { Learning::Supervised } else { map.learning },
            training_loss: loss(Signal::TrainLoss, &accuracy),
            loss_is_derived: is_sum || only_answers,
            validation_loss: loss(Signal::ValidationLoss, &validation_accuracy),
            accuracy,
            validation_accuracy,
            learning_rate: find(Signal::LearningRate, Observed::new),
            gradient_norm: find(Signal::GradientNorm, Observed::new),
            reward: find(Signal::Reward, Observed::new),
            scores,
            epoch: find(Signal::Epoch, Observed::new),
            parts: map.all(Signal::PartOfLoss).iter().filter_map(as_logged).collect(),
            gradients: layers(Signal::Gradients),
            weights: layers(Signal::Weights),
            knobs,
            life: Life {
                ended: stage.ended,
                finished: stage.finished,
                silent_for: stage.silent_for,
                patience: stage.patience,
                done: course.done,
                updates: course.updates,
                cut_off: job.runs.iter().any(|(_, run)| run.cut_off),
            },
        }
    }

    /// The job at the time when the judged series had reached `step`.
    #[must_use]
    pub fn at(&self, step: i64) -> JobView {
        let share = self.judged().map_or(1.0, |judged| share_of(&judged.sketch, step));
        let cut = |observed: &Option<Observed>| observed.as_ref().map(|observed| observed.at(share));
        let layer = |layer: &Layer| {
            let histogram = layer.histogram.until(step_at(&layer.histogram.rms, share));
            Layer { tag: layer.tag.clone(), histogram }
        };
        JobView {
            learning: self.learning,
            training_loss: cut(&self.training_loss),
            loss_is_derived: self.loss_is_derived,
            validation_loss: cut(&self.validation_loss),
            accuracy: cut(&self.accuracy),
            validation_accuracy: cut(&self.validation_accuracy),
            learning_rate: cut(&self.learning_rate),
            gradient_norm: cut(&self.gradient_norm),
            reward: cut(&self.reward),
            scores: self.scores.iter().map(|score| score.at(share)).collect(),
            epoch: cut(&self.epoch),
            parts: self.parts.iter().map(|part| part.at(share)).collect(),
            gradients: self.gradients.iter().map(layer).collect(),
            weights: self.weights.iter().map(layer).collect(),
            knobs: self.knobs.clone(),
            life: Life {
                done: self.life.done.map(|done| done * share),
                updates: self.life.updates.map(|updates| updates * share),
                ..self.life
            },
        }
    }

    /// The series by which the job is judged: its loss, or its reward in reinforcement learning.
    pub fn judged(&self) -> Option<&Observed> {
        if self.learning == Learning::Reinforcement { self.reward.as_ref() } else { self.loss() }
    }

    /// The training loss; the validation loss if at most one value of a training loss was logged. Programs that
    /// validate after each short epoch and log every n steps may end like this.
    pub fn loss(&self) -> Option<&Observed> {
        if self.loss_is_validation() { self.validation_loss.as_ref() } else { self.training_loss.as_ref() }
    }

    /// Whether the judged loss is the validation loss.
    pub fn loss_is_validation(&self) -> bool {
        let few = |training: &Observed| training.sketch.count() < 2;
        let shape = self.validation_loss.as_ref().map(|validation| validation.curve.is_some());
        self.training_loss.as_ref().map_or(shape.is_some(), |training| few(training) && shape == Some(true))
    }

    /// Of an adversarial job, the part of its losses that compares outputs with what they should be, if it is logged.
    pub(super) fn reconstruction(&self) -> Option<&Observed> {
        if self.learning != Learning::Adversarial {
            return None;
        }
        let named = |name: &str| self.parts.iter().find(|part| part.has_word(|word| word.starts_with(name)));
        RECONSTRUCTIONS.iter().find_map(|name| named(name))
    }

    /// Whether an adversarial job has come much nearer to what it reconstructs.
    pub fn reconstructs(&self) -> bool {
        self.reconstruction().and_then(Observed::shaped).is_some_and(|(_, curve)| curve.lost(FIFTH))
    }

    /// The shape of the loss, if the loss of this kind of job should fall.
    pub fn falling_loss(&self) -> Option<&Curve> {
        self.loss().filter(|_| self.learning == Learning::Supervised)?.curve.as_ref()
    }

    /// The shape of the validation loss, if the training loss is a different series.
    pub fn validation(&self) -> Option<&Curve> {
        self.validation_loss.as_ref().filter(|_| !self.loss_is_validation())?.curve.as_ref()
    }

    /// The accuracy by which the job is judged: on training data if that is logged, otherwise on validation data.
    pub fn own_accuracy(&self) -> Option<&Observed> {
        self.accuracy.as_ref().or(self.validation_accuracy.as_ref())
    }

    /// The job judged by its share of wrong answers, if its loss says less: the loss has risen, while many more answers
    /// became correct. A contrastive loss rises while its queue fills, and others once they lose their meaning.
    pub(super) fn by_answers(&self) -> Option<JobView> {
        let (accuracy, answers) = self.own_accuracy()?.shaped()?;
        let loss = self.falling_loss()?;
        let finite = self.loss().is_some_and(|loss| loss.sketch.non_finite() == 0);
        // The tests of trends are the costly part, and few jobs come that far.
        let better = -answers.drop() > FIFTH && answers.rises();
        if self.loss_is_derived || !finite || !better {
            return None;
        }
        let peak = loss.early_peak() - loss.start;
        let rose_first = peak > LEARNED * loss.scale() && loss.relative_drop() < LEARNED;
        let says_less = rose_first || loss.trend_from(EARLY) > TREND && answers.trend_from(EARLY) > TREND;
        says_less.then(|| JobView {
            training_loss: Some(accuracy.wrong_answers()),
            validation_loss: None,
            loss_is_derived: true,
            ..self.clone()
        })
    }

    /// A knob as a number.
    pub fn number(&self, knob: &str) -> Option<f64> {
        self.knobs.get(knob).and_then(Value::as_f64)
    }

    /// A knob as text.
    pub fn text(&self, knob: &str) -> Option<&str> {
        self.knobs.get(knob).and_then(Value::as_str)
    }

    /// Whether the loss is a cross-entropy over classes, according to knobs and signals.
    pub fn classifies(&self) -> bool {
        match self.text("loss") {
            _ if self.loss_is_derived => false,
            Some(loss) => {
                loss.contains("entropy") || loss == "nll" || loss == "custom" && self.own_accuracy().is_some()
            }
            None => self.own_accuracy().is_some(),
        }
    }

    /// Whether most of its answers are correct.
    pub fn accurate(&self) -> bool {
        let curve = self.own_accuracy().and_then(|accuracy| accuracy.curve.as_ref());
        curve.is_some_and(|curve| curve.end > GOOD)
    }
}

/// How words of tags begin for the distance of a generator's outputs from what they should be; the first says most.
const RECONSTRUCTIONS: &[&str] =
    &["fid", "kid", "lpips", "cyc", "idt", "identity", "l1", "mse", "mae", "mel", "pixel", "rec"];

/// The sum of series, named after its parts; steps that the first series does not have are omitted.
fn sum_of<'a>(mut parts: impl Iterator<Item = (String, &'a Sketch)>) -> Option<(String, Sketch)> {
    let (tag, first) = parts.next()?;
    Some(parts.fold((tag, first.clone()), |(names, sum), (tag, part)| match sum.plus(part) {
        Some(more) => (format!("{names} + {tag}"), more),
        None => (names, sum),
    }))
}

fn full_tag(matched: &Matched) -> String {
    if matched.folder.is_empty() { matched.tag.clone() } else { format!("{}/{}", matched.folder, matched.tag) }
}

fn share_of(sketch: &Sketch, step: i64) -> f64 {
    let Some((first, last)) = sketch.first().zip(sketch.last()) else { return 1.0 };
    ((step - first.step) as f64 / ((last.step - first.step).max(1)) as f64).clamp(0.0, 1.0)
}

/// The step of a series at a fraction of its own length: series of one job may count in steps, epochs or examples.
fn step_at(sketch: &Sketch, share: f64) -> i64 {
    let (Some(first), Some(last)) = (sketch.first(), sketch.last()) else { return i64::MAX };
    first.step + ((last.step - first.step) as f64 * share).round() as i64
}
