//! Sends the event files of this machine to a daemon on another one.
//!
//! Owns: which files are sent, from which offset, and when. Must not know: the content of records, how the daemon
//! stores what it receives.
//!
//! Nothing is remembered on disk: the daemon knows how much of each file it has. So this program can be killed and
//! started again at any time.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;

use crate::config::Secret;
use crate::logdir::{DiskLogdir, Entry, HEAD, Kind, LONGEST_CHUNK, LogFile, Logdir, MAX_SIDE_FILE, Stat, identity};
use crate::status::{CHECKSUM, IDENTITY, MODIFIED, OFFSET, RESTART};

/// Interval for looking at all files: how late an event arrives at most.
const EVERY: Duration = Duration::from_secs(2);

/// The interval is at least this multiple of the time that a look takes: at most 4 % of a core.
const BETWEEN_LOOKS: u32 = 24;

/// How long a request may take: the daemon may wait for its disk.
const WITHIN: Duration = Duration::from_secs(60);

/// Longest interval between two tries while the daemon cannot be reached.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A file that changes while it is read can be told to go back so often before the next look.
const MOST_RETURNS: usize = 3;

/// What is sent, and to whom.
#[derive(Debug)]
pub struct Forwarder {
    logdir: DiskLogdir,
    to: Url,
    token: Secret,
    client: Client,
    /// Files that were not modified for so many seconds are not sent.
    ignored_after: f64,
    known: HashMap<PathBuf, Sent>,
    /// Whether it was told that the daemon cannot be reached.
    silent: bool,
}

/// What this process has sent of a file.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    /// Its state when all of it had been sent; `None` if it is still owed, however old it becomes meanwhile.
    stat: Option<Stat>,
    /// Where the next bytes belong, if known.
    end: Option<u64>,
    /// Whether the daemon does not take such a file.
    refused: bool,
}

/// Why sending stopped.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The address is none.
    #[error("`{0}` is not the address of a daemon: write http://HOST:PORT or https://HOST")]
    Address(String),
    /// There is no client.
    #[error("could not set up HTTP: {0}")]
    Client(reqwest::Error),
    /// The daemon does not accept the token.
    #[error("the daemon does not accept the token ({0}): compare it with `status.tokens.forward` there")]
    Token(StatusCode),
    /// The daemon cannot be reached, or has no room; this may pass.
    #[error("{0}")]
    Later(String),
}

/// The daemon's response.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    end: Option<u64>,
    offset: Option<u64>,
    error: Option<String>,
}

/// What became of a request.
enum Told {
    Kept(u64),
    From(u64),
    Refused(String),
}

impl Forwarder {
    /// Prepares to send; sends nothing.
    ///
    /// # Errors
    /// The address is invalid, or HTTP cannot be set up.
    pub fn new(root: &Path, to: &str, token: Secret, ignored_after: Duration) -> Result<Forwarder, ForwardError> {
        let address = || ForwardError::Address(to.to_owned());
        let url = Url::parse(to).map_err(|_| address())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(address());
        }
        // An error means that the process already has a provider.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = Client::builder().timeout(WITHIN).redirect(reqwest::redirect::Policy::none());
        // Systems without certificates can still send without TLS.
        let builder = if url.scheme() == "http" { builder.tls_certs_only([]) } else { builder };
        // The status page closes each connection after its response.
        let client = builder.pool_max_idle_per_host(0).build().map_err(ForwardError::Client)?;
        let (logdir, ignored_after) = (DiskLogdir::new(root), ignored_after.as_secs_f64());
        Ok(Forwarder { logdir, to: url, token, client, ignored_after, known: HashMap::new(), silent: false })
    }

    /// Sends all that appears, until the process ends.
    ///
    /// # Errors
    /// The daemon does not accept the token.
    pub async fn run(&mut self) -> Result<(), ForwardError> {
        let mut wait = EVERY;
        loop {
            let begun = Instant::now();
            wait = match self.look().await {
                Ok(bytes) => {
                    if std::mem::take(&mut self.silent) {
                        tracing::info!("the daemon takes files again");
                    }
                    tracing::debug!(bytes, "looked at all files");
                    EVERY.max(begun.elapsed() * BETWEEN_LOOKS)
                }
                Err(ForwardError::Later(why)) => {
                    if !std::mem::replace(&mut self.silent, true) {
                        tracing::warn!("{why}; retrying, nothing is lost");
                    }
                    (wait * 2).min(LONGEST_WAIT)
                }
                Err(error) => return Err(error),
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Looks at every file once, and sends what is new. Returns the number of bytes.
    ///
    /// # Errors
    /// The daemon cannot be reached, or takes nothing.
    pub async fn look(&mut self) -> Result<u64, ForwardError> {
        let found = self.logdir.discover(Path::new(""));
        if !self.silent {
            found.problems.iter().for_each(|problem| tracing::warn!("{problem}"));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let oldest = now - self.ignored_after;
        let paths: std::collections::HashSet<&PathBuf> = found.entries.iter().map(|entry| &entry.path).collect();
        self.known.retain(|path, _| paths.contains(path));
        for entry in found.entries.iter().filter(|entry| entry.stat.modified as f64 / 1e9 >= oldest) {
            self.known.entry(entry.path.clone()).or_default();
        }
        let mut bytes = 0;
        for entry in &found.entries {
            let Some(known) = self.known.get(&entry.path) else { continue };
            if known.stat == Some(entry.stat) || known.refused {
                continue;
            }
            match self.send_file(entry, known.end).await {
                Ok((sent, more)) => {
                    bytes += more;
                    self.known.insert(entry.path.clone(), sent);
                }
                Err(Trouble::File(error)) => tracing::debug!(file = %entry.path.display(), %error, "not read"),
                Err(Trouble::Daemon(error)) => return Err(error),
            }
        }
        Ok(bytes)
    }

    /// Sends what the daemon does not have of a file, and returns how many bytes that was.
    async fn send_file(&self, entry: &Entry, from: Option<u64>) -> Result<(Sent, u64), Trouble> {
        let file = self.logdir.open(&entry.path)?;
        let stat = file.stat()?;
        let sent = |end, refused| Sent { stat: Some(stat), end: Some(end), refused };
        let whole = entry.kind != Kind::Events;
        let head = read(&*file, 0, if whole { MAX_SIDE_FILE as usize } else { HEAD })?;
        if !whole && head.len() < HEAD {
            return Ok((sent(0, false), 0));
        }
        let name = identity(&head);
        let part = Part { entry, identity: &name, modified: stat.modified };
        // Where nothing is known, the daemon is asked.
        let (mut offset, mut bytes, mut returns, mut restart) = (from.unwrap_or(0), 0, 0, false);
        if offset > stat.size {
            (offset, restart) = (0, true);
        }
        let mut asks = from.is_none() && !whole;
        loop {
            let chunk = match whole {
                true => head.clone(),
                false if asks => Vec::new(),
                false => read(&*file, offset, LONGEST_CHUNK)?,
            };
            if chunk.is_empty() && !asks && !whole {
                return Ok((sent(offset, false), bytes));
            }
            match self.put(&part, offset, restart, &chunk).await? {
                Told::Kept(_) if whole => return Ok((sent(0, false), chunk.len() as u64)),
                Told::Kept(end) => {
                    (offset, bytes, restart, asks) = (end, bytes + chunk.len() as u64, false, false);
                }
                // The file has become shorter than what the daemon has.
                Told::From(at) if at > stat.size => (offset, restart, asks, returns) = (0, true, false, returns + 1),
                Told::From(at) => (offset, asks, returns) = (at, false, returns + 1),
                Told::Refused(why) => {
                    tracing::warn!(file = %entry.path.display(), why, "the daemon does not take this file");
                    return Ok((sent(offset, true), bytes));
                }
            }
            if returns > MOST_RETURNS {
                return Err(Trouble::File(io::Error::other("it changes while it is read")));
            }
        }
    }

    async fn put(&self, part: &Part<'_>, offset: u64, restart: bool, bytes: &[u8]) -> Result<Told, Trouble> {
        let mut url = self.to.clone();
        let segments = part.entry.path.iter().map(|segment| segment.to_string_lossy());
        match url.path_segments_mut() {
            Ok(mut path) => drop(path.pop_if_empty().extend(["v1", "files"]).extend(segments)),
            Err(()) => return Err(ForwardError::Address(self.to.to_string()).into()),
        }
        let mut request = self.client.put(url).bearer_auth(self.token.expose()).body(bytes.to_vec());
        request = request.header(IDENTITY, part.identity).header(OFFSET, offset);
        request = request.header(CHECKSUM, format!("{:08x}", crc32c::crc32c(bytes)));
        request = request.header(MODIFIED, format!("{:.6}", part.modified as f64 / 1e9));
        if restart {
            request = request.header(RESTART, "true");
        }
        let later = |why: String| ForwardError::Later(format!("could not send to {}: {why}", site(&self.to)));
        let response = request.send().await.map_err(|error| later(error.without_url().to_string()))?;
        let status = response.status();
        let answer: Answer = response.json().await.unwrap_or_default();
        let why = answer.error.unwrap_or_else(|| status.to_string());
        match (status, answer.end, answer.offset) {
            (StatusCode::OK, Some(end), _) => Ok(Told::Kept(end)),
            (StatusCode::CONFLICT, _, Some(offset)) => Ok(Told::From(offset)),
            (StatusCode::UNPROCESSABLE_ENTITY, _, _) => Ok(Told::Refused(why)),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _, _) => Err(ForwardError::Token(status).into()),
            (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, _, _) => Err(later(format!(
                "it takes no files ({why}): set `status.tokens.forward` and a log directory forwarded:///PATH there"
            ))
            .into()),
            _ => Err(later(why).into()),
        }
    }
}

/// A file that is sent.
struct Part<'a> {
    entry: &'a Entry,
    identity: &'a str,
    /// Nanoseconds since the Unix epoch.
    modified: i128,
}

/// Whose fault it is that a file is not sent.
enum Trouble {
    File(io::Error),
    Daemon(ForwardError),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::File(error)
    }
}

impl From<ForwardError> for Trouble {
    fn from(error: ForwardError) -> Trouble {
        Trouble::Daemon(error)
    }
}

fn read(file: &dyn LogFile, offset: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    let got = file.read_at(&mut bytes, offset)?;
    bytes.truncate(got);
    Ok(bytes)
}

/// Scheme, host and port of an address.
fn site(url: &Url) -> String {
    url.origin().ascii_serialization()
}
