//! The stage of a job, its settings relative to usual ones, and signs of earlier training.

use serde_json::Value;

use crate::numbers::*;
use crate::signals::Learning;

use super::chance::{classes_at_start, cost_of_noise, gives_one_answer};
use super::curve::Curve;
use super::job::JobView;
use super::{Evidence, Observed, Quantity as Q};

/// Optimizers that scale each step by the size of the gradients.
const ADAPTIVE: &[&str] = &["adam", "adamw", "nadam", "adamax", "radam", "rmsprop", "lion", "adagrad", "lamb"];

pub(super) fn measure(job: &JobView, evidence: &mut Evidence) {
    measure_life(job, evidence);
    let Some(judged) = job.judged() else { return };
    let trained_before = trained_before(job, evidence);
    let mut set = |quantity, value: Option<f64>| {
        if let Some(value) = value {
            evidence.put(quantity, (value, 0.0), judged);
        }
    };
    let yes = |holds: bool| Some(f64::from(u8::from(holds)));
    let peak = peak_rate(job);
    set(Q::PeakRate, peak);
    let moved = has_moved(job);
    let position = peak.filter(|rate| *rate > 0.0).map(|rate| rate_position(job, rate));
    let warming_up = job.learning_rate.as_ref().and_then(|o| o.curve.as_ref()).map(warming_up);
    // A reward that rises shows that its rate is not too low, however unusual; and a rate that still rises is not yet
    // what it will be.
    let grows = warming_up == Some(1.0);
    let enough = grows || moved && job.learning == Learning::Reinforcement;
    set(Q::RatePosition, position.map(|position| if enough { position.max(0.0) } else { position }));
    set(Q::Reach, reach(job).filter(|_| judged.curve.is_some() && !moved && !grows));
    let risky = |name: &str| matches!(name, "normal" | "gaussian" | "zeros");
    set(Q::RiskyStart, job.text("initializer").and_then(|name| yes(risky(name))));
    set(Q::Squashed, yes(squashed_regression(job)));
    set(Q::TrainedBefore, yes(trained_before));
    set(Q::WarmingUp, warming_up);
    set(Q::Continued, yes(goes_on_from(job).is_some()));
}

fn measure_life(job: &JobView, evidence: &mut Evidence) {
    let Some(judged) = job.judged().or(job.training_loss.as_ref()).or(job.parts.first()) else { return };
    let points = (judged.sketch.count() - judged.sketch.non_finite()) as f64;
    let life = job.life;
    // The steps of rewards are those of the environment, and other steps may count samples.
    let steps = life.updates.filter(|_| job.learning != Learning::Reinforcement).unwrap_or(points);
    let made = points.max(steps.min(points * MATURE_UPDATES / ENOUGH_POINTS));
    let maturity = life.done.map_or(made / MATURE_UPDATES, |done| done / MATURE_SHARE);
    let silence = if life.finished { 0.0 } else { life.silent_for / life.patience.max(1.0) };
    let of_plan = |done: f64| Some(life.updates? / done.min(1.0)).filter(|updates| updates.is_finite());
    let known = [
        (Q::Points, Some(points)),
        (Q::Steps, judged.sketch.last().map(|last| last.step as f64)),
        (Q::Updates, job.number("max_steps").or(life.done.and_then(of_plan)).or(life.updates.filter(|_| life.ended))),
        (Q::UpdatesMade, life.updates),
        (Q::Done, life.done),
        (Q::Maturity, Some(if life.ended { 1.0 } else { maturity })),
        (Q::Silence, Some(silence)),
        (Q::CutOff, Some(f64::from(u8::from(life.cut_off)))),
    ];
    for (quantity, value) in known {
        if let Some(value) = value {
            evidence.put(quantity, (value, 0.0), judged);
        }
    }
}

/// The highest learning rate, as logged or as set.
pub(super) fn peak_rate(job: &JobView) -> Option<f64> {
    let logged = job.learning_rate.as_ref().and_then(|o| o.sketch.highest()).map(|peak| peak.value);
    logged.or_else(|| job.number("learning_rate"))
}

/// Whether the optimizer scales each step; assumed if none is named, because most such jobs use one.
fn is_adaptive(job: &JobView) -> bool {
    job.text("optimizer").is_none_or(|name| ADAPTIVE.contains(&name.to_ascii_lowercase().as_str()))
}

fn usual_rate(job: &JobView) -> f64 {
    if is_adaptive(job) { ADAPTIVE_RATE } else { PLAIN_RATE }
}

/// A rate relative to the usual one; without step scaling, small gradients need higher rates.
fn rate_position(job: &JobView, rate: f64) -> f64 {
    if job.text("optimizer").is_none() {
        // Any value that is usual for one optimizer may be correct.
        return (rate / PLAIN_RATE).log10().max(0.0) + (rate / ADAPTIVE_RATE).log10().min(0.0);
    }
    let position = (rate / usual_rate(job)).log10();
    let small = if is_adaptive(job) { None } else { usual_gradient(job).filter(|norm| *norm < STRIDE && *norm > 0.0) };
    small.map_or(position, |norm| position.min((position + (norm / STRIDE).log10()).max(0.0)))
}

/// The maximum distance by which all planned steps can move a weight.
fn reach(job: &JobView) -> Option<f64> {
    let gradient = if is_adaptive(job) { 1.0 } else { usual_gradient(job).unwrap_or(1.0) };
    // The remaining run may be twenty times longer than the run so far.
    let unknown = if job.life.ended { 1.0 } else { NEARLY_NOTHING };
    let planned = job.life.updates? / job.life.done.map_or(unknown, |done| done.clamp(NEARLY_NOTHING, 1.0));
    peak_rate(job).map(|rate| rate * gradient * planned)
}

/// Whether the job has improved so much that its weights must have moved, however small its steps.
fn has_moved(job: &JobView) -> bool {
    let Some(curve) = job.judged().and_then(|judged| judged.curve.as_ref()) else { return false };
    if job.learning == Learning::Reinforcement {
        let gain = curve.end - curve.start;
        return gain > SIGNIFICANT * curve.drop_error() && curve.rises();
    }
    curve.lost(LEARNED)
}

/// The median of the gradient norm, if logged.
fn usual_gradient(job: &JobView) -> Option<f64> {
    let norm = job.gradient_norm.as_ref()?.curve.as_ref()?;
    Some(norm.level_between(0.0, 1.0))
}

/// A rate that is rising at its end is at its peak there, and was far below it half a run ago.
fn warming_up(rate: &Curve) -> f64 {
    let rises = rate.last.value >= rate.highest.value;
    f64::from(u8::from(rises && rate.level_between(0.4, 0.6) < (1.0 - EARLY) * rate.highest.value))
}

fn squashed_regression(job: &JobView) -> bool {
    let regresses = matches!(job.text("loss"), Some("l2" | "l1" | "huber" | "smooth_l1"));
    let squashes = |name: &str| matches!(name, "sigmoid" | "tanh" | "relu" | "softmax");
    regresses && job.text("output_activation").is_some_and(squashes)
}

/// Whether its highest learning rate is typical for fine-tuning a trained network.
pub(super) fn is_tuned(job: &JobView) -> bool {
    let rate = peak_rate(job).filter(|rate| *rate > 0.0);
    rate.is_some_and(|rate| (rate / usual_rate(job)).log10() <= TUNING) && !has_futile_steps(job)
}

fn has_futile_steps(job: &JobView) -> bool {
    reach(job).is_some_and(|reach| reach < FUTILE)
}

/// The earlier training that the job continues, if known.
pub(super) fn goes_on_from(job: &JobView) -> Option<String> {
    let named = match job.knobs.get("checkpoint") {
        Some(Value::Bool(true)) => Some("a pretrained network".to_owned()),
        // Some writers can only write 1 for true.
        Some(Value::Number(yes)) if yes.as_f64() == Some(1.0) => Some("a pretrained network".to_owned()),
        Some(Value::String(name)) if !name.is_empty() => Some(name.clone()),
        _ => None,
    };
    named.or_else(|| {
        // A log that begins many of its own intervals after step 0 continues earlier training.
        let curve = job.judged()?.curve.as_ref()?;
        let gap = curve.length() / (curve.points.max(2) - 1) as f64;
        (gap > 0.0 && curve.first.step as f64 > 2.0 * REPEATS * gap)
            .then(|| format!("its log begins at step {}", curve.first.step))
    })
}

/// Signs that a job with a constant loss may have nothing left to learn: it continues earlier training, was correct
/// from its first value, or has a fine-tuning rate and no accuracy by which it could be judged.
fn trained_before(job: &JobView, evidence: &Evidence) -> bool {
    if right_from_the_first(job, evidence) {
        return true;
    }
    let Some(curve) = job.falling_loss() else { return false };
    if job.own_accuracy().is_some() || has_futile_steps(job) {
        return false;
    }
    let by_name = job.text("loss").is_some_and(|loss| loss.contains("entropy") || loss == "nll");
    if by_name && curve.start > 0.0 && curve.start < (1.0 - EARLY) * std::f64::consts::LN_2 {
        return true;
    }
    let from_chance = by_name && classes_at_start(job, curve).is_some();
    let straight = job.validation().is_some_and(|validation| falls_straight(validation, 1.0 - EARLY));
    !from_chance && (goes_on_from(job).is_some() || curve.trend_from(0.0).abs() < TREND && !straight && is_tuned(job))
}

/// Whether the first accuracy is not a guess among equally frequent classes, nor that of one constant answer, and has not
/// been lost, while the loss does not fall as fast as ever. A coarse log begins after much was learned; with noisy labels,
/// little more can be observed.
fn right_from_the_first(job: &JobView, evidence: &Evidence) -> bool {
    let accuracy = job.validation_accuracy.as_ref().or(job.accuracy.as_ref()).and_then(|o| o.curve.as_ref());
    let Some((accuracy, loss)) = accuracy.zip(job.falling_loss()) else { return false };
    if falls_straight(loss, 1.0 - EARLY) || gives_one_answer(evidence) {
        return false;
    }
    let coarse = loss.points < 100 && loss.end > 0.95 * cost_of_noise(accuracy.end, 3.0);
    let least = if coarse { GUESS - RATE_OF_TWO } else { GUESS };
    let real = accuracy.start > least && accuracy.end > least - AT_CHANCE;
    real && accuracy.end - accuracy.start > -OVERFIT_RISE
}

/// How uncertain a gain is if part of it may have been made before the log began: half of what is left.
pub(super) fn gained_before(evidence: &Evidence, gained: f64, most: f64) -> f64 {
    if evidence.above(Q::TrainedBefore, HALF) { HALF * (most - gained.max(0.0)).max(0.0) } else { 0.0 }
}

/// With more than two classes, a guess is correct less often than this.
const RATE_OF_TWO: f64 = 2.0 * NEWEST;

/// Whether a curve falls to its end, and its second half by at least `steady` of the decrease of its first half.
pub(super) fn falls_straight(curve: &Curve, steady: f64) -> bool {
    curve.trend_from(0.0) < -TREND && curve.trend_from(0.4) < -HALF * SIGNIFICANT && curve.steadiness() >= steady
}

/// Steps of the loss per pass over the data, if known; `None` if its loss is counted in epochs.
pub(super) fn steps_per_epoch(job: &JobView) -> Option<f64> {
    if job.loss()?.tag.to_ascii_lowercase().contains("epoch") {
        return None;
    }
    // Whole epochs form steps, whose slope is correct but whose ends are not.
    let pace = job.epoch.as_ref().and_then(|o| o.curve.as_ref()).map(|curve| curve.slope());
    let logged = pace.filter(|pace| *pace > 0.0).map(|pace| 1.0 / pace);
    let ratio = |whole, part| Some((job.number(whole)? / job.number(part)?).ceil());
    let steps = logged.or_else(|| ratio("train_examples", "batch_size")).or_else(|| ratio("max_steps", "epochs"));
    steps.filter(|steps| steps.is_finite() && *steps > 1.0)
}

/// Time at the end during which the learning rate is nearly zero, as a fraction of the run: as logged, or according to
/// its decay.
pub(super) fn low_rate(job: &JobView) -> Option<f64> {
    if let Some(observed) = job.learning_rate.as_ref().filter(|o| o.sketch.count() >= 4) {
        let peak = observed.sketch.highest()?.value;
        let levels = levels_of(observed);
        let low = levels.iter().rposition(|rate| *rate > NEARLY_NOTHING * peak)? + 1;
        return Some(1.0 - low as f64 / levels.len() as f64);
    }
    let decay = job.number("lr_decay").filter(|decay| (0.0..1.0).contains(decay))?;
    job.number("learning_rate")?;
    let updates = job.life.updates.filter(|updates| *updates > 0.0)?;
    Some((1.0 - NEARLY_NOTHING.ln() / decay.ln() / updates).max(0.0))
}

fn levels_of(observed: &Observed) -> Vec<f64> {
    observed.sketch.buckets().map(|(_, bucket)| bucket.mean).collect()
}

/// Fraction of the whole learning rate, summed over the steps, that remains after a fraction of the run; the remaining
/// fraction of the run if no rate is logged.
pub(super) fn rate_left(job: &JobView, share: f64) -> f64 {
    let logged = job.learning_rate.as_ref().filter(|observed| observed.sketch.count() >= 4);
    let Some(observed) = logged else { return 1.0 - share };
    let rates = levels_of(observed);
    let whole: f64 = rates.iter().sum();
    let after: f64 = rates[((share * rates.len() as f64) as usize).min(rates.len())..].iter().sum();
    if whole > 0.0 { after / whole } else { 1.0 - share }
}

/// Whether the learning rate fell and rose again, between levels or within them.
pub(super) fn rate_cycles(job: &JobView) -> bool {
    let Some(rate) = &job.learning_rate else { return false };
    let (mut peak, mut trough) = (0.0_f64, f64::INFINITY);
    for (_, bucket) in rate.sketch.buckets() {
        if bucket.min < GUESS * peak {
            trough = trough.min(bucket.min);
        }
        if GUESS * bucket.max > trough {
            return true;
        }
        peak = peak.max(bucket.max);
    }
    false
}

/// Whether the loss, or the validation monitored by a schedule, had stopped improving while the logged rate was at its
/// peak: such a schedule follows the loss.
pub(super) fn stood_before(job: &JobView, curve: &Curve) -> bool {
    let Some(observed) = &job.learning_rate else { return false };
    let rates = levels_of(observed);
    let peak = rates.iter().copied().fold(0.0, f64::max);
    let waits = rates.iter().rposition(|rate| *rate > 0.99 * peak).map_or(0.0, |i| i as f64 / rates.len() as f64);
    let learned = curve.start - curve.level_between(waits / 1.5, waits) > NEWEST * curve.start.abs();
    let stands = |curve: &Curve| {
        let (before, at_end) = (curve.level_between(waits / 3.0, waits / 1.5), curve.level_between(waits / 1.5, waits));
        before - at_end < (NEARLY_NOTHING * (curve.start - at_end)).max(0.01 * at_end)
    };
    let long = waits * (curve.levels.len() as f64) >= FEW_POINTS;
    long && learned && (stands(curve) || job.validation().is_some_and(stands))
}

/// The series of a reward, in reinforcement learning.
pub(super) fn reward(job: &JobView) -> Option<(&Observed, &Curve)> {
    job.reward.as_ref().filter(|_| job.learning == Learning::Reinforcement)?.shaped()
}
