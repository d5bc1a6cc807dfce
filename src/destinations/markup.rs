//! Discord's markup, and texts where there should be none.
//!
//! Owns: escapes. Must not know: what a message says. Markup: <https://docs.discord.com/developers/reference>.

use super::words::one_line;

/// Put after what would begin a mention: people see nothing, programs no mention.
const JOINER: char = '\u{200b}';

/// Text as Discord's Markdown: nothing in it is a mention, a link with a text of its own, a heading or the end of a code
/// block.
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

/// One line for where no markup should be read: look-alikes for what could be some.
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
