//! Pictures in messages: Slack's upload in three steps, with a peer that simulates each failure.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::routing::post;
use nextrun::case::{About, Body, CaseId, CaseOpened, Curve, Message};
use nextrun::destinations::{Destination, Http, Outcome, Preset, Secret, Setup, Surroundings, Timeouts};
use nextrun::series::{Level, Outline};
use serde_json::{Value, json};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// The file can be shown a moment later.
    Slow,
    /// The app may not upload.
    NoScope,
    /// The upload itself fails.
    NoRoom,
    /// The message is refused while it has the picture.
    NotReady,
}

/// A request: the method of the API, the body, and whether it had the token.
type Heard = Arc<Mutex<Vec<(String, Vec<u8>, bool)>>>;

#[derive(Clone)]
struct Peer {
    mood: Mood,
    heard: Heard,
    address: String,
}

async fn answer(State(peer): State<Peer>, Path(method): Path<String>, headers: HeaderMap, body: Bytes) -> String {
    let token = headers.get(header::AUTHORIZATION).is_some_and(|value| value == "Bearer xoxb-t0k3n");
    let before = peer.heard.lock().unwrap().iter().filter(|(known, ..)| *known == method).count();
    peer.heard.lock().unwrap().push((method.clone(), body.to_vec(), token));
    let answer = match (method.as_str(), peer.mood) {
        ("files.getUploadURLExternal", Mood::NoScope) => json!({ "ok": false, "error": "missing_scope" }),
        ("files.getUploadURLExternal", _) => {
            json!({ "ok": true, "upload_url": format!("{}/upload", peer.address), "file_id": "F1" })
        }
        ("files.completeUploadExternal", _) => json!({ "ok": true }),
        ("files.info", Mood::Slow) if before == 0 => json!({ "ok": true, "file": { "mimetype": "" } }),
        ("files.info", _) => json!({ "ok": true, "file": { "mimetype": "image/png" } }),
        ("chat.postMessage", Mood::NotReady) if before == 0 => json!({
            "ok": false, "error": "invalid_blocks", "errors": ["invalid slack file [json-pointer:/blocks/2/slack_file]"]
        }),
        ("chat.postMessage", _) => json!({ "ok": true, "channel": "C1", "ts": "1.2" }),
        other => panic!("{other:?}"),
    };
    answer.to_string()
}

async fn upload(State(peer): State<Peer>, headers: HeaderMap, body: Bytes) -> axum::http::StatusCode {
    assert!(headers.get(header::AUTHORIZATION).is_none(), "where bytes go is another host: it gets no token");
    peer.heard.lock().unwrap().push(("upload".into(), body.to_vec(), false));
    if peer.mood == Mood::NoRoom { axum::http::StatusCode::INSUFFICIENT_STORAGE } else { axum::http::StatusCode::OK }
}

/// Posts a message with curves, and gives what the peer heard.
async fn post_it(mood: Mood) -> Vec<(String, Vec<u8>, bool)> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let peer = Peer { mood, heard: Heard::default(), address: address.clone() };
    let heard = peer.heard.clone();
    let router = Router::new().route("/api/{method}", post(answer)).route("/upload", post(upload)).with_state(peer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let fields = [("token", "xoxb-t0k3n"), ("channel", "C1"), ("api", &format!("{address}/api"))];
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(value))).collect();
    let surroundings = Surroundings {
        host: "login1".into(),
        http: Http::new(Timeouts::default()),
        terminal: Arc::new(Mutex::new(std::io::sink())),
    };
    let setup = Setup { name: "slack".into(), fields, ..Setup::default() };
    let slack = Destination::new(Arc::new(Preset::shipped("slack_bot").unwrap()), setup, &surroundings).unwrap();
    let outcome = slack.deliver(&message(), 0.0).await;
    assert_eq!(outcome, Outcome::Delivered { reference: Some("C1/1.2".into()) }, "{mood:?}");
    heard.lock().unwrap().clone()
}

fn message() -> Message {
    let level = |step: i32| Level { step: step.into(), mean: 1.0, low: 1.0, high: 1.0 };
    let outline = Outline { levels: (0..9).map(level).collect(), broken: vec![] };
    let curve = Curve { suggestion: None, signal: "loss".into(), tag: "train/loss".into(), outline };
    let about = About { baseline_run: "resnet/7".into(), curves: vec![curve], ..About::default() };
    Message {
        id: "m1".into(),
        case: CaseId("c1".into()),
        subject: "resnet/7".into(),
        time: 1_763_841_600.0,
        body: Body::CaseOpened(CaseOpened { about, ..CaseOpened::default() }),
    }
}

fn methods(heard: &[(String, Vec<u8>, bool)]) -> Vec<&str> {
    heard.iter().map(|(method, ..)| method.as_str()).collect()
}

fn image(heard: &[(String, Vec<u8>, bool)]) -> Option<Value> {
    let (_, body, _) = heard.last().unwrap();
    let body: Value = serde_json::from_slice(body).unwrap();
    let blocks = body["blocks"].as_array().unwrap();
    blocks.iter().find(|block| block["type"] == "image").cloned()
}

const UPLOAD: [&str; 4] = ["files.getUploadURLExternal", "upload", "files.completeUploadExternal", "files.info"];

#[tokio::test]
async fn a_picture_is_uploaded_waited_for_and_shown() {
    for (mood, asked) in [(Mood::Well, 1), (Mood::Slow, 2)] {
        let heard = post_it(mood).await;
        let mut expected = UPLOAD.to_vec();
        expected.extend(vec!["files.info"; asked - 1]);
        expected.push("chat.postMessage");
        assert_eq!(methods(&heard), expected, "{mood:?}");
        let (_, form, _) = &heard[0];
        let bytes = &heard[1].1;
        let form = String::from_utf8(form.clone()).unwrap();
        assert!(form.contains("filename=c1.png") && form.contains(&format!("length={}", bytes.len())), "{form}");
        assert!(bytes.starts_with(b"\x89PNG"));
        assert!(heard.iter().all(|(method, _, token)| *token == (method != "upload")), "{mood:?}");
        let shown = image(&heard).unwrap();
        assert_eq!((&shown["slack_file"]["id"], &shown["alt_text"]), (&json!("F1"), &json!("train/loss of resnet/7")));
    }
}

#[tokio::test]
async fn a_message_goes_without_its_picture_rather_than_later() {
    let heard = post_it(Mood::NoScope).await;
    assert_eq!((methods(&heard), image(&heard)), (vec![UPLOAD[0], "chat.postMessage"], None));
    let heard = post_it(Mood::NoRoom).await;
    assert_eq!((methods(&heard), image(&heard)), (vec![UPLOAD[0], "upload", "chat.postMessage"], None));
    let heard = post_it(Mood::NotReady).await;
    let posted = heard.iter().filter(|(method, ..)| method == "chat.postMessage").count();
    assert_eq!((posted, image(&heard)), (2, None), "{:?}", methods(&heard));
}
