//! The pages, with data from the board and the store.
//!
//! Owns: the data lookups of pages, logging in. Must not know: the layout of pages.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::access::{COOKIE, is_own, now, right_of};
use super::board::Board;
use super::login::{BrowserRight, COOKIE_HOLDS, Keyring};
use crate::case::{Case, CaseId, JournalEntry};
use crate::page::{self, CaseLine, CaseView, Frame, Home, JobFilter, Links, Need, NeedKind};
use crate::store::{Answer, Ask, Delivery, DeliveryState, Owed, SharedStore, Store, StoreError, Which};

/// The data sources of the pages.
#[derive(Debug, Clone)]
pub(super) struct Views {
    pub(super) board: Arc<Board>,
    pub(super) keyring: Option<Arc<Keyring>>,
    pub(super) links: Arc<Links>,
}

impl Views {
    fn frame(&self, headers: &HeaderMap) -> Frame {
        Frame::Served { may_act: right_of(headers, self.keyring.as_deref()) == Some(BrowserRight::Act) }
    }
}

/// How long undelivered messages are shown, in seconds.
const SHOWN_FOR: f64 = 7.0 * 24.0 * 3600.0;

/// Maximum number of undelivered messages listed, newest first.
const MOST_SHOWN: usize = 20;

/// The filter for jobs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    name: String,
    status: String,
}

pub(super) async fn home(State(views): State<Views>, headers: HeaderMap, Query(wanted): Query<Wanted>) -> Response {
    let (shown, stock) = (views.board.shown(), views.board.stock());
    let now = now();
    let mut cases = shown.cases.clone();
    let mut needs = shown.needs.clone();
    needs.extend(views.board.forwarding_trouble().map(|why| Need::new(NeedKind::Trouble, why)));
    if let Some(store) = views.board.store() {
        let undated = cases.iter().filter(|line| line.verdict.is_none() && line.since.is_none());
        let ids: Vec<CaseId> = undated.map(|line| CaseId(line.case_id.clone())).collect();
        match SharedStore::with(&store, move |store| look_up(store, &ids, now)).await {
            Ok((waits, asks, lost)) => {
                for line in &mut cases {
                    asks.iter().for_each(|ask| line.asked(ask));
                    let since = waits.iter().find(|(id, _)| id.0 == line.case_id).map(|(_, since)| *since);
                    date(line, since);
                }
                needs.extend(lost);
            }
            Err(error) => needs.push(Need::new(NeedKind::Trouble, error.to_string())),
        }
    }
    let home = Home {
        readiness: views.board.readiness(),
        owner: views.board.owner(),
        runs: shown.runs,
        cases: &cases,
        needs,
        jobs: shown.jobs.iter().map(|(name, job)| (name.as_str(), job)).collect(),
        filter: JobFilter { name: wanted.name, status: wanted.status },
        month: &stock.month,
        now,
    };
    Html(home.html(views.frame(&headers))).into_response()
}

fn date(line: &mut CaseLine, since: Option<f64>) {
    line.since = line.since.or(since);
    if let Some(need) = line.needs.as_mut() {
        need.since = need.since.or(line.since);
    }
}

/// Since when cases wait, their questions, and undelivered messages.
type LookedUp = (Vec<(CaseId, f64)>, Vec<Ask>, Vec<Need>);

fn look_up(store: &mut dyn Store, cases: &[CaseId], now: f64) -> Result<LookedUp, StoreError> {
    let mut waits = Vec::new();
    for case in cases {
        // A status report about a job during the wait does not change what the case waits for.
        let last = store.journal(case)?.iter().rev().find(|entry| entry.kind != "fate").map(|entry| entry.time);
        waits.extend(last.map(|last| (case.clone(), last)));
    }
    let (mut lost, mut told) = (Vec::new(), BTreeSet::new());
    for state in [DeliveryState::Dead, DeliveryState::Held, DeliveryState::Refused] {
        let rows = store.history(Which { state: Some(state), ..Which::default() })?;
        let recent =
            rows.into_iter().flatten().filter(|owed| state == DeliveryState::Held || now - owed.changed < SHOWN_FOR);
        for owed in recent.take(MOST_SHOWN) {
            let need = undelivered(&owed);
            // A destination that is down gives the same response for each message.
            if told.insert((owed.delivery.destination.clone(), owed.delivery.answer.clone().map(|a| a.to_string()))) {
                lost.push(need);
            }
        }
    }
    let asks = store.asks(None, true)?.into_iter().flatten().collect();
    Ok((waits, asks, lost))
}

fn undelivered(owed: &Owed) -> Need {
    let Owed { delivery, changed, .. } = owed;
    let answer = delivery.answer.as_ref().map_or_else(String::new, |answer| format!(": {answer}"));
    let (what, destination) = (delivery.message.kind().event_type(), &delivery.destination);
    let said = match (delivery.state, &delivery.answer) {
        (DeliveryState::Refused, Some(Answer::Refused { .. })) => {
            format!("{destination} refused a run for {}{answer}", delivery.message.subject)
        }
        (DeliveryState::Held, _) => format!("{what} may have reached {destination}, and is held{answer}"),
        _ => format!("{what} did not reach {destination}{answer}"),
    };
    let command = (delivery.state != DeliveryState::Refused).then(|| format!("nextrun outbox explain {}", delivery.id));
    Need { since: Some(*changed), command, ..Need::new(NeedKind::Delivery, said) }
}

pub(super) async fn case(State(views): State<Views>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let Some(store) = views.board.store() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "nextrun is starting\n").into_response();
    };
    let found = SharedStore::with(&store, {
        let id = id.clone();
        move |store| kept(store, &id)
    });
    let (case, journal, deliveries, asks) = match found.await {
        Ok(Some(found)) => found,
        Ok(None) => {
            return (StatusCode::NOT_FOUND, format!("there is no case {}\n", page::shown(&id, 40))).into_response();
        }
        Err(error) => return (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    };
    let stock = views.board.stock();
    let live = stock.curves.get(&case.id.0).filter(|_| case.closed.is_none());
    let now = now();
    let view = CaseView {
        case: &case,
        journal: &journal,
        deliveries: &deliveries,
        asks: &asks,
        curves: live.map_or(case.curves.as_slice(), Vec::as_slice),
        now: Some(now),
        made: now,
        links: &views.links,
    };
    Html(view.html(views.frame(&headers))).into_response()
}

/// A case with its journal, its deliveries (oldest first), and its current question; `None` if there is no readable
/// case.
type Kept = Option<(Case, Vec<JournalEntry>, Vec<Delivery>, Vec<Ask>)>;

fn kept(store: &mut dyn Store, id: &str) -> Result<Kept, StoreError> {
    let Some(stored) = store.case(id)?.filter(|stored| stored.id.0 == id) else { return Ok(None) };
    let Ok(case) = Case::read(stored.state) else { return Ok(None) };
    let journal = store.journal(&case.id)?;
    let mut deliveries = store.deliveries(Some(&case.id), None)?;
    deliveries.reverse();
    let asks = store.asks(Some(&case.id), true)?.into_iter().flatten().collect();
    Ok(Some((case, journal, deliveries, asks)))
}

/// The code of a link.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Code {
    code: String,
}

pub(super) async fn offer_login(Query(Code { code }): Query<Code>) -> Html<String> {
    Html(if code.is_empty() {
        page::asks_to_log_in("This requires the complete link.")
    } else {
        page::offers_login(&code)
    })
}

pub(super) async fn login(State(views): State<Views>, headers: HeaderMap, Form(Code { code }): Form<Code>) -> Response {
    let refused = |why: &str| (StatusCode::FORBIDDEN, Html(page::asks_to_log_in(why))).into_response();
    let Some(keyring) = views.keyring.filter(|_| is_own(&headers)) else {
        return refused("This request did not come from the page of the link.");
    };
    match keyring.redeem(&code, now()) {
        None => refused(
            "The link has already been used, is older than 10 minutes, or was created before the daemon was restarted.",
        ),
        Some(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Some(Ok(cookie)) => {
            let cookie = format!("{COOKIE}={cookie}; Path=/; Max-Age={COOKIE_HOLDS}; HttpOnly; SameSite=Strict");
            ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
        }
    }
}
