//! What is wrong with one job: one file a detector, one registry.
//!
//! Owns: the symptoms, their definitions, the numbers that decide. Must not know: I/O, the clock, policies, what other
//! detectors found.
//!
//! To add a symptom: write `symptoms/<id>.rs` beside the others, then add its `mod` line and its line in [`ALL`].

mod curve;
mod guess;
#[cfg(test)]
mod healthy;
mod origin;
mod view;

mod clipped;
mod dead_units;
mod diverging;
mod exploding_gradients;
mod loss_floor;
mod loss_spikes;
mod non_finite;
mod not_learning;
mod oscillating;
mod overfitting;
mod plateaued;
mod sawtooth;
mod silent;
mod slow_learning;
mod stalled_after_lr_drop;
mod vanishing_gradients;
mod weights_frozen;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use curve::{Curve, Level, MIN_POINTS, SIGNIFICANT, TREND};
pub use not_learning::REWARDS;
pub use view::{JobView, Layer, Life, Observed};

/// Every detector, in the order of its ids.
pub const ALL: &[&dyn Detector] = &[
    &clipped::Clipped,
    &dead_units::DeadUnits,
    &diverging::Diverging,
    &exploding_gradients::ExplodingGradients,
    &loss_floor::LossFloor,
    &loss_spikes::LossSpikes,
    &non_finite::NonFinite,
    &not_learning::NotLearning,
    &oscillating::Oscillating,
    &overfitting::Overfitting,
    &plateaued::Plateaued,
    &sawtooth::Sawtooth,
    &silent::Silent,
    &slow_learning::SlowLearning,
    &stalled_after_lr_drop::StalledAfterLrDrop,
    &vanishing_gradients::VanishingGradients,
    &weights_frozen::WeightsFrozen,
];

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Shown, and does not open a case by itself.
    Warning,
    /// Opens a case.
    Problem,
}

/// One occurrence of a symptom, with the evidence that it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Id of the symptom.
    pub symptom: String,
    /// How bad it is.
    pub severity: Severity,
    /// The tag that it was seen in, with its sub-run folder.
    pub tag: String,
    /// First and last step of what was looked at.
    pub first_step: i64,
    /// Last step of what was looked at.
    pub last_step: i64,
    /// What was seen, in words with numbers.
    pub summary: String,
    /// The numbers that decided.
    pub numbers: Map<String, Value>,
}

impl Finding {
    /// A finding in a curve.
    fn in_curve(symptom: &dyn Detector, severity: Severity, curve: &Curve, summary: String) -> Finding {
        let (first_step, last_step) = (curve.first.step, curve.last.step);
        Finding::at(symptom, severity, &curve.tag, (first_step, last_step), summary)
    }

    fn at(symptom: &dyn Detector, severity: Severity, tag: &str, steps: (i64, i64), summary: String) -> Finding {
        Finding {
            symptom: symptom.doc().id.to_owned(),
            severity,
            tag: tag.to_owned(),
            first_step: steps.0,
            last_step: steps.1,
            summary,
            numbers: Map::new(),
        }
    }

    /// Adds a number that decided; NaN and infinity become text, for JSON has neither.
    #[must_use]
    fn with(mut self, name: &str, number: f64) -> Finding {
        let value = serde_json::Number::from_f64(number).map_or_else(|| Value::from(number.to_string()), Value::Number);
        self.numbers.insert(name.to_owned(), value);
        self
    }
}

/// What people read about a symptom.
#[derive(Debug, Clone, Copy)]
pub struct SymptomDoc {
    /// The id in the contract; equal to the file's name.
    pub id: &'static str,
    /// What an expert would say, in one line.
    pub summary: &'static str,
    /// The whole text: what it shows, how it is decided, when it is a false alarm, where the numbers come from.
    pub text: &'static str,
}

/// Looks for one symptom.
pub trait Detector: Sync {
    /// Its documentation.
    fn doc(&self) -> &'static SymptomDoc;
    /// Looks at one job.
    fn examine(&self, job: &JobView) -> Option<Finding>;
}

/// Declares a detector's type with its documentation: the doc comment is what `docs/SYMPTOMS.md` shows.
macro_rules! declare_symptom {
    ($(#[doc = $text:literal])* $name:ident, $id:literal, $summary:literal) => {
        $(#[doc = $text])*
        pub(super) struct $name;

        impl $name {
            const DOC: $crate::symptoms::SymptomDoc =
                $crate::symptoms::SymptomDoc { id: $id, summary: $summary, text: concat!($($text, "\n"),*) };
        }
    };
}
use declare_symptom;

/// A number as people read it: very large and very small ones by their order.
fn shown(value: f64) -> String {
    match value.abs() {
        size if size > 0.0 && !(1e-3..1e6).contains(&size) => format!("{value:.3e}"),
        _ => format!("{value:.4}"),
    }
}

/// The ids of all symptoms, which is what a policy may name.
pub fn ids() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|detector| detector.doc().id)
}

/// Everything that is wrong with a job, worst first, then by id.
pub fn examine(job: &JobView) -> Vec<Finding> {
    let mut findings: Vec<Finding> = ALL.iter().filter_map(|detector| detector.examine(job)).collect();
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.symptom.cmp(&b.symptom)));
    findings
}

/// The step at which a symptom could first have been seen: the job is looked at again as it was after each twentieth
/// of its length.
pub fn first_detected(job: &JobView, finding: &Finding) -> i64 {
    let Some(detector) = ALL.iter().find(|d| d.doc().id == finding.symptom) else { return finding.last_step };
    let (first, last) = (finding.first_step, finding.last_step);
    (1..20)
        .map(|part| first + ((last - first) as f64 * f64::from(part) / 20.0) as i64)
        .find(|step| detector.examine(&job.until(*step)).is_some_and(|seen| seen.severity >= finding.severity))
        .unwrap_or(last)
}

/// The page `docs/SYMPTOMS.md`.
pub fn documentation() -> String {
    let mut page = String::from(
        "# Symptoms\n\nWhat one job can show. This page is written from the detectors themselves (`src/symptoms/`); a test keeps\nit equal to them.\n",
    );
    for detector in ALL {
        let doc = detector.doc();
        let text: Vec<&str> = doc.text.lines().map(|l| l.strip_prefix(' ').unwrap_or(l)).collect();
        page.push_str(&format!("\n## {}\n\n*{}*\n\n{}\n", doc.id, doc.summary, text.join("\n").trim()));
    }
    page
}

/// Jobs made up for tests, here and in modules that read findings.
#[cfg(test)]
pub(crate) mod test_jobs {
    pub(crate) use super::curve::tests::noise;
    pub(crate) use super::view::tests::{observed, with_loss};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_can_be_read() {
        assert_eq!([2.302, 0.0, 5.3e27, -2e-5].map(shown), ["2.3020", "0.0000", "5.300e27", "-2.000e-5"]);
    }

    #[test]
    fn the_registry_is_sorted_and_names_no_symptom_twice() {
        let ids: Vec<_> = ALL.iter().map(|d| d.doc().id).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    }
}
