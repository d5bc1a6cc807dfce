//! What a job's curves and settings show, as named quantities: one definition, unit, error and support each.
//!
//! Owns: the table of quantities, the shape of a series, the change point, a job at any step. Must not know: which
//! quantity speaks for what; symptoms, beliefs, policies.
//!
//! To add a quantity: write its line in the table below, and measure it in one of the files of `evidence/`.

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
mod waves;

use serde::Serialize;

pub use change::Change;
pub use curve::{Curve, Level};
pub use job::{JobView, Layer, Life, Observed, Unit};
pub use kind::Kind;

/// One measured quantity. What is not known is not in the [`Evidence`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// Its value, in the unit of the table.
    pub value: f64,
    /// Its standard error; 0 where it is exact.
    pub error: f64,
    /// The number of points that it rests on.
    pub support: u64,
    /// First and last step of them.
    pub steps: (i64, i64),
    /// The series that it was measured in.
    #[serde(skip)]
    of: u16,
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
            /// What it is, in one line.
            pub const fn meaning(self) -> &'static str { match self { $(Quantity::$name => $meaning),* } }
        }
    };
}

quantities! {
    Points "points" "points" "finite values of the series that the job is judged by";
    Steps "steps" "steps" "newest step of that series";
    Done "done" "share" "newest step as a share of the planned ones";
    Maturity "maturity" "share" "how far the run is towards the length from which standing still means something; 1 once it ended";
    Silence "silence" "patience" "time without an event, as a multiple of the longest pause that its rhythm allows; 0 once it said that it ended";
    CutOff "cut_off" "yes or no" "a file ends in the middle of a record";

    LossStart "loss_start" "loss" "where the loss started: median of its first values";
    LossEnd "loss_end" "loss" "where the loss stands: median of its newest levels";
    LossBest "loss_best" "loss" "the best level that the loss held";
    Progress "progress" "share of the start" "what the loss lost from its start to its end; negative where it grew; a share of the span where values are negative";
    DropErrors "drop_errors" "standard errors" "the same in its standard errors";
    Trend "trend" "standard normal deviates" "Mann-Kendall's test over all levels of the loss; negative where it falls";
    LateTrend "late_trend" "standard normal deviates" "the same over the second half";
    LateFall "late_fall" "share of its level" "what the loss lost from the middle of the run to its end";
    Steadiness "steadiness" "ratio" "what the second half lost against what the first half lost";
    DoneAfter "done_after" "share of the run" "after which nine tenths of the drop were done";
    Rise "rise" "share of the best level" "how far the loss stands above its best level";
    RiseErrors "rise_errors" "standard errors" "the same in its standard errors";
    LostAgain "lost_again" "share of the gain" "how much of what the loss had lost since its start it has gained again";
    BestAfter "best_after" "share of the run" "when the best level of the loss was reached";
    StaysAbove "stays_above" "share of the levels" "levels of the newest fifth that lie above all of the first tenth";
    EarlyPeak "early_peak" "multiple" "the highest level of the first third, as a multiple of the first value, where that is the lowest of the first ones";
    BreakErrors "break_errors" "standard errors" "the rise to the newest values, by the change point, in its standard errors";
    BreakSize "break_size" "share of the level" "the same as a share of the level before it";
    Noise "noise" "share of its level" "scatter of single losses about the course of the curve";
    Swing "swing" "share of its level" "scatter of the levels, where the noise within them does not explain it";
    Waves "waves" "ratio" "scatter over longer stretches against that between neighbours";
    EpochWaves "epoch_waves" "orders of magnitude" "how improbable it is that chance swings in step with the epochs";
    Spikes "spikes" "stretches" "stretches whose largest value jumps far above the level around it";
    LargestSpike "largest_spike" "multiple" "the largest of these against its level";
    Repeats "repeats" "values" "identical losses in a row, up to the newest; none where that is the floor of a loss that converged";
    RepeatedShare "repeated_share" "share of the values" "the same as a share of all losses";
    Zeros "zeros" "values" "losses of exactly 0 in a row, up to the newest, right after a loss that was far above it";
    Clamp "clamp" "share of the values" "newest losses that are equal to the negative logarithm of a smallest number, by which programs replace 0 or NaN";
    NonFinite "non_finite" "share of the values" "values of the newest fifth of the loss that are NaN or infinite";
    NonFiniteStep "non_finite_step" "step" "step of the first NaN or infinity";
    FinitePoints "finite_points" "points" "finite losses before the first NaN or infinity";
    OtherNonFinite "other_non_finite" "share of the values" "values of the newest fifth of another series that are NaN or infinite, where some were";
    GradientNonFinite "gradient_non_finite" "share of the values" "values of the newest fifth of the gradient norm that are NaN or infinite, where some were";
    BelowBound "below_bound" "share of its size" "how far the loss lies below what its name says is its least value";
    Runaway "runaway" "orders of magnitude" "how much larger a negative loss became, while it falls";

    OverChance "over_chance" "share of log K" "how far a cross-entropy stands above the chance level of its classes";
    OverGuess "over_guess" "multiple of log K" "a cross-entropy against that of a guess among the classes that the first accuracy implies";
    OneAnswer "one_answer" "ratio" "cross-entropy against the entropy of one constant answer, where the accuracy is the same at all evaluations";
    FloorDistance "floor_distance" "share of log K" "distance of the loss from that of scores squashed into 0 to 1, at this accuracy";
    Impossible "impossible" "accuracy" "how much lower the accuracy is than such a cross-entropy implies";
    Margin "margin" "share of its level" "distance from a number of one digit, the margin of a ranking loss";
    LatentCode "latent_code" "share of the loss" "the divergence of a latent code from its prior";

    Accuracy "accuracy" "accuracy" "training accuracy at the end";
    AccuracyGain "accuracy_gain" "accuracy" "what the accuracy gained since its start: on training data, else on validation data";
    AccuracyTrend "accuracy_trend" "standard normal deviates" "Mann-Kendall's test over all levels of that accuracy";
    AccuracyLost "accuracy_lost" "share of the gain" "how much of what an accuracy had gained it has lost again";
    ValidationAccuracy "validation_accuracy" "accuracy" "validation accuracy at the end";
    ValidationAccuracyLateGain "validation_accuracy_late_gain" "accuracy" "what the validation accuracy gained in the second half; 0 where that is no more than noise";
    AccuracyGap "accuracy_gap" "accuracy" "training accuracy less validation accuracy, where that did not rise in the second half";

    ValidationBest "validation_best" "loss" "the best level of the validation loss";
    ValidationProgress "validation_progress" "share of the start" "what the validation loss lost from the start of training to its best level";
    ValidationDrop "validation_drop" "share of its start" "what the validation loss lost from its own start to its best level";
    ValidationFall "validation_fall" "standard normal deviates" "Mann-Kendall's test over all levels of the validation loss; negative where it falls";
    ValidationRise "validation_rise" "share of the best level" "how far the validation loss stands above its best level";
    ValidationRiseErrors "validation_rise_errors" "standard errors" "the same in its standard errors";
    ValidationLostAgain "validation_lost_again" "share of the gain" "how much of what the validation loss had lost it has gained again";
    ValidationAboveStart "validation_above_start" "share of the levels" "validation losses of the second half that lie above the training loss at its start";
    ValidationBestAfter "validation_best_after" "share of the run" "when the best level of the validation loss was reached";
    ValidationRepeats "validation_repeats" "share of the values" "identical validation losses in a row, up to the newest";
    TrainingFallSince "training_fall_since" "share of its level" "what the training loss lost since the best level of validation";
    Memorised "memorised" "share" "validation loss that the training loss does not have";

    PeakRate "peak_rate" "learning rate" "the highest learning rate, as logged or as set";
    RatePosition "rate_position" "orders of magnitude" "the highest learning rate against what is usual for the optimizer";
    LowRate "low_rate" "share of the run" "time at the end during which the learning rate is nearly nothing";
    LowRateGain "low_rate_gain" "ratio" "what the loss lost during that time against what it lost before";
    RateLeft "rate_left" "share of the whole rate" "learning rate that was spent after most of the drop was done";
    WarmingUp "warming_up" "yes or no" "the learning rate is still on its way up";
    Reach "reach" "length" "the learning rate times the planned steps (and the gradient norm, where steps are not scaled)";
    RiskyStart "risky_start" "yes or no" "an initialisation that is known to be risky: plain normal, or zeros";
    Squashed "squashed" "yes or no" "an activation on the output layer of a regression";
    TrainedBefore "trained_before" "yes or no" "signs that the job goes on with earlier training";

    GradientToLoss "gradient_to_loss" "orders of magnitude" "the gradient norm against the loss";
    GradientLevel "gradient_level" "gradient norm" "where the gradient norm stands";
    GradientGrowth "gradient_growth" "orders of magnitude" "growth of the gradient norm over the run";
    GradientByDepth "gradient_by_depth" "orders of magnitude" "gradients of the first third of the layers against those of the last";
    GradientPinned "gradient_pinned" "share of the levels" "levels of the gradient norm that stand at one bound";
    ClipExcess "clip_excess" "multiple" "the gradient norm against the clip value, all along";
    DeadLayers "dead_layers" "share of the layers" "layers whose gradients are all zero, where others have some";
    FrozenWeights "frozen_weights" "histograms" "newest histograms in a row in which no weight changed";
    WeightMovement "weight_movement" "share of their size" "how far the weights moved over the run";

    RewardGain "reward_gain" "share of the swing" "what the reward gained since its start";
    RewardGainErrors "reward_gain_errors" "standard errors" "the same in its standard errors";
    RewardLost "reward_lost" "share of the gain" "how much of what the best stretch had gained is lost again";
    RewardRepeats "reward_repeats" "share of the values" "identical rewards in a row, up to the newest";
    PolicyChange "policy_change" "nats" "how far each update carries the policy";
    PolicySilent "policy_silent" "share of the values" "newest policy losses that are exactly 0";
}

/// All that is known of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    values: Vec<Option<Measured>>,
    tags: Vec<String>,
}

impl Evidence {
    /// Measures a job.
    pub fn of(job: &JobView) -> Evidence {
        let mut evidence = Evidence { values: vec![None; QUANTITIES.len()], tags: Vec::new() };
        settings::measure(job, &mut evidence);
        loss::measure(job, &mut evidence);
        chance::measure(job, &mut evidence);
        quality::measure(job, &mut evidence);
        gradients::measure(job, &mut evidence);
        evidence
    }

    /// A quantity with its error; `None` where it is not known.
    pub fn measured(&self, quantity: Quantity) -> Option<Measured> {
        self.values[quantity as usize]
    }

    /// The value of a quantity; `None` where it is not known.
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

    /// The tag of the series that a quantity was measured in.
    pub fn tag(&self, quantity: Quantity) -> &str {
        self.measured(quantity).and_then(|measured| self.tags.get(usize::from(measured.of))).map_or("", String::as_str)
    }

    /// Every quantity that is known.
    pub fn known(&self) -> impl Iterator<Item = (Quantity, Measured)> {
        QUANTITIES.iter().filter_map(|quantity| Some((*quantity, self.measured(*quantity)?)))
    }

    fn put(&mut self, quantity: Quantity, (value, error): (f64, f64), series: &Observed) {
        let steps = series.steps();
        self.set(quantity, (value, error), (&series.tag, series.sketch.count(), steps));
    }

    fn set(&mut self, quantity: Quantity, (value, error): (f64, f64), (tag, support, steps): (&str, u64, (i64, i64))) {
        if !value.is_finite() {
            return;
        }
        let of = self.tags.iter().position(|known| known == tag).unwrap_or_else(|| {
            self.tags.push(tag.to_owned());
            self.tags.len() - 1
        });
        let of = u16::try_from(of).unwrap_or(u16::MAX);
        let error = if error.is_finite() { error } else { f64::MAX };
        self.values[quantity as usize] = Some(Measured { value, error, support, steps, of });
    }
}
