//! Slack's way back: clicks on buttons arrive over a WebSocket that this process opens (Socket Mode), so that no address
//! of ours has to be reachable.
//!
//! Owns: connections, what a click says, and how its outcome is shown in place. Must not know: who may answer, and what
//! follows from an answer.

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

/// What came of a click, in Slack's markup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How it stands now: shown to all in the place of the buttons. `None` where it can still be answered.
    pub stands: Option<String>,
    /// What only the person who clicked is told; `None` where all see it anyway.
    pub told: Option<String>,
}

/// Takes a click, and says what came of it.
pub type Answerer = Arc<dyn Fn(Click) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

/// A Slack app that people click in.
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

/// How long connections are waited for.
#[derive(Debug, Clone, Copy)]
pub struct SlackPace {
    /// The first pause after a failure; later ones double.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// Both sides send something at least this often, or the connection is dead.
    pub silence: Duration,
}

impl Default for SlackPace {
    /// Slack refuses those who connect hard; a click waits for a connection that long at most.
    fn default() -> Self {
        SlackPace {
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            silence: Duration::from_secs(45),
        }
    }
}

/// The tokens as they are now.
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
    /// The app whose buttons people click in this destination, where it has a token for that.
    ///
    /// # Errors
    /// HTTP cannot be set up.
    pub fn slack_app(&self, http: &Http, allowed_hosts: Option<&[String]>) -> Result<Option<SlackApp>, String> {
        if !self.fields.contains_key(APP_TOKEN) {
            return Ok(None);
        }
        let api = self.fields.get("api").map_or(API, |api| api.expose()).trim_end_matches('/').to_owned();
        let url = Url::parse(&api).map_err(|_| "`api` is no address".to_owned())?;
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

    /// Whether its messages have buttons that do something.
    pub(super) fn has_buttons(&self) -> bool {
        self.fields.contains_key(APP_TOKEN)
    }
}

/// The setting that holds the app-level token.
const APP_TOKEN: &str = "app_token";
const API: &str = "https://slack.com/api";

impl SlackApp {
    /// The same app with another pace, for tests.
    #[must_use]
    pub fn at_pace(self, pace: SlackPace) -> SlackApp {
        SlackApp { pace, ..self }
    }

    /// Whether another destination belongs to the same app: one connection serves both.
    pub fn is_same_app(&self, other: &SlackApp) -> bool {
        self.tokens.fields.get(APP_TOKEN) == other.tokens.fields.get(APP_TOKEN) && self.api == other.api
    }

    /// Takes clicks until it is dropped. Connections that end are made anew.
    pub async fn run(self, answerer: Answerer) {
        socket::keep_connected(Arc::new(self), answerer).await;
    }

    /// Calls a method of Slack's API. Its answer, or why there is none, with Slack's word for the error.
    async fn call(&self, method: &str, token: &str, body: &Value) -> Result<Value, CallError> {
        let failed = |why: String| CallError { why, word: None };
        let token = self.tokens.get(token).map_err(failed)?;
        let mut headers = HeaderMap::new();
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|_| failed("the token holds what no header may".to_owned()))?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        let url =
            Url::parse(&format!("{}/{method}", self.api)).map_err(|_| failed("`api` is no address".to_owned()))?;
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

/// Why a call came to nothing.
#[derive(Debug)]
struct CallError {
    why: String,
    word: Option<String>,
}
