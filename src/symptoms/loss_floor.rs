use super::guess::cost_of_noise;
use super::{Curve, Detector, Finding, JobView, Severity, SymptomDoc, declare_symptom};

declare_symptom! {
    /// **What it shows.** The loss stands at a floor that its formula has, while the accuracy is far better than such a
    /// loss would mean: the softmax is taken twice, or a sigmoid squashes what goes into the cross-entropy.
    ///
    /// **How it is decided.** Scores that are squashed into 0 to 1 before a softmax over K classes leave a
    /// cross-entropy of at least log(e + K - 1) - 1 (K = 2: 0.313, 10: 1.461, 100: 3.622), and of log(e + K - 1) where
    /// the answer is wrong; so the loss stands at log(e + K - 1) minus the accuracy. K is logged, or read from the
    /// start (log K). The loss ends within 4 % of log K of that value (or, where it scatters from batch to batch by
    /// less than the accuracy does, between that and what sigmoids leave that hold two classes for right), the accuracy
    /// is at least 0.5 and has gained 0.2, and no value lies further below the floor; with an accuracy above 0.97 some
    /// value reaches it within 2 %. Without an accuracy, the loss is said to be a cross-entropy, K is at most 1000, and
    /// the loss presses on the floor: end and lowest value within 2 % above it.
    ///
    /// Or the output layer is known to have a sigmoid or a softmax, the accuracy has gained 0.2, no value lies below the
    /// floor, and the loss exceeds by a tenth of log K what scores of that accuracy cost that are as sure as they are
    /// right, H(accuracy) + (1 - accuracy) log(K - 1): several labels at once, whose floor depends on how frequent they
    /// are.
    ///
    /// Where the log is by epochs its first value tells no number of classes, but the end does: for three to twenty, the loss
    /// is within 0.4 % of log K of its closed form at an accuracy of 0.97 or more, or (without an accuracy, where its tag says
    /// cross-entropy) its newest quarter lies within 0.4 % above the floor; and no value ever lay below the floor or more than
    /// 1 above it, which is all that squashed scores can cost.
    ///
    /// Or the loss starts at the log of the batch size within 3 %, where the accuracy is four times that of a guess among so
    /// many, and keeps three fifths of it although half of the answers become right: the softmax is taken over the batch.
    ///
    /// **False alarms.** A contrastive loss starts at the log of the batch size, with the accuracy of a guess. A
    /// network that knows how unsure it is about noisy labels has the same loss at one accuracy (0.73 for two classes,
    /// 0.58 for three, 0.48 for four, 0.23 for ten) and nearly the same around it: the accuracy has to be so far above
    /// that the two differ by 8 % of log K. Label smoothing has a floor too, but another one: 0.50 for ten classes and
    /// 0.1. Two classes with a smoothing of 0.2 come closest, at 0.325, and no value of theirs lies below that.
    ///
    /// **Source.** Cross-entropy of a softmax over one 1 and K - 1 zeros: -log(e / (e + K - 1)).
    LossFloor, "loss_floor", "stands at a floor that the loss's formula has, while the accuracy is far better than that"
}

/// How close to the closed form the end has to be, in units of log K.
const CLOSE: f64 = 0.04;
/// Single values may lie below the floor by rounding only.
const ROUNDING: f64 = 2e-3;
/// An accuracy of one half is no chance result for more than two classes, and for two the gain decides.
const ACCURATE: f64 = 0.5;
const GAIN: f64 = 0.2;
const NEARLY_ALL: f64 = 0.97;
/// The loss of batches against their accuracy, each by the scatter of so many values.
const NARROW: f64 = 0.8;
const NARROW_POINTS: u64 = 100;
/// By how much, in units of log K, a loss exceeds what its accuracy deserves where the scores cannot be sure.
const UNDECIDED: f64 = 0.1;
/// The accuracy that a start at log K goes with is at most so many times 1/K.
const GUESSES: f64 = 2.0;
/// How closely a loss without an accuracy presses on its floor.
const PRESSED: f64 = 0.02;
/// Floors of three to twenty classes lie 2 % apart or more; that of two is also where some smoothing of labels ends.
const FEW_CLASSES: std::ops::RangeInclusive<f64> = 3.0..=20.0;
/// How exactly a loss keeps to its closed form where the number of classes is not known: of log K, and of the floor.
const EXACT: f64 = 4e-3;
/// A start is at most a guess; and near one where there is no accuracy.
const CHANCE: f64 = 1.03;
const NEAR_CHANCE: f64 = 0.85;
/// A start this close to the log of the batch size, relative, at an accuracy so many times that of a guess among its
/// examples, and a loss that keeps this share of it: a contrastive loss starts there too, with a guess, and a learned one
/// keeps less.
const SMALLEST_BATCH: f64 = 4.0;
const AT_LOG: f64 = 0.03;
const BEYOND_A_GUESS: f64 = 4.0;
const MOST_LEFT: f64 = 0.6;
/// Among more classes, one of them is always close to the loss's start.
const MOST_CLASSES: f64 = 1000.0;

impl Detector for LossFloor {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let curve = job.falling_loss()?;
        if !job.mature() || !curve.dropped() {
            return None;
        }
        if let Some(finding) = over_the_batch(self, job, curve) {
            return Some(finding);
        }
        if let Some((classes, floor)) = stands_in_its_band(job, curve) {
            return Some(squashed(self, job, curve, (classes, floor)));
        }
        if !job.classifies() {
            return None;
        }
        // A sigmoid decides each label by itself: yes or no.
        let binary = || (job.text("output_activation") == Some("sigmoid")).then_some(2.0);
        let classes = job.classes(curve).or_else(binary)?;
        let wrong = (std::f64::consts::E + classes - 1.0).ln();
        let floor = wrong - 1.0;
        let accuracy = job.own_accuracy().and_then(|o| o.curve.as_ref());
        // A start that is a mean over much of the training is no guess among any number of classes.
        if job.number("classes").is_none() && accuracy.is_some_and(|accuracy| accuracy.start > GUESSES / classes) {
            return None;
        }
        let stands = match accuracy {
            Some(accuracy) => {
                explained(curve, accuracy, (wrong, classes)) || unsure(job, curve, accuracy, (floor, classes))
            }
            None => pressed(job, curve, (floor, classes)),
        };
        if !stands {
            return None;
        }
        Some(squashed(self, job, curve, (classes, floor)))
    }
}

fn squashed(detector: &LossFloor, job: &JobView, curve: &Curve, (classes, floor): (f64, f64)) -> Finding {
    let accuracy = job.own_accuracy().and_then(|o| o.curve.as_ref());
    let so = accuracy.map_or(String::new(), |accuracy| format!(" with an accuracy of {:.3}", accuracy.end));
    let summary = format!(
        "the loss stands at {:.4}{so}: a cross-entropy over {classes} classes whose scores are squashed into 0 to 1 first (a softmax or a sigmoid too many) cannot go below {floor:.4}",
        curve.end
    );
    let finding = Finding::in_curve(detector, Severity::Problem, curve, summary);
    finding.with("classes", classes).with("floor", floor).with("end", curve.end)
}

/// The number of classes, and the floor, where the first value is a mean over much of the training and tells neither: squashed
/// scores cost between the floor and 1 more whatever they are, and nearly all answers are right, or the loss is one of classes
/// by name and presses on the floor.
fn stands_in_its_band(job: &JobView, curve: &Curve) -> Option<(f64, f64)> {
    let classes = ((curve.end + 1.0).exp() - std::f64::consts::E + 1.0).round();
    let floor = (std::f64::consts::E + classes - 1.0).ln() - 1.0;
    let within = curve.lowest.value > floor * (1.0 - ROUNDING) && curve.highest.value < floor + 1.0;
    if !FEW_CLASSES.contains(&classes) || !within || curve.start > CHANCE * classes.ln() {
        return None;
    }
    let stands = match job.own_accuracy().and_then(|o| o.curve.as_ref()) {
        Some(accuracy) => {
            let cost = floor + 1.0 - accuracy.end;
            accuracy.end >= NEARLY_ALL && (curve.end - cost).abs() < EXACT * classes.ln()
        }
        None => {
            let pressed = |mean: f64| mean < floor * (1.0 + EXACT);
            of_classes_by_name(job, curve)
                && curve.start > NEAR_CHANCE * classes.ln()
                && curve.from(0.75).iter().all(|(_, mean)| pressed(*mean))
        }
    };
    stands.then_some((classes, floor))
}

fn of_classes_by_name(job: &JobView, curve: &Curve) -> bool {
    let names = |name: &str| name.contains("entropy") || name.contains("xent") || name.contains("nll");
    names(&curve.tag.to_ascii_lowercase()) || job.text("loss").is_some_and(names)
}

/// Whether the softmax is taken over the examples of a batch in place of the classes: its loss starts at the log of the
/// batch size, and right answers do not bring it down.
fn over_the_batch(detector: &LossFloor, job: &JobView, curve: &Curve) -> Option<Finding> {
    let batch = job.number("batch_size").filter(|batch| *batch >= SMALLEST_BATCH)?;
    let accuracy = job.own_accuracy()?.curve.as_ref()?;
    let starts = (curve.start - batch.ln()).abs() < AT_LOG * batch.ln() && accuracy.start > BEYOND_A_GUESS / batch;
    let learned = accuracy.end >= ACCURATE && accuracy.end - accuracy.start > GAIN;
    if !starts || !learned || curve.end < MOST_LEFT * curve.start {
        return None;
    }
    let summary = format!(
        "the loss went from log {batch}, the log of the batch size, to {:.4} with an accuracy of {:.3}: the softmax may be taken over the examples of a batch, not over the classes",
        curve.end, accuracy.end
    );
    Some(
        Finding::in_curve(detector, Severity::Problem, curve, summary).with("batch_size", batch).with("end", curve.end),
    )
}

fn explained(curve: &Curve, accuracy: &Curve, (wrong, classes): (f64, f64)) -> bool {
    let learned = accuracy.end >= ACCURATE && accuracy.end - accuracy.start.min(1.0 / classes) > GAIN;
    let (floor, close) = (wrong - 1.0, CLOSE * classes.ln());
    let told_apart = wrong - accuracy.end - cost_of_noise(accuracy.end, classes) > 2.0 * close;
    // Where nearly all answers are right, single values reach the floor; those of label smoothing stop above it.
    let reached = accuracy.end < NEARLY_ALL || curve.lowest.value < floor * (1.0 + PRESSED);
    // Sigmoids may hold two classes for right: then a wrong answer costs only what two scores of 1 leave.
    let undecided = (2.0 * std::f64::consts::E + classes - 2.0).ln() - 1.0;
    let least = floor * accuracy.end + undecided * (1.0 - accuracy.end);
    let lowest_end = if narrow(curve, accuracy) { least - close } else { wrong - accuracy.end - close };
    let in_range = (lowest_end..wrong - accuracy.end + close).contains(&curve.end);
    learned && reached && told_apart && in_range && curve.lowest.value > floor - close
}

/// Scores between 0 and 1 make a wrong answer cost at most 1 more than a right one: the loss of batches then scatters by less
/// than their accuracy does, where that of open scores scatters by several times more.
fn narrow(curve: &Curve, accuracy: &Curve) -> bool {
    curve.points == accuracy.points && curve.points >= NARROW_POINTS && curve.noise < NARROW * accuracy.noise
}

/// Whether the output layer squashes its scores, and the loss is far higher than scores with such an accuracy cost that
/// were free to be as sure as they are right.
fn unsure(job: &JobView, curve: &Curve, accuracy: &Curve, (floor, classes): (f64, f64)) -> bool {
    let squashed = job.text("output_activation").is_some_and(|name| ["sigmoid", "softmax"].contains(&name));
    let gained = accuracy.end - accuracy.start.min(1.0 / classes) > GAIN;
    squashed
        && gained
        && curve.end - cost_of_noise(accuracy.end, classes) > UNDECIDED * classes.ln()
        && curve.lowest.value > floor * (1.0 - ROUNDING)
}

fn pressed(job: &JobView, curve: &Curve, (floor, classes): (f64, f64)) -> bool {
    let near = |value: f64| value > floor * (1.0 - ROUNDING) && value < floor * (1.0 + PRESSED);
    job.text("loss").is_some() && classes <= MOST_CLASSES && near(curve.end) && near(curve.lowest.value)
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::tests::{observed, with_loss};
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
        LossFloor.examine(job).is_some()
    }

    #[test]
    fn a_log_by_epochs_tells_the_number_of_classes_by_its_floor() {
        let by_epochs = |floor: f64, first: f64, right: f64| {
            let mut job = with_loss((0..40).map(|i| floor + (first - floor) * (-(i as f64) / 3.0).exp()));
            job.accuracy = observed((0..40).map(|i| right - 0.5 * (-f64::from(i) / 3.0).exp()));
            LossFloor.examine(&job).is_some()
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
            job.loss.as_mut().and_then(|loss| loss.curve.as_mut()).expect("a shape").tag = tag.to_owned();
            LossFloor.examine(&job).is_some()
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
            LossFloor.examine(&job).is_some()
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
    fn sigmoids_that_hold_two_classes_for_right_cost_less() {
        let job = |scatter: f64| {
            let mut job = with_loss((0..1800).map(|i| 1.62 + 0.7 * (-(i as f64) / 150.0).exp() + scatter * noise(i)));
            job.accuracy = observed((0..1800).map(|i| 0.73 - 0.63 * (-(i as f64) / 150.0).exp() + 0.18 * noise(i + 7)));
            job
        };
        assert!(found(&job(0.09)));
        assert!(!found(&job(0.3)), "label smoothing");
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
