//! A client of an object store, set up by environment variables.
//!
//! Owns: its settings and credentials, timeouts and retries. Must not know: what is read.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};

use super::super::place::{Bucket, StoreKind};

/// The environment takes precedence for all other settings. A whole response may take long, because an object may be
/// large and is read as fast as it is decoded, but it must not pause.
const WAITING: [(ClientConfigKey, &str); 3] = [
    (ClientConfigKey::ConnectTimeout, "5 seconds"),
    (ClientConfigKey::ReadTimeout, "8 seconds"),
    (ClientConfigKey::Timeout, "1 day"),
];

/// A response takes at most about this long plus a timeout; the sweep blocks everything else, and systemd's watchdog
/// ends a daemon that is silent for a minute.
const RETRY_WITHIN: Duration = Duration::from_secs(10);

/// The client of a bucket, set up by those of `variables` that are usual for its kind of store, as in
/// `AWS_ACCESS_KEY_ID`. Nothing is asked of the store yet.
pub(super) fn client(
    bucket: &Bucket,
    variables: &BTreeMap<String, String>,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    // An error says that the process has a provider already, which then serves as well.
    drop(rustls::crypto::ring::default_provider().install_default());
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: RETRY_WITHIN,
    };
    Ok(match bucket.kind {
        StoreKind::S3 => {
            let builder = AmazonS3Builder::new().with_bucket_name(&bucket.name).with_retry(retry);
            let set = settings(variables, "AWS_", AmazonS3ConfigKey::Client);
            Arc::new(set.into_iter().fold(builder, |builder, (key, value)| builder.with_config(key, value)).build()?)
        }
        StoreKind::Google => {
            let builder = GoogleCloudStorageBuilder::new().with_bucket_name(&bucket.name).with_retry(retry);
            let set = settings(variables, "GOOGLE_", GoogleConfigKey::Client);
            Arc::new(set.into_iter().fold(builder, |builder, (key, value)| builder.with_config(key, value)).build()?)
        }
        StoreKind::Azure => {
            let builder = MicrosoftAzureBuilder::new().with_container_name(&bucket.name).with_retry(retry);
            let set = settings(variables, "AZURE_", AzureConfigKey::Client);
            Arc::new(set.into_iter().fold(builder, |builder, (key, value)| builder.with_config(key, value)).build()?)
        }
    })
}

/// The settings in variables with the given `prefix` that the client supports, and its timeouts.
fn settings<K: FromStr>(
    variables: &BTreeMap<String, String>,
    prefix: &str,
    waiting: impl Fn(ClientConfigKey) -> K,
) -> Vec<(K, String)> {
    let said = variables.iter().filter(|(name, _)| name.starts_with(prefix));
    let said = said.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.clone())));
    said.chain(WAITING.map(|(key, value)| (waiting(key), value.to_owned()))).collect()
}
