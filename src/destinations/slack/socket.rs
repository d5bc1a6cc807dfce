//! The connections of Socket Mode: opened, acknowledged, renewed before they end, and re-established after failures.
//!
//! Owns: envelopes and reconnecting. Must not know: the meaning of a click. Slack sends each envelope to one of an
//! app's connections and waits 3 s for the acknowledgement, so nextrun acknowledges before it processes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::click::Click;
use super::{APP_TOKEN, Answerer, SlackApp};

/// Slack's error codes for tokens and apps that a retry does not fix; an administrator must fix the problem.
const FOR_THE_SITE: [&str; 9] = [
    "not_authed",
    "invalid_auth",
    "account_inactive",
    "token_revoked",
    "token_expired",
    "not_allowed_token_type",
    "missing_scope",
    "no_permission",
    "socket_mode_disabled",
];

/// Timeout for connecting, TLS and the first frame.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// How long to read a connection after Slack has announced its end, while the next one is opened.
const LINGER: Duration = Duration::from_secs(30);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a connection must be replaced.
enum Ending {
    /// Slack will close it, as it does every few hours.
    Renewed,
    /// It broke, or Slack wants fewer connections.
    Broke(String),
    /// An administrator must first fix a problem.
    ForTheSite(String),
}

/// Keeps one connection open, and two during a handover.
pub(super) async fn keep_connected(app: Arc<SlackApp>, answerer: Answerer) {
    // Dropped and ended together with this task.
    let mut sockets = tokio::task::JoinSet::new();
    let mut failures = 0u32;
    loop {
        let begun = Instant::now();
        let ending = match open(&app).await {
            Ok(socket) => {
                tracing::info!(destination = app.name, "connected to Slack; buttons are active");
                let (end, ended) = oneshot::channel();
                let (app, answerer) = (app.clone(), answerer.clone());
                sockets.spawn(async move { listen(socket, &app, &answerer, end).await });
                ended.await.unwrap_or_else(|_| Ending::Broke("its task ended".to_owned()))
            }
            Err(ending) => ending,
        };
        // A connection that lasted long counts as good, however it ended.
        let stood = begun.elapsed() > app.pace.silence;
        failures = if stood { 0 } else { failures.saturating_add(1) };
        match ending {
            Ending::Renewed => tracing::debug!(destination = app.name, "Slack renews the connection"),
            Ending::Broke(why) => {
                tracing::warn!(
                    destination = app.name,
                    why,
                    "not connected to Slack; buttons are inactive until the next attempt"
                );
            }
            Ending::ForTheSite(why) => {
                tracing::error!(
                    destination = app.name,
                    why,
                    "not connected to Slack: check `app_token` (scope connections:write) and that Socket Mode is on"
                );
                failures = u32::MAX;
            }
        }
        tokio::time::sleep(pause(&app, failures)).await;
        while sockets.try_join_next().is_some() {}
    }
}

/// Doubles after each failure, with jitter so that several daemons do not reconnect at the same time.
fn pause(app: &SlackApp, failures: u32) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let doubled = app.pace.first_pause.saturating_mul(1 << (failures - 1).min(10));
    doubled.min(app.pace.longest_pause).mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// A connection on which Slack has sent its hello.
async fn open(app: &SlackApp) -> Result<Socket, Ending> {
    let answer = app.call("apps.connections.open", APP_TOKEN, &json!({})).await.map_err(|error| {
        let for_the_site = error.word.as_deref().is_some_and(|word| FOR_THE_SITE.contains(&word));
        if for_the_site { Ending::ForTheSite(error.why) } else { Ending::Broke(error.why) }
    })?;
    let url = answer["url"].as_str().unwrap_or_default();
    let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "ws" | "wss"));
    let Some(host) = parsed.as_ref().and_then(Url::host_str) else {
        return Err(Ending::Broke("apps.connections.open: the response contains no WebSocket address".to_owned()));
    };
    if !app.may_go_to(host) {
        return Err(Ending::ForTheSite(format!("Slack's host {host} is not in `allowed_hosts`: add *.slack.com")));
    }
    let connected = timeout(CONNECT_WITHIN, async {
        // The address contains a ticket, so errors do not show it.
        let (mut socket, _) = connect_async(url).await.map_err(|error| format!("could not reach {host}: {error}"))?;
        loop {
            match read(socket.next().await)? {
                Some(envelope) if envelope["type"] == "hello" => return Ok(socket),
                Some(envelope) if envelope["type"] == "disconnect" => {
                    return Err(format!("Slack refused the connection: {}", envelope["reason"]));
                }
                _ => {}
            }
        }
    });
    match connected.await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(why)) => Err(Ending::Broke(why)),
        Err(_) => Err(Ending::Broke(format!("{host} did not send a hello in time"))),
    }
}

/// Reads a connection until it ends. `end` is notified once, as soon as a replacement is needed.
async fn listen(mut socket: Socket, app: &SlackApp, answerer: &Answerer, end: oneshot::Sender<Ending>) {
    let mut end = Some(end);
    let mut say = |ending: Ending| {
        if let Some(end) = end.take() {
            // When the daemon stops, nobody listens any more.
            drop(end.send(ending));
        }
    };
    let (mut until, mut pinged) = (None, false);
    while until.is_none_or(|until| Instant::now() < until) {
        let frame = match timeout(app.pace.silence, socket.next()).await {
            Ok(frame) => frame,
            Err(_) if pinged || socket.send(Frame::Ping(Vec::new().into())).await.is_err() => {
                say(Ending::Broke("no data received".to_owned()));
                return;
            }
            Err(_) => {
                pinged = true;
                continue;
            }
        };
        pinged = false;
        let envelope = match read(frame) {
            Ok(Some(envelope)) => envelope,
            Ok(None) => continue,
            Err(why) => {
                say(Ending::Broke(why));
                return;
            }
        };
        if envelope["type"] == "disconnect" {
            let reason = envelope["reason"].as_str().unwrap_or_default();
            say(match reason {
                "link_disabled" => Ending::ForTheSite("Socket Mode was switched off".to_owned()),
                "too_many_websockets" => Ending::Broke("the app has too many connections".to_owned()),
                _ => Ending::Renewed,
            });
            until.get_or_insert(Instant::now() + LINGER);
            continue;
        }
        if let Some(id) = envelope["envelope_id"].as_str() {
            let acknowledged = socket.send(Frame::text(json!({ "envelope_id": id }).to_string())).await;
            if let Err(error) = acknowledged {
                say(Ending::Broke(error.to_string()));
            }
            // A click that could not be acknowledged still counts: the first answer wins.
            take(app, answerer, &envelope);
        }
    }
}

/// Submits a click and shows its outcome; ignores other events.
fn take(app: &SlackApp, answerer: &Answerer, envelope: &Value) {
    let Some(click) = Click::read(&envelope["payload"]).filter(|_| envelope["type"] == "interactive") else { return };
    let (app, answer) = (app.clone(), answerer(click.clone()));
    tokio::spawn(async move {
        let outcome = answer.await;
        app.show(&click, &outcome).await;
    });
}

/// An envelope, or `None` for a frame without one.
fn read(frame: Option<Result<Frame, tokio_tungstenite::tungstenite::Error>>) -> Result<Option<Value>, String> {
    match frame {
        Some(Ok(Frame::Text(text))) => Ok(serde_json::from_str(text.as_str()).ok()),
        Some(Ok(Frame::Close(_))) | None => Err("Slack closed it".to_owned()),
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(error.to_string()),
    }
}
