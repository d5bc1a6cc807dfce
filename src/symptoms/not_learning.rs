use super::guess::{at_chance, impossible_accuracy, one_answer, worse_than_a_guess};
use super::{
    Curve, Detector, Finding, JobView, Observed, SIGNIFICANT, Severity, SymptomDoc, TREND, declare_symptom, shown,
};
use crate::signals::Learning;

declare_symptom! {
    /// **What it shows.** After enough steps for such a run, the loss is no better than at the start: chance level, or
    /// the best constant.
    ///
    /// **When.** A loss that stands still may just be slow to start: from a loss alone nobody can tell before the run
    /// has ended or is past three fifths of its steps. From a fifth on (of three thousand points, where the length is
    /// not known and the learning rate is logged), once the learning rate has been at its peak for half of what was
    /// run, a second witness suffices: the loss stands above its start beyond noise and is not on its way back (a
    /// plateau before a late drop stays where it started); or a setting is known to be risky (a learning rate far
    /// outside what works, weights that start at zero or unscaled), or too small to move any weight in all planned
    /// steps.
    ///
    /// **How it is decided.** The drop from start to end is within four standard errors of the noise, and the levels
    /// do not fall by rank either; or it is below 3 % of the start, or below 5 % where validation never lost 1 % of
    /// its first value. Or the loss fell only onto the chance level of its classes (log K within 3 %) while the
    /// accuracy stayed at chance (no better than the most frequent class where frequencies cost 94 % of log K); or it
    /// is above that of the 1/K that the accuracy stands at without any gain. Or it was driven up from its very first
    /// value and came back to within 3 % of it, or, after ten times as much, to no less than 65 % of it. A drop of a
    /// tenth of the start that is two standard errors large is left open: few or noisy points cannot prove it, and
    /// what is not proved is not disproved.
    ///
    /// A run that ended before three fifths of its steps while its loss was on its way down, however slowly, is not judged: what
    /// the rest would have brought nobody knows.
    ///
    /// A loss whose second half still falls by 3 % only passes the chance level of some number of classes.
    ///
    /// Or the answers do not depend on the inputs: the accuracy is the same to the last digit at all evaluations, at
    /// least five, below 0.9, that on training data has not risen by 0.1, and the loss stands at the entropy of an
    /// answer that is right so often, or above. Or loss and accuracy contradict each other: a cross-entropy L that
    /// began at log K leaves at most L / log 2 of the answers wrong (Markov's inequality), and the accuracy is lower
    /// by one half and stayed at 1/K. Or the loss is twice log K though it falls, most answers are wrong, and it is
    /// known to be a cross-entropy or the setting to be risky.
    ///
    /// **Left alone.** Runs that may have been trained before: they name a checkpoint, their steps begin late, their
    /// cross-entropy starts below chance, or they stand still at a learning rate for tuning; without an accuracy nobody
    /// can tell a floor from a failure, and the job's status is `unknown`. Runs whose accuracy is above 0.9 all along
    /// (fine-tuning that starts near its floor), and losses that begin far below the chance level of two classes: there
    /// is little left to learn. Opponents (GAN) are not judged; reinforcement learning is judged by its reward, and
    /// where that is not better than in the first fifth, a policy loss that is exactly 0 says that the policy has become
    /// deterministic: nothing is left to learn from. A reward that stands still is a `warning`, for it may be at its best;
    /// it is a `problem` where it fell, or where each update carries the policy half a nat away (`approx_kl`).
    ///
    /// **False alarms.** Few validation examples give the same accuracy again and again, at a loss below its entropy;
    /// a small rate changes no answer; a frequent class is the only answer at first; noisy labels of classes that are
    /// easily told apart are met as often at each evaluation, after the training accuracy has risen. A log by epochs
    /// begins when much was learned, and noisy labels leave little to see after that: an accuracy above 0.4 from the
    /// first, at a loss for which there are more than two classes, leaves it open. The accuracy of whole sequences is
    /// 0 at a low loss, and says nothing of single answers.
    NotLearning, "not_learning", "after enough steps, the loss is no better than at the start"
}

/// A drop below this share of the start is nothing, however significant.
const SMALLEST_DROP: f64 = 0.03;

/// ... as is one below this, where validation never lost this share of its first value.
const SMALL_DROP: f64 = 0.05;
const STANDS: f64 = 0.01;

/// A loss that stands above its start by this share of it has left it.
const RISEN: f64 = 0.05;

/// Scatter of single values against their level, beyond which a fall may hide in it.
const HIDING: f64 = 0.4;

/// A fall that only ranks can see has to be larger than this share of the start, unless validation falls as well.
const RANKED_DROP: f64 = 0.1;

/// So many first values in a row, each above the one before, of at least so many in all, and none of the first ones lower
/// than the very first, are no chance.
const DRIVEN_UP: usize = 2;
/// A loss that was blown up to so many times its start has not learned where it is back but for this share of it.
const BLOWN_UP: f64 = 10.0;
const LITTLE_OF_IT: f64 = 0.35;
const BACK_POINTS: u64 = 100;

/// So many policy losses in a row that are 0, and their share of all.
const SILENT: f64 = 10.0;
const SILENT_SHARE: f64 = 0.3;

/// Divergence of a policy from the one before, in nats: updates are stopped at some hundredths of one (Schulman et al. 2017
/// and its implementations), and at one they have nothing in common.
const TORN: f64 = 0.5;

/// A cross-entropy that starts below this share of log 2 starts near its floor.
const NEAR_FLOOR: f64 = 0.2;

impl Detector for NotLearning {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        if job.learning == Learning::Reinforcement {
            return reward_stands_still(self, job);
        }
        let curve = job.falling_loss()?;
        if !job.well_begun() || job.accurate() || starts_at_its_floor(job, curve) {
            return None;
        }
        if let Some(words) = one_answer(job, curve) {
            return Some(because(self, curve, &words));
        }
        if job.maybe_trained_before().is_some() || job.stopped_on_its_way() {
            return None;
        }
        if !(job.mature() || stays_above_its_start(curve) || job.risky_setting().is_some() || job.trains_nothing(curve))
        {
            return None;
        }
        let contradicted = || worse_than_a_guess(job, curve).or_else(|| impossible_accuracy(job, curve));
        if let Some(words) = contradicted().filter(|_| job.mature()) {
            return Some(because(self, curve, &words));
        }
        let chance = at_chance(job, curve);
        let back = back_where_it_began(curve);
        let by_rank = curve.falls_by_rank(if validation_falls(job) { SMALLEST_DROP } else { RANKED_DROP });
        let dropped = curve.dropped() || by_rank || curve.may_have_dropped();
        let smallest = if validation_stands(job) { SMALL_DROP } else { SMALLEST_DROP };
        let still = back || !dropped || curve.relative_drop() < smallest;
        let worse = curve.drop() < -SIGNIFICANT * curve.drop_error();
        if chance.is_none() && (!still || hides(curve) && job.learns_by_validation()) {
            return None;
        }
        let judgement = match chance {
            Some(chance) => chance,
            None if back => "after it was driven up at first".to_owned(),
            None if worse => "which is worse than its start".to_owned(),
            None if dropped => format!("a drop of {:.1} %", 100.0 * curve.relative_drop()),
            None => format!("within the scatter of its values ({})", shown(curve.noise)),
        };
        if back {
            return Some(summed_up(self, curve, curve.first.value, &judgement));
        }
        Some(because(self, curve, &judgement))
    }
}

fn because(detector: &NotLearning, curve: &Curve, judgement: &str) -> Finding {
    summed_up(detector, curve, curve.start, judgement)
}

fn summed_up(detector: &NotLearning, curve: &Curve, start: f64, judgement: &str) -> Finding {
    let (from, to) = (shown(start), shown(curve.end));
    let summary = format!("the loss went from {from} to {to} in {} steps: {judgement}", curve.length());
    Finding::in_curve(detector, Severity::Problem, curve, summary)
        .with("start", curve.start)
        .with("end", curve.end)
        .with("relative_drop", curve.relative_drop())
        .with("drop_errors", curve.drop() / curve.drop_error().max(f64::MIN_POSITIVE))
}

/// Whether validation stands where it was at its first evaluation.
fn validation_stands(job: &JobView) -> bool {
    let (Some(training), Some(validation)) = (&job.loss, &job.validation_loss) else { return false };
    let stands = |curve: &Curve| curve.start > 0.0 && curve.start - curve.best() < STANDS * curve.start;
    training.tag != validation.tag && validation.curve.as_ref().is_some_and(stands)
}

/// Whether validation falls too, by the ranks of its levels: two series that fall together do not by chance.
fn validation_falls(job: &JobView) -> bool {
    let (Some(training), Some(validation)) = (&job.loss, &job.validation_loss) else { return false };
    training.tag != validation.tag && validation.curve.as_ref().is_some_and(|curve| curve.trend_from(0.0) < -TREND)
}

/// Whether a fall of a tenth may hide in the scatter of single values.
fn hides(curve: &Curve) -> bool {
    curve.noise > HIDING * curve.end.abs() || SIGNIFICANT * curve.drop_error() > RANKED_DROP * curve.start.abs()
}

/// Whether the loss has been worse than its start for most of the run, and shows no sign of coming back.
fn stays_above_its_start(curve: &Curve) -> bool {
    let above = |level: f64| level - curve.start > (SIGNIFICANT * curve.drop_error()).max(RISEN * curve.start.abs());
    above(curve.end) && above(curve.mean_between(0.3, 1.0)) && curve.trend_from(0.3) > -TREND / 2.0
}

/// A job whose loss begins far below what guessing among two classes costs has little left to learn. Without an
/// accuracy the unit of the loss is not known, and a small number proves nothing.
fn starts_at_its_floor(job: &JobView, curve: &Curve) -> bool {
    let good_accuracy = job.validation_accuracy.as_ref().or(job.accuracy.as_ref()).and_then(|o| o.curve.as_ref());
    good_accuracy.is_some_and(|accuracy| accuracy.start > 0.85)
        && curve.start < NEAR_FLOOR * std::f64::consts::LN_2
        && curve.start > 0.0
}

/// Whether the loss was driven up from its first value and has come back to no more than that: what it lost since its peak
/// is no progress.
fn back_where_it_began(curve: &Curve) -> bool {
    let (first, end) = (curve.first.value, curve.end);
    let driven_up = curve.head.windows(2).take(DRIVEN_UP).all(|pair| pair[1] > pair[0]);
    let lowest = curve.head.iter().all(|value| *value >= first);
    let peak = curve.early_peak();
    let back = driven_up && (first - end).abs() < SMALLEST_DROP * first && peak > (1.0 + RISEN) * first;
    let hardly = (-SMALLEST_DROP..LITTLE_OF_IT).contains(&(1.0 - end / first)) && peak > BLOWN_UP * first;
    curve.points >= BACK_POINTS && curve.head.len() > DRIVEN_UP && lowest && (back || hardly)
}

/// Rewards of so many times are needed to say that they do not rise.
pub const REWARDS: u64 = 30;

/// Reinforcement learning: the reward is no better than at the start.
fn reward_stands_still(detector: &NotLearning, job: &JobView) -> Option<Finding> {
    let curve = job.reward.as_ref()?.curve.as_ref()?;
    if !job.mature() || curve.points < REWARDS {
        return None;
    }
    if let Some(finding) = nothing_left_to_learn_from(detector, job, curve) {
        return Some(finding);
    }
    let gain = curve.end - curve.start;
    let swings = curve.highest.value - curve.lowest.value;
    if gain > SIGNIFICANT * curve.drop_error() || gain > 0.1 * swings {
        return None;
    }
    let summary = format!("the reward went from {:.4} to {:.4} in {} steps", curve.start, curve.end, curve.length());
    let worse = gain < -0.3 * swings && gain < -SIGNIFICANT * curve.drop_error();
    // A reward may be at its best from the start; only one that fell, or that no policy was kept for, is certainly wrong.
    let torn = torn_policy(job);
    let severity = if worse || torn.is_some() { Severity::Problem } else { Severity::Warning };
    let summary = torn.into_iter().fold(summary, |summary, (tag, kl)| {
        format!("{summary}, with a policy that each update replaces ({tag} is {kl:.2} nats)")
    });
    Some(Finding::in_curve(detector, severity, curve, summary).with("start", curve.start).with("end", curve.end))
}

/// How far each update carries the policy from the one that gathered its rewards, where that is beyond all use of them.
fn torn_policy(job: &JobView) -> Option<(&str, f64)> {
    let kl = |part: &&Observed| part.tag.to_ascii_lowercase().replace('_', "").contains("approxkl");
    let curve = job.parts.iter().find(kl)?.curve.as_ref()?;
    let usual = curve.mean_between(0.0, 1.0);
    (usual > TORN).then_some((curve.tag.as_str(), usual))
}

/// A policy whose loss is exactly 0 has no gradient: it does the same whatever it sees. A few first rewards are no start to
/// compare with where that came at once.
fn nothing_left_to_learn_from(detector: &NotLearning, job: &JobView, curve: &Curve) -> Option<Finding> {
    let silent = |part: &&Observed| {
        let tag = part.tag.to_ascii_lowercase();
        let zero = part.sketch.last().is_some_and(|last| last.value == 0.0);
        let repeats = f64::from(part.sketch.trailing_repeats());
        let long = repeats >= SILENT && repeats > SILENT_SHARE * part.sketch.count() as f64;
        zero && long && ["policy", "actor", "pg_loss"].iter().any(|name| tag.contains(name))
    };
    let part = job.parts.iter().find(silent)?;
    let (early, late) = (curve.mean_between(0.0, 0.2), curve.mean_between(0.8, 1.0));
    let error = curve.noise / (0.2 * curve.points as f64).sqrt();
    if late - early > SIGNIFICANT * error.hypot(curve.end_error) {
        return None;
    }
    let summary = format!(
        "{} is exactly 0, for the policy has become deterministic, and the reward went from {} to {}",
        part.tag,
        shown(early),
        shown(late)
    );
    Some(Finding::in_curve(detector, Severity::Problem, curve, summary).with("start", early).with("end", late))
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::tests::{observed, with_loss};
    use super::*;

    fn found(job: &JobView) -> bool {
        NotLearning.examine(job).is_some()
    }

    #[test]
    fn a_loss_that_falls_past_the_chance_level_of_fewer_classes_learns() {
        let mut job = with_loss((0..380).map(|i| 2.1 + 2.7 * (-(i as f64) / 150.0).exp() + 0.02 * noise(i)));
        job.accuracy = observed([0.2, 0.22, 0.24, 0.26, 0.27]);
        job.knobs.insert("loss".into(), "cross_entropy".into());
        assert!(!found(&job));
        let mut stuck = with_loss((0..380).map(|i| 2.3 + 2.5 * (-(i as f64) / 30.0).exp() + 0.02 * noise(i)));
        stuck.accuracy = observed([0.1, 0.12, 0.09, 0.11, 0.1]);
        stuck.knobs.insert("loss".into(), "cross_entropy".into());
        assert!(found(&stuck));
    }

    #[test]
    fn noise_about_log_10_is_not_learning() {
        assert!(found(&with_loss((0..1000).map(|i| 10f64.ln() + 0.1 * noise(i)))));
    }

    #[test]
    fn a_fall_onto_chance_is_not_learning() {
        let mut job = with_loss((0..1000).map(|i| if i < 5 { 100.0 } else { 1.09 + 0.02 * noise(i) }));
        job.accuracy = observed((0..1000).map(|i| 0.35 + 0.1 * noise(i)));
        assert!(found(&job));
    }

    #[test]
    fn a_fall_that_few_noisy_points_cannot_prove_is_not_disproved() {
        let values = [1.95, 1.45, 1.33, 1.23, 0.84, 0.86, 0.60, 0.62, 0.65, 0.73, 0.47, 0.78, 1.11, 0.66, 0.99];
        assert!(!found(&with_loss(values)));
    }

    #[test]
    fn what_the_rest_of_a_run_would_have_brought_nobody_knows() {
        let ended_at = |done: f64, fall: f64| {
            let mut job = with_loss((0..60).map(move |i| 1.04 - fall * f64::from(i) / 60.0 + 0.01 * noise(i as usize)));
            (job.life.finished, job.life.done) = (false, Some(done));
            found(&job)
        };
        assert!(!ended_at(0.1, 0.025), "it crept down for a tenth of its plan");
        assert!(ended_at(1.0, 0.025), "it crept down to its end");
        assert!(ended_at(0.1, 0.0), "it stood still, and was stopped for that");
    }

    #[test]
    fn accuracies_of_small_batches_scatter_and_prove_no_gain() {
        let batches =
            [12, 14, 13, 15, 12, 14, 18, 10, 15, 14, 17, 16, 13, 15, 14, 12, 18, 14, 15, 13, 14, 16, 18, 13, 18];
        let shares = |of: &[i32]| observed(of.iter().map(|right| f64::from(*right) / 32.0));
        let mut job = with_loss((0..25).map(|i| if i == 0 { 0.73 } else { 0.694 + 0.01 * noise(i) }));
        job.accuracy = shares(&batches);
        assert!(found(&job), "from 0.41 to 0.56, as it was before");
        job.accuracy = shares(&std::array::from_fn::<i32, 25, _>(|i| 12 + i as i32 / 4));
        assert!(!found(&job), "from 0.38 to 0.56, step by step");
    }

    #[test]
    fn a_few_evaluations_at_chance_are_a_witness() {
        let mut job = with_loss((0..30).map(|i| 0.73 + 1.6 * (-(i as f64) / 4.0).exp() + 0.05 * noise(i)));
        job.validation_accuracy = observed([0.46, 0.54, 0.46, 0.54, 0.54, 0.46]);
        assert!(found(&job));
        job.validation_accuracy = observed([0.46, 0.54, 0.63, 0.72, 0.74, 0.76]);
        assert!(!found(&job));
    }

    #[test]
    fn among_many_classes_little_accuracy_is_much() {
        let mut job = with_loss((0..1000).map(|i| 4.5 + 2.4 * (-(i as f64) / 100.0).exp() + 0.1 * noise(i)));
        job.accuracy = observed((0..1000).map(|i| 0.09 * (1.0 - (-f64::from(i) / 200.0).exp())));
        assert!(!found(&job));
    }

    #[test]
    fn what_was_lost_since_a_peak_of_its_own_making_is_no_progress() {
        let driven = |end: f64| {
            let back = move |i: usize| end + 2.5 * (-(i as f64) / 30.0).exp() + 0.07 * noise(i);
            with_loss((0..1200).map(move |i| [2.0885, 2.96, 4.55].get(i).copied().unwrap_or_else(|| back(i))))
        };
        assert!(found(&driven(2.06)));
        assert!(!found(&driven(1.5)));
        let blown_up = |end: f64| {
            let back = move |i: usize| end + 9000.0 * (-(i as f64) / 30.0).exp() + 0.07 * noise(i);
            with_loss((0..1200).map(move |i| [14.0, 90000.0, 9000.0].get(i).copied().unwrap_or_else(|| back(i))))
        };
        assert!(found(&blown_up(11.0)));
        assert!(!found(&blown_up(5.0)));
    }

    #[test]
    fn a_steady_fall_is_learning() {
        assert!(!found(&with_loss((0..1000).map(|i| 2.3 * (-(i as f64) / 400.0).exp() + 0.1 * noise(i)))));
    }

    #[test]
    fn fine_tuning_near_its_floor_is_left_alone() {
        let mut job = with_loss((0..100).map(|i| 0.011 + 0.004 * noise(i)));
        job.validation_accuracy = observed((0..20).map(|_| 0.98));
        assert!(!found(&job));
    }

    #[test]
    fn a_plateau_early_in_a_long_run_is_given_time() {
        let mut job = with_loss((0..500).map(|i| 0.69 + 0.05 * noise(i)));
        job.life.ended = false;
        job.life.done = Some(0.2);
        assert!(!found(&job));
    }

    fn at_three_tenths(loss: impl Fn(usize) -> f64, rate: impl Fn(usize) -> f64) -> JobView {
        let mut job = with_loss((0..600).map(loss));
        job.life.ended = false;
        job.life.done = Some(0.3);
        job.learning_rate = observed((0..600).map(rate));
        job
    }

    #[test]
    fn a_loss_that_stays_above_its_start_needs_no_waiting() {
        let above = |i: usize| if i < 5 { 1.6 } else { 2.1 + 0.3 * noise(i) };
        assert!(found(&at_three_tenths(above, |_| 0.01)));
        assert!(!found(&at_three_tenths(above, |i| 1e-5 * i as f64)), "its warm-up is not over");
        let on_its_way_back = |i: usize| if i < 5 { 1.6 } else { 2.6 - 0.0012 * i as f64 + 0.1 * noise(i) };
        assert!(!found(&at_three_tenths(on_its_way_back, |_| 0.01)));
    }

    #[test]
    fn a_risky_setting_is_a_second_witness_of_a_flat_start() {
        let mut job = at_three_tenths(|i| 1.61 + 0.1 * noise(i), |_| 0.05);
        assert!(!found(&job), "a plateau before a late drop looks alike");
        job.knobs.insert("optimizer".into(), "adam".into());
        assert!(found(&job));
        job.life.done = Some(0.1);
        assert!(!found(&job));
    }

    #[test]
    fn a_second_witness_speaks_where_nobody_knows_the_length_of_the_run() {
        let after = |points: usize| {
            let mut job = with_loss((0..points).map(|i| 1.61 + 0.1 * noise(i)));
            (job.life.ended, job.life.done) = (false, None);
            job.learning_rate = observed((0..points).map(|_| 0.05));
            job.knobs.insert("optimizer".into(), "adam".into());
            job
        };
        assert!(found(&after(700)));
        assert!(!found(&after(400)));
        let mut tame = after(700);
        tame.learning_rate = observed((0..700).map(|_| 0.001));
        assert!(!found(&tame), "a plateau before a late drop looks alike");
    }

    #[test]
    fn a_rate_that_moves_nothing_in_all_planned_steps_needs_no_waiting() {
        assert!(found(&at_three_tenths(|i| 1.61 + 0.1 * noise(i), |_| 1e-8)));
    }

    #[test]
    fn single_examples_that_scatter_more_than_they_fall_are_judged_by_validation() {
        let mut job = with_loss((0..5000).map(|i| {
            let error = noise(i) + noise(i + 7000) + noise(i + 14000);
            3.0 * error * error
        }));
        let with_validation = |job: &mut JobView, floor: f64| {
            job.validation_loss = observed((0..100).map(|i| floor + (1.0 - floor) * (-f64::from(i) / 6.0).exp()));
            found(job)
        };
        assert!(with_validation(&mut job, 0.99) && !with_validation(&mut job, 0.7));
        job.knobs.insert("optimizer".into(), "adam".into());
        job.knobs.insert("learning_rate".into(), 0.5.into());
        assert!(with_validation(&mut job, 0.7), "validation that only comes back from a bad start");
    }

    #[test]
    fn a_small_fall_that_validation_does_not_share_is_nothing() {
        let mut job = with_loss((0..20).map(|i| 78.08 + 2.9 * (-2.0 * i as f64).exp()));
        assert!(!found(&job));
        job.validation_loss = observed((0..20).map(|i| 87.68 + 0.06 * (-f64::from(i)).exp()));
        assert!(found(&job));
        job.validation_loss = observed((0..20).map(|i| 84.0 + 3.7 * (-f64::from(i)).exp()));
        assert!(!found(&job));
    }

    #[test]
    fn training_and_validation_that_fall_together_do_not_by_chance() {
        let mut job = with_loss((0..40).map(|i| 2.22 - 0.0024 * i as f64 + 0.12 * noise(i + 2)));
        assert!(found(&job));
        job.validation_loss = observed((0..10).map(|i| 2.1 - 0.008 * f64::from(i)));
        assert!(!found(&job));
    }

    #[test]
    fn a_fall_that_hides_in_few_values_shows_in_validation() {
        let mut job = with_loss((0..200).map(|i| 0.86 + 0.08 * (-(i as f64) / 30.0).exp() + 0.5 * noise(i + 3)));
        assert!(found(&job));
        job.validation_loss = observed((0..40).map(|i| 0.805 + 0.12 * (-f64::from(i) / 5.0).exp()));
        assert!(!found(&job));
    }

    #[test]
    fn a_fall_onto_chance_shows_in_validation_where_the_accuracy_of_batches_scatters() {
        let mut job = with_loss((0..1000).map(|i| 0.68 + 9.0 * (-(i as f64) / 5.0).exp() + 0.02 * noise(i)));
        job.accuracy = observed((0..1000).map(|i| 0.61 + 0.1 * noise(i)));
        assert!(!found(&job));
        job.validation_accuracy = observed((0..20).map(|_| 0.59));
        assert!(found(&job));
    }

    #[test]
    fn validation_that_comes_after_what_was_learned_shows_no_gain_and_no_guess() {
        let mut job = with_loss((0..800).map(|i| 1.2 + 0.4 * (-(i as f64) / 60.0).exp() + 0.2 * noise(i)));
        job.accuracy = observed((0..800).map(|i| 0.61 - 0.4 * (-(i as f64) / 60.0).exp() + 0.1 * noise(i + 9)));
        job.validation_accuracy = observed((0..16).map(|i| 0.595 + 0.01 * noise(i)));
        job.knobs.insert("loss".into(), "cross_entropy".into());
        assert!(!found(&job));
    }

    #[test]
    fn a_policy_without_a_gradient_has_nothing_left_to_learn_from() {
        let mut job = with_loss([]);
        job.learning = Learning::Reinforcement;
        let mut with = |reward: fn(usize) -> f64, loss: fn(usize) -> f64| {
            job.reward = observed((0..400).map(|i| reward(i) + 2.0 * noise(i)));
            job.parts = observed((0..400).map(loss)).into_iter().collect();
            job.parts[0].tag = "loss/policy_loss".to_owned();
            NotLearning.examine(&job).is_some_and(|finding| finding.severity == Severity::Problem)
        };
        let stuck = |i: usize| if i == 0 { 2.0 } else { 7.5 };
        assert!(with(stuck, |i| if i == 0 { -0.4 } else { 0.0 }));
        assert!(!with(stuck, |i| 0.1 * noise(i)), "it may be at its best");
        let learns = |i: usize| 2.0 + 6.0 * (1.0 - (-(i as f64) / 100.0).exp());
        assert!(!with(learns, |i| if i < 200 { noise(i) } else { 0.0 }), "sure of what is right");
    }

    #[test]
    fn a_policy_that_each_update_replaces_gains_nothing_from_its_rewards() {
        let mut job = with_loss([]);
        job.learning = Learning::Reinforcement;
        job.reward = observed((0..80).map(|i| 30.0 - 0.01 * i as f64 + 3.0 * noise(i)));
        let mut with = |kl: f64| {
            job.parts = observed((0..80).map(|i| kl * (1.0 + noise(i)))).into_iter().collect();
            job.parts[0].curve.as_mut().expect("a shape").tag = "train/approx_kl".to_owned();
            job.parts[0].tag = "train/approx_kl".to_owned();
            NotLearning.examine(&job).expect("it stands still").severity
        };
        assert_eq!((with(5.0), with(0.01)), (Severity::Problem, Severity::Warning));
    }

    #[test]
    fn opponents_are_not_judged() {
        let mut job = with_loss((0..1000).map(|i| 0.7 + 0.1 * noise(i)));
        job.learning = Learning::Adversarial;
        assert!(!found(&job));
    }
}
