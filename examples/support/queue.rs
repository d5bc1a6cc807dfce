//! The job queue behind the daemon's webhook: takes suggested runs over HTTP and trains them, one at a time.
//!
//! Owns: what it answers to an event, and the order of jobs. Must not know: why a run was suggested, or who is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use serde_json::{Map, Value, json};

use crate::trainer::knobs::{KnobError, Knobs};

/// The programs whose runs may be asked for.
pub(crate) trait Programs: Send + Sync + 'static {
    /// The knobs of the baseline run of that name; none if no program made it.
    fn knobs(&self, baseline_run: &str) -> Option<Knobs>;

    /// Trains a run into a directory.
    fn train(&self, job: &Job, directory: &Path) -> Trained;
}

/// A suggested run that was taken in.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The event's `data`, as posted.
    pub(crate) suggestion: Value,
    /// Directory of the run, relative to the log directory.
    pub(crate) run_name: String,
    /// What is changed against the baseline.
    pub(crate) overrides: Map<String, Value>,
    /// The settings of the run: the baseline's with the changes.
    pub(crate) knobs: Knobs,
}

/// What became of a run.
#[derive(Debug)]
pub(crate) struct Trained {
    /// The loss at every step, or how the run crashed.
    pub(crate) losses: Result<Vec<f32>, String>,
    /// How long it took.
    pub(crate) took: Duration,
}

/// What happens at the queue, in the order in which it happens.
#[derive(Debug)]
pub(crate) enum News {
    /// A run starts.
    Started(Job),
    /// The run that started last is over.
    Finished(Trained),
    /// A suggestion was not taken in, and this was answered.
    Refused(String),
    /// Another event came, by its type, with its data.
    Event(String, Value),
}

/// A queue that serves on a loopback port until the program ends.
pub(crate) struct Queue {
    /// Where it serves.
    pub(crate) address: SocketAddr,
    /// What happens.
    pub(crate) news: Receiver<News>,
}

/// Starts a queue on a loopback port; 0 takes any that is free.
///
/// # Errors
/// When the port cannot be bound.
pub(crate) fn serve(logdir: PathBuf, programs: impl Programs, port: u16) -> std::io::Result<Queue> {
    let (tell, news) = channel();
    let (jobs, todo) = channel();
    let programs: Arc<dyn Programs> = Arc::new(programs);
    let (worker, trainer) = (tell.clone(), programs.clone());
    std::thread::spawn(move || work(&logdir, trainer.as_ref(), (&todo, &worker)));
    let desk = Arc::new(Desk { programs, accepted: Mutex::default(), jobs, tell });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", port)))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        let routes = Router::new().route("/", post(receive)).with_state(desk);
        // It serves until the process ends; should it fail, the daemon's retries say so.
        runtime.block_on(async { axum::serve(listener, routes).await })
    });
    Ok(Queue { address, news })
}

/// Trains job after job. It ends with the program, or when nobody wants to hear of it.
fn work(logdir: &Path, programs: &dyn Programs, (todo, tell): (&Receiver<Job>, &Sender<News>)) {
    for job in todo {
        let trained = match tell.send(News::Started(job.clone())) {
            Ok(()) => programs.train(&job, &logdir.join(&job.run_name)),
            Err(_) => return,
        };
        if tell.send(News::Finished(trained)).is_err() {
            return;
        }
    }
}

/// Where events are taken in.
struct Desk {
    programs: Arc<dyn Programs>,
    /// Job ids by event id: the same event twice is the same job.
    accepted: Mutex<HashMap<String, String>>,
    jobs: Sender<Job>,
    tell: Sender<News>,
}

/// Why an event was not taken in.
struct Refusal(StatusCode, Value);

impl Refusal {
    fn new(status: StatusCode, error: impl Into<String>) -> Refusal {
        Refusal(status, json!({ "error": error.into() }))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

async fn receive(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: String) -> Result<Response, Refusal> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.split(';').next().map(str::trim) != Some("application/cloudevents+json") {
        let error = format!("content type {content_type:?}, expected application/cloudevents+json");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    }
    let event: Value = serde_json::from_str(&body)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("not JSON: {error}")))?;
    let field = |name: &str| {
        let missing = || Refusal::new(StatusCode::BAD_REQUEST, format!("not a CloudEvent: {name} is missing"));
        event[name].as_str().filter(|text| !text.is_empty()).ok_or_else(missing)
    };
    let (id, kind, _) = (field("id")?, field("type")?, (field("specversion")?, field("source")?));
    let data = event["data"].clone();
    if kind == "nextrun.run.suggested" {
        return desk.suggested(id, data).inspect_err(|refusal| {
            // Whoever no longer listens does not miss it.
            let _ = desk.tell.send(News::Refused(refusal.1["error"].as_str().unwrap_or_default().to_owned()));
        });
    }
    desk.tell.send(News::Event(kind.to_owned(), data)).map_err(|_| closing())?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "received": true }))).into_response())
}

fn closing() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the queue is closing")
}

impl Desk {
    /// Takes a suggested run in, or says that it is in already.
    fn suggested(&self, event_id: &str, suggestion: Value) -> Result<Response, Refusal> {
        // A panic while the map was held cannot have left it half changed: it is only ever inserted into.
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job_id) = accepted.get(event_id) {
            return Ok((StatusCode::CONFLICT, Json(json!({ "job_id": job_id, "duplicate": true }))).into_response());
        }
        let job = self.job(suggestion)?;
        self.jobs.send(job).map_err(|_| closing())?;
        let job_id = format!("job-{}", accepted.len() + 1);
        accepted.insert(event_id.to_owned(), job_id.clone());
        Ok((StatusCode::ACCEPTED, Json(json!({ "job_id": job_id }))).into_response())
    }

    fn job(&self, suggestion: Value) -> Result<Job, Refusal> {
        let unprocessable = |error: String| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error);
        let run_name = suggestion["run_name"].as_str().filter(|name| is_below(Path::new(name))).ok_or_else(|| {
            unprocessable(format!("run_name {} is not a directory below the log directory", suggestion["run_name"]))
        })?;
        let overrides =
            suggestion["overrides"].as_object().ok_or_else(|| unprocessable("overrides is not an object".into()))?;
        let baseline_run = suggestion["baseline_run"].as_str().unwrap_or_default();
        let baseline = self
            .programs
            .knobs(baseline_run)
            .ok_or_else(|| unprocessable(format!("no program made the run {baseline_run:?}")))?;
        let knobs = baseline.with(overrides).map_err(|error| match &error {
            KnobError::Unknown(names) => {
                Refusal(StatusCode::UNPROCESSABLE_ENTITY, json!({ "error": error.to_string(), "unknown_knobs": names }))
            }
            KnobError::Value { .. } => unprocessable(error.to_string()),
        })?;
        Ok(Job { run_name: run_name.to_owned(), overrides: overrides.clone(), knobs, suggestion })
    }
}

/// Whether a path stays below where it starts.
fn is_below(path: &Path) -> bool {
    let mut parts = path.components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Anything;

    impl Programs for Anything {
        fn knobs(&self, baseline_run: &str) -> Option<Knobs> {
            (baseline_run == "baseline").then(Knobs::default)
        }

        fn train(&self, _: &Job, _: &Path) -> Trained {
            Trained { losses: Ok(Vec::new()), took: Duration::ZERO }
        }
    }

    fn desk() -> (Desk, Receiver<Job>, Receiver<News>) {
        let (jobs, todo) = channel();
        let (tell, news) = channel();
        (Desk { programs: Arc::new(Anything), accepted: Mutex::default(), jobs, tell }, todo, news)
    }

    #[test]
    fn the_same_event_twice_is_one_job() {
        let (desk, todo, _news) = desk();
        let suggestion = json!({
            "run_name": "case-1/overfit", "baseline_run": "baseline", "overrides": { "train_examples": 1 },
        });
        for status in [StatusCode::ACCEPTED, StatusCode::CONFLICT] {
            let answer = desk.suggested("event", suggestion.clone()).unwrap_or_else(IntoResponse::into_response);
            assert_eq!(answer.status(), status);
        }
        assert_eq!(todo.try_recv().map(|job| job.knobs.train_examples), Ok(Some(1)));
        assert!(todo.try_recv().is_err());
    }

    #[test]
    fn a_run_may_not_leave_the_log_directory() {
        for (path, below) in [("a/b", true), ("../a", false), ("/a", false), ("a/../../b", false), ("", false)] {
            assert_eq!(is_below(Path::new(path)), below, "{path}");
        }
    }

    #[test]
    fn a_run_of_an_unknown_program_is_refused() {
        let (desk, _todo, _news) = desk();
        let suggestion = json!({ "run_name": "a", "baseline_run": "elsewhere", "overrides": {} });
        let Err(Refusal(status, _)) = desk.job(suggestion) else { panic!("the run was taken") };
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    }

    #[test]
    fn unknown_knobs_are_named_in_the_answer() {
        let (desk, _todo, _news) = desk();
        let suggestion = json!({ "run_name": "a", "baseline_run": "baseline", "overrides": { "dropout": 0.5 } });
        let Err(Refusal(status, body)) = desk.job(suggestion) else { panic!("dropout was taken") };
        assert_eq!((status, &body["unknown_knobs"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(["dropout"])));
    }
}
