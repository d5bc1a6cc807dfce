//! Which verdicts come to the same, and how good a verdict is.
//!
//! Owns: the one table of classes, and the grades. Must not know: who gave the verdict.

use serde::Serialize;

/// Verdicts that share their fix, and the fix. An experiment cannot tell causes apart that the same change cures (smaller
/// steps and larger batches both lower the noise of an update), so the honest answer is the class. A verdict that stands
/// in no row is a class of its own; `inconclusive`, `healthy` and `recovered` are none.
pub(crate) const CLASSES: &[(&str, &[&str], &str)] = &[
    ("step too large", &["learning_rate_too_high", "batch_too_small"], "smaller or less noisy updates"),
    ("step too small", &["learning_rate_too_low", "batch_too_large"], "larger or more updates"),
    ("schedule", &["learning_rate_decays_too_fast"], "a learning rate that lasts"),
    (
        "signal propagation",
        &["bad_initialization", "vanishing_gradients", "batch_norm_hides_exploding_gradients"],
        "variance-scaled initialisation and activations that do not saturate",
    ),
    ("output and loss", &["loss_function", "cannot_fit_one_point"], "an output and a loss that suit the targets"),
    ("updates", &["weights_do_not_change"], "an optimizer that holds the weights it is to change"),
    ("input scale", &["input_scaling"], "standardised inputs"),
    ("data", &["data_pipeline"], "inputs and labels that belong together"),
    ("length", &["too_few_steps"], "more steps"),
    ("generalisation", &["overfitting"], "more data or regularisation"),
    ("machine", &["infrastructure"], "another machine"),
];

/// How good a verdict is, from bad to good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Grade {
    /// Another class, or none.
    Wrong,
    /// The class of a verdict that is expected.
    Class,
    /// One of those that may be given.
    Accepted,
    /// What an expert would say.
    Expert,
}

/// Grades a verdict against those that are expected, the expert's first.
pub(crate) fn grade(verdict: Option<&str>, expected: &[String]) -> Grade {
    let Some(verdict) = verdict else { return Grade::Wrong };
    match expected.iter().position(|one| one == verdict) {
        Some(0) => Grade::Expert,
        Some(_) => Grade::Accepted,
        None if expected.iter().any(|one| class(one).is_some() && class(one) == class(verdict)) => Grade::Class,
        None => Grade::Wrong,
    }
}

/// The class of a verdict.
pub(crate) fn class(verdict: &str) -> Option<&'static str> {
    CLASSES.iter().find(|(_, verdicts, _)| verdicts.contains(&verdict)).map(|(name, ..)| *name)
}

#[cfg(test)]
mod tests {
    use super::{CLASSES, Grade, class, grade};

    #[test]
    fn every_verdict_that_names_a_cause_is_in_one_class() {
        let none = ["healthy", "recovered", "inconclusive"];
        for verdict in nextrun::policy::VERDICTS {
            let classes = CLASSES.iter().filter(|(_, verdicts, _)| verdicts.contains(verdict)).count();
            assert_eq!(classes, usize::from(!none.contains(verdict)), "{verdict}");
        }
        let known = |verdict: &&&str| nextrun::policy::VERDICTS.contains(*verdict);
        assert!(CLASSES.iter().flat_map(|(_, verdicts, _)| *verdicts).all(|verdict| known(&verdict)));
    }

    #[test]
    fn verdicts_are_graded_by_the_best_that_can_be_said_of_them() {
        let expected = ["bad_initialization".to_owned(), "weights_do_not_change".to_owned()];
        for (verdict, expected_grade) in [
            (Some("bad_initialization"), Grade::Expert),
            (Some("weights_do_not_change"), Grade::Accepted),
            (Some("vanishing_gradients"), Grade::Class),
            (Some("inconclusive"), Grade::Wrong),
            (None, Grade::Wrong),
        ] {
            assert_eq!(grade(verdict, &expected), expected_grade, "{verdict:?}");
        }
        assert_eq!(class("inconclusive"), None);
    }
}
