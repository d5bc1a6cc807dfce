//! Discord's markup, and texts without markup.
//!
//! Owns: escapes. Must not know: the content of a message. Markup: <https://docs.discord.com/developers/reference>.

use super::words::one_line;

/// Inserted after characters that would begin a mention; invisible to people.
const JOINER: char = '\u{200b}';

/// Text as Discord's Markdown without mentions, named links, headings or the end of a code block.
pub(super) fn discord(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '<' | '[' | ']' | '(' | ')' | '#' | '-' | '+') {
            escaped.push('\\');
        }
        escaped.push(c);
        if c == '@' {
            escaped.push(JOINER);
        }
    }
    escaped
}

/// A name as inline code.
pub(super) fn discord_name(text: &str) -> String {
    let text = plain(text);
    if text.is_empty() { "–".to_owned() } else { format!("`{text}`") }
}

/// A code block.
pub(super) fn discord_code(text: &str) -> String {
    format!("```\n{}\n```", text.trim_end().replace("```", "ˋˋˋ").replace('@', &format!("@{JOINER}")))
}

/// One line for places without markup; characters that could form markup are replaced with look-alikes.
pub(super) fn plain(text: &str) -> String {
    let text = one_line(text).replace('`', "ˋ").replace('<', "‹").replace('>', "›").replace("](", "] (");
    text.replace('@', &format!("@{JOINER}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup_that_reaches_people() {
        assert_eq!(discord("@everyone <@1> [x](http://y)"), "@\u{200b}everyone \\<@\u{200b}1\\> \\[x\\]\\(http://y\\)");
        assert_eq!(discord_name("a`b\n@here"), "`aˋb @\u{200b}here`");
        assert_eq!(discord_code("x\n```\ny"), "```\nx\nˋˋˋ\ny\n```");
    }
}
