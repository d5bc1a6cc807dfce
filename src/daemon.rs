//! Wires the parts, runs the loop, and stops in order.
//!
//! Owns: threads, the clock, when to look. Must not know: the command line, and the rules of any part.
//!
//! One thread reads event files and diagnoses; the workers of the outbox send on their own. What is decided is committed
//! before anybody is told of it.

mod desk;
mod engine;
mod launch;
mod site;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use tokio::sync::mpsc;

use crate::case::Case;
use crate::config::{self, Settings, Variables};
use crate::destinations::{Destination, Http, OnUnknown, Setup, Surroundings, Timeouts};
use crate::diagnosis::Diagnosis;
use crate::logdir::DiskLogdir;
use crate::outbox::{Outbox, Pace, Sending, refusals};
use crate::store::{SharedStore, Sqlite, StateLock, Store};
use crate::watch::notify::{Notifier, Sweep};
use crate::watch::{Options, Watcher};

use desk::Desk;
use engine::Engine;

pub use site::{
    PolicyError, built_in_policies, built_in_tests, load_policy, policy_text, preset_of, site_of, vocabulary,
};

/// The name of the database below the state directory.
pub const DATABASE: &str = "nextrun.db";

/// Seconds since the Unix epoch.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The environment of this process. Names and values that are no UTF-8 hold nothing that a setting could be.
pub fn variables() -> Variables {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// Runs until it is told to stop (`stop` becomes true, or SIGTERM or SIGINT comes).
///
/// # Errors
/// What keeps it from starting or from going on: the state directory, the database, a policy, a destination.
pub fn run(settings: &Settings, stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    let logdir = match settings.watch.logdirs.as_slice() {
        [logdir] => logdir,
        [] => {
            bail!("no log directory is named: write `nextrun watch LOGDIR`, or set `watch.logdir` in the configuration")
        }
        several => bail!("one daemon watches one log directory: start one for each of {}", listed(several)),
    };
    if !logdir.exists() {
        tracing::warn!(logdir = %logdir.display(), "the log directory does not exist yet: it is waited for");
    }
    let _lock =
        StateLock::acquire(&settings.state.join("nextrun.lock")).context("could not take the state directory")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut store = Sqlite::open(&settings.state.join(DATABASE))?;
    let unknown = store.recover(now())?;
    if unknown > 0 {
        tracing::warn!(unknown, "deliveries were under way when the last process ended; they are tried again");
    }
    let diagnosis = Diagnosis::new(site_of(settings)?, cases(&mut store)?);
    let store = SharedStore::new(Box::new(store));
    let destinations = destinations_of(settings)?;
    let desk = Desk::new(settings, &destinations, &store)?;
    let (reports, incoming) = mpsc::unbounded_channel();
    let clock: crate::outbox::Clock = Arc::new(now);
    let sending = Sending { store: store.clone(), pace: Pace::default(), clock, reports };
    let told = runtime.block_on(refusals(&store))?;
    let outbox = runtime.block_on(async { Outbox::start(destinations, &sending) });
    stop_on_signals(&runtime, stop);
    tracing::info!(logdir = %logdir.display(), state = %settings.state.display(), "watching");
    let engine = Engine {
        diagnosis,
        store,
        incoming,
        desk,
        settings,
        watcher: Watcher::new(Box::new(DiskLogdir::new(logdir)), Options::default()),
        notifier: notifier(settings, logdir),
        outbox: &outbox,
    };
    let result = engine.run(told, stop);
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    runtime.block_on(async {
        if tokio::time::timeout(STOP_WITHIN, outbox.stop()).await.is_err() {
            tracing::warn!("a destination did not answer in time; what was under way is asked about at the next start");
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// A stop waits so long for requests under way.
const STOP_WITHIN: Duration = Duration::from_secs(5);

fn listed(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    shown.join(", ")
}

fn cases(store: &mut dyn Store) -> anyhow::Result<Vec<Case>> {
    let read = |stored: crate::store::StoredCase| {
        let id = stored.id.clone();
        serde_json::from_value(stored.state).with_context(|| format!("the stored case {id} cannot be read"))
    };
    store.cases(false)?.into_iter().map(read).collect()
}

fn notifier(settings: &Settings, logdir: &Path) -> Notifier {
    let sweep = match settings.watch.poll {
        crate::config::Poll::Auto => {
            Sweep { watched: settings.watch.sweep.max(Duration::from_secs(5)), ..Sweep::default() }
        }
        crate::config::Poll::Always => Sweep { watched: settings.watch.sweep, unwatched: settings.watch.sweep },
    };
    Notifier::new(logdir, sweep)
}

fn destinations_of(settings: &Settings) -> anyhow::Result<Vec<Destination>> {
    let variables = variables();
    let mut destinations = Vec::new();
    for wanted in &settings.destinations {
        let preset = Arc::new(preset_of(&wanted.preset)?);
        let fields = wanted
            .read_fields(&variables)
            .map_err(|(field, error)| anyhow::anyhow!("the destination {}: `{field}`: {error}", wanted.name))?;
        let surroundings = Surroundings {
            host: host(),
            http: Http::new(Timeouts { whole: wanted.timeout, ..Timeouts::default() })?,
            terminal: Arc::new(Mutex::new(std::io::stdout())),
        };
        let on_unknown = match wanted.on_unknown {
            config::OnUnknown::Resend => OnUnknown::Resend,
            config::OnUnknown::Hold => OnUnknown::Hold,
        };
        let setup = Setup {
            name: wanted.name.clone(),
            fields,
            wants: wanted.wants.clone(),
            on_unknown,
            give_up_after: Some(wanted.give_up_after),
            allowed_hosts: settings.allowed_hosts.clone(),
        };
        destinations.push(Destination::new(preset, setup, &surroundings)?);
    }
    Ok(destinations)
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn stop_on_signals(runtime: &tokio::runtime::Runtime, stop: &Arc<AtomicBool>) {
    let stop = Arc::clone(stop);
    runtime.spawn(async move {
        let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        let Ok(mut terminate) = terminate else { return };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        stop.store(true, Ordering::SeqCst);
    });
}
