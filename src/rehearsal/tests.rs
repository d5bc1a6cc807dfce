//! Tests of rehearsals on the sample policy.

use super::{Results, Status, rehearse};
use crate::policy::tests::sample;

const STORIES: &str = include_str!("../../tests/policy/sample.test.yaml");

fn run(text: &str) -> Results {
    rehearse(&sample(), text, "sample.test.yaml")
}

fn one(story: &str) -> Results {
    let indented: String = story.lines().map(|line| format!("    {line}\n")).collect();
    run(&format!("policy: sample.yaml\ntests:\n  - name: one\n{indented}"))
}

const BASELINE: &str = "baseline: { knobs: { learning_rate: 0.001 } }\n";

#[test]
fn the_stories_of_the_sample_pass() {
    let report = run(STORIES);
    assert!(report.passed(), "{report}");
    assert_eq!(report.count(Status::Pass), 5);
}

#[test]
fn outcomes_that_no_story_reaches_are_named() {
    let report = run(STORIES);
    let not_taken: Vec<String> = report.not_taken.iter().map(|w| format!("{}.{}", w.state, w.outcome)).collect();
    assert!(not_taken.contains(&"nonsense_logged.found".to_owned()));
    assert!(not_taken.contains(&"overfit_one_point.fits".to_owned()));
    assert!(not_taken.contains(&"recovered.concluded".to_owned()));
    assert!(!not_taken.contains(&"overfit_one_point.crashed".to_owned()));
    let text = report.to_string();
    assert!(text.contains("not reached: overfit_one_point -> fits, skipped"), "{text}");
    assert!(text.contains(&format!("{} of {} outcomes", report.ways - not_taken.len(), report.ways)), "{text}");
}

#[test]
fn a_story_is_told_in_words() {
    insta::assert_snapshot!(super::explain(&sample(), STORIES, "sample.test.yaml", "a lower").expect("told"));
    let unknown = super::explain(&sample(), STORIES, "sample.test.yaml", "nothing");
    assert_eq!(unknown, Err("sample.test.yaml has no story `nothing`".to_owned()));
    let several = super::explain(&sample(), STORIES, "sample.test.yaml", "a ");
    assert!(several.is_err_and(|error| error.starts_with("several stories begin with `a `")));
}

#[test]
fn what_differs_is_told_apart() {
    let story = format!(
        "{BASELINE}shows: {{ overfit_one_point: {{ fits: true }} }}
default_show: {{}}
expect:
  path: [overfit_one_point, lower_learning_rate]
  verdict: inconclusive
  experiments: 2
  recommended: {{ batch_size: 1 }}
  changes: {{ overfit_one_point: {{ batch_size: 2 }} }}
  outcomes: {{ overfit_one_point: fails }}
  never: [overfit_one_point]"
    );
    let report = one(&story);
    assert_eq!(report.tests[0].status, Status::Fail);
    insta::assert_snapshot!(report.to_string().lines().take(16).collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_gap_in_the_story_is_an_error_and_not_a_failure() {
    let report = one(&format!("{BASELINE}expect: {{ verdict: inconclusive }}"));
    assert_eq!(report.tests[0].status, Status::Error);
    assert!(report.tests[0].findings[0].contains("does not define the result of `overfit_one_point`"), "{report}");
    let report = one(&format!(
        "{BASELINE}shows: {{ overfit_one_point: {{}}, lower_learning_rate: [{{ better: true, progress: 0.1 }}] }}\nexpect: {{ verdict: inconclusive }}"
    ));
    assert!(report.tests[0].findings[0].contains("reached 2 times"), "{report}");
    let report =
        one(&format!("{BASELINE}shows: {{ overfit_one_point: silence }}\nexpect: {{ verdict: inconclusive }}"));
    assert!(report.tests[0].findings[0].contains("runs an experiment"), "{report}");
}

#[test]
fn a_default_serves_the_tests_that_are_left_out() {
    let report = one(&format!("{BASELINE}default_show: {{}}\nexpect: {{ verdict: inconclusive, experiments: 2 }}"));
    assert!(report.passed(), "{report}");
}

#[test]
fn mistakes_of_a_test_file_are_shown_with_their_places() {
    for (story, message) in [
        ("expect: {}", "must expect something"),
        ("expect: { verdict: guilty }", "no verdict `guilty`"),
        ("expect: { path: [overfit_one_pint] }", "did you mean `overfit_one_point`?"),
        ("expect: { verdict: inconclusive }\nshows: { triag: {} }", "no test, state or conclusion `triag`"),
        ("expect: { verdict: inconclusive }\nshows: { overfit_one_point: { fist: true } }", "did you mean `fits`?"),
        ("expect: { verdict: inconclusive }\nshows: { overfit_one_point: { fits: 1 } }", "must be true or false"),
        ("expect: { verdict: inconclusive }\nshows: { overfit_one_point: explode }", "is not a valid result"),
        ("expect: { verdict: inconclusive }\nbaseline: { symptoms: [sad] }", "no symptom `sad`"),
        ("expect: { verdict: inconclusive }\nknobs: [lr]", "no knob `lr`"),
        ("expects: { verdict: inconclusive }", "did you mean `expect`?"),
    ] {
        let report = one(story);
        let text = report.to_string();
        assert!(!report.passed() && report.tests.is_empty(), "{story}");
        assert!(text.contains(message) && text.contains('^'), "{text}");
    }
    assert!(!run("tests: [").passed());
}
