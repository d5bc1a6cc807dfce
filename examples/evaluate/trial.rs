//! Everything that is measured, on all cases: nextrun, the strategies without it, other tools' rules.
//!
//! Owns: what is run on what, in which order. Must not know: how results are shown.

use std::collections::BTreeMap;

use serde_json::Map;

use crate::cases::Case;
use crate::classes::{CLASSES, Grade, grade};
use crate::curves::Curves;
use crate::investigation::Investigation;
use crate::lab::Lab;
use crate::live;
use crate::parallel;
use crate::rivals::RULES;
use crate::strategies::{Bench, Said};

/// Draws of a random order for each run.
const DRAWS: u64 = 5;

/// One baseline run and what everybody made of it.
pub(crate) struct Judged {
    /// What nextrun made of it.
    pub(crate) nextrun: Investigation,
    /// What the daemon made of it, in a process of its own, where that was tried.
    pub(crate) daemon: Option<Investigation>,
    /// What the strategies said, by name; several where chance plays a part; none of healthy runs.
    pub(crate) strategies: BTreeMap<&'static str, Vec<Said>>,
    /// Whether each of [`RULES`] fires.
    pub(crate) rules: Vec<bool>,
}

/// Names of the strategies, as they are shown.
pub(crate) const CONSTANT: &str = "always the same verdict";
/// See [`CONSTANT`].
pub(crate) const IN_ORDER: &str = "the article's list in its order";
/// See [`CONSTANT`].
pub(crate) const RANDOM: &str = "the same list in a random order";
/// See [`CONSTANT`].
pub(crate) const LOWER: &str = "a tenth of the learning rate";

/// Runs everything on every case, with so many seeds.
///
/// # Errors
/// When a run cannot be trained or read.
pub(crate) fn trial(cases: &[Case], seeds: u64, lab: &Lab) -> anyhow::Result<Vec<Judged>> {
    let repeated: Vec<(&Case, u64)> =
        cases.iter().flat_map(|case| (0..seeds).map(move |repetition| (case, repetition))).collect();
    let results: anyhow::Result<Vec<Judged>> = parallel::map(&repeated, |(case, repetition)| {
        let result = one(case, *repetition, lab);
        eprintln!("{:32} {repetition}  {}", case.id, if result.is_ok() { "done" } else { "failed" });
        result
    })
    .into_iter()
    .collect();
    let mut results = results?;
    let constant = best_constant(&results);
    for result in results.iter_mut().filter(|result| !result.nextrun.healthy) {
        let said = Said { verdict: constant.to_owned(), experiments: Vec::new() };
        result.strategies.insert(CONSTANT, vec![said]);
    }
    Ok(results)
}

fn one(case: &Case, repetition: u64, lab: &Lab) -> anyhow::Result<Judged> {
    let nextrun = live::investigate(case, repetition, lab)?;
    let baseline = lab.run(case, repetition, &Map::new())?;
    let curves = Curves::read(case, &baseline.directory)?;
    let rules = RULES.iter().map(|rule| (rule.fires)(&curves)).collect();
    let mut strategies = BTreeMap::new();
    if !case.healthy {
        let bench = Bench { case, repetition, lab };
        let draws = (0..DRAWS).map(|draw| bench.in_random_order(DRAWS * repetition + draw + 1));
        strategies.insert(IN_ORDER, vec![bench.in_order()?]);
        strategies.insert(RANDOM, draws.collect::<anyhow::Result<_>>()?);
        strategies.insert(LOWER, vec![bench.lower_learning_rate()?]);
    }
    Ok(Judged { nextrun, daemon: None, strategies, rules })
}

/// The verdict that is accepted most often among the trained cases.
fn best_constant(results: &[Judged]) -> &'static str {
    let trained = || results.iter().map(|result| &result.nextrun).filter(|known| !known.held_back && !known.healthy);
    let hits =
        |verdict: &str| trained().filter(|known| grade(Some(verdict), &known.expected) >= Grade::Accepted).count();
    let verdicts = CLASSES.iter().flat_map(|(_, verdicts, _)| verdicts.iter().copied());
    verdicts.max_by_key(|verdict| hits(verdict)).unwrap_or("inconclusive")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::{About, page};

    /// A few cases, with few steps: what matters is that every part does its work.
    fn small_cases() -> Vec<Case> {
        let mut cases = crate::cases::all().unwrap();
        cases.retain(|case| ["waves_sgd_explodes", "zeroed_gradients", "h_few_points"].contains(&case.id.as_str()));
        for case in &mut cases {
            case.hidden = vec![16];
            case.baseline.insert("max_steps".to_owned(), json!(200));
        }
        cases
    }

    #[test]
    fn a_whole_evaluation_of_a_few_small_cases() {
        let scratch = tempfile::tempdir().unwrap();
        let cases = small_cases();
        let results = trial(&cases, 1, &Lab::new(scratch.path()).unwrap()).unwrap();
        let of = |id: &str| results.iter().find(|result| result.nextrun.case == id).unwrap();
        for (id, verdict) in [
            ("waves_sgd_explodes", Some("learning_rate_too_high")),
            ("zeroed_gradients", Some("weights_do_not_change")),
            ("h_few_points", None),
        ] {
            let known = &of(id).nextrun;
            assert_eq!((known.verdict.as_deref(), known.grade()), (verdict, Grade::Expert), "{id}");
        }
        let explodes = of("waves_sgd_explodes");
        assert!(!explodes.nextrun.experiments.is_empty());
        assert!(explodes.strategies[IN_ORDER][0].grade(&explodes.nextrun.expected) >= Grade::Accepted);
        let sees_nan = RULES.iter().position(|rule| rule.tool.starts_with("Megatron")).unwrap();
        assert!(explodes.rules[sees_nan] && !of("h_few_points").rules[sees_nan]);
        assert!(of("h_few_points").strategies.is_empty());
        let about = About {
            date: "today".to_owned(),
            machine: "a machine".to_owned(),
            command: "a command".to_owned(),
            seeds: 1,
            minutes: 1.0,
            remarks: BTreeMap::new(),
        };
        let text = page(&results, &about);
        assert!(
            text.contains("| zeroed_gradients | trained | weights_do_not_change | ✔ weights_do_not_change"),
            "{text}"
        );
        assert!(!text.contains("NaN /"), "{text}");
    }

    #[test]
    fn the_same_seed_gives_the_same_answers() {
        let cases = small_cases();
        let [first, again] = [(); 2].map(|()| {
            let scratch = tempfile::tempdir().unwrap();
            live::investigate(&cases[0], 1, &Lab::new(scratch.path()).unwrap()).unwrap().line()
        });
        assert_eq!(first, again);
    }
}
