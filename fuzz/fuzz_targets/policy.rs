//! Arbitrary text as a policy and as its tests: it is read or rejected, and rejections have a position in the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nextrun::policy::{Vocabulary, pages, parse};
use nextrun::rehearsal::rehearse;

const STORIES: &str = include_str!("../../tests/policy/sample.test.yaml");

fuzz_target!(|text: &str| {
    let vocabulary = Vocabulary::new(["not_learning", "overfitting", "diverging"]);
    match parse(text, "fuzz.yaml", &vocabulary) {
        Ok(policy) => {
            assert!(pages(&policy).iter().all(|page| !page.mermaid().is_empty() && page.svg().ends_with("</svg>\n")));
            let _ = rehearse(&policy, STORIES, "fuzz.test.yaml");
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in problems {
                assert!(problem.to_string().contains("fuzz.yaml"), "without a place: {problem}");
            }
        }
    }
});
