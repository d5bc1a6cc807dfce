//! Notifies pages about changes with server-sent events.
//!
//! Owns: the rate of notifications, and the number of clients. Must not know: what changed.

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

/// Minimum interval between notifications.
const AT_MOST_EVERY: Duration = Duration::from_secs(2);

/// A page whose connection was closed reconnects after this time.
const ASK_AGAIN: Duration = Duration::from_secs(3);

/// Maximum number of notified pages, half of all connections. Other pages show the state at loading time.
static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(16)));

/// The next event.
enum Next {
    /// Confirms the subscription.
    Hello,
    /// Something changed.
    Change,
}

pub(super) async fn events(State(views): State<Views>) -> Response {
    let Ok(place) = PLACES.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the maximum number of automatically updated pages is open\n")
            .into_response();
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
    // Includes all changes in the meantime.
    let count = *changes.borrow_and_update();
    Some(Event::default().event("changed").data(count.to_string()))
}
