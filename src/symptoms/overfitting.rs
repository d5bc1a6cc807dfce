//! Training keeps improving while validation gets worse: its rules over the evidence.

use super::*;

/// Its validation loss has enough values: a few suffice, because all are measured on the same examples.
const VALIDATED: Test = Support(Q::ValidationRise, EVALUATIONS);

symptom! {
    overfitting: "training keeps improving while validation gets worse";
    Problem validation_rises
        when [VALIDATED, Above(Q::ValidationRise, OVERFIT_RISE), Above(Q::ValidationRiseErrors, SIGNIFICANT),
            Above(Q::ValidationLostAgain, LEARNED), Above(Q::TrainingFallSince, LEARNED),
            Below(Q::ValidationBestAfter, COLLAPSE)]
        unless [Above(Q::ValidationAccuracyLateGain, 0.0), Above(Q::ValidationAccuracy, GOOD),
            All(&[Above(Q::ValidationAccuracy, COLLAPSE), Below(Q::AccuracyLost, SMALL)])]
        says "the validation loss rose by {validation_rise%} from its best ({validation_best}, after \
            {validation_best_after%} of the run), while the training loss fell to {loss_end}";
    Problem learned_by_heart
        when [MATURE, VALIDATED, Above(Q::Memorised, GOOD), Below(Q::ValidationProgress, HALF),
            Above(Q::ValidationRise, SMALL), Above(Q::ValidationRiseErrors, SIGNIFICANT),
            Below(Q::ValidationBestAfter, COLLAPSE)]
        unless [Above(Q::ValidationAccuracyLateGain, 0.0), Above(Q::ValidationAccuracy, GOOD)]
        says "the training loss fell to {loss_end}; the validation loss improved by {validation_progress%} of its \
            start at best, and has risen since";
    Problem never_generalised
        when [MATURE, VALIDATED, Above(Q::Progress, SMALL), Above(Q::DropErrors, SIGNIFICANT),
            Below(Q::ValidationProgress, SMALL), Above(Q::ValidationFall, -MAYBE), Above(Q::Memorised, SMALL)]
        unless [Above(Q::ValidationAccuracy, GUESS), ACCURATE]
        says "the training loss fell from {loss_start} to {loss_end}, and the validation loss was never better than \
            {validation_best}";
    Problem training_goes_on_alone
        when [MATURE, VALIDATED, Above(Q::Memorised, 1.0 - FITS_SHARE), Above(Q::LateFall, GOOD),
            Above(Q::ValidationRise, -SMALL), Below(Q::ValidationProgress, GOOD), Above(Q::ValidationFall, -BROKEN)]
        unless [Above(Q::ValidationAccuracyLateGain, 0.0), Above(Q::ValidationAccuracy, GOOD)]
        says "the training loss fell to {loss_end}, a thousandth of the validation loss, which is constant";
    Problem accuracies_part
        when [MATURE, Above(Q::AccuracyGap, GAP), Above(Q::Accuracy, GOOD), Above(Q::Progress, SMALL)]
        says "the training accuracy rose to {accuracy}, while the validation accuracy stays at {validation_accuracy}";
    Warning too_sure
        when [VALIDATED, Above(Q::ValidationRise, OVERFIT_RISE), Above(Q::ValidationRiseErrors, SIGNIFICANT),
            Above(Q::ValidationLostAgain, LEARNED), Above(Q::TrainingFallSince, LEARNED),
            Below(Q::ValidationBestAfter, COLLAPSE), Above(Q::ValidationAccuracy, 0.0)]
        unless [Above(Q::ValidationAccuracyLateGain, SMALL)]
        says "the validation loss rose by {validation_rise%} from its best ({validation_best}), but the accuracy did \
            not fall";
}

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
    use super::*;

    #[test]
    fn validation_that_never_beats_an_untrained_network_is_no_learning() {
        let flat = |level: f64, gain: f64| {
            let mut job = with_loss((0..1000).map(|i| 2.0 - 0.0006 * i as f64 + 0.05 * noise(i)));
            job.validation_loss = observed((0..30).map(|i| level - gain * i as f64 / 30.0 + 0.01 * noise(i)));
            SYMPTOM.examine(&job).is_some()
        };
        assert!(flat(2.05, 0.0));
        assert!(!flat(2.05, 0.4), "it follows");
        assert!(!flat(1.5, 0.0), "it was taken first when most was learned");
    }

    #[test]
    fn training_that_goes_on_by_orders_of_magnitude_alone_has_learned_by_heart() {
        let alone = |floor: f64, pace: f64| {
            let mut job = with_loss((0..1500).map(|i| (-(i as f64) / pace).exp()));
            job.validation_loss = observed((0..100).map(|i| floor + (0.94 - floor) * (-f64::from(i) / 5.0).exp()));
            SYMPTOM.examine(&job).is_some()
        };
        assert!(alone(0.21, 60.0));
        assert!(!alone(0.02, 60.0), "validation lost nearly all of its start as well");
        assert!(!alone(0.21, 1000.0), "training is of the same order");
    }

    #[test]
    fn accuracies_that_part_show_it_where_no_validation_loss_is_logged() {
        let apart = |validation: fn(usize) -> f64| {
            let mut job = falling();
            job.accuracy = observed((0..1000).map(|i| 1.0 - 0.9 * (-f64::from(i) / 200.0).exp()));
            job.validation_accuracy = observed((0..30).map(validation));
            SYMPTOM.examine(&job).is_some()
        };
        assert!(apart(|i| 0.4 + 0.02 * noise(i)));
        assert!(!apart(|i| 0.8 + 0.02 * noise(i)));
        assert!(!apart(|i| 0.1 + 0.015 * i as f64), "it generalises late");
    }

    #[test]
    fn answers_as_good_as_ever_and_only_too_sure_are_no_problem() {
        let severity = |training: f64, accuracy: fn(usize) -> f64| {
            let mut job = with_loss((0..50).map(|i| training + 2.0 * (-(i as f64) / 6.0).exp() - 0.001 * i as f64));
            job.validation_loss =
                observed((0..50).map(|i| (0.46 + 0.6 * (-(i as f64) / 3.0).exp()).max(0.4 + 0.006 * i as f64)));
            job.validation_accuracy = observed((0..50).map(accuracy));
            SYMPTOM.examine(&job).expect("validation rises").severity
        };
        let (held, lost) = (|i: usize| 0.85 + 0.01 * noise(i), |i: usize| 0.9 - 0.002 * i as f64);
        assert_eq!(severity(0.2, held), Severity::Warning);
        assert_eq!(severity(0.2, lost), Severity::Problem);
    }

    #[test]
    fn a_fall_onto_chance_is_nothing_learned_by_heart() {
        let mut job = with_loss((0..1000).map(|i| 1.10 + 0.09 * (-(i as f64) / 50.0).exp() + 0.02 * noise(i)));
        job.validation_loss = observed((0..30).map(|i| 1.10 + 0.01 * noise(i)));
        assert!(SYMPTOM.examine(&job).is_none());
    }

    fn falling() -> JobView {
        with_loss((0..1000).map(|i| 2.3 * (-(i as f64) / 200.0).exp()))
    }

    #[test]
    fn rising_validation_under_falling_training_is_overfitting() {
        let mut job = falling();
        job.validation_loss =
            observed((0..50).map(|i| if i < 15 { 2.3 - 0.1 * f64::from(i) } else { 0.8 + 0.03 * f64::from(i - 15) }));
        assert_eq!(SYMPTOM.examine(&job).map(|f| f.severity), Some(Severity::Problem));
    }

    #[test]
    fn a_training_set_that_is_known_by_heart_and_little_else_is_overfitting() {
        let found = |best: f64, end: f64| {
            let mut job = with_loss((0..1500).map(|i| 0.8 * (-f64::from(i) / 60.0).exp() + 1e-4));
            let course = |i: usize| {
                if i < 40 { 0.75 - (0.75 - best) * (i as f64 / 20.0).min(1.0) } else { end + 0.002 * noise(i) }
            };
            job.validation_loss = observed((0..150).map(course));
            SYMPTOM.examine(&job).is_some()
        };
        assert!(found(0.65, 0.69));
        assert!(!found(0.65, 0.652), "it stays at its best");
        assert!(!found(0.30, 0.31), "most of it holds for validation too");
    }

    #[test]
    fn a_validation_loss_that_falls_along_is_fine() {
        let mut job = falling();
        job.validation_loss = observed((0..50).map(|i| 2.3 * (-(i as f64) / 15.0).exp() + 0.2 + 0.05 * noise(i)));
        assert!(SYMPTOM.examine(&job).is_none());
    }

    #[test]
    fn a_validation_loss_that_scatters_far_above_its_best_is_past_it() {
        let mut job = falling();
        let levels =
            [1.7, 1.9, 2.3, 4.6, 9.3, 12.3, 11.8, 7.1, 18.5, 42.3, 40.0, 3.5, 11.2, 10.5, 19.2, 19.0, 22.6, 10.1, 17.6];
        job.validation_loss = observed(levels);
        assert!(SYMPTOM.examine(&job).is_some());
        job.validation_loss = observed(levels.map(|level| if level > 15.0 { level } else { 1.8 + 0.01 * level }));
        assert!(SYMPTOM.examine(&job).is_none(), "single evaluations that jump");
    }

    #[test]
    fn a_tiny_validation_set_scatters() {
        let mut job = falling();
        job.validation_loss = observed((0..50).map(|i| 0.3 + 0.5 * (noise(i) + 0.5)));
        assert!(SYMPTOM.examine(&job).is_none());
    }
}
