//! The HTTP server of the daemon: health, readiness, metrics and cases; status reports of jobs, and answers to
//! questions.
//!
//! Owns: addresses, permissions, limits on connections. Must not know: anything that must be computed; the engine puts
//! the content on the `Board`.

mod access;
mod board;
mod forward;
mod fresh;
mod login;
mod pages;
mod report;
mod serve;
mod views;

use std::net::SocketAddr;

pub use crate::page::{CaseLine, JobLine, Links, Need, NeedKind};
pub use board::{Board, Shown, Stock};
pub use forward::{CHECKSUM, Forwarding, IDENTITY, MODIFIED, OFFSET, RESTART};
pub use login::{BrowserRight, KEY, Keyring, LoginError};
pub use serve::serve;

use crate::config::Secret;

/// The address, and the permissions.
#[derive(Debug)]
pub struct Listen {
    /// The address.
    pub address: SocketAddr,
    /// The tokens for requests.
    pub tokens: Tokens,
    /// Recognises browsers that have logged in; `None`: no browser can log in.
    pub keyring: Option<Keyring>,
    /// Where to find more about a job.
    pub links: Links,
    /// Receives the files of other machines; `None`: there is no such address.
    pub forwarding: Option<Forwarding>,
}

/// The token that a request must send as `Authorization: Bearer`, by permission.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// To read more than health and readiness; `None`: everyone who can connect may read.
    pub read: Option<Secret>,
    /// To report the status of jobs; `None`: nobody may. Suggestion ids can be guessed, so no address is trusted.
    pub report: Option<Secret>,
    /// To act on behalf of a person; `None`: nobody may.
    pub act: Option<Secret>,
}

/// Why it cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Others could read without authentication.
    #[error("the status page would be open to everyone at {0}: set `status.tokens.read`, or listen on 127.0.0.1")]
    Open(SocketAddr),
    /// The address is in use, or does not belong to this machine.
    #[error("the status page cannot listen on {address} ({source}): choose another `status.listen`")]
    Address {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}
