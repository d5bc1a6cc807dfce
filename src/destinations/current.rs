//! The settings of a destination as they are at one request: secrets that changed meanwhile, the account of an owner.
//!
//! Owns: which settings a request is made with, and what of an answer must not be shown. Must not know: HTTP, where
//! secrets are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::Url;
use reqwest::header::HeaderMap;

use super::Secret;

/// Reads the settings again, each secret from where it is kept.
///
/// # Errors
/// Which could not be read, and why.
pub type Reread = Arc<dyn Fn() -> Result<Fresh, String> + Send + Sync>;

/// What was read again.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// The settings by name.
    pub fields: BTreeMap<String, Secret>,
    /// By owner of a job, a token; `None` where all runs go under one account.
    pub accounts: Option<BTreeMap<String, Secret>>,
}

/// The settings of one request.
#[derive(Debug)]
pub(super) struct Current {
    /// The settings by name.
    pub(super) fields: BTreeMap<String, Secret>,
    /// The headers that follow from them.
    pub(super) headers: HeaderMap,
    /// Values that are taken out of what a receiver says.
    secrets: Vec<String>,
}

impl Current {
    pub(super) fn new<'a>(
        fields: BTreeMap<String, Secret>,
        headers: HeaderMap,
        secret: impl Iterator<Item = &'a Secret>,
    ) -> Current {
        let secrets = secret.flat_map(secrets_in).collect();
        Current { fields, headers, secrets }
    }

    /// A receiver may quote what it was sent: its own secrets are not shown in what it says.
    pub(super) fn hidden(&self, why: String) -> String {
        self.secrets.iter().fold(why, |why, value| why.replace(value, "***"))
    }
}

/// A secret and, of an address, what a receiver may quote of it alone: its path and its query. Short ones are words of
/// their own, not secrets.
pub(super) fn secrets_in(secret: &Secret) -> Vec<String> {
    let value = secret.expose();
    let url = Url::parse(value).ok();
    // Scheme, host and port may be shown.
    if url
        .as_ref()
        .is_some_and(|url| url.has_host() && url.path() == "/" && url.query().is_none() && url.password().is_none())
    {
        return Vec::new();
    }
    let parts = url.iter().flat_map(|url| [Some(url.path()), url.query()]).flatten().filter(|part| part.len() > 8);
    std::iter::once(value).chain(parts).filter(|value| !value.is_empty()).map(str::to_owned).collect()
}
