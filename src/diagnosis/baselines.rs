//! Jobs without a suggestion: when a case opens about one, and updates of the baseline of an open case.
//!
//! Owns: their examinations. Must not know: experiments, and the reactions of a case.

use std::collections::BTreeMap;

use super::advice::advice;
use super::cures::priors;
use super::versions::ended_by_change;
use super::{Changes, Diagnosis, Exam, Status, exam};
use crate::belief::Weights;
use crate::case::{Case, CaseId, Opening, Pace, case_id};
use crate::facts::Quantity;
use crate::jobs::Job;
use crate::policy::Conclusion;

/// A job that did not learn counts as recovered if its loss has decreased by this fraction of its start. If it
/// decreased less, the job may be improving slowly despite its fault, like saturated units; unusual settings are then
/// tested first.
const RECOVERED: f64 = 0.3;

impl Diagnosis {
    pub(super) fn look_at_baseline(&mut self, job: &Job<'_>, now: f64, changes: &mut Changes) {
        let Some(memory) = self.memory.get(&job.name).filter(|memory| memory.due(now)) else { return };
        let open = self.open_case_of(&job.name);
        if open.is_none() && self.waits_for_command(job, now) {
            return;
        }
        let exam = exam(job, &self.site, memory, now);
        match open {
            Some(id) if self.cases[&id].is_quiet() => self.look_at_probed(job, &exam, now, changes),
            Some(id) => self.look_again(&id, &exam, now, changes),
            None => {
                self.open_case(job, &exam, now, changes);
                self.begin_to_probe(job, &exam, now, changes);
            }
        }
        if let Some(memory) = self.memory.get_mut(&job.name) {
            memory.examined(&exam, now);
        }
    }

    /// The open case that investigates or probes a job.
    pub(super) fn open_case_of(&self, job: &str) -> Option<CaseId> {
        let open = self.cases.open().find(|case| case.baseline == job);
        open.map(|case| case.id.clone())
    }

    /// Whether a runner may still say how a job was started: without its command no experiment could be run.
    fn waits_for_command(&self, job: &Job<'_>, now: f64) -> bool {
        let told = job.launched().is_some() || self.launched.contains_key(&job.name);
        let met = self.memory.get(&job.name).and_then(|memory| memory.met);
        !told && met.is_some_and(|met| (0.0..self.site.command_within).contains(&(now - met)))
    }

    /// Whether people should hear of a job: it fails for some time, or has ended, or shows NaN.
    pub(super) fn is_to_be_told(&self, job: &Job<'_>, exam: &Exam) -> bool {
        let sure = || exam.facts.ended || !exam.facts.finite || exam.persists();
        exam.status().0 == Status::Failing && !self.memory[&job.name].is_history() && sure()
    }

    /// A case opens when a job fails for some time, at once when it has ended or shows NaN.
    fn open_case(&mut self, job: &Job<'_>, exam: &Exam, now: f64, changes: &mut Changes) {
        if !self.is_to_be_told(job, exam) {
            return;
        }
        let earlier = self.cases.all().filter(|case| case.baseline == job.name);
        let begun = job.first_wall_time();
        // One investigation per job, unless it was retrained under the same name, its recovery did not last, or its
        // policy was changed. Quiet probes do not count.
        let settled = |case: &Case| {
            let of_this_training = begun.is_none_or(|begun| begun <= case.opened);
            of_this_training && !case.is_quiet() && !recovered_in_vain(case, exam) && !ended_by_change(case)
        };
        if earlier.clone().any(settled) {
            return;
        }
        if self.set_aside.iter().any(|case| case.baseline == job.name) {
            return;
        }
        let Some(policy) = self.site.policy_for(&job.name, exam.view.kind()).cloned() else { return };
        let opening = self.opening(job, exam, case_id(&job.name, begun, earlier.count()));
        let allowances = self.allowances(&job.name, None, now);
        let (case, trace) = Case::open(opening, &self.terms(&policy, None, &allowances, now));
        changes.add(&case, trace);
        self.cases.insert(case);
    }

    /// The inputs for opening a case about a job.
    pub(super) fn opening(&self, job: &Job<'_>, exam: &Exam, id: CaseId) -> Opening {
        let told = self.launched.get(&job.name);
        let policy = self.site.policy_for(&job.name, exam.view.kind());
        Opening {
            id,
            baseline: job.name.clone(),
            logdir: self.site.directory_name_of(&job.name),
            findings: exam.findings.clone(),
            facts: exam.facts.clone(),
            loss_curve: exam.loss_curve(),
            advice: advice(&exam.facts, exam.view.life.done),
            knobs: self.site.knobs_taken(&job.name, job.launched().or(told), &exam.facts),
            launched: job.launched().or(told).cloned(),
            settings: self.site.settings_of(job, told),
            shown_at: exam.shown_at(),
            pace: exam.seconds_per_update().map(|seconds_per_update| Pace {
                seconds_per_update,
                updates: exam.view.life.updates,
                gpus: self.site.gpus,
            }),
            fate: self.known_fate(&job.name).cloned(),
            priors: policy.map(|policy| priors(policy, exam)).unwrap_or_default(),
            curves: self.site.curves_of(job, None),
            belief: Some(exam.belief.clone()),
            weights: Some(Weights::shipped().id.clone()),
        }
    }

    /// While the baseline runs, its case is updated, and closes if the job starts to learn without changes.
    fn look_again(&mut self, id: &CaseId, exam: &Exam, now: f64, changes: &mut Changes) {
        let Some(case) = self.cases.get_mut(id) else { return };
        let before = &case.baseline_facts;
        let (grown, status) = (exam.facts.steps() > 1.25 * before.steps(), exam.status().0);
        let failed_to_learn = !before.learned || !before.finite;
        let recovers = failed_to_learn && exam.facts.learned && status == Status::Healthy;
        let beyond_doubt = exam.facts.number(Quantity::Progress) > RECOVERED || !before.finite || exam.view.accurate();
        if grown && recovers && beyond_doubt && exam.ends_well() {
            let summary = format!("the baseline now learns without changes: {}", exam.facts.in_words());
            let conclusion = Conclusion {
                state: "recovered".into(),
                verdict: "recovered".into(),
                confidence: Weights::shipped().verdicts.confidence("recovered", 1.0 - exam.belief.probability),
                summary,
                recommended: BTreeMap::new(),
            };
            case.baseline_facts = exam.facts.clone();
            let trace = case.close(conclusion, now);
            changes.add(case, trace);
        } else if exam.facts.ended && !before.ended || grown && status == Status::Failing {
            let found = std::mem::replace(&mut case.baseline_facts, exam.facts.clone());
            let facts = &mut case.baseline_facts;
            // A loss that improves slowly ends the search if no setting is unusual.
            facts.recovered = recovers;
            // Symptoms shown at any time since the case was opened still lead the search.
            if recovers || !facts.ended {
                facts.symptoms = joined(found.symptoms, &facts.symptoms);
                facts.problems = joined(found.problems, &facts.problems);
            }
            // Experiments are compared with these, by the process that follows this one, too.
            changes.keep(case);
        }
    }
}

/// The ids of both lists, each once.
fn joined(mut ids: Vec<String>, more: &[String]) -> Vec<String> {
    let new: Vec<String> = more.iter().filter(|id| !ids.contains(id)).cloned().collect();
    ids.extend(new);
    ids
}

/// Whether a case was closed because its job recovered, and the job has gone on for long since and fails again.
fn recovered_in_vain(case: &Case, exam: &Exam) -> bool {
    let recovered = case.closed.as_ref().is_some_and(|end| end.verdict == "recovered");
    recovered && exam.facts.steps() > case.baseline_facts.steps() && (!exam.facts.finite || !exam.ends_well())
}
