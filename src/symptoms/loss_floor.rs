//! The loss stops at the lower bound of its formula although the accuracy is far better: its rules over the evidence.

use super::*;

symptom! {
    loss_floor: "the loss stops at the lower bound of its formula although the accuracy is far better";
    Problem squashed_scores when [MATURE, Below(Q::FloorDistance, FLOOR)]
        says "the loss stopped at {loss_end}, the value of a cross-entropy whose scores were already squashed (an \
            extra softmax or sigmoid, or a softmax over the batch)";
}

#[cfg(test)]
mod tests {
    use super::super::test_jobs::*;
    use super::*;

    fn accuracy(i: usize) -> f64 {
        0.1 + 0.85 * (1.0 - (-(i as f64) / 150.0).exp())
    }

    fn with_accuracy(loss: impl Fn(usize) -> f64) -> JobView {
        let mut job = with_loss((0..1000).map(loss));
        job.accuracy = observed((0..1000).map(accuracy));
        job
    }

    fn found(job: &JobView) -> bool {
        SYMPTOM.examine(job).is_some()
    }

    #[test]
    fn a_log_by_epochs_tells_the_number_of_classes_by_its_floor() {
        let by_epochs = |floor: f64, first: f64, right: f64| {
            let mut job = with_loss((0..40).map(|i| floor + (first - floor) * (-(i as f64) / 3.0).exp()));
            job.accuracy = observed((0..40).map(|i| right - 0.5 * (-f64::from(i) / 3.0).exp()));
            SYMPTOM.examine(&job).is_some()
        };
        assert!(by_epochs(1.4690, 2.187, 0.993));
        assert!(!by_epochs(1.4690, 2.187, 0.85), "others may be as unsure as they are right");
        assert!(!by_epochs(1.50, 2.187, 0.993), "no closed form");
        assert!(!by_epochs(1.0437, 4.0, 0.99), "smoothed labels of many classes come from far above");
    }

    #[test]
    fn a_loss_that_is_one_of_classes_by_name_presses_on_its_floor() {
        let presses = |tag: &str, floor: f64| {
            let mut job =
                with_loss((0..500).map(|i| floor + 0.671 * (-(i as f64) / 15.0).exp() + 4e-4 * (0.5 + noise(i))));
            job.training_loss.as_mut().and_then(|loss| loss.curve.as_mut()).expect("a shape").tag = tag.to_owned();
            SYMPTOM.examine(&job).is_some()
        };
        assert!(presses("train/cross_entropy", 1.0437));
        assert!(!presses("train/loss", 1.0437) && !presses("train/cross_entropy", 1.06));
    }

    #[test]
    fn a_softmax_over_the_batch_starts_at_the_log_of_its_size() {
        let over = |batch: i32, floor: f64, first: f64| {
            let fall = |i: usize| (-(i as f64) / 150.0).exp();
            let mut job = with_loss((0..1200).map(|i| floor + (3.5 - floor) * fall(i) + 0.05 * noise(i)));
            job.accuracy = observed((0..1200).map(|i| 0.78 - (0.78 - first) * fall(i) + 0.05 * noise(i)));
            job.knobs.insert("batch_size".into(), batch.into());
            SYMPTOM.examine(&job).is_some()
        };
        assert!(over(32, 2.54, 0.2));
        assert!(!over(64, 2.54, 0.2), "it is not the batch's");
        assert!(!over(32, 0.6, 0.2), "right answers bring it down");
        assert!(!over(32, 2.54, 0.03), "one example among 32 is what a contrastive loss looks for");
    }

    #[test]
    fn two_softmaxes_leave_the_closed_form() {
        let wrong = (std::f64::consts::E + 9.0).ln();
        let undecided = |i: usize| (-(i as f64) / 60.0).exp();
        let loss = |i| (1.0 - undecided(i)) * (wrong - accuracy(i)) + undecided(i) * 10f64.ln() + 0.05 * noise(i);
        assert!(found(&with_accuracy(loss)));
    }

    #[test]
    fn a_cross_entropy_that_goes_on_falling_is_left_alone() {
        assert!(!found(&with_accuracy(|i| 0.1 + 2.2 * (-(i as f64) / 150.0).exp())));
    }

    #[test]
    fn label_smoothing_has_a_lower_floor() {
        assert!(!found(&with_accuracy(|i| 0.5 + 1.8 * (-(i as f64) / 150.0).exp())));
    }

    #[test]
    fn two_classes_with_much_smoothing_do_not_reach_it() {
        let mut job = with_loss((0..1000).map(|i| 0.3253 + 0.37 * (-(i as f64) / 50.0).exp()));
        job.accuracy = observed((0..1000).map(|i| if i < 50 { 0.5 } else { 1.0 }));
        assert!(!found(&job));
    }

    #[test]
    fn a_hard_task_stands_at_a_like_loss_with_the_accuracy_that_belongs_to_it() {
        let mut job = with_loss((0..1000).map(|i| 1.46 + 0.84 * (-(i as f64) / 150.0).exp() + 0.1 * noise(i)));
        job.accuracy = observed((0..1000).map(|i| accuracy(i) * 0.5));
        assert!(!found(&job));
    }

    #[test]
    fn noisy_labels_cost_about_as_much_where_the_two_curves_touch() {
        let mut job = with_loss((0..1000).map(|i| 1.195 + 0.19 * (-(i as f64) / 100.0).exp() + 0.1 * noise(i)));
        job.accuracy = observed((0..1000).map(|i| 0.54 - 0.29 * (-(i as f64) / 100.0).exp()));
        assert!(!found(&job));
    }

    #[test]
    fn scores_that_cannot_be_sure_cost_more_than_their_accuracy_deserves() {
        let with_output = |output: &str, end: f64| {
            let mut job = with_loss((0..1000).map(|i| end + (0.69 - end) * (-(i as f64) / 200.0).exp()));
            job.accuracy = observed((0..1000).map(|i| 0.5 + 0.38 * (1.0 - (-(i as f64) / 150.0).exp())));
            job.knobs.insert("loss".into(), "cross_entropy".into());
            job.knobs.insert("output_activation".into(), output.into());
            found(&job)
        };
        assert!(with_output("sigmoid", 0.58));
        assert!(!with_output("sigmoid", 0.32), "as sure as it is right");
        assert!(!with_output("none", 0.58), "nothing squashes it");
    }

    #[test]
    fn without_an_accuracy_the_loss_has_to_press_on_the_floor() {
        let floor = (std::f64::consts::E + 9.0).ln() - 1.0;
        let mut job = with_loss((0..1000).map(|i| floor + 0.84 * (-(i as f64) / 40.0).exp() + 0.01 * noise(i).abs()));
        assert!(!found(&job), "nothing says that it is a cross-entropy");
        job.knobs.insert("loss".into(), "cross_entropy".into());
        assert!(found(&job));
        let through = with_loss((0..1000).map(|i| 1.46 + 0.84 * (-(i as f64) / 40.0).exp() + 0.1 * noise(i)));
        let through = JobView { knobs: job.knobs.clone(), ..through };
        assert!(!found(&through));
    }
}
