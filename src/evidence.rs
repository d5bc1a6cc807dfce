//! The state of a job, derived from its curves and settings, as named quantities: one definition, unit, error and
//! support each.
//!
//! Owns: the table of quantities, the shape of a series, the change point, a job at any step. Must not know: which
//! symptom uses a quantity; symptoms, beliefs, policies.
//!
//! To add a quantity, add its line to the table below, and measure it in one of the files of `evidence/`.

mod chance;
mod change;
mod curve;
mod gradients;
mod job;
mod kind;
mod loss;
mod quality;
mod settings;
#[cfg(test)]
pub(crate) mod tests;
mod unit;
mod waves;

use serde::Serialize;

pub use change::Change;
pub use curve::{Curve, Level};
pub use job::{JobView, Layer, Life, Observed};
pub use kind::Kind;
pub use unit::Unit;

/// One measured quantity. Unknown quantities are not in the [`Evidence`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// Its value, in the unit of the table.
    pub value: f64,
    /// Its standard error; 0 if it is exact.
    pub error: f64,
    /// The number of points behind it.
    pub support: u64,
    /// First and last step of these points.
    pub steps: (i64, i64),
}

macro_rules! quantities {
    ($($name:ident $id:literal $unit:literal $meaning:literal;)*) => {
        /// The name of a quantity.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Quantity { $(#[doc = $meaning] $name),* }

        /// Every quantity, in the order of the table.
        pub const QUANTITIES: &[Quantity] = &[$(Quantity::$name),*];

        impl Quantity {
            /// The name in files, messages and guards.
            pub const fn id(self) -> &'static str { match self { $(Quantity::$name => $id),* } }
            /// Its unit.
            pub const fn unit(self) -> &'static str { match self { $(Quantity::$name => $unit),* } }
            /// Its meaning, in one line.
            pub const fn meaning(self) -> &'static str { match self { $(Quantity::$name => $meaning),* } }
        }
    };
}

quantities! {
    Points "points" "points" "number of finite values of the judged series";
    Steps "steps" "steps" "latest step of the judged series";
    Updates "updates" "updates" "optimizer updates of the whole run: as planned, or as made if it has ended; unknown if only its epochs are";
    UpdatesMade "updates_made" "updates" "optimizer updates so far; unknown if only epochs are";
    Done "done" "share" "latest step as a fraction of the planned steps";
    Maturity "maturity" "share" "progress of the run towards the length at which a constant loss is meaningful; 1 once it has ended";
    Silence "silence" "patience" "time without an event, as a multiple of the longest pause expected for this job; 0 if it reported its end";
    CutOff "cut_off" "yes or no" "a file ends in the middle of a record";

    LossStart "loss_start" "loss" "the loss at the start: median of its first values";
    LossEnd "loss_end" "loss" "the loss at the end: median of its latest levels";
    LossBest "loss_best" "loss" "the best level of the loss";
    Progress "progress" "fraction of the start" "decrease of the loss from start to end; negative if it grew; a fraction of the range if values are negative";
    DropErrors "drop_errors" "standard errors" "the same decrease in its standard errors";
    Trend "trend" "standard normal deviates" "Mann-Kendall test over all levels of the loss; negative if it falls";
    LateTrend "late_trend" "standard normal deviates" "the same test over the second half";
    LateFall "late_fall" "fraction of its level" "decrease of the loss from the middle of the run to its end";
    Steadiness "steadiness" "ratio" "decrease in the second half relative to the decrease in the first half";
    DoneAfter "done_after" "fraction of the run" "point after which nine tenths of the decrease were done";
    Rise "rise" "fraction of the best level" "excess of the loss over its best level";
    RiseErrors "rise_errors" "standard errors" "the same excess in its standard errors";
    LostAgain "lost_again" "fraction of the gain" "how much of its decrease since the start the loss has regained";
    BestAfter "best_after" "fraction of the run" "point at which the loss was at its best level";
    StaysAbove "stays_above" "fraction of the levels" "levels of the latest fifth that are above all levels of the first tenth";
    EarlyPeak "early_peak" "multiple" "the highest level of the first third, as a multiple of the first value, if \
        that is the lowest of the first values";
    BreakErrors "break_errors" "standard errors" "the rise to the latest values at the change point, in its standard errors";
    BreakSize "break_size" "fraction of the level" "the same rise as a fraction of the level before it";
    Noise "noise" "fraction of its level" "scatter of single losses around the trend of the curve";
    Swing "swing" "fraction of its level" "scatter of the levels that the noise within them does not explain";
    Waves "waves" "ratio" "scatter over longer stretches relative to the scatter between neighbours";
    EpochWaves "epoch_waves" "orders of magnitude" "improbability that swings coincide with the epochs by chance";
    Spikes "spikes" "stretches" "number of stretches whose largest value jumps far above the level around it";
    LargestSpike "largest_spike" "multiple" "the largest of these values relative to its level";
    Repeats "repeats" "values" "number of identical latest losses; unknown if this is the lower bound of a loss that converged";
    RepeatedShare "repeated_share" "fraction of the values" "the same number as a fraction of all losses";
    Zeros "zeros" "values" "number of latest losses of exactly 0, directly after a much larger loss";
    Clamp "clamp" "fraction of the values" "latest losses that equal the negative logarithm of a smallest number with which programs replace 0 or NaN";
    NonFinite "non_finite" "fraction of the values" "values of the latest fifth of the loss that are NaN or infinite";
    NonFiniteStep "non_finite_step" "step" "step of the first NaN or infinity";
    FinitePoints "finite_points" "points" "number of finite losses before the first NaN or infinity";
    OtherNonFinite "other_non_finite" "fraction of the values" "values of the latest fifth of another series that are NaN or infinite, if any were";
    GradientNonFinite "gradient_non_finite" "fraction of the values" "values of the latest fifth of the gradient norm that are NaN or infinite, if any were";
    BelowBound "below_bound" "fraction of its size" "distance of the loss below the minimum that its name implies";
    Runaway "runaway" "orders of magnitude" "growth of the magnitude of a negative loss while it falls";

    OverChance "over_chance" "fraction of log K" "excess of a cross-entropy over the chance level of its classes; about 0 also for a squared error at that level";
    OverGuess "over_guess" "multiple of log K" "a cross-entropy relative to that of a guess among the classes that the first accuracy implies";
    OneAnswer "one_answer" "ratio" "the loss relative to that of a constant answer (its entropy, or its variance), if the accuracy is the same at all evaluations";
    FloorDistance "floor_distance" "fraction of log K" "distance of the loss from that of scores squashed to the range 0 to 1, at this accuracy";
    Impossible "impossible" "accuracy" "deficit of the accuracy relative to the minimum that such a cross-entropy implies";
    Margin "margin" "fraction of its level" "distance from a one-digit number, the margin of a ranking loss";
    DiscriminatorLeft "discriminator_left" "orders of magnitude" "the loss of a discriminator relative to its start, if that of its generator rises";
    LatentCode "latent_code" "fraction of the loss" "the divergence of a latent code from its prior";

    Accuracy "accuracy" "accuracy" "training accuracy at the end";
    AccuracyGain "accuracy_gain" "accuracy" "increase of the accuracy since the start: on training data, otherwise on validation data";
    AccuracyTrend "accuracy_trend" "standard normal deviates" "Mann-Kendall test over all levels of that accuracy";
    Unscored "unscored" "yes or no" "a score (a win rate, a correlation, that of detections or masks) is exactly the same at all evaluations, or an AUC that of a guess";
    AccuracyLost "accuracy_lost" "fraction of the gain" "how much of its gain an accuracy has lost again";
    ValidationAccuracy "validation_accuracy" "accuracy" "validation accuracy at the end";
    ValidationAccuracyLateGain "validation_accuracy_late_gain" "accuracy" "increase of the validation accuracy in the second half; 0 if it is within its noise";
    AccuracyGap "accuracy_gap" "accuracy" "training accuracy minus validation accuracy, if the latter did not rise in the second half";

    ValidationBest "validation_best" "loss" "the best level of the validation loss";
    ValidationProgress "validation_progress" "fraction of the start" "decrease of the validation loss from the start of training to its best level";
    ValidationDrop "validation_drop" "fraction of its start" "decrease of the validation loss from its own start to its best level";
    ValidationFall "validation_fall" "standard normal deviates" "Mann-Kendall test over all levels of the validation loss; negative if it falls";
    ValidationRise "validation_rise" "fraction of the best level" "excess of the validation loss over its best level";
    ValidationRiseErrors "validation_rise_errors" "standard errors" "the same excess in its standard errors";
    ValidationLostAgain "validation_lost_again" "fraction of the gain" "how much of its decrease the validation loss has regained";
    ValidationAboveStart "validation_above_start" "fraction of the levels" "validation losses of the second half above the training loss at its start";
    ValidationBestAfter "validation_best_after" "fraction of the run" "point at which the validation loss was at its best level";
    ValidationNoise "validation_noise" "fraction of its level" "scatter of single validation losses around their trend: all are measured on the same examples, so it is the network that moves";
    ValidationRepeats "validation_repeats" "fraction of the values" "identical latest validation losses";
    TrainingFallSince "training_fall_since" "fraction of its level" "decrease of the training loss since the best level of validation";
    Memorised "memorised" "share" "excess of the validation loss over the training loss";

    PeakRate "peak_rate" "learning rate" "the highest learning rate, as logged or as set";
    RatePosition "rate_position" "orders of magnitude" "the highest learning rate relative to the usual one for the optimizer";
    LowRate "low_rate" "fraction of the run" "time at the end during which the learning rate is nearly zero";
    LowRateGain "low_rate_gain" "ratio" "decrease of the loss during that time relative to the decrease before it";
    RateLeft "rate_left" "fraction of the whole rate" "learning rate used after most of the decrease was done";
    WarmingUp "warming_up" "yes or no" "the learning rate is still rising";
    Reach "reach" "length" "the learning rate multiplied by the planned steps (and by the gradient norm, if steps are not scaled)";
    RiskyStart "risky_start" "yes or no" "an initialisation that is known to be risky: unscaled normal, or zeros";
    Squashed "squashed" "yes or no" "an activation on the output layer of a regression";
    TrainedBefore "trained_before" "yes or no" "signs that the job continues earlier training";
    Continued "continued" "yes or no" "by its settings or its first step, the job continues earlier training";

    GradientToLoss "gradient_to_loss" "orders of magnitude" "the gradient norm relative to the loss";
    GradientLevel "gradient_level" "gradient norm" "the latest gradient norm";
    GradientGrowth "gradient_growth" "orders of magnitude" "growth of the gradient norm over the run";
    GradientByDepth "gradient_by_depth" "orders of magnitude" "gradients of the first third of the layers relative to those of the last third";
    GradientPinned "gradient_pinned" "fraction of the levels" "levels of the gradient norm that are at one bound";
    ClipExcess "clip_excess" "multiple" "the lowest gradient norm relative to the clip value";
    DeadLayers "dead_layers" "fraction of the layers" "layers whose gradients are all zero, if other layers have non-zero gradients";
    FrozenWeights "frozen_weights" "histograms" "number of latest histograms in which no weight changed";
    WeightMovement "weight_movement" "fraction of their size" "change of the weights over the run";

    RewardGain "reward_gain" "fraction of the range" "increase of the reward since its start";
    RewardGainErrors "reward_gain_errors" "standard errors" "the same increase in its standard errors";
    RewardLost "reward_lost" "fraction of the gain" "how much of the gain up to its best stretch the reward has lost again";
    RewardRepeats "reward_repeats" "fraction of the values" "identical latest rewards";
    PolicyChange "policy_change" "nats" "how far each update moves the policy";
    PolicySilent "policy_silent" "fraction of the values" "latest policy losses that are exactly 0";
}

/// Everything known about a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Each quantity that is known, with the tag of the series in which it was measured.
    values: Vec<Option<(Measured, String)>>,
}

impl Evidence {
    /// Measures a job.
    pub fn of(job: &JobView) -> Evidence {
        let by_answers = job.by_answers();
        let job = by_answers.as_ref().unwrap_or(job);
        let mut evidence = Evidence { values: vec![None; QUANTITIES.len()] };
        // Each may read what was measured before it.
        chance::measure(job, &mut evidence);
        settings::measure(job, &mut evidence);
        loss::measure(job, &mut evidence);
        quality::measure(job, &mut evidence);
        gradients::measure(job, &mut evidence);
        evidence
    }

    /// A quantity with its error; `None` if it is unknown.
    pub fn measured(&self, quantity: Quantity) -> Option<Measured> {
        self.values[quantity as usize].as_ref().map(|(measured, _)| *measured)
    }

    /// The value of a quantity; `None` if it is unknown.
    pub fn get(&self, quantity: Quantity) -> Option<f64> {
        self.measured(quantity).map(|measured| measured.value)
    }

    /// Whether a quantity is known and above a number.
    pub fn above(&self, quantity: Quantity, number: f64) -> bool {
        self.get(quantity).is_some_and(|value| value > number)
    }

    /// Whether a quantity is known and below a number.
    pub fn below(&self, quantity: Quantity, number: f64) -> bool {
        self.get(quantity).is_some_and(|value| value < number)
    }

    /// The tag of the series in which a quantity was measured.
    pub fn tag(&self, quantity: Quantity) -> &str {
        self.values[quantity as usize].as_ref().map_or("", |(_, tag)| tag.as_str())
    }

    /// Every known quantity.
    pub fn known(&self) -> impl Iterator<Item = (Quantity, Measured)> {
        QUANTITIES.iter().filter_map(|quantity| Some((*quantity, self.measured(*quantity)?)))
    }

    fn put(&mut self, quantity: Quantity, (value, error): (f64, f64), series: &Observed) {
        self.set(quantity, (value, error), (&series.tag, series.sketch.count(), series.steps()));
    }

    fn set(&mut self, quantity: Quantity, (value, error): (f64, f64), (tag, support, steps): (&str, u64, (i64, i64))) {
        if value.is_finite() {
            let error = if error.is_finite() { error } else { f64::MAX };
            self.values[quantity as usize] = Some((Measured { value, error, support, steps }, tag.to_owned()));
        }
    }
}

/// JSON has no NaN and no infinity: an unknown number is null there.
pub(crate) mod unknown {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { to.serialize_f64(*value) } else { to.serialize_none() }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
    }
}
