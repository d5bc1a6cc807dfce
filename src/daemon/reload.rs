//! Applies the operator's settings atomically.

use anyhow::bail;
use sd_notify::NotifyState;

use super::clicks::apps_of;
use super::desk::Desk;
use super::engine::Engine;
use super::places::without_directory;
use super::runner::with_runner;
use super::{Load, check_overlaps, now, sending, site_of, with_causes};
use crate::case::Case;
use crate::config::{ASK_WAIT, Settings};
use crate::destinations::{Destination, SlackApp};
use crate::diagnosis::Site;
use crate::logdir::Place;

/// Everything derived from the settings, checked but not yet in force.
pub(super) struct Prepared {
    pub(super) settings: Settings,
    pub(super) site: Site,
    pub(super) destinations: Vec<Destination>,
    /// The Slack apps with buttons.
    pub(super) apps: Vec<SlackApp>,
}

impl Prepared {
    /// Compiles the policies, reads the secrets, and sets up the destinations.
    pub(super) fn of(settings: Settings) -> anyhow::Result<Prepared> {
        let settings = with_runner(settings)?;
        check_overlaps(&settings)?;
        let mut site = site_of(&settings)?;
        let destination = |wanted| sending::destination_of(&settings, wanted);
        let destinations =
            settings.destinations.iter().map(destination).collect::<anyhow::Result<Vec<Destination>>>()?;
        site.by_hand = !destinations.iter().any(Destination::runs_suggestions);
        if settings.limits.ask_wait.is_none() && destinations.iter().any(Destination::reaches_people) {
            site.answer_within = ASK_WAIT.as_secs_f64();
        }
        let apps = apps_of(&settings, &destinations)?;
        Ok(Prepared { settings, site, destinations, apps })
    }
}

impl Engine {
    /// Reloads the settings. On any mistake, logs it and keeps the previous settings.
    pub(super) fn reload(&mut self, load: &Load<'_>) {
        let mut reloading = vec![NotifyState::Reloading];
        reloading.extend(NotifyState::monotonic_usec_now());
        let _ = sd_notify::notify(&reloading);
        match load().and_then(Prepared::of).and_then(|prepared| self.put_in_force(prepared)) {
            Ok(()) => {
                tracing::info!("settings reloaded");
                self.in_force();
                let changes = self.diagnosis.resume_all(now());
                if let Err(error) = self.commit(changes, Vec::new()) {
                    tracing::error!(error = with_causes(&error), "could not resume paused cases");
                }
            }
            Err(error) => {
                let error = with_causes(&error);
                tracing::error!(error, "the reloaded settings were rejected; the previous settings stay in force");
                self.board.metrics.reload_successful.set(0);
                self.refused = Some(error);
            }
        }
        let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&self.in_one_line())]);
    }

    /// Records that the newest settings are in force.
    pub(super) fn in_force(&mut self) {
        self.refused = None;
        self.board.metrics.reload_successful.set(1);
        self.board.metrics.reload_time.set(now());
    }

    fn put_in_force(&mut self, prepared: Prepared) -> anyhow::Result<()> {
        let Prepared { settings, site, destinations, apps } = prepared;
        let before = &self.settings;
        let fixed = [
            ("watch.logdir", places(&settings).eq(places(before))),
            ("state", settings.state == before.state),
            ("store", settings.store == before.store),
            ("status", settings.status == before.status),
        ];
        if let Some((name, _)) = fixed.iter().find(|(_, same)| !same) {
            bail!("`{name}` changed, which requires a restart: restart nextrun, or revert the change");
        }
        let stranded: Vec<String> = self.diagnosis.stranded(&site).map(standing).collect();
        if !stranded.is_empty() {
            bail!(
                "open cases could not continue because their policy or state no longer exists: {}; keep it until they \
                 are closed, or close them with `nextrun cases close`",
                stranded.join(", ")
            );
        }
        let desk = Desk::new(&settings, &destinations, &self.store)?;
        self.directories.renew(&settings);
        self.diagnosis.go_on_at(site);
        self.desk = desk;
        self.board.let_approve(settings.approvers.clone());
        self.clicks.follow(apps);
        self.outbox.replace(destinations);
        self.outbox.wake();
        self.settings = settings;
        Ok(())
    }

    /// Cases from an earlier process whose policy or log directory is not configured any more; they wait until it is.
    pub(super) fn warn_of_stranded(&self) {
        let site = self.diagnosis.site();
        let there = |case: &&Case| site.policies.iter().any(|choice| choice.policy.name() == case.policy);
        for case in self.diagnosis.stranded(site).filter(|case| !there(case)) {
            let case = standing(case);
            tracing::warn!(
                "{case} cannot continue because its policy is not configured; add it again, or close the case with \
                 `nextrun cases close`"
            );
        }
        let open = self.diagnosis.cases().filter(|case| case.closed.is_none());
        without_directory(&self.settings, open).iter().for_each(|case| tracing::warn!("{case}"));
    }
}

/// The log directories, by name.
fn places(settings: &Settings) -> impl Iterator<Item = (&Option<String>, &Option<Place>)> {
    settings.watch.iter().map(|directory| (&directory.name, &directory.logdir))
}

fn standing(case: &Case) -> String {
    format!("case {} (policy {}, state {})", case.id, case.policy, case.position.state)
}
