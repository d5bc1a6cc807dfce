//! What the daemon says over HTTP, and what it is told there: health, readiness, metrics, the list of cases; what became of
//! jobs, and answers to questions.
//!
//! Owns: addresses and who may see what, limits on connections. Must not know: anything that it would have to compute: the
//! engine puts on the `Board` what is shown.

mod access;
mod board;
mod fresh;
mod login;
mod pages;
mod report;
mod serve;
mod views;

use std::net::SocketAddr;

pub use crate::page::{CaseLine, JobLine, Links, Need, NeedKind};
pub use board::{Board, Shown, Stock};
pub use login::{BrowserRight, KEY, Keyring, LoginError};
pub use serve::serve;

use crate::config::Secret;

/// Where it listens, and who may do what.
#[derive(Debug)]
pub struct Listen {
    /// The address.
    pub address: SocketAddr,
    /// What requests must bring.
    pub tokens: Tokens,
    /// What knows browsers that have logged in; `None`: none can.
    pub keyring: Option<Keyring>,
    /// Where more of a job is shown.
    pub links: Links,
}

/// What a request must bring as `Authorization: Bearer`, by what it wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// To see more than health and readiness; `None`: everybody who can connect may look.
    pub read: Option<Secret>,
    /// To report what became of jobs; `None`: nobody may. Ids of suggestions can be guessed, so that no address is trusted.
    pub report: Option<Secret>,
    /// To act for a person; `None`: nobody may.
    pub act: Option<Secret>,
}

/// Why it cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Others could look without being asked who they are.
    #[error("the status page would be open to everybody at {0}: set `status.tokens.read`, or listen on 127.0.0.1")]
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
