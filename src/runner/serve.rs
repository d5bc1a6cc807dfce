//! The runner process: its lock, its socket, its loop.
//!
//! Owns: who may connect, the addresses, when it exits. Must not know: how a job runs.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore};
use tower_service::Service;

use crate::launch::environment;

use super::accept::{Order, Refusal};
use super::cgroup::Groups;
use super::client::{Cursor, News};
use super::job::{By, Job};
use super::queue::{Queue, places};
use super::seen::{self, Seen};
use super::{Home, Options, RunnerError, gpus};

/// Interval for checking jobs while there are any.
const TURN: Duration = Duration::from_millis(200);

/// Maximum number of connections; the daemon needs only a few.
const MOST_CONNECTIONS: usize = 32;

/// Maximum duration of a connection.
const OVER_WITHIN: Duration = Duration::from_secs(30);

/// State shared by the handlers and the loop.
struct Desk {
    queue: Mutex<Queue>,
    /// A request arrived.
    news: Notify,
    asked: Mutex<Instant>,
    seen: Arc<Seen>,
    /// Identifies this runner, because update numbers are valid only within one runner.
    life: String,
    user: u32,
}

impl Desk {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn was_asked(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn idle_for(&self) -> Duration {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// Runs the runner until it is stopped or has been idle for long. Its jobs keep running, and the next runner takes them
/// over.
///
/// # Errors
/// It may not run as root, another runner is active, or its directory cannot be used.
pub fn run(options: &Options) -> Result<(), RunnerError> {
    let user = rustix::process::geteuid().as_raw();
    if user == 0 && !options.allow_root {
        return Err(RunnerError::Root);
    }
    if options.detached {
        // A process that already leads a session has no terminal to detach from.
        let _ = rustix::process::setsid();
    }
    options.home.prepare()?;
    let _lock = lock(&options.home)?;
    let names = options.gpus.clone().or_else(gpus::visible);
    let found = gpus::find(names.as_deref());
    let groups = Groups::find();
    if options.memory.is_some() && !groups.limit_memory() {
        tracing::warn!("jobs have no memory limit: this runner has no cgroup with a memory controller");
    }
    let slots = places(options.slots, &found, options.memory);
    tracing::info!(home = %options.home.path().display(), slots = slots.len(), gpus = found.len(), "runner ready");
    let queue = Queue::load(&options.home, slots, groups)?;
    let environments = environment::folder(&environment::variables());
    let seen = Arc::new(Seen::load(&options.home, environments, user));
    look_beside(&seen);
    let life = format!("{}-{:x}", std::process::id(), fastrand::u64(..));
    let (queue, asked) = (Mutex::new(queue), Mutex::new(Instant::now()));
    let desk = Desk { queue, news: Notify::new(), asked, seen, life, user };
    let failed = |error| RunnerError::files("run", options.home.path())(error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(serve(options, Arc::new(desk)))
}

/// Checks this user's processes on a separate thread, because analysing a command can take git several seconds. The
/// thread ends with the process.
fn look_beside(seen: &Arc<Seen>) {
    let seen = seen.clone();
    std::thread::spawn(move || {
        loop {
            seen.look();
            std::thread::sleep(seen::LOOK);
        }
    });
}

/// One runner per directory. The lock is released whenever its process ends.
fn lock(home: &Home) -> Result<File, RunnerError> {
    let path = home.lock();
    let failed = |error| RunnerError::files("lock", &path)(error);
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // The process id is only for people.
            let _ = file.read_to_string(&mut pid);
            return Err(RunnerError::Running { home: home.path().to_owned(), pid: pid.trim().to_owned() });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // For people only: a full disk must not prevent the runner from running.
    let _ = file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    Ok(file)
}

/// Binds the socket under another name first, so that it never exists with wrong permissions.
fn bind(home: &Home) -> Result<UnixListener, RunnerError> {
    let path = home.socket()?;
    let draft = path.with_extension(format!("{}", std::process::id() % 1000));
    let failed = |error| RunnerError::files("listen on", &path)(error);
    let _ = fs::remove_file(&draft);
    let listener = UnixListener::bind(&draft).map_err(failed)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    fs::rename(&draft, &path).map_err(failed)?;
    Ok(listener)
}

async fn serve(options: &Options, desk: Arc<Desk>) -> Result<(), RunnerError> {
    let failed = |error| RunnerError::files("run", options.home.path())(error);
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate()).map_err(failed)?, signal(SignalKind::interrupt()).map_err(failed)?);
    // Checks the state left by an earlier runner before answering requests.
    desk.queue().turn();
    let listener = bind(&options.home)?;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let accepting = tokio::spawn(accept(listener, router(desk.clone()), desk.user));
    loop {
        desk.queue().turn();
        let idle = desk.queue().is_idle();
        if idle && options.idle_exit.is_some_and(|time| desk.idle_for() >= time) {
            tracing::info!("idle without requests: the runner exits");
            break;
        }
        let pause = if idle { TURN * 5 } else { TURN };
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = desk.news.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    accepting.abort();
    // Clients that connect now immediately learn that no runner is there.
    let _ = fs::remove_file(options.home.socket()?);
    Ok(())
}

async fn accept(listener: UnixListener, router: Router, user: u32) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) if is_from(&stream, user) => {
                let router = router.clone();
                tokio::spawn(async move {
                    answer(stream, router).await;
                    drop(place);
                });
            }
            Ok(_) => tracing::warn!("rejected a connection of another user to the runner's socket"),
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Whether the process at the other end belongs to this user, according to the kernel; file permissions may have been
/// changed.
fn is_from(stream: &UnixStream, user: u32) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == user)
}

async fn answer(stream: UnixStream, router: Router) {
    let service = service_fn(move |request| router.clone().call(request));
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(OVER_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    // A client that disconnected or was too slow can be ignored.
    drop(tokio::time::timeout(OVER_WITHIN, connection).await);
}

fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/v1/runs", post(take))
        .route("/v1/news", post(news))
        .route("/v1/jobs", get(list))
        .route("/v1/jobs/{id}", get(show).delete(stop))
        .with_state(desk)
}

fn refused(status: StatusCode, why: String) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

/// Accepts a suggested run. It is on disk before the response.
async fn take(State(desk): State<Arc<Desk>>, body: Bytes) -> Response {
    desk.was_asked();
    let message: Value = match serde_json::from_slice(&body) {
        Ok(message) => message,
        Err(error) => return refused(StatusCode::BAD_REQUEST, format!("this is not JSON: {error}")),
    };
    let order = match Order::accept(&message, desk.user) {
        Ok(order) => order,
        Err(Refusal::Malformed(why)) => return refused(StatusCode::BAD_REQUEST, why),
        Err(Refusal::NotAllowed(why)) => return refused(StatusCode::FORBIDDEN, why),
    };
    let id = order.id().to_owned();
    let taken = desk.queue().take(order);
    match taken {
        Ok(true) => {
            tracing::info!(job = id, "taken");
            desk.news.notify_one();
            (StatusCode::ACCEPTED, Json(json!({ "job_id": id }))).into_response()
        }
        Ok(false) => (StatusCode::CONFLICT, Json(json!({ "job_id": id }))).into_response(),
        Err(error) => {
            tracing::warn!(job = id, %error, "could not accept a run; try again");
            let later = [(header::RETRY_AFTER, "5")];
            (later, refused(StatusCode::SERVICE_UNAVAILABLE, format!("it could not be stored; try again: {error}")))
                .into_response()
        }
    }
}

/// Updates since the daemon's last query: status of jobs, and training processes.
async fn news(State(desk): State<Arc<Desk>>, Json(cursor): Json<Cursor>) -> Response {
    desk.was_asked();
    let known = cursor.life == desk.life;
    let after = |number: u64| if known { number } else { 0 };
    let (jobs, fates) = desk.queue().news(&cursor.logdir, after(cursor.jobs));
    let seen = desk.seen.clone();
    let (logdir, since) = (cursor.logdir.clone(), after(cursor.trainers));
    let Ok((trainers, found)) = tokio::task::spawn_blocking(move || seen.news(&logdir, since)).await else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "could not check processes; try again".to_owned());
    };
    let cursor = Cursor { logdir: cursor.logdir, life: desk.life.clone(), jobs, trainers };
    Json(News { cursor, fates, trainers: found }).into_response()
}

/// A job as JSON: its status and its id.
fn shown(job: &Job) -> Response {
    let fate = match job.fate() {
        Ok(fate) => fate,
        Err(error) => {
            return refused(StatusCode::SERVICE_UNAVAILABLE, format!("it could not be read; try again: {error}"));
        }
    };
    match serde_json::to_value(&fate) {
        Ok(mut value) => {
            value["job_id"] = json!(job.id());
            Json(value).into_response()
        }
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn unknown(id: &str) -> Response {
    refused(StatusCode::NOT_FOUND, format!("there is no job {id}"))
}

async fn list(State(desk): State<Arc<Desk>>) -> Response {
    desk.was_asked();
    let ids: Vec<String> = desk.queue().jobs().map(Job::id).collect();
    Json(json!({ "jobs": ids })).into_response()
}

async fn show(State(desk): State<Arc<Desk>>, Path(id): Path<String>) -> Response {
    desk.was_asked();
    let job = desk.queue().job(&id).cloned();
    job.map_or_else(|| unknown(&id), |job| shown(&job))
}

async fn stop(State(desk): State<Arc<Desk>>, Path(id): Path<String>) -> Response {
    desk.was_asked();
    let Some(job) = desk.queue().job(&id).cloned() else { return unknown(&id) };
    match job.stop(By::Nextrun) {
        Ok(_) => {
            desk.news.notify_one();
            shown(&job)
        }
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}
