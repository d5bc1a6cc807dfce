//! Filters and functions for templates in addition to those of minijinja.
//!
//! Owns: names. Must not know: presets, messages. Filters of texts: `words`, `sentence` and `one_line`, `cut(most)`
//! (characters, an open code block is closed again), `required(why)` (an empty text is an error), `hours_later(n)` (of
//! a time in RFC 3339), `shell_word`, `from_json`, `below(name)` (of an address). For Slack `slack` (prose), `slack_name` (inline code), `slack_code` (a code block) and
//! `slack_plain` (where no markup is read); for Discord `discord`, `discord_name`, `discord_code` and `plain`; for any other
//! Markdown `markdown`, `markdown_name` and `markdown_code`.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value as Jinja};
use reqwest::Url;

use super::{block_kit, fitting, markup, words};

/// For requests: an undefined name is an error.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
        environment.set_syntax(syntax);
    }
    environment.add_filter("words", |id: String| words::words(&id));
    environment.add_filter("sentence", |text: String| words::sentence(&text));
    environment.add_filter("one_line", |text: String| words::one_line(&text));
    environment.add_filter("cut", |text: String, most: usize| fitting::cut(&text, most));
    environment.add_filter("required", required);
    environment.add_filter("hours_later", hours_later);
    environment.add_filter("shell_word", |text: String| words::shell_word(&text));
    environment.add_filter("from_json", from_json);
    environment.add_filter("below", below);
    environment.add_filter("plain", |text: String| markup::plain(&text));
    environment.add_filter("slack", |text: String| block_kit::escape(&text));
    environment.add_filter("slack_name", |text: String| block_kit::code(&text));
    environment.add_filter("slack_code", |text: String| block_kit::fence(&text));
    environment.add_filter("slack_plain", |text: String| block_kit::plain(&text));
    environment.add_filter("markdown", |text: String| markup::discord(&text));
    environment.add_filter("markdown_name", |text: String| markup::discord_name(&text));
    environment.add_filter("markdown_code", |text: String| markup::discord_code(&text));
    environment.add_filter("discord", |text: String| markup::discord(&text));
    environment.add_filter("discord_name", |text: String| markup::discord_name(&text));
    environment.add_filter("discord_code", |text: String| markup::discord_code(&text));
    environment
}

/// For responses: they can have any form, so missing values are empty at any depth.
pub(super) fn answers() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment
}

fn required(text: String, why: String) -> Result<String, Error> {
    if text.trim().is_empty() { Err(Error::new(ErrorKind::InvalidOperation, why)) } else { Ok(text) }
}

fn from_json(text: String) -> Result<Jinja, Error> {
    let value = serde_json::from_str::<serde_json::Value>(&text);
    value
        .map(|value| Jinja::from(Serde(value)))
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

/// The address of a subpath, with the query kept.
fn below(address: String, name: String) -> Result<String, Error> {
    let wrong = || Error::new(ErrorKind::InvalidOperation, "not an address that can have subpaths");
    let mut url = Url::parse(&address).map_err(|_| wrong())?;
    url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().push(&name);
    Ok(url.to_string())
}

fn hours_later(time: String, hours: i64) -> Result<String, Error> {
    let later = |time: jiff::Timestamp| {
        let seconds = jiff::SignedDuration::from_secs(hours.saturating_mul(3600));
        time.checked_add(seconds)
    };
    let later = time.parse::<jiff::Timestamp>().and_then(later);
    later.map(|time| time.to_string()).map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
}
