//! Files of other machines, sent by `nextrun forward`.
//!
//! Owns: the request and the responses, which machine may send which files. Must not know: how they are stored.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::put;
use serde_json::json;

use super::access::brings;
use super::board::Board;
use crate::config::Secret;
use crate::logdir::{Chunk, LONGEST_CHUNK, Spool, SpoolError, Taken, modified_at};

/// Where forwarded files go, and who may send them.
#[derive(Debug, Clone)]
pub struct Forwarding {
    /// Where they are stored; `None`: nowhere.
    pub spool: Option<Arc<Spool>>,
    /// The directory of each machine in it, and the machine's token.
    pub senders: Vec<(String, Secret)>,
}

/// The header with the identity of a file.
pub const IDENTITY: &str = "nextrun-identity";
/// The header with the offset of the body in the file.
pub const OFFSET: &str = "nextrun-offset";
/// The header with the CRC-32C of the body, in hexadecimal digits.
pub const CHECKSUM: &str = "nextrun-checksum";
/// The header with the time at which the file was modified, in seconds since the Unix epoch.
pub const MODIFIED: &str = "nextrun-modified";
/// The header of a file that starts over because it has become shorter.
pub const RESTART: &str = "nextrun-restart";

pub(super) fn forwarding(forwarding: Option<Forwarding>, board: Arc<Board>) -> Router {
    let Some(forwarding) = forwarding else { return Router::new() };
    Router::new()
        .route("/v1/files/{*path}", put(take))
        .layer(DefaultBodyLimit::max(LONGEST_CHUNK))
        .with_state((Arc::new(forwarding), board))
}

async fn take(
    State((forwarding, board)): State<(Arc<Forwarding>, Arc<Board>)>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // All are compared, so that the time tells nothing about which one is nearly right.
    let known: Vec<_> = forwarding.senders.iter().filter(|(_, token)| brings(&headers, token)).collect();
    let [(prefix, _), ..] = *known else {
        let ask = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (
            StatusCode::UNAUTHORIZED,
            ask,
            said("this requires the token of a machine in `status.tokens.forward`"),
        )
            .into_response();
    };
    let Some(spool) = forwarding.spool.clone() else {
        return (StatusCode::NOT_FOUND, said("no log directory is `forwarded://`")).into_response();
    };
    let Some(wanted) = Wanted::of(&headers) else {
        let why = format!("{IDENTITY}, {OFFSET}, {CHECKSUM} and {MODIFIED} are required");
        return (StatusCode::BAD_REQUEST, said(&why)).into_response();
    };
    if crc32c::crc32c(&body) != wanted.checksum {
        return (StatusCode::BAD_REQUEST, said("the bytes do not have this checksum: send them again")).into_response();
    }
    let path = format!("{prefix}/{path}");
    let stored = tokio::task::spawn_blocking(move || {
        let Wanted { identity, offset, restart, modified, .. } = &wanted;
        let (offset, restart, modified) = (*offset, *restart, *modified);
        let result = spool.take(&Chunk { path: &path, identity, offset, restart, modified, bytes: &body });
        // A question about a file without bytes needs no room.
        if !body.is_empty() {
            tell(&board, spool.root(), &result);
        }
        result
    });
    match stored.await {
        Ok(result) => answer(result),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, said("it could not be stored: see the log")).into_response(),
    }
}

fn said(why: &str) -> Json<serde_json::Value> {
    Json(json!({ "error": why }))
}

fn answer(result: Result<Taken, SpoolError>) -> Response {
    let error = match result {
        Ok(Taken::Kept(end)) => return Json(json!({ "end": end })).into_response(),
        Ok(Taken::From(offset)) => return (StatusCode::CONFLICT, Json(json!({ "offset": offset }))).into_response(),
        Err(error) => error,
    };
    let status = match &error {
        SpoolError::Path(_) | SpoolError::Kind(_) | SpoolError::Chunk(_) => StatusCode::UNPROCESSABLE_ENTITY,
        SpoolError::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
        SpoolError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, said(&error.to_string())).into_response()
}

/// Reports once that files cannot be stored, and once that they can be again: the senders retry all the time.
fn tell(board: &Board, root: &std::path::Path, result: &Result<Taken, SpoolError>) {
    let root = root.display();
    let trouble = match result {
        Err(SpoolError::Full(why)) => format!(
            "no room for forwarded files in {root} ({why}): free space there, for example delete old runs; until then the \
             files wait on their machines, and nothing is lost"
        ),
        Err(SpoolError::Io(why)) => format!(
            "forwarded files cannot be stored in {root} ({why}): let the daemon's user write there, and check the disk; \
             until then the files wait on their machines, and nothing is lost"
        ),
        Err(SpoolError::Path(_) | SpoolError::Kind(_) | SpoolError::Chunk(_)) | Ok(Taken::From(_)) => return,
        Ok(Taken::Kept(_)) => {
            if board.forwarding_fails(None) {
                tracing::info!("forwarded files are stored in {root} again");
            }
            return;
        }
    };
    board.metrics.forward_errors.inc();
    if board.forwarding_fails(Some(trouble.clone())) {
        tracing::error!("{trouble}");
    }
}

/// The headers of a request.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    identity: String,
    offset: u64,
    checksum: u32,
    restart: bool,
    modified: SystemTime,
}

impl Wanted {
    fn of(headers: &HeaderMap) -> Option<Wanted> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        Some(Wanted {
            identity: text(IDENTITY)?.to_owned(),
            offset: text(OFFSET)?.parse().ok()?,
            checksum: u32::from_str_radix(text(CHECKSUM)?, 16).ok()?,
            restart: text(RESTART) == Some("true"),
            modified: modified_at(text(MODIFIED)?.parse().ok()?)?,
        })
    }
}
