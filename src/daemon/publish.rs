//! What is shown of the engine: on the status page, as metrics, and to systemd.

use std::collections::BTreeMap;

use super::engine::Engine;
use super::now;
use crate::case::{Case, Waiting};
use crate::status::{CaseLine, Shown};
use crate::store::Tally;
use crate::watch::FileState;

/// So many closed cases are listed, the newest.
const CLOSED_SHOWN: usize = 100;

impl Engine {
    /// Puts on the board what changes with every turn.
    pub(super) fn publish(&self) {
        let metrics = &self.board.metrics;
        {
            let _whole = metrics.update();
            metrics.runs.set(count(self.watcher.runs().len()));
            metrics.old_runs.set(count(self.watcher.old_runs()));
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
        }
        let mut cases: Vec<&Case> = self.diagnosis.cases().collect();
        cases.sort_by(|a, b| a.closed.is_some().cmp(&b.closed.is_some()).then(b.opened.total_cmp(&a.opened)));
        let open = cases.iter().filter(|case| case.closed.is_none()).count();
        let cases = cases.into_iter().take(open + CLOSED_SHOWN).map(line).collect();
        // Nobody else asks for the names of all jobs.
        let reports = self.settings.status.as_ref().is_some_and(|status| status.tokens.report.is_some());
        let last_seen = self.diagnosis.last_seen().filter(|_| reports);
        let jobs = last_seen.map(|(job, time)| (job.to_owned(), time)).collect();
        self.board.show(Shown { runs: self.watcher.runs().len(), cases, jobs });
        self.board.turned();
    }

    fn publish_cases(&self) {
        let metrics = &self.board.metrics;
        metrics.cases_open.reset();
        metrics.cases_closed.reset();
        for choice in &self.diagnosis.site().policies {
            metrics.cases_open.with_label_values(&[choice.policy.name()]).set(0);
        }
        for case in self.diagnosis.cases() {
            match &case.closed {
                None => metrics.cases_open.with_label_values(&[&case.policy]).inc(),
                Some(end) => metrics.cases_closed.with_label_values(&[&case.policy, &end.verdict]).inc(),
            }
        }
    }

    /// Counts what takes a look at every file and at the whole outbox.
    pub(super) fn publish_stock(&self, tally: &Tally) {
        let metrics = &self.board.metrics;
        let (mut states, mut bad, mut lag) = ([0; 4], 0u64, 0u64);
        for file in self.watcher.files() {
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

    /// What `systemctl status` shows.
    pub(super) fn in_one_line(&self) -> String {
        let open = self.diagnosis.cases().filter(|case| case.closed.is_none()).count();
        let refused = match &self.refused {
            Some(_) => "; the reload was refused: the settings before it are in force",
            None => "",
        };
        format!(
            "{} runs followed, {} old ones, {open} cases open{refused}",
            self.watcher.runs().len(),
            self.watcher.old_runs()
        )
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn line(case: &Case) -> CaseLine {
    let waiting = match case.waiting {
        _ if case.paused.is_some() => "paused",
        Waiting::Room(_) if case.short_of.is_some() => "budget",
        Waiting::Room(_) => "room",
        Waiting::Experiment => "experiment",
        Waiting::Answer { .. } => "answer",
        Waiting::Approval(_) => "approval",
        Waiting::Nothing => "nothing",
    };
    CaseLine {
        case_id: case.id.to_string(),
        baseline_run: case.baseline.clone(),
        policy: case.policy.clone(),
        state: case.position.state.clone(),
        waiting: waiting.to_owned(),
        experiments: case.experiments.len(),
        opened: case.opened,
        verdict: case.closed.as_ref().map(|end| end.verdict.clone()),
    }
}
