//! The current settings of a destination for one request: renewed secrets and the account of an owner.
//!
//! Owns: the settings of a request, and the parts of a response that must not be shown. Must not know: HTTP, where
//! secrets are stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::Url;
use reqwest::header::HeaderMap;

use super::Secret;

/// Rereads the settings; each secret is read from its source.
///
/// # Errors
/// The setting that could not be read, and the reason.
pub type Reread = Arc<dyn Fn() -> Result<Fresh, String> + Send + Sync>;

/// The result of rereading.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// The settings by name.
    pub fields: BTreeMap<String, Secret>,
    /// The token for each job owner; `None` if all runs use one account.
    pub accounts: Option<BTreeMap<String, Secret>>,
}

/// The settings of one request.
#[derive(Debug)]
pub(super) struct Current {
    /// The settings by name.
    pub(super) fields: BTreeMap<String, Secret>,
    /// The resulting headers.
    pub(super) headers: HeaderMap,
    /// Values that are removed from the receiver's responses.
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

    /// A receiver may quote the request: removes its own secrets from its response.
    pub(super) fn hidden(&self, why: String) -> String {
        self.secrets.iter().fold(why, |why, value| why.replace(value, "***"))
    }
}

/// A secret and, for an address, the parts that a receiver may quote: its path and its query. Short values are ordinary
/// words, not secrets.
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
