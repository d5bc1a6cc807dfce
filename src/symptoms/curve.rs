//! The shape of one series, as the detectors read it: where it started, where it stands, how much of the change is
//! noise. Every number is robust and free of the series' own scale.

use crate::series::stats::{mann_kendall, median, scatter, theil_sen};
use crate::series::{Point, Sketch};

/// Fewer finite points than this have no shape that could be judged (five epochs of a Keras run are five points).
pub const MIN_POINTS: u64 = 8;

/// A change counts as real when it is so many standard errors large. Three would do for one test; a curve is tested in
/// many ways and at many times.
pub const SIGNIFICANT: f64 = 4.0;

/// The standard normal deviate beyond which Mann-Kendall's test calls a trend (two-sided p of 0.003).
pub const TREND: f64 = 3.0;

/// A drop of this share of the start, at this many standard errors, is too little to be called one and too much to be
/// called none.
const MAYBE_SHARE: f64 = 0.1;
const MAYBE: f64 = 2.0;

/// A loss whose level of the second half fell by more than this share of itself goes on falling, however much it had lost
/// before: many fall by equal shares in equal times.
const STILL_FALLS: f64 = 0.2;

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

/// A loss that the first steps throw up stands this many times higher from the second value on, and by so many times its
/// noise.
const THROWN_UP: f64 = 1.2;
const THROWN_BEYOND: f64 = 2.0;

/// A value this share below the end is no part of a fall to it.
const BELOW_END: f64 = 0.5;

/// Where the values within the levels scatter by this share of their mean throughout, they are skewed (the squared error
/// of a single example: 1.4).
const SKEWED: f64 = 0.8;

/// The shape of a series of finite values.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Tag of the series, with its sub-run folder.
    pub tag: String,
    /// The exact first values, finite ones.
    pub head: Vec<f64>,
    /// Stretches of equal length in steps, in order.
    pub levels: Vec<Level>,
    /// Number of points, finite or not.
    pub points: u64,
    /// Where it started: median of the first values.
    pub start: f64,
    /// Standard error of `start`.
    pub start_error: f64,
    /// Where it stands: median of the newest levels.
    pub end: f64,
    /// Standard error of `end`.
    pub end_error: f64,
    /// Standard deviation of one value about the course of the curve.
    pub noise: f64,
    /// First and newest point.
    pub first: Point,
    /// The newest point.
    pub last: Point,
    /// Smallest finite value.
    pub lowest: Point,
    /// Largest finite value.
    pub highest: Point,
}

impl Curve {
    /// The shape of a series; `None` where it has too few finite points for one.
    pub fn of(tag: &str, sketch: &Sketch) -> Option<Curve> {
        if sketch.count() - sketch.non_finite() < MIN_POINTS {
            return None;
        }
        let levels: Vec<Level> = sketch.buckets().map(|(step, bucket)| level(step, &bucket)).collect();
        let head: Vec<f64> = sketch.head().iter().copied().filter(|v| v.is_finite()).collect();
        let noise = sketch.noise().unwrap_or(0.0);
        let tail: Vec<f64> = levels[levels.len() - newest(levels.len())..].iter().map(|l| l.mean).collect();
        let (end, highest) = (median(&tail), sketch.highest()?);
        let (start, start_error) = match level_of_skewed(&levels) {
            Some((mean, error)) if mean > median(&head) => (mean, error),
            _ => start_of(&head, sketch.count(), noise, (highest.value, end)),
        };
        let means: Vec<f64> = levels.iter().map(|l| l.mean).collect();
        let level_noise = scatter(&means[means.len() / 2..]);
        Some(Curve {
            tag: tag.to_owned(),
            points: sketch.count(),
            start,
            start_error,
            end,
            end_error: 1.2533 * level_noise / (tail.len() as f64).sqrt(),
            noise,
            first: sketch.first()?,
            last: sketch.last()?,
            lowest: sketch.lowest()?,
            highest,
            head,
            levels,
        })
    }

    /// The same shape in another unit.
    #[must_use]
    pub(super) fn scaled(mut self, factor: f64) -> Curve {
        for level in &mut self.levels {
            level.mean *= factor;
            level.max *= factor;
            level.deviation *= factor;
        }
        for number in [&mut self.start, &mut self.start_error, &mut self.end, &mut self.end_error, &mut self.noise] {
            *number *= factor;
        }
        self.head.iter_mut().for_each(|value| *value *= factor);
        for point in [&mut self.first, &mut self.last, &mut self.lowest, &mut self.highest] {
            point.value *= factor;
        }
        self
    }

    /// What the values lost from start to end, in their own unit; negative where they grew.
    pub fn drop(&self) -> f64 {
        self.start - self.end
    }

    /// Standard error of [`Curve::drop`].
    pub fn drop_error(&self) -> f64 {
        self.start_error.hypot(self.end_error)
    }

    /// The drop as a share of the start. Where values are negative a share of the start means nothing, and the span of
    /// the levels takes its place.
    pub fn relative_drop(&self) -> f64 {
        let scale = if self.lowest.value >= 0.0 { self.start.abs() } else { self.span().max(self.start.abs()) };
        if scale > 0.0 { self.drop() / scale } else { 0.0 }
    }

    /// Difference between the highest and the lowest level.
    pub fn span(&self) -> f64 {
        let high = self.levels.iter().map(|l| l.mean).fold(f64::NEG_INFINITY, f64::max);
        high - self.best()
    }

    /// The lowest level that was held for about a twentieth of the series (median of neighbouring levels).
    pub fn best(&self) -> f64 {
        let width = newest(self.levels.len()).min(self.levels.len());
        let medians = self.levels.windows(width).map(|w| median(&w.iter().map(|l| l.mean).collect::<Vec<_>>()));
        medians.fold(f64::INFINITY, f64::min)
    }

    /// Where the lowest level was, as a share of the series, and that level: medians of three neighbours.
    pub(super) fn best_time(&self) -> (f64, f64) {
        let means: Vec<f64> = self.levels.iter().map(|level| level.mean).collect();
        let smooth = means.windows(3.min(means.len())).map(median).enumerate();
        let (at, best) = smooth.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, f64::NAN));
        ((at as f64 + 1.5) / means.len() as f64, best)
    }

    /// Whether the drop is more than noise: from the first values, or, where single values scatter too much to tell,
    /// from the first level.
    pub fn dropped(&self) -> bool {
        let first = &self.levels[0];
        let error = first.deviation.max(self.noise) / f64::from(first.count).sqrt();
        let from_level = first.mean - self.end > SIGNIFICANT * error.hypot(self.end_error);
        self.drop() > SIGNIFICANT * self.drop_error() || (from_level && self.drop() > 0.0 && first.count > 1)
    }

    /// Whether the values may well have fallen, and a substantial share of the start, from the first values or from the first
    /// tenth of all: short or noisy series cannot prove it, and what is not proved is not disproved.
    pub fn may_have_dropped(&self) -> bool {
        let tenth = self.mean_between(0.0, 0.1);
        let error = (self.noise / (0.1 * self.points as f64).max(1.0).sqrt()).hypot(self.end_error);
        let from_tenth = tenth - self.end > (MAYBE * error).max(MAYBE_SHARE * tenth.abs());
        from_tenth || self.relative_drop() > MAYBE_SHARE && self.drop() > MAYBE * self.drop_error()
    }

    /// The highest level of the first third.
    pub(super) fn early_peak(&self) -> f64 {
        let third = (self.levels.len() / 3).max(1);
        self.levels[..third].iter().map(|level| level.mean).fold(f64::NEG_INFINITY, f64::max)
    }

    /// Whether the newest half of the series goes on falling, against its own level.
    pub fn still_falls(&self) -> bool {
        let middle = self.mean_between(0.4, 0.6);
        middle - self.mean_between(0.9, 1.0) > STILL_FALLS * middle.abs() && self.trend_from(0.4) < -TREND
    }

    /// Whether more than `share` of the start is gone, beyond noise.
    pub fn lost(&self, share: f64) -> bool {
        self.dropped() && self.relative_drop() > share
    }

    /// Whether more than `share` of the start is gone by the ranks of the levels: heavy tails hide a fall from standard
    /// errors, not from ranks.
    pub fn falls_by_rank(&self, share: f64) -> bool {
        self.relative_drop() > share && self.trend_from(0.0) < -TREND && self.trend_from(0.4) < 0.0
    }

    /// Share of the series, 0 to 1, after which `share` of the whole drop was done and stayed done.
    pub fn done_after(&self, share: f64) -> f64 {
        let goal = self.start - share * self.drop();
        let late = self.levels.iter().rposition(|l| l.mean > goal).map_or(0, |i| i + 1);
        late as f64 / self.levels.len() as f64
    }

    /// The same, but for the noise of the levels: of a small drop among large noise it may take too much for done.
    pub(super) fn done_but_for_noise(&self, share: f64) -> f64 {
        let means: Vec<f64> = self.levels.iter().map(|l| l.mean).collect();
        let goal = self.start - share * self.drop() + 2.0 * scatter(&means[means.len() / 2..]);
        let late = means.windows(3).map(median).enumerate().rfind(|(_, level)| *level > goal);
        late.map_or(0, |(i, _)| i + 2) as f64 / means.len() as f64
    }

    /// The levels from a share of the series on, as (step, mean).
    pub fn from(&self, share: f64) -> Vec<(f64, f64)> {
        let begin = (share * self.levels.len() as f64) as usize;
        self.levels[begin.min(self.levels.len())..].iter().map(|l| (l.step, l.mean)).collect()
    }

    /// Mann-Kendall's deviate of the levels from a share of the series on: below [`TREND`] negated it falls.
    pub fn trend_from(&self, share: f64) -> f64 {
        mann_kendall(&self.from(share).iter().map(|p| p.1).collect::<Vec<_>>())
    }

    /// Whether it falls to the end, and its second half by at least `steady` of what its first half did.
    pub(super) fn falls_straight(&self, steady: f64) -> bool {
        let early = self.mean_between(0.0, 0.15) - self.mean_between(0.4, 0.6);
        let late = self.mean_between(0.4, 0.6) - self.mean_between(0.85, 1.0);
        self.trend_from(0.0) < -TREND && self.trend_from(0.4) < -TREND / 1.5 && late >= steady * early
    }

    /// Theil-Sen slope a step, from a share of the series on.
    pub fn slope_from(&self, share: f64) -> f64 {
        theil_sen(&self.from(share))
    }

    /// Mean of the levels of the second half, with its standard error.
    pub fn second_half(&self) -> (f64, f64) {
        let levels = self.from(0.5);
        let count = levels.len() as f64;
        let mean = levels.iter().map(|(_, mean)| mean).sum::<f64>() / count;
        let squares: f64 = levels.iter().map(|(_, level)| (level - mean).powi(2)).sum();
        (mean, (squares / count.max(2.0)).sqrt() / count.sqrt())
    }

    /// Steps between the first and the newest point.
    pub fn length(&self) -> f64 {
        (self.last.step - self.first.step) as f64
    }

    /// Mean of the levels from one share of the series to another; NaN where there are none.
    pub fn mean_between(&self, from: f64, to: f64) -> f64 {
        let count = self.levels.len() as f64;
        let (begin, end) = ((from * count) as usize, ((to * count).ceil() as usize).min(self.levels.len()));
        median(&self.levels[begin.min(end)..end].iter().map(|l| l.mean).collect::<Vec<_>>())
    }
}

fn level(step: f64, bucket: &crate::series::Bucket) -> Level {
    Level { step, mean: bucket.mean, max: bucket.max, deviation: bucket.variance().sqrt(), count: bucket.count }
}

/// Mean and standard error of the first level of a series whose single values are skewed: the median of a few of them tells
/// where most of them are, and not the level.
fn level_of_skewed(levels: &[Level]) -> Option<(f64, f64)> {
    let first = levels.first().filter(|first| first.count > 1)?;
    let scatter: Vec<f64> = levels.iter().map(|level| level.deviation / level.mean).collect();
    let skewed = levels.iter().all(|level| level.mean > 0.0) && median(&scatter) > SKEWED;
    skewed.then(|| (first.mean, first.deviation / f64::from(first.count).sqrt()))
}

/// How many of the newest levels make up "the end": a tenth, at least three, at most all.
fn newest(levels: usize) -> usize {
    (levels / 10).max(3).min(levels)
}

/// Median and standard error of the first values: one value in three hundred, three to nine of them. More would blur the
/// start of a run that learns within its first steps. The scatter of a few values is a poor estimate of their noise; the
/// noise of the whole series, taken from neighbouring values, bounds it.
fn start_of(head: &[f64], count: u64, noise: f64, (highest, end): (f64, f64)) -> (f64, f64) {
    // Coarse logs (a point an epoch) may do most of their falling between the first two points. Among n values of pure
    // noise the first is the highest once in n times, and then within its noise of the others.
    // Nor does a fall go far below where it ends.
    if let [first, second, ..] = head
        && *first >= highest
        && second - end > -BELOW_END * end.abs()
    {
        return (*first, noise);
    }
    // The first value is what no step has touched. Steps that are too large throw the loss up at once, and the start of
    // such a run is where it was before them.
    if let [untouched, thrown @ ..] = head
        && thrown.len() > 2
        && median(thrown) > (untouched + THROWN_BEYOND * noise).max(THROWN_UP * untouched)
    {
        return (*untouched, noise);
    }
    let wanted = usize::try_from(count / 300).unwrap_or(usize::MAX).clamp(3, 9).min(head.len());
    let first = &head[..wanted];
    let spread = scatter(head).min(2.0 * noise).max(noise.min(scatter(first)));
    (median(first), 1.2533 * spread / (wanted as f64).sqrt())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sketch(values: impl IntoIterator<Item = f64>) -> Sketch {
        let mut sketch = Sketch::default();
        for (step, value) in values.into_iter().enumerate() {
            sketch.push(Point { step: step as i64, wall_time: step as f64, value });
        }
        sketch
    }

    /// Noise that is the same in every run of the tests.
    pub(crate) fn noise(i: usize) -> f64 {
        let x = (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D;
        ((x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    }

    #[test]
    fn a_falling_curve_has_dropped_and_is_done_early() {
        let curve = Curve::of("loss", &sketch((0..1000).map(|i| 2.0 * (-f64::from(i) / 50.0).exp() + 0.1)))
            .expect("enough points");
        assert!(curve.dropped() && curve.relative_drop() > 0.9);
        assert!(curve.done_after(0.9) < 0.2, "{}", curve.done_after(0.9));
    }

    #[test]
    fn noise_about_a_level_is_no_drop() {
        let curve = Curve::of("loss", &sketch((0..1000).map(|i| 2.3 + 0.2 * noise(i)))).expect("enough points");
        assert!(!curve.dropped(), "{} {}", curve.drop(), curve.drop_error());
        assert!(curve.trend_from(0.3).abs() < TREND);
    }

    #[test]
    fn a_log_by_epochs_starts_where_its_first_epoch_was() {
        let losses = [0.2, 0.009, 0.0037, 0.0035, 0.0036, 0.0036, 0.0037, 0.0038, 0.0037, 0.0036, 0.0035, 0.0034];
        let curve = Curve::of("Loss", &sketch(losses)).expect("enough points");
        assert!(curve.dropped() && curve.relative_drop() > 0.95);
    }

    #[test]
    fn a_loss_that_its_first_steps_throw_up_started_before_them() {
        let curve = Curve::of("loss", &sketch((0..800).map(|i| if i == 0 { 1.8 } else { 2.2 + 40.0 / f64::from(i) })))
            .expect("enough points");
        assert!((curve.start - 1.8).abs() < 1e-9 && !curve.dropped(), "{}", curve.start);
    }

    #[test]
    fn a_first_value_that_is_low_by_chance_is_no_start() {
        let single = |i: usize| if i == 0 { 1.6 } else { 2.0 * (-(i as f64) / 4000.0).exp() + noise(i) };
        let curve = Curve::of("loss", &sketch((0..1200).map(single))).expect("enough points");
        assert!((curve.start - 1.6).abs() > 1e-9, "{}", curve.start);
    }

    #[test]
    fn skewed_values_start_at_their_mean() {
        let single = |i: usize| {
            let error: f64 = (0..6).map(|j| noise(i + 5000 * j)).sum();
            2.0 * error * error * (0.7 + 0.3 * (-(i as f64) / 100.0).exp())
        };
        let curve = Curve::of("loss", &sketch((0..1200).map(single))).expect("enough points");
        assert!(curve.start > 0.5, "{}", curve.start);
    }

    #[test]
    fn noise_about_a_floor_does_not_undo_what_was_done() {
        let curve =
            Curve::of("loss", &sketch((0..900).map(|i| 19.5 + 7.0 * (-(i as f64) / 20.0).exp() + 8.0 * noise(i))))
                .expect("enough points");
        assert!(curve.done_but_for_noise(0.9) < 0.3 && curve.done_after(0.9) > 0.3);
        let falls = Curve::of("loss", &sketch((0..900).map(|i| 20.0 - 0.02 * i as f64))).expect("enough points");
        assert!(falls.done_but_for_noise(0.9) > 0.8, "{}", falls.done_but_for_noise(0.9));
    }

    #[test]
    fn a_high_first_value_among_wild_ones_is_no_start() {
        let wild = |i: usize| {
            if i == 0 {
                43.0
            } else if i == 1 {
                0.7
            } else {
                8.0 + 14.0 * noise(i)
            }
        };
        let curve = Curve::of("loss", &sketch((0..160).map(wild))).expect("enough points");
        assert!(curve.start < 43.0, "{}", curve.start);
    }

    #[test]
    fn five_epochs_have_no_shape() {
        assert_eq!(Curve::of("loss", &sketch([3.0, 2.0, 1.5, 1.2, 1.1])), None);
    }
}
