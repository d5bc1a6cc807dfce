//! Who may do what: tokens of programs, cookies of browsers, and requests that were led here.
//!
//! Owns: the decision, and how a refusal reads. Must not know: what stands behind an address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::login::{BrowserRight, Keyring};
use crate::config::Secret;
use crate::page;

/// The name of the cookie.
pub(super) const COOKIE: &str = "nextrun_login";

/// Seconds since the Unix epoch.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// What may be read, and by whom.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) token: Option<Secret>,
    pub(super) keyring: Option<Arc<Keyring>>,
}

/// A right that nobody has without its token, or a browser's cookie where people have it.
#[derive(Debug, Clone)]
pub(super) struct Right {
    pub(super) name: &'static str,
    pub(super) token: Option<Secret>,
    /// Knows the browsers that have it; `None` where no browser may.
    pub(super) keyring: Option<Arc<Keyring>>,
}

/// Lets those through who may look.
pub(super) async fn known(State(reading): State<Reading>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let logged_in = right_of(headers, reading.keyring.as_deref()).is_some();
    match &reading.token {
        _ if logged_in => next.run(request).await,
        Some(token) if !brings(headers, token) => not_let_in(headers, "read"),
        None if !is_meant(headers) => {
            let why = "without `status.tokens.read` this answers to 127.0.0.1, [::1] and localhost only\n";
            (StatusCode::MISDIRECTED_REQUEST, why).into_response()
        }
        Some(_) | None => next.run(request).await,
    }
}

/// Lets those through who have a right.
pub(super) async fn holds(State(right): State<Right>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if right_of(headers, right.keyring.as_deref()) == Some(BrowserRight::Act) {
        if is_own(headers) {
            return next.run(request).await;
        }
        let why = "this came from a page of another site\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    match &right.token {
        None => {
            let why = format!("nobody may do this: set `status.tokens.{}` in the configuration\n", right.name);
            (StatusCode::FORBIDDEN, why).into_response()
        }
        Some(token) if !brings(headers, token) => not_let_in(headers, right.name),
        Some(_) => next.run(request).await,
    }
}

/// What the browser of a request may do, if it has logged in.
pub(super) fn right_of(headers: &HeaderMap, keyring: Option<&Keyring>) -> Option<BrowserRight> {
    let keyring = keyring?;
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).find_map(|(_, value)| keyring.right_of(value, now()))
}

/// Answers of any kind: nothing is kept, framed, guessed at, or told to other sites, and a page loads what is its own.
pub(super) async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, page::SERVED_POLICY),
        // `no-referrer` would have browsers hide where a form comes from, which is asked of each that acts.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn not_let_in(headers: &HeaderMap, right: &str) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/html") {
        return (StatusCode::UNAUTHORIZED, Html(page::asks_to_log_in("This browser is not logged in.")))
            .into_response();
    }
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

/// Whether a browser says that a request comes from a page of this address. All send the header with what may act.
pub(super) fn is_own(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else { return false };
    origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host))
}

/// The comparison takes as long for a token that is nearly right as for one that is not.
fn brings(headers: &HeaderMap, token: &Secret) -> bool {
    let brought = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
    let wanted = format!("Bearer {}", token.expose());
    brought.ct_eq(wanted.as_bytes()).into()
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
    fn what_acts_comes_from_a_page_of_our_own() {
        let headers = |origin: Option<&str>| {
            let mut headers = HeaderMap::from_iter([(header::HOST, "127.0.0.1:9747".parse().unwrap())]);
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            headers
        };
        assert!(is_own(&headers(Some("http://127.0.0.1:9747"))) && is_own(&headers(Some("https://127.0.0.1:9747"))));
        for other in
            [None, Some("null"), Some("http://evil.example"), Some("http://127.0.0.1:9748"), Some("127.0.0.1:9747")]
        {
            assert!(!is_own(&headers(other)), "{other:?}");
        }
    }
}
