//! Every number that decides, in one table: its value, its unit, where it comes from, and what it was set on.
//!
//! Owns: the numbers of `evidence`, `symptoms`, `facts` and `belief`. Must not know: who uses them.

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// Its name in the code.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// Why it has this value: a theorem, a paper, a convention, or a choice.
    pub source: &'static str,
    /// The runs that it was set or checked on.
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
    SIGNIFICANT = 4.0, "standard errors", "Three suffice for one test; a curve is tested in many ways and at many times.", "examples/evaluate/healthy.yaml";
    MAYBE = 2.0, "standard errors", "Two standard errors: what is not proved is not disproved.", "convention";
    TREND = 3.0, "standard normal deviates", "Mann-Kendall's test at a two-sided p of 0.003.", "Mann 1945, Kendall 1975";
    NEWEST = 0.1, "share of the levels", "The end of a curve is the median of its newest tenth, and at least three levels.", "convention";
    EARLY = 0.3, "share of the run", "What is done by then leaves most of the run for more.", "examples/evaluate/faults.yaml";
    THROWN_UP = 1.2, "multiple of the first value", "Steps that are too large raise the loss at once; noise of a twentieth does not reach this.", "examples/evaluate/faults.yaml";
    SKEWED = 0.8, "scatter per level", "The squared error of single examples scatters by 1.4 times its mean, an average of four by 0.7.", "chi-squared distribution";
    FEW_POINTS = 8.0, "points", "Shorter series have no newest tenth: their errors say how far they can be trusted.", "keras logs of 3 to 20 points";
    LEARNED = 0.1, "share of the start", "A loss has learned when it lost a tenth of its start beyond its noise.", "examples/evaluate";
    SMALL = 0.03, "share of the start", "Less than this is nothing, however significant.", "examples/evaluate/faults.yaml";
    HALF = 0.5, "share", "Half of the start, or of the answers.", "convention";
    CONVERGED = 0.97, "share of the start", "A loss that lost all but three hundredths has converged, unless a second witness disagrees.", "examples/evaluate/healthy.yaml";
    FITS_SHARE = 1e-3, "share of the start", "About 0: three orders of magnitude below the start.", "the article, debugging step 1";
    FITS_ACCURACY = 0.9999, "accuracy", "Overfitting one point asks for an accuracy of 99.99 %.", "the article, debugging step 1";
    GOOD = 0.9, "accuracy", "Nine answers in ten are right: such a job is judged good by its own measure.", "convention";
    STRIDE = 0.25, "gradient norm", "Weights of a layer have a norm of order one to ten: steps at a smaller norm call for larger rates.", "losses that are means over many outputs";
    GUESS = 0.6, "accuracy", "An accuracy above this is no guess among two even classes.", "convention";
    ACCURACY_GAIN = 0.1, "accuracy", "Three standard deviations of a guess on 250 examples of two classes.", "binomial distribution";
    GAP = 0.35, "accuracy", "Training and validation accuracies further apart than this are no accident of sampling.", "examples/evaluate/faults.yaml";
    AT_CHANCE = 0.03, "share of log K", "Frequencies that differ, and noise, take a cross-entropy at most this far from log K.", "entropy of a guess";
    MOST_CLASSES = 1000.0, "classes", "Among more classes the chance level of one of them is close to any loss.", "spacing of log K";
    OVERSURE = 2.0, "multiple of log K", "A cross-entropy of twice a guess says that answers are wrong and sure of themselves.", "entropy of a guess";
    EXPLODED = 200.0, "nats", "Thirty times the cross-entropy of a guess among 1000 classes: no scaled network starts there.", "Glorot and Bengio 2010";
    FLOOR = 0.04, "share of log K", "How close to the closed form log(e + K - 1) - accuracy the end of a squashed loss lies.", "examples/evaluate/faults.yaml";
    RISEN = 0.5, "share", "A loss above its start by half of it has left it.", "examples/evaluate/healthy.yaml";
    RISES_AGAIN = 0.4, "share of the best level", "A loss this far above its best level, for good, has lost what it had.", "examples/evaluate/healthy.yaml";
    BROKEN = 20.0, "standard errors", "A break in few points has to stand out from every outlier that the rest of the series shows.", "public logs with spikes";
    BLOWN_UP = 10.0, "multiple", "Ten times: an order of magnitude.", "convention";
    HUNDREDFOLD = 2.0, "orders of magnitude", "A bounded loss gets more negative by a few units, a gradient norm grows by a few times; neither does so a hundredfold.", "examples/evaluate";
    COLLAPSE = 0.8, "share of the gain", "A reward that lost four fifths of what it had gained has collapsed.", "examples/evaluate/faults.yaml";
    REWARD_GAIN = 0.1, "share of the swing", "A reward that gained less than a tenth of its swing has not risen.", "Stable Baselines logs";
    REWARDS = 30.0, "points", "Fewer rewards do not show whether they rise.", "Stable Baselines logs";
    TORN = 0.5, "nats", "Updates are stopped at some hundredths of a nat; at one, old and new policy have nothing in common.", "Schulman et al. 2017";
    MATURE_SHARE = 0.6, "share of the planned steps", "Before this a run that stands still may be slow to start.", "warm-ups of public recipes";
    MATURE_POINTS = 3000.0, "points", "A run whose length nobody knows counts as mature after this.", "examples/evaluate/healthy.yaml";
    NEARLY_NOTHING = 0.051, "share of the peak rate", "A learning rate below a twentieth of its peak is nearly nothing.", "the article, no learning-rate decay";
    FIFTH = 0.2, "share", "A loss that lost less than a fifth may creep with its fault; with less than a fifth of the rate to spend, standing still is no news.", "cosine and step schedules";
    ADAPTIVE_RATE = 1e-3, "learning rate", "For Adam and its kin about 0.001 does well.", "the article, raise the learning rate";
    PLAIN_RATE = 0.02, "learning rate", "The usual rate without scaling of steps, between 0.01 and 0.1.", "defaults of Keras and public recipes";
    FAR_OFF = 1.3, "orders of magnitude", "Twenty times the usual learning rate is far outside what works.", "the article, raise the learning rate";
    TUNING = -1.0, "orders of magnitude", "A tenth of the usual learning rate is one for tuning a trained network.", "fine-tuning recipes";
    FUTILE = 1e-3, "length", "Adam moves no weight further than its rates add up to, and weights are of the order of a tenth.", "Kingma and Ba 2015, section 2.1";
    STEEP = 0.7, "orders of magnitude", "A gradient norm of many times the loss belongs to no floor.", "examples/evaluate/faults.yaml";
    LARGE_NORM = 50.0, "gradient norm", "Smaller norms are usual.", "public logs";
    TINY_NORM = -6.0, "orders of magnitude of the loss", "A gradient norm below a millionth of the loss has vanished.", "precision of f32";
    BY_DEPTH = 1.85, "orders of magnitude", "Gradients of the first layers seventy times those of the last have exploded.", "AutoTrainer, ICSE 2021";
    VANISHES = -3.0, "orders of magnitude", "Gradients of the first layers a thousandth of those of the last have vanished.", "AutoTrainer, ICSE 2021";
    FAR_ABOVE_CLIP = 30.0, "multiple of the clip value", "A norm so far above the clip value is never let through.", "the article, case study";
    PINNED = 0.9, "share of the levels", "Nine levels in ten at one bound are no accident.", "convention";
    REPEATS = 10.0, "values", "So many identical values in a row are no accident.", "precision of f32";
    EVALUATIONS = 5.0, "values", "Evaluations are on the same examples each time: five that agree to the last digit suffice.", "examples/evaluate/faults.yaml";
    THIRD = 0.33, "share", "A third of a series, or of the way to maturity, is more than a beginning.", "convention";
    HARDLY_MOVES = 0.01, "share of the weights' size", "Ten healthy steps move weights further: each by about a thousandth.", "Karpathy, update-to-weight ratio";
    OVERFIT_RISE = 0.15, "share of the best level", "Validation above its best by less is no message worth sending.", "examples/evaluate/healthy.yaml";
    SPIKE = 3.0, "multiple of the level", "A jump to three times the level, ten deviations of the values around it, is a spike.", "examples/evaluate/healthy.yaml";
    WAVES = 1.5, "ratio", "Values scatter over longer stretches by half as much again as between neighbours.", "von Neumann 1941";
    WAVE_CHANCE = 5.0, "orders of magnitude", "Chance brings so large a sine wave once in a hundred thousand times.", "Schuster 1898";
    BUDGETS = 5.0, "runs", "A loss that takes five more runs of this length to halve gets nowhere.", "the article, raise the learning rate";
    NOT_DONE = 0.95, "share of the planned steps", "Short of this a job did not reach its end.", "logging intervals";
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
