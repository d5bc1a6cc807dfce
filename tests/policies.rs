//! Every built-in policy has no problems, follows the article, and passes its stories.

use nextrun::policy::{Policy, Vocabulary, parse};
use nextrun::rehearsal::rehearse;
use nextrun::symptoms;

/// Lines that a policy file may have, and the shared file.
const MOST_LINES: usize = 450;
const MOST_SHARED_LINES: usize = 250;
/// Characters of a condition: the longest, and what nine in ten keep to.
const LONGEST_CONDITION: usize = 120;
const USUAL_CONDITION: usize = 60;

fn folder() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/policies")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", folder())).expect("it can be read")
}

/// The names of the policies.
fn names() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).expect("policies are there");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let policy = |name: &String| !name.ends_with(".test.yaml") && text(name).contains("\npolicy: ");
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".yaml")).filter(policy).collect();
    names.sort();
    names
}

fn policy(name: &str) -> Policy {
    let problems = match parse(&text(name), name, &Vocabulary::new(symptoms::ids())) {
        Ok(policy) => return policy,
        Err(problems) => problems,
    };
    panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_policies_are_those_that_are_documented() {
    let names = names();
    let wanted = ["article", "boosting", "pretraining", "quick", "reinforcement", "watch-only"];
    assert_eq!(names, wanted.map(|name| format!("{name}.yaml")));
}

#[test]
fn every_policy_passes_its_stories_and_they_reach_every_outcome_and_conclusion() {
    for name in names() {
        let stories = name.replace(".yaml", ".test.yaml");
        let report = rehearse(&policy(&name), &text(&stories), &stories);
        assert!(report.passed(), "{name}:\n{report}");
        assert!(report.not_taken.is_empty(), "{name}:\n{report}");
    }
}

#[test]
fn every_policy_keeps_to_a_size_that_people_read() {
    let mut conditions = Vec::new();
    for name in names() {
        assert!(text(&name).lines().count() <= MOST_LINES, "{name}");
        let policy = policy(&name);
        conditions.extend(policy.conditions().map(|(_, source, _)| source.chars().count()));
        for test in policy.tests() {
            let outcomes = test.outcomes().into_iter().filter_map(|(_, when)| when);
            conditions.extend(outcomes.chain(test.when()).chain(test.suspect()).map(|source| source.chars().count()));
        }
    }
    assert!(text("common.yaml").lines().count() <= MOST_SHARED_LINES);
    assert!(conditions.iter().all(|length| *length <= LONGEST_CONDITION), "{:?}", conditions.iter().max());
    let long = conditions.iter().filter(|length| **length > USUAL_CONDITION).count();
    assert!(
        long * 10 <= conditions.len(),
        "{long} of {} conditions are longer than {USUAL_CONDITION}",
        conditions.len()
    );
}

/// The steps of the published sequence, and its general tips.
#[test]
fn every_step_and_tip_of_the_article_is_found_by_its_number() {
    let article = policy("article.yaml");
    let steps: Vec<&str> = article.used().into_iter().map(|test| test.step()).collect();
    for number in 1..=9 {
        assert!(steps.iter().any(|step| step.contains(&format!("{number} "))), "step {number}: {steps:?}");
    }
    for tip in [
        "normalise input",
        "variance-scaled",
        "ReLU",
        "no activation on the output",
        "no LR decay",
        "no gradient clipping",
    ] {
        assert!(steps.iter().any(|step| step.contains(tip)), "tip {tip}: {steps:?}");
    }
}
