//! Opens the store. Where several daemons share a database, waits until this one owns the cases.
//!
//! Owns: which store the settings mean, waiting as standby. Must not know: what an owner does.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use sd_notify::NotifyState;

use super::{DATABASE, Wishes, sending, variables};
use crate::config::{Settings, WatchSettings};
use crate::logdir::Place;
use crate::status::Board;
use crate::store::{Claim, Owner, Server, Sqlite, Store, StoreError, StorePlace, Tenure};

/// Interval between two claims while another daemon owns the cases. With the lease of 15 s, a take-over begins within 16 s.
const CLAIM: Duration = Duration::from_secs(1);

/// Interval for looking whether a stop is requested.
const STOPS: Duration = Duration::from_millis(50);

/// The file with the identity of the daemon in its state directory.
const IDENTITY: &str = "identity";

/// An open store, and the ownership of its cases if others could own them.
pub(super) struct Opened {
    pub(super) store: Box<dyn Store>,
    pub(super) tenure: Option<Tenure>,
}

/// The store that the settings mean.
pub fn store_of(settings: &Settings) -> StorePlace {
    let Some(wanted) = &settings.store else { return StorePlace::File(settings.state.join(DATABASE)) };
    let mut server = wanted.server.clone();
    if let [WatchSettings { logdir: Some(logdir), .. }] = &settings.watch[..] {
        server = server.for_name(&name_of(logdir));
    }
    let source = wanted.password.clone();
    if let Some(source) = source {
        let read = move || source.read(&variables()).map(|secret| secret.expose().to_owned());
        server = server.with_password(Arc::new(move || read().map_err(|error| error.to_string())));
    }
    StorePlace::Server(Box::new(with_variable(server)))
}

/// The database with the password of the environment, if it has one and no other is named.
pub fn with_variable(server: Server) -> Server {
    match variables().remove("PGPASSWORD") {
        Some(password) if !server.has_password() => server.with_password(Arc::new(move || Ok(password.clone()))),
        _ => server,
    }
}

/// The name under which the cases of a log directory are kept: the same on every machine that names it alike.
fn name_of(logdir: &Place) -> String {
    match logdir {
        Place::Disk(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            path.components().collect::<std::path::PathBuf>().display().to_string()
        }
        Place::Objects(_) | Place::Forwarded(_) => logdir.to_string(),
    }
}

/// Opens the store; waits while another daemon owns the cases. `None`: a stop was requested meanwhile.
///
/// # Errors
/// The store cannot be opened, and a person must change something.
pub(super) fn open(settings: &Settings, board: &Board, wishes: &Wishes) -> anyhow::Result<Option<Opened>> {
    match store_of(settings) {
        StorePlace::File(path) => Ok(Some(Opened { store: Box::new(Sqlite::open(&path)?), tenure: None })),
        StorePlace::Server(server) if server.has_name() => {
            let identity = identity(&settings.state).context("could not write to the state directory")?;
            let owner = format!("{} ({})", sending::host(), settings.state.display());
            wait_for(Claim::new(&server, &owner, &identity), &server, board, wishes)
        }
        StorePlace::Server(server) => {
            bail!("one store for several log directories needs a name: add `name=NAME` to the address {server}")
        }
    }
}

/// A text that this daemon alone has, also after a restart: whoever holds the lock of the state directory is this daemon.
fn identity(state: &Path) -> io::Result<String> {
    let path = state.join(IDENTITY);
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let identity = crate::store::random_identity();
    let mut file = tempfile::NamedTempFile::new_in(state)?;
    writeln!(file, "{identity}")?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(identity)
}

fn wait_for(mut claim: Claim, server: &Server, board: &Board, wishes: &Wishes) -> anyhow::Result<Option<Opened>> {
    let mut told = None;
    let mut connected = false;
    while !wishes.stop.load(Ordering::SeqCst) {
        let why = match claim.make() {
            Ok(Ok((store, tenure))) => {
                let Owner { name, term, .. } = &tenure.owner;
                tracing::info!(logdir = name, term, "this daemon owns the cases");
                board.own(&tenure.owner);
                return Ok(Some(Opened { store: Box::new(store), tenure: Some(tenure) }));
            }
            Ok(Err(owner)) => {
                connected = true;
                format!("standby: {} owns the cases of {} (term {})", owner.owner, owner.name, owner.term)
            }
            // A server that may be down is waited for; a wrong password or a missing right is told at once.
            Err(error @ StoreError::Refused { .. }) if !connected => return Err(error.into()),
            Err(error) if error.may_pass() => format!("standby: {error}"),
            Err(error) => return Err(error.into()),
        };
        if told.as_ref() != Some(&why) {
            tracing::info!("{why}");
            told = Some(why.clone());
        }
        board.stand_by(&why);
        let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Watchdog, NotifyState::Status(&why)]);
        pause(server.lease().min(CLAIM.saturating_mul(5)) / 5, wishes);
    }
    Ok(None)
}

/// Waits, with some jitter so that several daemons do not ask at the same moment, unless a stop is requested.
fn pause(time: Duration, wishes: &Wishes) {
    let until = Instant::now() + time.mul_f64(0.8 + 0.4 * fastrand::f64());
    while Instant::now() < until && !wishes.stop.load(Ordering::SeqCst) {
        std::thread::sleep(STOPS.min(until.saturating_duration_since(Instant::now())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_stays_the_same_one_and_its_log_directory_has_one_name() {
        let state = tempfile::tempdir().unwrap();
        let first = identity(state.path()).unwrap();
        assert_eq!((first.len(), identity(state.path()).unwrap()), (32, first));
        let other = tempfile::tempdir().unwrap();
        assert_ne!(identity(other.path()).unwrap(), identity(state.path()).unwrap());
        assert_eq!(name_of(&Place::Disk("/runs/vision/".into())), "/runs/vision");
        assert_eq!(name_of(&Place::parse("s3://bucket/runs/").unwrap()), "s3://bucket/runs");
    }
}
