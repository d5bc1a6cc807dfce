//! The addresses, and who may use them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};

use super::access::{Reading, Right, guarded, holds, known};
use super::board::Board;
use super::login::Keyring;
use super::views::{self, Views};
use super::{Tokens, fresh, report};
use crate::page::{CaseLine, ICON, Links, SCRIPT, STYLE};
use crate::telemetry::Metrics;

/// All routes. Health and readiness reveal nothing about jobs, and are for programs without a token.
pub(super) fn router(board: Arc<Board>, tokens: Tokens, keyring: Option<Keyring>, links: Links) -> Router {
    let keyring = keyring.map(Arc::new);
    let views = Views { board: board.clone(), keyring: keyring.clone(), links: Arc::new(links) };
    let reading = Reading { token: tokens.read, keyring: keyring.clone() };
    let pages = Router::new()
        .route("/", get(views::home))
        .route("/cases/{id}", get(views::case))
        .route("/events", get(fresh::events))
        .with_state(views.clone());
    let guarded_by_token = Router::new()
        .route("/metrics", get(metrics))
        .route("/api/cases", get(cases))
        .with_state(board.clone())
        .merge(pages)
        .route_layer(from_fn_with_state(reading, known));
    let right = |name, token, keyring| from_fn_with_state(Right { name, token, keyring }, holds);
    let reporting = report::reporting().route_layer(right("report", tokens.report, None));
    let acting = report::acting().route_layer(right("act", tokens.act, keyring));
    let login = post(views::login).get(views::offer_login);
    let open = Router::new()
        .route("/login", login)
        .with_state(views)
        .route("/page.css", get(|| async { ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE) }))
        .route("/page.js", get(|| async { ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT) }))
        .route("/icon.svg", get(|| async { ([(header::CONTENT_TYPE, "image/svg+xml")], ICON) }));
    let open =
        open.merge(Router::new().route("/health", get(health)).route("/ready", get(ready)).with_state(board.clone()));
    let told = reporting.merge(acting).with_state(board);
    open.merge(guarded_by_token).merge(told).layer(from_fn(guarded))
}

fn told(result: Result<&'static str, String>) -> Response {
    match result {
        Ok(text) => format!("{text}\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn health(State(board): State<Arc<Board>>) -> Response {
    told(board.health())
}

async fn ready(State(board): State<Arc<Board>>) -> Response {
    told(board.readiness())
}

async fn metrics(State(board): State<Arc<Board>>) -> Response {
    match board.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn cases(State(board): State<Arc<Board>>) -> Json<Vec<CaseLine>> {
    Json(board.shown().cases.clone())
}
