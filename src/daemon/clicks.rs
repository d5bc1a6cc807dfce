//! Clicks in Slack, which are answers like any others.
//!
//! Owns: the tasks that hold connections, and the wording of the outcome in Slack. Must not know: how clicks arrive.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::now;
use crate::answers::{self, Said, Submission};
use crate::case::Reply;
use crate::config::Settings;
use crate::destinations::{Answerer, Click, ClickOutcome, Destination, Http, SlackApp, Timeouts, date, mention};
use crate::status::Board;
use crate::store::{SharedStore, StoreError};

/// The connections to the Slack apps of the destinations; closed when this is dropped.
pub(super) struct Clicks {
    runtime: Handle,
    store: SharedStore,
    board: Arc<Board>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Clicks {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Clicks {
    /// No connections yet.
    pub(super) fn new(runtime: Handle, store: SharedStore, board: Arc<Board>) -> Clicks {
        Clicks { runtime, store, board, tasks: Vec::new() }
    }

    /// Accepts clicks from the apps of these destinations only.
    pub(super) fn follow(&mut self, apps: Vec<SlackApp>) {
        self.tasks.drain(..).for_each(|task| task.abort());
        let mut known: Vec<SlackApp> = Vec::new();
        for app in apps {
            if known.iter().all(|other| !other.is_same_app(&app)) {
                known.push(app);
            }
        }
        let answerer = answerer(self.store.clone(), self.board.clone());
        self.tasks = known.into_iter().map(|app| self.runtime.spawn(app.run(answerer.clone()))).collect();
    }
}

/// The apps of the destinations with buttons.
///
/// # Errors
/// HTTP cannot be set up for one of them.
pub(super) fn apps_of(settings: &Settings, destinations: &[Destination]) -> anyhow::Result<Vec<SlackApp>> {
    let http = Http::new(Timeouts::default());
    let app = |destination: &Destination| {
        let app = destination.slack_app(&http, settings.allowed_hosts.as_deref());
        app.map_err(|why| anyhow::anyhow!("the destination {}: {why}", destination.name)).transpose()
    };
    destinations.iter().filter_map(app).collect()
}

/// Submits the clicked answer, and returns the outcome as text for Slack.
pub fn answerer(store: SharedStore, board: Arc<Board>) -> Answerer {
    Arc::new(move |click| {
        let (store, board) = (store.clone(), board.clone());
        Box::pin(async move { outcome(answer(&store, &board, click).await) })
    })
}

async fn answer(store: &SharedStore, board: &Board, click: Click) -> Result<Said, StoreError> {
    let Click { ask, fingerprint, answer, by, .. } = click;
    let approvers = board.approvers();
    let reply = Reply { answer, by, at: now(), why: String::new() };
    let submission = Submission { ask, fingerprint: Some(fingerprint), reply };
    store.with(move |store| answers::give(store, &approvers, &submission)).await
}

fn outcome(said: Result<Said, StoreError>) -> ClickOutcome {
    match said {
        Ok(said) => {
            let words = said.words(mention, date);
            let sentence = |text: String| capital(&text);
            let stands = said.outcome(mention, date).map(sentence);
            ClickOutcome { stands, told: (!said.is_taken()).then(|| capital(&words)) }
        }
        Err(error) => {
            tracing::error!(%error, "could not process a click");
            let told = "nextrun could not take this answer now: its database is unavailable. Try again.".to_owned();
            ClickOutcome { stands: None, told: Some(told) }
        }
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
