//! Symptoms of a job: named rules over the evidence, one file per symptom, one registry.
//!
//! Owns: the symptoms and their rules. Must not know: series, I/O, the clock, policies, other symptoms.
//!
//! To add a symptom, write `symptoms/<id>.rs` like the others, then add its id to the list. To add a
//! rule, write it in the file of its symptom. Its numbers are in `numbers`; `docs/SYMPTOMS.md` lists it.

#[cfg(test)]
mod healthy;
mod rule;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::evidence::{Evidence, JobView, Quantity as Q};
use crate::numbers::*;

use Severity::{Info, Problem, Warning};
use Test::{Above, All, Any, AtLeast, Below, Support, Sure};
pub use rule::{Rule, Symptom, Test, shown};

/// A symptom as a table: its id and definition, then its rules, each with its severity, its name, its conditions, its
/// exceptions and its text.
macro_rules! symptom {
    (@) => { &[] };
    (@ $tests:tt) => { &$tests };
    (
        $id:ident: $summary:literal;
        $($severity:ident $name:ident when $when:tt $(unless $unless:tt)? says $says:expr;)*
    ) => {
        /// See `docs/SYMPTOMS.md`.
        pub(super) const SYMPTOM: Symptom = Symptom {
            id: stringify!($id),
            summary: $summary,
            rules: &[$(Rule {
                name: stringify!($name),
                severity: $severity,
                when: &$when,
                unless: symptom!(@ $($unless)?),
                says: $says,
            }),*],
        };
    };
}

macro_rules! symptoms {
    ($($id:ident)*) => {
        $(mod $id;)*

        /// Every symptom, in alphabetical order of ids.
        pub const ALL: &[&Symptom] = &[$(&$id::SYMPTOM),*];
    };
}

symptoms! {
    clipped
    dead_units
    diverging
    exploding_gradients
    loss_floor
    loss_spikes
    non_finite
    not_learning
    oscillating
    overfitting
    plateaued
    sawtooth
    silent
    slow_learning
    stalled_after_lr_drop
    vanishing_gradients
    weights_frozen
}

/// The run is long enough for a constant loss to be meaningful.
const MATURE: Test = AtLeast(Q::Maturity, 1.0);
/// Most of its answers are correct.
const ACCURATE: Test = Any(&[Above(Q::Accuracy, GOOD), Above(Q::ValidationAccuracy, GOOD)]);
/// Its loss is still falling.
const ON_ITS_WAY: Test = All(&[Above(Q::LateFall, SMALL), Below(Q::LateTrend, -TREND)]);
/// It ended long before its planned end, and its loss was falling until then.
const STOPPED: Test = All(&[Below(Q::Done, MATURE_SHARE), Below(Q::Trend, -TREND), Below(Q::LateTrend, 0.0)]);
/// Its validation loss improved and kept the improvement; single training losses may scatter too much to tell.
const VALIDATION_LEARNS: Test =
    All(&[Above(Q::ValidationDrop, LEARNED), Below(Q::ValidationRise, LEARNED), Below(Q::ValidationFall, -TREND)]);
/// Possible reasons for a constant loss other than a fault.
const NOT_STUCK: [Test; 6] =
    [Above(Q::TrainedBefore, HALF), ON_ITS_WAY, STOPPED, VALIDATION_LEARNS, ACCURATE, Above(Q::AccuracyGain, FIFTH)];

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For information.
    Info,
    /// Shown only.
    Warning,
    /// Evidence for a failing job.
    Problem,
}

/// One occurrence of a symptom with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Id of the symptom.
    pub symptom: String,
    /// The rule that found it.
    #[serde(default)]
    pub rule: String,
    /// Its severity.
    pub severity: Severity,
    /// The tag in which it was found, with its sub-run directory.
    pub tag: String,
    /// First step of the evidence.
    pub first_step: i64,
    /// Last step of the evidence.
    pub last_step: i64,
    /// The observation, in words with numbers.
    pub summary: String,
    /// The numbers behind the finding.
    pub numbers: Map<String, Value>,
}

/// The ids of all symptoms, which policies can use.
pub fn ids() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|symptom| symptom.id)
}

/// All symptoms of a job, most severe first, then by id.
pub fn examine(evidence: &Evidence) -> Vec<Finding> {
    let mut findings: Vec<Finding> = ALL.iter().filter_map(|symptom| symptom.find(evidence)).collect();
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.symptom.cmp(&b.symptom)));
    findings
}

/// The earliest step at which a symptom can be found: the job is measured again at each twentieth of its length.
pub fn first_detected(job: &JobView, finding: &Finding) -> i64 {
    let Some(symptom) = ALL.iter().find(|symptom| symptom.id == finding.symptom) else { return finding.last_step };
    let Some((first, last)) = job.judged().map(crate::evidence::Observed::steps) else { return finding.last_step };
    (1..20)
        .map(|part| first + ((last - first) as f64 * f64::from(part) / 20.0) as i64)
        .find(|step| symptom.find(&Evidence::of(&job.at(*step))).is_some_and(|seen| seen.severity >= finding.severity))
        .unwrap_or(finding.last_step)
}

/// Synthetic jobs for tests, here and in modules that use findings.
#[cfg(test)]
pub(crate) mod test_jobs {
    pub(super) use super::Severity;
    use super::{Finding, Symptom};
    use crate::evidence::Evidence;
    pub(crate) use crate::evidence::tests::{noise, observed, sketch, with_loss};
    pub(super) use crate::evidence::{JobView, Layer, Life, Observed};
    pub(super) use crate::signals::Learning;

    impl Symptom {
        /// Measures a job and applies the symptom's rules.
        pub(crate) fn examine(&self, job: &JobView) -> Option<Finding> {
            self.find(&Evidence::of(job))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_sorted_and_names_no_symptom_or_rule_twice() {
        let ids: Vec<_> = ALL.iter().map(|symptom| symptom.id).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
        for symptom in ALL {
            let names: std::collections::BTreeSet<_> = symptom.rules.iter().map(|rule| rule.name).collect();
            assert_eq!(names.len(), symptom.rules.len(), "{}", symptom.id);
        }
    }

    #[test]
    fn words_name_known_quantities() {
        for rule in ALL.iter().flat_map(|symptom| symptom.rules) {
            let words = rule.in_words(&Evidence::of(&test_jobs::with_loss([1.0, 2.0, 3.0])));
            assert!(!words.contains('{') && !words.contains("??"), "{}: {words}", rule.name);
        }
    }
}
