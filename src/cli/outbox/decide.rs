//! Decisions of a person about messages. The daemon owns the messages: the command stores a request, which the daemon
//! carries out in its next pass or at its next start.

use std::io::Write;

use anyhow::bail;

use super::{Number, one, waiting};
use crate::case::{CaseId, MessageKind};
use crate::cli::cases::At;
use crate::cli::plain;
use crate::config::Settings;
use crate::daemon::preset_of;
use crate::destinations::{Preset, SameId};
use crate::store::{Commit, DeliveryState, Owed, Store, StoredCase, Wait, Wish};

pub(super) fn resend(out: &mut impl Write, ids: &[i64], stale: bool, at: &At) -> anyhow::Result<()> {
    let settings = at.settings()?;
    let mut store = at.store()?.open_existing()?;
    // Either all deliveries can be sent again, or none is.
    let rows: Vec<Owed> = ids.iter().map(|id| readable(store.as_mut(), *id)).collect::<anyhow::Result<_>>()?;
    for owed in &rows {
        let id = owed.delivery.id;
        match owed.delivery.state {
            DeliveryState::Pending | DeliveryState::Unknown | DeliveryState::Held | DeliveryState::Dead => {}
            state => bail!("delivery {id} is {}, so it cannot be sent again", state.as_str()),
        }
        if !stale && is_stale(store.as_mut(), owed)? {
            bail!("delivery {id} suggests a run that its case no longer waits for; add --stale to send it anyway");
        }
    }
    let wish = |owed: &Owed| (Some(owed.delivery.message.case.clone()), Wish::Resend(owed.delivery.id));
    store.commit(&Commit { requests: rows.iter().map(wish).collect(), ..Commit::default() })?;
    for owed in &rows {
        let twice = match preset(&settings, at, &owed.delivery.destination) {
            Some(preset) if preset.same_id == SameId::Recognised => {
                "; the destination recognises the id if it already has the message"
            }
            Some(preset) if preset.can_be_asked() => {
                "; if it may have arrived before, nextrun first asks the destination"
            }
            Some(_) => "; if it did arrive before, the destination will show it twice",
            None => "; if it did arrive before, a destination that does not recognise ids will show it twice",
        };
        let destination = plain(&owed.delivery.destination);
        writeln!(out, "the daemon will send delivery {} to {destination} again{twice}", owed.delivery.id)?;
    }
    Ok(())
}

fn preset(settings: &Settings, at: &At, destination: &str) -> Option<Preset> {
    let known = settings.destinations.iter().find(|known| at.names_configuration() && known.name == destination)?;
    preset_of(&known.preset).ok()
}

/// Whether the delivery suggests a run that its case no longer waits for.
fn is_stale(store: &mut dyn Store, owed: &Owed) -> anyhow::Result<bool> {
    let message = &owed.delivery.message;
    if message.kind() != MessageKind::RunSuggested {
        return Ok(false);
    }
    let Some(StoredCase { state, .. }) = store.case(&message.case.0)? else { return Ok(true) };
    let case = crate::case::Case::read(state)?;
    Ok(case.open_experiment().is_none_or(|experiment| experiment.suggestion != message.id))
}

pub(super) fn give_up(out: &mut impl Write, numbers: &[Number], why: &str, at: &At) -> anyhow::Result<()> {
    let mut store = at.store()?.open_existing()?;
    let (mut requests, mut said) = (Vec::new(), Vec::new());
    for number in numbers {
        let (case, wish, what) = match *number {
            Number::Delivery(id) => drop_delivery(store.as_mut(), id, why)?,
            Number::Waiting(id) => drop_waiting(store.as_mut(), id, why)?,
        };
        requests.push((Some(case), wish));
        said.push(what);
    }
    store.commit(&Commit { requests, ..Commit::default() })?;
    for what in said {
        writeln!(out, "the daemon will drop {}", plain(&what))?;
    }
    Ok(())
}

/// Stores the request and describes it in words.
type Asked = (CaseId, Wish, String);

fn drop_delivery(store: &mut dyn Store, id: i64, why: &str) -> anyhow::Result<Asked> {
    let owed = readable(store, id)?;
    match owed.delivery.state {
        DeliveryState::Pending | DeliveryState::Unknown | DeliveryState::Held | DeliveryState::Sending => {}
        state => bail!("delivery {id} is already {}", state.as_str()),
    }
    let what = format!("delivery {id} to {}", owed.delivery.destination);
    Ok((owed.delivery.message.case, Wish::Drop { delivery: id, why: why.to_owned() }, what))
}

fn drop_waiting(store: &mut dyn Store, id: i64, why: &str) -> anyhow::Result<Asked> {
    let Wait { message, destination, .. } = waiting(store, id)?.wait;
    let what = format!("message w{id} to {destination}");
    let wish = Wish::Withdraw { row: id, message: message.id, destination, why: why.to_owned() };
    Ok((message.case, wish, what))
}

/// A delivery that can be changed.
fn readable(store: &mut dyn Store, id: i64) -> anyhow::Result<Owed> {
    match one(store, id)? {
        Ok(owed) => Ok(owed),
        Err(unreadable) => {
            bail!("delivery {id} contains a {} that cannot be read: {}", unreadable.what, unreadable.reason)
        }
    }
}
