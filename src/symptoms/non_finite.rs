//! NaN or infinity in a loss, metric, gradient norm or histogram: its rules over the evidence.

use super::*;

symptom! {
    non_finite: "NaN or infinity in a loss, metric, gradient norm or histogram";
    Problem loss when [Above(Q::NonFinite, 0.0)]
        says "{tag:non_finite} is not finite, first at step {non_finite_step}, after {finite_points} finite values";
    Problem no_step_is_taken
        when [AtLeast(Q::GradientNonFinite, 1.0), Above(Q::Points, REPEATS), Below(Q::LateFall, SMALL)]
        says "{tag:gradient_non_finite} has not been finite for its latest fifth, and the loss does not fall: no more \
            steps are taken";
    Warning recovered when [Above(Q::NonFiniteStep, f64::NEG_INFINITY)]
        says "the loss was not finite at step {non_finite_step}, but is finite again";
    Warning gradient_norm when [AtLeast(Q::GradientNonFinite, 0.0)]
        says "{tag:gradient_non_finite} was not finite";
    Warning other_series when [AtLeast(Q::OtherNonFinite, 0.0)]
        says "{tag:other_non_finite} was not finite";
}

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
    use super::*;

    fn severity(values: impl IntoIterator<Item = f64>) -> Option<Severity> {
        SYMPTOM.examine(&with_loss(values)).map(|f| f.severity)
    }

    #[test]
    fn a_loss_scale_that_only_goes_down_takes_no_step() {
        let course = |i: usize, until: usize| 0.77 + (-(i.min(until) as f64) / 60.0).exp() + 1e-3 * noise(i);
        let severity = |until: usize, bad: std::ops::Range<usize>| {
            let mut job = with_loss((0..400).map(|i| course(i, until)));
            job.gradient_norm = observed((0..400).map(|i| if bad.contains(&i) { f64::INFINITY } else { 1.3 }));
            SYMPTOM.examine(&job).map(|f| f.severity)
        };
        assert_eq!(severity(120, 120..400), Some(Severity::Problem));
        assert_eq!(severity(400, 0..8), Some(Severity::Warning), "it finds its scale");
        assert_eq!(severity(400, 395..400), Some(Severity::Warning), "and again");
        assert_eq!(severity(400, 0..400), Some(Severity::Warning), "the loss falls: the norm is no use");
    }

    #[test]
    fn one_nan_at_the_start_is_enough() {
        assert_eq!(severity([f64::NAN]), Some(Severity::Problem));
    }

    #[test]
    fn nan_late_in_a_calm_run_is_a_problem() {
        let job = with_loss((0..1000).map(|i| if i < 900 { 0.1 } else { f64::NAN }));
        let finding = SYMPTOM.examine(&job).expect("found");
        assert_eq!(finding.severity, Severity::Problem);
        assert_eq!(finding.numbers["non_finite_step"], 900.0);
    }

    #[test]
    fn a_skipped_step_is_a_warning() {
        assert_eq!(severity((0..1000).map(|i| if i == 300 { f64::NAN } else { 1.0 })), Some(Severity::Warning));
    }

    #[test]
    fn infinite_gradient_norms_of_loss_scaling_are_a_warning() {
        let mut job = with_loss((0..200).map(|_| 1.0));
        job.gradient_norm = observed((0..200).map(|i| if i < 3 { f64::INFINITY } else { 1.0 }));
        assert_eq!(SYMPTOM.examine(&job).map(|f| f.severity), Some(Severity::Warning));
    }

    #[test]
    fn losses_of_opponents_decide_where_there_is_no_other() {
        let mut job = with_loss((0..200).map(|_| 1.0));
        job.parts = observed((0..200).map(|i| if i < 150 { 1.0 } else { f64::NAN })).into_iter().collect();
        assert_eq!(SYMPTOM.examine(&job).map(|f| f.severity), Some(Severity::Warning));
        job.training_loss = None;
        assert_eq!(SYMPTOM.examine(&job).map(|f| f.severity), Some(Severity::Problem));
    }

    #[test]
    fn finite_runs_are_left_alone() {
        assert_eq!(severity((0..100).map(f64::from)), None);
    }
}
