//! The journal of a case: decisions with their times and authors.
//!
//! Owns: the presentation of an entry. Must not know: its consequences.

use maud::{Markup, html};
use serde_json::Value;

use super::time::moment;
use super::words::{count, sentence, shown, value, words};
use crate::case::{BY_HAND, JournalEntry};

/// Maximum length of a text of an entry in characters.
const LONGEST: usize = 800;

/// The section of a page.
pub(super) fn section(journal: &[JournalEntry], now: Option<f64>) -> Markup {
    html! {
        section aria-labelledby="history" {
            h2 id="history" { "What was decided" }
            details id="journal" open[now.is_none()] {
                summary { (count(journal.len(), "entry").replace("entrys", "entries")) ", the oldest first" }
                div.scroll tabindex="0" role="region" aria-label="Journal" {
                    table {
                        thead { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "By" } th scope="col" { "Details" } } }
                        tbody {
                            @for entry in journal {
                                tr {
                                    td.when { (moment(entry.time, None)) }
                                    td { (sentence(&words(&shown(&entry.kind, 40)))) }
                                    td { (by(entry)) }
                                    td { (details(&entry.detail)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Who decided: a person, the system that runs jobs, or nextrun by its policy.
fn by(entry: &JournalEntry) -> String {
    let text = |key: &str| entry.detail.get(key).and_then(Value::as_str);
    if let Some(person) = text("decided_by") {
        return shown(person, 80);
    }
    let by_hand = text("by") == Some(BY_HAND) || text("state") == Some("closed_by_hand");
    match entry.kind.as_str() {
        "answered" | "resumed" | "silenced" => "a person".to_owned(),
        "fate" => "whoever runs it".to_owned(),
        _ if by_hand => "a person".to_owned(),
        _ => "nextrun".to_owned(),
    }
}

fn details(detail: &Value) -> Markup {
    let fields = || detail.as_object().into_iter().flatten().filter(|(_, value)| !is_empty(value));
    html! {
        dl.details {
            @for (key, detail) in fields() {
                dt { (sentence(&words(&shown(key, 40)))) }
                dd { (text(key, detail)) }
            }
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn text(key: &str, detail: &Value) -> String {
    match detail {
        Value::String(words) => shown(words, LONGEST),
        Value::Array(values) => shown(&values.iter().map(|one| text(key, one)).collect::<Vec<_>>().join("; "), LONGEST),
        Value::Object(map) => {
            let one = |(name, value): (&String, &Value)| match value {
                _ if crate::command::is_secret_name(name) => format!("{}: ***", words(name)),
                Value::Object(_) | Value::Array(_) => format!("{}: {}", words(name), text(name, value)),
                _ => format!("{}: {}", words(name), self::value(name, value)),
            };
            let shown_fields = map.iter().filter(|(_, value)| !is_empty(value)).map(one);
            shown(&shown_fields.collect::<Vec<_>>().join("; "), LONGEST)
        }
        other => value(key, other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_says_who_decided() {
        let entry = |kind: &str, detail: Value| JournalEntry { time: 0.0, kind: kind.into(), detail };
        for (kind, detail, who) in [
            ("suggested", json!({}), "nextrun"),
            ("linked", json!({"by": "hand"}), "a person"),
            ("linked", json!({"by": "directory"}), "nextrun"),
            ("closed", json!({"state": "closed_by_hand"}), "a person"),
            ("answered", json!({}), "a person"),
            ("approved", json!({"decided_by": "slack/U1"}), "slack/U1"),
            ("fate", json!({}), "whoever runs it"),
        ] {
            assert_eq!(by(&entry(kind, detail)), who);
        }
    }

    #[test]
    fn nested_details_are_read_and_secrets_are_not() {
        let detail =
            json!({"cost": {"steps": 100, "seconds": null}, "overrides": {"api_key": "hush", "learning_rate": 0.01}});
        let drawn = details(&detail).into_string();
        assert!(
            drawn.contains("steps: 100") && drawn.contains("learning rate: 0.01") && !drawn.contains("hush"),
            "{drawn}"
        );
    }
}
