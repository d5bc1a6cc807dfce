//! A series reduced to few points, for storage and drawing.
//!
//! Owns: which points represent a series. Must not know: its meaning, and how it is drawn. Each point is one logged
//! value, or the mean of the values of a bucket with their extremes.

use serde::{Deserialize, Serialize};

use super::point::Point;
use super::sketch::Sketch;

/// A series for drawing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outline {
    /// In the order of their steps: at most [`MAX_BUCKETS`](super::MAX_BUCKETS) and one.
    pub levels: Vec<Level>,
    /// Steps at which a value was not finite: the first one, and those among the newest points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<f64>,
}

/// One or more finite values that follow each other. It is kept as the array of its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 4]", into = "[f64; 4]")]
pub struct Level {
    /// The step; the middle one where there are several values.
    pub step: f64,
    /// The value; the mean where there are several.
    pub mean: f64,
    /// The smallest value.
    pub low: f64,
    /// The largest value.
    pub high: f64,
}

impl From<[f64; 4]> for Level {
    fn from([step, mean, low, high]: [f64; 4]) -> Level {
        Level { step, mean, low, high }
    }
}

impl From<Level> for [f64; 4] {
    fn from(level: Level) -> [f64; 4] {
        [level.step, level.mean, level.low, level.high]
    }
}

impl Level {
    fn is_finite(&self) -> bool {
        <[f64; 4]>::from(*self).iter().all(|number| number.is_finite())
    }
}

impl Outline {
    /// What a sketch knows: its points exactly where they are few, else its first one and its buckets.
    pub fn of(sketch: &Sketch) -> Outline {
        let newest = sketch.newest();
        let exactly = |point: &Point| {
            let value = brief(point.value);
            let level = Level { step: point.step as f64, mean: value, low: value, high: value };
            level.is_finite().then_some(level)
        };
        let few = sketch.count() == newest.len() as u64;
        let mut levels: Vec<Level> =
            if few { newest.iter().filter_map(exactly).collect() } else { Outline::summed_up(sketch) };
        levels.sort_by(|a, b| a.step.total_cmp(&b.step));
        // A wide bucket hides where the series started.
        let first = sketch.first().filter(|first| levels.first().is_none_or(|level| (first.step as f64) < level.step));
        if let Some(first) = first.as_ref().and_then(exactly) {
            levels.insert(0, first);
        }
        let strange = newest.iter().filter(|point| !point.value.is_finite()).map(|point| point.step as f64);
        let mut broken: Vec<f64> =
            sketch.first_non_finite().map(|point| point.step as f64).into_iter().chain(strange).collect();
        broken.sort_by(f64::total_cmp);
        broken.dedup();
        Outline { levels, broken }
    }

    fn summed_up(sketch: &Sketch) -> Vec<Level> {
        // The middle of the last bucket may lie where nothing was logged yet.
        let last = sketch.last().map_or(f64::INFINITY, |last| last.step as f64);
        let level = |(step, bucket): (f64, super::Bucket)| {
            let (mean, low, high) = (brief(bucket.mean), brief(bucket.min), brief(bucket.max));
            let level = Level { step: step.min(last), mean, low, high };
            level.is_finite().then_some(level)
        };
        sketch.buckets().filter_map(level).collect()
    }

    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.broken.is_empty()
    }
}

/// Six digits: more are not seen in a picture, and each is kept with every case.
fn brief(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::super::MAX_BUCKETS;
    use super::*;

    fn outline(values: impl IntoIterator<Item = (i64, f64)>) -> Outline {
        let mut sketch = Sketch::default();
        values.into_iter().for_each(|(step, value)| sketch.push(Point { step, wall_time: 0.0, value }));
        Outline::of(&sketch)
    }

    #[test]
    fn a_short_series_is_drawn_as_it_was_logged() {
        let drawn = outline([(0, 3.0), (100, 1.0), (250, 2.0)]);
        let points: Vec<_> = drawn.levels.iter().map(|level| (level.step, level.mean, level.low, level.high)).collect();
        assert_eq!(points, [(0.0, 3.0, 3.0, 3.0), (100.0, 1.0, 1.0, 1.0), (250.0, 2.0, 2.0, 2.0)]);
        assert_eq!(outline([]), Outline::default());
    }

    #[test]
    fn a_long_series_stays_bounded_and_in_order_within_its_steps() {
        let drawn = outline((0..100_000).map(|step| (step, 1.0 / (step + 1) as f64)));
        assert!(drawn.levels.len() <= MAX_BUCKETS + 1, "{}", drawn.levels.len());
        assert!(drawn.levels.windows(2).all(|pair| pair[0].step < pair[1].step));
        assert_eq!(drawn.levels.first().map(|level| (level.step, level.mean)), Some((0.0, 1.0)));
        assert!(drawn.levels.last().is_some_and(|level| level.step <= 99_999.0));
        assert!(drawn.levels.iter().all(|level| level.low <= level.mean * 1.001 && level.mean <= level.high * 1.001));
    }

    #[test]
    fn what_is_not_finite_is_no_level_but_is_seen() {
        let drawn = outline([(0, 1.0), (1, f64::INFINITY), (2, 2.0), (3, f64::NAN), (4, f64::NAN)]);
        assert_eq!(drawn.levels.iter().map(|level| level.step).collect::<Vec<_>>(), [0.0, 2.0]);
        assert_eq!(drawn.broken, [1.0, 3.0, 4.0]);
        assert!(outline((0..100).map(|step| (step, f64::NAN))).levels.is_empty());
    }

    #[test]
    fn it_is_read_back_as_it_was_kept() {
        let drawn = outline((0..500).map(|step| (step, (step as f64).sin() / 3.0)));
        let kept = serde_json::to_string(&drawn).unwrap();
        assert_eq!(serde_json::from_str::<Outline>(&kept).unwrap(), drawn);
    }
}
