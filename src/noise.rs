//! Who receives which message and when: routes, silences, quiet periods, digests.
//!
//! Owns: the destinations of a message, and whether it is delayed. Must not know: how a message is sent, SQL, the
//! clock.
//!
//! Pure functions of messages, settings and time. At each of its destinations, a message is either sent now, delayed
//! and sent later (alone or in a digest), or silenced, which the journal of its case records. Messages of one case stay
//! in order at each destination: a message that follows a delayed message is also delayed.

mod digest;
mod quiet;
mod route;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::json;

use crate::case::{CaseId, JournalEntry, Message, MessageKind};
use crate::config::{Burst, Glob, Noise, Patience, Route, Watched};
use crate::facts::Knobs;
use crate::store::{Quieted, Silence, Wait, WaitingMessage};

pub use quiet::quiet_until;
use route::Subject;

/// The relevant properties of a destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlet {
    /// Its name in the configuration.
    pub name: String,
    /// The kinds of message that it receives.
    pub wants: Vec<MessageKind>,
    /// The rules that select messages.
    pub route: Route,
    /// Whether messages can be delayed.
    pub patience: Patience,
    /// Whether it runs suggestions automatically; only such a destination receives quiet probes.
    pub machine: bool,
}

/// A recently opened case.
#[derive(Debug, Clone, PartialEq)]
pub struct Opening {
    /// Its baseline job.
    pub job: String,
    /// The baseline's knobs.
    pub knobs: Knobs,
    /// Its symptoms.
    pub symptoms: Vec<String>,
    /// Seconds since the Unix epoch.
    pub time: f64,
}

/// A message, with the knobs of its job.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// The message.
    pub message: Message,
    /// The baseline's knobs.
    pub knobs: Knobs,
}

/// The inputs of the decision in addition to the messages.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The site's settings.
    pub noise: &'a Noise,
    /// The log directories, each with the destination that runs its suggestions.
    pub watched: &'a Watched,
    /// All destinations.
    pub outlets: &'a [Outlet],
    /// Silences, and delayed messages.
    pub quieted: &'a Quieted,
    /// The cases opened within the digest window, including those of the messages.
    pub openings: &'a [Opening],
    /// The destinations with a digest in progress, which later messages must not overtake.
    pub busy: &'a BTreeSet<String>,
    /// Seconds since the Unix epoch.
    pub now: f64,
}

/// The result to commit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Messages to send now, each with its destinations.
    pub owed: Vec<(Message, Vec<String>)>,
    /// Messages to delay.
    pub waiting: Vec<Wait>,
    /// Row ids of delayed messages to send, each with the message in which they are sent.
    pub released: Vec<(i64, String)>,
    /// Row ids of delayed messages that were silenced meanwhile: they are never sent.
    pub withdrawn: Vec<i64>,
    /// The messages that a silence suppresses at a destination.
    pub silenced: Vec<String>,
    /// Journal entries of the cases.
    pub journal: Vec<(CaseId, JournalEntry)>,
}

/// The decision about a message at one destination.
enum Ruling<'a> {
    Send,
    Wait { until: f64, why: String },
    Silence(&'a Silence),
}

/// Up to this many delayed messages are sent individually: a digest of them would be longer and contain less.
const FEW: usize = 3;

impl Situation<'_> {
    /// Distributes new messages in order.
    pub fn share(&self, letters: Vec<Letter>) -> Plan {
        let mut plan = Plan::default();
        for Letter { message, knobs } in letters {
            let subject = Subject::of_message(&message, &knobs);
            let mut at_once = Vec::new();
            // Nobody hears of a quiet probe.
            let outlets = self.outlets.iter().filter(|outlet| outlet.machine || !message.is_quiet());
            for outlet in outlets.filter(|outlet| self.gets(outlet, message.kind(), &subject)) {
                match self.rule(outlet, &message, &plan.waiting) {
                    Ruling::Send => at_once.push(outlet.name.clone()),
                    Ruling::Silence(silence) => plan.note_silenced(&message, &outlet.name, silence, self.now),
                    Ruling::Wait { until, why } => {
                        let detail = json!({ "message": message.id, "destination": outlet.name, "why": why });
                        plan.note(&message.case, self.now, "waiting", detail);
                        let (message, destination) = (message.clone(), outlet.name.clone());
                        plan.waiting.push(Wait { message, destination, until, why });
                    }
                }
            }
            plan.owed.push((message, at_once));
        }
        plan
    }

    /// Sends the delayed messages of a destination that are due. `under_way` are the cases with an earlier message in
    /// progress there.
    pub fn release(&self, outlet: &str, under_way: &BTreeSet<CaseId>) -> Option<Plan> {
        let rows: Vec<&WaitingMessage> =
            self.quieted.waiting.iter().filter(|row| row.wait.destination == outlet).collect();
        let until = rows.iter().map(|row| self.due(row)).fold(f64::NEG_INFINITY, f64::max);
        let quiet = quiet_until(&self.noise.quiet, self.now).is_some();
        let overtakes = rows.iter().any(|row| under_way.contains(&row.wait.message.case));
        if rows.is_empty() || self.now < until || quiet || self.busy.contains(outlet) || overtakes {
            return None;
        }
        let mut plan = Plan::default();
        let to = || vec![outlet.to_owned()];
        // A silence that began during the delay also applies.
        let (mut rows, all) = (Vec::new(), rows);
        for row in all {
            match self.silence_of(&row.wait.message) {
                Some(silence) => {
                    plan.withdrawn.push(row.id);
                    plan.note_silenced(&row.wait.message, outlet, silence, self.now);
                }
                None => rows.push(row),
            }
        }
        // The cases of a digest are sent in one message, regardless of their number.
        let few = self.noise.digest.map_or(FEW, |burst| FEW.min(burst.cases.saturating_sub(1) as usize)).max(1);
        if rows.len() <= few {
            for row in rows {
                plan.released.push((row.id, row.wait.message.id.clone()));
                plan.owed.push((row.wait.message.clone(), to()));
            }
            return Some(plan);
        }
        for (digest, ids) in digest::digests(&rows, outlet, self.now) {
            for row in rows.iter().filter(|row| ids.contains(&row.id)) {
                let message = &row.wait.message;
                let detail = json!({ "message": message.id, "destination": outlet, "digest": digest.id });
                plan.note(&message.case, self.now, "digested", detail);
            }
            plan.released.extend(ids.into_iter().map(|id| (id, digest.id.clone())));
            plan.owed.push((digest, to()));
        }
        Some(plan)
    }

    /// The earliest time at which a delayed message may be sent, in seconds since the Unix epoch. Messages to a
    /// destination that no longer exists wait until it exists again.
    pub fn next_release(&self) -> Option<f64> {
        let known = |row: &&WaitingMessage| self.outlets.iter().any(|outlet| outlet.name == row.wait.destination);
        self.quieted.waiting.iter().filter(known).map(|row| self.due(row)).min_by(f64::total_cmp)
    }

    /// When a delayed message may be sent. If it was created later than now, the clock was set back, and it is due.
    fn due(&self, row: &WaitingMessage) -> f64 {
        if row.wait.message.time > self.now { self.now } else { row.wait.until }
    }

    fn gets(&self, outlet: &Outlet, kind: MessageKind, subject: &Subject<'_>) -> bool {
        let by_rules = |outlet: &Outlet| match &outlet.route {
            Route::Rules(rules) => rules.iter().any(|rule| subject.suits(rule)),
            Route::All | Route::Rest => false,
        };
        let elsewhere = || self.outlets.iter().any(|other| other.wants.contains(&kind) && by_rules(other));
        let may_run = !outlet.machine || self.watched.may_run(subject.job(), &outlet.name);
        outlet.wants.contains(&kind)
            && may_run
            && match &outlet.route {
                Route::All => true,
                Route::Rules(_) => by_rules(outlet),
                Route::Rest => !elsewhere(),
            }
    }

    fn rule(&self, outlet: &Outlet, message: &Message, waiting_now: &[Wait]) -> Ruling<'_> {
        if outlet.patience == Patience::AtOnce {
            return Ruling::Send;
        }
        if let Some(silence) = self.silence_of(message) {
            return Ruling::Silence(silence);
        }
        let before = self.quieted.waiting.iter().map(|row| &row.wait).chain(waiting_now);
        let here: Vec<&Wait> = before.filter(|wait| wait.destination == outlet.name).collect();
        if let Some((until, quiet)) = quiet_until(&self.noise.quiet, self.now) {
            return Ruling::Wait { until, why: format!("quiet period, {quiet}") };
        }
        if let Some(wait) = here.iter().find(|wait| wait.message.case == message.case) {
            return Ruling::Wait { until: wait.until, why: "an earlier message of the case is delayed".to_owned() };
        }
        if self.busy.contains(&outlet.name) {
            return Ruling::Wait { until: self.now, why: "a digest is in progress".to_owned() };
        }
        match self.noise.digest.filter(|burst| self.is_burst(outlet, message, *burst)) {
            Some(burst) => {
                let last = self.now + burst.within.as_secs_f64();
                // One digest for all cases of a burst: later messages wait no longer than the first.
                let until = here.iter().map(|wait| wait.until).filter(|until| *until > self.now).fold(last, f64::min);
                Ruling::Wait { until, why: "many cases opened at once".to_owned() }
            }
            None => Ruling::Send,
        }
    }

    /// The silence that currently applies to a message.
    fn silence_of(&self, message: &Message) -> Option<&Silence> {
        let silences = self.quieted.silences.iter();
        let mut silences = silences.filter(|silence| self.now < silence.until);
        silences.find(|silence| Glob::new(&silence.jobs).is_some_and(|jobs| jobs.matches(&message.subject)))
    }

    fn is_burst(&self, outlet: &Outlet, message: &Message, burst: Burst) -> bool {
        let recent = self.openings.iter().filter(|opening| {
            let subject = Subject::of_opening(opening);
            self.now - opening.time <= burst.within.as_secs_f64()
                && self.gets(outlet, MessageKind::CaseOpened, &subject)
        });
        message.kind() == MessageKind::CaseOpened && recent.count() >= burst.cases as usize
    }
}

impl Plan {
    fn note_silenced(&mut self, message: &Message, outlet: &str, silence: &Silence, time: f64) {
        let detail = json!({
            "message": message.id, "destination": outlet, "silence": silence.id, "by": silence.author,
            "why": silence.why,
        });
        self.silenced.push(message.id.clone());
        self.note(&message.case, time, "silenced", detail);
    }

    fn note(&mut self, case: &CaseId, time: f64, kind: &str, detail: serde_json::Value) {
        self.journal.push((case.clone(), JournalEntry { time, kind: kind.to_owned(), detail }));
    }
}
