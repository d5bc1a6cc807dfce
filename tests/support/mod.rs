//! A receiver on the loopback that answers, or misbehaves, as it is told.
//!
//! Owns: the fake. It speaks just enough HTTP/1.1 to break it in every way that a network can.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What the receiver does with one request, after it has read it whole.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Answers with this status, these header lines and this body.
    Answer(u16, Vec<String>, String),
    /// Answers once the receiver is let go.
    Hold(u16),
    /// Closes the connection without a word.
    Drop,
    /// Announces a longer body than it sends, and closes.
    BreakOff(u16),
    /// Sends a body without end.
    Endless(u16),
}

impl Act {
    /// An answer with nothing but a status.
    pub(crate) fn status(status: u16) -> Act {
        Act::Answer(status, Vec::new(), String::new())
    }

    /// An answer with a body.
    pub(crate) fn body(status: u16, body: &str) -> Act {
        Act::Answer(status, Vec::new(), body.to_owned())
    }

    /// An answer with a `Retry-After`.
    pub(crate) fn retry_after(status: u16, value: &str) -> Act {
        Act::Answer(status, vec![format!("Retry-After: {value}")], String::new())
    }
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Such as `POST`.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// By name in lower case.
    pub(crate) headers: HashMap<String, String>,
    /// As sent.
    pub(crate) body: String,
}

impl Received {
    /// A field of the JSON body.
    pub(crate) fn json(&self, pointer: &str) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).expect("a JSON body");
        body.pointer(pointer).and_then(|value| value.as_str()).unwrap_or_default().to_owned()
    }
}

/// A receiver that runs until it is dropped.
pub(crate) struct Server {
    address: String,
    received: Arc<Mutex<Vec<Received>>>,
    release: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Plays `script` request by request, and `then` for every one after it.
    pub(crate) async fn start(script: Vec<Act>, then: Act) -> Server {
        Server::start_at("127.0.0.1:0", script, then).await
    }

    /// As [`Server::start`], at a given address.
    pub(crate) async fn start_at(address: &str, script: Vec<Act>, then: Act) -> Server {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let received = Arc::new(Mutex::new(Vec::new()));
        let release = Arc::new(Notify::new());
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let (log, gate) = (Arc::clone(&received), Arc::clone(&release));
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (log, gate, script, then) = (log.clone(), gate.clone(), script.clone(), then.clone());
                tokio::spawn(async move {
                    let mut stream = stream;
                    let Some(request) = read(&mut stream).await else { return };
                    log.lock().expect("no panic").push(request);
                    let act = script.lock().expect("no panic").pop_front().unwrap_or(then);
                    answer(stream, act, &gate).await;
                });
            }
        });
        Server { address, received, release, task }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// An address of this receiver, with a secret in its path.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/services/T0/s3cret-path?token=s3cret", self.address)
    }

    /// What has arrived so far, in order.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("no panic").clone()
    }

    /// The `id` of every event that has arrived, in order.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.received().iter().map(|request| request.json("/id")).collect()
    }

    /// Lets one held request go, now or as soon as there is one.
    pub(crate) fn let_go(&self) {
        self.release.notify_one();
    }
}

async fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ').map(str::to_owned);
    let (method, path) = (first.next()?, first.next()?);
    let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    let headers: HashMap<String, String> = lines.filter_map(header).collect();
    let length: usize = headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
    Some(Received { method, path, headers, body })
}

async fn answer(mut stream: TcpStream, act: Act, gate: &Notify) {
    let (status, headers, body, announced) = match act {
        Act::Drop => return,
        Act::Hold(status) => {
            gate.notified().await;
            (status, Vec::new(), String::new(), Some(0))
        }
        Act::BreakOff(status) => (status, Vec::new(), "half".to_owned(), Some(400)),
        Act::Endless(status) => (status, Vec::new(), "x".repeat(1 << 16), None),
        Act::Answer(status, headers, body) => {
            let length = body.len();
            (status, headers, body, Some(length))
        }
    };
    let length = announced.map(|length| format!("content-length: {length}\r\n")).unwrap_or_default();
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let head = format!("HTTP/1.1 {status} Said\r\nconnection: close\r\n{length}{headers}\r\n");
    // The other side may be gone already, which some tests want.
    if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
        return;
    }
    while announced.is_none() && stream.write_all(body.as_bytes()).await.is_ok() {}
    drop(stream.shutdown().await);
}

/// Waits until `condition` holds; fails after a time that only a fault can take.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(30), "this did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
