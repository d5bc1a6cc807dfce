//! A policy as a diagram.
//!
//! Owns: Mermaid's notation. Must not know: cases.

use std::fmt::Write as _;

use super::file::{Policy, State, StateKind, Way};

/// A longer guard is cut in a label, so that the diagram stays readable.
const LABEL: usize = 60;

/// The policy as a Mermaid `stateDiagram-v2`. Labels are outcomes with their guards; conclusions carry their verdict.
pub fn mermaid(policy: &Policy) -> String {
    let mut text = String::from("stateDiagram-v2\n");
    let _ = writeln!(text, "    [*] --> {}", policy.start());
    for state in policy.states() {
        describe(&mut text, state);
    }
    for state in policy.states() {
        for way in state.ways() {
            let _ = writeln!(text, "    {} --> {}: {}", state.name(), way.to, label(&way));
        }
        if state.kind() == StateKind::Conclude {
            let _ = writeln!(text, "    {} --> [*]", state.name());
        }
    }
    text
}

fn describe(text: &mut String, state: &State) {
    let name = state.name();
    let note = match (state.kind(), state.verdict()) {
        (StateKind::Branch, _) => {
            let _ = writeln!(text, "    state {name} <<choice>>");
            return;
        }
        (_, Some(verdict)) => format!("verdict {verdict}"),
        (StateKind::Ask, _) if state.step().is_empty() => "ask a person".to_owned(),
        (StateKind::Ask, _) => format!("ask a person ({})", state.step()),
        _ if state.step().is_empty() => return,
        _ => state.step().to_owned(),
    };
    let _ = writeln!(text, "    {name}: {name} / {}", plain(&note));
}

fn label(way: &Way<'_>) -> String {
    match way.when {
        Some(guard) if guard.chars().count() > LABEL => {
            let cut: String = guard.chars().take(LABEL).collect();
            format!("{} [{}…]", way.outcome, plain(&cut))
        }
        Some(guard) => format!("{} [{}]", way.outcome, plain(guard)),
        None => way.outcome.to_owned(),
    }
}

/// Mermaid ends a label at a line break or a semicolon, and reads a colon or a hash as its own.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            ';' | ':' | '#' => ',',
            '"' => '\'',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::mermaid;
    use crate::policy::tests::{SAMPLE, read, sample};

    #[test]
    fn the_sample_as_a_diagram() {
        insta::assert_snapshot!(mermaid(&sample()));
    }

    #[test]
    fn what_mermaid_would_take_for_its_own_is_replaced() {
        let text = SAMPLE.replace("'has_symptom(baseline, \"overfitting\")'", "'baseline.optimizer == \"a;b:c#d\"'");
        let text = text.replace("step: \"2 lower", "step: \"2; lower");
        let diagram = mermaid(&read(&text));
        assert!(diagram.contains("overfits [baseline.optimizer == 'a,b,c,d']"), "{diagram}");
        assert!(diagram.contains("lower_learning_rate / 2, lower the learning rate"), "{diagram}");
    }

    #[test]
    fn a_long_guard_is_cut() {
        let long = format!("'{} true'", "baseline.learned && ".repeat(5));
        let text = SAMPLE.replace("'has_symptom(baseline, \"overfitting\")'", &long);
        let diagram = mermaid(&read(&text));
        let line = diagram.lines().find(|line| line.contains(": overfits")).expect("the way");
        assert!(line.ends_with("…]") && line.len() < 130, "{line}");
    }
}
