//! A bucket with enough of the S3 API that records its requests, and misbehaves on demand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use nextrun::logdir::{Logdir, Place, logdir_at};
use nextrun::watch::Watcher;
use tokio::runtime::Runtime;

/// A request that the bucket got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    List,
    Head,
    /// An object, by its version only or whatever it is.
    Get {
        conditional: bool,
    },
}

pub(crate) struct Bucket {
    address: String,
    contents: Shared,
    _runtime: Runtime,
}

type Shared = Arc<Mutex<Contents>>;

pub(crate) struct Contents {
    objects: BTreeMap<String, (u64, Vec<u8>)>,
    versions: u64,
    asked: Vec<Asked>,
    /// Keys on a page of a listing.
    pub(crate) page: usize,
    /// What every request is answered with.
    pub(crate) fault: Option<StatusCode>,
    /// A key that may be listed and not read.
    pub(crate) forbidden: Option<String>,
    /// An object that is put right after the next listing.
    pub(crate) after_listing: Option<(String, Vec<u8>)>,
}

impl Contents {
    fn put(&mut self, key: &str, bytes: Vec<u8>) {
        self.versions += 1;
        self.objects.insert(key.to_owned(), (self.versions, bytes));
    }
}

impl Bucket {
    pub(crate) fn start() -> Bucket {
        let contents = Arc::new(Mutex::new(Contents {
            objects: BTreeMap::new(),
            versions: 0,
            asked: Vec::new(),
            page: 1000,
            fault: None,
            forbidden: None,
            after_listing: None,
        }));
        let routes = Router::new().route("/{bucket}", get(list)).route("/{bucket}/{*key}", get(object));
        let (address, runtime) = super::serve(routes.with_state(Arc::clone(&contents)));
        Bucket { address, contents, _runtime: runtime }
    }

    pub(crate) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap()
    }

    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        self.contents().put(key, bytes.to_vec());
    }

    pub(crate) fn delete(&self, key: &str) {
        self.contents().objects.remove(key);
    }

    /// What was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.contents().asked)
    }

    pub(crate) fn logdir(&self) -> Box<dyn Logdir> {
        logdir_at(&Place::parse("s3://bucket/runs").unwrap(), &super::variables(&self.address)).unwrap()
    }

    pub(crate) fn watcher(&self) -> Watcher {
        Watcher::of(self.logdir())
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

async fn list(State(contents): State<Shared>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let mut contents = contents.lock().unwrap();
    contents.asked.push(Asked::List);
    if let Some(fault) = contents.fault {
        return refusal(fault, "ServiceUnavailable");
    }
    let text = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let (prefix, after) = (text("prefix"), text("continuation-token"));
    let mut found = contents.objects.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after);
    let entry = |(key, (version, bytes)): (&String, &(u64, Vec<u8>))| {
        let (key, size) = (escaped(key), bytes.len());
        format!(
            "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
             <ETag>&quot;{version}&quot;</ETag></Contents>"
        )
    };
    let page: Vec<_> = found.by_ref().take(contents.page).collect();
    let next = match (page.last(), found.next()) {
        (Some((key, _)), Some(_)) => {
            let key = escaped(key);
            format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{key}</NextContinuationToken>")
        }
        _ => "<IsTruncated>false</IsTruncated>".to_owned(),
    };
    let entries: String = page.into_iter().map(entry).collect();
    if let Some((key, bytes)) = contents.after_listing.take() {
        contents.put(&key, bytes);
    }
    format!("<ListBucketResult>{next}{entries}</ListBucketResult>").into_response()
}

async fn object(
    State(contents): State<Shared>,
    Path((_, key)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let mut contents = contents.lock().unwrap();
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let wanted = text(header::IF_MATCH);
    contents.asked.push(match method {
        Method::HEAD => Asked::Head,
        _ => Asked::Get { conditional: wanted.is_some() },
    });
    if let Some(fault) = contents.fault {
        return refusal(fault, "ServiceUnavailable");
    }
    if contents.forbidden.as_deref() == Some(key.as_str()) {
        return refusal(StatusCode::FORBIDDEN, "AccessDenied");
    }
    let Some((version, bytes)) = contents.objects.get(&key) else { return refusal(StatusCode::NOT_FOUND, "NoSuchKey") };
    let tag = format!("\"{version}\"");
    if wanted.is_some_and(|wanted| wanted != tag) {
        return refusal(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
    }
    let dated = [(header::ETAG, tag), (header::LAST_MODIFIED, "Thu, 01 Jan 2026 00:00:00 GMT".to_owned())];
    let Some(range) = text(header::RANGE) else { return (dated, bytes.clone()).into_response() };
    let (start, end) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).unwrap();
    let (start, size) = (start.parse::<usize>().unwrap(), bytes.len());
    let end = end.parse::<usize>().unwrap().min(size.saturating_sub(1));
    if start >= size {
        return refusal(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
    }
    let part = [(header::CONTENT_RANGE, format!("bytes {start}-{end}/{size}"))];
    (StatusCode::PARTIAL_CONTENT, dated, part, bytes[start..=end].to_vec()).into_response()
}

fn refusal(status: StatusCode, code: &str) -> Response {
    (status, format!("<Error><Code>{code}</Code><Message>no</Message></Error>")).into_response()
}
