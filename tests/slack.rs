//! Clicks in Slack, played by a peer of our own: its API over HTTP, and its end of the WebSocket.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::{Json, Router, routing::post};
use futures_util::{SinkExt, StreamExt};
use nextrun::case::{CaseId, Person, Reply};
use nextrun::config::{Approvers, Glob};
use nextrun::daemon::{answerer, now};
use nextrun::destinations::{Destination, Http, Preset, Secret, Setup, SlackApp, SlackPace, Surroundings, Timeouts};
use nextrun::status::Board;
use nextrun::store::{Ask, AskKind, AskState, Commit, SharedStore, Sqlite, Wish};
use serde_json::{Value, json};
use support::until;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;

/// Slack.
struct Peer {
    api: String,
    calls: Arc<Calls>,
    sockets: UnboundedReceiver<Socket>,
}

/// What was asked of Slack's API.
struct Calls {
    /// The address of the WebSocket.
    socket: String,
    /// Errors that `apps.connections.open` answers with first.
    refusals: Mutex<Vec<&'static str>>,
    /// Method and body.
    made: Mutex<Vec<(String, Value)>>,
}

/// Slack's end of one connection.
struct Socket(WebSocketStream<TcpStream>);

async fn call(State(calls): State<Arc<Calls>>, Path(method): Path<String>, body: String) -> Json<Value> {
    let body: Value = serde_json::from_str(&body).unwrap();
    calls.made.lock().unwrap().push((method.clone(), body));
    if method != "apps.connections.open" {
        return Json(json!({"ok": true}));
    }
    let mut refusals = calls.refusals.lock().unwrap();
    Json(match refusals.is_empty() {
        true => json!({"ok": true, "url": calls.socket}),
        false => json!({"ok": false, "error": refusals.remove(0)}),
    })
}

impl Peer {
    async fn start(refusals: &[&'static str]) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = format!("ws://{}/?ticket=s3cret", listener.local_addr().unwrap());
        let (say, sockets) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                if say.send(Socket(socket)).is_err() {
                    return;
                }
            }
        });
        let calls = Arc::new(Calls { socket, refusals: Mutex::new(refusals.to_vec()), made: Mutex::default() });
        let router = Router::new().route("/api/{method}", post(call)).with_state(calls.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = format!("http://{}/api", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Peer { api, calls, sockets }
    }

    /// The next connection, after Slack's hello.
    async fn connected(&mut self) -> Socket {
        let mut socket = self.sockets.recv().await.unwrap();
        socket.say(&json!({"type": "hello", "num_connections": 1})).await;
        socket
    }

    fn made(&self, method: &str) -> Vec<Value> {
        let made = self.calls.made.lock().unwrap();
        made.iter().filter(|(name, _)| name == method).map(|(_, body)| body.clone()).collect()
    }

    /// The texts that people were shown in the place of buttons, and alone.
    fn shown(&self) -> (Vec<String>, Vec<String>) {
        let line = |body: &Value| {
            let blocks = body["blocks"].as_array().unwrap();
            assert!(blocks.iter().all(|block| block["type"] != "actions"), "the buttons are gone: {body}");
            blocks[1]["elements"][0]["text"].as_str().unwrap().to_owned()
        };
        let alone = |body: &Value| body["text"].as_str().unwrap().to_owned();
        let (updates, told) = (self.made("chat.update"), self.made("chat.postEphemeral"));
        (updates.iter().map(line).collect(), told.iter().map(alone).collect())
    }
}

impl Socket {
    async fn say(&mut self, envelope: &Value) {
        self.0.send(Frame::text(envelope.to_string())).await.unwrap();
    }

    /// A click by a user, and the acknowledgement that follows.
    async fn click(&mut self, envelope: &str, user: &str, value: &str) {
        let button = json!({"type": "button", "action_id": "nextrun-run", "value": value, "action_ts": "1.5"});
        let payload = json!({
            "type": "block_actions", "user": {"id": user, "username": "ada"}, "actions": [button],
            "container": {"channel_id": "C1", "message_ts": "1.2"},
            "message": {"text": "May it run?", "ts": "1.2", "thread_ts": "1.1", "blocks": [
                {"type": "section", "text": {"type": "mrkdwn", "text": "May it run?"}},
                {"type": "actions", "elements": []}]},
        });
        let envelope_id = envelope;
        self.say(&json!({"type": "interactive", "envelope_id": envelope_id, "payload": payload, "accepts_response_payload": false}))
            .await;
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Frame::Text(text) => {
                    let acknowledged: Value = serde_json::from_str(text.as_str()).unwrap();
                    assert_eq!(acknowledged, json!({"envelope_id": envelope_id}));
                    return;
                }
                Frame::Ping(_) | Frame::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

const VALUE: &str = "run|f00|c1-01-x-approval";

/// A store in which an approval waits, until a time, and a daemon's side of the clicks.
struct Stage {
    peer: Peer,
    store: SharedStore,
    _folder: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn app(peer: &Peer, pace: SlackPace, allowed: Option<&[String]>) -> SlackApp {
    let fields = [("token", "xoxb-t0k3n"), ("channel", "C1"), ("app_token", "xapp-t0k3n"), ("api", peer.api.as_str())];
    let fields: BTreeMap<String, Secret> = fields.map(|(name, value)| (name.to_owned(), Secret::new(value))).into();
    let http = Http::new(Timeouts::default());
    let surroundings =
        Surroundings { host: "login1".into(), http: http.clone(), terminal: Arc::new(Mutex::new(std::io::sink())) };
    let setup = Setup { name: "team".into(), fields, ..Setup::default() };
    let destination = Destination::new(Arc::new(Preset::shipped("slack_bot").unwrap()), setup, &surroundings).unwrap();
    destination.slack_app(&http, allowed).unwrap().unwrap().at_pace(pace)
}

const QUICK: SlackPace = SlackPace {
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(5),
    silence: Duration::from_secs(30),
};

async fn stage(refusals: &[&'static str], pace: SlackPace, expires_in: f64) -> Stage {
    let peer = Peer::start(refusals).await;
    let folder = tempfile::tempdir().unwrap();
    let ask = Ask {
        id: "c1-01-x-approval".into(),
        case: CaseId("c1".into()),
        job: "vision/7".into(),
        kind: AskKind::Approval,
        shown: json!({"command": "python train.py"}),
        fingerprint: "f00".into(),
        answers: vec!["run".into(), "skip".into(), "snooze".into()],
        asked: now() - 10.0,
        expires: now() + expires_in,
        state: AskState::Open,
    };
    let store = SharedStore::new(Box::new(Sqlite::open(&folder.path().join("db")).unwrap()));
    store.blocking(|store| store.commit(&Commit { asks: vec![ask], ..Commit::default() })).unwrap();
    let board = Arc::new(Board::default());
    let people = vec!["slack:U1".to_owned(), "slack:U2".to_owned()];
    board.let_approve(Approvers::new(vec![(Glob::new("vision/**").unwrap(), people)]));
    let task = tokio::spawn(app(&peer, pace, None).run(answerer(store.clone(), board)));
    Stage { peer, store, _folder: folder, task }
}

impl Stage {
    /// What the daemon is asked to do.
    fn wishes(&self) -> Vec<Wish> {
        self.store
            .blocking(|store| store.requests())
            .unwrap()
            .into_iter()
            .map(|request| request.unwrap().wish)
            .collect()
    }

    async fn until_shown(&self, updates: usize, alone: usize) -> (Vec<String>, Vec<String>) {
        until("it is shown", || self.peer.shown().0.len() >= updates && self.peer.shown().1.len() >= alone).await;
        self.peer.shown()
    }
}

#[tokio::test]
async fn a_click_counts_once_and_everybody_sees_who_it_was() {
    let mut stage = stage(&[], QUICK, 100.0).await;
    let mut socket = stage.peer.connected().await;
    socket.click("e1", "U1", VALUE).await;
    let (shown, alone) = stage.until_shown(1, 0).await;
    assert!(shown[0].starts_with("Approved by <@U1> at <!date^"), "{shown:?}");
    assert!(alone.is_empty(), "whoever clicked sees it in place: {alone:?}");
    let update = &stage.peer.made("chat.update")[0];
    assert_eq!(
        (&update["channel"], &update["ts"], &update["text"]),
        (&json!("C1"), &json!("1.2"), &json!("May it run?"))
    );

    // The same click once more, and somebody else's other answer.
    socket.click("e1", "U1", VALUE).await;
    socket.click("e2", "U2", "skip|f00|c1-01-x-approval").await;
    let (shown, alone) = stage.until_shown(3, 2).await;
    assert!(shown.iter().chain(&alone).all(|text| text.contains("pproved by <@U1>")), "{shown:?} {alone:?}");
    assert!(alone[1].starts_with("Already approved"), "{alone:?}");
    let by = Person { provider: "slack".into(), user: "U1".into(), name: Some("ada".into()) };
    let wishes = stage.wishes();
    assert!(
        matches!(&wishes[..], [Wish::Reply { ask, reply: Reply { answer, by: who, .. } }]
            if ask == "c1-01-x-approval" && answer == "run" && *who == by),
        "{wishes:?}"
    );
}

#[tokio::test]
async fn a_click_without_the_right_changes_nothing_and_is_told_to_that_person_alone() {
    let mut stage = stage(&[], QUICK, 100.0).await;
    let mut socket = stage.peer.connected().await;
    socket.click("e1", "U9", VALUE).await;
    socket.click("e2", "U1", "run|0ther|c1-01-x-approval").await;
    let (shown, alone) = stage.until_shown(0, 2).await;
    assert!(shown.is_empty(), "the buttons stay: {shown:?}");
    let told = |start: &str| alone.iter().any(|text| text.starts_with(start));
    assert!(told("You may not answer for vision/7") && told("This question is out of date"), "{alone:?}");
    let ephemeral = &stage.peer.made("chat.postEphemeral");
    assert!(ephemeral.iter().all(|body| body["thread_ts"] == "1.1" && body["channel"] == "C1"), "{ephemeral:?}");
    assert!(stage.wishes().is_empty());
}

#[tokio::test]
async fn a_click_that_comes_too_late_takes_the_buttons_away() {
    let mut stage = stage(&[], QUICK, -1.0).await;
    let mut socket = stage.peer.connected().await;
    socket.click("e1", "U1", VALUE).await;
    let (shown, alone) = stage.until_shown(1, 1).await;
    assert!(shown[0].starts_with("Expired at") && shown[0].ends_with("not run"), "{shown:?}");
    assert_eq!(shown, alone);
    assert!(stage.wishes().is_empty());
}

#[tokio::test]
async fn a_connection_is_renewed_before_it_ends_and_the_old_one_still_takes_clicks() {
    let mut stage = stage(&[], QUICK, 100.0).await;
    let mut old = stage.peer.connected().await;
    old.say(&json!({"type": "disconnect", "reason": "warning", "debug_info": {"host": "h"}})).await;
    let mut new = stage.peer.connected().await;
    old.click("e1", "U9", VALUE).await;
    new.click("e2", "U1", VALUE).await;
    let (shown, alone) = stage.until_shown(1, 1).await;
    assert!(shown[0].starts_with("Approved by <@U1>") && alone[0].starts_with("You may not"), "{shown:?} {alone:?}");
    drop(old);
    new.say(&json!({"type": "disconnect", "reason": "refresh_requested"})).await;
    stage.peer.connected().await;
}

#[tokio::test]
async fn a_connection_that_breaks_or_is_refused_is_made_anew() {
    let mut stage = stage(&["internal_error", "invalid_auth", "ratelimited"], QUICK, 100.0).await;
    drop(stage.peer.connected().await);
    let mut full = stage.peer.sockets.recv().await.unwrap();
    full.say(&json!({"type": "disconnect", "reason": "too_many_websockets"})).await;
    let mut nonsense = stage.peer.connected().await;
    nonsense.0.send(Frame::text("{no json")).await.unwrap();
    nonsense.say(&json!({"type": "interactive", "envelope_id": "e0", "payload": {"type": "view_closed"}})).await;
    assert!(matches!(nonsense.0.next().await, Some(Ok(Frame::Text(_)))), "what is no click is acknowledged too");
    nonsense.0.close(None).await.unwrap();
    let mut socket = stage.peer.connected().await;
    socket.click("e1", "U1", VALUE).await;
    assert!(stage.until_shown(1, 0).await.0[0].starts_with("Approved"));
    assert_eq!(stage.peer.made("apps.connections.open").len(), 7, "three refusals and four connections");
}

#[tokio::test]
async fn a_connection_that_says_nothing_and_answers_no_ping_is_left() {
    let pace = SlackPace { silence: Duration::from_millis(20), ..QUICK };
    let mut stage = stage(&[], pace, 100.0).await;
    // It is not read from here: no ping is answered.
    let _silent = stage.peer.connected().await;
    stage.peer.connected().await;
}

#[tokio::test]
async fn only_allowed_hosts_are_connected_to() {
    let peer = Peer::start(&[]).await;
    let allowed = ["slack.com".to_owned()];
    let answerer: nextrun::destinations::Answerer = Arc::new(|_| Box::pin(async { Default::default() }));
    let task = tokio::spawn(app(&peer, QUICK, Some(&allowed)).run(answerer));
    until("it asked where to connect, twice", || peer.made("apps.connections.open").len() >= 2).await;
    task.abort();
    assert!(peer.sockets.is_empty(), "a ticket went to a host that is not allowed");
}
