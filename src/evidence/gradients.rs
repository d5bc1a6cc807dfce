//! Quantities of gradients and weights.

use crate::numbers::{HARDLY_MOVES, TINY_NORM};
use crate::series::stats::median;

use super::curve::Curve;
use super::job::{JobView, Layer};
use super::{Evidence, Observed, Quantity as Q};

pub(super) fn measure(job: &JobView, evidence: &mut Evidence) {
    measure_layers(job, evidence);
    let Some((observed, norm)) = job.gradient_norm.as_ref().and_then(Observed::shaped) else { return };
    let loss = job.falling_loss();
    // A norm that is 0 at every point while the loss falls was never filled in by the program.
    if norm.highest.value == 0.0 && loss.is_some_and(Curve::dropped) {
        return;
    }
    let mut put = |quantity, value: f64, error: f64| evidence.put(quantity, (value, error), observed);
    let ratio = |above: f64, below: f64| (above.max(f64::MIN_POSITIVE) / below.abs().max(f64::MIN_POSITIVE)).log10();
    put(Q::GradientLevel, norm.end, norm.end_error);
    put(Q::GradientGrowth, ratio(norm.end, norm.start), norm.drop_error() / norm.end.max(f64::MIN_POSITIVE));
    if let Some(loss) = loss {
        put(Q::GradientToLoss, ratio(norm.end, loss.end), norm.end_error / norm.end.max(f64::MIN_POSITIVE));
    }
    let level = loss.map_or(0.0, |loss| loss.end.abs());
    // A norm near zero is not a bound: the gradients vanish.
    if norm.highest.value > 10f64.powf(TINY_NORM) * level && norm.highest.value > 0.0 {
        put(Q::GradientPinned, pinned(norm), 0.0);
    }
    if let Some(clip) = job.number("gradient_clip").filter(|clip| *clip > 0.0) {
        put(Q::ClipExcess, norm.end.min(norm.start) / clip, norm.end_error / clip);
    }
}

/// Fraction of the levels whose values are all at the highest value of all.
fn pinned(norm: &Curve) -> f64 {
    let bound = norm.highest.value;
    let stands = |level: &&super::Level| level.max >= bound * (1.0 - 1e-4) && level.mean > bound * (1.0 - HARDLY_MOVES);
    norm.levels.iter().filter(stands).count() as f64 / norm.levels.len() as f64
}

fn measure_layers(job: &JobView, evidence: &mut Evidence) {
    let steps = job.judged().map_or((0, 0), Observed::steps);
    let mut set = |quantity, value: f64, layers: &[Layer]| {
        let support = layers.iter().map(|layer| layer.histogram.rms.count()).min().unwrap_or(0);
        evidence.set(quantity, (value, 0.0), (&layers[0].tag, support, steps));
    };
    if !job.gradients.is_empty() {
        let zero = |layer: &&Layer| layer.histogram.last.is_some_and(|m| m.min == 0.0 && m.max == 0.0);
        let dead = job.gradients.iter().filter(zero).count();
        let all = dead == job.gradients.len();
        set(Q::DeadLayers, if all { 0.0 } else { dead as f64 / job.gradients.len() as f64 }, &job.gradients);
        if let Some(ratio) = by_depth(&job.gradients) {
            set(Q::GradientByDepth, ratio, &job.gradients);
        }
    }
    if !job.weights.is_empty() {
        let unchanged = job.weights.iter().map(|layer| layer.histogram.unchanged).min().unwrap_or(0);
        set(Q::FrozenWeights, f64::from(unchanged), &job.weights);
        if let Some(moved) = movement(&job.weights) {
            set(Q::WeightMovement, moved, &job.weights);
        }
    }
}

/// Root mean square of the gradients of the first third of the layers relative to that of the last third, at the latest
/// histograms, in orders of magnitude. `None` with fewer than four layers, or if the last third has none.
fn by_depth(layers: &[Layer]) -> Option<f64> {
    let sizes: Vec<f64> = layers.iter().filter_map(|layer| layer.histogram.last.map(|m| m.rms())).collect();
    let third = sizes.len() / 3;
    if sizes.len() < 4 {
        return None;
    }
    let (first, last) = (median(&sizes[..third]), median(&sizes[sizes.len() - third..]));
    (last > 0.0).then(|| (first.max(f64::MIN_POSITIVE) / last).log10())
}

/// The largest change of extremes or root mean square of any layer, relative to the size of the largest layer. `None`
/// with fewer than three histograms of each.
fn movement(layers: &[Layer]) -> Option<f64> {
    let (mut size, mut moved) = (0.0_f64, 0.0_f64);
    for layer in layers {
        let (first, last) = (layer.histogram.first?, layer.histogram.last?);
        if layer.histogram.rms.count() < 3 {
            return None;
        }
        size = size.max(first.rms());
        let changes = [last.min - first.min, last.max - first.max, last.rms() - first.rms()];
        moved = changes.iter().fold(moved, |most, change| most.max(change.abs()));
    }
    (size > 0.0).then(|| moved / size)
}
