//! The content of a click: the payload of an interactive envelope, read as untrusted data.

use serde_json::Value;

use crate::case::Person;

/// A click on a button in one of our messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Click {
    /// The id of the message with the question.
    pub ask: String,
    /// Fingerprint of what the person was shown.
    pub fingerprint: String,
    /// The answer.
    pub answer: String,
    /// Who clicked, by the id that Slack authenticates.
    pub by: Person,
    pub(super) place: Location,
}

/// The location of the message with the button.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Location {
    pub(super) channel: String,
    pub(super) ts: String,
    /// The first message of its thread, if it is in one.
    pub(super) thread: Option<String>,
    /// The current text and blocks of the message.
    pub(super) text: String,
    pub(super) blocks: Vec<Value>,
}

/// Separator of the parts of a button's `value`; none of the parts contains it.
const BETWEEN: char = '|';

impl Click {
    /// Reads the payload of an envelope; `None` if it is not a click on one of our buttons.
    pub(super) fn read(payload: &Value) -> Option<Click> {
        if payload["type"] != "block_actions" {
            return None;
        }
        let action = payload["actions"].as_array()?.iter().find(|action| {
            action["type"] == "button" && action["action_id"].as_str().is_some_and(|id| id.starts_with("nextrun-"))
        })?;
        let mut parts = action["value"].as_str()?.splitn(3, BETWEEN);
        let (answer, fingerprint, ask) = (parts.next()?, parts.next()?, parts.next()?);
        let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let user = text("/user/id").filter(|user| !user.is_empty())?;
        let name = text("/user/username").or_else(|| text("/user/name"));
        Some(Click {
            ask: ask.to_owned(),
            fingerprint: fingerprint.to_owned(),
            answer: answer.to_owned(),
            by: Person { provider: "slack".to_owned(), user, name },
            place: Location {
                channel: text("/container/channel_id").or_else(|| text("/channel/id"))?,
                ts: text("/container/message_ts").or_else(|| text("/message/ts"))?,
                thread: text("/message/thread_ts").or_else(|| text("/container/thread_ts")),
                text: text("/message/text").unwrap_or_default(),
                blocks: payload.pointer("/message/blocks").and_then(Value::as_array).cloned().unwrap_or_default(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_button_of_ours_is_a_click() {
        let payload = |kind: &str, action: Value| {
            json!({"type": kind, "user": {"id": "U1", "username": "ada"}, "actions": [action],
                "container": {"channel_id": "C1", "message_ts": "1.2", "thread_ts": "1.1"},
                "message": {"text": "t", "blocks": [{"type": "divider"}]}})
        };
        let button = json!({"type": "button", "action_id": "nextrun-run", "value": "run|f00|c1-01-x-approval"});
        let click = Click::read(&payload("block_actions", button.clone())).unwrap();
        assert_eq!(
            (click.ask.as_str(), click.fingerprint.as_str(), click.answer.as_str()),
            ("c1-01-x-approval", "f00", "run")
        );
        assert_eq!(
            (click.by.user.as_str(), click.place.thread.as_deref(), click.place.blocks.len()),
            ("U1", Some("1.1"), 1)
        );
        for other in [
            payload("view_submission", button.clone()),
            payload("block_actions", json!({"type": "button", "action_id": "other", "value": "run|f|a"})),
            payload("block_actions", json!({"type": "button", "action_id": "nextrun-run", "value": "run"})),
            payload("block_actions", json!({"type": "button", "action_id": "nextrun-run"})),
            json!({"type": "block_actions", "actions": [button], "container": {"channel_id": "C1", "message_ts": "1"}}),
            json!([]),
        ] {
            assert_eq!(Click::read(&other), None, "{other}");
        }
    }
}
