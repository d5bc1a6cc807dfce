//! One HTTP request, and whether it may have arrived.
//!
//! Owns: the client, timeouts, limits, the meaning of transport errors. Must not know: messages, presets. Errors
//! contain only scheme, host and port of an address, because paths and queries contain secrets.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use super::listing::{self, Sieve, Unread};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, ClientBuilder, Response, Url, redirect};
use serde::Deserialize;

/// Maximum size of a response: enough for a reason and a job id.
pub(super) const MOST_ANSWER: usize = 64 * 1024;

/// Maximum size of a requested list: every job of a busy cluster, with a few kilobytes each.
pub(super) const MOST_LIST: usize = 32 * 1024 * 1024;

/// Maximum size of a list of which only parts are kept.
pub(super) const MOST_SIFTED: usize = 1024 * 1024 * 1024;

/// The HTTP method and body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Method {
    #[default]
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    fn name(self) -> reqwest::Method {
        match self {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        }
    }
}

/// A request that is ready to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
    /// Maximum number of bytes to read of the response.
    pub(super) most_answer: usize,
    /// The parts of a long list to keep; such a response may have [`MOST_SIFTED`] bytes.
    pub(super) sieve: Option<Sieve>,
}

/// Timeouts for a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection, including TLS. A request that fails within this time was never sent.
    pub connect: Duration,
    /// For the whole exchange, including the response. Standard Webhooks recommends 15 to 30 s; slurmrestd needs 9 s to
    /// report that its controller is down.
    pub whole: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { connect: Duration::from_secs(10), whole: Duration::from_secs(30) }
    }
}

/// The HTTP clients of destinations. Created on first use; clones share them.
#[derive(Debug, Clone)]
pub struct Http {
    timeouts: Timeouts,
    clients: Arc<Clients>,
}

/// The location of receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way<'a> {
    /// The host of the address.
    Net(&'a Url),
    /// The host of the address, whose certificate must be signed by one in this file.
    Certified(&'a Path),
    /// This machine, behind a socket; the host of the address is only a name.
    Socket(&'a Path),
}

#[derive(Debug, Default)]
struct Clients {
    /// Trusts the system's certificates.
    trusting: OnceLock<Result<Client, HttpError>>,
    /// Trusts no certificates: for addresses without TLS on systems without certificates.
    plain: OnceLock<Result<Client, HttpError>>,
}

/// Why there is no client.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HttpError {
    /// The client cannot be created.
    #[error("could not set up HTTP: {0}; the system's certificates may be missing (package ca-certificates)")]
    Client(String),
    /// The site's own certificates are invalid.
    #[error("the certificates in {file} cannot be used: {why}")]
    Certificates {
        /// The file.
        file: PathBuf,
        /// The cause.
        why: String,
    },
}

/// A client that is set up.
#[derive(Debug)]
pub(super) struct HttpClient {
    client: Client,
    timeouts: Timeouts,
}

/// A response.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) retry_after: Option<String>,
    pub(super) body: String,
}

/// No response.
#[derive(Debug, Clone)]
pub(super) enum Unanswered {
    /// The request cannot have arrived.
    NotSent(String),
    /// The request may have arrived.
    NoAnswer(String),
}

impl Unanswered {
    /// Why there is none.
    pub(super) fn why(self) -> String {
        match self {
            Unanswered::NotSent(why) | Unanswered::NoAnswer(why) => why,
        }
    }
}

impl Http {
    /// HTTP with these timeouts.
    pub fn new(timeouts: Timeouts) -> Http {
        Http { timeouts, clients: Arc::default() }
    }

    /// The timeouts.
    pub(super) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// The client for an address.
    ///
    /// # Errors
    /// TLS could not be set up, and the address needs it.
    pub(super) fn client(&self, way: Way<'_>) -> Result<HttpClient, HttpError> {
        let url = match way {
            Way::Net(url) => url,
            Way::Certified(file) => {
                let client = build(self.builder().tls_certs_only(certificates(file)?))?;
                return Ok(HttpClient { client, timeouts: self.timeouts });
            }
            Way::Socket(path) => {
                let client = build(self.builder().tls_certs_only([]).unix_socket(PathBuf::from(path)))?;
                return Ok(HttpClient { client, timeouts: self.timeouts });
            }
        };
        let trusting = self.clients.trusting.get_or_init(|| build(self.builder())).clone();
        let client = match trusting {
            Err(_) if url.scheme() == "http" => {
                self.clients.plain.get_or_init(|| build(self.builder().tls_certs_only([]))).clone()
            }
            trusting => trusting,
        };
        Ok(HttpClient { client: client?, timeouts: self.timeouts })
    }

    /// A client that follows no redirects and keeps no connection open between messages: if the receiver had closed it
    /// meanwhile, the outcome of a message would be unknown.
    fn builder(&self) -> ClientBuilder {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // An error means that the process already has a provider, which can be used.
            drop(rustls::crypto::ring::default_provider().install_default());
        });
        Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(self.timeouts.connect)
            .timeout(self.timeouts.whole)
            .pool_max_idle_per_host(0)
            .user_agent(concat!("nextrun/", env!("CARGO_PKG_VERSION")))
    }
}

/// The certificates in a file.
fn certificates(file: &Path) -> Result<Vec<Certificate>, HttpError> {
    let unusable = |why: String| HttpError::Certificates { file: file.to_owned(), why };
    let text = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
    let all = Certificate::from_pem_bundle(&text).map_err(|error| unusable(reason(error)))?;
    if all.is_empty() { Err(unusable("it contains no PEM certificate".to_owned())) } else { Ok(all) }
}

fn build(builder: ClientBuilder) -> Result<Client, HttpError> {
    builder.build().map_err(|error| HttpError::Client(reason(error)))
}

impl HttpClient {
    /// The timeouts of its receivers.
    pub(super) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    pub(super) async fn send(&self, request: Outgoing) -> Result<Reply, Unanswered> {
        let site = site(&request.url);
        let mut building = self.client.request(request.method.name(), request.url).headers(request.headers);
        if let Some(body) = request.body {
            building = building.body(body);
        }
        match building.send().await {
            Ok(response) => match request.sieve.filter(|_| response.status().is_success()) {
                Some(sieve) => {
                    read_list(response, sieve).await.map_err(|why| Unanswered::NoAnswer(format!("{site}: {why}")))
                }
                None => Ok(read(response, request.most_answer).await),
            },
            Err(error) if error.is_connect() || error.is_builder() => {
                Err(Unanswered::NotSent(format!("could not reach {site}: {}", reason(error))))
            }
            Err(error) => Err(Unanswered::NoAnswer(format!("no response from {site}: {}", reason(error)))),
        }
    }
}

/// The status determines the outcome, so a response whose body breaks off or does not end is used as far as it was
/// read.
async fn read(mut response: Response, most: usize) -> Reply {
    let status = response.status().as_u16();
    let retry_after =
        response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(|value| value.trim().to_owned());
    let mut body = Vec::new();
    while body.len() < most {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(most - body.len())]),
            Ok(None) | Err(_) => break,
        }
    }
    Reply { status, retry_after, body: String::from_utf8_lossy(&body).into_owned() }
}

/// A response with a long list, of which only matching parts are kept. If it breaks off, it is unusable, because the
/// missing half may contain the match.
async fn read_list(mut response: Response, sieve: Sieve) -> Result<Reply, String> {
    let status = response.status().as_u16();
    let (feed, chunks) = listing::channel();
    let sifting = tokio::task::spawn_blocking(move || listing::sift(chunks, &sieve));
    let mut left = MOST_SIFTED;
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(error) => return Err(format!("the response broke off: {}", reason(error))),
        };
        left =
            left.checked_sub(chunk.len()).ok_or_else(|| format!("the response has more than {MOST_SIFTED} bytes"))?;
        // The reader stops at invalid JSON.
        if feed.send(chunk.to_vec()).await.is_err() {
            break;
        }
    }
    drop(feed);
    let body = match sifting.await {
        Ok(Ok(kept)) => kept.to_string(),
        // Treated like any other response that is not JSON.
        Ok(Err(Unread::NotThat)) => String::new(),
        Ok(Err(Unread::BrokeOff)) | Err(_) => return Err("the response broke off".to_owned()),
    };
    Ok(Reply { status, retry_after: None, body })
}

/// Scheme, host and port of an address, which may be shown.
pub(super) fn site(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// An error with its causes, without the address.
fn reason(error: reqwest::Error) -> String {
    let timed_out = error.is_timeout();
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    if timed_out && !text.contains("timed out") { format!("{text}: timed out") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (url, shown) in [
            ("https://hooks.slack.example/services/T0/B0/s3cret?token=x", "https://hooks.slack.example"),
            ("http://user:pass@queue:8080/jobs", "http://queue:8080"),
        ] {
            assert_eq!(site(&Url::parse(url).unwrap()), shown);
        }
    }
}
