//! From a job, as the detectors see it, to facts.

use crate::series::stats::median;
use crate::signals::Learning;
use crate::symptoms::{Curve, Finding, JobView, Observed, SIGNIFICANT, Severity, TREND, examine};

use super::Facts;

/// "Overfit one point" asks for an accuracy of 99.99 % or an error of about 0 (the article, debugging step 1).
const FITS_ACCURACY: f64 = 0.9999;
/// About 0: three orders of magnitude below its own start.
const FITS_SHARE: f64 = 1e-3;
/// A loss has learned when it lost a tenth of its start, beyond its noise.
const LEARNED: f64 = 0.1;
/// Better or worse than the baseline by a tenth of the baseline's level, beyond the noise of both.
const MARGIN: f64 = 0.1;
/// An accuracy or a reward (in units of its swing) that differs by this is better or worse.
const ACCURACY_MARGIN: f64 = 0.1;
/// A difference between half and twice of what counts as one is a close call: another seed could turn it. Seeds move the
/// end of small runs by some tens of per cent.
const CLOSE_CALL: f64 = 0.5;
/// Of all pairs of levels of two runs, so many have the one below the other where the runs are told apart by rank, ...
const SEPARATE: f64 = 0.95;
/// ... with at least so many levels each.
const RANKED_LEVELS: usize = 8;
/// Of all pairs of a level of the first tenth and one of the second half, so many fall where a loss fell early: with as few
/// levels as count, chance brings it about once in four thousand runs.
const FELL: f64 = 0.9;
/// Two runs start at the same level of loss where they start within this share of each other.
const SAME_START: f64 = 0.25;
/// A job that stopped before this share of its steps did not reach its end.
const WHOLE: f64 = 0.95;

/// Half a run before its end, a linear warm-up was at half of what it has reached.
const WARMING: f64 = 0.7;
/// A validation loss that begins so many times above the training loss has other units or other inputs; one that then
/// loses this much of its own start has other units.
const FAR_ABOVE: f64 = 2.0;
const OWN_GAIN: f64 = 0.5;

/// Of what guessing leaves, validation gets this share right where it is right by more than chance: two and a half standard
/// deviations of a hundred examples of two classes, and more of more classes.
const RIGHT: f64 = 0.25;

/// Problems that a cure of a failure to learn may well bring to light, and which do not speak against it.
const NEXT_PROBLEMS: &[&str] = &["overfitting", "silent"];

/// What a job shows; against `baseline`, where it is an experiment.
pub fn measure(job: &JobView, findings: &[Finding], baseline: Option<&JobView>) -> Facts {
    let observed = if job.learning == Learning::Reinforcement { &job.reward } else { &job.loss };
    let mut facts = Facts {
        ended: job.life.ended,
        training_loss: !job.loss_is_validation,
        knobs: job.knobs.clone(),
        ..Facts::default()
    };
    facts.symptoms = findings.iter().map(|f| f.symptom.clone()).collect();
    let problems = findings.iter().filter(|f| is_problem(f));
    facts.problems = problems.map(|f| f.symptom.clone()).collect();
    if let Some(observed) = observed {
        measure_loss(&mut facts, job, observed);
    }
    if let Some(peak) = job.learning_rate.as_ref().and_then(|o| o.sketch.highest()) {
        facts.peak_rate = peak.value;
        facts.warming_up = warming_up(job);
    }
    facts.crashed = crashed(job, &facts);
    if let Some(baseline) = baseline {
        let before: Vec<String> = examine(baseline).into_iter().filter(is_problem).map(|f| f.symptom).collect();
        let gain = match gain_in_validation(job, &facts, baseline).filter(|_| before.iter().any(|p| p == "overfitting"))
        {
            Some(gain) => gain,
            None => gain(job, &facts, baseline),
        };
        (facts.better, facts.worse) = (gain > 1.0, gain < -1.0);
        // Few first values say little of where a run started; a baseline that never left its own start says it for both.
        let below_start =
            facts.progress > LEARNED && !other_loss(job, baseline) && job.accuracy_at_chance() != Some(true);
        facts.learned |= facts.better && facts.finite && below_start;
        let close = |share: f64| CLOSE_CALL < share && share < 1.0 / CLOSE_CALL;
        facts.close = close(gain.abs()) || facts.better && close(facts.progress / LEARNED);
        let trouble = facts.problems.iter().any(|p| !NEXT_PROBLEMS.contains(&p.as_str()) || before.contains(p));
        facts.cured = facts.learned && facts.better && facts.finite && !trouble;
    }
    facts
}

/// A rate that is going up at its end stands at its peak there, and was far below it half a run ago.
fn warming_up(job: &JobView) -> bool {
    let curve = job.learning_rate.as_ref().and_then(|o| o.curve.as_ref());
    curve.is_some_and(|rate| {
        rate.last.value >= rate.highest.value && rate.mean_between(0.4, 0.6) < WARMING * rate.highest.value
    })
}

fn is_problem(finding: &Finding) -> bool {
    finding.severity == Severity::Problem
}

fn measure_loss(facts: &mut Facts, job: &JobView, observed: &Observed) {
    let sketch = &observed.sketch;
    facts.started = sketch.count() > 0;
    facts.steps = sketch.last().map_or(f64::NAN, |p| p.step as f64);
    // A bad step that the run recovered from is a warning of the detector, not an end of all finite losses.
    facts.finite = !facts.problems.iter().any(|p| p == "non_finite") && sketch.last_finite().is_some();
    facts.non_finite_step = sketch.first_non_finite().map_or(f64::NAN, |p| p.step as f64);
    facts.finite_points = finite_before(observed);
    let accuracy = job.accuracy.as_ref();
    facts.accuracy = accuracy.and_then(|a| a.curve.as_ref()).map_or(f64::NAN, |curve| curve.end);
    if let Some(curve) = &observed.curve {
        (facts.loss_start, facts.loss_end, facts.loss_best) = (curve.start, curve.end, curve.best());
        facts.progress = curve.relative_drop();
        facts.improving = curve.trend_from(0.5) < -TREND && curve.dropped();
        facts.learned = facts.finite && learned(job, curve);
    } else if let (Some(first), Some(last), Some(low)) = (sketch.first(), sketch.last_finite(), sketch.lowest()) {
        (facts.loss_start, facts.loss_end, facts.loss_best) = (first.value, last.value, low.value);
        facts.progress = (first.value - last.value) / first.value.abs();
        facts.learned = facts.finite && facts.progress > 0.5 && sketch.count() >= 3;
    }
    facts.fits = facts.finite && fits(facts, observed);
    facts.generalised = generalised(job);
    let validation = job.validation_loss.as_ref().and_then(|o| o.curve.as_ref());
    facts.validation_best = validation.map_or(f64::NAN, Curve::best);
}

/// One point is fitted within a few steps: its start is the highest of the first values, not their median.
fn fits(facts: &Facts, observed: &Observed) -> bool {
    let head = observed.sketch.head().iter().copied().filter(|value| value.is_finite());
    let start = head.fold(facts.loss_start, f64::max);
    let small = |level: f64| start > 0.0 && (0.0..=FITS_SHARE * start).contains(&level);
    let fell = !facts.training_loss || facts.loss_end < 0.5 * start;
    let accurate = facts.accuracy >= FITS_ACCURACY && fell;
    accurate || facts.training_loss && (small(facts.loss_end) || small(facts.loss_best))
}

/// Whether validation was once better than an untrained network. It may be logged only after training has begun, so the
/// start of the training loss counts as well. A validation loss that begins far above that is either one of other units (a
/// sum, say), and then loses most of its own start, or bad from its first time on.
fn generalised(job: &JobView) -> bool {
    let curve = |observed: &Option<Observed>| observed.as_ref().and_then(|o| o.curve.clone());
    if right_by_validation(job) {
        return true;
    }
    let Some(validation) = curve(&job.validation_loss) else { return false };
    let training = curve(&job.loss).map_or(validation.start, |training| training.start);
    let (start, share) = match validation.first.value > FAR_ABOVE * training.abs() {
        true => (validation.start, OWN_GAIN),
        false => (training.max(validation.start), MARGIN),
    };
    start - validation.best() > (share * start.abs()).max(SIGNIFICANT * validation.end_error)
}

/// Whether validation gets right a good part of what guessing among the classes leaves, to the end. A loss on few examples
/// may be worse than a guess from its first time on, for the network is sure of its errors; that it is right more often
/// than a guess shows that the labels belong to their inputs.
fn right_by_validation(job: &JobView) -> bool {
    let curve = |observed: &Option<Observed>| observed.as_ref().and_then(|o| o.curve.clone());
    let (Some(accuracy), Some(training)) = (curve(&job.validation_accuracy), curve(&job.loss)) else { return false };
    job.classes(&training).is_some_and(|classes| accuracy.end > 1.0 / classes + RIGHT * (1.0 - 1.0 / classes))
}

/// How many finite values came before the first that was not; all of them, where every one was finite.
fn finite_before(observed: &Observed) -> f64 {
    let sketch = &observed.sketch;
    let in_head = sketch.head().iter().take_while(|v| v.is_finite()).count();
    match sketch.first_non_finite() {
        None => sketch.count() as f64,
        Some(_) if in_head < sketch.head().len() => in_head as f64,
        Some(bad) => sketch.until(bad.step - 1).count() as f64,
    }
}

fn learned(job: &JobView, curve: &Curve) -> bool {
    if job.learning == Learning::Reinforcement {
        let swing = curve.highest.value - curve.lowest.value;
        return curve.end - curve.start > ACCURACY_MARGIN * swing && -curve.drop() > SIGNIFICANT * curve.drop_error();
    }
    let by_rank = curve.falls_by_rank(LEARNED) || fell_early(curve);
    let by_loss = curve.lost(LEARNED) || by_rank;
    by_loss && job.accuracy_at_chance() != Some(true)
}

/// Whether nearly all levels of the second half lie below those of the first tenth: a noisy loss that falls at once and then
/// stands has neither first values that prove it nor a trend.
fn fell_early(curve: &Curve) -> bool {
    let levels: Vec<f64> = curve.from(0.0).iter().map(|(_, mean)| *mean).collect();
    let (first, rest) = (&levels[..levels.len() / 10], &levels[levels.len() / 2..]);
    first.len() >= RANKED_LEVELS && curve.relative_drop() > LEARNED && share_below(rest, first) > FELL
}

/// Of all pairs of one level of each, the share in which the first is below the second.
fn share_below(ours: &[f64], theirs: &[f64]) -> f64 {
    let below = ours.iter().map(|our| theirs.iter().filter(|their| our < *their).count()).sum::<usize>();
    below as f64 / (ours.len() * theirs.len()) as f64
}

/// It ended without saying so, before its time: without any loss, or far short of its steps. Ending on NaN is no crash,
/// for many programs stop there by intent.
fn crashed(job: &JobView, facts: &Facts) -> bool {
    let short = job.life.done.is_some_and(|done| done < WHOLE);
    job.life.ended && facts.finite | !facts.started && !job.life.finished && (!facts.started || short && !facts.fits)
}

/// By how much an experiment is better than its baseline at equal steps, in units of what counts as a difference: above 1
/// it is better, below -1 worse.
fn gain(job: &JobView, facts: &Facts, baseline: &JobView) -> f64 {
    if job.learning == Learning::Reinforcement {
        return gain_in_reward(job, baseline);
    }
    let finite = |view: &JobView| {
        let sketch = view.loss.as_ref().map(|o| &o.sketch);
        sketch.is_some_and(|s| s.last().is_some_and(|p| p.value.is_finite()))
    };
    let sure = |better: bool| if better { f64::INFINITY } else { 0.0 };
    match (finite(job), finite(baseline)) {
        (false, true) => return f64::NEG_INFINITY,
        (false, false) => return 0.0,
        (true, false) => return sure(facts.learned),
        (true, true) => {}
    }
    if other_loss(job, baseline) {
        return gain_in_other_units(job, facts, baseline);
    }
    let by_validation = job.loss_is_validation || baseline.loss_is_validation;
    let judged = |view: &JobView| if by_validation { view.validation_loss.clone() } else { view.loss.clone() };
    let curve = |view: &JobView| judged(view).and_then(|o| o.curve);
    let (Some(experiment), Some(base)) = (curve(job), curve(baseline)) else { return sure(facts.learned) };
    let reached = level_at(&base, &experiment);
    let at_end = gain_of((reached, experiment.end), experiment.end_error.hypot(base.end_error));
    if at_end.abs() > 1.0 || experiment.last.step < base.last.step {
        return at_end;
    }
    // Where single levels swing, the second halves as a whole may still tell the two apart.
    let (mean, error) = experiment.second_half();
    let (base_mean, base_error) = base.second_half();
    let halves = gain_of((base_mean, mean), error.hypot(base_error));
    let by_rank = gain_by_rank(&base, &experiment);
    [at_end, halves, by_rank].into_iter().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(at_end)
}

/// A loss that swings over orders of magnitude has no error that another could be significant against: where nearly all
/// levels of the second half of one lie below nearly all of the other's, their medians are compared as they are.
fn gain_by_rank(base: &Curve, experiment: &Curve) -> f64 {
    let half = |curve: &Curve| curve.from(0.5).iter().map(|(_, mean)| *mean).collect::<Vec<f64>>();
    let (ours, theirs) = (half(experiment), half(base));
    if ours.len().min(theirs.len()) < RANKED_LEVELS {
        return 0.0;
    }
    let share = share_below(&ours, &theirs);
    if (1.0 - SEPARATE..=SEPARATE).contains(&share) { 0.0 } else { gain_of((median(&theirs), median(&ours)), 0.0) }
}

/// What was lost from one level to another, in units of what counts as a difference between them.
fn gain_of((base, experiment): (f64, f64), error: f64) -> f64 {
    let counts = (SIGNIFICANT * error).max(MARGIN * base.abs());
    if counts > 0.0 { (base - experiment) / counts } else { 0.0 }
}

/// Whether two runs have losses of different units. Where nobody knows the baseline's, the same start speaks for the same
/// units.
fn other_loss(job: &JobView, baseline: &JobView) -> bool {
    let start = |view: &JobView| view.loss.as_ref().and_then(|o| o.curve.as_ref()).map(|curve| curve.start);
    let same_start = match (start(job), start(baseline)) {
        (Some(ours), Some(theirs)) => (ours - theirs).abs() < SAME_START * theirs.abs(),
        _ => false,
    };
    job.knobs.get("loss") != baseline.knobs.get("loss") && (baseline.knobs.contains_key("loss") || !same_start)
}

/// What a baseline that overfits has to gain is in its validation; of an experiment that learned less, and therefore
/// overfits less, that is no gain. Losses of different units are compared by what each made of its own start, which the
/// experiment has to hold at least. `None` where one of the two has no validation loss.
fn gain_in_validation(job: &JobView, facts: &Facts, baseline: &JobView) -> Option<f64> {
    let curve = |view: &JobView| view.validation_loss.as_ref().and_then(|o| o.curve.clone());
    let (experiment, base) = (curve(job)?, curve(baseline)?);
    let training = job.loss.as_ref().and_then(|o| o.curve.as_ref());
    let learns = facts.generalised && training.is_some_and(|curve| curve.lost(MARGIN) || curve.falls_by_rank(MARGIN));
    let (gain, holds) = if other_loss(job, baseline) {
        ((experiment.relative_drop() - base.relative_drop()) / MARGIN, experiment.relative_drop() > -MARGIN)
    } else {
        (gain_of((base.end, experiment.end), experiment.end_error.hypot(base.end_error)), true)
    };
    Some(if learns && holds { gain } else { gain.min(0.0) })
}

/// A run with another loss has other units: accuracies are compared, and where there are none, what each made of its own
/// start.
fn gain_in_other_units(job: &JobView, facts: &Facts, baseline: &JobView) -> f64 {
    let accuracy = |view: &JobView| view.own_accuracy().and_then(|o| o.curve.as_ref()).map(|curve| curve.end);
    if let (Some(experiment), Some(base)) = (accuracy(job), accuracy(baseline)) {
        return (experiment - base) / ACCURACY_MARGIN;
    }
    let progress = baseline.loss.as_ref().and_then(|o| o.curve.as_ref()).map_or(0.0, Curve::relative_drop);
    // A loss that runs away below zero "drops" without bound; that is no progress to beat.
    let progress = if progress > 1.0 { 0.0 } else { progress };
    let gain = (facts.progress - progress) / MARGIN;
    if facts.learned { gain } else { gain.min(0.0) }
}

fn gain_in_reward(job: &JobView, baseline: &JobView) -> f64 {
    let curve = |view: &JobView| view.reward.as_ref().and_then(|o| o.curve.clone());
    let (Some(experiment), Some(base)) = (curve(job), curve(baseline)) else { return 0.0 };
    let margin = ACCURACY_MARGIN * (base.highest.value - base.lowest.value);
    let counts = margin.max(SIGNIFICANT * experiment.end_error.hypot(base.end_error));
    if counts > 0.0 { (experiment.end - level_at(&base, &experiment)) / counts } else { 0.0 }
}

/// The level that the baseline had over the steps that make up the experiment's end; its own end, where it is shorter.
fn level_at(base: &Curve, experiment: &Curve) -> f64 {
    let end = experiment.last.step as f64;
    if end >= base.last.step as f64 {
        return base.end;
    }
    let share = |step: f64| ((step - base.first.step as f64) / base.length().max(1.0)).clamp(0.0, 1.0);
    let level = base.mean_between(share(end - 0.1 * experiment.length()), share(end));
    if level.is_finite() { level } else { base.start }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symptoms::test_jobs::{noise, observed, with_loss};

    fn facts(job: &JobView, baseline: Option<&JobView>) -> Facts {
        measure(job, &examine(job), baseline)
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
        job.loss_is_validation = true;
        let shown = facts(&job, None);
        assert!(!shown.fits && !shown.training_loss);
        job.accuracy = observed((0..500).map(|i| if i < 10 { 0.0 } else { 1.0 }));
        assert!(facts(&job, None).fits);
    }

    #[test]
    fn a_job_that_is_judged_by_validation_is_compared_by_it() {
        let by_validation = |level: fn(usize) -> f64| {
            let mut job = with_validation(stuck(), level);
            (job.loss, job.loss_is_validation) = (job.validation_loss.clone(), true);
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
        assert_eq!((facts.finite_points, facts.non_finite_step), (1.0, 1.0));
    }

    #[test]
    fn a_job_without_any_loss_crashed() {
        let mut job = stuck();
        job.loss = None;
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
            facts(&job, None).warming_up
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
    fn finite_runs_beat_one_that_is_not() {
        let broken = with_loss((0..100).map(|i| if i < 5 { 2.0 } else { f64::NAN }));
        assert!(facts(&falling(), Some(&broken)).cured);
    }
}
