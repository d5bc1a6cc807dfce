//! Reports to the daemon: status of a job, and answers of a person.
//!
//! Owns: the format of reports, and the responses. Must not know: their consequences. A report is stored before it is
//! acknowledged.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Form, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Redirect, Response};
use axum::routing::post;
use serde::Deserialize;
use serde_json::json;

use super::board::Board;
use crate::answers::{self, Submission};
use crate::case::{CaseId, Person, Reply};
use crate::fate::Fate;
use crate::fault;
use crate::store::{Commit, OfCase, SharedStore, Store, StoreError, Wish};

/// Maximum size of a report: a status with its log tail as JSON, and event files.
const LONGEST_REPORT: usize = 64 * 1024;

/// Maximum size of a reason in bytes; longer ones are shortened.
const LONGEST_REASON: usize = 1024;

/// Maximum number of event files.
const MOST_EVENT_FILES: usize = 64;

/// Reports of systems that run jobs.
pub(super) fn reporting() -> Router<Arc<Board>> {
    Router::new()
        .route("/v1/experiments/{id}", post(experiment))
        .route("/v1/jobs/{*run}", post(job))
        .layer(DefaultBodyLimit::max(LONGEST_REPORT))
}

/// Actions of people.
pub(super) fn acting() -> Router<Arc<Board>> {
    Router::new()
        .route("/v1/cases/{id}/answer", post(answer))
        .route("/cases/{id}/answer", post(answer_on_page))
        .layer(DefaultBodyLimit::max(LONGEST_REPORT))
}

/// The response to a report.
enum Said {
    Accepted,
    Invalid(String),
    Unknown(String),
    Forbidden(String),
    Conflict(String),
}

impl IntoResponse for Said {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Said::Accepted => return (StatusCode::ACCEPTED, Json(json!({}))).into_response(),
            Said::Invalid(why) => (StatusCode::BAD_REQUEST, why),
            Said::Unknown(why) => (StatusCode::NOT_FOUND, why),
            Said::Forbidden(why) => (StatusCode::FORBIDDEN, why),
            Said::Conflict(why) => (StatusCode::CONFLICT, why),
        };
        (status, Json(json!({ "error": error }))).into_response()
    }
}

async fn experiment(State(board): State<Arc<Board>>, Path(id): Path<String>, body: Bytes) -> Response {
    let fate = match fate(&body) {
        Ok(fate) => fate,
        Err(why) => return Said::Invalid(why).into_response(),
    };
    in_store(&board, move |store| {
        let made = store.suggested(&id)?;
        let Some(case) = made.as_ref() else { return Ok(Said::Unknown(format!("there is no suggestion {id}"))) };
        if case.closed {
            return Ok(Said::Conflict(format!("case {} is closed", case.case)));
        }
        let case = Some(case.case.clone());
        ask(store, case, Wish::FateOfExperiment { suggestion: id, fate })
    })
    .await
}

async fn job(State(board): State<Arc<Board>>, Path(run): Path<String>, body: Bytes) -> Response {
    let fate = match fate(&body) {
        Ok(fate) => fate,
        Err(why) => return Said::Invalid(why).into_response(),
    };
    let Some(last_seen) = board.job_last_seen(&run) else {
        return Said::Unknown(format!("there is no job {run}")).into_response();
    };
    in_store(&board, move |store| {
        let newest = store.newest_case_of(&run)?;
        // A job that logs again after its case closed is a new training, and gets its own case.
        if let Some(OfCase { case, .. }) = newest.as_ref().filter(|case| case.closed && last_seen <= case.updated) {
            return Ok(Said::Conflict(format!("case {case} is closed")));
        }
        let case = newest.filter(|case| !case.closed).map(|case| case.case);
        ask(store, case, Wish::FateOfJob { job: run, fate })
    })
    .await
}

/// The answer to a question of a case.
#[derive(Debug, Deserialize)]
struct Answered {
    answer: String,
    /// The id of the message with the question; default: the current question.
    #[serde(default)]
    ask: Option<String>,
    /// The fingerprint in that message; an answer to anything else is refused.
    #[serde(default)]
    fingerprint: Option<String>,
    /// The reason, for the journal.
    #[serde(default)]
    why: String,
    /// Who answers, for the journal; not authenticated.
    #[serde(default)]
    name: Option<String>,
}

async fn answer(State(board): State<Arc<Board>>, Path(id): Path<String>, body: Bytes) -> Response {
    let answered: Answered = match serde_json::from_slice(&body) {
        Ok(answered) => answered,
        Err(error) => return Said::Invalid(format!("the body must be {{\"answer\": NAME}}: {error}")).into_response(),
    };
    give_answer(&board, id, answered).await
}

/// The same from the form of a page, which then shows the case again.
async fn answer_on_page(
    State(board): State<Arc<Board>>,
    Path(id): Path<String>,
    Form(answered): Form<Answered>,
) -> Response {
    let page = format!("/cases/{id}");
    let said = give_answer(&board, id, answered).await;
    if said.status() == StatusCode::ACCEPTED { Redirect::to(&page).into_response() } else { said }
}

async fn give_answer(board: &Board, id: String, answered: Answered) -> Response {
    let (approvers, at) = (board.approvers(), now());
    in_store(board, move |store| {
        // Abbreviations are for people who type; programs have the whole id.
        let Some(stored) = store.case(&id)?.filter(|case| case.id.0 == id) else {
            return Ok(Said::Unknown(format!("there is no case {id}")));
        };
        let asked = match answered.ask {
            Some(ask) => Some(ask),
            None => answers::open_ask(store, &stored.id)?.map(|ask| ask.id),
        };
        let Some(ask) = asked else { return Ok(Said::Conflict(format!("case {id} has no open question"))) };
        let by = Person { provider: "http".to_owned(), user: "act".to_owned(), name: answered.name };
        let reply = Reply { answer: answered.answer, by, at, why: answered.why };
        let said = answers::give(store, &approvers, &Submission { ask, fingerprint: answered.fingerprint, reply })?;
        let words = said.words(ToString::to_string, time);
        Ok(match said {
            answers::Said::Taken(..) => Said::Accepted,
            answers::Said::NoSuchAnswer(_) => Said::Invalid(words),
            answers::Said::NoSuchAsk => Said::Unknown(words),
            answers::Said::NotAllowed(_) => Said::Forbidden(words),
            _ => Said::Conflict(words),
        })
    })
    .await
}

/// Seconds since the Unix epoch.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()) + fault::clock_set_by()
}

fn time(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds of a time")]
    jiff::Timestamp::from_second(seconds as i64).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}

fn ask(store: &mut dyn Store, case: Option<CaseId>, wish: Wish) -> Result<Said, StoreError> {
    store.commit(&Commit { requests: vec![(case, wish)], ..Commit::default() })?;
    Ok(Said::Accepted)
}

/// Performs an operation on the store. Before it is open, and while it fails, clients are asked to retry.
async fn in_store(
    board: &Board,
    work: impl FnOnce(&mut dyn Store) -> Result<Said, StoreError> + Send + 'static,
) -> Response {
    let later = |why: String| {
        let retry = [(header::RETRY_AFTER, "5")];
        (StatusCode::SERVICE_UNAVAILABLE, retry, Json(json!({ "error": why }))).into_response()
    };
    let Some(store) = board.store() else { return later("nextrun is starting".to_owned()) };
    match SharedStore::with(&store, work).await {
        Ok(said) => said.into_response(),
        Err(error) => later(error.to_string()),
    }
}

/// Reads a status, and limits its size.
fn fate(body: &[u8]) -> Result<Fate, String> {
    let mut fate: Fate =
        serde_json::from_slice(body).map_err(|error| format!("the body is not a valid status: {error}"))?;
    if fate.attempt == Some(0) {
        return Err("`attempt` counts from 1".to_owned());
    }
    if fate.event_files.len() > MOST_EVENT_FILES {
        return Err(format!("`event_files` has more than {MOST_EVENT_FILES} entries"));
    }
    if let Some(reason) = fate.reason.as_mut().filter(|reason| reason.len() > LONGEST_REASON) {
        let end = (0..=LONGEST_REASON).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
        reason.truncate(end);
    }
    Ok(fate.bounded())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fate::{FateState, LONGEST_TAIL};

    #[test]
    fn a_fate_is_checked_and_bounded() {
        for (body, wrong) in [
            ("", "not a valid status"),
            ("[]", "not a valid status"),
            (r#"{"state": "dancing"}"#, "unknown variant"),
            (r#"{"reason": "x"}"#, "state"),
            (r#"{"state": "failed", "exit_code": "one"}"#, "not a valid status"),
            (r#"{"state": "failed", "attempt": 0}"#, "from 1"),
        ] {
            let told = fate(body.as_bytes()).unwrap_err();
            assert!(told.contains(wrong), "{body}: {told}");
        }
        let files: Vec<String> = (0..65).map(|n| format!("/logs/{n}")).collect();
        let body = json!({"state": "running", "event_files": files}).to_string();
        assert!(fate(body.as_bytes()).is_err());
        let body =
            json!({"state": "failed", "reason": "ä".repeat(3000), "tail": "x".repeat(9000), "signal": null, "new": 1});
        let read = fate(body.to_string().as_bytes()).unwrap();
        assert_eq!((read.state, read.signal), (FateState::Failed, None));
        assert_eq!((read.reason.unwrap().len(), read.tail.unwrap().len()), (LONGEST_REASON, LONGEST_TAIL));
    }
}
