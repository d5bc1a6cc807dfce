//! Where a job comes from, so far as its settings and first values tell: from scratch, or from earlier training.

use serde_json::Value;

use crate::series::stats::median;
use crate::signals::Learning;

use super::curve::{Curve, TREND};
use super::guess::cost_of_noise;
use super::view::JobView;

/// A cross-entropy that starts below this share of what guessing among two classes costs was not started from scratch.
const BELOW_CHANCE: f64 = 0.7;
/// An accuracy that begins above this, and is still there, is no guess, but for classes of which one is frequent: there it cannot be told.
const MAJORITY: f64 = 0.6;
/// In a log of fewer points than this each may be a mean over an epoch; an accuracy above this is no guess there, where the
/// loss says that there are more than two classes.
const COARSE: u64 = 100;
const MINORITY: f64 = 0.4;
/// Noisy labels that are learned a little by heart cost this share of what they cost else.
const NOISY: f64 = 0.95;
/// Rates up to this are what trained networks are tuned on with; from scratch they are low. For Adam a tenth of the
/// article's 0.001, for optimizers without its scaling a tenth of the usual 0.01.
const TUNING_FOR_ADAM: f64 = 1e-4;
const TUNING_RATE: f64 = 1e-3;
/// Adam moves no weight by more than its rate in a step (Kingma and Ba 2015, section 2.1). Weights are of the order of a
/// tenth: a run that cannot move them by a hundredth of that trains nothing, whatever it started from.
const FUTILE: f64 = 1e-3;
/// What is to come may be so many times longer than what was run: at least this share of it is done.
const LEAST_DONE: f64 = 0.05;
/// A log that begins this many of its own gaps after step 0 goes on with an earlier training.
const LATE_START: f64 = 20.0;
/// The second half of a straight line falls as far as the first; noise and rounding take a little.
const STRAIGHT: f64 = 0.75;
/// Beyond so many classes (the largest vocabularies) a start is no guess among them.
const MOST_CLASSES: std::ops::RangeInclusive<f64> = 2.0..=1e6;
/// A start within this of log K, relative, is a guess among K classes.
const AT_CHANCE: f64 = 0.03;

impl JobView {
    /// The number of classes: as logged, or from a cross-entropy that starts where a guess among them does.
    pub(crate) fn classes(&self, curve: &Curve) -> Option<f64> {
        if let Some(classes) = self.number("classes").filter(|classes| *classes >= 2.0) {
            return Some(classes);
        }
        let classes = curve.start.exp().round();
        let chance = classes.ln();
        (MOST_CLASSES.contains(&classes) && (curve.start - chance).abs() < AT_CHANCE * chance).then_some(classes)
    }

    /// Why a loss that stands still may be one that had nothing left to learn: the job goes on with earlier training, or
    /// nobody can tell whether it does. `None` where it started from scratch, or has an accuracy to be judged by.
    pub fn maybe_trained_before(&self) -> Option<String> {
        let curve = self.loss.as_ref()?.curve.as_ref()?;
        let accuracy = self.validation_accuracy.as_ref().or(self.accuracy.as_ref());
        if let Some(first) = self.right_from_the_first() {
            return Some(format!("its accuracy was {first:.2} from the first"));
        }
        let by_accuracy = accuracy.is_some();
        if self.learning != Learning::Supervised || by_accuracy || self.trains_nothing(curve) {
            return None;
        }
        let by_name = self.text("loss").is_some_and(|loss| loss.contains("entropy") || loss == "nll");
        if by_name && curve.start > 0.0 && curve.start < BELOW_CHANCE * std::f64::consts::LN_2 {
            return Some(format!("a cross-entropy that starts at {:.4} was trained before", curve.start));
        }
        if by_name && self.classes(curve).is_some_and(|classes| classes <= 1000.0) {
            return None;
        }
        if let Some(origin) = self.goes_on_from() {
            return Some(origin);
        }
        let rate = self.peak_rate()?;
        let steady = curve.trend_from(0.0).abs() < TREND && self.validation_falls_straight().is_none();
        (steady && self.tunes()).then(|| {
            format!("a learning rate of {rate:.1e} is one for tuning a trained network, or too low for a new one")
        })
    }

    /// Its first accuracy, where that is no guess among even classes, and it is still there and could be better. A coarse log
    /// begins when much was learned: noisy labels leave little to see after that.
    pub(super) fn right_from_the_first(&self) -> Option<f64> {
        let observed = self.validation_accuracy.as_ref().or(self.accuracy.as_ref())?;
        let curve = observed.curve.as_ref()?;
        let loss = self.loss.as_ref()?.curve.as_ref()?;
        let noisy = loss.points < COARSE && loss.end > NOISY * cost_of_noise(curve.end, 3.0);
        let least = if noisy { MINORITY } else { MAJORITY };
        (curve.start > least && curve.end > least && !self.accurate()).then_some(curve.start)
    }

    /// What earlier training the job goes on from, so far as it says.
    pub(super) fn goes_on_from(&self) -> Option<String> {
        let curve = self.loss.as_ref()?.curve.as_ref()?;
        let late = || starts_late(curve).then(|| format!("its log begins at step {}", curve.first.step));
        self.checkpoint().map(|checkpoint| format!("it starts from {checkpoint}")).or_else(late)
    }

    /// The highest learning rate, as logged or as set.
    pub(super) fn peak_rate(&self) -> Option<f64> {
        let logged = self.learning_rate.as_ref().and_then(|o| o.sketch.highest()).map(|peak| peak.value);
        logged.or_else(|| self.number("learning_rate"))
    }

    /// The validation loss, where it falls at nearly the same pace from start to end: what was trained before and is tuned
    /// flattens, what is trained from scratch with steps that are too small does not.
    pub(super) fn validation_falls_straight(&self) -> Option<&Curve> {
        let validation = self.validation_loss.as_ref()?.curve.as_ref()?;
        validation.falls_straight(STRAIGHT).then_some(validation)
    }

    /// Whether its highest learning rate is one for tuning a trained network.
    pub(super) fn tunes(&self) -> bool {
        self.peak_rate().is_some_and(|rate| rate <= self.tuning_rate())
    }

    fn tuning_rate(&self) -> f64 {
        match self.text("optimizer") {
            Some(name) if !name.starts_with("adam") => TUNING_RATE,
            _ => TUNING_FOR_ADAM,
        }
    }

    /// Whether its steps, all that are planned, are too small to move any weight to speak of.
    pub(super) fn trains_nothing(&self, curve: &Curve) -> bool {
        let gradient = match self.text("optimizer") {
            Some(name) if !name.starts_with("adam") => self.usual_gradient().unwrap_or(1.0),
            _ => 1.0,
        };
        let unknown = if self.life.ended { 1.0 } else { LEAST_DONE };
        let planned = curve.length() / self.life.done.map_or(unknown, |done| done.clamp(LEAST_DONE, 1.0));
        self.peak_rate().is_some_and(|rate| rate * gradient * planned < FUTILE)
    }

    /// The median of the gradient norm, where it is logged.
    pub(super) fn usual_gradient(&self) -> Option<f64> {
        let norm = self.gradient_norm.as_ref()?.curve.as_ref()?;
        Some(median(&norm.levels.iter().map(|level| level.mean).collect::<Vec<_>>()))
    }

    fn checkpoint(&self) -> Option<String> {
        match self.knobs.get("checkpoint")? {
            Value::Bool(true) => Some("a pretrained network".to_owned()),
            // Some writers know no other truth than 1.
            Value::Number(yes) if yes.as_f64() == Some(1.0) => Some("a pretrained network".to_owned()),
            Value::String(name) if !name.is_empty() => Some(name.clone()),
            _ => None,
        }
    }
}

fn starts_late(curve: &Curve) -> bool {
    let gap = curve.length() / (curve.points.max(2) - 1) as f64;
    gap > 0.0 && curve.first.step as f64 > LATE_START * gap
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::{noise, sketch};
    use super::super::view::Observed;
    use super::super::view::tests::{observed, with_loss};
    use super::*;
    use crate::series::{Point, Sketch};

    fn flat(settings: &[(&str, Value)]) -> JobView {
        let mut job = with_loss((0..2000).map(|i| 0.02 + 0.004 * noise(i)));
        job.knobs = settings.iter().map(|(knob, value)| ((*knob).to_owned(), value.clone())).collect();
        job
    }

    #[test]
    fn a_flat_loss_at_a_usual_rate_started_from_scratch() {
        let job = flat(&[("optimizer", "adam".into()), ("learning_rate", 0.001.into()), ("loss", "l2".into())]);
        assert_eq!(job.maybe_trained_before(), None);
    }

    #[test]
    fn a_checkpoint_says_so() {
        assert!(flat(&[("checkpoint", "runs/a/last.pt".into())]).maybe_trained_before().is_some());
        assert!(flat(&[("checkpoint", true.into())]).maybe_trained_before().is_some());
        assert!(flat(&[("checkpoint", 1.into())]).maybe_trained_before().is_some());
        assert_eq!(flat(&[("checkpoint", false.into())]).maybe_trained_before(), None);
        assert_eq!(flat(&[("checkpoint", 0.into())]).maybe_trained_before(), None);
    }

    #[test]
    fn a_rate_for_tuning_leaves_it_open_and_one_that_moves_nothing_does_not() {
        let with_rate = |rate: f64| flat(&[("optimizer", "adamw".into()), ("learning_rate", rate.into())]);
        assert!(with_rate(2e-5).maybe_trained_before().is_some());
        assert_eq!(with_rate(1e-8).maybe_trained_before(), None);
    }

    #[test]
    fn a_slow_fall_at_a_low_rate_is_no_floor() {
        let mut job = with_loss((0..2000).map(|i| 0.02 - 1e-6 * i as f64 + 1e-4 * noise(i)));
        job.knobs.insert("learning_rate".into(), 1e-5.into());
        assert_eq!(job.maybe_trained_before(), None);
    }

    #[test]
    fn a_log_that_begins_late_goes_on_with_something() {
        let mut late = Sketch::default();
        for i in 0..500_i64 {
            late.push(Point { step: 10_000 + 10 * i, wall_time: 0.0, value: 0.02 + 0.004 * noise(i as usize) });
        }
        let mut job = flat(&[]);
        job.loss = Some(Observed::new("loss", &late));
        assert!(job.maybe_trained_before().is_some());
    }

    #[test]
    fn a_cross_entropy_at_chance_started_from_scratch_whatever_its_backbone() {
        let mut job = with_loss((0..500).map(|i| 10f64.ln() + 0.02 * noise(i)));
        job.knobs = [("loss", "cross_entropy".into()), ("checkpoint", true.into())]
            .map(|(knob, value): (&str, Value)| (knob.to_owned(), value))
            .into();
        assert_eq!(job.maybe_trained_before(), None);
    }

    #[test]
    fn an_accuracy_is_what_it_is_judged_by() {
        let mut job = flat(&[("checkpoint", true.into())]);
        job.accuracy = observed((0..100).map(|_| 0.1));
        assert_eq!(job.maybe_trained_before(), None);
        job.validation_accuracy = observed((0..20).map(|_| 0.8));
        assert!(job.maybe_trained_before().is_some());
        job.validation_accuracy = observed((0..20).map(|i| if i < 4 { 0.8 } else { 0.1 }));
        assert_eq!(job.maybe_trained_before(), None, "what it could do is lost");
    }

    #[test]
    fn an_epochs_mean_is_no_start_and_noisy_labels_leave_little_after_it() {
        let mut job = with_loss((0..24).map(|i| 1.364 + 0.05 * (-(i as f64) / 4.0).exp()));
        job.accuracy = observed((0..24).map(|i| 0.513 - 0.02 * (-f64::from(i)).exp()));
        assert_eq!(job.right_from_the_first(), job.accuracy.as_ref().and_then(|o| o.curve.as_ref()).map(|c| c.start));
        let mut binary = with_loss((0..24).map(|i| 0.693 + 0.002 * noise(i)));
        binary.accuracy = job.accuracy.clone();
        assert_eq!(binary.right_from_the_first(), None, "a guess among two classes");
        let mut fine = with_loss((0..400).map(|i| 1.364 + 0.05 * noise(i)));
        fine.accuracy = job.accuracy;
        assert_eq!(fine.right_from_the_first(), None, "its first value is no mean");
    }

    #[test]
    fn classes_are_read_from_the_start_of_a_cross_entropy() {
        let classes = |values: Vec<f64>, job: &JobView| {
            let curve = Curve::of("loss", &sketch(values)).expect("enough points");
            job.classes(&curve)
        };
        let mut job = flat(&[]);
        assert_eq!(classes(vec![10f64.ln(); 20], &job), Some(10.0));
        assert_eq!(classes(vec![0.9; 20], &job), None);
        job.knobs.insert("classes".into(), 7.into());
        assert_eq!(classes(vec![0.9; 20], &job), Some(7.0));
    }
}
