//! A loss or gradient norm is pinned at a bound, so that its true size is hidden: its rules over the evidence.

use super::*;

symptom! {
    clipped: "a loss or gradient norm is pinned at a bound, so that its true size is hidden";
    Problem saturated when [Above(Q::Clamp, THIRD)]
        says "the loss is pinned at {loss_end}, the negative logarithm of a smallest number: the scores became 0, NaN \
            or infinite";
    Problem pinned when [Above(Q::GradientPinned, PINNED)] unless [Above(Q::Progress, HALF), ACCURATE]
        says "the gradient norm is pinned at {gradient_level}: its true size is hidden";
    Problem every_step_cut when [Above(Q::ClipExcess, FAR_ABOVE_CLIP)] unless [Above(Q::Progress, HALF), ACCURATE]
        says "the gradient norm ({gradient_level}) is always at least {clip_excess} times the clip value: every step \
            is clipped";
    Info pinned_while_learning when [Above(Q::GradientPinned, PINNED)]
        says "the gradient norm is pinned at {gradient_level}, but the loss falls";
    Info steps_cut_while_learning when [Above(Q::ClipExcess, FAR_ABOVE_CLIP)]
        says "the gradient norm ({gradient_level}) is at least {clip_excess} times the clip value, but the loss falls";
}

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
    use super::*;

    #[test]
    fn a_pinned_norm_with_a_bad_loss_is_a_problem() {
        let mut job = with_loss((0..500).map(|i| 2.3 + 0.1 * noise(i)));
        job.gradient_norm = observed((0..500).map(|_| 0.05));
        assert_eq!(SYMPTOM.examine(&job).map(|f| f.severity), Some(Severity::Problem));
    }

    #[test]
    fn a_norm_next_to_nothing_is_not_pinned() {
        let mut job = with_loss((0..500).map(|i| 2.3 + 0.1 * noise(i)));
        job.gradient_norm = observed((0..500).map(|_| 1e-9));
        assert!(SYMPTOM.examine(&job).is_none());
    }

    #[test]
    fn clipping_now_and_then_is_healthy() {
        let mut job = with_loss((0..500).map(|i| 1.0 / (1.0 + 0.1 * i as f64)));
        job.gradient_norm = observed((0..500).map(|i| 0.8 + noise(i)));
        job.knobs.insert("gradient_clip".into(), 0.3.into());
        assert!(SYMPTOM.examine(&job).is_none());
    }
}
