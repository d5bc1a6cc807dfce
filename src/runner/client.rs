//! Requests of a daemon to its runner, and how to start a runner.
//!
//! Owns: the requests over the socket. Must not know: the consequences of a response.

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

/// A response takes no longer than the runner needs to analyse a command.
const WITHIN: Duration = Duration::from_secs(20);

/// A runner started by a daemon exits this long after the daemon, once its jobs have ended.
const IDLE_EXIT: &str = "60s";

/// A training process, running or ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trainer {
    /// The event files that it was observed to write.
    pub files: BTreeSet<PathBuf>,
    /// How it was started.
    pub launched: Launched,
    /// Whether it is running.
    pub running: bool,
}

/// How much a daemon already knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The log directory that it is about.
    pub logdir: PathBuf,
    /// The runner that assigned the numbers; a new runner starts over.
    pub life: String,
    /// Job updates up to this number are known.
    pub jobs: u64,
    /// Process updates up to this number are known.
    pub trainers: u64,
}

/// Updates since the last query.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct News {
    /// The position for the next query.
    pub cursor: Cursor,
    /// Status of jobs, by suggestion.
    pub fates: BTreeMap<String, Fate>,
    /// Processes that started training, wrote to another file, or ended.
    pub trainers: Vec<Trainer>,
}

/// The connection to a runner.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
}

impl Client {
    /// A client for the runner behind a socket; sends nothing.
    ///
    /// # Errors
    /// HTTP cannot be set up.
    pub fn new(socket: &Path) -> Result<Client, RunnerError> {
        let failed = |error: reqwest::Error| RunnerError::files("connect to", socket)(io::Error::other(error));
        // An error means that the process already has a provider. This connection is not encrypted.
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

    /// Updates since the last query.
    ///
    /// # Errors
    /// The runner does not respond, or uses another version of the protocol.
    pub async fn news(&self, cursor: &Cursor) -> Result<News, reqwest::Error> {
        let answer = self.http.post("http://runner/v1/news").json(cursor).send().await?;
        answer.error_for_status()?.json().await
    }
}

/// Starts a runner that outlives this process. If a runner is already running, the new one exits immediately.
///
/// # Errors
/// It cannot be started.
pub fn start(home: &Home, state: &Path, allow_root: bool) -> io::Result<Child> {
    files::make_private(home.path())?;
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(home.log())?;
    // The current program, even if its file has been replaced since.
    let mut command = Command::new("/proc/self/exe");
    command.arg("runner").arg("--state").arg(std::path::absolute(state)?).args([
        "--detached",
        "--idle-exit",
        IDLE_EXIT,
    ]);
    if allow_root {
        command.arg("--allow-root");
    }
    // The environment variables of systemd are for the daemon, not for the runner.
    command.env_remove("NOTIFY_SOCKET").env_remove("STATE_DIRECTORY");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}
