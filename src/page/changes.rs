//! Differences of a command and of settings from the baseline.
//!
//! Owns: which arguments of a command are marked as removed and added. Must not know: how commands are rewritten.

use maud::{Markup, html};
use similar::{Algorithm, DiffTag, capture_diff_slices};

use super::words::{changes, shown};
use crate::command::{masked, masked_line, shell};
use crate::facts::Knobs;
use crate::launched::Launched;

/// A command has no more words than this on a page.
const MOST_WORDS: usize = 400;

/// The baseline's command, with secrets masked.
pub(super) fn command_of(launched: &Launched) -> String {
    masked(&launched.argv).iter().map(|word| shell(word)).collect::<Vec<_>>().join(" ")
}

/// A new command compared with the old one: removed and added arguments.
pub(super) fn command(old: Option<&str>, new: &str) -> Markup {
    let new = masked_line(new);
    let new: Vec<&str> = new.split_whitespace().take(MOST_WORDS).collect();
    let old: Vec<&str> = old.unwrap_or_default().split_whitespace().take(MOST_WORDS).collect();
    let parts = capture_diff_slices(Algorithm::Myers, &old, &new);
    let joined = |words: &[&str]| shown(&words.join(" "), 4000);
    html! {
        pre.command tabindex="0" {
            code {
                @if old.is_empty() {
                    (joined(&new))
                } @else {
                    @for (at, part) in parts.iter().enumerate() {
                        @if at > 0 { " " }
                        @match part.tag() {
                            DiffTag::Equal => (joined(&new[part.new_range()])),
                            DiffTag::Delete => del { (joined(&old[part.old_range()])) },
                            DiffTag::Insert => ins { (joined(&new[part.new_range()])) },
                            DiffTag::Replace => {
                                del { (joined(&old[part.old_range()])) } " " ins { (joined(&new[part.new_range()])) }
                            },
                        }
                    }
                }
            }
        }
    }
}

/// Changed settings in one line.
pub(super) fn settings(changed: &Knobs, before: &Knobs) -> Markup {
    let changed = changes(changed, before);
    html! {
        @if changed.is_empty() {
            span.quiet { "nothing changed" }
        } @else {
            ul.settings {
                @for (knob, old, new) in changed {
                    li {
                        span.knob { (knob) } " "
                        @if let Some(old) = old.filter(|old| *old != new) { span.old { (old) } " → " } @else { "= " }
                        strong { (new) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_what_differs() {
        let drawn =
            command(Some("python train.py --lr 0.1 --steps 100"), "python train.py --lr 0.01 --steps 100 --seed 3");
        let text = drawn.into_string();
        assert!(text.contains("<del>0.1</del> <ins>0.01</ins>") && text.contains("<ins>--seed 3</ins>"), "{text}");
        assert!(text.contains("python train.py --lr <del>"), "{text}");
        let alone = command(None, "python <b>").into_string();
        assert!(alone.contains("python &lt;b&gt;") && !alone.contains("<ins>"), "{alone}");
    }

    #[test]
    fn secrets_of_a_command_are_not_shown() {
        let text =
            command(Some("train --api-key=sk-111122223333"), "train --api-key=sk-444455556666 --lr 1").into_string();
        assert!(!text.contains("4444") && !text.contains("1111"), "{text}");
    }
}
