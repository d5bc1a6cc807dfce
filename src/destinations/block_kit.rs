//! Slack's limits and markup.
//!
//! Owns: escapes, and shortening of long texts. Must not know: the content of a message. Limits:
//! <https://docs.slack.dev/reference/block-kit/blocks>; the total limit of a message is undocumented, and messages of
//! about 13,200 characters have been rejected (`msg_blocks_too_long`).

use serde_json::{Value, json};

use super::fitting::{ROUNDS, cut, length, texts};

const MOST_BLOCKS: usize = 50;
const MOST_HEADER: usize = 150;
const MOST_SECTION: usize = 3000;
const MOST_FIELD: usize = 2000;
const MOST_ELEMENTS: usize = 10;
/// Limit for all texts of a message together, with a margin below the size that Slack was observed to reject.
const MOST_MESSAGE: usize = 12_000;

/// Text as `mrkdwn` without links, mentions or the end of a code block.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut ticks = 0;
    for c in text.chars() {
        ticks = if c == '`' { ticks + 1 } else { 0 };
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '`' if ticks == 3 => {
                escaped.push_str("\u{200b}`");
                ticks = 1;
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// A name as inline code.
pub(super) fn code(text: &str) -> String {
    let text = escape(&super::words::one_line(text)).replace('`', "ˋ");
    if text.is_empty() { "–".to_owned() } else { format!("`{text}`") }
}

/// A code block.
pub(super) fn fence(text: &str) -> String {
    format!("```\n{}\n```", escape(text.trim_end()))
}

/// Text for places where Slack shows no markup and may not decode escapes: characters that could form a mention are
/// replaced with look-alikes.
pub(super) fn plain(text: &str) -> String {
    super::words::one_line(text).replace('<', "‹").replace('>', "›").replace('`', "ˋ")
}

/// A payload within Slack's limits: long texts are shortened, code blocks closed, and blocks beyond the limit omitted
/// with a note. Prose is shortened first, code last.
pub(super) fn fit(mut payload: Value) -> Value {
    if let Some(blocks) = payload.get_mut("blocks").and_then(Value::as_array_mut) {
        blocks.iter_mut().for_each(fit_block);
        blocks.retain(|block| block.pointer("/text/text").is_none_or(|text| text != ""));
        if blocks.len() > MOST_BLOCKS {
            let left_out = blocks.len() - MOST_BLOCKS + 1;
            let text = format!("… {left_out} more parts omitted");
            let remark = json!({"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": true}]});
            blocks.splice(MOST_BLOCKS - 2..MOST_BLOCKS - 2 + left_out, [remark]);
        }
    }
    if let Some(Value::String(text)) = payload.get_mut("text") {
        *text = cut(text, MOST_SECTION);
    }
    for fenced in [false, true] {
        for most in ROUNDS {
            if texts(&mut payload).iter().map(|text| length(text)).sum::<usize>() <= MOST_MESSAGE {
                return payload;
            }
            for text in texts(&mut payload).into_iter().filter(|text| fenced || !text.contains("```")) {
                *text = cut(text, most);
            }
        }
    }
    payload
}

fn fit_block(block: &mut Value) {
    let most = if block["type"] == "header" { MOST_HEADER } else { MOST_SECTION };
    if let Some(Value::String(text)) = block.pointer_mut("/text/text") {
        *text = cut(text.trim_end(), most);
    }
    for (list, most) in [("fields", MOST_FIELD), ("elements", MOST_SECTION)] {
        let Some(Value::Array(items)) = block.get_mut(list) else { continue };
        items.truncate(MOST_ELEMENTS);
        for item in items {
            if let Some(Value::String(text)) = item.get_mut("text") {
                *text = cut(text, most);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn section(text: &str) -> Value {
        json!({"type": "section", "text": {"type": "mrkdwn", "text": text}})
    }

    fn total(payload: &Value) -> usize {
        texts(&mut payload.clone()).iter().map(|text| length(text)).sum()
    }

    #[test]
    fn nothing_in_a_text_is_markup_that_reaches_people() {
        assert_eq!(
            escape("<!channel> & <@U1> <https://x|y>"),
            "&lt;!channel&gt; &amp; &lt;@U1&gt; &lt;https://x|y&gt;"
        );
        assert_eq!(code("a`b\nc"), "`aˋb c`");
        assert!(!fence("x\n```\n<!here>").replacen("```\n", "", 1).trim_end_matches("```").contains("```"));
        assert_eq!(plain("<!here>\nx"), "‹!here› x");
    }

    #[test]
    fn a_long_message_loses_prose_before_code() {
        let command = fence(&"c".repeat(2500));
        let mut blocks: Vec<Value> = (0..8).map(|_| section(&"word ".repeat(580))).collect();
        blocks.push(section(&command));
        let fitted = fit(json!({"text": "t", "blocks": blocks}));
        assert!(total(&fitted) <= MOST_MESSAGE);
        assert_eq!(fitted["blocks"][8]["text"]["text"], command.as_str(), "the command can still be copied");
    }

    #[test]
    fn blocks_beyond_the_limit_are_left_out_with_a_remark_but_not_the_last() {
        let blocks: Vec<Value> = (0..70).map(|index| section(&index.to_string())).collect();
        let fitted = fit(json!({"text": "t", "blocks": blocks}));
        let blocks = fitted["blocks"].as_array().unwrap();
        assert_eq!(blocks.len(), 50);
        assert_eq!(blocks[47]["text"]["text"], "47");
        assert_eq!(blocks[48]["elements"][0]["text"], "… 21 more parts omitted");
        assert_eq!(blocks[49]["text"]["text"], "69");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn whatever_comes_fits(texts in prop::collection::vec("(`{0,3}|&lt;|[a-z é𝄞\n]{0,9}){0,300}", 0..60)) {
            let mut blocks = vec![json!({"type": "header", "text": {"type": "plain_text", "text": "h".repeat(400)}})];
            blocks.extend(texts.iter().map(|text| section(text)));
            let fitted = fit(json!({"text": texts.concat(), "blocks": blocks}));
            prop_assert!(total(&fitted) <= MOST_MESSAGE);
            let blocks = fitted["blocks"].as_array().unwrap();
            prop_assert!(blocks.len() <= MOST_BLOCKS);
            for text in blocks.iter().filter_map(|block| block.pointer("/text/text")?.as_str()) {
                prop_assert!(!text.is_empty() && length(text) <= MOST_SECTION);
            }
        }
    }
}
