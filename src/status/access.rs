//! Permissions: tokens of programs, cookies of browsers, and protection against forged requests.
//!
//! Owns: the decision, and the text of a refusal. Must not know: the content of an address.

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

/// A permission that requires its token, or a browser's cookie if people can have it.
#[derive(Debug, Clone)]
pub(super) struct Right {
    pub(super) name: &'static str,
    pub(super) token: Option<Secret>,
    /// Recognises browsers with this permission; `None`: no browser may.
    pub(super) keyring: Option<Arc<Keyring>>,
}

/// Admits requests with read permission.
pub(super) async fn known(State(reading): State<Reading>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let logged_in = right_of(headers, reading.keyring.as_deref()).is_some();
    match &reading.token {
        _ if logged_in => next.run(request).await,
        Some(token) if !brings(headers, token) => not_let_in(headers, "read"),
        None if !is_meant(headers) => {
            let why = "without `status.tokens.read`, only requests to 127.0.0.1, [::1] and localhost are answered\n";
            (StatusCode::MISDIRECTED_REQUEST, why).into_response()
        }
        Some(_) | None => next.run(request).await,
    }
}

/// Admits requests with a certain permission.
pub(super) async fn holds(State(right): State<Right>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if right_of(headers, right.keyring.as_deref()) == Some(BrowserRight::Act) {
        if is_own(headers) {
            return next.run(request).await;
        }
        let why = "this request came from a page of another site\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    match &right.token {
        None => {
            let why =
                format!("nobody is permitted to do this: set `status.tokens.{}` in the configuration\n", right.name);
            (StatusCode::FORBIDDEN, why).into_response()
        }
        Some(token) if !brings(headers, token) => not_let_in(headers, right.name),
        Some(_) => next.run(request).await,
    }
}

/// The permissions of the browser, if it has logged in.
pub(super) fn right_of(headers: &HeaderMap, keyring: Option<&Keyring>) -> Option<BrowserRight> {
    let keyring = keyring?;
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).find_map(|(_, value)| keyring.right_of(value, now()))
}

/// Headers of all responses: no caching, framing or sniffing, no referrer to other sites, and pages load only their own
/// content.
pub(super) async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, page::SERVED_POLICY),
        // With `no-referrer`, browsers would hide the origin of a form, which is required for actions.
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
    let why = format!("this requires the header `Authorization: Bearer` with the token of `status.tokens.{right}`\n");
    (StatusCode::UNAUTHORIZED, ask, why).into_response()
}

/// Whether a request addresses this machine by a local name. Another site could direct a local browser here through a
/// host name that resolves to the loopback address; such a request has that host name.
fn is_meant(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let name = authority.host().trim_matches(['[', ']']);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether the browser states that a request comes from a page of this address. All browsers send this header with
/// actions.
pub(super) fn is_own(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else { return false };
    origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host))
}

/// Constant-time comparison.
pub(super) fn brings(headers: &HeaderMap, token: &Secret) -> bool {
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
