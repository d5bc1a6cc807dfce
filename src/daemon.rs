//! Connects the parts, runs the main loop, and shuts down in order.
//!
//! Owns: threads, the clock, when to check for changes. Must not know: the command line, and the rules of any part.
//!
//! One thread reads event files and diagnoses; the outbox workers send independently. Decisions are committed before
//! anyone is notified.

mod asks;
mod clicks;
mod clock;
mod desk;
mod directories;
mod directory;
mod engine;
mod launch;
mod live;
mod owner;
mod ownership;
mod places;
mod publish;
mod reload;
mod requests;
mod runner;
mod sending;
mod site;
mod stopping;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::case::{Case, runs_named};
use crate::config::{SecretSource, Settings};
use crate::diagnosis::{Diagnosis, SetAside};
use crate::fate::JobFate;
use crate::fault;
use crate::logdir::{Place, Spool};
use crate::outbox::{Outbox, Pace, Sending, bad_ends};
use crate::status::{self, Board};
use crate::store::{Held, SharedStore, StateLock, StoreError, Tenure, Unreadable};

use clicks::Clicks;
use clock::Clocks;
use desk::Desk;
use directories::Directories;
use engine::Engine;
use live::Live;
use reload::Prepared;
use stopping::end_at_last;

pub use crate::launch::environment::variables;
pub use clicks::answerer;
pub use ownership::{store_of, with_variable};
pub use places::{check_overlaps, names_that_change};
pub use sending::destination_of;
pub use site::{
    PolicyError, built_in_policies, built_in_tests, load_policy, policy_text, preset_of, site_of, vocabulary,
};

/// The name of the database in the state directory.
pub const DATABASE: &str = "nextrun.db";

/// Reads the operator's settings at the start and at each reload.
pub type Load<'a> = dyn Fn() -> anyhow::Result<Settings> + 'a;

/// Requests to the main loop from outside.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Whether to stop.
    pub stop: Arc<AtomicBool>,
    /// Whether to reload the settings.
    pub reload: Arc<AtomicBool>,
    /// Whether a person at a terminal looks on.
    pub live: bool,
}

/// Seconds since the Unix epoch.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()) + fault::clock_set_by()
}

/// An error with its causes. Omits a cause that the error already contains.
pub fn with_causes(error: &anyhow::Error) -> String {
    let mut told = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

/// Runs until stopped by `wishes`, SIGTERM or SIGINT. SIGHUP reloads the settings.
///
/// # Errors
/// Problems that prevent starting or continuing: the state directory, the database, a policy, a destination.
pub fn run(load: &Load<'_>, wishes: &Wishes) -> anyhow::Result<()> {
    let mut prepared = Prepared::of(load()?)?;
    let lock = prepared.settings.state.join(StateLock::FILE);
    let _lock = StateLock::acquire(&lock).context("could not lock the state directory")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    // Must precede slow operations, so that an early reload signal does not end the process.
    listen_to_signals(&runtime, wishes)?;
    let board = Arc::new(Board::default());
    let serving = serve_status(&runtime, &prepared.settings, &board)?;
    let result = loop {
        match own(prepared, load, wishes, &board) {
            Err(error) if matches!(error.downcast_ref(), Some(StoreError::Superseded { .. })) => {
                tracing::warn!("{error}");
                board.stand_by(&error.to_string());
                prepared = Prepared::of(load()?)?;
            }
            result => break result,
        }
    };
    serving.abort();
    runtime.shutdown_timeout(Duration::from_secs(1));
    tracing::info!("stopped");
    result
}

/// Waits for the ownership of the cases, and works until it ends or a stop is requested. Nothing of this process survives
/// the loss of the ownership: the next owner, which may be this process, begins with what is stored, as after a restart.
fn own(prepared: Prepared, load: &Load<'_>, wishes: &Wishes, board: &Arc<Board>) -> anyhow::Result<()> {
    let Prepared { settings, site, destinations, apps } = prepared;
    let directories = Directories::new(&settings, wishes)?;
    let logdir = directories.label();
    let Some(opened) = ownership::open(&settings, board, wishes)? else { return Ok(()) };
    let live = wishes.live.then(|| Live::start(board.clone(), directories.progress(), logdir.clone()));
    let Kept { store, cases, unreadable, fates, tenure } = read_store(opened, &settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    board.keep_in(store.clone());
    board.let_approve(settings.approvers.clone());
    let mut diagnosis = Diagnosis::new(site, cases);
    diagnosis.set_aside(unreadable);
    diagnosis.remember_fates(fates);
    let desk = Desk::new(&settings, &destinations, &store)?;
    let told = runtime.block_on(bad_ends(&store))?;
    let (reports, incoming) = mpsc::unbounded_channel();
    let from_runner = runner::follow(&runtime, &settings, wishes.stop.clone())?;
    let (metrics, clock) = (board.metrics.clone(), Arc::new(now));
    let mut clicks = Clicks::new(runtime.handle().clone(), store.clone(), board.clone());
    clicks.follow(apps);
    let sending = Sending { store: store.clone(), pace: Pace::default(), clock, reports, metrics };
    let outbox = runtime.block_on(async { Outbox::start(destinations, &sending) });
    tracing::info!(%logdir, state = %settings.state.display(), "watching");
    let overlaps = places::watched_by_others(&settings)?;
    overlaps.iter().for_each(|overlap| tracing::warn!("{overlap}"));
    let mut engine = Engine {
        diagnosis,
        store,
        incoming,
        from_runner,
        trainers: BTreeMap::new(),
        desk,
        settings,
        directories,
        outbox,
        clicks,
        board: board.clone(),
        wishes: wishes.clone(),
        refused: None,
        overlaps,
        clocks: Clocks::new(now(), Instant::now()),
        unreadable_requests: BTreeSet::new(),
    };
    let result = engine.run(told, load);
    drop(live);
    let outbox = engine.into_outbox();
    if matches!(result.as_ref().map_err(|error| error.downcast_ref()), Err(Some(StoreError::Superseded { .. }))) {
        // The next owner sends and records from here on.
        runtime.shutdown_background();
        return result;
    }
    stop(runtime, outbox);
    if let Some(tenure) = tenure {
        tenure.release();
    }
    result
}

/// Lets requests in progress end, for a while.
fn stop(runtime: tokio::runtime::Runtime, outbox: Outbox) {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    runtime.block_on(async {
        if tokio::time::timeout(STOP_WITHIN, outbox.stop()).await.is_err() {
            tracing::warn!("a destination did not respond in time; the outcome will be checked at the next start");
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// How long a stop waits for requests in progress.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// State that an earlier process left.
struct Kept {
    store: SharedStore,
    cases: Vec<Case>,
    unreadable: Vec<SetAside>,
    fates: Vec<JobFate>,
    /// The ownership of the cases, if others could own them.
    tenure: Option<Tenure>,
}

fn read_store(opened: ownership::Opened, settings: &Settings) -> anyhow::Result<Kept> {
    let ownership::Opened { mut store, tenure } = opened;
    places::follow(&mut *store, settings, now())?;
    let unknown = store.recover(now())?;
    if unknown > 0 {
        tracing::warn!(unknown, "deliveries were in progress when the last process ended; retrying them");
    }
    let (mut cases, mut unreadable) = (Vec::new(), Vec::new());
    for row in store.cases(false)? {
        let (id, baseline, runs, why) = match row {
            Ok(stored) => {
                let runs = runs_named(&stored.state);
                match Case::read(stored.state) {
                    Ok(case) => {
                        cases.push(case);
                        continue;
                    }
                    Err(error) => (stored.id, stored.baseline, runs, error.to_string()),
                }
            }
            Err(row) => (row.id, row.baseline, Vec::new(), row.reason),
        };
        tracing::error!(case = %id, job = baseline, why, "a stored case cannot be read; nextrun ignores it and its job");
        unreadable.push(SetAside { baseline, runs });
    }
    let mut fates = Vec::new();
    for row in store.fates()? {
        match row {
            Ok(fate) => fates.push(fate),
            Err(row) => tell_unreadable(&row),
        }
    }
    store.quieted()?.unreadable.iter().for_each(tell_unreadable);
    let held = tenure.as_ref().map_or_else(Held::default, Tenure::watch);
    Ok(Kept { store: SharedStore::held(store, held), cases, unreadable, fates, tenure })
}

fn tell_unreadable(row: &Unreadable) {
    tracing::error!(row = row.id, what = row.what, why = row.reason, "a stored row cannot be read; nextrun ignores it");
}

fn serve_status(
    runtime: &Runtime,
    settings: &Settings,
    board: &Arc<Board>,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let Some(wanted) = &settings.status else { return Ok(runtime.spawn(async {})) };
    let read = |name: &str, source: &Option<SecretSource>| {
        let secret = source.as_ref().map(|source| source.read(&variables())).transpose();
        secret.with_context(|| format!("`status.tokens.{name}`"))
    };
    let senders = wanted.tokens.forward.iter().map(|(place, source)| {
        let token = source.read(&variables()).with_context(|| format!("`status.tokens.forward.{place}`"))?;
        Ok((place.clone(), token))
    });
    let senders: Vec<_> = senders.collect::<anyhow::Result<_>>()?;
    let spool = spool_of(settings)?;
    let forwarding = (!senders.is_empty()).then_some(status::Forwarding { spool, senders });
    let tokens = status::Tokens {
        read: read("read", &wanted.tokens.read)?,
        report: read("report", &wanted.tokens.report)?,
        act: read("act", &wanted.tokens.act)?,
    };
    let keyring = status::Keyring::open_or_make(&settings.state, now()).context("could not prepare browser login")?;
    let links = status::Links { tensorboard: wanted.tensorboard.clone() };
    let (address, keyring) = (wanted.listen, Some(keyring));
    let listen = status::Listen { address, tokens, keyring, links, forwarding };
    let (address, serving) = runtime.block_on(status::serve(listen, board.clone()))?;
    tracing::info!(%address, "status page available");
    Ok(runtime.spawn(serving))
}

/// The log directory that other machines fill, if there is one.
fn spool_of(settings: &Settings) -> anyhow::Result<Option<Arc<Spool>>> {
    let places = settings.watch.iter().filter_map(|directory| directory.logdir.as_ref());
    let forwarded = places.filter_map(|place| if let Place::Forwarded(path) = place { Some(path) } else { None });
    let open = |path: &PathBuf| {
        let spool = Spool::open(path).with_context(|| format!("could not create the directory {}", path.display()))?;
        Ok(Arc::new(spool))
    };
    forwarded.map(open).next().transpose()
}

fn listen_to_signals(runtime: &Runtime, wishes: &Wishes) -> anyhow::Result<()> {
    let _inside = runtime.enter();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hang_up = signal(SignalKind::hangup())?;
    let wishes = wishes.clone();
    runtime.spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hang_up.recv() => {
                    wishes.reload.store(true, Ordering::SeqCst);
                    continue;
                }
            }
            if !wishes.stop.swap(true, Ordering::SeqCst) {
                tokio::spawn(end_at_last());
            }
        }
    });
    Ok(())
}
