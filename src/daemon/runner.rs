//! The runner on this machine: found or started, queried once per second.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::directory::Directory;
use super::engine::Engine;
use super::now;
use crate::case::MessageKind;
use crate::config::{DestinationSettings, FieldValue, RunnerSettings, Settings};
use crate::fate::{Fate, FateState};
use crate::jobs::Grouping;
use crate::logdir::{Place, run_of};
use crate::runner::{Client, Cursor, Home, News, RunnerError, start};

/// Interval for queries, because experiments wait for the result.
const ASK: Duration = Duration::from_millis(500);

/// How long a runner may not respond before another one is started.
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// The name of both the preset and the destination.
const NAME: &str = "runner";

/// Presets whose receivers run suggestions: together with the runner, every suggestion would run twice.
const ENGINES: [&str; 3] = ["queue", "slurm", "ray"];

/// The settings with the runner as a destination, if the command line requests it.
pub(super) fn with_runner(mut settings: Settings) -> anyhow::Result<Settings> {
    let Some(runner) = settings.runner else { return Ok(settings) };
    refuse_root(runner)?;
    let logdir = logdir_of(&settings)?;
    let takes_runs = |destination: &DestinationSettings| {
        ENGINES.iter().any(|name| destination.preset.is(name))
            && destination.wants.as_ref().is_none_or(|wants| wants.contains(&MessageKind::RunSuggested))
    };
    if let Some(other) = settings.destinations.iter().find(|destination| takes_runs(destination)) {
        bail!("both `--runner` and the destination {} would run the suggestions: remove one of them", other.name);
    }
    let socket = Home::below(&settings.state).socket()?;
    if !settings.destinations.iter().any(|destination| destination.preset.is(NAME)) {
        settings.destinations.push(DestinationSettings::new(NAME, NAME));
    }
    for destination in settings.destinations.iter_mut().filter(|destination| destination.preset.is(NAME)) {
        let mut set = |name: &str, path: &Path| {
            destination.fields.insert(name.to_owned(), FieldValue::Plain(path.to_string_lossy().into_owned()));
        };
        set("socket", &socket);
        set("logdir", &logdir);
    }
    Ok(settings)
}

fn refuse_root(runner: RunnerSettings) -> anyhow::Result<()> {
    if !cfg!(target_os = "linux") {
        return Err(RunnerError::NotLinux.into());
    }
    if rustix::process::geteuid().is_root() && !runner.allow_root {
        return Err(RunnerError::Root.into());
    }
    Ok(())
}

/// The log directory as processes on this machine name it.
fn logdir_of(settings: &Settings) -> anyhow::Result<PathBuf> {
    let [only] = &*settings.watch else {
        bail!("the runner runs the suggestions of one log directory: start a separate daemon for each");
    };
    match &only.logdir {
        Some(Place::Disk(path)) => {
            path.canonicalize().or_else(|_| std::path::absolute(path)).context("the log directory has no absolute path")
        }
        Some(other) => bail!("`--runner` works on this machine, but {other} is elsewhere: name a local directory"),
        None => bail!("the runner needs a log directory: pass one to `nextrun watch LOGDIR --runner`"),
    }
}

/// The socket of the runner among the destinations, if there is one.
fn socket_of(settings: &Settings) -> anyhow::Result<Option<PathBuf>> {
    let Some(destination) = settings.destinations.iter().find(|destination| destination.preset.is(NAME)) else {
        return Ok(None);
    };
    let fields = destination.read_fields(&super::variables());
    let fields =
        fields.map_err(|(field, error)| anyhow::anyhow!("the destination {}: `{field}`: {error}", destination.name))?;
    Ok(fields.get("socket").map(|socket| PathBuf::from(socket.expose())))
}

/// Queries the runner until the process ends, if there is one among the destinations. With `--runner`, starts it if
/// necessary.
///
/// # Errors
/// The runner cannot be reached.
pub(super) fn follow(
    runtime: &Runtime,
    settings: &Settings,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<UnboundedReceiver<News>> {
    let (news, incoming) = unbounded_channel();
    let Some(socket) = socket_of(settings)? else { return Ok(incoming) };
    let client = Client::new(&socket)?;
    let cursor = Cursor { logdir: logdir_of(settings)?, ..Cursor::default() };
    let keeper = settings.runner.map(|runner| Keeper {
        home: Home::below(&settings.state),
        state: settings.state.clone(),
        allow_root: runner.allow_root,
        started: None,
    });
    runtime.spawn(ask(client, cursor, keeper, news, stop));
    Ok(incoming)
}

async fn ask(
    client: Client,
    mut cursor: Cursor,
    mut keeper: Option<Keeper>,
    news: UnboundedSender<News>,
    stop: Arc<AtomicBool>,
) {
    let mut silent = false;
    while !stop.load(Ordering::SeqCst) {
        match client.news(&cursor).await {
            Ok(told) => {
                silent = false;
                cursor = told.cursor.clone();
                let nothing = told.fates.is_empty() && told.trainers.is_empty();
                if !nothing && news.send(told).is_err() {
                    return;
                }
            }
            Err(error) if error.is_connect() && keeper.is_some() => {
                keeper.iter_mut().for_each(Keeper::nobody_is_there);
            }
            Err(error) if !silent => {
                tracing::warn!(%error, "the runner does not respond; retrying every second");
                silent = true;
            }
            Err(_) => {}
        }
        keeper.iter_mut().for_each(Keeper::reap);
        tokio::time::sleep(ASK).await;
    }
}

impl Engine {
    /// Processes the runner's response.
    pub(super) fn take_from_runner(&mut self) -> anyhow::Result<()> {
        while let Ok(news) = self.from_runner.try_recv() {
            for (suggestion, fate) in &news.fates {
                let changes = self.diagnosis.fate_of_experiment(suggestion, fate, now());
                self.commit(changes, Vec::new())?;
            }
            for trainer in news.trainers {
                self.trainers.extend(trainer.files.iter().map(|file| (file.clone(), trainer.clone())));
            }
        }
        self.take_trainers()
    }

    /// Reports to the diagnosis how jobs were started, and that their processes ended, as soon as their files have been
    /// read.
    fn take_trainers(&mut self) -> anyhow::Result<()> {
        if self.trainers.is_empty() {
            return Ok(());
        }
        let logdir = logdir_of(&self.settings)?;
        let experiments =
            self.diagnosis.cases().flat_map(|case| &case.experiments).map(|e| e.run_name.clone()).collect();
        let mut waiting = std::mem::take(&mut self.trainers);
        let mut known = Vec::new();
        // Only one directory is possible with a runner; if it cannot be seen now, everything waits.
        let Some(runs) = self.directories.here().map(Directory::runs).next() else { return Ok(()) };
        let grouping = Grouping::of(runs, &experiments);
        waiting.retain(|file, trainer| {
            let run = file.strip_prefix(&logdir).map(run_of);
            let run = run.ok().filter(|run| runs.contains_key(run));
            known.extend(run.iter().map(|run| (grouping.job_of(run), trainer.clone())));
            run.is_none()
        });
        self.trainers = waiting;
        for (job, trainer) in known {
            self.diagnosis.launched(&job, &trainer.launched);
            let fate = match trainer.running {
                true => Fate::new(FateState::Running),
                // Only the parent of a process learns how it ended.
                false => Fate { reason: Some("its process has ended".to_owned()), ..Fate::new(FateState::Gone) },
            };
            let changes = self.diagnosis.fate_of_job(&job, &fate, now());
            self.commit(changes, Vec::new())?;
        }
        Ok(())
    }
}

/// Starts the runner, or restarts it after it ended.
struct Keeper {
    home: Home,
    state: PathBuf,
    allow_root: bool,
    started: Option<(Child, Instant)>,
}

impl Keeper {
    fn nobody_is_there(&mut self) {
        let starting = self.started.as_ref().is_some_and(|(_, since)| since.elapsed() < STARTS_WITHIN);
        if starting {
            return;
        }
        match start(&self.home, &self.state, self.allow_root) {
            Ok(child) => {
                tracing::info!(process = child.id(), log = %self.home.log().display(), "runner started");
                self.started = Some((child, Instant::now()));
            }
            Err(error) => tracing::error!(%error, "could not start the runner; retrying"),
        }
    }

    /// An ended process remains in the system's process table until someone collects its status.
    fn reap(&mut self) {
        if let Some((child, _)) = &mut self.started {
            // It may have ended because another one is already running, or because it was idle; its log contains the
            // reason.
            let _ = child.try_wait();
        }
    }
}
