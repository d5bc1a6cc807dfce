//! The connections of Socket Mode: opened, acknowledged, renewed before they end, made anew after they broke.
//!
//! Owns: envelopes and reconnecting. Must not know: what a click means. Slack gives each envelope to one of an app's
//! connections and waits 3 s for its acknowledgement, so that comes first and the work after it.

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

/// Slack's words for tokens and apps that no new try makes good: the site has to mend something.
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

/// A connection, its TLS and the first frame on it take no longer than this.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// A connection that Slack is about to end is read for so long after it said so, while the next one is made.
const LINGER: Duration = Duration::from_secs(30);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a connection is needed in the place of another.
enum Ending {
    /// Slack will end it, as it does every few hours.
    Renewed,
    /// It broke, or Slack wants fewer of them.
    Broke(String),
    /// The site has to mend something first.
    ForTheSite(String),
}

/// Keeps one connection open, and two while one takes over from the other.
pub(super) async fn keep_connected(app: Arc<SlackApp>, answerer: Answerer) {
    // Dropped with this task, and ended then.
    let mut sockets = tokio::task::JoinSet::new();
    let mut failures = 0u32;
    loop {
        let begun = Instant::now();
        let ending = match open(&app).await {
            Ok(socket) => {
                tracing::info!(destination = app.name, "connected to Slack: buttons answer");
                let (end, ended) = oneshot::channel();
                let (app, answerer) = (app.clone(), answerer.clone());
                sockets.spawn(async move { listen(socket, &app, &answerer, end).await });
                ended.await.unwrap_or_else(|_| Ending::Broke("its task ended".to_owned()))
            }
            Err(ending) => ending,
        };
        // One that stood for long counts as good, however it ended.
        let stood = begun.elapsed() > app.pace.silence;
        failures = if stood { 0 } else { failures.saturating_add(1) };
        match ending {
            Ending::Renewed => tracing::debug!(destination = app.name, "Slack renews the connection"),
            Ending::Broke(why) => {
                tracing::warn!(destination = app.name, why, "not connected to Slack: its buttons wait for a new try");
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

/// Doubles with each failure, and is spread, so that several daemons do not come back together.
fn pause(app: &SlackApp, failures: u32) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let doubled = app.pace.first_pause.saturating_mul(1 << (failures - 1).min(10));
    doubled.min(app.pace.longest_pause).mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// A connection on which Slack has said hello.
async fn open(app: &SlackApp) -> Result<Socket, Ending> {
    let answer = app.call("apps.connections.open", APP_TOKEN, &json!({})).await.map_err(|error| {
        let for_the_site = error.word.as_deref().is_some_and(|word| FOR_THE_SITE.contains(&word));
        if for_the_site { Ending::ForTheSite(error.why) } else { Ending::Broke(error.why) }
    })?;
    let url = answer["url"].as_str().unwrap_or_default();
    let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "ws" | "wss"));
    let Some(host) = parsed.as_ref().and_then(Url::host_str) else {
        return Err(Ending::Broke("apps.connections.open: no address of a WebSocket".to_owned()));
    };
    if !app.may_go_to(host) {
        return Err(Ending::ForTheSite(format!("Slack's host {host} is not among `allowed_hosts`: add *.slack.com")));
    }
    let connected = timeout(CONNECT_WITHIN, async {
        // The address holds a ticket: it is not shown in errors.
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
        Err(_) => Err(Ending::Broke(format!("{host} did not say hello in time"))),
    }
}

/// Reads a connection until it ends. `end` is told once, as soon as another is needed.
async fn listen(mut socket: Socket, app: &SlackApp, answerer: &Answerer, end: oneshot::Sender<Ending>) {
    let mut end = Some(end);
    let mut say = |ending: Ending| {
        if let Some(end) = end.take() {
            // Nobody listens any more when the daemon stops.
            drop(end.send(ending));
        }
    };
    let (mut until, mut pinged) = (None, false);
    while until.is_none_or(|until| Instant::now() < until) {
        let frame = match timeout(app.pace.silence, socket.next()).await {
            Ok(frame) => frame,
            Err(_) if pinged || socket.send(Frame::Ping(Vec::new().into())).await.is_err() => {
                say(Ending::Broke("it fell silent".to_owned()));
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
            // A click that could not be acknowledged was a click all the same: the first answer counts.
            take(app, answerer, &envelope);
        }
    }
}

/// Has a click answered, and its outcome shown; what else Slack tells is no concern of ours.
fn take(app: &SlackApp, answerer: &Answerer, envelope: &Value) {
    let Some(click) = Click::read(&envelope["payload"]).filter(|_| envelope["type"] == "interactive") else { return };
    let (app, answer) = (app.clone(), answerer(click.clone()));
    tokio::spawn(async move {
        let outcome = answer.await;
        app.show(&click, &outcome).await;
    });
}

/// An envelope, or nothing for a frame that carries none.
fn read(frame: Option<Result<Frame, tokio_tungstenite::tungstenite::Error>>) -> Result<Option<Value>, String> {
    match frame {
        Some(Ok(Frame::Text(text))) => Ok(serde_json::from_str(text.as_str()).ok()),
        Some(Ok(Frame::Close(_))) | None => Err("Slack closed it".to_owned()),
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(error.to_string()),
    }
}
