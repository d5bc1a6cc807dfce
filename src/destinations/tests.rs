//! Destinations as a whole: the presets' own tests, what the messages look like, what hostile names can do.

use std::sync::LazyLock;

use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::case::{Body, CaseId};

fn surroundings() -> Surroundings {
    static HTTP: LazyLock<Http> = LazyLock::new(|| Http::new(Timeouts::default()));
    Surroundings { host: "login1".into(), http: HTTP.clone(), terminal: Arc::new(Mutex::new(Vec::new())) }
}

fn preset(name: &str) -> Arc<Preset> {
    static PRESETS: LazyLock<BTreeMap<&str, Arc<Preset>>> =
        LazyLock::new(|| Preset::names().map(|name| (name, Arc::new(Preset::shipped(name).unwrap()))).collect());
    Arc::clone(&PRESETS[name])
}

fn destination(preset_name: &str, fields: &[(&str, &str)]) -> Destination {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(value))).collect();
    let setup = Setup { name: format!("my {preset_name}"), fields, ..Setup::default() };
    Destination::new(preset(preset_name), setup, &surroundings()).unwrap()
}

fn message(kind: MessageKind, data: Value) -> Message {
    let (case, body) = (CaseId("c1".into()), Body::read(kind, data).unwrap());
    Message { id: "m1".into(), case, subject: "resnet/7".into(), time: 1_763_841_600.25, body }
}

const SLACK: &[(&str, &str)] = &[("url", "https://hooks.slack.example/services/T0/B0/s3cret")];

fn body(preset_name: &str, fields: &[(&str, &str)], message: &Message) -> Result<Value, String> {
    let destination = destination(preset_name, fields);
    let scope = destination.scope(message, Some("C1/1.2"))?;
    destination.body(message, &scope)
}

/// A destination of any preset, with no more than it needs.
fn plain(preset_name: &str) -> Destination {
    let value = |name: &str, field: &Field| {
        Secret::new(match (name, field.kind) {
            (_, FieldKind::Url) => SLACK[0].1,
            ("server", _) => "mail.example:587",
            ("from" | "to", _) => "ada@example.org",
            ("socket", _) => "/run/user/1000/runner.sock",
            ("logdir", _) => "/runs",
            _ => "t0k3n",
        })
    };
    let required = preset(preset_name);
    let required = required.fields.iter().filter(|(name, field)| field.need == Need::Required || *name == "logdir");
    let fields = required.map(|(name, field)| (name.clone(), value(name, field))).collect();
    let setup = Setup { name: preset_name.to_owned(), fields, ..Setup::default() };
    Destination::new(preset(preset_name), setup, &surroundings()).unwrap()
}

/// The texts of a Slack message, one block a paragraph, as a reader of the snapshot sees them.
fn slack_text(message: &Message) -> String {
    let body = body("slack", SLACK, message).unwrap();
    let mut lines = vec![format!("text: {}", body["text"].as_str().unwrap())];
    for block in body["blocks"].as_array().unwrap() {
        let text = block.pointer("/text/text").or_else(|| block.pointer("/elements/0/text")).unwrap();
        lines.push(format!("[{}]\n{}", block["type"].as_str().unwrap(), text.as_str().unwrap().trim_end()));
    }
    lines.join("\n")
}

fn terminal_text(message: &Message) -> String {
    body("terminal", &[], message).unwrap().as_str().unwrap().trim_end().to_owned()
}

fn curve() -> Value {
    let noise = |step: usize| f64::from(u32::try_from(step * 7 % 5).unwrap()) * 0.002;
    (0..60).map(|step| 2.303 + noise(step) - 0.004).collect()
}

fn suggested() -> Message {
    message(
        MessageKind::RunSuggested,
        json!({
            "suggestion_id": "m1", "case_id": "c1", "baseline_run": "resnet/7", "run_name": "nextrun/c1/1-overfit",
            "policy": "article", "state": "overfit_one_point", "step": "1 overfit one point", "attempt": 1,
            "overrides": {"train_examples": 1, "batch_size": 1, "max_steps": 2000},
            "arguments": ["--limit-examples=1", "--batch-size=1", "--max-steps=2000"],
            "command": "python train.py --limit-examples=1 --batch-size=1 --max-steps=2000",
            "env": {"NEXTRUN_SUGGESTION_ID": "m1"},
            "why": "A network that cannot fit one point cannot fit many, and nothing else is worth trying before.",
            "hypothesis": "the network and its loss can represent the answer at all",
            "expect": "the loss falls by three orders of magnitude, or accuracy reaches 0.9999",
            "evidence": [{"symptom": "not_learning", "tag": "train/loss", "first_step": 0, "last_step": 4000,
                "summary": "2.301 at step 4,000, no better than the best constant (2.303)"}],
            "loss_curve": curve(),
        }),
    )
}

fn closed() -> Message {
    message(
        MessageKind::CaseClosed,
        json!({
            "case_id": "c1", "baseline_run": "resnet/7", "policy": "article",
            "verdict": "batch_norm_hides_exploding_gradients", "confidence": 0.87,
            "summary": "One point is fitted with batch norm and diverges without it: the initial weights are too large, \
                        and batch norm hides it until the batches get small.",
            "experiments": [
                {"suggestion_id": "m1", "state": "overfit_one_point", "run_name": "a",
                 "overrides": {"train_examples": 1, "batch_size": 2}, "outcome": "fits", "finding_ids": []},
                {"suggestion_id": "m2", "state": "drop_batch_norm", "run_name": "b",
                 "overrides": {"batch_norm": false, "batch_size": 1}, "outcome": "explodes", "finding_ids": ["f1"]},
            ],
            "not_tried": ["l1_or_l2: the script has no knob `loss`"],
            "recommended": {"overrides": {"initializer": "variance_scaling"}, "command": "python train.py --init=he"},
            "cure": {"suggestion_id": "m3", "run_name": "c", "overrides": {"initializer": "variance_scaling"},
                "of": "loss", "baseline": 2.301, "experiment": 0.0412},
            "owners": ["slack:U024BE7LH"],
        }),
    )
}

fn opened() -> Message {
    message(
        MessageKind::CaseOpened,
        json!({
            "case_id": "c1", "baseline_run": "resnet/7", "policy": "article", "symptoms": ["non_finite"],
            "owners": ["slack:U024BE7LH", "discord:80351110224678912", "ada"],
            "evidence": [{"symptom": "non_finite", "severity": "problem", "tag": "train/loss", "first_step": 12,
                "last_step": 12, "summary": "the loss is NaN"}],
            "loss_curve": [2.3, 7.5, 900.0, null], "stop": "the loss is NaN",
        }),
    )
}

fn approval() -> Message {
    message(
        MessageKind::ApprovalAsked,
        json!({
            "suggestion_id": "c1-01-x", "case_id": "c1", "baseline_run": "resnet/7", "run_name": "nextrun/resnet-7/01-rate",
            "symptoms": ["not_learning"], "state": "lower_rate", "step": "2 lower the learning rate", "attempt": 1,
            "overrides": {"learning_rate": 0.001, "max_steps": 2000}, "command": "python train.py --lr 0.001 --steps 2000",
            "why": "the loss oscillates around its start", "hypothesis": "the learning rate is too high",
            "expect": "the loss falls", "cost": {"steps": 2000, "seconds": 5400.0, "gpu_hours": 1.5},
            "loss_curve": curve(), "answers": ["run", "skip", "snooze"], "expires": 1_763_928_000.0, "fingerprint": "f00",
        }),
    )
}

fn asked() -> Message {
    message(
        MessageKind::QuestionAsked,
        json!({
            "case_id": "c1", "baseline_run": "resnet/7", "symptoms": ["not_learning"],
            "step": "6 reshape", "why": "One point is fitted, many are not.",
            "checklist": ["Print one batch after the reshape: does each row still hold one example?", "Are labels shuffled with their inputs?"],
            "answers": ["broken", "fine"], "expires": 1_763_928_000.0, "fingerprint": "f00",
        }),
    )
}

fn notice() -> Message {
    message(
        MessageKind::Notice,
        json!({
            "case_id": "c1", "baseline_run": "resnet/7", "symptoms": ["not_learning"], "what": "failed",
            "why": "2 experiments in a row failed without a result: it failed with exit code 2",
            "suggestion_id": "m1", "run_name": "nextrun/resnet-7/01-rate",
            "fate": {"state": "failed", "exit_code": 2, "tail": "train.py: error: unrecognized arguments: --steps"},
        }),
    )
}

/// Every kind of message as every destination for people shows it: read the snapshots as a person would.
#[test]
fn every_kind_of_message_reads_well_everywhere() {
    let all = [opened(), suggested(), approval(), asked(), notice(), closed()];
    let app = [("token", "xoxb-t0k3n"), ("channel", "C1"), ("app_token", "xapp-t0k3n")];
    let mut told = String::new();
    for message in &all {
        told.push_str(&format!("======== {}\n{}\n\n", message.kind().event_type(), slack_text(message)));
    }
    insta::assert_snapshot!("slack", told);
    let buttons = |message: &Message| {
        let body = body("slack_bot", &app, message).unwrap();
        let actions = body["blocks"].as_array().unwrap().iter().find(|block| block["type"] == "actions").cloned();
        serde_json::to_string_pretty(&actions).unwrap()
    };
    insta::assert_snapshot!("slack_buttons", format!("{}\n{}", buttons(&approval()), buttons(&asked())));
    let terminal: Vec<String> = all.iter().map(terminal_text).collect();
    insta::assert_snapshot!("terminal", terminal.join("\n\n"));
    for name in ["discord", "teams"] {
        let pretty =
            |message: &Message| serde_json::to_string_pretty(&rendered(&plain(name), message).unwrap()).unwrap();
        let told: Vec<String> = all.iter().map(pretty).collect();
        insta::assert_snapshot!(name, told.join("\n\n"));
    }
    let subject =
        |message: &Message| rendered(&plain("email"), message).unwrap()["subject"].as_str().unwrap().to_owned();
    let subjects: Vec<String> = all.iter().map(subject).collect();
    insta::assert_snapshot!("email_subjects", subjects.join("\n"));
}

#[test]
fn a_digest_reads_well() {
    let items = json!([
        {"run": "sweep/1", "case": "c1", "messages": [{"kind": "case_opened", "symptoms": ["non_finite", "exploding_gradients"]}]},
        {"run": "sweep/2", "case": "c2", "messages": [
            {"kind": "case_opened", "symptoms": ["not_learning"]},
            {"kind": "run_suggested", "step": "1 overfit one point", "overrides": {"train_examples": 1}},
            {"kind": "case_closed", "verdict": "learning_rate_too_high"}]},
    ]);
    let digest =
        message(MessageKind::Digest, json!({"items": items, "messages": 4, "why": "quiet period, 22:00 to 07:00"}));
    assert_snapshot!(format!("{}\n\n{}", slack_text(&digest), terminal_text(&digest)), @r#"
    text: 4 messages about 2 cases
    [header]
    4 messages about 2 cases
    [section]
    • `sweep/1`: NaN or infinity, exploding gradients
    • `sweep/2`: not learning; suggested run: 1 overfit one point (train_examples = 1); cause: the learning rate is too high
    [section]
    *Why:* quiet period, 22:00 to 07:00
    [context]
    more with `nextrun cases list`

    ≡ 4 messages about 2 cases
      sweep/1: NaN or infinity, exploding gradients
      sweep/2: not learning; suggested run: 1 overfit one point (train_examples = 1); cause: the learning rate is too high
      why       quiet period, 22:00 to 07:00
    "#);
}

#[test]
fn the_terminal_gets_no_control_characters() {
    let written: Arc<Mutex<Vec<u8>>> = Arc::default();
    let mut around = surroundings();
    around.terminal = written.clone();
    let setup = Setup { name: "here".into(), ..Setup::default() };
    let here = Destination::new(preset("terminal"), setup, &around).unwrap();
    let hostile = message(
        MessageKind::StopSuggested,
        json!({"baseline_run": "a\u{1b}[2J\rb", "why": "x\u{9b}31m", "command": "y\u{1b}c"}),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(here.deliver(&hostile, 0.0)), Outcome::Delivered { reference: None });
    let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    assert!(text.contains("a [2J b") && text.ends_with("c1\n"), "{text:?}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

#[test]
fn a_mistake_in_the_settings_says_what_to_do_and_shows_no_secret() {
    let told = |name: &str, fields: &[(&str, &str)]| {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(value))).collect();
        let setup = Setup { name: "mine".into(), fields, ..Setup::default() };
        Destination::new(preset(name), setup, &surroundings()).unwrap_err().to_string()
    };
    for (message, words) in [
        (told("slack", &[]), ["mine needs `url`", "incoming webhook"]),
        (told("queue", &[("url", "https://q"), ("tken", "s3cret")]), ["`tken`", "supported: secret, token, url"]),
        (told("queue", &[("url", "s3cret.example/runs")]), ["`url`", "https://host/path"]),
        (told("queue", &[("url", "ftp://s3cret/runs")]), ["`url`", "https://host/path"]),
        (told("queue", &[("url", "https://q"), ("secret", "s3cret")]), ["`secret`", "whsec_"]),
        (told("queue", &[("url", "https://q"), ("token", "s3cret\u{7f}")]), ["`headers`", "authorization"]),
        (told("terminal", &[("url", "s3cret")]), ["`url`", "does not support"]),
    ] {
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
    }
    assert!(!format!("{:?}", destination("slack", SLACK)).contains("s3cret"));
}

/// Every text of a payload.
fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(map) => map.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

fn hostile() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![
            Just("<!channel>".to_owned()),
            Just("<@U123>".to_owned()),
            Just("<https://x.example|ok>".to_owned()),
            Just("```".to_owned()),
            Just("`".to_owned()),
            Just("&lt;".to_owned()),
            Just("\n".to_owned()),
            Just("{{ fields.url }}".to_owned()),
            "[a-z_*~]{1,9}",
            "\\PC{0,9}"
        ],
        0..8,
    )
    .prop_map(|parts| parts.concat())
}

fn kinds() -> impl Strategy<Value = MessageKind> {
    prop::sample::select(MessageKind::ALL.to_vec())
}

/// A message with these texts wherever there can be one.
fn told(kind: MessageKind, texts: &[String]) -> Message {
    let t = |index: usize| texts[index].clone();
    let mut message = message(
        kind,
        json!({
            "baseline_run": t(0), "policy": t(1), "step": t(2), "why": t(3), "hypothesis": t(4), "summary": t(5),
            "evidence": [{"symptom": t(6), "tag": t(7), "summary": t(8)}], "overrides": {t(9): t(10)}, "command": t(11),
            "checklist": [t(0), t(1)], "answers": [t(3)], "verdict": t(5),
            "experiments": [{"state": t(6), "overrides": {t(7): 1}, "outcome": t(8)}], "not_tried": [t(9)],
            "recommended": {"overrides": {t(10): t(11)}, "command": t(0)}, "run_name": t(1),
            "items": [{"run": t(4), "case": t(5), "messages": [{"kind": "case_opened", "symptoms": [t(6)]}, {"kind": "question_asked", "step": t(7)},
            {"kind": "run_suggested", "step": t(8), "overrides": {t(9): t(10)}}, {"kind": "case_closed", "verdict": t(11)}]}],
        }),
    );
    message.subject = t(3);
    message
}

fn rendered(destination: &Destination, message: &Message) -> Result<Value, String> {
    destination.payload(message, Some("C1/1.2"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_mentions_links_or_leaves_its_code_block(texts in prop::collection::vec(hostile(), 12), kind in kinds()) {
        let message = told(kind, &texts);
        for name in ["slack", "slack_bot"] {
            let body = rendered(&plain(name), &message).unwrap();
            for text in strings(&body) {
                prop_assert!(!text.contains('<') && !text.contains("s3cret"), "{}", text);
                prop_assert_eq!(text.matches("```").count() % 2, 0, "{}", text);
            }
        }
        let body = rendered(&plain("discord"), &message).unwrap();
        for text in strings(&body) {
            prop_assert!(text.split('@').skip(1).all(|after| after.starts_with('\u{200b}')), "{}", text);
            prop_assert_eq!(text.matches("```").count() % 2, 0, "{}", text);
        }
        rendered(&plain("terminal"), &message).unwrap();
    }

    #[test]
    fn what_is_long_fits_where_it_goes(text in "[a-z`*@<é𝄞\n ]{0,9000}", kind in kinds()) {
        let message = told(kind, &vec![text; 12]);
        let body = rendered(&plain("discord"), &message).unwrap();
        let units = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map_or(0, |text| text.encode_utf16().count());
        let (title, description) = (units("/embeds/0/title"), units("/embeds/0/description"));
        let (command, footer) = (units("/embeds/0/fields/0/value"), units("/embeds/0/footer/text"));
        prop_assert!(title <= 256 && description <= 4096 && command <= 1024 && footer <= 2048);
        prop_assert!(title + description + command + footer + "To answer".len() <= 6000);
        let card = rendered(&plain("teams"), &message).unwrap().to_string();
        prop_assert!(card.len() < 28_000 && !card.contains(r#""TextBlock""#), "{}", card.len());
    }

    #[test]
    fn data_that_can_be_read_can_be_said_everywhere(kind in kinds(), key in "evidence|symptoms|overrides|loss_curve|experiments|not_tried|recommended|env|attempt|confidence|items",
            value in prop::sample::select(vec![json!(null), json!(1.5), json!("x"), json!([null, 1, "x", {}, []]), json!({"a": null, "b": [1]})])) {
        let Ok(body) = Body::read(kind, json!({ key: value, "command": "python train.py" })) else { return Ok(()) };
        let message = Message { body, ..message(kind, json!({})) };
        for name in Preset::names() {
            let destination = plain(name);
            // Where runs are cancelled by a request of its own, the message has no body.
            if !destination.wants.contains(&kind) || kind == MessageKind::RunCancelled {
                continue;
            }
            let rendered = rendered(&destination, &message);
            prop_assert!(rendered.is_ok(), "{}: {:?}", name, rendered);
        }
    }
}
