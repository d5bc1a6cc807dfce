//! One job as the detectors see it: its signals by meaning, its knobs, where it is in its life.

use crate::jobs::{Job, Knobs, Stage};
use crate::series::stats::median;
use crate::series::{HistogramSketch, Sketch};
use crate::signals::{Learning, Matched, Signal, SignalMap};

use super::curve::{Curve, MIN_POINTS, SIGNIFICANT, TREND};

/// One series with its meaning.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Tag, with its sub-run folder.
    pub tag: String,
    /// Its numbers, as they were logged.
    pub sketch: Sketch,
    /// Its shape, where it has enough points for one, in `unit`s.
    pub curve: Option<Curve>,
    /// What one logged unit counts: 0.01 for a share that was logged in per cent. It is settled by all points of the
    /// series, so that the same job at an earlier step is read alike.
    pub unit: f64,
}

impl Observed {
    /// A series by its tag.
    pub fn new(tag: &str, sketch: &Sketch) -> Observed {
        Observed::in_unit(tag, sketch, 1.0)
    }

    fn in_unit(tag: &str, sketch: &Sketch, unit: f64) -> Observed {
        let curve = Curve::of(tag, sketch);
        let curve = if unit == 1.0 { curve } else { curve.map(|curve| curve.scaled(unit)) };
        Observed { tag: tag.to_owned(), sketch: sketch.clone(), curve, unit }
    }

    /// A series of shares between 0 and 1; one that was logged in per cent has its curve scaled down.
    fn share(tag: &str, sketch: &Sketch) -> Observed {
        let in_per_cent = sketch.highest().is_some_and(|highest| highest.value > 1.5);
        Observed::in_unit(tag, sketch, if in_per_cent { 0.01 } else { 1.0 })
    }

    /// Whether this accuracy says that nothing was learned: it is low, and no better than it was at the start.
    pub(super) fn at_chance(&self) -> Option<bool> {
        let (start, end) = self.course_of_accuracy()?;
        let gain = end - start;
        // Accuracies of small batches scatter by a tenth: a gain has to show beyond that, at its ends or by rank.
        let scatter = self.curve.as_ref().is_some_and(|curve| {
            gain < 0.2 && gain < SIGNIFICANT * curve.drop_error() && curve.trend_from(0.0) < TREND
        });
        // One class in two is the easiest guess that any classifier has.
        Some(end < 0.6 && (gain < 0.1 || scatter))
    }

    /// Where this accuracy started and where it stands. A few evaluations have no shape, and yet a first and a last value.
    pub(super) fn course_of_accuracy(&self) -> Option<(f64, f64)> {
        if let Some(curve) = &self.curve {
            return Some((curve.start, curve.end));
        }
        let values = self.sketch.head();
        let unit = self.unit;
        let newest = values.len().checked_sub(3).filter(|before| *before > 0)?;
        Some((unit * values[0], unit * median(&values[newest..]))).filter(|(start, end)| (start + end).is_finite())
    }

    fn until(&self, step: i64) -> Observed {
        Observed::in_unit(&self.tag, &self.sketch.until(step), self.unit)
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

impl Layer {
    fn until(&self, share: f64) -> Layer {
        Layer { tag: self.tag.clone(), histogram: self.histogram.until(same_time(&self.histogram.rms, share)) }
    }
}

/// Where a job is in its life. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Life {
    /// It will log no more: it reached its last step, said so, or was silent for long.
    pub ended: bool,
    /// It said itself that it ended (`session_end_info`, `SessionLog.STOP`) or reached `max_steps`.
    pub finished: bool,
    /// Seconds without an event, and the longest that this job may be silent before it counts as ended.
    pub silent_for: f64,
    /// See `silent_for`.
    pub patience: f64,
    /// Newest optimizer step as a share of `max_steps`, where both are known.
    pub done: Option<f64>,
    /// Whether a file ends in the middle of a record.
    pub cut_off: bool,
}

/// One job, as the detectors see it.
#[derive(Debug, Clone)]
pub struct JobView {
    /// How it learns, which decides what learning would look like.
    pub learning: Learning,
    /// The training loss; the validation loss, where that has a shape and no training loss was logged, or one value of it.
    pub loss: Option<Observed>,
    /// The loss that is judged is the validation loss.
    pub loss_is_validation: bool,
    /// The training loss is the sum of parts that were logged, and no total was.
    pub loss_is_sum: bool,
    /// The validation loss.
    pub validation_loss: Option<Observed>,
    /// Accuracy on training data, 0 to 1.
    pub accuracy: Option<Observed>,
    /// Accuracy on validation data, 0 to 1.
    pub validation_accuracy: Option<Observed>,
    /// The learning rate.
    pub learning_rate: Option<Observed>,
    /// The global gradient norm.
    pub gradient_norm: Option<Observed>,
    /// The reward of reinforcement learning.
    pub reward: Option<Observed>,
    /// The epoch, as a series over steps.
    pub epoch: Option<Observed>,
    /// Parts of a loss, and losses that are not to be judged by their height.
    pub parts: Vec<Observed>,
    /// Histograms of gradients, in the order of the layers.
    pub gradients: Vec<Layer>,
    /// Histograms of weights, in the order of the layers.
    pub weights: Vec<Layer>,
    /// Its knobs, so far as they are known.
    pub knobs: Knobs,
    /// Where it is in its life.
    pub life: Life,
}

/// Before so large a share of its planned steps is done, a run that stands still may just be slow to start.
const MATURE_SHARE: f64 = 0.6;

/// Where something besides a flat loss speaks against a slow start, so large a share of the planned steps suffices: by
/// then a run has seen its data several times, unless it is made of one pass.
const BEGUN_SHARE: f64 = 0.2;

/// No warm-up is longer than this share of the planned steps; what counts where no learning rate is logged.
const LONGEST_WARM_UP: f64 = 0.35;

/// The learning rate stands at its peak, or comes down from it, once it was so close to it ...
const AT_PEAK: f64 = 0.9;
/// ... for this share of what was run so far.
const SHARE_AT_PEAK: f64 = 0.5;

/// Weights of a layer have a norm of order one to ten: a step by this is a hundredth to a tenth of it, where healthy ones
/// are about a thousandth.
const STRIDE: f64 = 0.1;

/// Optimizers that scale each step to the size of the gradients: rates of about 0.001 suit them all.
const ADAPTIVE: &[&str] = &["adam", "adamw", "nadam", "adamax", "radam", "rmsprop", "lion"];

/// A job with this accuracy is good; with this one on validation data, or less, it is not.
const GOOD: f64 = 0.9;
const NOTHING_RIGHT: f64 = 0.02;

/// What a validation loss has to lose to speak for learning, and may have risen since its best.
const VALIDATED: f64 = 0.1;

/// A run whose length nobody knows counts as mature after so many logged points.
const MATURE_POINTS: u64 = 3000;

impl JobView {
    /// A job by the meaning of its tags. `done` is its newest step as a share of the planned ones.
    pub fn new(job: &Job<'_>, map: &SignalMap, knobs: Knobs, stage: Stage, done: Option<f64>) -> JobView {
        let series = |matched: &Matched| {
            let (_, run) = job.runs.iter().find(|(folder, _)| *folder == matched.folder)?;
            Some(&run.get(&matched.tag)?.sketch)
        };
        let find = |signal, make: fn(&str, &Sketch) -> Observed| {
            let matched = map.get(signal)?;
            if matched.part {
                let parts = map.all(signal).iter().filter(|m| m.part && m.folder == matched.folder);
                let (tag, sketch) = sum_of(parts.filter_map(|part| Some((full_tag(part), series(part)?))))?;
                return Some(make(&tag, &sketch));
            }
            Some(make(&full_tag(matched), series(matched)?))
        };
        let layers = |signal| {
            let all = map.all(signal).iter().filter_map(|matched| {
                let (_, run) = job.runs.iter().find(|(folder, _)| *folder == matched.folder)?;
                let (_, histogram) = run.histograms().find(|(tag, _)| *tag == matched.tag)?;
                Some(Layer { tag: full_tag(matched), histogram: histogram.clone() })
            });
            all.collect()
        };
        let training = find(Signal::TrainLoss, Observed::new);
        let validation = find(Signal::ValidationLoss, Observed::new);
        let loss_is_validation = validation.as_ref().is_some_and(|validation| stands_in(validation, training.as_ref()));
        JobView {
            learning: map.learning,
            loss: if loss_is_validation { validation.clone() } else { training },
            loss_is_validation,
            loss_is_sum: map.all(Signal::TrainLoss).iter().filter(|matched| matched.part).count() > 1,
            validation_loss: validation,
            accuracy: find(Signal::TrainAccuracy, Observed::share),
            validation_accuracy: find(Signal::ValidationAccuracy, Observed::share),
            learning_rate: find(Signal::LearningRate, Observed::new),
            gradient_norm: find(Signal::GradientNorm, Observed::new),
            reward: find(Signal::Reward, Observed::new),
            epoch: find(Signal::Epoch, Observed::new),
            parts: map
                .all(Signal::PartOfLoss)
                .iter()
                .filter_map(|m| Some(Observed::new(&full_tag(m), series(m)?)))
                .collect(),
            gradients: layers(Signal::Gradients),
            weights: layers(Signal::Weights),
            knobs,
            life: Life {
                ended: stage.ended,
                finished: stage.finished,
                silent_for: stage.silent_for,
                patience: stage.patience,
                done,
                cut_off: job.runs.iter().any(|(_, run)| run.cut_off),
            },
        }
    }

    /// The shape of the training loss, where the job is one whose loss ought to fall.
    pub fn falling_loss(&self) -> Option<&Curve> {
        if self.learning != Learning::Supervised {
            return None;
        }
        self.loss.as_ref()?.curve.as_ref()
    }

    /// Whether the run is far enough for "it does not learn" to mean something.
    pub fn mature(&self) -> bool {
        let points = self.loss.as_ref().map_or(0, |loss| loss.sketch.count());
        self.life.ended || self.life.done.map_or(points >= MATURE_POINTS, |done| done >= MATURE_SHARE)
    }

    /// Whether the run ended long before the end of its plan and its loss was on its way down until then: what the rest
    /// would have brought nobody knows.
    pub fn stopped_on_its_way(&self) -> bool {
        let short = self.life.ended && self.life.done.is_some_and(|done| done < MATURE_SHARE);
        short && self.falling_loss().is_some_and(|curve| curve.trend_from(0.0) < -TREND && curve.trend_from(0.4) < 0.0)
    }

    /// Whether the run has trained in earnest for long enough that a second witness beside its loss may speak: a fifth of
    /// its planned steps is done (a fifth of the points that make it mature, where nobody knows its length), and its warm-up
    /// was over before the half of what was run so far.
    pub(super) fn well_begun(&self) -> bool {
        let points = self.loss.as_ref().map_or(0, |loss| loss.sketch.count());
        let Some(done) = self.life.done else {
            return self.mature()
                || points as f64 >= BEGUN_SHARE * MATURE_POINTS as f64 && self.warm_up_over() == Some(true);
        };
        self.mature() || done >= BEGUN_SHARE && self.warm_up_over().unwrap_or(done >= LONGEST_WARM_UP)
    }

    /// Whether the learning rate reached its peak in the first half of what was run so far; `None` where none is logged.
    fn warm_up_over(&self) -> Option<bool> {
        let observed = self.learning_rate.as_ref().filter(|observed| observed.sketch.count() >= MIN_POINTS)?;
        let peak = observed.sketch.highest()?.value;
        let rates: Vec<f64> = observed.sketch.buckets().map(|(_, bucket)| bucket.max).collect();
        let reached = rates.iter().position(|rate| *rate >= AT_PEAK * peak)?;
        Some(reached as f64 <= (1.0 - SHARE_AT_PEAK) * rates.len() as f64)
    }

    /// A knob as a number.
    pub fn number(&self, knob: &str) -> Option<f64> {
        self.knobs.get(knob).and_then(serde_json::Value::as_f64)
    }

    /// Steps of the loss in one pass over the data, so far as the job says; `None` where its loss is counted in epochs.
    pub(super) fn steps_per_epoch(&self) -> Option<f64> {
        if self.loss.as_ref()?.tag.to_ascii_lowercase().contains("epoch") {
            return None;
        }
        // Whole epochs make stairs, of which the slope is right and the ends are not.
        let pace = self.epoch.as_ref().and_then(|o| o.curve.as_ref()).map(|curve| curve.slope_from(0.0));
        let logged = pace.filter(|pace| *pace > 0.0).map(|pace| 1.0 / pace);
        let ratio = |whole, part| Some((self.number(whole)? / self.number(part)?).ceil());
        let steps = logged.or_else(|| ratio("train_examples", "batch_size")).or_else(|| ratio("max_steps", "epochs"));
        steps.filter(|steps| steps.is_finite() && *steps > 1.0)
    }

    /// A knob as text.
    pub fn text(&self, knob: &str) -> Option<&str> {
        self.knobs.get(knob).and_then(serde_json::Value::as_str)
    }

    /// Whether the accuracy says that nothing was learned: it is low, and no better than it was at the start.
    /// `None` without an accuracy of its own.
    pub fn accuracy_at_chance(&self) -> Option<bool> {
        self.own_accuracy()?.at_chance()
    }

    /// The accuracy that the job is judged by: on training data, if that is logged, else on validation data.
    pub fn own_accuracy(&self) -> Option<&Observed> {
        self.accuracy.as_ref().or(self.validation_accuracy.as_ref())
    }

    /// Whether the accuracy rises by the ranks of its levels, whatever its ends say.
    pub(super) fn accuracy_rises(&self) -> bool {
        self.own_accuracy().and_then(|o| o.curve.as_ref()).is_some_and(|curve| curve.trend_from(0.0) > TREND)
    }

    /// Where the accuracy started and where it stands.
    pub(super) fn course_of_accuracy(&self) -> Option<(f64, f64)> {
        self.own_accuracy()?.course_of_accuracy()
    }

    /// Whether the job is good by its own measure: most of what it is shown it gets right, and no measure on validation data
    /// says that it gets nothing right (of images that are mostly background, an answer without any object is right in nearly
    /// all pixels).
    pub fn accurate(&self) -> bool {
        let end = |observed: &Option<Observed>| observed.as_ref()?.curve.as_ref().map(|curve| curve.end);
        match (end(&self.accuracy), end(&self.validation_accuracy)) {
            (Some(training), Some(validation)) => training > GOOD && validation > NOTHING_RIGHT,
            (Some(only), None) => only > GOOD,
            (None, validation) => self.accuracy.is_none() && validation.is_some_and(|end| end > GOOD),
        }
    }

    /// Whether validation says that the job learns, where single training losses scatter too much to tell: its loss lost a
    /// tenth of its start beyond noise, stands at its best, and no setting makes that a return from a bad start.
    pub(super) fn learns_by_validation(&self) -> bool {
        let (Some(training), Some(validation)) = (&self.loss, &self.validation_loss) else { return false };
        let learns = |curve: &super::Curve| curve.lost(VALIDATED) && curve.end <= curve.best() * (1.0 + VALIDATED);
        training.tag != validation.tag
            && validation.curve.as_ref().is_some_and(learns)
            && self.risky_setting().is_none()
    }

    /// Whether the loss is a cross-entropy over classes, so far as knobs and signals say.
    pub fn classifies(&self) -> bool {
        if self.loss_is_sum {
            return false;
        }
        match self.text("loss") {
            Some(loss) => loss.contains("entropy") || loss == "nll" || (loss == "custom" && self.has_accuracy()),
            None => self.has_accuracy(),
        }
    }

    fn has_accuracy(&self) -> bool {
        self.accuracy.is_some() || self.validation_accuracy.is_some()
    }

    /// Root mean square of the gradients of the first third of the layers against that of the last third, at the newest
    /// histograms. `None` with fewer than four layers, or where the last third has none.
    pub(super) fn gradients_by_depth(&self) -> Option<f64> {
        if self.gradients.len() < 4 {
            return None;
        }
        let sizes: Vec<f64> = self.gradients.iter().filter_map(|l| l.histogram.last.map(|m| m.rms())).collect();
        let third = (sizes.len() / 3).max(1);
        let (first, last) = (median(&sizes[..third]), median(&sizes[sizes.len() - third..]));
        (last > 0.0).then(|| first / last)
    }

    /// A setting that is known to be risky, in words: what an ambiguous curve is read with.
    pub fn risky_setting(&self) -> Option<String> {
        let rate = self.learning_rate.as_ref().and_then(|o| o.sketch.highest()).map(|p| p.value);
        let rate = rate.or_else(|| self.number("learning_rate"));
        let adaptive = self.text("optimizer").filter(|name| ADAPTIVE.contains(name));
        match (rate, adaptive) {
            // The article: about 0.001 does well for Adam. Twenty times that is far outside what works.
            (Some(rate), Some(optimizer)) if rate >= 0.02 => {
                return Some(format!("a learning rate of {rate} for {optimizer}"));
            }
            (Some(rate), _) if rate >= 0.4 && self.strides(rate) => return Some(format!("a learning rate of {rate}")),
            _ => {}
        }
        match self.text("initializer") {
            Some(plain @ ("normal" | "gaussian")) => Some(format!("the plain {plain} initialisation")),
            Some("zeros") => Some("weights that are all zero at the start".to_owned()),
            _ => None,
        }
    }

    /// Share of the whole learning rate, summed over the steps, that was spent after a share of the run; all that is left of
    /// the run where no rate is logged.
    pub(super) fn rate_spent_after(&self, share: f64) -> f64 {
        let logged = self.learning_rate.as_ref().filter(|observed| observed.sketch.count() >= 4);
        let Some(observed) = logged else { return 1.0 - share };
        let rates: Vec<f64> = observed.sketch.buckets().map(|(_, bucket)| bucket.mean).collect();
        let whole: f64 = rates.iter().sum();
        let after: f64 = rates[((share * rates.len() as f64) as usize).min(rates.len())..].iter().sum();
        if whole > 0.0 { after / whole } else { 1.0 - share }
    }

    /// Whether steps at this rate are long, whatever the rate: losses that are means over many outputs have gradients that
    /// call for large ones. So they are where no gradient norm is logged.
    fn strides(&self, rate: f64) -> bool {
        self.usual_gradient().is_none_or(|norm| rate * norm >= STRIDE)
    }

    /// The job as it was when its loss had reached `step`.
    #[must_use]
    pub fn until(&self, step: i64) -> JobView {
        let share = self.share_of(step);
        let cut = |observed: &Option<Observed>| observed.as_ref().map(|o| o.until(same_time(&o.sketch, share)));
        JobView {
            loss: cut(&self.loss),
            validation_loss: cut(&self.validation_loss),
            accuracy: cut(&self.accuracy),
            validation_accuracy: cut(&self.validation_accuracy),
            learning_rate: cut(&self.learning_rate),
            gradient_norm: cut(&self.gradient_norm),
            reward: cut(&self.reward),
            epoch: cut(&self.epoch),
            gradients: self.gradients.iter().map(|layer| layer.until(share)).collect(),
            weights: self.weights.iter().map(|layer| layer.until(share)).collect(),
            parts: self.parts.iter().map(|o| o.until(same_time(&o.sketch, share))).collect(),
            life: Life { done: self.life.done.map(|done| done * share), ..self.life },
            ..self.clone()
        }
    }

    fn share_of(&self, step: i64) -> f64 {
        let curve = self.loss.as_ref().or(self.reward.as_ref());
        let Some((first, last)) = curve.and_then(|o| o.sketch.first().zip(o.sketch.last())) else { return 1.0 };
        ((step - first.step) as f64 / ((last.step - first.step).max(1)) as f64).clamp(0.0, 1.0)
    }
}

/// Programs that validate after each short epoch and log every so many steps may end with a validation loss and no more than
/// one value of a training loss. A few values more would have a say of their own, and are too few to be heard.
fn stands_in(validation: &Observed, training: Option<&Observed>) -> bool {
    training.is_none_or(|training| training.sketch.count() < 2 && validation.curve.is_some())
}

/// The sum of series, by a name that says of which; what was not logged at the steps of the first is left out.
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

/// The step of a series at a share of its own length: series of one job may count in steps, epochs or examples.
fn same_time(sketch: &Sketch, share: f64) -> i64 {
    let (Some(first), Some(last)) = (sketch.first(), sketch.last()) else { return i64::MAX };
    first.step + ((last.step - first.step) as f64 * share).round() as i64
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::series::Moments;

    /// A job that has ended, with nothing but a training loss.
    pub(crate) fn with_loss(values: impl IntoIterator<Item = f64>) -> JobView {
        let sketch = super::super::curve::tests::sketch(values);
        JobView {
            learning: Learning::Supervised,
            loss: Some(Observed::new("train/loss", &sketch)),
            loss_is_validation: false,
            loss_is_sum: false,
            validation_loss: None,
            accuracy: None,
            validation_accuracy: None,
            learning_rate: None,
            gradient_norm: None,
            reward: None,
            epoch: None,
            parts: Vec::new(),
            gradients: Vec::new(),
            weights: Vec::new(),
            knobs: Knobs::new(),
            life: Life { ended: true, finished: true, silent_for: 0.0, patience: 600.0, done: None, cut_off: false },
        }
    }

    #[test]
    fn an_accuracy_in_per_cent_is_read_alike_at_an_earlier_step() {
        let rises = (0..400).map(|i| 0.5 + 0.01 * f64::from(i));
        let share = Observed::share("accuracy", &super::super::curve::tests::sketch(rises));
        let (whole, early) = (share.curve.as_ref().unwrap().end, share.until(90).curve.unwrap().end);
        assert!((0.03..0.05).contains(&whole), "{whole}");
        assert!((0.01..0.015).contains(&early), "its highest value so far alone would not tell its unit: {early}");
    }

    #[test]
    fn histograms_end_where_an_earlier_look_does() {
        let mut job = with_loss((0..100).map(f64::from));
        let mut histogram = HistogramSketch::default();
        for step in 0..100 {
            let sum_squares = if step < 60 { 4.0 } else { 400.0 };
            let moments = Moments { min: -1.0, max: 1.0, num: 4.0, sum: 0.0, sum_squares };
            histogram.push(step, step as f64, moments);
        }
        job.gradients = vec![Layer { tag: "gradients/a".into(), histogram }];
        let before = job.until(50).gradients.remove(0).histogram;
        assert!(before.rms.last().unwrap().step <= 50);
        assert!((before.last.unwrap().rms() - 1.0).abs() < 1e-6, "{:?}", before.last);
        assert!(before.unchanged < job.gradients[0].histogram.unchanged);
        let same = job.until(99).gradients.remove(0).histogram;
        assert_eq!(same.last, job.gradients[0].histogram.last);
    }

    pub(crate) fn observed(values: impl IntoIterator<Item = f64>) -> Option<Observed> {
        Some(Observed::new("tag", &super::super::curve::tests::sketch(values)))
    }
}
