//! Stopped improving after it learned, but is still bad by the task's own measure: its rules over the evidence.

use super::*;

/// It fell beyond its noise, was nearly done early, and has stood since at a rate that could still move it.
const STANDS: Test = All(&[
    MATURE,
    Support(Q::DoneAfter, FEW_POINTS),
    Below(Q::DoneAfter, EARLY),
    Below(Q::LateFall, FIFTH),
    Above(Q::RateLeft, FIFTH),
    Any(&[Above(Q::DropErrors, SIGNIFICANT), Above(Q::EarlyPeak, BLOWN_UP)]),
]);

/// What a rule says of such a loss, before its own sign.
macro_rules! stood {
    ($sign:literal) => {
        concat!(
            "nine tenths of the decrease were done after {done_after%} of the run; the loss has been {loss_end} since",
            $sign
        )
    };
}

symptom! {
    plateaued: "stopped improving after it learned, but is still bad by the task's own measure";
    Problem low_accuracy when [STANDS, Below(Q::Accuracy, GUESS)] unless [Above(Q::TrainedBefore, HALF), ACCURATE]
        says stood!("; the training accuracy is only {accuracy}");
    Problem accuracy_gained_nothing when [STANDS, Below(Q::AccuracyGain, 0.0), Below(Q::ValidationAccuracy, GUESS)]
        unless [Above(Q::TrainedBefore, HALF), ACCURATE]
        says stood!("; the accuracy gained {accuracy_gain}");
    Problem steep when [STANDS, Above(Q::GradientToLoss, STEEP), Above(Q::GradientLevel, LARGE_NORM)] unless [ACCURATE]
        says stood!("; the gradient norm is {gradient_to_loss} orders of magnitude larger than the loss");
    Problem at_a_margin when [STANDS, Below(Q::Margin, FITS_SHARE), Below(Q::Progress, CONVERGED)] unless [ACCURATE]
        says stood!(", the margin that a ranking loss has if all inputs are embedded at one point");
    Problem latent_code_vanished when [STANDS, Below(Q::LatentCode, FITS_SHARE)] unless [ACCURATE]
        says stood!("; {tag:latent_code} has vanished, so the code says nothing of the input");
    Problem out_of_reach when [STANDS, Above(Q::Squashed, HALF), Below(Q::Progress, GUESS)] unless [ACCURATE]
        says stood!("; the activation of the output layer may keep it from its targets");
    Problem blown_up when [STANDS, Above(Q::EarlyPeak, BLOWN_UP * BLOWN_UP), Below(Q::Progress, GOOD)] unless [ACCURATE]
        says stood!("; the first steps raised it to {early_peak} times its first value");
    Problem at_a_risky_setting when [STANDS, Any(&[Above(Q::RatePosition, FAR_OFF), Above(Q::RiskyStart, HALF)])]
        unless [ACCURATE]
        says stood!("; the learning rate or the initialisation is known to be risky");
    Warning no_second_witness when [STANDS, Below(Q::Progress, CONVERGED)] unless [ACCURATE]
        says stood!("; there is no other evidence whether this is its lowest possible level");
}

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
    use super::*;

    fn early_plateau() -> JobView {
        with_loss((0..1000).map(|i| 0.5 + 0.5 * (-(i as f64) / 20.0).exp() + 0.02 * noise(i)))
    }

    fn severity(job: &JobView) -> Option<Severity> {
        SYMPTOM.examine(job).map(|f| f.severity)
    }

    #[test]
    fn what_comes_back_from_a_blow_up_to_a_plateau_has_lost_something() {
        let severity = |peak: f64, floor: f64| {
            let value = move |i: usize| match i {
                0 => 4.4,
                1..40 => 0.5 * peak * (1.0 + noise(i)),
                _ => floor * (1.0 + 2.0 * noise(i)),
            };
            SYMPTOM.examine(&with_loss((0..3000).map(value))).map(|finding| finding.severity)
        };
        assert_eq!(severity(7000.0, 1.0), Some(Severity::Problem));
        assert_ne!(severity(20.0, 1.0), Some(Severity::Problem));
        assert_ne!(severity(7000.0, 0.2), Some(Severity::Problem), "it learned what there was");
    }

    #[test]
    fn a_floor_of_noise_is_at_most_a_warning() {
        assert_eq!(severity(&early_plateau()), Some(Severity::Warning));
    }

    #[test]
    fn low_accuracy_makes_it_a_problem() {
        let mut job = early_plateau();
        job.accuracy = observed((0..1000).map(|_| 0.4));
        assert_eq!(severity(&job), Some(Severity::Problem));
    }

    #[test]
    fn a_risky_setting_makes_it_a_problem() {
        let mut job = early_plateau();
        job.knobs.insert("optimizer".into(), "adam".into());
        job.knobs.insert("learning_rate".into(), 0.08.into());
        assert_eq!(severity(&job), Some(Severity::Problem));
    }

    #[test]
    fn targets_out_of_the_reach_of_the_output_are_a_problem_and_images_are_not() {
        let sigmoid = |floor: f64| {
            let falls = move |i: usize| floor + (1.0 - floor) * (-(i as f64) / 20.0).exp() + 0.01 * noise(i);
            let mut job = with_loss((0..1000).map(falls));
            job.knobs.insert("loss".into(), "l2".into());
            job.knobs.insert("output_activation".into(), "sigmoid".into());
            severity(&job)
        };
        assert_eq!((sigmoid(0.7), sigmoid(0.06)), (Some(Severity::Problem), Some(Severity::Warning)));
    }

    #[test]
    fn a_loss_that_keeps_to_its_margin_is_a_problem() {
        let stands_at = |level: f64| with_loss((0..1500).map(|i| level + 0.9 * (-f64::from(i) / 30.0).exp() + 1e-4));
        assert_eq!(severity(&stands_at(0.3)), Some(Severity::Problem));
        assert_eq!(severity(&stands_at(0.31)), Some(Severity::Warning));
    }

    #[test]
    fn a_latent_code_that_says_nothing_is_a_problem() {
        let mut job = early_plateau();
        let divergence = |floor: f64| {
            let values = (0..1000).map(move |i| floor + 0.04 * (-f64::from(i) / 50.0).exp());
            Observed::new("train/kl", &sketch(values))
        };
        job.parts = vec![divergence(0.05)];
        assert_eq!(severity(&job), Some(Severity::Warning));
        job.parts = vec![divergence(1e-5)];
        assert_eq!(severity(&job), Some(Severity::Problem));
    }

    #[test]
    fn noisy_labels_leave_an_accuracy_about_the_bound_and_a_fall_that_noise_hides() {
        let falls = |i: usize| 1.2 + 0.35 * (-(i as f64) / 100.0).exp() - 0.00008 * i as f64 + 0.4 * noise(i);
        let mut job = with_loss((0..800).map(falls));
        job.accuracy = observed((0..800).map(|i| 0.598 + 0.3 * noise(i + 99)));
        assert_ne!(severity(&job), Some(Severity::Problem));
    }

    #[test]
    fn a_rate_that_has_fallen_leaves_nothing_to_expect() {
        let mut job = early_plateau();
        job.accuracy = observed((0..1000).map(|_| 0.4));
        job.learning_rate = observed((0..1000).map(|i| if i < 50 { 0.1 } else { 0.001 }));
        assert_eq!(severity(&job), None);
        job.learning_rate =
            observed((0..1000).map(|i| 0.05 * (1.0 + (std::f64::consts::PI * f64::from(i) / 1000.0).cos())));
        assert_eq!(severity(&job), Some(Severity::Problem));
    }

    #[test]
    fn a_converged_run_is_left_alone() {
        assert_eq!(severity(&with_loss((0..1000).map(|i| 0.001 + (-(i as f64) / 20.0).exp()))), None);
    }

    #[test]
    fn a_fall_by_equal_shares_goes_on_although_little_is_left_of_its_start() {
        let mut job = with_loss((0..1000).map(|i| 13_000.0 * (-(i as f64) / 20.0).exp() + 500.0 * 0.998_f64.powi(i)));
        job.gradient_norm = observed((0..1000).map(|i| 4000.0 * (-(i as f64) / 20.0).exp() + 600.0));
        assert_eq!(severity(&job), None);
    }

    #[test]
    fn a_run_that_still_falls_is_left_alone() {
        assert_eq!(severity(&with_loss((0..1000).map(|i| 1.0 / (1.0 + 0.01 * i as f64)))), None);
    }
}
