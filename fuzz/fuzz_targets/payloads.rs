//! Arbitrary names, texts and numbers in a message, for every built-in preset: destinations receive JSON of bounded
//! size in which nothing is a mention, a link or the end of a code block, and a terminal's cursor and colours stay
//! unchanged.
#![no_main]
#![recursion_limit = "256"]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use nextrun::case::{CaseId, Message, MessageKind};
use nextrun::destinations::{
    Destination, FieldKind, Http, Need, Outcome, Preset, Secret, Setup, Surroundings, Timeouts,
};
use serde_json::{Value, json};

/// What a message is made of; `times` makes a short text a long one.
#[derive(Debug, Arbitrary)]
struct Said {
    kind: u8,
    texts: [String; 12],
    times: u8,
    numbers: [f64; 3],
    thread: Option<String>,
}

const SECRET: &str = "n0b0dy-may-read-this";

/// The longest text by itself.
const LONGEST: usize = 20_000;

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().expect("a runtime"));

static TERMINAL: LazyLock<Arc<Mutex<Vec<u8>>>> = LazyLock::new(Arc::default);

static DESTINATIONS: LazyLock<BTreeMap<&str, Destination>> = LazyLock::new(|| {
    let surroundings =
        Surroundings { host: "host".to_owned(), http: Http::new(Timeouts::default()), terminal: TERMINAL.clone() };
    let destination = |name| {
        let preset = Arc::new(Preset::shipped(name).expect("it is shipped"));
        let fields = preset.fields.iter().filter(|(_, field)| field.need == Need::Required);
        let value = |name: &str, kind| match (kind, name) {
            (FieldKind::Url, _) => format!("http://127.0.0.1:9/{SECRET}"),
            (FieldKind::Secret, _) => SECRET.to_owned(),
            (FieldKind::Text, "server") => "mail.example:587".to_owned(),
            (FieldKind::Text, _) => "nobody@example.org".to_owned(),
        };
        let fields = fields.map(|(name, field)| (name.clone(), Secret::new(&value(name, field.kind))));
        let setup = Setup { name: name.to_owned(), fields: fields.collect(), ..Setup::default() };
        (name, Destination::new(preset, setup, &surroundings).expect("its settings are right"))
    };
    Preset::names().map(destination).collect()
});

fn message(said: &Said) -> Message {
    let times = usize::from(said.times) + 1;
    let t = |index: usize| -> String { said.texts[index].repeat(times).chars().take(LONGEST).collect() };
    let n = |index: usize| said.numbers[index];
    let evidence = json!([{ "symptom": t(0), "tag": t(1), "first_step": n(0), "last_step": n(1), "summary": t(2) }]);
    let overrides = json!({ "learning_rate": n(2), t(3): t(4) });
    let data = json!({
        "case_id": "c1", "baseline_run": t(5), "run_name": t(6), "suggestion_id": "c1-01", "policy": t(7), "state": t(8),
        "step": t(9), "attempt": n(0), "why": t(10), "hypothesis": t(11), "expectation": t(0), "expect": t(0),
        "command": t(1), "overrides": overrides, "arguments": [t(2)], "env": { "NEXTRUN_SUGGESTION_ID": t(3) },
        "evidence": evidence, "symptoms": evidence, "loss_curve": [n(0), null, n(1)], "advice": [t(4)],
        "checklist": [t(5), { "state": t(6), "why": t(7) }], "answers": [t(8)], "reply": t(9), "verdict": t(10),
        "confidence": n(2), "summary": t(11), "not_tried": [t(0)], "title": t(1), "link": t(2), "messages": n(0),
        "experiments": [{ "state": t(3), "overrides": overrides, "outcome": t(4), "run_name": t(5) }],
        "recommended": { "overrides": overrides, "command": t(6) },
        "items": [{ "run": t(7), "case": t(8), "messages": [{ "kind": "case_opened", "symptoms": [t(9)] }] }],
    });
    let kind = MessageKind::ALL[usize::from(said.kind) % MessageKind::ALL.len()];
    Message { id: "m".into(), case: CaseId(t(1)), kind, subject: t(5), time: 0.0, data }
}

/// Every text of a payload.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(map) => map.values().flat_map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

fn units(value: Option<&Value>) -> usize {
    value.and_then(Value::as_str).map_or(0, |text| text.encode_utf16().count())
}

fn check(name: &str, message: &Message, body: &Value) {
    let (text, parts) = (body.to_string(), texts(body));
    assert_eq!(&serde_json::from_str::<Value>(&text).expect("JSON"), body, "{name}");
    assert!(!text.contains(SECRET), "{name} shows a secret");
    let fenced = |parts: &[&str]| parts.iter().all(|part| part.matches("```").count() % 2 == 0);
    match name {
        "slack" | "slack_bot" => {
            // What people see of it; a thread's name is Slack's own.
            let shown = ["text", "blocks"].into_iter().flat_map(|key| body.get(key).map(texts).unwrap_or_default());
            let shown: Vec<&str> = shown.collect();
            assert!(fenced(&shown) && !shown.iter().any(|part| part.contains('<')), "{text}");
            let blocks = body.get("blocks").and_then(Value::as_array).expect("blocks");
            assert!(
                blocks.len() <= 50 && blocks.iter().all(|block| units(block.pointer("/text/text")) <= 3000),
                "{text}"
            );
            assert!(text.len() < 100_000, "{}", text.len());
        }
        "discord" => {
            // A text that was cut may end with the sign itself.
            let is_none = |after: &str| after.is_empty() || after.starts_with(['\u{200b}', '…']);
            assert!(parts.iter().all(|part| part.split('@').skip(1).all(is_none)), "a mention: {text}");
            assert!(fenced(&parts), "a code block that does not end: {text}");
            assert!(units(body.pointer("/embeds/0/description")) <= 4096, "{text}");
            assert!(parts.iter().map(|part| part.encode_utf16().count()).sum::<usize>() <= 6200, "{text}");
        }
        "teams" => assert!(text.len() < 28_000, "{}", text.len()),
        "alertmanager" => assert!(text.len() < 100_000, "{}", text.len()),
        "email" => {
            let subject = body.get("subject").and_then(Value::as_str).expect("a subject");
            assert!(!subject.chars().any(char::is_control), "{subject:?}");
        }
        "queue" | "webhook" => assert_eq!(body.get("data"), Some(&message.data)),
        _ => {}
    }
}

fuzz_target!(|said: Said| {
    if said.texts.iter().chain(&said.thread).any(|text| text.contains(SECRET)) {
        return;
    }
    let message = message(&said);
    for (name, destination) in &*DESTINATIONS {
        match destination.payload(&message, said.thread.as_deref()) {
            Ok(body) => check(name, &message, &body),
            // A cluster cannot start what has no command; everything else can be said everywhere.
            Err(why) => assert!(["ray", "slurm"].contains(name), "{name}: {why}"),
        }
    }
    TERMINAL.lock().expect("nobody panicked with it").clear();
    let outcome = RUNTIME.block_on(DESTINATIONS["terminal"].deliver(&message, 0.0));
    assert_eq!(outcome, Outcome::Delivered { reference: None });
    let shown = String::from_utf8(TERMINAL.lock().expect("nobody panicked with it").clone()).expect("text");
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
});
