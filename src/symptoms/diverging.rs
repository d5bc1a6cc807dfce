use super::curve::Level;
use super::{Curve, Detector, Finding, JobView, Severity, SymptomDoc, TREND, declare_symptom, shown};
use crate::series::stats::{median, scatter};
use crate::signals::Learning;

declare_symptom! {
    /// **What it shows.** The training loss has left where it was: it keeps growing, or settled far above its start; or
    /// it runs away to minus infinity, which no loss of a learning network does.
    ///
    /// **How it is decided.** The end is above the start by half the start and by six standard errors of the noise, and
    /// four of five of the newest fifth of the levels lie above everything the first tenth held. Or: the loss is
    /// negative and still falling, and its size grew more than thirtyfold, ever faster and below -20; or more than a
    /// hundredfold, below -1000 or ever faster (a flipped sign). Or: a loss that is named for what cannot be negative (a
    /// squared or absolute error, a cross-entropy, a contrastive loss, which with cosines is -1 at least) is.
    ///
    /// Or: the loss came down, and has risen ever since its best level, which lies before three fifths of the run: by two
    /// fifths of that level, by three tenths of what it had lost, and with the gradient norm (gradients that are never set
    /// to zero add up to longer and longer steps). A `warning` without a gradient norm.
    ///
    /// Or: the first loss of at least a hundred is the lowest of all, a peak within the first third is four times as
    /// high, and the end is still twice as high, and in a run that is not mature does not go on falling (tuning that
    /// destroyed what was trained before).
    ///
    /// Or, with rewards: four fifths of what the best stretch had gained are gone again for the newest fifth of the
    /// run, by steps or by values.
    ///
    /// **False alarms.** A curriculum that gets harder lowers rewards by design, and raises losses; a weight of a part
    /// of the loss that is turned up (KL annealing) raises the whole, and is left alone where parts are logged. A jump
    /// that comes back is `loss_spikes`. Negative log-likelihoods get more negative by a few units, not by orders of
    /// magnitude. Opponents (GAN) are not judged.
    Diverging, "diverging", "the loss has left where it was and keeps growing, or settled far above its start"
}

/// The end must lie above the start by this share of it.
const RISE: f64 = 0.5;
/// ... and by this many standard errors.
const RISE_ERRORS: f64 = 6.0;
/// A reward that lost this share of what it had gained has collapsed.
const COLLAPSE: f64 = 0.8;
/// ... if the gain was so many times the swings of single values, in a log of so many points.
const COLLAPSE_NOISE: f64 = 3.0;
const COLLAPSE_POINTS: u64 = 30;
/// A loss that was thrown out of where it began stands so many times above it, after a peak so many times above that. By
/// chance the first of many values is the lowest, and in a long log hardly ever.
const THROWN: f64 = 2.0;
const THROWN_POINTS: u64 = 100;
/// A loss that became so many times larger below zero, to where no bounded one is, and ever faster, has no floor.
const RUNAWAY: f64 = 30.0;
const BELOW_ALL_BOUNDS: f64 = -20.0;
/// ... nor has one that got as far as this, at whatever pace.
const FAR: f64 = 100.0;
const FAR_BELOW: f64 = -1e3;
/// The second half falls so many times as far as the first.
const FASTER: f64 = 1.5;
/// What cannot be negative, as words of tags and of the knob `loss`; a contrastive loss by cosines is -1 at least.
const NEVER_NEGATIVE: &[&str] =
    &["mse", "mae", "rmse", "l1", "l2", "huber", "hinge", "ctc", "xent", "bce", "ce", "infonce", "nce", "ntxent"];
const LEAST_OF_COSINES: f64 = -1.0;
/// A loss below its bound by so much of its size is not there by rounding.
const SHARE_BELOW: f64 = 0.1;
/// Words that turn a loss into something else.
const TURNED: &[&str] = &["log", "neg", "negative", "minus"];
/// A loss that rises again has risen by this share of its best level ...
const RISE_AGAIN: f64 = 0.4;
/// ... and has lost this share of what it had gained.
const LOST_AGAIN: f64 = 0.3;
/// Its best level lies before this share of the run.
const BEST_BEFORE: f64 = 0.6;
/// The gradient norm has risen with it by this share.
const NORM_RISES: f64 = 0.1;

impl Detector for Diverging {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        if job.learning == Learning::Reinforcement {
            return collapses(self, job.reward.as_ref()?.curve.as_ref()?);
        }
        let curve = job.falling_loss()?;
        let mut severity = Severity::Problem;
        let (what, factor) = if is_below_its_bound(job, curve) {
            ("is negative, which such a loss cannot be: its sign may be wrong;", curve.end / curve.start)
        } else if runs_away(curve) {
            ("runs away below zero", curve.end.abs() / curve.start.abs().max(curve.noise))
        } else if was_thrown_out(job, curve) {
            ("was thrown out of where it began, and has not come back", curve.end / curve.first.value)
        } else if has_risen(curve) {
            ("has risen", curve.end / curve.start)
        } else {
            severity = rises_again(job, curve)?;
            ("came down and has risen ever since its best level;", curve.end / curve.best())
        };
        let summary = format!("the loss {what}: from {} to {}", shown(curve.first.value), shown(curve.end));
        Some(
            Finding::in_curve(self, severity, curve, summary)
                .with("start", curve.start)
                .with("end", curve.end)
                .with("factor", factor),
        )
    }
}

/// Reinforcement learning: the policy had learned, and forgot it.
fn collapses(detector: &Diverging, curve: &Curve) -> Option<Finding> {
    let means: Vec<f64> = curve.levels.iter().map(|level| level.mean).collect();
    let width = (means.len() / 10).max(3);
    let best = means.windows(width).map(median).fold(f64::NEG_INFINITY, f64::max);
    let newest = means[begin_of_newest(curve)..].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (gained, swing) = (best - curve.start, scatter(&means[means.len() / 2..]).max(curve.noise));
    let real = gained > RISE_ERRORS * curve.drop_error() && gained > COLLAPSE_NOISE * swing;
    if curve.points < COLLAPSE_POINTS || !real || newest > best - COLLAPSE * gained {
        return None;
    }
    let summary = format!(
        "the reward rose from {:.4} to {best:.4} and fell back to {:.4}: what was learned is lost",
        curve.start, curve.end
    );
    let finding = Finding::in_curve(detector, Severity::Problem, curve, summary);
    Some(finding.with("start", curve.start).with("best", best).with("end", curve.end))
}

/// Where the newest fifth of the levels, or of the values, begins: episodes of a policy that fails at once are short, and a log
/// that counts environment steps has hundreds of them in its last level.
fn begin_of_newest(curve: &Curve) -> usize {
    let total: u64 = curve.levels.iter().map(|level| u64::from(level.count)).sum();
    let mut values = 0;
    let holds_a_fifth = |level: &Level| {
        values += u64::from(level.count);
        values * 5 >= total
    };
    let by_values = curve.levels.iter().rposition(holds_a_fifth).unwrap_or(0);
    by_values.max(curve.levels.len() * 4 / 5).min(curve.levels.len() - 1)
}

fn has_risen(curve: &Curve) -> bool {
    let rise = -curve.drop();
    if rise < RISE * curve.start.abs() || rise < RISE_ERRORS * curve.drop_error() || curve.still_falls() {
        return false;
    }
    let begin = curve.levels.len() / 10 + 1;
    let early = curve.levels[..begin].iter().map(|l| l.mean).fold(curve.start, f64::max);
    let late = curve.from(0.8);
    let above = late.iter().filter(|(_, mean)| *mean > early.min(curve.start + rise / 2.0)).count();
    above * 5 >= late.len() * 4
}

/// A trained network that a first few steps destroy: its first loss is the lowest of all, and the run spends itself on
/// coming down from a peak, to a level that is still far above.
fn was_thrown_out(job: &JobView, curve: &Curve) -> bool {
    let risen = curve.end - curve.first.value;
    let begins_lowest = curve.first.value > 0.0 && curve.first.value <= curve.lowest.value;
    let above = curve.end > THROWN * curve.first.value && risen > RISE_ERRORS * curve.end_error;
    let way_back = curve.still_falls() && !job.mature();
    curve.points >= THROWN_POINTS && begins_lowest && above && curve.early_peak() > THROWN * curve.end && !way_back
}

fn runs_away(curve: &Curve) -> bool {
    let scale = curve.start.abs().max(curve.noise.min(1.0)).max(f64::MIN_POSITIVE);
    let grown = curve.end.abs() / scale;
    // What a fifth of the run held is no small unit to measure by.
    let early = curve.levels[..curve.levels.len() / 5 + 1].iter().map(|level| level.mean.abs()).fold(scale, f64::max);
    let ever_faster = falls_ever_faster(curve);
    let without_bound = ever_faster && (grown > RUNAWAY && curve.end < BELOW_ALL_BOUNDS || curve.end < -FAR * early);
    curve.end < 0.0 && (without_bound || grown > FAR && curve.end < FAR_BELOW) && curve.trend_from(0.5) < -TREND
}

/// Whether a loss lies below the bound that its name says it has.
fn is_below_its_bound(job: &JobView, curve: &Curve) -> bool {
    let named = format!("{} {}", curve.tag, job.text("loss").unwrap_or_default()).to_ascii_lowercase();
    let named = named.replace("cross_entropy", "xent").replace("crossentropy", "xent");
    let has = |names: &[&str]| named.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| names.contains(&word));
    let bound = if has(NEVER_NEGATIVE) {
        0.0
    } else if has(&["contrastive"]) {
        LEAST_OF_COSINES
    } else {
        return false;
    };
    // Rounding may take a loss of 0 below it, not most of what it has been.
    !has(TURNED) && curve.end < bound - SHARE_BELOW * curve.span().max(curve.end.abs())
}

/// Whether the loss has risen ever since its best level, and how sure that is a fault.
fn rises_again(job: &JobView, curve: &Curve) -> Option<Severity> {
    if !job.mature() || !job.parts.is_empty() || curve.lowest.value < 0.0 || curve.levels.len() < 10 {
        return None;
    }
    let (share, best) = curve.best_time();
    let rise = curve.end - best;
    let clear =
        rise > RISE_AGAIN * best && rise > LOST_AGAIN * (curve.start - best) && rise > RISE_ERRORS * curve.end_error;
    let late = curve.from(0.8);
    let above = late.iter().filter(|(_, mean)| *mean > best + rise / 2.0).count();
    if share > BEST_BEFORE || !clear || above * 5 < late.len() * 4 || curve.trend_from(share) < 2.0 * TREND {
        return None;
    }
    let Some(norm) = job.gradient_norm.as_ref().and_then(|o| o.curve.as_ref()) else { return Some(Severity::Warning) };
    let then = norm.mean_between((share - 0.05).max(0.0), share + 0.05);
    let rises = norm.end > (1.0 + NORM_RISES) * then && norm.trend_from(share) > TREND;
    Some(if rises { Severity::Problem } else { Severity::Warning })
}

/// Losses that approach a bound slow down on their way.
fn falls_ever_faster(curve: &Curve) -> bool {
    let at = |share: f64| curve.mean_between(share - 0.05, share + 0.05);
    let (first_half, second_half) = (curve.start - at(0.5), at(0.5) - at(0.95));
    let (before, newest) = (at(0.65) - at(0.8), at(0.8) - at(0.95));
    second_half > FASTER * first_half && FASTER * newest > before
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::tests::{observed, with_loss};
    use super::*;

    fn found(values: impl IntoIterator<Item = f64>) -> bool {
        Diverging.examine(&with_loss(values)).is_some()
    }

    #[test]
    fn a_growing_loss_diverges() {
        assert!(found((0..500).map(|i| 2.3 * (f64::from(i) / 100.0).exp())));
    }

    #[test]
    fn a_trained_network_that_is_destroyed_at_once_diverges() {
        let thrown = |end: f64| move |i: usize| if i == 0 { 0.25 } else { end + 90.0 * (-(i as f64) / 60.0).exp() };
        assert!(found((0..700).map(thrown(1.4)).map(|v| v * 1.01)));
        assert!(!found((0..700).map(thrown(0.3))), "it came back");
        let mut early = with_loss((0..150).map(thrown(0.3)));
        assert!(Diverging.examine(&early).is_some());
        early.life.ended = false;
        assert!(Diverging.examine(&early).is_none(), "it is on its way back");
        assert!(!found((0..700).map(|i| if i == 0 { 0.1 } else { 1.0 + 1.6 * noise(i) })), "a lucky first batch");
    }

    #[test]
    fn settling_far_above_the_start_diverges() {
        assert!(found((0..500).map(|i| if i < 10 { 2.0 } else { 9.0 + noise(i as usize) })));
    }

    #[test]
    fn a_flipped_sign_runs_away() {
        assert!(found((0..500).map(|i| -0.25 - f64::from(i).powi(4))));
    }

    #[test]
    fn a_flipped_cross_entropy_runs_away_from_its_first_steps_on() {
        assert!(found((0..800).map(|i| -1.7 - 240.0 * (f64::from(i) / 800.0).powi(2) + 0.1 * noise(i as usize))));
        let late = |i: i32| -0.5 - 40.0 / (1.0 + (-f64::from(i - 500) / 40.0).exp());
        assert!(!found((0..800).map(late)), "a late drop onto a bound");
    }

    #[test]
    fn a_negative_log_likelihood_is_left_alone() {
        assert!(!found((0..500).map(|i| 0.3 - 2.5 * (1.0 - (-f64::from(i) / 100.0).exp()))));
    }

    #[test]
    fn a_flipped_sign_runs_away_in_any_unit() {
        assert!(found((0..500).map(|i| 1e-4 * (-0.25 - f64::from(i).powi(4)))));
        assert!(!found((0..500).map(|i| -0.01 - 3.0 * (1.0 - (-f64::from(i) / 100.0).exp()))), "a likelihood");
    }

    #[test]
    fn what_is_named_for_an_error_is_not_negative() {
        let below = |tag: &str, end: f64| {
            let mut job = with_loss((0..400).map(|i| -1.0 + (end + 1.0) * (1.0 - (-f64::from(i) / 40.0).exp())));
            job.loss.as_mut().and_then(|loss| loss.curve.as_mut()).expect("a shape").tag = tag.to_owned();
            Diverging.examine(&job).is_some()
        };
        assert!(below("train/mse", -3.0) && below("loss/contrastive", -4.0));
        assert!(!below("train/loss", -3.0), "a likelihood");
        assert!(!below("loss/contrastive", -0.99), "of cosines");
        assert!(!below("train/neg_mse", -3.0) && !below("train/log_mse", -3.0));
    }

    #[test]
    fn a_loss_that_rises_again_with_its_gradients_diverges() {
        let course = |i: usize| 0.07 + 0.1 * (-(i as f64) / 30.0).exp() + 6e-5 * i as f64 + 0.002 * noise(i);
        let severity = |norm: Option<fn(usize) -> f64>| {
            let mut job = with_loss((0..900).map(course));
            job.gradient_norm = norm.and_then(|norm| observed((0..900).map(norm)));
            Diverging.examine(&job).map(|finding| finding.severity)
        };
        assert_eq!(severity(Some(|i| 1.9 + 0.0005 * i as f64)), Some(Severity::Problem));
        assert_eq!(severity(Some(|i| 1.9 + 0.1 * noise(i))), Some(Severity::Warning));
        assert_eq!(severity(None), Some(Severity::Warning), "a schedule may make the task harder");
    }

    fn rewards(value: impl Fn(usize) -> f64) -> bool {
        let mut job = with_loss([]);
        job.learning = Learning::Reinforcement;
        job.reward = observed((0..200).map(value));
        Diverging.examine(&job).is_some()
    }

    #[test]
    fn a_policy_that_fails_at_once_has_many_episodes_in_few_steps() {
        let mut sketch = crate::series::Sketch::default();
        let mut step = 0;
        for i in 0..260 {
            let reward = if i < 160 {
                (8.0 + 1.2 * f64::from(i)).min(180.0) + 40.0 * noise(i as usize)
            } else {
                9.0 + noise(i as usize)
            };
            step += reward.max(1.0) as i64;
            sketch.push(crate::series::Point { step, wall_time: f64::from(i), value: reward });
        }
        let mut job = with_loss([]);
        job.learning = Learning::Reinforcement;
        job.reward = Some(super::super::Observed::new("charts/episodic_return", &sketch));
        assert!(Diverging.examine(&job).is_some());
    }

    #[test]
    fn a_reward_that_rose_and_is_lost_again_has_collapsed() {
        let rise = |i: usize| 200.0 * (1.0 - (-(i as f64) / 20.0).exp()) + 10.0 * noise(i);
        assert!(rewards(|i| if i < 80 { rise(i) } else { rise(i) * (-((i - 80) as f64) / 15.0).exp() }));
        assert!(!rewards(rise));
        assert!(!rewards(|i| if (90..110).contains(&i) { 20.0 } else { rise(i) }), "a dip that comes back");
        assert!(!rewards(|i| 50.0 * noise(i)), "rewards that hover");
    }

    #[test]
    fn a_spike_that_comes_back_is_no_divergence() {
        assert!(!found((0..500).map(|i| if (300..305).contains(&i) { 50.0 } else { 1.0 / (1.0 + f64::from(i)) })));
    }

    #[test]
    fn noise_about_a_level_is_no_divergence() {
        assert!(!found((0..500).map(|i| 2.3 + noise(i))));
    }
}
