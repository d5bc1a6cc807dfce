//! Explains a story in words.
//!
//! Owns: the presentation of a story. Must not know: how it is executed.

use std::fmt::Write as _;

use crate::policy::{Next, Passed, Policy};

use super::play::play;
use super::{report, story};

/// Explains one story of a test file: each test, its reason, its result and the consequence. `name` is the story's
/// name, or a unique prefix.
///
/// # Errors
/// The test file has problems, or no story, or more than one, has that name.
pub fn explain(policy: &Policy, test_text: &str, origin: &str, name: &str) -> Result<String, String> {
    let stories = story::read(policy, test_text, origin)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"))?;
    let exact = stories.iter().find(|story| story.name == name);
    let beginning: Vec<_> = stories.iter().filter(|story| story.name.starts_with(name)).collect();
    let story = match (exact, beginning.as_slice()) {
        (Some(story), _) => story,
        (None, [story]) => story,
        (None, []) => return Err(format!("{origin} has no story `{name}`")),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|story| story.name.as_str()).collect();
            return Err(format!("several stories begin with `{name}`: {}", names.join("; ")));
        }
    };
    let played = play(policy, story);
    let mut told = format!("{}\n\n", story.name);
    let _ = writeln!(told, "The baseline: {}", story.baseline.in_words());
    if !story.baseline.knobs.is_empty() {
        let _ = writeln!(told, "  settings {}", report::knobs(&story.baseline.knobs));
    }
    let (mut from, mut number) = (0, 0);
    for (to, next) in &played.stops {
        tell_passed(&mut told, policy, &played.passed[from..*to]);
        from = *to;
        match next {
            Next::Run(proposal) => {
                number += 1;
                let _ = writeln!(told, "\n{number}. {} {}", proposal.at.state, report::knobs(&proposal.changes));
                say(&mut told, "step", &proposal.step);
                say(&mut told, "because", &proposal.why);
                say(&mut told, "tests whether", &proposal.hypothesis);
                say(&mut told, "expects", &proposal.expect);
                let mut beliefs: Vec<(&String, &f64)> = proposal.beliefs.iter().collect();
                beliefs.sort_by(|a, b| b.1.total_cmp(a.1));
                let top = beliefs.iter().take(3).map(|(test, p)| format!("{test} {:.0} %", 100.0 * **p));
                say(&mut told, "believes", &top.collect::<Vec<_>>().join(", "));
            }
            Next::Ask(question) => {
                let _ = writeln!(told, "\nA person is asked ({}):", question.at.state);
                for item in &question.checklist {
                    let _ = writeln!(told, "  - {item}");
                }
            }
            Next::Conclude(end) => {
                let _ = writeln!(told, "\nVerdict: {}", end.verdict);
                say(&mut told, "because", &end.summary);
                if !end.recommended.is_empty() {
                    let _ = writeln!(told, "  use {}", report::knobs(&end.recommended));
                }
            }
        }
    }
    if let Some(gap) = &played.gap {
        let _ = writeln!(told, "\nThe story ends here: {gap}");
    }
    Ok(told)
}

fn tell_passed(told: &mut String, policy: &Policy, passed: &[Passed]) {
    for test in passed {
        let made = policy.test(&test.state).is_some_and(|known| known.then().contains_key(&test.outcome));
        let onward = if made { ", and the case continues" } else { "" };
        let _ = writeln!(told, "   {} resulted in {}{onward}: {}", test.state, test.outcome, test.why);
    }
}

fn say(told: &mut String, what: &str, words: &str) {
    if !words.is_empty() {
        let _ = writeln!(told, "   {what}: {words}");
    }
}
