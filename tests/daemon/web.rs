//! A job queue and a webhook on the loopback address.
//!
//! Owns: just enough HTTP/1.1 to accept and answer an event. Must not know: the content of events.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// An event that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// By name in lower case.
    pub(crate) headers: HashMap<String, String>,
    /// The CloudEvent.
    pub(crate) body: Value,
}

impl Event {
    /// A text of the CloudEvent; empty where there is none.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Status and body.
pub(crate) type Answer = (u16, String);

/// What is done with an event.
type Handler = dyn Fn(&Event) -> Answer + Send + Sync;

/// A receiver that runs as long as the test.
pub(crate) struct Receiver {
    address: String,
    taken: Arc<Taken>,
}

/// What has arrived.
#[derive(Default)]
struct Taken {
    events: Mutex<Vec<Event>>,
    /// The suggestions that were taken back.
    cancelled: Mutex<Vec<String>>,
}

impl Receiver {
    /// Answers every event as `handler` says. An event is noted before it is handled.
    pub(crate) fn start(handler: impl Fn(&Event) -> Answer + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let taken = Arc::<Taken>::default();
        let (log, handler): (_, Arc<Handler>) = (taken.clone(), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, handler) = (log.clone(), handler.clone());
                std::thread::spawn(move || serve(stream, &log, &*handler));
            }
        });
        Receiver { address, taken }
    }

    /// Takes every event.
    pub(crate) fn of_everything() -> Receiver {
        Receiver::start(|_| (200, String::new()))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// What has arrived so far, in order.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.taken.events.lock().unwrap().clone()
    }

    /// The suggestions that were taken back, by `DELETE`.
    pub(crate) fn cancelled(&self) -> Vec<String> {
        self.taken.cancelled.lock().unwrap().clone()
    }

    /// The `data` of what has arrived of one type.
    pub(crate) fn data_of(&self, kind: &str) -> Vec<Value> {
        let events = self.events();
        events.into_iter().filter(|event| event.text("/type") == kind).map(|event| event.body["data"].clone()).collect()
    }
}

/// One request a connection. A daemon that is killed breaks it off anywhere.
fn serve(stream: TcpStream, taken: &Taken, handler: &Handler) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        lines.push(line);
    }
    let header =
        |line: &String| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    let headers: HashMap<String, String> = lines.iter().skip(1).filter_map(header).collect();
    if let Some(target) = lines.first()?.strip_prefix("DELETE ") {
        let path = target.split(' ').next()?;
        taken.cancelled.lock().unwrap().push(path.rsplit('/').next()?.to_owned());
        return reader.into_inner().write_all(b"HTTP/1.1 204 Done\r\nconnection: close\r\n\r\n").ok();
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    let event = Event { headers, body: serde_json::from_slice(&body).ok()? };
    taken.events.lock().unwrap().push(event.clone());
    let (status, body) = handler(&event);
    let head = format!("HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    reader.into_inner().write_all((head + &body).as_bytes()).ok()
}
