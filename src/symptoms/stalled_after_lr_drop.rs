//! Progress stops when the learning rate falls to (nearly) zero, with the loss still high: its rules over the evidence.

use super::*;

symptom! {
    stalled_after_lr_drop: "progress stops when the learning rate falls to (nearly) zero, with the loss still high";
    Problem rate_has_gone
        when [Above(Q::Maturity, THIRD), Above(Q::LowRate, HALF), Below(Q::LowRateGain, HALF), Below(Q::Progress, GOOD)]
        unless [ACCURATE]
        says "the learning rate is nearly zero for the latest {low_rate%} of the run; during that time, the loss \
            decreased by {low_rate_gain} of its earlier decrease, and is now {loss_end}";
}

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
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
        assert!(SYMPTOM.examine(&job(|i| 0.02 * 0.99f64.powi(i as i32), stall)).is_some());
    }

    #[test]
    fn a_rate_that_is_gone_for_long_is_told_before_the_run_is_mature() {
        let at = |done: f64| {
            let mut job = job(|i| if i < 100 { 0.02 } else { 0.0001 }, stall);
            job.life.ended = false;
            job.life.done = Some(done);
            SYMPTOM.examine(&job).is_some()
        };
        assert!(at(0.3) && !at(0.1));
    }

    #[test]
    fn a_schedule_that_waits_for_the_loss_to_stand_is_not_why_it_stands() {
        let steps = |i: usize| if i < 250 { 0.01 } else { 0.003 * 0.3f64.powi((i as i32 - 250) / 60) };
        let converges = |rate: f64| move |i: usize| 1.6 - 0.7 * (1.0 - (-(i as f64) / rate).exp());
        assert!(SYMPTOM.examine(&job(steps, converges(20.0))).is_none());
        let falling = |i: usize| converges(300.0)(i.min(280));
        assert!(SYMPTOM.examine(&job(steps, falling)).is_some(), "it was falling until then");
    }

    #[test]
    fn a_constant_rate_does_not() {
        assert!(SYMPTOM.examine(&job(|_| 0.02, stall)).is_none());
    }

    #[test]
    fn cosine_to_zero_does_not() {
        let cosine = |i: usize| 0.5 * (1.0 + (std::f64::consts::PI * i as f64 / 1000.0).cos());
        let slowly = |i: usize| 4.6 - 2.2 * (i as f64 / 1000.0).sqrt();
        assert!(SYMPTOM.examine(&job(cosine, slowly)).is_none());
    }

    #[test]
    fn the_knobs_say_it_where_no_rate_is_logged() {
        let mut job = with_loss((0..1000).map(stall));
        job.knobs.insert("learning_rate".into(), 0.02.into());
        job.knobs.insert("lr_decay".into(), 0.99.into());
        assert!(SYMPTOM.examine(&job).is_some());
    }
}
