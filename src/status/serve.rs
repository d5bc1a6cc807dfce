//! Connections, and their limits.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower_service::Service;

use super::board::Board;
use super::{Listen, StatusError, forward, pages};

/// Maximum number of connections: a scraper, a few probes, and people.
const MOST_CONNECTIONS: usize = 32;

/// Timeout for receiving a request.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);

/// Maximum duration of a connection.
const OVER_WITHIN: Duration = Duration::from_secs(30);

/// Maximum size of a request line with its headers.
const LONGEST_HEAD: usize = 16 * 1024;

/// Listens and answers until it is dropped. The address is bound when this returns.
///
/// # Errors
/// Others could read without a token, or the address is not available.
pub async fn serve(
    listen: Listen,
    board: Arc<Board>,
) -> Result<(std::net::SocketAddr, impl Future<Output = ()> + Send + 'static), StatusError> {
    let address = listen.address;
    if listen.tokens.read.is_none() && !address.ip().is_loopback() {
        return Err(StatusError::Open(address));
    }
    let failed = |source| StatusError::Address { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let forwarding = forward::forwarding(listen.forwarding, board.clone());
    let router = pages::router(board, listen.tokens, listen.keyring, listen.links).merge(forwarding);
    Ok((bound, accept(listener, router)))
}

async fn accept(listener: TcpListener, router: axum::Router) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // Further connections wait in the kernel's queue, which costs this process nothing.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    answer(stream, router).await;
                    drop(place);
                });
            }
            // No file descriptor is free, or the client has disconnected; retrying immediately would not help.
            Err(error) => {
                tracing::warn!(%error, "the status page could not accept a connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// One request per connection, so that an idle connection does not block others.
async fn answer(stream: TcpStream, router: axum::Router) {
    let service = service_fn(move |request| router.clone().call(request));
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_WITHIN)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // A client that disconnected or was too slow can be ignored.
    drop(tokio::time::timeout(OVER_WITHIN, connection).await);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::status::{Links, Tokens};

    #[tokio::test]
    async fn it_listens_for_others_only_with_a_token() {
        let listen = |address: &str, token: Option<&str>| Listen {
            address: address.parse().unwrap(),
            tokens: Tokens { read: token.map(Secret::new), ..Tokens::default() },
            keyring: None,
            links: Links::default(),
            forwarding: None,
        };
        let refused = serve(listen("0.0.0.0:0", None), Arc::default()).await.err().unwrap();
        assert!(refused.to_string().contains("`status.tokens.read`"), "{refused}");
        for open in [listen("0.0.0.0:0", Some("t")), listen("127.0.0.1:0", None), listen("[::1]:0", None)] {
            let shown = format!("{open:?}");
            assert!(serve(open, Arc::default()).await.is_ok(), "{shown}");
        }
        let (taken, _listening) = serve(listen("127.0.0.1:0", None), Arc::default()).await.unwrap();
        let refused = serve(listen(&taken.to_string(), None), Arc::default()).await.err().unwrap();
        assert!(refused.to_string().contains("status.listen"), "{refused}");
    }
}
