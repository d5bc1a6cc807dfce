//! What strangers wrote reaches people as data: names of runs, tags, arguments and last lines of logs, in every kind of
//! message and at every kind of destination.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use nextrun::case::{Body, CaseId, Message, MessageKind};
use nextrun::destinations::{Destination, Field, FieldKind, Http, Preset, Secret, Setup, Surroundings, Timeouts};
use serde_json::{Value, json};

/// Text that would like to be more: markup of each kind, mentions, links, controls, a change of direction, a template.
const EVIL: &str = "<!channel> <@U1> @everyone @here <script>alert(1)</script> [x](https://evil.example) ```\n# x \u{1b}[31m\
    \u{202e}gnp {{ 7 * 7 }} *b* _i_ `c` <https://evil.example|ok> \u{0}\u{7}";

const SECRET: &str = "sk-5ecr3t5ecr3t5ecr3t";

fn destination(name: &str) -> Destination {
    let preset = Arc::new(Preset::shipped(name).unwrap());
    let value = |name: &String, field: &Field| match (name.as_str(), field.kind) {
        ("socket", _) => "/run/runner.sock",
        ("logdir", _) => "/runs",
        ("server", _) => "mail.example:587",
        ("security", _) => "starttls",
        ("from" | "to", _) => "ada@example.org",
        ("api", _) | (_, FieldKind::Url) => "https://receiver.example/hooks/1",
        (_, FieldKind::Secret | FieldKind::Accounts | FieldKind::Text) => "value",
    };
    let needed = preset
        .fields
        .iter()
        .filter(|(name, field)| field.need == nextrun::destinations::Need::Required || name.as_str() == "logdir");
    let fields = needed.map(|(name, field)| (name.clone(), Secret::new(value(name, field)))).collect();
    let surroundings = Surroundings {
        host: "login1".into(),
        http: Http::new(Timeouts::default()),
        terminal: Arc::new(Mutex::new(std::io::sink())),
    };
    Destination::new(preset.clone(), Setup { name: name.into(), fields, ..Setup::default() }, &surroundings).unwrap()
}

/// A message of a kind, every text of which is hostile.
fn message(kind: MessageKind) -> Message {
    let evidence = json!([{ "symptom": "not_learning", "severity": "problem", "tag": EVIL, "first_step": 0, "last_step": 9,
        "summary": EVIL, "numbers": {} }]);
    let command = format!("python train.py --name='{EVIL}' --api-key={SECRET} --lr 0.1");
    let tried = json!([{ "suggestion_id": EVIL, "state": EVIL, "step": EVIL, "run_name": EVIL, "overrides": { EVIL: EVIL },
        "outcome": EVIL, "seen": EVIL }]);
    let mut data = json!({
        "case_id": "c1", "baseline_run": EVIL, "policy": EVIL, "symptoms": ["not_learning"], "evidence": evidence,
        "loss_curve": [2.3, 2.3], "hyperparameters": { EVIL: EVIL }, "advice": [EVIL], "suggestion_id": "s1", "run_name": EVIL,
        "state": EVIL, "attempt": 1, "overrides": { EVIL: EVIL }, "settings": { EVIL: EVIL }, "command": command, "step": EVIL,
        "arguments": [EVIL], "why": EVIL, "hypothesis": EVIL, "expect": EVIL, "checklist": [EVIL], "answers": [EVIL],
        "verdict": EVIL, "confidence": 0.9, "summary": EVIL, "experiments": tried, "not_tried": [EVIL],
        "recommended": { "overrides": { EVIL: EVIL }, "command": command, "arguments": [EVIL] },
        "what": "failed", "fate": { "state": "failed", "reason": EVIL, "tail": EVIL },
    });
    if kind == MessageKind::Digest {
        data = json!({ "items": [{ "case": "c1", "run": EVIL, "messages": [{ "kind": "case_opened", "symptoms": [EVIL] }] }],
            "messages": 1, "since": 0.0, "why": EVIL });
    }
    let body = Body::read(kind, data).unwrap();
    Message { id: "m1".into(), case: CaseId("c1".into()), subject: EVIL.into(), time: 1_763_841_600.0, body }
}

/// Every text in a payload.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(map) => map.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// What must not stand in a text at a destination for people.
fn forbidden(preset: &str) -> &'static [&'static str] {
    match preset {
        "slack" | "slack_bot" => &["<!channel>", "<@U1>", "<script", "<https://evil.example|ok>"],
        "discord" => &["@everyone", "@here", "](https://evil.example)"],
        "tensorboard" => &["<script", "](https://evil.example)"],
        // The terminal's writer and the mail's page take out the rest, see their own tests.
        _ => &[],
    }
}

#[test]
fn what_strangers_wrote_is_data_in_every_message_to_people() {
    for preset in ["slack", "slack_bot", "discord", "teams", "terminal", "email", "tensorboard"] {
        let destination = destination(preset);
        for kind in MessageKind::ALL {
            let payload =
                destination.payload(&message(kind), None).unwrap_or_else(|why| panic!("{preset} {kind:?}: {why}"));
            for text in texts(&payload) {
                assert!(!text.contains("49"), "{preset} {kind:?}: a template in a text was carried out: {text}");
                assert!(!text.contains(SECRET), "{preset} {kind:?}: a secret is shown: {text}");
                assert!(
                    !text.contains(['\u{1b}', '\u{0}', '\u{202e}']),
                    "{preset} {kind:?}: not seen, but there: {text}"
                );
                // Nothing in a block of code is markup but its end, which a text cannot bring.
                let outside: String = text.split("```").step_by(2).collect::<String>().replace("\\<", "");
                for bad in forbidden(preset) {
                    assert!(!outside.contains(bad), "{preset} {kind:?}: {bad} in {text}");
                }
            }
        }
    }
}

#[test]
fn programs_get_texts_as_they_are_and_in_one_piece() {
    for preset in ["webhook", "queue"] {
        let destination = destination(preset);
        for kind in MessageKind::ALL {
            let payload = destination.payload(&message(kind), None).unwrap().to_string();
            assert!(!payload.contains(['\u{1b}', '\u{0}', '\n']), "{preset} {kind:?}: JSON escapes it: {payload}");
            let read: Value = serde_json::from_str(&payload).unwrap();
            assert_eq!(read["subject"], EVIL, "{preset} {kind:?}");
        }
    }
}
