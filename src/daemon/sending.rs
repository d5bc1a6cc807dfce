//! From the operator's settings to destinations that are ready to send.

use std::sync::{Arc, Mutex};

use super::{preset_of, variables};
use crate::config::{DestinationSettings, Settings};
use crate::destinations::{Destination, Http, Setup, Surroundings, Timeouts};

/// A destination of the configuration, with its preset and its secrets read; nothing is sent.
///
/// # Errors
/// Its preset or its secrets cannot be read, a setting is not what it should be, or its host is not allowed.
pub fn destination_of(settings: &Settings, wanted: &DestinationSettings) -> anyhow::Result<Destination> {
    let preset = Arc::new(preset_of(&wanted.preset)?);
    let fields = wanted
        .read_fields(&variables())
        .map_err(|(field, error)| anyhow::anyhow!("the destination {}: `{field}`: {error}", wanted.name))?;
    let surroundings = Surroundings {
        host: host(),
        http: Http::new(Timeouts { whole: wanted.timeout, ..Timeouts::default() }),
        terminal: Arc::new(Mutex::new(std::io::stdout())),
    };
    let setup = Setup {
        name: wanted.name.clone(),
        fields,
        wants: wanted.wants.clone(),
        on_unknown: wanted.on_unknown,
        give_up_after: Some(wanted.give_up_after),
        allowed_hosts: settings.allowed_hosts.clone(),
    };
    Ok(Destination::new(preset, setup, &surroundings)?)
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
