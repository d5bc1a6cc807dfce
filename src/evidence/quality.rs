//! Quantities of accuracies, of validation, and of rewards.

use crate::numbers::*;

use super::chance::{error_of_guessing, gives_one_answer};
use super::curve::Curve;
use super::job::JobView;
use super::loss::has_converged;
use super::settings::{gained_before, rate_left, reward};
use super::{Evidence, Observed, Quantity as Q};

pub(super) fn measure(job: &JobView, evidence: &mut Evidence) {
    measure_accuracy(job, evidence);
    measure_validation(job, evidence);
    measure_reward(job, evidence);
}

fn measure_accuracy(job: &JobView, evidence: &mut Evidence) {
    measure_scores(job, evidence);
    // One constant answer has the accuracy of its class, which says nothing of the network.
    let of_classes = gives_one_answer(evidence);
    for (quantity, series) in [(Q::Accuracy, &job.accuracy), (Q::ValidationAccuracy, &job.validation_accuracy)] {
        let Some(observed) = series else { continue };
        if let Some(curve) = &observed.curve {
            evidence.put(quantity, (curve.end, if of_classes { curve.end } else { curve.end_error }), observed);
            if curve.end >= 0.0 {
                put_lost(curve, observed, evidence);
            }
        } else if let Some(newest) = observed.newest() {
            // One or two evaluations have no shape; the latest value is used, with the uncertainty of a guess.
            evidence.put(quantity, (newest, NEWEST), observed);
        }
    }
    // Without an accuracy, a score that rises says as much.
    let rises = |score: &&Observed| score.curve.as_ref().is_some_and(Curve::rises);
    let gaining = job.own_accuracy().or_else(|| job.scores.iter().find(rises));
    if let Some((observed, curve)) = gaining.and_then(Observed::shaped) {
        // An accuracy that was good from the start cannot improve.
        if curve.start < GOOD {
            let before = gained_before(evidence, -curve.drop(), curve.end);
            evidence.put(Q::AccuracyGain, (-curve.drop(), curve.drop_error().hypot(before)), observed);
        }
        evidence.put(Q::AccuracyTrend, (curve.trend_from(0.0), 1.0), observed);
    }
    let validated = job.validation_accuracy.as_ref().or(gaining.filter(|_| job.accuracy.is_none()));
    let Some((observed, validation)) = validated.and_then(Observed::shaped) else { return };
    let gain = validation.end - validation.level_between(0.4, 0.6);
    let rises =
        gain > 0.0 && (validation.trend_from(HALF) > TREND || gain > AT_CHANCE.max(MAYBE * validation.end_error));
    let gain = if rises { gain } else { 0.0 };
    evidence.put(Q::ValidationAccuracyLateGain, (gain, validation.end_error), observed);
    if let Some(training) = job.accuracy.as_ref().and_then(|accuracy| accuracy.curve.as_ref()) {
        let gap = if rises { 0.0 } else { training.end - validation.end };
        evidence.put(Q::AccuracyGap, (gap, training.end_error.hypot(validation.end_error)), observed);
    }
}

/// Scores of which only changes are meaningful: one that never changes says that the answers do not, and one that was lost
/// that something was unlearned.
fn measure_scores(job: &JobView, evidence: &mut Evidence) {
    for observed in &job.scores {
        let often = observed.sketch.count() as f64 >= EVALUATIONS;
        let guess = observed.tag.to_ascii_lowercase().contains("auc")
            && observed.curve.as_ref().is_some_and(|curve| best_high(curve) < HALF + AT_CHANCE);
        // A correlation of exactly 0 is that of one constant answer, so that two evaluations suffice.
        let uncorrelated = observed.has_word(|word| word.starts_with("matthews") || ["mcc", "kappa"].contains(&word))
            && observed.sketch.count() > 1
            && observed.constant() == Some(0.0);
        if uncorrelated || often && (guess || observed.constant().is_some_and(|score| score < GOOD)) {
            // What shows late, as the first success of many games does, may still come.
            let left = 1.0 - evidence.get(Q::Maturity).unwrap_or(0.0).min(1.0);
            evidence.put(Q::Unscored, (1.0, left), observed);
        }
        if let Some(curve) = observed.curve.as_ref().filter(|curve| often && curve.lowest.value >= 0.0) {
            put_lost(curve, observed, evidence);
        }
    }
}

/// How much of its best level an accuracy or a score has lost; the largest counts.
fn put_lost(curve: &Curve, observed: &Observed, evidence: &mut Evidence) {
    let best = best_high(curve);
    let end = broken(curve, -1.0).map_or(curve.end, |level| level.min(curve.end));
    // What may be a guess scatters by as much on a few hundred examples.
    let lost = if best < GUESS && best - end < ACCURACY_GAIN { 0.0 } else { best - end };
    let lost = (lost / best.max(f64::MIN_POSITIVE), curve.end_error / best.max(f64::MIN_POSITIVE));
    if evidence.get(Q::AccuracyLost).is_none_or(|known| lost.0 > known) {
        evidence.put(Q::AccuracyLost, lost, observed);
    }
}

/// The level since an unambiguous break, which may be as short as two values.
fn broken(curve: &Curve, sign: f64) -> Option<f64> {
    curve.last_change(sign).filter(|change| change.errors > BROKEN).map(|change| change.to)
}

/// The highest level that lasted for about a tenth of the series.
fn best_high(curve: &Curve) -> f64 {
    let means: Vec<f64> = curve.levels.iter().map(|level| -level.mean).collect();
    let smooth = means.windows(3.min(means.len())).map(crate::series::stats::median);
    -smooth.fold(f64::INFINITY, f64::min)
}

fn measure_validation(job: &JobView, evidence: &mut Evidence) {
    let (Some(observed), Some(validation)) = (job.validation_loss.as_ref(), job.validation()) else { return };
    let (share, best) = validation.best_time();
    let own = validation.scale().max(f64::MIN_POSITIVE);
    let drop = (validation.start - best) / own;
    let before = gained_before(evidence, drop, 1.0);
    let guessed = error_of_guessing(evidence);
    let mut put = |quantity, value: f64, error: f64| evidence.put(quantity, (value, error), observed);
    let error = validation.end_error.max(f64::MIN_POSITIVE);
    put(Q::ValidationBest, validation.best(), validation.end_error);
    put(Q::ValidationFall, validation.trend_from(0.0), 1.0);
    put(Q::ValidationNoise, validation.relative_noise(), 0.0);
    let rise = broken(validation, 1.0).map_or(validation.end, |level| level.max(validation.end)) - best;
    let size = if validation.lowest.value >= 0.0 { best.abs() } else { validation.scale() }.max(f64::MIN_POSITIVE);
    put(Q::ValidationRise, rise / size, error / size);
    // If single evaluations scatter too much to estimate an error, a second half that is almost entirely far above the
    // best is equally certain.
    let late = validation.from(HALF);
    let above = late.iter().filter(|(_, level)| level - best > FIFTH * size).count();
    let stays = late.len() >= FEW_POINTS as usize && rise > size && above * 5 >= late.len() * 4;
    put(Q::ValidationRiseErrors, if stays { (rise / error).max(OVERSURE * SIGNIFICANT) } else { rise / error }, 1.0);
    put(Q::ValidationDrop, drop, before.hypot(validation.drop_error() / own));
    put(Q::ValidationBestAfter, share, 1.0 / validation.levels.len() as f64);
    let Some(training) = job.falling_loss() else { return };
    // A validation loss that begins far above the training loss has other units or other inputs; its own start is used.
    let other = validation.first.value > OVERSURE * training.start.abs();
    let start = if other { validation.start } else { training.start.max(validation.start) };
    let scale = start.abs().max(f64::MIN_POSITIVE);
    let gain = (start - best).max(error);
    put(Q::ValidationLostAgain, rise / gain, error / gain);
    if !other {
        // Each evaluation counts as one, so that a few that scatter tell as much as many that do not.
        let above = late.iter().filter(|(_, level)| *level > training.start).count();
        put(Q::ValidationAboveStart, above as f64 / late.len() as f64, HALF / (late.len() as f64).sqrt());
    }
    let progress = (start - best) / scale;
    put(Q::ValidationProgress, progress, guessed(progress).hypot(error / scale));
    let fell = training.level_between((share - 0.05).max(0.0), share + 0.05) - training.end;
    let level = (training.end.abs() + fell.abs()).max(f64::MIN_POSITIVE);
    put(Q::TrainingFallSince, fell / level, training.end_error / scale);
    let alike = training.start < OVERSURE * validation.start && validation.start < OVERSURE * training.start;
    if alike && training.end >= 0.0 && validation.end > 0.0 {
        put(Q::Memorised, 1.0 - training.end / validation.end, error / validation.end);
    }
    measure_repeats(job, observed, evidence);
}

/// Validation uses the same examples each time: a loss that repeats exactly means that no weight changes on which the
/// outputs depend, although the learning rate is not zero.
fn measure_repeats(job: &JobView, observed: &Observed, evidence: &mut Evidence) {
    let sketch = &observed.sketch;
    let repeats = f64::from(sketch.trailing_repeats());
    let share = repeats / sketch.count().max(1) as f64;
    let last = sketch.last().map_or(f64::NAN, |last| last.value);
    let spent = rate_left(job, 1.0 - share) > FIFTH;
    let counts = repeats >= EVALUATIONS && spent && !has_converged(sketch, last, None);
    evidence.put(Q::ValidationRepeats, (if counts { share } else { 0.0 }, 0.0), observed);
}

fn measure_reward(job: &JobView, evidence: &mut Evidence) {
    let Some((observed, curve)) = reward(job) else { return };
    let swing = curve.highest.value - curve.lowest.value;
    let (gain, error) = (curve.end - curve.start, curve.drop_error());
    // A policy that always does the same in a world that always answers the same may be the best: its rewards rose to the
    // highest there ever was, and stay there.
    let at_its_height = curve.last.value >= curve.highest.value && curve.first.value < curve.last.value;
    let repeats = f64::from(observed.sketch.trailing_repeats()) / observed.sketch.count().max(1) as f64;
    evidence.put(Q::RewardRepeats, (if at_its_height { 0.0 } else { repeats }, 0.0), observed);
    let scale = swing.max(f64::MIN_POSITIVE);
    evidence.put(Q::RewardGain, (gain / scale, error / scale), observed);
    evidence.put(Q::RewardGainErrors, (gain / error.max(f64::EPSILON * scale).max(f64::MIN_POSITIVE), 1.0), observed);
    let best = best_high(curve);
    let gained = best - curve.start;
    // Only a gain that exceeds the swings of single values can be lost.
    let real = gained > SIGNIFICANT * error && gained > (1.0 + MAYBE) * curve.noise.min(scale / (1.0 + MAYBE));
    if real && curve.points as f64 >= ENOUGH_POINTS {
        // Single rewards scatter, so the best of the latest fifth counts, unless they fall steadily.
        let newest = curve.newest_fifth().iter().map(|level| level.mean).fold(f64::NEG_INFINITY, f64::max);
        let newest = if curve.trend_from(HALF) < -TREND { curve.end } else { newest };
        let level = broken(curve, -1.0).map_or(newest, |level| level.min(newest));
        evidence.put(Q::RewardLost, ((best - level) / gained, error / gained), observed);
    }
    let kl = |part: &&Observed| part.tag.to_ascii_lowercase().replace('_', "").contains("approxkl");
    if let Some((part, curve)) = job.parts.iter().find(kl).and_then(Observed::shaped) {
        evidence.put(Q::PolicyChange, (curve.level_between(0.0, 1.0), curve.end_error), part);
    }
    let of_policy = |part: &&Observed| {
        let tag = part.tag.to_ascii_lowercase();
        ["policy", "actor", "pg_loss"].iter().any(|name| tag.contains(name))
    };
    for part in job.parts.iter().filter(|part| of_policy(part) && !at_its_height) {
        let zero = part.sketch.last().is_some_and(|last| last.value == 0.0);
        let share = f64::from(part.sketch.trailing_repeats()) / part.sketch.count().max(1) as f64;
        if zero && evidence.get(Q::PolicySilent).is_none_or(|known| share > known) {
            evidence.put(Q::PolicySilent, (share, 0.0), part);
        }
    }
}
