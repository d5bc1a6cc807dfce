//! Who receives which message, and when delayed messages are sent: the store's side of [`crate::noise`].

use std::collections::{BTreeMap, BTreeSet};

use crate::case::{Case, CaseId, Message, MessageKind};
use crate::config::{Noise, Settings, Watched};
use crate::destinations::Destination;
use crate::noise::{Letter, Opening, Outlet, Plan, Situation};
use crate::store::{DeliveryState, Quieted, SharedStore, Store, StoreError};

pub(super) struct Desk {
    outlets: Vec<Outlet>,
    /// The destinations that run suggestions automatically.
    machines: BTreeSet<String>,
    watched: Watched,
    noise: Noise,
    /// By destination: the digests that are queued and may not have been delivered yet.
    digests: BTreeMap<String, BTreeSet<CaseId>>,
    /// The earliest time at which a delayed message may be sent, in seconds since the Unix epoch.
    next_release: Option<f64>,
}

/// The stored silences and delayed messages.
pub(super) struct Around {
    quieted: Quieted,
    /// The destinations with a digest in progress.
    busy: BTreeSet<String>,
}

impl Desk {
    /// The desk for these destinations, in the order of the settings.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn new(
        settings: &Settings,
        destinations: &[Destination],
        store: &SharedStore,
    ) -> Result<Desk, StoreError> {
        let runs_themselves = destinations.iter().any(Destination::runs_suggestions);
        // Where something runs what is suggested, people need not be told of each run, unless that stays in a thread or
        // the site wants it.
        let wants = |destination: &Destination, wanted: &crate::config::DestinationSettings| {
            let told = |kind: &MessageKind| {
                *kind != MessageKind::RunSuggested
                    || wanted.wants.is_some()
                    || !runs_themselves
                    || destination.threads()
                    || !destination.reaches_people()
            };
            destination.wants.iter().copied().filter(told).collect()
        };
        let outlet = |(destination, wanted): (&Destination, &crate::config::DestinationSettings)| Outlet {
            name: destination.name.clone(),
            wants: wants(destination, wanted),
            route: wanted.route.clone(),
            patience: wanted.patience.unwrap_or(destination.patience()),
            machine: destination.runs_suggestions(),
        };
        let outlets = destinations.iter().zip(&settings.destinations).map(outlet).collect();
        let machines = destinations.iter().filter(|destination| destination.runs_suggestions());
        let mut desk = Desk {
            outlets,
            machines: machines.map(|destination| destination.name.clone()).collect(),
            watched: settings.watch.clone(),
            noise: settings.noise.clone(),
            digests: BTreeMap::new(),
            next_release: Some(0.0),
        };
        for state in [DeliveryState::Pending, DeliveryState::Unknown] {
            for row in store.blocking(|store| store.deliveries(None, Some(state)))? {
                desk.remember(&row.message, &[row.destination]);
            }
        }
        Ok(desk)
    }

    /// The names of the destinations.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.outlets.iter().map(|outlet| outlet.name.as_str())
    }

    /// Whether a destination runs suggestions automatically.
    pub(super) fn is_machine(&self, destination: &str) -> bool {
        self.machines.contains(destination)
    }

    /// Each suggested run of a plan, with the destinations that receive it and run it automatically.
    pub(super) fn machines_of(&self, plan: &Plan) -> Vec<(String, Vec<String>)> {
        let is_run = |message: &Message| message.kind() == MessageKind::RunSuggested;
        let owed = plan.owed.iter().filter(|(message, _)| is_run(message));
        let owed = owed.flat_map(|(message, to)| to.iter().map(|name| (message.id.clone(), name.clone())));
        let waiting = plan.waiting.iter().filter(|wait| is_run(&wait.message));
        let waiting = waiting.map(|wait| (wait.message.id.clone(), wait.destination.clone()));
        let mut shared: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (suggestion, name) in owed.chain(waiting).filter(|(_, name)| self.is_machine(name)) {
            shared.entry(suggestion).or_default().push(name);
        }
        shared.into_iter().collect()
    }

    /// The stored silences and delayed messages.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn look(&mut self, store: &SharedStore) -> Result<Around, StoreError> {
        Ok(Around { quieted: store.blocking(|store| store.quieted())?, busy: self.busy(store)? })
    }

    /// Distributes messages; `cases` are all cases, including the updated ones.
    pub(super) fn share(&mut self, around: &Around, messages: Vec<Message>, cases: &[&Case], now: f64) -> Plan {
        let knobs = |message: &Message| {
            let case = cases.iter().find(|case| case.id == message.case);
            case.map(|case| case.baseline_facts.knobs.clone()).unwrap_or_default()
        };
        let letters = messages.into_iter().map(|message| Letter { knobs: knobs(&message), message }).collect();
        let within = self.noise.digest.map_or(0.0, |burst| burst.within.as_secs_f64());
        let recent = cases.iter().filter(|case| now - case.opened <= within && !case.is_quiet());
        let openings: Vec<Opening> = recent.map(|case| opening(case)).collect();
        let plan = self.situation(around, &openings, now).share(letters);
        if !plan.waiting.is_empty() {
            self.next_release = Some(0.0);
        }
        plan
    }

    /// Messages delayed until a time that a clock jump skipped may be sent now.
    pub(super) fn clock_was_set(&mut self) {
        self.next_release = Some(0.0);
    }

    /// Delayed messages that are sent now.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn release(&mut self, store: &SharedStore, now: f64) -> Result<Vec<Plan>, StoreError> {
        if self.next_release.is_none_or(|time| now < time) {
            return Ok(Vec::new());
        }
        let around = self.look(store)?;
        let situation = self.situation(&around, &[], now);
        let (mut plans, next) = (Vec::new(), situation.next_release());
        for outlet in &self.outlets {
            let under_way = store.blocking(|store| under_way(store, &around.quieted, &outlet.name))?;
            plans.extend(situation.release(&outlet.name, &under_way));
        }
        self.next_release = if plans.is_empty() { next } else { Some(0.0) };
        for (message, to) in plans.iter().flat_map(|plan| &plan.owed) {
            self.remember(message, to);
        }
        Ok(plans)
    }

    fn situation<'a>(&'a self, around: &'a Around, openings: &'a [Opening], now: f64) -> Situation<'a> {
        let Around { quieted, busy } = around;
        Situation { noise: &self.noise, watched: &self.watched, outlets: &self.outlets, quieted, openings, busy, now }
    }

    fn remember(&mut self, message: &Message, to: &[String]) {
        if message.kind() == MessageKind::Digest {
            for name in to {
                self.digests.entry(name.clone()).or_default().insert(message.case.clone());
            }
        }
    }

    /// The destinations with a digest in progress; removes those whose digest was delivered.
    fn busy(&mut self, store: &SharedStore) -> Result<BTreeSet<String>, StoreError> {
        let mut busy = BTreeSet::new();
        for (name, digests) in &mut self.digests {
            let mut open = BTreeSet::new();
            for digest in digests.iter() {
                if store.blocking(|store| is_under_way(store, digest, name))? {
                    open.insert(digest.clone());
                }
            }
            if !open.is_empty() {
                busy.insert(name.clone());
            }
            *digests = open;
        }
        Ok(busy)
    }
}

fn opening(case: &Case) -> Opening {
    Opening {
        job: case.baseline.clone(),
        knobs: case.baseline_facts.knobs.clone(),
        symptoms: case.findings.iter().map(|finding| finding.symptom.clone()).collect(),
        time: case.opened,
    }
}

/// The cases with a delayed message for a destination and an earlier message in progress there.
fn under_way(store: &mut dyn Store, quieted: &Quieted, destination: &str) -> Result<BTreeSet<CaseId>, StoreError> {
    let rows = quieted.waiting.iter().filter(|row| row.wait.destination == destination);
    let cases: BTreeSet<&CaseId> = rows.map(|row| &row.wait.message.case).collect();
    let mut found = BTreeSet::new();
    for case in cases {
        if is_under_way(store, case, destination)? {
            found.insert(case.clone());
        }
    }
    Ok(found)
}

fn is_under_way(store: &mut dyn Store, case: &CaseId, destination: &str) -> Result<bool, StoreError> {
    let rows = store.deliveries(Some(case), None)?;
    Ok(rows.iter().filter(|row| row.destination == destination).any(|row| match row.state {
        DeliveryState::Pending | DeliveryState::Sending | DeliveryState::Unknown => true,
        DeliveryState::Held | DeliveryState::Delivered | DeliveryState::Refused | DeliveryState::Dead => false,
    }))
}
