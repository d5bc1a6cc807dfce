//! Tells pages that something changed: server-sent events.
//!
//! Owns: how often that is said, and to how many. Must not know: what changed.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{Semaphore, watch};

use super::views::Views;

/// Pages are told no more often than this.
const AT_MOST_EVERY: Duration = Duration::from_secs(2);

/// A page whose connection is over asks anew after this.
const ASK_AGAIN: Duration = Duration::from_secs(3);

/// So many pages are told at once, half of all connections. Others are as fresh as they are loaded.
static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(16)));

/// What is said next.
enum Next {
    /// That this is the place to listen.
    Hello,
    /// That something changed.
    Change,
}

pub(super) async fn events(State(views): State<Views>) -> Response {
    let Ok(place) = PLACES.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "as many pages as are kept fresh are open\n").into_response();
    };
    let first = (Next::Hello, views.board.changes(), place);
    Sse::new(stream::unfold(first, |(next, mut changes, place)| async move {
        let event = match next {
            Next::Hello => Event::default().retry(ASK_AGAIN).comment("fresh"),
            Next::Change => change(&mut changes).await?,
        };
        Some((Ok::<_, Infallible>(event), (Next::Change, changes, place)))
    }))
    .into_response()
}

/// The next change; `None` once there will be no more.
async fn change(changes: &mut watch::Receiver<u64>) -> Option<Event> {
    changes.changed().await.ok()?;
    tokio::time::sleep(AT_MOST_EVERY).await;
    // What changed meanwhile is told with it.
    let count = *changes.borrow_and_update();
    Some(Event::default().event("changed").data(count.to_string()))
}
