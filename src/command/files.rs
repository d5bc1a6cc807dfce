//! Configuration files named in a command: their entries, and changing one entry while keeping the rest unchanged.
//!
//! Owns: YAML and JSON text. Must not know: knobs, and the location of files.

use std::collections::BTreeMap;

use serde_json::Value;

/// Deeper nesting is not followed.
const DEEPEST: usize = 8;

/// Whether an argument may name a configuration file.
pub(super) fn is_config(word: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|ending| word.len() > ending.len() && word.ends_with(ending))
}

/// The entries of a file by their dotted names; empty if it is not a single map.
pub(super) fn entries(name: &str, text: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    if let Some(tree) = tree(name, text) {
        flatten("", &tree, DEEPEST, &mut found);
    }
    found
}

fn tree(name: &str, text: &str) -> Option<Value> {
    if name.ends_with(".json") { serde_json::from_str(text).ok() } else { serde_saphyr::from_str(text).ok() }
}

fn flatten(prefix: &str, value: &Value, depth: usize, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) if depth > 0 => {
            for (key, value) in map {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, value, depth - 1, found);
            }
        }
        _ if prefix.is_empty() => {}
        value => drop(found.insert(prefix.to_owned(), value.clone())),
    }
}

/// The file with one entry changed; `None` if that is not possible without affecting other entries.
pub(super) fn with(name: &str, text: &str, key: &str, value: &Value) -> Option<String> {
    let before = entries(name, text);
    if !before.contains_key(key) {
        return None;
    }
    let edited = if name.ends_with(".json") { in_json(text, key, value)? } else { in_yaml(text, key, value)? };
    let mut wanted = before;
    wanted.insert(key.to_owned(), value.clone());
    let after = entries(name, &edited);
    let same = after.len() == wanted.len()
        && after.iter().all(|(key, value)| wanted.get(key).is_some_and(|other| equal(value, other)));
    same.then_some(edited)
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn in_json(text: &str, key: &str, value: &Value) -> Option<String> {
    let mut tree: Value = serde_json::from_str(text).ok()?;
    let pointer: String =
        key.split('.').map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect();
    *tree.pointer_mut(&pointer)? = value.clone();
    serde_json::to_string_pretty(&tree).ok()
}

/// Replaces the value on the line of a key in block style.
fn in_yaml(text: &str, key: &str, value: &Value) -> Option<String> {
    let mut above: Vec<(usize, String)> = Vec::new();
    let mut edited = String::with_capacity(text.len() + 16);
    let mut done = false;
    for line in text.split_inclusive('\n') {
        let body = line.trim_end_matches(['\n', '\r']);
        let indent = body.len() - body.trim_start().len();
        let parsed = (!body.trim_start().starts_with('#')).then(|| body.trim_start().split_once(':')).flatten();
        let Some((name, rest)) = parsed.filter(|(_, rest)| rest.is_empty() || rest.starts_with([' ', '\t'])) else {
            edited.push_str(line);
            continue;
        };
        above.retain(|(margin, _)| *margin < indent);
        above.push((indent, name.trim().trim_matches(['"', '\'']).to_owned()));
        let path: Vec<&str> = above.iter().map(|(_, name)| name.as_str()).collect();
        if done || path.join(".") != key {
            edited.push_str(line);
            continue;
        }
        let comment = rest.find(" #").map_or("", |at| &rest[rest[..at].trim_end().len()..]);
        edited.push_str(&body[..body.len() - rest.len()]);
        edited.push(' ');
        edited.push_str(&scalar(value)?);
        edited.push_str(comment);
        edited.push_str(&line[body.len()..]);
        done = true;
    }
    done.then_some(edited)
}

/// A value that YAML 1.1 and 1.2 read identically: floats have a decimal point and no exponent, texts have quotes.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) if number.is_f64() => Some(super::value::decimal(number.as_f64()?)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const YAML: &str = "# settings\nlr: 1e-3  # rate\nmodel:\n  act: relu\n  depth: 3\noptim:\n  lr: 0.5\n  name: 'sgd'\nlist: [1, 2]\n";

    #[test]
    fn one_entry_changes_and_everything_else_stays() {
        let edited = with("a.yaml", YAML, "lr", &json!(0.00001)).unwrap();
        assert_eq!(edited, YAML.replace("1e-3", "0.00001"));
        assert_eq!(with("a.yaml", YAML, "optim.lr", &json!(1.0)).unwrap(), YAML.replace("0.5", "1.0"));
        assert_eq!(
            with("a.yaml", YAML, "optim.name", &json!("a: #b\n")).unwrap(),
            YAML.replace("'sgd'", "\"a: #b\\n\"")
        );
        assert_eq!(
            with("a.json", r#"{"a": {"lr": 1}, "b": null}"#, "a.lr", &json!(2))
                .map(|text| entries("a.json", &text)["a.lr"].clone()),
            Some(json!(2))
        );
    }

    #[test]
    fn what_cannot_be_changed_alone_is_not_changed() {
        assert_eq!(with("a.yaml", YAML, "missing", &json!(1)), None);
        assert_eq!(with("a.yaml", "a: {lr: 1}\n", "a.lr", &json!(2)), None);
        assert_eq!(with("a.yaml", "a: &x 1\nb: *x\n", "a", &json!(2)), None);
        assert_eq!(
            with("a.yaml", "a: |\n  lr: 3\nlr: 1\n", "lr", &json!(2)).as_deref(),
            Some("a: |\n  lr: 3\nlr: 2\n")
        );
        for broken in ["", "a", "- 1", "a: [", "\u{0}"] {
            assert_eq!((entries("a.yaml", broken).len(), with("a.yaml", broken, "a", &json!(1))), (0, None));
        }
    }
}
