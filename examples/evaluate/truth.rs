//! Conditions on what a run showed: `end > 0.9 trivial`, `nan_at < 5`, `moved = 0`.
//!
//! Owns: the notation and the measures. Must not know: cases.

use anyhow::{Context, bail};

use crate::record::Summary;

/// A condition: a measure, a comparison, and a number or so many times another measure.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    measure: Measure,
    comparison: Comparison,
    factor: f32,
    of: Option<Measure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Below,
    Above,
    Equal,
}

type Measure = fn(&Summary) -> f32;

/// What a condition can speak of.
const MEASURES: &[(&str, Measure)] = &[
    ("first", |run| run.losses.first().copied().unwrap_or(f32::NAN)),
    ("start", |run| level(&run.losses, 0)),
    ("middle", |run| level(&run.losses, 10)),
    ("end", |run| level(&run.losses, 19)),
    ("best", |run| (0..20).map(|part| level(&run.losses, part)).fold(f32::INFINITY, f32::min)),
    ("largest", |run| run.losses.iter().copied().fold(f32::NEG_INFINITY, f32::max)),
    ("nan_at", |run| run.losses.iter().position(|loss| !loss.is_finite()).map_or(f32::INFINITY, |step| step as f32)),
    ("steps", |run| run.losses.len() as f32),
    ("accuracy", |run| level(&run.accuracies, 19)),
    ("validation_end", |run| run.validation.last().copied().unwrap_or(f32::NAN)),
    ("validation_best", |run| run.validation.iter().copied().fold(f32::INFINITY, f32::min)),
    ("moved", |run| run.moved),
    ("trivial", |run| run.trivial),
    ("improved", |run| run.improved),
];

/// Mean of one twentieth of a series.
fn level(values: &[f32], part: usize) -> f32 {
    let (from, to) = (values.len() * part / 20, (values.len() * (part + 1) / 20).max(1).min(values.len()));
    values[from.min(to)..to].iter().sum::<f32>() / (to - from.min(to)) as f32
}

fn measure(name: &str) -> anyhow::Result<Measure> {
    let known = || MEASURES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let found = MEASURES.iter().find(|(known, _)| *known == name).map(|(_, measure)| *measure);
    found.with_context(|| format!("unknown measure {name:?}, expected one of {}", known()))
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// When it is not `MEASURE < NUMBER [MEASURE]`, with `<`, `>` or `=`.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Condition> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [left, comparison, factor, of @ ..] = words.as_slice() else {
            bail!("{text:?}: expected MEASURE < NUMBER [MEASURE]");
        };
        let comparison = match *comparison {
            "<" => Comparison::Below,
            ">" => Comparison::Above,
            "=" => Comparison::Equal,
            other => bail!("{text:?}: expected <, > or =, found {other:?}"),
        };
        let of = match of {
            [] => None,
            [name] => Some(measure(name).with_context(|| format!("{text:?}"))?),
            _ => bail!("{text:?}: expected one measure at most after the number"),
        };
        let factor = factor.parse().with_context(|| format!("{text:?}: {factor:?} is not a number"))?;
        Ok(Condition { measure: measure(left).with_context(|| format!("{text:?}"))?, comparison, factor, of })
    }

    /// Whether it holds of a run; NaN is neither below nor above anything.
    pub(crate) fn holds(&self, run: &Summary) -> bool {
        let (left, right) = ((self.measure)(run), self.factor * self.of.map_or(1.0, |measure| measure(run)));
        match self.comparison {
            Comparison::Below => left < right,
            Comparison::Above => left > right,
            Comparison::Equal => left == right,
        }
    }
}

/// The measures of a run that a person wants to see beside a condition.
pub(crate) fn shown(run: &Summary) -> String {
    let names =
        ["start", "middle", "end", "trivial", "accuracy", "validation_best", "validation_end", "nan_at", "improved"];
    let values = MEASURES.iter().filter(|(name, _)| names.contains(name)).map(|(name, measure)| (name, measure(run)));
    values.filter(|(_, v)| v.is_finite()).map(|(name, v)| format!("{name} {v:.3e}")).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::{Condition, Summary};

    #[test]
    fn conditions_compare_measures() {
        let losses: Vec<f32> = (0..100).map(|step| 1.0 - step as f32 / 100.0).collect();
        let run = Summary { losses, trivial: 0.5, ..Summary::default() };
        for (text, holds) in [
            ("end < 0.1 trivial", true),
            ("start > 1.5 trivial", true),
            ("nan_at > 1000", true),
            ("steps = 100", true),
            ("end > 0.1", false),
            ("validation_end < 1", false),
        ] {
            assert_eq!(Condition::parse(text).unwrap().holds(&run), holds, "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in ["", "end", "end < ", "end ~ 3", "end < big", "finish < 3", "end < 3 trivial start"] {
            assert!(Condition::parse(text).is_err(), "{text}");
        }
    }
}
