//! From the operator's settings to destinations that are ready to send.

use std::sync::{Arc, Mutex};

use super::variables;
use crate::case::MessageKind;
use crate::config::DestinationSettings;
use crate::destinations::{Destination, Http, Preset, Setup, Surroundings, Timeouts};

/// A destination of the configuration, with its secrets read; nothing is sent.
///
/// # Errors
/// Its secrets cannot be read, or a setting is not what it should be.
pub fn destination_of(wanted: &DestinationSettings) -> anyhow::Result<Destination> {
    let preset = Arc::new(Preset::shipped(&wanted.preset)?);
    let fields = wanted
        .read_fields(&variables())
        .map_err(|(field, error)| anyhow::anyhow!("the destination {}: `{field}`: {error}", wanted.name))?;
    let surroundings = Surroundings {
        host: host(),
        http: Http::new(Timeouts { whole: wanted.timeout, ..Timeouts::default() })?,
        terminal: Arc::new(Mutex::new(std::io::stdout())),
    };
    let setup = Setup {
        name: wanted.name.clone(),
        fields,
        wants: wanted.wants.clone(),
        on_unknown: wanted.on_unknown,
        give_up_after: Some(wanted.give_up_after),
    };
    Ok(Destination::new(preset, setup, &surroundings)?)
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The kinds of message that each destination gets.
pub(super) fn wants_of(destinations: &[Destination]) -> Vec<(String, Vec<MessageKind>)> {
    destinations.iter().map(|destination| (destination.name.clone(), destination.wants.clone())).collect()
}
