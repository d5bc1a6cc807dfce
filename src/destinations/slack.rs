//! Clicks on buttons in Slack. They arrive over a WebSocket that this process opens (Socket Mode), so that nextrun
//! needs no public address.
//!
//! Owns: connections, the content of a click, and how its outcome is shown. Must not know: who may answer, and the
//! consequences of an answer.

mod click;
mod picture;
mod socket;
mod told;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::Value;

pub use click::Click;
pub(super) use picture::{Upload, with_block};
pub use told::{date, mention};

use super::channel::is_allowed;
use super::http::{Http, HttpClient, MOST_ANSWER, Method, Outgoing, Unanswered, Way};
use super::{Destination, Reread, Secret};

/// The outcome of a click, in Slack's markup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClickOutcome {
    /// The new state, shown to everyone in place of the buttons. `None` if the question is still open.
    pub stands: Option<String>,
    /// The message to the person who clicked; `None` if everyone sees the outcome anyway.
    pub told: Option<String>,
}

/// Processes a click and returns the outcome.
pub type Answerer = Arc<dyn Fn(Click) -> Pin<Box<dyn Future<Output = ClickOutcome> + Send>> + Send + Sync>;

/// A Slack app with buttons.
#[derive(Clone)]
pub struct SlackApp {
    /// The destination's name.
    pub name: String,
    api: String,
    tokens: Tokens,
    allowed_hosts: Option<Vec<String>>,
    client: Arc<HttpClient>,
    pace: SlackPace,
}

/// Connection timeouts.
#[derive(Debug, Clone, Copy)]
pub struct SlackPace {
    /// The delay after the first failure; later delays double.
    pub first_pause: Duration,
    /// The maximum delay.
    pub longest_pause: Duration,
    /// If nothing is received for this long, the connection is dead.
    pub silence: Duration,
}

impl Default for SlackPace {
    /// Slack limits frequent connections; a click waits at most this long for a connection.
    fn default() -> Self {
        SlackPace {
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            silence: Duration::from_secs(45),
        }
    }
}

/// The current tokens.
#[derive(Clone)]
struct Tokens {
    fields: BTreeMap<String, Secret>,
    reread: Option<Reread>,
}

impl Tokens {
    fn get(&self, name: &str) -> Result<Secret, String> {
        let fresh = self.reread.as_ref().map(|reread| reread()).transpose()?;
        let fields = fresh.map_or_else(|| self.fields.clone(), |fresh| fresh.fields);
        fields.get(name).cloned().ok_or_else(|| format!("`{name}` is not set"))
    }
}

impl Destination {
    /// The app whose buttons are in this destination, if it has a token for it.
    ///
    /// # Errors
    /// HTTP cannot be set up.
    pub fn slack_app(&self, http: &Http, allowed_hosts: Option<&[String]>) -> Result<Option<SlackApp>, String> {
        if !self.fields.contains_key(APP_TOKEN) {
            return Ok(None);
        }
        let api = self.fields.get("api").map_or(API, |api| api.expose()).trim_end_matches('/').to_owned();
        let url = Url::parse(&api).map_err(|_| "`api` is not an address".to_owned())?;
        let client = http.client(Way::Net(&url)).map_err(|error| error.to_string())?;
        Ok(Some(SlackApp {
            name: self.name.clone(),
            api,
            tokens: Tokens { fields: self.fields.clone(), reread: self.reread.clone() },
            allowed_hosts: allowed_hosts.map(<[String]>::to_vec),
            client: Arc::new(client),
            pace: SlackPace::default(),
        }))
    }

    /// Whether its messages have active buttons.
    pub(super) fn has_buttons(&self) -> bool {
        self.fields.contains_key(APP_TOKEN)
    }
}

/// The setting with the app-level token.
const APP_TOKEN: &str = "app_token";
const API: &str = "https://slack.com/api";

impl SlackApp {
    /// The same app with different timing, for tests.
    #[must_use]
    pub fn at_pace(self, pace: SlackPace) -> SlackApp {
        SlackApp { pace, ..self }
    }

    /// Whether another destination belongs to the same app; one connection serves both.
    pub fn is_same_app(&self, other: &SlackApp) -> bool {
        self.tokens.fields.get(APP_TOKEN) == other.tokens.fields.get(APP_TOKEN) && self.api == other.api
    }

    /// Accepts clicks until it is dropped. Reconnects when a connection ends.
    pub async fn run(self, answerer: Answerer) {
        socket::keep_connected(Arc::new(self), answerer).await;
    }

    /// Calls a method of Slack's API. Returns the response, or the error with Slack's error code.
    async fn call(&self, method: &str, token: &str, body: &Value) -> Result<Value, CallError> {
        let failed = |why: String| CallError { why, word: None };
        let token = self.tokens.get(token).map_err(failed)?;
        let mut headers = HeaderMap::new();
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|_| failed("the token contains characters that are not valid in a header".to_owned()))?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        let url =
            Url::parse(&format!("{}/{method}", self.api)).map_err(|_| failed("`api` is not an address".to_owned()))?;
        let body = Some(body.to_string().into_bytes());
        let request = Outgoing { method: Method::Post, url, headers, body, most_answer: MOST_ANSWER, sieve: None };
        let reply = self.client.send(request).await.map_err(|unanswered| match unanswered {
            Unanswered::NotSent(why) | Unanswered::NoAnswer(why) => failed(why),
        })?;
        let answer: Value = serde_json::from_str(&reply.body)
            .map_err(|_| failed(format!("{method}: HTTP {} without JSON", reply.status)))?;
        if answer["ok"] == true {
            return Ok(answer);
        }
        let word = answer["error"].as_str().unwrap_or("no reason given").to_owned();
        Err(CallError { why: format!("{method}: {word}"), word: Some(word) })
    }

    fn may_go_to(&self, host: &str) -> bool {
        self.allowed_hosts.as_ref().is_none_or(|allowed| allowed.iter().any(|pattern| is_allowed(host, pattern)))
    }
}

/// Why a call failed.
#[derive(Debug)]
struct CallError {
    why: String,
    word: Option<String>,
}
