//! Converts the measurements of a job to facts; an experiment is compared with its baseline.

use crate::evidence::{Curve, Evidence, JobView, Quantity as Q};
use crate::numbers::*;
use crate::series::stats::median;
use crate::signals::Learning;
use crate::symptoms::{Finding, Severity};

use super::Facts;

/// Problems that a cure of a failure to learn may well bring to light, and which do not speak against it.
const NEXT_PROBLEMS: &[&str] = &["overfitting", "silent"];

/// A job with its measurements.
#[derive(Debug, Clone, Copy)]
pub struct Looked<'a> {
    /// Its series.
    pub view: &'a JobView,
    /// The measured quantities.
    pub evidence: &'a Evidence,
    /// Its symptoms.
    pub findings: &'a [Finding],
}

impl Looked<'_> {
    fn problems(&self) -> Vec<String> {
        let problems = self.findings.iter().filter(|finding| finding.severity == Severity::Problem);
        problems.map(|finding| finding.symptom.clone()).collect()
    }
}

/// The facts of a job; compared with `baseline` if it is an experiment.
pub fn measure(looked: Looked<'_>, baseline: Option<Looked<'_>>) -> Facts {
    let (job, evidence) = (looked.view, looked.evidence);
    let mut facts = Facts {
        ended: job.life.ended,
        training_loss: !job.loss_is_validation(),
        knobs: job.knobs.clone(),
        symptoms: looked.findings.iter().map(|f| f.symptom.clone()).collect(),
        problems: looked.problems(),
        kind: job.kind(),
        evidence: evidence.known().map(|(quantity, measured)| (quantity.id().to_owned(), measured.value)).collect(),
        ..Facts::default()
    };
    measure_loss(&mut facts, job, evidence);
    facts.crashed = crashed(job, &facts);
    if let Some(baseline) = baseline {
        compare(&mut facts, looked, baseline);
    }
    facts
}

fn measure_loss(facts: &mut Facts, job: &JobView, evidence: &Evidence) {
    let Some(observed) = job.judged() else { return };
    let sketch = &observed.sketch;
    facts.started = sketch.count() > 0;
    // A bad step that the run recovered from is a warning of the rules, not an end of all finite losses.
    facts.finite = !facts.problems.iter().any(|p| p == "non_finite") && sketch.last_finite().is_some();
    if let Some(curve) = &observed.curve {
        facts.improving = curve.trend_from(HALF) < -TREND && curve.dropped();
        facts.learned = facts.finite && learned(job, curve, evidence);
    }
    // Few values: a start is the first of them, or their median, whichever is higher.
    let [start, end, best, accuracy] =
        [Q::LossStart, Q::LossEnd, Q::LossBest, Q::Accuracy].map(|quantity| facts.number(quantity));
    let start = sketch.first().map_or(start, |first| start.max(first.value));
    let accurate = accuracy >= FITS_ACCURACY && (!facts.training_loss || end < HALF * start);
    let fell = fits_from(start, end) || fits_from(start, best);
    facts.fits = facts.finite && (accurate || facts.training_loss && fell);
    facts.generalised = generalised(job, evidence);
}

/// Whether a loss is about 0 compared with its start.
fn fits_from(start: f64, level: f64) -> bool {
    start > 0.0 && (0.0..=FITS_SHARE * start).contains(&level)
}

fn learned(job: &JobView, curve: &Curve, evidence: &Evidence) -> bool {
    if job.learning == Learning::Reinforcement {
        return evidence.above(Q::RewardGain, REWARD_GAIN) && evidence.above(Q::RewardGainErrors, SIGNIFICANT);
    }
    (curve.lost(LEARNED) || fell_early(curve)) && !guesses(evidence)
}

/// Whether the accuracy says that nothing was learned.
fn guesses(evidence: &Evidence) -> bool {
    let low = |q| evidence.below(q, GUESS);
    evidence.below(Q::AccuracyGain, ACCURACY_GAIN) && (low(Q::Accuracy) || low(Q::ValidationAccuracy))
}

/// Whether nearly all levels of the second half are below those of the first tenth, as those of a noisy loss that falls at once.
fn fell_early(curve: &Curve) -> bool {
    let levels: Vec<f64> = curve.from(0.0).iter().map(|(_, mean)| *mean).collect();
    let (first, rest) = (&levels[..levels.len() / 10], &levels[levels.len() / 2..]);
    first.len() >= FEW_POINTS as usize && curve.relative_drop() > LEARNED && share_below(rest, first) > GOOD
}

/// Of all pairs of one level of each, the share in which the first is below the second.
fn share_below(ours: &[f64], theirs: &[f64]) -> f64 {
    let below = ours.iter().map(|our| theirs.iter().filter(|their| our < *their).count()).sum::<usize>();
    below as f64 / (ours.len() * theirs.len()) as f64
}

/// Whether validation was once better than an untrained network, or is right well beyond chance at the end.
fn generalised(job: &JobView, evidence: &Evidence) -> bool {
    let classes = job.classes();
    let right = |accuracy: f64| classes.is_some_and(|k| accuracy > 1.0 / k + FIFTH * (1.0 - 1.0 / k));
    let gain = evidence.measured(Q::ValidationProgress);
    // If it exceeds the training loss at the start, it has other units or inputs, and must decrease by half.
    let above = evidence.get(Q::LossStart).is_some_and(|start| evidence.above(Q::ValidationBest, start));
    let least = if above { HALF } else { LEARNED };
    gain.is_some_and(|gain| gain.value > least.max(SIGNIFICANT * gain.error))
        || evidence.get(Q::ValidationAccuracy).is_some_and(right)
}

/// It ended without saying so, before its time: without any loss, or far short of its steps. Ending on NaN is no crash,
/// for many programs stop there by intent.
fn crashed(job: &JobView, facts: &Facts) -> bool {
    let short = job.life.done.is_some_and(|done| done < NOT_DONE);
    job.life.ended && facts.finite | !facts.started && !job.life.finished && (!facts.started || short && !facts.fits)
}

fn compare(facts: &mut Facts, looked: Looked<'_>, baseline: Looked<'_>) {
    let job = looked.view;
    let start = start_of(baseline.view).filter(|_| !other_loss(job, baseline.view));
    // With many steps, the first values of few examples are already fitted; those of the baseline are not.
    let fits = |start| fits_from(start, facts.number(Q::LossEnd));
    facts.fits |= facts.finite && facts.training_loss && start.is_some_and(fits);
    if examples(job) != examples(baseline.view) {
        // The loss of some examples is not that of all.
        return;
    }
    let before = baseline.problems();
    let by_validation = before.iter().any(|problem| problem == "overfitting");
    let gain = by_validation.then(|| gain_in_validation(job, facts, baseline.view)).flatten();
    let gain = gain.unwrap_or_else(|| gain_over(job, facts, baseline.view));
    (facts.better, facts.worse, facts.gain) = (gain.counts > 1.0, gain.counts < -1.0, gain.share);
    // Few first values do not determine the start of a run; if the baseline never left its start, its start applies to
    // both.
    let below = |start: f64| (start - facts.number(Q::LossEnd)) / start.abs() > LEARNED;
    let below_start = start.is_some() && facts.number(Q::Progress) > LEARNED;
    // A run that learns within its first value shows no decrease of its own, but does not rise either.
    let level = facts.number(Q::Progress) > -LEARNED && !looked.evidence.above(Q::Trend, TREND);
    let at_once = start.is_some_and(below) && (facts.fits || gain.share > HALF) && level;
    let answers = looked.evidence.above(Q::AccuracyGain, ACCURACY_GAIN) && facts.number(Q::Progress) > 0.0;
    facts.learned |= facts.better && facts.finite && (below_start || at_once || answers) && !guesses(looked.evidence);
    // Between half and twice the threshold, another seed could reverse the result.
    let close = |share: f64| HALF < share && share < 1.0 / HALF;
    facts.close = close(gain.counts.abs()) || facts.better && close(facts.number(Q::Progress) / LEARNED) && !at_once;
    let trouble = facts.problems.iter().any(|p| !NEXT_PROBLEMS.contains(&p.as_str()) || before.contains(p));
    facts.cured = facts.learned && facts.better && facts.finite && !trouble;
}

/// Where the loss that a job is judged by started.
fn start_of(job: &JobView) -> Option<f64> {
    let observed = job.judged()?;
    let first = observed.sketch.first().map(|first| first.value);
    observed.curve.as_ref().map(|curve| curve.start).or(first).filter(|start| start.is_finite())
}

/// How many training examples a job uses; none: all.
fn examples(job: &JobView) -> Option<u64> {
    job.knobs.get("train_examples").and_then(serde_json::Value::as_u64)
}

/// By how much an experiment is better than its baseline at equal steps.
#[derive(Debug, Clone, Copy)]
struct Gain {
    /// In units of the threshold: above 1 it is better, below -1 worse.
    counts: f64,
    /// The relative reduction of the baseline's loss, at most 1.
    share: f64,
}

impl Gain {
    fn new(counts: f64, share: f64) -> Gain {
        Gain { counts, share }
    }

    /// A loss near that of a guess moves little where many answers become right; and it must not have become worse.
    fn or_in_answers(self, accuracy: Option<Gain>) -> Gain {
        let better = |gain: &Gain| self.counts > -1.0 && gain.counts > self.counts.max(1.0);
        accuracy.filter(better).map_or(self, |gain| Gain::new(gain.counts, gain.share.max(self.share)))
    }

    /// Nothing gained, whatever it looks like, unless it is a loss.
    fn no_gain(self) -> Gain {
        Gain { counts: self.counts.min(0.0), share: self.share.min(0.0) }
    }
}

fn gain_over(job: &JobView, facts: &Facts, baseline: &JobView) -> Gain {
    if job.learning == Learning::Reinforcement {
        return gain_in_reward(job, baseline);
    }
    let last = |view: &JobView| view.loss().and_then(|observed| observed.sketch.last());
    let finite = |view: &JobView| last(view).is_some_and(|point| point.value.is_finite());
    let sure =
        |better: bool| if better { Gain::new(f64::INFINITY, facts.number(Q::Progress)) } else { Gain::new(0.0, 0.0) };
    match (finite(job), finite(baseline)) {
        (false, true) => return Gain::new(f64::NEG_INFINITY, f64::NEG_INFINITY),
        (false, false) => return Gain::new(0.0, 0.0),
        (true, false) => return sure(facts.learned),
        (true, true) => {}
    }
    if other_loss(job, baseline) {
        return gain_in_other_units(job, facts, baseline);
    }
    let by_validation = job.loss_is_validation() || baseline.loss_is_validation();
    let judged = |view: &JobView| if by_validation { view.validation_loss.clone() } else { view.training_loss.clone() };
    let curve = |view: &JobView| judged(view).and_then(|observed| observed.curve);
    let (Some(experiment), Some(base)) = (curve(job), curve(baseline)) else { return sure(facts.learned) };
    let at_end = gain_of((level_at(&base, &experiment), base.end_error), (experiment.end, experiment.end_error));
    let at_end = at_end.or_in_answers(gain_in_accuracy(job, baseline));
    if at_end.counts.abs() > 1.0 || experiment.last.step < base.last.step {
        return at_end;
    }
    // Where single levels swing, the second halves as a whole may still tell the two apart.
    let by_rank = gain_by_rank(&base, &experiment);
    if by_rank.counts.abs() > at_end.counts.abs() { by_rank } else { at_end }
}

/// A loss that swings over orders of magnitude has no error that another could be significant against: where nearly all
/// levels of the second half of one lie below nearly all of the other's, their medians are compared as they are.
fn gain_by_rank(base: &Curve, experiment: &Curve) -> Gain {
    let half = |curve: &Curve| curve.from(HALF).iter().map(|(_, mean)| *mean).collect::<Vec<f64>>();
    let (ours, theirs) = (half(experiment), half(base));
    let (few, share) = (ours.len().min(theirs.len()) < FEW_POINTS as usize, share_below(&ours, &theirs));
    let apart = share > COLLAPSE.max(NOT_DONE) || share < 1.0 - NOT_DONE;
    if few || !apart { Gain::new(0.0, 0.0) } else { gain_of((median(&theirs), 0.0), (median(&ours), 0.0)) }
}

/// The decrease between two levels with errors, by their ratio if positive; a close one is repeated, so two errors suffice.
fn gain_of((base, base_error): (f64, f64), (experiment, error): (f64, f64)) -> Gain {
    let over = |difference: f64, unit: f64| if unit > 0.0 { difference / unit } else { 0.0 };
    let share = over(base - experiment, base.abs());
    if base > 0.0 && experiment > 0.0 {
        let error = (base_error / base).ln_1p().hypot((error / experiment).ln_1p());
        return Gain::new(over((base / experiment).ln(), (MAYBE * error).max(-(-LEARNED).ln_1p())), share);
    }
    Gain::new(over(base - experiment, (MAYBE * base_error.hypot(error)).max(LEARNED * base.abs())), share)
}

/// Whether two runs have losses with different units. If the baseline's is unknown, an equal start suggests equal
/// units.
fn other_loss(job: &JobView, baseline: &JobView) -> bool {
    let start = |view: &JobView| view.loss().and_then(|o| o.curve.as_ref()).map(|curve| curve.start);
    let alike = |(ours, theirs): (f64, f64)| (ours - theirs).abs() < FIFTH * theirs.abs();
    let same_start = start(job).zip(start(baseline)).is_some_and(alike);
    job.knobs.get("loss") != baseline.knobs.get("loss") && (baseline.knobs.contains_key("loss") || !same_start)
}

/// A baseline that overfits can only improve in validation; for an experiment that learned less, and therefore overfits
/// less, this is not an improvement. `None` if either has no validation loss.
fn gain_in_validation(job: &JobView, facts: &Facts, baseline: &JobView) -> Option<Gain> {
    let curve = |view: &JobView| view.validation_loss.as_ref().and_then(|o| o.curve.clone());
    let (experiment, base) = (curve(job)?, curve(baseline)?);
    let training = job.loss().and_then(|o| o.curve.as_ref());
    let learns = facts.generalised && training.is_some_and(|curve| curve.lost(LEARNED));
    let (gain, holds) = if other_loss(job, baseline) {
        let gain = experiment.relative_drop() - base.relative_drop();
        (Gain::new(gain / LEARNED, gain), experiment.relative_drop() > -LEARNED)
    } else {
        (gain_of((base.end, base.end_error), (experiment.end, experiment.end_error)), true)
    };
    Some(if learns && holds { gain } else { gain.no_gain() })
}

/// A run with another loss has other units: accuracies are compared or, if there are none, the relative decrease of
/// each from its own start.
fn gain_in_other_units(job: &JobView, facts: &Facts, baseline: &JobView) -> Gain {
    if let Some(gain) = gain_in_accuracy(job, baseline) {
        return gain;
    }
    let progress = baseline.loss().and_then(|o| o.curve.as_ref()).map_or(0.0, Curve::relative_drop);
    // A loss that runs away below zero "drops" without bound; that is no progress to beat.
    let gain = facts.number(Q::Progress) - if progress > 1.0 { 0.0 } else { progress };
    let gain = Gain::new(gain / LEARNED, gain);
    if facts.learned { gain } else { gain.no_gain() }
}

/// The increase in correct answers, if both log them.
fn gain_in_accuracy(job: &JobView, baseline: &JobView) -> Option<Gain> {
    let accuracy = |view: &JobView| view.own_accuracy().and_then(|o| o.curve.as_ref()).map(|curve| curve.end);
    let (experiment, base) = (accuracy(job)?, accuracy(baseline)?);
    let wrong = (1.0 - base).max(ACCURACY_GAIN);
    Some(Gain::new((experiment - base) / ACCURACY_GAIN, (experiment - base) / wrong))
}

fn gain_in_reward(job: &JobView, baseline: &JobView) -> Gain {
    let curve = |view: &JobView| view.reward.as_ref().and_then(|o| o.curve.clone());
    let (Some(experiment), Some(base)) = (curve(job), curve(baseline)) else { return Gain::new(0.0, 0.0) };
    let swing = base.highest.value - base.lowest.value;
    let counts = (REWARD_GAIN * swing).max(SIGNIFICANT * experiment.end_error.hypot(base.end_error));
    let gain = experiment.end - level_at(&base, &experiment);
    if counts > 0.0 {
        Gain::new(gain / counts, gain / swing.max(counts))
    } else if gain > 0.0 {
        Gain::new(f64::INFINITY, 1.0)
    } else {
        Gain::new(0.0, 0.0)
    }
}

/// The level of the baseline over the steps of the experiment's end; its own end if it is shorter.
fn level_at(base: &Curve, experiment: &Curve) -> f64 {
    let end = experiment.last.step as f64;
    if end >= base.last.step as f64 {
        return base.end;
    }
    let share = |step: f64| ((step - base.first.step as f64) / base.length().max(1.0)).clamp(0.0, 1.0);
    let level = base.level_between(share(end - LEARNED * experiment.length()), share(end));
    if level.is_finite() { level } else { base.start }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symptoms::examine;
    use crate::symptoms::test_jobs::{noise, observed, with_loss};

    fn facts(job: &JobView, baseline: Option<&JobView>) -> Facts {
        let look = |view: &JobView| (view.clone(), Evidence::of(view), examine(&Evidence::of(view)));
        let (job, baseline) = (look(job), baseline.map(look));
        let looked = |(view, evidence, findings): &'static (JobView, Evidence, Vec<Finding>)| Looked {
            view,
            evidence,
            findings,
        };
        let leak = |look| looked(Box::leak(Box::new(look)));
        measure(leak(job), baseline.map(leak))
    }

    fn stuck() -> JobView {
        with_loss((0..1000).map(|i| 2.3 + 0.1 * noise(i)))
    }

    fn falling() -> JobView {
        with_loss((0..1000).map(|i| 2.3 * (-(i as f64) / 200.0).exp() + 0.05 * (noise(i) + 0.5)))
    }

    #[test]
    fn a_noisy_run_well_below_a_baseline_that_stands_still_has_learned() {
        let noisy = |i: i32, level: f64| level * (1.0 + 0.6 * noise(i as usize));
        let stuck = with_loss((0..140).map(|i| noisy(i, 1.03)));
        let cured = with_loss((0..140).map(|i| noisy(i, if i < 3 { 1.0 } else { 0.55 })));
        let facts = facts(&cured, Some(&stuck));
        assert!(facts.better && facts.learned, "{facts:?}");
    }

    #[test]
    fn a_run_that_falls_is_better_than_one_that_stands_still() {
        let facts = facts(&falling(), Some(&stuck()));
        assert!(facts.learned && facts.better && facts.cured && !facts.worse);
    }

    #[test]
    fn the_same_again_is_neither_better_nor_worse() {
        let again = with_loss((0..1000).map(|i| 2.3 + 0.1 * noise(i + 5000)));
        let facts = facts(&again, Some(&stuck()));
        assert!(!facts.better && !facts.worse && !facts.cured);
    }

    #[test]
    fn a_loss_of_a_tenth_is_below_one_that_scatters_over_thousands() {
        let exploded = with_loss([2.5, 40.0, 3100.0, 260.0, 1900.0, 95.0, 1150.0, 700.0, 2600.0, 1150.0]);
        let facts = facts(&with_loss([2.5, 1.9, 1.1, 0.6, 0.4, 0.25, 0.18, 0.13, 0.11, 0.1]), Some(&exploded));
        assert!(facts.better && facts.gain > 0.99, "{facts:?}");
    }

    #[test]
    fn levels_that_swing_are_compared_by_halves() {
        let wild = with_loss((0..1500).map(|i| 20.0 + 20.0 * noise(i / 40) + 30.0 * noise(i)));
        let calm = with_loss((0..1500).map(|i| 9.0 + 2.0 * noise(i + 7)));
        assert!(facts(&calm, Some(&wild)).better);
    }

    #[test]
    fn levels_that_swing_over_orders_of_magnitude_are_compared_by_rank() {
        let swings = with_loss((0..400).map(|i| 10f64.powf(4.0 + 3.0 * noise(i / 9))));
        let calm = with_loss((0..400).map(|i| 0.02 + (-(i as f64) / 20.0).exp() + 0.005 * noise(i)));
        assert!(facts(&calm, Some(&swings)).better);
        let again = with_loss((0..400).map(|i| 10f64.powf(4.0 + 3.0 * noise(i / 9 + 500))));
        let facts = facts(&again, Some(&swings));
        assert!(!facts.better && !facts.worse);
    }

    #[test]
    fn a_shorter_run_is_compared_at_its_own_length() {
        let short = with_loss((0..300).map(|i| 2.3 * (-(i as f64) / 200.0).exp() + 0.05 * (noise(i) + 0.5)));
        let facts = facts(&short, Some(&falling()));
        assert!(!facts.better && !facts.worse, "{facts:?}");
    }

    #[test]
    fn three_orders_of_magnitude_fit() {
        let fit = with_loss((0..500).map(|i| 5.0 * (-f64::from(i) / 30.0).exp()));
        assert!(facts(&fit, None).fits);
        assert!(!facts(&falling(), None).fits);
    }

    #[test]
    fn one_point_that_is_fitted_within_two_steps_fits() {
        assert!(facts(&with_loss((0..200).map(|i| if i == 0 { 2.3 } else { 1e-6 })), None).fits);
    }

    #[test]
    fn full_accuracy_fits() {
        let mut job = with_loss((0..500).map(|i| 2.3 * (-f64::from(i) / 300.0).exp()));
        job.accuracy = observed((0..500).map(|i| if i < 10 { 0.0 } else { 1.0 }));
        assert!(facts(&job, None).fits);
    }

    #[test]
    fn a_validation_loss_does_not_show_that_one_point_fits() {
        let mut job = with_loss((0..500).map(|i| 5.0 * (-f64::from(i) / 30.0).exp()));
        job.validation_loss = job.training_loss.take();
        let shown = facts(&job, None);
        assert!(!shown.fits && !shown.training_loss);
        job.accuracy = observed((0..500).map(|i| if i < 10 { 0.0 } else { 1.0 }));
        assert!(facts(&job, None).fits);
    }

    #[test]
    fn a_job_that_is_judged_by_validation_is_compared_by_it() {
        let by_validation = |level: fn(usize) -> f64| {
            let mut job = with_validation(stuck(), level);
            job.training_loss = None;
            job
        };
        let baseline = by_validation(|_| 2.3);
        assert!(facts(&by_validation(|i| 2.3 * (-(i as f64) / 30.0).exp()), Some(&baseline)).better);
        let training = with_validation(falling(), |_| 2.3);
        assert!(
            !facts(&training, Some(&baseline)).better,
            "its training loss fell, and that of the baseline is not known"
        );
    }

    #[test]
    fn nan_on_the_second_step_is_counted() {
        let facts = facts(&with_loss([1e9, f64::NAN, f64::NAN]), Some(&stuck()));
        assert!(!facts.finite && !facts.crashed && facts.worse);
        assert_eq!((facts.number(Q::FinitePoints), facts.number(Q::NonFiniteStep)), (1.0, 1.0));
    }

    #[test]
    fn a_job_without_any_loss_crashed() {
        let mut job = stuck();
        job.training_loss = None;
        job.life.finished = false;
        assert!(facts(&job, None).crashed);
    }

    fn with_validation(mut job: JobView, level: impl Fn(usize) -> f64) -> JobView {
        job.validation_loss = observed((0..100).map(|i| level(i) + 0.02 * noise(i + 99)));
        job
    }

    #[test]
    fn a_faster_fall_into_the_same_overfitting_is_no_cure() {
        let rising = |i: usize| if i < 20 { 2.3 - 0.08 * i as f64 } else { 0.7 + 0.02 * (i - 20) as f64 };
        let baseline = with_validation(falling(), rising);
        let faster = with_loss((0..1000).map(|i| 2.3 * (-(i as f64) / 40.0).exp()));
        let facts = facts(&with_validation(faster, rising), Some(&baseline));
        assert!(facts.problems.contains(&"overfitting".to_owned()), "{:?}", facts.problems);
        assert!(!facts.better && !facts.cured);
    }

    #[test]
    fn a_baseline_that_overfits_is_beaten_in_its_validation() {
        let rising = |i: usize| if i < 20 { 2.3 - 0.08 * i as f64 } else { 0.7 + 0.02 * (i - 20) as f64 };
        let baseline = with_validation(falling(), rising);
        let robust = with_validation(falling(), |i| 0.5 + 1.8 * (-(i as f64) / 15.0).exp());
        assert!(facts(&robust, Some(&baseline)).cured);
    }

    #[test]
    fn a_validation_that_holds_under_another_loss_beats_one_that_runs_away() {
        let heavy = |i: usize, level: f64| level + if i.is_multiple_of(9) { 20.0 * (noise(i) + 0.5) } else { 0.0 };
        let mut baseline = with_loss((0..1500).map(|i| heavy(i, 100.0 - 0.03 * i as f64)));
        baseline.knobs.insert("loss".into(), "l2".into());
        let baseline = with_validation(baseline, |i| 0.8 + 0.36 * i as f64);
        let mut robust = with_loss((0..1500).map(|i| heavy(i, 2.3 * (-(i as f64) / 500.0).exp())));
        robust.knobs.insert("loss".into(), "l1".into());
        assert!(facts(&with_validation(robust, |_| 0.53), Some(&baseline)).better);
        let mut stuck = stuck();
        stuck.knobs.insert("loss".into(), "l1".into());
        assert!(!facts(&with_validation(stuck, |_| 0.53), Some(&baseline)).better);
    }

    #[test]
    fn a_run_that_learns_less_and_so_overfits_less_is_no_better() {
        let rising = |i: usize| if i < 20 { 2.3 - 0.08 * i as f64 } else { 0.7 + 0.02 * (i - 20) as f64 };
        let baseline = with_validation(falling(), rising);
        assert!(!facts(&with_validation(stuck(), |_| 2.2), Some(&baseline)).better);
        let chance = with_validation(falling(), |i| 2.3 + 0.05 * i as f64);
        assert!(!facts(&with_validation(stuck(), |_| 2.3), Some(&chance)).better);
    }

    #[test]
    fn validation_that_never_beats_the_start_has_not_generalised() {
        assert!(!facts(&with_validation(falling(), |i| 2.3 + 0.02 * i as f64), None).generalised);
        assert!(facts(&with_validation(falling(), |i| 1.1 + 0.02 * i as f64), None).generalised);
        assert!(!facts(&falling(), None).generalised);
    }

    #[test]
    fn validation_that_is_right_beyond_chance_has_generalised_whatever_its_loss() {
        let with_accuracy = |end: f64| {
            let mut job = with_validation(falling(), |i| 2.3 + 0.02 * i as f64);
            job.validation_accuracy = observed((0..100).map(|_| end));
            facts(&job, None).generalised
        };
        assert!(with_accuracy(0.45) && !with_accuracy(0.2));
    }

    #[test]
    fn validation_that_is_bad_from_its_first_time_on_has_not_generalised() {
        assert!(!facts(&with_validation(falling(), |i| 40.0 - 0.5 * i.min(20) as f64), None).generalised);
        let summed = |i: usize| 50.0 * (0.1 + 0.9 * (-(i as f64) / 15.0).exp());
        assert!(facts(&with_validation(falling(), summed), None).generalised, "other units");
    }

    #[test]
    fn a_rate_that_still_rises_at_the_end_is_warming_up() {
        let with_rate = |rate: &dyn Fn(usize) -> f64| {
            let mut job = stuck();
            job.learning_rate = observed((0..1000).map(rate));
            facts(&job, None).number(Q::WarmingUp) > HALF
        };
        assert!(with_rate(&|i| 1e-8 * (i + 1) as f64));
        assert!(!with_rate(&|_| 0.001));
        assert!(!with_rate(&|i| 1e-5 * (i as f64).min(300.0)));
    }

    #[test]
    fn a_difference_about_as_large_as_one_that_counts_is_a_close_call() {
        let level = |end: f64| with_loss((0..1000).map(move |i| end + (2.3 - end) * (-(i as f64) / 100.0).exp()));
        let close = |end: f64| facts(&level(end), Some(&level(1.0))).close;
        assert!(close(0.93) && close(0.88));
        assert!(!close(0.999) && !close(0.3));
    }

    #[test]
    fn a_run_that_learns_within_its_first_value_has_learned() {
        let stuck = with_loss((0..20).map(|i| 8.0 + 1e-6 * noise(i)));
        let at_once = with_loss((0..20).map(|i| 0.0002 + 0.0001 * noise(i)));
        let facts = facts(&at_once, Some(&stuck));
        assert!(facts.better && facts.learned && facts.fits && facts.gain > 0.99, "{facts:?}");
    }

    #[test]
    fn right_answers_count_where_the_loss_is_near_that_of_a_guess() {
        let with = |drop: f64, gain: f64| {
            let mut job = with_loss((0..20).map(|i| 0.75 - drop * i as f64 / 20.0 + 0.002 * noise(i)));
            job.accuracy = observed((0..20).map(|i| 0.5 + gain * i as f64 / 20.0));
            job
        };
        let facts = facts(&with(0.06, 0.3), Some(&with(0.02, 0.0)));
        assert!(facts.better && facts.learned && facts.gain > 0.3, "{facts:?}");
    }

    #[test]
    fn some_examples_are_not_compared_with_all() {
        let mut few = falling();
        few.knobs.insert("train_examples".into(), 1.into());
        let facts = facts(&few, Some(&stuck()));
        assert!(!facts.better && !facts.cured && facts.gain.is_nan(), "{facts:?}");
    }

    #[test]
    fn the_start_of_the_baseline_says_what_about_nothing_is() {
        let mut few = with_loss((0..16).map(|i| 0.2 * (-(i as f64) / 3.0).exp()));
        assert!(!facts(&few, None).fits);
        few.knobs.insert("train_examples".into(), 1.into());
        assert!(facts(&few, Some(&with_loss((0..20).map(|i| 80.0 + noise(i))))).fits);
    }

    #[test]
    fn a_loss_that_exploded_on_its_way_does_not_fit_what_it_came_back_to() {
        assert!(!facts(&with_loss([2.4, 1.6, 80_000.0, 4_000.0, 2_000.0, 900.0, 600.0, 500.0, 447.0]), None).fits);
    }

    #[test]
    fn finite_runs_beat_one_that_is_not() {
        let broken = with_loss((0..100).map(|i| if i < 5 { 2.0 } else { f64::NAN }));
        assert!(facts(&falling(), Some(&broken)).cured);
    }
}
