//! What the daemon says of itself over HTTP: health, readiness, metrics, the list of cases. Read only.
//!
//! Owns: addresses and who may see what, limits on connections. Must not know: anything that it would have to compute: the
//! engine puts on the [`Board`] what is shown.

mod board;
mod pages;
mod serve;

use std::net::SocketAddr;

pub use board::{Board, CaseLine, Shown};
pub use serve::serve;

use crate::config::Secret;

/// Where it listens, and who may see more than health and readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The address.
    pub address: SocketAddr,
    /// What a request must bring as `Authorization: Bearer`; `None`: everybody who can connect may look.
    pub token: Option<Secret>,
}

/// Why it cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Others could look without being asked who they are.
    #[error("the status page would be open to everybody at {0}: set `status.token`, or listen on 127.0.0.1")]
    Open(SocketAddr),
    /// The address is taken, or not one of this machine.
    #[error("the status page cannot listen on {address} ({source}): choose another `status.listen`")]
    Address {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}
