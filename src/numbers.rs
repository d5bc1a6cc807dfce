//! All numbers used in decisions, in one table: value, unit, source, and data set.
//!
//! Owns: the numbers of `evidence`, `symptoms`, `facts` and `belief`. Must not know: where they are used.

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// Its name in the code.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// The reason for this value: a theorem, a paper, a convention, or a choice.
    pub source: &'static str,
    /// The runs with which it was set or checked.
    pub set_on: &'static str,
}

macro_rules! numbers {
    ($($name:ident = $value:expr, $unit:literal, $source:literal, $set_on:literal;)*) => {
        $(#[doc = $source] #[doc = concat!("In ", $unit, ".")] pub const $name: f64 = $value;)*

        /// The whole table.
        pub const ALL: &[Number] = &[$(Number {
            name: stringify!($name), value: $value, unit: $unit, source: $source, set_on: $set_on,
        }),*];
    };
}

numbers! {
    SIGNIFICANT = 4.0, "standard errors", "Three are sufficient for one test, but a curve is tested in many ways and at many times.", "examples/evaluate/healthy.yaml";
    MAYBE = 2.0, "standard errors", "Two standard errors: a lack of evidence for an effect is not evidence against it.", "convention";
    TREND = 3.0, "standard normal deviates", "Mann-Kendall test at a two-sided p of 0.003.", "Mann 1945, Kendall 1975";
    NEWEST = 0.1, "fraction of the levels", "The end of a curve is the median of its latest tenth, and at least three levels.", "convention";
    EARLY = 0.3, "fraction of the run", "An effect completed by then leaves most of the run for further progress.", "examples/evaluate/faults.yaml";
    THROWN_UP = 1.2, "multiple of the first value", "Steps that are too large raise the loss immediately; 5 % noise does not reach this value.", "examples/evaluate/faults.yaml";
    SKEWED = 0.8, "scatter per level", "The squared error of single examples scatters by 1.4 times its mean; an average of four by 0.7.", "chi-squared distribution";
    FEW_POINTS = 8.0, "points", "Shorter series have no latest tenth; their errors show how reliable they are.", "Keras logs of 3 to 20 points";
    LEARNED = 0.1, "fraction of the start", "A loss has learned if it lost a tenth of its start, beyond its noise.", "examples/evaluate";
    SMALL = 0.03, "fraction of the start", "A smaller effect does not count, however significant it is.", "examples/evaluate/faults.yaml";
    HALF = 0.5, "share", "Half of the start, or of the answers.", "convention";
    CONVERGED = 0.97, "fraction of the start", "A loss that lost 97 % of its start has converged, unless other evidence disagrees.", "examples/evaluate/healthy.yaml";
    FITS_SHARE = 1e-3, "fraction of the start", "About 0: three orders of magnitude below the start.", "the article, debugging step 1";
    FITS_ACCURACY = 0.9999, "accuracy", "Overfitting one point asks for an accuracy of 99.99 %.", "the article, debugging step 1";
    GOOD = 0.9, "accuracy", "Nine out of ten answers are correct: such a job is good by its own measure.", "convention";
    STRIDE = 0.25, "gradient norm", "The weights of a layer have a norm between one and ten, so steps with a smaller norm need higher rates.", "losses that are means over many outputs";
    GUESS = 0.6, "accuracy", "An accuracy above this is not a guess between two equally frequent classes.", "convention";
    ACCURACY_GAIN = 0.1, "accuracy", "Three standard deviations of a guess on 250 examples of two classes.", "binomial distribution";
    GAP = 0.35, "accuracy", "A larger difference between training and validation accuracy is not sampling noise.", "examples/evaluate/faults.yaml";
    AT_CHANCE = 0.03, "fraction of log K", "Unequal frequencies and noise move a cross-entropy at most this far from log K.", "entropy of a guess";
    MOST_CLASSES = 1000.0, "classes", "With more classes, the chance level for some number of classes is close to any loss.", "spacing of log K";
    OVERSURE = 2.0, "multiple of log K", "A cross-entropy of twice a guess means that answers are wrong and overconfident.", "entropy of a guess";
    EXPLODED = 200.0, "nats", "Thirty times the cross-entropy of a guess among 1000 classes: no scaled network starts there.", "Glorot and Bengio 2010";
    FLOOR = 0.04, "fraction of log K", "Maximum distance of the end of a squashed loss from the closed form log(e + K - 1) - accuracy.", "examples/evaluate/faults.yaml";
    RISES_AGAIN = 0.4, "fraction of the best level", "A loss that stays this far above its best level has lost its progress.", "examples/evaluate/healthy.yaml";
    BROKEN = 20.0, "standard errors", "A break in few points must exceed every outlier that the rest of the series shows.", "public logs with spikes";
    BLOWN_UP = 10.0, "multiple", "Ten times: an order of magnitude.", "convention";
    HUNDREDFOLD = 2.0, "orders of magnitude", "A bounded loss becomes more negative by a few units, and a gradient \
        norm grows by a few times, but never by a factor of 100.", "examples/evaluate";
    COLLAPSE = 0.8, "fraction of the gain", "A reward that lost 80 % of its gain has collapsed.", "examples/evaluate/faults.yaml";
    REWARD_GAIN = 0.1, "fraction of the range", "A reward whose gain is less than a tenth of its range has not risen.", "Stable Baselines logs";
    ENOUGH_POINTS = 30.0, "points", "Fewer rewards do not show whether they rise, nor fewer losses whether a run of unknown length stands still.", "Stable Baselines logs";
    TORN = 0.5, "nats", "Updates are usually stopped at a few hundredths of a nat; at one nat, the old and new \
        policies have nothing in common.", "Schulman et al. 2017";
    MATURE_SHARE = 0.6, "fraction of the planned steps", "Before this point, a run with a constant loss may just be slow to start.", "warm-ups of public recipes";
    FIRST_POINTS = 10.0, "points", "A run of unknown length with ten points may still change as much as one that is halfway to maturity.", "Keras logs of ten epochs";
    MATURE_UPDATES = 3000.0, "updates", "A run of unknown length counts as mature after this many optimizer updates (points, if only these are known), and as halfway after a third.", "examples/evaluate/healthy.yaml";
    NEARLY_NOTHING = 0.051, "fraction of the peak rate", "A learning rate below a twentieth of its peak is nearly zero.", "the article, no learning-rate decay";
    FIFTH = 0.2, "share", "A loss that lost less than a fifth may improve slowly despite its fault; with less than a \
        fifth of the rate left, a constant loss is expected.", "cosine and step schedules";
    ADAPTIVE_RATE = 1e-3, "learning rate", "For Adam and similar optimizers, about 0.001 works well.", "the article, raise the learning rate";
    PLAIN_RATE = 0.02, "learning rate", "The usual rate without step scaling, between 0.01 and 0.1.", "defaults of Keras and public recipes";
    FAR_OFF = 1.3, "orders of magnitude", "Twenty times the usual learning rate is far outside the working range.", "the article, raise the learning rate";
    TUNING = -1.0, "orders of magnitude", "A tenth of the usual learning rate is typical for fine-tuning a trained network.", "fine-tuning recipes";
    FUTILE = 1e-3, "length", "Adam moves no weight further than the sum of its rates, and weights are of the order of a tenth.", "Kingma and Ba 2015, section 2.1";
    STEEP = 0.7, "orders of magnitude", "A gradient norm of many times the loss rules out that the loss is at its lowest possible level.", "examples/evaluate/faults.yaml";
    LARGE_NORM = 50.0, "gradient norm", "Smaller norms are usual.", "public logs";
    TINY_NORM = -6.0, "orders of magnitude of the loss", "A gradient norm below a millionth of the loss has vanished.", "precision of f32";
    BY_DEPTH = 1.85, "orders of magnitude", "Gradients of the first layers seventy times those of the last have exploded.", "AutoTrainer, ICSE 2021";
    VANISHES = -3.0, "orders of magnitude", "Gradients of the first layers a thousandth of those of the last have vanished.", "AutoTrainer, ICSE 2021";
    FAR_ABOVE_CLIP = 30.0, "multiple of the clip value", "A norm this far above the clip value is always clipped.", "the article, case study";
    PINNED = 0.9, "fraction of the levels", "Nine out of ten levels at one bound are not a coincidence.", "convention";
    REPEATS = 10.0, "values", "This many identical values in a row are not a coincidence.", "precision of f32";
    EVALUATIONS = 5.0, "values", "Each evaluation uses the same examples: five that agree to the last digit are sufficient.", "examples/evaluate/faults.yaml";
    THIRD = 0.33, "share", "A third of a series, or of the way to maturity, is more than a beginning.", "convention";
    HARDLY_MOVES = 0.01, "fraction of the weights' size", "Ten healthy steps move weights further: each by about a thousandth.", "Karpathy, update-to-weight ratio";
    OVERFIT_RISE = 0.15, "fraction of the best level", "A smaller excess of validation over its best does not need a message.", "examples/evaluate/healthy.yaml";
    SPIKE = 3.0, "multiple of the level", "A jump to three times the level, ten deviations of the values around it, is a spike.", "examples/evaluate/healthy.yaml";
    WAVES = 1.5, "ratio", "Values scatter over longer stretches by half as much again as between neighbours.", "von Neumann 1941";
    WAVE_CHANCE = 5.0, "orders of magnitude", "Chance produces a sine wave this large once in 100,000 times.", "Schuster 1898";
    BUDGETS = 5.0, "runs", "A loss that needs five more runs of this length to halve is too slow.", "the article, raise the learning rate";
    NOT_DONE = 0.95, "fraction of the planned steps", "A job that ended before this did not reach its end.", "logging intervals";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stays_small_and_every_number_says_where_it_comes_from() {
        assert!(ALL.len() < 60, "{} numbers", ALL.len());
        assert!(ALL.iter().all(|n| !n.unit.is_empty() && !n.source.is_empty() && !n.set_on.is_empty()));
    }
}
