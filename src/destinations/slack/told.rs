//! Shows the outcome of a click in place of the buttons.

use serde_json::{Value, json};

use super::click::{Click, Location};
use super::{ClickOutcome, SlackApp};
use crate::case::Person;
use crate::destinations::block_kit::escape;

/// A person in Slack's markup; Slack shows its own users by their names.
pub fn mention(person: &Person) -> String {
    let id = &person.user;
    if person.provider == "slack" && !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric()) {
        return format!("<@{id}>");
    }
    escape(&person.to_string())
}

/// A time in Slack's markup, shown in each reader's time zone; `seconds` since the Unix epoch.
pub fn date(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds of a time")]
    let whole = seconds as i64;
    let fallback = jiff::Timestamp::from_second(whole).map_or_else(|_| "?".to_owned(), |time| time.to_string());
    format!("<!date^{whole}^{{date_short_pretty}} {{time}}|{fallback}>")
}

impl SlackApp {
    /// Shows the outcome of a click: to everyone in place of the buttons, otherwise only to the person who clicked.
    pub(super) async fn show(&self, click: &Click, outcome: &ClickOutcome) {
        let place = &click.place;
        let mut shown = false;
        if let Some(stands) = &outcome.stands {
            shown = self.tell("chat.update", updated(place, stands)).await;
        }
        let alone = if shown { outcome.told.as_ref() } else { outcome.told.as_ref().or(outcome.stands.as_ref()) };
        if let Some(words) = alone {
            self.tell("chat.postEphemeral", ephemeral(click, words)).await;
        }
    }

    async fn tell(&self, method: &str, body: Value) -> bool {
        match self.call(method, "token", &body).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(destination = self.name, why = error.why, "an answer could not be shown in Slack");
                false
            }
        }
    }
}

/// The message with its buttons replaced by one line.
fn updated(place: &Location, stands: &str) -> Value {
    let line = json!({"type": "context", "elements": [{"type": "mrkdwn", "verbatim": true, "text": stands}]});
    let mut blocks: Vec<Value> = Vec::new();
    for block in &place.blocks {
        if block["type"] == "actions" {
            blocks.push(line.clone());
        } else {
            blocks.push(block.clone());
        }
    }
    if !blocks.contains(&line) {
        blocks.push(line);
    }
    json!({"channel": place.channel, "ts": place.ts, "text": place.text, "blocks": blocks})
}

fn ephemeral(click: &Click, words: &str) -> Value {
    let place = &click.place;
    let mut body = json!({"channel": place.channel, "user": click.by.user, "text": words});
    if let (Some(thread), Some(body)) = (&place.thread, body.as_object_mut()) {
        body.insert("thread_ts".to_owned(), json!(thread));
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_takes_the_place_of_the_buttons() {
        let blocks =
            vec![json!({"type": "section"}), json!({"type": "actions", "elements": []}), json!({"type": "context"})];
        let place = Location { channel: "C1".into(), ts: "1.2".into(), text: "t".into(), blocks, thread: None };
        let body = updated(&place, "approved by <@U1>");
        let types: Vec<&str> = body["blocks"].as_array().unwrap().iter().filter_map(|b| b["type"].as_str()).collect();
        assert_eq!(types, ["section", "context", "context"]);
        assert_eq!(body["blocks"][1]["elements"][0]["text"], "approved by <@U1>");
        let without = updated(&Location { blocks: Vec::new(), ..place }, "expired");
        assert_eq!(without["blocks"].as_array().unwrap().len(), 1, "it is shown although the buttons are gone");
    }

    #[test]
    fn only_slacks_own_users_are_mentioned() {
        let person = |provider: &str, user: &str| Person { provider: provider.into(), user: user.into(), name: None };
        assert_eq!(mention(&person("slack", "U1")), "<@U1>");
        assert_eq!(mention(&person("slack", "U1> <!channel")), "slack:U1&gt; &lt;!channel");
        assert_eq!(mention(&person("local", "<ada>")), "local:&lt;ada&gt;");
        assert!(date(1_763_841_600.0).starts_with("<!date^1763841600^"));
    }
}
