//! What a daemon asks its runner, and how it starts one.
//!
//! Owns: the requests through the socket. Must not know: what follows from an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Home, RunnerError, files};
use crate::fate::Fate;
use crate::launched::Launched;

/// An answer takes no longer than the runner needs to learn what a command is.
const WITHIN: Duration = Duration::from_secs(20);

/// A runner that a daemon started ends this long after the daemon, once its jobs have ended.
const IDLE_EXIT: &str = "60s";

/// A process that trains, or did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trainer {
    /// The event files that it was seen to write.
    pub files: BTreeSet<PathBuf>,
    /// How it was started.
    pub launched: Launched,
    /// Whether it runs.
    pub running: bool,
}

/// How far a daemon knows what happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The log directory that it is about.
    pub logdir: PathBuf,
    /// The runner that counted; another begins anew.
    pub life: String,
    /// News of jobs up to this number are known.
    pub jobs: u64,
    /// News of processes up to this number are known.
    pub trainers: u64,
}

/// What happened since.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct News {
    /// What to ask with the next time.
    pub cursor: Cursor,
    /// What became of jobs, by suggestion.
    pub fates: BTreeMap<String, Fate>,
    /// Processes that began to train, write to another file, or ended.
    pub trainers: Vec<Trainer>,
}

/// The way to a runner.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
}

impl Client {
    /// A client for the runner behind a socket; nothing is sent.
    ///
    /// # Errors
    /// HTTP cannot be set up.
    pub fn new(socket: &Path) -> Result<Client, RunnerError> {
        let failed = |error: reqwest::Error| RunnerError::files("talk to", socket)(io::Error::other(error));
        // An error says that the process has a provider already. Nothing is encrypted on this way.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .unix_socket(socket.to_owned())
            .tls_certs_only([])
            .timeout(WITHIN)
            .pool_max_idle_per_host(0)
            .build()
            .map_err(failed)?;
        Ok(Client { http })
    }

    /// What happened since.
    ///
    /// # Errors
    /// Nobody answers, or not in the way of this version.
    pub async fn news(&self, cursor: &Cursor) -> Result<News, reqwest::Error> {
        let answer = self.http.post("http://runner/v1/news").json(cursor).send().await?;
        answer.error_for_status()?.json().await
    }
}

/// Starts a runner that outlives this process. Where one runs already, the new one ends at once.
///
/// # Errors
/// It cannot be started.
pub fn start(home: &Home, state: &Path, allow_root: bool) -> io::Result<Child> {
    files::make_private(home.path())?;
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(home.log())?;
    // This program as it is now, even if its file was replaced since.
    let mut command = Command::new("/proc/self/exe");
    command.arg("runner").arg("--state").arg(std::path::absolute(state)?).args([
        "--detached",
        "--idle-exit",
        IDLE_EXIT,
    ]);
    if allow_root {
        command.arg("--allow-root");
    }
    // What systemd told the daemon is not for the runner.
    command.env_remove("NOTIFY_SOCKET").env_remove("STATE_DIRECTORY");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}
