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

/// Looks while a program runs, at equal shares of its steps; one more follows when it has ended.
pub(crate) const LOOKS: usize = 20;

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
    walk(record, site, |runs, exam, now| {
        let opened = diagnosis.tick(runs, now).messages.iter().any(|message| message.kind() == MessageKind::CaseOpened);
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

/// Examines a program's log as it is at each look; there is no examination before anything was logged.
pub(crate) fn walk(record: &Record, site: &Site, mut see: impl FnMut(&Runs, Option<&Exam>, f64)) {
    let (log, mut runs, mut from) = (record.log(), Runs::new(), 0.0);
    let mut memory = Memory::first_seen(false);
    for place in 1..=LOOKS + 1 {
        let share = (place as f64 / LOOKS as f64).min(1.0);
        log.grow(&mut runs, &mut from, share);
        let ended = place > LOOKS;
        let now = log.time_at(share) + if ended { PATIENCE + 1.0 } else { 0.0 };
        let jobs = group(&runs, &BTreeSet::new());
        let exam = jobs.iter().find(|job| job.name == record.name()).map(|job| {
            memory.saw(job, job.events(), now);
            exam(job, site, &memory, now)
        });
        see(&runs, exam.as_ref(), now);
    }
}
