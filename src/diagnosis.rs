//! The pure steps in sequence: jobs, signals, symptoms, facts, policy, case.
//!
//! The result depends on the content of the runs and on the ticks, never on how the bytes arrived.

mod advice;
mod asked;
mod baselines;
mod breakdown;
mod budgets;
mod cases;
mod changes;
#[cfg(test)]
mod consent;
mod cures;
mod curves;
mod delivery;
mod directory;
mod endings;
mod exam;
mod experiments;
mod fates;
mod linking;
mod people;
mod plan;
mod probes;
#[cfg(test)]
mod probing;
#[cfg(test)]
mod provenance;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trials;
mod undecided;
mod unlogged;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use crate::belief::Weights;
use crate::case::{Allowance, Approval, Case, CaseId, Terms, Trace, Waiting, WhenControl};
use crate::command::takes;
use crate::evidence::Kind;
use crate::facts::Facts;
use crate::fate::JobFate;
use crate::jobs::{Grouping, Job, Knobs, knobs_of};
use crate::launched::Launched;
use crate::policy::Policy;
use crate::series::{RunName, Runs};
use crate::signals::SignalRules;
use crate::symptoms::{Finding, Severity};

pub use advice::advice;
pub use budgets::{Per, SiteBudget};
use cases::Cases;
pub use changes::Changes;
pub use directory::{Directory, Seen};
use endings::Endings;
pub use exam::{Exam, Memory, Status, exam};
pub use experiments::Report;
pub use probes::Probes;
pub use unlogged::{Writer, in_words, unlogged};

/// The site's settings for diagnosis.
#[derive(Debug, Clone)]
pub struct Site {
    /// The meaning of tags.
    pub signals: SignalRules,
    /// The site's settings for its scripts; the first entry that matches a job applies.
    pub scripts: Vec<Script>,
    /// The policies with their jobs; the first match applies, and a job without a match is ignored.
    pub policies: Vec<Choice>,
    /// Maximum number of simultaneous experiments over all cases.
    pub at_once: usize,
    /// Seconds that a suggested run has to start.
    pub start_within: f64,
    /// Seconds to wait for an answer.
    pub answer_within: f64,
    /// Seconds to wait for the runner to report how a new job was started before a case can open about it; 0 without a
    /// runner.
    pub command_within: f64,
    /// The prior probability that a job fails at this site.
    pub prior: f64,
    /// When the baseline is repeated before anything is changed.
    pub control: WhenControl,
    /// Which experiments need approval.
    pub approval: Approval,
    /// Seconds after which an unanswered approval counts as declined.
    pub approve_within: f64,
    /// Only people run suggestions.
    pub by_hand: bool,
    /// Cost limits of experiments.
    pub budgets: Vec<SiteBudget>,
    /// GPUs per experiment, for computing GPU hours.
    pub gpus: f64,
    /// Which jobs may be probed, and the cost limit; `None`: none.
    pub probes: Option<Probes>,
    /// The log directories.
    pub directories: Vec<Directory>,
}

/// A policy and the jobs that it is for.
#[derive(Clone)]
pub struct Choice {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Whether it is for a job, by its name and its kind of training.
    pub is_for: Arc<JobFilter>,
}

/// Whether a policy is for a job of this name and this kind of training.
pub type JobFilter = dyn Fn(&str, &str) -> bool + Send + Sync;

impl std::fmt::Debug for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Choice").field("policy", &self.policy.name()).finish_non_exhaustive()
    }
}

/// The site's settings for a training script.
#[derive(Clone)]
pub struct Script {
    /// Whether it is the script of the job of this name.
    pub is_for: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// The knobs that it supports, if the site lists them.
    pub knobs: Option<BTreeSet<String>>,
    /// The names under which it logs them, each with its canonical name.
    pub own_names: BTreeMap<String, String>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("knobs", &self.knobs).finish_non_exhaustive()
    }
}

impl Site {
    fn script_of(&self, job: &str) -> Option<&Script> {
        self.scripts.iter().find(|script| (script.is_for)(job))
    }

    /// The knobs of a job's script, if the site lists them.
    pub fn knobs_of_script(&self, job: &str) -> Option<&BTreeSet<String>> {
        self.script_of(job)?.knobs.as_ref()
    }

    /// The knobs that a job's script supports: those in its command and source, and those that the site lists. `None`
    /// if neither is known.
    pub fn knobs_taken(&self, job: &str, launched: Option<&Launched>, facts: &Facts) -> Option<BTreeSet<String>> {
        let listed = self.knobs_of_script(job);
        let Some(launched) = launched.filter(|launched| !launched.flags.is_empty()) else { return listed.cloned() };
        let steps = Some(facts.steps()).filter(|steps| steps.is_finite());
        let mut knobs = takes(launched, &facts.knobs, steps);
        knobs.extend(listed.into_iter().flatten().cloned());
        Some(knobs)
    }

    /// The knobs that a job logged, by canonical name.
    pub fn logged_knobs(&self, job: &Job<'_>) -> Knobs {
        let none = BTreeMap::new();
        knobs_of(job, self.script_of(&job.name).map_or(&none, |script| &script.own_names))
    }

    /// The known settings of a job: logged, otherwise from its command or the defaults of its script. `told` is how it
    /// was started, if its own files do not show it.
    pub fn settings_of(&self, job: &Job<'_>, told: Option<&Launched>) -> Knobs {
        let launched = job.launched().or(told);
        let mut settings = launched.map(|launched| launched.settings.clone()).unwrap_or_default();
        settings.extend(self.logged_knobs(job));
        settings
    }

    /// The policy under which a case continues: the one of its policy's name, if it still has the current state.
    fn policy_for_case(&self, case: &Case) -> Option<&Arc<Policy>> {
        let named = |choice: &&Choice| choice.policy.name() == case.policy;
        let policy = self.policies.iter().find(named).map(|choice| &choice.policy)?;
        policy.knows(&case.position.state).then_some(policy)
    }

    /// The policy that a job of a kind of training is investigated with.
    pub fn policy_for(&self, job: &str, kind: Kind) -> Option<&Arc<Policy>> {
        self.policies.iter().find(|choice| (choice.is_for)(job, kind.as_str())).map(|choice| &choice.policy)
    }
}

/// Seconds for which the numbers of an ended job are kept, because people look at it and it may resume.
const KEPT: f64 = 3600.0;

/// Every job and case of the site.
#[derive(Debug)]
pub struct Diagnosis {
    site: Site,
    cases: Cases,
    memory: BTreeMap<String, Memory>,
    /// Status of jobs without a suggestion, by job.
    fates: BTreeMap<String, JobFate>,
    /// How jobs were started, by job, if reported from outside.
    launched: BTreeMap<String, Launched>,
    endings: Endings,
    /// Stored cases that cannot be read.
    set_aside: Vec<SetAside>,
    /// Cases that took a step since runs were last looked at.
    to_draw: BTreeSet<CaseId>,
}

/// A stored case that cannot be read. It stays unchanged, and its baseline and experiments are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// The baseline job.
    pub baseline: String,
    /// The known runs of its experiments.
    pub runs: Vec<String>,
}

impl Diagnosis {
    /// Goes on with the cases that were kept.
    pub fn new(site: Site, cases: impl IntoIterator<Item = Case>) -> Diagnosis {
        Diagnosis {
            site,
            cases: cases.into_iter().collect(),
            memory: BTreeMap::new(),
            fates: BTreeMap::new(),
            launched: BTreeMap::new(),
            endings: Endings::default(),
            set_aside: Vec::new(),
            to_draw: BTreeSet::new(),
        }
    }

    /// Leaves alone what cases are about that cannot be read.
    pub fn set_aside(&mut self, cases: impl IntoIterator<Item = SetAside>) {
        self.set_aside.extend(cases);
    }

    /// Every case, open or closed.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.all()
    }

    /// Examines everything that can be seen at one moment.
    pub fn tick<'a>(&mut self, seen: impl Into<Seen<'a>>, now: f64) -> Changes {
        let (mut changes, seen) = (Changes::default(), seen.into());
        self.cases.settle();
        let jobs = seen.jobs(self.cases.run_names());
        self.remember(&seen, &jobs, now);
        self.note_ends(&jobs);
        self.note_versions(now, &mut changes);
        self.note_commands(&jobs, now, &mut changes);
        self.go_on(&seen, &jobs, now, &mut changes);
        self.note_probes(&jobs);
        for job in self.unclaimed(&jobs) {
            self.look_at_baseline(job, now, &mut changes);
        }
        self.draw_changed(&jobs, &mut changes);
        changes
    }

    /// The updates of every job, and which jobs are history.
    fn remember(&mut self, seen: &Seen<'_>, jobs: &[Job<'_>], now: f64) {
        let Diagnosis { site, memory, .. } = self;
        let history_after = |job: &str| site.directory_of(job).map_or(f64::INFINITY, |found| found.history_after);
        for job in jobs {
            let known = match memory.get_mut(&job.name) {
                Some(known) => known,
                None => {
                    let history = job.last_wall_time().is_some_and(|last| now - last > history_after(&job.name));
                    memory.entry(job.name.clone()).or_insert(Memory::first_seen(history))
                }
            };
            known.met.get_or_insert(now);
            known.saw(job, job.events(), now);
        }
        // Names are unique: with as many entries as jobs, none is of a job that is gone.
        if memory.len() > jobs.len() {
            let names: BTreeSet<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
            memory.retain(|job, _| names.contains(job.as_str()) || site.is_unseen(seen, job));
        }
    }

    /// The jobs that run no experiment of any case: only these get their own cases.
    fn unclaimed<'j, 'a>(&mut self, jobs: &'j [Job<'a>]) -> Vec<&'j Job<'a>> {
        self.cases.settle();
        let roles = self.cases.roles();
        let set_aside: BTreeSet<&String> = self.set_aside.iter().flat_map(|case| &case.runs).collect();
        jobs.iter().filter(|job| !roles.is_experiment(&job.name) && !set_aside.contains(&job.name)).collect()
    }

    /// Open cases that could not continue at a site because it lacks their policy or its current state.
    pub fn stranded<'a>(&'a self, site: &'a Site) -> impl Iterator<Item = &'a Case> {
        self.cases.open().filter(|case| site.policy_for_case(case).is_none())
    }

    /// The site's settings, for [`Diagnosis::stranded`].
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Applies changed settings of the operator. Open cases continue in their current states under the new policies.
    /// Every job is examined again.
    pub fn go_on_at(&mut self, site: Site) {
        self.site = site;
        self.memory.values_mut().for_each(Memory::look_anew);
    }

    /// Whether an open case waits for the run of this suggestion.
    pub fn waits_for(&self, suggestion: &str) -> bool {
        let open = self.cases.open().filter_map(Case::open_experiment);
        open.map(|experiment| &experiment.suggestion).any(|known| known == suggestion)
    }

    /// The clock was changed by this many seconds, which do not count as silence or waiting.
    pub fn clock_was_set(&mut self, by: f64) -> Changes {
        self.memory.values_mut().for_each(|memory| memory.clock_was_set(by));
        let mut changes = Changes::default();
        for id in self.cases.open_ids() {
            let Some(case) = self.cases.get_mut(&id) else { continue };
            case.clock_was_set(by);
            changes.keep(case);
        }
        changes
    }

    /// The latest findings for each job, as ids of symptoms.
    pub fn found(&self) -> impl ExactSizeIterator<Item = &[String]> {
        self.memory.values().map(Memory::symptoms)
    }

    /// Every job with its latest examination.
    pub fn jobs(&self) -> impl Iterator<Item = (&str, &Memory)> {
        self.memory.iter().map(|(job, memory)| (job.as_str(), memory))
    }

    /// The jobs that carry out an experiment of any case.
    pub fn jobs_of_experiments(&self) -> BTreeSet<&str> {
        let experiments = self.cases.all().flat_map(|case| &case.experiments);
        experiments.filter_map(|experiment| experiment.job.as_deref()).collect()
    }

    /// Closed cases none of whose jobs `is_there`, in the log directory: without them no job would be investigated again.
    pub fn forgettable(&self, is_there: impl Fn(&str) -> bool) -> Vec<CaseId> {
        let needed = |case: &Case| {
            let experiments = case.experiments.iter().flat_map(|e| [Some(e.run_name.as_str()), e.job.as_deref()]);
            std::iter::once(case.baseline.as_str()).chain(experiments.flatten()).any(&is_there)
        };
        let closed = self.cases.all().filter(|case| case.closed.is_some());
        closed.filter(|case| !needed(case)).map(|case| case.id.clone()).collect()
    }

    /// Keeps only these cases.
    pub fn retain(&mut self, kept: &BTreeSet<CaseId>) {
        self.cases.keep_only(kept);
    }

    /// The external inputs for the next step of a case. The experiment that it waits for frees its slot for the next
    /// one.
    fn terms<'a>(&self, policy: &'a Policy, case: Option<&CaseId>, allowances: &'a [Allowance], now: f64) -> Terms<'a> {
        let others = self.cases.open().filter(|other| Some(&other.id) != case);
        let under_way = |case: &&Case| case.waiting == Waiting::Experiment;
        let told = || others.clone().filter(|case| !case.is_quiet());
        let waits = |case: &Case| matches!(case.waiting, Waiting::Room(_)) && case.short_of.is_none();
        Terms {
            policy,
            now,
            // Probes leave their room to whatever people were told of.
            room: told().filter(under_way).count() < self.site.at_once,
            room_for_probe: others.clone().filter(under_way).count() < self.site.at_once && !told().any(waits),
            answer_within: self.site.answer_within,
            control: self.site.control,
            approval: self.site.approval,
            approve_within: self.site.approve_within,
            by_hand: self.site.by_hand,
            allowances,
            confidence: |verdict, believed| Weights::shipped().verdicts.confidence(verdict, believed),
        }
    }

    /// Lets an open case take a step.
    fn step(
        &mut self,
        id: &CaseId,
        now: f64,
        changes: &mut Changes,
        step: impl FnOnce(&mut Case, &Terms<'_>) -> Trace,
    ) {
        let Some(case) = self.cases.get(id) else { return };
        let Some(policy) = self.policy_of(case) else { return };
        let allowances = self.allowances(&case.baseline, Some(id), now);
        let terms = self.terms(&policy, Some(id), &allowances, now);
        let Some(case) = self.cases.get_mut(id) else { return };
        let trace = step(case, &terms);
        if !trace.is_empty() {
            self.to_draw.insert(id.clone());
        }
        changes.add(case, trace);
    }

    fn policy_of(&self, case: &Case) -> Option<Arc<Policy>> {
        self.site.policy_for_case(case).cloned()
    }

    /// Jobs that open cases need, by name; `true` where everything below the name is the job's, as with experiments.
    pub fn needed(&self) -> BTreeSet<(String, bool)> {
        let jobs = self.cases.open().flat_map(|case| {
            let experiments = case.experiments.iter();
            let experiments =
                experiments.flat_map(|e| [Some((e.run_name.clone(), true)), e.job.clone().map(|j| (j, false))]);
            experiments.flatten().chain([(case.baseline.clone(), false)])
        });
        jobs.collect()
    }

    /// Runs that need no memory any more: their job ended an hour ago and no open case needs it.
    pub fn settled(&self, runs: &Runs, now: f64) -> Vec<RunName> {
        let needed: BTreeSet<String> = self.needed().into_iter().map(|(job, _)| job).collect();
        let done = |job: &str| self.memory.get(job).is_some_and(|memory| memory.ended_before(now - KEPT));
        let grouping = Grouping::of(runs, self.cases.run_names());
        let settled = |run: &&RunName| {
            let jobs = grouping.jobs_of(run);
            jobs.iter().all(|job| !needed.contains(job) && done(job))
        };
        runs.keys().filter(settled).cloned().collect()
    }
}

/// The most severe problem, without warnings and notes.
fn problems(findings: &[Finding]) -> Vec<String> {
    let problems = findings.iter().filter(|f| f.severity == Severity::Problem);
    problems.map(|f| f.symptom.clone()).collect()
}

/// The next step in `diagnose` for a failing job: the first step that the policy would take.
pub fn first_step(policy: &Policy, facts: &Facts, knobs: Option<&BTreeSet<String>>) -> serde_json::Value {
    let case = crate::policy::CaseFacts { knobs: knobs.cloned(), ..Default::default() };
    let environment = crate::policy::Environment { baseline: facts, experiment: None, case: &case, attempt: 1 };
    match crate::policy::enter(policy, policy.start(), &environment).next {
        crate::policy::Next::Run(proposal) => {
            json!({ "state": proposal.at.state, "overrides": proposal.changes, "why": proposal.why })
        }
        crate::policy::Next::Ask(question) => {
            json!({ "state": question.at.state, "overrides": {}, "why": question.why })
        }
        crate::policy::Next::Conclude(end) => {
            json!({ "state": end.state, "overrides": end.recommended, "why": end.summary, "verdict": end.verdict })
        }
    }
}
