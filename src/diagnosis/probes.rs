//! Quiet probes: which jobs are probed, and when people are notified after all.
//!
//! Owns: when a quiet case begins, and the budget of its probes while they run. Must not know: which tests may be
//! probes, and the interpretation of their results.

use std::collections::HashMap;
use std::sync::Arc;

use super::exam::Exam;
use super::{Changes, Diagnosis, Status};
use crate::belief::{Belief, Weights};
use crate::case::{Case, CaseId, Probed, Quiet, Spent, case_id, own_log_odds};
use crate::evidence::Quantity as Q;
use crate::fate::FateState;
use crate::jobs::Job;
use crate::probe::is_audited;

/// Which jobs may be probed, and how much that may cost.
#[derive(Clone)]
pub struct Probes {
    /// Whether a job of this name may be probed.
    pub is_for: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Maximum total run time of the job's probes, as a fraction of the job's run time.
    pub share: f64,
    /// Fraction of unsuspicious jobs that are also probed.
    pub audit: f64,
}

impl std::fmt::Debug for Probes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probes").field("share", &self.share).field("audit", &self.audit).finish_non_exhaustive()
    }
}

impl Exam {
    /// Whether the job is neither known to fail nor so likely healthy that no probe would be worth its cost.
    pub fn is_doubtful(&self) -> bool {
        in_doubt(&self.belief) && self.status().0 != Status::Failing && self.cannot_be_judged().is_none()
    }

    /// Whether it was doubtful some time earlier, too.
    fn was_doubtful(&self) -> bool {
        self.a_little_earlier().is_some_and(|step| in_doubt(&self.believed_at(&self.view, step).0))
    }
}

fn in_doubt(belief: &Belief) -> bool {
    belief.probability >= Weights::shipped().doubt
}

impl Diagnosis {
    /// Begins to probe a job that no case is about: one that has been in doubt for some time, or one of the audit at its end.
    pub(super) fn begin_to_probe(&mut self, job: &Job<'_>, exam: &Exam, now: f64, changes: &mut Changes) {
        let Some(probes) = self.site.probes.clone().filter(|probes| (probes.is_for)(&job.name) && !self.site.by_hand)
        else {
            return;
        };
        let begun = job.first_wall_time();
        let earlier = self.cases.all().filter(|case| case.baseline == job.name);
        let settled = |case: &Case| begun.is_none_or(|begun| begun <= case.opened);
        let left_alone = self.memory[&job.name].is_history()
            || earlier.clone().any(settled)
            || self.set_aside.iter().any(|case| case.baseline == job.name);
        let Some(shown) = probed(job, exam).filter(|shown| shown.mature && !left_alone) else { return };
        let (ended, audit) = (exam.facts.ended, !exam.is_doubtful());
        let due = if audit {
            ended && exam.status().0 == Status::Healthy && is_audited(&job.name, probes.audit)
        } else {
            // Last, because it examines the job anew.
            ended || exam.was_doubtful()
        };
        if !due {
            return;
        }
        let Some(policy) = self.site.policy_for(&job.name, exam.view.kind()).cloned() else { return };
        let opening = self.opening(job, exam, case_id(&job.name, begun, earlier.count()));
        let quiet = Quiet { audit, share: probes.share, job: shown, ..Quiet::default() };
        let allowances = self.allowances(&job.name, None, now);
        let terms = self.terms(&policy, None, &allowances, now);
        if let Some((case, trace)) = Case::probe(opening, quiet, &terms) {
            changes.add(&case, trace);
            self.cases.insert(case);
        }
    }

    /// Updates a probed job. People are notified once it fails by all evidence; a probe is stopped once the job is no
    /// longer in doubt.
    pub(super) fn look_at_probed(&mut self, job: &Job<'_>, exam: &Exam, now: f64, changes: &mut Changes) {
        let Some(id) = self.open_case_of(&job.name) else { return };
        if let (Some(shown), Some(case)) = (probed(job, exam), self.cases.get_mut(&id)) {
            case.probed_job_shows(shown, &exam.facts);
            changes.keep(case);
        }
        if self.is_to_be_told(job, exam) {
            let opening = self.opening(job, exam, id.clone());
            return self.step(&id, now, changes, |case, terms| case.go_public(opening, terms));
        }
        let Some(case) = self.cases.get_mut(&id) else { return };
        let wanted = case.quiet.as_ref().is_some_and(|quiet| quiet.audit) || exam.is_doubtful();
        if !wanted {
            let trace = case.stop_probe("its job is no longer in doubt", now);
            changes.add(case, trace);
        }
    }

    /// Tells each job that was probed what that has shown: it counts like its own evidence.
    pub(super) fn note_probes(&mut self, jobs: &[Job<'_>]) {
        let Diagnosis { cases, memory, .. } = self;
        let mut probed = cases.all().filter_map(|case| Some((case, case.quiet.as_ref()?))).peekable();
        if probed.peek().is_none() {
            return;
        }
        let by_name: HashMap<&str, &Job<'_>> = jobs.iter().map(|job| (job.name.as_str(), job)).collect();
        for (case, quiet) in probed {
            let Some(job) = by_name.get(case.baseline.as_str()) else { continue };
            let of_this_training = job.first_wall_time().is_none_or(|begun| begun <= case.opened);
            if let Some(memory) = memory.get_mut(&job.name).filter(|_| of_this_training) {
                memory.was_probed(quiet.terms());
            }
        }
    }

    /// Stops the open probe if it has used up its budget without a result, or takes too long to start.
    pub(super) fn stop_long_probe(&mut self, id: &CaseId, job: Option<&Job<'_>>, now: f64, changes: &mut Changes) {
        let Some(case) = self.cases.get_mut(id) else { return };
        let (Some((budget, until_begun)), Some(experiment)) = (case.probe_limits(), case.open_experiment()) else {
            return;
        };
        let runs = experiment.fate.as_ref().is_some_and(|fate| fate.state == FateState::Running);
        let started = experiment.fate_told.filter(|_| runs);
        let (since, most) = match job.and_then(Job::first_wall_time) {
            Some(first) => (Some(first), budget),
            None => (started, until_begun),
        };
        let Some(took) = since.map(|since| now - since).filter(|took| *took > most) else { return };
        // Its cost counts, whatever its result so far.
        case.measured(Spent { seconds: took.min(budget), steps: None, over: false }, false);
        let trace = case.stop_probe(&format!("it has used up its budget of {budget:.0} s"), now);
        changes.add(case, trace);
    }
}

/// The state of a job for its probes; `None` if it has taken no time, or if a lower loss is not better.
fn probed(job: &Job<'_>, exam: &Exam) -> Option<Probed> {
    let seconds = job.last_wall_time()? - job.first_wall_time()?;
    let shown = Probed {
        log_odds: own_log_odds(&exam.belief, exam.probed()),
        seconds,
        updates: exam.view.life.updates.filter(|updates| *updates > 0.0),
        points: exam.evidence.get(Q::Points)?,
        mature: exam.facts.ended || exam.evidence.get(Q::Maturity).is_some_and(|maturity| maturity >= 1.0),
    };
    (exam.view.kind().is_judged_by_loss() && seconds > 0.0).then_some(shown)
}
