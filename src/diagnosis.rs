//! The pure steps in their order: jobs, signals, symptoms, facts, policy, case. Nothing else.
//!
//! What follows depends on what the runs hold and on the ticks, never on how the bytes arrived.

mod advice;
mod asked;
mod breakdown;
mod budgets;
#[cfg(test)]
mod consent;
mod cures;
mod delivery;
mod endings;
mod exam;
mod experiments;
mod fates;
mod linking;
mod plan;
#[cfg(test)]
mod provenance;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trials;
mod unlogged;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use crate::belief::Weights;
use crate::case::{
    Allowance, Approval, BY_HAND, Case, CaseId, JournalEntry, Message, Opening, Pace, Reply, Terms, Trace, Waiting,
    WhenControl, case_id,
};
use crate::command::takes;
use crate::evidence::Kind;
use crate::facts::Facts;
use crate::fate::JobFate;
use crate::jobs::{Grouping, Job, Knobs, Patience, group, knobs_of};
use crate::launched::Launched;
use crate::policy::{Conclusion, Policy};
use crate::series::{RunName, Runs};
use crate::signals::SignalRules;
use crate::symptoms::{Finding, Severity};

pub use advice::advice;
pub use budgets::{Per, SiteBudget};
use endings::Endings;
pub use exam::{Exam, Memory, Status, exam};
pub use experiments::Report;
pub use unlogged::{Writer, in_words, unlogged};
use versions::ended_by_change;

/// What the site decides about diagnosis.
#[derive(Debug, Clone)]
pub struct Site {
    /// What tags mean.
    pub signals: SignalRules,
    /// What the site says of its scripts; the first that is for a job counts.
    pub scripts: Vec<Script>,
    /// How long a job may be silent.
    pub patience: Patience,
    /// The policies, each with the jobs that it is for; the first that is for a job is taken, and a job that none is for
    /// is left alone.
    pub policies: Vec<Choice>,
    /// Experiments under way at once, over all cases.
    pub at_once: usize,
    /// Seconds that a suggested run has to start.
    pub start_within: f64,
    /// Seconds that a person has for an answer.
    pub answer_within: f64,
    /// A job whose newest event is older than so many seconds when it is first seen is history.
    pub history_after: f64,
    /// Seconds that a runner is given to say how a job that is new was started, before a case can open about it; 0 where
    /// there is no runner.
    pub command_within: f64,
    /// The share of all jobs that fail at this site, before anything is known of one.
    pub prior: f64,
    /// When the baseline is repeated before anything is changed.
    pub control: WhenControl,
    /// Which experiments need a person's consent.
    pub approval: Approval,
    /// Seconds after which no answer to that is a no.
    pub approve_within: f64,
    /// Only people run what is suggested.
    pub by_hand: bool,
    /// What experiments may cost.
    pub budgets: Vec<SiteBudget>,
    /// GPUs that an experiment has, for their hours.
    pub gpus: f64,
    /// The absolute paths of the log directory, for those who tell which files a job writes.
    pub roots: Vec<String>,
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

/// What the site says of a training script.
#[derive(Clone)]
pub struct Script {
    /// Whether it is the script of the job of this name.
    pub is_for: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// The knobs that it has, where the site lists them.
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

    /// The knobs of a job's script, where the site lists them.
    pub fn knobs_of_script(&self, job: &str) -> Option<&BTreeSet<String>> {
        self.script_of(job)?.knobs.as_ref()
    }

    /// The knobs that a job's script takes: those that its command and source show, and those that the site lists. `None`
    /// where neither is known.
    pub fn knobs_taken(&self, job: &str, launched: Option<&Launched>, facts: &Facts) -> Option<BTreeSet<String>> {
        let listed = self.knobs_of_script(job);
        let Some(launched) = launched.filter(|launched| !launched.flags.is_empty()) else { return listed.cloned() };
        let steps = Some(facts.steps).filter(|steps| steps.is_finite());
        let mut knobs = takes(launched, &facts.knobs, steps);
        knobs.extend(listed.into_iter().flatten().cloned());
        Some(knobs)
    }

    /// The knobs that a job logged, by canonical name.
    pub fn logged_knobs(&self, job: &Job<'_>) -> Knobs {
        let none = BTreeMap::new();
        knobs_of(job, self.script_of(&job.name).map_or(&none, |script| &script.own_names))
    }

    /// The settings of a job that are known: what it logged, and where it logged nothing, what its command or the defaults
    /// of its script set. `told` is how it was started, where its own files do not tell.
    pub fn settings_of(&self, job: &Job<'_>, told: Option<&Launched>) -> Knobs {
        let launched = job.launched().or(told);
        let mut settings = launched.map(|launched| launched.settings.clone()).unwrap_or_default();
        settings.extend(self.logged_knobs(job));
        settings
    }

    /// The run of an event file, by its absolute path.
    fn run_of(&self, path: &str) -> Option<String> {
        let below = |root: &String| path.strip_prefix(root.trim_end_matches('/'))?.strip_prefix('/');
        let file = self.roots.iter().find_map(below)?;
        Some(file.rsplit_once('/').map_or(".", |(folder, _)| folder).to_owned())
    }

    /// The policy that a case goes on with: the one of its policy's name, if that still has the state where it stands.
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

/// What one tick changes; it is kept whole or not at all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Cases whose state changed.
    pub cases: Vec<Case>,
    /// Entries of their journals.
    pub journal: Vec<(CaseId, JournalEntry)>,
    /// Messages owed.
    pub messages: Vec<Message>,
    /// What became of jobs that no suggestion asked for.
    pub fates: Vec<JobFate>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty() && self.journal.is_empty() && self.messages.is_empty() && self.fates.is_empty()
    }

    fn add(&mut self, case: &Case, trace: Trace) {
        if trace.is_empty() {
            return;
        }
        self.journal.extend(trace.journal.into_iter().map(|entry| (case.id.clone(), entry)));
        self.messages.extend(trace.messages);
        self.keep(case);
    }

    /// Takes in what followed at once.
    pub fn absorb(&mut self, later: Changes) {
        self.journal.extend(later.journal);
        self.messages.extend(later.messages);
        later.cases.iter().for_each(|case| self.keep(case));
    }

    fn keep(&mut self, case: &Case) {
        self.cases.retain(|known| known.id != case.id);
        self.cases.push(case.clone());
    }
}

/// Seconds that the numbers of a job are kept after it has ended: people look at it, and it may go on.
const KEPT: f64 = 3600.0;

/// A job that did not learn has recovered when this share of its first loss is gone. One that loses less may creep along with
/// its fault, as saturated units do: what stands out among its settings is tested before it is left alone.
const RECOVERED: f64 = 0.3;

/// Every job and case of one log directory.
#[derive(Debug)]
pub struct Diagnosis {
    site: Site,
    cases: BTreeMap<CaseId, Case>,
    memory: BTreeMap<String, Memory>,
    /// What became of jobs that no suggestion asked for, by job.
    fates: BTreeMap<String, JobFate>,
    /// How jobs were started, by job, where somebody else than their own files tells.
    launched: BTreeMap<String, Launched>,
    endings: Endings,
    /// Cases that were kept and cannot be read.
    set_aside: Vec<SetAside>,
}

/// A case that was kept and cannot be read. It stays as it is: its baseline is left alone, and so are its experiments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// The baseline job.
    pub baseline: String,
    /// The runs of its experiments, as far as they are known.
    pub runs: Vec<String>,
}

impl Diagnosis {
    /// Goes on with the cases that were kept.
    pub fn new(site: Site, cases: impl IntoIterator<Item = Case>) -> Diagnosis {
        let cases = cases.into_iter().map(|case| (case.id.clone(), case)).collect();
        Diagnosis {
            site,
            cases,
            memory: BTreeMap::new(),
            fates: BTreeMap::new(),
            launched: BTreeMap::new(),
            endings: Endings::default(),
            set_aside: Vec::new(),
        }
    }

    /// Leaves alone what cases are about that cannot be read.
    pub fn set_aside(&mut self, cases: impl IntoIterator<Item = SetAside>) {
        self.set_aside.extend(cases);
    }

    /// Every case, open or closed.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.values()
    }

    /// Looks at everything there is, at one moment.
    pub fn tick(&mut self, runs: &Runs, now: f64) -> Changes {
        let mut changes = Changes::default();
        let experiments = self.cases.values().flat_map(|case| &case.experiments).map(|e| e.run_name.clone()).collect();
        let jobs = group(runs, &experiments);
        self.remember(&jobs, now);
        self.note_ends(&jobs);
        self.note_versions(now, &mut changes);
        self.go_on(&jobs, now, &mut changes);
        let claimed = self.claimed();
        for job in &jobs {
            if !claimed.contains(&job.name) {
                self.look_at_baseline(job, now, &mut changes);
            }
        }
        changes
    }

    /// What is new of every job, and which are history.
    fn remember(&mut self, jobs: &[Job<'_>], now: f64) {
        for job in jobs {
            let events = job.events();
            let history = job.last_wall_time().is_some_and(|last| now - last > self.site.history_after);
            let memory = self.memory.entry(job.name.clone()).or_insert_with(|| Memory::first_seen(history));
            memory.met.get_or_insert(now);
            memory.saw(job, events, now);
        }
        let names: BTreeSet<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
        self.memory.retain(|name, _| names.contains(name.as_str()));
    }

    /// Jobs that carry out an experiment of any case: none of them opens a case of its own.
    fn claimed(&self) -> BTreeSet<String> {
        let experiments = self.cases.values().flat_map(|case| &case.experiments);
        let known = experiments.flat_map(|e| std::iter::once(e.run_name.clone()).chain(e.job.clone()));
        known.chain(self.set_aside.iter().flat_map(|case| case.runs.iter().cloned())).collect()
    }

    fn look_at_baseline(&mut self, job: &Job<'_>, now: f64, changes: &mut Changes) {
        let open = self.cases.values().find(|case| case.baseline == job.name && case.closed.is_none());
        let open = open.map(|case| case.id.clone());
        let Some(memory) = self.memory.get(&job.name) else { return };
        if !memory.due(now) || open.is_none() && self.waits_for_command(job, now) {
            return;
        }
        let exam = exam(job, &self.site, memory, now);
        match open {
            Some(id) => self.look_again(&id, &exam, now, changes),
            None => self.open_case(job, &exam, now, changes),
        }
        if let Some(memory) = self.memory.get_mut(&job.name) {
            memory.examined(&exam, now);
        }
    }

    /// Whether a runner may still say how a job was started: without its command no experiment could be run.
    fn waits_for_command(&self, job: &Job<'_>, now: f64) -> bool {
        let told = job.launched().is_some() || self.launched.contains_key(&job.name);
        let met = self.memory.get(&job.name).and_then(|memory| memory.met);
        !told && met.is_some_and(|met| (0.0..self.site.command_within).contains(&(now - met)))
    }

    /// A case opens when a job fails for some time, at once when it has ended or shows NaN.
    fn open_case(&mut self, job: &Job<'_>, exam: &Exam, now: f64, changes: &mut Changes) {
        let memory = &self.memory[&job.name];
        let sure = || exam.facts.ended || !exam.facts.finite || exam.persists();
        if exam.status().0 != Status::Failing || memory.is_history() || !sure() {
            return;
        }
        let earlier = self.cases.values().filter(|case| case.baseline == job.name);
        let begun = job.first_wall_time();
        // One investigation a job, unless it was trained anew under the same name, its recovery did not last, or its policy
        // was changed under it.
        let settled = |case: &Case| {
            let of_this_training = begun.is_none_or(|begun| begun <= case.opened);
            of_this_training && !recovered_in_vain(case, exam) && !ended_by_change(case)
        };
        if earlier.clone().any(settled) {
            return;
        }
        if self.set_aside.iter().any(|case| case.baseline == job.name) {
            return;
        }
        let Some(policy) = self.site.policy_for(&job.name, exam.view.kind()).cloned() else { return };
        let opening = Opening {
            id: case_id(&job.name, begun, earlier.count()),
            baseline: job.name.clone(),
            findings: exam.findings.clone(),
            facts: exam.facts.clone(),
            loss_curve: exam.loss_curve(),
            advice: advice(&exam.facts, exam.view.life.done),
            knobs: self.site.knobs_taken(&job.name, job.launched().or(self.launched.get(&job.name)), &exam.facts),
            launched: job.launched().or(self.launched.get(&job.name)).cloned(),
            settings: self.site.settings_of(job, self.launched.get(&job.name)),
            shown_at: exam.shown_at(),
            pace: exam.seconds_per_step().map(|seconds_per_step| Pace { seconds_per_step, gpus: self.site.gpus }),
            fate: self.known_fate(&job.name).cloned(),
            priors: cures::priors(&policy, exam),
            belief: Some((&exam.belief).into()),
            weights: Some(Weights::shipped().id.clone()),
        };
        let allowances = self.allowances(&job.name, None, now);
        let (case, trace) = Case::open(opening, &self.terms(&policy, None, &allowances, now));
        changes.add(&case, trace);
        self.cases.insert(case.id.clone(), case);
    }

    /// While the baseline runs on, its case knows what it shows, and closes when it starts to learn by itself.
    fn look_again(&mut self, id: &CaseId, exam: &Exam, now: f64, changes: &mut Changes) {
        let Some(case) = self.cases.get_mut(id) else { return };
        let before = &case.baseline_facts;
        let grown = exam.facts.steps > 1.25 * before.steps;
        let failed_to_learn = !before.learned || !before.finite;
        let recovers = failed_to_learn && exam.facts.learned && exam.status().0 != Status::Failing;
        let beyond_doubt = exam.facts.progress > RECOVERED || !before.finite || exam.view.accurate();
        if grown && recovers && beyond_doubt && exam.ends_well() {
            let summary = format!("the baseline learns by itself now: {}", exam.facts.in_words());
            let conclusion = Conclusion {
                state: "recovered".into(),
                verdict: "recovered".into(),
                confidence: 0.9,
                summary,
                recommended: BTreeMap::new(),
            };
            case.baseline_facts = exam.facts.clone();
            let trace = case.close(conclusion, now);
            changes.add(&case.clone(), trace);
        } else if exam.facts.ended && !before.ended {
            let found = std::mem::replace(&mut case.baseline_facts, exam.facts.clone());
            if recovers {
                // It creeps. What the case was opened for still leads the search, which ends when nothing stands out.
                let facts = &mut case.baseline_facts;
                (facts.recovered, facts.symptoms, facts.problems) = (true, found.symptoms, found.problems);
            }
            // Experiments are compared with these, by the process that follows this one, too.
            changes.keep(case);
        }
    }

    /// Open cases that could not go on at a site, for it does not have their policy, or not the state where they stand.
    pub fn stranded<'a>(&'a self, site: &'a Site) -> impl Iterator<Item = &'a Case> {
        let open = self.cases.values().filter(|case| case.closed.is_none());
        open.filter(|case| site.policy_for_case(case).is_none())
    }

    /// What the site decides, for [`Diagnosis::stranded`].
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Goes on at a site whose operator decided otherwise. Open cases go on where they stand, by what their policy says
    /// of that state now. Every job is looked at anew.
    pub fn go_on_at(&mut self, site: Site) {
        self.site = site;
        self.memory.values_mut().for_each(Memory::look_anew);
    }

    /// Whether an open case waits for the run of this suggestion.
    pub fn waits_for(&self, suggestion: &str) -> bool {
        let open = self.cases.values().filter_map(Case::open_experiment);
        open.map(|experiment| &experiment.suggestion).any(|known| known == suggestion)
    }

    /// The clock was set by so many seconds: no job was silent for that time, and no case waited for it.
    pub fn clock_was_set(&mut self, by: f64) -> Changes {
        self.memory.values_mut().for_each(|memory| memory.clock_was_set(by));
        let mut changes = Changes::default();
        for case in self.cases.values_mut().filter(|case| case.closed.is_none()) {
            case.clock_was_set(by);
            changes.keep(case);
        }
        changes
    }

    /// What the newest look at each job found, by the ids of symptoms.
    pub fn found(&self) -> impl ExactSizeIterator<Item = &[String]> {
        self.memory.values().map(Memory::symptoms)
    }

    /// Every job, with when something new of it was last seen, in seconds since the Unix epoch.
    pub fn last_seen(&self) -> impl Iterator<Item = (&str, f64)> {
        self.memory.iter().map(|(job, memory)| (job.as_str(), memory.last_seen()))
    }

    /// Closed cases none of whose jobs `is_there`, in the log directory: without them no job would be investigated again.
    pub fn forgettable(&self, is_there: impl Fn(&str) -> bool) -> Vec<CaseId> {
        let needed = |case: &Case| {
            let experiments = case.experiments.iter().flat_map(|e| [Some(e.run_name.as_str()), e.job.as_deref()]);
            std::iter::once(case.baseline.as_str()).chain(experiments.flatten()).any(&is_there)
        };
        let closed = self.cases.values().filter(|case| case.closed.is_some());
        closed.filter(|case| !needed(case)).map(|case| case.id.clone()).collect()
    }

    /// Keeps only these cases.
    pub fn retain(&mut self, kept: &BTreeSet<CaseId>) {
        self.cases.retain(|id, _| kept.contains(id));
    }

    /// What a case needs of the world for its next step. The experiment that it waits for leaves its room to the next one.
    fn terms<'a>(&self, policy: &'a Policy, case: Option<&CaseId>, allowances: &'a [Allowance], now: f64) -> Terms<'a> {
        let others = self.cases.values().filter(|other| Some(&other.id) != case);
        let under_way = others.filter(|case| case.waiting == Waiting::Experiment).count();
        Terms {
            policy,
            now,
            room: under_way < self.site.at_once,
            answer_within: self.site.answer_within,
            control: self.site.control,
            approval: self.site.approval,
            approve_within: self.site.approve_within,
            by_hand: self.site.by_hand,
            allowances,
            confidence: |believed| Weights::shipped().verdicts.confidence(believed),
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
        changes.add(&case.clone(), trace);
    }

    fn policy_of(&self, case: &Case) -> Option<Arc<Policy>> {
        self.site.policy_for_case(case).cloned()
    }

    /// Closes a case by hand.
    pub fn close(&mut self, id: &CaseId, verdict: &str, why: &str, now: f64) -> Changes {
        let mut changes = Changes::default();
        if let Some(case) = self.cases.get_mut(id).filter(|case| case.closed.is_none()) {
            let conclusion = Conclusion {
                state: "closed_by_hand".into(),
                verdict: verdict.to_owned(),
                confidence: 1.0,
                summary: why.to_owned(),
                recommended: BTreeMap::new(),
            };
            let trace = case.close(conclusion, now);
            changes.add(&case.clone(), trace);
        }
        changes
    }

    /// Jobs that open cases need, by name; `true` where everything below the name is the job's, as with experiments.
    pub fn needed(&self) -> BTreeSet<(String, bool)> {
        let open = self.cases.values().filter(|case| case.closed.is_none());
        let jobs = open.flat_map(|case| {
            let experiments = case.experiments.iter();
            let experiments =
                experiments.flat_map(|e| [Some((e.run_name.clone(), true)), e.job.clone().map(|j| (j, false))]);
            experiments.flatten().chain([(case.baseline.clone(), false)])
        });
        jobs.collect()
    }

    /// Runs that need no memory any more: their job ended an hour ago and no open case needs it.
    pub fn settled(&self, runs: &Runs, now: f64) -> Vec<RunName> {
        let experiments: BTreeSet<String> =
            self.cases.values().flat_map(|c| &c.experiments).map(|e| e.run_name.clone()).collect();
        let needed: BTreeSet<String> = self.needed().into_iter().map(|(job, _)| job).collect();
        let done = |job: &str| self.memory.get(job).is_some_and(|memory| memory.ended_before(now - KEPT));
        let grouping = Grouping::of(runs, &experiments);
        let settled = |run: &&RunName| {
            let jobs = grouping.jobs_of(run);
            jobs.iter().all(|job| !needed.contains(job) && done(job))
        };
        runs.keys().filter(settled).cloned().collect()
    }

    /// A person answers what a case asks in the message of this id.
    pub fn reply(&mut self, id: &CaseId, ask: &str, reply: &Reply, now: f64) -> Changes {
        let mut changes = Changes::default();
        self.step(id, now, &mut changes, |case, terms| case.reply(ask, reply, terms));
        changes
    }

    /// A person says which job carries out the open experiment of a case.
    pub fn link(&mut self, id: &CaseId, job: &str, now: f64) -> Changes {
        let mut changes = Changes::default();
        if let Some(case) = self.cases.get_mut(id) {
            let trace = case.link_to(job, BY_HAND, now);
            changes.add(&case.clone(), trace);
        }
        changes
    }
}

/// Whether a case was closed because its job recovered, and the job has gone on for long since and fails again.
fn recovered_in_vain(case: &Case, exam: &Exam) -> bool {
    let recovered = case.closed.as_ref().is_some_and(|end| end.verdict == "recovered");
    recovered && exam.facts.steps > case.baseline_facts.steps && (!exam.facts.finite || !exam.ends_well())
}

/// The worst problem first; warnings and notes left out.
fn problems(findings: &[Finding]) -> Vec<String> {
    let problems = findings.iter().filter(|f| f.severity == Severity::Problem);
    problems.map(|f| f.symptom.clone()).collect()
}

/// What `diagnose` says next to a failing job: the first step that the policy would take.
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
