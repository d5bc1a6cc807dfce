//! Converts the operator's settings to destinations that are ready to send.

use std::sync::{Arc, Mutex};

use super::{preset_of, variables};
use crate::config::{DestinationSettings, Secret, Settings};
use crate::destinations::{Destination, Fresh, Http, Reread, Setup, Surroundings, Timeouts};
use crate::logdir::Place;
use crate::screen::Above;

/// A destination of the configuration, with its preset and secrets; sends nothing.
///
/// # Errors
/// Its preset or its secrets cannot be read, a setting is invalid, or its host is not allowed.
pub fn destination_of(settings: &Settings, wanted: &DestinationSettings) -> anyhow::Result<Destination> {
    let preset = Arc::new(preset_of(&wanted.preset)?);
    let mut fields = wanted
        .read_fields(&variables())
        .map_err(|(field, error)| anyhow::anyhow!("the destination {}: `{field}`: {error}", wanted.name))?;
    // What writes into the log directory writes into the one that is watched.
    let only = if let [only] = &*settings.watch { only.logdir.as_ref() } else { None };
    if let (true, Some(Place::Disk(logdir))) = (preset.fields.contains_key("logdir"), only) {
        let absolute = std::path::absolute(logdir)?.display().to_string();
        fields.entry("logdir".to_owned()).or_insert_with(|| Secret::new(&absolute));
    }
    let surroundings = Surroundings {
        host: host(),
        http: Http::new(Timeouts { whole: wanted.timeout, ..Timeouts::default() }),
        terminal: Arc::new(Mutex::new(Above(std::io::stdout()))),
    };
    let accounts = wanted
        .read_accounts(&variables())
        .map_err(|(field, error)| anyhow::anyhow!("the destination {}: `{field}`: {error}", wanted.name))?;
    let setup = Setup {
        name: wanted.name.clone(),
        fields,
        reread: Some(reread(wanted)),
        accounts,
        wants: wanted.wants.clone(),
        on_unknown: wanted.on_unknown,
        give_up_after: Some(wanted.give_up_after),
        status_every: Some(wanted.status_every),
        allowed_hosts: settings.allowed_hosts.clone(),
    };
    let destination = Destination::new(preset, setup, &surroundings)?;
    let is_queue = settings.watch.iter().any(|directory| directory.queue.as_ref() == Some(&destination.name));
    if is_queue && !destination.runs_suggestions() {
        anyhow::bail!("`queue: {}`: this destination runs no suggestions; name a job queue or an engine", wanted.name);
    }
    Ok(destination)
}

/// Rereads the settings of a destination, to pick up a renewed token.
fn reread(wanted: &DestinationSettings) -> Reread {
    let wanted = wanted.clone();
    Arc::new(move || {
        let read =
            wanted.read_fields(&variables()).and_then(|fields| Ok((fields, wanted.read_accounts(&variables())?)));
        let (fields, accounts) = read.map_err(|(field, error)| format!("`{field}`: {error}"))?;
        Ok(Fresh { fields, accounts })
    })
}

pub(super) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
