//! Removes secrets that were written into the file from error messages, because messages are logged.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

use crate::yaml::{Kind, Node, Problem};

use super::destinations::COMMON;

/// Texts that look like secrets anywhere: signing secrets, Slack tokens and webhooks, passwords in addresses, and, in
/// files that are not YAML, text after a telling key.
static SECRETS: LazyLock<Regex> = LazyLock::new(|| {
    let patterns = [
        r#"whsec_[^\s"',}]+"#,
        r#"xox[a-z]-[^\s"',}]+"#,
        r#"(?P<keep1>hooks\.slack\.com/)[^\s"',}]+"#,
        r#"(?P<keep2>://)[^\s/"'@]+@"#,
        r#"(?i)(?P<keep4>[?&]password=)[^&\s"']+"#,
        r#"(?i)(?P<keep3>(?:secret|token|password)\w*["']?\s*:\s*["']?)[^\s{"'&*][^\s"',}]*"#,
    ];
    Regex::new(&patterns.join("|")).expect("the pattern is constant, and a unit test compiles it")
});

/// Masks secrets in problems without changing positions.
pub(super) fn redact(problems: &mut [Problem], root: Option<&Node>) {
    let mut values = Vec::new();
    if let Some(Kind::Map(entries)) = root.map(|root| &root.kind) {
        for (_, node) in entries.iter().filter(|(key, _)| key.name == "destinations") {
            settings(node, &mut values);
        }
    }
    for problem in problems {
        for text in [&mut problem.snippet, &mut problem.message] {
            for value in &values {
                *text = text.replace(value, &stars(value));
            }
            *text = SECRETS.replace_all(text, blot).into_owned();
        }
    }
}

/// All texts in the settings of destinations, under any key, because a misspelt `secret` also contains one.
fn settings<'n>(destinations: &'n Node, values: &mut Vec<&'n str>) {
    let Kind::Map(destinations) = &destinations.kind else { return };
    for (_, destination) in destinations {
        let Kind::Map(fields) = &destination.kind else { continue };
        for (key, node) in fields {
            match &node.kind {
                Kind::Scalar(Value::String(text)) if !COMMON.contains(&key.name.as_str()) => {
                    // If an address is shown, only its path can be a secret.
                    let host = text.split_once("://").map(|(_, rest)| rest);
                    let path = host.map_or(Some(text.as_str()), |rest| rest.find('/').map(|at| &rest[at + 1..]));
                    values.extend(path.filter(|path| !path.is_empty()));
                }
                _ => {}
            }
        }
    }
}

fn blot(found: &Captures<'_>) -> String {
    let kept = ["keep1", "keep2", "keep3", "keep4"].into_iter().find_map(|name| found.name(name));
    let kept = kept.map_or("", |kept| kept.as_str());
    format!("{kept}{}", stars(&found[0][kept.len()..]))
}

fn stars(text: &str) -> String {
    "*".repeat(text.chars().count())
}

#[cfg(test)]
mod tests {
    use super::{SECRETS, blot};

    #[test]
    fn secrets_are_known_by_their_looks() {
        for (text, shown) in [
            ("secret: whsec_abc=", "secret: **********"),
            ("{url: https://me:pw@h/x}", "{url: https://******h/x}"),
            ("store: postgres://db/x?password=pw&name=a", "store: postgres://db/x?password=**&name=a"),
            ("https://hooks.slack.com/services/T/B/x", "https://hooks.slack.com/**************"),
            ("  api_token: 'abc'", "  api_token: '***'"),
            ("secret: {file: /etc/x}", "secret: {file: /etc/x}"),
        ] {
            assert_eq!(SECRETS.replace_all(text, blot), shown);
        }
    }
}
