//! What nextrun says of a random program, at every look while it is logged.
//!
//! Owns: the looks. Must not know: labels, figures.

use std::collections::BTreeSet;

use nextrun::case::MessageKind;
use nextrun::diagnosis::{Diagnosis, Exam, Memory, Site, Status, exam};
use nextrun::jobs::group;
use nextrun::series::Runs;
use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::lab::PATIENCE;

/// The shares of its steps at which a program is looked at while it runs. At its beginning they are closer to each other: a
/// daemon looks at a job many times while there are hardly any points.
pub(super) const SHARES: [f64; 24] = [
    0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8,
    0.85, 0.9, 0.95, 1.0,
];

/// Every look: the share of the steps, and whether the program has ended, as it has at one more look.
pub(super) fn places() -> impl Iterator<Item = (f64, bool)> {
    SHARES.into_iter().map(|share| (share, false)).chain([(1.0, true)])
}

/// How many looks there are up to a share of the steps.
pub(super) fn until(share: f64) -> usize {
    SHARES.partition_point(|place| *place <= share)
}

/// What is said of one program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Said {
    /// At each look; the last is at the end.
    pub(super) looks: Vec<Look>,
    /// The look at which a case was opened.
    pub(super) opened: Option<usize>,
    /// Points of the training loss, or of the reward, in the whole log.
    pub(super) points: usize,
}

/// What is said at one look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Look {
    /// Whether the status is `failing`.
    pub(super) failing: bool,
    /// How sure that is, from 0 to 1: the higher, the likelier the program fails.
    pub(super) score: f64,
    /// The probability of failing before anything was seen.
    pub(super) prior: f64,
}

/// Shows a program's log to the core, a little at a time.
pub(super) fn look(record: &Record, site: &Site) -> Said {
    let mut diagnosis = Diagnosis::new(site.clone(), []);
    let mut said = Said { looks: Vec::new(), opened: None, points: 0 };
    walk(record, site, |runs, exam, moment| {
        let opened =
            diagnosis.tick(runs, moment.now).messages.iter().any(|message| message.kind() == MessageKind::CaseOpened);
        if opened {
            said.opened.get_or_insert(said.looks.len());
        }
        let Some(exam) = exam else {
            said.looks.push(Look { failing: false, score: site.prior, prior: site.prior });
            return;
        };
        let (status, _) = exam.status();
        let (score, prior) = (exam.belief.probability, exam.belief.prior);
        said.looks.push(Look { failing: status == Status::Failing, score, prior });
        let observed = exam.view.loss().or(exam.view.reward.as_ref());
        said.points = observed.map_or(0, |observed| observed.sketch.count() as usize);
    });
    said
}

/// When a program is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The share of its steps.
    pub(super) share: f64,
    /// Whether it has ended.
    pub(super) ended: bool,
    /// Seconds since the Unix epoch.
    pub(super) now: f64,
}

/// Examines a program's log as it is at each look; there is no examination before anything was logged.
pub(crate) fn walk(record: &Record, site: &Site, mut see: impl FnMut(&Runs, Option<Exam>, Moment)) {
    let (log, mut runs, mut from) = (record.log(), Runs::new(), 0.0);
    let mut memory = Memory::first_seen(false);
    for (share, ended) in places() {
        log.grow(&mut runs, &mut from, share);
        let now = log.time_at(share) + if ended { PATIENCE + 1.0 } else { 0.0 };
        let jobs = group(&runs, &BTreeSet::new());
        let exam = jobs.iter().find(|job| job.name == record.name()).map(|job| {
            memory.saw(job, job.events(), now);
            exam(job, site, &memory, now)
        });
        see(&runs, exam, Moment { share, ended, now });
    }
}
