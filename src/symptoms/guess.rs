//! What a guess costs, and what a loss says of an accuracy: closed forms that tell learning from answering.
//!
//! Owns: chance levels, the entropy of a constant answer, the accuracy that a cross-entropy implies. Must not know: which
//! detector asks, how bad it is.

use std::f64::consts::LN_2;

use super::curve::{Curve, TREND};
use super::view::{JobView, Observed};

/// A loss this close to log K, relative, is at the chance level of K classes.
const CHANCE_MARGIN: f64 = 0.03;

/// Nor need the frequencies of the classes cost all of log K: an accuracy is that of the most frequent class where they may
/// cost all but this share of it.
const FREQUENCIES: f64 = 0.06;
/// An accuracy that rises and is so many times that of a guess has left it.
const BEYOND_CHANCE: f64 = 2.0;
/// An accuracy that ends within this of its start has gained nothing.
const GUESS_GAIN: f64 = 1.25;
const GUESS_NOISE: f64 = 0.02;

/// So many evaluations, and no others, with the same accuracy to the last digit: weights that move change some answer in a
/// hundred, unless the answer does not depend on the input.
const SAME_ANSWERS: u64 = 5;
/// A training accuracy that gained so much has learned something, be it to be right where noisy labels are not.
const LEARNED: f64 = 0.1;
/// Easy data leave no answer to change.
const NEARLY_ALL_RIGHT: f64 = 0.9;
/// A network that knows more than frequencies costs less than the entropy of its own accuracy, and one that knows only them no
/// less: on the same examples to within rounding, on others to within what frequencies differ by.
const SAME_EXAMPLES: f64 = 0.01;
const OTHER_EXAMPLES: f64 = 0.03;

/// A cross-entropy so many times that of a guess says that answers are wrong and sure of themselves.
const OVERSURE: f64 = 2.0;
/// Below this accuracy most answers are wrong.
const MOSTLY_WRONG: f64 = 0.5;

/// An accuracy falls so far short of what its loss implies that no scatter explains it.
const SHORT_BY: f64 = 0.5;
/// Shares of 1/K between which an accuracy is one of guesses: none at all may be that of whole sequences.
const GUESSED: std::ops::Range<f64> = 0.2..2.0;
/// Among more classes a start at the chance level of one of them says nothing.
const MOST_CLASSES: f64 = 1000.0;

/// Why the loss is no better than a guess, in words, where the accuracy stayed at chance.
pub(super) fn at_chance(job: &JobView, curve: &Curve) -> Option<String> {
    // Accuracies of single batches scatter: where validation guesses, at the loss of a guess, so does training.
    let guesses = |observed: &&Observed| observed.at_chance() == Some(true);
    let guessing = job.accuracy.as_ref().filter(guesses).or(job.validation_accuracy.as_ref().filter(guesses));
    let (first, accuracy) = guessing.filter(|_| job.classifies() && curve.end > 0.0)?.course_of_accuracy()?;
    // What still falls only passes the chance level of some number of classes.
    let falls = curve.mean_between(0.4, 0.6) - curve.end;
    if falls > CHANCE_MARGIN * curve.end && curve.trend_from(0.4) < -TREND {
        return None;
    }
    let stays_above = |classes: f64| curve.from(0.5).iter().all(|(_, mean)| *mean > 0.9 * classes.ln());
    let classes = curve.end.exp().round().clamp(2.0, 1e6);
    // Among many classes one has its chance level at any loss: it has to be theirs that the accuracy is at.
    let frequent = cost_of_noise(accuracy.max(1.0 / classes), classes) > (1.0 - FREQUENCIES) * classes.ln();
    let close = (curve.end - classes.ln()).abs() < CHANCE_MARGIN * classes.ln() && frequent;
    let beyond = job.accuracy_rises() && accuracy > BEYOND_CHANCE / classes;
    if close && !beyond && stays_above(classes) {
        let chance = classes.ln();
        return Some(format!("the chance level of {classes} classes (log {classes} = {chance:.4})"));
    }
    let guessed = (1.0 / accuracy).round().clamp(2.0, 1e6);
    // Validation may come after all that was learned, and show no gain.
    let by_training = job.accuracy_at_chance() == Some(true);
    let no_gain = by_training && accuracy <= GUESS_GAIN * first + GUESS_NOISE && !job.accuracy_rises();
    let above = curve.end > (1.0 - CHANCE_MARGIN) * guessed.ln();
    (no_gain && above && stays_above(guessed))
        .then(|| format!("no better than a guess: the accuracy went from {first:.3} to {accuracy:.3}"))
}

/// Why the answers do not depend on the inputs, in words: an accuracy that is the same to the last digit at all
/// evaluations, at a loss no lower than the entropy of such an answer.
pub(super) fn one_answer(job: &JobView, curve: &Curve) -> Option<String> {
    let gained = job.accuracy.as_ref().and_then(Observed::course_of_accuracy).is_some_and(|(a, b)| b - a > LEARNED);
    if !job.classifies() || job.goes_on_from().is_some() || job.tunes() || gained {
        return None;
    }
    let falls = curve.mean_between(0.4, 0.6) - curve.mean_between(0.9, 1.0);
    if falls > CHANCE_MARGIN * curve.end.abs() {
        return None;
    }
    let same = |observed: &Option<Observed>| {
        let observed = observed.as_ref()?;
        let unit = if observed.sketch.highest()?.value > 1.5 { 0.01 } else { 1.0 };
        let (lowest, highest, times) = (observed.sketch.lowest()?, observed.sketch.highest()?, observed.sketch.count());
        (times >= SAME_ANSWERS && lowest.value == highest.value).then_some((unit * highest.value, times))
    };
    let validation = job.validation_loss.as_ref().and_then(|o| o.curve.as_ref());
    let ((accuracy, times), cost) = match (same(&job.validation_accuracy), validation) {
        (Some(answer), Some(validation)) => (answer, validation.end / (1.0 - SAME_EXAMPLES)),
        (Some(answer), None) => (answer, curve.end / (1.0 - OTHER_EXAMPLES)),
        (None, _) => (same(&job.accuracy)?, curve.end / (1.0 - SAME_EXAMPLES)),
    };
    let answers = accuracy > 0.0 && accuracy < NEARLY_ALL_RIGHT;
    (answers && cost >= entropy(accuracy)).then(|| {
        format!("the accuracy was exactly {accuracy:.4} at all {times} evaluations, which is one answer to all inputs")
    })
}

/// Why the loss is worse than a guess, in words, though it falls: twice the chance level of the classes that the first
/// accuracy tells, with most answers wrong. Sums over outputs are as high, so that something has to say what the loss is or
/// that it begins too high.
pub(super) fn worse_than_a_guess(job: &JobView, curve: &Curve) -> Option<String> {
    let known = job.text("loss").is_some_and(|loss| loss.contains("entropy")) || job.risky_setting().is_some();
    let (first, accuracy) = job.course_of_accuracy().filter(|_| known && job.classifies())?;
    let classes = (1.0 / first).round();
    if !(2.0..=MOST_CLASSES).contains(&classes) || accuracy > MOSTLY_WRONG {
        return None;
    }
    let guess = classes.ln();
    (curve.start > OVERSURE * guess && curve.end > OVERSURE * guess)
        .then(|| format!("a guess among {classes} classes costs {guess:.4}"))
}

/// Why loss and accuracy cannot both be right, in words. An answer that is wrong gives the right class less than one half,
/// and costs more than log 2: a mean cross-entropy L leaves at most L / log 2 of all answers wrong (Markov's inequality).
pub(super) fn impossible_accuracy(job: &JobView, curve: &Curve) -> Option<String> {
    let observed = job.own_accuracy().filter(|observed| observed.tag.to_ascii_lowercase().contains("acc"))?;
    let classes = job.classes(curve).filter(|classes| *classes <= MOST_CLASSES && job.classifies())?;
    let (_, accuracy) = observed.course_of_accuracy()?;
    let implied = 1.0 - curve.end / LN_2;
    let guessed = GUESSED.contains(&(accuracy * classes));
    (guessed && curve.end > 0.0 && implied - accuracy > SHORT_BY).then(|| {
        format!(
            "the accuracy stayed at {accuracy:.3}, a guess among {classes} classes, where such a cross-entropy means at least {implied:.3}: one of the two is measured wrongly"
        )
    })
}

/// Cross-entropy of a network that is right as often as its accuracy says and knows it, where wrong labels are spread evenly:
/// the entropy of one class of probability `accuracy` and of K - 1 that share the rest (Cover and Thomas, Fano's inequality).
/// It is also the most that the frequencies of K classes can cost of which the most frequent has that share.
pub(super) fn cost_of_noise(accuracy: f64, classes: f64) -> f64 {
    let (accuracy, wrong) = (accuracy.clamp(f64::MIN_POSITIVE, 1.0), (1.0 - accuracy).max(f64::MIN_POSITIVE));
    -accuracy * accuracy.ln() - wrong * (wrong / (classes - 1.0)).ln()
}

/// Entropy of an answer that is right with this probability, in nats: of two classes, and the least of more.
fn entropy(right: f64) -> f64 {
    -right * right.ln() - (1.0 - right) * (1.0 - right).ln()
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::tests::{observed, with_loss};
    use super::*;

    fn says(job: &JobView, what: fn(&JobView, &Curve) -> Option<String>) -> bool {
        what(job, job.falling_loss().expect("a shape")).is_some()
    }

    fn majority(accuracies: impl IntoIterator<Item = f64>, floor: f64) -> JobView {
        let mut job = with_loss((0..1000).map(|i| floor + 0.15 * (-(i as f64) / 30.0).exp() + 0.05 * noise(i)));
        job.validation_accuracy = observed(accuracies);
        job
    }

    #[test]
    fn an_accuracy_that_repeats_itself_at_the_entropy_of_its_share_is_one_answer() {
        assert!(says(&majority([0.62; 10], 0.93), one_answer));
        assert!(says(&majority([62.0; 10], 0.93), one_answer), "in per cent");
        let after_one = [0.5, 0.62, 0.62, 0.62, 0.62, 0.62, 0.62];
        assert!(!says(&majority(after_one, 0.66), one_answer), "noisy labels of classes that are easily told apart");
        assert!(!says(&majority([0.62, 0.62, 0.62], 0.93), one_answer), "too few evaluations");
    }

    #[test]
    fn answers_that_change_or_cost_less_than_their_share_depend_on_the_inputs() {
        assert!(!says(&majority((0..10).map(|i| 0.62 + 0.01 * noise(i)), 0.93), one_answer));
        assert!(!says(&majority([0.72; 10], 0.5), one_answer), "a few examples that are hard to tell");
        assert!(!says(&majority([0.95; 10], 0.3), one_answer), "a small set of easy data");
    }

    #[test]
    fn tuning_and_noisy_labels_leave_answers_as_they_are() {
        let mut tuned = majority([0.73; 10], 0.6);
        tuned.learning_rate = observed([2e-5; 100]);
        assert!(!says(&tuned, one_answer));
        let mut noisy = majority([0.68; 10], 1.09);
        assert!(says(&noisy, one_answer));
        noisy.accuracy = observed((0..1000).map(|i| 0.68 - 0.48 * (-f64::from(i) / 30.0).exp()));
        assert!(!says(&noisy, one_answer));
    }

    #[test]
    fn half_of_the_answers_right_are_no_guess_among_four_classes() {
        let at_log_4 = |accuracy: f64| {
            let mut job = with_loss((0..24).map(|i| 1.386 + 0.03 * (-(i as f64) / 4.0).exp()));
            job.accuracy = observed((0..24).map(move |i| accuracy - 0.02 * (-f64::from(i)).exp()));
            at_chance(&job, job.falling_loss().expect("a shape")).is_some_and(|words| words.contains("4 classes"))
        };
        assert!(at_log_4(0.28) && !at_log_4(0.51));
    }

    #[test]
    fn a_loss_far_above_a_guess_is_worse_than_one_however_it_falls() {
        let mut job = with_loss((0..800).map(|i| 14.0 - 0.01 * i as f64 + noise(i)));
        job.validation_accuracy = observed((0..10).map(|i| 0.1 + 0.016 * f64::from(i)));
        assert!(!says(&job, worse_than_a_guess), "it may be a sum over outputs");
        job.knobs.insert("initializer".into(), "normal".into());
        assert!(says(&job, worse_than_a_guess));
        job.validation_accuracy = observed((0..10).map(|i| 0.1 + 0.06 * f64::from(i)));
        assert!(!says(&job, worse_than_a_guess), "most answers are right");
    }

    #[test]
    fn a_low_cross_entropy_goes_with_no_guess() {
        let mut job = with_loss((0..1000).map(|i| 0.09 + 2.2 * (-(i as f64) / 100.0).exp() + 0.01 * noise(i)));
        let mut with = |accuracy: f64, tag: &str| {
            job.accuracy = observed((0..1000).map(|i| accuracy + 0.02 * noise(i)));
            job.accuracy.as_mut().expect("a series").tag = tag.to_owned();
            says(&job, impossible_accuracy)
        };
        assert!(with(0.08, "train/accuracy"));
        assert!(!with(0.08, "eval/exact_match"), "of whole sequences");
        assert!(!with(0.0, "eval/accuracy"), "nor need this be of single answers");
        assert!(!with(0.6, "train/accuracy"));
    }
}
