use super::{Curve, Detector, Finding, JobView, Severity, SymptomDoc, declare_symptom, shown};

declare_symptom! {
    /// **What it shows.** Progress ends where the learning rate falls to (nearly) nothing, with the loss still high: the
    /// article's "the LR decays far too fast".
    ///
    /// **How it is decided.** The learning rate, as logged or as `learning_rate x lr_decay^step`, spends more than half
    /// of the run below 5 % of its peak (warm-up before the peak does not count), nine tenths of the loss are not gone,
    /// and the stretch below 5 % brought less than a fifth of what came before it, at most a tenth of the start.
    ///
    /// **When.** From a quarter of the planned steps on: a rate that has been next to nothing for longer than it was
    /// anything else is not on its way to the next of its cycles.
    ///
    /// **False alarms.** Cosine and linear decay to zero spend a small part of the run that low; step decay comes late.
    /// A run that has already converged is left alone, and so is one whose loss had come to a stand while the rate
    /// stayed at its peak: where a schedule waits for that (reduce on plateau), the rate follows the loss.
    StalledAfterLrDrop, "stalled_after_lr_drop",
    "progress ends where the learning rate falls to (nearly) nothing, with the loss still high"
}

/// A learning rate below this share of its peak is nearly nothing.
const NEARLY_NOTHING: f64 = 0.051;
/// So much of the run has to be spent there.
const SHARE_OF_RUN: f64 = 0.5;
/// Share of the planned steps from which on this can be told.
const SOON: f64 = 0.25;
/// A loss that lost so much of its start has got somewhere.
const CONVERGED: f64 = 0.9;
/// What the stretch brought, against what came before it.
const LATE_GAIN: f64 = 0.5;
/// A rate that waits stays within this share of its peak.
const AT_PEAK: f64 = 0.99;
/// While it did, the loss went on falling where its last third brought this share of all that it lost meanwhile.
const LATE_SHARE: f64 = 0.05;
/// ... and this share of its level: the first evaluation may come after most was lost.
const HARDLY: f64 = 0.01;
/// A loss that has not lost this share of its start has not come to a stand, but not begun.
const LEARNED: f64 = 0.1;
/// Levels that have to lie within that time, for its last third to show anything.
const LEVELS: f64 = 6.0;

impl Detector for StalledAfterLrDrop {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let curve = job.falling_loss()?;
        if !far_enough(job) || job.accurate() || curve.relative_drop() > CONVERGED || curve.lowest.value < 0.0 {
            return None;
        }
        let (low_from, peak) = low_rate_from(job, curve)?;
        if 1.0 - low_from < SHARE_OF_RUN || stood_before(job, curve) {
            return None;
        }
        let at_drop = curve.mean_between((low_from - 0.05).max(0.0), (low_from + 0.05).min(1.0));
        let (before, after) = (curve.start - at_drop, at_drop - curve.end);
        if after > LATE_GAIN * before.max(0.0) && after > 0.1 * curve.start {
            return None;
        }
        let summary = format!(
            "the learning rate falls below 5 % of its peak ({peak:.3e}) after {:.0} % of the run; the loss was {} then and is {} now",
            100.0 * low_from,
            shown(at_drop),
            shown(curve.end)
        );
        Some(
            Finding::in_curve(self, Severity::Problem, curve, summary)
                .with("low_from_share", low_from)
                .with("peak_learning_rate", peak)
                .with("loss_then", at_drop)
                .with("loss_now", curve.end),
        )
    }
}

fn far_enough(job: &JobView) -> bool {
    job.mature() || job.life.done.is_some_and(|done| done >= SOON)
}

/// From which share of the run on the learning rate stays nearly nothing, and its peak.
fn low_rate_from(job: &JobView, curve: &Curve) -> Option<(f64, f64)> {
    if let Some(observed) = job.learning_rate.as_ref().filter(|o| o.sketch.count() >= 4) {
        let peak = observed.sketch.highest()?.value;
        let levels: Vec<f64> = observed.sketch.buckets().map(|(_, bucket)| bucket.mean).collect();
        let low = levels.iter().rposition(|rate| *rate > NEARLY_NOTHING * peak)? + 1;
        return Some((low as f64 / levels.len() as f64, peak));
    }
    let (rate, decay) = (job.number("learning_rate")?, job.number("lr_decay")?);
    if !(0.0..1.0).contains(&decay) || curve.length() <= 0.0 {
        return None;
    }
    let low = NEARLY_NOTHING.ln() / decay.ln();
    Some(((low / curve.length()).min(1.0), rate))
}

/// Whether the loss had come to a stand while the logged rate stayed at its peak.
fn stood_before(job: &JobView, curve: &Curve) -> bool {
    let Some(observed) = &job.learning_rate else { return false };
    let rates: Vec<f64> = observed.sketch.buckets().map(|(_, bucket)| bucket.mean).collect();
    let peak = rates.iter().copied().fold(0.0, f64::max);
    let waits = rates.iter().rposition(|rate| *rate > AT_PEAK * peak).map_or(0.0, |i| i as f64 / rates.len() as f64);
    if waits * (curve.levels.len() as f64) < LEVELS {
        return false;
    }
    let learned = curve.start - curve.mean_between(waits / 1.5, waits) > LEARNED * curve.start.abs();
    let stands = |curve: &Curve| {
        let (before, at_end) = (curve.mean_between(waits / 3.0, waits / 1.5), curve.mean_between(waits / 1.5, waits));
        before - at_end < (LATE_SHARE * (curve.start - at_end)).max(HARDLY * at_end)
    };
    // Validation is what a schedule waits for. What has not begun to learn stands as well.
    learned && (stands(curve) || job.validation_loss.as_ref().and_then(|o| o.curve.as_ref()).is_some_and(stands))
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{observed, with_loss};
    use super::*;

    fn job(rate: impl Fn(usize) -> f64, loss: impl Fn(usize) -> f64) -> JobView {
        let mut job = with_loss((0..1000).map(loss));
        job.learning_rate = observed((0..1000).map(rate));
        job
    }

    fn stall(i: usize) -> f64 {
        2.3 - 0.3 * (1.0 - (-(i as f64) / 50.0).exp())
    }

    #[test]
    fn a_fast_decay_stalls() {
        assert!(StalledAfterLrDrop.examine(&job(|i| 0.02 * 0.99f64.powi(i as i32), stall)).is_some());
    }

    #[test]
    fn a_rate_that_is_gone_for_long_is_told_before_the_run_is_mature() {
        let at = |done: f64| {
            let mut job = job(|i| if i < 100 { 0.02 } else { 0.0001 }, stall);
            job.life.ended = false;
            job.life.done = Some(done);
            StalledAfterLrDrop.examine(&job).is_some()
        };
        assert!(at(0.3) && !at(0.1));
    }

    #[test]
    fn a_schedule_that_waits_for_the_loss_to_stand_is_not_why_it_stands() {
        let steps = |i: usize| if i < 250 { 0.01 } else { 0.003 * 0.3f64.powi((i as i32 - 250) / 60) };
        let converges = |rate: f64| move |i: usize| 1.6 - 0.7 * (1.0 - (-(i as f64) / rate).exp());
        assert!(StalledAfterLrDrop.examine(&job(steps, converges(20.0))).is_none());
        let falling = |i: usize| converges(300.0)(i.min(280));
        assert!(StalledAfterLrDrop.examine(&job(steps, falling)).is_some(), "it was falling until then");
    }

    #[test]
    fn a_constant_rate_does_not() {
        assert!(StalledAfterLrDrop.examine(&job(|_| 0.02, stall)).is_none());
    }

    #[test]
    fn cosine_to_zero_does_not() {
        let cosine = |i: usize| 0.5 * (1.0 + (std::f64::consts::PI * i as f64 / 1000.0).cos());
        let slowly = |i: usize| 4.6 - 2.2 * (i as f64 / 1000.0).sqrt();
        assert!(StalledAfterLrDrop.examine(&job(cosine, slowly)).is_none());
    }

    #[test]
    fn the_knobs_say_it_where_no_rate_is_logged() {
        let mut job = with_loss((0..1000).map(stall));
        job.knobs.insert("learning_rate".into(), 0.02.into());
        job.knobs.insert("lr_decay".into(), 0.99.into());
        assert!(StalledAfterLrDrop.examine(&job).is_some());
    }
}
