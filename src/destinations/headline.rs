//! The news of a message in one line, and whose job it is about.
//!
//! Owns: the wording of headlines, causes and cures. Must not know: markup, which destination shows them.

use serde::Serialize;

use super::words::{number, one_line, sentence, settings, words};
use crate::case::{About, Cure};

/// What a job with a symptom does or has, after its name; what says most comes first.
const DOES: &[(&str, &str)] = &[
    ("non_finite", "has NaN or infinity"),
    ("diverging", "is diverging"),
    ("not_learning", "is not learning"),
    ("overfitting", "is overfitting"),
    ("stalled_after_lr_drop", "stalled after the learning rate dropped"),
    ("plateaued", "stopped improving too early"),
    ("slow_learning", "learns too slowly"),
    ("oscillating", "oscillates without progress"),
    ("weights_frozen", "does not change its weights"),
    ("exploding_gradients", "has exploding gradients"),
    ("vanishing_gradients", "has vanishing gradients"),
    ("dead_units", "has dead units"),
    ("loss_floor", "is stuck at a floor of its loss function"),
    ("loss_spikes", "has loss spikes"),
    ("sawtooth", "has a sawtooth loss: check that the data is shuffled"),
    ("clipped", "has a loss or gradient pinned at a bound"),
    ("silent", "stopped logging"),
];

/// Verdicts as causes.
const CAUSES: &[(&str, &str)] = &[
    ("learning_rate_too_high", "the learning rate is too high"),
    ("learning_rate_too_low", "the learning rate is too low"),
    ("learning_rate_decays_too_fast", "the learning rate decays too fast"),
    ("batch_norm_hides_exploding_gradients", "batch norm hides exploding gradients"),
    ("bad_initialization", "the weights are badly initialised"),
    ("vanishing_gradients", "the gradients vanish"),
    ("batch_too_small", "the batch size is too small"),
    ("batch_too_large", "the batch size is too large"),
    ("cannot_fit_one_point", "the model cannot fit a single example; check its architecture"),
    ("weights_do_not_change", "the weights do not change"),
    ("loss_function", "the loss function does not suit the task"),
    ("input_scaling", "inputs are not normalised"),
    ("data_pipeline", "the data pipeline (reshaping, labels or order)"),
    ("overfitting", "the model overfits"),
    ("too_few_steps", "training stops too early"),
    ("infrastructure", "infrastructure (crash, hang, disk, memory or time limit)"),
];

/// Verdicts that name no cause.
const ENDS: &[(&str, &str)] =
    &[("healthy", "Healthy after all"), ("recovered", "Recovered by itself"), ("inconclusive", "No cause found")];

fn find(table: &[(&str, &'static str)], id: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == id).map(|(_, phrase)| *phrase)
}

/// What is wrong with a job, as a sentence: `resnet/7 is not learning`.
pub(super) fn problem(run: &str, about: &About) -> String {
    let seen: Vec<&String> = about.symptoms.iter().chain(about.evidence.iter().map(|found| &found.symptom)).collect();
    let known = DOES.iter().find(|(id, _)| seen.iter().any(|symptom| symptom == id));
    match (known, seen.first()) {
        (Some((_, does)), _) => format!("{run} {does}"),
        (None, Some(other)) => format!("{run} shows {}", words(&one_line(other))),
        (None, None) if about.probability.is_some_and(|probability| probability > 0.5) => {
            format!("{run} is probably failing")
        }
        (None, None) => format!("{run} needs attention"),
    }
}

/// How a case ended, as a heading: `Cause: inputs are not normalised`.
pub(super) fn cause(verdict: &str) -> String {
    match (find(ENDS, verdict), find(CAUSES, verdict)) {
        (Some(end), _) => end.to_owned(),
        (None, Some(cause)) => format!("Cause: {cause}"),
        (None, None) => sentence(&words(&one_line(verdict))),
    }
}

/// The same within a line.
pub(super) fn cause_in_line(verdict: &str) -> String {
    let cause = cause(verdict);
    let mut chars = cause.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// What cured a job, with both figures: `learning_rate = 0.001: the loss reached 0.12, the baseline's 2.3`.
pub(super) fn cure(cure: &Cure) -> String {
    let changes = settings(&cure.overrides);
    let of = if cure.of.is_empty() { "loss" } else { cure.of.as_str() };
    match (cure.experiment, cure.baseline) {
        (Some(here), Some(there)) => {
            format!("{changes}: the {of} reached {}, the baseline's {}", number(here), number(there))
        }
        (Some(here), None) => format!("{changes}: the {of} reached {}, the baseline's was not finite", number(here)),
        (None, _) => changes,
    }
}

/// Somebody whose job it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Owner {
    /// The name; empty for one that is only an id.
    name: String,
    /// The user's id in Slack; empty where there is none.
    slack: String,
    /// The user's id in Discord; empty where there is none.
    discord: String,
}

impl Owner {
    /// Ids are checked again here: they stand in markup as they are.
    pub(super) fn of(owner: &str) -> Owner {
        let alphanumeric = |id: &&str| !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric());
        let digits = |id: &&str| !id.is_empty() && id.chars().all(|c| c.is_ascii_digit());
        let slack = owner.strip_prefix("slack:").filter(alphanumeric).unwrap_or_default().to_owned();
        let discord = owner.strip_prefix("discord:").filter(digits).unwrap_or_default().to_owned();
        let name = if slack.is_empty() && discord.is_empty() { one_line(owner) } else { String::new() };
        Owner { name, slack, discord }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_symptom_has_its_words_and_an_end_is_no_cause() {
        for symptom in [
            "non_finite",
            "diverging",
            "exploding_gradients",
            "vanishing_gradients",
            "not_learning",
            "slow_learning",
            "oscillating",
            "loss_spikes",
            "stalled_after_lr_drop",
            "plateaued",
            "overfitting",
            "dead_units",
            "weights_frozen",
            "clipped",
            "sawtooth",
            "loss_floor",
            "silent",
        ] {
            assert!(find(DOES, symptom).is_some(), "{symptom}");
        }
        let facts = [("healthy", "Healthy"), ("recovered", "Recovered"), ("overfitting", "Cause: the model")];
        for (verdict, start) in facts {
            assert!(cause(verdict).starts_with(start), "{verdict}: {}", cause(verdict));
        }
        assert_eq!(cause("input_scaling"), "Cause: inputs are not normalised");
        assert_eq!(cause_in_line("inconclusive"), "no cause found");
    }

    #[test]
    fn a_problem_and_a_cure_are_sentences() {
        let about = About { symptoms: vec!["clipped".into(), "not_learning".into()], ..About::default() };
        assert_eq!(problem("resnet/7", &about), "resnet/7 is not learning");
        assert_eq!(problem("resnet/7", &About::default()), "resnet/7 needs attention");
        let overrides = serde_json::from_value(json!({"learning_rate": 0.001})).unwrap();
        let found = Cure { overrides, experiment: Some(0.1234), baseline: Some(2.3), ..Cure::default() };
        assert_eq!(cure(&found), "learning_rate = 0.001: the loss reached 0.1234, the baseline's 2.3");
        assert!(cure(&Cure { baseline: None, ..found }).ends_with("was not finite"));
    }

    #[test]
    fn only_an_id_is_mentioned() {
        let owner = |text: &str| Owner::of(text);
        assert_eq!((owner("slack:U1").slack.as_str(), owner("discord:12").discord.as_str()), ("U1", "12"));
        for hostile in ["slack:U1> <!channel", "discord:@everyone", "ada"] {
            let owner = owner(hostile);
            assert!(owner.slack.is_empty() && owner.discord.is_empty() && owner.name == hostile);
        }
    }
}
