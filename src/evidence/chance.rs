//! The loss of a guess (a cross-entropy or a squared error), and the accuracy that a loss implies: closed forms that
//! distinguish learning from constant answers.

use std::f64::consts::{E, LN_2};

use crate::numbers::*;

use super::curve::Curve;
use super::job::JobView;
use super::{Evidence, Observed, Quantity as Q};

pub(super) fn measure(job: &JobView, evidence: &mut Evidence) {
    let (Some(observed), Some(curve)) = (job.loss(), job.falling_loss()) else { return };
    let accuracy = job.own_accuracy().and_then(|observed| observed.curve.as_ref());
    let mut put = |quantity, value: Option<f64>| {
        if let Some(value) = value {
            evidence.put(quantity, (value, curve.end_error / curve.end.abs().max(f64::MIN_POSITIVE)), observed);
        }
    };
    put(Q::OverChance, over_chance(job, curve));
    put(Q::OverGuess, accuracy.and_then(|accuracy| over_guess(job, curve, accuracy)));
    put(Q::OneAnswer, one_answer(job, curve));
    put(Q::Impossible, accuracy.and_then(|accuracy| impossible(job, curve, accuracy)));
    put(Q::FloorDistance, floor_distance(job, curve, accuracy));
}

/// Whether the network gives one constant answer, and its loss is no better than that.
pub(super) fn gives_one_answer(evidence: &Evidence) -> bool {
    evidence.above(Q::OneAnswer, CONVERGED)
}

/// How uncertain a decrease is as a measure of what was learned, both as fractions of the start: a loss that has come down to
/// that of a guess, from however far above, has learned nothing yet.
pub(super) fn error_of_guessing(evidence: &Evidence) -> impl Fn(f64) -> f64 + use<> {
    let guesses = gives_one_answer(evidence) || evidence.above(Q::OverChance, -AT_CHANCE);
    move |decrease| if guesses { decrease.clamp(0.0, 1.0) } else { 0.0 }
}

impl JobView {
    /// The number of classes, as logged, or as implied by the start of a cross-entropy.
    pub fn classes(&self) -> Option<f64> {
        classes_at_start(self, self.falling_loss()?)
    }
}

/// The number of classes implied by a cross-entropy that starts at the chance level.
pub(super) fn classes_at_start(job: &JobView, curve: &Curve) -> Option<f64> {
    if let Some(classes) = job.number("classes").filter(|classes| *classes >= 2.0) {
        return Some(classes);
    }
    let classes = curve.start.exp().round();
    let close = (curve.start - classes.ln()).abs() < AT_CHANCE * classes.ln();
    ((2.0..=MOST_CLASSES).contains(&classes) && close).then_some(classes)
}

/// An accuracy that has not improved since its start and could be a guess.
fn guessing(observed: &Observed) -> Option<f64> {
    let curve = observed.curve.as_ref()?;
    let gain = curve.end - curve.start;
    let scatter =
        gain < MAYBE * ACCURACY_GAIN && gain < SIGNIFICANT * curve.drop_error() && curve.trend_from(0.0) < TREND;
    (curve.end > 0.0 && curve.end < GUESS && (gain < ACCURACY_GAIN || scatter)).then_some(curve.end)
}

/// Excess of the final loss over the chance level of its classes: the known classes, those implied by its
/// start, or those implied by an accuracy that is a guess. The value nearest to 0 if these differ.
fn over_chance(job: &JobView, curve: &Curve) -> Option<f64> {
    let guess = [&job.accuracy, &job.validation_accuracy].into_iter().flatten().find_map(guessing);
    let by_guess = guess.map(|accuracy| (1.0 / accuracy).round().max(2.0));
    if let Some(cost) = by_guess.and_then(|classes| of_squares(job, curve.end, 1.0 / classes)) {
        return Some(cost - 1.0);
    }
    if !job.classifies() || curve.end <= 0.0 {
        return None;
    }
    // If the accuracy is a guess, a loss that fell to log K is at the chance level of K classes.
    let at_end = curve.end.exp().round().max(2.0);
    let frequent = |accuracy: f64| cost_of_noise(accuracy.max(1.0 / at_end), at_end) > 0.94 * at_end.ln();
    let by_end = guess.filter(|accuracy| at_end <= MOST_CLASSES && frequent(*accuracy)).map(|_| at_end);
    // Above the chance level of the most classes means above that of any.
    let above_all = (curve.end > MOST_CLASSES.ln()).then_some(MOST_CLASSES);
    // With many classes, an accuracy of twice a guess is not a guess.
    let own = job.own_accuracy().and_then(|observed| observed.curve.as_ref());
    let no_guess = |classes: f64| {
        own.is_some_and(|own| own.end > OVERSURE / classes && own.end > own.start + MAYBE * own.drop_error())
    };
    if let Some(classes) = job.number("classes").filter(|classes| *classes >= 2.0) {
        return Some(curve.end / classes.ln() - 1.0).filter(|over| *over < -AT_CHANCE || !no_guess(classes));
    }
    let by_guess = by_guess.filter(|classes| *classes <= MOST_CLASSES && !no_guess(at_end));
    let candidates = [classes_at_start(job, curve), by_guess, by_end, above_all].into_iter().flatten();
    let over = candidates.filter(|classes| !no_guess(*classes)).map(|classes| curve.end / classes.ln() - 1.0);
    over.min_by(|a, b| a.abs().total_cmp(&b.abs()))
}

/// The loss relative to the squared error of one constant answer between 0 and 1 that is correct with this probability, if
/// it is exactly at that level. A regression with an accuracy that means nothing is rarely there, and no cross-entropy of a
/// guess is.
fn of_squares(job: &JobView, loss: f64, right: f64) -> Option<f64> {
    let cost = loss / (right * (1.0 - right));
    let squared = job.text("loss").is_none_or(|name| name == "l2") && !job.loss_is_derived;
    (squared && (cost - 1.0).abs() < AT_CHANCE).then_some(cost)
}

/// A cross-entropy at its best relative to that of a guess among the classes that the first accuracy implies. Sums over
/// outputs are as high, so the type of the loss must be known.
fn over_guess(job: &JobView, curve: &Curve, accuracy: &Curve) -> Option<f64> {
    let known = job.text("loss").is_some_and(|loss| loss.contains("entropy")) || job.text("initializer").is_some();
    let classes = (1.0 / accuracy.start).round();
    let possible = known && job.classifies() && (2.0..=MOST_CLASSES).contains(&classes) && accuracy.end < HALF;
    possible.then(|| curve.start.min(curve.end) / classes.ln())
}

/// The loss relative to that of one constant answer, if the accuracy was exactly the same at all evaluations but the first. A network
/// that knows more than class frequencies has a lower cross-entropy than the entropy of its own accuracy: that for two
/// classes, and the minimum for more.
fn one_answer(job: &JobView, curve: &Curve) -> Option<f64> {
    let gained = job.accuracy.as_ref().and_then(|o| o.curve.as_ref()).is_some_and(|c| c.end - c.start > ACCURACY_GAIN);
    let same = |observed: &Option<Observed>| {
        let observed = observed.as_ref().filter(|observed| observed.sketch.count() as f64 >= EVALUATIONS)?;
        observed.constant_since_first().filter(|accuracy| *accuracy > 0.0 && *accuracy < GOOD)
    };
    if gained || curve.late_fall() > AT_CHANCE {
        return None;
    }
    let (accuracy, cost) = match (same(&job.validation_accuracy), job.validation()) {
        (Some(accuracy), Some(validation)) => (accuracy, validation.end),
        (Some(accuracy), None) => (accuracy, curve.end),
        (None, _) => (same(&job.accuracy)?, curve.end),
    };
    of_squares(job, cost, accuracy).or_else(|| job.classifies().then(|| cost / cost_of_noise(accuracy, 2.0)))
}

/// Deficit of the accuracy relative to what such a cross-entropy implies. A wrong answer assigns less than one half to
/// the correct class, and costs more than log 2; so with a mean cross-entropy L, at most L / log 2 of all answers are
/// wrong (Markov).
fn impossible(job: &JobView, curve: &Curve, accuracy: &Curve) -> Option<f64> {
    let named = accuracy.tag.to_ascii_lowercase().contains("acc") && job.classifies();
    let classes = classes_at_start(job, curve).filter(|_| named && curve.end > 0.0)?;
    // An accuracy of zero may be that of whole sequences.
    let guess = accuracy.end * classes;
    (FIFTH..OVERSURE).contains(&guess).then(|| 1.0 - curve.end / LN_2 - accuracy.end)
}

/// Cross-entropy of a calibrated network with the given accuracy whose wrong labels are spread evenly (Cover and
/// Thomas, Fano's inequality). It is also the maximum that the frequencies of K classes can cost.
pub(super) fn cost_of_noise(accuracy: f64, classes: f64) -> f64 {
    let (accuracy, wrong) = (accuracy.clamp(f64::MIN_POSITIVE, 1.0), (1.0 - accuracy).max(f64::MIN_POSITIVE));
    -accuracy * accuracy.ln() - wrong * (wrong / (classes - 1.0)).ln()
}

/// Distance of the loss from log(e + K - 1) - accuracy, the cross-entropy of scores squashed to the range 0 to 1 before
/// a softmax over K classes, in units of log K; if no other loss with that accuracy is as close.
fn floor_distance(job: &JobView, curve: &Curve, accuracy: Option<&Curve>) -> Option<f64> {
    if !curve.dropped() {
        return None;
    }
    let by_name = |name: &str| ["entropy", "xent", "nll"].iter().any(|word| name.contains(word));
    let named = by_name(&curve.tag.to_ascii_lowercase()) || job.text("loss").is_some_and(by_name);
    let binary = (job.text("output_activation") == Some("sigmoid")).then_some(2.0);
    let at_start = classes_at_start(job, curve).or(binary).filter(|classes| *classes <= MOST_CLASSES);
    // A start that averages over much of the training does not reveal the number of classes; the end does.
    let at_end = ((curve.end + 1.0).exp() - E + 1.0).round();
    let at_end = (3.0..=20.0).contains(&at_end).then_some(at_end);
    let distance = |classes: f64, by_end: bool| {
        let (wrong, unit) = ((E + classes - 1.0).ln(), classes.ln());
        let floor = wrong - 1.0;
        // Squashed scores cost between the lower bound and 1 more, regardless of their values.
        let within = curve.lowest.value > floor - FLOOR * unit && curve.highest.value < floor + 1.0 + FLOOR * unit;
        let starts = curve.start < (1.0 + AT_CHANCE) * unit;
        let Some(accuracy) = accuracy else {
            let pressed = curve.lowest.value > floor * (1.0 - FLOOR / 10.0) && curve.start > 0.85 * unit;
            let distance = (curve.end - floor).abs() / floor;
            let distance = if by_end { 10.0 * distance } else { 2.0 * distance };
            return (named && within && starts && pressed).then_some(distance);
        };
        // A start that averages over much of the training does not reveal the number of classes.
        if !by_end && job.number("classes").is_none() && accuracy.start > OVERSURE / classes {
            return None;
        }
        if is_squashed(job) && learned_by(accuracy, classes) {
            let undecided = curve.end - cost_of_noise(accuracy.end, classes) > ACCURACY_GAIN * unit;
            return (undecided && curve.lowest.value > floor * (1.0 - FLOOR / 10.0)).then_some(0.0);
        }
        // If nearly all answers are correct, single values reach the lower bound; those of label smoothing stop above
        // it.
        let reached = accuracy.end < CONVERGED || curve.lowest.value < floor * (1.0 + HALF * FLOOR);
        let learned = accuracy.end >= HALF && learned_by(accuracy, classes) && reached;
        let apart = wrong - accuracy.end - cost_of_noise(accuracy.end, classes) > 2.0 * FLOOR * unit;
        let exact = !by_end || accuracy.end > CONVERGED;
        let distance = (curve.end - (wrong - accuracy.end)).abs() / unit;
        let distance = if by_end { 10.0 * distance } else { distance };
        (job.classifies() && learned && apart && within && starts && exact).then_some(distance)
    };
    let of_batch = job.number("batch_size").zip(accuracy).and_then(|(batch, right)| over_batch(curve, right, batch));
    let by_start = at_start.and_then(|classes| distance(classes, false));
    let by_end = at_end.and_then(|classes| distance(classes, true));
    [by_start, by_end, of_batch].into_iter().flatten().reduce(f64::min)
}

fn learned_by(accuracy: &Curve, classes: f64) -> bool {
    accuracy.end - accuracy.start.min(1.0 / classes) > FIFTH
}

/// Whether the output layer is known to squash its scores.
fn is_squashed(job: &JobView) -> bool {
    job.text("output_activation").is_some_and(|name| ["sigmoid", "softmax"].contains(&name))
}

/// Distance of the start from the log of the batch size, if correct answers do not lower the loss: the softmax is taken
/// over the examples of a batch instead of the classes. A contrastive loss also starts there, with a guess.
fn over_batch(curve: &Curve, accuracy: &Curve, batch: f64) -> Option<f64> {
    let no_guess = accuracy.start > 4.0 / batch && accuracy.end >= HALF && accuracy.end - accuracy.start > FIFTH;
    (batch >= 4.0 && no_guess && curve.end > GUESS * curve.start).then(|| (curve.start / batch.ln() - 1.0).abs())
}
