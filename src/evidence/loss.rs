//! Quantities of the loss that a job is judged by.

use crate::numbers::*;
use crate::series::Sketch;
use crate::series::stats::{median, scatter};
use crate::signals::Learning;

use super::chance::error_of_guessing;
use super::change::MEDIAN;
use super::curve::{Curve, Level};
use super::job::JobView;
use super::settings::{gained_before, low_rate, rate_cycles, rate_left, steps_per_epoch, stood_before};
use super::{Evidence, Observed, Quantity as Q};

pub(super) fn measure(job: &JobView, evidence: &mut Evidence) {
    measure_non_finite(job, evidence);
    if let Some(judged) = job.judged() {
        measure_ends(judged, evidence);
    }
    // Two adversaries have no common loss, but what they reconstruct must not be lost again.
    if let Some((part, curve)) = job.reconstruction().and_then(Observed::shaped) {
        measure_ends(part, evidence);
        measure_rise(curve, part, evidence);
    }
    measure_adversaries(job, evidence);
    let Some(observed) = job.loss() else { return };
    measure_repeats(observed, evidence);
    let Some(curve) = job.falling_loss() else { return };
    let (scale, error) = (curve.scale(), curve.drop_error());
    let before = gained_before(evidence, curve.relative_drop(), 1.0);
    let guessed = error_of_guessing(evidence)(curve.relative_drop());
    let mut put = |quantity, value: f64, error: f64| evidence.put(quantity, (value, error), observed);
    put(Q::Progress, curve.relative_drop(), before.hypot(guessed).hypot(error / scale));
    put(Q::DropErrors, curve.drop() / error.max(f64::EPSILON * scale), 1.0);
    put(Q::Trend, curve.trend_from(0.0), 1.0);
    put(Q::LateTrend, curve.trend_from(0.4), 1.0);
    put(Q::LateFall, curve.late_fall(), MAYBE.sqrt() * curve.end_error / curve.end.abs().max(f64::MIN_POSITIVE));
    put(Q::Steadiness, if curve.trend_from(0.0) < -TREND { curve.steadiness() } else { 0.0 }, 0.0);
    let done = curve.done_after();
    put(Q::DoneAfter, done, 1.0 / curve.levels.len() as f64);
    put(Q::RateLeft, rate_left(job, done), 0.0);
    put(Q::Noise, curve.relative_noise(), 0.0);
    measure_rise(curve, observed, evidence);
    measure_swings(job, curve, observed, evidence);
    measure_bounds(job, curve, observed, evidence);
    measure_low_rate(job, curve, observed, evidence);
}

/// The ends of the judged series. Two values have no shape: they are what they are, with an error beyond any number.
fn measure_ends(judged: &Observed, evidence: &mut Evidence) {
    let mut put = |quantity, value: f64, error: f64| evidence.put(quantity, (value, error), judged);
    let sketch = &judged.sketch;
    if let Some(curve) = &judged.curve {
        put(Q::LossStart, curve.start, curve.start_error);
        put(Q::LossEnd, curve.end, curve.end_error);
        put(Q::LossBest, curve.best(), curve.end_error);
    } else if let (Some(first), Some(last), Some(low)) = (sketch.first(), sketch.last_finite(), sketch.lowest()) {
        for (quantity, point) in [(Q::LossStart, first), (Q::LossEnd, last), (Q::LossBest, low)] {
            put(quantity, point.value, f64::MAX);
        }
        put(Q::Progress, (first.value - last.value) / first.value.abs(), f64::MAX);
    }
}

/// A discriminator that is always right passes no gradient on to its generator (Arjovsky and Bottou 2017).
fn measure_adversaries(job: &JobView, evidence: &mut Evidence) {
    if job.learning != Learning::Adversarial {
        return;
    }
    let named = |names: &[&str], begins: &str| {
        let is = |word: &str| names.contains(&word) || word.starts_with(begins);
        job.parts.iter().filter_map(Observed::shaped).find(|(part, _)| part.has_word(is))
    };
    let adversaries = named(GENERATORS, "gen").zip(named(DISCRIMINATORS, "disc"));
    let Some(((_, generator), (part, curve))) = adversaries else { return };
    let highest = curve.newest_fifth().iter().map(|level| level.mean).fold(f64::MIN_POSITIVE, f64::max);
    let wins = curve.lowest.value >= 0.0 && curve.start > 0.0 && generator.end > generator.start;
    if wins && generator.trend_from(EARLY) > TREND {
        evidence.put(Q::DiscriminatorLeft, ((highest / curve.start).log10(), 0.0), part);
    }
}

/// Words of tags for the loss of a generator.
const GENERATORS: &[&str] = &["g", "errg", "lossg", "gloss", "netg"];
/// Words of tags for the loss of a discriminator.
const DISCRIMINATORS: &[&str] = &["d", "errd", "lossd", "dloss", "netd", "dis", "critic"];

fn measure_rise(curve: &Curve, observed: &Observed, evidence: &mut Evidence) {
    let mut put = |quantity, value: f64, error: f64| evidence.put(quantity, (value, error), observed);
    let (share, best) = curve.best_time();
    let (rise, error) = (curve.end - best, curve.end_error.max(MEDIAN * curve.noise / (curve.points as f64).sqrt()));
    let size = if curve.lowest.value >= 0.0 { best.abs() } else { curve.scale() };
    let gain = (curve.start - best).max(error).max(f64::MIN_POSITIVE);
    put(Q::Rise, rise / size.max(f64::MIN_POSITIVE), error / size.max(f64::MIN_POSITIVE));
    put(Q::RiseErrors, rise / error.max(f64::EPSILON * size).max(f64::MIN_POSITIVE), 1.0);
    put(Q::LostAgain, rise / gain, error / gain);
    put(Q::BestAfter, share, 1.0 / curve.levels.len() as f64);
    let early = curve.levels.len() / 10 + 1;
    let early = curve.levels[..early].iter().map(|l| l.mean).fold(curve.start, f64::max);
    let late = curve.from(0.8);
    // A loss that rose early only needs to stay half-way above its start.
    let bar = early.min(curve.start - HALF * curve.drop());
    let above = late.iter().filter(|(_, mean)| *mean > bar && curve.drop() < 0.0).count();
    put(Q::StaysAbove, above as f64 / late.len() as f64, 0.0);
    let first = curve.first.value;
    if first > 0.0 && curve.head.iter().all(|value| *value >= first) && curve.points >= FEW_POINTS as u64 {
        put(Q::EarlyPeak, curve.early_peak() / first, curve.noise / first);
    }
    if let Some(change) = curve.last_change(1.0) {
        put(Q::BreakErrors, change.errors, 1.0);
        let level = change.from.abs().max(if curve.lowest.value < 0.0 { curve.span() } else { 0.0 });
        put(Q::BreakSize, (change.to - change.from) / level.max(f64::MIN_POSITIVE), 0.0);
    }
}

fn measure_swings(job: &JobView, curve: &Curve, observed: &Observed, evidence: &mut Evidence) {
    let mut put = |quantity, value: f64| evidence.put(quantity, (value, 0.0), observed);
    if curve.levels.len() < FEW_POINTS as usize || curve.lowest.value < 0.0 {
        return;
    }
    let settled = &curve.levels[curve.levels.len() / 5..];
    let means: Vec<f64> = settled.iter().map(|l| l.mean).collect();
    let within = |level: &Level| if level.count > 1 { level.deviation } else { curve.noise };
    let explained: Vec<f64> = settled.iter().map(|l| within(l) / f64::from(l.count).sqrt()).collect();
    let level = median(&means).abs().max(f64::MIN_POSITIVE);
    let swing = scatter(&means);
    put(Q::Swing, if swing > SPIKE * median(&explained) { swing / level } else { 0.0 });
    let values: Vec<f64> = settled.iter().map(|level| f64::from(level.count)).collect();
    // Levels of few values hide their internal structure; a cyclic learning rate causes waves.
    if median(&values) >= SIGNIFICANT && curve.noise > 0.0 && !rate_cycles(job) {
        let swing = median(&settled.iter().map(|l| l.deviation).collect::<Vec<_>>()).hypot(swing);
        // Waves that are small relative to the level are those of a smoothed loss.
        put(Q::Waves, if swing > 2.0 * NEWEST * level { swing / curve.noise } else { 0.0 });
        if let Some(chance) = steps_per_epoch(job).and_then(|epoch| super::waves::chance_of_repeating(curve, epoch)) {
            put(Q::EpochWaves, -chance.max(f64::MIN_POSITIVE).log10());
        }
    }
    let spikes: Vec<f64> = (1..curve.levels.len()).filter_map(|i| spike(curve, i)).collect();
    put(Q::Spikes, spikes.len() as f64);
    put(Q::LargestSpike, spikes.iter().copied().fold(1.0, f64::max));
}

/// The largest value of a level relative to the levels around it, if it is a spike; a rise that persists is not.
fn spike(curve: &Curve, i: usize) -> Option<f64> {
    let here = &curve.levels[i];
    let comes_back = curve.levels.get(i + 1).is_none_or(|next| next.mean < here.max);
    let above_start = curve.levels[..i].iter().all(|before| before.mean < here.max);
    if !comes_back || !above_start {
        return None;
    }
    let around = &curve.levels[i.saturating_sub(5)..(i + 4).min(curve.levels.len())];
    let level = median(&around.iter().map(|l| l.mean).collect::<Vec<_>>());
    let deviation = median(&around.iter().map(|l| l.deviation).collect::<Vec<_>>()).max(curve.noise);
    let high = here.max > level + SPIKE * SPIKE * deviation && here.max > SPIKE * level;
    (high && level > 0.0).then(|| here.max / level)
}

/// With adversarial training and rewards, any loss counts, otherwise the judged one. Other non-finite series are
/// treated separately: loss scaling makes gradient norms infinite in the first steps.
fn measure_non_finite(job: &JobView, evidence: &mut Evidence) {
    let parts: &[Observed] =
        if job.learning == Learning::Supervised && job.judged().is_some() { &[] } else { &job.parts };
    let mut judged: Vec<&Observed> = job.judged().into_iter().chain(parts).collect();
    judged.sort_by(|a, b| newest_non_finite(&b.sketch).total_cmp(&newest_non_finite(&a.sketch)));
    if let Some(observed) = judged.first() {
        let sketch = &observed.sketch;
        let mut put = |quantity, value: f64| evidence.put(quantity, (value, 0.0), observed);
        let in_head = sketch.head().iter().take_while(|v| v.is_finite()).count();
        let before = match sketch.first_non_finite() {
            None => sketch.count(),
            Some(_) if in_head < sketch.head().len() => in_head as u64,
            Some(bad) => sketch.until(bad.step - 1).count(),
        };
        put(Q::FinitePoints, before as f64);
        if let Some(bad) = sketch.first_non_finite() {
            put(Q::NonFiniteStep, bad.step as f64);
            put(Q::NonFinite, newest_non_finite(sketch));
        }
    }
    if let Some(norm) = job.gradient_norm.as_ref().filter(|norm| norm.sketch.non_finite() > 0) {
        evidence.put(Q::GradientNonFinite, (newest_non_finite(&norm.sketch), 0.0), norm);
    }
    let others = [&job.validation_loss, &job.accuracy, &job.validation_accuracy, &job.training_loss];
    let others =
        others.into_iter().flatten().chain(&job.parts).chain(&job.scores).filter(|other| other.sketch.non_finite() > 0);
    let others = others.filter(|other| judged.first().is_none_or(|judged| judged.tag != other.tag));
    let worst = others.max_by(|a, b| newest_non_finite(&a.sketch).total_cmp(&newest_non_finite(&b.sketch)));
    if let Some(other) = worst {
        evidence.put(Q::OtherNonFinite, (newest_non_finite(&other.sketch), 0.0), other);
    }
}

/// Fraction of the values of the latest fifth that are not finite; of all values, if a fifth of all are not finite.
fn newest_non_finite(sketch: &Sketch) -> f64 {
    let (Some(first), Some(last)) = (sketch.first(), sketch.last()) else { return 0.0 };
    let fifth = last.step - ((last.step - first.step) as f64 * FIFTH) as i64;
    let earlier = sketch.until(fifth);
    let newest = (sketch.count() - earlier.count()).max(1) as f64;
    let share = (sketch.non_finite() - earlier.non_finite()) as f64 / newest;
    let of_all = sketch.non_finite() as f64 / sketch.count() as f64;
    if of_all > FIFTH {
        share.max(of_all)
    } else if last.value.is_finite() {
        share
    } else {
        share.max(NEWEST)
    }
}

/// The negative logarithms of the numbers with which programs replace 0: the smallest normal f32, 1e-7 (Keras), the
/// epsilon of f32, 1e-8, 1e-12; and the cap of binary cross-entropy in PyTorch.
const CLAMPS: &[f64] = &[87.336_54, 16.118_1, 15.942_4, 18.420_68, 27.631_02, 100.0];

fn measure_repeats(observed: &Observed, evidence: &mut Evidence) {
    let sketch = &observed.sketch;
    let (Some(first), Some(last)) = (sketch.first(), sketch.last_finite()) else { return };
    let mut put = |quantity, value: f64| evidence.put(quantity, (value, 0.0), observed);
    let repeats = f64::from(sketch.trailing_repeats());
    let before = level_before_repeats(sketch, last.value);
    // A loss cannot be 0 directly after a level of a tenth of its first value: a NaN was replaced by 0. One that was never
    // anything else is not computed at all.
    let sudden = before.map_or(observed.constant() == Some(0.0), |level| level.abs() > LEARNED * first.value.abs());
    let zero = sudden && last.value == 0.0;
    let converged = !zero && has_converged(sketch, last.value, before);
    put(Q::Repeats, if converged { 0.0 } else { repeats });
    put(Q::RepeatedShare, if converged { 0.0 } else { repeats / sketch.count() as f64 });
    put(Q::Zeros, if zero { repeats } else { 0.0 });
    let at_clamp = |value: f64| CLAMPS.iter().any(|clamp| (value - clamp).abs() < 1e-4 * clamp);
    if at_clamp(last.value) && repeats > 1.0 {
        put(Q::Clamp, repeats / sketch.count() as f64);
    }
}

/// The level before the identical values at the end of a series. The bucket in which these begin may contain some of
/// them.
fn level_before_repeats(sketch: &Sketch, last: f64) -> Option<f64> {
    let mut before =
        sketch.buckets().rev().skip_while(|(_, bucket)| bucket.min == last && bucket.max == last).peekable();
    before.next_if(|(_, bucket)| bucket.count > 1);
    before.next().map(|(_, bucket)| bucket.mean)
}

/// Whether a constant loss cannot fall further: it is a thousandth of its initial value, or gradually lost enough of
/// that before it reached its last digit.
pub(super) fn has_converged(sketch: &Sketch, last: f64, before: Option<f64>) -> bool {
    let (Some(first), Some(highest)) = (sketch.first(), sketch.highest()) else { return true };
    let (first, highest) = (first.value.abs(), highest.value.abs());
    if last == 0.0 && before.is_some_and(|level| level.abs() > LEARNED * first) {
        return false;
    }
    let came_nearer = before.is_none_or(|level| (level - last).abs() < 0.01 * first) && highest <= first;
    last.abs() <= 1e-3 * highest || last.abs() <= (1.0 - RISES_AGAIN) * first && came_nearer
}

/// Losses that cannot be negative, as words of tags and of the knob `loss`; a contrastive loss with cosines is at least
/// -1.
const NEVER_NEGATIVE: &[&str] =
    &["mse", "mae", "rmse", "l1", "l2", "huber", "hinge", "ctc", "xent", "bce", "ce", "infonce", "nce", "ntxent"];
/// Words that change the meaning of a loss.
const TURNED: &[&str] = &["log", "neg", "negative", "minus"];

fn measure_bounds(job: &JobView, curve: &Curve, observed: &Observed, evidence: &mut Evidence) {
    let named = format!("{} {}", curve.tag, job.text("loss").unwrap_or_default()).to_ascii_lowercase();
    let named = named.replace("cross_entropy", "xent").replace("crossentropy", "xent");
    let has = |names: &[&str]| named.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| names.contains(&word));
    let bound = if has(NEVER_NEGATIVE) { Some(0.0) } else { has(&["contrastive"]).then_some(-1.0) };
    if let Some(bound) = bound.filter(|_| !has(TURNED)) {
        let size = curve.span().max(curve.end.abs()).max(f64::MIN_POSITIVE);
        evidence.put(Q::BelowBound, (((bound - curve.end) / size).max(0.0), curve.end_error / size), observed);
    }
    if curve.end < 0.0 {
        evidence.put(Q::Runaway, (runaway(curve), 0.0), observed);
    }
    if let Some(margin) = margin(curve) {
        evidence.put(Q::Margin, (margin, 0.0), observed);
    }
    // The divergence of a latent code from its prior.
    for part in job.parts.iter().filter(|part| part.has_word(|word| ["kl", "kld"].contains(&word))) {
        let vanished = |latent: &&Curve| latent.end >= 0.0 && latent.end < 0.1 * latent.start;
        if let Some(latent) = part.curve.as_ref().filter(vanished) {
            evidence.put(Q::LatentCode, (latent.end / curve.end.abs().max(f64::MIN_POSITIVE), 0.0), part);
        }
    }
}

/// Growth of a negative loss in orders of magnitude; 0 if it slows down, as when approaching a bound. No bound is as far below
/// zero as the square of a large gradient norm: a loss that stands still there only has no learning rate left.
fn runaway(curve: &Curve) -> f64 {
    let scale = curve.start.abs().max(curve.noise.min(1.0));
    let at = |share: f64| curve.level_between(share - 0.05, share + 0.05);
    let faster = at(0.5) - at(0.95) > (1.0 + HALF) * (curve.start - at(0.5));
    let far = -curve.end > LARGE_NORM * LARGE_NORM;
    let grown = (curve.end.abs() / scale.max(f64::MIN_POSITIVE)).log10();
    if far || faster && curve.trend_from(0.5) < -TREND { grown.max(0.0) } else { 0.0 }
}

/// Relative distance of the latest quarter from a one-digit number: the margin of a loss `max(0, a - b + margin)` whose
/// `a` and `b` are the same for every input, because all are embedded at one point (Schroff et al. 2015, section 3.2).
fn margin(curve: &Curve) -> Option<f64> {
    if curve.end <= 0.0 || curve.levels.len() < FEW_POINTS as usize {
        return None;
    }
    let digit = 10f64.powf(curve.end.log10().floor());
    let margin = (curve.end / digit).round() * digit;
    let newest = &curve.levels[curve.levels.len() * 3 / 4..];
    newest.iter().map(|level| ((level.mean - margin).abs() + level.deviation) / margin).reduce(f64::max)
}

fn measure_low_rate(job: &JobView, curve: &Curve, observed: &Observed, evidence: &mut Evidence) {
    let Some(low) = low_rate(job).filter(|_| !stood_before(job, curve)) else { return };
    evidence.put(Q::LowRate, (low, 1.0 / curve.levels.len() as f64), observed);
    let from = 1.0 - low;
    let then = curve.level_between((from - SMALL).max(0.0), (from + SMALL).min(1.0));
    let (before, after) = ((curve.start - then).max(0.0), then - curve.end);
    // A decrease of less than a tenth of the start is too small for a comparison.
    let before = before.max(OVERFIT_RISE * curve.start.abs());
    if low > EARLY && before > 0.0 && curve.relative_drop() < GOOD {
        evidence.put(Q::LowRateGain, (after / before, curve.drop_error() / before), observed);
    }
}
