//! Shortening of long texts.
//!
//! Owns: where a text can be shortened, and which texts of a payload are shortened first. Must not know: the content of
//! a message, the source of the limits.

use serde_json::Value;

/// Number of characters as most services count them: UTF-16 units, as in JavaScript.
pub(super) fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The end of a shortened text: the ellipsis, and closing marks if necessary.
const TAIL: usize = 1 + "\n```".len() + "`".len();

/// `text` within `most` characters; escapes are not split, and open code blocks are closed.
pub(super) fn cut(text: &str, most: usize) -> String {
    if length(text) <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut units = 0;
    for c in text.chars() {
        units += c.len_utf16();
        if units + TAIL > most {
            break;
        }
        kept.push(c);
    }
    if let Some(at) = kept.rfind('&').filter(|at| !kept[*at..].contains(';')) {
        kept.truncate(at);
    }
    let backslashes = kept.len() - kept.trim_end_matches('\\').len();
    kept.truncate(kept.len() - backslashes % 2);
    let whole = kept.trim_end_matches('`').trim_end().len();
    kept.truncate(whole);
    if kept.matches("```").count() % 2 == 1 {
        return format!("{kept}…\n```");
    }
    let after_fence = kept.rsplit("```").next().unwrap_or_default();
    let open = after_fence.rsplit('\n').next().unwrap_or_default().matches('`').count() % 2 == 1;
    format!("{kept}…{}", if open { "`" } else { "" })
}

/// Every text of a payload under the key `text`, which people read.
pub(super) fn texts(payload: &mut Value) -> Vec<&mut String> {
    match payload {
        Value::Object(map) => {
            let mut found = Vec::new();
            for (key, value) in map.iter_mut() {
                if key != "text" || !value.is_string() {
                    found.extend(texts(value));
                } else if let Value::String(text) = value {
                    found.push(text);
                }
            }
            found
        }
        Value::Array(items) => items.iter_mut().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// The maximum length of each text, from one round of shortening to the next.
pub(super) const ROUNDS: [usize; 7] = [2000, 1000, 500, 200, 100, 50, 20];

/// A payload of at most this many bytes of JSON, if shortening its texts can achieve it; the longest texts are
/// shortened first.
pub(super) fn within_bytes(mut payload: Value, most: usize) -> Value {
    for longest in ROUNDS {
        if payload.to_string().len() <= most {
            break;
        }
        for text in texts(&mut payload) {
            *text = cut(text, longest);
        }
    }
    payload
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cut_code_block_is_closed_and_an_escape_whole() {
        let block = cut(&format!("run\n```\n{}\n```", "x".repeat(4000)), 3000);
        assert!(length(&block) <= 3000 && block.ends_with("…\n```"));
        assert_eq!(cut(&"&lt;".repeat(10), 20), "&lt;&lt;&lt;…");
        assert_eq!(cut(r"a\*\*\*\*\*\*", 9), r"a\*…");
        assert_eq!(cut("see `some_long_name_of_a_run` for more", 22), "see `some_long_n…`");
        assert_eq!(cut("short", 5), "short");
    }

    #[test]
    fn a_large_payload_is_cut_to_size_and_keeps_its_form() {
        let texts: Vec<Value> = (0..40).map(|_| json!({"text": "é".repeat(3000), "weight": "bolder"})).collect();
        let fitted = within_bytes(json!({"body": texts}), 24_000);
        assert!(fitted.to_string().len() <= 24_000);
        assert_eq!(fitted["body"].as_array().map(Vec::len), Some(40));
        assert_eq!(fitted["body"][0]["weight"], "bolder");
        let short = json!({"text": "as it is"});
        assert_eq!(within_bytes(short.clone(), 100), short);
    }
}
