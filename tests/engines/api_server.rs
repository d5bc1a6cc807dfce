//! A Kubernetes API server from the view of a destination: Jobs by name, their pods, Kueue's workloads, tokens.
//!
//! It responds like the real one: 409 for a name that exists, 401 for a rotated token, `Status` objects for refusals,
//! conditions that a controller would set. Tests act as the controllers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const QUEUE: &str = "kueue.x-k8s.io/queue-name";

#[derive(Default)]
struct Cluster {
    token: String,
    jobs: BTreeMap<String, Value>,
    pods: BTreeMap<String, Vec<Value>>,
    workloads: BTreeMap<String, Value>,
    /// Every Job that was ever made, by name.
    made: Vec<String>,
    /// So many requests from now on are carried out, and not answered.
    silent: usize,
    /// The message of a quota that is used up.
    quota: Option<String>,
}

/// A server that runs until it is dropped.
pub(crate) struct ApiServer {
    address: String,
    cluster: Arc<Mutex<Cluster>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Shared = Arc<Mutex<Cluster>>;

impl ApiServer {
    pub(crate) async fn start(token: &str) -> ApiServer {
        let cluster: Shared = Arc::new(Mutex::new(Cluster { token: token.to_owned(), ..Cluster::default() }));
        let jobs = "/apis/batch/v1/namespaces/ml/jobs";
        let router = Router::new()
            .route(jobs, post(create))
            .route(&format!("{jobs}/{{name}}"), get(read).delete(delete))
            .route("/api/v1/namespaces/ml/pods", get(pods))
            .route("/apis/kueue.x-k8s.io/v1beta2/namespaces/ml/workloads", get(workloads))
            .layer(from_fn_with_state(Arc::clone(&cluster), admit))
            .with_state(Arc::clone(&cluster));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        ApiServer { address, cluster, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap()
    }

    /// From now on only this token is valid.
    pub(crate) fn rotate(&self, token: &str) {
        self.cluster().token = token.to_owned();
    }

    /// The next request is carried out, and not answered.
    pub(crate) fn swallow_one(&self) {
        self.cluster().silent = 1;
    }

    /// The namespace's quota is used up, or free again.
    pub(crate) fn set_quota(&self, message: Option<&str>) {
        self.cluster().quota = message.map(str::to_owned);
    }

    /// Every Job that was ever made.
    pub(crate) fn made(&self) -> Vec<String> {
        self.cluster().made.clone()
    }

    /// The Jobs that there are.
    pub(crate) fn jobs(&self) -> Vec<Value> {
        self.cluster().jobs.values().cloned().collect()
    }

    /// Sets a condition of a Job, as its controller does.
    pub(crate) fn condition(&self, job: &str, kind: &str, reason: &str) {
        let mut cluster = self.cluster();
        let job = cluster.jobs.get_mut(job).unwrap();
        let condition = json!({"type": kind, "status": "True", "reason": reason, "message": format!("{reason}.")});
        job["status"]["conditions"].as_array_mut().unwrap().push(condition);
    }

    /// Kueue admits a Job, or takes it back.
    pub(crate) fn suspend(&self, job: &str, suspended: bool) {
        self.cluster().jobs.get_mut(job).unwrap()["spec"]["suspend"] = json!(suspended);
    }

    /// Sets a condition of a Job's workload, as Kueue does.
    pub(crate) fn workload(&self, job: &str, kind: &str, status: &str, reason: &str) {
        let mut cluster = self.cluster();
        let uid = format!("uid-{job}");
        let condition = json!({"type": kind, "status": status, "reason": reason, "message": format!("{reason}.")});
        let workload = json!({"spec": {"active": true}, "status": {"conditions": [condition]}});
        cluster.workloads.insert(uid, workload);
    }

    /// A Job gets one more pod.
    pub(crate) fn pod(&self, job: &str, status: &Value) {
        let mut cluster = self.cluster();
        let pods = cluster.pods.entry(job.to_owned()).or_default();
        let created = format!("2026-11-02T10:00:{:02}Z", pods.len());
        pods.push(json!({"metadata": {"creationTimestamp": created}, "status": status}));
    }

    /// What the newest pod of a Job is now.
    pub(crate) fn set_pod(&self, job: &str, status: &Value) {
        self.cluster().pods.get_mut(job).unwrap().last_mut().unwrap()["status"] = status.clone();
    }
}

fn status(code: StatusCode, reason: &str, message: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code.as_u16()});
    (code, Json(body)).into_response()
}

/// Who asks, and whether they hear an answer.
async fn admit(State(cluster): State<Shared>, request: Request, next: Next) -> Response {
    let given = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let known = given == format!("Bearer {}", cluster.lock().unwrap().token);
    let response =
        if known { next.run(request).await } else { status(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized") };
    let silent = {
        let mut cluster = cluster.lock().unwrap();
        let silent = cluster.silent > 0;
        cluster.silent = cluster.silent.saturating_sub(1);
        silent
    };
    if silent {
        // The connection ends before a header is out.
        panic!("this request gets no answer");
    }
    response
}

async fn create(State(cluster): State<Shared>, Json(mut job): Json<Value>) -> Response {
    let mut cluster = cluster.lock().unwrap();
    let name = job["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    // RFC 1123, as the real server checks it.
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(fits) {
        return status(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", "metadata.name: Invalid value");
    }
    if let Some(message) = &cluster.quota {
        return status(StatusCode::FORBIDDEN, "Forbidden", message);
    }
    if cluster.jobs.contains_key(&name) {
        return status(StatusCode::CONFLICT, "AlreadyExists", &format!("jobs.batch \"{name}\" already exists"));
    }
    job["metadata"]["uid"] = json!(format!("uid-{name}"));
    job["status"] = json!({"conditions": []});
    // Kueue's webhook.
    if job["metadata"]["labels"].get(QUEUE).is_some() {
        job["spec"]["suspend"] = json!(true);
    }
    cluster.made.push(name.clone());
    cluster.jobs.insert(name, job.clone());
    (StatusCode::CREATED, Json(job)).into_response()
}

fn not_found(name: &str) -> Response {
    status(StatusCode::NOT_FOUND, "NotFound", &format!("jobs.batch \"{name}\" not found"))
}

async fn read(State(cluster): State<Shared>, Path(name): Path<String>) -> Response {
    cluster.lock().unwrap().jobs.get(&name).map_or_else(|| not_found(&name), |job| Json(job).into_response())
}

async fn delete(State(cluster): State<Shared>, Path(name): Path<String>) -> Response {
    let mut cluster = cluster.lock().unwrap();
    cluster.pods.remove(&name);
    match cluster.jobs.remove(&name) {
        Some(job) => Json(job).into_response(),
        None => not_found(&name),
    }
}

/// The value that a label selector wants.
fn wanted(query: &HashMap<String, String>, label: &str) -> String {
    let selector = query.get("labelSelector").and_then(|selector| selector.split_once('='));
    let (name, value) = selector.expect("a label selector");
    assert_eq!(name, label);
    value.to_owned()
}

async fn pods(State(cluster): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let job = wanted(&query, "batch.kubernetes.io/job-name");
    let pods = cluster.lock().unwrap().pods.get(&job).cloned().unwrap_or_default();
    Json(json!({"kind": "PodList", "items": pods})).into_response()
}

async fn workloads(State(cluster): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let uid = wanted(&query, "kueue.x-k8s.io/job-uid");
    let workloads: Vec<Value> = cluster.lock().unwrap().workloads.get(&uid).cloned().into_iter().collect();
    Json(json!({"kind": "WorkloadList", "items": workloads})).into_response()
}
