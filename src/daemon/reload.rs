//! The operator's settings put in force: whole, or not at all.

use anyhow::{Context, bail};
use sd_notify::NotifyState;

use super::desk::Desk;
use super::engine::Engine;
use super::runner::with_runner;
use super::{Load, logdir_of, notifier, now, sending, site_of, with_causes};
use crate::case::Case;
use crate::config::{ASK_WAIT, Settings};
use crate::destinations::Destination;
use crate::diagnosis::Site;

/// All that follows from the settings, checked; nothing is in force yet.
pub(super) struct Prepared {
    pub(super) settings: Settings,
    pub(super) site: Site,
    pub(super) destinations: Vec<Destination>,
}

impl Prepared {
    /// Compiles the policies, reads the secrets, sets the destinations up.
    pub(super) fn of(settings: Settings) -> anyhow::Result<Prepared> {
        let settings = with_runner(settings)?;
        let mut site = site_of(&settings)?;
        let destination = |wanted| sending::destination_of(&settings, wanted);
        let destinations =
            settings.destinations.iter().map(destination).collect::<anyhow::Result<Vec<Destination>>>()?;
        site.by_hand = !destinations.iter().any(Destination::runs_suggestions);
        if settings.limits.ask_wait.is_none() && destinations.iter().any(Destination::reaches_people) {
            site.answer_within = ASK_WAIT.as_secs_f64();
        }
        Ok(Prepared { settings, site, destinations })
    }
}

impl Engine {
    /// Reads the settings again. On any mistake the ones before stay in force, and people are told.
    pub(super) fn reload(&mut self, load: &Load<'_>) {
        let mut reloading = vec![NotifyState::Reloading];
        reloading.extend(NotifyState::monotonic_usec_now());
        let _ = sd_notify::notify(&reloading);
        match load().and_then(Prepared::of).and_then(|prepared| self.put_in_force(prepared)) {
            Ok(()) => {
                tracing::info!("the settings were read again, and are in force");
                self.in_force();
                let changes = self.diagnosis.resume_all(now());
                if let Err(error) = self.commit(changes, Vec::new()) {
                    tracing::error!(error = with_causes(&error), "paused cases could not be resumed");
                }
            }
            Err(error) => {
                let error = with_causes(&error);
                tracing::error!(error, "the settings were read again and refused; those before stay in force");
                self.board.metrics.reload_successful.set(0);
                self.refused = Some(error);
            }
        }
        let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&self.in_one_line())]);
    }

    /// Takes note that the newest settings are in force.
    pub(super) fn in_force(&mut self) {
        self.refused = None;
        self.board.metrics.reload_successful.set(1);
        self.board.metrics.reload_time.set(now());
    }

    fn put_in_force(&mut self, prepared: Prepared) -> anyhow::Result<()> {
        let Prepared { settings, site, destinations } = prepared;
        let before = &self.settings;
        let fixed = [
            ("watch.logdir", settings.watch.logdirs == before.watch.logdirs),
            ("state", settings.state == before.state),
            ("status", settings.status == before.status),
        ];
        if let Some((name, _)) = fixed.iter().find(|(_, same)| !same) {
            bail!("`{name}` changed, which takes a restart: restart, or take the change back");
        }
        let stranded: Vec<String> = self.diagnosis.stranded(&site).map(standing).collect();
        if !stranded.is_empty() {
            bail!(
                "open cases could not go on, for their policy or their state is gone: {}; put it back until they are \
                 closed, or close them with `nextrun cases close`",
                stranded.join(", ")
            );
        }
        let desk = Desk::new(&settings, &destinations, &self.store)?;
        let logdir = logdir_of(&settings).context("the settings were checked before")?;
        self.notifier = notifier(&settings, logdir);
        self.watcher.ignore_older_than(site.history_after);
        self.watch_directories();
        self.diagnosis.go_on_at(site);
        self.desk = desk;
        self.board.let_approve(settings.approvers.clone());
        self.outbox.replace(destinations);
        self.outbox.wake();
        self.settings = settings;
        Ok(())
    }

    /// Cases that an earlier process left whose policy this one does not have: they wait for its return.
    pub(super) fn warn_of_stranded(&self) {
        let site = self.diagnosis.site();
        let there = |case: &&Case| site.policies.iter().any(|choice| choice.policy.name() == case.policy);
        for case in self.diagnosis.stranded(site).filter(|case| !there(case)) {
            let case = standing(case);
            tracing::warn!(
                "{case} cannot go on: its policy is gone; put it back, or close the case with `nextrun cases close`"
            );
        }
    }
}

fn standing(case: &Case) -> String {
    format!("case {} (policy {}, state {})", case.id, case.policy, case.position.state)
}
