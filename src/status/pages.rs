//! What stands at which address, and who may see it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use subtle::ConstantTimeEq;

use super::board::{Board, CaseLine};
use super::{Tokens, report};
use crate::config::Secret;
use crate::telemetry::Metrics;

/// Everything that is answered. Health and readiness say nothing of jobs, and are for programs that have no token.
pub(super) fn router(board: Arc<Board>, tokens: Tokens) -> Router {
    let guarded = Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics))
        .route("/api/cases", get(cases))
        .route_layer(from_fn_with_state(tokens.read, known));
    let reporting = report::reporting().route_layer(from_fn_with_state(Right::new("report", tokens.report), holds));
    let acting = report::acting().route_layer(from_fn_with_state(Right::new("act", tokens.act), holds));
    let open = Router::new().route("/health", get(health)).route("/ready", get(ready));
    open.merge(guarded).merge(reporting).merge(acting).with_state(board)
}

async fn known(State(token): State<Option<Secret>>, request: Request, next: Next) -> Response {
    match &token {
        Some(token) if !brings(request.headers(), token) => unauthorized("read"),
        None if !is_meant(request.headers()) => {
            let why = "without `status.tokens.read` this answers to 127.0.0.1, [::1] and localhost only\n";
            (StatusCode::MISDIRECTED_REQUEST, why).into_response()
        }
        Some(_) | None => next.run(request).await,
    }
}

/// A right that nobody has without its token.
#[derive(Debug, Clone)]
struct Right {
    name: &'static str,
    token: Option<Secret>,
}

impl Right {
    fn new(name: &'static str, token: Option<Secret>) -> Right {
        Right { name, token }
    }
}

async fn holds(State(right): State<Right>, request: Request, next: Next) -> Response {
    match &right.token {
        None => {
            let why = format!("nobody may do this: set `status.tokens.{}` in the configuration\n", right.name);
            (StatusCode::FORBIDDEN, why).into_response()
        }
        Some(token) if !brings(request.headers(), token) => unauthorized(right.name),
        Some(_) => next.run(request).await,
    }
}

fn unauthorized(right: &str) -> Response {
    let ask = [(header::WWW_AUTHENTICATE, "Bearer")];
    let why = format!("this needs the header `Authorization: Bearer` with the token of `status.tokens.{right}`\n");
    (StatusCode::UNAUTHORIZED, ask, why).into_response()
}

/// Whether a request names this machine as itself. A browser on it may be led here by a page from elsewhere, whose name was
/// made to mean the loopback; such a request has that name.
fn is_meant(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let name = authority.host().trim_matches(['[', ']']);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The comparison takes as long for a token that is nearly right as for one that is not.
fn brings(headers: &HeaderMap, token: &Secret) -> bool {
    let brought = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
    let wanted = format!("Bearer {}", token.expose());
    brought.ct_eq(wanted.as_bytes()).into()
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

async fn page(State(board): State<Arc<Board>>) -> Response {
    let shown = board.shown();
    let readiness = board.readiness().map_or_else(|why| why, str::to_owned);
    let rows: String = shown.cases.iter().map(row).collect();
    let text = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>nextrun</title>\
         <style>body{{font:15px sans-serif;margin:2em}}td,th{{text-align:left;padding:.2em 1em .2em 0}}</style>\
         <h1>nextrun</h1><p>{}; {} runs</p><table><tr><th>case<th>baseline<th>policy<th>stands<th>experiments</tr>\
         {rows}</table><p>The newest closed cases come last; <code>nextrun cases list --all</code> has all.</p>\n",
        escaped(&readiness),
        shown.runs
    );
    // Nothing but its own style is ever loaded or run, whatever a job is called.
    let policy = [(header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'")];
    (policy, Html(text)).into_response()
}

fn row(case: &CaseLine) -> String {
    let stands = case.verdict.clone().unwrap_or_else(|| format!("at {}, waits for {}", case.state, case.waiting));
    format!(
        "<tr><td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
        escaped(&case.case_id),
        escaped(&case.baseline_run),
        escaped(&case.policy),
        escaped(&stands),
        case.experiments
    )
}

/// Names of jobs are data.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_let_in() {
        let token = Secret::new("s3cret");
        for (brought, let_in) in [
            ("Bearer s3cret", true),
            ("Bearer s3cre", false),
            ("Bearer s3crets", false),
            ("Bearer S3cret", false),
            ("s3cret", false),
            ("Basic s3cret", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, brought.parse().unwrap())]);
            assert_eq!(brings(&headers, &token), let_in, "{brought}");
        }
        assert!(!brings(&HeaderMap::new(), &token));
    }

    #[test]
    fn a_jobs_name_is_no_markup() {
        let case = CaseLine {
            case_id: "c".into(),
            baseline_run: "<script>alert(1)</script>&\"".into(),
            policy: "p".into(),
            state: "s".into(),
            waiting: "room".into(),
            experiments: 2,
            opened: 0.0,
            verdict: None,
        };
        let row = row(&case);
        assert!(row.contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;") && !row.contains("<script"), "{row}");
    }
}
