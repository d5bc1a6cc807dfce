use super::curve::Level;
use super::{Curve, Detector, Finding, JobView, Observed, Severity, SymptomDoc, declare_symptom, shown};

declare_symptom! {
    /// **What it shows.** The job learned, then stopped while it is still bad by the task's own measure. Not:
    /// converged.
    ///
    /// **How it is decided.** Nine tenths of the drop are done within the first quarter of the run, the rest of it
    /// brings less than a tenth of the drop and of a fifth of its own level (unless the gradient norm is a hundred
    /// times the loss), and less than 97 % of the start is gone. The learning rate must not have fallen: what counts
    /// is progress for the rate that was spent, and at least a fifth of it was spent on the plateau. From the curve
    /// alone that may be a floor of noise, so it is a `warning`, and a `problem` only with a second witness: a
    /// training accuracy that is still low, a gradient norm that is huge against the loss, a round number that all
    /// newest values keep to within 0.2 % (the margin of a ranking loss whose embeddings have collapsed), a divergence
    /// of the latent code that has vanished (below a thousandth of the loss and a tenth of its start, or five
    /// thousandths and a hundredth), an accuracy that gained nothing, steps that blew the loss up to a hundred times
    /// its first value (what comes back from there has lost units), or a setting that is known to be risky (a learning
    /// rate far outside what works for the optimizer, a plain Gaussian initialisation; an activation on the output of
    /// a regression that lost less than three fifths of its start, which is where targets out of reach leave it).
    ///
    /// **Not seen.** A constant answer to all inputs costs the variance of the targets, or the entropy of the classes'
    /// frequencies. Logs hold neither; and the floor of noisy targets may lie at any level, at 1 as well.
    ///
    /// **False alarms.** Regression on noisy targets reaches its floor early and stays there; without a second witness
    /// nobody can tell it from a plateau by looking at the loss.
    Plateaued, "plateaued", "learned, then stopped while still bad by the task's own measure"
}

/// Nine tenths of the drop are done by then.
const EARLY: f64 = 0.3;
/// Outputs that saturate on their way to a target out of reach lose their gradient, and creep.
const CREEPING: f64 = 0.5;
/// A loss that lost so much has converged, unless a witness says otherwise.
const CONVERGED: f64 = 0.97;
/// A training accuracy below this is bad by the task's own measure.
const LOW_ACCURACY: f64 = 0.6;
/// A gradient norm so many times larger than the loss, and at least `HUGE`, belongs to no floor: with weights of order
/// one, a step along it would change the loss by more than all of it.
const STEEP: f64 = 5.0;
const HUGE: f64 = 50.0;
/// Where a loss that still falls has a norm so many times larger, it comes down from an explosion.
const OFF_ALL_SCALES: f64 = 100.0;
/// A loss that its own steps threw to so many times its first value, and that has not lost this share of that since.
const BLOWN_UP: f64 = 100.0;
const REBUILT: f64 = 0.9;
/// With less than this share of the whole learning rate to spend, a loss cannot move much, and standing still is no news.
const RATE_SPENT: f64 = 0.2;
/// A loss this close to a number of one digit, relative, with all its values, hardly is so by chance: such numbers lie a
/// tenth of their size or more apart.
const AT_MARGIN: f64 = 2e-3;
/// A divergence below this share of the loss, and this share of its own start, encodes nothing (posterior collapse, Bowman et
/// al. 2016); the more of its start is gone, the less it needs to be small beside the rest.
const COLLAPSED: [(f64, f64); 2] = [(1e-3, 0.1), (5e-3, 0.01)];
/// Images and probabilities lie within the reach of a sigmoid, and regressions onto them lose most of their start.
const OUT_OF_REACH: f64 = 0.6;

impl Detector for Plateaued {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let curve = job.falling_loss()?;
        // What was blown up scatters too much at first to have fallen by its errors.
        let dropped = curve.dropped() || blown_up(curve).is_some();
        if !job.mature() || job.accurate() || curve.levels.len() < 10 || curve.lowest.value < 0.0 || !dropped {
            return None;
        }
        // What is known besides is a witness of its own, and noise may be read in its favour.
        let (done, early) = if squashed_regression(job).is_some() {
            (curve.done_but_for_noise(0.9), CREEPING)
        } else if blown_up(curve).is_some() {
            (curve.done_but_for_noise(0.9), EARLY)
        } else {
            (curve.done_after(0.9), EARLY)
        };
        let rest = curve.mean_between(0.4, 0.6) - curve.mean_between(0.9, 1.0);
        if done > early || rest > 0.1 * curve.drop() || job.rate_spent_after(done) < RATE_SPENT {
            return None;
        }
        if curve.still_falls() && steepness(job, curve) < OFF_ALL_SCALES {
            return None;
        }
        let witness = witness(job, curve);
        if witness.is_none() && curve.relative_drop() > CONVERGED {
            return None;
        }
        let severity = if witness.is_some() { Severity::Problem } else { Severity::Warning };
        let mut summary = format!(
            "nine tenths of the drop were done after {:.0} % of the run; the loss has stood at {} since (start {})",
            100.0 * done,
            shown(curve.end),
            shown(curve.start)
        );
        let says = witness.unwrap_or_else(|| "nothing else says whether that is its floor".to_owned());
        summary.push_str(&format!("; {says}"));
        Some(
            Finding::in_curve(self, severity, curve, summary)
                .with("done_after_share", done)
                .with("relative_drop", curve.relative_drop()),
        )
    }
}

/// What besides the loss says that this is no floor.
fn witness(job: &JobView, curve: &Curve) -> Option<String> {
    let low = |accuracy: &&Curve| accuracy.end < LOW_ACCURACY && job.right_from_the_first().is_none();
    if let Some(accuracy) = job.accuracy.as_ref().and_then(|o| o.curve.as_ref()).filter(low) {
        return Some(format!("the training accuracy is only {:.3}", accuracy.end));
    }
    let no_gain =
        |(first, end): &(f64, f64)| *end < LOW_ACCURACY && end <= first && job.right_from_the_first().is_none();
    if let Some((first, accuracy)) = job.course_of_accuracy().filter(no_gain) {
        return Some(format!("the accuracy went from {first:.3} to {accuracy:.3}"));
    }
    let steepness = steepness(job, curve);
    if steepness > STEEP {
        return Some(format!("the gradient norm is {steepness:.0} times as large as the loss"));
    }
    if let Some(margin) = collapsed_onto_margin(curve) {
        return Some(format!(
            "{margin} is a margin: where all inputs are embedded at one point, a loss with it stands there"
        ));
    }
    if let Some(part) = job.parts.iter().find(|part| is_of_latent(part) && vanished(part, curve)) {
        return Some(format!("{} has vanished: what is encoded says nothing of the input", part.tag));
    }
    if let Some(activation) = squashed_regression(job).filter(|_| curve.relative_drop() < OUT_OF_REACH) {
        return Some(format!("the output layer has a {activation}, which may keep it from its targets"));
    }
    if let Some(times) = blown_up(curve) {
        return Some(format!("its steps blew it up to {times:.0} times its first value"));
    }
    job.risky_setting().map(|setting| format!("the job runs with {setting}"))
}

/// How many times its first value the loss was blown up to: what comes back from there has lost units or whole layers.
fn blown_up(curve: &Curve) -> Option<f64> {
    let times = curve.highest.value / curve.first.value;
    let rebuilt = 1.0 - curve.end / curve.first.value;
    (curve.first.value > 0.0 && times > BLOWN_UP && rebuilt < REBUILT).then_some(times)
}

/// The gradient norm against the loss; 0 where it is small or not logged.
fn steepness(job: &JobView, curve: &Curve) -> f64 {
    let norm = job.gradient_norm.as_ref().and_then(|o| o.curve.as_ref()).filter(|norm| norm.end > HUGE);
    norm.map_or(0.0, |norm| norm.end / curve.end.abs())
}

/// The round number that the loss stands at, if it does: the margin of a loss `max(0, a - b + margin)` that has the same `a`
/// and `b` for every input, because all are embedded at one point (Schroff et al. 2015, section 3.2, name the collapse).
fn collapsed_onto_margin(curve: &Curve) -> Option<f64> {
    let digit = 10f64.powf(curve.end.abs().max(f64::MIN_POSITIVE).log10().floor());
    let margin = (curve.end / digit).round() * digit;
    let newest = &curve.levels[curve.levels.len() * 3 / 4..];
    let near = |level: &Level| (level.mean - margin).abs() + level.deviation < AT_MARGIN * margin;
    (curve.end > 0.0 && curve.relative_drop() < CONVERGED && newest.iter().all(near)).then_some(margin)
}

/// Whether a part of the loss is the divergence of a latent code from its prior.
fn is_of_latent(part: &Observed) -> bool {
    let tag = part.tag.to_ascii_lowercase();
    tag.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| ["kl", "kld"].contains(&word))
}

/// Whether a part of the loss has fallen to next to nothing, of its start and of the whole.
fn vanished(part: &Observed, whole: &Curve) -> bool {
    let Some(curve) = part.curve.as_ref().filter(|curve| curve.end >= 0.0) else { return false };
    COLLAPSED.iter().any(|(beside, left)| curve.end < beside * whole.end && curve.end < left * curve.start)
}

/// The activation on the output of a job that regresses.
fn squashed_regression(job: &JobView) -> Option<&str> {
    let regresses = matches!(job.text("loss"), Some("l2" | "l1" | "huber" | "smooth_l1"));
    job.text("output_activation").filter(|name| regresses && ["sigmoid", "tanh", "relu", "softmax"].contains(name))
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::tests::{observed, with_loss};
    use super::*;

    fn early_plateau() -> JobView {
        with_loss((0..1000).map(|i| 0.5 + 0.5 * (-(i as f64) / 20.0).exp() + 0.02 * noise(i)))
    }

    fn severity(job: &JobView) -> Option<Severity> {
        Plateaued.examine(job).map(|f| f.severity)
    }

    #[test]
    fn what_comes_back_from_a_blow_up_to_a_plateau_has_lost_something() {
        let severity = |peak: f64, floor: f64| {
            let value = move |i: usize| match i {
                0 => 4.4,
                1..40 => 0.5 * peak * (1.0 + noise(i)),
                _ => floor * (1.0 + 2.0 * noise(i)),
            };
            Plateaued.examine(&with_loss((0..3000).map(value))).map(|finding| finding.severity)
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
            Observed { tag: "train/kl".to_owned(), ..observed(values).expect("a series") }
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
    fn saturating_outputs_creep_to_their_plateau() {
        let creeps = |i: usize| 0.52 + 0.73 * (-(i as f64) / 150.0).exp() + 0.01 * noise(i);
        let mut job = with_loss((0..1000).map(creeps));
        job.knobs.insert("loss".into(), "l2".into());
        assert_eq!(severity(&job), None);
        job.knobs.insert("output_activation".into(), "sigmoid".into());
        assert_eq!(severity(&job), Some(Severity::Problem));
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
