//! Publishes the state of the engine to the status page, the metrics and systemd.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::directory::Directory;
use super::engine::Engine;
use super::now;
use crate::case::Case;
use crate::diagnosis::Memory;
use crate::page::month_of;
use crate::status::{CaseLine, JobLine, Need, NeedKind, Shown, Stock};
use crate::store::Tally;
use crate::telemetry::PROBED;
use crate::watch::FileState;

/// Maximum number of closed cases listed, newest first.
const CLOSED_SHOWN: usize = 100;

impl Engine {
    /// Updates the values that change in every pass.
    pub(super) fn publish(&self) {
        let metrics = &self.board.metrics;
        {
            let _whole = metrics.update();
            let (runs, old) = self.directories.counts();
            metrics.runs.set(count(runs));
            metrics.old_runs.set(count(old));
            metrics.jobs.set(count(self.diagnosis.found().len()));
            metrics.last_turn.set(now());
            let mut found: BTreeMap<&str, i64> = BTreeMap::new();
            for symptom in self.diagnosis.found().flatten() {
                *found.entry(symptom).or_default() += 1;
            }
            for symptom in crate::symptoms::ids() {
                metrics.jobs_with_symptom.with_label_values(&[symptom]).set(found.get(symptom).copied().unwrap_or(0));
            }
            self.publish_cases();
            self.publish_probes();
        }
        // No other code needs the names of all cases and jobs.
        if self.settings.status.is_some() || self.wishes.live {
            self.show();
        }
        self.board.turned();
    }

    /// Data for the status page, without quiet probes.
    fn show(&self) {
        let mut cases: Vec<&Case> = self.diagnosis.cases().filter(|case| !case.is_quiet()).collect();
        cases.sort_by(|a, b| a.closed.is_some().cmp(&b.closed.is_some()).then(b.opened.total_cmp(&a.opened)));
        let open = cases.iter().filter(|case| case.closed.is_none()).count();
        let cases = cases.into_iter().take(open + CLOSED_SHOWN).map(CaseLine::of).collect();
        let experiments = self.diagnosis.jobs_of_experiments();
        let job = |(name, memory): (&str, &Memory)| {
            let judged = memory.judged().filter(|_| !experiments.contains(name));
            let status = judged.map(|(status, _)| status.as_str());
            let line = JobLine {
                status: if experiments.contains(name) { Some("experiment") } else { status },
                probability: judged.map(|(_, probability)| probability),
                symptoms: if judged.is_some() { memory.symptoms().to_vec() } else { Vec::new() },
                last_seen: memory.last_seen(),
            };
            (name.to_owned(), line)
        };
        let jobs = self.diagnosis.jobs().map(job).collect();
        let refused = self.refused.as_ref().map(|why| {
            let text = format!("the changed configuration was rejected; the previous settings are in force: {why}");
            Need::new(NeedKind::Trouble, text)
        });
        let troubles = self
            .directories
            .troubles()
            .into_iter()
            .chain(self.overlaps.iter().cloned())
            .map(|text| Need::new(NeedKind::Trouble, text));
        let needs = refused.into_iter().chain(troubles).collect();
        self.board.show(Shown { runs: self.directories.counts().0, cases, jobs, needs });
    }

    /// Data for the status page that are expensive to collect.
    fn show_stock(&self) {
        let now = now();
        let month = Timestamp::from_second(now as i64).unwrap_or_default().to_zoned(TimeZone::UTC);
        let begin = month.first_of_month().and_then(|first| first.start_of_day());
        let begin = begin.map_or(0.0, |begin| begin.timestamp().as_second() as f64);
        let told = self.diagnosis.cases().filter(|case| !case.is_quiet());
        let month = month_of(told, month.strftime("%B %Y").to_string(), begin, now);
        let curves = self.diagnosis.live_curves(self.directories.seen());
        let curves = curves.into_iter().map(|(case, curves)| (case.0, curves)).collect();
        self.board.show_stock(Stock { month, curves });
    }

    fn publish_cases(&self) {
        let metrics = &self.board.metrics;
        metrics.cases_open.reset();
        metrics.cases_closed.reset();
        for choice in &self.diagnosis.site().policies {
            metrics.cases_open.with_label_values(&[choice.policy.name()]).set(0);
        }
        for case in self.diagnosis.cases().filter(|case| !case.is_quiet()) {
            match &case.closed {
                None => metrics.cases_open.with_label_values(&[&case.policy]).inc(),
                Some(end) => metrics.cases_closed.with_label_values(&[&case.policy, &end.verdict]).inc(),
            }
        }
    }

    /// Counts probed jobs by result.
    fn publish_probes(&self) {
        let metrics = &self.board.metrics;
        let (mut states, mut outcomes) = (BTreeMap::<&str, i64>::new(), BTreeMap::<&str, i64>::new());
        let (mut probes, mut jobs) = (0.0, 0.0);
        for case in self.diagnosis.cases() {
            let Some(quiet) = &case.quiet else { continue };
            let state = match &case.closed {
                _ if !case.is_quiet() => "told",
                None => "open",
                Some(end) if end.verdict == "healthy" => "healthy",
                Some(_) => "inconclusive",
            };
            *states.entry(state).or_default() += 1;
            for experiment in case.experiments.iter().filter(|experiment| experiment.probe) {
                *outcomes.entry(experiment.outcome.as_deref().unwrap_or("open")).or_default() += 1;
            }
            (probes, jobs) = (probes + case.spent_on_probes(), jobs + quiet.job.seconds);
        }
        for state in PROBED {
            metrics.probed_jobs.with_label_values(&[state]).set(states.get(state).copied().unwrap_or(0));
        }
        metrics.probes.reset();
        for (outcome, count) in outcomes {
            metrics.probes.with_label_values(&[outcome]).set(count);
        }
        metrics.probe_seconds.set(probes);
        metrics.probed_seconds.set(jobs);
    }

    /// Counts that require checking every file and the whole outbox.
    pub(super) fn publish_stock(&self, tally: &Tally) {
        if self.settings.status.is_some() {
            self.show_stock();
        }
        let metrics = &self.board.metrics;
        let (mut states, mut bad, mut lag) = ([0; 4], 0u64, 0u64);
        for file in self.directories.here().flat_map(Directory::files) {
            let state = match file.state {
                FileState::Read => 0,
                FileState::Unfinished { .. } => 1,
                FileState::Damaged { .. } => 2,
                FileState::Unreadable(_) => 3,
            };
            states[state] += 1;
            (bad, lag) = (bad + file.bad_records, lag + file.lag);
        }
        let _whole = metrics.update();
        for (state, files) in ["read", "unfinished", "damaged", "unreadable"].into_iter().zip(states) {
            metrics.files.with_label_values(&[state]).set(files);
        }
        metrics.bad_records.set(i64::try_from(bad).unwrap_or(i64::MAX));
        metrics.lag_bytes.set(i64::try_from(lag).unwrap_or(i64::MAX));
        metrics.deliveries.reset();
        for destination in self.desk.names() {
            for state in ["pending", "dead", "held"] {
                metrics.deliveries.with_label_values(&[destination, state]).set(0);
            }
        }
        for (destination, state, deliveries) in &tally.counts {
            let labels = [destination.as_str(), state.as_str()];
            metrics.deliveries.with_label_values(&labels).set(i64::try_from(*deliveries).unwrap_or(i64::MAX));
        }
        metrics.held_back.reset();
        for destination in self.desk.names() {
            metrics.held_back.with_label_values(&[destination]).set(0);
        }
        for (destination, messages) in &tally.waiting {
            metrics.held_back.with_label_values(&[destination]).set(i64::try_from(*messages).unwrap_or(i64::MAX));
        }
        metrics.oldest_pending.set(tally.oldest.map_or(0.0, |oldest| (now() - oldest).max(0.0)));
    }

    /// The text in `systemctl status`.
    pub(super) fn in_one_line(&self) -> String {
        let open = self.diagnosis.cases().filter(|case| case.closed.is_none() && !case.is_quiet()).count();
        let refused = match &self.refused {
            Some(_) => "; the reload was rejected, the previous settings are in force",
            None => "",
        };
        let (runs, old) = self.directories.counts();
        format!("{runs} runs followed, {old} old runs, {open} open cases{refused}")
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
