//! The probability of each cause, and the expected information of a test per cost.
//!
//! Owns: the arithmetic of beliefs. Must not know: the order of states.
//!
//! Causes are mutually exclusive: either one of them is present, or none of those listed. A test whose change fixes the
//! job is found with probability [`SENSITIVITY`], and one whose change does not with probability [`CROSS`], because many
//! changes help a little against many faults. The change of a test fixes the job if its cause is present, and often if
//! that of a similar test is (`also_cures`): a higher rate makes up for one that decays too fast. The larger the fraction
//! of the loss that a change removes, the stronger the evidence ([`LIKELIHOODS`]). Of a test without a cause, each outcome
//! is as likely under a cause as its `rates` and `believe` say; an outcome after which the test of a cause can no longer
//! be made speaks against it.

use std::collections::{BTreeMap, BTreeSet};

use super::file::{Action, FOUND, LIMIT, PROMISING, Phase, Policy, SKIPPED, Test, TestKind, UNAVAILABLE};
use super::guard::Evaluator;
use super::settings;
use super::{CaseFacts, Environment};
use crate::facts::{Facts, Quantity};

/// How often an experiment with the right change is judged to fix the job (docs/EVALUATION.md, how experiments are
/// read).
const SENSITIVITY: f64 = 0.75;
/// How often an experiment with another change is (same source).
const CROSS: f64 = 0.1;
/// Likelihood ratios for removing at least this fraction of the baseline's loss if the change fixes the job: fractions
/// and ratios (same source).
const LIKELIHOODS: [(f64, f64); 3] = [(0.8, 16.0), (0.5, 8.0), (0.0, 2.0)];
/// A change that removes this fraction of the loss needs no comparison with others.
const BEYOND_DOUBT: f64 = 0.8;
/// Nor does a cause that is more probable than all others together.
pub(super) const PROBABLE: f64 = 0.5;
/// A cause that is less probable is compared with others, however clear its test: something else is more likely.
pub(super) const PLAUSIBLE: f64 = 0.2;
/// Factor for causes that the baseline's curves show directly (a hang, a validation loss that turned).
const SHOWN: f64 = 100.0;
/// Factor for causes suggested by the settings.
const SUSPECTED: f64 = 6.0;
/// Probability of causes that no test names: one in four of failing random programs is cured by no single change and no
/// pair (docs/EVALUATION.md, what cures), but people fail in fewer ways.
const NONE: f64 = 0.2;
/// The fixed cost of an experiment, in runs of the baseline: a place in the queue, loading, a person's attention, and one of
/// the few that a case may make.
const EXPERIMENT: f64 = 1.0;
/// The cost of reading what is known already.
const READING: f64 = 0.005;

/// The probability of each cause, by test; the remainder belongs to causes that no test names. A cause counts before its
/// test can be made: what a test depends on says nothing about the cause.
pub(super) fn beliefs(policy: &Policy, environment: Environment<'_>) -> BTreeMap<String, f64> {
    let open = open(policy, environment);
    let used = policy.used();
    let tests: Vec<&Test> = used.iter().copied().filter(|test| test.verdict().is_some()).collect();
    let none = NONE / (1.0 - NONE) * tests.iter().map(|test| test.prior).sum::<f64>();
    let weighed = tests.iter().map(|test| (test.name.clone(), weight(policy, test, (&used, &open), environment)));
    let mut weights: BTreeMap<String, f64> = weighed.filter(|(_, weight)| *weight > 0.0).collect();
    let sum = weights.values().sum::<f64>() + none;
    weights.values_mut().for_each(|weight| *weight /= sum);
    weights
}

/// The tests that can be made now, or after others.
fn open(policy: &Policy, environment: Environment<'_>) -> BTreeSet<String> {
    let case = environment.case;
    let used = policy.used();
    let listed: BTreeSet<&str> = policy.states().iter().flat_map(|state| state.lists()).collect();
    let unmade = |test: &Test| !case.outcomes.contains_key(&test.name) && !case.excluded.contains_key(&test.name);
    let mut open: BTreeSet<String> = used.iter().filter(|test| unmade(test)).map(|test| test.name.clone()).collect();
    loop {
        let applies = |test: &Test| test.when.as_ref().is_none_or(|when| Evaluator::may_hold(environment, &open, when));
        let possible: Vec<&Test> =
            used.iter().copied().filter(|test| open.contains(&test.name) && applies(test)).collect();
        let is_first = |test: &Test| listed.contains(test.name()) || case.follow.contains(&test.name);
        let mut reached: BTreeSet<String> =
            possible.iter().filter(|test| is_first(test)).map(|test| test.name.clone()).collect();
        loop {
            let leads = |test: &Test| used.iter().any(|t| reached.contains(&t.name) && t.leads_to(&test.name));
            let more: Vec<String> = possible
                .iter()
                .filter(|test| !reached.contains(&test.name) && leads(test))
                .map(|test| test.name.clone())
                .collect();
            if more.is_empty() {
                break;
            }
            reached.extend(more);
        }
        if reached.len() == open.len() {
            return open;
        }
        open = reached;
    }
}

fn weight(
    policy: &Policy,
    test: &Test,
    (used, open): (&[&Test], &BTreeSet<String>),
    environment: Environment<'_>,
) -> f64 {
    let case: &CaseFacts = environment.case;
    let holds = |guard| Evaluator::new(environment).holds(guard);
    let made = case.outcomes.get(test.name()).map(String::as_str);
    let possible = match made {
        Some(_) => test.when.as_ref().is_none_or(holds),
        None => open.contains(test.name()),
    };
    if !possible || case.excluded.contains_key(test.name()) {
        return 0.0;
    }
    let prior = case.priors.get(test.name()).copied().unwrap_or(test.prior);
    let odds = case.odds.get(test.name()).copied().unwrap_or(1.0);
    let suspected = test.suspect.as_ref().is_some_and(|reason| holds(&reason.when));
    // A test that was passed over shows nothing.
    let made = |other: &&Test| case.outcomes.get(other.name()).is_some_and(|outcome| outcome != SKIPPED);
    let others = used.iter().copied().filter(|other| other.name != test.name).filter(made);
    let seen: f64 = others
        .map(|other| {
            let part = settings::made(policy, other, environment).iter().any(|part| part.name == test.name);
            let share = if part { 1.0 } else { other.also_cures.get(test.name()).copied().unwrap_or_default() };
            mixed(share, outcome(policy, other, case))
        })
        .product();
    prior * if suspected { SUSPECTED } else { 1.0 } * odds * outcome(policy, test, case) * seen
}

/// How many times as probable the outcome of a test is if its change fixes the job than if it does not.
fn outcome(policy: &Policy, test: &Test, case: &CaseFacts) -> f64 {
    let at_first = policy.state(&case.phase).is_some_and(|state| matches!(state.phase, Phase::First { .. }));
    match case.outcomes.get(test.name()).map(String::as_str) {
        Some(FOUND | PROMISING) if test.kind() == TestKind::Read && at_first => SHOWN,
        Some(FOUND | PROMISING) => {
            let once = likelihood(case, test);
            let confirmed =
                case.found.as_deref() == Some(test.name()) && case.entered.keys().any(|at| policy.state(at).is_some());
            if confirmed { once * once } else { once }
        }
        // It may still be the cause: a script without the knob, or a change that could not be made.
        Some(UNAVAILABLE | LIMIT) | None => 1.0,
        // A policy passes over what the settings speak against, and what the baseline has already.
        Some(SKIPPED) => CROSS,
        Some(_) => (1.0 - SENSITIVITY) / (1.0 - CROSS),
    }
}

/// What is so for a share, and 1 for the rest.
fn mixed(share: f64, value: f64) -> f64 {
    1.0 + share * (value - 1.0)
}

/// What an experiment that was read as a cure says for its cause. What a test of another kind found is found.
fn likelihood(case: &CaseFacts, test: &Test) -> f64 {
    let gain = case.shown.get(test.name()).map_or(f64::NAN, |facts| facts.gain);
    let row = LIKELIHOODS.iter().find(|(share, _)| gain >= *share);
    row.map_or(SENSITIVITY / CROSS, |(_, ratio)| *ratio)
}

/// Whether so much of the loss is gone that no other change need be compared. Where that is not known, the reading of the
/// test itself decides.
pub(super) fn is_most(facts: &Facts) -> bool {
    facts.gain.is_nan() || facts.gain >= BEYOND_DOUBT
}

/// The probability of the cause of a test.
pub(super) fn believed(policy: &Policy, test: &Test, environment: Environment<'_>) -> f64 {
    beliefs(policy, environment).get(test.name()).copied().unwrap_or_default()
}

/// The bits that a test is expected to give for its cost in runs of the baseline, by what is believed of each cause.
pub(super) fn gain_per_cost(
    policy: &Policy,
    test: &Test,
    beliefs: &BTreeMap<String, f64>,
    environment: Environment<'_>,
) -> f64 {
    let found = beliefs.get(test.name()).copied().unwrap_or_default();
    gain(policy, test, beliefs, environment) / cost(policy, test, found, environment)
}

fn gain(policy: &Policy, test: &Test, beliefs: &BTreeMap<String, f64>, environment: Environment<'_>) -> f64 {
    if test.verdict().is_none() && test.outcomes.is_empty() {
        // The answer of a person cannot be predicted, so questions come last.
        return 0.0;
    }
    let rest = 1.0 - beliefs.values().sum::<f64>();
    let causes: Vec<(&str, f64)> = beliefs.iter().map(|(name, p)| (name.as_str(), *p)).chain([("", rest)]).collect();
    let likelihoods = likelihoods(policy, test, &causes, environment);
    let entropy = |weights: &[f64]| {
        let sum: f64 = weights.iter().sum();
        weights.iter().filter(|w| **w > 0.0).map(|w| -(w / sum) * (w / sum).log2()).sum::<f64>()
    };
    let before: Vec<f64> = causes.iter().map(|(_, p)| *p).collect();
    let after = likelihoods.iter().map(|likelihood| {
        let joint: Vec<f64> = before.iter().zip(likelihood).map(|(p, l)| p * l).collect();
        joint.iter().sum::<f64>() * entropy(&joint)
    });
    (entropy(&before) - after.sum::<f64>()).max(0.0)
}

/// For each outcome of a test, its probability under each cause.
fn likelihoods(policy: &Policy, test: &Test, causes: &[(&str, f64)], environment: Environment<'_>) -> Vec<Vec<f64>> {
    if test.verdict().is_some() {
        let found: Vec<f64> =
            causes.iter().map(|(name, _)| CROSS * mixed(test.cures(name), SENSITIVITY / CROSS)).collect();
        let not = found.iter().map(|p| 1.0 - p).collect();
        return vec![found, not];
    }
    let shares: Vec<Vec<f64>> = test
        .outcomes
        .iter()
        .map(|outcome| {
            let mut case = environment.case.clone();
            case.outcomes.insert(test.name.clone(), outcome.name.clone());
            case.follow.extend(test.then.get(&outcome.name).cloned());
            let left = open(policy, Environment { case: &case, ..environment });
            let possible = |name: &str| name.is_empty() || case.outcomes.contains_key(name) || left.contains(name);
            let share = |name: &str| if possible(name) { test.share(&outcome.name, name) } else { 0.0 };
            causes.iter().map(|(name, _)| share(name)).collect()
        })
        .collect();
    // Given a cause, its outcomes share its probability.
    let sums: Vec<f64> = (0..causes.len()).map(|cause| shares.iter().map(|share| share[cause]).sum()).collect();
    let part =
        |share: &Vec<f64>| share.iter().zip(&sums).map(|(s, sum)| if *sum > 0.0 { s / sum } else { 0.0 }).collect();
    shares.iter().map(part).collect()
}

impl Test {
    fn leads_to(&self, name: &str) -> bool {
        self.then.values().any(|next| next == name)
    }

    /// Whether it makes the change of another test, too, if that is possible.
    pub(super) fn contains(&self, other: &str) -> bool {
        matches!(&self.action, Action::Run(run) if run.together.iter().any(|part| part == other))
    }

    /// How often its change fixes the job if the cause of a test is present.
    fn cures(&self, cause: &str) -> f64 {
        let own = cause == self.name() || self.contains(cause);
        if own { 1.0 } else { self.also_cures.get(cause).copied().unwrap_or_default() }
    }

    /// The frequency of an outcome over all causes.
    fn rate(&self, outcome: &str) -> f64 {
        let without = self.outcomes.iter().filter(|other| !self.rates.contains_key(&other.name)).count();
        let rest = (1.0 - self.rates.values().sum::<f64>()) / without.max(1) as f64;
        self.rates.get(outcome).copied().unwrap_or(rest)
    }

    /// The frequency if a cause is present, up to a factor that is the same for all outcomes.
    fn share(&self, outcome: &str, cause: &str) -> f64 {
        self.rate(outcome) * self.believe.get(outcome).and_then(|factors| factors.get(cause)).copied().unwrap_or(1.0)
    }
}

/// The cost of a test in runs of the baseline. A question costs a person's time, more than any run; evaluating the baseline
/// costs almost nothing. A ladder whose cause is present ends at its first rung, others in the middle.
fn cost(policy: &Policy, test: &Test, found: f64, environment: Environment<'_>) -> f64 {
    let run = match &test.action {
        Action::Run(run) => run,
        Action::Read => return READING,
        Action::Ask(_) => return 2.0 * EXPERIMENT,
    };
    let Ok(changes) = settings::of_experiment(policy, run, environment) else { return EXPERIMENT };
    let updates = environment.baseline.number(Quantity::Updates);
    let whole = if updates.is_nan() { environment.baseline.steps() } else { updates };
    let steps = changes.get("max_steps").and_then(serde_json::Value::as_f64).unwrap_or(whole);
    // Steps on a few examples are cheaper than those of the job.
    let most = if changes.contains_key("train_examples") { 1.0 } else { f64::INFINITY };
    let share = if whole > 0.0 && steps.is_finite() { (steps / whole).min(most) } else { 1.0 };
    (EXPERIMENT + share) * (1.0 + (1.0 - found) * f64::from(test.rungs().max(1) - 1) / 2.0)
}

/// Applies an outcome to the odds of other tests' causes: how much more often it comes if the cause is present.
pub(super) fn believe(case: &mut CaseFacts, test: &Test, outcome: &str) {
    let among_its_own = test.outcomes.iter().any(|own| own.name == outcome);
    let named = test.believe.values().flat_map(BTreeMap::keys).filter(|_| among_its_own);
    let named: BTreeSet<&String> =
        named.chain(test.believe.get(outcome).into_iter().flat_map(BTreeMap::keys)).collect();
    for other in named {
        let usual: f64 = test.outcomes.iter().map(|own| test.share(&own.name, other)).sum();
        let factor = test.believe.get(outcome).and_then(|factors| factors.get(other)).copied().unwrap_or(1.0);
        let factor = if among_its_own { factor / usual } else { factor };
        if factor > 0.0 {
            *case.odds.entry(other.clone()).or_insert(1.0) *= factor;
        } else {
            case.excluded.insert(other.clone(), format!("`{}` came out as {outcome}", test.name()));
        }
    }
}
