//! What is believed of the cures of a job, told to the tests of a policy.
//!
//! Owns: which change stands behind which test. Must not know: the order of tests.

use std::collections::BTreeMap;

use crate::belief::{log_odds, probability};
use crate::policy::{Policy, Test};

use super::Exam;

/// What stands behind a verdict where a test does not name the change itself: it works out a value, or reads the baseline.
const BEHIND: [(&str, &str); 7] = [
    ("learning_rate_too_high", "learning_rate:lower"),
    ("learning_rate_too_low", "learning_rate:higher"),
    ("batch_too_small", "batch_size:higher"),
    ("too_few_steps", "max_steps:higher"),
    ("data_pipeline", "fault:data"),
    ("weights_do_not_change", "fault:updates"),
    ("loss_function", "fault:loss"),
];

/// By test, how likely its change is to cure the job. Programs that are drawn at random fail for other reasons than those
/// that people ask about, so the policy's own prior stays; what the job shows moves its odds by as much as it moves those of
/// the change. A test of a change that nothing is believed of is left out.
pub(super) fn priors(policy: &Policy, exam: &Exam) -> BTreeMap<String, f64> {
    let cures: BTreeMap<&str, f64> =
        exam.cures().into_iter().map(|(change, belief)| (change, belief.evidence())).collect();
    let of = |test: &Test| {
        let behind = BEHIND.iter().find(|(verdict, _)| test.verdict() == Some(*verdict)).map(|(_, change)| *change);
        let named = test.changes().iter().find_map(|change| cures.get(change.as_str()).copied());
        Some(probability(log_odds(test.prior()) + named.or_else(|| cures.get(behind?).copied())?))
    };
    let tests = policy.used().into_iter().filter(|test| test.verdict().is_some() && test.prior() > 0.0);
    tests.filter_map(|test| Some((test.name().to_owned(), of(test)?))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tests::{POLICY, site, stuck};
    use super::super::{Memory, exam};
    use super::*;
    use crate::jobs::group;

    #[test]
    fn what_a_job_shows_moves_the_odds_of_a_test_by_as_much_as_those_of_its_change() {
        let (runs, site) = (stuck(300), site(POLICY));
        let jobs = group(&runs, &BTreeSet::new());
        let exam = exam(&jobs[0], &site, &Memory::only_look(&jobs[0], 1e6), 1e6);
        let policy = &site.policies[0].policy;
        let moved = log_odds(priors(policy, &exam)["lower"]) - log_odds(policy.tests()[0].prior());
        let lower = exam.cures().into_iter().find(|(change, _)| *change == "learning_rate:lower").expect("a model").1;
        assert!((moved - lower.evidence()).abs() < 1e-9 && moved != 0.0, "{moved} {}", lower.evidence());
    }
}
