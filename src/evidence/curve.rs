//! The shape of one series: its start, its end, and how much of the change is noise. Every number is robust against a
//! single outlier.

use crate::numbers::{FEW_POINTS, HALF, MAYBE, NEWEST, SIGNIFICANT, SKEWED, THROWN_UP, TREND};
use crate::series::stats::{mann_kendall, median, scatter, theil_sen};
use crate::series::{Bucket, Point, Sketch};

use super::change::{Change, MEDIAN, change};
use super::unit::Unit;

/// One stretch of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// Middle of the stretch, in steps.
    pub step: f64,
    /// Mean of its finite values.
    pub mean: f64,
    /// Largest finite value.
    pub max: f64,
    /// Standard deviation of the values within it.
    pub deviation: f64,
    /// Number of finite values.
    pub count: u32,
}

/// The shape of a series of finite values, in the unit of its signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Tag of the series, with its sub-run folder.
    pub tag: String,
    /// The exact first values, finite ones.
    pub head: Vec<f64>,
    /// Stretches of equal length in steps, in order.
    pub levels: Vec<Level>,
    /// The exact latest values, finite ones.
    pub tail: Vec<f64>,
    /// Means of the stretches that end before these, the latest tenth of all stretches.
    before_tail: Vec<f64>,
    /// Number of finite points.
    pub points: u64,
    /// The start: median of the first values.
    pub start: f64,
    /// Standard error of `start`.
    pub start_error: f64,
    /// The end: median of the latest levels.
    pub end: f64,
    /// Standard error of `end`.
    pub end_error: f64,
    /// Standard deviation of single values around the trend of the curve.
    pub noise: f64,
    /// The oldest point.
    pub first: Point,
    /// The newest point.
    pub last: Point,
    /// Smallest finite value.
    pub lowest: Point,
    /// Largest finite value.
    pub highest: Point,
}

impl Curve {
    /// The number of finite points without which a series has no shape.
    pub const LEAST: u64 = 3;

    /// The shape of a series; `None` with fewer finite points than [`Curve::LEAST`]. If there are few points, their errors decide.
    pub fn of(tag: &str, sketch: &Sketch, unit: Unit) -> Option<Curve> {
        let points = sketch.count() - sketch.non_finite();
        if points < Curve::LEAST {
            return None;
        }
        let levels: Vec<Level> = sketch.buckets().map(|(step, bucket)| level(step, &bucket, unit)).collect();
        let finite = |value: f64| value.is_finite().then(|| unit.of(value));
        let head: Vec<f64> = sketch.head().iter().filter_map(|value| finite(*value)).collect();
        let recent = sketch.newest();
        let tail: Vec<f64> = recent.iter().filter_map(|point| finite(point.value)).collect();
        let point = |point: Point| Point { value: unit.of(point.value), ..point };
        let (low, high) = (point(sketch.lowest()?), point(sketch.highest()?));
        let (lowest, highest) = if unit.flips() { (high, low) } else { (low, high) };
        let means: Vec<f64> = levels.iter().map(|l| l.mean).collect();
        let noise = noise_of(sketch.noise().unwrap_or(0.0) * unit.size(), &levels, &means);
        let newest = newest(levels.len());
        let begins = recent.first().map_or(f64::MAX, |point| point.step as f64);
        let earlier = levels.partition_point(|level| level.step + sketch.bucket_width() as f64 / 2.0 <= begins);
        let end = median(&means[means.len() - newest..]);
        let (start, start_error) = match level_of_skewed(&levels) {
            Some((mean, error)) if mean > median(&head) => (mean, error),
            _ => start_of(&head, points, noise, (highest.value, end)),
        };
        let late = &means[means.len() / 2..];
        let level_noise = if late.len() < FEW_POINTS as usize { noise } else { scatter(late) };
        Some(Curve {
            tag: tag.to_owned(),
            points,
            start,
            start_error,
            end,
            end_error: MEDIAN * level_noise / (newest as f64).sqrt(),
            noise,
            first: point(sketch.first()?),
            last: point(sketch.last()?),
            lowest,
            highest,
            head,
            before_tail: means[earlier.saturating_sub(newest)..earlier].to_vec(),
            levels,
            tail,
        })
    }

    /// The means of all levels.
    fn means(&self) -> Vec<f64> {
        self.levels.iter().map(|level| level.mean).collect()
    }

    /// The decrease from start to end, in the unit of the values; negative if they grew.
    pub fn drop(&self) -> f64 {
        self.start - self.end
    }

    /// Standard error of [`Curve::drop`].
    pub fn drop_error(&self) -> f64 {
        self.start_error.hypot(self.end_error)
    }

    /// The base of fractions of the start: the start itself, or the range of the levels if values are negative.
    pub fn scale(&self) -> f64 {
        let scale = if self.lowest.value >= 0.0 { self.start.abs() } else { self.span().max(self.start.abs()) };
        scale.max(f64::MIN_POSITIVE)
    }

    /// The decrease as a fraction of the start.
    pub fn relative_drop(&self) -> f64 {
        self.drop() / self.scale()
    }

    /// Difference between the level exceeded by a twentieth of the levels and the lowest level.
    pub fn span(&self) -> f64 {
        let mut means = self.means();
        means.sort_by(f64::total_cmp);
        means[means.len() - 1 - means.len() / 20] - self.best()
    }

    /// The lowest level that lasted for about a tenth of the series.
    pub fn best(&self) -> f64 {
        let means = self.means();
        means.windows(newest(means.len())).map(median).fold(f64::INFINITY, f64::min)
    }

    /// The position of the lowest level as a fraction of the series, and that level: medians of three neighbours.
    pub fn best_time(&self) -> (f64, f64) {
        let means = self.means();
        let smooth = means.windows(3.min(means.len())).map(median).enumerate();
        let (at, best) = smooth.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, f64::NAN));
        ((at as f64 + 1.5) / means.len() as f64, best)
    }

    /// Whether the decrease exceeds the noise: from the first values or, if single values scatter too much, from the
    /// first level.
    pub fn dropped(&self) -> bool {
        let first = &self.levels[0];
        let error = first.deviation.max(self.noise) / f64::from(first.count).sqrt();
        let from_level = first.mean - self.end > SIGNIFICANT * error.hypot(self.end_error);
        self.drop() > SIGNIFICANT * self.drop_error() || (from_level && self.drop() > 0.0 && first.count > 1)
    }

    /// The highest level of the first third.
    pub fn early_peak(&self) -> f64 {
        let third = (self.levels.len() / 3).max(1);
        self.levels[..third].iter().map(|level| level.mean).fold(f64::NEG_INFINITY, f64::max)
    }

    /// The decrease of the latest half of the series, as a fraction of its own level.
    pub fn late_fall(&self) -> f64 {
        let middle = self.level_between(0.4, 0.6);
        (middle - self.level_between(0.9, 1.0)) / middle.abs().max(f64::MIN_POSITIVE)
    }

    /// Whether the decrease exceeds `share` of the start, beyond noise or by the ranks of the levels: heavy tails hide
    /// a decrease from standard errors, but not from ranks.
    pub fn lost(&self, share: f64) -> bool {
        self.relative_drop() > share && (self.dropped() || self.trend_from(0.0) < -TREND && self.trend_from(0.4) < 0.0)
    }

    /// Fraction of the series after which nine tenths of the decrease were done permanently, apart from the noise of
    /// levels.
    pub fn done_after(&self) -> f64 {
        let means = self.means();
        let goal = self.start - (1.0 - NEWEST) * self.drop() + MAYBE * scatter(&means[means.len() / 2..]);
        let late = means.windows(3.min(means.len())).map(median).enumerate().rfind(|(_, level)| *level > goal);
        late.map_or(0, |(i, _)| i + 2).min(means.len()) as f64 / means.len() as f64
    }

    /// The decrease of the second half relative to the first half.
    pub fn steadiness(&self) -> f64 {
        let early = self.level_between(0.0, 0.15) - self.level_between(0.4, 0.6);
        let late = self.level_between(0.4, 0.6) - self.level_between(0.85, 1.0);
        if early > 0.0 { late / early } else { 0.0 }
    }

    /// The noise of single values as a fraction of their usual level.
    pub fn relative_noise(&self) -> f64 {
        self.noise / self.level_between(NEWEST, 1.0).abs().max(f64::MIN_POSITIVE)
    }

    /// The levels from a fraction of the series onwards, as (step, mean).
    pub fn from(&self, share: f64) -> Vec<(f64, f64)> {
        let begin = (share * self.levels.len() as f64) as usize;
        self.levels[begin.min(self.levels.len())..].iter().map(|l| (l.step, l.mean)).collect()
    }

    /// Mann-Kendall statistic of the levels from a fraction of the series onwards; the series falls if it is below
    /// minus [`TREND`].
    pub fn trend_from(&self, share: f64) -> f64 {
        mann_kendall(&self.from(share).iter().map(|p| p.1).collect::<Vec<_>>())
    }

    /// Whether its levels rise, beyond chance.
    pub fn rises(&self) -> bool {
        self.trend_from(0.0) > TREND
    }

    /// Theil-Sen slope per step.
    pub fn slope(&self) -> f64 {
        theil_sen(&self.from(0.0))
    }

    /// Steps between the first and the latest point.
    pub fn length(&self) -> f64 {
        (self.last.step - self.first.step) as f64
    }

    /// Median of the levels between two fractions of the series; NaN if there are none.
    pub fn level_between(&self, from: f64, to: f64) -> f64 {
        let count = self.levels.len() as f64;
        let (begin, end) = ((from * count) as usize, ((to * count).ceil() as usize).min(self.levels.len()));
        median(&self.levels[begin.min(end)..end].iter().map(|l| l.mean).collect::<Vec<_>>())
    }

    /// The last rise that persists to the latest point: of the levels, of the latest single points, and from those to
    /// these, so that a rise within the last hundredth of the run is detected. `sign` is -1 for a fall.
    pub fn last_change(&self, sign: f64) -> Option<Change> {
        let signed = |values: &[f64]| values.iter().map(|value| sign * value).collect::<Vec<_>>();
        let (levels, tail) = (signed(&self.means()), signed(&self.tail));
        let changes = [change(&levels), change(&tail), self.sudden(&signed(&self.before_tail), tail)];
        let last = changes.into_iter().flatten().max_by(|a, b| a.errors.total_cmp(&b.errors))?;
        Some(Change { from: sign * last.from, to: sign * last.to, ..last })
    }

    /// The rise to the latest single points, if these are a small part of the series.
    fn sudden(&self, before: &[f64], mut after: Vec<f64>) -> Option<Change> {
        if after.len() as f64 / self.points as f64 > NEWEST || after.is_empty() || before.is_empty() {
            return None;
        }
        after.sort_by(f64::total_cmp);
        Some(Change::between(before, &after, self.noise)).filter(|change| change.errors > 0.0)
    }

    /// The beginning of the latest fifth of the levels, or of the values: a log by environment steps may have hundreds
    /// of values in its last level.
    pub fn newest_fifth(&self) -> &[Level] {
        let total: u64 = self.levels.iter().map(|level| u64::from(level.count)).sum();
        let mut values = 0;
        let by_values = self.levels.iter().rposition(|level| {
            values += u64::from(level.count);
            values * 5 >= total
        });
        let begin = by_values.unwrap_or(0).max(self.levels.len() * 4 / 5).min(self.levels.len() - 1);
        &self.levels[begin..]
    }
}

fn level(step: f64, bucket: &Bucket, unit: Unit) -> Level {
    let max = if unit.flips() { bucket.min } else { bucket.max };
    let deviation = bucket.variance().sqrt() * unit.size();
    Level { step, mean: unit.of(bucket.mean), max: unit.of(max), deviation, count: bucket.count }
}

/// Noise of single values, from neighbours; but at most twice that of most stretches of the series, so that a single
/// outlier does not affect the noise everywhere.
fn noise_of(neighbours: f64, levels: &[Level], means: &[f64]) -> f64 {
    let within: Vec<f64> = levels.iter().filter(|level| level.count > 1).map(|level| level.deviation).collect();
    let usual = if 2 * within.len() > levels.len() { median(&within) } else { scatter(means) };
    if means.len() < FEW_POINTS as usize { neighbours } else { neighbours.min(2.0 * usual) }
}

/// Mean and standard error of the first level of a series with skewed single values: the median of a few of them shows
/// where most of them are, but not the level.
fn level_of_skewed(levels: &[Level]) -> Option<(f64, f64)> {
    let first = levels.first().filter(|first| first.count > 1)?;
    let scatter: Vec<f64> = levels.iter().map(|level| level.deviation / level.mean).collect();
    let skewed = levels.iter().all(|level| level.mean > 0.0) && median(&scatter) > SKEWED;
    skewed.then(|| (first.mean, first.deviation / f64::from(first.count).sqrt()))
}

/// How many of the latest levels form "the end".
fn newest(levels: usize) -> usize {
    match levels {
        0..5 => 1,
        5..8 => 2,
        _ => ((NEWEST * levels as f64) as usize).max(3),
    }
}

/// Median and standard error of the first values: one value in 300, three to nine of them. More would blur the start of
/// a run that learns within its first steps. The noise of the whole series bounds the scatter of a few values.
fn start_of(head: &[f64], count: u64, noise: f64, (highest, end): (f64, f64)) -> (f64, f64) {
    // Coarse logs (one point per epoch) may show most of their decrease between the first two points. Among n values of
    // pure noise, the first is the highest once in n times, and then it is within its noise of the others. Also, the
    // values rarely fall far below the final level.
    if let [first, second, ..] = head
        && *first >= highest
        && second - end > -HALF * end.abs()
    {
        return (*first, noise);
    }
    // The first value precedes any step. Steps that are too large raise the loss immediately; the start of such a run
    // is its value before them.
    if let [untouched, thrown @ ..] = head
        && thrown.len() > 2
        && median(thrown) > (untouched + MAYBE * noise).max(THROWN_UP * untouched)
    {
        return (*untouched, noise);
    }
    let wanted = usize::try_from(count / 300).unwrap_or(usize::MAX).clamp(3, 9).min(head.len());
    let first = &head[..wanted];
    let spread = scatter(head).min(MAYBE * noise).max(noise.min(scatter(first)));
    (median(first), MEDIAN * spread / (wanted as f64).sqrt())
}
