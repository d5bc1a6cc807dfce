//! Requests of operators and results of deliveries, both of which change cases.
//!
//! Owns: how each request is carried out. Must not know: when to check for requests.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::engine::Engine;
use super::now;
use crate::case::CaseId;
use crate::diagnosis::{Changes, Report};
use crate::outbox;
use crate::store::{Commit, Decision, DeliveryState, JournalEntry, Owed, Request, Unreadable, Which, Wish};

impl Engine {
    /// Carries out the requests of operators.
    pub(super) fn take_requests(&mut self) -> anyhow::Result<()> {
        let requests = match self.store.blocking(|store| store.requests()) {
            Err(error) if error.may_pass() => {
                self.store_failed(&error);
                return Ok(());
            }
            requests => requests?,
        };
        self.store_works();
        for request in requests {
            match request {
                Ok(request) => self.carry_out(&request)?,
                Err(unreadable) => self.tell_unreadable(&unreadable),
            }
        }
        Ok(())
    }

    /// Carries out a request. If its case no longer exists, nothing changes.
    fn carry_out(&mut self, request: &Request) -> anyhow::Result<()> {
        let none = CaseId(String::new());
        let case = request.case.as_ref().unwrap_or(&none);
        let changes = match &request.wish {
            Wish::Link(job) => self.diagnosis.link(case, job, now()),
            Wish::Close { verdict, why } => self.diagnosis.close(case, verdict, why, now()),
            Wish::Reply { ask, reply } => self.diagnosis.reply(case, ask, reply, now()),
            Wish::Resume => self.diagnosis.resume(case, now()),
            Wish::FateOfExperiment { suggestion, fate } => {
                self.board.metrics.fates.with_label_values(&[fate.state.word()]).inc();
                self.diagnosis.fate_of_experiment(suggestion, fate, now())
            }
            Wish::FateOfJob { job, fate } => {
                self.board.metrics.fates.with_label_values(&[fate.state.word()]).inc();
                self.diagnosis.fate_of_job(job, fate, now())
            }
            Wish::Resend(delivery) => return self.resend(request.id, *delivery),
            Wish::Drop { delivery, why } => return self.drop_delivery(request.id, *delivery, why),
            Wish::Withdraw { row, message, destination, why } => {
                let detail = json!({ "message": message, "destination": destination, "why": why });
                return self.withdraw(request, *row, message, detail);
            }
        };
        self.commit(changes, vec![request.id])
    }

    /// A request that was damaged, or written by a newer version, stays in place and is reported once.
    fn tell_unreadable(&mut self, request: &Unreadable) {
        if self.unreadable_requests.insert(request.id) {
            tracing::warn!(request = request.id, why = request.reason, "a request cannot be read and is ignored");
        }
    }

    fn resend(&mut self, request: i64, delivery: i64) -> anyhow::Result<()> {
        tracing::info!(delivery, "sent again as requested");
        let (handled, decisions) = (vec![request], vec![(delivery, Decision::Resend)]);
        self.keep(&Commit { handled, decisions, ..Commit::default() })?;
        self.outbox.wake();
        Ok(())
    }

    /// Gives up a delivery. The case is notified before the request is removed, so that a process that ends in between
    /// repeats it. A delivery that is being sent is postponed to the next pass.
    fn drop_delivery(&mut self, request: i64, delivery: i64, why: &str) -> anyhow::Result<()> {
        let why = format!("dropped manually: {why}");
        self.keep(&Commit { decisions: vec![(delivery, Decision::Drop { why, at: now() })], ..Commit::default() })?;
        match self.owed(Which { delivery: Some(delivery), ..Which::default() })?.first() {
            Some(owed) if owed.delivery.state == DeliveryState::Sending => return Ok(()),
            Some(owed) if owed.delivery.state == DeliveryState::Dead => {
                tracing::info!(delivery, "dropped as requested");
                if let Some(report) = outbox::Report::of(&owed.delivery) {
                    self.take(&report)?;
                }
                self.outbox.wake();
            }
            _ => tracing::warn!(delivery, "not dropped as requested: it had already ended"),
        }
        self.commit(Changes::default(), vec![request])
    }

    /// Withdraws a delayed message. As above, the case is notified before the request is removed.
    fn withdraw(&mut self, request: &Request, row: i64, message: &str, detail: Value) -> anyhow::Result<()> {
        let quieted = self.waited_for(|engine| engine.store.blocking(|store| store.quieted()))?;
        if quieted.waiting.iter().any(|known| known.id == row) {
            tracing::info!(id = message, "dropped as requested while it was delayed");
            let entry = JournalEntry { time: now(), kind: "dropped".to_owned(), detail };
            let journal = request.case.iter().map(|case| (case.clone(), entry.clone())).collect();
            self.keep(&Commit { journal, withdrawn: vec![row], ..Commit::default() })?;
        }
        self.may_never_start(message)?;
        self.commit(Changes::default(), vec![request.id])
    }

    fn owed(&mut self, which: Which<'_>) -> anyhow::Result<Vec<Owed>> {
        let listed = self.waited_for(|engine| engine.store.blocking(|store| store.history(which)))?;
        Ok(listed.into_iter().flatten().collect())
    }

    pub(super) fn take_reports(&mut self) -> anyhow::Result<()> {
        while let Ok(report) = self.incoming.try_recv() {
            self.take(&report)?;
        }
        Ok(())
    }

    pub(super) fn take(&mut self, report: &outbox::Report) -> anyhow::Result<()> {
        let report = match report {
            outbox::Report::Delivered { message_id, destination, .. } => {
                tracing::debug!(message_id, destination, "delivery reported");
                let mut changes = self.diagnosis.taken(message_id, now());
                if self.desk.is_machine(destination) {
                    self.diagnosis.handed_to(message_id, std::slice::from_ref(destination), &mut changes);
                }
                return self.commit(changes, Vec::new());
            }
            outbox::Report::Refused { message_id, destination, unknown_knobs, why } => {
                tracing::debug!(message_id, destination, why, "refusal reported");
                let mut changes = Changes::default();
                self.diagnosis.not_run_by(message_id, destination, &mut changes);
                self.commit(changes, Vec::new())?;
                let unknown_knobs: BTreeSet<String> = unknown_knobs.iter().cloned().collect();
                Report::Refused { suggestion: message_id.clone(), unknown_knobs }
            }
            outbox::Report::Blocked { message_id, destination, why } => {
                tracing::debug!(message_id, destination, why, "problem for the site reported");
                // If another destination runs the suggestion, it does not matter that people were not notified.
                if !self.desk.is_machine(destination) && !self.diagnosis.site().by_hand {
                    return Ok(());
                }
                let changes = self.diagnosis.refused_by_site(message_id, destination, why, now());
                return self.commit(changes, Vec::new());
            }
            outbox::Report::Dead { message_id, destination, why } => {
                tracing::debug!(message_id, destination, why, "dead letter reported");
                let mut changes = Changes::default();
                self.diagnosis.not_run_by(message_id, destination, &mut changes);
                self.commit(changes, Vec::new())?;
                return self.may_never_start(message_id);
            }
        };
        let changes = self.diagnosis.report(&report, now());
        self.commit(changes, Vec::new())
    }

    /// A destination gave up a message. If no other destination has the suggestion, the case that waits for it
    /// continues without it.
    pub(super) fn may_never_start(&mut self, message: &str) -> anyhow::Result<()> {
        if !self.diagnosis.waits_for(message) || self.may_start(message)? {
            return Ok(());
        }
        let changes = self.diagnosis.report(&Report::Undeliverable { suggestion: message.to_owned() }, now());
        self.commit(changes, Vec::new())
    }

    /// Whether another destination has the suggestion or may still receive it; its run can then start although one
    /// destination gave up.
    fn may_start(&mut self, message: &str) -> anyhow::Result<bool> {
        let quieted = self.waited_for(|engine| engine.store.blocking(|store| store.quieted()))?;
        if quieted.waiting.iter().any(|row| row.wait.message.id == message) {
            return Ok(true);
        }
        let ended = |owed: &Owed| matches!(owed.delivery.state, DeliveryState::Dead | DeliveryState::Refused);
        Ok(!self.owed(Which { message: Some(message), ..Which::default() })?.iter().all(ended))
    }
}
