use super::{
    Curve, Detector, Finding, JobView, Observed, SIGNIFICANT, Severity, SymptomDoc, TREND, declare_symptom, shown,
};

declare_symptom! {
    /// **What it shows.** Training goes on improving while validation gets worse.
    ///
    /// **How it is decided.** The validation loss ends above its best level by 15 % of that level, by four standard
    /// errors (or at more than twice that level, with four fifths of its second half above), and by a tenth of what it
    /// had gained (or it never gained anything); since that best level the training
    /// loss fell by a tenth or more. With a validation accuracy above 0.9, or above 0.8 and at its best while training
    /// costs a tenth of validation or more, it is a `warning`: the answers are as good as before, and only too sure.
    ///
    /// Or, over the whole of a mature run, the training loss fell by a twentieth beyond its noise, and the validation
    /// loss does not fall and was never a tenth below where training started, nor a twentieth below where it started
    /// itself: what is learned holds for nothing else. Validation has to stand a twentieth above training then.
    ///
    /// Or, in a mature run whose losses start alike: training ends below a tenth of validation, which gained less than
    /// half of the start and is past its best by 3 % and by four standard errors. Or training ends below a thousandth of
    /// validation, which stands at more than a tenth of its start while training fell to less than a tenth of what it was:
    /// what is still learned is of no use to any other example.
    ///
    /// Where no validation loss is logged: a training accuracy above 0.9, and a validation accuracy that is lower by 0.35 and
    /// did not rise in the second half.
    ///
    /// **False alarms.** What generalises late (grokking) looks like this until then. A small validation set scatters:
    /// the standard error is taken from its own scatter. A validation loss that creeps up by a few per cent while
    /// everything is near its floor is no overfitting worth a message.
    Overfitting, "overfitting", "training goes on improving while validation gets worse"
}

/// Rise above the best level, relative to it.
const RISE: f64 = 0.15;
/// ... and relative to what had been gained.
const OF_GAIN: f64 = 0.1;
/// Fall of the training loss since the best validation level, relative.
const TRAINING_FALL: f64 = 0.1;
/// What training has to lose, and validation must not, for the one to be learning by heart.
const MEMORISED: f64 = 0.05;
/// Losses of one kind start within this factor of each other, trained on or not.
const ALIKE: f64 = 2.0;
/// A training loss below this share of the validation loss fits what validation does not share.
const BY_HEART: f64 = 0.1;
/// Validation that gained less than this share of what an untrained network has gained little ...
const LITTLE: f64 = 0.5;
/// ... and is past its best by this share of it.
const WORSE: f64 = 0.03;
/// A training loss below this share of the validation loss is of another order, and ...
const ALONE: f64 = 1e-3;
/// ... falls further where its second half goes below this share of its middle ...
const GOES_ON: f64 = 0.1;
/// ... while validation loses less than this share of itself, and ...
const STANDS: f64 = 0.02;
/// ... stands above this share of its start.
const USELESS: f64 = 0.1;
/// A validation accuracy is good above this, and at its best within so much of it.
const MOSTLY_RIGHT: f64 = 0.8;
const AT_ITS_BEST: f64 = 0.02;
/// Training is right nearly always above this, and validation far less often by this.
const NEARLY_RIGHT: f64 = 0.9;
const APART: f64 = 0.35;
/// Levels of a second half, and the share of them, that say by their number what their scatter hides.
const LATE_LEVELS: usize = 8;
const NEARLY_ALL: f64 = 0.8;
/// Fewer evaluations say nothing.
const EVALUATIONS: u64 = 6;

impl Detector for Overfitting {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        by_losses(self, job).or_else(|| by_accuracies(self, job))
    }
}

/// What the losses show.
fn by_losses(detector: &Overfitting, job: &JobView) -> Option<Finding> {
    let (training, observed) = (job.falling_loss()?, job.validation_loss.as_ref()?);
    if job.loss.as_ref().is_some_and(|loss| loss.tag == observed.tag) || observed.sketch.count() < EVALUATIONS {
        return None;
    }
    let validation = observed.curve.as_ref()?;
    if let Some(finding) = never_generalises(detector, job, training, validation) {
        return Some(finding);
    }
    let (share, best) = validation.best_time();
    if let Some(finding) = fits_alone(detector, job, training, validation) {
        return Some(finding);
    }
    if let Some(finding) = learned_by_heart(detector, job, (training, validation), (share, best)) {
        return Some(finding);
    }
    let (rise, gain) = (validation.end - best, (validation.start - best).max(0.0));
    let fell = training.mean_between((share - 0.05).max(0.0), share + 0.05) - training.end;
    let training_level = training.end.abs() + fell.abs();
    let sure = rise > SIGNIFICANT * validation.end_error || stays_far_above(validation, best);
    let clear = rise > RISE * best.abs() && sure && rise > OF_GAIN * gain;
    if !clear || share > 0.8 || fell < TRAINING_FALL * training_level {
        return None;
    }
    let severity = severity_of(job, training.end / validation.end);
    let summary = format!(
        "the validation loss rose from {} (after {:.0} % of the run) to {} while the training loss went on to {}",
        shown(best),
        100.0 * share,
        shown(validation.end),
        shown(training.end)
    );
    Some(
        Finding::in_curve(detector, severity, validation, summary)
            .with("best_validation", best)
            .with("end_validation", validation.end)
            .with("best_after_share", share),
    )
}

/// Whether a loss that scatters too much for a standard error is past its best all the same: it stands at more than twice
/// that, and nearly all of its second half lies above.
fn stays_far_above(validation: &Curve, best: f64) -> bool {
    let late = validation.from(0.5);
    let above = late.iter().filter(|(_, level)| level - best > RISE * best.abs()).count();
    late.len() >= LATE_LEVELS && validation.end - best > best.abs() && above as f64 >= NEARLY_ALL * late.len() as f64
}

/// What the accuracies show, where no validation loss is logged: training is right nearly always, and validation far less
/// often and no more often than before.
fn by_accuracies(detector: &Overfitting, job: &JobView) -> Option<Finding> {
    let training = job.accuracy.as_ref().and_then(|o| o.curve.as_ref())?;
    let validation = job.validation_accuracy.as_ref().and_then(|o| o.curve.as_ref())?;
    let falls = job.falling_loss()?.lost(MEMORISED);
    let apart = training.end > NEARLY_RIGHT && validation.end < training.end - APART;
    let stands = validation.trend_from(0.5) < TREND && validation.end - validation.mean_between(0.4, 0.6) < AT_ITS_BEST;
    if job.validation_loss.is_some() || !job.mature() || !falls || !apart || !stands {
        return None;
    }
    let summary = format!(
        "the training accuracy rose to {:.3}, and the validation accuracy stands at {:.3}",
        training.end, validation.end
    );
    let finding = Finding::in_curve(detector, Severity::Problem, validation, summary);
    Some(finding.with("end_training", training.end).with("end_validation", validation.end))
}

/// Validation stands where an untrained network does, from its first time on, while training goes on falling.
fn never_generalises(detector: &Overfitting, job: &JobView, training: &Curve, validation: &Curve) -> Option<Finding> {
    let (_, best) = validation.best_time();
    let reached = |start: f64, share: f64| best < start - share * start.abs();
    let gained = reached(training.start, TRAINING_FALL) || reached(validation.start, MEMORISED);
    let accurate = job.accurate() || job.validation_accuracy.as_ref().is_some_and(good);
    let falls = validation.trend_from(0.0) < -TREND / 2.0;
    // A loss that only fell onto chance, where validation stands as well, has learned nothing by heart.
    let by_heart = best - training.end > MEMORISED * best.abs();
    if !job.mature()
        || gained
        || !by_heart
        || accurate
        || falls
        || !training.lost(MEMORISED)
        || training.lowest.value < 0.0
    {
        return None;
    }
    let summary = format!(
        "the training loss fell from {:.4} to {:.4}, and the validation loss was never better than {best:.4}",
        training.start, training.end
    );
    let finding = Finding::in_curve(detector, Severity::Problem, validation, summary);
    Some(finding.with("best_validation", best).with("end_validation", validation.end))
}

/// Answers that are as good as ever and only too sure are no problem, unless training has learned them by heart.
fn severity_of(job: &JobView, training_share: f64) -> Severity {
    let accuracy = job.validation_accuracy.as_ref().and_then(|o| o.curve.as_ref());
    let still_alike = training_share > BY_HEART;
    let holds = |accuracy: &Curve| {
        let top = accuracy.levels.iter().map(|level| level.mean).fold(0.0, f64::max);
        accuracy.end > MOSTLY_RIGHT && (accuracy.end > 0.9 || still_alike && accuracy.end > top - AT_ITS_BEST)
    };
    if accuracy.is_some_and(holds) { Severity::Warning } else { Severity::Problem }
}

/// Training goes on by orders of magnitude where validation has come to a stand, far above it.
fn fits_alone(detector: &Overfitting, job: &JobView, training: &Curve, validation: &Curve) -> Option<Finding> {
    // Measures of two kinds cannot be compared: those of one kind start alike.
    let alike = training.start < ALIKE * validation.start && validation.start < ALIKE * training.start;
    let middle = |curve: &Curve| curve.mean_between(0.4, 0.6);
    let goes_on = training.end > 0.0 && training.end < GOES_ON * middle(training);
    let stands = middle(validation) - validation.end < STANDS * validation.end;
    let far_above = training.end < ALONE * validation.end && validation.end > USELESS * validation.start;
    if !job.mature() || !alike || !goes_on || !stands || !far_above {
        return None;
    }
    let summary = format!(
        "the training loss fell to {}, while the validation loss has stood at {} (start {}) for half of the run",
        shown(training.end),
        shown(validation.end),
        shown(validation.start)
    );
    let finding = Finding::in_curve(detector, severity_of(job, training.end / validation.end), validation, summary);
    Some(finding.with("end_validation", validation.end).with("end_training", training.end))
}

/// Training has nothing left to lose, of which validation gained little and that at its best time, which is over.
fn learned_by_heart(
    detector: &Overfitting,
    job: &JobView,
    (training, validation): (&Curve, &Curve),
    (share, best): (f64, f64),
) -> Option<Finding> {
    let alike = training.start < ALIKE * validation.start && validation.start < ALIKE * training.start;
    let by_heart = training.end >= 0.0 && training.end < BY_HEART * validation.end;
    let untrained = validation.start.max(training.start);
    let rise = validation.end - best;
    let worse = rise > SIGNIFICANT * validation.end_error && rise > WORSE * best;
    if !job.mature() || !alike || !by_heart || untrained - best > LITTLE * untrained || !worse || share > 0.8 {
        return None;
    }
    let summary = format!(
        "the training loss fell to {}, while the validation loss went from {} to {} (after {:.0} % of the run) and back to {}",
        shown(training.end),
        shown(validation.start),
        shown(best),
        100.0 * share,
        shown(validation.end)
    );
    let finding = Finding::in_curve(detector, severity_of(job, training.end / validation.end), validation, summary);
    Some(
        finding.with("best_validation", best).with("end_validation", validation.end).with("end_training", training.end),
    )
}

/// Whether validation is right more often than any guess among two classes.
fn good(accuracy: &Observed) -> bool {
    accuracy.curve.as_ref().is_some_and(|curve| curve.end > 0.6)
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::tests::{observed, with_loss};
    use super::*;

    #[test]
    fn validation_that_never_beats_an_untrained_network_is_no_learning() {
        let flat = |level: f64, gain: f64| {
            let mut job = with_loss((0..1000).map(|i| 2.0 - 0.0006 * i as f64 + 0.05 * noise(i)));
            job.validation_loss = observed((0..30).map(|i| level - gain * i as f64 / 30.0 + 0.01 * noise(i)));
            Overfitting.examine(&job).is_some()
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
            Overfitting.examine(&job).is_some()
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
            Overfitting.examine(&job).is_some()
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
                observed((0..50).map(|i| (0.46 + 0.6 * (-(i as f64) / 3.0).exp()).max(0.4 + 0.004 * i as f64)));
            job.validation_accuracy = observed((0..50).map(accuracy));
            Overfitting.examine(&job).expect("validation rises").severity
        };
        let (held, lost) = (|i: usize| 0.85 + 0.01 * noise(i), |i: usize| 0.9 - 0.002 * i as f64);
        assert_eq!(severity(0.2, held), Severity::Warning);
        assert_eq!(severity(0.2, lost), Severity::Problem);
        assert_eq!(severity(0.06, held), Severity::Problem, "learned by heart");
    }

    #[test]
    fn a_fall_onto_chance_is_nothing_learned_by_heart() {
        let mut job = with_loss((0..1000).map(|i| 1.10 + 0.09 * (-(i as f64) / 50.0).exp() + 0.02 * noise(i)));
        job.validation_loss = observed((0..30).map(|i| 1.10 + 0.01 * noise(i)));
        assert!(Overfitting.examine(&job).is_none());
    }

    fn falling() -> JobView {
        with_loss((0..1000).map(|i| 2.3 * (-(i as f64) / 200.0).exp()))
    }

    #[test]
    fn rising_validation_under_falling_training_is_overfitting() {
        let mut job = falling();
        job.validation_loss =
            observed((0..50).map(|i| if i < 15 { 2.3 - 0.1 * f64::from(i) } else { 0.8 + 0.03 * f64::from(i - 15) }));
        assert_eq!(Overfitting.examine(&job).map(|f| f.severity), Some(Severity::Problem));
    }

    #[test]
    fn a_training_set_that_is_known_by_heart_and_little_else_is_overfitting() {
        let found = |best: f64, end: f64| {
            let mut job = with_loss((0..1500).map(|i| 0.8 * (-f64::from(i) / 60.0).exp() + 1e-4));
            let course = |i: usize| {
                if i < 40 { 0.75 - (0.75 - best) * (i as f64 / 20.0).min(1.0) } else { end + 0.002 * noise(i) }
            };
            job.validation_loss = observed((0..150).map(course));
            Overfitting.examine(&job).is_some()
        };
        assert!(found(0.65, 0.69));
        assert!(!found(0.65, 0.652), "it stays at its best");
        assert!(!found(0.30, 0.31), "most of it holds for validation too");
    }

    #[test]
    fn a_validation_loss_that_falls_along_is_fine() {
        let mut job = falling();
        job.validation_loss = observed((0..50).map(|i| 2.3 * (-(i as f64) / 15.0).exp() + 0.2 + 0.05 * noise(i)));
        assert!(Overfitting.examine(&job).is_none());
    }

    #[test]
    fn a_validation_loss_that_scatters_far_above_its_best_is_past_it() {
        let mut job = falling();
        let levels =
            [1.7, 1.9, 2.3, 4.6, 9.3, 12.3, 11.8, 7.1, 18.5, 42.3, 40.0, 3.5, 11.2, 10.5, 19.2, 19.0, 22.6, 10.1, 17.6];
        job.validation_loss = observed(levels);
        assert!(Overfitting.examine(&job).is_some());
        job.validation_loss = observed(levels.map(|level| if level > 15.0 { level } else { 1.8 + 0.01 * level }));
        assert!(Overfitting.examine(&job).is_none(), "single evaluations that jump");
    }

    #[test]
    fn a_tiny_validation_set_scatters() {
        let mut job = falling();
        job.validation_loss = observed((0..50).map(|i| 0.3 + 0.5 * (noise(i) + 0.5)));
        assert!(Overfitting.examine(&job).is_none());
    }
}
